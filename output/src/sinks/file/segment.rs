//! Segments: the files that a log consists of, their names, and what the chain knows of the current one.
//!
//! The current segment has the log's own name. When it ends it is called `STEM-NUMBER-TIME.EXTENSION`, after its number and the
//! time at which it began, so that names sort in the order of writing whatever the clock does.
//!
//! What a crash leaves in the middle of a rotation, the next start completes: the sidecar carries the segment's later name
//! before the segment does.

use std::io::{self, Read, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};

use crate::chain::{Digest, SUFFIX, Sidecar};
use crate::config::{FileConfig, Retention};
use crate::fs::{Fs, Listed, LogFile};

/// Names of the segments of a log.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    pub(crate) path: PathBuf,
    /// Whether there are sidecars.
    pub(crate) chain: bool,
    directory: PathBuf,
    stem: String,
    extension: String,
}

/// A segment that has ended.
pub(crate) struct Ended {
    pub(crate) number: u64,
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
    pub(crate) modified: SystemTime,
}

impl Names {
    pub(crate) fn of(config: &FileConfig) -> Self {
        let path = &config.path;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // A leading dot hides the file; it begins no extension.
        let dot = name.char_indices().skip(1).find(|(_, character)| *character == '.').map_or(name.len(), |(at, _)| at);
        Self {
            path: path.clone(),
            chain: config.chain,
            directory: path.parent().unwrap_or(Path::new("/")).to_owned(),
            stem: name[..dot].to_owned(),
            extension: name[dot..].to_owned(),
        }
    }

    /// Name of a segment that began then.
    pub(crate) fn ended(&self, number: u64, began: DateTime<Utc>) -> String {
        format!("{}-{number:08}-{}{}", self.stem, began.format("%Y%m%dT%H%M%SZ"), self.extension)
    }

    /// Number of an ended segment, from its name.
    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        let middle = name.strip_prefix(&self.stem)?.strip_prefix('-')?.strip_suffix(&self.extension)?;
        let (number, time) = middle.split_once('-')?;
        let is_time = time.len() == 16 && time.ends_with('Z') && time.as_bytes()[8] == b'T';
        (is_time && number.len() >= 8).then(|| number.parse().ok())?
    }

    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    pub(crate) fn sidecar(path: &Path) -> PathBuf {
        let mut name = path.as_os_str().to_owned();
        name.push(SUFFIX);
        PathBuf::from(name)
    }

    /// Segments that have ended, oldest first.
    pub(crate) fn list(&self, fs: &dyn Fs) -> io::Result<Vec<Ended>> {
        let number = |listed: &Listed| self.number(listed.path.file_name()?.to_str()?);
        let found = fs.list(&self.directory)?.into_iter().filter_map(|listed| {
            let number = number(&listed)?;
            Some(Ended { number, path: listed.path, bytes: listed.bytes, modified: listed.modified })
        });
        let mut found: Vec<_> = found.collect();
        found.sort_by_key(|segment| segment.number);
        Ok(found)
    }
}

/// The current segment.
pub(crate) struct Segment {
    pub(crate) number: u64,
    pub(crate) oldest: u64,
    pub(crate) bytes: u64,
    pub(crate) records: u64,
    times: (u64, u64),
    began: DateTime<Utc>,
    hasher: Sha256,
    previous: Option<(Digest, String)>,
}

/// Times of the records of a member: first, last.
pub(crate) type Times = Option<(u64, u64)>;

impl Segment {
    /// An empty segment.
    fn new(number: u64, oldest: u64, previous: Option<(Digest, String)>) -> Self {
        let (hasher, began) = (Sha256::new(), Utc::now());
        Self { number, oldest, bytes: 0, records: 0, times: (0, 0), began, hasher, previous }
    }

    /// The segment that a file is, which its sidecar describes if there is one.
    pub(crate) fn open(fs: &dyn Fs, names: &Names, file: &mut dyn LogFile) -> io::Result<Opened> {
        let ended = names.list(fs)?;
        let last = ended.last().map(|segment| segment.number);
        let sidecar = if names.chain { read_sidecar(fs, &Names::sidecar(&names.path)) } else { None };
        let Some((sidecar, _)) = sidecar else {
            let oldest = ended.first().map_or(1, |segment| segment.number);
            let previous = ended.last().and_then(|segment| link(fs, &segment.path));
            let mut segment = Self::new(last.map_or(1, |last| last + 1), oldest, previous);
            if names.chain {
                segment.take_in(file, u64::MAX)?;
            } else {
                segment.bytes = file.length()?;
            }
            return Ok(Opened::Current(segment));
        };
        let mut segment = Self::new(sidecar.number, sidecar.oldest, sidecar.previous.clone());
        (segment.records, segment.times) = (sidecar.records, sidecar.times);
        segment.began = began(&sidecar, names).unwrap_or(segment.began);
        segment.take_in(file, sidecar.bytes)?;
        if last.is_some_and(|last| last >= sidecar.number) {
            return Ok(Opened::Renamed(sidecar));
        }
        if segment.bytes != sidecar.bytes || Digest::so_far(&segment.hasher) != sidecar.digest {
            return Ok(Opened::Changed(sidecar));
        }
        segment.take_in(file, u64::MAX)?;
        Ok(Opened::Current(segment))
    }

