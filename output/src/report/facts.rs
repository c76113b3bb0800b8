//! What aureport knows of an event. It reads each type of record in its own way, and looks at no other fields of it
//! (audit-userspace `src/ausearch-parse.c`, as of 3.0.9, by what it answers); events of all our formats are seen through that.

use std::borrow::Cow;

use crate::address::Address;
use crate::event::{Body, Bytes, DaemonEvent, Event, Message, NameType, PathItem, SyscallEvent};
use crate::format::native::{LOST_TYPE, id};
use crate::record::UNSET;
use crate::search::fields::{pairs, unquoted, untrusted};

type Text<'a> = Cow<'a, [u8]>;

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Facts<'a> {
    /// Name of the first record's type.
    pub(super) first_type: &'a str,
    /// Types of the records that matter to reports, the first one first.
    pub(super) types: Vec<u32>,
    pub(super) success: Option<bool>,
    pub(super) auid: Option<u32>,
    pub(super) uid: Option<u32>,
    pub(super) pid: Option<u32>,
    /// ABI and number.
    pub(super) call: Option<(u32, u32)>,
    pub(super) comm: Option<Text<'a>>,
    pub(super) exe: Option<Text<'a>>,
    pub(super) host: Option<Text<'a>>,
    pub(super) terminal: Option<Text<'a>>,
    /// Account that a program spoke of.
    pub(super) acct: Option<Text<'a>>,
    pub(super) files: Vec<Text<'a>>,
    pub(super) keys: Vec<Text<'a>>,
    pub(super) avcs: Vec<Avc<'a>>,
}

/// What SELinux said.
#[derive(Default)]
pub(super) struct Avc<'a> {
    pub(super) denied: bool,
    pub(super) permission: Text<'a>,
    pub(super) subject: Option<Text<'a>>,
    pub(super) object: Option<Text<'a>>,
    pub(super) class: Option<Text<'a>>,
}

const USER_AVC: u32 = 1107;
const CONFIG_CHANGE: u32 = 1305;
const SYSCALL: u32 = 1300;
const URINGOP: u32 = 1336;

/// Fields that are looked at, by type of record.
fn fields(record_type: u32) -> &'static [&'static str] {
    match record_type {
        1005 | 1100..=1199 | 2100..=2999 => {
            &["pid", "uid", "auid", "acct", "hostname", "addr", "terminal", "exe", "comm", "res"]
        }
        1006 => &["pid", "uid", "auid", "res"],
        1200..=1206 => &["auid", "pid", "uid", "res"],
        1207..=1208 => &["addr", "res"],
        CONFIG_CHANGE => &["auid", "key", "path", "res"],
        1328 | 1702 => &["pid", "uid", "auid", "tty", "comm", "exe", "res"],
        1325 | 1335 => &["pid", "uid", "auid", "tty", "comm", "exe", "res"],
        1326 => &["auid", "uid", "pid", "comm", "exe", "arch", "syscall", "res"],
        1324 => &["saddr"],
        1319 => &["pid", "uid", "auid", "comm"],
        1400 => &["pid", "comm", "path", "name"],
        1403..=1416 => &["auid", "key", "res"],
        1700 => &["auid", "uid"],
        1701 => &["auid", "uid", "pid", "comm", "exe", "res"],
        1800..=1805 => &["pid", "uid", "auid", "comm", "name", "res"],
        _ => &[],
    }
}

impl<'a> Facts<'a> {
    pub(super) fn of(event: &'a Event) -> Self {
        let mut facts = Self::default();
        match &event.body {
            Body::Syscall(call) => facts.call(call),
            Body::Daemon(daemon) => facts.daemon(daemon),
            Body::Messages(messages) => messages.iter().for_each(|message| facts.message(message)),
            Body::Lost(_) => facts.has(LOST_TYPE),
        }
        facts
    }

    pub(super) fn has_type(&self, mut wanted: impl FnMut(u32) -> bool) -> bool {
        self.types.iter().any(|number| wanted(*number))
    }

    fn has(&mut self, record_type: &'a str) {
        if self.types.is_empty() {
            self.first_type = record_type;
        }
        self.types.push(tables::record_type_number(record_type).unwrap_or_default());
    }

