//! Any event, for property tests.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::event::*;
use crate::samples;

/// Bytes that formats stumble over, besides any others.
pub(crate) fn bytes() -> impl Strategy<Value = Bytes> {
    let byte = prop_oneof![
        8 => Just(b'a'),
        1 => prop::sample::select(&b" \"'\\=()\x01\x1d\n\t\x7f\xe9\0/[]{}"[..]),
        1 => any::<u8>(),
    ];
    vec(byte, 0..24)
}

/// Names that mean something else in a native record.
fn name() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        4 => bytes(),
        1 => prop::sample::select(vec!["(null)", "(none)", "DEADBEEF", "\"", "", "a=b", "/", "//", "."])
            .prop_map(|name| name.as_bytes().to_vec()),
    ]
}

/// Labels are not quoted; AppArmor's have a space.
fn label() -> impl Strategy<Value = Bytes> {
    "[a-z_:/.]{1,12}( \\(enforce\\))?".prop_map(String::into_bytes)
}

fn argument() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        20 => name(),
        2 => vec(prop_oneof![Just(b'x'), Just(b' ')], 0..9000),
        1 => (7490..7510_usize).prop_map(|length| vec![b'y'; length]),
    ]
}

fn ids() -> impl Strategy<Value = Ids> {
    let id = || prop_oneof![Just(0), Just(1000), Just(u32::MAX), any::<u32>()];
    ((id(), id(), id(), id(), id()), (id(), id(), id(), id())).prop_map(
        |((auid, uid, euid, suid, fsuid), (gid, egid, sgid, fsgid))| Ids {
            auid,
            uid,
            euid,
            suid,
            fsuid,
            gid,
            egid,
            sgid,
            fsgid,
        },
    )
}

fn inode() -> impl Strategy<Value = Inode> {
    (any::<u64>(), any::<u32>(), any::<u16>(), any::<[u32; 3]>()).prop_map(|(ino, dev, mode, [uid, gid, rdev])| Inode {
        ino,
        dev,
        mode: mode.into(),
        uid,
        gid,
        rdev,
    })
}

fn file_caps() -> impl Strategy<Value = FileCaps> {
    let sets = (any::<[u64; 2]>(), any::<bool>(), any::<[u32; 2]>());
    let read = sets.prop_map(|([permitted, inheritable], effective, [version, root])| {
        FileCaps::Read(FileCapSets { permitted, inheritable, effective, version, root })
    });
    prop_oneof![Just(FileCaps::Unread), read]
}

fn path() -> impl Strategy<Value = PathItem> {
    let source = prop::sample::select(&PathSource::ALL[..]);
    let role = prop::sample::select(&NameType::ALL[..]);
    (option::of(name()), role, source, option::of(inode()), option::of(label()), option::of(file_caps())).prop_map(
        |(path, name_type, source, inode, label, caps)| PathItem { path, name_type, source, inode, label, caps },
    )
}

fn target() -> impl Strategy<Value = Target> {
    (any::<u32>(), any::<u32>(), any::<u32>(), any::<u32>(), option::of(label()), name())
        .prop_map(|(pid, auid, uid, session, label, comm)| Target { pid, auid, uid, session, label, comm })
}

fn sockaddr() -> impl Strategy<Value = Bytes> {
    let family = prop_oneof![Just(1_u16), Just(2), Just(10), Just(16), any::<u16>()];
    let rest = prop_oneof![vec(any::<u8>(), 0..30), vec(Just(0_u8), 0..120), bytes()];
    (family, rest).prop_map(|(family, rest)| [&family.to_ne_bytes()[..], &rest].concat())
}

/// Types of what others record during a call.
const DURING: [&str; 4] = ["AVC", "LOGIN", "CONFIG_CHANGE", "UNKNOWN[1399]"];
/// Types of what is recorded outside of one.
const ALONE: [&str; 3] = ["USER_LOGIN", "LOGIN", "ANOM_ABEND"];

