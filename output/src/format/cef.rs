//! The `cef` format: ArcSight's Common Event Format, for collectors that read nothing else. One line has no room for lists:
//! of several paths it has the one that the act was about.

use std::fmt::{self, Display, Write as _};

use super::classify;
use super::siem::subject;
use crate::address::Address;
use crate::escape::Printable;
use crate::event::{Body, SyscallEvent, Verdict};
use crate::record::{Record, UNSET};

/// Appends the record, without a newline.
pub(super) fn write(record: &Record<'_>, line: &mut Vec<u8>) {
    let (name, severity) = head(record);
    let mut text = format!(
        "CEF:0|auditd-bpf|auditd-bpf|{}|{}|{}|{severity}|",
        env!("CARGO_PKG_VERSION"),
        Head(&class(record)),
        Head(&name)
    );
    let mut fields = Fields(&mut text);
    fields.add("rt", &(record.event.time / 1_000_000));
    fields.add("externalId", &record.event.serial);
    fields.add("dvchost", &Printable(record.node.as_bytes()));
    match &record.event.body {
        Body::Syscall(call) => syscall(record, call, &mut fields),
        Body::Lost(losses) => {
            fields.add("cnt", &losses.iter().fold(0_u64, |total, loss| total.saturating_add(loss.count)));
            let causes: Vec<_> = losses.iter().map(|loss| format!("{} {}", loss.cause, loss.count)).collect();
            fields.add("msg", &Printable(causes.join(", ").as_bytes()));
        }
        Body::Daemon(daemon) => {
            fields.add("outcome", &if daemon.success { "success" } else { "failure" });
            fields.add("dvcpid", &daemon.pid);
            let details: Vec<_> = daemon.details.iter().map(|(name, value)| format!("{name}={value}")).collect();
            fields.add("msg", &Printable(details.join(" ").as_bytes()));
        }
        Body::Messages(messages) => {
            let texts: Vec<_> = messages.iter().map(|message| Printable(&message.text).to_string()).collect();
            fields.add("msg", &texts.join("; "));
        }
    }
    line.extend_from_slice(text.trim_end().as_bytes());
}

/// Device event class.
fn class(record: &Record<'_>) -> String {
    match &record.event.body {
        Body::Syscall(call) => record
            .names
            .syscall(call.arch, call.syscall)
            .map_or_else(|| record.record_type().to_owned(), |name| format!("{}:{name}", record.record_type())),
        _ => record.record_type().to_owned(),
    }
}

/// Name and severity, 0 to 10.
fn head(record: &Record<'_>) -> (String, u8) {
    match &record.event.body {
        Body::Syscall(call) => {
            let severity = match call.verdict {
                Verdict::Allow if call.success() == Some(false) => 3,
                Verdict::Allow => 2,
                Verdict::WouldDeny => 5,
                Verdict::Deny | Verdict::Kill => 7,
            };
            (classify::kind(record, call).facts().action.to_owned(), severity)
        }
        Body::Lost(_) => ("lost-events".to_owned(), 8),
        Body::Daemon(daemon) => (daemon.op.to_string(), if daemon.success { 2 } else { 6 }),
        Body::Messages(_) => (record.record_type().to_ascii_lowercase(), 2),
    }
}

fn syscall(record: &Record<'_>, call: &SyscallEvent, fields: &mut Fields<'_>) {
    let outcome = match call.success() {
        Some(true) => "success",
        Some(false) => "failure",
        None => "unknown",
    };
    fields.add("act", &call.verdict.name());
    fields.add("outcome", &outcome);
    if let Some(errno) = record.errno(call) {
        fields.add("reason", &errno);
    }
    fields.add("spid", &call.pid);
    if let Some(exe) = &call.exe {
        fields.add("sproc", &Printable(exe));
    }
    fields.add("suid", &call.ids.uid);
    if let Some(name) = record.user(call.ids.uid) {
        fields.add("suser", &Printable(name.as_bytes()));
    }
    if let Some(item) = subject(call) {
        fields.add("filePath", &Printable(item.path.as_deref().unwrap_or_default()));
        if let Some(inode) = item.inode {
            fields.add("fileId", &inode.ino);
            fields.add("filePermission", &format_args!("{:04o}", inode.mode & 0o7777));
        }
    }
    match call.sockaddr.as_deref().map(Address::decode) {
        Some(Address::Inet { ip, port }) => fields.endpoint(&ip, port, "dst"),
        Some(Address::Inet6 { ip, port, .. }) => fields.endpoint(&ip, port, "c6a3"),
        _ => {}
    }
    if let Some(target) = call.targets.first() {
        fields.add("dpid", &target.pid);
        fields.add("dproc", &Printable(&target.comm));
    }
    let keys = call.rule.keys.join(&b',');
    let custom = [("key", keys), ("comm", call.comm.clone()), ("cwd", call.cwd.clone().unwrap_or_default())];
    for (number, (label, value)) in (1..).zip(custom).filter(|(_, (_, value))| !value.is_empty()) {
        fields.add(&format!("cs{number}Label"), &label);
        fields.add(&format!("cs{number}"), &Printable(&value));
    }
    if call.ids.auid != UNSET {
        fields.add("cn1Label", &"auid");
        fields.add("cn1", &call.ids.auid);
    }
    if let Some(argv) = &call.argv {
        fields.add("msg", &Printable(&argv.join(&b' ')));
    }
}

/// Fields of the extension.
struct Fields<'a>(&'a mut String);

impl Fields<'_> {
    fn add(&mut self, key: &str, value: &dyn Display) {
        // Writing to a String does not fail.
        let _ = write!(self.0, "{key}=");
        for character in value.to_string().chars() {
            if matches!(character, '\\' | '=') {
                self.0.push('\\');
            }
            self.0.push(character);
        }
        self.0.push(' ');
    }

    fn endpoint(&mut self, ip: &dyn Display, port: u16, key: &str) {
        self.add(key, ip);
        self.add("dpt", &port);
    }
}

/// A part of the head.
struct Head<'a>(&'a str);

impl Display for Head<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in Printable(self.0.as_bytes()).to_string().chars() {
            if matches!(character, '\\' | '|') {
                out.write_char('\\')?;
            }
            out.write_char(character)?;
        }
        Ok(())
    }
}
