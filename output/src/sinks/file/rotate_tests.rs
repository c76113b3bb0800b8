//! Segments: when they end, what they are called, which stay, and what a crash in between leaves.

use std::fs;
use std::num::{NonZeroU32, NonZeroU64};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use proptest::prelude::*;

use super::segment::{Names, too_old};
use super::tests::{config, open_on, serials, write};
use super::*;
use crate::chain::{Finding, verify};
use crate::config::{Compression, Retention};
use crate::fs::RealFs;
use crate::fs::faulty::FaultyFs;

fn rotating(path: &Path, records: u64) -> FileConfig {
    let mut config = config(path, Compression::Gzip);
    config.flush_events = NonZeroU64::MIN;
    config.rotation.records = NonZeroU64::new(records);
    config
}

fn open(config: &FileConfig) -> FileSink {
    FileSink::open(config, Box::new(RealFs::default()), Arc::default()).unwrap()
}

/// Ended segments in the order of their names, then the current one.
fn segments(path: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.filter(|file| file.extension().is_some_and(|end| end == "gz")).collect();
    files.sort();
    files
}

fn contents(path: &Path) -> Vec<Vec<u64>> {
    segments(path).iter().map(|segment| serials(segment, Compression::Gzip)).collect()
}

fn findings(path: &Path) -> Vec<Finding> {
    verify(path.parent().unwrap()).unwrap().findings
}

#[test]
fn segments_end_by_records_and_their_names_sort() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.json.gz");
    let mut sink = open(&rotating(&path, 2));
    for serial in 0..5 {
        write(&mut sink, serial);
    }
    assert_eq!(contents(&path), [vec![0, 1], vec![2, 3], vec![4]]);
    let names: Vec<_> =
        segments(&path).iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect();
    assert!(names[0].starts_with("audit-00000001-20") && names[1].starts_with("audit-00000002-20"), "{names:?}");
    assert!(names[0].ends_with("Z.json.gz") && names[2] == "audit.json.gz", "{names:?}");
    let rotated = sink.rotated().unwrap();
    assert_eq!((rotated.segment.as_str(), rotated.records, rotated.removed), (names[1].as_str(), 2, 0));
    assert_eq!(findings(&path), []);
}

#[test]
fn segments_end_by_length_by_time_and_when_asked() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.gz");
    let mut config = rotating(&path, u64::MAX);
    config.rotation.bytes = Some(NonZeroU64::MIN);
    let mut sink = open(&config);
    write(&mut sink, 0);
    assert_eq!(segments(&path).len(), 2);
    drop(sink);
    config.rotation.bytes = None;
    config.rotation.after = Some(Duration::from_millis(1));
    let mut sink = open(&config);
    assert_eq!(sink.due(), None, "an empty segment does not end");
    write(&mut sink, 1);
    std::thread::sleep(Duration::from_millis(2));
    sink.flush();
    assert_eq!(segments(&path).len(), 3);
    sink.rotate();
    assert_eq!(segments(&path).len(), 3, "an empty segment does not end");
    write(&mut sink, 2);
    sink.rotate();
    assert_eq!(contents(&path), [vec![0], vec![1], vec![2], vec![]]);
    assert_eq!(findings(&path), []);
}

#[test]
fn the_oldest_segments_go_and_verify_knows_that_they_did() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.gz");
    let mut config = rotating(&path, 1);
    config.retention.files = NonZeroU32::new(3);
    let mut sink = open(&config);
    for serial in 0..6 {
        write(&mut sink, serial);
    }
    assert_eq!(contents(&path), [vec![4], vec![5], vec![]]);
    // What is written later carries it on.
    write(&mut sink, 6);
    assert_eq!(findings(&path), []);
    let files = fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(files, 3 + 3, "segments that are gone leave no sidecars");
}

