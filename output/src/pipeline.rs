//! READ FIRST: the way of an event to the sinks.
//!
//! [`Pipeline::push`] puts the event into one bounded queue per sink (`queue`). Behind each queue a thread (`worker`) makes
//! a [`Record`](crate::Record) of it, lets the sink write that in its format, and tells in the stream what was lost. So no
//! sink waits for another, and nobody who pushes waits for any.
//!
//! [`Pipeline::reconfigure`] replaces what the configuration changes of, while it runs; the queues stay.
//!
//! Shutdown goes the same way: [`Pipeline::close`] closes the queues, the workers write what waits, flush and sync, and
//! whatever could not be written within the given patience is counted as lost.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::config::OutputConfig;
use crate::counters::{Cause, Meter, SinkCounters};
use crate::error::OutputError;
use crate::event::{DaemonEvent, Event};
use crate::names::Names;
use crate::queue::{self, Queue};
use crate::serials::Serials;
use crate::sinks::{Blueprint, Sink, blueprints};
use crate::worker::{Seat, Shared, Worker};

mod reconfigure;

pub use reconfigure::Reconfigured;

/// Time beyond the patience of [`Pipeline::close`] that a thread gets to notice that its time is over.
const GRACE: Duration = Duration::from_millis(500);

/// The running sinks.
pub struct Pipeline {
    shared: Shared,
    lanes: Vec<Lane>,
}

/// One sink as the pipeline sees it.
struct Lane {
    blueprint: Blueprint,
    queue: Arc<Queue>,
    meter: Arc<Meter>,
    thread: JoinHandle<()>,
}

impl Pipeline {
    /// Opens every output and starts its thread. A file that cannot be opened is an error; a syslog server that does not
    /// answer yet is a warning, and is tried again.
    ///
    /// `node` is the name of this machine in the records.
    pub fn start(configs: &[OutputConfig], node: &str, names: Arc<dyn Names>) -> Result<Self, OutputError> {
        let mut pipeline = Self { shared: Shared { names, serials: Arc::default() }, lanes: Vec::new() };
        // All sinks open before any thread starts: a start that fails leaves nothing running.
        let opened = open_all(blueprints(configs, node)?)?;
        for opened in opened {
            pipeline.lanes.push(Lane::start(opened, &pipeline.shared)?);
        }
        Ok(pipeline)
    }

    /// The serials of this run. Whoever makes events takes their numbers here, as sinks do for the losses they record.
    pub fn serials(&self) -> Arc<Serials> {
        Arc::clone(&self.shared.serials)
    }

    /// Hands an event to every sink. Never waits for a sink: where a queue is full the event is lost to that sink, is
    /// counted, and a `LOST` record follows in its stream. Costs a short lock per sink, for the copy of a pointer.
    #[expect(clippy::needless_pass_by_value, reason = "the caller is done with the event")]
    pub fn push(&self, event: Arc<Event>) {
        let size = queue::size(&event);
        for lane in &self.lanes {
            let config = &lane.blueprint.config;
            if config.filter().admits(&event, &config.severities()) {
                lane.queue.push(&event, size);
            } else {
                lane.meter.filtered();
            }
        }
    }

    /// Whether the logs on this machine take what is pushed next: the files or, where there are none, all sinks.
    #[must_use]
    pub fn has_room(&self) -> bool {
        let is_file = |lane: &&Lane| matches!(lane.blueprint.config, OutputConfig::File(_));
        let has_files = self.lanes.iter().any(|lane| is_file(&lane));
        let mut lanes = self.lanes.iter().filter(|lane| !has_files || is_file(lane));
        lanes.all(|lane| lane.queue.has_room())
    }

    /// Waits until every sink has written all that was pushed before, network sinks into their spools, or `patience` is over;
    /// then it names the sinks that have not.
    pub fn flush(&self, patience: Duration) -> Result<(), FlushError> {
        let deadline = Instant::now() + patience;
        let tickets: Vec<u64> = self.lanes.iter().map(|lane| lane.queue.request_flush()).collect();
        let late = self.lanes.iter().zip(tickets).filter(|(lane, ticket)| !lane.queue.wait_flushed(*ticket, deadline));
        let sinks: Vec<String> = late.map(|(lane, _)| lane.name().to_owned()).collect();
        if sinks.is_empty() { Ok(()) } else { Err(FlushError { sinks }) }
    }

