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

mod actions;
mod file;
mod filter;
mod kafka;
mod nats;
mod network;
mod otlp;
mod plugins;
mod syslog;

use std::num::NonZeroUsize;
use std::path::Path;

use serde::Deserialize;

use crate::format::{Content, Format, NativeStyle, Node};

pub use actions::{FailureAction, FailureActions, Space, Watermark};
pub use file::{Access, FileConfig, Fsync, Retention, Rotation};
pub use filter::{Facility, FilterConfig, Severities, Severity};
pub use kafka::{KafkaConfig, KafkaLogin, SaslMechanism};
pub use nats::NatsConfig;
pub use network::{Acknowledge, SpoolConfig, TlsConfig, WhenFull};
pub use otlp::{HeaderSource, OtlpConfig};
pub use plugins::PluginsConfig;
pub(crate) use plugins::{Layout, PluginKind, PluginSpec};
pub use syslog::{SyslogConfig, SyslogProtocol, SyslogTarget, TargetError};

/// One `[[output]]` table. Keys that its type does not have are refused.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum OutputConfig {
    /// A file that is appended to.
    File(FileConfig),
    /// A syslog server.
    Syslog(SyslogConfig),
    /// A stream of NATS.
    Nats(NatsConfig),
    /// A topic of Kafka.
    Kafka(KafkaConfig),
    /// A server that takes logs of OpenTelemetry.
    Otlp(OtlpConfig),
    /// Programs and sockets that auditd's plugins.d names.
    Plugins(PluginsConfig),
    /// Standard output.
    Stdout(StdoutConfig),
}

impl OutputConfig {
    /// Name of this output in counters and warnings, for example `file:/var/log/audit/audit.json.gz`.
    pub fn name(&self) -> String {
        match self {
            Self::File(file) => format!("file:{}", file.path.display()),
            Self::Syslog(syslog) => format!("syslog:{}", syslog.target),
            Self::Nats(nats) => format!("nats:{}/{}", nats.server, nats.subject),
            Self::Kafka(kafka) => format!("kafka:{}/{}", kafka.brokers.join(","), kafka.topic),
            Self::Otlp(otlp) => format!("otlp:{}", otlp.endpoint),
            Self::Plugins(plugins) => format!("plugins:{}", plugins.path.display()),
            Self::Stdout(_) => "stdout".to_owned(),
        }
    }

    /// The directory that it keeps records in, if any.
    #[must_use]
    pub fn directory(&self) -> Option<&Path> {
        match self {
            Self::File(file) => file.path.parent(),
            Self::Syslog(syslog) => syslog.spool.as_ref().map(|spool| spool.path.as_path()),
            Self::Nats(nats) => Some(&nats.spool.path),
            Self::Kafka(kafka) => Some(&kafka.spool.path),
            Self::Otlp(otlp) => Some(&otlp.spool.path),
            Self::Plugins(_) | Self::Stdout(_) => None,
        }
    }

    /// In which its records are written.
    #[must_use]
    pub const fn format(&self) -> Format {
        match self {
            Self::File(file) => file.format,
            Self::Syslog(syslog) => syslog.format,
            Self::Nats(nats) => nats.format,
            Self::Kafka(kafka) => kafka.format,
            Self::Otlp(otlp) => otlp.format,
            Self::Plugins(plugins) => plugins.format,
            Self::Stdout(stdout) => stdout.format,
        }
    }

    pub(crate) fn limits(&self) -> QueueLimits {
        match self {
            Self::File(file) => file.limits,
            Self::Syslog(syslog) => syslog.limits,
            Self::Nats(nats) => nats.limits,
            Self::Kafka(kafka) => kafka.limits,
            Self::Otlp(otlp) => otlp.limits,
            Self::Plugins(plugins) => plugins.limits,
            Self::Stdout(stdout) => stdout.limits,
        }
    }

    pub(crate) fn filter(&self) -> &FilterConfig {
        match self {
            Self::File(file) => &file.filter,
            Self::Syslog(syslog) => &syslog.filter,
            Self::Nats(nats) => &nats.filter,
            Self::Kafka(kafka) => &kafka.filter,
            Self::Otlp(otlp) => &otlp.filter,
            Self::Plugins(plugins) => &plugins.filter,
            Self::Stdout(stdout) => &stdout.filter,
        }
    }

    /// By which severities the filter goes: those that a syslog output is configured with, else the usual ones.
    pub(crate) fn severities(&self) -> Severities {
        match self {
            Self::Syslog(syslog) => syslog.severities,
            Self::File(_) | Self::Nats(_) | Self::Kafka(_) | Self::Otlp(_) | Self::Plugins(_) | Self::Stdout(_) => {
                Severities::default()
            }
        }
    }
}

/// `type = "stdout"`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RawStdoutConfig")]
pub struct StdoutConfig {
    /// `format`: `text` (default), `json` or `native`.
    pub format: Format,
    /// `filter`.
    pub filter: FilterConfig,
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

/// The keys of the tables as they are written; every type spells out its own, because flattened tables cannot refuse
/// unknown keys.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStdoutConfig {
    format: Option<FormatName>,
    enriched: Option<bool>,
    with_node: Option<bool>,
    #[serde(default)]
    filter: FilterConfig,
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

impl TryFrom<RawStdoutConfig> for StdoutConfig {
    type Error = String;

    fn try_from(raw: RawStdoutConfig) -> Result<Self, String> {
        let format = format(raw.format.unwrap_or(FormatName::Text), raw.enriched, raw.with_node)?;
        Ok(Self { format, filter: raw.filter, limits: limits(raw.queue, raw.queue_bytes) })
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
        assert_eq!((syslog.facility, syslog.severities), (Facility::Authpriv, Severities::default()));
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
        let severities = Severities {
            normal: Severity::Notice,
            alert: Severity::Crit,
            kill: Severity::Crit,
            ..Severities::default()
        };
        assert_eq!((syslog.facility as u8, syslog.severities), (23, severities));
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
        assert!(
            error("type='pigeon'")
                .contains("expected one of `file`, `syslog`, `nats`, `kafka`, `otlp`, `plugins`, `stdout`")
        );
        assert!(error("path='/a'").contains("missing field `type`"));
        assert!(error("type='file'").contains("missing field `path`"));
        assert!(error("type='file'\npath='/a'\ncompresion='gzip'").contains("unknown field `compresion`"));
        assert!(error("type='file'\npath='a.gz'").contains("must be absolute"));
        assert!(error("type='file'\npath='/a'\nflush_events=0").contains("nonzero"));
        assert!(error("type='stdout'\npath='/a'").contains("unknown field `path`"));
    }
}
