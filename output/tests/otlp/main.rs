//! The otlp sink before a server of HTTP that takes, refuses, is busy, hangs up and goes away.
//!
//! What is in the requests, OpenTelemetry's own types say, which come with opentelemetry-proto from PyPI: `cargo xtask setup` puts it
//! into `target/tools/python`. Without it the one test with them is skipped, and says so.
//!
//! `AUDIT_RECORDS` (default 20000) makes the test longer that tells how fast records go.

#[path = "../common/mod.rs"]
mod common;
mod server;
mod wire;

use std::collections::BTreeMap;
use std::io::Write;
use std::ops::Range;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use output::event::{Body, Event, Ids, RuleRef, SyscallEvent, Verdict};
use output::{OutputConfig, Pipeline, SinkCounters};
use serde_json::{Value, json};
use tempfile::TempDir;

use common::{Machine, X86_64, certificates, kill_a_run, root, wait_until};
use server::{Answer, Server};
use wire::LogRecord;

const PATIENCE: Duration = Duration::from_secs(60);
const TIME: u64 = 1_795_503_850_123_456_789;
/// Log records in a request, at most.
const BATCH: usize = 1000;

fn spool() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn pipeline(endpoint: &str, spool: &Path, keys: &str) -> Pipeline {
    let config = format!(
        "type = 'otlp'\nendpoint = '{endpoint}'\nqueue = 1000000\nqueue_bytes = 4000000000\n{keys}\nspool.path = '{}'\n",
        spool.join("spool").display()
    );
    let config: OutputConfig = toml::from_str(&config).unwrap();
    Pipeline::start(&[config], "web1", Arc::new(Machine)).unwrap()
}

fn start(server: &Server, spool: &TempDir, keys: &str) -> Pipeline {
    pipeline(&format!("http://127.0.0.1:{}", server.port), spool.path(), keys)
}

/// An exec, every tenth of them refused.
fn event(serial: u64) -> Arc<Event> {
    let call = SyscallEvent {
        rule: RuleRef { keys: [b"fed".to_vec(), b"exec".to_vec()].into(), ..RuleRef::default() },
        verdict: if serial % 10 == 9 { Verdict::Deny } else { Verdict::Allow },
        arch: X86_64,
        syscall: 59,
        args: [1, 2, 3, 4, 5, serial].into(),
        exit: Some(0),
        pid: 812,
        ids: Ids { auid: 1000, ..Ids::default() },
        comm: b"cat".to_vec(),
        exe: Some(b"/usr/bin/cat".to_vec()),
        argv: Some(vec![b"cat".to_vec(), b"/etc/hosts".to_vec()]),
        ..SyscallEvent::default()
    };
    Arc::new(Event { time: TIME, serial, body: Body::Syscall(Box::new(call)) })
}

fn push(pipeline: &Pipeline, serials: Range<u64>) {
    serials.for_each(|serial| pipeline.push(event(serial)));
}

fn counters(pipeline: &Pipeline) -> SinkCounters {
    pipeline.counters().remove(0)
}

fn refused(counters: &SinkCounters) -> u64 {
    counters.lost.iter().find(|(cause, _)| *cause == "refused").unwrap().1
}

/// Has so many records wait for the server, which then gets them in one request.
fn start_with_a_batch(server: &mut Server, spool: &TempDir, count: u64, keys: &str) -> Pipeline {
    server.down();
    let pipeline = start(server, spool, keys);
    push(&pipeline, 0..count);
    wait_until("all in the spool", PATIENCE, || counters(&pipeline).spooled == count);
    server.up();
    pipeline
}

