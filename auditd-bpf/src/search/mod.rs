//! `auditd-bpf search`: events of logs, ours or auditd's, by ausearch's options. `auditd-bpf tail`: those that come.
//!
//! | step | where |
//! |---|---|
//! | the command line, as a query | [`options`](SearchOptions) |
//! | times | `time` |
//! | which logs | `logs` |
//! | all cores at work | `parallel` |
//! | what was seen before | `checkpoint` |
//! | whether an event is meant, and how it looks | [`output::search`] |

mod checkpoint;
mod options;
mod parallel;
pub(crate) mod time;

use std::io::{self, BufRead, BufReader, Write};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use chrono::Local;
use output::read::{Entry, Follow, Found, Reader};
use output::search::{Layout, Query};
use output::{Content, LogSegment, Record};

use crate::exit_code::ExitCode;
use crate::logs;
use crate::names::{EntryNames, HostNames};

pub use options::SearchOptions;
pub(crate) use options::long_options;

/// Shows the events that are meant. As with ausearch, [`ExitCode::Failure`] says that there are none, or that a log could not
/// be opened; lines that are no records are told on `err`.
///
/// # Errors
/// If the answer cannot be written.
pub fn run(options: &SearchOptions, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<ExitCode> {
    let query = match options.query(&Local::now()) {
        Ok(query) => query,
        Err(error) => {
            writeln!(err, "{error}")?;
            return Ok(ExitCode::BadArguments);
        }
    };
    let logs = match logs::of(&options.input, options.unnamed(), options.config.as_deref()) {
        Ok(logs) => logs,
        Err(error) => {
            writeln!(err, "{error:#}")?;
            return Ok(ExitCode::Failure);
        }
    };
    let layout = options.layout().unwrap_or_default();
    if let Some(file) = &options.checkpoint {
        if logs.iter().all(|log| log.path.is_file()) {
            let mut search = Search::new(query, layout, Buffering::Block, out);
            search.just_one = options.just_one;
            let status = checkpoint::search(&mut search, options.goes_on_from(), file, &logs, err)?;
            if status == ExitCode::Failure && layout != Layout::Raw {
                writeln!(err, "<no matches>")?;
            }
            return Ok(status);
        }
        writeln!(err, "standard input has no checkpoints")?;
    }
    let Answer { found, whole } = if options.line_buffered || options.just_one {
        let buffering = if options.line_buffered { Buffering::Event } else { Buffering::Block };
        let mut search = Search::new(query, layout, buffering, out);
        search.just_one = options.just_one;
        let whole = search.logs(&logs, err)?;
        Answer { found: search.found, whole }
    } else {
        parallel::search(&query, layout, &logs, out, err)?
    };
    if found == 0 && layout != Layout::Raw {
        writeln!(err, "<no matches>")?;
    }
    Ok(if found != 0 && whole { ExitCode::Success } else { ExitCode::Failure })
}

/// What a search came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Answer {
    /// Events.
    found: u64,
    /// Whether all logs could be opened.
    whole: bool,
}

/// How long `tail` waits before it looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// Shows events as they come to the log, through rotations, until it is ended; with `--just-one` until the first.
///
/// # Errors
/// If the answer cannot be written.
pub fn tail(options: &SearchOptions, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<ExitCode> {
    let wait = || {
        thread::sleep(LOOK_AGAIN);
        true
    };
    follow(options, wait, out, err)
}

fn follow(
    options: &SearchOptions,
    wait: impl FnMut() -> bool,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<ExitCode> {
    let query = match options.query(&Local::now()) {
        Ok(query) => query,
        Err(error) => {
            writeln!(err, "{error}")?;
            return Ok(ExitCode::BadArguments);
        }
    };
    let opened = log_of(options).and_then(|log| {
        let follow = Follow::new(&log, wait).with_context(|| log.display().to_string())?;
        Ok((follow, log))
    });
    let (follow, log) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            writeln!(err, "{error:#}")?;
            return Ok(ExitCode::Failure);
        }
    };
    let layout = options.layout().unwrap_or(Layout::Text);
    let mut search = Search::new(query, layout, Buffering::Event, out);
    search.just_one = options.just_one;
    search.entries(Reader::new(BufReader::new(follow)), &logs::shown(&log), err)?;
    Ok(ExitCode::Success)
}

