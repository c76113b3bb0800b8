use std::ffi::OsString;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use output::event::{Body, Event, Loss};
use output::{OutputConfig, Pipeline};

use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    options: SearchOptions,
}

const LOG: &str = "\
    type=SYSCALL msg=audit(1795503850.123:7): arch=c000003e syscall=257 success=no exit=-13 a0=ffffff9c a1=0 a2=0 a3=0 items=1 \
    ppid=800 pid=812 auid=1000 uid=1000 gid=0 euid=1000 suid=1000 fsuid=1000 egid=0 sgid=0 fsgid=0 tty=(none) ses=3 comm=\"cat\" \
    exe=\"/usr/bin/cat\" subj=unconfined key=\"shadow\"\n\
    type=CWD msg=audit(1795503850.123:7): cwd=\"/home/joe\"\n\
    type=PATH msg=audit(1795503850.123:7): item=0 name=\"/etc/shadow\" nametype=UNKNOWN cap_fp=0 cap_fi=0 cap_fe=0 cap_fver=0 \
    cap_frootid=0\n\
    type=PROCTITLE msg=audit(1795503850.123:7): proctitle=\"cat\"\n\
    type=USER_LOGIN msg=audit(1795503851.000:8): pid=9 uid=0 auid=1000 ses=3 msg='op=login exe=\"/usr/sbin/sshd\" res=success'\n";

fn options(arguments: &[&str]) -> Result<SearchOptions, clap::Error> {
    let mut words: Vec<_> = ["search"].iter().chain(arguments).map(OsString::from).collect();
    long_options(&mut words);
    Line::try_parse_from(words).map(|line| line.options)
}