#[test]
fn stock_sha256sum_checks_the_chain() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.gz");
    let mut sink = open(&rotating(&path, 2));
    for serial in 0..5 {
        write(&mut sink, serial);
    }
    let check = || {
        let sidecars = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let sidecars = sidecars.filter(|name| name.to_string_lossy().ends_with(".sha256"));
        let mut command = Command::new("sha256sum");
        command.args(["--strict", "--quiet", "-c"]).args(sidecars).current_dir(directory.path());
        match command.output() {
            Ok(output) => Some(output.status.success()),
            Err(_) => None,
        }
    };
    let Some(good) = check() else { return eprintln!("SKIP: no sha256sum here") };
    assert!(good);
    let first = &segments(&path)[0];
    let mut bytes = fs::read(first).unwrap();
    bytes[40] ^= 1;
    fs::write(first, bytes).unwrap();
    assert_eq!(check(), Some(false));
}

#[test]
fn a_run_goes_on_with_the_segment_and_the_chain_of_the_last() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.gz");
    for serial in 0..7 {
        let mut sink = open(&rotating(&path, 3));
        write(&mut sink, serial);
        sink.close();
    }
    assert_eq!(contents(&path), [vec![0, 1, 2], vec![3, 4, 5], vec![6]]);
    assert_eq!(findings(&path), []);
}

#[test]
fn a_log_that_was_changed_while_nobody_wrote_is_set_aside_for_verify() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.json");
    let mut config = config(&path, Compression::None);
    config.flush_events = NonZeroU64::MIN;
    let mut sink = open(&config);
    write(&mut sink, 0);
    drop(sink);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("\"op\":\"start\"", "\"op\":\"stops\"")).unwrap();
    let mut sink = open(&config);
    write(&mut sink, 1);
    assert_eq!(serials(&path, Compression::None), [1]);
    let found = findings(&path);
    assert!(matches!(&found[..], [Finding::Edited { segment }] if segment.to_string_lossy().contains("a-00000001-")));
}

#[test]
fn a_log_that_was_moved_away_is_missed_by_verify() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.gz");
    let mut sink = open(&rotating(&path, 9));
    write(&mut sink, 0);
    fs::rename(&path, directory.path().join("elsewhere")).unwrap();
    write(&mut sink, 1);
    assert!(
        matches!(&findings(&path)[..], [Finding::Missing { segment }] if segment.to_string_lossy().contains("a-00000001-"))
    );
}

/// Each step of a rotation, as a kill after it leaves the files.
#[test]
fn a_rotation_that_was_cut_short_is_completed() {
    for step in 0..4 {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.gz");
        let mut sink = open(&rotating(&path, 9));
        write(&mut sink, 0);
        write(&mut sink, 1);
        let names = Names::of(&rotating(&path, 9));
        let name = sink.segment.name(&names);
        let ended = sink.segment.sidecar(name.clone());
        drop(sink);
        let (current, path_then) = (Names::sidecar(&path), names.beside(&name));
        if step > 0 {
            fs::write(&current, ended.to_string()).unwrap();
        }
        if step > 1 {
            fs::rename(&path, &path_then).unwrap();
        }
        if step > 2 {
            fs::rename(&current, Names::sidecar(&path_then)).unwrap();
        }
        let mut sink = open(&rotating(&path, 9));
        write(&mut sink, 2);
        assert_eq!(contents(&path).concat(), [0, 1, 2], "step {step}");
        assert_eq!(findings(&path), [], "step {step}");
    }
}

#[test]
fn a_disk_too_full_for_the_digest_takes_records_still() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.gz");
    let fs = FaultyFs::default();
    let (mut sink, _) = open_on(&fs, &path, Compression::Gzip);
    // Room for the member, not for the sidecar behind it.
    fs.faults().room = Some(300);
    for serial in 0..3 {
        write(&mut sink, serial);
    }
    assert_eq!((serials(&path, Compression::Gzip), sink.chain_failing), (vec![0, 1, 2], true));
    fs.faults().room = None;
    for serial in 3..6 {
        write(&mut sink, serial);
    }
    assert_eq!((serials(&path, Compression::Gzip).len(), sink.chain_failing), (6, false));
    assert_eq!(findings(&path), []);
}

