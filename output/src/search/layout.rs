//! Events that were found, as text.

use std::borrow::Cow;
use std::io::Write;
use std::sync::LazyLock;

use chrono::format::{Item, StrftimeItems};
use chrono::{DateTime, TimeZone};

use super::facts::Facts;
use super::interpret;
use crate::address::Address;
use crate::escape::{Printable, escape};
use crate::event::{Body, NameType, SyscallEvent};
use crate::format::{Content, Format, NativeStyle, Node};
use crate::read::Records;
use crate::record::{Record, moment};

/// How events are shown: ausearch's `--format`, and `json`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// ausearch's own: a rule, the time, the native records, the last one first.
    #[default]
    Default,
    /// The same with names for numbers (`-i`).
    Interpreted,
    /// Native records, for ausearch and its like to read.
    Raw,
    /// A sentence.
    Text,
    /// ausearch's columns.
    Csv,
    /// As the daemon writes them.
    Json,
}

impl Layout {
    /// The line before the first event.
    pub fn heading(self) -> Option<&'static str> {
        (self == Self::Csv).then_some(
            "NODE,EVENT,DATE,TIME,SERIAL_NUM,EVENT_KIND,SESSION,SUBJ_PRIME,SUBJ_SEC,SUBJ_KIND,ACTION,RESULT,OBJ_PRIME,\
             OBJ_SEC,OBJ_KIND,HOW",
        )
    }

    /// Appends the event. `content` says whether native records have names; `zone` is that of times for people. In all but
    /// `Raw`, nothing acts on a terminal.
    pub fn write<Z: TimeZone<Offset: std::fmt::Display>>(
        self,
        record: &Record<'_>,
        content: Content,
        zone: &Z,
        lines: &mut Vec<u8>,
    ) {
        let time = record.time().with_timezone(zone);
        match self {
            Self::Default => default(last_first(&native(record)), &time, lines),
            Self::Interpreted => interpreted(record, &time, lines),
            Self::Raw => Format::Native(style(record, content)).write_lines(record, lines),
            Self::Text => Format::Text.write_lines(record, lines),
            Self::Csv => csv(record, &time, lines),
            Self::Json => Format::Json.write_lines(record, lines),
        }
    }

    /// Whether it shows native records as they stand in the log.
    pub fn shows_records(self) -> bool {
        matches!(self, Self::Default | Self::Raw)
    }

    /// Appends the event as [`Self::write`] does, but of a layout that [shows records](Self::shows_records), these, as
    /// they are: they are what happened to be written, also where this release would write something else.
    pub fn write_records<Z: TimeZone<Offset: std::fmt::Display>>(
        self,
        records: &Records,
        zone: &Z,
        lines: &mut Vec<u8>,
    ) {
        if self == Self::Raw {
            return raw(records, lines);
        }
        let without_enrichment = records.iter().rev().map(|record| record.bare_line());
        default(without_enrichment, &moment(records.time()).with_timezone(zone), lines);
    }
}

fn raw(records: &Records, lines: &mut Vec<u8>) {
    for record in records.iter() {
        lines.extend_from_slice(record.line);
        lines.push(b'\n');
    }
    if records.lacks_title() {
        records.write_end(lines);
    }
}

fn style(record: &Record<'_>, content: Content) -> NativeStyle {
    NativeStyle { content, node: if record.node.is_empty() { Node::Left } else { Node::Named } }
}

fn default<'a, Z: TimeZone<Offset: std::fmt::Display>>(
    last_first: impl Iterator<Item = &'a [u8]>,
    time: &DateTime<Z>,
    lines: &mut Vec<u8>,
) {
    /// Parsed once: it heads every event.
    static HEAD: LazyLock<Vec<Item<'static>>> =
        LazyLock::new(|| StrftimeItems::new("----\ntime->%a %b %e %H:%M:%S %Y").collect());
    // Memory takes whatever is written.
    let _ = writeln!(lines, "{}", time.format_with_items(HEAD.iter()));
    for line in last_first {
        let _ = writeln!(lines, "{}", Printable(line));
    }
}

/// The date is the C locale's.
fn interpreted<Z: TimeZone<Offset: std::fmt::Display>>(record: &Record<'_>, time: &DateTime<Z>, lines: &mut Vec<u8>) {
    lines.extend_from_slice(b"----\n");
    let time = time.format("%D %T%.3f").to_string();
    for line in last_first(&native(record)) {
        interpret::line(record, line, &time, lines);
    }
}

fn native(record: &Record<'_>) -> Vec<u8> {
    let mut native = Vec::new();
    Format::Native(style(record, Content::Raw)).write_lines(record, &mut native);
    native.pop();
    native
}

/// ausearch does not keep the mark of an event's end.
fn last_first(native: &[u8]) -> impl Iterator<Item = &[u8]> {
    let is_end = |line: &&[u8]| line.split(|byte| *byte == b' ').any(|word| word == b"type=EOE");
    native.rsplit(|byte| *byte == b'\n').filter(move |line| !is_end(line))
}

