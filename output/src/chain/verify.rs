//! Whether the segments of a directory are what was written.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt::{self, Display};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::{Digest, SUFFIX, Sidecar};

/// What is wrong with a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finding {
    /// Its bytes are not those that were written.
    Edited {
        /// The segment.
        segment: PathBuf,
    },
    /// It is shorter than what was written.
    Shortened {
        /// The segment.
        segment: PathBuf,
        /// Its length.
        bytes: u64,
        /// What was written.
        written: u64,
    },
    /// An ended segment has more than what was written.
    Lengthened {
        /// The segment.
        segment: PathBuf,
        /// What was written.
        written: u64,
    },
    /// Segments that should be there are not.
    Removed {
        /// Name of the log.
        log: PathBuf,
        /// First and last number.
        numbers: (u64, u64),
    },
    /// A segment's sidecar is there and the segment is not.
    Missing {
        /// The segment.
        segment: PathBuf,
    },
    /// A segment without a sidecar.
    Unattested {
        /// The segment.
        segment: PathBuf,
    },
    /// The sidecar that precedes this one is not the one that did: it, or its segment, was edited, or the order was.
    Unlinked {
        /// The sidecar whose predecessor is another.
        sidecar: PathBuf,
    },
    /// Two segments have one number.
    Doubled {
        /// The second one's sidecar.
        sidecar: PathBuf,
    },
    /// What should be a sidecar is none.
    Unreadable {
        /// The file.
        sidecar: PathBuf,
    },
}

impl Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Edited { segment } => write!(out, "{}: edited: not the bytes that were written", segment.display()),
            Self::Shortened { segment, bytes, written } => {
                write!(out, "{}: cut at byte {bytes} of {written}", segment.display())
            }
            Self::Lengthened { segment, written } => {
                write!(out, "{}: something was added behind byte {written}", segment.display())
            }
            Self::Removed { log, numbers: (first, last) } if first == last => {
                write!(out, "{}: segment {first} was removed", log.display())
            }
            Self::Removed { log, numbers: (first, last) } => {
                write!(out, "{}: segments {first} to {last} were removed", log.display())
            }
            Self::Missing { segment } => write!(out, "{}: removed, or moved away", segment.display()),
            Self::Unattested { segment } => write!(out, "{}: has no digest beside it", segment.display()),
            Self::Unlinked { sidecar } => {
                write!(out, "{}: does not follow the segment before it: edited or reordered", sidecar.display())
            }
            Self::Doubled { sidecar } => write!(out, "{}: a second segment of this number", sidecar.display()),
            Self::Unreadable { sidecar } => write!(out, "{}: not a digest of a segment", sidecar.display()),
        }
    }
}

/// What [`verify`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Segments that were read.
    pub segments: u64,
    /// Records in them, as the sidecars say.
    pub records: u64,
    /// Bytes that digests cover.
    pub bytes: u64,
    /// Bytes at the ends of current segments that no digest covers yet.
    pub pending: u64,
    /// The newest sidecar of each log, and its digest: who noted it elsewhere can compare.
    pub heads: Vec<(PathBuf, Digest)>,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

/// A sidecar in the directory.
struct Found {
    path: PathBuf,
    sidecar: Sidecar,
    digest: Digest,
}

/// Compares every segment of a directory with its sidecar, and every sidecar with the one before.
pub fn verify(directory: &Path) -> io::Result<Report> {
    let mut report = Report::default();
    let mut names: Vec<PathBuf> = fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    names.sort();
    let mut logs: BTreeMap<PathBuf, BTreeMap<u64, Found>> = BTreeMap::new();
    for path in names.iter().filter(|path| path.to_string_lossy().ends_with(SUFFIX)) {
        let text = fs::read(path)?;
        let parsed = str::from_utf8(&text).ok().and_then(Sidecar::parse);
        let Some(sidecar) = parsed.filter(|sidecar| !sidecar.name.contains('/')) else {
            report.findings.push(Finding::Unreadable { sidecar: path.clone() });
            continue;
        };
        let found = Found { path: path.clone(), digest: Digest::of(&text), sidecar };
        let segments = logs.entry(log_of(directory, &segment_of(path))).or_default();
        match segments.entry(found.sidecar.number) {
            Entry::Occupied(_) => report.findings.push(Finding::Doubled { sidecar: path.clone() }),
            Entry::Vacant(place) => {
                place.insert(found);
            }
        }
    }
    for (log, segments) in &logs {
        chain(log, segments, &mut report)?;
        for path in names.iter().filter(|path| is_ended(log, path)) {
            if !segments.values().any(|found| segment_of(&found.path) == **path) {
                report.findings.push(Finding::Unattested { segment: path.clone() });
            }
        }
    }
    Ok(report)
}

