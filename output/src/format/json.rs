//! The `json` format: `docs/records.md` describes every key.
//!
//! Serialised straight from the event, key by key, so that nothing is built in between.

use std::collections::BTreeSet;
use std::fmt::{self, Display};

use chrono::SecondsFormat;
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};

use super::SCHEMA_VERSION;
use super::json_writer::JsonWriter;
use super::native::{self, FieldKind};
use crate::address::{Address, LONGEST};
use crate::escape::Escaped;
use crate::event::{Body, Bytes, DaemonEvent, FileCaps, Inode, Loss, Message, PathItem, SyscallEvent, Target, Word};
use crate::record::{Record, UNSET};

/// Appends the record, without a newline.
pub(super) fn write(record: &Record<'_>, line: &mut Vec<u8>) {
    write_value(record, line);
}

/// Appends a value as compact JSON on which no terminal acts.
pub(super) fn write_value(value: &impl Serialize, line: &mut Vec<u8>) {
    let start = line.len();
    if let Err(error) = value.serialize(&mut JsonWriter::new(line)) {
        // Neither a Vec nor our own Serialize can fail; a broken half line must not stay should that change.
        line.truncate(start);
        tracing::error!(%error, "record cannot be serialised");
    }
}

impl Serialize for Record<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("time", &self.time().to_rfc3339_opts(SecondsFormat::Nanos, true))?;
        map.serialize_entry("serial", &self.event.serial)?;
        map.serialize_entry("node", self.node)?;
        map.serialize_entry("schema", &SCHEMA_VERSION)?;
        map.serialize_entry("type", self.record_type())?;
        match &self.event.body {
            Body::Syscall(call) => self.syscall(call, &mut map)?,
            Body::Lost(losses) => lost(losses, &mut map)?,
            Body::Daemon(daemon) => self.daemon(daemon, &mut map)?,
            Body::Messages(messages) => self.messages(messages, &mut map)?,
        }
        map.end()
    }
}

