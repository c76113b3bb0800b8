//! `kill -9` at any moment: what was flushed reads with stock `zcat`, and the next run goes on.

mod common;

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use output::{OutputConfig, Pipeline};

use common::{Nobody, daemon_event, kill_a_run};

/// Set for the run of this test that is to be killed: the log it writes.
const VICTIM: &str = "OUTPUT_TEST_KILL_LOG";
/// How often to kill, if not as often as takes little time.
const ROUNDS: &str = "AUDIT_KILLS";
const PATIENCE: Duration = Duration::from_secs(60);

fn rounds() -> u64 {
    std::env::var(ROUNDS).map_or(20, |text| text.parse().unwrap())
}

fn random_below(limit: u64) -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(()) % limit
}

fn start(path: &Path) -> Pipeline {
    let config =
        format!("type = 'file'\npath = '{}'\nflush_events = 7\nflush_ms = 1\nrotate_records = 300", path.display());
    let config: OutputConfig = toml::from_str(&config).unwrap();
    Pipeline::start(&[config], "node", Arc::new(Nobody)).unwrap()
}

/// Writes until it is killed, and says after every flush how far it came.
fn be_killed(path: &Path) {
    let pipeline = start(path);
    for serial in 0.. {
        pipeline.push(daemon_event(0, serial, Vec::new()));
        if serial % 50 == 49 {
            pipeline.flush(PATIENCE).unwrap();
            println!("flushed {serial}");
        }
    }
}

/// Serials of the victim's records in all segments, by zcat. A torn tail makes it complain, but not before it gave all that
/// precedes.
fn zcat(path: &Path) -> Vec<u64> {
    let files = std::fs::read_dir(path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.filter(|file| file.extension().is_some_and(|end| end == "gz")).collect();
    files.sort();
    let output = Command::new("zcat").args(files).stderr(Stdio::null()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let whole = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    // The sink's own records of rotations have serials of the pipeline.
    whole.map(|record| record["serial"].as_u64().unwrap()).filter(|serial| *serial < 1 << 31).collect()
}

#[test]
fn killed_at_any_moment() {
    if let Some(path) = std::env::var_os(VICTIM) {
        return be_killed(Path::new(&path));
    }
    let (rounds, mut records) = (rounds(), 0);
    for round in 0..rounds {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log.gz");
        let after = Duration::from_micros(random_below(40_000));
        let flushed = kill_a_run("killed_at_any_moment", (VICTIM, path.as_os_str()), "flushed", after).unwrap_or(49);

        let before = zcat(&path);
        assert!(before.iter().copied().eq(0..before.len() as u64), "a record is missing, doubled or out of order");
        assert!(before.len() as u64 > flushed, "{flushed} was flushed, {} records are there", before.len());

        let pipeline = start(&path);
        pipeline.push(daemon_event(0, before.len() as u64, Vec::new()));
        assert_eq!(pipeline.close(PATIENCE)[0].written, 1);
        let after = zcat(&path);
        assert!(after.len() > before.len() && after.starts_with(&before), "the log did not go on");
        let report = output::chain::verify(directory.path()).unwrap();
        assert_eq!((report.findings, report.pending), (vec![], 0), "round {round}");
        records += before.len();
    }
    println!("killed {rounds} times: all that was flushed is among {records} records, and the chain verifies");
}