    /// In the order of the native records.
    fn call(&mut self, call: &'a SyscallEvent) {
        let (before, after): (Vec<_>, Vec<_>) =
            call.messages.iter().partition(|message| !accompanies(&message.record_type));
        before.into_iter().for_each(|message| self.message(message));
        self.has(if call.uring_op.is_some() { "URINGOP" } else { "SYSCALL" });
        self.success = call.success().or(self.success);
        self.pid = Some(call.pid);
        self.uid = Some(call.ids.uid);
        if call.uring_op.is_none() {
            self.call = Some((call.arch, call.syscall));
            self.auid = Some(call.ids.auid);
            self.comm = Some(Cow::Borrowed(&call.comm));
            self.exe = Some(call.exe.as_ref().map_or(Cow::Borrowed(b"(null)"), |exe| Cow::Borrowed(exe)));
            self.terminal = Some(call.tty.as_ref().map_or(Cow::Borrowed(b"(none)"), |tty| Cow::Borrowed(tty)));
        }
        self.keys.extend(call.rule.keys.iter().map(|key| Cow::Borrowed(key.as_slice())));
        match call.sockaddr.as_deref().map(Address::decode) {
            Some(Address::Inet { ip, .. }) => self.host = Some(ip.to_string().into_bytes().into()),
            Some(Address::Inet6 { ip, .. }) => self.host = Some(ip.to_string().into_bytes().into()),
            Some(Address::Path(name) | Address::Abstract(name)) => self.files.push(name.into()),
            _ => {}
        }
        let cwd = call.cwd.as_deref();
        self.files.extend(call.paths.iter().map(|item| path(item, cwd)));
        after.into_iter().for_each(|message| self.message(message));
    }

    fn daemon(&mut self, daemon: &'a DaemonEvent) {
        self.has(&daemon.record_type);
        self.auid = Some(daemon.auid);
        self.success = Some(daemon.success);
        if daemon.record_type != "CONFIG_CHANGE" {
            (self.pid, self.uid) = (Some(daemon.pid), Some(daemon.uid));
            return;
        }
        for (_, keys) in daemon.details.iter().filter(|(name, _)| name == "key") {
            self.keys.extend(keys.as_bytes().split(|byte| *byte == 1).map(Cow::Borrowed));
        }
    }

    fn message(&mut self, message: &'a Message) {
        self.has(&message.record_type);
        let record_type = self.types.last().copied().unwrap_or_default();
        let looked_at = fields(record_type);
        let mut record = Facts::default();
        for (name, value) in pairs(&message.text) {
            if str::from_utf8(name).is_ok_and(|name| looked_at.contains(&name)) {
                record.field(name, value);
            }
        }
        record.defaults(record_type);
        if matches!(record_type, 1400 | USER_AVC)
            && let Some(avc) = avc(&message.text, record_type)
        {
            record.success = Some(!avc.denied);
            record.avcs.push(avc);
        }
        self.merge(record);
    }

    /// The first field of a name counts.
    fn field(&mut self, name: &[u8], value: &'a [u8]) {
        let number = || id(str::from_utf8(value).ok()?);
        match name {
            b"pid" => self.pid = self.pid.or_else(number),
            b"uid" => self.uid = self.uid.or_else(number),
            b"auid" => self.auid = self.auid.or_else(number),
            b"res" => self.success = self.success.or(Some(!matches!(value, b"failed" | b"no" | b"0"))),
            b"comm" => self.comm = self.comm.take().or_else(|| named(value)),
            b"exe" => self.exe = self.exe.take().or_else(|| named(value)),
            b"acct" => self.acct = self.acct.take().or_else(|| named(value)),
            b"tty" | b"terminal" => self.terminal = self.terminal.take().or_else(|| Some(unquoted(value))),
            // An address tells more than no name.
            b"hostname" | b"addr" | b"saddr" if self.host.as_deref().is_none_or(|host| host == b"?") => {
                self.host = Some(unquoted(value));
            }
            b"name" | b"path" => self.files.extend(named(value)),
            b"key" => {
                let keys = untrusted(value).map(Cow::into_owned).unwrap_or_default();
                self.keys
                    .extend(keys.split(|byte| *byte == 1).filter(|key| !key.is_empty()).map(|key| key.to_vec().into()));
            }
            b"arch" => self.call = u32::from_str_radix(&String::from_utf8_lossy(value), 16).ok().map(|arch| (arch, 0)),
            b"syscall" => self.call = number().map(|number| (self.call.unwrap_or_default().0, number)),
            _ => {}
        }
    }

    /// What is taken for granted where a record does not tell it.
    fn defaults(&mut self, record_type: u32) {
        match record_type {
            CONFIG_CHANGE => self.success = self.success.or(Some(true)),
            1325 | 1335 => {
                self.uid = self.uid.or(Some(0));
                self.auid = self.auid.or(Some(UNSET));
                self.terminal = self.terminal.take().or(Some(Cow::Borrowed(b"(none)")));
                self.exe = self.exe.take().or(Some(Cow::Borrowed(b"(null)")));
            }
            _ => {}
        }
    }

    /// What is known already stays, but for the outcome.
    fn merge(&mut self, later: Self) {
        self.success = later.success.or(self.success);
        self.auid = self.auid.or(later.auid);
        self.uid = self.uid.or(later.uid);
        self.pid = self.pid.or(later.pid);
        self.call = self.call.or(later.call);
        self.comm = self.comm.take().or(later.comm);
        self.exe = self.exe.take().or(later.exe);
        self.host = self.host.take().or(later.host);
        self.terminal = self.terminal.take().or(later.terminal);
        self.acct = self.acct.take().or(later.acct);
        self.files.extend(later.files);
        self.keys.extend(later.keys);
        self.avcs.extend(later.avcs);
    }
}