impl Record<'_> {
    fn syscall<M: SerializeMap>(&self, call: &SyscallEvent, map: &mut M) -> Result<(), M::Error> {
        map.serialize_entry("keys", &List(call.rule.keys.iter().map(|key| Escaped(key))))?;
        if call.rule.number != 0 {
            map.serialize_entry("rule", &*call.rule.text)?;
            map.serialize_entry("rule_number", &call.rule.number)?;
            map.serialize_entry("action", &call.rule.action)?;
        }
        map.serialize_entry("verdict", call.verdict.name())?;
        self.call(call, map)?;
        self.task(call, map)?;
        if let Some(argv) = &call.argv {
            map.serialize_entry("argv", &escaped_list(argv))?;
        }
        if !call.paths.is_empty() {
            map.serialize_entry("paths", &List(call.paths.iter().map(|item| Path { record: self, item })))?;
        }
        if let Some(bytes) = &call.sockaddr {
            map.serialize_entry("address", &Sockaddr(bytes))?;
        }
        if !call.targets.is_empty() {
            map.serialize_entry("targets", &List(call.targets.iter().map(|target| Acted { record: self, target })))?;
        }
        entry(map, "proctitle", call.proctitle.as_deref().map(Escaped))?;
        if !call.parts.is_empty() {
            map.serialize_entry("parts", &call.parts)?;
        }
        if !call.messages.is_empty() {
            self.messages(&call.messages, map)?;
        }
        entry(map, "other_fields", call.other_fields.as_deref().map(Escaped))?;
        if !call.incomplete.is_empty() {
            map.serialize_entry("incomplete", &call.incomplete)?;
        }
        Ok(())
    }

    /// The call and its outcome.
    fn call<M: SerializeMap>(&self, call: &SyscallEvent, map: &mut M) -> Result<(), M::Error> {
        if let Some(op) = call.uring_op {
            entry(map, "uring_op", tables::io_uring_op_name(op))?;
            map.serialize_entry("uring_op_number", &op)?;
        }
        // A native record of an io_uring operation has no call.
        if call.uring_op.is_none() || call.arch != 0 {
            self.number_and_args(call, map)?;
        }
        entry(map, "success", call.success())?;
        entry(map, "exit", call.exit)?;
        entry(map, "errno", self.errno(call))?;
        entry(map, "hook", call.hook.as_ref())
    }

    fn number_and_args<M: SerializeMap>(&self, call: &SyscallEvent, map: &mut M) -> Result<(), M::Error> {
        entry(map, "syscall", self.names.syscall(call.arch, call.syscall))?;
        map.serialize_entry("syscall_number", &call.syscall)?;
        match self.names.arch(call.arch) {
            Some(name) => map.serialize_entry("arch", name)?,
            None => map.serialize_entry("arch", &Hex(call.arch.into()))?,
        }
        if call.personality != 0 {
            map.serialize_entry("personality", &Hex(call.personality.into()))?;
        }
        if call.args.is_empty() {
            return Ok(());
        }
        map.serialize_entry("args", &List(call.args.iter().map(|argument| Hex(*argument))))
    }

    /// Who did it.
    fn task<M: SerializeMap>(&self, call: &SyscallEvent, map: &mut M) -> Result<(), M::Error> {
        map.serialize_entry("pid", &call.pid)?;
        entry(map, "tid", call.tid)?;
        map.serialize_entry("ppid", &call.ppid)?;
        let ids = &call.ids;
        // Nor has it a login, or a program.
        let whole = call.uring_op.is_none() || call.arch != 0;
        if whole {
            id(map, ("auid", "auid_name"), ids.auid, self.user(ids.auid).as_deref())?;
        }
        let users = [
            (("uid", "uid_name"), ids.uid),
            (("euid", "euid_name"), ids.euid),
            (("suid", "suid_name"), ids.suid),
            (("fsuid", "fsuid_name"), ids.fsuid),
        ];
        for (keys, uid) in users {
            id(map, keys, uid, self.user(uid).as_deref())?;
        }
        let groups = [
            (("gid", "gid_name"), ids.gid),
            (("egid", "egid_name"), ids.egid),
            (("sgid", "sgid_name"), ids.sgid),
            (("fsgid", "fsgid_name"), ids.fsgid),
        ];
        for (keys, gid) in groups {
            id(map, keys, gid, self.group(gid).as_deref())?;
        }
        if whole {
            map.serialize_entry("session", &unless_unset(call.session))?;
        }
        entry(map, "subject", call.subject.as_deref().map(Escaped))?;
        entry(map, "tty", call.tty.as_deref().map(Escaped))?;
        entry(map, "comm", whole.then_some(Escaped(&call.comm)))?;
        entry(map, "exe", call.exe.as_deref().map(Escaped))?;
        if let Some((dev, inode)) = call.exe_id {
            map.serialize_entry("exe_dev", &Device(dev))?;
            map.serialize_entry("exe_inode", &inode)?;
        }
        entry(map, "cwd", call.cwd.as_deref().map(Escaped))
    }

    fn messages<M: SerializeMap>(&self, messages: &[Message], map: &mut M) -> Result<(), M::Error> {
        map.serialize_entry("records", &List(messages.iter().map(|message| Told { record: self, message })))
    }

    fn daemon<M: SerializeMap>(&self, daemon: &DaemonEvent, map: &mut M) -> Result<(), M::Error> {
        map.serialize_entry("op", &daemon.op)?;
        map.serialize_entry("success", &daemon.success)?;
        map.serialize_entry("pid", &daemon.pid)?;
        id(map, ("auid", "auid_name"), daemon.auid, self.user(daemon.auid).as_deref())?;
        id(map, ("uid", "uid_name"), daemon.uid, self.user(daemon.uid).as_deref())?;
        map.serialize_entry("session", &unless_unset(daemon.session))?;
        map.serialize_entry("details", &Details(&daemon.details))
    }
}

fn lost<M: SerializeMap>(losses: &[Loss], map: &mut M) -> Result<(), M::Error> {
    map.serialize_entry("lost", &losses.iter().fold(0_u64, |total, loss| total.saturating_add(loss.count)))?;
    map.serialize_entry("losses", &List(losses.iter()))
}

