//! `--checkpoint`: what one search has seen, the next one passes over. The file is ausearch's (`ausearch-checkpt.c`):
//!
//! ```text
//! dev=0xFE01
//! inode=1234
//! output=- 1795503850.123:7 0x514
//! ```

use std::fs::{self, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use output::read::{Entry, Found, Reader};
use output::{LogSegment, Record};

use super::Search;
use crate::exit_code::ExitCode;
use crate::logs;

/// Seconds by which events may be out of order (ausearch's `MAX_EVENT_DELTA_SECS`).
const OUT_OF_ORDER: u64 = 2;

/// Where a search ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Checkpoint {
    dev: u64,
    inode: u64,
    /// The last event that was whole; none where there was none.
    last: Option<Stamp>,
}

/// An event.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    node: String,
    /// Since the epoch.
    millis: u64,
    serial: u64,
    record_type: u32,
}

/// What is wrong with the file.
#[derive(Debug, thiserror::Error)]
enum CheckpointError {
    #[error("cannot read the checkpoint {0}: {1}")]
    Read(PathBuf, io::Error),
    #[error("not a line of a checkpoint: {0}")]
    Line(String),
    #[error("the checkpoint {0} does not tell of which log it is")]
    NoLog(PathBuf),
}

/// From where a search goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    /// Behind the event of the checkpoint.
    Event,
    /// At its time, in whatever log (`--start checkpoint`).
    Time,
}

/// Shows what is meant and was not seen before, and writes how far that was.
///
/// # Errors
/// If the answer cannot be written.
pub(super) fn search(
    search: &mut Search<'_>,
    from: From,
    file: &Path,
    logs: &[LogSegment],
    err: &mut dyn Write,
) -> io::Result<ExitCode> {
    let known = match Checkpoint::load(file) {
        Ok(known) => known,
        Err(error) => {
            writeln!(err, "{error}")?;
            return Ok(ExitCode::BadCheckpoint);
        }
    };
    let mut progress =
        Progress { seen: known.clone().and_then(|known| known.last), from, now: known.unwrap_or_default() };
    let logs = match progress.now.inode {
        0 => logs,
        _ if from == From::Time => logs,
        _ => match logs
            .iter()
            .position(|log| fs::metadata(&log.path).is_ok_and(|metadata| progress.now.is_of(&metadata)))
        {
            Some(at) => &logs[at..],
            None => {
                writeln!(err, "the log of the checkpoint is not here any more")?;
                return Ok(ExitCode::BadCheckpoint);
            }
        },
    };
    for (number, log) in logs.iter().enumerate() {
        let end = if number + 1 == logs.len() { End::Open } else { End::Closed };
        match progress.log(search, log, end, err)? {
            None | Some(ExitCode::Success) => {}
            Some(other) => return Ok(other),
        }
        if search.done() {
            break;
        }
    }
    if progress.seen.is_some() && from == From::Event {
        writeln!(err, "the event of the checkpoint is not in its log")?;
        return Ok(ExitCode::CheckpointLost);
    }
    if let Err(error) = progress.now.save(file) {
        writeln!(err, "{}: {error}", file.display())?;
        return Ok(ExitCode::CheckpointFailed);
    }
    Ok(if search.found == 0 { ExitCode::Failure } else { ExitCode::Success })
}

/// Whether records may still come to a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Open,
    Closed,
}

struct Progress {
    /// The event that was the last one, while it was not met yet.
    seen: Option<Stamp>,
    from: From,
    now: Checkpoint,
}

impl Progress {
    fn log(
        &mut self,
        search: &mut Search<'_>,
        log: &LogSegment,
        end: End,
        err: &mut dyn Write,
    ) -> io::Result<Option<ExitCode>> {
        let shown = logs::shown(&log.path);
        let opened = fs::metadata(&log.path).and_then(|metadata| Ok((metadata, logs::open(&log.path)?)));
        let (metadata, input) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                writeln!(err, "{shown}: {error}")?;
                return Ok(Some(ExitCode::CheckpointFailed));
            }
        };
        (self.now.dev, self.now.inode) = (metadata.dev(), metadata.ino());
        let reader = Reader::new(input);
        let reader = if end == End::Open { reader.whole_only() } else { reader };
        for found in reader.found() {
            match found {
                Err(error) => writeln!(err, "{shown}: {error}")?,
                Ok(found) => {
                    let Some(stamp) = Stamp::of(&found) else { continue };
                    match self.step(&stamp) {
                        Step::Before => continue,
                        Step::Lost => {
                            writeln!(err, "{shown}: events after that of the checkpoint come without it")?;
                            return Ok(Some(ExitCode::CheckpointLost));
                        }
                        Step::New => search.show(&found)?,
                    }
                    self.now.last = Some(stamp);
                    if search.done() {
                        break;
                    }
                }
            }
        }
        Ok(None)
    }

    fn step(&mut self, event: &Stamp) -> Step {
        let Some(seen) = &self.seen else { return Step::New };
        match self.from {
            From::Time if event.millis < seen.millis => return Step::Before,
            From::Event if seen.is(event) => {}
            From::Event if event.millis / 1000 > seen.millis / 1000 + OUT_OF_ORDER => return Step::Lost,
            From::Event => return Step::Before,
            From::Time => {
                self.seen = None;
                return Step::New;
            }
        }
        self.seen = None;
        Step::Before
    }
}

