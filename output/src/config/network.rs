//! Keys that network outputs share: `spool`, `tls` and when records count as delivered.

use std::num::{NonZeroU64, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

/// Where spools are, unless `spool.path` says otherwise.
const SPOOLS: &str = "/var/spool/auditd-bpf";
/// Smallest spool: a few of the largest records.
const LEAST_SPOOL: u64 = 1 << 20;

/// `spool`: the queue on disk from which a network output is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpoolConfig {
    /// `path`: its directory. Default: one named after the output below `/var/spool/auditd-bpf`.
    pub path: PathBuf,
    /// `bytes`: how large it may grow. Default 1 GiB, at least 1 MiB.
    pub bytes: u64,
    /// `when_full`: what is lost then.
    pub when_full: WhenFull,
}

/// What a full spool loses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhenFull {
    /// What has waited longest, a segment at a time.
    #[default]
    DropOldest,
    /// What comes.
    DropNewest,
}

/// The keys of `spool` as they are written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSpoolConfig {
    path: Option<PathBuf>,
    bytes: Option<u64>,
    #[serde(default)]
    when_full: WhenFull,
}

impl RawSpoolConfig {
    /// The spool of the output with that name.
    pub(super) fn resolve(self, output: &str) -> Result<SpoolConfig, String> {
        let path = self.path.unwrap_or_else(|| Path::new(SPOOLS).join(directory_name(output)));
        if !path.is_absolute() {
            return Err(format!("spool path `{}` must be absolute", path.display()));
        }
        let bytes = self.bytes.unwrap_or(1 << 30);
        if bytes < LEAST_SPOOL {
            return Err(format!("spool bytes {bytes} are too few: at least {LEAST_SPOOL}"));
        }
        Ok(SpoolConfig { path, bytes, when_full: self.when_full })
    }
}

/// The output's name as a file name: `tls://loghost:6514` is `tls-loghost-6514`.
fn directory_name(output: &str) -> String {
    let parts = output.split(|character: char| !character.is_alphanumeric() && character != '.' && character != '_');
    parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-")
}

/// When the server is asked whether it has all, where the protocol has no acknowledgements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acknowledge {
    /// `acknowledge_records`: after so many records. Default 2000.
    pub records: NonZeroUsize,
    /// `acknowledge_ms`: and when the oldest has waited so long. Default 5000.
    pub after: Duration,
}

impl Acknowledge {
    pub(super) fn resolve(records: Option<NonZeroUsize>, ms: Option<NonZeroU64>) -> Self {
        const RECORDS: NonZeroUsize = NonZeroUsize::new(2000).unwrap();
        Self { records: records.unwrap_or(RECORDS), after: Duration::from_millis(ms.map_or(5000, NonZeroU64::get)) }
    }
}

/// `tls`: whom to trust, and who we are.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// `ca`: PEM file with the authorities that may have signed the server's certificate. Default: the system's
    /// `/etc/ssl/certs/ca-certificates.crt`.
    #[serde(default = "system_authorities")]
    pub ca: PathBuf,
    /// `cert`: PEM file with our certificate and those between it and the server's authority.
    pub cert: Option<PathBuf>,
    /// `key`: PEM file with its private key.
    pub key: Option<PathBuf>,
    /// `name`: what the server's certificate must be for. Default: the host of the target.
    pub name: Option<String>,
}

impl Default for TlsConfig {
    fn default() -> Self {
        Self { ca: system_authorities(), cert: None, key: None, name: None }
    }
}

impl TlsConfig {
    /// A certificate without its key, or the other way round, is a mistake.
    pub(super) fn check(&self) -> Result<(), String> {
        match (&self.cert, &self.key) {
            (Some(_), None) => Err("tls has a `cert` without its `key`".to_owned()),
            (None, Some(_)) => Err("tls has a `key` without its `cert`".to_owned()),
            _ => Ok(()),
        }
    }
}

fn system_authorities() -> PathBuf {
    PathBuf::from("/etc/ssl/certs/ca-certificates.crt")
}

/// `max_bytes` unless it is said otherwise: servers take 1 MiB.
pub(super) const MAX_BYTES: NonZeroUsize = NonZeroUsize::new(1_000_000).unwrap();

/// `user` and `password`, if there are any.
pub(super) fn login(user: Option<String>, password: Option<String>) -> Result<Option<(String, String)>, String> {
    match (user, password) {
        (Some(user), Some(password)) => Ok(Some((user, password))),
        (None, None) => Ok(None),
        _ => Err("`user` and `password` belong together".to_owned()),
    }
}

/// `host:port` from `host[:port]`.
pub(super) fn with_port(address: &str, usual: u16) -> Option<String> {
    let (host, port) = address.split_at(host_end(address)?);
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if bare.is_empty() || bare.contains(['/', '@', ' ']) {
        return None;
    }
    match port.strip_prefix(':') {
        None if port.is_empty() => Some(format!("{host}:{usual}")),
        None => None,
        Some(number) => number.parse::<u16>().ok().filter(|port| *port != 0).map(|_| address.to_owned()),
    }
}

/// Where the port, if there is one, begins with its colon.
fn host_end(address: &str) -> Option<usize> {
    if address.starts_with('[') {
        return address.find(']').map(|end| end + 1);
    }
    Some(address.find(':').unwrap_or(address.len()))
}
