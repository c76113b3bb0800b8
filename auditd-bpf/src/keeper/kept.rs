//! What a keeper and its daemon tell each other, a JSON object a line.

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::socket::{MsgFlags, recv};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::kernel::process::Process;
use crate::mode::Mode;
use crate::store::Locked;

/// The keeper does nothing but wait: one that has not read what it was told by then never will.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the daemon tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "told", rename_all = "kebab-case")]
pub(super) enum Told {
    /// Its rules are in force, and decided so.
    Ready { mode: Mode },
    /// `-e 2` is about to be in force.
    Locked { mode: Mode, locked: Locked },
    /// It is not, after all.
    NotLocked,
    /// It read its configuration again.
    Reloaded,
}

/// A signal that the keeper was sent, and by whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asks {
    /// Its number.
    pub signal: i32,
    /// The process that sent it.
    pub pid: u32,
    /// The user of that.
    pub uid: u32,
}

impl Asks {
    pub(super) fn send(&self, stream: &UnixStream) -> io::Result<()> {
        write_line(stream, self)
    }
}

fn write_line(mut stream: &UnixStream, value: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    stream.write_all(&line)
}

/// What the daemon before was, of one that takes over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Before {
    /// How its rules are decided.
    pub mode: Mode,
    /// What stays in force until the machine reboots, if anything does.
    pub locked: Option<Locked>,
}

/// What the keeper has to say.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// What it was asked.
    Asked(Vec<Asks>),
    /// It has ended, which is told once.
    Ended,
}

/// What a daemon has of its keeper.
#[derive(Debug)]
pub struct Kept {
    keeper: Process,
    program: Option<PathBuf>,
    /// Until it ends.
    stream: Option<UnixStream>,
    lines: Lines,
    before: Option<Before>,
}

impl Kept {
    pub(super) fn new(keeper: Process, program: Option<PathBuf>, stream: UnixStream, before: Option<Before>) -> Self {
        Self { keeper, program, stream: Some(stream), lines: Lines::default(), before }
    }

    /// The keeper.
    #[must_use]
    pub const fn keeper(&self) -> Process {
        self.keeper
    }

    /// The program, by the name that it was started by.
    #[must_use]
    pub fn program(&self) -> Option<&Path> {
        self.program.as_deref()
    }

    /// What there was before this daemon, if another was killed.
    #[must_use]
    pub const fn before(&self) -> Option<&Before> {
        self.before.as_ref()
    }

    /// Readable when the keeper has something to say.
    #[must_use]
    pub fn wakeup(&self) -> Option<BorrowedFd<'_>> {
        self.stream.as_ref().map(AsFd::as_fd)
    }

    /// What it says.
    pub fn hear(&mut self) -> Heard {
        let Some(stream) = &self.stream else { return Heard::Asked(Vec::new()) };
        let asked = self.lines.read(stream);
        if asked.is_empty() && self.lines.ended() {
            self.stream = None;
            return Heard::Ended;
        }
        Heard::Asked(asked)
    }

    /// Rules are in force.
    pub fn ready(&self, mode: Mode) {
        self.tell(&Told::Ready { mode });
    }

    /// What is to be in force from now on, or is not to be any more, whatever befalls this daemon.
    pub fn locked(&self, mode: Mode, locked: Option<Locked>) {
        self.tell(&locked.map_or(Told::NotLocked, |locked| Told::Locked { mode, locked }));
    }

    /// The configuration was read again.
    pub fn reloaded(&self) {
        self.tell(&Told::Reloaded);
    }

    fn tell(&self, told: &Told) {
        let Some(stream) = &self.stream else { return };
        if let Err(error) = stream.set_write_timeout(Some(PATIENCE)).and_then(|()| write_line(stream, told)) {
            tracing::error!("the next daemon, should this one be killed, will not know all of this one: {error}");
        }
    }
}

/// What has come of lines.
#[derive(Debug, Default)]
pub(super) struct Lines {
    begun: Vec<u8>,
    ended: bool,
}

impl Lines {
    /// Whether the other end is closed.
    pub const fn ended(&self) -> bool {
        self.ended
    }

    /// Those that are whole, without waiting. What is none of the other's is left out: both are one program.
    pub fn read<T: DeserializeOwned>(&mut self, stream: &UnixStream) -> Vec<T> {
        let mut room = [0; 4096];
        while !self.ended {
            match recv(std::os::fd::AsRawFd::as_raw_fd(stream), &mut room, MsgFlags::MSG_DONTWAIT) {
                Ok(0) => self.ended = true,
                Ok(read) => self.begun.extend_from_slice(&room[..read]),
                Err(nix::errno::Errno::EINTR) => {}
                Err(nix::errno::Errno::EAGAIN) => break,
                Err(_) => self.ended = true,
            }
        }
        let whole = self.begun.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        let lines: Vec<u8> = self.begun.drain(..whole).collect();
        lines.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::protocol::Text;
    use crate::store::Settings;

    #[test]
    fn each_hears_what_the_other_tells() {
        let (keeper, daemon) = UnixStream::pair().unwrap();
        let process = Process { pid: 7, started: 9 };
        let mut kept = Kept::new(process, None, daemon, None);
        let mut lines = Lines::default();
        assert_eq!(lines.read::<Told>(&keeper), []);
        let rules = vec![Text(b"-a always,exit -S \xff".to_vec()); 3000];
        let locked = Locked { settings: Settings { enabled: 2, ..Settings::default() }, rules };
        let telling = std::thread::spawn(move || {
            kept.ready(Mode::Lsm);
            kept.locked(Mode::Lsm, Some(locked));
            kept.locked(Mode::Lsm, None);
            kept.reloaded();
            kept
        });
        let mut told = Vec::new();
        while told.len() < 4 {
            told.extend(lines.read::<Told>(&keeper));
        }
        assert_eq!(told[0], Told::Ready { mode: Mode::Lsm });
        assert!(matches!(&told[1], Told::Locked { mode: Mode::Lsm, locked }
            if locked.rules.len() == 3000 && locked.rules[2999].0.ends_with(b"\xff") && locked.settings.enabled == 2));
        assert_eq!(told[2..], [Told::NotLocked, Told::Reloaded]);
        kept = telling.join().unwrap();
        let asks = Asks { signal: 15, pid: 1, uid: 0 };
        asks.send(&keeper).unwrap();
        assert_eq!(kept.hear(), Heard::Asked(vec![asks]));
        drop(keeper);
        assert_eq!(kept.hear(), Heard::Ended);
        assert_eq!(kept.hear(), Heard::Asked(Vec::new()), "it is told once");
        assert!(kept.wakeup().is_none());
    }
}
