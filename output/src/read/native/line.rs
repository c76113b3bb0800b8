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

impl Line {
    /// `None` where it is no record.
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let (node, line) = match line.strip_prefix(b"node=") {
            Some(rest) => word(rest)?,
            None => (String::new(), line),
        };
        let (record_type, line) = word(line.strip_prefix(b"type=")?)?;
        let line = line.strip_prefix(b"msg=audit(")?;
        let end = line.iter().position(|byte| *byte == b')')?;
        let (time, serial) = stamp(str::from_utf8(&line[..end]).ok()?)?;
        let text = line[end + 1..].strip_prefix(b":")?;
        let text = text.strip_prefix(b" ").unwrap_or(text);
        let mut parts = text.splitn(2, |byte| *byte == ENRICHMENT);
        let text = parts.next().unwrap_or_default().to_vec();
        Some(Self { node, record_type, time, serial, text, enrichment: parts.next().map(<[u8]>::to_vec) })
    }

    /// Whether both belong to one event.
    pub(super) fn same_event(&self, other: &Self) -> bool {
        (self.serial, self.time, &self.node) == (other.serial, other.time, &other.node)
    }

    /// Whether it is an event of its own.
    pub(super) fn stands_alone(&self) -> bool {
        let alone = |number| {
            (number < 1300 && number != LOGIN) || number >= 2100 || ALONE.iter().any(|range| range.contains(&number))
        };
        record_type_number(&self.record_type).is_some_and(alone)
    }

    /// The record that tells the call, or the operation of io_uring.
    pub(super) fn is_call(&self) -> bool {
        matches!(&*self.record_type, "SYSCALL" | "URINGOP")
    }

    /// Whether no record of the event follows.
    pub(super) fn ends_event(&self) -> bool {
        self.is_end() || self.record_type == "PROCTITLE"
    }

    /// `EOE`: nothing but the end.
    pub(super) fn is_end(&self) -> bool {
        self.record_type == "EOE"
    }

    /// The record as its text.
    pub(super) fn into_message(self) -> Message {
        Message { record_type: self.record_type.into(), text: self.text }
    }
}

/// Up to the next space.
fn word(text: &[u8]) -> Option<(String, &[u8])> {
    let end = text.iter().position(|byte| *byte == b' ')?;
    let word = &text[..end];
    let printable = !word.is_empty() && word.iter().all(u8::is_ascii_graphic);
    Some((String::from_utf8(word.to_vec()).ok().filter(|_| printable)?, &text[end + 1..]))
}

/// `SECONDS.MILLIS:SERIAL`.
fn stamp(text: &str) -> Option<(u64, u64)> {
    let (time, serial) = text.split_once(':')?;
    let (seconds, millis) = time.split_once('.')?;
    let millis: u64 = millis.parse().ok().filter(|millis| *millis < 1000)?;
    let nanos = seconds.parse::<u64>().ok()?.checked_mul(1_000_000_000)?.checked_add(millis * 1_000_000)?;
    Some((nanos, serial.parse::<u32>().ok()?.into()))
}
