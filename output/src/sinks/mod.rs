//! Where records end up.

mod backoff;
mod file;
mod member;
mod nats;
pub(crate) mod network;
mod plugin;
mod spooled;
mod stdout;
mod syslog;
mod torn;

use std::sync::Arc;
use std::time::Instant;

use crate::config::OutputConfig;
use crate::counters::Meter;
use crate::error::OutputError;
use crate::fs::RealFs;
use crate::record::Record;

pub use file::{LogSegment, segments};

/// A destination. Its worker calls it, from one thread; it reports what got there, and its failed attempts, to its
/// [`Meter`].
///
/// It never sleeps. When its destination fails it keeps what it was given, and asks by [`Self::stalled_until`] for a
/// later [`Self::retry`]; until that succeeds nothing else is called but [`Self::close`].
pub(crate) trait Sink: Send {
    /// Takes a record that stands for `events` pushed events (1, or 0 for one that the pipeline made). What can never get
    /// there is given up by [`Meter::give_up`].
    fn write(&mut self, record: &Record<'_>, events: u64);

    /// Hands on all that was taken.
    fn flush(&mut self);

    /// When to call [`Self::flush`], at the latest.
    fn due(&self) -> Option<Instant>;

    /// Set while the destination takes nothing: when to try again.
    fn stalled_until(&self) -> Option<Instant>;

    /// Tries again.
    fn retry(&mut self);

    /// Its queue is full: events were lost.
    fn overflowed(&mut self) {}

    /// Whether an action of its configuration says that nothing is to be written until [`Self::resume`]. What it was given
    /// before, it keeps.
    fn suspended(&self) -> bool {
        false
    }

    /// Goes on: what was wrong is mended, or is found to be wrong once more.
    fn resume(&mut self) {}

    /// The end is near: no action is carried out any more, and what was suspended goes on.
    fn last_attempt(&mut self) {}

    /// Ends the current segment, where there are segments.
    fn rotate(&mut self) {}

    /// A segment that ended since this was last asked.
    fn rotated(&mut self) -> Option<Rotated> {
        None
    }

    /// Makes sure that what was written stays. Returns how many events were taken and never got there.
    fn close(&mut self) -> u64;
}

/// A segment that ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rotated {
    /// Its name now.
    pub(crate) segment: String,
    /// Its records.
    pub(crate) records: u64,
    /// Digest of its sidecar, if it has one: who knows it can tell whether the log up to there was changed.
    pub(crate) chain: Option<String>,
    /// Old segments that were removed.
    pub(crate) removed: usize,
}

/// A sink that was opened.
pub(crate) struct Opened {
    /// Its name in counters and warnings.
    pub(crate) name: String,
    pub(crate) meter: Arc<Meter>,
    pub(crate) sink: Box<dyn Sink>,
}

/// Opens the sinks that a table describes: one, but for plugins.
pub(crate) fn open(config: &OutputConfig, node: &str) -> Result<Vec<Opened>, OutputError> {
    let meter = Arc::new(Meter::default());
    let own_meter = Arc::clone(&meter);
    let sink: Box<dyn Sink> = match config {
        OutputConfig::File(file) => Box::new(file::FileSink::open(file, Box::new(RealFs(file.access)), meter)?),
        OutputConfig::Syslog(syslog) => syslog::open(syslog, node, meter)?,
        OutputConfig::Nats(nats) => nats::open(nats, &config.name(), meter)?,
        OutputConfig::Plugins(plugins) => return plugin::open(plugins),
        OutputConfig::Stdout(stdout) => Box::new(stdout::StdoutSink::open(stdout, meter)?),
    };
    Ok(vec![Opened { name: config.name(), meter: own_meter, sink }])
}
