//! Carries out what auditd.conf's actions ask for, as auditd does: what it writes to syslog and in mails, and the programs it
//! runs (`auditd-event.c`, `queue.c`; auditd.conf(5)).

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::config::FailureAction;

/// Where syslog listens.
const LOG_SOCKET: &str = "/dev/log";
/// What sends mails, as auditd's `email_command`.
const SENDMAIL: &str = "/usr/lib/sendmail";
/// What changes the run level.
const INIT: &str = "/sbin/init";

/// `LOG_DAEMON | LOG_ALERT` of syslog(3).
const ALERT: u8 = 3 << 3 | 1;

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Less than `space_left`.
    LowSpace,
    /// Less than `admin_space_left`.
    VeryLowSpace,
    /// The disk is full.
    DiskFull,
    /// A write failed for another reason.
    DiskError,
    /// More than `max_log_file`.
    LongLog,
    /// A plugin's queue is full.
    Overflow,
}

impl Trouble {
    /// The keyword that says what to do.
    pub(crate) const fn keyword(self) -> &'static str {
        match self {
            Self::LowSpace => "space_left_action",
            Self::VeryLowSpace => "admin_space_left_action",
            Self::DiskFull => "disk_full_action",
            Self::DiskError => "disk_error_action",
            Self::LongLog => "max_log_file_action",
            Self::Overflow => "overflow_action",
        }
    }

    /// The warning.
    const fn alert(self) -> &'static str {
        match self {
            Self::LowSpace => "Audit daemon is low on disk space for logging",
            Self::VeryLowSpace => "Audit daemon is very low on disk space for logging",
            Self::DiskFull => "Audit daemon has no space left on logging partition",
            Self::DiskError => "Audit daemon detected an error writing an event to disk",
            Self::LongLog => "Audit daemon log file is larger than max size",
            Self::Overflow => "queue to plugins is full - dropping event",
        }
    }

    const fn reason(self) -> &'static str {
        match self {
            Self::LowSpace | Self::VeryLowSpace => "low disk space",
            Self::DiskFull => "no space left on logging partition",
            Self::DiskError => "previously mentioned write error",
            Self::LongLog => "logfile size",
            Self::Overflow => "overflowing its queue",
        }
    }

    /// Subject and text.
    const fn mail(self) -> (&'static str, &'static str) {
        match self {
            Self::VeryLowSpace => (
                "Audit Admin Space Alert",
                "The audit daemon is very low on disk space for logging! Immediate action\nis required to ensure no loss of \
                 service.",
            ),
            _ => (
                "Audit Disk Space Alert",
                "The audit daemon is low on disk space for logging! Please take action\nto ensure no loss of service.",
            ),
        }
    }
}

/// What remains to be done by who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Nothing.
    Nothing,
    /// Write no more until SIGUSR2.
    Suspend,
    /// Begin another log.
    Rotate,
}

/// How the machine is reached: a seam for tests.
pub(crate) trait Machine: Send {
    /// A message to syslog.
    fn alert(&mut self, text: &str) -> io::Result<()>;

    /// Runs a program, which nobody waits for, with this on its standard input.
    fn run(&mut self, program: &Path, args: &[&str], input: &str) -> io::Result<()>;
}

/// Carries out actions.
pub(crate) struct Responder {
    machine: Box<dyn Machine>,
    mail_account: String,
}

impl Responder {
    pub(crate) fn new(mail_account: &str) -> Self {
        Self::on(Box::new(System), mail_account)
    }

    pub(crate) fn on(machine: Box<dyn Machine>, mail_account: &str) -> Self {
        Self { machine, mail_account: mail_account.to_owned() }
    }

    /// Does what is to be done. `cause` is what the system said, of a write that failed.
    pub(crate) fn respond(&mut self, trouble: Trouble, action: &FailureAction, cause: Option<&io::Error>) -> Rest {
        if *action == FailureAction::Ignore {
            return Rest::Nothing;
        }
        tracing::warn!(action = action.name(), "{}", trouble.keyword());
        let cause = cause.map_or_else(String::new, |cause| format!(" ({cause})"));
        self.alert(&format!("{}{cause}", trouble.alert()));
        let reason = trouble.reason();
        match action {
            FailureAction::Ignore | FailureAction::Syslog => return Rest::Nothing,
            FailureAction::Rotate => {
                self.alert("Audit daemon rotating log files");
                return Rest::Rotate;
            }
            FailureAction::Email => {
                let (subject, text) = trouble.mail();
                let mail = format!("To: {}\nFrom: root\nSubject: {subject}\n\n{text}\n\n.\n\n", self.mail_account);
                self.run(Path::new(SENDMAIL), &["-t"], &mail);
            }
            FailureAction::Exec(program) => {
                self.run(program, &[], "");
                return Rest::Suspend;
            }
            FailureAction::Suspend => {
                let what = if trouble == Trouble::Overflow { "event processing" } else { "logging" };
                self.alert(&format!("Audit daemon is suspending {what} due to {reason}."));
                return Rest::Suspend;
            }
            FailureAction::Single => {
                self.alert(&format!("The audit daemon is now changing the system to single user mode due to {reason}"));
                self.run(Path::new(INIT), &["1"], "");
            }
            FailureAction::Halt => {
                self.alert(&format!("The audit daemon is now halting the system due to {reason}"));
                self.run(Path::new(INIT), &["0"], "");
            }
        }
        Rest::Nothing
    }

    fn alert(&mut self, text: &str) {
        if let Err(error) = self.machine.alert(text) {
            tracing::error!("{text}; syslog does not hear of it: {error}");
        }
    }