#[test]
fn everything_arrives_once_and_in_order() {
    let count = std::env::var("AUDIT_RECORDS").map_or(20_000, |text| text.parse().expect("AUDIT_RECORDS"));
    let (server, spool) = (Server::start(), spool());
    let pipeline = start(&server, &spool, "headers = { x-tenant = 'audit' }");
    let began = Instant::now();
    push(&pipeline, 0..count);
    wait_until("all of it", PATIENCE, || counters(&pipeline).written == count);
    let took = began.elapsed().as_secs_f64();
    pipeline.close(PATIENCE);
    assert_eq!(server.connections(), 1, "it is kept");
    let requests = server.requests();
    #[expect(clippy::cast_precision_loss, reason = "told to people")]
    let speed = count as f64 / took;
    eprintln!("otlp: {count} records in {} requests and {took:.2} s, {speed:.0}/s", requests.len());
    assert!(server.serials().into_iter().eq(0..count), "missing, twice, or out of order");
    for request in requests {
        assert_eq!(request.line, "POST /v1/logs HTTP/1.1");
        let header = |name: &str| request.headers[name].as_str();
        assert_eq!((header("content-type"), header("content-encoding")), ("application/x-protobuf", "gzip"));
        assert_eq!((header("x-tenant"), header("host")), ("audit", format!("127.0.0.1:{}", server.port).as_str()));
        assert!(wire::records(&request.body).len() <= BATCH);
    }
}

#[test]
fn opentelemetry_itself_understands_a_request() {
    let python = root().join("target/tools/python/bin/python");
    let has =
        Command::new(&python).args(["-c", "import opentelemetry.proto.collector.logs.v1.logs_service_pb2"]).output();
    if !has.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIP: no opentelemetry-proto in target/tools/python; `cargo xtask setup` installs it");
        return;
    }
    let (mut server, spool) = (Server::start(), spool());
    let pipeline = start_with_a_batch(&mut server, &spool, 10, "compression = 'none'");
    wait_until("all of it", PATIENCE, || counters(&pipeline).written == 10);
    pipeline.close(PATIENCE);
    let [request] = &server.requests()[..] else { panic!("not one request") };
    assert_eq!(request.headers.get("content-encoding"), None);

    let script = root().join("output/tests/otlp/judge.py");
    let mut judge = Command::new(python).arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = judge.stdin.take().unwrap();
    input.write_all(&u32::try_from(request.body.len()).unwrap().to_be_bytes()).unwrap();
    input.write_all(&request.body).unwrap();
    drop(input);
    let output = judge.wait_with_output().unwrap();
    assert!(output.status.success());
    let understood: Value = serde_json::from_slice(&output.stdout).unwrap();

    let string = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
    let logs = &understood["resourceLogs"][0];
    let version = env!("CARGO_PKG_VERSION");
    let resource = [("service.name", "auditd-bpf"), ("service.version", version), ("host.name", "web1")];
    assert_eq!(logs["resource"]["attributes"], json!(resource.map(|(key, value)| string(key, value))));
    assert_eq!(logs["scopeLogs"][0]["scope"], json!({"name": "auditd-bpf", "version": version}));
    let records = logs["scopeLogs"][0]["logRecords"].as_array().unwrap();
    assert_eq!(records.len(), 10);
    for (serial, record) in records.iter().enumerate() {
        let deny = serial == 9;
        let time = TIME.to_string();
        assert_eq!((&record["timeUnixNano"], &record["observedTimeUnixNano"]), (&json!(time), &json!(time)));
        let severity = if deny { ("SEVERITY_NUMBER_WARN", "warning") } else { ("SEVERITY_NUMBER_INFO", "info") };
        assert_eq!((&record["severityNumber"], &record["severityText"]), (&json!(severity.0), &json!(severity.1)));
        let body: Value = serde_json::from_str(record["body"]["stringValue"].as_str().unwrap()).unwrap();
        assert_eq!(
            (&body["serial"], &body["syscall"], &body["node"]),
            (&json!(serial), &json!("execve"), &json!("web1"))
        );
        let attributes = json!([
            string("log.record.uid", &format!("web1:{TIME}:{serial}")),
            string("auditd_bpf.type", "SYSCALL"),
            {"key": "auditd_bpf.serial", "value": {"intValue": serial.to_string()}},
            string("auditd_bpf.verdict", if deny { "deny" } else { "allow" }),
            string("auditd_bpf.syscall", "execve"),
            {"key": "auditd_bpf.keys",
             "value": {"arrayValue": {"values": [{"stringValue": "fed"}, {"stringValue": "exec"}]}}},
        ]);
        assert_eq!(record["attributes"], attributes);
    }
}

