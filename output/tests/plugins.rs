//! The plugins output before its judges: LAUREL, and a plugin in Python that uses libauparse.
//!
//! `cargo xtask setup` puts LAUREL into `target/tools` and python3-audit into `target/guest/packages/peers`. Without them the
//! tests are skipped, and say so.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use output::event::{Body, Event, Ids, Inode, NameType, PathItem, RuleRef, SyscallEvent};
use output::{OutputConfig, Pipeline};

use common::{Machine, X86_64, peers, root};

const EVENTS: u64 = 2000;

/// An exec whose arguments tell its serial, one of which plugins have to decode.
fn event(serial: u64) -> Event {
    let inode = Inode { ino: 7, dev: 8 << 20 | 1, mode: 0o100_755, ..Inode::default() };
    let program = PathItem { path: Some(b"/usr/bin/ls".to_vec()), name_type: NameType::Normal, ..PathItem::default() };
    let call = SyscallEvent {
        rule: RuleRef { keys: [b"fed".to_vec()].into(), ..RuleRef::default() },
        arch: X86_64,
        syscall: 59,
        args: [1, 2, 3, 4, 5, 6].into(),
        exit: Some(0),
        pid: 812,
        ppid: 800,
        ids: Ids { auid: 1000, uid: 1000, ..Ids::default() },
        session: 3,
        comm: b"ls".to_vec(),
        exe: Some(b"/usr/bin/ls".to_vec()),
        proctitle: Some(b"ls".to_vec()),
        cwd: Some(b"/home/joe".to_vec()),
        argv: Some(vec![b"ls".to_vec(), "a b \u{e9}".as_bytes().to_vec(), serial.to_string().into_bytes()]),
        paths: vec![PathItem { inode: Some(inode), ..program }],
        ..SyscallEvent::default()
    };
    Event { time: 1_795_503_850_123_000_000, serial, body: Body::Syscall(Box::new(call)) }
}

/// Feeds the events to a plugin that is started by a script.
fn feed(directory: &Path, script: &str) {
    let program = directory.join("plugin");
    fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let plugins = directory.join("plugins.d");
    fs::create_dir(&plugins).unwrap();
    let conf = plugins.join("judge.conf");
    let text = "active = yes\ndirection = out\ntype = always\nformat = string\n";
    fs::write(&conf, format!("{text}path = {}\n", program.display())).unwrap();
    fs::set_permissions(&conf, fs::Permissions::from_mode(0o640)).unwrap();
    let config: OutputConfig =
        toml::from_str(&format!("type = 'plugins'\npath = '{}'\nqueue = 100000", plugins.display())).unwrap();
    let pipeline = Pipeline::start(&[config], "web1", Arc::new(Machine)).unwrap();
    for serial in 0..EVENTS {
        pipeline.push(Arc::new(event((1 << 31) + serial)));
    }
    let counters = pipeline.close(Duration::from_secs(60)).remove(0);
    assert_eq!((counters.sink.as_str(), counters.written), ("plugin:judge", EVENTS), "{counters:?}");
}

#[test]
fn laurel_understands_every_event() {
    let laurel = root().join("target/tools/bin/laurel");
    let Ok(laurel) = laurel.canonicalize() else {
        eprintln!("SKIP: no LAUREL in target/tools/bin; `cargo xtask setup` builds it");
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("laurel.toml");
    let log = directory.path().join("log");
    fs::create_dir(&log).unwrap();
    fs::write(&config, format!("directory = '{}'\n[auditlog]\nfile = 'audit.log'\nsize = 100000000\n", log.display()))
        .unwrap();
    let said = directory.path().join("said");
    feed(directory.path(), &format!("exec {} -c {} 2>{}", laurel.display(), config.display(), said.display()));
    let said = fs::read_to_string(said).unwrap();
    let text = fs::read_to_string(log.join("audit.log")).unwrap_or_else(|error| panic!("{error}: {said}"));
    let mut events = 0;
    for line in text.lines() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        if event["SYSCALL"].is_null() {
            continue;
        }
        let serial = (1_u64 << 31) + events;
        assert_eq!(event["ID"], format!("1795503850.123:{serial}"), "{line}");
        assert_eq!(event["SYSCALL"]["key"], "fed", "{line}");
        assert_eq!(event["SYSCALL"]["SYSCALL"], "execve", "{line}");
        assert_eq!(event["EXECVE"]["ARGV"][2], serial.to_string(), "{line}");
        assert_eq!(event["PATH"][0]["name"], "/usr/bin/ls", "{line}");
        assert_eq!(event["CWD"]["cwd"], "/home/joe", "{line}");
        events += 1;
    }
    assert_eq!(events, EVENTS, "{said}");
}

const AUPARSE: &str = r#"
import sys, auparse
out = open(sys.argv[1], "w")
def ready(parser, kind, data):
    if kind != auparse.AUPARSE_CB_EVENT_READY:
        return
    parser.first_record()
    types, fields = [], {}
    while True:
        types.append(parser.get_type_name())
        while True:
            fields[parser.get_type_name() + "." + parser.get_field_name()] = parser.interpret_field()
            if not parser.next_field():
                break
        if not parser.next_record():
            break
    wanted = [fields.get(name) for name in ("SYSCALL.syscall", "SYSCALL.key", "EXECVE.a1", "EXECVE.a2", "CWD.cwd", "PATH.name")]
    out.write("%d %s %s\n" % (parser.get_timestamp().serial, ",".join(types), "|".join(map(str, wanted))))
parser = auparse.AuParser(auparse.AUSOURCE_FEED)
parser.add_callback(ready, None)
for line in sys.stdin.buffer:
    parser.feed(line.decode("utf-8", "surrogateescape"))
parser.flush_feed()
out.close()
"#;

#[test]
fn auparse_understands_every_event() {
    let Some(tree) = peers() else { return };
    let modules = tree.join("usr/lib/python3/dist-packages");
    let environment = format!(
        "export PYTHONPATH={} LD_LIBRARY_PATH={tree}/usr/lib/x86_64-linux-gnu:{tree}/lib/x86_64-linux-gnu",
        modules.display(),
        tree = tree.display()
    );
    let try_it = format!("{environment}; exec /usr/bin/python3 -c 'import auparse'");
    if !std::process::Command::new("sh").args(["-c", &try_it]).status().unwrap().success() {
        eprintln!("SKIP: Debian's python3-audit is not in {}, or not for this Python", modules.display());
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (script, out) = (directory.path().join("judge.py"), directory.path().join("out"));
    fs::write(&script, AUPARSE).unwrap();
    feed(directory.path(), &format!("{environment}\nexec /usr/bin/python3 {} {}", script.display(), out.display()));
    let text = fs::read_to_string(&out).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len() as u64, EVENTS);
    for (line, serial) in lines.iter().zip(1_u64 << 31..) {
        let types = "SYSCALL,EXECVE,CWD,PATH,PROCTITLE";
        let fields = format!("execve|fed|a b \u{e9}|{serial}|/home/joe|/usr/bin/ls");
        assert_eq!(*line, format!("{serial} {types} {fields}"));
    }
}
