//! The `file` sink.
//!
//! Lines gather in memory until a flush point, become one compressed member (`member`), and go to the file in one write.
//! So at any moment the file consists of whole members, but for one that is just being written; what a failed write left
//! is cut off again before the next attempt, and what a crash left is set aside when the file is next opened (`torn`).
//!
//! While the file cannot be written (full disk), the finished member waits in memory and nothing else is taken.
//!
//! A segment that is long enough gets a name of its own (`rotate`, `segment`), and beside each segment stands a sidecar
//! with its digest ([`crate::chain`]).

mod guard;
mod rotate;
mod segment;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use self::guard::Guard;
use self::segment::{Names, Segment, Times};
use super::backoff::Backoff;
use super::member::Encoder;
use super::{Rotated, Sink, torn};
use crate::config::{Compression, FileConfig, Fsync};
use crate::counters::Meter;
use crate::error::OutputError;
use crate::fs::{Fs, LogFile, RealFs};
use crate::record::Record;
use crate::respond::Responder;

/// A segment of a log, for those who read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSegment {
    /// Its file.
    pub path: PathBuf,
    /// Time of its first and last event, in nanoseconds since the epoch; `None` where nothing tells, or more may follow.
    pub times: Option<(u64, u64)>,
}

/// The segments of a log, oldest first. The last one is the file itself, whether it is there or not.
///
/// # Errors
/// If the directory cannot be read.
pub fn segments(config: &FileConfig) -> io::Result<Vec<LogSegment>> {
    let (fs, names) = (RealFs::default(), Names::of(config));
    let ended = names.list(&fs)?.into_iter().map(|ended| {
        let sidecar = segment::read_sidecar(&fs, &Names::sidecar(&ended.path)).map(|(sidecar, _)| sidecar);
        let times = sidecar.filter(|sidecar| sidecar.bytes == ended.bytes).map(|sidecar| sidecar.times);
        LogSegment { path: ended.path, times: times.filter(|(from, to)| 0 < *from && from <= to) }
    });
    Ok(ended.chain([LogSegment { path: config.path.clone(), times: None }]).collect())
}

/// Lines longer than this end a member early, whatever `flush_events` says: an argument list can be megabytes.
const MEMBER_BYTES: usize = 4 << 20;

/// See the module's documentation.
pub(crate) struct FileSink {
    config: FileConfig,
    names: Names,
    fs: Box<dyn Fs>,
    file: Box<dyn LogFile>,
    segment: Segment,
    /// Events in the segment, and since when there are any.
    segment_events: u64,
    segment_since: Option<Instant>,
    rotated: Option<Rotated>,
    /// Since when the disk may not have everything.
    unsynced: Option<Instant>,
    /// The sidecar could not be written; that was told.
    chain_failing: bool,
    meter: Arc<Meter>,
    encoder: Encoder,
    gathering: Gathering,
    finished: Option<Finished>,
    backoff: Backoff,
    /// Length to cut the file to before the next write: the last one failed halfway, and so did cutting it then.
    cut_to: Option<u64>,
    guard: Guard,
}

/// Lines that are not compressed yet.
#[derive(Default)]
struct Gathering {
    lines: Vec<u8>,
    records: u64,
    events: u64,
    times: Times,
    since: Option<Instant>,
}

/// A member that the file does not have yet.
struct Finished {
    member: Vec<u8>,
    records: u64,
    events: u64,
    times: Times,
}

