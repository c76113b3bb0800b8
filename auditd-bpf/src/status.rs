//! `auditd-bpf status`: what the running daemon has seen, written and lost.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};

use output::SinkCounters;
use serde::{Deserialize, Serialize};

use crate::control::client::{Client, ClientError, socket_path};
use crate::exit_code::ExitCode;

/// How the answer is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object.
    Json,
}

/// Numbers by name.
pub type Counts = BTreeMap<String, u64>;

/// Events by verdict, by key.
pub type KeyCounts = BTreeMap<String, Counts>;

/// What the daemon has to tell. All numbers but the first four grow from its start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Its release.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// In which mode it works, docs/operations.md.
    pub mode: String,
    /// Rules in force.
    pub rules: u64,
    /// Programs attached to the kernel.
    pub programs: u64,
    /// Events of rules by verdict.
    pub events: Counts,
    /// The same by key, but for verdicts without any. An event counts for each key of its rule.
    #[serde(default)]
    pub keys: KeyCounts,
    /// Those of all keys beyond the first 256 that came.
    #[serde(default)]
    pub other_keys: Counts,
    /// Events by how long they waited between the end of their act and the daemon: up to so long.
    #[serde(default)]
    pub delays: Counts,
    /// How long they waited together, in microseconds.
    #[serde(default)]
    pub delay_micros: u64,
    /// Events lost before they reached any output, by cause.
    pub lost: Counts,
    /// The outputs, in the order of the configuration.
    pub outputs: Vec<Output>,
}

/// An output.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Which.
    pub name: String,
    /// Events that its destination has.
    pub written: u64,
    /// Events that wait: in its queue, an unfinished member or the spool.
    pub waiting: u64,
    /// Events that its filter kept away.
    pub filtered: u64,
    /// Events lost to it, by cause.
    pub lost: Counts,
    /// Bytes that its destination has.
    pub bytes: u64,
    /// Length of its spool.
    pub spool_bytes: u64,
    /// Attempts that failed and were made again.
    pub errors: u64,
    /// How often its destination was handed what had gathered, or acknowledged it, by how long that took.
    #[serde(default)]
    pub flushes: Counts,
    /// How long these took together, in microseconds.
    #[serde(default)]
    pub flush_micros: u64,
    /// Whether its destination takes nothing at the moment.
    pub stalled: bool,
    /// Whether an action of its configuration says that it takes nothing until SIGUSR2.
    #[serde(default)]
    pub suspended: bool,
}

impl From<SinkCounters> for Output {
    fn from(sink: SinkCounters) -> Self {
        Self {
            written: sink.written,
            waiting: sink.pending(),
            filtered: sink.filtered,
            lost: counts(sink.lost),
            bytes: sink.bytes,
            spool_bytes: sink.spool_bytes,
            errors: sink.errors,
            flushes: counts(sink.flushes),
            flush_micros: sink.flush_micros,
            stalled: sink.stalled,
            suspended: sink.suspended,
            name: sink.sink,
        }
    }
}

/// Numbers by name.
pub fn counts<'a>(rows: impl IntoIterator<Item = (&'a str, u64)>) -> Counts {
    rows.into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { version, pid, mode, rules, programs, .. } = self;
        writeln!(out, "auditd-bpf {version}, pid {pid}, mode {mode}: {rules} rules, {programs} programs attached")?;
        writeln!(out, "events: {}", Listed(&self.events))?;
        for (key, events) in &self.keys {
            writeln!(out, "    key {key}: {}", Listed(events))?;
        }
        if !self.other_keys.is_empty() {
            writeln!(out, "    other keys: {}", Listed(&self.other_keys))?;
        }
        if let Some(mean) = self.delay_micros.checked_div(self.delays.values().sum()) {
            writeln!(out, "with the daemon: {} within; after {mean} us on average", Listed(&self.delays))?;
        }
        writeln!(out, "lost before the outputs: {}", Listed(&self.lost))?;
        self.outputs.iter().try_for_each(|output| write!(out, "{output}"))
    }
}

