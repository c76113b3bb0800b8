//! `[[output]]` tables: where records go, and how.
//!
//! ```
//! # #[derive(serde::Deserialize)] struct Config { output: Vec<output::OutputConfig> }
//! let config: Config = toml::from_str(r#"
//!     [[output]]
//!     type = "file"
//!     path = "/var/log/audit/audit.json.gz"
//!     compression = "gzip"
//!
//!     [[output]]
//!     type = "syslog"
//!     target = "udp://loghost:514"
//! "#).unwrap();
//! assert_eq!(config.output.len(), 2);
//! ```

mod file;

use std::fmt::{self, Display};
use std::num::NonZeroUsize;
use std::path::PathBuf;

use serde::Deserialize;

use crate::format::{Content, Format, NativeStyle, Node};

pub use file::{Access, FileConfig, Fsync, Retention, Rotation};

/// One `[[output]]` table. Keys that its type does not have are refused.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum OutputConfig {
    /// A file that is appended to.
    File(FileConfig),
    /// A syslog server.
    Syslog(SyslogConfig),
    /// Standard output.
    Stdout(StdoutConfig),
}

impl OutputConfig {
    /// Name of this output in counters and warnings, for example `file:/var/log/audit/audit.json.gz`.
    pub fn name(&self) -> String {
        match self {
            Self::File(file) => format!("file:{}", file.path.display()),
            Self::Syslog(syslog) => format!("syslog:{}", syslog.target),
            Self::Stdout(_) => "stdout".to_owned(),
        }
    }

    pub(crate) fn limits(&self) -> QueueLimits {
        match self {
            Self::File(file) => file.limits,
            Self::Syslog(syslog) => syslog.limits,
            Self::Stdout(stdout) => stdout.limits,
        }
    }
}

/// `type = "syslog"`: RFC 5424 messages with the record as MSG.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RawSyslogConfig")]
pub struct SyslogConfig {
    /// `target`: `unix:/path` (default `unix:/dev/log`) or `udp://host:port`.
    pub target: SyslogTarget,
    /// `format`: `json` (default), `text` or `native`; then each line is a message.
    pub format: Format,
    /// `facility`: default `authpriv`, which most systems keep away from ordinary users.
    pub facility: Facility,
    /// `severity`: default `info`.
    pub severity: Severity,
    /// `alert_severity`: of refused acts and of losses; default `warning`.
    pub alert_severity: Severity,
    /// `queue` and `queue_bytes`.
    pub limits: QueueLimits,
}

/// `type = "stdout"`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RawStdoutConfig")]
pub struct StdoutConfig {
    /// `format`: `text` (default), `json` or `native`.
    pub format: Format,
    /// `queue` and `queue_bytes`.
    pub limits: QueueLimits,
}

/// How much waits for an output before events are lost to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueLimits {
    /// `queue`: events. Default 8192.
    pub events: NonZeroUsize,
    /// `queue_bytes`: memory that they take, roughly. Default 67108864 (64 MiB).
    pub bytes: NonZeroUsize,
}

impl Default for QueueLimits {
    fn default() -> Self {
        const EVENTS: NonZeroUsize = NonZeroUsize::new(8192).unwrap();
        const BYTES: NonZeroUsize = NonZeroUsize::new(64 << 20).unwrap();
        Self { events: EVENTS, bytes: BYTES }
    }
}

/// How a file is compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Members that zcat reads.
    #[default]
    Gzip,
    /// Frames that zstdcat reads.
    Zstd,
    /// Lines as they are.
    None,
}

impl Compression {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::None => "none",
        }
    }
}

/// Where a syslog server listens.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum SyslogTarget {
    /// `unix:/path`: a datagram socket, or a stream socket where the server has that.
    Unix(PathBuf),
    /// `udp://host:port`; the port may be left out (514), an IPv6 address stands in brackets.
    Udp {
        /// `host:port`.
        address: String,
    },
}

impl Display for SyslogTarget {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(out, "unix:{}", path.display()),
            Self::Udp { address } => write!(out, "udp://{address}"),
        }
    }
}

/// A `target` that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("syslog target `{target}`: {problem}; use `unix:/path` or `udp://host:port`")]
pub struct TargetError {
    target: String,
    problem: &'static str,
}

impl TryFrom<String> for SyslogTarget {
    type Error = TargetError;

    fn try_from(target: String) -> Result<Self, TargetError> {
        let problem = match target.split_once(':') {
            Some(("unix", path)) if path.starts_with('/') => return Ok(Self::Unix(PathBuf::from(path))),
            Some(("unix", _)) => "the socket's path must be absolute",
            Some(("udp", rest)) => match rest.strip_prefix("//").and_then(with_port) {
                Some(address) => return Ok(Self::Udp { address }),
                None => "host or port is missing or malformed",
            },
            Some(("tcp" | "tls", _)) => "syslog over TCP and TLS is not supported",
            _ => "the kind of socket is not known",
        };
        Err(TargetError { target, problem })
    }
}

