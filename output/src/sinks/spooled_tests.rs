//! The spooled sink before a server that can be told to fail.

use std::path::Path;

use super::*;
use crate::config::WhenFull;
use crate::event::Event;
use crate::samples;

const PATIENCE: Duration = Duration::from_secs(20);

/// A server in memory.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Server>>);

#[derive(Default)]
struct Server {
    /// What came over the connection that is open.
    arriving: Vec<String>,
    /// What was acknowledged.
    received: Vec<String>,
    down: bool,
    /// So many of what was sent are refused when it is asked for.
    refuses: u64,
    /// Before when it wants nothing, while it is down.
    wants_nothing_before: Option<Instant>,
}

impl Memory {
    fn server(&self) -> MutexGuard<'_, Server> {
        self.0.lock().unwrap()
    }

    fn up(&self) -> io::Result<MutexGuard<'_, Server>> {
        let server = self.server();
        if server.down { Err(io::ErrorKind::ConnectionRefused.into()) } else { Ok(server) }
    }
}

impl Delivery for Memory {
    fn pace(&self) -> Pace {
        Pace { records: 10, after: Duration::from_millis(5) }
    }

    fn send(&mut self, batch: &[Spooled]) -> io::Result<()> {
        let texts = batch.iter().map(|record| String::from_utf8(record.payload.clone()).unwrap());
        self.up()?.arriving.extend(texts);
        Ok(())
    }

    fn acknowledge(&mut self) -> io::Result<u64> {
        let mut server = self.up()?;
        let arrived = std::mem::take(&mut server.arriving);
        server.received.extend(arrived);
        Ok(std::mem::take(&mut server.refuses))
    }

    fn not_before(&self) -> Option<Instant> {
        self.server().wants_nothing_before
    }

    fn reset(&mut self) {
        self.server().arriving.clear();
    }
}

/// The serial as text, padded to a size.
struct Serial(usize);

impl Encode for Serial {
    fn encode(&self, record: &Record<'_>) -> Vec<Vec<u8>> {
        let mut text = record.event.serial.to_string();
        if let crate::event::Body::Lost(losses) = &record.event.body {
            text = format!("lost {}", losses.iter().map(|loss| loss.count).sum::<u64>());
        }
        vec![format!("{text:width$}", width = self.0).into_bytes()]
    }
}

fn open(directory: &Path, when_full: WhenFull, size: usize, memory: &Memory) -> (SpooledSink, Arc<Meter>) {
    let meter = Arc::new(Meter::default());
    let config = SpoolConfig { path: directory.to_owned(), bytes: 1 << 20, when_full };
    let delivery = Box::new(memory.clone());
    let sink = SpooledSink::open("memory", &config, Box::new(Serial(size)), delivery, Arc::clone(&meter)).unwrap();
    (sink, meter)
}

fn write(sink: &mut SpooledSink, serials: std::ops::Range<u64>) {
    for serial in serials {
        sink.shared.meter.pushed();
        sink.write(&samples::record(&Event { serial, ..samples::event(samples::daemon()) }), 1);
    }
}

