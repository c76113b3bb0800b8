//! The log pipeline: [`Event`](event::Event) → [`Record`] → bytes → sinks.
//!
//! It knows nothing of BPF: whoever has events pushes them into a [`Pipeline`]. [`pipeline`] is the file to read first.
//!
//! | step | where |
//! |---|---|
//! | what happened, decoded and owned | [`event`] |
//! | an event with the names that belong to its numbers | [`Record`], [`Names`] |
//! | one record as one line | `format/` |
//! | bounded queue per sink, with its losses | `queue`, `worker`, [`counters`] |
//! | digests over the segments of a log | [`chain`] |
//! | where lines end up | `sinks/` |
//! | the queue on disk of network sinks | `spool/` |
//! | logs back into events | [`read`] |
//! | which of them are meant, as ausearch asks | [`search`] |
//! | what they add up to, as aureport tells | [`report`] |
//! | `[[output]]` tables | [`config`] |
#![forbid(unsafe_code)]

mod address;
pub mod bounds;
pub mod chain;
pub mod config;
pub mod counters;
mod error;
pub mod escape;
pub mod event;
mod format;
mod fs;
mod names;
mod parts;
pub mod pipeline;
mod queue;
pub mod read;
mod record;
pub mod report;
mod respond;
pub mod search;
mod serials;
mod sinks;
mod spelling;
#[cfg(not(fuzzing))]
mod spool;
#[cfg(fuzzing)]
pub mod spool;
mod worker;

pub use address::Address;
pub use config::OutputConfig;
pub use counters::{Cause, SinkCounters};
pub use error::OutputError;
pub use format::{Content, Format, NativeStyle, Node, SCHEMA_VERSION};
pub use names::Names;
pub use pipeline::Pipeline;
pub use record::{Record, UNSET};
pub use serials::Serials;
#[cfg(feature = "tls")]
pub use sinks::network::TlsError;
pub use sinks::{LogSegment, segments};

#[cfg(test)]
mod arbitrary;
#[cfg(test)]
mod samples;
