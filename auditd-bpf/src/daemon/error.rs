//! Why the daemon does not start.

use nix::errno::Errno;
use output::OutputError;
use rules::Diagnostic;

use crate::control::server::ControlError;
use crate::doctor::Refusal;
use crate::exit_code::ExitCode;
use crate::kernel::engine::EngineError;
use crate::mode::Mode;
use crate::rule_files::RuleFileError;

/// Why the daemon does not start, or a reload is refused.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The host does not allow it.
    #[error(transparent)]
    Host(#[from] Refusal),
    /// Rule files cannot be read.
    #[error("{}", lines(.0))]
    RuleFiles(Vec<RuleFileError>),
    /// Rules are wrong; nothing was loaded.
    #[error("no rule was loaded:\n{}", lines(.0))]
    Rules(Vec<Diagnostic>),
    /// An output cannot be used.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The kernel refuses a program or a table.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// What an earlier daemon left in force spares another one alone, which is no more.
    #[error(
        "{0}: it was killed together with its keeper, so no daemon can take its place. Rules and guard stay in force {1}"
    )]
    Guarded(String, &'static str),
    /// Rules in force would be decided in another way.
    #[error("rules that are in force are decided in mode {}, and here they would be in mode {}", before.name(), now.name())]
    OtherMode {
        /// By the daemon before.
        before: Mode,
        /// By this one.
        now: Mode,
    },
    /// The control socket cannot be had.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The operating system refuses something else.
    #[error("cannot {what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why not.
        source: std::io::Error,
    },
}

fn lines<E: ToString>(errors: &[E]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

impl StartError {
    /// The status to end with.
    #[must_use]
    pub const fn exit_code(&self) -> ExitCode {
        match self {
            Self::Host(refusal) => refusal.exit_code(),
            Self::RuleFiles(_) | Self::Rules(_) => ExitCode::BadConfiguration,
            Self::Output(_) | Self::Control(_) | Self::Guarded(..) | Self::OtherMode { .. } | Self::System { .. } => {
                ExitCode::Failure
            }
            Self::Engine(_) => ExitCode::UnfitHost,
        }
    }
}

pub(super) fn system(what: &'static str) -> impl FnOnce(Errno) -> StartError {
    move |errno| StartError::System { what, source: errno.into() }
}
