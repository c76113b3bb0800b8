//! Events of every kind, for tests.

use std::sync::Arc;

use crate::event::*;
use crate::names::Names;
use crate::record::{Record, UNSET};

pub(crate) const NODE: &str = "web1";
const X86_64: u32 = 0xc000_003e;

/// A machine with two users and a few syscalls.
pub(crate) struct FixedNames;

impl Names for FixedNames {
    fn user(&self, uid: u32) -> Option<Arc<str>> {
        match uid {
            0 => Some("root".into()),
            1000 => Some("joe".into()),
            _ => None,
        }
    }

    fn group(&self, gid: u32) -> Option<Arc<str>> {
        self.user(gid)
    }

    fn arch(&self, arch: u32) -> Option<&'static str> {
        (arch == X86_64).then_some("x86_64")
    }

    fn syscall(&self, arch: u32, number: u32) -> Option<&'static str> {
        self.arch(arch)?;
        match number {
            42 => Some("connect"),
            59 => Some("execve"),
            62 => Some("kill"),
            82 => Some("rename"),
            257 => Some("openat"),
            _ => None,
        }
    }

    fn errno(&self, number: i32) -> Option<&'static str> {
        match number {
            1 => Some("EPERM"),
            13 => Some("EACCES"),
            _ => None,
        }
    }
}

pub(crate) fn event(body: Body) -> Event {
    Event { time: 1_795_503_850_123_456_789, serial: 2_147_483_649, body }
}

pub(crate) fn record(event: &Event) -> Record<'_> {
    Record { event, node: NODE, names: &FixedNames }
}

fn rule(keys: &[&str]) -> RuleRef {
    RuleRef {
        number: 3,
        text: "-w /etc -p rwxa -k etc".into(),
        keys: keys.iter().map(|key| key.as_bytes().to_vec()).collect(),
        action: "always",
    }
}

fn call(syscall: u32, keys: &[&str], comm: &str) -> SyscallEvent {
    SyscallEvent {
        rule: rule(keys),
        verdict: Verdict::Allow,
        arch: X86_64,
        syscall,
        args: [0xffff_ff9c, 0x7ffd_0000_1000, 0, 0, 0, u64::MAX],
        exit: Some(0),
        hook: None,
        pid: 812,
        tid: 812,
        ppid: 800,
        ids: Ids {
            auid: 1000,
            uid: 1000,
            euid: 1000,
            suid: 1000,
            fsuid: 1000,
            gid: 1000,
            egid: 1000,
            sgid: 1000,
            fsgid: 1000,
        },
        session: 3,
        tty: Some(b"pts0".to_vec()),
        comm: comm.as_bytes().to_vec(),
        exe: Some(format!("/usr/bin/{comm}").into_bytes()),
        exe_id: Some((8 << 20 | 1, 4711)),
        cwd: Some(b"/home/joe".to_vec()),
        argv: None,
        paths: Vec::new(),
        sockaddr: None,
        targets: Vec::new(),
        incomplete: Vec::new(),
    }
}

fn path(path: &str, name_type: NameType) -> PathItem {
    let inode = Inode { ino: 131_073, dev: 8 << 20 | 1, mode: 0o100_644, uid: 0, gid: 0, rdev: 0 };
    PathItem { path: path.as_bytes().to_vec(), name_type, source: PathSource::Kernel, inode: Some(inode) }
}

/// joe may not read /etc/shadow.
pub(crate) fn open_failed() -> SyscallEvent {
    let shadow = PathItem { source: PathSource::User, inode: None, ..path("/etc/shadow", NameType::Unknown) };
    SyscallEvent { exit: Some(-13), paths: vec![shadow], ..call(257, &["shadow"], "cat") }
}

/// A set-user-ID program with an argument that is not UTF-8.
pub(crate) fn exec() -> SyscallEvent {
    let mut exec = call(59, &["exec"], "ls");
    exec.pid = 813;
    exec.ids.euid = 0;
    exec.hook = Some("bprm_check_security");
    exec.argv = Some(vec![b"ls".to_vec(), b"-l".to_vec(), b"a b".to_vec(), b"caf\xe9".to_vec()]);
    exec.paths = vec![path("/usr/bin/ls", NameType::Normal)];
    exec
}

/// The daemon's cron job, never logged in, is refused a rename.
pub(crate) fn rename_denied() -> SyscallEvent {
    let mut rename = call(82, &["etc", "ren"], "mv");
    rename.pid = 814;
    rename.ids = Ids { auid: UNSET, ..Ids::default() };
    rename.session = UNSET;
    rename.tty = None;
    rename.verdict = Verdict::Deny;
    rename.rule.action = "deny";
    rename.exit = Some(-1);
    rename.hook = Some("inode_rename");
    rename.paths = vec![
        path("/etc", NameType::Parent),
        path("/etc", NameType::Parent),
        path("/etc/a", NameType::Delete),
        path("/etc/b", NameType::Create),
    ];
    rename
}

/// A connection to `sockaddr`.
pub(crate) fn connect(sockaddr: &[u8]) -> SyscallEvent {
    SyscallEvent { sockaddr: Some(sockaddr.to_vec()), hook: Some("socket_connect"), ..call(42, &["net"], "curl") }
}

/// A signal to another user's task.
pub(crate) fn kill() -> SyscallEvent {
    let target = Target { pid: 1, auid: UNSET, uid: 0, session: UNSET, comm: b"init".to_vec() };
    SyscallEvent { targets: vec![target], exit: Some(-1), ..call(62, &[], "bash") }
}

/// An open of a device node whose call never returned and whose path did not fit.
pub(crate) fn device_killed() -> SyscallEvent {
    let mut node = path("/dev/sda", NameType::Normal);
    node.inode = node.inode.map(|inode| Inode { mode: 0o060_660, rdev: 8 << 20, ..inode });
    SyscallEvent {
        verdict: Verdict::Kill,
        exit: None,
        arch: 0x1234,
        syscall: 9999,
        paths: vec![node],
        exe: None,
        exe_id: None,
        cwd: None,
        incomplete: vec!["path"],
        ..call(257, &["dev"], "dd")
    }
}

pub(crate) fn lost() -> Body {
    Body::Lost(vec![Loss { cause: "ring_buffer", count: 10 }, Loss { cause: "queue_full", count: 2 }])
}

pub(crate) fn daemon() -> Body {
    Body::Daemon(DaemonEvent {
        record_type: "DAEMON_START",
        op: "start",
        auid: UNSET,
        pid: 77,
        uid: 0,
        session: UNSET,
        success: true,
        details: vec![("ver", "0.1.0".to_owned())],
    })
}

/// One event of every shape that a record can take.
pub(crate) fn every_kind() -> Vec<Event> {
    let inet = [2, 0, 0, 80, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
    let mut inet6 = vec![10, 0, 1, 187, 0, 0, 0, 0];
    inet6.extend([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0]);
    let netlink = [16, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0];
    let addresses: [&[u8]; 9] =
        [&inet, &inet6, b"\x01\0/run/x", b"\x01\0\0abstract", b"\x01\0", &netlink, &[40, 0, 1, 2], &[0, 0], &[]];
    let calls = [open_failed(), exec(), rename_denied(), kill(), device_killed()];
    let would = SyscallEvent { verdict: Verdict::WouldDeny, exit: Some(3), ..rename_denied() };
    let calls = calls.into_iter().chain([would]).chain(addresses.into_iter().map(connect));
    let bodies = calls.map(|call| Body::Syscall(Box::new(call))).chain([lost(), daemon()]);
    bodies.map(event).collect()
}
