//! One page of charts that needs nothing else: no script, no file, no font from elsewhere. Whatever stood in a log is text there,
//! and the page's own policy forbids scripts besides.
//!
//! | what | where |
//! |---|---|
//! | what is counted | [`Page`] |
//! | events over time | `timeline` |
//! | charts as SVG | `chart` |
//! | how it looks | `style.css` |

mod chart;
mod timeline;

use std::borrow::Cow;
use std::fmt::{Display, Write};

use chrono::{DateTime, TimeZone};

use super::facts::Facts;
use super::local;
use super::tally::Tally;
use crate::escape::Printable;
use crate::event::{Body, SyscallEvent, Verdict};
use crate::record::Record;
use chart::{Bar, Breadth, bars, columns};
use timeline::Timeline;

/// Rows of a chart.
const TOP: usize = 10;

/// How an act ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// It succeeded, or nothing is known of it.
    Good,
    /// The kernel said no by itself: no such file, no permission.
    Failed,
    /// A rule or a security module refused it.
    Refused,
}

impl Outcome {
    /// In the order in which they are stacked.
    const ALL: [Self; 3] = [Self::Good, Self::Failed, Self::Refused];

    const fn name(self) -> &'static str {
        match self {
            Self::Good => "succeeded",
            Self::Failed => "failed",
            Self::Refused => "refused",
        }
    }

    const fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Failed => "failed",
            Self::Refused => "refused",
        }
    }
}

/// The page as it grows.
#[derive(Default)]
pub struct Page {
    outcomes: [u64; 3],
    would_deny: u64,
    lost: u64,
    timeline: Timeline,
    nodes: Tally,
    keys: Tally,
    users: Tally,
    executables: Tally,
    types: Tally,
    errors: Tally,
    failed_files: Tally,
    refusals: Tally,
}

impl Page {
    /// Takes an event.
    pub fn add(&mut self, record: &Record<'_>) {
        let facts = Facts::of(record.event);
        let call = match &record.event.body {
            Body::Syscall(call) => Some(&**call),
            Body::Lost(losses) => {
                self.lost += losses.iter().map(|loss| loss.count).sum::<u64>();
                None
            }
            _ => None,
        };
        let outcome = outcome(&facts, call);
        self.outcomes[outcome as usize] += 1;
        self.would_deny += u64::from(call.is_some_and(|call| call.verdict == Verdict::WouldDeny));
        self.timeline.add(record.event.time, outcome);
        if !record.node.is_empty() {
            self.nodes.add(record.node.as_bytes());
        }
        self.types.add(facts.first_type.as_bytes());
        facts.keys.iter().for_each(|key| self.keys.add(key));
        facts.exe.iter().for_each(|exe| self.executables.add(exe));
        let user = facts.auid.map(|auid| user(auid, record));
        user.iter().for_each(|user| self.users.add(user.as_bytes()));
        let file = facts.files.last();
        match outcome {
            Outcome::Good => {}
            Outcome::Failed => {
                let error = call.and_then(|call| record.errno(call)).unwrap_or(facts.first_type);
                self.errors.add(error.as_bytes());
                file.iter().for_each(|file| self.failed_files.add(file));
            }
            Outcome::Refused => self.refusals.add(&refusal(&facts, user.as_deref(), call, record)),
        }
    }

    /// The whole page. `now` is when it is made; its time zone is that of all times.
    pub fn html<Z: TimeZone<Offset: Display>>(&self, now: &DateTime<Z>) -> String {
        let mut page = String::new();
        let (style, sections) = (include_str!("style.css"), self.sections(&now.timezone()));
        let nodes = self.nodes.sorted();
        let names = nodes.iter().take(3).map(|(name, _)| text(name)).collect::<Vec<_>>().join(", ");
        let more = if nodes.len() > 3 { format!(" and {} more", nodes.len() - 3) } else { String::new() };
        let of = if names.is_empty() { String::new() } else { format!(" of {names}{more}") };
        let made = now.format("%Y-%m-%d %H:%M:%S %:z");
        // A `String` takes whatever is written.
        let _ = write!(
            page,
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n\
             <link rel=\"icon\" href=\"data:,\">\n<title>Audit report{of}</title>\n<style>\n{style}</style>\n</head>\n<body>\n\
             <header><h1>Audit report{of}</h1>\n<p>{}</p></header>\n<main>\n{sections}</main>\n\
             <footer>Made by auditd-bpf on {made}</footer>\n</body>\n</html>\n",
            self.range(&now.timezone()),
        );
        page
    }

    fn range<Z: TimeZone<Offset: Display>>(&self, zone: &Z) -> String {
        let Some((first, last)) = self.timeline.range() else { return "No events".to_owned() };
        let shown = |time| local(time, zone).format("%Y-%m-%d %H:%M:%S").to_string();
        format!("{} to {} ({})", shown(first), shown(last), local(last, zone).format("UTC%:z"))
    }

