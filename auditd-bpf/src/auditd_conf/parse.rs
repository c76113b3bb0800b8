//! Lines of auditd.conf: `keyword = value`, with blanks around the equal sign.

use std::num::NonZeroU32;
use std::path::PathBuf;

use output::escape::escape;

use super::values::{
    self, FlushWord, NameWord, action, interval, log_file, number, path, ports, shown, space, word, yes_no,
};
use super::{AuditdConf, Flush, NameFormat, Space};

/// auditd skips longer lines. Releases before 4.0 do so from 160 on.
const LINE_MAX: usize = 511;
/// Of most numbers: auditd keeps them in an int.
const INT_MAX: u32 = i32::MAX.cast_unsigned();

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// 1-based, where a line is to blame and not what is missing.
    pub line: Option<usize>,
    /// In auditd's words where it has any.
    pub message: String,
}

/// Reads a whole auditd.conf.
///
/// # Errors
/// The first mistake, as auditd stops there.
pub fn parse(text: &[u8]) -> Result<AuditdConf, Mistake> {
    let mut draft = Draft::default();
    for (number, line) in (1..).zip(text.split(|byte| *byte == b'\n')) {
        if line.len() > LINE_MAX {
            draft.conf.skipped.push(number);
            continue;
        }
        let set = Entry::of(line).and_then(|entry| entry.map_or(Ok(()), |entry| draft.set(&entry)));
        set.map_err(|message| Mistake { line: Some(number), message })?;
    }
    draft.finish().map_err(|message| Mistake { line: None, message })
}

/// A line that says something.
struct Entry<'a> {
    keyword: String,
    value: &'a [u8],
    /// What stands behind the value; a program for some.
    option: Option<&'a [u8]>,
}

impl<'a> Entry<'a> {
    /// Nothing, for a blank line or a comment.
    fn of(line: &'a [u8]) -> Result<Option<Self>, String> {
        let mut words = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
        let Some(keyword) = words.next().filter(|word| word[0] != b'#') else { return Ok(None) };
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some(b"="), Some(value), option, None) => {
                Ok(Some(Self { keyword: shown(keyword).to_ascii_lowercase(), value, option }))
            }
            (Some(b"="), ..) => Err("wrong number of arguments".to_owned()),
            _ => Err("missing equal sign; it has a blank on each side".to_owned()),
        }
    }
}

/// What was read, before what depends on another keyword is known.
#[derive(Default)]
struct Draft {
    conf: AuditdConf,
    flush: FlushWord,
    freq: u32,
    name_format: NameWord,
    name: Option<String>,
}

impl Draft {
    fn set(&mut self, entry: &Entry<'_>) -> Result<(), String> {
        let Entry { keyword, value, option } = entry;
        let conf = &mut self.conf;
        match keyword.as_str() {
            "space_left_action" => conf.space_left.action = action(value, *option, values::SPACE_LEFT)?,
            "admin_space_left_action" => conf.admin_space_left.action = action(value, *option, values::SPACE_LEFT)?,
            "disk_full_action" => conf.disk_full_action = action(value, *option, values::DISK_FULL)?,
            "disk_error_action" => conf.disk_error_action = action(value, *option, values::DISK_ERROR)?,
            "max_log_file_action" => conf.max_log_file_action = values::size_action(value, *option)?,
            _ => {
                if let Some(option) = option {
                    return Err(format!("keyword `{keyword}` has invalid option {}", shown(option)));
                }
                return self.set_plain(keyword, value);
            }
        }
        Ok(())
    }

