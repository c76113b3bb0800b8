//! The pipeline as a whole.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::event::Body;
use crate::format::Format;
use crate::record::Record;
use crate::samples::{self, FixedNames, NODE};

const PATIENCE: Duration = Duration::from_secs(120);

/// Keeps lines in memory; takes nothing while its gate is shut, as a sink whose destination is down.
#[derive(Clone, Default)]
struct Memory {
    lines: Arc<Mutex<Vec<u8>>>,
    shut: Arc<AtomicBool>,
    /// Write no more until resumed, once.
    suspend: Arc<AtomicBool>,
    suspended: bool,
    waiting: Vec<(Vec<u8>, u64)>,
    stalled: Option<Instant>,
    meter: Arc<Meter>,
}

impl Memory {
    fn records(&self) -> Vec<Value> {
        let lines = self.lines.lock().unwrap();
        String::from_utf8_lossy(&lines).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Sink for Memory {
    fn write(&mut self, record: &Record<'_>, events: u64) {
        assert!(self.stalled.is_none(), "written to while stalled");
        let mut line = Vec::new();
        Format::Json.write_lines(record, &mut line);
        self.waiting.push((line, events));
        self.retry();
        self.suspended |= self.suspend.swap(false, Ordering::SeqCst);
    }

    fn flush(&mut self) {}

    fn due(&self) -> Option<Instant> {
        None
    }

    fn stalled_until(&self) -> Option<Instant> {
        self.stalled
    }

    fn retry(&mut self) {
        if self.shut.load(Ordering::SeqCst) {
            self.stalled = Some(Instant::now() + Duration::from_millis(1));
            return;
        }
        self.stalled = None;
        for (line, events) in self.waiting.drain(..) {
            self.meter.wrote(events, line.len());
            self.lines.lock().unwrap().extend(line);
        }
    }

    fn suspended(&self) -> bool {
        self.suspended
    }

    fn resume(&mut self) {
        self.suspended = false;
    }

    fn last_attempt(&mut self) {
        self.suspended = false;
    }

    fn close(&mut self) -> u64 {
        self.waiting.iter().map(|(_, events)| events).sum()
    }
}

/// A pipeline of such sinks, each with a queue for `limit` events.
fn pipeline(sinks: &[&Memory], limit: usize) -> Pipeline {
    let shared = Shared { names: Arc::new(FixedNames), serials: Arc::default() };
    let lanes = sinks.iter().enumerate().map(|(index, sink)| {
        let sink = Memory::clone(sink);
        let config: OutputConfig = toml::from_str(&format!("type = 'stdout'\nqueue = {limit}")).unwrap();
        let mut blueprint = blueprints(&[config], NODE).unwrap().remove(0);
        blueprint.name = format!("memory{index}");
        Lane::start(Opened { blueprint, meter: Arc::clone(&sink.meter), sink: Box::new(sink) }, &shared).unwrap()
    });
    Pipeline { lanes: lanes.collect(), shared }
}

fn push(pipeline: &Pipeline, count: usize) {
    for _ in 0..count {
        let serial = pipeline.serials().next();
        pipeline.push(Arc::new(Event { serial, ..samples::event(samples::daemon()) }));
    }
}

fn assert_balanced(counters: &SinkCounters) {
    assert_eq!(counters.pushed, counters.written + counters.lost_total(), "{counters:?}");
}

/// What the stream says was lost.
fn told(records: &[Value]) -> u64 {
    records.iter().filter_map(|record| record["lost"].as_u64()).sum()
}

fn wait_until(met: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !met() {
        assert!(Instant::now() < deadline, "waited too long");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn what_happens_while_a_sink_is_suspended_is_counted_and_told_when_it_goes_on() {
    for resumed in [true, false] {
        let sink = Memory::default();
        let pipeline = pipeline(&[&sink], 600);
        push(&pipeline, 10);
        sink.suspend.store(true, Ordering::SeqCst);
        push(&pipeline, 1);
        wait_until(|| pipeline.counters()[0].suspended);
        push(&pipeline, 100);
        if resumed {
            pipeline.resume();
            push(&pipeline, 5);
        }
        let counters = pipeline.close(PATIENCE);
        assert_balanced(&counters[0]);
        assert_eq!(counters[0].lost_total(), 100);
        let records = sink.records();
        let gap = records.iter().position(|record| record["type"] == "LOST").unwrap();
        assert_eq!((gap, &records[gap]["losses"][0]["cause"]), (11, &Value::from("suspended")));
        assert_eq!((told(&records), records.len()), (100, if resumed { 17 } else { 12 }));
    }
}

#[test]
fn a_slow_sink_loses_what_does_not_fit_says_so_and_slows_nobody() {
    let (slow, fast) = (Memory::default(), Memory::default());
    slow.shut.store(true, Ordering::SeqCst);
    let pipeline = pipeline(&[&slow, &fast], 600);
    for round in 1..=20 {
        push(&pipeline, 500);
        let deadline = Instant::now() + PATIENCE;
        while pipeline.counters()[1].written < round * 500 {
            assert!(Instant::now() < deadline, "the fast sink waits for the slow one");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    assert_eq!(pipeline.flush(Duration::from_millis(5)).unwrap_err().sinks[0], "memory0");
    slow.shut.store(false, Ordering::SeqCst);
    pipeline.flush(PATIENCE).unwrap();
    push(&pipeline, 1);
    let counters = pipeline.close(PATIENCE);
    counters.iter().for_each(assert_balanced);
    assert_eq!((counters[1].written, counters[1].lost_total()), (10_001, 0));
    assert_eq!(fast.records().len(), 10_001);

    let records = slow.records();
    assert!(counters[0].written >= 601, "what fitted was kept");
    assert_eq!(told(&records), counters[0].lost_total());
    let events = records.iter().filter(|record| record["type"] != "LOST").count();
    assert_eq!(events as u64, counters[0].written);
    // The record of the loss stands in the gap: before the first event after it.
    let gap = records.iter().position(|record| record["type"] == "LOST").unwrap();
    assert_eq!(records[gap]["losses"][0]["cause"], "queue_full");
    let serial = |index: usize| records[index]["serial"].as_u64().unwrap();
    assert_eq!(serial(gap - 1), serial(0) + gap as u64 - 1, "nothing is missing before the gap");
    assert!(serial(gap + 1) > serial(gap - 1) + 1, "and something is where it is told");
}

#[test]
fn closing_waits_for_a_sink_no_longer_than_it_was_told() {
    let stuck = Memory::default();
    stuck.shut.store(true, Ordering::SeqCst);
    let pipeline = pipeline(&[&stuck], 1000);
    push(&pipeline, 50);
    let start = Instant::now();
    let counters = pipeline.close(Duration::from_millis(50));
    assert!(start.elapsed() < Duration::from_secs(10));
    assert_balanced(&counters[0]);
    assert_eq!((counters[0].lost[2], counters[0].lost_total()), (("shutdown", 50), 50));
}

#[test]
fn closing_writes_all_that_waits() {
    let sink = Memory::default();
    let pipeline = pipeline(&[&sink], 10_000);
    push(&pipeline, 5000);
    let counters = pipeline.close(PATIENCE);
    assert_eq!((counters[0].written, counters[0].pending()), (5000, 0));
    let serials: Vec<u64> = sink.records().iter().map(|record| record["serial"].as_u64().unwrap()).collect();
    assert!(serials.is_sorted());
    assert_eq!(serials.len(), 5000);
}

#[test]
fn many_threads_may_push() {
    let sink = Memory::default();
    let pipeline = pipeline(&[&sink], 100_000);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| push(&pipeline, 1000));
        }
    });
    assert_eq!(pipeline.close(PATIENCE)[0].written, 4000);
    let mut serials: Vec<u64> = sink.records().iter().map(|record| record["serial"].as_u64().unwrap()).collect();
    serials.sort_unstable();
    serials.dedup();
    assert_eq!(serials.len(), 4000);
}

fn file(path: &Path, more: &str) -> OutputConfig {
    toml::from_str(&format!("type = 'file'\npath = '{}'\n{more}", path.display())).unwrap()
}

#[test]
fn from_the_configuration_to_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.json");
    let config = file(&path, "compression = 'none'\nflush_ms = 5");
    let pipeline = Pipeline::start(&[config], NODE, Arc::new(FixedNames)).unwrap();
    for event in samples::every_kind() {
        pipeline.push(Arc::new(event));
    }
    // No flush is asked for: flush_ms has to do it.
    let deadline = Instant::now() + PATIENCE;
    let expected = samples::every_kind().len();
    while std::fs::read_to_string(&path).unwrap().lines().count() < expected {
        assert!(Instant::now() < deadline, "not flushed");
        std::thread::sleep(Duration::from_millis(1));
    }
    let counters = pipeline.close(PATIENCE);
    assert_eq!(counters[0].sink, format!("file:{}", path.display()));
    assert_eq!(counters[0].bytes, std::fs::metadata(&path).unwrap().len());
}

#[test]
fn a_start_that_fails_says_why_and_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let start = |configs: &[OutputConfig]| Pipeline::start(configs, NODE, Arc::new(FixedNames));
    assert!(matches!(start(&[]), Err(OutputError::NoOutput)));
    let twice = [file(&path, ""), file(&path, "")];
    assert!(matches!(start(&twice), Err(OutputError::InUse { .. })));
    assert!(start(&twice[..1]).is_ok(), "the failed start still holds the file");
}

#[test]
fn a_syscall_event_passes_as_it_is() {
    let sink = Memory::default();
    let pipeline = pipeline(&[&sink], 10);
    pipeline.push(Arc::new(samples::event(Body::Syscall(Box::new(samples::exec())))));
    pipeline.close(PATIENCE);
    assert_eq!(sink.records()[0]["argv"][3], "caf\\xe9");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever the queue, the bursts and the outages: what was pushed is written or told as lost.
    #[test]
    fn pushed_is_written_and_lost(
        limit in 1..300_usize,
        bursts in prop::collection::vec((0..400_usize, any::<bool>()), 1..12),
    ) {
        let sink = Memory::default();
        let pipeline = pipeline(&[&sink], limit);
        for (count, shut) in bursts {
            sink.shut.store(shut, Ordering::SeqCst);
            push(&pipeline, count);
        }
        sink.shut.store(false, Ordering::SeqCst);
        let counters = pipeline.close(PATIENCE);
        assert_balanced(&counters[0]);
        let records = sink.records();
        prop_assert_eq!(told(&records), counters[0].lost_total());
        prop_assert_eq!(records.iter().filter(|record| record["type"] != "LOST").count() as u64, counters[0].written);
    }
}
