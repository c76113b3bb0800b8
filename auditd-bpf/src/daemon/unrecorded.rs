//! Acts that must not go unrecorded: rules that fail closed have them refused while the ring buffer is nearly full, and what is in it
//! waits there while the logs take nothing more.

use std::time::{Duration, Instant};

use rules::Plan;

use super::{CLOSE_PATIENCE, Daemon, StartError};
use crate::mode::Mode;
use crate::store::Store;

/// Between two looks at whether logs have room.
const PAUSE: Duration = Duration::from_millis(5);

/// What of a store decides: where nothing can be refused, nor is what cannot be recorded.
pub(super) fn plan_in(mode: Mode, store: &Store) -> Result<Plan, StartError> {
    let plan = store.plan().map_err(StartError::Rules)?;
    if mode != Mode::Lsm {
        if plan.refuses_unrecorded() {
            tracing::warn!("what cannot be recorded is not refused: mode {} refuses nothing", mode.name());
        }
        return Ok(plan.failing_open());
    }
    let free = plan.unrefusable_calls();
    if !free.is_empty() {
        let names: Vec<_> = free.into_iter().collect();
        tracing::warn!(
            "cannot be refused, and so may go unrecorded where the ring buffer is full: {}",
            names.join(" ")
        );
    }
    Ok(plan)
}

impl Daemon {
    /// Takes all that waits: first as the logs make room for it. What finds none in the end is told as lost.
    pub(super) fn take_last(&mut self) {
        let deadline = Instant::now() + CLOSE_PATIENCE;
        self.drain();
        while !self.takes_events() && Instant::now() < deadline {
            std::thread::sleep(PAUSE);
            self.drain();
        }
        self.take_while(|_| true);
    }

    /// Whether events are taken from the ring buffer now.
    pub(super) fn takes_events(&self) -> bool {
        !self.plan.refuses_unrecorded() || self.pipeline.has_room()
    }
}
