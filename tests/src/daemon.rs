//! The daemon as a process.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// Where the guest has it.
pub const PROGRAM: &str = "/usr/bin/auditd-bpf";
/// Under emulation the verifier takes its time.
const START_TIME: Duration = Duration::from_secs(400);
const STOP_TIME: Duration = Duration::from_secs(90);

/// A running `auditd-bpf daemon`; killed when dropped.
pub struct Daemon {
    child: Child,
    stderr: PathBuf,
}

impl Daemon {
    /// Starts it and waits until it says that it is ready.
    pub fn start(config: &Path, rules: &Path) -> Result<Self> {
        let stderr = config.with_extension("stderr");
        let file = File::create(&stderr).context("cannot create a file for the daemon's standard error")?;
        let mut command = Command::new(PROGRAM);
        command.arg("daemon").arg("--config").arg(config).arg("--rules").arg(rules);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        let child = command.spawn().with_context(|| format!("cannot run {PROGRAM}"))?;
        let mut daemon = Self { child, stderr };
        wait_for("the daemon to be ready", START_TIME, || {
            if let Some(status) = daemon.child.try_wait()? {
                bail!("the daemon ended with {}", shown(status));
            }
            Ok(says_ready(&daemon.said()).then_some(()))
        })
        .map_err(|error| anyhow::anyhow!("{error:#}; it said:\n{}", daemon.said()))?;
        Ok(daemon)
    }

    /// What it wrote to its standard error so far.
    pub fn said(&self) -> String {
        fs::read(&self.stderr).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Fails if it has ended.
    pub fn check_alive(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("the daemon ended with {}:\n{}", shown(status), self.said()),
        }
    }

    /// Ends it with SIGTERM, as systemd does; it must exit with status 0. Returns what it said.
    pub fn stop(self) -> Result<String> {
        self.signal(Signal::SIGTERM)?;
        self.ended()
    }

    /// Waits for its end; it must exit with status 0. Returns what it said.
    pub fn ended(mut self) -> Result<String> {
        let status = wait_for("the daemon to stop", STOP_TIME, || Ok(self.child.try_wait()?))
            .with_context(|| format!("it said:\n{}", self.said()))?;
        ensure!(status.success(), "the daemon stopped with {}:\n{}", shown(status), self.said());
        Ok(self.said())
    }

    /// Ends it with SIGKILL.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill().context("cannot kill the daemon")?;
        self.child.wait().context("cannot wait for the daemon")?;
        Ok(())
    }

    /// The process that was started: its keeper's, where it may guard something.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(self.pid(), signal).with_context(|| format!("cannot send {signal} to the daemon"))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It has ended already, if all is well; or it may be guarded, and does not end.
        if matches!(self.child.try_wait(), Ok(None)) && self.child.kill().is_ok() {
            let _ = self.child.wait();
            // The next case must not find the rules of this one in force. Where that was a keeper, its daemon is about to end.
            let release = || Ok(Command::new(PROGRAM).arg("release").output()?.status.success().then_some(()));
            let _ = wait_for("the rules to be released", STOP_TIME, release);
        }
    }
}

/// Runs the program to its end.
pub fn run(command: &mut Command) -> Result<Finished> {
    const TIME: Duration = Duration::from_secs(120);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot run {command:?}"))?;
    // Its output fits into the pipes; were it to grow beyond, the deadline would say so.
    let ended = wait_for("the program to end", TIME, || Ok(child.try_wait()?));
    if ended.is_err() {
        let _ = child.kill();
    }
    let output = child.wait_with_output().context("cannot wait for the program")?;
    let finished = Finished::from(output);
    ended.map(drop).with_context(|| format!("{command:?} did not end; it said:\n{}", finished.all()))?;
    Ok(finished)
}

/// What the running daemon tells of itself.
pub fn status() -> Result<Value> {
    let finished = run(Command::new(PROGRAM).args(["status", "--json"]))?;
    finished.ended_with(0)?;
    serde_json::from_str(&finished.stdout).context("the status is no JSON")
}

/// The process that answers for the daemon.
pub fn serving() -> Result<Pid> {
    let pid = status()?["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
    pid.map(Pid::from_raw).context("no pid in the status")
}

/// A program that has ended.
pub struct Finished {
    /// Exit status; `None` for a signal.
    pub status: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Finished {
    /// Both streams.
    pub fn all(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    /// Fails unless it ended with this status.
    pub fn ended_with(&self, status: i32) -> Result<&Self> {
        ensure!(
            self.status == Some(status),
            "exit status {:?} instead of {status}; it said:\n{}",
            self.status,
            self.all()
        );
        Ok(self)
    }

    /// Fails unless it said each of these, in any case of letters.
    pub fn said(&self, parts: &[&str]) -> Result<&Self> {
        let said = self.all().to_lowercase();
        for part in parts {
            ensure!(said.contains(&part.to_lowercase()), "it does not say `{part}`:\n{}", self.all());
        }
        Ok(self)
    }
}

impl From<Output> for Finished {
    fn from(output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { status: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }
}

/// Asks again and again until there is an answer.
pub fn wait_for<T>(what: &str, time: Duration, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    const PAUSE: Duration = Duration::from_millis(10);
    let deadline = Instant::now() + time;
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        ensure!(Instant::now() < deadline, "waited {} s for {what}", time.as_secs());
        thread::sleep(PAUSE);
    }
}

/// As a word of its own: `already` is none.
fn says_ready(text: &str) -> bool {
    text.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == "ready")
}

fn shown(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn ready_is_a_word() {
        assert!(says_ready("INFO ready: 12 rules"));
        assert!(!says_ready("WARN the log was already there"));
    }

    #[test]
    fn waiting_ends() {
        assert_eq!(wait_for("it", Duration::from_secs(5), || Ok(Some(1))).unwrap(), 1);
        let error = wait_for::<()>("godot", Duration::ZERO, || Ok(None)).unwrap_err();
        assert_eq!(error.to_string(), "waited 0 s for godot");
    }
}
