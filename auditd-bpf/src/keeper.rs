//! The process that stays where something is guarded: it starts the daemon as its child, and another in its place should that one be
//! killed.
//!
//! What is guarded spares one daemon, so that another process could neither write its logs nor take its rules out of force. The
//! programs in the kernel spare the children of the keeper as well: whatever befalls a daemon, its successor is spared by the programs
//! that it left, without anything being written to the kernel for that. The keeper does nothing else: it has one thread, opens nothing,
//! hands on what it is asked, and remembers what the next daemon must not read from files that somebody may have changed.

mod kept;

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid};

use crate::cli::DaemonOptions;
use crate::config::Config;
use crate::daemon::SIGNALS;
use crate::doctor;
use crate::exit_code::ExitCode;
use crate::kernel::btf;
use crate::kernel::process::Process;
use crate::mode::Mode;
use kept::{Asks, Lines, Told};
pub use kept::{Before, Heard, Kept};

/// So many daemons in this time are started in the place of others that were killed. Whoever kills more wants none.
const RESTARTS: (usize, Duration) = (5, Duration::from_secs(60));

/// Why there is no keeper.
#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    /// A copy of a process has one thread, and what others had locked stays locked in it.
    #[error("cannot start the daemon as a child: {0} threads are running")]
    Threads(usize),
    /// The operating system refuses.
    #[error("cannot {what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why not.
        source: io::Error,
    },
}

fn system<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> KeeperError {
    move |error| KeeperError::System { what, source: error.into() }
}

/// What this process is.
#[derive(Debug)]
pub enum Role {
    /// To be the daemon.
    Daemon {
        /// So configured.
        config: Box<Config>,
        /// By a keeper, or alone.
        kept: Option<Kept>,
    },
    /// It was the keeper, and is to end with the status of its daemon.
    Keeper {
        /// That status.
        status: u8,
    },
}

/// Becomes the keeper of a daemon where something may be guarded, and returns in each daemon that it starts and once the last has
/// ended. Where nothing may be, the process is the daemon itself.
///
/// # Errors
/// If the operating system refuses.
pub fn keep(options: &DaemonOptions, config: Config) -> Result<Role, KeeperError> {
    if !is_wanted(&config) {
        return Ok(Role::Daemon { config: Box::new(config), kept: None });
    }
    Keeper::new(options, config)?.run()
}

fn is_wanted(config: &Config) -> bool {
    let may_guard = !config.protect.is_empty() || !config.protect_locked.is_empty();
    // Whatever loses its parent becomes a child of the first process of a container.
    may_guard && std::process::id() != 1 && config.kernel.mode.fixed().unwrap_or_else(doctor::likely_mode) == Mode::Lsm
}

struct Keeper {
    options: DaemonOptions,
    config: Config,
    process: Process,
    program: Option<PathBuf>,
    signals: SignalFd,
    /// What was blocked before.
    mask: SigSet,
    /// What a daemon told that has rules in force, or is about to.
    before: Option<Before>,
    /// Whether any daemon ever was.
    was_ready: bool,
    /// What no daemon has heard yet.
    waiting: Vec<Asks>,
    restarts: VecDeque<Instant>,
}

impl Keeper {
    fn new(options: &DaemonOptions, config: Config) -> Result<Self, KeeperError> {
        let mut wanted = SigSet::empty();
        SIGNALS.into_iter().chain([Signal::SIGCHLD]).for_each(|signal| wanted.add(signal));
        let mask = wanted.thread_swap_mask(SigmaskHow::SIG_BLOCK).map_err(system("block signals"))?;
        // Where there is none, the daemon says so.
        let _none = btf::hold();
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        Ok(Self {
            options: options.clone(),
            config,
            process: Process::own().map_err(system("read /proc/self/stat"))?,
            program: std::fs::read_link("/proc/self/exe").ok(),
            signals: SignalFd::with_flags(&wanted, flags).map_err(system("receive signals"))?,
            mask,
            before: None,
            was_ready: false,
            waiting: Vec::new(),
            restarts: VecDeque::new(),
        })
    }

