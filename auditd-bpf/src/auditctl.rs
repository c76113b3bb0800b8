//! The program as `auditctl`: the same command lines, answers and exit statuses as the original (4.x), asked of the daemon.
//! docs/auditctl.md lists the differences.

mod render;

use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rules::ast::OPTIONS;
use rules::{Command, Control, DaemonSignal, Loader, Severity, Source};

use crate::control::client::{Client, ClientError, socket_path};
use crate::control::protocol::{ErrorKind, Line, Ran, Run, Said, Text};
use crate::host_facts::HostFacts;
use crate::rule_files;

/// Exit statuses of auditctl.
mod status {
    pub const SUCCESS: u8 = 0;
    pub const FAILURE: u8 = 1;
    pub const NO_DAEMON_TO_SIGNAL: u8 = 2;
    pub const NOT_ROOT: u8 = 4;
    /// `-1` of its main function.
    pub const BAD_PARAMETERS: u8 = 255;
}

const BAD_PARAMETERS: &str = "There was an error while processing parameters";

/// How long a daemon that was told to stop may take until auditctl gives up waiting.
const STOP_PATIENCE: Duration = Duration::from_secs(30);

/// Does what the arguments say; `arguments` without the program's name. Returns the exit status.
///
/// # Errors
/// If the answer cannot be written.
pub fn run(arguments: &[OsString], out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
    let words: Vec<Vec<u8>> = arguments.iter().map(|word| word.as_bytes().to_vec()).collect();
    let mut session = Session { out, err };
    match words.as_slice() {
        [] => {
            session.usage()?;
            Ok(status::FAILURE)
        }
        [word] if word == b"-h" || word == b"--help" => {
            session.usage()?;
            Ok(status::SUCCESS)
        }
        _ if !nix::unistd::geteuid().is_root() => {
            session.complain("You must be root to run this program.")?;
            Ok(status::NOT_ROOT)
        }
        [option, file] if option == b"-R" => session.file(Path::new(OsStr::from_bytes(file))),
        words => session.command_line(words),
    }
}

/// Loads a rule file, as `auditctl -R`.
///
/// # Errors
/// If the answer cannot be written.
pub fn load(file: &Path, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
    Session { out, err }.file(file)
}

struct Session<'a> {
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
}

