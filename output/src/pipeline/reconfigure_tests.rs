//! Outputs that are changed while events come.

use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::event::Event;
use crate::samples::{self, FixedNames, NODE};

const PATIENCE: Duration = Duration::from_secs(20);

fn file(path: &Path, more: &str) -> OutputConfig {
    let text = format!("type = 'file'\npath = '{}'\ncompression = 'none'\nflush_ms = 5\n{more}", path.display());
    toml::from_str(&text).unwrap()
}

fn start(configs: &[OutputConfig]) -> Pipeline {
    Pipeline::start(configs, NODE, Arc::new(FixedNames)).unwrap()
}

fn push(pipeline: &Pipeline, count: usize) {
    for _ in 0..count {
        let serial = pipeline.serials().next();
        pipeline.push(Arc::new(Event { serial, ..samples::event(samples::daemon()) }));
    }
}

fn lines(path: &Path) -> usize {
    fs::read_to_string(path).unwrap().lines().count()
}

fn paths(directory: &tempfile::TempDir) -> [PathBuf; 3] {
    ["a", "b", "c"].map(|name| directory.path().join(name))
}

#[test]
fn what_did_not_change_goes_on_and_nothing_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    let [kept, changed, added] = paths(&directory);
    let removed = directory.path().join("removed");
    let mut pipeline = start(&[file(&kept, ""), file(&removed, ""), file(&changed, "")]);
    push(&pipeline, 500);
    let wanted = [file(&changed, "format = 'text'"), file(&added, ""), file(&kept, "")];
    let done = pipeline.reconfigure(&wanted, NODE).unwrap();
    let name = |path: &Path| format!("file:{}", path.display());
    assert_eq!((done.kept, done.replaced, done.opened), (1, vec![name(&changed)], vec![name(&added)]));
    assert_eq!((done.closed[0].sink.as_str(), done.closed[0].written), (name(&removed).as_str(), 500));
    push(&pipeline, 300);
    let counters = pipeline.close(PATIENCE);
    let outcome: Vec<_> = counters.iter().map(|sink| (sink.sink.clone(), sink.written, sink.lost_total())).collect();
    assert_eq!(outcome, [(name(&changed), 800, 0), (name(&added), 300, 0), (name(&kept), 800, 0)]);
    assert_eq!([&kept, &changed, &added, &removed].map(|path| lines(path)), [800, 800, 300, 500]);
    let text = fs::read_to_string(&changed).unwrap();
    assert!(text.lines().last().is_some_and(|line| line.ends_with("ver=0.1.0")), "the new format holds");
    assert!(text.lines().next().is_some_and(|line| line.starts_with('{')));
}

#[test]
fn what_cannot_be_opened_leaves_all_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let [log, other, _] = paths(&directory);
    let mut pipeline = start(&[file(&log, ""), file(&other, "")]);
    push(&pipeline, 10);
    pipeline.flush(PATIENCE).unwrap();
    // The directory is a file; nothing was touched for it.
    let refused = pipeline.reconfigure(&[file(&log, "format = 'text'"), file(&other.join("x"), "")], NODE);
    assert!(matches!(refused, Err(OutputError::File { .. })), "{refused:?}");
    // The file holds plain lines: both were replaced already, or about to be.
    let gzip = file(&log, "");
    let OutputConfig::File(mut gzip) = gzip else { panic!() };
    gzip.compression = crate::config::Compression::Gzip;
    let wanted = [file(&other, "format = 'text'"), OutputConfig::File(gzip)];
    let refused = pipeline.reconfigure(&wanted, NODE);
    assert!(matches!(refused, Err(OutputError::OtherCompression { .. })), "{refused:?}");
    assert!(matches!(pipeline.reconfigure(&[], NODE), Err(OutputError::NoOutput)));
    push(&pipeline, 10);
    pipeline.flush(PATIENCE).unwrap();
    let counters = pipeline.close(PATIENCE);
    assert_eq!(counters.iter().map(|sink| (sink.written, sink.lost_total())).collect::<Vec<_>>(), [(20, 0); 2]);
    for path in [&log, &other] {
        let text = fs::read_to_string(path).unwrap();
        assert_eq!(text.lines().filter(|line| line.starts_with('{')).count(), 20, "{text}");
    }
}

