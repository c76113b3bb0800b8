//! The queue on disk behind which a network output may fail: a directory of segments (`segment`), and a cursor.
//!
//! Records are appended to the last segment, read from the first, and acknowledged in order; a segment all of whose records are
//! acknowledged is removed. The file `cursor` has the number of the first record that is not. After a crash the records behind
//! the cursor are read again: what was sent and not acknowledged is repeated, nothing is lost.
//!
//! Written here rather than with the crate `yaque` 0.6: that has six parity bits over the length of an item, panics where they
//! are wrong, and checks nothing of the item itself; what comes to a queue that is full (`max_queue_size`) waits or is refused,
//! so that nothing can make room by giving up the oldest. Here damage costs the records that have it, which are counted.

#[cfg(any(test, fuzzing))]
pub mod checks;
mod cursor;
mod segment;

use std::collections::VecDeque;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::config::{SpoolConfig, WhenFull};
use crate::fs;

pub(crate) use segment::Spooled;

/// What the names of segments end in.
const EXTENSION: &str = "spool";

/// See the module's documentation.
pub(crate) struct Spool {
    directory: PathBuf,
    limit: u64,
    segment_limit: u64,
    when_full: WhenFull,
    /// Held as long as the spool is open: two daemons with one spool would send everything twice.
    _lock: File,
    /// In order. Only the last one grows.
    segments: VecDeque<Segment>,
    /// The last segment's file; `None` until something is appended.
    tail: Option<File>,
    /// Where the reader stands.
    reader: Option<Reader>,
    /// Number of the next record.
    next: u64,
    /// Number of the first record that is not acknowledged.
    acknowledged: u64,
    /// Something was appended since the last sync.
    dirty: bool,
}

/// A segment file.
#[derive(Debug)]
struct Segment {
    first: u64,
    next: u64,
    bytes: u64,
    /// Events in it that are not acknowledged.
    events: u64,
}

/// A segment as it was read.
struct Reader {
    first: u64,
    file: File,
    bytes: Vec<u8>,
    at: usize,
    next: u64,
}

/// What became of a record that was to be appended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Appended {
    /// It is in the spool; of those before it, so many events were dropped to make room.
    Stored { dropped: u64 },
    /// The spool is full.
    Refused,
}

