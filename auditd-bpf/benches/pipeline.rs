//! `cargo bench -p auditd-bpf`: what an event costs on its way from the ring buffer to the disk, stage by stage.
//!
//! The events are a mix: opens by path that succeed and fail, execs with arguments, renames, connects. Each pass takes all of
//! them once, and divan counts events.

use std::mem::offset_of;
use std::sync::Arc;

use auditd_bpf::decode::{Decoder, Mount, Mounts};
use auditd_bpf::names::HostNames;
use auditd_bpf_common::wire::{self, EventHeader, kind, name_type, path_end, section};
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use output::event::{Event, RuleRef};
use output::{Content, Format, Names, NativeStyle, Node, Record, Serials};

fn main() {
    divan::main();
}

/// Events in the mix.
const EVENTS: usize = 200;
/// What the file output compresses with.
const GZIP_LEVEL: u32 = 4;
const ZSTD_LEVEL: i32 = 3;

struct NoMounts;

impl Mounts for NoMounts {
    fn of_device(&mut self, _: u32) -> &[Mount] {
        &[]
    }
}

/// A sample as the kernel side sends it.
#[derive(Default)]
struct Sample(Vec<u8>);

impl Sample {
    fn section(mut self, kind: u8, detail: u8, data: &[u8]) -> Self {
        self.0.extend([kind, detail]);
        self.0.extend((data.len() as u16).to_ne_bytes());
        self.0.extend(data);
        self
    }

    fn path(mut self, path: &str) -> Self {
        for name in path.split('/').rev().filter(|name| !name.is_empty()) {
            self = self.section(section::COMPONENT, 0, name.as_bytes());
        }
        self.section(section::PATH_END, path_end::ROOT, &[])
    }

    fn object(self, role: u8, path: &str, number: usize) -> Self {
        let mut inode = (1000 + number as u64).to_ne_bytes().to_vec();
        for value in [8 << 20 | 1, 0o100_644, 0, 0, 0, 0u32] {
            inode.extend(value.to_ne_bytes());
        }
        self.section(section::OBJECT, role, &inode).path(path)
    }

    fn finish(self, number: usize, syscall: u32, exit: i64) -> Vec<u8> {
        let body = self
            .section(section::CWD, 0, &[])
            .path("/home/joe/src/project")
            .section(section::EXE, 0, &[])
            .path("/usr/bin/python3.11")
            .section(section::PROCTITLE, 0, b"python3\0/home/joe/src/project/tool.py\0--verbose\0")
            .0;
        let mut bytes = vec![0; size_of::<EventHeader>()];
        let mut put = |offset: usize, value: &[u8]| bytes[offset..offset + value.len()].copy_from_slice(value);
        let word = |value: u32| value.to_ne_bytes();
        put(offset_of!(EventHeader, kind), &word(kind::EVENT));
        put(offset_of!(EventHeader, schema), &word(wire::SCHEMA_VERSION));
        put(offset_of!(EventHeader, start), &(5_000_000_000 + number as u64 * 1000).to_ne_bytes());
        put(offset_of!(EventHeader, time), &(5_000_000_500 + number as u64 * 1000).to_ne_bytes());
        put(offset_of!(EventHeader, tid), &word(800 + number as u32));
        put(offset_of!(EventHeader, pid), &word(800 + number as u32));
        put(offset_of!(EventHeader, ppid), &word(700));
        put(offset_of!(EventHeader, generation), &word(1));
        put(offset_of!(EventHeader, rule), &word(number as u32 % 4));
        put(offset_of!(EventHeader, syscall), &word(syscall));
        put(offset_of!(EventHeader, exit), &exit.to_ne_bytes());
        put(offset_of!(EventHeader, has_result), &word(1));
        put(offset_of!(EventHeader, auid), &word(1000));
        put(offset_of!(EventHeader, comm), b"python3");
        put(offset_of!(EventHeader, tty), b"pts0");
        put(offset_of!(EventHeader, payload_len), &word(body.len() as u32));
        bytes.extend(body);
        bytes
    }
}

/// System calls of the 64-bit ABI.
const CONNECT: u32 = 42;
const EXECVE: u32 = 59;
const RENAME: u32 = 82;
const OPENAT: u32 = 257;
const EACCES: i64 = 13;

