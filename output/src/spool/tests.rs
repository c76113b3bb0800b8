//! The spool on a real disk, and its reader before damage of any kind.

use std::num::NonZeroU8;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

const LIMIT: u64 = 1 << 20;

fn config(directory: &TempDir, when_full: WhenFull) -> SpoolConfig {
    SpoolConfig { path: directory.path().join("spool"), bytes: LIMIT, when_full }
}

fn open(directory: &TempDir) -> Spool {
    Spool::open(&config(directory, WhenFull::DropOldest)).unwrap()
}

fn append(spool: &mut Spool, payload: &[u8]) {
    assert_eq!(spool.append(payload, 1).unwrap(), Appended::Stored { dropped: 0 });
}

/// All that waits.
fn waiting(spool: &mut Spool) -> Vec<Vec<u8>> {
    let records = spool.read(0, usize::MAX, usize::MAX).unwrap();
    records.into_iter().map(|record| record.payload).collect()
}

fn acknowledge(spool: &mut Spool, count: usize) -> u64 {
    let records = spool.read(0, count, usize::MAX).unwrap();
    spool.acknowledge(records.iter().map(|record| (record.sequence, record.events))).unwrap()
}

fn segments(directory: &TempDir) -> Vec<PathBuf> {
    let listed = std::fs::read_dir(directory.path().join("spool")).unwrap();
    let mut paths: Vec<PathBuf> = listed.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == EXTENSION));
    paths.sort();
    paths
}

#[test]
fn what_is_not_acknowledged_is_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let mut spool = open(&directory);
    for payload in [b"a", b"b", b"c"] {
        append(&mut spool, payload);
    }
    assert_eq!(acknowledge(&mut spool, 1), 0);
    drop(spool);
    let mut spool = open(&directory);
    assert_eq!((spool.events(), waiting(&mut spool)), (2, vec![b"b".to_vec(), b"c".to_vec()]));
    append(&mut spool, b"d");
    drop(spool);
    let mut spool = open(&directory);
    assert_eq!(waiting(&mut spool), [b"b", b"c", b"d"]);
    acknowledge(&mut spool, 3);
    assert_eq!((spool.events(), waiting(&mut spool).len()), (0, 0));
    drop(spool);
    assert_eq!(open(&directory).events(), 0);
    assert_eq!(segments(&directory).len(), 0, "what was acknowledged takes no room");
}

#[test]
fn two_daemons_cannot_share_a_spool() {
    let directory = tempfile::tempdir().unwrap();
    let _first = open(&directory);
    let second = Spool::open(&config(&directory, WhenFull::DropOldest));
    assert!(second.err().unwrap().to_string().contains("in use by another"));
}

#[test]
fn a_full_spool_drops_the_oldest_and_counts_them() {
    let directory = tempfile::tempdir().unwrap();
    let mut spool = open(&directory);
    let mut dropped_events = 0;
    for number in 0..3000_u32 {
        match spool.append(&[&number.to_be_bytes()[..], &[b'x'; 1000]].concat(), 1).unwrap() {
            Appended::Stored { dropped } => dropped_events += dropped,
            Appended::Refused => panic!("refused"),
        }
        assert!(spool.bytes() <= LIMIT);
    }
    let left = waiting(&mut spool);
    assert_eq!(left.len() as u64 + dropped_events, 3000);
    assert!(left.len() > 900, "no more than a segment goes at once: {}", left.len());
    assert_eq!(left.last().unwrap()[..4], 2999_u32.to_be_bytes());
    assert_eq!(left[0][..4], u32::try_from(dropped_events).unwrap().to_be_bytes());
}

#[test]
fn a_full_spool_refuses_the_newest_but_not_what_tells_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(&config(&directory, WhenFull::DropNewest)).unwrap();
    let mut stored = 0;
    while spool.append(&[b'x'; 1000], 1).unwrap() != Appended::Refused {
        stored += 1;
    }
    assert_eq!(spool.append(b"lost", 0).unwrap(), Appended::Stored { dropped: 0 });
    acknowledge(&mut spool, 500);
    append(&mut spool, b"room again");
    assert_eq!(waiting(&mut spool).len(), stored - 500 + 2);
}

#[test]
fn a_damaged_cursor_repeats_and_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut spool = open(&directory);
    append(&mut spool, b"a");
    append(&mut spool, b"b");
    acknowledge(&mut spool, 1);
    drop(spool);
    std::fs::write(directory.path().join("spool/cursor"), b"nonsense of 12").unwrap();
    assert_eq!(waiting(&mut open(&directory)), [b"a", b"b"]);
}

