//! What listening threads share: connections are taken one after the other and served by a thread each, so many at a time.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// Takes connections for as long as the process lives. `what` listens, for the log.
pub(crate) fn accept_all<S>(what: &str, accept: impl Fn() -> io::Result<S>, serve: impl Fn(S)) {
    loop {
        match accept() {
            Ok(stream) => serve(stream),
            Err(error) => {
                tracing::warn!("{what}: {error}");
                // Out of descriptors, most likely: do not spin.
                thread::sleep(Duration::from_millis(100));
            }
        }
    }
}

/// How many connections there may be at a time.
#[derive(Clone, Debug)]
pub(crate) struct Slots {
    taken: Arc<AtomicUsize>,
    most: usize,
}

impl Slots {
    pub(crate) fn new(most: usize) -> Self {
        Self { taken: Arc::default(), most }
    }

    /// One for a connection; `None` where all are taken.
    pub(crate) fn take(&self) -> Option<Slot> {
        let slot = Slot(Arc::clone(&self.taken));
        (slot.0.fetch_add(1, Ordering::AcqRel) < self.most).then_some(slot)
    }
}

/// Counts itself out.
pub(crate) struct Slot(Arc<AtomicUsize>);

impl Slot {
    /// Serves its connection, by a thread of that name.
    pub(crate) fn serve(self, what: &str, thread: &str, serve: impl FnOnce() + Send + 'static) {
        let spawned = thread::Builder::new().name(thread.to_owned()).spawn(move || {
            let _slot = self;
            serve();
        });
        if let Err(error) = spawned {
            tracing::warn!("{what}: {error}");
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_come_back() {
        let slots = Slots::new(2);
        let (one, other) = (slots.take().unwrap(), slots.clone().take());
        assert!(other.is_some() && slots.take().is_none() && slots.take().is_none());
        drop(one);
        assert!(slots.take().is_some());
    }
}
