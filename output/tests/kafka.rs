//! The kafka sink before librdkafka's mock of a cluster: three brokers that speak the protocol over TCP, can be taken down, refuse
//! and change leaders. What is in them, librdkafka's own consumer reads.
//!
//! It comes with confluent-kafka from PyPI, which `cargo xtask setup` puts into `target/tools/python`. Without it the tests are
//! skipped, and say so.

mod common;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use output::{OutputConfig, Pipeline, SinkCounters};
use serde_json::Value;
use tempfile::TempDir;

use common::{Nobody, certificates, daemon_event, root, wait_until};

const PATIENCE: Duration = Duration::from_secs(60);
const TIME: u64 = 1_795_503_850_123_456_789;
/// Key of requests to produce, and what a broker says whose followers are behind, once (protocol guide, "Error Codes").
const PRODUCE_REFUSED: &str = "refuse 0 19 1";

struct Cluster {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
    brokers: String,
}

impl Cluster {
    fn start(arguments: &[&OsStr]) -> Option<Self> {
        let python = root().join("target/tools/python/bin/python");
        let has = Command::new(&python).args(["-c", "import confluent_kafka"]).output();
        if !has.is_ok_and(|output| output.status.success()) {
            eprintln!("SKIP: no confluent-kafka in target/tools/python; `cargo xtask setup` installs it");
            return None;
        }
        let script = root().join("output/tests/kafka_cluster.py");
        let mut command = Command::new(python);
        command.arg(script).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let (commands, answers) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut cluster = Self { child, commands, answers, brokers: String::new() };
        cluster.brokers = cluster.answer();
        Some(cluster)
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "the cluster ended");
        line.trim_end().to_owned()
    }

    fn tell(&mut self, command: &str) -> Value {
        writeln!(self.commands, "{command}").unwrap();
        serde_json::from_str(&self.answer()).unwrap()
    }

    /// What is in the topic, by partition and offset.
    fn read(&mut self) -> Vec<Value> {
        let Value::Array(records) = self.tell("read audit") else { panic!("no records") };
        records
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn serial(record: &Value) -> u64 {
    let text: Value = serde_json::from_str(record["value"].as_str().unwrap()).unwrap();
    let serial = text["serial"].as_u64().unwrap();
    assert_eq!(record["key"], format!("web1:{TIME}:{serial}"), "the key names the record");
    serial
}

fn start(cluster: &Cluster, spool: &TempDir, keys: &str) -> Pipeline {
    let brokers: Vec<_> = cluster.brokers.split(',').collect();
    let config = format!(
        "type = 'kafka'\nbrokers = {brokers:?}\nqueue = 1000000\nqueue_bytes = 4000000000\n{keys}\nspool.path = '{}'\n",
        spool.path().join("spool").display()
    );
    let config: OutputConfig = toml::from_str(&config).unwrap();
    Pipeline::start(&[config], "web1", Arc::new(Nobody)).unwrap()
}

fn push(pipeline: &Pipeline, serials: std::ops::Range<u64>, details: &str) {
    for serial in serials {
        pipeline.push(daemon_event(TIME, serial, vec![("more".into(), details.to_owned())]));
    }
}

fn counters(pipeline: &Pipeline) -> SinkCounters {
    pipeline.counters().remove(0)
}

fn spool() -> TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn a_partition_has_every_record_in_order_through_outages_refusals_and_new_leaders() {
    let Some(mut cluster) = Cluster::start(&[]) else { return };
    cluster.tell("topic audit 4");
    let spool = spool();
    let pipeline = start(&cluster, &spool, "");
    for round in 0..3 {
        push(&pipeline, round * 2000..(round + 1) * 2000, "x");
        wait_until("half of it", PATIENCE, || counters(&pipeline).written > round * 2000 + 500);
        for broker in 1..=3 {
            cluster.tell(&format!("down {broker}"));
        }
        let errors = counters(&pipeline).errors;
        push(&pipeline, 6000 + round * 10..6010 + round * 10, "x");
        wait_until("the outage is noticed", PATIENCE, || counters(&pipeline).errors > errors);
        for partition in 0..4 {
            cluster.tell(&format!("leader audit {partition} {}", round + 1));
        }
        cluster.tell(PRODUCE_REFUSED);
        for broker in 1..=3 {
            cluster.tell(&format!("up {broker}"));
        }
    }
    wait_until("all of it", PATIENCE, || counters(&pipeline).written == 6030);
    pipeline.close(PATIENCE);
    let records = cluster.read();
    let partitions: BTreeSet<_> = records.iter().map(|record| record["partition"].as_u64()).collect();
    assert_eq!(partitions.len(), 1, "records of a machine are in one partition");
    assert!(records.iter().all(|record| record["time"] == TIME / 1_000_000), "their time is the event's");
    let mut seen = BTreeSet::new();
    let mut first: Vec<_> = records.iter().map(serial).collect();
    first.retain(|serial| seen.insert(*serial));
    let pushed =
        (0..3).flat_map(|round| (round * 2000..(round + 1) * 2000).chain(6000 + round * 10..6010 + round * 10));
    assert!(first.into_iter().eq(pushed), "missing, or out of order");
}

#[test]
fn records_wait_for_a_topic_and_for_the_next_daemon() {
    let Some(mut cluster) = Cluster::start(&[]) else { return };
    let spool = spool();
    let pipeline = start(&cluster, &spool, "");
    push(&pipeline, 0..10, "x");
    wait_until("refusal", PATIENCE, || counters(&pipeline).errors >= 2);
    let counters_then = pipeline.close(PATIENCE).remove(0);
    assert_eq!((counters_then.written, counters_then.spooled, counters_then.lost_total()), (0, 10, 0));
    cluster.tell("topic audit 2");
    let pipeline = start(&cluster, &spool, "partition = 1");
    wait_until("delivered", PATIENCE, || counters(&pipeline).written == 10);
    pipeline.close(PATIENCE);
    let records = cluster.read();
    assert!(records.iter().map(serial).eq(0..10));
    assert!(records.iter().all(|record| record["partition"] == 1), "the one that is configured");
}

#[test]
fn what_is_too_long_is_lost_and_told_and_holds_up_nothing() {
    let Some(mut cluster) = Cluster::start(&[]) else { return };
    cluster.tell("topic audit 1");
    let spool = spool();
    let pipeline = start(&cluster, &spool, "max_bytes = 10000");
    push(&pipeline, 0..1, &"x".repeat(20_000));
    push(&pipeline, 1..3, "x");
    wait_until("delivered", PATIENCE, || counters(&pipeline).written == 2);
    assert_eq!(counters(&pipeline).lost[1], ("too_long", 1));
    pipeline.close(PATIENCE);
    // The two, and the record of the loss.
    assert_eq!(cluster.read().len(), 3);
}

#[test]
fn consumers_read_what_is_compressed() {
    for compression in ["gzip", "zstd"] {
        let Some(mut cluster) = Cluster::start(&[]) else { return };
        cluster.tell("topic audit 1");
        let spool = spool();
        let pipeline = start(&cluster, &spool, &format!("compression = '{compression}'"));
        push(&pipeline, 0..3000, &"x".repeat(500));
        wait_until("delivered", PATIENCE, || counters(&pipeline).written == 3000);
        pipeline.close(PATIENCE);
        assert!(cluster.read().iter().map(serial).eq(0..3000), "{compression}");
    }
}

#[test]
fn brokers_and_we_prove_who_we_are_over_tls() {
    let directory = spool();
    certificates::write(directory.path(), "localhost");
    let file = |name| directory.path().join(name);
    let (ca, cert, key) = (file("ca.pem"), file("server.pem"), file("server.key"));
    let Some(mut cluster) = Cluster::start(&[ca.as_ref(), cert.as_ref(), key.as_ref()]) else { return };
    cluster.tell("topic audit 1");
    let tls = |ca, rest| format!("tls = {{ ca = '{}'{rest} }}", file(ca).display());
    let us = format!(", cert = '{}', key = '{}'", file("client.pem").display(), file("client.key").display());
    let spool = spool();
    for (why, keys) in [("no certificate", tls("ca.pem", "")), ("another authority", tls("other-ca.pem", &us))] {
        let pipeline = start(&cluster, &spool, &keys);
        push(&pipeline, 0..1, "x");
        wait_until(why, PATIENCE, || counters(&pipeline).errors >= 1);
        assert_eq!(pipeline.close(PATIENCE).remove(0).written, 0, "{why}");
        std::fs::remove_dir_all(spool.path().join("spool")).unwrap();
    }
    assert!(cluster.read().is_empty());
    let pipeline = start(&cluster, &spool, &tls("ca.pem", &us));
    push(&pipeline, 0..10, "x");
    wait_until("delivered", PATIENCE, || counters(&pipeline).written == 10);
    pipeline.close(PATIENCE);
    assert!(cluster.read().iter().map(serial).eq(0..10));
}