/// `host:port` from `host[:port]`.
fn with_port(address: &str) -> Option<String> {
    let host_end =
        if address.starts_with('[') { address.find(']')? + 1 } else { address.find(':').unwrap_or(address.len()) };
    let (host, port) = address.split_at(host_end);
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if bare.is_empty() || bare.contains(['/', '@', ' ']) {
        return None;
    }
    match port.strip_prefix(':') {
        None if port.is_empty() => Some(format!("{host}:514")),
        None => None,
        Some(number) => number.parse::<u16>().ok().filter(|port| *port != 0).map(|_| address.to_owned()),
    }
}

/// syslog's numbers for names: one table for the parser and the docs.
macro_rules! syslog_numbers {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $number:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
        #[serde(rename_all = "lowercase")]
        #[repr(u8)]
        #[expect(missing_docs, reason = "syslog(3) names them")]
        pub enum $name { $($variant = $number),+ }
    };
}

syslog_numbers! {
    /// syslog facility, RFC 5424 section 6.2.1.
    Facility {
        Kern = 0, User = 1, Mail = 2, Daemon = 3, Auth = 4, Syslog = 5, Lpr = 6, News = 7, Uucp = 8, Cron = 9,
        Authpriv = 10, Ftp = 11, Local0 = 16, Local1 = 17, Local2 = 18, Local3 = 19, Local4 = 20, Local5 = 21,
        Local6 = 22, Local7 = 23,
    }
}

syslog_numbers! {
    /// syslog severity, RFC 5424 section 6.2.1.
    Severity { Emerg = 0, Alert = 1, Crit = 2, Err = 3, Warning = 4, Notice = 5, Info = 6, Debug = 7 }
}

/// The keys of the tables as they are written; every type spells out its own, because flattened tables cannot refuse
/// unknown keys.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSyslogConfig {
    target: Option<SyslogTarget>,
    format: Option<FormatName>,
    enriched: Option<bool>,
    with_node: Option<bool>,
    facility: Option<Facility>,
    severity: Option<Severity>,
    alert_severity: Option<Severity>,
    queue: Option<NonZeroUsize>,
    queue_bytes: Option<NonZeroUsize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStdoutConfig {
    format: Option<FormatName>,
    enriched: Option<bool>,
    with_node: Option<bool>,
    queue: Option<NonZeroUsize>,
    queue_bytes: Option<NonZeroUsize>,
}

/// `format`.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum FormatName {
    Json,
    Text,
    Ecs,
    Ocsf,
    Cef,
    Native,
}

/// A format with its keys, which the others do not have.
fn format(name: FormatName, enriched: Option<bool>, with_node: Option<bool>) -> Result<Format, String> {
    let other = match name {
        FormatName::Native => {
            let content = if enriched.unwrap_or(true) { Content::Enriched } else { Content::Raw };
            let node = if with_node.unwrap_or(false) { Node::Named } else { Node::Left };
            return Ok(Format::Native(NativeStyle { content, node }));
        }
        FormatName::Json => Format::Json,
        FormatName::Text => Format::Text,
        FormatName::Ecs => Format::Ecs,
        FormatName::Ocsf => Format::Ocsf,
        FormatName::Cef => Format::Cef,
    };
    let given = [("enriched", enriched), ("with_node", with_node)];
    match given.iter().find(|(_, value)| value.is_some()) {
        Some((key, _)) => {
            Err(format!("`{key}` belongs to format = \"native\"; the other formats always have names and node"))
        }
        None => Ok(other),
    }
}

fn limits(events: Option<NonZeroUsize>, bytes: Option<NonZeroUsize>) -> QueueLimits {
    let default = QueueLimits::default();
    QueueLimits { events: events.unwrap_or(default.events), bytes: bytes.unwrap_or(default.bytes) }
}

impl TryFrom<RawSyslogConfig> for SyslogConfig {
    type Error = String;

    fn try_from(raw: RawSyslogConfig) -> Result<Self, String> {
        Ok(Self {
            target: raw.target.unwrap_or_else(|| SyslogTarget::Unix(PathBuf::from("/dev/log"))),
            format: format(raw.format.unwrap_or(FormatName::Json), raw.enriched, raw.with_node)?,
            facility: raw.facility.unwrap_or(Facility::Authpriv),
            severity: raw.severity.unwrap_or(Severity::Info),
            alert_severity: raw.alert_severity.unwrap_or(Severity::Warning),
            limits: limits(raw.queue, raw.queue_bytes),
        })
    }
}

impl TryFrom<RawStdoutConfig> for StdoutConfig {
    type Error = String;

