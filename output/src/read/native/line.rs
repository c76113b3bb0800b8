//! One native record: `[node=N ]type=T msg=audit(SECONDS.MILLIS:SERIAL): FIELDS[0x1D NAMES]`.

use tables::record_type_number;

use crate::event::Message;
use crate::format::native::ENRICHMENT;

/// A record and whose it is.
pub(super) struct Line {
    pub(super) node: String,
    pub(super) record_type: String,
    pub(super) time: u64,
    pub(super) serial: u64,
    /// Without enrichment.
    pub(super) text: Vec<u8>,
    pub(super) enrichment: Option<Vec<u8>>,
}

/// Types between 1300 and 2099 whose records stand alone: netlabel's (`MAC_UNLBL_ALLOW` to `MAC_CALIPSO_DEL`), `KERNEL`.
const ALONE: [std::ops::RangeInclusive<u32>; 2] = [1406..=1419, 2000..=2000];
/// The only type below 1300 whose events have more records.
const LOGIN: u32 = 1006;

/// Where a line says whose it is; nothing is copied.
#[derive(Clone, Copy)]
pub(super) struct Header<'a> {
    pub(super) node: &'a [u8],
    pub(super) record_type: &'a [u8],
    /// `SECONDS.MILLIS:SERIAL`
    pub(super) stamp: &'a [u8],
    /// What follows it.
    pub(super) rest: &'a [u8],
}

impl<'a> Header<'a> {
    /// `None` where it is no record. The stamp is not looked into.
    pub(super) fn split(line: &'a [u8]) -> Option<Self> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let (node, line) = match line.strip_prefix(b"node=") {
            Some(rest) => word(rest)?,
            None => (&[][..], line),
        };
        let (record_type, line) = word(line.strip_prefix(b"type=")?)?;
        let line = line.strip_prefix(b"msg=audit(")?;
        let end = line.iter().position(|byte| *byte == b')')?;
        let rest = line[end + 1..].strip_prefix(b":")?;
        Some(Self { node, record_type, stamp: &line[..end], rest })
    }

    /// Time in nanoseconds, and serial.
    pub(super) fn moment(&self) -> Option<(u64, u64)> {
        stamp(str::from_utf8(self.stamp).ok()?)
    }

    /// Whether it is an event of its own.
    pub(super) fn stands_alone(&self) -> bool {
        let alone = |number| {
            (number < 1300 && number != LOGIN) || number >= 2100 || ALONE.iter().any(|range| range.contains(&number))
        };
        !self.continues() && self.record_type != b"SYSCALL" && self.number().is_some_and(alone)
    }

    /// Whether it is of a type that never begins an event.
    pub(super) fn continues(&self) -> bool {
        matches!(self.record_type, b"PATH" | b"CWD" | b"PROCTITLE" | b"EXECVE" | b"SOCKADDR" | b"OBJ_PID" | b"EOE")
    }

    /// The record that tells the call, or the operation of io_uring.
    pub(super) fn is_call(&self) -> bool {
        is_call(self.record_type)
    }

    /// Whether it is what the kernel writes last of a call's records.
    pub(super) fn is_title(&self) -> bool {
        self.record_type == b"PROCTITLE"
    }

    /// Where in its line the type stands.
    pub(super) fn type_offset(&self) -> usize {
        let node = if self.node.is_empty() { 0 } else { b"node= ".len() + self.node.len() };
        node + b"type=".len()
    }

    /// `EOE`: nothing but the end.
    pub(super) fn is_end(&self) -> bool {
        self.record_type == b"EOE"
    }

    fn number(&self) -> Option<u32> {
        record_type_number(str::from_utf8(self.record_type).ok()?)
    }
}

impl Line {
    /// `None` where it is no record.
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        let header = Header::split(line)?;
        let (time, serial) = header.moment()?;
        let text = header.rest.strip_prefix(b" ").unwrap_or(header.rest);
        let mut parts = text.splitn(2, |byte| *byte == ENRICHMENT);
        let text = parts.next().unwrap_or_default().to_vec();
        let owned = |word: &[u8]| String::from_utf8(word.to_vec()).ok();
        let (node, record_type) = (owned(header.node)?, owned(header.record_type)?);
        Some(Self { node, record_type, time, serial, text, enrichment: parts.next().map(<[u8]>::to_vec) })
    }

    /// The record that tells the call, or the operation of io_uring.
    pub(super) fn is_call(&self) -> bool {
        is_call(self.record_type.as_bytes())
    }

    /// The record as its text.
    pub(super) fn into_message(self) -> Message {
        Message { record_type: self.record_type.into(), text: self.text }
    }
}

fn is_call(record_type: &[u8]) -> bool {
    matches!(record_type, b"SYSCALL" | b"URINGOP")
}

/// Up to the next space.
fn word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = text.iter().position(|byte| *byte == b' ')?;
    let word = &text[..end];
    let printable = !word.is_empty() && word.iter().all(u8::is_ascii_graphic);
    printable.then(|| (word, &text[end + 1..]))
}

/// `SECONDS.MILLIS:SERIAL`.
fn stamp(text: &str) -> Option<(u64, u64)> {
    let (time, serial) = text.split_once(':')?;
    let (seconds, millis) = time.split_once('.')?;
    let millis: u64 = millis.parse().ok().filter(|millis| *millis < 1000)?;
    let nanos = seconds.parse::<u64>().ok()?.checked_mul(1_000_000_000)?.checked_add(millis * 1_000_000)?;
    Some((nanos, serial.parse::<u32>().ok()?.into()))
}
