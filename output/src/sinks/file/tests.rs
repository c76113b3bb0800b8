//! The file sink against real files, and against a disk that fails.

use std::fs;
use std::io::Read;
use std::num::NonZeroU64;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use super::*;
use crate::fs::RealFs;
use crate::fs::faulty::FaultyFs;
use crate::samples;

const ALL: [Compression; 3] = [Compression::Gzip, Compression::Zstd, Compression::None];

pub(super) fn config(path: &Path, compression: Compression) -> FileConfig {
    FileConfig {
        compression,
        flush_events: NonZeroU64::new(3).unwrap(),
        flush_after: Duration::from_millis(20),
        ..FileConfig::new(path.to_owned())
    }
}

fn open(path: &Path, compression: Compression) -> (FileSink, Arc<Meter>) {
    open_on(&FaultyFs::default(), path, compression)
}

pub(super) fn open_on(fs: &FaultyFs, path: &Path, compression: Compression) -> (FileSink, Arc<Meter>) {
    let meter = Arc::new(Meter::default());
    let sink = FileSink::open(&config(path, compression), Box::new(fs.clone()), Arc::clone(&meter)).unwrap();
    (sink, meter)
}

pub(super) fn write(sink: &mut FileSink, serial: u64) {
    let event = crate::event::Event { serial, ..samples::event(samples::daemon()) };
    sink.write(&samples::record(&event), 1);
}

/// Serials of the records that stock tools would read, in order. Panics on anything that is not whole.
pub(super) fn serials(path: &Path, compression: Compression) -> Vec<u64> {
    let bytes = fs::read(path).unwrap();
    let mut text = String::new();
    match compression {
        Compression::Gzip if bytes.is_empty() => {}
        Compression::Gzip => drop(flate2::read::MultiGzDecoder::new(&*bytes).read_to_string(&mut text).unwrap()),
        Compression::Zstd => text = String::from_utf8(zstd::decode_all(&*bytes).unwrap()).unwrap(),
        Compression::None => text = String::from_utf8(bytes).unwrap(),
    }
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["serial"].as_u64().unwrap())
        .collect()
}

#[test]
fn members_end_at_flush_points_and_a_new_run_appends() {
    for compression in ALL {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let (mut sink, meter) = open(&path, compression);
        for serial in 0..4 {
            write(&mut sink, serial);
        }
        assert_eq!(serials(&path, compression), [0, 1, 2], "{compression:?}");
        assert_eq!(meter.snapshot("").written, 3);
        assert!(sink.due().unwrap() <= Instant::now() + Duration::from_millis(20));
        sink.flush();
        assert_eq!(sink.due(), None);
        assert_eq!(sink.close(), 0);
        drop(sink);
        let (mut sink, _) = open(&path, compression);
        write(&mut sink, 4);
        sink.flush();
        assert_eq!(serials(&path, compression), [0, 1, 2, 3, 4], "{compression:?}");
    }
}

#[test]
fn after_a_crash_in_the_middle_of_a_write_nothing_whole_is_lost_and_the_log_goes_on() {
    for compression in ALL {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let (mut sink, _) = open(&path, compression);
        write(&mut sink, 0);
        sink.flush();
        let whole = fs::read(&path).unwrap().len();
        let sidecar = directory.path().join("log.sha256");
        let attested = fs::read(&sidecar).unwrap();
        write(&mut sink, 1);
        sink.flush();
        drop(sink);
        let all = fs::read(&path).unwrap();
        for cut in whole + 1..all.len() {
            fs::write(&path, &all[..cut]).unwrap();
            fs::write(&sidecar, &attested).unwrap();
            let (mut sink, meter) = open(&path, compression);
            write(&mut sink, 2);
            sink.flush();
            assert_eq!(serials(&path, compression), [0, 2], "{compression:?} cut at {cut}");
            let aside = directory.path().join("log.torn-1");
            assert_eq!(fs::read(&aside).unwrap(), all[whole..cut]);
            assert_eq!(meter.snapshot("").torn_bytes, (cut - whole) as u64);
            assert_eq!(fs::metadata(&aside).unwrap().permissions().mode() & 0o777, 0o600);
            fs::remove_file(aside).unwrap();
        }
    }
}