/// Whether records of a type follow the `SYSCALL`: of those that are carried as text, these did not read as their type says.
fn accompanies(record_type: &str) -> bool {
    let number = tables::record_type_number(record_type).unwrap_or_default();
    (SYSCALL..=1340).contains(&number) && ![CONFIG_CHANGE, 1325, 1326, 1328, 1334, 1335, URINGOP].contains(&number)
}

/// As the kernel writes it; one that begins with a dot continues the working directory.
fn path<'a>(item: &'a PathItem, cwd: Option<&'a [u8]>) -> Text<'a> {
    let Some(path) = &item.path else { return Cow::Borrowed(b"(null)") };
    let mut whole: Text<'a> = Cow::Borrowed(path);
    if item.name_type == NameType::Parent && !path.is_empty() && !path.ends_with(b"/") {
        whole.to_mut().push(b'/');
    }
    let relative = whole.starts_with(b"./") || whole.starts_with(b"..");
    match cwd.filter(|_| relative) {
        Some(cwd) => Cow::Owned([cwd, &whole].join(&b'/')),
        None => whole,
    }
}

/// What somebody chose, `(null)` included.
fn named(value: &[u8]) -> Option<Text<'_>> {
    untrusted(value).or(Some(Cow::Borrowed(value)))
}

/// `avc:  denied  { read write } for ... scontext=A tcontext=B tclass=file`. A program's own context is its `subj`.
fn avc(text: &[u8], record_type: u32) -> Option<Avc<'_>> {
    let open = text.iter().position(|byte| *byte == b'{')?;
    let length = text[open..].iter().position(|byte| *byte == b'}')?;
    let denied = text[..open].windows(6).any(|window| window == b"denied");
    let permission: Bytes = text[open + 1..open + length].trim_ascii().to_vec();
    let mut avc = Avc { denied, permission: permission.into(), ..Avc::default() };
    let subject: &[u8] = if record_type == USER_AVC { b"subj" } else { b"scontext" };
    for (name, value) in pairs(text) {
        match name {
            b"tcontext" => avc.object = Some(unquoted(value)),
            b"tclass" => avc.class = Some(unquoted(value)),
            _ if name == subject => avc.subject = Some(unquoted(value)),
            _ => {}
        }
    }
    avc.class.is_some().then_some(avc)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::fields::pairs;

    fn message(record_type: &'static str, text: &str) -> Event {
        let message = Message { record_type: record_type.into(), text: text.as_bytes().to_vec() };
        Event { time: 0, serial: 1, body: Body::Messages(vec![message]) }
    }

    #[test]
    fn a_record_tells_what_its_type_is_asked_for() {
        let text = "pid=9 uid=0 auid=7 ses=3 msg='op=x acct=\"joe\" exe=\"/bin/su\" hostname=? addr=192.0.2.7 terminal=ssh res=failed'";
        let event = message("USER_AUTH", text);
        let facts = Facts::of(&event);
        assert_eq!(
            (facts.types.as_slice(), facts.pid, facts.auid, facts.success),
            (&[1100][..], Some(9), Some(7), Some(false))
        );
        assert_eq!(facts.host.as_deref(), Some(b"192.0.2.7".as_slice()));
        assert_eq!(facts.acct.as_deref(), Some(b"joe".as_slice()));
        let event = message("MAC_STATUS", text);
        let facts = Facts::of(&event);
        assert_eq!((facts.auid, facts.pid, facts.exe.is_none()), (Some(7), None, true));
    }

    #[test]
    fn refusals_of_selinux() {
        let text =
            "avc:  denied  { read write } for  pid=950 comm=\"httpd\" name=\"x\" scontext=a:b tcontext=c:d tclass=file";
        let event = message("AVC", text);
        let facts = Facts::of(&event);
        let avc = &facts.avcs[0];
        assert_eq!((avc.denied, &*avc.permission, facts.success), (true, b"read write".as_slice(), Some(false)));
        assert_eq!((avc.subject.as_deref(), avc.object.as_deref()), (Some(b"a:b".as_slice()), Some(b"c:d".as_slice())));
        // AppArmor's have another form.
        assert!(Facts::of(&message("AVC", "apparmor=\"DENIED\" operation=\"open\"")).avcs.is_empty());
    }

    proptest::proptest! {
        #[test]
        fn no_text_breaks_it(number in 1000_u32..3000, text in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let record_type = format!("UNKNOWN[{number}]").into();
            let body = Body::Messages(vec![Message { record_type, text: text.clone() }]);
            Facts::of(&Event { time: 0, serial: 1, body });
            let _ = pairs(&text).count();
        }
    }
}