    /// Ends the current segment of every file, after what was pushed before: SIGUSR1. `record` tells of it, with what each
    /// file adds.
    pub fn rotate(&self, record: &DaemonEvent) {
        for lane in &self.lanes {
            lane.queue.request_rotation(record.clone());
        }
    }

    /// What an action of the configuration suspended goes on, and every such action is to be carried out anew: SIGUSR2.
    pub fn resume(&self) {
        for lane in &self.lanes {
            lane.queue.resume();
        }
    }

    /// The counters of every sink, in the order of the configuration.
    pub fn counters(&self) -> Vec<SinkCounters> {
        self.lanes.iter().map(|lane| lane.meter.snapshot(lane.name())).collect()
    }

    /// Writes what waits, flushes, syncs and ends the threads, in little more than `patience`. What could not be written
    /// by then is counted as lost: afterwards pushed = written + lost + spooled for every sink.
    pub fn close(self, patience: Duration) -> Vec<SinkCounters> {
        let deadline = Instant::now() + patience;
        for lane in &self.lanes {
            lane.queue.close(deadline);
        }
        self.lanes.into_iter().map(|lane| lane.join(deadline + GRACE)).collect()
    }
}

/// A sink that was opened.
struct Opened {
    blueprint: Blueprint,
    meter: Arc<Meter>,
    sink: Box<dyn Sink>,
}

/// Opens sinks; if one fails, those before it are closed again. Plugins that cannot be started are left out.
fn open_all(blueprints: Vec<Blueprint>) -> Result<Vec<Opened>, OutputError> {
    let mut all: Vec<Opened> = Vec::new();
    for blueprint in blueprints {
        let meter = Arc::default();
        match blueprint.open(&meter) {
            Ok(Some(sink)) => all.push(Opened { blueprint, meter, sink }),
            Ok(None) => {}
            Err(error) => {
                close_unused(all);
                return Err(error);
            }
        }
    }
    Ok(all)
}

/// They were given nothing that could be lost.
fn close_unused(opened: Vec<Opened>) {
    for mut opened in opened {
        opened.sink.let_go();
    }
}

impl Lane {
    fn start(Opened { blueprint, meter, sink }: Opened, shared: &Shared) -> Result<Self, OutputError> {
        let queue = Arc::new(Queue::new(blueprint.config.limits(), Arc::clone(&meter)));
        let seat = Seat::new(&blueprint, shared, &queue, &meter, queue::FIRST_WORKER);
        let thread = spawn(&blueprint.name, move || Worker::new(seat, sink).run())?;
        Ok(Self { blueprint, queue, meter, thread })
    }

    fn name(&self) -> &str {
        &self.blueprint.name
    }

    fn join(self, deadline: Instant) -> SinkCounters {
        if self.queue.wait_done(deadline) {
            if self.thread.join().is_err() {
                tracing::error!(output = self.blueprint.name, "the thread of this output panicked");
            }
            return self.meter.snapshot(&self.blueprint.name);
        }
        // The thread hangs in a system call (a dead network file system, a pipe that nobody reads), or panicked. It is
        // left behind.
        self.queue.discard();
        let counters = self.meter.snapshot(self.name());
        let lost = counters.pending().saturating_sub(counters.spooled);
        self.meter.lose(Cause::Shutdown, lost);
        tracing::error!(output = self.name(), lost, "this output does not end and was left behind");
        self.meter.snapshot(self.name())
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, OutputError> {
    let thread = std::thread::Builder::new().name("output".to_owned()).spawn(work);
    thread.map_err(|source| OutputError::Thread { sink: name.to_owned(), source })
}

/// Sinks that did not flush in time. They go on trying.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not flushed in time: {}", sinks.join(", "))]
pub struct FlushError {
    /// Their names.
    pub sinks: Vec<String>,
}

#[cfg(test)]
#[path = "pipeline_tests.rs"]
mod tests;
