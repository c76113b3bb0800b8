//! The thread behind each sink: takes entries from its queue, hands them to the sink, tells the losses.
//!
//! A sink never sleeps: while its destination takes nothing, the worker leaves the queue alone (it fills, and then counts
//! losses) and comes back when the sink wants to try again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use crate::counters::{Cause, Meter};
use crate::event::{Body, DaemonEvent, Event, Loss, Word, now};
use crate::names::Names;
use crate::queue::{Entry, Queue, Taken};
use crate::record::{Record, UNSET};
use crate::serials::Serials;
use crate::sinks::{Rotated, Sink};

/// What all sinks of a pipeline share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) node: Arc<str>,
    pub(crate) names: Arc<dyn Names>,
    pub(crate) serials: Arc<Serials>,
}

/// See the module's documentation.
pub(crate) struct Worker {
    pub(crate) name: String,
    pub(crate) shared: Shared,
    pub(crate) queue: Arc<Queue>,
    pub(crate) meter: Arc<Meter>,
    pub(crate) sink: Box<dyn Sink>,
}

impl Worker {
    /// Runs until the queue is closed and what it held is written or its time is over.
    pub(crate) fn run(mut self) {
        let mut batch = VecDeque::new();
        while self.step(&mut batch) {}
        let abandoned =
            self.queue.discard() + batch.iter().filter(|entry| matches!(entry, Entry::Event { .. })).count() as u64;
        let undelivered = abandoned + self.sink.close();
        if undelivered != 0 {
            self.meter.lose(Cause::Shutdown, undelivered);
            tracing::warn!(output = self.name, lost = undelivered, "closed with records that could not be written");
        }
        self.queue.report_done();
    }

    /// Does the next thing; `false` when there is none left.
    fn step(&mut self, batch: &mut VecDeque<Entry>) -> bool {
        if self.queue.out_of_time() {
            return false;
        }
        if self.queue.take_overflow() {
            self.sink.overflowed();
        }
        if self.sink.suspended() {
            self.sit_out();
            return true;
        }
        if let Some(until) = self.sink.stalled_until() {
            self.queue.pause(until);
            // Also when closing cut the pause short: the destination may have come back.
            self.sink.retry();
            return true;
        }
        self.tell_losses();
        self.tell_rotation();
        if self.held_up() {
            return true;
        }
        if !batch.is_empty() {
            self.entry(batch);
            return true;
        }
        if self.sink.due().is_some_and(|due| due <= Instant::now()) {
            self.sink.flush();
            return true;
        }
        match self.queue.take(batch, self.sink.due()) {
            Taken::Entries | Taken::Due => {}
            Taken::Lost(count) => self.meter.report_later(Cause::QueueFull, count),
            Taken::Closed => return self.finish(),
        }
        true
    }

    /// Until SIGUSR2, or the end.
    fn sit_out(&mut self) {
        self.queue.suspend();
        if self.queue.wait_resumed() {
            self.sink.resume();
        } else {
            self.sink.last_attempt();
        }
    }

    /// Whether the sink takes nothing at the moment.
    fn held_up(&self) -> bool {
        self.sink.stalled_until().is_some() || self.sink.suspended()
    }

    /// Handles the first entry. It leaves the batch only when it is done with: a stall in the middle comes back to it.
    fn entry(&mut self, batch: &mut VecDeque<Entry>) {
        match batch.front_mut() {
            Some(Entry::Event { lost_before, .. }) if *lost_before != 0 => {
                // The next step tells it, before this event.
                self.meter.report_later(Cause::QueueFull, std::mem::take(lost_before));
                return;
            }
            Some(Entry::Flush(ticket)) => {
                let ticket = *ticket;
                self.sink.flush();
                if self.held_up() {
                    return;
                }
                self.queue.report_flushed(ticket);
            }
            Some(Entry::Rotate) => {
                self.sink.rotate();
                if self.held_up() {
                    return;
                }
            }
            Some(Entry::Resumed { lost }) => {
                self.meter.report_later(Cause::Suspended, *lost);
                self.sink.resume();
            }
            Some(Entry::Event { event, .. }) => {
                let event = Arc::clone(event);
                self.write(&event);
            }
            None => {}
        }
        batch.pop_front();
    }

    fn write(&mut self, event: &Event) {
        let record = Record { event, node: &self.shared.node, names: &*self.shared.names };
        self.sink.write(&record, 1);
    }

    /// Puts losses into the stream, as a record that stands for no pushed event.
    fn tell_losses(&mut self) {
        let losses: Vec<Loss> =
            self.meter.take_unreported().map(|(cause, count)| Loss { cause: cause.name().into(), count }).collect();
        if losses.is_empty() {
            return;
        }
        tracing::warn!(output = self.name, ?losses, "events lost");
        let event = Event { time: now(), serial: self.shared.serials.next(), body: Body::Lost(losses) };
        let record = Record { event: &event, node: &self.shared.node, names: &*self.shared.names };
        self.sink.write(&record, 0);
    }

    /// Says in the new segment that the one before it ended.
    fn tell_rotation(&mut self) {
        let Some(Rotated { segment, records, chain, removed }) = self.sink.rotated() else { return };
        tracing::info!(output = self.name, segment, records, removed, "the log was rotated");
        let mut details: Vec<(Word, String)> =
            vec![("segment".into(), segment), ("records".into(), records.to_string())];
        details.extend(chain.map(|digest| ("chain".into(), digest)));
        details.push(("removed".into(), removed.to_string()));
        let body = Body::Daemon(DaemonEvent {
            record_type: "DAEMON_ROTATE".into(),
            op: "rotate-logs".into(),
            auid: UNSET,
            pid: std::process::id(),
            uid: nix::unistd::getuid().as_raw(),
            session: UNSET,
            success: true,
            details,
        });
        let event = Event { time: now(), serial: self.shared.serials.next(), body };
        let record = Record { event: &event, node: &self.shared.node, names: &*self.shared.names };
        self.sink.write(&record, 0);
    }

    /// After the last entry: `true` while the sink still has to be waited for.
    fn finish(&mut self) -> bool {
        self.sink.flush();
        self.held_up()
    }
}