enum Step {
    /// It was seen before.
    Before,
    New,
    /// The event of the checkpoint should have come.
    Lost,
}

impl Stamp {
    fn of(found: &Found) -> Option<Self> {
        match found {
            Found::Entry(entry) => Some(Self::of_entry(entry)),
            Found::Records(records) => Some(Self::of_entry(&records.entry()?)),
        }
    }

    fn of_entry(entry: &Entry) -> Self {
        let record = Record { event: &entry.event, node: &entry.node, names: &entry.names };
        let record_type = tables::record_type_number(record.record_type()).unwrap_or_default();
        let millis = entry.event.time / 1_000_000;
        Self { node: entry.node.clone(), millis, serial: entry.event.serial, record_type }
    }

    /// Of an event of several records, ausearch may have taken another type.
    fn is(&self, other: &Self) -> bool {
        (self.millis, self.serial, &self.node) == (other.millis, other.serial, &other.node)
    }

    /// `NODE SECONDS.MILLIS:SERIAL 0xTYPE`; no time is no event.
    fn parse(text: &str) -> Option<Option<Self>> {
        let mut words = text.split(' ');
        let (node, moment, record_type) = (words.next()?, words.next()?, words.next()?.strip_prefix("0x")?);
        let (time, serial) = moment.split_once(':')?;
        let (seconds, millis) = time.split_once('.')?;
        let seconds: u64 = seconds.parse().ok()?;
        let millis = seconds.checked_mul(1000)?.checked_add(millis.parse().ok()?)?;
        let node = if node == "-" { String::new() } else { node.to_owned() };
        let record_type = u32::from_str_radix(record_type, 16).ok()?;
        Some((seconds != 0).then_some(Self { node, millis, serial: serial.parse().ok()?, record_type }))
    }
}

impl Checkpoint {
    /// `None` where there is no such file yet.
    fn load(file: &Path) -> Result<Option<Self>, CheckpointError> {
        let text = match fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(CheckpointError::Read(file.to_owned(), error)),
        };
        let mut checkpoint = Self::default();
        for line in text.lines() {
            checkpoint.line(line).ok_or_else(|| CheckpointError::Line(line.to_owned()))?;
        }
        let told = checkpoint.dev != 0 && checkpoint.inode != 0;
        told.then_some(Some(checkpoint)).ok_or_else(|| CheckpointError::NoLog(file.to_owned()))
    }

    fn line(&mut self, line: &str) -> Option<()> {
        let (name, value) = line.split_once('=')?;
        match name {
            "dev" => self.dev = u64::from_str_radix(value.strip_prefix("0x")?, 16).ok()?,
            "inode" => self.inode = value.parse().ok()?,
            "output" => self.last = Stamp::parse(value)?,
            _ => return None,
        }
        Some(())
    }

    fn is_of(&self, log: &Metadata) -> bool {
        (self.dev, self.inode) == (log.dev(), log.ino())
    }

    /// The old one stays until the new one is whole.
    fn save(&self, file: &Path) -> io::Result<()> {
        let output = match &self.last {
            None => "- 0.000:0 0x0".to_owned(),
            Some(Stamp { node, millis, serial, record_type }) => {
                let node = if node.is_empty() { "-" } else { node };
                format!("{node} {}.{:03}:{serial} {record_type:#X}", millis / 1000, millis % 1000).replace("0X", "0x")
            }
        };
        let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut new = tempfile::NamedTempFile::new_in(directory)?;
        write!(new, "dev=0x{:X}\ninode={}\noutput={output}\n", self.dev, self.inode)?;
        new.persist(file)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_ausearchs() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("checkpoint");
        assert_eq!(Checkpoint::load(&file).unwrap(), None);
        let last =
            Some(Stamp { node: "web1".into(), millis: 1_795_503_850_007, serial: 2_147_483_649, record_type: 1300 });
        let checkpoint = Checkpoint { dev: 0xfe01, inode: 1234, last };
        checkpoint.save(&file).unwrap();
        let text = "dev=0xFE01\ninode=1234\noutput=web1 1795503850.007:2147483649 0x514\n";
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
        assert_eq!(Checkpoint::load(&file).unwrap(), Some(checkpoint));
        let none = Checkpoint { last: None, ..Checkpoint::load(&file).unwrap().unwrap() };
        none.save(&file).unwrap();
        assert_eq!(Checkpoint::load(&file).unwrap(), Some(none));
        for wrong in ["dev=0x1\n", "x\n", "dev=0x1\ninode=2\noutput=- 1\n", "dev=1\ninode=2\n"] {
            fs::write(&file, wrong).unwrap();
            assert!(Checkpoint::load(&file).is_err(), "{wrong}");
        }
    }
}