impl Session<'_> {
    fn complain(&mut self, message: impl Display) -> io::Result<()> {
        writeln!(self.err, "{message}")
    }

    fn usage(&mut self) -> io::Result<()> {
        writeln!(self.out, "usage: auditctl [options]")?;
        for row in OPTIONS {
            let short = row.short.map(|letter| format!("-{}", char::from(letter)));
            let long = row.long.map(|name| format!("--{name}"));
            let names: Vec<_> = short.into_iter().chain(long).collect();
            writeln!(self.out, "    {:<34}{}", names.join(", "), row.help)?;
        }
        Ok(())
    }

    /// What is wrong with the line is found here; the daemon is asked only for what can be done.
    fn command_line(&mut self, words: &[Vec<u8>]) -> io::Result<u8> {
        let (line, commands, diagnostics) = Loader::new(&HostFacts).command_line(words);
        if let Some(error) = diagnostics.iter().find(|diagnostic| diagnostic.severity == Severity::Error) {
            self.complain(&error.message)?;
            self.hint(error.hint.as_deref())?;
            if is_signal(words) {
                return Ok(status::FAILURE);
            }
            return self.bad_parameters();
        }
        match commands.as_slice() {
            [Command::Control(Control::Help), ..] => {
                self.usage()?;
                return Ok(status::SUCCESS);
            }
            [Command::Control(Control::Version)] => {
                writeln!(self.out, "auditctl version 4.2.2 (auditd-bpf {})", env!("CARGO_PKG_VERSION"))?;
                return Ok(status::SUCCESS);
            }
            [Command::Control(Control::Signal(signal))] => return self.signal(*signal),
            [Command::Control(Control::ReadFile(_)), ..] => {
                self.complain("Error - nested rule files not supported")?;
                return self.bad_parameters();
            }
            [] if diagnostics.is_empty() && !words.iter().any(|word| word.starts_with(b"#")) => {
                return self.no_list(words);
            }
            _ => {}
        }
        let changes_rules = commands.iter().any(|command| !matches!(command, Command::Control(_)));
        let lines = vec![Line { number: 1, text: Text(line.text.clone()) }];
        match self.ask(Run { file: None, lines }) {
            Ok(ran) => self.answer(&ran, changes_rules),
            Err(error) => self.no_answer(&error, if changes_rules { status::FAILURE } else { status::SUCCESS }),
        }
    }

    /// A line that asks for nothing, such as `-S open` without a list.
    fn no_list(&mut self, words: &[Vec<u8>]) -> io::Result<u8> {
        if words.iter().any(|word| word.starts_with(b"-S")) {
            self.complain("Error - no list specified")?;
        }
        self.bad_parameters()
    }

    fn bad_parameters(&mut self) -> io::Result<u8> {
        self.complain(BAD_PARAMETERS)?;
        Ok(status::BAD_PARAMETERS)
    }

    fn hint(&mut self, hint: Option<&str>) -> io::Result<()> {
        hint.map_or(Ok(()), |hint| writeln!(self.err, "hint: {hint}"))
    }

    fn ask(&self, run: Run) -> Result<Ran, ClientError> {
        Client::connect(&socket_path())?.run(run)
    }

    /// Without a daemon, auditctl would say this of the kernel.
    fn no_answer(&mut self, error: &ClientError, without_daemon: u8) -> io::Result<u8> {
        if let ClientError::NoDaemon { .. } = error {
            self.complain("The audit system is disabled")?;
            self.hint(Some(&error.to_string()))?;
            return Ok(without_daemon);
        }
        self.complain(error)?;
        self.bad_parameters()
    }

    fn answer(&mut self, ran: &Ran, changes_rules: bool) -> io::Result<u8> {
        let mut shown = false;
        let mut failure = None;
        for answer in &ran.answers {
            match &answer.said {
                Said::Error { kind, message, hint } => {
                    self.complain(message)?;
                    self.hint(hint.as_deref())?;
                    failure = Some(*kind);
                }
                // auditctl shows the first of several.
                Said::Set { .. } if std::mem::replace(&mut shown, true) => {}
                said => render::said(said, self.out, self.err)?,
            }
        }
        match failure {
            None => Ok(status::SUCCESS),
            Some(ErrorKind::Immutable) if changes_rules => Ok(status::FAILURE),
            Some(_) => self.bad_parameters(),
        }
    }

    fn file(&mut self, file: &Path) -> io::Result<u8> {
        let source = match rule_files::read_one(file) {
            Ok(source) => source,
            Err(error) => {
                self.complain(error)?;
                return Ok(status::FAILURE);
            }
        };
        match self.ask(Run { file: Some(Text(file.as_os_str().as_bytes().to_vec())), lines: lines(&source) }) {
            Ok(ran) => self.file_answer(&ran, file),
            Err(error) => {
                self.no_answer(&error, status::FAILURE)?;
                Ok(status::FAILURE)
            }
        }
    }

    fn file_answer(&mut self, ran: &Ran, file: &Path) -> io::Result<u8> {
        for answer in &ran.answers {
            match &answer.said {
                Said::Error { message, hint, .. } => {
                    self.complain(message)?;
                    self.hint(hint.as_deref())?;
                    if answer.line != 0 {
                        self.complain(format_args!(
                            "There was an error in line {} of {}",
                            answer.line,
                            file.display()
                        ))?;
                    }
                }
                said => render::said(said, self.out, self.err)?,
            }
        }
        Ok(if ran.stopped || ran.failed { status::FAILURE } else { status::SUCCESS })
    }

    fn signal(&mut self, signal: DaemonSignal) -> io::Result<u8> {
        let Ok(client) = Client::connect(&socket_path()) else {
            self.complain("Auditd is not running")?;
            return Ok(status::NO_DAEMON_TO_SIGNAL);
        };
        let pid = Pid::from_raw(client.daemon_pid());
        let number = match signal {
            DaemonSignal::Stop => Signal::SIGTERM,
            DaemonSignal::Reload => Signal::SIGHUP,
            DaemonSignal::Rotate => Signal::SIGUSR1,
            DaemonSignal::Resume => Signal::SIGUSR2,
            DaemonSignal::State => Signal::SIGCONT,
        };
        if let Err(errno) = kill(pid, number) {
            self.complain(format_args!("Failed sending signal to auditd ({})", errno.desc()))?;
            return Ok(status::FAILURE);
        }
        if signal == DaemonSignal::Stop && !has_ended(pid) {
            self.complain("Failed sending signal to auditd (timeout)")?;
            return Ok(status::FAILURE);
        }
        Ok(status::SUCCESS)
    }
}

fn is_signal(words: &[Vec<u8>]) -> bool {
    words.first().is_some_and(|word| word.starts_with(b"--sig"))
}

/// Lines that say something, with their numbers.
fn lines(source: &Source) -> Vec<Line> {
    let lines = source.lines().filter(|line| !rules::words(&line.text).is_empty());
    lines.map(|line| Line { number: line.origin.line, text: Text(line.text.clone()) }).collect()
}

/// Waits for the end of a daemon. What its parent has not noticed yet (state Z) has ended too.
fn has_ended(pid: Pid) -> bool {
    let deadline = Instant::now() + STOP_PATIENCE;
    while Instant::now() < deadline {
        // pid (comm) state ...: proc_pid_stat(5)
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        match stat.rsplit_once(") ") {
            None => return true,
            Some((_, rest)) if rest.starts_with(['Z', 'X']) => return true,
            Some(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
    false
}

#[cfg(test)]
mod tests;
