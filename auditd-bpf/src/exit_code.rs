//! Exit statuses: the numbers of auditd and auditctl, so that unit files and scripts made for them fit.

/// How the program ends. `auditd-bpf --help` lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// All went well; a daemon was asked to end.
    Success = 0,
    /// It failed while it ran; for `check` and `explain`, there is an error in the rules; for `search`, nothing
    /// was found.
    Failure = 1,
    /// The command line is wrong. clap uses the same number.
    BadArguments = 2,
    /// The kernel, or the way it was booted, does not allow the full mode.
    UnfitHost = 3,
    /// It must run as root.
    NotRoot = 4,
    /// The configuration or the rules are wrong.
    BadConfiguration = 6,
    /// `search --checkpoint`: the checkpoint makes no sense, or its log is gone. ausearch's number, as the next two.
    BadCheckpoint = 10,
    /// `search --checkpoint`: a log could not be read, or the checkpoint not written.
    CheckpointFailed = 11,
    /// `search --checkpoint`: its event is not in its log.
    CheckpointLost = 12,
}

impl ExitCode {
    /// Every status, ascending.
    pub const ALL: [Self; 9] = [
        Self::Success,
        Self::Failure,
        Self::BadArguments,
        Self::UnfitHost,
        Self::NotRoot,
        Self::BadConfiguration,
        Self::BadCheckpoint,
        Self::CheckpointFailed,
        Self::CheckpointLost,
    ];

    /// What it means, in one line.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Success => "all went well",
            Self::Failure => {
                "failed while running; for check and explain: an error in the rules; for search: no matches"
            }
            Self::BadArguments => "wrong arguments",
            Self::UnfitHost => "this host cannot run it: `auditd-bpf doctor` says why and what to do",
            Self::NotRoot => "not root",
            Self::BadConfiguration => "an error in the configuration or the rules",
            Self::BadCheckpoint => "search: the checkpoint makes no sense, or its log is gone",
            Self::CheckpointFailed => "search: a log cannot be read, or the checkpoint not written",
            Self::CheckpointLost => "search: the event of the checkpoint is not in its log",
        }
    }

    /// The number.
    #[must_use]
    pub const fn status(self) -> u8 {
        self as u8
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code.status())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_auditds() {
        assert_eq!(ExitCode::ALL.map(ExitCode::status), [0, 1, 2, 3, 4, 6, 10, 11, 12]);
    }
}
