//! New rules on probation: they go again unless somebody says that they may stay. Who has locked himself out cannot say so.

use std::time::{Duration, Instant};

use output::event::Body;

use super::Daemon;
use super::requester::Requester;
use crate::store::Store;

/// Until when the rules in force may be confirmed, and what comes back if they are not.
pub(super) struct Probation {
    /// What was in force before, or what was confirmed last.
    before: Store,
    ends: Instant,
}

impl Daemon {
    /// The rules in force came in place of those of `before`.
    pub(super) fn begin_probation(&mut self, before: Store) {
        let time = Duration::from_secs(self.config.probation_s);
        let before = self.probation.take().map_or(before, |probation| probation.before);
        if time.is_zero() || self.store.decides_as(&before) {
            return;
        }
        if self.store.is_locked() {
            tracing::warn!("the rules are not on probation: with -e 2 nothing can take them back");
            return;
        }
        tracing::info!(
            "the rules are on probation: auditctl --confirm keeps them, else they go in {} s",
            time.as_secs()
        );
        self.probation = Some(Probation { before, ends: Instant::now() + time });
    }

    /// They stay.
    pub(super) fn confirm(&mut self) {
        if self.probation.take().is_some() {
            tracing::info!("the rules are confirmed");
        }
    }

    /// How many seconds are left, if any rules are on probation.
    pub(super) fn probation_left(&self) -> Option<u64> {
        let probation = self.probation.as_ref()?;
        Some(probation.ends.saturating_duration_since(Instant::now()).as_secs())
    }

    /// Takes them back, if it is time.
    pub(super) fn end_probation(&mut self) {
        let Some(Probation { before, .. }) = self.probation.take_if(|probation| probation.ends <= Instant::now())
        else {
            return;
        };
        let changes = self.store.changes_to(&before);
        let who = Requester::own();
        if let Err(error) = self.replace_by(before) {
            tracing::error!("nobody confirmed the rules, but they stay: {error}");
            return;
        }
        tracing::warn!("nobody confirmed the rules: those before are in force, {} of them", self.store.rules().len());
        // Events under the rules before come before the record of the change.
        self.drain();
        self.record(&changes, &who);
        self.push(Body::Daemon(who.event("DAEMON_CONFIG", "revert", Vec::new())));
    }
}