    /// Keywords with one value.
    fn set_plain(&mut self, keyword: &str, value: &[u8]) -> Result<(), String> {
        let conf = &mut self.conf;
        match keyword {
            "local_events" => conf.local_events = yes_no(value)?,
            "write_logs" => conf.write_logs = yes_no(value)?,
            "log_file" => conf.log_file = log_file(value)?,
            "log_format" => match word(value, &values::LOG_FORMATS)? {
                Some(format) => conf.log_format = format,
                None => conf.write_logs = false,
            },
            "log_group" => conf.log_group = Some(escape(value).into_owned()),
            "flush" => self.flush = word(value, &values::FLUSHES)?,
            "freq" => self.freq = number(value, 0..=INT_MAX)?,
            "num_logs" => conf.num_logs = number(value, 0..=999)?,
            "name_format" => self.name_format = word(value, &values::NAME_FORMATS)?,
            "name" => self.name = Some(escape(value).into_owned()),
            "max_log_file" => conf.max_log_file = number(value, 0..=u32::MAX)?,
            "space_left" => conf.space_left.space = space(value)?,
            "admin_space_left" => conf.admin_space_left.space = space(value)?,
            "action_mail_acct" => conf.mail_account = mail_account(value)?,
            "verify_email" => conf.verify_email = yes_no(value)?,
            "q_depth" => conf.q_depth = number(value, 0..=99_999)?,
            "overflow_action" => conf.overflow_action = action(value, None, values::OVERFLOW)?,
            "max_restarts" => conf.max_restarts = number(value, 0..=INT_MAX)?,
            "plugin_dir" => conf.plugin_dir = path(value)?,
            "tcp_listen_port" => conf.tcp_listen_port = Some(number(value, 1..=65535)?),
            _ => {
                without_effect(keyword, value)?;
                conf.without_effect.push(keyword.to_owned());
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<AuditdConf, String> {
        self.conf.flush = self.flush()?;
        self.conf.name_format = match (self.name_format, self.name) {
            (NameWord::None, _) => NameFormat::None,
            (NameWord::Hostname, _) => NameFormat::Hostname,
            (NameWord::Fqd, _) => NameFormat::Fqd,
            (NameWord::Numeric, _) => NameFormat::Numeric,
            (NameWord::User, Some(name)) => NameFormat::User(name),
            (NameWord::User, None) => return Err("name_format is user, but no name is given".to_owned()),
        };
        check_space(self.conf.space_left.space, self.conf.admin_space_left.space)?;
        Ok(self.conf)
    }

    fn flush(&self) -> Result<Flush, String> {
        match (self.flush, NonZeroU32::new(self.freq)) {
            (FlushWord::None, _) => Ok(Flush::None),
            (FlushWord::Every, _) => Ok(Flush::Every),
            (FlushWord::Incremental, Some(freq)) => Ok(Flush::Incremental(freq)),
            (FlushWord::IncrementalAsync, Some(freq)) => Ok(Flush::IncrementalAsync(freq)),
            (_, None) => Err("incremental flushing chosen, but 0 selected for freq".to_owned()),
        }
    }
}

/// Both amounts in one unit must be in order. A file that sets neither is fine, though auditd 3.0 refuses it.
fn check_space(left: Space, admin: Space) -> Result<(), String> {
    match (left, admin) {
        (Space::Mib(0), Space::Mib(0)) => Ok(()),
        (Space::Mib(left), Space::Mib(admin)) | (Space::Percent(left), Space::Percent(admin)) if left <= admin => {
            Err(format!("space_left({left}) must be larger than admin_space_left({admin})"))
        }
        _ => Ok(()),
    }
}

/// Keywords that change nothing here: their values must be right all the same.
fn without_effect(keyword: &str, value: &[u8]) -> Result<(), String> {
    match keyword {
        "use_libwrap" | "enable_krb5" | "distribute_network" | "tls_require_pqc" => yes_no(value).map(drop),
        "priority_boost" | "tcp_client_max_idle" | "end_of_event_timeout" => number(value, 0..=INT_MAX).map(drop),
        "tcp_listen_queue" | "tcp_max_per_addr" => number(value, 1..=1024).map(drop),
        "tcp_client_ports" => ports(value),
        "transport" => word(value, &values::TRANSPORTS),
        "report_interval" => interval(value),
        "dispatcher" | "krb5_key_file" | "tls_psk_file" => path(value).map(|_: PathBuf| ()),
        "disp_qos"
        | "krb5_principal"
        | "tls_psk_identity"
        | "tls_cipher_suites"
        | "tls_key_exchange"
        | "tls_auth"
        | "tls_crypto_profile"
        | "tls_allowed_clients" => Ok(()),
        _ => Err(format!("unknown keyword `{keyword}`")),
    }
}

fn mail_account(value: &[u8]) -> Result<String, String> {
    if value.iter().all(|byte| byte.is_ascii_alphanumeric() || b"@.-_".contains(byte)) {
        Ok(shown(value))
    } else {
        Err(format!("email: {} has invalid characters", shown(value)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Action, LogFormat, SizeAction, Watermark};
    use super::*;

    fn error(text: &str) -> String {
        let Mistake { line, message } = parse(text.as_bytes()).expect_err(text);
        format!("{}: {message}", line.map_or("-".to_owned(), |line| line.to_string()))
    }

    #[test]
    fn every_keyword_has_its_place() {
        let text = "# comment\n\n  Log_File = /srv/audit/a.log\nLOG_FORMAT = Raw\nlog_group = adm\nflush = INCREMENTAL_ASYNC\n\
                    freq = 50\nnum_logs = 5\nmax_log_file = 8\nmax_log_file_action = Keep_Logs\nname_format = User\n\
                    name = web1\nplugin_dir = /srv/plugins\nq_depth = 100\noverflow_action = HALT\nmax_restarts = 3\n\
                    space_left = 25%\nspace_left_action = exec /bin/mailer\nadmin_space_left = 50\n\
                    admin_space_left_action = SINGLE\ndisk_full_action = ROTATE\ndisk_error_action = suspend\n\
                    local_events = no\nwrite_logs = yes\ntcp_listen_port = 60\nverify_email = no\n\
                    action_mail_acct = ops@example.org\nuse_libwrap = no";
        let exec = Action::Exec("/bin/mailer".into());
        let expected = AuditdConf {
            write_logs: true,
            log_file: "/srv/audit/a.log".into(),
            log_format: LogFormat::Raw,
            log_group: Some("adm".to_owned()),
            flush: Flush::IncrementalAsync(NonZeroU32::new(50).unwrap()),
            num_logs: 5,
            max_log_file: 8,
            max_log_file_action: SizeAction::KeepLogs,
            name_format: NameFormat::User("web1".to_owned()),
            plugin_dir: "/srv/plugins".into(),
            q_depth: 100,
            overflow_action: Action::Halt,
            max_restarts: 3,
            space_left: Watermark { space: Space::Percent(25), action: exec },
            admin_space_left: Watermark { space: Space::Mib(50), action: Action::Single },
            mail_account: "ops@example.org".to_owned(),
            verify_email: false,
            disk_full_action: Action::Rotate,
            disk_error_action: Action::Suspend,
            local_events: false,
            tcp_listen_port: Some(60),
            without_effect: vec!["use_libwrap".to_owned()],
            skipped: Vec::new(),
        };
        assert_eq!(parse(text.as_bytes()), Ok(expected));
        assert_eq!(parse(b""), Ok(AuditdConf::default()));
    }

    #[test]
    fn keywords_without_effect_are_known_and_checked() {
        for line in [
            "dispatcher = /sbin/audispd",
            "disp_qos = lossy",
            "priority_boost = 4",
            "tcp_listen_queue = 5",
            "tcp_max_per_addr = 1",
            "use_libwrap = yes",
            "tcp_client_ports = 1024-65535",
            "tcp_client_max_idle = 0",
            "transport = TCP",
            "enable_krb5 = no",
            "krb5_principal = auditd",
            "krb5_key_file = /etc/audit/audit.key",
            "tls_psk_file = /etc/audit/psk",
            "tls_psk_identity = a",
            "tls_cipher_suites = a:b",
            "tls_key_exchange = x25519",
            "tls_require_pqc = no",
            "tls_auth = psk",
            "tls_crypto_profile = modern",
            "tls_allowed_clients = a,b",
            "distribute_network = no",
            "end_of_event_timeout = 2",
            "report_interval = 1h",
        ] {
            let keyword = line.split(' ').next().unwrap().to_owned();
            assert_eq!(parse(line.as_bytes()).expect(line).without_effect, [keyword]);
        }
        for line in [
            "verify_email = maybe",
            "priority_boost = high",
            "tcp_client_ports = 9-1",
            "transport = udp",
            "action_mail_acct = a;b",
            "report_interval = 1y",
            "krb5_key_file = key",
            "tcp_max_per_addr = 0",
        ] {
            assert!(error(line).starts_with("1: "), "{line}");
        }
    }

    #[test]
    fn mistakes_have_their_line() {
        assert_eq!(error("num_logs = 5\nnum_log = 5"), "2: unknown keyword `num_log`");
        assert_eq!(error("num_logs=5"), "1: missing equal sign; it has a blank on each side");
        assert_eq!(error("num_logs ="), "1: wrong number of arguments");
        assert_eq!(error("\n\nnum_logs = 5 6 7"), "3: wrong number of arguments");
        assert_eq!(error("num_logs = 5 6"), "1: keyword `num_logs` has invalid option 6");
        assert_eq!(error("num_logs = five"), "1: value five should only be numbers");
        assert_eq!(error("num_logs = 1000"), "1: 1000 is not from 0 to 999");
        assert_eq!(error("log_format = json"), "1: option json not found; it is one of raw, enriched, nolog");
        assert_eq!(error("log_file = /a"), "1: the directory name of /a is too short");
        assert_eq!(error("log_file = a.log"), "1: a.log must be an absolute path");
        assert_eq!(error("space_left_action = exec"), "1: exec has no program behind it");
        assert_eq!(error("disk_full_action = syslog now"), "1: syslog has invalid option now");
        assert!(error("disk_full_action = email").starts_with("1: option email not found"));
        assert!(error("disk_error_action = rotate").starts_with("1: option rotate not found"));
        assert_eq!(error("space_left = 101%"), "1: 101 is not from 1 to 99");
        assert_eq!(
            error("space_left = 5\nadmin_space_left = 5"),
            "-: space_left(5) must be larger than admin_space_left(5)"
        );
        assert_eq!(error("flush = incremental"), "-: incremental flushing chosen, but 0 selected for freq");
        assert_eq!(error("name_format = user"), "-: name_format is user, but no name is given");
    }

    #[test]
    fn lines_that_are_too_long_are_skipped() {
        let text = format!("num_logs = 7\n# {}\nnum_logs = 8{}\n", "x".repeat(600), " ".repeat(600));
        let conf = parse(text.as_bytes()).unwrap();
        assert_eq!((conf.num_logs, conf.skipped), (7, vec![2, 3]));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(text in proptest::collection::vec(any::<u8>(), 0..400)) {
            if let Err(mistake) = parse(&text) {
                prop_assert!(!mistake.message.chars().any(char::is_control), "{}", mistake.message);
            }
        }

        #[test]
        fn numbers_are_kept_or_refused(keyword in "(num_logs|max_log_file|q_depth|max_restarts)", value in any::<u64>()) {
            match parse(format!("{keyword} = {value}").as_bytes()) {
                Ok(conf) => {
                    let kept = [conf.num_logs, conf.max_log_file, conf.q_depth, conf.max_restarts];
                    prop_assert!(kept.contains(&u32::try_from(value).unwrap()));
                }
                Err(_) => prop_assert!(value > 999),
            }
        }
    }
}
