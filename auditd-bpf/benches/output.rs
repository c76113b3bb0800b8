//! `cargo xtask bench output`: how fast one core writes events in each format and compression, how long they are, and how fast
//! logs are searched beside ausearch. Prints JSON. `search` as an argument leaves the formats out.

#[path = "../tests/audit_tools/mod.rs"]
mod audit_tools;

use std::fs::File;
use std::hint::black_box;
use std::io::{BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use auditd_bpf::names::HostNames;
use output::event::{Body, Event};
use output::read::Reader;
use output::{Content, Format, NativeStyle, Node, Record};
use serde_json::{Value, json};

/// Events in memory.
const EVENTS: usize = 20_000;
/// What the file output compresses with.
const GZIP_LEVEL: u32 = 4;
const ZSTD_LEVEL: i32 = 3;
/// Each figure is the best of so many passes.
const PASSES: usize = 5;
/// Length of the log that is searched.
const LOG_BYTES: usize = 256 << 20;
const QUERIES: [&[&str]; 5] =
    [&["-k", "nothing"], &["-p", "4711"], &["-sv", "no", "-ua", "33"], &["-k", "pers"], &["-f", "/etc/shadow"]];

fn main() {
    let events = events();
    let search_alone = std::env::args().any(|argument| argument == "search");
    let formats = if search_alone { Vec::new() } else { formats(&events) };
    let figures = json!({ "events": EVENTS, "formats": formats, "search": search(&events) });
    println!("{figures}");
}

/// Calls of each kind of the tests' log, and one in ten events of programs; processes, inodes, times and serials differ.
fn events() -> Vec<Event> {
    let log = File::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/native.log"))
        .expect("it is in the repository");
    let read: Vec<Event> = Reader::new(BufReader::new(log)).flatten().map(|entry| entry.event).collect();
    let (calls, others): (Vec<_>, Vec<_>) = read.into_iter().partition(|event| matches!(event.body, Body::Syscall(_)));
    let event = |number: usize| {
        let kinds = if number.is_multiple_of(10) { &others } else { &calls };
        // Steps that have nothing in common with the numbers of kinds.
        let mut event = kinds[number * 7919 % kinds.len()].clone();
        event.serial = number as u64;
        event.time += number as u64 * 7_000_003;
        if let Body::Syscall(call) = &mut event.body {
            call.pid = 1000 + (number * 31 % 29_000) as u32;
            call.ppid = call.pid / 7;
            for inode in call.paths.iter_mut().filter_map(|item| item.inode.as_mut()) {
                inode.ino = (number as u64 * 2_654_435_761) % 4_000_000;
            }
        }
        event
    };
    (0..EVENTS).map(event).collect()
}

const NATIVE: Format = Format::Native(NativeStyle { content: Content::Raw, node: Node::Left });

fn formats(events: &[Event]) -> Vec<Value> {
    let enriched = Format::Native(NativeStyle { content: Content::Enriched, node: Node::Left });
    let mut rows = Vec::new();
    for (name, format) in [
        ("json", Format::Json),
        ("native, raw", NATIVE),
        ("native, enriched", enriched),
        ("text", Format::Text),
        ("ecs", Format::Ecs),
        ("ocsf", Format::Ocsf),
        ("cef", Format::Cef),
    ] {
        rows.push(row(name, "none", events, format, <[u8]>::len));
        if name.starts_with("json") || name.starts_with("native, raw") {
            rows.push(row(name, "gzip", events, format, |lines| {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(GZIP_LEVEL));
                encoder.write_all(lines).and_then(|()| encoder.finish()).map_or(0, |bytes| bytes.len())
            }));
            rows.push(row(name, "zstd", events, format, |lines| {
                zstd::encode_all(lines, ZSTD_LEVEL).map_or(0, |bytes| bytes.len())
            }));
        }
    }
    rows
}

/// Serialises all and compresses them in members of 1000 events.
fn row(name: &str, compression: &str, events: &[Event], format: Format, compress: impl Fn(&[u8]) -> usize) -> Value {
    let names = HostNames::default();
    let (mut best, mut text, mut written) = (Duration::MAX, 0, 0);
    for _ in 0..PASSES {
        (text, written) = (0, 0);
        let start = Instant::now();
        for member in events.chunks(1000) {
            let mut lines = Vec::with_capacity(1 << 20);
            for event in member {
                format.write_lines(&Record { event, node: "web1", names: &names }, &mut lines);
            }
            text += lines.len();
            written += black_box(compress(&lines));
        }
        best = best.min(start.elapsed());
    }
    let per_second = |amount: usize| amount as f64 / best.as_secs_f64();
    json!({
        "format": name,
        "compression": compression,
        "events_per_second": per_second(events.len()).round(),
        "megabytes_per_second": (per_second(text) / 1e6).round(),
        "bytes_per_event": (written as f64 / events.len() as f64 * 10.0).round() / 10.0,
    })
}

/// Both programs on one native log, with all cores that there are.
fn search(events: &[Event]) -> Value {
    let directory = tempfile::tempdir().expect("a directory for the log");
    let log = directory.path().join("audit.log");
    let length = write_log(events, &log).expect("the log is written");
    let ausearch = audit_tools::find("ausearch");
    let rows = QUERIES.iter().map(|query| {
        let ours = time(
            Command::new(env!("CARGO_BIN_EXE_auditd-bpf")).arg("search").args(*query).arg("-r").arg("-if").arg(&log),
        );
        let theirs = ausearch.as_ref().map(|tool| {
            let mut command = Command::new(&tool.program);
            tool.libraries.iter().for_each(|libraries| {
                command.env("LD_LIBRARY_PATH", libraries);
            });
            time(command.args(*query).arg("-r").arg("-if").arg(&log))
        });
        json!({
            "query": query.join(" "),
            "seconds": ours,
            "ausearch_seconds": theirs,
            "times": theirs.map(|theirs| (theirs / ours * 10.0).round() / 10.0),
        })
    });
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    json!({ "log_bytes": length, "cores": cores, "queries": rows.collect::<Vec<_>>() })
}

fn write_log(events: &[Event], log: &Path) -> std::io::Result<usize> {
    let (mut file, names, mut length, mut round) = (File::create(log)?, HostNames::default(), 0, 0);
    while length < LOG_BYTES {
        let mut lines = Vec::new();
        for event in events {
            let mut event = event.clone();
            event.serial += round * EVENTS as u64;
            event.time += round * EVENTS as u64 * 7_000_003;
            NATIVE.write_lines(&Record { event: &event, node: "", names: &names }, &mut lines);
        }
        file.write_all(&lines)?;
        length += lines.len();
        round += 1;
    }
    Ok(length)
}

/// Seconds of the best of three runs.
fn time(command: &mut Command) -> f64 {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).env("LC_ALL", "C").env("TZ", "UTC");
    let run = |_| {
        let start = Instant::now();
        command.status().expect("it starts");
        start.elapsed().as_secs_f64()
    };
    let best = (0..3).map(run).fold(f64::MAX, f64::min);
    (best * 1000.0).round() / 1000.0
}
