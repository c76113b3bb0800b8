//! The `native` format: records as auditd writes them, for ausearch, aureport, auparse and what is built on them.
//!
//! One event is several lines, `type=TYPE msg=audit(SECONDS.MILLIS:SERIAL): FIELDS`, with the same record types, fields and
//! order as the kernel's `audit_log_exit` (kernel/auditsc.c). ausearch looks fields up by scanning forward, so neither may be
//! changed. [`crate::read`] reads them back.
//!
//! | what | where |
//! |---|---|
//! | untrusted strings, capabilities, numbers | [`value`] |
//! | arguments of an exec over several records | [`execve`] |
//! | records of one kind of call | [`part`] |
//! | names beside numbers, behind 0x1D | [`enrich`] |

/// Formats into a `Vec<u8>`, which does not fail.
macro_rules! put {
    ($out:expr, $($format:tt)*) => {{ let _ = write!($out, $($format)*); }};
}

mod enrich;
mod execve;
mod part;
mod value;

use std::io::Write;

use crate::event::{Body, DaemonEvent, Event, FileCaps, Loss, Message, NameType, Part, PathItem, SyscallEvent, Target};
use crate::record::{Record, UNSET};

pub(crate) use enrich::{FieldKind, field_kind, fields, id, ids, interpreted, unhex};
use value::{Token, capability, one_line, quoted_detail, untrusted, yes_no};

/// Between the fields of a record and its enrichment.
pub(crate) const ENRICHMENT: u8 = 0x1d;
/// Between the keys of a rule (`AUDIT_KEY_SEPARATOR`).
pub(crate) const KEY_SEPARATOR: u8 = 1;
/// What the kernel has for the command line of a process that has none (`audit_log_proctitle` in `kernel/auditsc.c`).
pub(crate) const NO_TITLE: &[u8] = b"(null)";
/// Record of losses: the type that auditd has for its own errors, because programs that read native logs know no other.
pub(crate) const LOST_TYPE: &str = "DAEMON_ERR";
/// Its `op`.
pub(crate) const LOST_OP: &str = "lost";

/// How native records are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct NativeStyle {
    /// `enriched`: names behind the numbers, as with auditd's `log_format = ENRICHED`.
    pub content: Content,
    /// `with_node`: whether lines begin with `node=`.
    pub node: Node,
}

/// auditd's `log_format`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Content {
    /// Numbers and the names that they have on this machine.
    #[default]
    Enriched,
    /// Numbers only.
    Raw,
}

/// Whether a line names the machine: auditd's `name_format`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Node {
    /// No, as with `name_format = NONE`.
    #[default]
    Left,
    /// `node=NAME` in front.
    Named,
}

/// Appends the records of an event, each with a newline.
pub(super) fn write(record: &Record<'_>, style: NativeStyle, lines: &mut Vec<u8>) {
    let mut writer = Writer { record, style, header: header(record.event), lines };
    match &record.event.body {
        Body::Syscall(call) => writer.syscall(call),
        Body::Lost(losses) => writer.lost(losses),
        Body::Daemon(daemon) => writer.daemon(daemon),
        Body::Messages(messages) => writer.messages(messages),
    }
}

/// ` msg=audit(...): `. The serial is a u32 to readers; ours stay above 2^31 when they wrap around.
fn header(event: &Event) -> String {
    let (seconds, millis) = (event.time / 1_000_000_000, event.time / 1_000_000 % 1000);
    let own = crate::Serials::FIRST;
    let serial = if event.serial > u64::from(u32::MAX) { event.serial % own + own } else { event.serial };
    format!(" msg=audit({seconds}.{millis:03}:{serial}): ")
}

struct Writer<'a> {
    record: &'a Record<'a>,
    style: NativeStyle,
    header: String,
    lines: &'a mut Vec<u8>,
}