    fn run(mut self) -> Result<Role, KeeperError> {
        loop {
            let (own, of_daemon) = UnixStream::pair().map_err(system("make a socket for the daemon"))?;
            match fork()? {
                ForkResult::Child => {
                    self.mask.thread_set_mask().map_err(system("unblock signals"))?;
                    let kept = Kept::new(self.process, self.program, of_daemon, self.before);
                    return Ok(Role::Daemon { config: Box::new(self.config), kept: Some(kept) });
                }
                ForkResult::Parent { child } => {
                    drop(of_daemon);
                    own.set_nonblocking(true).map_err(system("make a socket for the daemon"))?;
                    let end = self.attend(child, &own)?;
                    if let Some(status) = self.judge(child, end) {
                        return Ok(Role::Keeper { status });
                    }
                }
            }
        }
    }

    /// Until the daemon ends.
    fn attend(&mut self, child: Pid, stream: &UnixStream) -> Result<WaitStatus, KeeperError> {
        let mut told = Lines::default();
        loop {
            for asks in std::mem::take(&mut self.waiting) {
                if let Err(error) = asks.send(stream) {
                    tracing::debug!("the daemon does not hear of signal {}: {error}", asks.signal);
                    self.waiting.push(asks);
                }
            }
            self.hear(&mut told, stream);
            match waitpid(child, Some(WaitPidFlag::WNOHANG)).map_err(system("wait for the daemon"))? {
                WaitStatus::StillAlive => {}
                end => {
                    // It has told its last.
                    self.hear(&mut told, stream);
                    return Ok(end);
                }
            }
            let mut fds = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
            if !told.ended() {
                fds.push(PollFd::new(stream.as_fd(), PollFlags::POLLIN));
            }
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(system("wait for signals")(errno)),
            }
            while let Some(info) = self.signals.read_signal().map_err(system("receive a signal"))? {
                if info.ssi_signo.cast_signed() != Signal::SIGCHLD as i32 {
                    self.waiting.push(Asks {
                        signal: info.ssi_signo.cast_signed(),
                        pid: info.ssi_pid,
                        uid: info.ssi_uid,
                    });
                }
            }
        }
    }

    fn hear(&mut self, lines: &mut Lines, stream: &UnixStream) {
        for told in lines.read::<Told>(stream) {
            match (told, &mut self.before) {
                (Told::Ready { mode }, before) => {
                    self.was_ready = true;
                    let locked = before.take().and_then(|before| before.locked);
                    *before = Some(Before { mode, locked });
                }
                (Told::Locked { mode, locked }, before) => *before = Some(Before { mode, locked: Some(locked) }),
                (Told::NotLocked, Some(before)) => before.locked = None,
                (Told::NotLocked, None) => {}
                (Told::Reloaded, _) => match self.options.configuration() {
                    Ok(config) => self.config = config.behind(&self.config).0,
                    Err(error) => tracing::error!("the next daemon will have the configuration of before: {error}"),
                },
            }
        }
    }

    /// What to end with; `None` if another daemon is to take over.
    fn judge(&mut self, child: Pid, end: WaitStatus) -> Option<u8> {
        let what = match end {
            WaitStatus::Exited(_, status) => {
                let status = u8::try_from(status).unwrap_or(ExitCode::Failure.status());
                // It ended in order, or nothing is in force yet.
                if !self.was_ready || status == ExitCode::Success.status() {
                    return Some(status);
                }
                format!("ended with status {status}")
            }
            WaitStatus::Signaled(_, signal, _) => format!("was killed by {signal}"),
            other => format!("ended: {other:?}"),
        };
        if self.before.is_none() {
            tracing::error!("the daemon (pid {child}) {what} before it was ready");
            return Some(ExitCode::Failure.status());
        }
        let (most, time) = RESTARTS;
        let now = Instant::now();
        self.restarts.retain(|restart| now.duration_since(*restart) < time);
        if self.restarts.len() == most {
            tracing::error!(
                "the daemon (pid {child}) {what}: the {most} before it in {} s, too, so none takes its place; its rules stay in force",
                time.as_secs()
            );
            return Some(ExitCode::Failure.status());
        }
        tracing::error!("the daemon (pid {child}) {what}: its rules stay in force, and another takes over");
        // One that cannot start now may be able to soon.
        std::thread::sleep(Duration::from_secs(self.restarts.len() as u64));
        self.restarts.push_back(now);
        None
    }
}

