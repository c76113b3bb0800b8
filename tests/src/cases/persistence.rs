//! Rules that stay in force without a daemon, and the next one that takes over.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;

use crate::cases::crash::{act, count};
use crate::daemon::{run, wait_for};
use crate::event::Event;
use crate::harness::Alone;
use crate::log::Log;
use crate::place::Place;
use crate::session::{Session, file_output, is_loss, own_log, private_file};
use crate::sys::{BpfObjects, count_bpf};

/// What another kernel may do otherwise.
pub const OF_KERNEL: &[Alone] = &[RELIEVED];
const RELIEVED: Alone = Alone::new("next_daemon_misses_nothing", relieved);

pub const CASES: &[Alone] = &[
    Alone::new("killed_daemon_leaves_its_rules", killed),
    RELIEVED,
    Alone::new("persist_leaves_rules_and_release_ends_them", persistent),
    Alone::new("pins_end_where_a_guard_begins_without_a_keeper", guarded),
];

const RULES: &str = "-a always,exit -F arch=b64 -S openat -F dir={dir}/d -F perm=w -k {key}\n\
                     -a deny,exit -F path={dir}/refused -F perm=w -k {key}";
/// What comes in their place.
const OTHERS: &str = "-a always,exit -F arch=b64 -S openat -F dir={dir}/d -F perm=w -k others";
/// Where daemons pin what they have in the kernel.
pub(super) const PINS: &str = "/sys/fs/bpf/auditd-bpf";
/// Linux 6.1 takes minutes to detach the programs of a daemon where it is emulated beside others.
pub(super) const TIME: Duration = Duration::from_secs(600);

fn start(place: &Place, settings: &str, rules: &str) -> Result<Session> {
    let log = own_log(place.name);
    let config = format!("{settings}\n{}", file_output(&log));
    Session::start_with(place.name, &place.rules(rules), &config, &log)
}

pub(super) fn prepare(place: &Place) -> Result<()> {
    place.directory("d")?;
    place.file("refused").map(drop)
}

pub(super) fn is_refused(place: &Place) -> Result<bool> {
    match OpenOptions::new().write(true).open(place.path("refused")) {
        Ok(_) => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(true),
        Err(error) => Err(error.into()),
    }
}

fn is_taken_over(event: &&Event) -> bool {
    event.get("type") == "DAEMON_CONFIG" && event.get("op") == "take-over"
}

/// The records of having taken over: in the log once the programs of the daemon before are detached.
pub(super) fn taken_over(session: &mut Session, times: usize) -> Result<Vec<Event>> {
    wait_for("the record of having taken over", TIME, || {
        session.settle()?;
        let records: Vec<_> = session.records().iter().filter(is_taken_over).cloned().collect();
        Ok((records.len() == times).then_some(records))
    })
}

fn killed(place: &Place) -> Result<()> {
    prepare(place)?;
    let links = count_bpf(BpfObjects::Links)?;
    let mut session = start(place, "", RULES)?;
    act(place, "before", 10)?;
    ensure!(is_refused(place)?, "it is not refused before anything");
    session.settle()?;
    session.kill()?;
    ensure!(is_refused(place)?, "it is not refused once the daemon is killed");
    act(place, "alone", 100)?;
    let mut session = start(place, "", OTHERS)?;
    ensure!(!is_refused(place)?, "the rules before are still in force");
    act(place, "after", 10)?;
    let [record] = <[Event; 1]>::try_from(taken_over(&mut session, 1)?).expect("as many as asked for");
    let said = session.said();
    let records = session.stop_and_read()?;
    for (prefix, key, number) in [("before", place.name, 10), ("alone", place.name, 100), ("after", "others", 10)] {
        let of_key: Vec<_> = records.iter().filter(|event| event.has_key(key)).cloned().collect();
        let come = count(&of_key, prefix);
        ensure!(come == number, "{come} of {number} events {prefix}, with key {key}\n{said}");
    }
    let denied = records.iter().filter(|event| event.get("verdict") == "deny").count();
    ensure!(denied == 2, "{denied} of 2 records of what was refused");
    // Those of the directory, the one that was refused, and those of making the fence.
    let details = record.get("details");
    let number = details["events"].as_str().and_then(|number| number.parse::<usize>().ok());
    ensure!(number.is_some_and(|number| (101..110).contains(&number)) && details["lost"] == "0", "{record:?}");
    ensure!(!records.iter().any(is_loss), "a LOST record, though nothing is");
    is_gone(links)
}

