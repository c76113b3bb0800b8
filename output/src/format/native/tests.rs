//! What ausearch reads: lines as the kernel and auditd write them.

use super::*;
use crate::event::{BprmCaps, FileCapSets, Ipc, MqAttributes, TaskCaps, Verdict};
use crate::format::Format;
use crate::samples;

fn native(body: Body, content: Content) -> String {
    let event = samples::event(body);
    let mut lines = Vec::new();
    let style = NativeStyle { content, node: Node::Left };
    Format::Native(style).write_lines(&samples::record(&event), &mut lines);
    String::from_utf8(lines).unwrap()
}

fn raw(call: SyscallEvent) -> String {
    native(Body::Syscall(Box::new(call)), Content::Raw)
}

/// The fields of the records of a type.
fn of_type<'a>(lines: &'a str, record_type: &str) -> Vec<&'a str> {
    let head = format!("type={record_type} msg=audit(1795503850.123:2147483649): ");
    lines.lines().filter_map(|line| line.strip_prefix(&head)).collect()
}

#[test]
fn an_event_as_a_whole() {
    let mut call = samples::open_failed();
    call.proctitle = Some(b"cat\0/etc/shadow".to_vec());
    let body = || Body::Syscall(Box::new(call.clone()));
    let expected = concat!(
        "type=SYSCALL msg=audit(1795503850.123:2147483649): arch=c000003e syscall=257 success=no exit=-13 a0=ffffff9c ",
        "a1=7ffd00001000 a2=0 a3=0 items=1 ppid=800 pid=812 auid=1000 uid=1000 gid=1000 euid=1000 suid=1000 fsuid=1000 ",
        "egid=1000 sgid=1000 fsgid=1000 tty=pts0 ses=3 comm=\"cat\" exe=\"/usr/bin/cat\" key=\"shadow\"\n",
        "type=CWD msg=audit(1795503850.123:2147483649): cwd=\"/home/joe\"\n",
        "type=PATH msg=audit(1795503850.123:2147483649): item=0 name=\"/etc/shadow\" nametype=UNKNOWN\n",
        "type=PROCTITLE msg=audit(1795503850.123:2147483649): proctitle=636174002F6574632F736861646F77\n",
    );
    assert_eq!(native(body(), Content::Raw), expected);
    let enriched = native(body(), Content::Enriched);
    let tail = "key=\"shadow\"\x1dARCH=x86_64 SYSCALL=openat AUID=\"joe\" UID=\"joe\" GID=\"joe\" EUID=\"joe\" SUID=\"joe\" \
                FSUID=\"joe\" EGID=\"joe\" SGID=\"joe\" FSGID=\"joe\"\n";
    assert_eq!(enriched.replacen("key=\"shadow\"\n", tail, 1), enriched, "no enrichment is missing");
    assert_eq!(enriched.lines().next().map(|line| format!("{line}\n").ends_with(tail)), Some(true), "{enriched}");
}

#[test]
fn without_a_command_line_an_end_of_event_follows() {
    let lines = raw(samples::open_failed());
    assert!(lines.ends_with("\ntype=EOE msg=audit(1795503850.123:2147483649): \n"), "{lines}");
}

#[test]
fn nothing_known_has_the_kernels_words() {
    let mut call = samples::device_killed();
    call.tty = None;
    call.rule.keys = [].into();
    let lines = raw(call);
    let syscall = of_type(&lines, "SYSCALL")[0];
    assert!(
        syscall.starts_with("arch=1234 syscall=9999 a0="),
        "a call that has not returned has no outcome: {syscall}"
    );
    assert!(syscall.ends_with(" tty=(none) ses=3 comm=\"dd\" exe=(null) key=(null) verdict=kill"), "{syscall}");
    assert_eq!(
        of_type(&lines, "PATH"),
        ["item=0 name=\"/dev/sda\" inode=131073 dev=08:01 mode=060660 ouid=0 ogid=0 rdev=08:00 nametype=NORMAL"]
    );
}

