//! What auditd.conf means here: outputs, a name of this machine, and what is to be told of the rest.

use std::net::ToSocketAddrs;
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::Path;
use std::time::Duration;

use dns_lookup::{AddrInfoHints, getaddrinfo};
use nix::libc::AI_CANONNAME;
use nix::unistd::Group;
use output::config::{
    Access, Compression, FailureActions, FileConfig, FilterConfig, Fsync, PluginsConfig, QueueLimits, Retention,
    Rotation, Watermark,
};
use output::{Content, Format, NativeStyle, Node, OutputConfig};

use super::{Action, AuditdConf, Flush, LogFormat, NameFormat, SizeAction};
use crate::config::host_name;

/// What sends mails.
const SENDMAIL: &str = "/usr/lib/sendmail";
/// The longest that a record waits for its file. auditd keeps none; each flush costs a write and a digest.
const FLUSH_AFTER: Duration = Duration::from_millis(100);
/// `incremental_async`: how often the disk is waited for while there is something new.
const ASYNC_SYNC: Duration = Duration::from_millis(200);

/// Something that whoever wrote the file should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// It has no effect here, and nothing is missed.
    Note(String),
    /// Something else happens than the file asks for.
    Warning(String),
}

impl AuditdConf {
    /// The log, and the plugins where their directory is there.
    ///
    /// # Errors
    /// If `log_group` is no group of this machine.
    pub fn outputs(&self) -> Result<Vec<OutputConfig>, String> {
        let mut outputs = Vec::new();
        if self.write_logs {
            outputs.push(OutputConfig::File(self.log()?));
        }
        if self.plugin_dir.is_dir() {
            outputs.push(OutputConfig::Plugins(self.plugins()));
        }
        Ok(outputs)
    }

    fn log(&self) -> Result<FileConfig, String> {
        let default = FileConfig::new(self.log_file.clone());
        let (flush_events, fsync) = match self.flush {
            Flush::None => (default.flush_events, Fsync::None),
            Flush::Incremental(freq) => (freq.into(), Fsync::Every),
            Flush::IncrementalAsync(_) => (default.flush_events, Fsync::Interval(ASYNC_SYNC)),
            Flush::Every => (NonZeroU64::MIN, Fsync::Every),
        };
        Ok(FileConfig {
            format: self.format(),
            compression: Compression::None,
            flush_events,
            flush_after: FLUSH_AFTER,
            fsync,
            access: self.access()?,
            rotation: Rotation { bytes: self.rotation_bytes(), records: None, after: None },
            retention: Retention { files: self.files_kept(), ..Retention::default() },
            actions: self.actions(),
            ..default
        })
    }

    fn actions(&self) -> FailureActions {
        let too_long = match &self.max_log_file_action {
            SizeAction::Syslog => Some(Action::Syslog),
            SizeAction::Exec(program) => Some(Action::Exec(program.clone())),
            SizeAction::Suspend => Some(Action::Suspend),
            SizeAction::Ignore | SizeAction::Rotate | SizeAction::KeepLogs => None,
        };
        let bytes = NonZeroU64::new(u64::from(self.max_log_file) << 20);
        // auditd loses no log for room where it keeps no more than one.
        let unless_alone = |action: &Action| match action {
            Action::Rotate if self.num_logs < 2 => Action::Ignore,
            other => other.clone(),
        };
        let mark = |mark: &Watermark| Watermark { space: mark.space, action: unless_alone(&mark.action) };
        FailureActions {
            space_left: mark(&self.space_left),
            admin_space_left: mark(&self.admin_space_left),
            disk_full: unless_alone(&self.disk_full_action),
            disk_error: self.disk_error_action.clone(),
            too_long: bytes.zip(too_long),
            mail_account: self.mail_account.clone(),
        }
    }

    /// Who may read the log: root, and the group.
    fn access(&self) -> Result<Access, String> {
        let Some(name) = &self.log_group else { return Ok(Access::default()) };
        match Group::from_name(name) {
            Ok(Some(group)) if group.gid.as_raw() == 0 => Ok(Access::default()),
            Ok(Some(group)) => Ok(Access { mode: 0o640, group: Some(group.gid.as_raw()), owner: None }),
            Ok(None) => Err(format!("log_group: {name} is no group of this machine")),
            Err(errno) => Err(format!("log_group: {name} cannot be looked up: {errno}")),
        }
    }

    /// As auditd, which does not rotate with fewer than two logs.
    fn rotation_bytes(&self) -> Option<NonZeroU64> {
        let rotates = match self.max_log_file_action {
            SizeAction::Rotate => self.num_logs >= 2,
            SizeAction::KeepLogs => true,
            SizeAction::Ignore | SizeAction::Syslog | SizeAction::Exec(_) | SizeAction::Suspend => false,
        };
        NonZeroU64::new(u64::from(self.max_log_file) << 20).filter(|_| rotates)
    }

    fn files_kept(&self) -> Option<NonZeroU32> {
        match self.max_log_file_action {
            SizeAction::Rotate => NonZeroU32::new(self.num_logs).filter(|logs| logs.get() >= 2),
            _ => None,
        }
    }

