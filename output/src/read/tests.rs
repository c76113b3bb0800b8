//! What was written comes back, and what others write is understood.

use proptest::prelude::*;

use super::*;
use crate::event::{Body, Message, NameType, Part, PathItem, PathSource, RuleRef, SyscallEvent};
use crate::format::{Content, Format, NativeStyle, Node};
use crate::record::Record;
use crate::{arbitrary, samples};

const NATIVE: Format = Format::Native(NativeStyle { content: Content::Enriched, node: Node::Named });

fn written(format: Format, entries: &[Entry]) -> Vec<u8> {
    let mut lines = Vec::new();
    for entry in entries {
        let record = Record { event: &entry.event, node: &entry.node, names: &entry.names };
        format.write_lines(&record, &mut lines);
    }
    lines
}

fn of(event: Event) -> Entry {
    Entry { node: "web1".to_owned(), event, names: LogNames::default() }
}

fn read(log: &[u8]) -> Vec<Entry> {
    Reader::new(log).collect::<Result<_, _>>().unwrap_or_else(|error| panic!("{error}:\n{}", log.escape_ascii()))
}

fn events(entries: Vec<Entry>) -> Vec<Event> {
    entries.into_iter().map(|entry| entry.event).collect()
}

/// What a native record can hold of an event.
fn as_native_tells(mut event: Event) -> Event {
    event.time -= event.time % 1_000_000;
    if let Body::Syscall(call) = &mut event.body {
        native_call(call);
    }
    event
}

fn native_call(call: &mut SyscallEvent) {
    call.rule = RuleRef { keys: call.rule.keys.clone(), ..RuleRef::default() };
    if let [a0, a1, a2, a3, ..] = *call.args {
        call.args = [a0, a1, a2, a3].into();
    }
    (call.tid, call.hook, call.exe_id) = (None, None, None);
    call.parts.sort_by_key(|part| matches!(part, Part::FdPair { .. }));
    call.proctitle.iter_mut().filter(|title| *title == b"(null)").for_each(Vec::clear);
    call.paths.iter_mut().for_each(native_path);
}

