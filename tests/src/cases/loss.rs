//! More events than the daemon can take: each is in the log, or in a record that counts it. And which do not wait.

use std::fs::{self, File};
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use serde_json::Value;

use super::control::auditctl;
use super::crash::start_with;
use crate::child;
use crate::daemon;
use crate::event::Event;
use crate::harness::Alone;
use crate::place::{Place, copy_of_busybox};
use crate::session::{Session, is_loss, kernel_and_file_output, own_log};

/// What another kernel may do otherwise.
pub const OF_KERNEL: &[Alone] = &[STANDING_STILL];
const STANDING_STILL: Alone = Alone::new("what_a_daemon_that_stands_still_loses_is_counted", standing_still);

pub const CASES: &[Alone] = &[
    STANDING_STILL,
    Alone::new("what_a_small_ring_buffer_loses_is_counted", small_ring),
    Alone::new("events_without_end_do_not_keep_the_daemon_busy", without_end),
    Alone::new("acts_upon_tasks_wake_the_daemon", waking),
];

const SMALL_RING: &str = "ring_buffer_bytes = 262144\n";

/// A daemon that records what is made in `d`.
fn start(place: &Place, kernel: &str) -> Result<Session> {
    let log = own_log(place.name);
    start_with(place, &kernel_and_file_output(kernel, &log), &log)
}

/// How many were made according to the log, and how many events it says were lost for want of room in the ring buffer.
fn told(events: &[Event]) -> (u64, u64) {
    let made = events.iter().filter(|event| !event.paths_of("CREATE").is_empty()).count() as u64;
    let losses = events.iter().filter(|event| is_loss(event)).filter_map(|event| event.get("losses").as_array());
    let full = losses.flatten().filter(|loss| loss["cause"] == "ring_buffer_full");
    (made, full.filter_map(|loss| loss["count"].as_u64()).sum())
}

fn standing_still(place: &Place) -> Result<()> {
    const PROCESSES: u32 = 2;
    const EACH: u32 = 1500;
    let session = start(place, SMALL_RING)?;
    session.signal(Signal::SIGSTOP)?;
    let loaded = child::make_files(&place.path("d"), PROCESSES, EACH);
    session.signal(Signal::SIGCONT)?;
    loaded?;
    let (made, lost) = told(&session.stop_and_read()?);
    ensure!(lost > 0, "256 KiB held {made} events");
    ensure!(made + lost == u64::from(PROCESSES * EACH), "{made} events and {lost} lost of {}", PROCESSES * EACH);
    Ok(())
}

fn small_ring(place: &Place) -> Result<()> {
    const PROCESSES: u32 = 4;
    const EACH: u32 = 1500;
    let session = start(place, SMALL_RING)?;
    child::make_files(&place.path("d"), PROCESSES, EACH)?;
    let (made, lost) = told(&session.stop_and_read()?);
    ensure!(made + lost == u64::from(PROCESSES * EACH), "{made} events and {lost} lost of {}", PROCESSES * EACH);
    Ok(())
}

/// Whoever makes events faster than the daemon takes them does not keep it from what others ask of it.
fn without_end(place: &Place) -> Result<()> {
    const PROCESSES: u32 = 12;
    let session = start(place, "ring_buffer_bytes = 8388608\n")?;
    let (watched, refused) = (place.file("d/watched")?, place.file("refused")?);
    let write = |path: &Path| File::options().write(true).open(path).map(drop);
    let busy = (0..PROCESSES).map(|_| {
        child::start(|| {
            loop {
                write(&watched)?;
            }
        })
    });
    let busy = busy.collect::<Result<Vec<_>>>()?;
    let rule = format!("-a deny,exit -F arch=b64 -S openat -F path={} -F perm=w -k new", refused.display());
    let answered = auditctl(&rule).and_then(|finished| finished.ended_with(0).map(drop));
    let is_refused = write(&refused).is_err();
    for child in &busy {
        nix::sys::signal::kill(Pid::from_raw(child.pid().cast_signed()), Signal::SIGKILL)?;
    }
    busy.into_iter().try_for_each(child::Child::wait_killed)?;
    answered?;
    ensure!(is_refused, "the rule that came meanwhile does not refuse");
    session.stop()
}

/// A daemon that looks but once a second: an event that does not wake it waits for half of one on average.
fn waking(place: &Place) -> Result<()> {
    const ACTS: u64 = 10;
    let log = own_log(place.name);
    let program = place.program(Path::new("program"))?;
    let rules = format!(
        "-a always,exit -F arch=b64 -S kill -F a1=0 -k {0}\n-a always,exit -F arch=b64 -S execve -F path={1} -k {0}",
        place.name,
        program.display()
    );
    let config = kernel_and_file_output("poll_ms = 1000\n", &log);
    let session = Session::start_with(place.name, &rules, &config, &log)?;
    for _ in 0..ACTS / 2 {
        ensure!(copy_of_busybox(&program).arg("true").status()?.success(), "the program failed");
        nix::sys::signal::kill(Pid::this(), None)?;
        thread::sleep(Duration::from_millis(300));
    }
    let status = daemon::status()?;
    session.stop()?;
    let (delays, micros) = (&status["delays"], status["delay_micros"].as_u64().context("no delay_micros")?);
    let events: u64 = delays.as_object().context("no delays")?.values().filter_map(Value::as_u64).sum();
    ensure!(events >= ACTS, "{events} of {ACTS} events: {delays}");
    ensure!(micros / events < 250_000, "they did not wake it: {delays}, {micros} us together");
    fs::remove_file(&program)?;
    Ok(())
}
