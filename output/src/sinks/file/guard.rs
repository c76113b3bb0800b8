//! Watches over the disk below a log: auditd.conf's actions on free space, on writes that fail, and on length.

use std::io;
use std::path::Path;

use nix::libc::{EDQUOT, ENOSPC};

use super::FileSink;
use crate::config::{FailureAction, FailureActions, Space, Watermark};
use crate::respond::{Responder, Rest, Trouble};

/// Blocks below which auditd takes the disk for full.
const FULL_BLOCKS: u64 = 5;

/// What is to be done, and what was.
pub(super) struct Guard {
    actions: FailureActions,
    responder: Responder,
    done: Done,
    suspended: bool,
    /// The daemon ends: nothing is done any more.
    off: bool,
}

/// Actions that were carried out, and are not again until the trouble is over, or SIGUSR2.
#[derive(Default)]
struct Done {
    low: bool,
    very_low: bool,
    full: bool,
    failed: bool,
    long: bool,
}

impl Done {
    const fn about(&mut self, trouble: Trouble) -> &mut bool {
        match trouble {
            Trouble::LowSpace => &mut self.low,
            Trouble::VeryLowSpace => &mut self.very_low,
            Trouble::DiskFull => &mut self.full,
            Trouble::LongLog => &mut self.long,
            Trouble::DiskError | Trouble::Overflow => &mut self.failed,
        }
    }
}

impl Guard {
    pub(super) fn new(actions: &FailureActions, responder: Responder) -> Self {
        Self { actions: actions.clone(), responder, done: Done::default(), suspended: false, off: false }
    }

    fn watches_space(&self) -> bool {
        let FailureActions { space_left, admin_space_left, disk_full, .. } = &self.actions;
        let watched = |mark: &Watermark| mark.space != Space::Mib(0) && mark.action != FailureAction::Ignore;
        !self.off && (watched(space_left) || watched(admin_space_left) || *disk_full != FailureAction::Ignore)
    }
}

/// What is run as root must be root's alone: as auditd checks it.
pub(super) fn check_programs(actions: &FailureActions) -> Result<(), (&Path, io::Error)> {
    use std::os::unix::fs::MetadataExt;
    for action in actions.all() {
        let FailureAction::Exec(program) = action else { continue };
        let metadata = std::fs::symlink_metadata(program).map_err(|error| (&**program, error))?;
        let ours = [0, nix::unistd::geteuid().as_raw()].contains(&metadata.uid());
        if !metadata.is_file() || !ours || metadata.mode() & 0o022 != 0 || metadata.mode() & 0o100 == 0 {
            let problem =
                "an action's program must be a file that is executable, owned by root, and writable by nobody else";
            return Err((program, io::Error::other(problem)));
        }
    }
    Ok(())
}

impl FileSink {
    pub(super) fn is_suspended(&self) -> bool {
        self.guard.suspended
    }

    /// SIGUSR2: what is still wrong is acted upon once more.
    pub(super) fn end_suspension(&mut self) {
        self.guard.suspended = false;
        self.guard.done = Done::default();
    }

    pub(super) fn end_actions(&mut self) {
        self.end_suspension();
        self.guard.off = true;
    }

    /// After a write: whether it was one of the last that there is room for.
    pub(super) fn check_disk(&mut self) {
        self.guard.done.failed = false;
        if self.guard.watches_space() {
            self.check_room();
        }
        if let Some((most, action)) = self.guard.actions.too_long.clone() {
            if self.segment.bytes >= most.get() {
                self.act_once(Trouble::LongLog, &action, None);
            } else {
                self.guard.done.long = false;
            }
        }
    }

    fn check_room(&mut self) {
        let directory = self.config.path.parent().unwrap_or(Path::new("/"));
        let Ok(room) = self.fs.room(directory) else { return };
        let FailureActions { space_left, admin_space_left, disk_full, .. } = self.guard.actions.clone();
        if room.free < FULL_BLOCKS * room.block {
            return self.act_once(Trouble::DiskFull, &disk_full, None);
        }
        self.guard.done.full = false;
        for (trouble, mark) in [(Trouble::LowSpace, space_left), (Trouble::VeryLowSpace, admin_space_left)] {
            if room.free < mark.space.bytes(room.total) {
                self.act_once(trouble, &mark.action, None);
            } else if mark.action == FailureAction::Syslog {
                // All others are carried out again after SIGUSR2 only.
                *self.guard.done.about(trouble) = false;
            }
        }
    }

    /// A write failed, for the first time or once more.
    pub(super) fn act_on_failure(&mut self, error: &io::Error) {
        let FailureActions { disk_full, disk_error, .. } = self.guard.actions.clone();
        match error.raw_os_error() {
            Some(ENOSPC | EDQUOT) => self.act_once(Trouble::DiskFull, &disk_full, Some(error)),
            _ => self.act_once(Trouble::DiskError, &disk_error, Some(error)),
        }
    }

    /// Where that was done already, only what it makes room by is done again.
    fn act_once(&mut self, trouble: Trouble, action: &FailureAction, cause: Option<&io::Error>) {
        let done = std::mem::replace(self.guard.done.about(trouble), true);
        if self.guard.off {
            return;
        }
        if done {
            if *action == FailureAction::Rotate {
                self.lose_oldest();
            }
            return;
        }
        match self.guard.responder.respond(trouble, action, cause) {
            Rest::Nothing => {}
            Rest::Suspend => self.guard.suspended = true,
            Rest::Rotate => {
                self.lose_oldest();
                self.end_filled_segment();
            }
        }
    }
}

#[cfg(test)]
#[path = "guard_tests.rs"]
mod tests;
