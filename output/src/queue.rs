//! The bounded queue in front of each sink.
//!
//! Pushing takes a lock for a few instructions and never waits for the sink. What does not fit is lost, counted, and the
//! next event that fits carries the number, so that the stream tells the loss where it happened.
//!
//! A queue outlives its worker where an output is changed while it runs: what waits in it is the next one's.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::config::QueueLimits;
use crate::counters::{Cause, Meter};
use crate::event::{Body, Bytes, DaemonEvent, Event, Message, Part, PathItem, SyscallEvent, Target};

/// Number of a queue's first worker.
pub(crate) const FIRST_WORKER: u64 = 1;
/// How many entries the worker takes at once: enough to make the lock cheap, and few beside the queue itself.
const BATCH: usize = 128;

/// What stands in the queue.
#[derive(Debug)]
pub(crate) enum Entry {
    /// An event, and how many were lost between it and the one before.
    Event { event: Arc<Event>, size: usize, lost_before: u64 },
    /// Flush what precedes, then report this ticket.
    Flush(u64),
    /// End the segment; the record that is to tell of it.
    Rotate(DaemonEvent),
    /// What was suspended goes on. So many events were lost meanwhile.
    Resumed { lost: u64 },
    /// The configuration was read anew, and this output is as it was.
    Reread,
}

/// Why [`Queue::take`] returned.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// There are entries in the batch.
    Entries,
    /// Nothing came until the time given.
    Due,
    /// Nothing more waits, but this many were lost after the last entry.
    Lost(u64),
    /// The queue is closed and empty.
    Closed,
    /// Another worker is to go on.
    Released,
}

#[derive(Debug, Default)]
struct State {
    limits: QueueLimits,
    entries: VecDeque<Entry>,
    events: usize,
    bytes: usize,
    /// Lost since the last event that fitted.
    unreported: u64,
    /// The worker sleeps and wants to be woken.
    waiting: bool,
    last_ticket: u64,
    flushed: u64,
    /// Until when what waits may still be written, once closed.
    closed: Option<Instant>,
    /// The worker whose turn it is: those before leave the rest to it. And the last one that ended.
    worker: u64,
    done: u64,
    /// While nothing is taken: how many events that cost so far.
    suspended: Option<u64>,
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Queue {
    meter: Arc<Meter>,
    state: Mutex<State>,
    to_worker: Condvar,
    to_owner: Condvar,
    /// An event found no room since this was last asked.
    overflowed: AtomicBool,
}

impl Queue {
    pub(crate) fn new(limits: QueueLimits, meter: Arc<Meter>) -> Self {
        Self {
            meter,
            state: Mutex::new(State { limits, worker: FIRST_WORKER, ..State::default() }),
            to_worker: Condvar::new(),
            to_owner: Condvar::new(),
            overflowed: AtomicBool::new(false),
        }
    }

    /// No code panics while it holds the lock, and the state is consistent after every statement.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an event, or counts it as lost.
    pub(crate) fn push(&self, event: &Arc<Event>, size: usize) {
        let mut state = self.state();
        self.meter.pushed();
        if state.closed.is_some() {
            self.meter.lose(Cause::Shutdown, 1);
            return;
        }
        if let Some(lost) = &mut state.suspended {
            *lost += 1;
            self.meter.lose(Cause::Suspended, 1);
            return;
        }
        let fits =
            state.events < state.limits.events.get() && state.bytes.saturating_add(size) <= state.limits.bytes.get();
        // One event larger than the whole queue passes alone.
        if !fits && state.events != 0 {
            self.meter.lose(Cause::QueueFull, 1);
            self.overflowed.store(true, Relaxed);
            state.unreported += 1;
            return;
        }
        let lost_before = std::mem::take(&mut state.unreported);
        state.entries.push_back(Entry::Event { event: Arc::clone(event), size, lost_before });
        state.events += 1;
        state.bytes += size;
        self.wake_worker(state);
    }

    /// Whether an event would fit: with a quarter to spare, as it is not known how large it is.
    pub(crate) fn has_room(&self) -> bool {
        let state = self.state();
        let (most_events, most_bytes) = (state.limits.events.get() / 4 * 3, state.limits.bytes.get() / 4 * 3);
        let fits = state.events <= most_events && state.bytes <= most_bytes;
        state.suspended.is_none() && (fits || state.events == 0)
    }