impl Writer<'_> {
    /// One line; `fields` writes what stands between header and enrichment.
    fn line(&mut self, record_type: &str, fields: impl FnOnce(&mut Vec<u8>)) {
        if self.style.node == Node::Named && !self.record.node.is_empty() {
            put!(self.lines, "node={} ", Token(self.record.node));
        }
        put!(self.lines, "type={}", Token(record_type));
        self.lines.extend_from_slice(self.header.as_bytes());
        let start = self.lines.len();
        fields(self.lines);
        if self.style.content == Content::Enriched {
            enrich::append(self.lines, start, self.record);
        }
        self.lines.push(b'\n');
    }

    fn messages(&mut self, messages: &[Message]) {
        for message in messages {
            self.line(&message.record_type, |out| one_line(out, &message.text));
        }
    }

    fn syscall(&mut self, call: &SyscallEvent) {
        self.messages(&call.messages);
        match call.uring_op {
            None => self.line("SYSCALL", |out| syscall(out, call)),
            Some(op) => self.line("URINGOP", |out| uring_op(out, op, call)),
        }
        let (before, after): (Vec<_>, Vec<_>) =
            call.parts.iter().partition(|part| !matches!(part, Part::FdPair { .. }));
        for part in before {
            self.line(part.record_type(), |out| part::write(out, part));
        }
        for fields in call.argv.iter().flat_map(|argv| execve::records(argv)) {
            self.line("EXECVE", |out| out.extend_from_slice(&fields));
        }
        for part in after {
            self.line(part.record_type(), |out| part::write(out, part));
        }
        if let Some(sockaddr) = &call.sockaddr {
            self.line("SOCKADDR", |out| {
                out.extend_from_slice(b"saddr=");
                value::hex(out, sockaddr);
            });
        }
        for target in &call.targets {
            self.line("OBJ_PID", |out| obj_pid(out, target));
        }
        if let Some(cwd) = &call.cwd {
            self.line("CWD", |out| untrusted(out, "cwd", Some(cwd)));
        }
        for (number, item) in call.paths.iter().enumerate() {
            self.line("PATH", |out| path(out, number, item));
        }
        // Whoever reads the log knows by either that no record of the event follows.
        match &call.proctitle {
            Some(proctitle) => {
                let title = if proctitle.is_empty() { NO_TITLE } else { proctitle };
                self.line("PROCTITLE", |out| untrusted(out, "proctitle", Some(title)));
            }
            None => self.line("EOE", |_| {}),
        }
    }

    fn lost(&mut self, losses: &[Loss]) {
        self.line(LOST_TYPE, |out| lost_fields(out, losses));
    }

    fn daemon(&mut self, daemon: &DaemonEvent) {
        self.line(&daemon.record_type, |out| daemon_fields(out, daemon));
    }
}

fn syscall(out: &mut Vec<u8>, call: &SyscallEvent) {
    put!(out, "arch={:x} syscall={}", call.arch, call.syscall);
    if call.personality != 0 {
        put!(out, " per={:x}", call.personality);
    }
    outcome(out, call);
    for number in 0..4 {
        put!(out, " a{number}={:x}", call.args.get(number).copied().unwrap_or_default());
    }
    let ids = &call.ids;
    put!(out, " items={} ppid={} pid={} auid={}", call.paths.len(), call.ppid, call.pid, ids.auid);
    effective_ids(out, call);
    let tty = call.tty.as_deref().unwrap_or(b"(none)");
    out.extend_from_slice(b" tty=");
    one_line(out, tty);
    put!(out, " ses={} ", call.session);
    untrusted(out, "comm", Some(&call.comm));
    out.push(b' ');
    untrusted(out, "exe", call.exe.as_deref());
    end(out, call);
}

fn uring_op(out: &mut Vec<u8>, op: u32, call: &SyscallEvent) {
    put!(out, "uring_op={op}");
    outcome(out, call);
    put!(out, " items={} ppid={} pid={}", call.paths.len(), call.ppid, call.pid);
    effective_ids(out, call);
    end(out, call);
}

fn outcome(out: &mut Vec<u8>, call: &SyscallEvent) {
    if let (Some(success), Some(exit)) = (call.success(), call.exit) {
        put!(out, " success={} exit={exit}", yes_no(success));
    }
}

fn effective_ids(out: &mut Vec<u8>, call: &SyscallEvent) {
    let ids = &call.ids;
    put!(out, " uid={} gid={} euid={} suid={}", ids.uid, ids.gid, ids.euid, ids.suid);
    put!(out, " fsuid={} egid={} sgid={} fsgid={}", ids.fsuid, ids.egid, ids.sgid, ids.fsgid);
}

/// Label, key, and what the kernel's records do not have: readers take unknown fields behind the key.
fn end(out: &mut Vec<u8>, call: &SyscallEvent) {
    if let Some(subject) = &call.subject {
        out.extend_from_slice(b" subj=");
        one_line(out, subject);
    }
    out.push(b' ');
    let keys = &call.rule.keys;
    let joined = keys.join(&KEY_SEPARATOR);
    untrusted(out, "key", (!keys.is_empty()).then_some(&joined));
    if call.verdict != crate::event::Verdict::Allow {
        put!(out, " verdict={}", call.verdict.name());
    }
    if let Some(fields) = &call.other_fields {
        out.push(b' ');
        one_line(out, fields);
    }
}