    fn run(&mut self, program: &Path, args: &[&str], input: &str) {
        if let Err(error) = self.machine.run(program, args, input) {
            self.alert(&format!("Audit daemon failed to exec {}: {error}", program.display()));
        }
    }
}

/// This machine.
struct System;

impl Machine for System {
    fn alert(&mut self, text: &str) -> io::Result<()> {
        let time = chrono::Local::now().format("%b %e %H:%M:%S");
        let message = format!("<{ALERT}>{time} auditd-bpf[{}]: {text}", std::process::id());
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        socket.send_to(message.as_bytes(), LOG_SOCKET).map(drop)
    }

    fn run(&mut self, program: &Path, args: &[&str], input: &str) -> io::Result<()> {
        let mut command = Command::new(program);
        command.args(args).env_clear().current_dir("/").stdout(Stdio::null());
        command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        let mut child = command.stdin(Stdio::piped()).spawn()?;
        let (program, input) = (PathBuf::from(program), input.to_owned());
        // Who takes its time to read, or to end, keeps no record waiting.
        let watch = move || {
            if let Some(mut stdin) = child.stdin.take() {
                // What it does not read, it does not want.
                let _ = io::Write::write_all(&mut stdin, input.as_bytes());
            }
            match child.wait() {
                Ok(status) if !status.success() => {
                    tracing::error!(program = %program.display(), %status, "the program of an action failed");
                }
                Ok(_) => {}
                Err(error) => tracing::error!(program = %program.display(), %error, "cannot wait for a program"),
            }
        };
        std::thread::Builder::new().name("action".to_owned()).spawn(watch).map(drop)
    }
}

#[cfg(test)]
pub(crate) mod recorded {
    //! A machine that only keeps what it is asked for.

    use std::sync::{Arc, Mutex};

    use super::*;

    /// What was asked for, in order: `alert TEXT`, `run PROGRAM ARGS`.
    #[derive(Clone, Default)]
    pub(crate) struct Recorded(Arc<Mutex<Vec<String>>>);

    impl Recorded {
        pub(crate) fn take(&self) -> Vec<String> {
            std::mem::take(&mut self.0.lock().unwrap())
        }
    }

    impl Machine for Recorded {
        fn alert(&mut self, text: &str) -> io::Result<()> {
            self.0.lock().unwrap().push(format!("alert {text}"));
            Ok(())
        }

        fn run(&mut self, program: &Path, args: &[&str], input: &str) -> io::Result<()> {
            let words = [&[&*program.to_string_lossy()], args].concat().join(" ");
            self.0
                .lock()
                .unwrap()
                .push(format!("run {words}{}", input.lines().map(|line| format!("|{line}")).collect::<String>()));
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::recorded::Recorded;
    use super::*;

    fn respond(trouble: Trouble, action: &FailureAction) -> (Rest, Vec<String>) {
        let machine = Recorded::default();
        let full = io::Error::other("no more");
        let cause = matches!(trouble, Trouble::DiskFull | Trouble::DiskError).then_some(&full);
        let rest = Responder::on(Box::new(machine.clone()), "ops@example.org").respond(trouble, action, cause);
        (rest, machine.take())
    }

    #[test]
    fn each_action_does_what_auditd_does() {
        use FailureAction as Act;
        let low = |action| respond(Trouble::LowSpace, &action);
        assert_eq!(low(Act::Ignore), (Rest::Nothing, vec![]));
        let alert = "alert Audit daemon is low on disk space for logging".to_owned();
        assert_eq!(low(Act::Syslog), (Rest::Nothing, vec![alert.clone()]));
        let (rest, done) = low(Act::Email);
        assert_eq!((rest, &done[0]), (Rest::Nothing, &alert));
        assert!(
            done[1].starts_with("run /usr/lib/sendmail -t|To: ops@example.org|From: root|Subject: Audit Disk Space")
        );
        assert_eq!(low(Act::Exec("/bin/x".into())), (Rest::Suspend, vec![alert.clone(), "run /bin/x".to_owned()]));
        assert_eq!(low(Act::Rotate).0, Rest::Rotate);
        let suspends = "alert Audit daemon is suspending logging due to low disk space.".to_owned();
        assert_eq!(low(Act::Suspend), (Rest::Suspend, vec![alert, suspends]));
        assert_eq!(low(Act::Single).1[2], "run /sbin/init 1");
        assert_eq!(respond(Trouble::DiskFull, &Act::Halt).1[2], "run /sbin/init 0");
    }

    #[test]
    fn what_the_system_said_is_told() {
        let (_, done) = respond(Trouble::DiskError, &FailureAction::Suspend);
        assert_eq!(done[0], "alert Audit daemon detected an error writing an event to disk (no more)");
        assert_eq!(done[1], "alert Audit daemon is suspending logging due to previously mentioned write error.");
    }

    #[test]
    fn a_program_gets_its_input_and_nobody_waits_for_it() {
        let directory = tempfile::tempdir().unwrap();
        let mark = directory.path().join("mark");
        let script = format!("cat > {}.new; mv {0}.new {0}; sleep 1", mark.display());
        System.run(Path::new("/bin/sh"), &["-c", &script], "hello").unwrap();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while !mark.exists() {
            assert!(std::time::Instant::now() < deadline);
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert_eq!(std::fs::read_to_string(&mark).unwrap(), "hello");
        assert!(System.run(Path::new("/nonexistent"), &[], "").is_err());
    }
}
