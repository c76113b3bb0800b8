//! What a query looks at, of events of every kind.

use std::borrow::Cow;

use super::fields::{pairs, unquoted, untrusted};
use crate::address::Address;
use crate::event::{Body, DaemonEvent, Event, Message, SyscallEvent};
use crate::format::native::id;

/// See the module's documentation. Of records that are carried as text, the fields that ausearch knows.
#[derive(Default)]
pub(super) struct Facts<'a> {
    /// ABI and number of the system call.
    pub(super) call: Option<(u32, u32)>,
    pub(super) exit: Option<i64>,
    pub(super) pid: Option<u32>,
    pub(super) ppid: Option<u32>,
    pub(super) uid: Option<u32>,
    pub(super) euid: Option<u32>,
    pub(super) auid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) egid: Option<u32>,
    pub(super) session: Option<u32>,
    pub(super) success: Option<bool>,
    pub(super) comm: Vec<Cow<'a, [u8]>>,
    pub(super) exe: Vec<Cow<'a, [u8]>>,
    pub(super) terminals: Vec<Cow<'a, [u8]>>,
    pub(super) hosts: Vec<Cow<'a, [u8]>>,
    pub(super) files: Vec<Cow<'a, [u8]>>,
    pub(super) keys: Vec<Cow<'a, [u8]>>,
    /// What was done, in the words of who recorded it.
    pub(super) op: Vec<Cow<'a, [u8]>>,
}

impl<'a> Facts<'a> {
    pub(super) fn of(event: &'a Event) -> Self {
        let mut facts = Self::default();
        match &event.body {
            Body::Syscall(call) => facts.call(call),
            Body::Daemon(daemon) => facts.daemon(daemon),
            Body::Messages(messages) => messages.iter().for_each(|message| facts.message(message)),
            Body::Lost(_) => {}
        }
        facts
    }

    fn call(&mut self, call: &'a SyscallEvent) {
        self.call = call.uring_op.is_none().then_some((call.arch, call.syscall));
        self.exit = call.exit;
        self.pid = Some(call.pid);
        self.ppid = Some(call.ppid);
        self.uid = Some(call.ids.uid);
        self.euid = Some(call.ids.euid);
        self.auid = Some(call.ids.auid);
        self.gid = Some(call.ids.gid);
        self.egid = Some(call.ids.egid);
        self.session = Some(call.session);
        self.success = call.success();
        self.comm.push(Cow::Borrowed(&call.comm));
        let text = |bytes: &'a Vec<u8>| Cow::Borrowed(bytes.as_slice());
        self.exe.extend(call.exe.as_ref().map(text));
        self.terminals.extend(call.tty.as_ref().map(text));
        self.keys.extend(call.rule.keys.iter().map(text));
        self.files.extend(call.paths.iter().filter_map(|item| item.path.as_ref()).chain(&call.cwd).map(text));
        if let Some(sockaddr) = &call.sockaddr {
            match Address::decode(sockaddr) {
                Address::Inet { ip, .. } => self.hosts.push(ip.to_string().into_bytes().into()),
                Address::Inet6 { ip, .. } => self.hosts.push(ip.to_string().into_bytes().into()),
                Address::Path(path) => self.files.push(path.into()),
                _ => {}
            }
        }
        call.messages.iter().for_each(|message| self.message(message));
    }

    fn daemon(&mut self, daemon: &'a DaemonEvent) {
        self.pid = Some(daemon.pid);
        self.uid = Some(daemon.uid);
        self.auid = Some(daemon.auid);
        self.session = Some(daemon.session);
        self.success = Some(daemon.success);
        for (_, keys) in daemon.details.iter().filter(|(name, _)| name == "key") {
            self.keys.extend(keys.as_bytes().split(|byte| *byte == 1).map(Cow::Borrowed));
        }
    }

    /// What is known already stays.
    fn message(&mut self, message: &'a Message) {
        for (name, value) in pairs(&message.text) {
            let number = || id(str::from_utf8(value).ok()?);
            match name {
                b"pid" => self.pid = self.pid.or_else(number),
                b"ppid" => self.ppid = self.ppid.or_else(number),
                b"uid" => self.uid = self.uid.or_else(number),
                b"euid" => self.euid = self.euid.or_else(number),
                b"auid" => self.auid = self.auid.or_else(number),
                b"gid" => self.gid = self.gid.or_else(number),
                b"egid" => self.egid = self.egid.or_else(number),
                b"ses" => self.session = self.session.or_else(number),
                b"res" | b"success" => self.success = self.success.or_else(|| success(value)),
                b"comm" => self.comm.extend(untrusted(value)),
                b"exe" => self.exe.extend(untrusted(value)),
                b"name" | b"path" | b"cwd" => self.files.extend(untrusted(value)),
                b"key" => self.keys.extend(untrusted(value)),
                b"op" => self.op.push(unquoted(value)),
                b"tty" | b"terminal" => self.terminals.push(unquoted(value)),
                b"hostname" | b"addr" | b"laddr" => self.hosts.push(unquoted(value)),
                _ => {}
            }
        }
    }
}

/// What programs write as their result.
fn success(value: &[u8]) -> Option<bool> {
    match value {
        b"success" | b"yes" | b"1" => Some(true),
        b"failed" | b"no" | b"0" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn no_text_breaks_it(text in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let message = Message { record_type: "USER".into(), text };
            Facts::default().message(&message);
        }
    }
}
