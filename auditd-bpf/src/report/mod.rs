//! `auditd-bpf report`: what logs, ours or auditd's, add up to, by aureport's options.
//!
//! | step | where |
//! |---|---|
//! | the command line | [`options`](ReportArgs) |
//! | which logs | `logs` |
//! | rows, summaries, totals, and the page of charts | [`output::report`] |

mod options;

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use chrono::Local;
use output::read::{Entry, Reader};
use output::report::{Page, Report, ReportOptions, moment};
use output::{LogSegment, Record};

use crate::exit_code::ExitCode;
use crate::logs;
use crate::names::{EntryNames, HostNames};
use options::Wanted;

pub use options::ReportArgs;
pub(crate) use options::long_options;

/// Writes the report that is asked for. As with aureport, [`ExitCode::Failure`] says that rows were asked for and there are
/// none; also, that a log could not be opened.
///
/// # Errors
/// If the answer cannot be written.
pub fn run(args: &ReportArgs, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<ExitCode> {
    let wanted = match args.wanted(&Local::now()) {
        Ok(wanted) => wanted,
        Err(error) => {
            writeln!(err, "{error}")?;
            return Ok(ExitCode::BadArguments);
        }
    };
    let logs = match logs::of(&args.input, args.unnamed(), args.configuration.as_deref()) {
        Ok(logs) => logs,
        Err(error) => {
            writeln!(err, "{error:#}")?;
            return Ok(ExitCode::Failure);
        }
    };
    let mut source = Source { logs: &logs, nodes: &args.node, host: HostNames::default(), whole: true };
    let found = match wanted {
        Wanted::LogTimes => log_times(&mut source, out, err)?,
        Wanted::Page(file, options) => page(&mut source, file, options, err)?,
        Wanted::Text(options) => {
            let mut report = Report::new(options, Local);
            let mut lines = Vec::new();
            report.head(&mut lines);
            source.each(err, |record| {
                report.add(record, &mut lines);
                out.write_all(&lines)?;
                lines.clear();
                Ok(())
            })?;
            let found = report.finish(&mut lines);
            out.write_all(&lines)?;
            found || options.detail == output::report::Detail::Summary
        }
    };
    Ok(if found && source.whole { ExitCode::Success } else { ExitCode::Failure })
}

/// A page that is there is replaced as a whole. Where it cannot be written, that is told, and nothing is found.
fn page(source: &mut Source<'_>, file: &Path, options: ReportOptions, err: &mut dyn Write) -> io::Result<bool> {
    let mut page = Page::default();
    source.each(err, |record| {
        if options.selects(record) {
            page.add(record);
        }
        Ok(())
    })?;
    match replace(file, page.html(&Local::now()).as_bytes()) {
        Ok(()) => Ok(true),
        Err(error) => {
            writeln!(err, "{}: {error}", file.display())?;
            Ok(false)
        }
    }
}

fn replace(file: &Path, text: &[u8]) -> io::Result<()> {
    // /dev/stdout and its like are no files that could be replaced.
    if file.exists() && !file.is_file() {
        return fs::write(file, text);
    }
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut page = tempfile::NamedTempFile::new_in(directory)?;
    page.write_all(text)?;
    page.persist(file)?;
    Ok(())
}

fn log_times(source: &mut Source<'_>, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<bool> {
    writeln!(out, "\nLog Time Range Report\n=====================")?;
    for log in source.logs {
        let mut seen: Option<(u64, u64)> = None;
        source.log(log, err, &mut |record| {
            let time = record.event.time;
            seen = Some(seen.map_or((time, time), |(first, last)| (first.min(time), last.max(time))));
            Ok(())
        })?;
        let shown = logs::shown(&log.path);
        match seen {
            Some((first, last)) => {
                writeln!(out, "{shown}: {} - {}", moment(first, &Local), moment(last, &Local))?;
            }
            None => writeln!(out, "{shown}: no records")?,
        }
    }
    Ok(true)
}

/// Events of all logs.
struct Source<'a> {
    logs: &'a [LogSegment],
    /// Machines whose events are meant; empty for all.
    nodes: &'a [String],
    host: HostNames,
    /// Whether all logs could be opened.
    whole: bool,
}

impl Source<'_> {
    fn each(&mut self, err: &mut dyn Write, mut take: impl FnMut(&Record<'_>) -> io::Result<()>) -> io::Result<()> {
        self.logs.iter().try_for_each(|log| self.log(log, err, &mut take))
    }

    fn log(
        &mut self,
        log: &LogSegment,
        err: &mut dyn Write,
        take: &mut dyn FnMut(&Record<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        let shown = logs::shown(&log.path);
        let input = match logs::open(&log.path) {
            Ok(input) => input,
            Err(error) => {
                self.whole = false;
                return writeln!(err, "{shown}: {error}");
            }
        };
        for entry in Reader::new(input) {
            match entry {
                Ok(entry) => self.entry(&entry, take)?,
                Err(error) => writeln!(err, "{shown}: {error}")?,
            }
        }
        Ok(())
    }

    fn entry(&self, entry: &Entry, take: &mut dyn FnMut(&Record<'_>) -> io::Result<()>) -> io::Result<()> {
        if !self.nodes.is_empty() && !self.nodes.contains(&entry.node) {
            return Ok(());
        }
        let names = EntryNames { log: &entry.names, host: &self.host };
        take(&Record { event: &entry.event, node: &entry.node, names: &names })
    }
}