#[test]
fn a_full_disk_at_any_byte_corrupts_nothing_and_loses_nothing() {
    for compression in ALL {
        for room in 0..200 {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("log");
            let fs = FaultyFs::default();
            let (mut sink, meter) = open_on(&fs, &path, compression);
            write(&mut sink, 0);
            sink.flush();
            fs.faults().room = Some(room);
            for serial in 1..4 {
                write(&mut sink, serial);
            }
            if sink.stalled_until().is_some() {
                assert_eq!(serials(&path, compression), [0], "{compression:?} with room for {room}");
                let counters = meter.snapshot("");
                assert_eq!((counters.written, counters.errors, counters.stalled), (1, 1, true));
            }
            sink.retry();
            fs.faults().room = None;
            sink.retry();
            assert_eq!(sink.stalled_until(), None);
            assert_eq!(serials(&path, compression), [0, 1, 2, 3], "{compression:?} with room for {room}");
            assert_eq!((meter.snapshot("").written, meter.snapshot("").stalled), (4, false));
        }
    }
}

#[test]
fn half_a_member_that_could_not_be_cut_off_at_once_is_cut_off_later() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let fs = FaultyFs::default();
    let (mut sink, _) = open_on(&fs, &path, Compression::Gzip);
    *fs.faults() = crate::fs::faulty::Faults { room: Some(10), uncuttable: true, ..Default::default() };
    write(&mut sink, 0);
    sink.flush();
    assert_eq!(fs::read(&path).unwrap().len(), 10);
    sink.retry();
    assert_eq!(fs::read(&path).unwrap().len(), 10, "nothing may follow half a member");
    *fs.faults() = crate::fs::faulty::Faults::default();
    sink.retry();
    assert_eq!(serials(&path, Compression::Gzip), [0]);
}

#[test]
fn events_that_never_reach_a_full_disk_are_handed_back_on_closing() {
    let directory = tempfile::tempdir().unwrap();
    let fs = FaultyFs::default();
    let (mut sink, _) = open_on(&fs, &directory.path().join("log"), Compression::Gzip);
    fs.faults().room = Some(0);
    for serial in 0..3 {
        write(&mut sink, serial);
    }
    assert_eq!(sink.close(), 3);
}

#[test]
fn a_log_that_was_moved_away_is_opened_anew() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let moved = directory.path().join("log.1");
    let (mut sink, _) = open(&path, Compression::Gzip);
    write(&mut sink, 0);
    sink.flush();
    fs::rename(&path, &moved).unwrap();
    write(&mut sink, 1);
    sink.flush();
    assert_eq!(serials(&moved, Compression::Gzip), [0]);
    assert_eq!(serials(&path, Compression::Gzip), [1]);
    fs::remove_file(&path).unwrap();
    write(&mut sink, 2);
    sink.flush();
    assert_eq!(serials(&path, Compression::Gzip), [2]);
}

#[test]
fn a_log_that_was_emptied_goes_on_from_its_start() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let (mut sink, _) = open(&path, Compression::Gzip);
    write(&mut sink, 0);
    sink.flush();
    fs::write(&path, b"").unwrap();
    write(&mut sink, 1);
    sink.flush();
    assert_eq!(serials(&path, Compression::Gzip), [1]);
}

#[test]
fn only_root_reads_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("new/dir/log");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    drop(open(&path, Compression::None));
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    drop(open(&path, Compression::None));
    assert_eq!(mode(&path), 0o600);
}

#[test]
fn what_cannot_be_a_log_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let refuse = |path: &Path, compression| {
        let opened = FileSink::open(&config(path, compression), Box::new(RealFs::default()), Arc::default());
        opened.err().expect("opened").to_string()
    };
    assert!(refuse(directory.path(), Compression::Gzip).ends_with("is not a regular file"));
    assert!(refuse(&directory.path().join("\0"), Compression::Gzip).starts_with("cannot open "));
    let (mut sink, _) = open(&path, Compression::None);
    assert!(refuse(&path, Compression::None).contains("being written by another process"));
    write(&mut sink, 0);
    sink.flush();
    drop(sink);
    let before = fs::read(&path).unwrap();
    assert!(refuse(&path, Compression::Gzip).contains("compression `none`, but `gzip` is configured"));
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn a_torn_tail_that_cannot_be_set_aside_stays() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    fs::write(&path, "{\"serial\":0}\n{\"ser").unwrap();
    let fs = FaultyFs::default();
    fs.faults().room = Some(2);
    let opened = FileSink::open(&config(&path, Compression::None), Box::new(fs), Arc::default());
    assert!(opened.is_err_and(|error| error.to_string().contains("cannot repair the torn end of")));
    assert_eq!(fs::read(&path).unwrap(), b"{\"serial\":0}\n{\"ser");
    assert!(!directory.path().join("log.torn-1").exists());
}
