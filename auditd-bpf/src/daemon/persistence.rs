//! Rules that stay in force without a daemon: what this one leaves, and what it takes over.

use std::io;
use std::path::PathBuf;

use output::event::Body;

use super::predecessor::{Predecessor, Will, will_of};
use super::requester::Requester;
use super::{Daemon, Loaded};
use crate::config::Config;
use crate::kernel::pins::{Left, Pins};
use crate::mode::Mode;

/// What was left in force at our control socket, oldest first.
pub fn left(config: &Config) -> Vec<Left> {
    Left::find(&config.control_socket)
}

/// Where to pin, if anything may be. A guard spares one daemon alone, whose files nobody else could touch after its end.
pub fn pins(config: &Config, loaded: &Loaded, left: &[Left]) -> Option<Pins> {
    let guarded = loaded.store.is_guarded();
    if loaded.mode == Mode::Syscall || guarded {
        tracing::debug!("rules end with the daemon: mode {}, guarded: {guarded}", loaded.mode.name());
        return None;
    }
    Pins::create(&config.control_socket, left)
        .inspect_err(|error| tracing::warn!("rules will end with the daemon, should it be killed: {error}"))
        .ok()
}

/// Whether rules are to stay in force once the daemon ends: by its configuration, or because a file beside the control socket asks
/// for it this once, as packages do while they upgrade. The file is taken away.
pub fn stays(config: &Config) -> bool {
    let mut asks = config.control_socket.as_os_str().to_owned();
    asks.push(".persist");
    std::fs::remove_file(asks).is_ok() || config.persist
}

/// When this process began, in hundredths of a second since boot, as `/proc/self/stat` says (proc(5)).
///
/// # Errors
/// If it cannot be read.
pub fn own_start() -> io::Result<u64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The name, which may hold anything, ends at the last parenthesis; the time is field 22, 20th behind it.
    let started = stat.rsplit_once(") ").and_then(|(_, fields)| fields.split(' ').nth(19)?.parse().ok());
    started.ok_or_else(|| io::Error::other("/proc/self/stat: no time in field 22"))
}

impl Daemon {
    /// What is guarded ends with the daemon: see [`pins`].
    pub(super) fn leave_no_guard(&mut self) {
        if self.store.is_guarded() && self.engine.is_pinned() {
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
        if let Err(error) = Will::new(self.decoder.rules(), reported).write(&path) {
            tracing::error!("events after a crash will lack their rules: {}: {error}", path.display());
        }
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

#[cfg(test)]
mod tests {
    #[test]
    fn a_process_began_since_boot_and_before_now() {
        let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
        let seconds: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
        let started = super::own_start().unwrap();
        assert!(started > 0 && started as f64 / 100.0 <= seconds + 1.0, "{started} of {seconds} s");
    }
}