#[test]
fn a_name_of_the_machine_is_in_records_from_then_on() {
    let directory = tempfile::tempdir().unwrap();
    let [log, ..] = paths(&directory);
    let mut pipeline = start(&[file(&log, "")]);
    push(&pipeline, 1);
    assert_eq!(pipeline.reconfigure(&[file(&log, "")], NODE).unwrap().kept, 1);
    assert_eq!(pipeline.reconfigure(&[file(&log, "")], "other-name").unwrap().replaced.len(), 1);
    push(&pipeline, 1);
    pipeline.close(PATIENCE);
    let text = fs::read_to_string(&log).unwrap();
    let nodes: Vec<_> = text.lines().map(|line| line.contains("\"node\":\"other-name\"")).collect();
    assert_eq!(nodes, [false, true]);
}

/// What waits in a queue that nobody serves is written by the sink that comes, and so is what a spool holds.
#[test]
fn a_spool_goes_on_where_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let spool = directory.path().join("spool");
    let away = |keys: &str| {
        let text = "type = 'syslog'\ntarget = 'tcp://127.0.0.1:1'\n";
        toml::from_str::<OutputConfig>(&format!("{text}spool.path = '{}'\n{keys}", spool.display())).unwrap()
    };
    let mut pipeline = start(&[away("")]);
    push(&pipeline, 50);
    pipeline.flush(PATIENCE).unwrap();
    for keys in ["facility = 'local3'", "facility = 'local4'"] {
        assert_eq!(pipeline.reconfigure(&[away(keys)], NODE).unwrap().replaced.len(), 1);
        push(&pipeline, 10);
        pipeline.flush(PATIENCE).unwrap();
    }
    let counters = pipeline.close(Duration::from_millis(200));
    assert_eq!((counters[0].pushed, counters[0].spooled, counters[0].lost_total()), (70, 70, 0));
}

/// Whether this process ignores SIGHUP, as below nohup(1): so do the programs that it starts, and a shell cannot change that.
fn hangups_are_ignored() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    u64::from_str_radix(ignored.trim(), 16).unwrap() & 1 != 0
}

#[test]
fn plugins_are_told_and_changed_ones_start_anew() {
    use std::os::unix::fs::PermissionsExt;
    if hangups_are_ignored() {
        println!("SKIP plugins_are_told_and_changed_ones_start_anew: SIGHUP is ignored here");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let [program, told, conf] = ["program", "told", "p.conf"].map(|name| directory.path().join(name));
    let write = |path: &Path, text: &str, mode| {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    // A signal that comes just before a shell's `read` waits for the next line; `wait` misses none.
    let script = "#!/bin/sh\ntrap 'echo hangup >> $1' HUP\nexec 3<&0\ncat <&3 > /dev/null &\necho start $2 >> $1\n\
                  while kill -0 $! 2> /dev/null; do wait $!; done\n";
    write(&program, script, 0o755);
    let plugin = |word: &str| format!("active = yes\npath = {}\nargs = {} {word}\n", program.display(), told.display());
    let heard = |expected: &[&str]| {
        let deadline = Instant::now() + PATIENCE;
        while fs::read_to_string(&told).unwrap_or_default().lines().ne(expected.iter().copied()) {
            assert!(Instant::now() < deadline, "{:?}", fs::read_to_string(&told));
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    write(&conf, &plugin("one"), 0o640);
    let config: OutputConfig =
        toml::from_str(&format!("type = 'plugins'\npath = '{}'", directory.path().display())).unwrap();
    let configs = [config];
    let mut pipeline = start(&configs);
    heard(&["start one"]);
    assert_eq!(pipeline.reconfigure(&configs, NODE).unwrap().kept, 1);
    heard(&["start one", "hangup"]);
    write(&conf, &plugin("two"), 0o640);
    assert_eq!(pipeline.reconfigure(&configs, NODE).unwrap().replaced, ["plugin:p"]);
    heard(&["start one", "hangup", "start two"]);
    // As at the start, what is wrong with a plugin costs that plugin alone.
    write(&conf, "active = yes\npath = /nonexistent\n", 0o640);
    let done = pipeline.reconfigure(&configs, NODE).unwrap();
    assert_eq!((done.replaced.len(), done.closed.len(), pipeline.counters().len()), (0, 1, 0));
    write(&conf, &plugin("three"), 0o640);
    assert_eq!(pipeline.reconfigure(&configs, NODE).unwrap().opened, ["plugin:p"]);
    heard(&["start one", "hangup", "start two", "start three"]);
    pipeline.close(PATIENCE);
}