#[test]
fn without_a_chain_there_are_segments_and_no_sidecars() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.gz");
    let mut config = rotating(&path, 1);
    config.chain = false;
    let mut sink = open(&config);
    write(&mut sink, 0);
    assert_eq!(sink.rotated().unwrap().chain, None);
    drop(sink);
    write(&mut open(&config), 1);
    assert_eq!(contents(&path), [vec![0], vec![1], vec![]]);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 3);
}

#[test]
fn modes_are_those_of_the_configuration() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.gz");
    let config = rotating(&path, 1);
    let access = crate::config::Access { mode: 0o640, ..config.access };
    let mut sink = FileSink::open(&config, Box::new(RealFs(access)), Arc::default()).unwrap();
    write(&mut sink, 0);
    write(&mut sink, 1);
    for entry in fs::read_dir(directory.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o7777, 0o640, "{entry:?}");
    }
}

#[test]
fn names_of_other_files_are_not_taken_for_segments() {
    let names = Names::of(&FileConfig::new("/var/log/audit/audit.json.gz".into()));
    assert_eq!(names.number("audit-00000017-20261124T070410Z.json.gz"), Some(17));
    for other in [
        "audit.json.gz",
        "audit-00000017-20261124T070410Z.json.gz.sha256",
        "audit-17-20261124T070410Z.json.gz",
        "audit-00000017-yesterday.json.gz",
        "other-00000017-20261124T070410Z.json.gz",
        "audit-é.json.gz",
    ] {
        assert_eq!(names.number(other), None, "{other}");
    }
    let hidden = Names::of(&FileConfig::new("/a/.log".into()));
    assert!(hidden.ended(1, chrono::DateTime::UNIX_EPOCH).starts_with(".log-00000001-"));
}

proptest! {
    /// What stays satisfies every limit, or is the current segment alone; and nothing goes that could have stayed.
    #[test]
    fn no_more_goes_than_must(sizes in prop::collection::vec(0..100_u64, 0..8), current in 0..100_u64,
                              files in prop::option::of(1..9_u32), bytes in prop::option::of(1..400_u64)) {
        let now = std::time::SystemTime::now();
        let ended: Vec<_> = sizes.iter().zip(1..).map(|(bytes, number)| super::segment::Ended {
            number, path: PathBuf::new(), bytes: *bytes, modified: now,
        }).collect();
        let retention = Retention { files: files.and_then(NonZeroU32::new), bytes: bytes.and_then(NonZeroU64::new), age: None };
        let holds = |gone: usize| {
            let total = sizes[gone..].iter().sum::<u64>() + current;
            files.is_none_or(|most| sizes.len() - gone < most as usize) && bytes.is_none_or(|most| total <= most)
        };
        let gone = too_old(&ended, current, &retention, now);
        prop_assert!(holds(gone) || gone == sizes.len());
        prop_assert!((0..gone).all(|fewer| !holds(fewer)));
    }

    /// Runs, rotations and removals in any order lose nothing that is kept, and the chain holds.
    #[test]
    fn any_history_verifies(steps in prop::collection::vec(0..10_u8, 1..40)) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.gz");
        let mut config = rotating(&path, 4);
        config.retention.files = NonZeroU32::new(4);
        let mut sink = open(&config);
        let mut next = 0;
        for step in steps {
            match step {
                0 => { sink.rotate(); }
                1 => { drop(sink); sink = open(&config); }
                _ => { write(&mut sink, next); next += 1; }
            }
        }
        let all = contents(&path).concat();
        prop_assert!(all.iter().copied().eq(next - all.len() as u64..next));
        prop_assert!(segments(&path).len() <= 4);
        prop_assert_eq!(findings(&path), []);
    }
}
