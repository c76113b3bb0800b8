//! The records of one event → the event.

use super::line::Line;
use super::part::{self, Arguments};
use super::value::{Fields, device, hex, untrusted};
use crate::event::{
    Args, Body, Bytes, DaemonEvent, Event, FileCaps, Ids, Inode, Loss, NameType, PathItem, PathSource, RuleRef,
    SyscallEvent, Target, Verdict,
};
use crate::format::native::{
    self, FieldKind, KEY_SEPARATOR, LOST_OP, LOST_TYPE, NO_TITLE, daemon_fields, field_kind, fields, lost_fields,
};
use crate::read::{Entry, LogNames};
use crate::record::UNSET;

/// `None` where there is no record at all.
pub(super) fn entry(records: Vec<Line>) -> Option<Entry> {
    let first = records.first()?;
    let (node, time, serial) = (first.node.clone(), first.time, first.serial);
    let mut names = LogNames::default();
    for record in &records {
        collect_names(record, &mut names);
    }
    let body = if let [record] = &records[..]
        && let Some(own) = own_doings(record)
    {
        own
    } else {
        body(records)
    };
    Some(Entry { node, event: Event { time, serial, body }, names })
}

fn body(records: Vec<Line>) -> Body {
    let call = records.iter().position(Line::is_call);
    let call = call.and_then(|at| Some((at, syscall(&records[at])?)));
    let Some((at, call)) = call else {
        return Body::Messages(records.into_iter().map(Line::into_message).collect());
    };
    let mut collector = Collector { call, arguments: Arguments::default() };
    for (number, record) in records.into_iter().enumerate() {
        if number != at && collector.record(&record).is_none() {
            collector.call.messages.push(record.into_message());
        }
    }
    Body::Syscall(Box::new(collector.finish()))
}

/// The daemon's own records, where they are exactly what this release writes: auditd's are carried as their text.
fn own_doings(record: &Line) -> Option<Body> {
    let lost = losses(record);
    let daemon = lost.is_none().then(|| daemon(record)).flatten();
    let mut again = Vec::new();
    let body = match (lost, daemon) {
        (Some(losses), _) => {
            lost_fields(&mut again, &losses);
            Body::Lost(losses)
        }
        (None, daemon) => {
            let daemon = daemon?;
            daemon_fields(&mut again, &daemon);
            Body::Daemon(daemon)
        }
    };
    (again == record.text).then_some(body)
}

fn losses(record: &Line) -> Option<Vec<Loss>> {
    let mut fields = Fields::parse(&record.text).filter(|_| record.record_type == LOST_TYPE)?;
    fields.take("op").filter(|op| *op == LOST_OP.as_bytes())?;
    for name in ["auid", "pid", "uid", "ses", "lost", "res"] {
        fields.take(name)?;
    }
    let cause = |name: &[u8]| String::from_utf8(name.to_vec()).ok();
    let count = |value| str::from_utf8(value).ok()?.parse().ok();
    let rows = fields.rest();
    rows.into_iter().map(|(name, value)| Some(Loss { cause: cause(name)?.into(), count: count(value)? })).collect()
}

fn daemon(record: &Line) -> Option<DaemonEvent> {
    let own = record.record_type.starts_with("DAEMON_") || record.record_type == "CONFIG_CHANGE";
    let mut fields = Fields::parse(&record.text).filter(|_| own)?;
    let (op, success) = (detail(fields.take("op")?)?, fields.take("res")?);
    let (auid, pid, uid) = (fields.id("auid")?, fields.number("pid")?, fields.id("uid")?);
    let session = fields.id("ses")?;
    let rest = fields.rest().into_iter();
    let details = rest.map(|(name, value)| Some((String::from_utf8(name.to_vec()).ok()?.into(), detail(value)?)));
    Some(DaemonEvent {
        record_type: record.record_type.clone().into(),
        op: op.into(),
        auid,
        pid,
        uid,
        session,
        success: matches!(success, b"1" | b"success"),
        details: details.collect::<Option<_>>()?,
    })
}

/// A value of the daemon's own records.
fn detail(value: &[u8]) -> Option<String> {
    let text = str::from_utf8(value).ok()?;
    match text.strip_prefix('"') {
        None => Some(text.to_owned()),
        Some(inner) => String::from_utf8(crate::escape::unescape(inner.strip_suffix('"')?).ok()?).ok(),
    }
}