/// Payloads of up to a segment.
fn payloads() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let payload = prop_oneof![
        8 => prop::collection::vec(any::<u8>(), 0..100),
        1 => (any::<u8>(), 20_000..70_000_usize).prop_map(|(byte, length)| vec![byte; length]),
    ];
    prop::collection::vec(payload, 1..20)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever a crash leaves of the last segment: all records before the cut are there, and what follows is appended to them.
    #[test]
    fn a_torn_tail_costs_what_was_torn(all in payloads(), cut in any::<prop::sample::Index>()) {
        let directory = tempfile::tempdir().unwrap();
        let mut spool = open(&directory);
        all.iter().for_each(|payload| append(&mut spool, payload));
        drop(spool);
        let last = segments(&directory).pop().unwrap();
        let bytes = std::fs::read(&last).unwrap();
        let cut = cut.index(bytes.len());
        std::fs::write(&last, &bytes[..cut]).unwrap();

        let mut spool = open(&directory);
        let kept = waiting(&mut spool);
        prop_assert!(all.starts_with(&kept));
        // Whole records in front of the cut.
        let in_others: u64 = spool.segments.iter().filter(|segment| spool.path(segment.first) != last)
            .map(|segment| segment.next - segment.first).sum();
        let mut end = 0;
        let whole = all[usize::try_from(in_others).unwrap()..].iter().take_while(|payload| {
            end += segment::HEADER + payload.len();
            end <= cut
        });
        prop_assert_eq!(kept.len() as u64, in_others + whole.count() as u64);
        append(&mut spool, b"after");
        drop(spool);
        let mut expected = kept;
        expected.push(b"after".to_vec());
        prop_assert_eq!(waiting(&mut open(&directory)), expected);
    }

    /// Flipped bytes anywhere: what is read was written, in order; what is missing is counted, but for records at the very end,
    /// of which nobody can know.
    #[test]
    fn flipped_bytes_cost_the_records_that_have_them(
        all in payloads(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<NonZeroU8>()), 1..4),
        restart in any::<bool>(),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let mut spool = open(&directory);
        all.iter().for_each(|payload| append(&mut spool, payload));
        let spool = (!restart).then_some(spool);
        let files = segments(&directory);
        for (file, at, flip) in &flips {
            let path = &files[file.index(files.len())];
            let mut bytes = std::fs::read(path).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= flip.get();
            std::fs::write(path, bytes).unwrap();
        }
        let mut spool = spool.unwrap_or_else(|| open(&directory));
        let events = spool.events();
        let read = spool.read(0, usize::MAX, usize::MAX).unwrap();
        prop_assert!(read.len() + flips.len() >= all.len());
        prop_assert!(read.is_sorted_by_key(|record| record.sequence));
        for record in &read {
            prop_assert_eq!(&record.payload, &all[usize::try_from(record.sequence).unwrap()]);
        }
        let mut damaged = spool.acknowledge(read.iter().map(|record| (record.sequence, record.events))).unwrap();
        damaged += spool.give_up_damaged().unwrap();
        damaged += spool.events();
        prop_assert_eq!(read.len() as u64 + damaged, events);
        if !restart {
            prop_assert_eq!(events, all.len() as u64);
        }
    }

    /// No bytes make the reader panic, loop, or give out what has no right checksum.
    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..500), least in any::<u64>()) {
        let garbage = [&[0xab, b'S', 0xff, b'R'], &bytes[..]].concat();
        prop_assert_eq!(segment::next(&garbage, 0, least), None);
        segment::survey(&garbage, least, 0);
        let record = segment::encode(7, 1, b"payload").unwrap();
        let behind = [&garbage[..], &record].concat();
        let found = segment::next(&behind, 0, 0).map(|(record, _)| record.sequence);
        prop_assert_eq!(found, Some(7));
    }
}

proptest! {
    #[test]
    fn any_segment_reads_to_its_end(input in prop::collection::vec(any::<u8>(), 0..300)) {
        checks::any_segment(&input);
    }
}

/// What fuzzing found interesting, without a fuzzer: docs/testing.md.
#[test]
fn the_corpus_holds_what_must_hold() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/spool");
    let inputs: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(inputs.len() > 10, "{} inputs", inputs.len());
    inputs.iter().for_each(|input| checks::any_segment(&std::fs::read(input).unwrap()));
}