fn search(arguments: &[&str]) -> (ExitCode, String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = run(&options(arguments).unwrap(), &mut out, &mut err).unwrap();
    (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

fn search_log(arguments: &[&str]) -> (ExitCode, String, String) {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("audit.log");
    fs::write(&log, LOG).unwrap();
    search(&[&["-if", log.to_str().unwrap()], arguments].concat())
}

#[test]
fn raw_records_are_those_of_the_log() {
    let (code, out, err) = search_log(&["-r"]);
    assert_eq!((code, &*out, &*err), (ExitCode::Success, LOG, ""));
}

#[test]
fn options_of_ausearch_mean_events() {
    for (arguments, serials) in [
        (&["-k", "shadow"][..], &[7][..]),
        (&["-m", "USER_LOGIN,CWD"], &[7, 8]),
        (&["-m", "1112"], &[8]),
        (&["-m", "all", "-x", "sshd"], &[8]),
        (&["-p", "812", "-pp", "800"], &[7]),
        (&["-ui", "1000"], &[7]),
        (&["-ui", "root"], &[8]),
        (&["-ua", "1000"], &[7, 8]),
        (&["-ul", "-1"], &[]),
        (&["-gi", "root", "-ge", "0", "-ga", "0"], &[7]),
        (&["-f", "/etc/shadow", "-sv", "no", "-sc", "openat"], &[7]),
        (&["-e", "EACCES"], &[7]),
        (&["-e", "-13", "--session", "3"], &[7]),
        (&["-ts", "11/24/2026", "07:04:11", "-te", "now", "-ue", "0"], &[]),
        (&["-w", "-c", "ca"], &[]),
        (&["--just-one"], &[7]),
        (&["-a", "8", "-tm", "pts"], &[]),
    ] {
        let (code, out, _) = search_log(&[arguments, &["--format", "json"]].concat());
        let found: Vec<u64> = out
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["serial"].as_u64().unwrap())
            .collect();
        assert_eq!(found, serials, "{arguments:?}");
        assert_eq!(code == ExitCode::Success, !serials.is_empty(), "{arguments:?}");
    }
}

#[test]
fn nothing_found_is_told_and_is_status_1() {
    assert_eq!(search_log(&["-k", "none"]), (ExitCode::Failure, String::new(), "<no matches>\n".to_owned()));
    assert_eq!(search_log(&["-k", "none", "-r"]), (ExitCode::Failure, String::new(), String::new()));
}

#[test]
fn the_heading_of_columns_stands_once() {
    let (_, out, _) = search_log(&["--format", "csv"]);
    let lines: Vec<_> = out.lines().collect();
    assert_eq!((lines.len(), lines[0].starts_with("NODE,EVENT,")), (3, true), "{out}");
}

#[test]
fn what_no_option_takes() {
    for wrong in
        [&["-m", "BLA"][..], &["-sv", "maybe"], &["-ui", "nobody-here"], &["-sc", "opena"], &["-e", "EBLA"], &["file"]]
    {
        assert!(options(wrong).is_err(), "{wrong:?}");
    }
    let (code, _, err) = search(&["-ts", "noon"]);
    assert_eq!((code, err.starts_with("`noon` is no time")), (ExitCode::BadArguments, true), "{err}");
    let (code, _, err) = search(&["-if", "/nonexistent"]);
    assert_eq!((code, err.starts_with("/nonexistent: No such file")), (ExitCode::Failure, true), "{err}");
}

/// Seconds of the events in the daemon's log, three to a segment.
fn own_log(directory: &std::path::Path) -> std::path::PathBuf {
    let log = directory.join("audit.json.gz");
    let table = format!("type = 'file'\npath = '{}'\nrotate_records = 3\nflush_events = 1\n", log.display());
    let output: OutputConfig = toml::from_str(&table).unwrap();
    let pipeline = Pipeline::start(&[output], "web1", Arc::new(HostNames::default())).unwrap();
    for second in 1..=7 {
        let body = Body::Lost(vec![Loss { cause: "queue_full".into(), count: second }]);
        pipeline.push(Arc::new(Event { time: second * 1_000_000_000, serial: second, body }));
    }
    pipeline.close(Duration::from_secs(9));
    let config = directory.join("auditd-bpf.toml");
    fs::write(&config, format!("[[output]]\n{table}")).unwrap();
    config
}

#[test]
fn the_daemons_segments_are_read_in_order_and_only_where_their_time_may_match() {
    let directory = tempfile::tempdir().unwrap();
    let config = own_log(directory.path());
    let ours = ["--input-logs", "--config", config.to_str().unwrap(), "-m", "LOST", "--format", "text"];
    let (code, out, err) = search(&ours);
    assert_eq!((code, out.lines().count(), &*err), (ExitCode::Success, 7, ""), "{out}");
    let counts: Vec<_> = out.lines().filter_map(|line| line.rsplit(' ').next()).collect();
    assert_eq!(counts, ["1", "2", "3", "4", "5", "6", "7"]);
    // The first segment is not even opened: it is no log any more, and nothing is said about it.
    let first = output::segments(&logs::configured(Some(&config)).unwrap()).unwrap().remove(0);
    assert_eq!(first.times, Some((1_000_000_000, 3_000_000_000)));
    let length = fs::metadata(&first.path).unwrap().len();
    fs::write(&first.path, vec![b'x'; usize::try_from(length).unwrap()]).unwrap();
    let (_, _, err) = search(&ours);
    assert!(err.contains("not a native record"), "{err}");
    let query = Query { from: Some(4), ..Query::default() };
    assert!(!query.may_lie_within(1_000_000_000, 3_999_999_999));
    let local = chrono::TimeZone::timestamp_opt(&Local, 4, 0).unwrap();
    let (day, time) = (local.format("%Y-%m-%d").to_string(), local.format("%H:%M:%S").to_string());
    let (code, out, err) = search(&[&ours[..], &["-ts", &day, &time]].concat());
    assert_eq!((code, out.lines().count(), &*err), (ExitCode::Success, 4, ""));
}

#[test]
fn tail_shows_what_comes_and_is_meant() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("audit.log");
    fs::write(&log, LOG).unwrap();
    let mut come = vec![LOG.replace("audit(17955038", "audit(17955039")].into_iter();
    let wait = || come.next().map(|text| fs::write(&log, format!("{LOG}{text}")).unwrap()).is_some();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let options = options(&["-if", log.to_str().unwrap(), "-k", "shadow"]).unwrap();
    let code = follow(&options, wait, &mut out, &mut err).unwrap();
    let out = String::from_utf8(out).unwrap();
    assert_eq!((code, &*err), (ExitCode::Success, &b""[..]));
    assert_eq!(out.lines().count(), 1, "{out}");
    assert!(out.starts_with("2026-11-24T07:05:50.123Z [shadow] "), "{out}");
}
