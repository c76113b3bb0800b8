//! What happened, added up: aureport's reports, and a page of charts.
//!
//! | step | where |
//! |---|---|
//! | what aureport knows of an event | `facts` |
//! | what each report is about, and its columns | `kinds` |
//! | rows and summaries | [`Report`] |
//! | the totals | `totals` |
//! | the page of charts | [`Page`] |

mod facts;
mod kinds;
mod page;
mod tally;
mod totals;

use std::borrow::Cow;
use std::fmt::Display;

use chrono::{DateTime, TimeZone};

use crate::escape::Printable;
use crate::record::{Record, UNSET};
use facts::{Avc, Facts};
use kinds::{Column, Counted, Form};
use tally::Tally;
use totals::Totals;

pub use kinds::Kind;
pub use page::Page;

/// Rows of events, or how often each thing occurs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detail {
    /// A row for each event.
    #[default]
    Rows,
    /// How often each thing occurs.
    Summary,
}

/// Numbers or names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Spelling {
    /// Users, calls and, in summaries, types of records are numbers.
    #[default]
    Numbers,
    /// They are names (`--interpret`).
    Names,
}

/// Which report, and of which events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReportOptions {
    /// What it is about.
    pub kind: Kind,
    /// How much it tells.
    pub detail: Detail,
    /// How it tells it.
    pub spelling: Spelling,
    /// Only acts that succeeded, or that failed.
    pub success: Option<bool>,
    /// First second, since the epoch.
    pub from: Option<i64>,
    /// Last second, since the epoch.
    pub to: Option<i64>,
    /// Whether records of changes to rules and settings are left out.
    pub without_config: bool,
}

impl ReportOptions {
    /// Whether an event is one of those that are reported of.
    pub fn selects(&self, record: &Record<'_>) -> bool {
        self.may_select(record) && self.select(&Facts::of(record.event))
    }

    fn may_select(&self, record: &Record<'_>) -> bool {
        let seconds = record.time().timestamp();
        self.from.is_none_or(|from| from <= seconds) && self.to.is_none_or(|to| seconds <= to)
    }

    fn select(&self, facts: &Facts<'_>) -> bool {
        let left_out = self.without_config && facts.types.first() == Some(&1305);
        !left_out && (self.success.is_none() || self.success == facts.success)
    }
}

/// A report as it grows.
pub struct Report<Z> {
    options: ReportOptions,
    zone: Z,
    rows: u64,
    tally: Tally,
    totals: Totals,
    /// Times of the first and the last event, selected or not, in nanoseconds.
    seen: Option<(u64, u64)>,
}

const NOTHING: &str = "<no events of interest were found>\n\n";

impl<Z: TimeZone<Offset: Display>> Report<Z> {
    /// An empty report. `zone` is that of its times.
    pub fn new(options: ReportOptions, zone: Z) -> Self {
        Self { options, zone, rows: 0, tally: Tally::default(), totals: Totals::default(), seen: None }
    }

    /// Appends what stands above the first event.
    pub fn head(&self, out: &mut Vec<u8>) {
        let which = match self.options.success {
            None => "",
            Some(true) => "Success ",
            Some(false) => "Failed ",
        };
        let text = match self.options.kind.form() {
            None => format!("\n{which}Summary Report\n======================\n"),
            Some(form) if self.options.detail == Detail::Summary => {
                let rule = "=".repeat(form.summary_rule);
                let (title, head) = (form.summary_title, form.summary_head);
                format!("\n{which}{title} Summary Report\n{rule}\ntotal  {head}\n{rule}\n")
            }
            Some(Form { title, heads, rules: (above, below), .. }) => {
                let (above, below) = ("=".repeat(above), "=".repeat(below));
                format!("\n{title} Report\n{above}\n# date time {heads}\n{below}\n")
            }
        };
        out.extend_from_slice(text.as_bytes());
    }

    /// Takes an event; appends its row, if it has one.
    pub fn add(&mut self, record: &Record<'_>, out: &mut Vec<u8>) {
        let time = record.event.time;
        self.seen = Some(self.seen.map_or((time, time), |(first, last)| (first.min(time), last.max(time))));
        if !self.options.may_select(record) {
            return;
        }
        let facts = Facts::of(record.event);
        if !self.options.select(&facts) {
            return;
        }
        match (self.options.kind.form(), self.options.detail) {
            (None, _) => self.totals.add(&facts),
            (Some(_), _) if !self.options.kind.has_row(self.options.detail, &facts) => {}
            (Some(form), Detail::Summary) => self.count(form.counted, &facts, record),
            (Some(form), Detail::Rows) => self.row(&form, &facts, record, out),
        }
    }

