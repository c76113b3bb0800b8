//! What `verify` notices.

use std::fs;
use std::path::{Path, PathBuf};

use super::*;

fn sidecar(number: u64, segment: &[u8], name: &str, previous: Option<(Digest, String)>) -> Sidecar {
    let (bytes, digest) = (segment.len() as u64, Digest::of(segment));
    Sidecar { number, oldest: 1, bytes, records: 2, times: (5, 9), digest, name: name.to_owned(), previous }
}

fn name(number: u64) -> String {
    if number == 4 { "a.json".to_owned() } else { format!("a-{number:08}-20261124T070410Z.json") }
}

/// Four segments, of which the last is the current one.
fn log(directory: &Path) -> Vec<PathBuf> {
    let mut previous = None;
    for number in 1..=4 {
        let (name, segment) = (name(number), format!("{{\"segment\":{number}}}\n"));
        let text = sidecar(number, segment.as_bytes(), &name, previous.take()).to_string();
        fs::write(directory.join(&name), segment).unwrap();
        fs::write(directory.join(format!("{name}{SUFFIX}")), &text).unwrap();
        previous = Some((Digest::of(text.as_bytes()), format!("{name}{SUFFIX}")));
    }
    (1..=4).map(|number| directory.join(name(number))).collect()
}

fn found(change: impl FnOnce(&[PathBuf])) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let segments = log(directory.path());
    change(&segments);
    let report = verify(directory.path()).unwrap();
    let prefix = format!("{}/", directory.path().display());
    report.findings.iter().map(|finding| finding.to_string().replace(&prefix, "")).collect()
}

fn of(segment: &Path) -> PathBuf {
    PathBuf::from(format!("{}{SUFFIX}", segment.display()))
}

#[test]
fn a_sidecar_comes_back() {
    let one = sidecar(17, b"x", "a-1.json", None);
    assert_eq!(Sidecar::parse(&one.to_string()), Some(one.clone()));
    let two = sidecar(18, b"y", "a b", Some((one.digest, "a.sha256".to_owned())));
    assert_eq!(Sidecar::parse(&two.to_string()), Some(two));
    assert_eq!(Sidecar::parse(&one.to_string().replace("bytes 1", "bytes x")), None);
    assert_eq!(Sidecar::parse(""), None);
}

#[test]
fn what_was_not_changed_verifies() {
    let directory = tempfile::tempdir().unwrap();
    let segments = log(directory.path());
    let report = verify(directory.path()).unwrap();
    assert_eq!((report.segments, report.records, report.findings.len(), report.pending), (4, 8, 0, 0));
    let head = fs::read(of(&segments[3])).unwrap();
    assert_eq!(report.heads, [(of(&segments[3]), Digest::of(&head))]);
    fs::write(&segments[3], "{\"segment\":4}\nnot flushed").unwrap();
    assert_eq!(verify(directory.path()).unwrap().pending, 11, "only the current segment may grow");
}

/// Any single byte of any file.
#[test]
fn every_edit_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let segments = log(directory.path());
    let files: Vec<_> = segments.iter().cloned().chain(segments.iter().map(|segment| of(segment))).collect();
    for file in files {
        let before = fs::read(&file).unwrap();
        for at in 0..before.len() {
            let mut bytes = before.clone();
            bytes[at] ^= 1;
            fs::write(&file, &bytes).unwrap();
            // The newest sidecar has no successor: its facts are as good as its digest, kept elsewhere.
            let head = file == of(&segments[3]);
            let report = verify(directory.path()).unwrap();
            let other_head = report.heads.first().is_none_or(|head| head.1 != Digest::of(&before));
            assert!(!report.findings.is_empty() || (head && other_head), "byte {at} of {}", file.display());
        }
        fs::write(&file, before).unwrap();
    }
    assert_eq!(verify(directory.path()).unwrap().findings, []);
}

#[test]
fn where_it_was_changed_is_told() {
    let second = name(2);
    assert_eq!(
        found(|log| fs::write(&log[1], "{\"segment\":5}\n").unwrap()),
        [format!("{second}: edited: not the bytes that were written")]
    );
    assert_eq!(found(|log| fs::write(&log[1], "{\"seg").unwrap()), [format!("{second}: cut at byte 5 of 14")]);
    assert_eq!(
        found(|log| fs::write(&log[1], "{\"segment\":2}\n{}\n").unwrap()),
        [format!("{second}: something was added behind byte 14")]
    );
    assert_eq!(found(|log| fs::remove_file(&log[1]).unwrap()), [format!("{second}: removed, or moved away")]);
    let both = |log: &[PathBuf], number: usize| {
        fs::remove_file(&log[number]).unwrap();
        fs::remove_file(of(&log[number])).unwrap();
    };
    assert_eq!(found(|log| both(log, 1)), ["a.json: segment 2 was removed"]);
    assert_eq!(found(|log| (0..2).for_each(|number| both(log, number))), ["a.json: segments 1 to 2 were removed"]);
    assert_eq!(
        found(|log| fs::remove_file(of(&log[1])).unwrap()),
        ["a.json: segment 2 was removed".to_owned(), format!("{second}: has no digest beside it")]
    );
}

#[test]
fn segments_that_changed_places_are_found() {
    let swap = |one: &Path, other: &Path| {
        let aside = one.with_extension("aside");
        fs::rename(one, &aside).unwrap();
        fs::rename(other, one).unwrap();
        fs::rename(aside, other).unwrap();
    };
    let bytes_alone = found(|log| swap(&log[0], &log[1]));
    assert_eq!(bytes_alone.len(), 2, "{bytes_alone:?}");
    // With a sidecar that was written anew to fit the other place.
    let forged = found(|log| {
        let segment = fs::read(&log[2]).unwrap();
        fs::write(&log[1], &segment).unwrap();
        let before = Sidecar::parse(&fs::read_to_string(of(&log[1])).unwrap()).unwrap();
        fs::write(of(&log[1]), sidecar(2, &segment, &name(2), before.previous).to_string()).unwrap();
    });
    assert_eq!(forged, [format!("{}{SUFFIX}: does not follow the segment before it: edited or reordered", name(3))]);
}
