//! The native format before its judges: unmodified ausearch and aureport.

#[path = "../../auditd-bpf/tests/audit_tools/mod.rs"]
mod audit_tools;
mod common;

use std::io::Write;
use std::process::{Command, Stdio};

use output::event::{Body, DaemonEvent, Event, Ids, Inode, NameType, PathItem, RuleRef, SyscallEvent, Target};
use output::{Content, Format, NativeStyle, Node, Record};

use audit_tools::AuditTool;
use common::{Machine, X86_64};

fn call(syscall: u32, exit: i64, key: &str, comm: &str) -> SyscallEvent {
    SyscallEvent {
        rule: RuleRef { keys: [key.as_bytes().to_vec()].into(), ..RuleRef::default() },
        arch: X86_64,
        syscall,
        args: [0xffff_ff9c, 0x7ffd_0000_1000, 0, 0, 0, 0].into(),
        exit: Some(exit),
        pid: 812,
        ppid: 800,
        ids: Ids { auid: 1000, uid: 1000, euid: 1000, suid: 1000, fsuid: 1000, ..Ids::default() },
        session: 3,
        comm: comm.as_bytes().to_vec(),
        exe: Some(format!("/usr/bin/{comm}").into_bytes()),
        cwd: Some(b"/home/joe".to_vec()),
        ..SyscallEvent::default()
    }
}

fn item(path: &[u8], name_type: NameType) -> PathItem {
    let inode = Inode { ino: 7, dev: 8 << 20 | 1, mode: 0o100_644, ..Inode::default() };
    PathItem { path: Some(path.to_vec()), name_type, inode: Some(inode), ..PathItem::default() }
}