fn sample(number: usize) -> Vec<u8> {
    let path = format!("/srv/data/{}/report-{number}.csv", number % 7);
    let sample = Sample::default();
    match number % 5 {
        0 => sample.object(name_type::NORMAL, &path, number).finish(number, OPENAT, 3),
        1 => sample.object(name_type::NORMAL, "/etc/shadow", 1).finish(number, OPENAT, -EACCES),
        2 => {
            let arguments: Vec<u8> = (0..8).flat_map(|n| format!("--option-{n}={number}\0").into_bytes()).collect();
            let sample = sample.object(name_type::NORMAL, "/usr/bin/git", 2);
            sample.section(section::ARGV, 0, &arguments).finish(number, EXECVE, 0)
        }
        3 => {
            let sample = sample.object(name_type::PARENT, "/srv/data", 3).object(name_type::DELETE, &path, number);
            let sample = sample.object(name_type::PARENT, "/srv/old", 4);
            sample.object(name_type::CREATE, "/srv/old/report.csv", number).finish(number, RENAME, 0)
        }
        _ => {
            let address = [2, 0, 1, 187, 10, 0, 0, number as u8, 0, 0, 0, 0, 0, 0, 0, 0];
            sample.section(section::SOCKADDR, 0, &address).finish(number, CONNECT, 0)
        }
    }
}

fn samples() -> Vec<Vec<u8>> {
    (0..EVENTS).map(sample).collect()
}

fn decoder() -> Decoder {
    let mut decoder = Decoder::new(Arc::new(Serials::new()), Box::new(NoMounts));
    let rule = |number: u32| RuleRef { keys: Arc::new([format!("key{number}").into_bytes()]), ..RuleRef::default() };
    decoder.rules().insert(1, (0..4).map(rule).collect());
    decoder
}

fn events() -> Vec<Event> {
    let mut decoder = decoder();
    samples().iter().filter_map(|sample| decoder.sample(sample)).collect()
}

fn lines(format: Format, events: &[Event], names: &dyn Names) -> Vec<u8> {
    let mut lines = Vec::new();
    for event in events {
        format.write_lines(&Record { event, node: "web1", names }, &mut lines);
    }
    lines
}

/// Samples to events.
#[divan::bench]
fn decode(bencher: Bencher<'_, '_>) {
    let (samples, mut decoder) = (samples(), decoder());
    bencher.counter(ItemsCount::new(EVENTS)).bench_local(move || {
        for sample in &samples {
            black_box(decoder.sample(sample));
        }
    });
}

/// Names for ids, as the daemon looks them up: from its cache, but for one look every minute.
#[divan::bench]
fn enrich(bencher: Bencher<'_, '_>) {
    let (events, names) = (events(), HostNames::default());
    bencher.counter(ItemsCount::new(EVENTS)).bench_local(move || {
        for _ in &events {
            for id in [1000, 0, 0, 0, 0] {
                black_box((names.user(black_box(id)), names.group(black_box(id))));
            }
        }
    });
}

const FORMATS: &[(&str, Format)] = &[
    ("json", Format::Json),
    ("native", Format::Native(NativeStyle { content: Content::Enriched, node: Node::Left })),
    ("ecs", Format::Ecs),
    ("ocsf", Format::Ocsf),
    ("cef", Format::Cef),
];

/// Events to lines, with the names.
#[divan::bench(args = FORMATS.iter().map(|format| format.0))]
fn serialise(bencher: Bencher<'_, '_>, name: &str) {
    let format = FORMATS.iter().find(|format| format.0 == name).map_or(Format::Json, |format| format.1);
    let (events, names) = (events(), HostNames::default());
    bencher.counter(ItemsCount::new(EVENTS)).bench_local(move || black_box(lines(format, &events, &names)));
}

/// Lines of JSON to members of a file.
#[divan::bench]
fn gzip(bencher: Bencher<'_, '_>) {
    let lines = lines(Format::Json, &events(), &HostNames::default());
    bencher.counter(ItemsCount::new(EVENTS)).counter(BytesCount::new(lines.len())).bench_local(move || {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(GZIP_LEVEL));
        std::io::Write::write_all(&mut encoder, &lines).and_then(|()| encoder.finish())
    });
}

/// The same with zstd.
#[divan::bench]
fn zstd(bencher: Bencher<'_, '_>) {
    let lines = lines(Format::Json, &events(), &HostNames::default());
    bencher
        .counter(ItemsCount::new(EVENTS))
        .counter(BytesCount::new(lines.len()))
        .bench_local(move || zstd::bulk::compress(&lines, ZSTD_LEVEL));
}
