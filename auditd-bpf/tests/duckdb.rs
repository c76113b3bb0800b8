//! DuckDB reads the daemon's JSON logs as they are, members of gzip cut at flush points included, and counts what we count.
//!
//! It is looked for in `target/tools/python`, where `cargo xtask setup` installs it. Without it the test is skipped, and says so.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use auditd_bpf::names::HostNames;
use output::read::Reader;
use output::{OutputConfig, Pipeline};

const COUNTS: &str = "
import duckdb, sys
rows = duckdb.sql(\"\"\"select type, verdict, errno, count(*), count(distinct serial) from read_json_auto(?)
                     group by all order by all\"\"\", params=[sys.argv[1]]).fetchall()
for row in rows: print(*row)
";

/// A Python that has it.
fn python() -> Option<PathBuf> {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/python/bin/python");
    let has = Command::new(&python).args(["-c", "import duckdb"]).output().is_ok_and(|output| output.status.success());
    if !has {
        eprintln!("SKIP: no DuckDB in target/tools/python; `cargo xtask setup` installs it");
    }
    has.then_some(python)
}

#[test]
fn duckdb_counts_the_same() {
    let Some(python) = python() else { return };
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("audit.json.gz");
    let table = format!("type = 'file'\npath = '{}'\nflush_events = 3\n", log.display());
    let output: OutputConfig = toml::from_str(&table).unwrap();
    let pipeline = Pipeline::start(&[output], "web1", Arc::new(HostNames::default())).unwrap();
    let native = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/native.log");
    let mut written = 0;
    for _ in 0..50 {
        for entry in Reader::new(std::io::BufReader::new(File::open(&native).unwrap())) {
            written += 1;
            let event = output::event::Event { serial: written, ..entry.unwrap().event };
            pipeline.push(Arc::new(event));
        }
    }
    pipeline.close(Duration::from_secs(20));
    let members = fs::read(&log).unwrap().windows(3).filter(|bytes| *bytes == [0x1f, 0x8b, 8]).count();
    assert!(members > 100, "{members} members");
    let answer = Command::new(python).args(["-c", COUNTS]).arg(&log).output().expect("python starts");
    let text = String::from_utf8_lossy(&answer.stdout);
    let rows: Vec<_> = text.lines().collect();
    assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
    let sum: u64 = rows.iter().map(|row| row.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum();
    assert_eq!(sum, written, "{rows:?}");
    for row in ["SYSCALL allow ECONNREFUSED 50 50", "SYSCALL allow EACCES 100 100", "USER_AUTH None None 100 100"] {
        assert!(rows.contains(&row), "{row} is not in {rows:#?}");
    }
}
