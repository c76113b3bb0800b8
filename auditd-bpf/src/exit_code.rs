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
}

impl ExitCode {
    /// Every status, ascending.
    pub const ALL: [Self; 6] =
        [Self::Success, Self::Failure, Self::BadArguments, Self::UnfitHost, Self::NotRoot, Self::BadConfiguration];

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
        assert_eq!(ExitCode::ALL.map(ExitCode::status), [0, 1, 2, 3, 4, 6]);
    }
}