    /// Appends what stands below the last event. Whether there was any of interest.
    pub fn finish(&self, out: &mut Vec<u8>) -> bool {
        match (self.options.kind, self.options.detail) {
            (Kind::Totals, _) => {
                out.extend_from_slice(self.times().as_bytes());
                self.totals.write(out);
                return true;
            }
            (_, Detail::Summary) => self.tally.write(out),
            _ => {}
        }
        let found = self.rows != 0 || !self.tally.is_empty();
        if !found {
            out.extend_from_slice(NOTHING.as_bytes());
        }
        found
    }

    fn times(&self) -> String {
        let (first, last) = self.seen.unwrap_or_default();
        let within = |given: Option<i64>, seen: String| {
            given.map_or(seen, |seconds| self.second(u64::try_from(seconds).unwrap_or_default() * 1_000_000_000))
        };
        format!(
            "Range of time in logs: {} - {}\nSelected time for report: {} - {}\n",
            self.moment(first),
            self.moment(last),
            within(self.options.from, self.second(first)),
            within(self.options.to, self.moment(last)),
        )
    }

    /// In the C locale's form, whatever the locale.
    fn second(&self, time: u64) -> String {
        second(time, &self.zone)
    }

    fn moment(&self, time: u64) -> String {
        moment(time, &self.zone)
    }

    fn row(&mut self, form: &Form, facts: &Facts<'_>, record: &Record<'_>, out: &mut Vec<u8>) {
        // Each refusal has a row.
        let none = [Avc::default()];
        let avcs = if self.options.kind == Kind::Avc { &facts.avcs[..] } else { &none };
        for avc in avcs {
            self.rows += 1;
            let mut line = format!("{}. {}", self.rows, self.second(record.event.time));
            for column in form.columns {
                let value = self.value(*column, facts, avc, record);
                line += &format!(" {}", Printable(&value));
            }
            out.extend_from_slice(line.as_bytes());
            out.push(b'\n');
        }
    }