/// Daemons that have something pinned, at whatever control socket.
fn pinned_daemons() -> Result<usize> {
    let below = |directory: &Path| -> io::Result<Vec<_>> {
        fs::read_dir(directory)?.map(|entry| entry.map(|entry| entry.path())).collect()
    };
    let daemons = below(Path::new(PINS))?.iter().map(|socket| Ok(below(socket)?.len())).sum::<io::Result<usize>>();
    Ok(daemons?)
}

/// Nothing is in force, or pinned.
pub(super) fn is_gone(links: usize) -> Result<()> {
    ensure!(!Path::new(PINS).exists(), "pins are left");
    wait_for("the links to go", TIME, || Ok((count_bpf(BpfObjects::Links)? == links).then_some(())))
}

/// Creates files d/n-0 and so on while it may, from a thread of its own. It begins paused.
struct Writer<'a> {
    place: &'a Place,
    created: AtomicUsize,
    pauses: AtomicBool,
    is_paused: AtomicBool,
    ends: AtomicBool,
}

impl<'a> Writer<'a> {
    fn new(place: &'a Place) -> Self {
        let [pauses, is_paused, ends] = [true, false, false].map(AtomicBool::new);
        Self { place, created: AtomicUsize::new(0), pauses, is_paused, ends }
    }

