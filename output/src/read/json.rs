//! A JSON record → event: `docs/records.md` describes every key. Keys that are not known are left alone, as new ones come
//! without notice.

use std::net::IpAddr;

use chrono::DateTime;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{Entry, LogNames, Problem};
use crate::address::{self, Address};
use crate::escape::unescape;
use crate::event::{
    Args, Body, Bytes, DaemonEvent, Event, FileCapSets, FileCaps, Ids, Inode, Loss, Message, NameType, Part, PathItem,
    PathSource, RuleRef, SyscallEvent, Target, Verdict, Word,
};
use crate::format::SCHEMA_VERSION;
use crate::record::UNSET;
use crate::spelling::{device, hex_list, id, octal};

/// Reads one line.
pub(super) fn entry(line: &[u8]) -> Result<Entry, Problem> {
    let head: Head = serde_json::from_slice(line)?;
    if head.schema != SCHEMA_VERSION {
        return Err(Problem::Schema(head.schema));
    }
    let time = DateTime::parse_from_rfc3339(&head.time).ok().and_then(|time| {
        let seconds = u64::try_from(time.timestamp()).ok()?.checked_mul(1_000_000_000)?;
        seconds.checked_add(time.timestamp_subsec_nanos().into())
    });
    let time = time.ok_or(Problem::Value { key: "time", value: head.time })?;
    let mut names = LogNames::default();
    names.tells();
    let body = match &*head.record_type {
        "LOST" => Body::Lost(serde_json::from_slice::<Lost>(line)?.losses),
        _ if head.keys.is_some() => Body::Syscall(Box::new(serde_json::from_slice::<Call>(line)?.event(&mut names)?)),
        _ if head.records.is_some() => {
            let records = serde_json::from_slice::<Messages>(line)?.records;
            Body::Messages(records.into_iter().map(|record| record.message(&mut names)).collect())
        }
        _ => Body::Daemon(serde_json::from_slice::<Daemon>(line)?.event(head.record_type, &mut names)),
    };
    Ok(Entry { node: head.node, event: Event { time, serial: head.serial, body }, names })
}

/// What all records have, and what tells them apart.
#[derive(Deserialize)]
struct Head {
    time: String,
    serial: u64,
    node: String,
    schema: u32,
    #[serde(rename = "type")]
    record_type: String,
    keys: Option<serde::de::IgnoredAny>,
    records: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Lost {
    losses: Vec<Loss>,
}

#[derive(Deserialize)]
struct Messages {
    records: Vec<Told>,
}

/// A record of others.
#[derive(Deserialize)]
struct Told {
    r#type: String,
    text: Text,
    #[serde(default)]
    users: Vec<NamedId>,
    #[serde(default)]
    groups: Vec<NamedId>,
}

#[derive(Deserialize)]
struct NamedId {
    id: u32,
    name: String,
}

impl Told {
    fn message(self, names: &mut LogNames) -> Message {
        self.users.iter().for_each(|user| names.add_user(user.id, &user.name));
        self.groups.iter().for_each(|group| names.add_group(group.id, &group.name));
        Message { record_type: self.r#type.into(), text: self.text.0 }
    }
}

#[derive(Deserialize)]
struct Daemon {
    op: String,
    success: bool,
    pid: u32,
    #[serde(with = "id")]
    auid: u32,
    auid_name: Option<String>,
    #[serde(with = "id")]
    uid: u32,
    uid_name: Option<String>,
    #[serde(with = "id")]
    session: u32,
    details: Details,
}

impl Daemon {
    fn event(self, record_type: String, names: &mut LogNames) -> DaemonEvent {
        user(names, self.auid, self.auid_name);
        user(names, self.uid, self.uid_name);
        let Self { op, success, pid, auid, uid, session, details, .. } = self;
        let (record_type, op, details) = (record_type.into(), op.into(), details.0);
        DaemonEvent { record_type, op, auid, pid, uid, session, success, details }
    }
}

/// Pairs of an object, in order.
struct Details(Vec<(Word, String)>);

impl<'de> Deserialize<'de> for Details {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Details;

            fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str("an object of strings")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Details, M::Error> {
                let mut pairs = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, String>()? {
                    pairs.push((name.into(), value));
                }
                Ok(Details(pairs))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

/// Bytes in the spelling of [`crate::escape`].
struct Text(Bytes);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        unescape(&String::deserialize(deserializer)?).map(Self).map_err(D::Error::custom)
    }
}

fn bytes(text: Option<Text>) -> Option<Bytes> {
    text.map(|text| text.0)
}

fn unset() -> u32 {
    UNSET
}

#[derive(Deserialize)]
struct Call {
    keys: Vec<Text>,
    rule: Option<String>,
    rule_number: Option<u32>,
    action: Option<String>,
    verdict: String,
    uring_op_number: Option<u32>,
    syscall_number: Option<u32>,
    arch: Option<String>,
    personality: Option<String>,
    #[serde(default, with = "hex_list")]
    args: Vec<u64>,
    exit: Option<i64>,
    hook: Option<String>,
    pid: u32,
    tid: Option<u32>,
    ppid: u32,
    #[serde(flatten)]
    ids: CallIds,
    #[serde(default = "unset", with = "id")]
    session: u32,
    subject: Option<Text>,
    tty: Option<Text>,
    comm: Option<Text>,
    exe: Option<Text>,
    exe_dev: Option<String>,
    exe_inode: Option<u64>,
    cwd: Option<Text>,
    argv: Option<Vec<Text>>,
    #[serde(default)]
    paths: Vec<JsonPath>,
    address: Option<JsonAddress>,
    #[serde(default)]
    targets: Vec<JsonTarget>,
    proctitle: Option<Text>,
    #[serde(default)]
    parts: Vec<Part>,
    #[serde(default)]
    records: Vec<Told>,
    other_fields: Option<Text>,
    #[serde(default)]
    incomplete: Vec<String>,
}

/// Ids of the task with their names.
#[derive(Deserialize)]
struct CallIds {
    #[serde(default = "unset", with = "id")]
    auid: u32,
    auid_name: Option<String>,
    #[serde(with = "id")]
    uid: u32,
    uid_name: Option<String>,
    #[serde(with = "id")]
    euid: u32,
    euid_name: Option<String>,
    #[serde(with = "id")]
    suid: u32,
    suid_name: Option<String>,
    #[serde(with = "id")]
    fsuid: u32,
    fsuid_name: Option<String>,
    #[serde(with = "id")]
    gid: u32,
    gid_name: Option<String>,
    #[serde(with = "id")]
    egid: u32,
    egid_name: Option<String>,
    #[serde(with = "id")]
    sgid: u32,
    sgid_name: Option<String>,
    #[serde(with = "id")]
    fsgid: u32,
    fsgid_name: Option<String>,
}

impl CallIds {
    fn ids(self, names: &mut LogNames) -> Ids {
        let Self { auid, uid, euid, suid, fsuid, gid, egid, sgid, fsgid, .. } = self;
        user(names, auid, self.auid_name);
        user(names, uid, self.uid_name);
        user(names, euid, self.euid_name);
        user(names, suid, self.suid_name);
        user(names, fsuid, self.fsuid_name);
        group(names, gid, self.gid_name);
        group(names, egid, self.egid_name);
        group(names, sgid, self.sgid_name);
        group(names, fsgid, self.fsgid_name);
        Ids { auid, uid, euid, suid, fsuid, gid, egid, sgid, fsgid }
    }
}

fn user(names: &mut LogNames, uid: u32, name: Option<String>) {
    if let Some(name) = name.filter(|_| uid != UNSET) {
        names.add_user(uid, &name);
    }
}

fn group(names: &mut LogNames, gid: u32, name: Option<String>) {
    if let Some(name) = name.filter(|_| gid != UNSET) {
        names.add_group(gid, &name);
    }
}

impl Call {
    fn event(self, names: &mut LogNames) -> Result<SyscallEvent, Problem> {
        let verdict = one_of(Verdict::ALL.map(|verdict| (verdict.name(), verdict)), "verdict", &self.verdict)?;
        let personality = match self.personality {
            Some(text) => number(text.strip_prefix("0x"), "personality", &text)?,
            None => 0,
        };
        let exe_id = match (&self.exe_dev, self.exe_inode) {
            (Some(dev), Some(inode)) => Some((device_number("exe_dev", dev)?, inode)),
            _ => None,
        };
        Ok(SyscallEvent {
            rule: RuleRef {
                number: self.rule_number.unwrap_or_default(),
                text: self.rule.unwrap_or_default().into(),
                keys: self.keys.into_iter().map(|key| key.0).collect(),
                action: self.action.unwrap_or_default().into(),
            },
            verdict,
            arch: self.arch.map_or(Ok(0), |arch| arch_number(&arch))?,
            syscall: self.syscall_number.unwrap_or_default(),
            personality,
            uring_op: self.uring_op_number,
            args: args(&self.args)?,
            exit: self.exit,
            hook: self.hook.map(Word::from),
            pid: self.pid,
            tid: self.tid,
            ppid: self.ppid,
            ids: self.ids.ids(names),
            session: self.session,
            subject: bytes(self.subject),
            tty: bytes(self.tty),
            comm: bytes(self.comm).unwrap_or_default(),
            exe: bytes(self.exe),
            exe_id,
            cwd: bytes(self.cwd),
            argv: self.argv.map(|argv| argv.into_iter().map(|argument| argument.0).collect()),
            paths: self.paths.into_iter().map(|path| path.item(names)).collect::<Result<_, _>>()?,
            sockaddr: self.address.map(JsonAddress::bytes).transpose()?,
            targets: self.targets.into_iter().map(|target| target.target(names)).collect(),
            proctitle: bytes(self.proctitle),
            parts: self.parts,
            messages: self.records.into_iter().map(|record| record.message(names)).collect(),
            other_fields: bytes(self.other_fields),
            incomplete: self.incomplete.into_iter().map(Word::from).collect(),
        })
    }
}

fn one_of<T: Copy, const N: usize>(rows: [(&str, T); N], key: &'static str, word: &str) -> Result<T, Problem> {
    let found = rows.into_iter().find(|(name, _)| *name == word);
    found.map(|(_, value)| value).ok_or_else(|| Problem::Value { key, value: word.to_owned() })
}

fn number(digits: Option<&str>, key: &'static str, text: &str) -> Result<u32, Problem> {
    let number = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
    number.ok_or_else(|| Problem::Value { key, value: text.to_owned() })
}

fn arch_number(arch: &str) -> Result<u32, Problem> {
    match tables::Arch::from_machine(arch) {
        Some(known) => Ok(known.audit_arch()),
        None => number(arch.strip_prefix("0x"), "arch", arch),
    }
}

fn device_number(key: &'static str, text: &str) -> Result<u32, Problem> {
    device(text).ok_or_else(|| Problem::Value { key, value: text.to_owned() })
}

fn args(values: &[u64]) -> Result<Args, Problem> {
    match *values {
        [] => Ok(Args::default()),
        [a0, a1, a2, a3] => Ok([a0, a1, a2, a3].into()),
        [a0, a1, a2, a3, a4, a5] => Ok([a0, a1, a2, a3, a4, a5].into()),
        _ => Err(Problem::Value { key: "args", value: format!("{values:x?}") }),
    }
}

#[derive(Deserialize)]
struct JsonPath {
    path: Option<Text>,
    nametype: String,
    source: String,
    inode: Option<u64>,
    dev: Option<String>,
    #[serde(default, with = "octal_or_none")]
    mode: Option<u32>,
    #[serde(default = "unset", with = "id")]
    ouid: u32,
    ouid_name: Option<String>,
    #[serde(default = "unset", with = "id")]
    ogid: u32,
    ogid_name: Option<String>,
    rdev: Option<String>,
    label: Option<Text>,
    caps: Option<Caps>,
}

/// A mode, where there is one.
mod octal_or_none {
    use super::*;

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
        octal::deserialize(deserializer).map(Some)
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Caps {
    Unread(Unread),
    Read(FileCapSets),
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Unread {
    Unread,
}

impl JsonPath {
    fn item(self, names: &mut LogNames) -> Result<PathItem, Problem> {
        let inode = match (self.inode, &self.dev, self.mode) {
            (Some(ino), Some(dev), Some(mode)) => {
                let rdev = self.rdev.as_deref().map_or(Ok(0), |rdev| device_number("rdev", rdev))?;
                user(names, self.ouid, self.ouid_name);
                group(names, self.ogid, self.ogid_name);
                Some(Inode { ino, dev: device_number("dev", dev)?, mode, uid: self.ouid, gid: self.ogid, rdev })
            }
            _ => None,
        };
        Ok(PathItem {
            path: bytes(self.path),
            name_type: one_of(
                NameType::ALL.map(|name_type| (name_type.name(), name_type)),
                "nametype",
                &self.nametype,
            )?,
            source: one_of(PathSource::ALL.map(|source| (source.name(), source)), "source", &self.source)?,
            inode,
            label: bytes(self.label),
            caps: self.caps.map(|caps| match caps {
                Caps::Unread(Unread::Unread) => FileCaps::Unread,
                Caps::Read(caps) => FileCaps::Read(caps),
            }),
        })
    }
}

#[derive(Deserialize)]
struct JsonTarget {
    pid: u32,
    #[serde(with = "id")]
    auid: u32,
    auid_name: Option<String>,
    #[serde(with = "id")]
    uid: u32,
    uid_name: Option<String>,
    #[serde(with = "id")]
    session: u32,
    label: Option<Text>,
    comm: Text,
}

impl JsonTarget {
    fn target(self, names: &mut LogNames) -> Target {
        user(names, self.auid, self.auid_name);
        user(names, self.uid, self.uid_name);
        let Self { pid, auid, uid, session, .. } = self;
        Target { pid, auid, uid, session, label: bytes(self.label), comm: self.comm.0 }
    }
}

#[derive(Deserialize)]
struct JsonAddress {
    family: String,
    ip: Option<IpAddr>,
    #[serde(default)]
    port: u16,
    #[serde(default)]
    scope_id: u32,
    path: Option<Text>,
    r#abstract: Option<Text>,
    port_id: Option<u32>,
    #[serde(default)]
    groups: u32,
    length: Option<usize>,
    hex: Option<String>,
}

impl JsonAddress {
    fn bytes(self) -> Result<Bytes, Problem> {
        if let Some(hex) = self.hex {
            return crate::format::native::unhex(hex.as_bytes()).ok_or(Problem::Value { key: "hex", value: hex });
        }
        let address = match (&*self.family, self.ip, &self.path, &self.r#abstract, self.port_id) {
            ("inet", Some(IpAddr::V4(ip)), ..) => Address::Inet { ip, port: self.port },
            ("inet6", Some(IpAddr::V6(ip)), ..) => Address::Inet6 { ip, port: self.port, scope_id: self.scope_id },
            ("local", _, Some(path), ..) => Address::Path(&path.0),
            ("local", _, None, Some(name), _) => Address::Abstract(&name.0),
            ("local", ..) => Address::Unnamed,
            ("netlink", .., Some(port_id)) => Address::Netlink { port_id, groups: self.groups },
            _ => return Err(Problem::Value { key: "family", value: self.family }),
        };
        let mut bytes = address.encode();
        if let Some(length) = self.length.filter(|length| (bytes.len()..=address::LONGEST).contains(length)) {
            bytes.resize(length, 0);
        }
        Ok(bytes)
    }
}
