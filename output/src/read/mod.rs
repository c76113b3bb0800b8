//! Logs back into events: `json` and `native` ones, ours and auditd's.
//!
//! | step | where |
//! |---|---|
//! | lines out of plain, gzip or zstd data | [`open`], `lines` |
//! | of a log that grows | [`Follow`] |
//! | a JSON record → event | `json` |
//! | native records → those of one event ([`Records`]) → the event | `native` |
//! | names that stood in the log | [`LogNames`] |
//! | events that cannot be wanted, passed over | [`Sieve`] |
//! | parts of a large log, each by itself | [`LogPart`] |
//!
//! Reading is tolerant: a line that is no record is told as a [`ReadError`], and the next one is read. Nothing that a line says
//! is dropped: a native record that does not read as its type says is carried as its text.

mod follow;
mod json;
mod lines;
mod names;
mod native;
mod part;
mod sieve;
mod stamps;
mod window;

use std::io::{self, BufRead};

use crate::event::Event;
use lines::Lines;

pub use follow::Follow;
pub use lines::open;
pub use names::LogNames;
pub(crate) use native::RawRecord;
pub use native::Records;
pub use part::{LogPart, PartReader, parts};
pub use sieve::Sieve;

/// An event with what its log says about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Name of the machine; empty where the log does not tell.
    pub node: String,
    /// The event.
    pub event: Event,
    /// Names beside its numbers.
    pub names: LogNames,
}

/// An event as its log has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Native records, which need not be parsed to be shown again.
    Records(Records),
    /// A JSON record.
    Entry(Box<Entry>),
}

/// What a log is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// auditd's records.
    Native,
}

/// A line that is no record, or data that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct ReadError {
    /// Number of the line, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// Reading or decompressing failed; nothing follows.
    #[error("cannot read on: {0}")]
    Io(#[from] io::Error),
    /// It has more than 16 MiB.
    #[error("longer than any record")]
    TooLong,
    /// It is not JSON, or a key has the wrong type.
    #[error("not a JSON record: {0}")]
    Json(#[from] serde_json::Error),
    /// A value that has the right type and is not possible.
    #[error("`{key}` cannot be `{value}`")]
    Value {
        /// The key.
        key: &'static str,
        /// What stands there.
        value: String,
    },
    /// The record is of a later version.
    #[error("schema {0} is not known to this release")]
    Schema(u32),
    /// It does not begin with `type=TYPE msg=audit(SECONDS.MILLIS:SERIAL): `.
    #[error("not a native record")]
    Native,
}

/// Reads the events of one log, in the order in which they begin.
pub struct Reader<R> {
    lines: Lines<R>,
    format: Option<LogFormat>,
    sieve: Sieve,
    native: native::Assembler,
    /// Lines that were given to it.
    read: u64,
    whole_only: bool,
}

impl<R: BufRead> Reader<R> {
    /// A log whose format the first line tells: JSON begins with a brace.
    pub fn new(input: R) -> Self {
        let (sieve, native) = (Sieve::default(), native::Assembler::default());
        Self { lines: Lines::new(input), format: None, sieve, native, read: 0, whole_only: false }
    }

    /// A log of that format.
    pub fn with_format(input: R, format: LogFormat) -> Self {
        Self { format: Some(format), ..Self::new(input) }
    }

    /// Passes over events that the sieve does not let through.
    #[must_use]
    pub fn sieved(self, sieve: Sieve) -> Self {
        Self { sieve, ..self }
    }

    /// Leaves out events at the end of which records may be missing: what writes the log may be about to write them.
    #[must_use]
    pub fn whole_only(self) -> Self {
        Self { whole_only: true, ..self }
    }

    /// The same, of native records not more than what tells whose they are.
    pub fn found(mut self) -> impl Iterator<Item = Result<Found, ReadError>> {
        std::iter::from_fn(move || self.next_found())
    }

    fn next_found(&mut self) -> Option<Result<Found, ReadError>> {
        loop {
            if let Some(records) = self.native.ready(&self.sieve) {
                return Some(Ok(Found::Records(records)));
            }
            match self.line() {
                Ok(Step::Line) => {}
                Ok(Step::Entry(entry)) => return Some(Ok(Found::Entry(entry))),
                Ok(Step::End) => return self.rest().map(|records| Ok(Found::Records(records))),
                Err(problem) => return Some(Err(ReadError { line: self.lines.number(), problem })),
            }
        }
    }

    fn rest(&mut self) -> Option<Records> {
        if self.whole_only { self.native.rest_whole(&self.sieve) } else { self.native.rest(&self.sieve) }
    }

    /// Takes the next line; of JSON, that is an event, if it may be wanted.
    fn line(&mut self) -> Result<Step, Problem> {
        let Some(line) = self.lines.next()? else { return Ok(Step::End) };
        if line.iter().all(u8::is_ascii_whitespace) {
            return Ok(Step::Line);
        }
        let first = if line.starts_with(b"{") { LogFormat::Json } else { LogFormat::Native };
        match *self.format.get_or_insert(first) {
            LogFormat::Json if !self.sieve.passes_json(line) => {}
            LogFormat::Json => return json::entry(line).map(|entry| Step::Entry(Box::new(entry))),
            LogFormat::Native => {
                self.native.line(line, self.read)?;
                self.read += 1;
            }
        }
        Ok(Step::Line)
    }
}

enum Step {
    Entry(Box<Entry>),
    Line,
    End,
}

impl<R: BufRead> Iterator for Reader<R> {
    type Item = Result<Entry, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.next_found()? {
                Ok(Found::Entry(entry)) => return Some(Ok(*entry)),
                Ok(Found::Records(records)) => {
                    let entry = records.entry();
                    self.native.give_back(records);
                    if let Some(entry) = entry {
                        return Some(Ok(entry));
                    }
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

#[cfg(test)]
mod tests;