fn message(types: &'static [&str]) -> impl Strategy<Value = Message> {
    let text = bytes().prop_map(|text| text.into_iter().filter(|byte| !b"\n\r\x1d".contains(byte)).collect());
    (prop::sample::select(types), text)
        .prop_map(|(record_type, text)| Message { record_type: record_type.into(), text })
}

fn rule() -> impl Strategy<Value = RuleRef> {
    let key = "[ -~\u{e9}]{1,8}".prop_map(String::into_bytes);
    let known = (1..9_u32, ".{0,9}", prop::sample::select(vec!["always", "deny"]))
        .prop_map(|(number, text, action)| (number, text.into(), action.into()));
    let unknown = Just((0, "".into(), "".into()));
    (vec(key, 0..3), prop_oneof![known, unknown]).prop_map(|(keys, (number, text, action))| RuleRef {
        number,
        text,
        keys: keys.into(),
        action,
    })
}

/// A call with all that may belong to it.
pub(crate) fn call() -> impl Strategy<Value = SyscallEvent> {
    let what = (rule(), prop::sample::select(&Verdict::ALL[..]), any::<[u64; 6]>(), option::of(any::<i64>()));
    let who =
        (ids(), any::<[u32; 5]>(), option::of(label()), option::of("[a-z]{1,4}[0-9]"), name(), option::of(name()));
    let named = (option::of(name()), option::of(vec(argument(), 0..4)), vec(path(), 0..4), option::of(sockaddr()));
    let parts = vec(prop::sample::select(samples::every_part()), 0..3);
    let more = (vec(target(), 0..2), option::of(name()), parts, vec(message(&DURING), 0..2));
    (what, who, named, more).prop_map(|(what, who, named, more)| {
        let ((rule, verdict, args, exit), (ids, [pid, ppid, session, syscall, arch], subject, tty, comm, exe)) =
            (what, who);
        let ((cwd, argv, paths, sockaddr), (targets, proctitle, parts, messages)) = (named, more);
        SyscallEvent {
            rule,
            verdict,
            arch,
            syscall,
            personality: arch & 8,
            args: args.into(),
            exit,
            hook: (arch & 1 == 0).then(|| "file_open".into()),
            pid,
            tid: Some(pid),
            ppid,
            ids,
            session,
            subject,
            tty: tty.map(String::into_bytes),
            comm,
            exe,
            exe_id: (arch & 2 == 0).then_some((8 << 20 | 1, 4711)),
            cwd,
            argv,
            paths,
            sockaddr,
            targets,
            proctitle,
            parts,
            messages,
            ..SyscallEvent::default()
        }
    })
}

fn daemon() -> impl Strategy<Value = DaemonEvent> {
    let types = prop::sample::select(vec!["DAEMON_START", "DAEMON_CONFIG", "CONFIG_CHANGE"]);
    let details = vec(("[a-z]{1,5}_", ".{0,9}"), 0..3);
    (types, ".{1,9}", any::<[u32; 4]>(), any::<bool>(), details).prop_map(
        |(record_type, op, [auid, pid, uid, session], success, details)| DaemonEvent {
            record_type: record_type.into(),
            op: op.into(),
            auid,
            pid,
            uid,
            session,
            success,
            details: details.into_iter().map(|(name, value)| (name.into(), value)).collect(),
        },
    )
}

fn losses() -> impl Strategy<Value = Vec<Loss>> {
    vec(("[a-z_]{4,9}_lost", any::<u32>()), 1..3).prop_map(|rows| {
        rows.into_iter().map(|(cause, count)| Loss { cause: cause.into(), count: count.into() }).collect()
    })
}

/// Any event.
pub(crate) fn event() -> impl Strategy<Value = Event> {
    let body = prop_oneof![
        6 => call().prop_map(|call| Body::Syscall(Box::new(call))),
        1 => daemon().prop_map(Body::Daemon),
        1 => losses().prop_map(Body::Lost),
        1 => message(&ALONE).prop_map(|message| Body::Messages(vec![message])),
    ];
    (0..4_000_000_000_000_000_000_u64, any::<u32>(), body).prop_map(|(time, serial, body)| Event {
        time,
        serial: serial.into(),
        body,
    })
}
