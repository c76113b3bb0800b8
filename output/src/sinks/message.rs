//! A record as a message that has an id, by which servers or those who read from them tell what comes twice.

use super::spooled::Encode;
use crate::format::Format;
use crate::record::Record;

/// Makes of a record what stands in the spool: its id, a newline, and the text.
pub(super) struct Message {
    pub(super) format: Format,
    /// Longest text that may be sent.
    pub(super) max_bytes: usize,
}

impl Encode for Message {
    fn encode(&self, record: &Record<'_>) -> Vec<Vec<u8>> {
        let mut payload = id(record).into_bytes();
        payload.push(b'\n');
        let head = payload.len();
        self.format.write_lines(record, &mut payload);
        payload.pop();
        if payload.len() - head > self.max_bytes { Vec::new() } else { vec![payload] }
    }
}

/// What names a record for good: `node:time:serial`.
pub(super) fn id(record: &Record<'_>) -> String {
    let node: String = record.node.chars().filter(char::is_ascii_graphic).collect();
    format!("{node}:{}:{}", record.event.time, record.event.serial)
}

/// Id and text of what [`Message`] made.
pub(super) fn parts(payload: &[u8]) -> (&[u8], &[u8]) {
    let end = memchr::memchr(b'\n', payload).unwrap_or(payload.len());
    (&payload[..end], payload.get(end + 1..).unwrap_or_default())
}
