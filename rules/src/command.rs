//! What a checked line asks for.

use crate::print::Dialect;
use crate::rule::Rule;

/// One request; a line may hold several (`-b 8192 -f 1`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `-a`, `-w`
    Append(Rule),
    /// `-A`
    Prepend(Rule),
    /// `-d`, `-W`
    Delete(Rule),
    /// Everything else.
    Control(Control),
}

impl Command {
    /// What auditctl says on standard error about a line that it carries out, and that no file is the worse for: 4.x does not
    /// like watches, whose rules in the kernel are asked at every system call. Here they cost no more than others.
    #[must_use]
    pub const fn notice(&self, dialect: Dialect) -> Option<&'static str> {
        match (self, dialect) {
            (Self::Append(rule), Dialect::V4) if rule.written.watch => Some("Old style watch rules are slower"),
            _ => None,
        }
    }
}

/// A control rule, or a question: what matches no event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// `-D [-k key]`: delete all rules, or those with the text somewhere in their key.
    DeleteAll {
        /// Part of the key.
        key: Option<Vec<u8>>,
    },
    /// `-e`: 0 off, 1 on, 2 locked until reboot.
    Enabled(u32),
    /// `-f`: 0 silent, 1 printk, 2 panic.
    Failure(u32),
    /// `-r`: records a second.
    RateLimit(u32),
    /// `-b`: events that may wait.
    BacklogLimit(u32),
    /// `--backlog_wait_time`
    BacklogWaitTime(u32),
    /// `--loginuid-immutable`
    LoginuidImmutable,
    /// `--enforce`: whether `deny` and `kill` refuse, or only tell (ours).
    Enforce(bool),
    /// `--confirm`: what is on probation stays (ours).
    Confirm,
    /// `-i`: errors after this line do not count.
    IgnoreErrors,
    /// `-c`: lines after an error are still loaded.
    ContinueOnError,
    /// `--reset-lost`
    ResetLost,
    /// `--reset_backlog_wait_time_actual`
    ResetBacklogWaitTimeActual,
    /// `-l [-i] [-k key]`
    List {
        /// Names in place of numbers.
        interpret: bool,
        /// Only rules with this key.
        key: Option<Vec<u8>>,
    },
    /// `-s [-i]`
    Status {
        /// Names in place of numbers.
        interpret: bool,
    },
    /// `-m`
    Message(Vec<u8>),
    /// `-R`
    ReadFile(Vec<u8>),
    /// `-q mount,subtree`
    MakeEquivalent {
        /// Where the subtree is mounted.
        mount: Vec<u8>,
        /// What is mounted there.
        subtree: Vec<u8>,
    },
    /// `-t`
    TrimSubtrees,
    /// `--signal`
    Signal(DaemonSignal),
    /// `-v`
    Version,
    /// `-h`
    Help,
}

/// What `--signal` asks of the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DaemonSignal {
    /// SIGTERM: stop.
    Stop,
    /// SIGHUP: read the configuration again.
    Reload,
    /// SIGUSR1: rotate the log.
    Rotate,
    /// SIGUSR2: resume logging.
    Resume,
    /// SIGCONT: dump internal state.
    State,
}

impl DaemonSignal {
    /// By either of its names.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "term" | "stop" => Some(Self::Stop),
            "hup" | "reload" => Some(Self::Reload),
            "usr1" | "rotate" => Some(Self::Rotate),
            "usr2" | "resume" => Some(Self::Resume),
            "cont" | "state" => Some(Self::State),
            _ => None,
        }
    }
}