impl FileSink {
    /// Opens (or creates) the file and sets a torn tail aside.
    pub(crate) fn open(config: &FileConfig, fs: Box<dyn Fs>, meter: Arc<Meter>) -> Result<Self, OutputError> {
        guard::check_programs(&config.actions).map_err(|(program, source)| {
            let path = program.to_owned();
            OutputError::File { action: "use the program", path, source }
        })?;
        let encoder = Encoder::new(config.compression).map_err(OutputError::Compressor)?;
        let mut file = open_log(&*fs, config, &meter)?;
        let names = Names::of(config);
        let segment = rotate::adopt(&*fs, &names, &mut file);
        let segment =
            segment.map_err(|source| OutputError::File { action: "read", path: config.path.clone(), source })?;
        Ok(Self {
            config: config.clone(),
            names,
            fs,
            file,
            segment,
            segment_events: 0,
            segment_since: None,
            rotated: None,
            unsynced: None,
            chain_failing: false,
            meter,
            encoder,
            gathering: Gathering::default(),
            finished: None,
            backoff: Backoff::default(),
            cut_to: None,
            guard: Guard::new(&config.actions, Responder::new(&config.actions.mail_account)),
        })
    }

    /// Makes a member of what was gathered.
    fn finish_member(&mut self) {
        let gathered = &self.gathering;
        if gathered.records == 0 {
            return;
        }
        // Compressing into memory does not fail; should it, plain lines in a readable member are impossible, and the
        // events stay gathered for the next attempt.
        match self.encoder.member(&gathered.lines) {
            Ok(member) => {
                let Gathering { records, events, times, .. } = *gathered;
                self.finished = Some(Finished { member, records, events, times });
                self.gathering.clear();
            }
            Err(error) => self.failed("compress records for", &error),
        }
    }

    /// Writes the finished member, if there is one.
    fn write_member(&mut self) {
        let Some(finished) = self.finished.take() else { return };
        match self.append(&finished.member) {
            Ok(()) => {
                self.meter.wrote(finished.events, finished.member.len());
                if self.backoff.succeeded() {
                    self.meter.set_stalled(false);
                    tracing::info!(path = %self.config.path.display(), "writing again");
                }
                self.wrote(&finished);
                self.check_disk();
            }
            Err(error) => {
                self.finished = Some(finished);
                self.failed("write", &error);
                self.act_on_failure(&error);
            }
        }
    }

    fn append(&mut self, member: &[u8]) -> io::Result<()> {
        self.follow_path()?;
        if let Some(length) = self.cut_to {
            if self.file.length()? > length {
                self.file.set_length(length)?;
            }
            self.cut_to = None;
        }
        let mut before = self.file.length()?;
        if before != self.segment.bytes {
            tracing::error!(path = %self.config.path.display(), "somebody else changed the log");
            self.segment = rotate::adopt(&*self.fs, &self.names, &mut self.file)?;
            before = self.file.length()?;
        }
        self.file.write_all(member).inspect_err(|_| {
            // Frees the space too, so that others can use it meanwhile.
            self.cut_to = self.file.set_length(before).err().map(|_| before);
        })
    }

    /// Opens the path anew where it no longer leads to the open file: somebody moved or removed it, and what is written to
    /// the old one would never be found.
    fn follow_path(&mut self) -> io::Result<()> {
        let current = self.fs.id(&self.config.path);
        if current.as_ref().is_ok_and(|id| self.file.id().is_ok_and(|own| own == *id)) {
            return Ok(());
        }
        if current.is_err_and(|error| error.kind() != io::ErrorKind::NotFound) || !self.fs.may_be_log(&self.config.path)
        {
            // Not visible at the moment; the open file is still good.
            return Ok(());
        }
        let path = &self.config.path;
        let mut file = self.fs.open_log(path)?;
        let torn = repair(&*self.fs, path, self.config.compression, &mut *file)?;
        self.meter.tore(torn);
        tracing::info!(path = %path.display(), "the file was moved or removed: opened it anew");
        self.segment = rotate::adopt(&*self.fs, &self.names, &mut file)?;
        self.file = file;
        self.cut_to = None;
        Ok(())
    }

    fn failed(&mut self, action: &'static str, error: &io::Error) {
        self.meter.failed();
        self.meter.set_stalled(true);
        if self.backoff.failed() {
            tracing::warn!(path = %self.config.path.display(), %error, "cannot {action} the log; records wait and are lost when the queue is full");
        }
    }
}