    fn wake_worker(&self, mut state: MutexGuard<'_, State>) {
        if std::mem::take(&mut state.waiting) {
            drop(state);
            self.to_worker.notify_one();
        }
    }

    /// Asks for a flush of all that was pushed before; [`Self::wait_flushed`] waits for it.
    pub(crate) fn request_flush(&self) -> u64 {
        let mut state = self.state();
        state.last_ticket += 1;
        let ticket = state.last_ticket;
        state.entries.push_back(Entry::Flush(ticket));
        self.wake_worker(state);
        ticket
    }

    /// Asks for the end of the segment, after what was pushed before.
    pub(crate) fn request_rotation(&self, record: DaemonEvent) {
        let mut state = self.state();
        state.entries.push_back(Entry::Rotate(record));
        self.wake_worker(state);
    }

    /// Tells the sink that the configuration was read anew.
    pub(crate) fn report_reread(&self) {
        let mut state = self.state();
        state.entries.push_back(Entry::Reread);
        self.wake_worker(state);
    }

    /// Takes no more until [`Self::resume`]. What is in it stays.
    pub(crate) fn suspend(&self) {
        let mut state = self.state();
        if state.closed.is_none() && state.suspended.is_none() {
            state.suspended = Some(0);
            self.meter.set_suspended(true);
        }
    }

    /// Takes events again: the worker learns of it behind those that came before.
    pub(crate) fn resume(&self) {
        let mut state = self.state();
        self.end_suspension(&mut state);
        drop(state);
        self.to_worker.notify_one();
    }

    fn end_suspension(&self, state: &mut State) {
        let lost = state.suspended.take().unwrap_or(0);
        self.meter.set_suspended(false);
        state.entries.push_back(Entry::Resumed { lost });
    }

    /// Whether an event found no room since this was last asked.
    pub(crate) fn take_overflow(&self) -> bool {
        // Asked for every record: a load is cheaper than a swap.
        self.overflowed.load(Relaxed) && self.overflowed.swap(false, Relaxed)
    }

    /// Waits for the end of a suspension. Returns whether the queue is still open then.
    pub(crate) fn wait_resumed(&self, worker: u64) -> bool {
        let state = self.to_worker.wait_while(self.state(), |state| {
            state.suspended.is_some() && state.closed.is_none() && state.worker == worker
        });
        state.unwrap_or_else(PoisonError::into_inner).closed.is_none()
    }

    /// Has the worker leave the rest to another, and waits until `deadline` for it to end. Returns whether it did.
    pub(crate) fn release(&self, deadline: Instant) -> bool {
        let mut state = self.state();
        let worker = state.worker;
        state.worker += 1;
        drop(state);
        self.to_worker.notify_one();
        self.wait_owner(deadline, |state| state.done >= worker)
    }

    /// Whether this worker is to leave the rest to another.
    pub(crate) fn is_released(&self, worker: u64) -> bool {
        self.state().worker != worker
    }

    /// What a worker that was released had taken and not handled.
    pub(crate) fn give_back(&self, batch: &mut VecDeque<Entry>) {
        let mut state = self.state();
        for entry in batch.drain(..).rev() {
            if let Entry::Event { size, .. } = &entry {
                state.events += 1;
                state.bytes += size;
            }
            state.entries.push_front(entry);
        }
    }

    /// After [`Self::release`]: another worker, which begins afresh. Returns its number.
    pub(crate) fn take_over(&self, limits: QueueLimits) -> u64 {
        let mut state = self.state();
        state.limits = limits;
        if state.suspended.is_some() {
            self.end_suspension(&mut state);
        }
        self.meter.set_stalled(false);
        state.worker
    }

    /// Whether the flush happened before `deadline`.
    pub(crate) fn wait_flushed(&self, ticket: u64, deadline: Instant) -> bool {
        self.wait_owner(deadline, |state| state.flushed >= ticket)
    }

    /// Takes no more events; what waits may be written until `deadline`.
    pub(crate) fn close(&self, deadline: Instant) {
        let mut state = self.state();
        state.closed = Some(deadline);
        if state.suspended.is_some() {
            self.end_suspension(&mut state);
        }
        drop(state);
        self.to_worker.notify_one();
    }

    /// Whether the worker finished before `deadline`.
    pub(crate) fn wait_done(&self, deadline: Instant) -> bool {
        self.wait_owner(deadline, |state| state.done >= state.worker)
    }