/// Writes a key only where it has a value.
fn entry<M: SerializeMap>(map: &mut M, key: &str, value: Option<impl Serialize>) -> Result<(), M::Error> {
    value.map_or(Ok(()), |value| map.serialize_entry(key, &value))
}

/// An id and, where it has one, its name.
fn id<M: SerializeMap>(
    map: &mut M,
    (key, name_key): (&str, &str),
    id: u32,
    name: Option<&str>,
) -> Result<(), M::Error> {
    map.serialize_entry(key, &unless_unset(id))?;
    entry(map, name_key, name)
}

fn unless_unset(id: u32) -> Option<u32> {
    (id != UNSET).then_some(id)
}

fn escaped_list(items: &[Bytes]) -> List<impl Iterator<Item = Escaped<'_>> + Clone> {
    List(items.iter().map(|item| Escaped(item)))
}

/// Serialises what an iterator yields.
struct List<I>(I);

impl<I: Iterator<Item: Serialize> + Clone> Serialize for List<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut sequence = serializer.serialize_seq(None)?;
        for item in self.0.clone() {
            sequence.serialize_element(&item)?;
        }
        sequence.end()
    }
}

/// Serialises what is displayed, without a copy.
struct Shown<D>(D);

impl<D: Display> Serialize for Shown<D> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// A syscall argument.
struct Hex(u64);

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(Digits::default().number(self.0, 16, 1).prefix(b"0x").text())
    }
}

/// A device number as audit writes it: `major:minor` in hex.
struct Device(u32);

impl Serialize for Device {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (major, minor) = (u64::from(self.0 >> 20), u64::from(self.0 & 0xf_ffff));
        serializer.serialize_str(Digits::default().number(minor, 16, 2).prefix(b":").number(major, 16, 2).text())
    }
}

/// The mode of a file, in octal.
struct Mode(u32);

impl Serialize for Mode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(Digits::default().number(self.0.into(), 8, 1).prefix(b"0").text())
    }
}

/// Digits, from the last to the first: there are ten such numbers in a record, and `format_args` makes a third of its cost.
#[derive(Default)]
struct Digits {
    text: [u8; 32],
    length: usize,
}

impl Digits {
    /// A number in front of what is there, of so many digits at least.
    fn number(mut self, mut number: u64, radix: u64, width: usize) -> Self {
        let end = self.length + width;
        while number != 0 || self.length < end {
            let digit = u8::try_from(number % radix).unwrap_or_default();
            self = self.prefix(&[if digit < 10 { b'0' + digit } else { b'a' - 10 + digit }]);
            number /= radix;
        }
        self
    }

    /// Text in front of what is there.
    fn prefix(mut self, text: &[u8]) -> Self {
        let at = self.text.len() - self.length;
        if let Some(place) = at.checked_sub(text.len()).and_then(|start| self.text.get_mut(start..at)) {
            place.copy_from_slice(text);
            self.length += text.len();
        }
        self
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.text[self.text.len() - self.length..]).unwrap_or_default()
    }
}

struct Path<'a> {
    record: &'a Record<'a>,
    item: &'a PathItem,
}

impl Serialize for Path<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        entry(&mut map, "path", self.item.path.as_deref().map(Escaped))?;
        map.serialize_entry("nametype", self.item.name_type.name())?;
        map.serialize_entry("source", self.item.source.name())?;
        if let Some(inode) = &self.item.inode {
            self.inode(inode, &mut map)?;
        }
        entry(&mut map, "label", self.item.label.as_deref().map(Escaped))?;
        match &self.item.caps {
            None => {}
            Some(FileCaps::Unread) => map.serialize_entry("caps", "unread")?,
            Some(FileCaps::Read(caps)) => map.serialize_entry("caps", caps)?,
        }
        map.end()
    }
}

impl Path<'_> {
    fn inode<M: SerializeMap>(&self, inode: &Inode, map: &mut M) -> Result<(), M::Error> {
        map.serialize_entry("inode", &inode.ino)?;
        map.serialize_entry("dev", &Device(inode.dev))?;
        map.serialize_entry("mode", &Mode(inode.mode))?;
        id(map, ("ouid", "ouid_name"), inode.uid, self.record.user(inode.uid).as_deref())?;
        id(map, ("ogid", "ogid_name"), inode.gid, self.record.group(inode.gid).as_deref())?;
        if is_device(inode.mode) || inode.rdev != 0 {
            map.serialize_entry("rdev", &Device(inode.rdev))?;
        }
        Ok(())
    }
}

