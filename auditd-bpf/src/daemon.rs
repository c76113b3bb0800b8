//! `auditd-bpf daemon`.

use crate::cli::DaemonOptions;
use crate::config::Config;
use crate::doctor::{self, Refusal};
use crate::exit_code::ExitCode;
use crate::rule_files::{self, RuleFileError};

/// Why the daemon does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The host does not allow it.
    #[error(transparent)]
    Host(#[from] Refusal),
    /// Rule files cannot be read.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    RuleFiles(Vec<RuleFileError>),
}

impl StartError {
    /// The status to end with.
    #[must_use]
    pub const fn exit_code(&self) -> ExitCode {
        match self {
            Self::Host(refusal) => refusal.exit_code(),
            Self::RuleFiles(_) => ExitCode::BadConfiguration,
        }
    }
}

/// Runs until it is told to end.
///
/// # Errors
/// If it cannot start.
pub fn run(_options: &DaemonOptions, config: Config) -> Result<(), StartError> {
    rule_files::read(&[config.rules]).map_err(StartError::RuleFiles)?;
    doctor::probe().refusal().map_or(Ok(()), |refusal| Err(refusal.into()))
}
