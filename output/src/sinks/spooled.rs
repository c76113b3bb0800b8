//! A network sink: records go into a spool on disk, and a thread of its own delivers them from there.
//!
//! The worker's side ([`SpooledSink`]) never waits for the network; the sender's side ([`Sender`]) reads what waits, hands it to a
//! [`Delivery`], and moves the spool's cursor when the server is known to have it. When that fails it begins again at the
//! cursor.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::Sink;
use super::backoff::Backoff;
use crate::config::SpoolConfig;
use crate::counters::{Cause, Meter};
use crate::error::OutputError;
use crate::record::Record;
use crate::spool::{Appended, Spool, Spooled};

/// About how much is handed to the delivery at once.
const BATCH_BYTES: usize = 256 << 10;
/// How often the disk is waited for, and the stream asked what it has yet to tell.
const SYNC: Duration = Duration::from_secs(1);
/// How long closing goes on sending.
const CLOSING: Duration = Duration::from_secs(2);
/// How long closing waits for a system call of the sender to end.
const LAST_CALL: Duration = Duration::from_secs(6);

/// Makes of a record what is sent: one payload or more.
pub(crate) trait Encode: Send {
    /// The payloads; the event has arrived when the last one has. None, where the record is too long to be sent.
    fn encode(&self, record: &Record<'_>) -> Vec<Vec<u8>>;
}

/// Brings payloads to a server.
pub(crate) trait Delivery: Send {
    /// How many records, and for how long, may be sent without being acknowledged.
    fn pace(&self) -> Pace;

    /// Sends, connecting first where that is needed. After an error it is not known what arrived of all that was sent since the last
    /// acknowledgement.
    fn send(&mut self, batch: &[Spooled]) -> io::Result<()>;

    /// Makes sure that all that was sent arrived. Returns how many records of it the server refused for good, where it may.
    fn acknowledge(&mut self) -> io::Result<u64>;

    /// Before when the server wants nothing more, after an error in which it said so.
    fn not_before(&self) -> Option<Instant> {
        None
    }

    /// Forgets the connection, after an error.
    fn reset(&mut self);
}

/// See [`Delivery::pace`].
#[derive(Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) records: usize,
    pub(crate) after: Duration,
}

/// What both sides share.
struct Shared {
    name: String,
    meter: Arc<Meter>,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    spool: Spool,
    /// Events that a full spool refused, and the stream does not tell yet.
    refused: u64,
    /// Until when the sender goes on, once closed.
    closing: Option<Instant>,
    done: bool,
}

impl Shared {
    /// No code panics while it holds the lock, and the state is consistent after every statement.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn measure(&self, state: &State) {
        self.meter.set_spooled(state.spool.events(), state.spool.bytes());
    }
}

/// See the module's documentation.
pub(crate) struct SpooledSink {
    encode: Box<dyn Encode>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// What the disk did not take.
    waiting: VecDeque<(Vec<u8>, u32)>,
    synced: Instant,
    backoff: Backoff,
}

impl SpooledSink {
    /// Opens the spool and starts the sender. What is in the spool from before counts as pushed again.
    pub(crate) fn open(
        name: &str,
        config: &SpoolConfig,
        encode: Box<dyn Encode>,
        delivery: Box<dyn Delivery>,
        meter: Arc<Meter>,
    ) -> Result<Self, OutputError> {
        let path = config.path.clone();
        let spool =
            Spool::open(config).map_err(|source| OutputError::File { action: "open the spool", path, source })?;
        meter.took_over(spool.events());
        let state = State { spool, refused: 0, closing: None, done: false };
        let shared =
            Arc::new(Shared { name: name.to_owned(), meter, state: Mutex::new(state), changed: Condvar::new() });
        shared.measure(&shared.state());
        let sender = Sender::new(Arc::clone(&shared), delivery);
        let thread = std::thread::Builder::new().name("sender".to_owned()).spawn(move || sender.run());
        let thread = thread.map_err(|source| OutputError::Thread { sink: name.to_owned(), source })?;
        let (waiting, synced) = (VecDeque::new(), Instant::now());
        Ok(Self { encode, shared, thread: Some(thread), waiting, synced, backoff: Backoff::default() })
    }