fn fork() -> Result<ForkResult, KeeperError> {
    let threads = std::fs::read_dir("/proc/self/task").map_err(system("count threads"))?.count();
    if threads != 1 {
        return Err(KeeperError::Threads(threads));
    }
    // SAFETY: this is the only thread, as was counted just now, so nothing is locked by another that the child would wait for; and the
    // child is as free as its parent to do whatever it likes.
    unsafe { nix::unistd::fork() }.map_err(system("start the daemon as a child"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ModeChoice;
    use crate::guard::Protect;

    fn config(protect: &[Protect], protect_locked: &[Protect]) -> Config {
        let mut config =
            Config { protect: protect.to_vec(), protect_locked: protect_locked.to_vec(), ..Config::default() };
        config.kernel.mode = ModeChoice::Lsm;
        config
    }

    fn keeper() -> Keeper {
        let mut keeper = Keeper::new(&DaemonOptions::default(), Config::default()).unwrap();
        // So that nobody waits.
        keeper.before = Some(Before { mode: Mode::Lsm, locked: None });
        keeper.was_ready = true;
        keeper
    }

    #[test]
    fn a_keeper_is_where_something_may_be_guarded() {
        assert!(is_wanted(&config(&[Protect::Logs], &[])));
        assert!(is_wanted(&config(&[], &Protect::LOCKED)));
        assert!(!is_wanted(&config(&[], &[])));
        let mut observing = config(&Protect::ALL, &Protect::ALL);
        observing.kernel.mode = ModeChoice::Observe;
        assert!(!is_wanted(&observing));
    }

    #[test]
    fn what_ends_in_order_is_the_end_and_what_is_killed_is_replaced() {
        let pid = Pid::from_raw(1);
        let killed = WaitStatus::Signaled(pid, Signal::SIGKILL, false);
        let mut keeper = keeper();
        assert_eq!(keeper.judge(pid, WaitStatus::Exited(pid, 0)), Some(0));
        assert_eq!(keeper.judge(pid, killed), None);
        keeper.restarts.clear();
        assert_eq!(keeper.judge(pid, WaitStatus::Exited(pid, 3)), None, "its rules are in force");
        (keeper.before, keeper.was_ready) = (None, false);
        assert_eq!(keeper.judge(pid, WaitStatus::Exited(pid, 3)), Some(3), "it never began");
        assert_eq!(keeper.judge(pid, killed), Some(1));
    }

    #[test]
    fn whoever_kills_one_after_the_other_gets_none_in_the_end() {
        let pid = Pid::from_raw(1);
        let killed = WaitStatus::Signaled(pid, Signal::SIGKILL, false);
        let mut keeper = keeper();
        keeper.restarts = std::iter::repeat_n(Instant::now(), RESTARTS.0).collect();
        assert_eq!(keeper.judge(pid, killed), Some(1));
    }

    #[test]
    fn nothing_is_forked_beside_threads() {
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let other = std::thread::spawn(move || wait.recv().is_err());
        assert!(matches!(fork(), Err(KeeperError::Threads(2..))));
        drop(go);
        assert!(other.join().unwrap());
    }
}
