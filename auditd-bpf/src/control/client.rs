//! The side of the control socket that asks.

use std::io::{self, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

use super::protocol::{self, Command, Outcome, Ran, Request, Response, Run, VERSION};
use super::{DEFAULT_SOCKET, SOCKET_VARIABLE};
use crate::config::Config;
use crate::status::Report;

/// A daemon that has not answered by then will not.
const PATIENCE: Duration = Duration::from_secs(330);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("no auditd-bpf daemon answers at {}: {source}", path.display())]
    NoDaemon {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The connection failed.
    #[error("the daemon did not answer: {0}")]
    Io(#[from] io::Error),
    /// The daemon answered what is no answer.
    #[error("the daemon's answer is not understood: {0}")]
    Malformed(#[from] serde_json::Error),
    /// The daemon does not accept the request.
    #[error("the daemon refused the request: {0}")]
    Refused(String),
}

/// A connection to the daemon.
pub struct Client {
    stream: BufReader<UnixStream>,
    pid: i32,
}

/// Where the daemon of this machine listens: what the environment says, what the configuration says, or the default.
#[must_use]
pub fn socket_path() -> PathBuf {
    match std::env::var_os(SOCKET_VARIABLE) {
        Some(path) if !path.is_empty() => path.into(),
        _ => Config::peek().map_or_else(|| DEFAULT_SOCKET.into(), |config| config.control_socket),
    }
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// If no daemon listens there.
    pub fn connect(path: &Path) -> Result<Self, ClientError> {
        let no_daemon = |source| ClientError::NoDaemon { path: path.to_path_buf(), source };
        let stream = UnixStream::connect(path).map_err(no_daemon)?;
        let peer = getsockopt(&stream, PeerCredentials).map_err(|errno| no_daemon(errno.into()))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream: BufReader::new(stream), pid: peer.pid() })
    }

    /// The process that listens.
    #[must_use]
    pub const fn daemon_pid(&self) -> i32 {
        self.pid
    }

    /// Has command lines carried out.
    ///
    /// # Errors
    /// If the daemon does not answer, or refuses; lines that fail are part of the answer.
    pub fn run(&mut self, run: Run) -> Result<Ran, ClientError> {
        match self.ask(Command::Run(run))? {
            Outcome::Ran(ran) => Ok(ran),
            other => Err(unexpected(other)),
        }
    }

    /// What the daemon has seen, written and lost.
    ///
    /// # Errors
    /// If the daemon does not answer, or refuses.
    pub fn status(&mut self) -> Result<Report, ClientError> {
        match self.ask(Command::Status)? {
            Outcome::Status { report } => Ok(report),
            other => Err(unexpected(other)),
        }
    }

    fn ask(&mut self, command: Command) -> Result<Outcome, ClientError> {
        let request = protocol::line(&Request { version: VERSION, command })?;
        // A daemon that refuses says so before it has read everything, and why is in its answer.
        let sent = self.stream.get_mut().write_all(&request);
        let Some(line) = protocol::read_line(&mut self.stream)? else {
            sent?;
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        };
        Ok(serde_json::from_slice::<Response>(&line)?.outcome)
    }
}

/// Not what was asked for.
fn unexpected(outcome: Outcome) -> ClientError {
    match outcome {
        Outcome::Refused { error } => ClientError::Refused(error),
        Outcome::Ran(_) | Outcome::Status { .. } => ClientError::Refused("it answers another question".to_owned()),
    }
}
