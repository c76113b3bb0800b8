//! Why a pipeline does not start.

use std::io;
use std::path::PathBuf;

/// Why a pipeline does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutputError {
    /// No output at all.
    #[error("no output is configured: every record would be lost; add an [[output]] table")]
    NoOutput,
    /// A system call on a file failed.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was attempted, for example `open`.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The path is a directory, device, FIFO or socket.
    #[error("{} is not a regular file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// Somebody else holds the file's lock.
    #[error("{} is being written by another process or another [[output]]; give each its own path", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// What the file contains was written with another `compression`.
    #[error(
        "{} contains data of compression `{found}`, but `{configured}` is configured; rename the file or choose another \
         path",
        path.display()
    )]
    OtherCompression {
        /// The file.
        path: PathBuf,
        /// What it contains.
        found: &'static str,
        /// What is configured.
        configured: &'static str,
    },
    /// Standard output cannot be used.
    #[error("standard output is not usable: {0}")]
    Stdout(io::Error),
    /// The compressor could not be set up.
    #[error("cannot set up the compressor: {0}")]
    Compressor(io::Error),
    /// A sink's thread could not be started.
    #[error("cannot start a thread for output {sink}: {source}")]
    Thread {
        /// Which sink.
        sink: String,
        /// What the system said.
        source: io::Error,
    },
    /// A network output without a spool.
    #[error("output {sink} has no spool")]
    NoSpool {
        /// Which sink.
        sink: String,
    },
    /// TLS cannot be set up as configured.
    #[cfg(feature = "tls")]
    #[error("output {sink}: {source}")]
    Tls {
        /// Which sink.
        sink: String,
        /// What is wrong.
        source: crate::sinks::network::TlsError,
    },
    /// This program was built without what the output needs.
    #[error("output {sink}: this program was built without `{feature}`")]
    NotBuilt {
        /// Which sink.
        sink: String,
        /// The cargo feature.
        feature: &'static str,
    },
}
