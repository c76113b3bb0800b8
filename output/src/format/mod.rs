//! One record as one line.

mod cef;
mod classify;
mod ecs;
mod json;
#[cfg(test)]
mod json_tests;
mod json_writer;
pub(crate) mod native;
mod ocsf;
mod siem;
#[cfg(test)]
mod siem_tests;
mod text;

use crate::record::Record;

pub use native::{Content, NativeStyle, Node};

/// Version of the JSON records, as in `docs/records.md`. It grows when a key changes its meaning or goes; new keys
/// come without notice.
pub const SCHEMA_VERSION: u32 = 1;

/// How records are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// One JSON object per line.
    Json,
    /// One line for people.
    Text,
    /// Elastic Common Schema, one JSON object per line.
    Ecs,
    /// Open Cybersecurity Schema Framework, one JSON object per line.
    Ocsf,
    /// Common Event Format, for legacy collectors.
    Cef,
    /// Records as auditd writes them, several lines per event.
    Native(NativeStyle),
}

impl Format {
    /// As in the configuration; of native records, auditd's `log_format`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Text => "text",
            Self::Ecs => "ecs",
            Self::Ocsf => "ocsf",
            Self::Cef => "cef",
            Self::Native(NativeStyle { content: Content::Enriched, .. }) => "enriched",
            Self::Native(NativeStyle { content: Content::Raw, .. }) => "raw",
        }
    }

    /// Appends the record, each of its lines with a newline; only `native` has more than one. The lines contain nothing that
    /// acts on a terminal, except for labels and messages of others in `native`, which are auditd's own as they are.
    pub fn write_lines(self, record: &Record<'_>, lines: &mut Vec<u8>) {
        match self {
            Self::Json => json::write(record, lines),
            Self::Text => text::write(record, lines),
            Self::Ecs => json::write_value(&ecs::value(record), lines),
            Self::Ocsf => json::write_value(&ocsf::value(record), lines),
            Self::Cef => cef::write(record, lines),
            Self::Native(style) => return native::write(record, style, lines),
        }
        lines.push(b'\n');
    }
}