/// What the enrichment of a record calls the numbers of its fields.
fn collect_names(record: &Line, names: &mut LogNames) {
    let Some(enrichment) = &record.enrichment else { return };
    names.tells();
    let told: Vec<_> = fields(enrichment).collect();
    let mut told = &told[..];
    for (name, value) in fields(&record.text) {
        let Some(kind @ (FieldKind::User | FieldKind::Group)) = field_kind(name) else { continue };
        // What is no id has no name.
        let Some(id) = str::from_utf8(value).ok().and_then(native::id) else { continue };
        // Both stand in the same order.
        let Some(at) = told.iter().position(|(upper, _)| upper.eq_ignore_ascii_case(name)) else { continue };
        let (_, text) = told[at];
        told = &told[at + 1..];
        let Some(Some(text)) = untrusted(text).filter(|_| id != UNSET) else { continue };
        let Ok(text) = String::from_utf8(text) else { continue };
        match kind {
            _ if text == format!("unknown({id})") => {}
            FieldKind::User => names.add_user(id, &text),
            FieldKind::Group => names.add_group(id, &text),
            FieldKind::Arch | FieldKind::Syscall | FieldKind::Sockaddr => {}
        }
    }
}

/// A `SYSCALL` or `URINGOP` record.
fn syscall(record: &Line) -> Option<SyscallEvent> {
    let mut fields = Fields::parse(&record.text)?;
    let mut call = SyscallEvent::default();
    if record.record_type == "URINGOP" {
        call.uring_op = Some(fields.number("uring_op")?);
        (call.ids.auid, call.session) = (UNSET, UNSET);
    } else {
        call.arch = fields.hex("arch")?;
        call.syscall = fields.number("syscall")?;
        call.personality = fields.hex("per").unwrap_or_default();
        call.args = args(&mut fields)?;
        call.ids.auid = fields.id("auid")?;
        call.tty = fields.plain("tty").filter(|tty| tty != b"(none)");
        call.session = fields.id("ses")?;
        call.comm = fields.untrusted("comm")?.unwrap_or_default();
        call.exe = fields.untrusted("exe")?;
    }
    call.exit = fields.number("exit");
    if let Some(success) = fields.take("success") {
        // Exit tells it.
        call.success().filter(|told| success == if *told { b"yes".as_slice() } else { b"no" })?;
    }
    // The records tell their number themselves.
    fields.take("items");
    (call.ppid, call.pid) = (fields.number("ppid")?, fields.number("pid")?);
    effective_ids(&mut fields, &mut call.ids)?;
    call.subject = fields.plain("subj");
    call.rule = RuleRef { keys: keys(fields.untrusted("key")?), ..RuleRef::default() };
    call.verdict = verdict(fields.take("verdict"))?;
    let rest: Vec<_> = fields.rest().into_iter().map(|(name, value)| [name, value].join(&b'=')).collect();
    call.other_fields = (!rest.is_empty()).then(|| rest.join(&b' '));
    Some(call)
}

fn args(fields: &mut Fields<'_>) -> Option<Args> {
    let [a0, a1, a2, a3] = ["a0", "a1", "a2", "a3"].map(|name| fields.hex::<u64>(name));
    Some([a0?, a1?, a2?, a3?].into())
}

fn effective_ids(fields: &mut Fields<'_>, ids: &mut Ids) -> Option<()> {
    (ids.uid, ids.gid) = (fields.id("uid")?, fields.id("gid")?);
    (ids.euid, ids.suid, ids.fsuid) = (fields.id("euid")?, fields.id("suid")?, fields.id("fsuid")?);
    (ids.egid, ids.sgid, ids.fsgid) = (fields.id("egid")?, fields.id("sgid")?, fields.id("fsgid")?);
    Some(())
}

fn keys(joined: Option<Bytes>) -> std::sync::Arc<[Bytes]> {
    let Some(joined) = joined else { return [].into() };
    joined.split(|byte| *byte == KEY_SEPARATOR).map(<[u8]>::to_vec).collect()
}