fn obj_pid(out: &mut Vec<u8>, target: &Target) {
    // The kernel writes these as signed numbers.
    let signed = u32::cast_signed;
    put!(out, "opid={} oauid={}", target.pid, signed(target.auid));
    put!(out, " ouid={} oses={}", signed(target.uid), signed(target.session));
    value::label(out, target.label.as_deref());
    out.push(b' ');
    untrusted(out, "ocomm", Some(&target.comm));
}

fn path(out: &mut Vec<u8>, number: usize, item: &PathItem) {
    put!(out, "item={number} ");
    match (&item.path, item.name_type) {
        // As the kernel's: what precedes the last name, slash included.
        (Some(path), NameType::Parent) if !path.is_empty() && !path.ends_with(b"/") => {
            untrusted(out, "name", Some(&[path, b"/".as_slice()].concat()));
        }
        (path, _) => untrusted(out, "name", path.as_deref()),
    }
    if let Some(inode) = &item.inode {
        put!(out, " inode={} dev={} mode={}", inode.ino, value::Device(inode.dev), value::Octal(inode.mode.into()));
        put!(out, " ouid={} ogid={} rdev={}", inode.uid, inode.gid, value::Device(inode.rdev));
    }
    value::label(out, item.label.as_deref());
    put!(out, " nametype={}", item.name_type.name());
    match &item.caps {
        None => {}
        Some(FileCaps::Unread) => put!(out, " cap_fe=? cap_fver=? cap_fp=? cap_fi=?"),
        Some(FileCaps::Read(caps)) => {
            capability(out, "cap_fp", caps.permitted);
            capability(out, "cap_fi", caps.inheritable);
            let effective = u8::from(caps.effective);
            put!(out, " cap_fe={effective} cap_fver={:x} cap_frootid={}", caps.version, caps.root.cast_signed());
        }
    }
}

pub(crate) fn lost_fields(out: &mut Vec<u8>, losses: &[Loss]) {
    let total = losses.iter().fold(0_u64, |total, loss| total.saturating_add(loss.count));
    put!(out, "op={LOST_OP} auid={UNSET} pid=0 uid=0 ses={UNSET} lost={total}");
    for loss in losses {
        put!(out, " {}={}", Token(&loss.cause), loss.count);
    }
    put!(out, " res=failed");
}

/// auditd's order of fields differs from type to type; ausearch wants auid before pid, each with a space behind it.
pub(crate) fn daemon_fields(out: &mut Vec<u8>, daemon: &DaemonEvent) {
    let who = format!("auid={} pid={} uid={} ses={}", daemon.auid, daemon.pid, daemon.uid, daemon.session);
    let of_kernel = daemon.record_type == "CONFIG_CHANGE";
    if of_kernel {
        put!(out, "{who} op={}", quoted_detail(&daemon.op));
    } else {
        put!(out, "op={}", quoted_detail(&daemon.op));
    }
    for (name, value) in &daemon.details {
        match &**name {
            "key" if of_kernel => {
                out.push(b' ');
                untrusted(out, "key", Some(value.as_bytes()));
            }
            "list" if of_kernel => put!(out, " list={}", list_number(value)),
            "subj" if !of_kernel => {}
            name => put!(out, " {}={}", Token(name), quoted_detail(value)),
        }
    }
    if of_kernel {
        put!(out, " res={}", u8::from(daemon.success));
        return;
    }
    put!(out, " {who}");
    // ausearch looks for it behind the ids.
    if let Some((_, subject)) = daemon.details.iter().find(|(name, _)| &**name == "subj") {
        put!(out, " subj={}", quoted_detail(subject));
    }
    put!(out, " res={}", if daemon.success { "success" } else { "failed" });
}

/// `AUDIT_FILTER_*` in `include/uapi/linux/audit.h`; anything else as it is.
fn list_number(name: &str) -> &str {
    match name {
        "user" => "0",
        "task" => "1",
        "exit" => "4",
        "exclude" => "5",
        "filesystem" => "6",
        "io_uring" => "7",
        other => other,
    }
}

#[cfg(test)]
mod tests;