fn segment_of(sidecar: &Path) -> PathBuf {
    sidecar.with_extension("")
}

/// The log that a segment belongs to: its own name, or that without number and time.
fn log_of(directory: &Path, segment: &Path) -> PathBuf {
    let name = segment.file_name().unwrap_or_default().to_string_lossy();
    directory.join(split(&name).map_or_else(|| name.to_string(), |(stem, extension)| format!("{stem}{extension}")))
}

/// Stem and extension of an ended segment's name, `STEM-NUMBER-TIME.EXTENSION`.
fn split(name: &str) -> Option<(&str, &str)> {
    let (at, _) = name.char_indices().skip(1).find(|(_, character)| *character == '.').unwrap_or((name.len(), '.'));
    let mut parts = name[..at].rsplitn(3, '-');
    let (time, number, stem) = (parts.next()?, parts.next()?, parts.next()?);
    let is_time = time.len() == 16 && time.ends_with('Z');
    (is_time && number.len() >= 8 && number.bytes().all(|byte| byte.is_ascii_digit())).then_some((stem, &name[at..]))
}

fn is_ended(log: &Path, path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let of_log = split(&name).is_some_and(|(stem, extension)| {
        log.file_name().is_some_and(|log| log.to_string_lossy() == format!("{stem}{extension}"))
    });
    of_log && !name.ends_with(SUFFIX)
}

fn chain(log: &Path, segments: &BTreeMap<u64, Found>, report: &mut Report) -> io::Result<()> {
    let Some((newest, head)) = segments.last_key_value() else { return Ok(()) };
    report.heads.push((head.path.clone(), head.digest));
    let mut before: Option<&Found> = None;
    let mut next = head.sidecar.oldest;
    for (number, found) in segments {
        if *number > next {
            report.findings.push(Finding::Removed { log: log.to_owned(), numbers: (next, number - 1) });
        }
        next = next.max(number + 1);
        let linked = match (&found.sidecar.previous, before) {
            (Some((digest, _)), Some(before)) if before.sidecar.number + 1 == *number => *digest == before.digest,
            (None, Some(_)) => false,
            _ => true,
        };
        if !linked {
            report.findings.push(Finding::Unlinked { sidecar: found.path.clone() });
        }
        // The end of a removal that a crash cut short.
        let being_removed = *number < head.sidecar.oldest && !segment_of(&found.path).exists();
        if !being_removed {
            segment(found, number == newest && segment_of(&found.path) == log, report)?;
        }
        before = Some(found);
    }
    Ok(())
}

/// Compares a segment with its sidecar; the current one may have more than that says.
fn segment(found: &Found, current: bool, report: &mut Report) -> io::Result<()> {
    let path = segment_of(&found.path);
    let mut file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            report.findings.push(Finding::Missing { segment: path });
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    report.segments += 1;
    report.records += found.sidecar.records;
    let written = found.sidecar.bytes;
    let mut hasher = Sha256::new();
    let bytes = io::copy(&mut Read::take(&mut file, written), &mut hasher)?;
    let more = io::copy(&mut file, &mut io::sink())?;
    report.bytes += bytes;
    if bytes < written {
        report.findings.push(Finding::Shortened { segment: path, bytes, written });
    } else if Digest::so_far(&hasher) != found.sidecar.digest {
        report.findings.push(Finding::Edited { segment: path });
    } else if current {
        report.pending += more;
    } else if more != 0 {
        report.findings.push(Finding::Lengthened { segment: path, written });
    }
    Ok(())
}