    fn wait_owner(&self, deadline: Instant, met: impl Fn(&State) -> bool) -> bool {
        let patience = deadline.saturating_duration_since(Instant::now());
        let waited = self.to_owner.wait_timeout_while(self.state(), patience, |state| !met(state));
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        met(&state)
    }

    /// Moves entries into `batch`, waiting until there is something to do, or `until`.
    pub(crate) fn take(&self, worker: u64, batch: &mut VecDeque<Entry>, until: Option<Instant>) -> Taken {
        let mut state = self.state();
        loop {
            if state.worker != worker {
                return Taken::Released;
            }
            if !state.entries.is_empty() {
                state.move_to(batch);
                return Taken::Entries;
            }
            if state.unreported != 0 {
                return Taken::Lost(std::mem::take(&mut state.unreported));
            }
            if state.closed.is_some() {
                return Taken::Closed;
            }
            if until.is_some_and(|until| until <= Instant::now()) {
                return Taken::Due;
            }
            state = self.sleep(state, until);
        }
    }

    fn sleep<'a>(&'a self, mut state: MutexGuard<'a, State>, until: Option<Instant>) -> MutexGuard<'a, State> {
        /// Bounds a sleep without an end; waking up once an hour costs nothing.
        const LONG: Duration = Duration::from_secs(3600);
        let patience = until.map_or(LONG, |until| until.saturating_duration_since(Instant::now()));
        state.waiting = true;
        let woken = self.to_worker.wait_timeout(state, patience);
        let (mut state, _) = woken.unwrap_or_else(PoisonError::into_inner);
        state.waiting = false;
        state
    }