#[test]
fn a_rename_has_its_items_numbered_and_its_parents_end_in_a_slash() {
    let lines = raw(samples::rename_denied());
    let syscall = of_type(&lines, "SYSCALL")[0];
    assert!(syscall.contains(" items=4 ") && syscall.contains(" auid=4294967295 "), "{syscall}");
    assert!(syscall.ends_with(" key=6574630172656E verdict=deny"), "two keys are one value: {syscall}");
    let items: Vec<_> = of_type(&lines, "PATH").iter().map(|path| path.split(" inode=").next().unwrap()).collect();
    assert_eq!(
        items,
        ["item=0 name=\"/etc/\"", "item=1 name=\"/etc/\"", "item=2 name=\"/etc/a\"", "item=3 name=\"/etc/b\""]
    );
}

#[test]
fn arguments_tasks_and_addresses() {
    let exec = raw(samples::exec());
    assert_eq!(of_type(&exec, "EXECVE"), ["argc=4 a0=\"ls\" a1=\"-l\" a2=612062 a3=636166E9"]);
    let kill = raw(samples::kill());
    assert_eq!(of_type(&kill, "OBJ_PID"), ["opid=1 oauid=-1 ouid=0 oses=-1 ocomm=\"init\""]);
    let inet = [2, 0, 0, 9, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
    let connect = |content| native(Body::Syscall(Box::new(samples::connect(&inet))), content);
    assert_eq!(of_type(&connect(Content::Raw), "SOCKADDR"), ["saddr=020000097F0000010000000000000000"]);
    assert_eq!(
        of_type(&connect(Content::Enriched), "SOCKADDR"),
        ["saddr=020000097F0000010000000000000000\x1dSADDR={ saddr_fam=inet laddr=127.0.0.1 lport=9 }"]
    );
}

#[test]
fn parts_stand_where_the_kernel_puts_them() {
    let mut call = samples::exec();
    let caps = BprmCaps {
        file: FileCapSets { permitted: 0x2000, effective: true, version: 0x0200_0000, ..FileCapSets::default() },
        old: TaskCaps::default(),
        new: TaskCaps { permitted: 0x2000, effective: 0x2000, ..TaskCaps::default() },
    };
    call.parts = vec![Part::FdPair { fd0: 3, fd1: 4 }, Part::BprmCaps(Box::new(caps))];
    call.messages = vec![Message { record_type: "AVC".into(), text: b"avc:  denied".to_vec() }];
    let lines = raw(call);
    let types: Vec<_> = lines.lines().map(|line| &line["type=".len()..line.find(' ').unwrap()]).collect();
    assert_eq!(types, ["AVC", "SYSCALL", "BPRM_FCAPS", "EXECVE", "FD_PAIR", "CWD", "PATH", "EOE"]);
    assert_eq!(
        of_type(&lines, "BPRM_FCAPS"),
        ["fver=2000000 fp=0000000000002000 fi=0 fe=1 old_pp=0 old_pi=0 old_pe=0 old_pa=0 \
         pp=0000000000002000 pi=0 pe=0000000000002000 pa=0 frootid=0"]
    );
}

#[test]
fn every_part() {
    let attributes = MqAttributes { flags: 0x800, max_messages: 10, message_size: 8192, messages: 0 };
    let ipc = Ipc { uid: 0, gid: 0, mode: 0o600, label: Some(b"system_u:object_r:tmpfs_t:s0".to_vec()) };
    for (part, expected) in [
        (Part::SocketCall { args: vec![2, 0x10, 0] }, "nargs=3 a0=2 a1=10 a2=0"),
        (Part::Ipc(ipc), "ouid=0 ogid=0 mode=0600 obj=system_u:object_r:tmpfs_t:s0"),
        (
            Part::MqOpen { flags: 0x42, mode: 0o600, attributes },
            "oflag=0x42 mode=0600 mq_flags=0x800 mq_maxmsg=10 mq_msgsize=8192 mq_curmsgs=0",
        ),
        (
            Part::MqSendReceive { queue: 3, length: 5, priority: 1, timeout_seconds: 0, timeout_nanoseconds: 0 },
            "mqdes=3 msg_len=5 msg_prio=1 abs_timeout_sec=0 abs_timeout_nsec=0",
        ),
        (Part::MqNotify { queue: 3, signal: 10 }, "mqdes=3 sigev_signo=10"),
        (
            Part::MqGetSetAttr { queue: 3, attributes },
            "mqdes=3 mq_flags=0x800 mq_maxmsg=10 mq_msgsize=8192 mq_curmsgs=0 ",
        ),
        (
            Part::Capset { pid: 7, inheritable: 0, permitted: 1, effective: 0, ambient: 0 },
            "pid=7 cap_pi=0 cap_pp=0000000000000001 cap_pe=0 cap_pa=0",
        ),
        (Part::Mmap { fd: 3, flags: 2 }, "fd=3 flags=0x2"),
        (Part::Openat2 { flags: 2, mode: 0, resolve: 4 }, "oflag=02 mode=00 resolve=0x4"),
        (Part::KernelModule { name: Some(b"nf_tables".to_vec()) }, "name=\"nf_tables\""),
        (Part::KernelModule { name: None }, "name=(null)"),
        (Part::TimeInjOffset { seconds: -1, nanoseconds: 999_477_582 }, "sec=-1 nsec=999477582"),
        (Part::TimeAdjNtpVal { op: "tick".into(), old: 10_000, new: 9999 }, "op=tick old=10000 new=9999"),
        (Part::FdPair { fd0: 6, fd1: 7 }, "fd0=6 fd1=7"),
    ] {
        let record_type = part.record_type();
        let lines = raw(SyscallEvent { parts: vec![part], ..samples::open_failed() });
        assert_eq!(of_type(&lines, record_type), [expected]);
    }
}

#[test]
fn an_io_uring_operation_is_a_record_of_its_own() {
    let call = SyscallEvent { uring_op: Some(18), verdict: Verdict::Allow, ..samples::open_failed() };
    let lines = raw(call);
    assert_eq!(
        of_type(&lines, "URINGOP"),
        ["uring_op=18 success=no exit=-13 items=1 ppid=800 pid=812 uid=1000 gid=1000 euid=1000 suid=1000 fsuid=1000 \
         egid=1000 sgid=1000 fsgid=1000 key=\"shadow\""]
    );
}

#[test]
fn the_daemon_and_losses() {
    let start = native(samples::daemon(), Content::Enriched);
    assert_eq!(
        of_type(&start, "DAEMON_START"),
        ["op=start ver=0.1.0 auid=4294967295 pid=77 uid=0 ses=4294967295 res=success\x1dAUID=\"unset\" UID=\"root\""]
    );
    let lost = native(samples::lost(), Content::Raw);
    assert_eq!(
        of_type(&lost, "DAEMON_ERR"),
        ["op=lost auid=4294967295 pid=0 uid=0 ses=4294967295 lost=12 ring_buffer=10 queue_full=2 res=failed"]
    );
}

#[test]
fn nothing_breaks_a_line() {
    let message = Message { record_type: "USER_CMD".into(), text: b"pid=1 cmd=a\nb\x1dc id=1000".to_vec() };
    let lines = native(Body::Messages(vec![message]), Content::Enriched);
    assert_eq!(of_type(&lines, "USER_CMD"), ["pid=1 cmd=a b c id=1000\x1dID=\"joe\""]);
}

#[test]
fn a_serial_fits_into_what_readers_take() {
    let header = |serial| header(&Event { serial, ..samples::event(samples::lost()) });
    assert_eq!(header(u64::from(u32::MAX)), " msg=audit(1795503850.123:4294967295): ");
    assert_eq!(header(u64::from(u32::MAX) + 1), " msg=audit(1795503850.123:2147483648): ");
}