    fn try_from(raw: RawStdoutConfig) -> Result<Self, String> {
        let format = format(raw.format.unwrap_or(FormatName::Text), raw.enriched, raw.with_node)?;
        Ok(Self { format, limits: limits(raw.queue, raw.queue_bytes) })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn parse(table: &str) -> Result<OutputConfig, String> {
        toml::from_str(table).map_err(|error| error.to_string())
    }

    fn error(table: &str) -> String {
        parse(table).expect_err(table)
    }

    #[test]
    fn defaults() {
        let Ok(OutputConfig::File(file)) = parse("type='file'\npath='/var/log/audit/a.gz'") else { panic!("no file") };
        assert_eq!((file.format, file.compression), (Format::Json, Compression::Gzip));
        assert_eq!((file.flush_events.get(), file.flush_after), (1000, Duration::from_secs(1)));
        let Ok(OutputConfig::Syslog(syslog)) = parse("type='syslog'") else { panic!("no syslog") };
        assert_eq!(syslog.target.to_string(), "unix:/dev/log");
        assert_eq!((syslog.facility, syslog.severity as u8), (Facility::Authpriv, 6));
        let Ok(OutputConfig::Stdout(stdout)) = parse("type='stdout'") else { panic!("no stdout") };
        assert_eq!((stdout.format, stdout.limits), (Format::Text, QueueLimits::default()));
    }

    #[test]
    fn every_key() {
        let file = "type='file'\npath='/a'\nformat='text'\ncompression='zstd'\nflush_events=5\nflush_ms=20\nqueue=7\nqueue_bytes=8";
        let Ok(OutputConfig::File(file)) = parse(file) else { panic!("no file") };
        assert_eq!((file.flush_events.get(), file.flush_after.as_millis()), (5, 20));
        assert_eq!((file.limits.events.get(), file.limits.bytes.get()), (7, 8));
        let syslog =
            "type='syslog'\ntarget='udp://h'\nfacility='local7'\nseverity='notice'\nalert_severity='crit'\nqueue=1";
        let Ok(OutputConfig::Syslog(syslog)) = parse(syslog) else { panic!("no syslog") };
        assert_eq!((syslog.facility as u8, syslog.severity as u8, syslog.alert_severity as u8), (23, 5, 2));
    }

    #[test]
    fn native_has_keys_that_others_have_not() {
        let format = |keys: &str| match parse(&format!("type='stdout'\n{keys}")) {
            Ok(OutputConfig::Stdout(stdout)) => Ok(stdout.format),
            Ok(other) => panic!("{other:?}"),
            Err(message) => Err(message),
        };
        assert_eq!(format("format='native'"), Ok(Format::Native(NativeStyle::default())));
        let raw = NativeStyle { content: Content::Raw, node: Node::Named };
        assert_eq!(format("format='native'\nenriched=false\nwith_node=true"), Ok(Format::Native(raw)));
        let message = format("format='json'\nenriched=true").unwrap_err();
        assert!(message.contains("`enriched` belongs to format = \"native\""), "{message}");
        assert!(format("with_node=false").is_err());
    }

    #[test]
    fn mistakes_are_named() {
        assert!(error("type='kafka'").contains("expected one of `file`, `syslog`, `stdout`"));
        assert!(error("path='/a'").contains("missing field `type`"));
        assert!(error("type='file'").contains("missing field `path`"));
        assert!(error("type='file'\npath='/a'\ncompresion='gzip'").contains("unknown field `compresion`"));
        assert!(error("type='file'\npath='a.gz'").contains("must be absolute"));
        assert!(error("type='file'\npath='/a'\nflush_events=0").contains("nonzero"));
        assert!(error("type='stdout'\npath='/a'").contains("unknown field `path`"));
    }

    #[test]
    fn targets() {
        let target = |text: &str| SyslogTarget::try_from(text.to_owned()).map(|target| target.to_string());
        for (given, meant) in [
            ("unix:/dev/log", "unix:/dev/log"),
            ("udp://loghost", "udp://loghost:514"),
            ("udp://10.0.0.1:5514", "udp://10.0.0.1:5514"),
            ("udp://[::1]:514", "udp://[::1]:514"),
            ("udp://[fe80::1]", "udp://[fe80::1]:514"),
        ] {
            assert_eq!(target(given).as_deref(), Ok(meant));
        }
        for bad in [
            "udp://",
            "udp://:514",
            "udp://h:x",
            "udp://h:0",
            "udp://h:70000",
            "udp://[::1",
            "udp:h",
            "unix:dev/log",
            "/dev/log",
        ] {
            assert!(target(bad).is_err(), "{bad}");
        }
        for unsupported in ["tcp://h:514", "tls://h:6514"] {
            let message = target(unsupported).unwrap_err().to_string();
            assert!(message.contains("not supported; use `unix:/path` or `udp://host:port`"), "{message}");
        }
    }
}
