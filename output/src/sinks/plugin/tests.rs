//! Plugins as processes and clients.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

use tempfile::TempDir;

use super::*;
use crate::event::{Body, Event};
use crate::samples;

const LONG: Duration = Duration::from_secs(20);

fn config(directory: &TempDir, keys: &str) -> PluginsConfig {
    toml::from_str(&format!("path = '{}'\n{keys}", directory.path().display())).unwrap()
}

fn add(directory: &TempDir, name: &str, text: &str, mode: u32) -> PathBuf {
    let path = directory.path().join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path
}

fn script(directory: &TempDir, text: &str) -> String {
    add(directory, "script", &format!("#!/bin/sh\n{text}\n"), 0o755).display().to_string()
}

fn open_one(directory: &TempDir, keys: &str) -> PluginSink {
    let config = config(directory, keys);
    let spec = read(&directory.path().join("p.conf")).unwrap();
    PluginSink::open("plugin:p", &config, &spec, Arc::default()).unwrap()
}

fn write(sink: &mut PluginSink, serial: u64) {
    let event = Event { serial, ..samples::event(Body::Syscall(Box::new(samples::open_failed()))) };
    sink.meter.pushed();
    sink.write(&samples::record(&event), 1);
    let deadline = Instant::now() + LONG;
    while let Some(until) = sink.stalled_until() {
        assert!(Instant::now() < deadline, "stalled for ever");
        std::thread::sleep(until.saturating_duration_since(Instant::now()));
        sink.retry();
    }
}