fn wait_until(met: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !met() {
        assert!(Instant::now() < deadline, "waited in vain");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn serials(memory: &Memory) -> Vec<u64> {
    memory.server().received.iter().filter_map(|text| text.trim().parse().ok()).collect()
}

#[test]
fn an_outage_delays_and_loses_and_repeats_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let memory = Memory::default();
    let (mut sink, meter) = open(directory.path(), WhenFull::DropOldest, 0, &memory);
    write(&mut sink, 0..25);
    wait_until(|| serials(&memory).len() == 25);
    memory.server().down = true;
    write(&mut sink, 25..500);
    wait_until(|| meter.snapshot("").stalled);
    assert!(sink.stalled_until().is_none(), "the spool takes what the server does not");
    let counters = meter.snapshot("");
    assert_eq!((counters.written, counters.spooled, counters.pending()), (25, 475, 475));
    memory.server().down = false;
    wait_until(|| serials(&memory).len() == 500);
    assert!(serials(&memory).into_iter().eq(0..500));
    assert_eq!(sink.close(), 0);
    let counters = meter.snapshot("");
    assert_eq!((counters.written, counters.pending(), counters.stalled), (500, 0, false));
}

#[test]
fn what_waits_when_the_daemon_ends_is_sent_by_the_next() {
    let directory = tempfile::tempdir().unwrap();
    let memory = Memory::default();
    memory.server().down = true;
    let (mut sink, meter) = open(directory.path(), WhenFull::DropOldest, 0, &memory);
    write(&mut sink, 0..30);
    assert_eq!(sink.close(), 0, "it is not lost");
    assert_eq!((meter.snapshot("").spooled, meter.snapshot("").lost_total()), (30, 0));
    drop(sink);
    memory.server().down = false;
    let (mut sink, meter) = open(directory.path(), WhenFull::DropOldest, 0, &memory);
    write(&mut sink, 30..40);
    sink.close();
    assert!(serials(&memory).into_iter().eq(0..40));
    assert_eq!((meter.snapshot("").pushed, meter.snapshot("").written), (40, 40));
}

#[test]
fn closing_delivers_what_it_can() {
    let directory = tempfile::tempdir().unwrap();
    let memory = Memory::default();
    let (mut sink, meter) = open(directory.path(), WhenFull::DropOldest, 0, &memory);
    write(&mut sink, 0..300);
    sink.close();
    assert!(serials(&memory).into_iter().eq(0..300));
    assert_eq!(meter.snapshot("").pending(), 0);
}

/// Fills the spool of a server that is away; returns the counters then, and what the server gets when it is back.
fn overflow(when_full: WhenFull) -> (crate::SinkCounters, Vec<u64>, u64) {
    let directory = tempfile::tempdir().unwrap();
    let memory = Memory::default();
    memory.server().down = true;
    let (mut sink, meter) = open(directory.path(), when_full, 1000, &memory);
    write(&mut sink, 0..2000);
    let full = meter.snapshot("");
    memory.server().down = false;
    let lost = full.lost_total();
    let mut told = 0;
    // What the worker does.
    wait_until(|| meter.has_unreported());
    while told < lost {
        let losses: u64 =
            meter.take_unreported().map(|(cause, count)| (count, assert_eq!(cause, Cause::SpoolFull)).0).sum();
        told += losses;
        std::thread::sleep(Duration::from_millis(1));
    }
    wait_until(|| meter.snapshot("").pending() == 0);
    sink.close();
    (full, serials(&memory), told)
}

#[test]
fn a_full_spool_loses_the_oldest_or_the_newest_and_says_so() {
    let (full, received, told) = overflow(WhenFull::DropOldest);
    assert!(full.lost_total() > 900 && full.spool_bytes <= 1 << 20, "{full:?}");
    assert_eq!((told, received.len() as u64), (full.lost_total(), 2000 - told));
    assert!(received.into_iter().eq(told..2000));
    let (full, received, told) = overflow(WhenFull::DropNewest);
    assert_eq!((told, received.len() as u64), (full.lost_total(), 2000 - told));
    assert!(received.into_iter().eq(0..2000 - told));
}

#[test]
fn what_the_server_refuses_is_lost_and_told_and_not_sent_again() {
    let directory = tempfile::tempdir().unwrap();
    let memory = Memory::default();
    memory.server().refuses = 3;
    let (mut sink, meter) = open(directory.path(), WhenFull::DropOldest, 0, &memory);
    write(&mut sink, 0..5);
    wait_until(|| meter.snapshot("").pending() == 0);
    assert!(meter.take_unreported().all(|(cause, _)| cause == Cause::Refused));
    let counters = meter.snapshot("");
    assert_eq!(counters.written + counters.lost[Cause::Refused as usize].1, 5);
    assert!(counters.lost[Cause::Refused as usize].1 > 0);
    sink.close();
    assert!(serials(&memory).into_iter().eq(0..5), "each once");
}

#[test]
fn a_server_is_left_alone_for_as_long_as_it_wants() {
    let directory = tempfile::tempdir().unwrap();
    let memory = Memory::default();
    let later = Instant::now() + Duration::from_secs(3600);
    (memory.server().down, memory.server().wants_nothing_before) = (true, Some(later));
    let (mut sink, meter) = open(directory.path(), WhenFull::DropOldest, 0, &memory);
    write(&mut sink, 0..1);
    wait_until(|| meter.snapshot("").stalled);
    memory.server().down = false;
    // Longer than the time between attempts otherwise.
    std::thread::sleep(Duration::from_millis(300));
    sink.close();
    assert_eq!((meter.snapshot("").errors, meter.snapshot("").spooled), (1, 1));
}
