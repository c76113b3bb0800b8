//! Rules that stay in force without a daemon: what this one leaves, and what it takes over.

use std::path::PathBuf;

use output::event::Body;

use super::predecessor::{Predecessor, Will, will_of};
use super::requester::Requester;
use super::{Asked, Daemon, Found, Loaded, StartError};
use crate::config::Config;
use crate::guard::Guard;
use crate::keeper::Kept;
use crate::kernel::pins::{Left, Pins, PinsError};
use crate::mode::Mode;

/// What was left in force at our control socket, oldest first. Nobody takes over what is guarded but a daemon that its keeper started.
pub fn left(config: &Config, kept: Option<&Kept>) -> Result<Vec<Left>, StartError> {
    let left = match Left::find(&config.control_socket) {
        Err(error @ PinsError::Guarded { .. }) => {
            Err(StartError::Guarded(error.to_string(), "until the machine reboots"))
        }
        found => Ok(found.unwrap_or_default()),
    }?;
    let is_successor = kept.is_some_and(|kept| kept.before().is_some());
    let mut wills = left.iter().map(|left| will_of(&config.control_socket, left.number()));
    match wills.find(|will| !is_successor && Will::read(will).is_ok_and(|will| will.is_guarded())) {
        None => Ok(left),
        Some(will) => Err(StartError::Guarded(
            format!("{}: an earlier daemon guards what it left in force", will.display()),
            "until the machine reboots, or `auditd-bpf release` ends it",
        )),
    }
}

/// Where to pin, if anything may be. A guard spares one daemon alone, whose files nobody else could touch after its end, unless that
/// one has a keeper, which starts another.
pub fn pins(config: &Config, loaded: &Loaded, found: &Found) -> Option<Pins> {
    let guarded = loaded.store.is_guarded() && found.kept.is_none();
    if loaded.mode == Mode::Syscall || guarded {
        tracing::debug!("rules end with the daemon: mode {}, guarded: {guarded}", loaded.mode.name());
        return None;
    }
    Pins::create(&config.control_socket, &found.left)
        .inspect_err(|error| tracing::warn!("rules will end with the daemon, should it be killed: {error}"))
        .ok()
}

/// Whether rules are to stay in force once the daemon ends: by its configuration, or because a file beside the control socket asks
/// for it this once, as packages do while they upgrade. The file is taken away.
fn stays(config: &Config) -> bool {
    let mut asks = config.control_socket.as_os_str().to_owned();
    asks.push(".persist");
    std::fs::remove_file(asks).is_ok() || config.persist
}

impl Daemon {
    /// What is guarded ends with a daemon that has no keeper: see [`pins`].
    pub(super) fn leave_no_guard(&mut self) {
        if self.store.is_guarded() && self.kept.is_none() && self.engine.is_pinned() {
            tracing::info!("what is guarded ends with the daemon, and so do the rules");
            self.engine.unpin();
            self.write_will();
        }
    }

    /// Brings up to date what the next daemon must know.
    pub(super) fn write_will(&mut self) {
        let Some(path) = self.will.clone() else { return };
        if !self.engine.is_pinned() {
            self.will = None;
            let _gone = std::fs::remove_file(path);
            return;
        }
        let reported = self.reported.iter().map(|(cause, count)| (*cause, *count));
        let will = Will::new(self.decoder.rules(), reported).guarding(self.store.is_guarded());
        if let Err(error) = will.write(&path) {
            tracing::error!("events after a crash will lack their rules: {}: {error}", path.display());
        }
    }

    /// Whether the rules stay in force once it ends, which it does in order. What is guarded does not: nobody could take over from it.
    pub(super) fn stays(&mut self) -> bool {
        let asked = stays(&self.config) || self.is_orphaned;
        if !asked || !self.engine.is_pinned() || !self.store.is_guarded() {
            return asked && self.engine.is_pinned();
        }
        let unguarded = self.store.clone().guarded_by(Guard::default());
        let lifted = self.replace_by(unguarded);
        lifted.inspect_err(|error| tracing::error!("the rules end with the daemon: {error}")).is_ok()
    }

    /// Its keeper has ended, by no will of its own. What is guarded would have no daemon any more, so this one goes on; otherwise it
    /// ends as if it had been killed in its keeper's place.
    pub(super) fn lose_keeper(&mut self) -> Asked {
        if self.store.is_guarded() {
            tracing::error!(
                "the keeper was killed: should this process be killed as well, rules and guard stay in force without a daemon until the \
                 machine reboots"
            );
            return Asked::GoOn;
        }
        tracing::error!("the keeper was killed: ending, and leaving the rules in force");
        self.is_orphaned = true;
        Asked::End(Requester::own())
    }

    /// Ours are in force.
    pub(super) fn retire_predecessors(&mut self) {
        let owner = self.engine.owner();
        self.predecessors.iter_mut().for_each(|predecessor| predecessor.retire(owner));
    }

    /// Parts with those that nothing can come from any more, and records what came of them.
    pub(super) fn bury_predecessors(&mut self) {
        let (gone, rest): (Vec<_>, _) =
            std::mem::take(&mut self.predecessors).into_iter().partition(Predecessor::is_gone);
        // Calls that were in progress when it was retired may have sent something since it was last looked at.
        self.predecessors = gone;
        self.drain();
        for predecessor in std::mem::replace(&mut self.predecessors, rest) {
            let losses = predecessor.losses();
            let lost: u64 = losses.iter().map(|loss| loss.count).sum();
            if !losses.is_empty() {
                self.push(Body::Lost(losses));
            }
            tracing::info!("took over from a daemon before: {} events, {lost} lost", predecessor.events());
            let details = vec![("events".into(), predecessor.events().to_string()), ("lost".into(), lost.to_string())];
            self.push(Body::Daemon(Requester::own().event("DAEMON_CONFIG", "take-over", details)));
            predecessor.bury();
        }
    }
}

/// Where the next daemon looks for what it must know of this one.
pub fn will_path(config: &Config, pins: Option<&Pins>) -> Option<PathBuf> {
    pins.map(|pins| will_of(&config.control_socket, pins.number()))
}
