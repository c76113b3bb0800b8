//! A plugin that is a program: records on its standard input.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Port, Wrote, check_owner, wrote};
use crate::config::PluginSpec;
use crate::sinks::backoff::Backoff;

/// How long a plugin may take to end: after its input did, and after SIGTERM.
const ENDING: Duration = Duration::from_millis(500);

/// See the module's documentation.
pub(super) struct Program {
    name: String,
    path: PathBuf,
    args: Vec<String>,
    child: Option<Child>,
    max_restarts: u32,
    starts_left: u32,
    backoff: Backoff,
}

impl Program {
    pub(super) fn start(name: &str, spec: &PluginSpec, max_restarts: u32) -> Result<Self, String> {
        let path = PathBuf::from(&spec.path);
        if !path.is_absolute() {
            return Err(format!("path `{}` must be absolute", spec.path));
        }
        check_owner(&path)?;
        let (name, args, backoff) = (name.to_owned(), spec.args.clone(), Backoff::default());
        let mut program = Self { name, path, args, child: None, max_restarts, starts_left: max_restarts, backoff };
        program.spawn().map_err(|error| format!("cannot start {}: {error}", spec.path))?;
        Ok(program)
    }

    fn spawn(&mut self) -> std::io::Result<()> {
        let mut command = Command::new(&self.path);
        command.args(&self.args).stdin(Stdio::piped()).stdout(Stdio::null());
        command
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .current_dir("/");
        let child = command.spawn()?;
        if let Some(stdin) = &child.stdin {
            // Of our end only: the plugin's is an open file of its own.
            fcntl(stdin, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        }
        tracing::info!(output = self.name, pid = child.id(), "plugin started");
        self.child = Some(child);
        Ok(())
    }

    /// The plugin ended, or could not be started.
    fn restart_later(&mut self) -> Wrote {
        if self.starts_left == 0 {
            tracing::error!(
                output = self.name,
                "the plugin ended more often than max_restarts allows: it gets no more"
            );
            return Wrote::Gone;
        }
        self.starts_left -= 1;
        self.backoff.failed();
        Wrote::Again(self.backoff.until().unwrap_or_else(Instant::now))
    }
}

impl Port for Program {
    fn write(&mut self, bytes: &[u8]) -> Wrote {
        if self.child.is_none()
            && let Err(error) = self.spawn()
        {
            tracing::error!(output = self.name, %error, "cannot start the plugin");
            return self.restart_later();
        }
        let stdin = self.child.as_mut().and_then(|child| child.stdin.as_mut());
        if let Some(wrote) = stdin.and_then(|stdin| wrote(stdin.write(bytes))) {
            return wrote;
        }
        if let Some(mut child) = self.child.take() {
            drop(child.stdin.take());
            // It closed its input; whether it ended too, it is to.
            terminate(&mut child);
            tracing::warn!(output = self.name, status = ?child.try_wait().ok().flatten(), "the plugin ended");
        }
        self.restart_later()
    }

    /// As auditd does: plugins read their own configuration again at SIGHUP.
    fn reread(&mut self) {
        self.starts_left = self.max_restarts;
        if let Some(child) = &mut self.child
            && matches!(child.try_wait(), Ok(None))
        {
            let _ = kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGHUP);
        }
    }

    fn close(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        drop(child.stdin.take());
        if !ended(&mut child) {
            terminate(&mut child);
        }
    }
}

fn terminate(child: &mut Child) {
    if !matches!(child.try_wait(), Ok(Some(_))) {
        // Not reaped yet, so the number is still its own.
        let _ = kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM);
        ended(child);
    }
}

/// Whether it ends soon.
fn ended(child: &mut Child) -> bool {
    let deadline = Instant::now() + ENDING;
    loop {
        if matches!(child.try_wait(), Ok(Some(_)) | Err(_)) {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