    /// Moves what waits into the spool, until the disk refuses.
    fn spool_waiting(&mut self) {
        let mut state = self.shared.state();
        while let Some((payload, events)) = self.waiting.front() {
            match state.spool.append(payload, *events) {
                Ok(Appended::Stored { dropped }) => {
                    if dropped != 0 {
                        self.shared.meter.give_up(Cause::SpoolFull, dropped);
                    }
                }
                Ok(Appended::Refused) => {
                    // Told when there is room again: each record of a loss would take room itself.
                    self.shared.meter.lose(Cause::SpoolFull, u64::from(*events));
                    state.refused += u64::from(*events);
                }
                Err(error) => {
                    self.shared.meter.failed();
                    if self.backoff.failed() {
                        tracing::warn!(
                            output = self.shared.name, %error,
                            "cannot write to the spool; records wait and are lost when the queue is full"
                        );
                    }
                    return;
                }
            }
            self.waiting.pop_front();
        }
        self.shared.measure(&state);
        drop(state);
        self.shared.changed.notify_all();
        if self.backoff.succeeded() {
            tracing::info!(output = self.shared.name, "writing to the spool again");
        }
    }
}

impl Sink for SpooledSink {
    fn write(&mut self, record: &Record<'_>, events: u64) {
        let payloads = self.encode.encode(record);
        if payloads.is_empty() {
            tracing::warn!(output = self.shared.name, serial = record.event.serial, "record too long to send");
            self.shared.meter.give_up(Cause::TooLong, events);
        }
        let last = payloads.len().saturating_sub(1);
        let events = u32::try_from(events).unwrap_or(u32::MAX);
        let payloads = payloads.into_iter().enumerate();
        self.waiting.extend(payloads.map(|(index, payload)| (payload, if index == last { events } else { 0 })));
        self.spool_waiting();
    }

    /// What is in the spool is safe: that it arrives is not waited for.
    fn flush(&mut self) {
        self.spool_waiting();
        self.synced = Instant::now();
        if let Err(error) = self.shared.state().spool.sync() {
            self.shared.meter.failed();
            tracing::error!(output = self.shared.name, %error, "cannot sync the spool");
        }
    }

    fn due(&self) -> Option<Instant> {
        let state = self.shared.state();
        let busy = state.spool.is_dirty() || state.spool.events() != 0 || self.shared.meter.has_unreported();
        busy.then(|| self.synced + SYNC)
    }

    fn stalled_until(&self) -> Option<Instant> {
        self.backoff.until()
    }

    fn retry(&mut self) {
        self.spool_waiting();
    }

    fn close(&mut self) -> u64 {
        self.end(CLOSING)
    }

    fn let_go(&mut self) -> u64 {
        self.end(Duration::ZERO)
    }
}

impl SpooledSink {
    /// Goes on sending for so long, and has what was sent acknowledged.
    fn end(&mut self, sending: Duration) -> u64 {
        self.flush();
        let mut state = self.shared.state();
        state.closing = Some(Instant::now() + sending);
        self.shared.changed.notify_all();
        let waited = self.shared.changed.wait_timeout_while(state, sending + LAST_CALL, |state| !state.done);
        let done = waited.unwrap_or_else(PoisonError::into_inner).0.done;
        // One that hangs in a system call is left behind: it can do no harm.
        let thread = self.thread.take().filter(|_| done);
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!(output = self.shared.name, "the sender of this output panicked");
        }
        self.waiting.iter().map(|(_, events)| u64::from(*events)).sum()
    }
}

/// The thread that delivers.
struct Sender {
    shared: Arc<Shared>,
    delivery: Box<dyn Delivery>,
    /// Number of the next record to send.
    next: u64,
    /// Numbers, events and lengths of what was sent and is not acknowledged.
    unacknowledged: VecDeque<(u64, u32, usize)>,
    /// When the oldest of these was sent.
    since: Option<Instant>,
    backoff: Backoff,
}

/// What the sender does next.
enum Work {
    Send(Vec<Spooled>),
    Acknowledge,
    Stop,
}

impl Sender {
    fn new(shared: Arc<Shared>, delivery: Box<dyn Delivery>) -> Self {
        let (unacknowledged, backoff) = (VecDeque::new(), Backoff::default());
        Self { shared, delivery, next: 0, unacknowledged, since: None, backoff }
    }

    fn run(mut self) {
        loop {
            let done = match self.work() {
                Ok(Work::Send(batch)) => self.send(&batch),
                Ok(Work::Acknowledge) => self.delivery.acknowledge().and_then(|refused| self.arrived(refused)),
                Ok(Work::Stop) => break,
                Err(error) => Err(error),
            };
            if let Err(error) = done {
                self.failed(&error);
            }
        }
        self.shared.state().done = true;
        self.shared.changed.notify_all();
    }