#[test]
fn an_outage_loses_nothing_and_keeps_the_order() {
    let (mut server, spool) = (Server::start(), spool());
    let pipeline = start(&server, &spool, "");
    for round in 0..3 {
        push(&pipeline, round * 2000..(round + 1) * 2000);
        wait_until("some of it", PATIENCE, || counters(&pipeline).written > round * 2000);
        server.down();
        let errors = counters(&pipeline).errors;
        push(&pipeline, 6000 + round..6001 + round);
        wait_until("the outage is noticed", PATIENCE, || counters(&pipeline).errors > errors);
        server.up();
    }
    wait_until("all of it", PATIENCE, || counters(&pipeline).written == 6003);
    let counters = pipeline.close(PATIENCE).remove(0);
    assert_eq!((counters.lost_total(), counters.spooled), (0, 0));
    let mut serials = server.serials();
    let all = serials.len();
    let mut seen = std::collections::BTreeSet::new();
    serials.retain(|serial| seen.insert(*serial));
    let pushed = (0..3).flat_map(|round| (round * 2000..(round + 1) * 2000).chain([6000 + round]));
    assert!(serials.into_iter().eq(pushed), "missing, or out of order");
    assert!(all - 6003 <= 3 * BATCH, "{all} came");
}

#[test]
fn a_busy_server_gets_them_later_and_says_when() {
    let (mut server, spool) = (Server::start(), spool());
    let busy = |status, headers| Answer::Say(status, headers, Vec::new());
    server.answer([busy(503, "Retry-After: 2\r\n"), busy(429, ""), busy(502, ""), busy(504, "")]);
    let pipeline = start_with_a_batch(&mut server, &spool, 10, "");
    wait_until("all of it", PATIENCE, || counters(&pipeline).written == 10);
    let counters = pipeline.close(PATIENCE).remove(0);
    assert_eq!(counters.lost_total(), 0);
    assert!(server.serials().into_iter().eq(0..10), "once, and in order");
    let requests = server.requests();
    assert_eq!(requests.len(), 5);
    // Not before: a busy machine only makes it longer.
    assert!(requests[1].at - requests[0].at >= Duration::from_secs(2), "not as long as the server wanted");
}

#[test]
fn what_a_server_did_not_answer_is_sent_again() {
    for answer in [Answer::HangUp, Answer::Silence] {
        let (mut server, spool) = (Server::start(), spool());
        server.answer([answer]);
        let pipeline = start_with_a_batch(&mut server, &spool, 10, "timeout_ms = 500");
        wait_until("all of it", PATIENCE, || counters(&pipeline).written == 10);
        pipeline.close(PATIENCE);
        let requests = server.requests();
        assert_eq!(requests.len(), 2);
        assert_eq!(requests[0].body, requests[1].body, "the same again, by whose ids copies are told");
    }
}

#[test]
fn what_is_refused_is_counted_and_told_and_holds_up_nothing() {
    let (mut server, spool) = (Server::start(), spool());
    server.answer([Answer::Say(400, "", b"\x12\x0bbad request".to_vec())]);
    let pipeline = start_with_a_batch(&mut server, &spool, 10, "");
    wait_until("refusal", PATIENCE, || refused(&counters(&pipeline)) == 10);
    push(&pipeline, 10..20);
    wait_until("the others", PATIENCE, || counters(&pipeline).written == 10);
    wait_until("the loss", PATIENCE, || server.records().iter().any(|record| record.lost() == Some(10)));
    let counters = pipeline.close(PATIENCE).remove(0);
    assert_eq!((counters.lost_total(), counters.spooled), (10, 0));
    assert!(server.serials().into_iter().eq(10..20), "the others, once");
}