/// Whether `st_mode` is that of a character or block device.
fn is_device(mode: u32) -> bool {
    matches!(mode & 0o170_000, 0o020_000 | 0o060_000)
}

struct Acted<'a> {
    record: &'a Record<'a>,
    target: &'a Target,
}

impl Serialize for Acted<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("pid", &self.target.pid)?;
        id(&mut map, ("auid", "auid_name"), self.target.auid, self.record.user(self.target.auid).as_deref())?;
        id(&mut map, ("uid", "uid_name"), self.target.uid, self.record.user(self.target.uid).as_deref())?;
        map.serialize_entry("session", &unless_unset(self.target.session))?;
        entry(&mut map, "label", self.target.label.as_deref().map(Escaped))?;
        map.serialize_entry("comm", &Escaped(&self.target.comm))?;
        map.end()
    }
}

impl Serialize for Loss {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("cause", &self.cause)?;
        map.serialize_entry("count", &self.count)?;
        map.end()
    }
}

/// A record of others: the ids in it have names too.
struct Told<'a> {
    record: &'a Record<'a>,
    message: &'a Message,
}

impl Serialize for Told<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", &self.message.record_type)?;
        map.serialize_entry("text", &Escaped(&self.message.text))?;
        let names = self.record.names;
        for (key, kind) in [("users", FieldKind::User), ("groups", FieldKind::Group)] {
            let look_up = |id| if kind == FieldKind::User { names.user(id) } else { names.group(id) };
            let ids: BTreeSet<u32> = native::ids(&self.message.text, kind).filter(|id| *id != UNSET).collect();
            let named = ids.into_iter().filter_map(|id| Some(NamedId { id, name: look_up(id)?.to_string() }));
            let named: Vec<_> = named.collect();
            if !named.is_empty() {
                map.serialize_entry(key, &named)?;
            }
        }
        map.end()
    }
}

/// An id that stands in the text of a record.
#[derive(Serialize)]
struct NamedId {
    id: u32,
    name: String,
}

struct Details<'a>(&'a [(Word, String)]);

impl Serialize for Details<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

/// A socket address, of which no byte gets lost.
struct Sockaddr<'a>(&'a [u8]);

impl Serialize for Sockaddr<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let address = Address::decode(self.0);
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("family", address.family())?;
        address.entries(&mut map)?;
        let told = address.encode();
        match self.0.strip_prefix(&*told) {
            Some([]) => {}
            Some(rest) if rest.iter().all(|byte| *byte == 0) && self.0.len() <= LONGEST => {
                map.serialize_entry("length", &self.0.len())?;
            }
            _ => map.serialize_entry("hex", &Shown(HexBytes(self.0)))?,
        }
        map.end()
    }
}

impl Address<'_> {
    fn entries<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        match self {
            Self::Inet { ip, port } => {
                map.serialize_entry("ip", ip)?;
                map.serialize_entry("port", port)?;
            }
            Self::Inet6 { ip, port, scope_id } => {
                map.serialize_entry("ip", ip)?;
                map.serialize_entry("port", port)?;
                entry(map, "scope_id", (*scope_id != 0).then_some(scope_id))?;
            }
            Self::Path(path) => map.serialize_entry("path", &Escaped(path))?,
            Self::Abstract(name) => map.serialize_entry("abstract", &Escaped(name))?,
            Self::Unnamed => {}
            Self::Netlink { port_id, groups } => {
                map.serialize_entry("port_id", port_id)?;
                map.serialize_entry("groups", groups)?;
            }
            Self::Other { family, bytes } => {
                entry(map, "family_number", *family)?;
                map.serialize_entry("hex", &Shown(HexBytes(bytes)))?;
            }
        }
        Ok(())
    }
}

struct HexBytes<'a>(&'a [u8]);

impl Display for HexBytes<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}