    fn format(&self) -> Format {
        let content = match self.log_format {
            LogFormat::Raw => Content::Raw,
            LogFormat::Enriched => Content::Enriched,
        };
        let node = if self.name_format == NameFormat::None { Node::Left } else { Node::Named };
        Format::Native(NativeStyle { content, node })
    }

    fn plugins(&self) -> PluginsConfig {
        let events = NonZeroUsize::new(self.q_depth as usize).unwrap_or(NonZeroUsize::MIN);
        PluginsConfig {
            path: self.plugin_dir.clone(),
            format: self.format(),
            max_restarts: self.max_restarts,
            overflow_action: self.overflow_action.clone(),
            filter: FilterConfig::default(),
            limits: QueueLimits { events, ..QueueLimits::default() },
        }
    }

    /// How this machine is called in records. Where a resolver is asked and knows nothing, by its host name; the log says so.
    #[must_use]
    pub fn node(&self) -> String {
        let host = host_name();
        let found = match &self.name_format {
            NameFormat::None | NameFormat::Hostname => return host,
            NameFormat::User(name) => return name.clone(),
            NameFormat::Fqd => qualified(&host),
            NameFormat::Numeric => address(&host),
        };
        found.unwrap_or_else(|| {
            tracing::warn!("name_format: nothing is known of {host}; records call this machine so");
            host
        })
    }

    /// What does not happen as the file says.
    #[must_use]
    pub fn notices(&self) -> Vec<Notice> {
        let mut notices = Vec::new();
        if !self.without_effect.is_empty() {
            notices.push(Notice::Note(format!("without effect here: {}", self.without_effect.join(", "))));
        }
        let skipped = self.skipped.iter().map(|line| format!("skipping line {line}: too long"));
        let size = match self.max_log_file_action {
            SizeAction::Rotate if self.num_logs < 2 => Some("the log is not rotated: num_logs is less than 2"),
            _ => None,
        };
        let network = self.tcp_listen_port.is_some().then_some(
            "tcp_listen_port: records of other machines are not received; let them send to a syslog server, NATS, Kafka or OTLP",
        );
        let local = (!self.local_events)
            .then_some("local_events = no: events of this machine are all there is; they are recorded");
        let warnings = [size, network, local].into_iter().flatten().map(str::to_owned);
        let warnings = skipped.chain(warnings).chain(self.mail_warning());
        notices.extend(warnings.map(Notice::Warning));
        notices
    }

    /// Where mails of actions would get nowhere.
    fn mail_warning(&self) -> Option<String> {
        let mails =
            [&self.space_left.action, &self.admin_space_left.action].into_iter().any(|action| *action == Action::Email);
        if !mails {
            return None;
        }
        if !Path::new(SENDMAIL).exists() {
            return Some(format!("an action is email, but there is no {SENDMAIL}"));
        }
        let (_, host) = self.mail_account.split_once('@')?;
        let unknown = self.verify_email && (host, 0).to_socket_addrs().is_err();
        unknown.then(|| format!("action_mail_acct: the host {host} cannot be looked up"))
    }
}

/// The host's name with its domain.
fn qualified(host: &str) -> Option<String> {
    let hints = AddrInfoHints { flags: AI_CANONNAME, ..AddrInfoHints::default() };
    let found = getaddrinfo(Some(host), None, Some(hints)).ok()?;
    found.filter_map(Result::ok).find_map(|info| info.canonname)
}

/// The host's first address.
fn address(host: &str) -> Option<String> {
    Some((host, 0).to_socket_addrs().ok()?.next()?.ip().to_string())
}

#[cfg(test)]
mod tests {
    use output::config::Space;

    use super::super::parse;
    use super::*;

    /// What Debian and Fedora ship, in effect.
    const STOCK: &str = "local_events = yes\nwrite_logs = yes\nlog_file = /var/log/audit/audit.log\nlog_group = root\n\
        log_format = ENRICHED\nflush = INCREMENTAL_ASYNC\nfreq = 50\nmax_log_file = 8\nnum_logs = 5\npriority_boost = 4\n\
        name_format = NONE\nmax_log_file_action = ROTATE\nspace_left = 75\nspace_left_action = SYSLOG\nverify_email = yes\n\
        action_mail_acct = root\nadmin_space_left = 50\nadmin_space_left_action = SUSPEND\ndisk_full_action = SUSPEND\n\
        disk_error_action = SUSPEND\nuse_libwrap = yes\ntcp_listen_queue = 5\ntcp_max_per_addr = 1\n\
        tcp_client_max_idle = 0\ntransport = TCP\nkrb5_principal = auditd\ndistribute_network = no\nq_depth = 2000\n\
        overflow_action = SYSLOG\nmax_restarts = 10\nplugin_dir = /nonexistent/plugins.d\nend_of_event_timeout = 2\n";

    fn conf(more: &str) -> AuditdConf {
        parse(format!("{STOCK}{more}").as_bytes()).unwrap()
    }