#[test]
fn records_of_a_partial_success_are_counted() {
    let (mut server, spool) = (Server::start(), spool());
    server.answer([Answer::Say(200, "", wire::rejected(3))]);
    let pipeline = start_with_a_batch(&mut server, &spool, 10, "");
    wait_until("an answer", PATIENCE, || counters(&pipeline).pending() == 0);
    wait_until("the loss", PATIENCE, || server.records().iter().any(|record| record.lost() == Some(3)));
    let counters = pipeline.close(PATIENCE).remove(0);
    assert_eq!((counters.written, refused(&counters)), (7, 3));
    assert!(server.serials().into_iter().eq(0..10), "none is sent again");
}

#[test]
fn a_request_that_is_too_large_is_sent_in_halves() {
    let (mut server, spool) = (Server::start(), spool());
    let too_large = || Answer::Say(413, "", Vec::new());
    server.answer([too_large(), too_large()]);
    let pipeline = start_with_a_batch(&mut server, &spool, 10, "");
    wait_until("all of it", PATIENCE, || counters(&pipeline).written == 10);
    assert_eq!(pipeline.close(PATIENCE).remove(0).lost_total(), 0);
    let sizes: Vec<_> = server.requests().iter().map(|request| wire::records(&request.body).len()).collect();
    assert_eq!(sizes, [10, 5, 2, 3, 5]);
    assert!(server.serials().into_iter().eq(0..10));
}

#[test]
fn a_token_that_is_not_believed_is_waited_for_and_read_anew() {
    let (mut server, spool) = (Server::start(), spool());
    let token = spool.path().join("token");
    std::fs::write(&token, "Bearer old\n").unwrap();
    server.answer(std::iter::repeat_n(Answer::Say(401, "", Vec::new()), 3));
    let keys = format!("headers.Authorization = {{ file = '{}' }}", token.display());
    let pipeline = start_with_a_batch(&mut server, &spool, 10, &keys);
    wait_until("it is not believed", PATIENCE, || !server.requests().is_empty());
    std::fs::write(&token, "Bearer new\n").unwrap();
    wait_until("all of it", PATIENCE, || counters(&pipeline).written == 10);
    assert_eq!(pipeline.close(PATIENCE).remove(0).lost_total(), 0);
    let shown = |request: &server::Request| request.headers["authorization"].clone();
    let requests = server.requests();
    assert_eq!(shown(&requests[0]), "Bearer old");
    assert_eq!(requests.iter().filter(|request| request.taken).map(shown).collect::<Vec<_>>(), ["Bearer new"]);
}

#[test]
fn a_token_that_is_not_there_is_told_at_the_start() {
    let config = "type = 'otlp'\nendpoint = 'http://h'\nheaders = { Authorization = { file = '/nonexistent/token' } }\n\
                  spool.path = '/nonexistent/spool'";
    let config: OutputConfig = toml::from_str(config).unwrap();
    let error = Pipeline::start(&[config], "web1", Arc::new(Machine)).err().unwrap().to_string();
    assert!(error.starts_with("cannot read a header from /nonexistent/token"), "{error}");
}