    fn write(&self) -> Result<()> {
        while !self.ends.load(Ordering::SeqCst) {
            let pauses = self.pauses.load(Ordering::SeqCst);
            self.is_paused.store(pauses, Ordering::SeqCst);
            if pauses {
                thread::sleep(Duration::from_millis(1));
                continue;
            }
            let number = self.created.load(Ordering::SeqCst);
            File::create_new(self.place.path(format!("d/n-{number}")))?;
            self.created.store(number + 1, Ordering::SeqCst);
            // As many as this case can read again and again.
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn pause(&self) -> Result<usize> {
        self.pauses.store(true, Ordering::SeqCst);
        wait_for("the writer to pause", TIME, || Ok(self.is_paused.load(Ordering::SeqCst).then_some(())))?;
        Ok(self.created.load(Ordering::SeqCst))
    }

    fn resume(&self) {
        self.pauses.store(false, Ordering::SeqCst);
    }
}

/// Daemons are killed while they have nothing in their own memory, and another takes over, all under load. More often with
/// `AUDIT_TAKEOVERS`.
fn relieved(place: &Place) -> Result<()> {
    prepare(place)?;
    let links = count_bpf(BpfObjects::Links)?;
    let times = std::env::var("AUDIT_TAKEOVERS").ok().map_or(Ok(3), |times| times.parse())?;
    let writer = Writer::new(place);
    thread::scope(|scope| {
        let thread = scope.spawn(|| writer.write());
        let done = relieve(place, &writer, times);
        writer.ends.store(true, Ordering::SeqCst);
        thread.join().map_err(|_| anyhow::anyhow!("the writer panicked"))??;
        done
    })?;
    is_gone(links)
}

/// A log for each daemon: with one for all, each would read again what the ones before wrote.
fn start_nth(place: &Place, number: usize) -> Result<(Session, PathBuf)> {
    let log = own_log(&format!("{}-{number}", place.name));
    let session = Session::start_with(place.name, &place.rules(RULES), &file_output(&log), &log)?;
    Ok((session, log))
}

/// In which daemons' logs each file's coming is.
#[derive(Default)]
struct Seen(BTreeMap<usize, Vec<usize>>);

impl Seen {
    fn count(&mut self, daemon: usize, records: &[Event]) {
        for path in records.iter().flat_map(|event| event.paths_of("CREATE")) {
            if let Some(number) = path.rsplit_once("/n-").and_then(|(_, number)| number.parse().ok()) {
                self.0.entry(number).or_default().push(daemon);
            }
        }
    }

    /// How many came twice, if none of the first so many is missing.
    fn all_of(&self, created: usize) -> Result<usize> {
        let missing: Vec<_> = (0..created).filter(|number| !self.0.contains_key(number)).collect();
        if let [first, ..] = missing[..] {
            let (before, after) = (self.0.range(..first).next_back(), self.0.range(first..).next());
            bail!(
                "{} of {created} events are missing: {missing:?}; around them, by daemon: {before:?}, {after:?}",
                missing.len()
            );
        }
        Ok(self.0.values().filter(|daemons| daemons.len() > 1).count())
    }
}

fn relieve(place: &Place, writer: &Writer<'_>, times: usize) -> Result<()> {
    writer.pause()?;
    let (mut session, mut log) = start_nth(place, 0)?;
    let mut seen = Seen::default();
    let look_at = |daemon: usize, records: &[Event], seen: &mut Seen| {
        seen.count(daemon, records);
        ensure!(!records.iter().any(is_loss), "a LOST record, though nothing is");
        Ok(records.iter().filter(is_taken_over).count())
    };
    let mut takeovers = 0;
    for number in 0..times {
        writer.resume();
        thread::sleep(Duration::from_millis(300));
        let settled = writer.pause()?;
        session.settle()?;
        session.signal(Signal::SIGSTOP)?;
        writer.resume();
        thread::sleep(Duration::from_millis(300));
        session.kill()?;
        ensure!(is_refused(place)?, "it is not refused after kill {number}");
        let mut written = Log::new(&log);
        (session, log) = start_nth(place, number + 1)?;
        ensure!(is_refused(place)?, "it is not refused after start {number}");
        written.read()?;
        takeovers += look_at(number, &written.records, &mut seen)?;
        let twice = seen.all_of(settled)?;
        if (number + 1).is_multiple_of(10) {
            println!("    {settled} events, {number} kills: none missing, {twice} twice");
        }
    }
    thread::sleep(Duration::from_millis(300));
    let created = writer.pause()?;
    wait_for("the daemons before to be detached", TIME, || Ok((pinned_daemons()? == 1).then_some(())))?;
    let of_last = look_at(times, &session.stop_and_read()?, &mut seen)?;
    takeovers += of_last;
    // A daemon that was killed just when another was detached did not come to say so.
    ensure!(of_last > 0 && takeovers <= times, "{of_last} records of having taken over at last, {takeovers} in all");
    // A call that both have seen begin, at the moment of going over.
    let twice = seen.all_of(created)?;
    ensure!(twice <= times, "{twice} events of {created} came twice in {times} times");
    println!("    {created} events, {times} kills, {takeovers} of them recorded: none missing, {twice} twice");
    Ok(())
}

fn persistent(place: &Place) -> Result<()> {
    prepare(place)?;
    let links = count_bpf(BpfObjects::Links)?;
    let session = start(place, "", RULES)?;
    File::create("/run/auditd-bpf/control.sock.persist")?;
    session.stop()?;
    ensure!(is_refused(place)?, "it is not refused after a stop that asks for it");
    start(place, "persist = true", RULES)?.stop()?;
    ensure!(is_refused(place)?, "it is not refused once the daemon has ended");
    act(place, "waiting", 10)?;
    let mut session = start(place, "persist = true", RULES)?;
    taken_over(&mut session, 2)?;
    let come = count(session.records(), "waiting");
    ensure!(come == 10, "{come} of 10 events from between two daemons");
    let config = private_file(place.name, "toml", &format!("persist = true\n{}", file_output(&own_log(place.name))))?;
    let release = || run(Command::new("auditd-bpf").arg("release").arg("--config").arg(&config));
    release()?.ended_with(1).context("release while a daemon runs")?;
    ensure!(is_refused(place)?, "a running daemon's rules were released");
    session.stop()?;
    act(place, "gone", 5)?;
    release()?.ended_with(0)?.said(&["5 samples"])?;
    ensure!(!is_refused(place)?, "rules are in force after their release");
    release()?.ended_with(0)?.said(&["no daemon left rules in force"])?;
    is_gone(links)
}

/// A daemon that was started where nothing may be guarded has no keeper: once it guards something, no other could take over from it.
fn guarded(place: &Place) -> Result<()> {
    prepare(place)?;
    let session = start(place, "", OTHERS)?;
    ensure!(Path::new(PINS).exists(), "nothing is guarded, and nothing is pinned");
    private_file(place.name, "toml", &format!("protect = [\"config\"]\n{}", file_output(&own_log(place.name))))?;
    session.reload()?;
    wait_for("the pins to go", TIME, || Ok((!Path::new(PINS).exists()).then_some(())))
        .with_context(|| session.said())?;
    session.stop()
}
