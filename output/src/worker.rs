//! The thread behind each sink: takes entries from its queue, hands them to the sink, tells the losses.
//!
//! A sink never sleeps: while its destination takes nothing, the worker leaves the queue alone (it fills, and then counts
//! losses) and comes back when the sink wants to try again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use crate::counters::{Cause, Meter};
use crate::error::OutputError;
use crate::event::{Body, DaemonEvent, Event, Loss, Word, now};
use crate::names::Names;
use crate::queue::{Entry, Queue, Taken};
use crate::record::{Record, UNSET};
use crate::serials::Serials;
use crate::sinks::backoff::Backoff;
use crate::sinks::{Blueprint, Rotated, Sink};

/// What all sinks of a pipeline share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) names: Arc<dyn Names>,
    pub(crate) serials: Arc<Serials>,
}

/// See the module's documentation.
pub(crate) struct Worker {
    seat: Seat,
    sink: Box<dyn Sink>,
    /// What is to tell of a rotation that was asked for.
    rotation: Option<DaemonEvent>,
}

/// What a worker has before it has its sink.
pub(crate) struct Seat {
    name: String,
    /// The name of this machine in its records.
    node: Arc<str>,
    shared: Shared,
    queue: Arc<Queue>,
    meter: Arc<Meter>,
    /// Its number on the queue.
    number: u64,
}

impl Seat {
    pub(crate) fn new(
        blueprint: &Blueprint,
        shared: &Shared,
        queue: &Arc<Queue>,
        meter: &Arc<Meter>,
        number: u64,
    ) -> Self {
        Self {
            name: blueprint.name.clone(),
            node: Arc::clone(&blueprint.node),
            shared: shared.clone(),
            queue: Arc::clone(queue),
            meter: Arc::clone(meter),
            number,
        }
    }

    /// Without a worker: what waits is left to the next.
    pub(crate) fn leave(self) {
        self.queue.report_done(self.number);
    }

    /// Opens the sink first, however often it has to be tried, and then runs.
    pub(crate) fn open_and_run(self, open: impl Fn() -> Result<Option<Box<dyn Sink>>, OutputError>) {
        let mut backoff = Backoff::default();
        loop {
            match open() {
                Ok(Some(sink)) => {
                    tracing::info!(output = self.name, "opened again");
                    self.meter.set_stalled(false);
                    return Worker::new(self, sink).run();
                }
                Ok(None) => {}
                Err(error) => tracing::error!(output = self.name, %error, "cannot be opened again"),
            }
            self.meter.failed();
            self.meter.set_stalled(true);
            backoff.failed();
            self.queue.pause(self.number, backoff.until().unwrap_or_else(Instant::now));
            if self.queue.is_released(self.number) {
                return self.leave();
            }
            if self.queue.out_of_time() {
                self.meter.lose(Cause::Shutdown, self.queue.discard());
                return self.leave();
            }
        }
    }
}

impl Worker {
    pub(crate) fn new(seat: Seat, sink: Box<dyn Sink>) -> Self {
        Self { seat, sink, rotation: None }
    }

    /// Runs until the queue is closed and what it held is written or its time is over, or until another is to go on.
    pub(crate) fn run(mut self) {
        let mut batch = VecDeque::new();
        while self.step(&mut batch) {}
        if self.seat.queue.is_released(self.seat.number) {
            self.hand_over(batch);
        } else {
            self.end(&batch);
        }
        self.seat.queue.report_done(self.seat.number);
    }

    fn end(&mut self, batch: &VecDeque<Entry>) {
        let abandoned = self.seat.queue.discard()
            + batch.iter().filter(|entry| matches!(entry, Entry::Event { .. })).count() as u64;
        let undelivered = abandoned + self.sink.close();
        if undelivered != 0 {
            self.seat.meter.lose(Cause::Shutdown, undelivered);
            tracing::warn!(
                output = self.seat.name,
                lost = undelivered,
                "closed with records that could not be written"
            );
        }
    }

    /// What was taken and not written is for the worker that comes; what the sink has and cannot write is lost.
    fn hand_over(&mut self, mut batch: VecDeque<Entry>) {
        self.seat.queue.give_back(&mut batch);
        self.sink.last_attempt();
        match self.sink.stalled_until() {
            Some(_) => self.sink.retry(),
            None => self.sink.flush(),
        }
        let undelivered = self.sink.let_go();
        if undelivered != 0 {
            self.seat.meter.give_up(Cause::Shutdown, undelivered);
            tracing::warn!(
                output = self.seat.name,
                lost = undelivered,
                "replaced with records that could not be written"
            );
        }
    }

