//! The `text` format: one line that a person reads at a terminal. Not for programs: it leaves things out.

use std::fmt::{self, Display};
use std::sync::Arc;

use chrono::SecondsFormat;

use crate::address::Address;
use crate::escape::Printable;
use crate::event::{Body, Bytes, DaemonEvent, Loss, Message, NameType, SyscallEvent, Verdict};
use crate::record::{Record, UNSET};

/// Longest object shown, in characters; an argument list can be longer than a screen.
const MAX_OBJECT: usize = 400;

/// Appends the record, without a newline.
pub(super) fn write(record: &Record<'_>, line: &mut Vec<u8>) {
    let time = record.time().to_rfc3339_opts(SecondsFormat::Millis, true);
    let text = match &record.event.body {
        Body::Syscall(call) => syscall(record, call),
        Body::Lost(losses) => lost(losses),
        Body::Daemon(daemon) => self::daemon(record, daemon),
        Body::Messages(messages) => self::messages(messages),
    };
    line.extend_from_slice(time.as_bytes());
    line.push(b' ');
    line.extend_from_slice(text.as_bytes());
}

fn syscall(record: &Record<'_>, call: &SyscallEvent) -> String {
    let keys: Vec<_> = call.rule.keys.iter().map(|key| Printable(key).to_string()).collect();
    let keys = match call.rule.number {
        _ if !keys.is_empty() => keys.join(","),
        0 => "no key".to_owned(),
        number => format!("rule {number}"),
    };
    let name = match call.uring_op {
        Some(op) => {
            tables::io_uring_op_name(op).map_or_else(|| format!("io_uring:{op}"), |name| format!("io_uring:{name}"))
        }
        None => record.names.syscall(call.arch, call.syscall).map_or_else(|| call.syscall.to_string(), str::to_owned),
    };
    let object = shorten(object(call));
    let space = if object.is_empty() { "" } else { " " };
    let who = who(record, call);
    let task = Word(&call.comm);
    format!("[{keys}] {who} {task}[{pid}] {name}{space}{object}: {}", Outcome { record, call }, pid = call.pid)
}

/// The login user, and as whom they act where that differs.
fn who(record: &Record<'_>, call: &SyscallEvent) -> String {
    let acting = user(record, call.ids.euid);
    if call.ids.auid == UNSET || call.ids.auid == call.ids.euid {
        return acting;
    }
    format!("{} as {acting}", user(record, call.ids.auid))
}

fn user(record: &Record<'_>, uid: u32) -> String {
    let name: Option<Arc<str>> = record.user(uid);
    name.map_or_else(|| uid.to_string(), |name| Printable(name.as_bytes()).to_string())
}

/// What the act was done to: the arguments of a program, an address, tasks or paths.
fn object(call: &SyscallEvent) -> String {
    if let Some(argv) = &call.argv {
        return words(argv.iter());
    }
    if let Some(bytes) = &call.sockaddr {
        return address(&Address::decode(bytes));
    }
    if !call.targets.is_empty() {
        let targets = call.targets.iter().map(|target| format!("{}[{}]", Word(&target.comm), target.pid));
        return targets.collect::<Vec<_>>().join(" ");
    }
    let named: Vec<_> = call.paths.iter().filter(|item| item.name_type != NameType::Parent).collect();
    if named.is_empty() {
        return words(call.paths.iter().filter_map(|item| item.path.as_ref()));
    }
    words(named.into_iter().filter_map(|item| item.path.as_ref()))
}

fn words<'a>(items: impl Iterator<Item = &'a Bytes>) -> String {
    let mut text = String::new();
    for item in items {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(&Word(item).to_string());
        if text.len() > MAX_OBJECT * 4 {
            break;
        }
    }
    text
}

fn shorten(text: String) -> String {
    match text.char_indices().nth(MAX_OBJECT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn address(address: &Address<'_>) -> String {
    match address {
        Address::Inet { ip, port } => format!("{ip}:{port}"),
        Address::Inet6 { ip, port, .. } => format!("[{ip}]:{port}"),
        Address::Path(path) => Word(path).to_string(),
        Address::Abstract(name) => format!("@{}", Printable(name)),
        Address::Unnamed => "an unnamed socket".to_owned(),
        Address::Netlink { port_id, .. } => format!("netlink:{port_id}"),
        Address::Other { .. } => format!("an address of family {}", address.family()),
    }
}

struct Outcome<'a> {
    record: &'a Record<'a>,
    call: &'a SyscallEvent,
}

impl Display for Outcome<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.call.verdict {
            Verdict::Deny => return out.write_str("refused"),
            Verdict::Kill => return out.write_str("refused, killed"),
            Verdict::Allow => {}
            Verdict::WouldDeny => out.write_str("would be refused, ")?,
        }
        match (self.call.success(), self.call.errno()) {
            (None, _) => out.write_str("not yet returned"),
            (_, Some(number)) => match self.record.names.errno(number) {
                Some(name) => out.write_str(name),
                None => write!(out, "errno {number}"),
            },
            (_, None) => out.write_str("ok"),
        }
    }
}

