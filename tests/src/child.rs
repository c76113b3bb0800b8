//! Acts in processes of their own.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use nix::sys::prctl;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Gid, Pid, Uid, pipe, setgroups, setresgid, setresuid};

use crate::sys::{self, Fork};

/// The guest's ordinary user.
pub const USER: u32 = 1000;

/// Runs an act in a child process to its end; its error comes back as ours. Returns the child's pid.
pub fn run(act: impl FnOnce() -> Result<()>) -> Result<u32> {
    start(act)?.wait()
}

/// Runs the act with the numbers of so many processes, all at once, to their ends. Returns their pids.
pub fn all_at_once(processes: u32, act: impl Fn(u32) -> Result<()> + Copy) -> Result<Vec<u32>> {
    let children: Vec<_> = (0..processes).map(|process| start(move || act(process))).collect::<Result<_>>()?;
    children.into_iter().map(Child::wait).collect()
}

/// So many processes make so many files each in a directory, all at once: PROCESS-NUMBER.
pub fn make_files(directory: &Path, processes: u32, each: u32) -> Result<()> {
    let make = |process, number| File::create_new(directory.join(format!("{process}-{number}"))).map(drop);
    all_at_once(processes, |process| Ok((0..each).try_for_each(|number| make(process, number))?)).map(drop)
}

/// A child that acts.
pub struct Child {
    pid: Pid,
    /// Its error, and the end of file with its end.
    report: File,
}

/// Begins an act in a child process.
pub fn start(act: impl FnOnce() -> Result<()>) -> Result<Child> {
    let (read, write) = pipe().context("cannot create a pipe")?;
    match sys::fork().context("cannot fork")? {
        Fork::Parent(pid) => Ok(Child { pid, report: File::from(read) }),
        Fork::Child => {
            drop(read);
            let status = match act() {
                Ok(()) => 0,
                Err(error) => {
                    // Without a parent there is nobody to tell.
                    let _ = File::from(write).write_all(format!("{error:#}").as_bytes());
                    1
                }
            };
            sys::exit_now(status)
        }
    }
}

impl Child {
    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw().cast_unsigned()
    }

    /// Waits for its end, and passes its error on.
    pub fn wait(mut self) -> Result<u32> {
        let mut report = String::new();
        self.report.read_to_string(&mut report).context("cannot read from a child")?;
        match waitpid(self.pid, None).context("cannot wait for a child")? {
            WaitStatus::Exited(_, 0) => Ok(self.pid()),
            WaitStatus::Exited(_, status) if report.is_empty() => bail!("a child ended with status {status}"),
            WaitStatus::Exited(..) => bail!("{report}"),
            other => bail!("a child ended otherwise: {other:?}"),
        }
    }

    /// Waits for its end, which must be by a signal.
    pub fn wait_killed(self) -> Result<()> {
        match waitpid(self.pid, None).context("cannot wait for a child")? {
            WaitStatus::Signaled(..) => Ok(()),
            other => bail!("a child was not killed: {other:?}"),
        }
    }
}

/// Gives this process a login uid, as a login does.
pub fn set_login_uid(auid: u32) -> Result<()> {
    fs::write("/proc/self/loginuid", auid.to_string()).context("cannot set the login uid")
}

/// Makes this process an ordinary user's.
pub fn become_user() -> Result<()> {
    setgroups(&[]).context("cannot leave all groups")?;
    let (user, group) = (Uid::from_raw(USER), Gid::from_raw(USER));
    setresgid(group, group, group).context("cannot change the group")?;
    setresuid(user, user, user).context("cannot change the user")?;
    // The kernel hands /proc/self to root when ids change.
    prctl::set_dumpable(true).context("cannot own /proc/self again")
}