    /// The segment after one that ended with this sidecar.
    pub(crate) fn after(ended: &Sidecar, text: &str) -> Self {
        let previous = Some((Digest::of(text.as_bytes()), format!("{}{SUFFIX}", ended.name)));
        Self::new(ended.number + 1, ended.oldest, previous)
    }

    /// Reads on from where the digest ends, `limit` being its end at most.
    pub(crate) fn take_in(&mut self, file: &mut dyn LogFile, limit: u64) -> io::Result<()> {
        file.seek(SeekFrom::Start(self.bytes))?;
        let mut rest = Read::take(&mut *file, limit - self.bytes);
        let mut chunk = vec![0; 1 << 16];
        loop {
            let count = rest.read(&mut chunk)?;
            if count == 0 {
                return Ok(());
            }
            self.hasher.update(&chunk[..count]);
            self.bytes += count as u64;
        }
    }

    /// Takes in what was written.
    pub(crate) fn wrote(&mut self, member: &[u8], records: u64, times: Times) {
        self.hasher.update(member);
        self.bytes += member.len() as u64;
        self.records += records;
        if let Some((first, last)) = times {
            let begins = if self.times.0 == 0 { first } else { self.times.0.min(first) };
            self.times = (begins, self.times.1.max(last));
        }
    }

    /// The name under which it will end.
    pub(crate) fn name(&self, names: &Names) -> String {
        names.ended(self.number, self.began)
    }

    /// Its sidecar under a name.
    pub(crate) fn sidecar(&self, name: String) -> Sidecar {
        Sidecar {
            number: self.number,
            oldest: self.oldest,
            bytes: self.bytes,
            records: self.records,
            times: self.times,
            digest: Digest::so_far(&self.hasher),
            name,
            previous: self.previous.clone(),
        }
    }
}

/// What is found at the path of a log.
pub(crate) enum Opened {
    /// The current segment, which goes on.
    Current(Segment),
    /// A file that is not what its sidecar says.
    Changed(Sidecar),
    /// A new file; the sidecar is that of the segment before, which got its name when the daemon was killed.
    Renamed(Sidecar),
}

/// A sidecar and its text.
pub(crate) fn read_sidecar(fs: &dyn Fs, path: &Path) -> Option<(Sidecar, String)> {
    let text = String::from_utf8(fs.read(path).ok()?).ok()?;
    Some((Sidecar::parse(&text)?, text))
}

/// Digest and name of an ended segment's sidecar.
fn link(fs: &dyn Fs, segment: &Path) -> Option<(Digest, String)> {
    let path = Names::sidecar(segment);
    let (_, text) = read_sidecar(fs, &path)?;
    Some((Digest::of(text.as_bytes()), path.file_name()?.to_str()?.to_owned()))
}

/// When the segment of a sidecar began: its first record's time, while it has the log's own name.
fn began(sidecar: &Sidecar, names: &Names) -> Option<DateTime<Utc>> {
    if let Some((_, time)) = sidecar.name.strip_suffix(&names.extension)?.rsplit_once('-')
        && let Ok(time) = chrono::NaiveDateTime::parse_from_str(time, "%Y%m%dT%H%M%SZ")
    {
        return Some(time.and_utc());
    }
    let nanos = i64::try_from(sidecar.times.0).ok().filter(|nanos| *nanos != 0)?;
    Some(DateTime::from_timestamp_nanos(nanos))
}

/// How many of the oldest segments go. The current one, of `current` bytes, is counted and stays.
pub(crate) fn too_old(ended: &[Ended], current: u64, retention: &Retention, now: SystemTime) -> usize {
    let mut bytes = ended.iter().map(|segment| segment.bytes).sum::<u64>() + current;
    let mut files = ended.len() + 1;
    let excess = ended.iter().take_while(|segment| {
        let many = retention.files.is_some_and(|most| files > most.get() as usize);
        let large = retention.bytes.is_some_and(|most| bytes > most.get());
        let age = now.duration_since(segment.modified).unwrap_or_default();
        let old = retention.age.is_some_and(|most| age > most);
        bytes -= segment.bytes;
        files -= 1;
        many || large || old
    });
    excess.count()
}