impl Spool {
    /// Opens a spool, or makes it. What a crash left half written is cut off.
    pub(crate) fn open(config: &SpoolConfig) -> io::Result<Self> {
        let directory = config.path.clone();
        DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
        let mut options = OpenOptions::new();
        let lock = options.write(true).create(true).truncate(false).mode(0o600).open(directory.join("lock"))?;
        fs::lock(&lock).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => io::Error::other("it is in use by another process or another [[output]]"),
            _ => error,
        })?;
        let mut spool = Self {
            acknowledged: cursor::read(&directory)?,
            directory,
            limit: config.bytes,
            segment_limit: (config.bytes / 16).clamp(64 << 10, 4 << 20),
            when_full: config.when_full,
            _lock: lock,
            segments: VecDeque::new(),
            tail: None,
            reader: None,
            next: 0,
            dirty: false,
        };
        spool.survey()?;
        Ok(spool)
    }

    fn survey(&mut self) -> io::Result<()> {
        let mut firsts = Vec::new();
        for entry in std::fs::read_dir(&self.directory)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == EXTENSION) {
                firsts
                    .extend(path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse::<u64>().ok()));
            }
        }
        firsts.sort_unstable();
        self.next = self.acknowledged;
        for (index, first) in firsts.iter().copied().enumerate() {
            let path = self.path(first);
            let bytes = std::fs::read(&path)?;
            let mut found = segment::survey(&bytes, first, self.acknowledged);
            if let Some(following) = firsts.get(index + 1) {
                // Numbers up to the next segment were given out: what is not there is damaged.
                found.events += following.saturating_sub(found.next.max(self.acknowledged));
                found.next = found.next.max(*following);
            } else if found.whole < bytes.len() {
                tracing::warn!(spool = %path.display(), bytes = bytes.len() - found.whole, "the spool ended in half a record");
                OpenOptions::new().write(true).open(&path)?.set_len(found.whole as u64)?;
            }
            self.next = self.next.max(found.next);
            if found.next <= self.acknowledged || (found.next == first && found.events == 0) {
                std::fs::remove_file(&path)?;
            } else {
                let bytes = found.whole as u64;
                self.segments.push_back(Segment { first, next: found.next, bytes, events: found.events });
            }
        }
        Ok(())
    }

    fn path(&self, first: u64) -> PathBuf {
        self.directory.join(format!("{first:020}.{EXTENSION}"))
    }

    /// Events that are not acknowledged.
    pub(crate) fn events(&self) -> u64 {
        self.segments.iter().map(|segment| segment.events).sum()
    }

    /// Length of all segments.
    pub(crate) fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// Number of the first record that is not acknowledged.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// Appends a record. One that stands for no event tells of losses, and is never refused.
    pub(crate) fn append(&mut self, payload: &[u8], events: u32) -> io::Result<Appended> {
        let too_long = || io::Error::new(io::ErrorKind::InvalidInput, "a record longer than 4 GiB");
        let record = segment::encode(self.next, events, payload).ok_or_else(too_long)?;
        let length = record.len() as u64;
        let mut dropped = 0;
        while self.bytes() + length > self.limit && !self.segments.is_empty() {
            match self.when_full {
                WhenFull::DropNewest if events != 0 => return Ok(Appended::Refused),
                WhenFull::DropNewest => break,
                WhenFull::DropOldest => dropped += self.drop_oldest()?,
            }
        }
        self.write(&record, length)?;
        if let Some(segment) = self.segments.back_mut() {
            segment.next += 1;
            segment.bytes += length;
            segment.events += u64::from(events);
        }
        self.next += 1;
        self.dirty = true;
        Ok(Appended::Stored { dropped })
    }

    /// Writes to the end of the last segment, or of a new one; whole or not at all.
    fn write(&mut self, record: &[u8], length: u64) -> io::Result<()> {
        let full = self.segments.back().is_none_or(|segment| segment.bytes + length > self.segment_limit);
        if full || self.tail.is_none() {
            self.begin_segment()?;
        }
        let (Some(tail), Some(segment)) = (&mut self.tail, self.segments.back()) else { return Ok(()) };
        let written = tail.write_all(record);
        if written.is_err() && tail.set_len(segment.bytes).is_err() {
            // Half a record stays behind. The next one begins a segment, and readers skip the half.
            self.tail = None;
        }
        written
    }

    fn begin_segment(&mut self) -> io::Result<()> {
        self.sync()?;
        let path = self.path(self.next);
        let mut options = OpenOptions::new();
        let file = options.append(true).create(true).mode(0o600).open(path)?;
        // Half a record may be there, of which readers are to skip just that.
        let bytes = file.metadata()?.len();
        self.segments.pop_back_if(|segment| segment.first == self.next);
        self.segments.push_back(Segment { first: self.next, next: self.next, bytes, events: 0 });
        self.tail = Some(file);
        Ok(())
    }

    /// Removes the first segment; returns how many of its events were not acknowledged.
    fn drop_oldest(&mut self) -> io::Result<u64> {
        let Some(oldest) = self.segments.front() else { return Ok(0) };
        let (first, next, events) = (oldest.first, oldest.next, oldest.events);
        cursor::write(&self.directory, self.acknowledged.max(next))?;
        self.acknowledged = self.acknowledged.max(next);
        self.remove_first(first)?;
        Ok(events)
    }

    fn remove_first(&mut self, first: u64) -> io::Result<()> {
        std::fs::remove_file(self.path(first))?;
        self.segments.pop_front();
        if self.segments.is_empty() {
            self.tail = None;
        }
        Ok(())
    }

    /// Records from number `from` on, at most so many, and about so many bytes.
    pub(crate) fn read(&mut self, from: u64, records: usize, bytes: usize) -> io::Result<Vec<Spooled>> {
        let mut batch = Vec::new();
        let mut size = 0;
        let mut from = from.max(self.acknowledged);
        while batch.len() < records && size < bytes && from < self.next {
            match self.read_one(from)? {
                Some(record) => {
                    from = record.sequence + 1;
                    size += record.payload.len();
                    batch.push(record);
                }
                // The rest of that segment is damaged.
                None => match self.segments.iter().find(|segment| segment.first > from) {
                    Some(following) => from = following.first,
                    None => break,
                },
            }
        }
        Ok(batch)
    }

    /// The first record from number `from` on in the segment that has it.
    fn read_one(&mut self, from: u64) -> io::Result<Option<Spooled>> {
        let Some(segment) = self.segments.iter().find(|segment| segment.next > from) else { return Ok(None) };
        let reader = match &mut self.reader {
            Some(reader) if reader.first == segment.first && reader.next <= from => reader,
            _ => {
                let file = File::open(self.path(segment.first))?;
                self.reader.insert(Reader { first: segment.first, file, bytes: Vec::new(), at: 0, next: segment.first })
            }
        };
        reader.read_up_to(segment.bytes)?;
        let found = segment::next(&reader.bytes, reader.at, from);
        Ok(found.map(|(record, end)| {
            reader.at = end;
            reader.next = record.sequence + 1;
            record
        }))
    }

    /// Takes note that a record arrived, with all before it. Returns how many of these events were found damaged.
    pub(crate) fn acknowledge(&mut self, records: impl Iterator<Item = (u64, u32)>) -> io::Result<u64> {
        let mut acknowledged = self.acknowledged;
        for (sequence, events) in records {
            acknowledged = acknowledged.max(sequence + 1);
            let holder = self.segments.iter_mut().find(|segment| (segment.first..segment.next).contains(&sequence));
            if let Some(segment) = holder {
                segment.events = segment.events.saturating_sub(u64::from(events));
            }
        }
        self.advance(acknowledged)
    }

    /// Nothing readable waits any more, though not all was acknowledged: the rest is damaged. Returns how many events.
    pub(crate) fn give_up_damaged(&mut self) -> io::Result<u64> {
        self.advance(self.next)
    }

    fn advance(&mut self, acknowledged: u64) -> io::Result<u64> {
        if acknowledged == self.acknowledged {
            return Ok(0);
        }
        cursor::write(&self.directory, acknowledged)?;
        self.acknowledged = acknowledged;
        let mut damaged = 0;
        while let Some(segment) = self.segments.front().filter(|segment| segment.next <= acknowledged) {
            damaged += segment.events;
            let first = segment.first;
            if self.segments.len() == 1 && segment.events == 0 && segment.bytes < self.segment_limit {
                // Goes on growing: a file for each batch would cost more.
                break;
            }
            self.remove_first(first)?;
        }
        Ok(damaged)
    }

    /// Whether something was appended since the last sync.
    pub(crate) fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// Waits until the disk has all.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        if let Some(tail) = self.tail.as_ref().filter(|_| self.dirty) {
            tail.sync_data()?;
        }
        self.dirty = false;
        Ok(())
    }
}

impl Reader {
    fn read_up_to(&mut self, end: u64) -> io::Result<()> {
        let have = self.bytes.len();
        let end = usize::try_from(end).unwrap_or(usize::MAX);
        if have < end {
            self.bytes.resize(end, 0);
            let read = self.file.read_exact_at(&mut self.bytes[have..], have as u64);
            if let Err(error) = read {
                self.bytes.truncate(have);
                // Somebody cut the file: what is missing counts as damaged.
                return if error.kind() == io::ErrorKind::UnexpectedEof { Ok(()) } else { Err(error) };
            }
        }
        Ok(())
    }
}

/// Writes a small file in the place of another, so that it is there after a crash whole, in one version or the other.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(content)?;
    file.sync_data()?;
    std::fs::rename(&new, path)
}

#[cfg(test)]
mod tests;
