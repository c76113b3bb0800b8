//! The records of one event as they stand in the log.

use super::event;
use super::line::{Header, Line};
use crate::format::native::ENRICHMENT;
use crate::read::Entry;

/// The records of one event of a native log, whose headers were read and nothing else. `EOE`, which says nothing, is
/// not kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records {
    pub(super) node: Vec<u8>,
    pub(super) stamp: Vec<u8>,
    pub(super) time: u64,
    /// Where in the log it began.
    pub(super) start: u64,
    /// The lines, one behind the other, and where the parts of each are.
    lines: Vec<u8>,
    spans: Vec<Span>,
    /// Whether its title was read, and the record that tells the call.
    titled: bool,
    has_call: bool,
    pub(super) whole: bool,
    headless: bool,
}

/// A line in [`Records::lines`]: where it begins, its type, its fields, and where it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    start: usize,
    record_type: (usize, usize),
    fields: usize,
    end: usize,
}

/// A record as it stands in the log.
#[derive(Clone, Copy)]
pub(crate) struct RawRecord<'a> {
    pub(crate) record_type: &'a [u8],
    /// Without enrichment.
    pub(crate) fields: &'a [u8],
    /// The line.
    pub(crate) line: &'a [u8],
}

impl<'a> RawRecord<'a> {
    /// The line without enrichment.
    pub(crate) fn bare_line(&self) -> &'a [u8] {
        let end = memchr::memchr(ENRICHMENT, self.line).unwrap_or(self.line.len());
        &self.line[..end]
    }
}

impl Records {
    /// Takes the place of an event that is done.
    pub(super) fn begin(&mut self, line: &[u8], header: &Header<'_>, time: u64, start: u64) {
        self.node.clear();
        self.stamp.clear();
        self.lines.clear();
        self.spans.clear();
        self.node.extend_from_slice(header.node);
        self.stamp.extend_from_slice(header.stamp);
        (self.time, self.start) = (time, start);
        (self.titled, self.has_call) = (false, false);
        (self.whole, self.headless) = (header.stands_alone(), header.continues());
        self.take(line, header);
    }

    pub(super) fn take(&mut self, line: &[u8], header: &Header<'_>) {
        self.titled |= header.is_title();
        self.has_call |= header.is_call();
        self.whole |= header.is_end() || (self.titled && self.has_call);
        if header.is_end() {
            return;
        }
        let start = self.lines.len();
        self.lines.extend_from_slice(line.strip_suffix(b"\r").unwrap_or(line));
        let end = self.lines.len();
        let (fields, record_type) = (end - header.rest.len(), start + header.type_offset());
        let record_type = (record_type, record_type + header.record_type.len());
        self.spans.push(Span { start, record_type, fields, end });
    }

    /// The event. `None` where there is no record at all.
    pub fn entry(&self) -> Option<Entry> {
        event::entry(self.spans.iter().filter_map(|span| Line::parse(&self.lines[span.start..span.end])).collect())
    }

    /// Name of the machine; empty where the log does not tell.
    pub(crate) fn node(&self) -> &[u8] {
        &self.node
    }

    /// Nanoseconds since the epoch.
    pub(crate) fn time(&self) -> u64 {
        self.time
    }

    /// Its number; `None` where that is none.
    pub(crate) fn serial(&self) -> Option<u64> {
        let at = memchr::memrchr(b':', &self.stamp)?;
        str::from_utf8(&self.stamp[at + 1..]).ok()?.parse().ok()
    }

    /// Appends the record that tells that no other follows.
    pub(crate) fn write_end(&self, out: &mut Vec<u8>) {
        if !self.node.is_empty() {
            out.extend_from_slice(&[b"node=", &*self.node, b" "].concat());
        }
        out.extend_from_slice(&[b"type=EOE msg=audit(", &*self.stamp, b"): \n"].concat());
    }

    /// Whether it is of a call whose title is missing, so that nothing but an `EOE` tells its end.
    pub(crate) fn lacks_title(&self) -> bool {
        self.has_call && !self.titled
    }

    /// Where in the log it began.
    pub(in crate::read) fn start(&self) -> u64 {
        self.start
    }

    /// Whether it began with a record that begins none: its first ones were not seen.
    pub(in crate::read) fn is_headless(&self) -> bool {
        self.headless
    }

    /// All lines, one behind the other.
    pub(super) fn text(&self) -> &[u8] {
        &self.lines
    }

    /// In the order of the log.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = RawRecord<'_>> {
        self.spans.iter().map(|span| {
            let fields = &self.lines[span.fields..span.end];
            let end = memchr::memchr(ENRICHMENT, fields).unwrap_or(fields.len());
            let fields = &fields[..end];
            RawRecord {
                record_type: &self.lines[span.record_type.0..span.record_type.1],
                fields: fields.strip_prefix(b" ").unwrap_or(fields),
                line: &self.lines[span.start..span.end],
            }
        })
    }
}