fn wait_for(path: &Path, met: impl Fn(&str) -> bool) -> String {
    let deadline = Instant::now() + LONG;
    loop {
        let text = fs::read_to_string(path).unwrap_or_default();
        if met(&text) {
            return text;
        }
        assert!(Instant::now() < deadline, "{text}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_program_reads_whole_events_with_their_end() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("out");
    let path = script(&directory, "echo \"$1 $2\" > \"$3\"; exec cat >> \"$3\"");
    let args = format!("one two {}", out.display());
    add(&directory, "p.conf", &format!("active = yes\npath = {path}\nargs = {args}\nformat = string\n"), 0o640);
    let mut sink = open_one(&directory, "enriched = false");
    write(&mut sink, 7);
    write(&mut sink, 8);
    assert_eq!(sink.close(), 0);
    let text = fs::read_to_string(&out).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "one two");
    assert!(lines[1].starts_with("type=SYSCALL msg=audit(1795503850.123:7): arch=c000003e"), "{text}");
    let ends: Vec<&&str> = lines.iter().filter(|line| line.starts_with("type=EOE")).collect();
    assert_eq!(ends, [&"type=EOE msg=audit(1795503850.123:7): ", &"type=EOE msg=audit(1795503850.123:8): "]);
    assert_eq!(lines.last(), Some(ends[1]));
    assert_eq!(sink.meter.snapshot("").written, 2);
}

#[test]
fn a_plugin_that_ends_is_started_again_so_often_and_no_more() {
    let directory = tempfile::tempdir().unwrap();
    let starts = directory.path().join("starts");
    // Ends at once, with its input unread.
    let path = script(&directory, &format!("echo started >> {}; exec <&-", starts.display()));
    add(&directory, "p.conf", &format!("active = yes\npath = {path}\n"), 0o640);
    let mut sink = open_one(&directory, "max_restarts = 2");
    for count in 1..=3 {
        // More where it was started twice before it came to say so.
        wait_for(&starts, |text| text.lines().count() >= count);
        // The pipe may take one more before it is known that nobody reads.
        let deadline = Instant::now() + LONG;
        while fs::read_to_string(&starts).unwrap().lines().count() == count && !sink.gone {
            assert!(Instant::now() < deadline);
            write(&mut sink, 1);
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    assert!(sink.gone);
    let before = sink.meter.snapshot("").lost_total();
    write(&mut sink, 2);
    let counters = sink.meter.snapshot("");
    assert_eq!((counters.lost_total(), counters.lost[5].0), (before + 1, "plugin_gone"));
    assert_eq!(fs::read_to_string(&starts).unwrap().lines().count(), 3);
}

#[test]
fn a_full_queue_is_acted_upon() {
    let directory = tempfile::tempdir().unwrap();
    let text = "active = yes\npath = builtin_af_unix\ntype = builtin\nargs = 0600 ";
    add(&directory, "p.conf", &format!("{text}{}", directory.path().join("socket").display()), 0o600);
    let told = |keys: &str, times: usize| {
        let mut sink = open_one(&directory, keys);
        let machine = crate::respond::recorded::Recorded::default();
        sink.overflow.responder = Responder::on(Box::new(machine.clone()), "");
        (0..times).for_each(|_| sink.overflowed());
        (sink, machine.take())
    };
    let full = "alert queue to plugins is full - dropping event";
    assert_eq!(told("", 7).1, [full; 5]);
    assert_eq!(told("overflow_action = 'ignore'", 1).1, Vec::<String>::new());
    assert_eq!(told("overflow_action = 'single'", 1).1[2], "run /sbin/init 1");
    let (mut sink, told) = told("overflow_action = 'suspend'", 1);
    assert_eq!(told[1], "alert Audit daemon is suspending event processing due to overflowing its queue.");
    assert!(sink.suspended());
    sink.resume();
    assert!(!sink.suspended());
    let exec = format!("path = '{}'\noverflow_action = 'exec /bin/true'", directory.path().display());
    assert!(toml::from_str::<PluginsConfig>(&exec).unwrap_err().to_string().contains("cannot be exec"));
}

#[test]
fn a_slow_plugin_gets_all() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("out");
    let path = script(&directory, &format!("sleep 0.3; exec cat > {}", out.display()));
    add(&directory, "p.conf", &format!("active = yes\npath = {path}\n"), 0o640);
    let mut sink = open_one(&directory, "");
    for serial in 0..500 {
        write(&mut sink, serial);
    }
    sink.close();
    let text = fs::read_to_string(&out).unwrap();
    assert_eq!(text.lines().filter(|line| line.starts_with("type=EOE")).count(), 500);
}

#[test]
fn the_socket_serves_who_connects() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("audispd_events");
    let conf = format!("active = yes\npath = builtin_af_unix\ntype = builtin\nargs = 0600 {}\n", socket.display());
    add(&directory, "p.conf", &conf, 0o640);
    let mut sink = open_one(&directory, "enriched = false");
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    write(&mut sink, 1);
    let client = UnixStream::connect(&socket).unwrap();
    write(&mut sink, 2);
    let mut lines = BufReader::new(client).lines().map(Result::unwrap);
    assert!(lines.next().unwrap().starts_with("type=SYSCALL msg=audit(1795503850.123:2): "));
    drop(lines);
    write(&mut sink, 3);
    write(&mut sink, 4);
    let client = UnixStream::connect(&socket).unwrap();
    write(&mut sink, 5);
    let mut first = String::new();
    BufReader::new(client).read_line(&mut first).unwrap();
    assert!(first.contains(":5): "), "{first}");
    assert_eq!(sink.meter.snapshot("").written, 5);
    sink.close();
    assert!(!socket.exists());
}

#[test]
fn binary_frames_are_those_of_libaudit() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("s");
    let conf = format!("active=yes\npath=builtin_af_unix\ntype=builtin\nargs={}\nformat=binary\n", socket.display());
    add(&directory, "p.conf", &conf, 0o640);
    let mut sink = open_one(&directory, "enriched = false");
    let mut client = UnixStream::connect(&socket).unwrap();
    write(&mut sink, 1);
    let mut types = Vec::new();
    while types.last() != Some(&1320) {
        let mut frame = vec![0; 16 + 8970];
        client.read_exact(&mut frame).unwrap();
        let field = |at: usize| u32::from_ne_bytes(*frame[at..].first_chunk().unwrap());
        assert_eq!((field(0), field(4)), (1, 16));
        let (text, rest) = frame[16..].split_at(usize::try_from(field(12)).unwrap());
        assert!(text.starts_with(b"type=") && rest.iter().all(|byte| *byte == 0));
        types.push(field(8));
    }
    // SYSCALL, CWD, PATH, EOE.
    assert_eq!(types, [1300, 1307, 1302, 1320]);
}

#[test]
fn plugins_with_mistakes_are_left_out() {
    let directory = tempfile::tempdir().unwrap();
    let path = script(&directory, "exec cat > /dev/null");
    let good = format!("active = yes\npath = {path}\n");
    add(&directory, "good.conf", &good, 0o640);
    add(&directory, "off.conf", &good.replace("yes", "no"), 0o640);
    add(&directory, "open-to-all.conf", &good, 0o666);
    add(&directory, "typo.conf", "activ = yes\n", 0o640);
    add(&directory, "absent.conf", "active = yes\npath = /does/not/exist\n", 0o640);
    add(&directory, "notes.txt", "not a plugin", 0o640);
    let config = config(&directory, "");
    let start = || {
        let plugins = installed(&config).unwrap();
        let started = plugins.iter().filter_map(|plugin| Some((plugin.name(), plugin.open(&config, Arc::default())?)));
        started.map(|(name, mut sink)| (name, sink.close()).0).collect::<Vec<_>>()
    };
    assert_eq!(start(), ["plugin:good"]);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
    assert!(start().is_empty());
}