fn native_path(item: &mut PathItem) {
    item.source = PathSource::Kernel;
    if let Some(path) = item.path.as_mut().filter(|_| item.name_type == NameType::Parent) {
        let slash = path.len() > 1 && path.ends_with(b"/") && !path.ends_with(b"//");
        path.truncate(path.len() - usize::from(slash));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn json_comes_back(event in arbitrary::event()) {
        let log = written(Format::Json, &[of(event.clone())]);
        let again = read(&log);
        prop_assert_eq!(written(Format::Json, &again), log);
        prop_assert_eq!(events(again), [event]);
    }

    #[test]
    fn native_comes_back(event in arbitrary::event()) {
        let event = as_native_tells(event);
        let log = written(NATIVE, &[of(event.clone())]);
        let again = read(&log);
        prop_assert_eq!(written(NATIVE, &again), log);
        prop_assert_eq!(events(again), [event]);
    }

    #[test]
    fn a_native_log_goes_through_json_unchanged(event in arbitrary::event()) {
        let native = written(NATIVE, &[of(event)]);
        let through = read(&written(Format::Json, &read(&native)));
        prop_assert_eq!(written(NATIVE, &through), native);
    }

    #[test]
    fn records_of_many_events_may_alternate(events in prop::collection::vec(arbitrary::call(), 1..5), seed: u64) {
        let log: Vec<Vec<u8>> = (0..).zip(events).map(|(number, mut call)| {
            call.proctitle = None;
            let event = Event { time: 1_795_503_850_123_000_000, serial: number, body: Body::Syscall(Box::new(call)) };
            written(NATIVE, &[of(event)])
        }).collect();
        let mut lines: Vec<_> = log.iter().map(|event| event.split_inclusive(|byte| *byte == b'\n').peekable()).collect();
        let (mut mixed, mut dice) = (Vec::new(), seed);
        while lines.iter_mut().any(|event| event.peek().is_some()) {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let event = (dice >> 33) as usize % lines.len();
            mixed.extend(lines[event].next().unwrap_or_default());
        }
        let mut again = read(&mixed);
        again.sort_by_key(|entry| entry.event.serial);
        prop_assert_eq!(written(NATIVE, &again), log.concat());
    }

    #[test]
    fn no_bytes_break_it(lines in prop::collection::vec(arbitrary::bytes(), 0..4), cut in 0..2000_usize, event in arbitrary::event()) {
        for format in [NATIVE, Format::Json] {
            let mut log = written(format, &[of(event.clone())]);
            log.truncate(cut);
            log.extend(lines.join(&b'\n'));
            for entry in Reader::new(&*log).flatten() {
                written(NATIVE, std::slice::from_ref(&entry));
                written(Format::Json, &[entry]);
            }
        }
    }
}

/// As auditd 3.0.9 wrote it.
const LOGIN: &str = concat!(
    "type=LOGIN msg=audit(1795493583.240:35): pid=1 uid=0 subj=unconfined old-auid=4294967295 auid=1000 tty=(none) ",
    "old-ses=4294967295 ses=1 res=1\x1dUID=\"root\" OLD-AUID=\"unset\" AUID=\"bob\"\n",
    "type=SYSCALL msg=audit(1795493583.240:35): arch=c000003e syscall=1 success=yes exit=4 a0=3 a1=7ffd a2=4 a3=0 items=1 ",
    "ppid=0 pid=1 auid=1000 uid=0 gid=0 euid=0 suid=0 fsuid=0 egid=0 sgid=0 fsgid=0 tty=(none) ses=1 comm=\"sh\" ",
    "exe=\"/bin/sh\" subj=unconfined key=(null)\x1dARCH=x86_64 SYSCALL=write AUID=\"bob\" UID=\"root\" GID=\"root\" ",
    "EUID=\"root\" SUID=\"root\" FSUID=\"root\" EGID=\"root\" SGID=\"root\" FSGID=\"root\"\n",
    "type=PATH msg=audit(1795493583.240:35): item=0 name=(null) inode=3 dev=00:18 mode=0100640 ouid=0 ogid=42 rdev=00:00 ",
    "nametype=NORMAL cap_fp=0 cap_fi=0 cap_fe=0 cap_fver=0 cap_frootid=0\x1dOUID=\"root\" OGID=\"unknown(42)\"\n",
    "type=PROCTITLE msg=audit(1795493583.240:35): proctitle=73680031\n",
);

#[test]
fn names_of_the_log_are_kept() {
    let entries = read(LOGIN.as_bytes());
    let style = NativeStyle { content: Content::Enriched, node: Node::Left };
    assert_eq!(String::from_utf8(written(Format::Native(style), &entries)).unwrap(), LOGIN);
    let json = String::from_utf8(written(Format::Json, &entries)).unwrap();
    assert!(json.contains("\"auid\":1000,\"auid_name\":\"bob\""), "{json}");
    assert!(
        json.contains("\"ogid\":42}") || json.contains("\"ogid\":42,\"caps\""),
        "no name where there was none: {json}"
    );
    assert!(json.contains("\"records\":[{\"type\":\"LOGIN\",\"text\":\"pid=1 uid=0 "), "{json}");
    assert!(!json.contains("rule") && !json.contains("\"path\":"), "{json}");
}

#[test]
fn what_is_not_as_its_type_says_is_kept_as_text() {
    let log = LOGIN.replace("mode=0100640", "mode=rw").replace("proctitle=73680031", "proctitle=7368003");
    let entries = read(log.as_bytes());
    let Body::Syscall(call) = &entries[0].event.body else { panic!("{entries:?}") };
    let kept: Vec<_> = call.messages.iter().map(|message| &*message.record_type).collect();
    assert_eq!((kept, call.paths.len()), (vec!["LOGIN", "PATH", "PROCTITLE"], 0));
    let entries = read(LOGIN.replace("a1=7ffd", "a1=?").as_bytes());
    let Body::Messages(messages) = &entries[0].event.body else { panic!("{entries:?}") };
    assert_eq!(messages.len(), 4);
}

#[test]
fn events_are_told_apart_by_node_time_and_serial() {
    let log = "node=a type=CWD msg=audit(1.001:7): cwd=\"/\"\nnode=b type=CWD msg=audit(1.001:7): cwd=\"/\"\n\
               node=a type=CWD msg=audit(1.002:7): cwd=\"/\"\nnode=a type=CWD msg=audit(1.001:7): cwd=\"/\"\n";
    let sizes = read(log.as_bytes()).into_iter().map(|entry| match entry.event.body {
        Body::Messages(messages) => (entry.node, messages.len()),
        other => panic!("{other:?}"),
    });
    assert_eq!(sizes.collect::<Vec<_>>(), [("a".to_owned(), 2), ("b".to_owned(), 1), ("a".to_owned(), 1)]);
}

#[test]
fn an_event_without_an_end_is_whole_after_two_seconds() {
    let record = |millis: u64, serial: u64| format!("type=CWD msg=audit(1.{millis:03}:{serial}): cwd=\"/\"\n");
    let late = record(0, 1).replace("(1.", "(3.");
    let mut reader = Reader::new(std::io::Cursor::new(record(0, 1) + &record(999, 2) + &late + &record(0, 1)));
    let serials: Vec<_> = reader.by_ref().map(|entry| entry.unwrap().event.serial).collect();
    assert_eq!(serials, [1, 2, 1, 1], "a record that comes too late is an event of its own");
}

#[test]
fn records_that_the_kernel_sent_once_more_belong_to_their_event() {
    let mut lines: Vec<_> = LOGIN.split_inclusive('\n').collect();
    let call = lines.remove(1);
    lines.push(call);
    let next = LOGIN.replace(":35)", ":36)");
    let entries = read((lines.concat() + &next).as_bytes());
    let serials: Vec<_> = entries.iter().map(|entry| entry.event.serial).collect();
    assert_eq!(serials, [35, 36]);
    for entry in entries {
        let Body::Syscall(call) = entry.event.body else { panic!("{entry:?}") };
        assert_eq!((call.paths.len(), call.proctitle.is_some()), (1, true));
    }
}

#[test]
fn the_daemons_own_records_are_understood_and_auditds_are_kept() {
    let own = samples::daemon();
    let log = written(NATIVE, &[of(samples::event(own.clone()))]);
    assert_eq!(read(&log)[0].event.body, own);
    let text = "op=start ver=3.0.9 format=raw kernel=6.1.0 auid=0 pid=107 uid=0 ses=1 subj=unconfined  res=success";
    let log = format!("type=DAEMON_START msg=audit(1.000:1): {text}\n");
    let kept = Body::Messages(vec![Message { record_type: "DAEMON_START".into(), text: text.as_bytes().to_vec() }]);
    assert_eq!(read(log.as_bytes())[0].event.body, kept);
}

#[test]
fn mistakes_are_told_by_line_and_reading_goes_on() {
    let log = format!("{LOGIN}nonsense\n\ntype=CWD msg=audit(1.1234:5): cwd=\"/\"\n{}", LOGIN.replace(":35)", ":36)"));
    let (good, bad): (Vec<_>, Vec<_>) = Reader::new(log.as_bytes()).partition(Result::is_ok);
    assert_eq!(good.len(), 2);
    let bad: Vec<_> = bad.into_iter().map(|error| error.unwrap_err().to_string()).collect();
    assert_eq!(bad, ["line 5: not a native record", "line 7: not a native record"]);
    let json =
        r#"{"time":"2026-11-24T07:04:10.123456789Z","serial":1,"node":"n","schema":2,"type":"LOST","losses":[]}"#;
    let told = |log: &str| Reader::new(log.as_bytes()).next().unwrap().unwrap_err().to_string();
    assert_eq!(told(json), "line 1: schema 2 is not known to this release");
    assert_eq!(told(&json.replace(":2,", ":1,").replace("2026", "year")), {
        "line 1: `time` cannot be `year-11-24T07:04:10.123456789Z`"
    });
    assert!(told("{\"time\":1}").starts_with("line 1: not a JSON record: invalid type"), "{}", told("{\"time\":1}"));
}

#[test]
fn every_compression_reads_the_same() {
    use std::io::Write;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&LOGIN.as_bytes()[..400]).unwrap();
    let mut members = gzip.finish().unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&LOGIN.as_bytes()[400..]).unwrap();
    members.extend(gzip.finish().unwrap());
    let zstd = zstd::encode_all(LOGIN.as_bytes(), 0).unwrap();
    for log in [LOGIN.as_bytes().to_vec(), members, zstd] {
        let entries: Vec<_> = Reader::new(open(std::io::Cursor::new(log)).unwrap()).collect::<Result<_, _>>().unwrap();
        assert_eq!(entries, read(LOGIN.as_bytes()));
    }
}

#[test]
fn a_cut_compressed_log_reads_up_to_the_cut_and_says_so() {
    let mut log = zstd::encode_all(LOGIN.as_bytes(), 0).unwrap();
    log.truncate(log.len() - 3);
    let last = Reader::new(open(std::io::Cursor::new(log)).unwrap()).last().unwrap();
    assert!(last.is_err() || last.is_ok_and(|entry| entry.event.serial == 35));
}