impl Gathering {
    fn clear(&mut self) {
        self.lines.clear();
        self.records = 0;
        self.events = 0;
        self.times = None;
        self.since = None;
    }
}

impl Sink for FileSink {
    fn write(&mut self, record: &Record<'_>, events: u64) {
        self.config.format.write_lines(record, &mut self.gathering.lines);
        self.gathering.records += 1;
        self.gathering.events += events;
        let time = record.event.time;
        let (first, last) = self.gathering.times.unwrap_or((time, time));
        self.gathering.times = Some((first.min(time), last.max(time)));
        if self.gathering.since.is_none() {
            self.gathering.since = Some(Instant::now());
        }
        if self.gathering.records >= self.config.flush_events.get() || self.gathering.lines.len() >= MEMBER_BYTES {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if self.finished.is_none() {
            self.finish_member();
        }
        let (something, begun) = (self.finished.is_some(), Instant::now());
        self.write_member();
        if self.finished.is_none() {
            self.sync_if_due();
            if something {
                self.meter.flushed(begun.elapsed());
            }
            self.rotate_if_due();
        }
    }

    fn suspended(&self) -> bool {
        self.is_suspended()
    }

    fn resume(&mut self) {
        self.end_suspension();
    }

    fn last_attempt(&mut self) {
        self.end_actions();
    }

    fn rotate(&mut self) {
        self.flush();
        if self.finished.is_none() {
            self.end_segment();
        }
    }

    fn rotated(&mut self) -> Option<Rotated> {
        self.rotated.take()
    }

    fn due(&self) -> Option<Instant> {
        let flush = self.gathering.since.map(|since| since + self.config.flush_after);
        [flush, self.sync_due(), self.rotation_due()].into_iter().flatten().min()
    }

    fn stalled_until(&self) -> Option<Instant> {
        self.backoff.until()
    }

    fn retry(&mut self) {
        self.flush();
    }

    fn close(&mut self) -> u64 {
        if let Err(error) = self.file.sync() {
            self.meter.failed();
            tracing::error!(path = %self.config.path.display(), %error, "cannot sync the log");
        }
        self.gathering.events + self.finished.as_ref().map_or(0, |finished| finished.events)
    }
}

fn open_log(fs: &dyn Fs, config: &FileConfig, meter: &Meter) -> Result<Box<dyn LogFile>, OutputError> {
    let path = &config.path;
    if !fs.may_be_log(path) {
        return Err(OutputError::NotAFile { path: path.clone() });
    }
    let failed = |action| move |source| OutputError::File { action, path: path.clone(), source };
    let mut file = fs.open_log(path).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => OutputError::InUse { path: path.clone() },
        _ => failed("open")(error),
    })?;
    let found = torn::detect(&mut *file).map_err(failed("read"))?;
    if let Some(found) = found.filter(|found| *found != config.compression) {
        let (found, configured) = (found.name(), config.compression.name());
        return Err(OutputError::OtherCompression { path: path.clone(), found, configured });
    }
    let torn = repair(fs, path, config.compression, &mut *file).map_err(failed("repair the torn end of"))?;
    meter.tore(torn);
    Ok(file)
}

/// Sets a torn tail aside; returns its length.
fn repair(fs: &dyn Fs, path: &Path, compression: Compression, file: &mut dyn LogFile) -> io::Result<u64> {
    let length = file.length()?;
    let whole = torn::whole_length(compression, file)?;
    if whole == length {
        return Ok(0);
    }
    let torn = torn::set_aside(fs, path, file, whole)?;
    tracing::warn!(
        path = %path.display(), bytes = length - whole, aside = %torn.display(),
        "the log ended in half a record: set that aside"
    );
    Ok(length - whole)
}

#[cfg(test)]
mod rotate_tests;
#[cfg(test)]
mod tests;