    fn value<'a>(&self, column: Column, facts: &'a Facts<'_>, avc: &'a Avc<'_>, record: &Record<'_>) -> Cow<'a, [u8]> {
        let text = |value: &'a Option<Cow<'_, [u8]>>, nothing: &'static str| {
            Cow::Borrowed(value.as_deref().unwrap_or(nothing.as_bytes()))
        };
        let owned = |value: String| Cow::Owned(value.into_bytes());
        let user = |uid| owned(self.user(uid, record));
        match column {
            Column::Account => facts.acct.as_deref().map_or_else(|| user(facts.uid), Cow::Borrowed),
            Column::AccountAlone => text(&facts.acct, "?"),
            Column::Auid => user(facts.auid),
            Column::Login => login(facts).map_or_else(|| user(facts.auid), Cow::Borrowed),
            Column::Call => owned(self.call(facts, record)),
            Column::Comm => text(&facts.comm, "?"),
            Column::Exe => text(&facts.exe, "?"),
            Column::ExeOrComm => text(if facts.exe.is_some() { &facts.exe } else { &facts.comm }, "?"),
            Column::File => Cow::Borrowed(facts.files.first().map_or(&[][..], |file| file)),
            Column::Host => text(&facts.host, "?"),
            Column::Key => Cow::Borrowed(facts.keys.first().map_or(&[][..], |key| key)),
            Column::Pid => owned(facts.pid.unwrap_or_default().to_string()),
            Column::Serial => owned(record.event.serial.to_string()),
            Column::Success => Cow::Borrowed(success(facts.success).as_bytes()),
            Column::Terminal => text(&facts.terminal, "?"),
            Column::HostOrNull => text(&facts.host, "(null)"),
            Column::TerminalOrNull => text(&facts.terminal, "(null)"),
            Column::ExeOrNull => text(&facts.exe, "(null)"),
            Column::Type => owned(facts.first_type.to_owned()),
            Column::AvcSubject => text(&avc.subject, "(null)"),
            Column::AvcClass => text(&avc.class, "(null)"),
            Column::AvcPermission => Cow::Borrowed(&avc.permission),
            Column::AvcObject => text(&avc.object, "(null)"),
            Column::AvcResult => Cow::Borrowed(if avc.denied { b"denied" } else { b"granted" }),
        }
    }

    fn count(&mut self, counted: Counted, facts: &Facts<'_>, record: &Record<'_>) {
        let user = |uid| self.user(uid, record).into_bytes();
        match counted {
            Counted::Accounts => {
                let account = facts.acct.as_ref().map_or_else(|| user(facts.uid), |acct| acct.to_vec());
                self.tally.add(&account);
            }
            Counted::Logins => {
                let who = login(facts).map_or_else(|| user(facts.auid), <[u8]>::to_vec);
                self.tally.add(&who);
            }
            Counted::AvcObjects => {
                facts.avcs.iter().filter_map(|avc| avc.object.as_ref()).for_each(|object| self.tally.add(object));
            }
            Counted::Calls => {
                let call = self.call(facts, record);
                self.tally.add(call.as_bytes());
            }
            Counted::Comms => facts.comm.iter().for_each(|comm| self.tally.add(comm)),
            Counted::Exes => facts.exe.iter().for_each(|exe| self.tally.add(exe)),
            Counted::Files => facts.files.iter().for_each(|file| self.tally.add(file)),
            Counted::Hosts => facts.host.iter().for_each(|host| self.tally.add(host)),
            Counted::Keys => facts.keys.iter().for_each(|key| self.tally.add(key)),
            Counted::Pids => facts.pid.into_iter().for_each(|pid| self.tally.add_number(pid, &pid.to_string())),
            Counted::Terminals => facts.terminal.iter().for_each(|terminal| self.tally.add(terminal)),
            Counted::Types => {
                let number = facts.types.first().copied().unwrap_or_default();
                match self.options.spelling {
                    Spelling::Numbers => self.tally.add_number(number, &number.to_string()),
                    Spelling::Names => self.tally.add_number(number, facts.first_type),
                }
            }
            Counted::Users if facts.auid.is_some() => {
                let who = user(facts.auid);
                self.tally.add(&who);
            }
            Counted::Users => {}
        }
    }

    /// aureport prints ids as signed numbers; -2 is one that no record tells.
    fn user(&self, uid: Option<u32>, record: &Record<'_>) -> String {
        let signed = uid.map_or(-2, u32::cast_signed);
        match (self.options.spelling, uid) {
            (Spelling::Numbers, _) => signed.to_string(),
            (Spelling::Names, Some(UNSET)) => "unset".to_owned(),
            (Spelling::Names, _) => {
                let name = uid.and_then(|uid| record.user(uid));
                name.map_or_else(|| format!("unknown({signed})"), |name| name.to_string())
            }
        }
    }

    fn call(&self, facts: &Facts<'_>, record: &Record<'_>) -> String {
        match (self.options.spelling, facts.call) {
            (Spelling::Numbers, call) => call.map_or(0, |(_, number)| number).to_string(),
            (Spelling::Names, None) => "?".to_owned(),
            (Spelling::Names, Some((arch, number))) => {
                record.names.syscall(arch, number).map_or_else(|| format!("unknown-syscall({number})"), str::to_owned)
            }
        }
    }
}

/// The account of a login that failed.
fn login<'a>(facts: &'a Facts<'_>) -> Option<&'a [u8]> {
    facts.acct.as_deref().filter(|_| facts.success == Some(false))
}

fn success(success: Option<bool>) -> &'static str {
    match success {
        None => "unset",
        Some(true) => "yes",
        Some(false) => "no",
    }
}

fn second<Z: TimeZone<Offset: Display>>(time: u64, zone: &Z) -> String {
    local(time, zone).format("%m/%d/%y %H:%M:%S").to_string()
}

/// A time of a log, as aureport prints it.
pub fn moment<Z: TimeZone<Offset: Display>>(time: u64, zone: &Z) -> String {
    local(time, zone).format("%m/%d/%y %H:%M:%S%.3f").to_string()
}

fn local<Z: TimeZone>(time: u64, zone: &Z) -> DateTime<Z> {
    DateTime::from_timestamp_nanos(i64::try_from(time).unwrap_or_default()).with_timezone(zone)
}

#[cfg(test)]
mod tests;