/// Dates are ISO 8601's, whatever the locale.
fn csv<Z: TimeZone<Offset: std::fmt::Display>>(record: &Record<'_>, time: &DateTime<Z>, lines: &mut Vec<u8>) {
    let row = row(record);
    let fields = [
        record.node.to_owned(),
        record.record_type().to_owned(),
        time.format("%Y-%m-%d").to_string(),
        time.format("%H:%M:%S").to_string(),
        record.event.serial.to_string(),
        row.kind.to_owned(),
        row.session,
        row.login,
        row.acting,
        row.subject_kind.to_owned(),
        row.action,
        row.result.to_owned(),
        row.object,
        row.second_object,
        row.object_kind.to_owned(),
        row.how,
    ];
    lines.extend(fields.map(|field| quoted(&field)).join(",").bytes());
    lines.push(b'\n');
}

/// What the columns of `csv` say of an event; empty where it says nothing.
#[derive(Default)]
struct Row {
    kind: &'static str,
    session: String,
    login: String,
    acting: String,
    subject_kind: &'static str,
    action: String,
    result: &'static str,
    object: String,
    second_object: String,
    object_kind: &'static str,
    how: String,
}

fn row(record: &Record<'_>) -> Row {
    match &record.event.body {
        Body::Syscall(call) => call_row(record, call),
        Body::Daemon(daemon) => Row {
            kind: "audit-daemon",
            session: number_or_unset(daemon.session),
            login: user(record, daemon.auid),
            acting: user(record, daemon.uid),
            action: daemon.op.to_string(),
            result: result(Some(daemon.success)),
            ..Row::default()
        },
        Body::Lost(_) => Row { kind: "audit-daemon", action: "lost-events".to_owned(), ..Row::default() },
        Body::Messages(_) => messages_row(record),
    }
}

fn messages_row(record: &Record<'_>) -> Row {
    let facts = Facts::of(record.event);
    let first = |values: &[Cow<'_, [u8]>]| values.first().map(|value| escape(value).into_owned()).unwrap_or_default();
    let name = |uid: Option<u32>| uid.map(|uid| user(record, uid)).unwrap_or_default();
    Row {
        session: facts.session.map(number_or_unset).unwrap_or_default(),
        login: name(facts.auid),
        acting: name(facts.uid),
        action: first(&facts.op),
        result: result(facts.success),
        object: first(&facts.files),
        how: first(&facts.exe),
        ..Row::default()
    }
}

fn call_row(record: &Record<'_>, call: &SyscallEvent) -> Row {
    let mut row = Row {
        kind: "audit-rule",
        session: number_or_unset(call.session),
        login: user(record, call.ids.auid),
        acting: user(record, call.ids.uid),
        subject_kind: if call.ids.auid == crate::UNSET { "service" } else { "user-acct" },
        action: record.names.syscall(call.arch, call.syscall).map_or_else(|| call.syscall.to_string(), str::to_owned),
        result: result(call.success()),
        how: escape(call.exe.as_ref().unwrap_or(&call.comm)).into_owned(),
        ..Row::default()
    };
    let named = call.paths.iter().filter(|item| item.name_type != NameType::Parent);
    let mut names = named.filter_map(|item| item.path.as_ref()).map(|path| escape(path).into_owned());
    if let Some(target) = call.targets.first() {
        (row.object, row.object_kind) = (escape(&target.comm).into_owned(), "process");
        row.second_object = target.pid.to_string();
    } else if let Some(address) = call.sockaddr.as_deref().map(Address::decode) {
        (row.object, row.object_kind) = (host(&address), "socket");
    } else if let Some(name) = names.next() {
        (row.object, row.object_kind) = (name, "file");
        row.second_object = names.next().unwrap_or_default();
    }
    row
}

fn host(address: &Address<'_>) -> String {
    match address {
        Address::Inet { ip, port } => format!("{ip}:{port}"),
        Address::Inet6 { ip, port, .. } => format!("[{ip}]:{port}"),
        Address::Path(path) => escape(path).into_owned(),
        _ => address.family().to_owned(),
    }
}

fn number_or_unset(number: u32) -> String {
    if number == crate::UNSET { "unset".to_owned() } else { number.to_string() }
}

fn user(record: &Record<'_>, uid: u32) -> String {
    record.user(uid).map_or_else(|| uid.to_string(), |name| name.to_string())
}

fn result(success: Option<bool>) -> &'static str {
    match success {
        Some(true) => "success",
        Some(false) => "failed",
        None => "",
    }
}

/// A field by RFC 4180, in which nothing acts on a terminal.
fn quoted(field: &str) -> String {
    let field = Printable(field.as_bytes()).to_string();
    if field.contains([',', '"']) { format!("\"{}\"", field.replace('"', "\"\"")) } else { field }
}
