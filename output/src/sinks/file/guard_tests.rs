//! Actions on a disk that fills or fails.

use std::num::NonZeroU64;
use std::path::Path;

use nix::libc::EIO;

use super::super::tests::{config, serials, write};
use super::*;
use crate::config::Compression;
use crate::counters::Meter;
use crate::fs::Room;
use crate::fs::faulty::{FaultyFs, NO_SPACE};
use crate::respond::recorded::Recorded;
use crate::sinks::Sink;

const MIB: u64 = 1 << 20;
const LOW: &str = "alert Audit daemon is low on disk space for logging";
const FULL: &str = "alert Audit daemon has no space left on logging partition";

fn open(fs: &FaultyFs, path: &Path, actions: FailureActions) -> (FileSink, Recorded) {
    let machine = Recorded::default();
    let config = crate::config::FileConfig { actions, ..config(path, Compression::None) };
    let mut sink = FileSink::open(&config, Box::new(fs.clone()), Meter::default().into()).unwrap();
    sink.guard.responder = Responder::on(Box::new(machine.clone()), "root");
    (sink, machine)
}

fn free(fs: &FaultyFs, mib: u64) {
    fs.faults().told_room = Some(Room { free: mib * MIB, total: 100 * MIB, block: 4096 });
}

fn flushed(sink: &mut FileSink, serial: u64) {
    write(sink, serial);
    sink.flush();
}

fn mark(space: Space, action: FailureAction) -> Watermark {
    Watermark { space, action }
}

#[test]
fn each_watermark_is_acted_upon_once_and_syslog_again_when_there_was_room_meanwhile() {
    let directory = tempfile::tempdir().unwrap();
    let (path, fs) = (directory.path().join("log"), FaultyFs::default());
    let space_left = mark(Space::Percent(25), FailureAction::Syslog);
    let admin_space_left = mark(Space::Mib(10), FailureAction::Suspend);
    let actions = FailureActions { space_left, admin_space_left, ..FailureActions::default() };
    let (mut sink, machine) = open(&fs, &path, actions);
    for (serial, (mib, expected)) in
        [(25, &[][..]), (24, &[LOW]), (23, &[]), (30, &[]), (24, &[LOW])].into_iter().enumerate()
    {
        free(&fs, mib);
        flushed(&mut sink, serial as u64);
        assert_eq!(machine.take(), expected, "{mib} MiB");
        assert!(!sink.suspended());
    }
    free(&fs, 9);
    flushed(&mut sink, 5);
    assert!(sink.suspended());
    assert_eq!(machine.take()[1], "alert Audit daemon is suspending logging due to low disk space.");
    assert_eq!(serials(&path, Compression::None), [0, 1, 2, 3, 4, 5], "what came before is written");
    sink.resume();
    assert!(!sink.suspended());
    flushed(&mut sink, 6);
    assert!(sink.suspended(), "there is still no room");
}

#[test]
fn a_write_that_finds_no_room_is_kept_until_there_is_some() {
    let directory = tempfile::tempdir().unwrap();
    let (path, fs) = (directory.path().join("log"), FaultyFs::default());
    let (mut sink, machine) =
        open(&fs, &path, FailureActions { disk_full: FailureAction::Suspend, ..FailureActions::default() });
    free(&fs, 50);
    flushed(&mut sink, 0);
    fs.faults().room = Some(10);
    flushed(&mut sink, 1);
    let done = machine.take();
    assert!(sink.suspended() && done[0].starts_with(FULL) && done[0].contains("os error 28"), "{done:?}");
    assert_eq!(std::io::Error::from_raw_os_error(NO_SPACE).raw_os_error(), Some(ENOSPC));
    fs.faults().room = None;
    sink.resume();
    sink.retry();
    assert_eq!((serials(&path, Compression::None), sink.suspended()), (vec![0, 1], false));
    assert_eq!(machine.take(), Vec::<String>::new());
}

#[test]
fn a_disk_with_a_few_blocks_left_is_full() {
    let directory = tempfile::tempdir().unwrap();
    let (path, fs) = (directory.path().join("log"), FaultyFs::default());
    let (mut sink, machine) =
        open(&fs, &path, FailureActions { disk_full: FailureAction::Syslog, ..FailureActions::default() });
    fs.faults().told_room = Some(Room { free: 4 * 4096, total: 100 * MIB, block: 4096 });
    flushed(&mut sink, 0);
    flushed(&mut sink, 1);
    assert_eq!(machine.take(), [FULL]);
}

#[test]
fn an_error_of_the_disk_has_its_own_action() {
    let directory = tempfile::tempdir().unwrap();
    let (path, fs) = (directory.path().join("log"), FaultyFs::default());
    let (mut sink, machine) =
        open(&fs, &path, FailureActions { disk_error: FailureAction::Syslog, ..FailureActions::default() });
    fs.faults().broken = Some(EIO);
    flushed(&mut sink, 0);
    sink.retry();
    let done = machine.take();
    assert!(done.len() == 1 && done[0].contains("error writing an event to disk (Input/output error"), "{done:?}");
    fs.faults().broken = None;
    sink.retry();
    fs.faults().broken = Some(EIO);
    flushed(&mut sink, 1);
    assert_eq!(machine.take().len(), 1, "another trouble");
}

#[test]
fn rotation_loses_the_oldest_and_no_more_than_is_needed() {
    let directory = tempfile::tempdir().unwrap();
    let (path, fs) = (directory.path().join("log"), FaultyFs::default());
    let space_left = mark(Space::Mib(20), FailureAction::Rotate);
    let (mut sink, machine) = open(&fs, &path, FailureActions { space_left, ..FailureActions::default() });
    free(&fs, 50);
    for serial in 0..3 {
        flushed(&mut sink, serial);
        sink.rotate();
    }
    let ended = || {
        std::fs::read_dir(directory.path())
            .unwrap()
            .filter(|entry| {
                let name = entry.as_ref().unwrap().file_name().into_string().unwrap();
                name.starts_with("log-") && !name.ends_with(".sha256")
            })
            .count()
    };
    assert_eq!(ended(), 3);
    free(&fs, 10);
    flushed(&mut sink, 3);
    assert_eq!(ended(), 3, "the oldest went, the current one ended");
    assert_eq!(machine.take()[1], "alert Audit daemon rotating log files");
    flushed(&mut sink, 4);
    assert_eq!((ended(), machine.take().len()), (2, 0));
    free(&fs, 30);
    flushed(&mut sink, 5);
    assert_eq!(ended(), 2);
    let report = crate::chain::verify(directory.path()).unwrap();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
}

#[test]
fn a_program_that_others_may_change_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("program");
    std::fs::write(&program, "#!/bin/sh\n").unwrap();
    let actions = FailureActions { disk_full: FailureAction::Exec(program.clone()), ..FailureActions::default() };
    assert!(check_programs(&actions).unwrap_err().1.to_string().contains("executable"));
    let mode = |mode| {
        std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        check_programs(&actions).is_ok()
    };
    assert!(mode(0o750) && !mode(0o770) && !mode(0o757));
}

#[test]
fn a_log_that_is_too_long_is_told_once() {
    let directory = tempfile::tempdir().unwrap();
    let (path, fs) = (directory.path().join("log"), FaultyFs::default());
    let too_long = Some((NonZeroU64::MIN, FailureAction::Syslog));
    let (mut sink, machine) = open(&fs, &path, FailureActions { too_long, ..FailureActions::default() });
    flushed(&mut sink, 0);
    flushed(&mut sink, 1);
    assert_eq!(machine.take(), ["alert Audit daemon log file is larger than max size"]);
}