    fn sections<Z: TimeZone<Offset: Display>>(&self, zone: &Z) -> String {
        let mut sections = self.figures();
        let legend =
            Outcome::ALL.map(|outcome| format!("<span><i class=\"{}\"></i>{}</span>", outcome.class(), outcome.name()));
        let chart = columns(&self.timeline, zone);
        sections +=
            &section("wide", "Events over time", &format!("<p class=\"legend\">{}</p>\n{chart}", legend.concat()));
        for (title, tally, class) in [
            ("Keys", &self.keys, "good"),
            ("Login users", &self.users, "good"),
            ("Executables", &self.executables, "good"),
            ("Kinds of records", &self.types, "good"),
            ("Failures by error", &self.errors, "failed"),
            ("Files and sockets of failed acts", &self.failed_files, "failed"),
        ] {
            sections += &section("", title, &top(tally, class, Breadth::Half));
        }
        sections + &section("wide", "Refusals", &top(&self.refusals, "refused", Breadth::Whole))
    }

    fn figures(&self) -> String {
        let [good, failed, refused] = self.outcomes;
        let figures = [
            ("events", good + failed + refused, ""),
            ("failed", failed, "failed"),
            ("refused", refused, "refused"),
            ("would be refused", self.would_deny, "refused"),
            ("lost", self.lost, "refused"),
            ("login users", self.users.len() as u64, ""),
            ("executables", self.executables.len() as u64, ""),
        ];
        let optional = ["would be refused", "lost"];
        let shown = figures.iter().filter(|(name, count, _)| *count > 0 || !optional.contains(name));
        let figure = |(name, count, class): &(&str, u64, &str)| {
            let class = if *count > 0 { *class } else { "" };
            format!("<div><dd class=\"{class}\">{}</dd><dt>{name}</dt></div>\n", chart::grouped(*count))
        };
        format!("<dl>\n{}</dl>\n", shown.map(figure).collect::<String>())
    }
}

fn outcome(facts: &Facts<'_>, call: Option<&SyscallEvent>) -> Outcome {
    let refused = call.is_some_and(|call| call.verdict.refused()) || facts.avcs.iter().any(|avc| avc.denied);
    match facts.success {
        _ if refused => Outcome::Refused,
        Some(false) => Outcome::Failed,
        _ => Outcome::Good,
    }
}

fn user(uid: u32, record: &Record<'_>) -> String {
    record.user(uid).map_or_else(|| uid.to_string(), |name| name.to_string())
}

/// Who did what to what, and by which rule that was refused.
fn refusal(facts: &Facts<'_>, user: Option<&str>, call: Option<&SyscallEvent>, record: &Record<'_>) -> Vec<u8> {
    let name = call.and_then(|call| record.names.syscall(call.arch, call.syscall)).unwrap_or(facts.first_type);
    let program = facts.exe.as_ref().or(facts.comm.as_ref());
    let object = facts.files.last().or(facts.host.as_ref());
    let mut words: Vec<Cow<'_, [u8]>> = vec![Cow::Borrowed(user.unwrap_or("?").as_bytes())];
    words.extend(program.cloned());
    words.push(Cow::Borrowed(name.as_bytes()));
    words.extend(object.cloned());
    words.extend(facts.keys.first().map(|key| Cow::Owned([b"[", &**key, b"]"].concat())));
    words.join(&b' ')
}

fn top(tally: &Tally, class: &str, breadth: Breadth) -> String {
    let rows = tally.sorted();
    if rows.is_empty() {
        return "<p class=\"none\">none</p>\n".to_owned();
    }
    let shown: Vec<_> =
        rows.iter().take(TOP).map(|(name, count)| Bar { name: Printable(name).to_string(), count: *count }).collect();
    let rest = &rows[shown.len()..];
    let mut chart = bars(&shown, class, breadth);
    if !rest.is_empty() {
        let events: u64 = rest.iter().map(|(_, count)| count).sum();
        let (rest, events) = (chart::grouped(rest.len() as u64), chart::grouped(events));
        chart += &format!("<p class=\"rest\">and {rest} more, with {events} events</p>\n");
    }
    chart
}

fn section(class: &str, title: &str, inner: &str) -> String {
    format!("<section class=\"{class}\"><h2>{title}</h2>\n{inner}</section>\n")
}

/// Bytes of a log as text of the page.
fn text(bytes: &[u8]) -> String {
    escaped(&Printable(bytes).to_string())
}

/// As content or as the value of an attribute.
fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => html += "&amp;",
            '<' => html += "&lt;",
            '>' => html += "&gt;",
            '"' => html += "&quot;",
            '\'' => html += "&#39;",
            other => html.push(other),
        }
    }
    html
}

#[cfg(test)]
mod tests;