/// Six events, of which each query below means one.
fn events() -> Vec<Event> {
    let mut open = call(257, -13, "shadow", "cat");
    open.paths = vec![PathItem { inode: None, ..item(b"/etc/shadow", NameType::Unknown) }];
    let mut exec = call(59, 0, "exec", "ls");
    exec.argv = Some(vec![b"ls".to_vec(), b"-l".to_vec(), b"a b".to_vec(), vec![b'x'; 20_000]]);
    exec.paths = vec![item(b"/usr/bin/ls", NameType::Normal)];
    let mut rename = call(82, 0, "moved", "mv");
    rename.rule.keys = [b"moved".to_vec(), b"etc".to_vec()].into();
    rename.ids = Ids::default();
    rename.paths = vec![
        item(b"/etc", NameType::Parent),
        item(b"/etc/with space", NameType::Delete),
        item(b"/etc/caf\xc3\xa9", NameType::Create),
    ];
    let mut connect = call(42, -111, "net", "curl");
    connect.sockaddr = Some(vec![2, 0, 0, 9, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    let mut kill = call(62, 0, "sig", "bash");
    kill.targets = vec![Target { pid: 1, auid: output::UNSET, comm: b"init".to_vec(), ..Target::default() }];
    kill.proctitle = Some(b"bash".to_vec());
    let start = Body::Daemon(DaemonEvent {
        record_type: "DAEMON_START".into(),
        op: "start".into(),
        auid: output::UNSET,
        pid: 77,
        uid: 0,
        session: output::UNSET,
        success: true,
        details: vec![("ver".into(), "0.1.0".to_owned())],
    });
    let calls = [open, exec, rename, connect, kill].map(|call| Body::Syscall(Box::new(call)));
    let bodies = [start].into_iter().chain(calls);
    let numbered = bodies.zip(0..);
    numbered
        .map(|(body, number)| Event {
            time: 1_795_503_850_123_000_000 + number * 1_000_000,
            serial: (1 << 31) + number,
            body,
        })
        .collect()
}

fn log(content: Content) -> Vec<u8> {
    let mut lines = Vec::new();
    for event in &events() {
        let record = Record { event, node: "web1", names: &Machine };
        Format::Native(NativeStyle { content, node: Node::Left }).write_lines(&record, &mut lines);
    }
    lines
}

/// What a tool answers; its exit status is 1 where nothing matches.
fn ask(name: &str, arguments: &[&str], log: &[u8]) -> Option<String> {
    let AuditTool { program, libraries } = audit_tools::find(name)?;
    let mut tool = Command::new(program);
    tool.envs(libraries.map(|libraries| ("LD_LIBRARY_PATH", libraries)));
    let child =
        tool.args(arguments).env("TZ", "UTC").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = child.spawn().unwrap();
    // It may have seen enough before the end.
    let _ = child.stdin.take().unwrap().write_all(log);
    let output = child.wait_with_output().unwrap();
    Some(String::from_utf8(output.stdout).unwrap() + &String::from_utf8_lossy(&output.stderr))
}

/// Serials of the events that ausearch finds.
fn found(arguments: &[&str], log: &[u8]) -> Option<Vec<u64>> {
    let answer = ask("ausearch", &[&["--raw"], arguments].concat(), log)?;
    let serial =
        |line: &str| line.split_once("msg=audit(")?.1.split_once(')')?.0.split_once(':')?.1.parse::<u64>().ok();
    let mut serials: Vec<u64> = answer.lines().filter_map(serial).map(|serial| serial - (1 << 31)).collect();
    serials.dedup();
    Some(serials)
}

#[test]
fn every_query_finds_its_event() {
    for content in [Content::Raw, Content::Enriched] {
        let log = log(content);
        for (query, expected) in [
            (&["-m", "ALL"][..], &[0, 1, 2, 3, 4, 5][..]),
            (&["-m", "DAEMON_START"], &[0]),
            (&["-k", "shadow"], &[1]),
            (&["-k", "etc"], &[3]),
            (&["-ui", "0"], &[0, 3]),
            (&["-ul", "1000"], &[1, 2, 4, 5]),
            (&["-x", "/usr/bin/ls"], &[2]),
            (&["-f", "/etc/shadow"], &[1]),
            (&["-f", "/etc/with space"], &[3]),
            (&["-f", "/etc/caf\u{e9}"], &[3]),
            (&["-c", "curl"], &[4]),
            (&["-p", "812"], &[1, 2, 3, 4, 5]),
            (&["-sc", "rename"], &[3]),
            (&["-sv", "no"], &[1, 4]),
            (&["-e", "-13"], &[1]),
            (&["-a", "2147483652"], &[4]),
            (&["-k", "net", "-ui", "1000", "-x", "/usr/bin/curl", "-sv", "no"], &[4]),
            (&["-m", "ALL", "--just-one"], &[0]),
        ] {
            let Some(serials) = found(query, &log) else { return };
            assert_eq!(serials, expected, "{query:?} {content:?}");
        }
    }
}

#[test]
fn values_are_interpreted() {
    for content in [Content::Raw, Content::Enriched] {
        let log = log(content);
        let Some(shown) = ask("ausearch", &["-i", "-m", "ALL"], &log) else { return };
        for expected in [
            "syscall=openat",
            "exit=EACCES(Permission denied)",
            "a2=O_RDONLY",
            "name=/etc/with space",
            "name=/etc/caf\u{e9}",
            "a2=a b",
            "saddr={ saddr_fam=inet laddr=127.0.0.1 lport=9 }",
            "opid=1 oauid=unset",
            "proctitle=bash",
            "op=start ver=0.1.0 auid=unset",
        ] {
            assert!(shown.contains(expected), "{expected} is not in {content:?}:\n{shown}");
        }
    }
}

#[test]
fn summaries_count_every_event() {
    for content in [Content::Raw, Content::Enriched] {
        let log = log(content);
        let Some(summary) = ask("aureport", &["--summary"], &log) else { return };
        for expected in ["Number of events: 6", "Number of failed syscalls: 2", "Number of keys: 6"] {
            assert!(summary.contains(expected), "{expected} is not in:\n{summary}");
        }
        let programs = ask("aureport", &["-x", "--summary"], &log).unwrap();
        assert!(
            ["cat", "ls", "mv", "curl", "bash"].iter().all(|name| programs.contains(&format!("1  /usr/bin/{name}\n")))
        );
        let files = ask("aureport", &["-f", "--summary"], &log).unwrap();
        assert!(files.contains("1  /etc/shadow") && files.contains("with space"), "{files}");
    }
}