    /// Does the next thing; `false` when there is none left.
    fn step(&mut self, batch: &mut VecDeque<Entry>) -> bool {
        if self.seat.queue.out_of_time() || self.seat.queue.is_released(self.seat.number) {
            return false;
        }
        if self.seat.queue.take_overflow() {
            self.sink.overflowed();
        }
        if self.sink.suspended() {
            self.sit_out();
            return true;
        }
        if let Some(until) = self.sink.stalled_until() {
            self.seat.queue.pause(self.seat.number, until);
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
        match self.seat.queue.take(self.seat.number, batch, self.sink.due()) {
            Taken::Entries | Taken::Due => {}
            Taken::Lost(count) => self.seat.meter.report_later(Cause::QueueFull, count),
            Taken::Closed => return self.finish(),
            Taken::Released => return false,
        }
        true
    }

    /// Until SIGUSR2, or the end.
    fn sit_out(&mut self) {
        self.seat.queue.suspend();
        if self.seat.queue.wait_resumed(self.seat.number) {
            if !self.seat.queue.is_released(self.seat.number) {
                self.sink.resume();
            }
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
                self.seat.meter.report_later(Cause::QueueFull, std::mem::take(lost_before));
                return;
            }
            Some(Entry::Flush(ticket)) => {
                let ticket = *ticket;
                self.sink.flush();
                if self.held_up() {
                    return;
                }
                self.seat.queue.report_flushed(ticket);
            }
            Some(Entry::Rotate(record)) => {
                self.rotation = Some(record.clone());
                self.sink.rotate();
                if self.held_up() {
                    return;
                }
                self.tell_rotation();
                self.rotation = None;
            }
            Some(Entry::Resumed { lost }) => {
                self.seat.meter.report_later(Cause::Suspended, *lost);
                self.sink.resume();
            }
            Some(Entry::Reread) => self.sink.reread(),
            Some(Entry::Event { event, .. }) => {
                let event = Arc::clone(event);
                self.write(&event, 1);
            }
            None => {}
        }
        batch.pop_front();
    }

    /// `pushed`: how many pushed events it stands for.
    fn write(&mut self, event: &Event, pushed: u64) {
        let record = Record { event, node: &self.seat.node, names: &*self.seat.shared.names };
        self.sink.write(&record, pushed);
    }

    /// Puts a record of our own into the stream, which stands for no pushed event.
    fn tell(&mut self, body: Body) {
        let event = Event { time: now(), serial: self.seat.shared.serials.next(), body };
        self.write(&event, 0);
    }

    /// Puts losses into the stream.
    fn tell_losses(&mut self) {
        let losses: Vec<Loss> = self
            .seat
            .meter
            .take_unreported()
            .map(|(cause, count)| Loss { cause: cause.name().into(), count })
            .collect();
        if losses.is_empty() {
            return;
        }
        tracing::warn!(output = self.seat.name, ?losses, "events lost");
        self.tell(Body::Lost(losses));
    }

    /// Says in the new segment that the one before it ended.
    fn tell_rotation(&mut self) {
        let Some(Rotated { segment, records, chain, removed }) = self.sink.rotated() else { return };
        tracing::info!(output = self.seat.name, segment, records, removed, "the log was rotated");
        let mut details: Vec<(Word, String)> =
            vec![("segment".into(), segment), ("records".into(), records.to_string())];
        details.extend(chain.map(|digest| ("chain".into(), digest)));
        details.push(("removed".into(), removed.to_string()));
        let mut daemon = self.rotation.take().unwrap_or_else(own_rotation);
        // Who asked is named before what the file adds.
        daemon.details.extend(details);
        self.tell(Body::Daemon(daemon));
    }

    /// After the last entry: `true` while the sink still has to be waited for.
    fn finish(&mut self) -> bool {
        self.sink.flush();
        self.held_up()
    }
}

/// A rotation that nobody asked for.
fn own_rotation() -> DaemonEvent {
    DaemonEvent {
        record_type: "DAEMON_ROTATE".into(),
        op: "rotate-logs".into(),
        auid: UNSET,
        pid: std::process::id(),
        uid: nix::unistd::getuid().as_raw(),
        session: UNSET,
        success: true,
        details: Vec::new(),
    }
}