    fn log(more: &str) -> FileConfig {
        match conf(more).outputs().unwrap().as_slice() {
            [OutputConfig::File(file)] => file.clone(),
            other => panic!("{other:?}"),
        }
    }

    fn warnings(more: &str) -> Vec<String> {
        let warning = |notice| match notice {
            Notice::Warning(text) => Some(text),
            Notice::Note(_) => None,
        };
        conf(more).notices().into_iter().filter_map(warning).collect()
    }

    #[test]
    fn the_stock_file_makes_auditds_log() {
        let file = log("");
        assert_eq!(file.path.to_str(), Some("/var/log/audit/audit.log"));
        assert_eq!(file.format, Format::Native(NativeStyle { content: Content::Enriched, node: Node::Left }));
        assert_eq!((file.compression, file.fsync), (Compression::None, Fsync::Interval(ASYNC_SYNC)));
        assert_eq!((file.rotation.bytes, file.retention.files), (NonZeroU64::new(8 << 20), NonZeroU32::new(5)));
        assert_eq!(file.access, Access::default());
    }

    #[test]
    fn how_the_log_ends() {
        let ends = |more| {
            let file = log(more);
            (file.rotation.bytes.map(NonZeroU64::get), file.retention.files.map(NonZeroU32::get))
        };
        assert_eq!(ends("max_log_file_action = keep_logs"), (Some(8 << 20), None));
        assert_eq!(ends("max_log_file_action = ignore"), (None, None));
        assert_eq!(ends("num_logs = 1"), (None, None));
        assert_eq!(ends("max_log_file = 0"), (None, Some(5)));
        assert_eq!(warnings("num_logs = 1")[0], "the log is not rotated: num_logs is less than 2");
    }

    #[test]
    fn what_is_done_when_the_disk_fills() {
        let actions = log("").actions;
        assert_eq!((actions.space_left.space, &actions.space_left.action), (Space::Mib(75), &Action::Syslog));
        assert_eq!(actions.admin_space_left.action, Action::Suspend);
        assert_eq!(
            (&actions.disk_full, &actions.disk_error, &actions.too_long),
            (&Action::Suspend, &Action::Suspend, &None)
        );
        let long = log("max_log_file_action = suspend").actions.too_long;
        assert_eq!(long, NonZeroU64::new(8 << 20).zip(Some(Action::Suspend)));
        assert_eq!(log("disk_full_action = rotate").actions.disk_full, Action::Rotate);
        assert_eq!(log("disk_full_action = rotate\nnum_logs = 1").actions.disk_full, Action::Ignore);
    }

    #[test]
    fn when_the_disk_is_waited_for() {
        let flush = |more| {
            let file = log(more);
            (file.flush_events.get(), file.fsync)
        };
        assert_eq!(flush("flush = incremental"), (50, Fsync::Every));
        assert_eq!(flush("flush = sync"), (1, Fsync::Every));
        assert_eq!(flush("flush = data"), (1, Fsync::Every));
        assert_eq!(flush("flush = none").1, Fsync::None);
    }

    #[test]
    fn who_may_read_it() {
        assert_eq!(log("log_group = daemon").access.mode, 0o640);
        let message = conf("log_group = nobody-here").outputs().unwrap_err();
        assert_eq!(message, "log_group: nobody-here is no group of this machine");
    }

    #[test]
    fn plugins_and_no_log() {
        let dir = tempfile::tempdir().unwrap();
        let text = format!("write_logs = no\nplugin_dir = {}\nq_depth = 0\nmax_restarts = 4", dir.path().display());
        let outputs = conf(&text).outputs().unwrap();
        let [OutputConfig::Plugins(plugins)] = outputs.as_slice() else { panic!("{outputs:?}") };
        assert_eq!((plugins.path.as_path(), plugins.max_restarts), (dir.path(), 4));
        assert_eq!(plugins.limits.events, NonZeroUsize::MIN);
        assert!(conf("log_format = nolog").outputs().unwrap().is_empty());
    }

    #[test]
    fn names_of_this_machine() {
        assert_eq!(conf("").node(), host_name());
        assert_eq!(conf("name_format = user\nname = web1").node(), "web1");
        let named = log("name_format = hostname");
        assert_eq!(named.format, Format::Native(NativeStyle { content: Content::Enriched, node: Node::Named }));
        assert!(!conf("name_format = numeric").node().is_empty());
        assert!(!conf("name_format = fqd").node().is_empty());
    }

    #[test]
    fn what_does_not_happen_is_told() {
        assert_eq!(warnings(""), Vec::<String>::new());
        assert!(warnings("tcp_listen_port = 60")[0].starts_with("tcp_listen_port"));
        assert!(warnings("local_events = no")[0].starts_with("local_events"));
        if !Path::new(SENDMAIL).exists() {
            assert!(warnings("space_left_action = email")[0].starts_with("an action is email"));
        }
        let notes = conf("").notices();
        assert!(
            matches!(&notes[..], [Notice::Note(note)] if note.contains("priority_boost, use_libwrap")),
            "{notes:?}"
        );
    }
}
