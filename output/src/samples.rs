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
        action: "always".into(),
    }
}

fn call(syscall: u32, keys: &[&str], comm: &str) -> SyscallEvent {
    SyscallEvent {
        rule: rule(keys),
        verdict: Verdict::Allow,
        arch: X86_64,
        syscall,
        args: [0xffff_ff9c, 0x7ffd_0000_1000, 0, 0, 0, u64::MAX].into(),
        exit: Some(0),
        pid: 812,
        tid: Some(812),
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
        ..SyscallEvent::default()
    }
}

fn path(path: &str, name_type: NameType) -> PathItem {
    let inode = Inode { ino: 131_073, dev: 8 << 20 | 1, mode: 0o100_644, uid: 0, gid: 0, rdev: 0 };
    let path = Some(path.as_bytes().to_vec());
    PathItem { path, name_type, source: PathSource::Kernel, inode: Some(inode), ..PathItem::default() }
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
    exec.hook = Some("bprm_check_security".into());
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
    rename.rule.action = "deny".into();
    rename.exit = Some(-1);
    rename.hook = Some("inode_rename".into());
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
    SyscallEvent {
        sockaddr: Some(sockaddr.to_vec()),
        hook: Some("socket_connect".into()),
        ..call(42, &["net"], "curl")
    }
}

/// A signal to another user's task.
pub(crate) fn kill() -> SyscallEvent {
    let target = Target { pid: 1, auid: UNSET, uid: 0, session: UNSET, comm: b"init".to_vec(), ..Target::default() };
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
        incomplete: vec!["path".into()],
        ..call(257, &["dev"], "dd")
    }
}

pub(crate) fn lost() -> Body {
    Body::Lost(vec![Loss { cause: "ring_buffer".into(), count: 10 }, Loss { cause: "queue_full".into(), count: 2 }])
}

pub(crate) fn daemon() -> Body {
    Body::Daemon(DaemonEvent {
        record_type: "DAEMON_START".into(),
        op: "start".into(),
        auid: UNSET,
        pid: 77,
        uid: 0,
        session: UNSET,
        success: true,
        details: vec![("ver".into(), "0.1.0".to_owned())],
    })
}

/// Every part that a call can have.
pub(crate) fn every_part() -> Vec<Part> {
    let attributes = MqAttributes { flags: 0x800, max_messages: 10, message_size: 8192, messages: 1 };
    let file = FileCapSets { permitted: 0x2000, effective: true, version: 0x0200_0000, ..FileCapSets::default() };
    let new = TaskCaps { permitted: 0x2000, effective: 0x2000, ..TaskCaps::default() };
    let label = Some(b"system_u:object_r:tmpfs_t:s0".to_vec());
    vec![
        Part::BprmCaps(Box::new(BprmCaps { file, new, ..BprmCaps::default() })),
        Part::SocketCall { args: vec![2, 0x10, 0] },
        Part::Ipc(Ipc { uid: 0, gid: UNSET, mode: 0o600, label }),
        Part::IpcSetPerm(IpcPerm { queue_bytes: 16_384, uid: 0, gid: 0, mode: 0o600 }),
        Part::MqOpen { flags: 0x42, mode: 0o600, attributes },
        Part::MqSendReceive { queue: 3, length: 5, priority: 1, timeout_seconds: 9, timeout_nanoseconds: 1 },
        Part::MqNotify { queue: 3, signal: 10 },
        Part::MqGetSetAttr { queue: 3, attributes },
        Part::Capset { pid: 7, inheritable: 0, permitted: 1, effective: 0, ambient: 0 },
        Part::Mmap { fd: 3, flags: 2 },
        Part::Openat2 { flags: 2, mode: 0, resolve: 4 },
        Part::KernelModule { name: Some(b"nf_tables".to_vec()) },
        Part::KernelModule { name: None },
        Part::TimeInjOffset { seconds: -1, nanoseconds: 999_477_582 },
        Part::TimeAdjNtpVal { op: "tick".into(), old: 10_000, new: 9999 },
        Part::FdPair { fd0: 6, fd1: 7 },
    ]
}

fn parts() -> impl Iterator<Item = SyscallEvent> {
    every_part().into_iter().map(|part| SyscallEvent { parts: vec![part], ..call(42, &["part"], "part") })
}

/// What a log of the kernel's audit tells of a call: fewer things, and some more.
pub(crate) fn read_from_native() -> SyscallEvent {
    let mut chmod = call(91, &["perm"], "chmod");
    chmod.rule = RuleRef { keys: chmod.rule.keys, ..RuleRef::default() };
    chmod.args = [3, 0o640, 0, 0].into();
    chmod.tid = None;
    chmod.exe_id = None;
    chmod.personality = 8;
    chmod.subject = Some(b"unconfined".to_vec());
    chmod.proctitle = Some(b"chmod\x00640".to_vec());
    chmod.other_fields = Some(b"new=1".to_vec());
    chmod.messages = vec![Message { record_type: "AVC".into(), text: b"avc:  denied  { open } for  pid=812".to_vec() }];
    let caps = FileCapSets { permitted: 1, ..FileCapSets::default() };
    let label = Some(b"system_u:object_r:etc_t:s0".to_vec());
    let named = path("a/b", NameType::Parent);
    chmod.paths = vec![
        PathItem { path: None, caps: Some(FileCaps::Unread), label, ..path("", NameType::Normal) },
        PathItem { caps: Some(FileCaps::Read(caps)), ..named },
    ];
    chmod.targets = vec![Target { pid: 7, label: Some(b"init_t".to_vec()), ..Target::default() }];
    chmod
}

/// A native record of an io_uring operation has neither call nor login nor program.
pub(crate) fn uring_read_from_native() -> SyscallEvent {
    let ids = Ids { auid: UNSET, ..Ids::default() };
    let rule = RuleRef { keys: [b"ring".to_vec()].into(), ..RuleRef::default() };
    SyscallEvent {
        rule,
        uring_op: Some(18),
        exit: Some(5),
        pid: 9,
        ppid: 8,
        ids,
        session: UNSET,
        ..SyscallEvent::default()
    }
}

/// A record of a program.
pub(crate) fn login() -> Body {
    let text = b"pid=1 uid=0 old-auid=4294967295 auid=1000 tty=(none) old-ses=4294967295 ses=1 res=1".to_vec();
    Body::Messages(vec![Message { record_type: "LOGIN".into(), text }])
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
    let calls = calls.chain(parts()).chain([read_from_native(), uring_read_from_native()]);
    let bodies = calls.map(|call| Body::Syscall(Box::new(call))).chain([lost(), daemon(), login()]);
    bodies.map(event).collect()
}