fn lost(losses: &[Loss]) -> String {
    let total = losses.iter().fold(0_u64, |total, loss| total.saturating_add(loss.count));
    let causes: Vec<_> =
        losses.iter().map(|loss| format!("{} {}", Printable(loss.cause.as_bytes()), loss.count)).collect();
    format!("LOST {total} events: {}", causes.join(", "))
}

fn daemon(record: &Record<'_>, daemon: &DaemonEvent) -> String {
    let result = if daemon.success { "success" } else { "failed" };
    let [record_type, op] = [&daemon.record_type, &daemon.op].map(|word| Printable(word.as_bytes()));
    let mut text = format!("{record_type} {op} by {}: {result}", user(record, daemon.uid));
    for (name, value) in &daemon.details {
        text.push_str(&format!(" {}={}", Printable(name.as_bytes()), Word(value.as_bytes())));
    }
    text
}

/// Of several records the first says what happened.
fn messages(messages: &[Message]) -> String {
    let shown = messages
        .first()
        .map(|message| format!("{} {}", Printable(message.record_type.as_bytes()), Printable(&message.text)));
    shorten(shown.unwrap_or_default())
}

/// Printable bytes, in quotes where a reader could not tell where they end.
struct Word<'a>(&'a [u8]);

impl Display for Word<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() || self.0.iter().any(|byte| matches!(byte, b' ' | b'"')) {
            return write!(out, "\"{}\"", Printable(self.0).to_string().replace('"', "\\\""));
        }
        Printable(self.0).fmt(out)
    }
}

#[cfg(test)]
mod tests {
    use crate::event::{Body, NameType};
    use crate::format::Format;
    use crate::samples;

    fn line(body: Body) -> String {
        let event = samples::event(body);
        let mut line = Vec::new();
        Format::Text.write_lines(&samples::record(&event), &mut line);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn a_failed_open() {
        let text = line(Body::Syscall(Box::new(samples::open_failed())));
        assert_eq!(text, "2026-11-24T07:04:10.123Z [shadow] joe cat[812] openat /etc/shadow: EACCES\n");
    }

    #[test]
    fn a_program_run_as_another_user() {
        let text = line(Body::Syscall(Box::new(samples::exec())));
        assert_eq!(text, "2026-11-24T07:04:10.123Z [exec] joe as root ls[813] execve ls -l \"a b\" caf\\xe9: ok\n");
    }

    #[test]
    fn a_refused_rename_shows_both_names_and_not_the_parents() {
        let text = line(Body::Syscall(Box::new(samples::rename_denied())));
        assert_eq!(text, "2026-11-24T07:04:10.123Z [etc,ren] root mv[814] rename /etc/a /etc/b: refused\n");
    }

    #[test]
    fn only_a_parent_is_shown_where_nothing_else_is() {
        let mut call = samples::rename_denied();
        call.paths.truncate(1);
        assert_eq!(call.paths[0].name_type, NameType::Parent);
        assert!(line(Body::Syscall(Box::new(call))).contains(" rename /etc: "));
    }

    #[test]
    fn losses_and_daemon() {
        assert!(line(samples::lost()).ends_with("Z LOST 12 events: ring_buffer 10, queue_full 2\n"));
        assert!(line(samples::daemon()).ends_with("Z DAEMON_START start by root: success ver=0.1.0\n"));
    }

    #[test]
    fn hostile_names_stay_on_their_line() {
        let mut call = samples::open_failed();
        call.comm = b"\x1b]0;pwned\x07".to_vec();
        call.paths[0].path = Some(b"/tmp/a\nb \x9b\xc2\x9b".to_vec());
        let text = line(Body::Syscall(Box::new(call)));
        assert!(!text.trim_end_matches('\n').chars().any(char::is_control), "{text:?}");
        assert!(text.contains(r#""/tmp/a\nb \x9b\u{9b}""#), "{text}");
    }

    #[test]
    fn a_huge_argument_list_is_cut() {
        let mut call = samples::exec();
        call.argv = Some(vec![b"x".to_vec(); 100_000]);
        let text = line(Body::Syscall(Box::new(call)));
        assert!(text.len() < 1000 && text.contains("…: ok"), "{text}");
    }
}
