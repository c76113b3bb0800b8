//! One record as one line.

mod json;
#[cfg(test)]
mod json_tests;
mod text;

use serde::{Deserialize, Serialize};

use crate::record::Record;

/// Version of the JSON records, as in `docs/records.md`. It grows when a key changes its meaning or goes; new keys
/// come without notice.
pub const SCHEMA_VERSION: u32 = 1;

/// How records are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One JSON object per line.
    Json,
    /// One line for people.
    Text,
}

impl Format {
    /// Appends the record and a newline. The line itself contains none, nor anything that acts on a terminal.
    pub fn write_line(self, record: &Record<'_>, line: &mut Vec<u8>) {
        match self {
            Self::Json => json::write(record, line),
            Self::Text => text::write(record, line),
        }
        line.push(b'\n');
    }
}