/// The log that is given, else the daemon's own.
fn log_of(options: &SearchOptions) -> anyhow::Result<PathBuf> {
    match &options.input[..] {
        [] => Ok(logs::configured(options.config.as_deref())?.path),
        [log] if !log.is_dir() => Ok(log.clone()),
        _ => anyhow::bail!("tail follows one file"),
    }
}

/// When what was found is handed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Buffering {
    /// With each event.
    Event,
    /// When there is much of it.
    Block,
}

struct Search<'a> {
    query: Query,
    layout: Layout,
    buffering: Buffering,
    /// End after the first event.
    just_one: bool,
    host: HostNames,
    lines: Vec<u8>,
    found: u64,
    out: &'a mut dyn Write,
}

impl<'a> Search<'a> {
    fn new(query: Query, layout: Layout, buffering: Buffering, out: &'a mut dyn Write) -> Self {
        let (host, lines) = (HostNames::default(), Vec::new());
        Self { query, layout, buffering, just_one: false, host, lines, found: 0, out }
    }

    /// Whether all logs could be opened.
    fn logs(&mut self, logs: &[LogSegment], err: &mut dyn Write) -> io::Result<bool> {
        let mut whole = true;
        for log in logs {
            if log.times.is_some_and(|(from, to)| !self.query.may_lie_within(from, to)) {
                continue;
            }
            let shown = logs::shown(&log.path);
            match logs::open(&log.path) {
                Ok(input) => self.entries(Reader::new(input).sieved(self.query.sieve()), &shown, err)?,
                Err(error) => {
                    writeln!(err, "{shown}: {error}")?;
                    whole = false;
                }
            }
            if self.done() {
                break;
            }
        }
        Ok(whole)
    }

    fn done(&self) -> bool {
        self.just_one && self.found != 0
    }

    fn entries(&mut self, reader: Reader<impl BufRead>, log: &str, err: &mut dyn Write) -> io::Result<()> {
        for found in reader.found() {
            match found {
                Ok(found) => self.show(&found)?,
                Err(error) => writeln!(err, "{log}: {error}")?,
            }
            if self.done() {
                break;
            }
        }
        Ok(())
    }

    /// Shows an event, if it is meant.
    fn show(&mut self, found: &Found) -> io::Result<()> {
        self.lines.clear();
        if !append(found, &self.query, self.layout, &self.host, &mut self.lines) {
            return Ok(());
        }
        if self.found == 0
            && let Some(heading) = self.layout.heading()
        {
            writeln!(self.out, "{heading}")?;
        }
        self.found += 1;
        self.out.write_all(&self.lines)?;
        match self.buffering {
            Buffering::Event => self.out.flush(),
            Buffering::Block => Ok(()),
        }
    }
}

/// Appends an event as text, if it is meant. Whether it is.
fn append(found: &Found, query: &Query, layout: Layout, host: &HostNames, lines: &mut Vec<u8>) -> bool {
    match found {
        Found::Entry(entry) => append_entry(entry, query, layout, host, lines),
        Found::Records(records) if layout.shows_records() => {
            let parsed = || records.entry().is_some_and(|entry| query.matches(&entry));
            let meant = query.glance(records).unwrap_or_else(parsed);
            if meant {
                layout.write_records(records, &Local, lines);
            }
            meant
        }
        Found::Records(records) if query.glance(records) == Some(false) => false,
        Found::Records(records) => {
            records.entry().is_some_and(|entry| append_entry(&entry, query, layout, host, lines))
        }
    }
}

fn append_entry(entry: &Entry, query: &Query, layout: Layout, host: &HostNames, lines: &mut Vec<u8>) -> bool {
    if !query.matches(entry) {
        return false;
    }
    let names = EntryNames { log: &entry.names, host };
    let content = if entry.names.told() { Content::Enriched } else { Content::Raw };
    let record = Record { event: &entry.event, node: &entry.node, names: &names };
    layout.write(&record, content, &Local, lines);
    true
}

#[cfg(test)]
mod tests;