fn verdict(word: Option<&[u8]>) -> Option<Verdict> {
    match word {
        None => Some(Verdict::Allow),
        Some(word) => Verdict::ALL.into_iter().find(|verdict| verdict.name().as_bytes() == word),
    }
}

struct Collector {
    call: SyscallEvent,
    arguments: Arguments,
}

impl Collector {
    /// Takes a record of the event; `None` where it has no place in it.
    fn record(&mut self, record: &Line) -> Option<()> {
        let (call, text) = (&mut self.call, &record.text);
        match &*record.record_type {
            "EXECVE" => return self.arguments.record(text),
            "PATH" => call.paths.push(path(text)?),
            "OBJ_PID" => call.targets.push(target(text)?),
            "CWD" if call.cwd.is_none() => call.cwd = Some(only(text, "cwd")?),
            "PROCTITLE" if call.proctitle.is_none() => {
                let title = only(text, "proctitle")?;
                call.proctitle = Some(if title == NO_TITLE { Vec::new() } else { title });
            }
            "SOCKADDR" if call.sockaddr.is_none() => call.sockaddr = Some(sockaddr(text)?),
            other => call.parts.push(part::parse(other, text)?),
        }
        Some(())
    }

    fn finish(self) -> SyscallEvent {
        let (argv, missing) = self.arguments.finish();
        let incomplete = if missing { vec!["argv".into()] } else { Vec::new() };
        SyscallEvent { argv, incomplete, ..self.call }
    }
}

/// A record of one untrusted field.
fn only(text: &[u8], name: &str) -> Option<Bytes> {
    let mut fields = Fields::parse(text)?;
    let value = fields.untrusted(name)??;
    fields.whole(value)
}

fn sockaddr(text: &[u8]) -> Option<Bytes> {
    let mut fields = Fields::parse(text)?;
    let bytes = native::unhex(fields.take("saddr")?)?;
    fields.whole(bytes)
}

fn target(text: &[u8]) -> Option<Target> {
    let mut fields = Fields::parse(text)?;
    let target = Target {
        pid: fields.number("opid")?,
        auid: fields.id("oauid")?,
        uid: fields.id("ouid")?,
        session: fields.id("oses")?,
        label: fields.plain("obj"),
        comm: fields.untrusted("ocomm")?.unwrap_or_default(),
    };
    fields.whole(target)
}

fn path(text: &[u8]) -> Option<PathItem> {
    let mut fields = Fields::parse(text)?;
    fields.take("item")?;
    let name = fields.untrusted("name")?;
    let inode = match fields.number("inode") {
        Some(ino) => Some(inode(&mut fields, ino)?),
        None => None,
    };
    let (label, name_type) = (fields.plain("obj"), name_type(fields.take("nametype")?)?);
    let caps = caps(&mut fields)?;
    let path = name.map(|name| without_slash(name, name_type));
    fields.whole(PathItem { path, name_type, source: PathSource::Kernel, inode, label, caps })
}

/// A parent's name ends in the slash that precedes the last name.
fn without_slash(mut name: Bytes, name_type: NameType) -> Bytes {
    if name_type == NameType::Parent && name.len() > 1 && name.ends_with(b"/") && !name.ends_with(b"//") {
        name.pop();
    }
    name
}

fn inode(fields: &mut Fields<'_>, ino: u64) -> Option<Inode> {
    Some(Inode {
        ino,
        dev: device(fields.take("dev")?)?,
        mode: fields.octal("mode")?,
        uid: fields.id("ouid")?,
        gid: fields.id("ogid")?,
        rdev: device(fields.take("rdev")?)?,
    })
}

fn name_type(word: &[u8]) -> Option<NameType> {
    NameType::ALL.into_iter().find(|name_type| name_type.name().as_bytes() == word)
}

/// `None` where they are there and make no sense.
fn caps(fields: &mut Fields<'_>) -> Option<Option<FileCaps>> {
    let Some(permitted) = fields.take("cap_fp") else { return Some(None) };
    if permitted == b"?" {
        let unread = ["cap_fi", "cap_fe", "cap_fver"].iter().all(|name| fields.take(name) == Some(b"?"));
        return unread.then_some(Some(FileCaps::Unread));
    }
    let permitted = hex(permitted)?;
    part::file_caps(fields, "cap_", permitted).map(|caps| Some(FileCaps::Read(caps)))
}