    /// Waits until there is something to do.
    fn work(&mut self) -> io::Result<Work> {
        let shared = Arc::clone(&self.shared);
        let mut state = shared.state();
        loop {
            let now = Instant::now();
            let retry = self.backoff.until().filter(|until| *until > now);
            let idle_until = match (retry, state.closing) {
                (Some(_), Some(_)) => return Ok(Work::Stop),
                (Some(until), None) => Some(until),
                (None, closing) => {
                    let pace = self.delivery.pace();
                    let in_time = closing.is_none_or(|end| now < end);
                    let room = pace.records.saturating_sub(self.unacknowledged.len());
                    let due = self.since.map(|since| since + pace.after);
                    if room == 0 || due.is_some_and(|due| due <= now) {
                        return Ok(Work::Acknowledge);
                    }
                    let batch = if in_time { self.read(&mut state, room)? } else { Vec::new() };
                    if !batch.is_empty() {
                        return Ok(Work::Send(batch));
                    }
                    if closing.is_some() {
                        return Ok(if self.unacknowledged.is_empty() { Work::Stop } else { Work::Acknowledge });
                    }
                    due
                }
            };
            state = sleep(&shared, state, idle_until);
        }
    }

    fn read(&mut self, state: &mut State, records: usize) -> io::Result<Vec<Spooled>> {
        let batch = state.spool.read(self.next, records, BATCH_BYTES)?;
        if batch.is_empty() && self.unacknowledged.is_empty() {
            let damaged = state.spool.give_up_damaged()?;
            self.tell_damage(state, damaged);
        }
        Ok(batch)
    }

    fn tell_damage(&self, state: &State, damaged: u64) {
        if damaged != 0 {
            self.shared.meter.give_up(Cause::SpoolDamaged, damaged);
            tracing::error!(output = self.shared.name, lost = damaged, "the spool was damaged");
        }
        self.shared.measure(state);
    }

    fn send(&mut self, batch: &[Spooled]) -> io::Result<()> {
        self.delivery.send(batch)?;
        if let Some(last) = batch.last() {
            self.since.get_or_insert_with(Instant::now);
            self.next = last.sequence + 1;
            let noted = batch.iter().map(|record| (record.sequence, record.events, record.payload.len()));
            self.unacknowledged.extend(noted);
        }
        Ok(())
    }

    /// All that was sent arrived, but for so many records that the server refused. Where it does not tell which, they count as
    /// the first.
    fn arrived(&mut self, mut refused: u64) -> io::Result<()> {
        let mut state = self.shared.state();
        let records = self.unacknowledged.iter();
        let still_counted = state.spool.acknowledged();
        let damaged = state.spool.acknowledge(records.map(|(sequence, events, _)| (*sequence, *events)))?;
        for (sequence, events, length) in self.unacknowledged.drain(..) {
            // What a full spool dropped meanwhile is counted as lost already.
            let events = if sequence >= still_counted { u64::from(events) } else { 0 };
            if refused == 0 {
                self.shared.meter.wrote(events, length);
            } else {
                refused -= 1;
                self.shared.meter.give_up(Cause::Refused, events);
            }
        }
        if let Some(since) = self.since.take() {
            self.shared.meter.flushed(since.elapsed());
        }
        let refused = std::mem::take(&mut state.refused);
        if refused != 0 {
            self.shared.meter.report_later(Cause::SpoolFull, refused);
        }
        self.tell_damage(&state, damaged);
        if self.backoff.succeeded() {
            self.shared.meter.set_stalled(false);
            tracing::info!(output = self.shared.name, "the server takes records again");
        }
        Ok(())
    }

    fn failed(&mut self, error: &io::Error) {
        let earliest = self.delivery.not_before();
        self.delivery.reset();
        self.unacknowledged.clear();
        self.since = None;
        self.next = 0;
        self.shared.meter.failed();
        self.shared.meter.set_stalled(true);
        if self.backoff.failed() {
            tracing::warn!(output = self.shared.name, %error, "cannot deliver; records wait in the spool");
        }
        if let Some(earliest) = earliest {
            self.backoff.wait_until(earliest);
        }
    }
}

fn sleep<'a>(shared: &'a Shared, state: MutexGuard<'a, State>, until: Option<Instant>) -> MutexGuard<'a, State> {
    /// Bounds a sleep without an end; waking up once an hour costs nothing.
    const LONG: Duration = Duration::from_secs(3600);
    let patience = until.map_or(LONG, |until| until.saturating_duration_since(Instant::now()));
    shared.changed.wait_timeout(state, patience).unwrap_or_else(PoisonError::into_inner).0
}

#[cfg(test)]
#[path = "spooled_tests.rs"]
mod tests;