impl fmt::Display for Output {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, written, waiting, filtered, bytes, spool_bytes, errors, .. } = self;
        let state = match (self.suspended, self.stalled) {
            (true, _) => ": suspended, until SIGUSR2",
            (false, true) => ": takes nothing at the moment",
            (false, false) => "",
        };
        writeln!(out, "{name}{state}")?;
        writeln!(out, "    events: {written} written, {waiting} waiting, {filtered} filtered")?;
        writeln!(out, "    lost: {}", Listed(&self.lost))?;
        writeln!(out, "    bytes: {bytes} written, {spool_bytes} in the spool; failed attempts: {errors}")?;
        match self.flush_micros.checked_div(self.flushes.values().sum()) {
            Some(mean) => writeln!(out, "    flushes: {} within; {mean} us on average", Listed(&self.flushes)),
            None => Ok(()),
        }
    }
}

/// Those that are not 0.
struct Listed<'a>(&'a Counts);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let some: Vec<_> = self.0.iter().filter(|(_, count)| **count != 0).collect();
        if some.is_empty() {
            return out.write_str("none");
        }
        let words: Vec<_> = some.into_iter().map(|(name, count)| format!("{count} {name}")).collect();
        out.write_str(&words.join(", "))
    }
}

/// Asks the daemon, and prints what it tells.
///
/// # Errors
/// If the answer cannot be written.
pub fn run(format: Format, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<ExitCode> {
    let report: Result<Report, ClientError> = Client::connect(&socket_path()).and_then(|mut client| client.status());
    match (report, format) {
        (Err(error), _) => {
            writeln!(err, "{error}")?;
            return Ok(ExitCode::Failure);
        }
        (Ok(report), Format::Text) => write!(out, "{report}")?,
        (Ok(report), Format::Json) => writeln!(out, "{}", serde_json::to_string(&report)?)?,
    }
    Ok(ExitCode::Success)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_read_what_is_not_zero() {
        let sink = SinkCounters {
            sink: "file:/a.gz".to_owned(),
            pushed: 12,
            written: 7,
            filtered: 2,
            lost: output::Cause::ALL.map(|cause| (cause.name(), u64::from(cause == output::Cause::TooLong) * 3)),
            bytes: 100,
            stalled: true,
            flushes: [("1ms", 3), ("10ms", 1), ("100ms", 0), ("1s", 0), ("10s", 0), ("longer", 0)],
            flush_micros: 5000,
            ..SinkCounters::default()
        };
        let report = Report {
            version: "1.2.3".to_owned(),
            pid: 9,
            mode: "lsm".to_owned(),
            rules: 5,
            programs: 40,
            events: counts([("allow", 10), ("deny", 2), ("kill", 0)]),
            keys: [("ssh keys".to_owned(), counts([("allow", 4)]))].into(),
            other_keys: Counts::new(),
            delays: counts([("5ms", 11), ("20ms", 1)]),
            delay_micros: 36_000,
            lost: counts([("ring_buffer_full", 0)]),
            outputs: vec![sink.into()],
        };
        let expected = "auditd-bpf 1.2.3, pid 9, mode lsm: 5 rules, 40 programs attached\nevents: 10 allow, 2 deny\n    \
                        key ssh keys: 4 allow\nwith the daemon: 1 20ms, 11 5ms within; after 3000 us on average\nlost before the outputs: none\nfile:/a.gz: takes nothing at the moment\n    \
                        events: 7 written, 2 waiting, 2 filtered\n    lost: 3 too_long\n    \
                        bytes: 100 written, 0 in the spool; failed attempts: 0\n    \
                        flushes: 1 10ms, 3 1ms within; 1250 us on average\n";
        assert_eq!(report.to_string(), expected);
        let json = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
    }
}