    /// Sleeps until `until`, or the end of what closing allows.
    pub(crate) fn pause(&self, worker: u64, until: Instant) {
        let mut state = self.state();
        while state.worker == worker && Instant::now() < until.min(state.closed.unwrap_or(until)) {
            let end = until.min(state.closed.unwrap_or(until));
            let patience = end.saturating_duration_since(Instant::now());
            // Pushing does not wake a worker that cannot write: `waiting` stays unset. Closing does.
            state = self.to_worker.wait_timeout(state, patience).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Whether the queue was closed and its time is over.
    pub(crate) fn out_of_time(&self) -> bool {
        self.state().closed.is_some_and(|deadline| deadline <= Instant::now())
    }

    pub(crate) fn report_flushed(&self, ticket: u64) {
        self.state().flushed = ticket;
        self.to_owner.notify_all();
    }

    /// That worker ended.
    pub(crate) fn report_done(&self, worker: u64) {
        let mut state = self.state();
        state.done = state.done.max(worker);
        drop(state);
        self.to_owner.notify_all();
    }

    /// Empties the queue; returns how many events that were.
    pub(crate) fn discard(&self) -> u64 {
        let mut state = self.state();
        let discarded = state.events as u64;
        state.entries.clear();
        state.events = 0;
        state.bytes = 0;
        discarded
    }
}

impl State {
    fn move_to(&mut self, batch: &mut VecDeque<Entry>) {
        let count = self.entries.len().min(BATCH);
        for entry in self.entries.drain(..count) {
            if let Entry::Event { size, .. } = &entry {
                self.events -= 1;
                self.bytes -= size;
            }
            batch.push_back(entry);
        }
    }
}

/// Memory that an event takes, roughly.
pub(crate) fn size(event: &Event) -> usize {
    let own = match &event.body {
        Body::Syscall(call) => {
            let argv = call.argv.iter().flatten().map(|argument| argument.len() + size_of::<Bytes>()).sum::<usize>();
            let name = |item: &PathItem| item.path.as_ref().map_or(0, Vec::len);
            let paths = call.paths.iter().map(|item| name(item) + size_of::<PathItem>()).sum::<usize>();
            let names = [&call.exe, &call.cwd, &call.sockaddr, &call.proctitle];
            let names = names.into_iter().flatten().map(Vec::len).sum::<usize>();
            let parts = call.targets.len() * size_of::<Target>() + call.parts.len() * size_of::<Part>();
            size_of::<SyscallEvent>() + argv + paths + names + parts + messages(&call.messages)
        }
        Body::Messages(all) => messages(all),
        Body::Lost(_) | Body::Daemon(_) => 0,
    };
    size_of::<Event>() + own
}

fn messages(messages: &[Message]) -> usize {
    messages.iter().map(|message| message.text.len() + size_of::<Message>()).sum()
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use proptest::prelude::*;

    use super::*;
    use crate::samples;

    const SOON: Duration = Duration::from_millis(1);

    fn queue(events: usize, bytes: usize) -> (Queue, Arc<Meter>) {
        let meter = Arc::new(Meter::default());
        let limits =
            QueueLimits { events: NonZeroUsize::new(events).unwrap(), bytes: NonZeroUsize::new(bytes).unwrap() };
        (Queue::new(limits, Arc::clone(&meter)), meter)
    }

    fn take(queue: &Queue) -> (Taken, Vec<u64>) {
        let mut batch = VecDeque::new();
        let taken = queue.take(FIRST_WORKER, &mut batch, Some(Instant::now()));
        let losses = batch.iter().map(|entry| match entry {
            Entry::Event { lost_before, .. } => *lost_before,
            Entry::Flush(_) | Entry::Rotate(_) | Entry::Resumed { .. } | Entry::Reread => 0,
        });
        (taken, losses.collect())
    }

    #[test]
    fn a_loss_is_told_where_it_happened() {
        let (queue, meter) = queue(2, 1000);
        let event = Arc::new(samples::event(samples::lost()));
        for _ in 0..5 {
            queue.push(&event, 10);
        }
        assert_eq!(take(&queue), (Taken::Entries, vec![0, 0]));
        queue.push(&event, 10);
        assert_eq!(take(&queue), (Taken::Entries, vec![3]));
        let counters = meter.snapshot("");
        assert_eq!((counters.pushed, counters.lost_total()), (6, 3));
    }

    #[test]
    fn a_loss_after_the_last_event_is_told_too() {
        let (queue, _) = queue(1, 1000);
        let event = Arc::new(samples::event(samples::lost()));
        queue.push(&event, 10);
        queue.push(&event, 10);
        assert_eq!(take(&queue), (Taken::Entries, vec![0]));
        assert_eq!(take(&queue), (Taken::Lost(1), vec![]));
        assert_eq!(take(&queue), (Taken::Due, vec![]));
    }

    #[test]
    fn memory_is_bounded_but_a_giant_passes_alone() {
        let (queue, meter) = queue(100, 25);
        let event = Arc::new(samples::event(samples::lost()));
        queue.push(&event, 10);
        queue.push(&event, 10);
        queue.push(&event, 10);
        assert_eq!(meter.snapshot("").lost_total(), 1);
        take(&queue);
        take(&queue);
        queue.push(&event, 1000);
        assert_eq!(take(&queue), (Taken::Entries, vec![0]));
    }

    #[test]
    fn a_closed_queue_takes_nothing_and_says_so() {
        let (queue, meter) = queue(10, 1000);
        let event = Arc::new(samples::event(samples::lost()));
        queue.push(&event, 10);
        queue.close(Instant::now() + SOON);
        queue.push(&event, 10);
        assert_eq!(take(&queue).0, Taken::Entries);
        assert_eq!(take(&queue).0, Taken::Closed);
        let counters = meter.snapshot("");
        assert_eq!((counters.lost[2], counters.lost_total()), (("shutdown", 1), 1));
    }

    #[test]
    fn a_flush_waits_for_what_precedes_it() {
        let (queue, _) = queue(10, 1000);
        let ticket = queue.request_flush();
        assert!(!queue.wait_flushed(ticket, Instant::now() + SOON));
        queue.report_flushed(ticket);
        assert!(queue.wait_flushed(ticket, Instant::now()));
    }

    proptest! {
        /// Whatever the order of pushes and takes, every event comes out or is told as lost.
        #[test]
        fn nothing_vanishes(limit in 1..6_usize, pushes in prop::collection::vec(any::<bool>(), 0..60)) {
            let (queue, meter) = queue(limit, 1000);
            let event = Arc::new(samples::event(samples::lost()));
            let (mut came, mut told) = (0, 0);
            let mut drain = |queue: &Queue| loop {
                match take(queue) {
                    (Taken::Entries, losses) => {
                        came += losses.len() as u64;
                        told += losses.iter().sum::<u64>();
                    }
                    (Taken::Lost(count), _) => told += count,
                    (Taken::Due | Taken::Closed | Taken::Released, _) => break,
                }
            };
            for push in pushes {
                if push { queue.push(&event, 10) } else { drain(&queue) }
            }
            drain(&queue);
            let counters = meter.snapshot("");
            prop_assert_eq!(counters.pushed, came + told);
            prop_assert_eq!(counters.lost_total(), told);
        }
    }
}