#[test]
fn server_and_we_prove_who_we_are_over_tls() {
    let directory = spool();
    certificates::write(directory.path(), "loghost.example");
    let mut server = Server::down_yet(Some(server::tls(directory.path())));
    server.up();
    let file = |name| directory.path().join(name);
    let endpoint = format!("https://127.0.0.1:{}/otlp", server.port);
    let tls = |ca, rest: &str| format!("tls = {{ ca = '{}'{rest} }}", file(ca).display());
    let us = format!(", cert = '{}', key = '{}'", file("client.pem").display(), file("client.key").display());
    let named = format!("{us}, name = 'loghost.example'");
    let spool = spool();
    for (why, keys) in [
        ("no certificate", tls("ca.pem", ", name = 'loghost.example'")),
        ("another authority", tls("other-ca.pem", &named)),
        ("another name", tls("ca.pem", &us)),
    ] {
        let pipeline = pipeline(&endpoint, spool.path(), &keys);
        push(&pipeline, 0..1);
        wait_until(why, PATIENCE, || counters(&pipeline).errors >= 1);
        assert_eq!(pipeline.close(PATIENCE).remove(0).written, 0, "{why}");
        std::fs::remove_dir_all(spool.path().join("spool")).unwrap();
    }
    assert!(server.requests().is_empty());
    let pipeline = pipeline(&endpoint, spool.path(), &tls("ca.pem", &named));
    push(&pipeline, 0..3000);
    wait_until("delivered", PATIENCE, || counters(&pipeline).written == 3000);
    pipeline.close(PATIENCE);
    assert!(server.serials().into_iter().eq(0..3000));
    assert!(server.requests().iter().all(|request| request.line == "POST /otlp/v1/logs HTTP/1.1"));
}

/// Set for the run of a test that is to be killed: directory of its spool, port of the server, and its number.
const VICTIM: &str = "OUTPUT_TEST_KILL_OTLP";
const ROUNDS: u64 = 6;
/// Serials of one victim are this far from those of the next.
const APART: u64 = 10_000_000;

/// Sends until it is killed, and says how much is in the spool.
fn be_killed(told: &str) {
    let mut words = told.split(' ');
    let mut word = || words.next().unwrap();
    let (directory, port, round) = (word(), word().to_owned(), word().parse::<u64>().unwrap());
    let pipeline = pipeline(&format!("http://127.0.0.1:{port}"), Path::new(directory), "");
    for number in 0.. {
        pipeline.push(event(round * APART + number));
        if number % 20 == 19 {
            pipeline.flush(PATIENCE).unwrap();
            println!("spooled {number}");
        }
    }
}

#[test]
fn a_sender_that_is_killed_loses_nothing_and_repeats_a_batch_at_most() {
    if let Ok(told) = std::env::var(VICTIM) {
        return be_killed(&told);
    }
    let (server, spool) = (Server::start(), spool());
    let test = "a_sender_that_is_killed_loses_nothing_and_repeats_a_batch_at_most";
    let kill = |round: u64| {
        let told = format!("{} {} {round}", spool.path().display(), server.port);
        kill_a_run(test, (VICTIM, told.as_ref()), "spooled", Duration::from_micros(round * 7919)).unwrap_or(19)
    };
    let spooled: Vec<u64> = (0..ROUNDS).map(kill).collect();
    let pipeline = start(&server, &spool, "");
    wait_until("an empty spool", PATIENCE, || counters(&pipeline).spooled == 0);
    pipeline.close(PATIENCE);
    let mut rounds: BTreeMap<u64, BTreeMap<u64, usize>> = BTreeMap::new();
    for serial in server.records().iter().filter_map(LogRecord::serial) {
        *rounds.entry(serial / APART).or_default().entry(serial % APART).or_default() += 1;
    }
    let mut repeated = 0;
    for (round, spooled) in (0..ROUNDS).zip(spooled) {
        let numbers = &rounds[&round];
        assert!(numbers.keys().copied().eq(0..numbers.len() as u64), "round {round}: some are missing");
        assert!(numbers.len() as u64 > spooled, "round {round}: {spooled} were spooled, {} came", numbers.len());
        repeated += numbers.values().map(|times| times - 1).sum::<usize>();
    }
    assert!(repeated <= usize::try_from(ROUNDS).unwrap() * BATCH, "{repeated} came twice");
}
