//! `type = "syslog"`.

use std::fmt::{self, Display};
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;

use serde::Deserialize;

use super::network::{Acknowledge, RawSpoolConfig, SpoolConfig, TlsConfig, with_port};
use super::{Facility, FilterConfig, FormatName, QueueLimits, Severities, Severity, format, limits};
use crate::format::Format;

/// `type = "syslog"`: messages with the record as MSG.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RawSyslogConfig")]
pub struct SyslogConfig {
    /// `target`: default `unix:/dev/log`.
    pub target: SyslogTarget,
    /// `protocol`.
    pub protocol: SyslogProtocol,
    /// `format`: `json` (default), `text`, `native`...; each line is a message.
    pub format: Format,
    /// `facility`: default `authpriv`, which most systems keep away from ordinary users.
    pub facility: Facility,
    /// `severity`, `would_deny_severity`, `alert_severity` and `kill_severity`.
    pub severities: Severities,
    /// `tls`, of `tls://` targets.
    pub tls: TlsConfig,
    /// `spool`, of `tcp://` and `tls://` targets; the others send at once or not at all.
    pub spool: Option<SpoolConfig>,
    /// `acknowledge_records` and `acknowledge_ms`, where there is a spool.
    pub acknowledge: Acknowledge,
    /// `filter`.
    pub filter: FilterConfig,
    /// `queue` and `queue_bytes`.
    pub limits: QueueLimits,
}

/// How a message begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SyslogProtocol {
    /// With version, full time and structured data.
    #[default]
    Rfc5424,
    /// As syslog(3) of old: `<PRI>Mmm dd hh:mm:ss HOST auditd-bpf[PID]: `.
    Rfc3164,
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
    /// `tcp://host:port`: RFC 6587 with octet counting. Port 514, as servers have it, where left out.
    Tcp {
        /// `host:port`.
        address: String,
    },
    /// `tls://host:port`: RFC 5425. Port 6514 where left out.
    Tls {
        /// `host:port`.
        address: String,
    },
}

impl Display for SyslogTarget {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(out, "unix:{}", path.display()),
            Self::Udp { address } => write!(out, "udp://{address}"),
            Self::Tcp { address } => write!(out, "tcp://{address}"),
            Self::Tls { address } => write!(out, "tls://{address}"),
        }
    }
}

/// A `target` that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "syslog target `{target}`: {problem}; use `unix:/path`, `udp://host:port`, `tcp://host:port` or `tls://host:port`"
)]
pub struct TargetError {
    target: String,
    problem: &'static str,
}

impl TryFrom<String> for SyslogTarget {
    type Error = TargetError;

    fn try_from(target: String) -> Result<Self, TargetError> {
        const MALFORMED: &str = "host or port is missing or malformed";
        let (scheme, rest) = target.split_once(':').unwrap_or(("", ""));
        let address = |port| rest.strip_prefix("//").and_then(|address| with_port(address, port)).ok_or(MALFORMED);
        let parsed = match scheme {
            "unix" if rest.starts_with('/') => Ok(Self::Unix(PathBuf::from(rest))),
            "unix" => Err("the socket's path must be absolute"),
            "udp" => address(514).map(|address| Self::Udp { address }),
            "tcp" => address(514).map(|address| Self::Tcp { address }),
            "tls" => address(6514).map(|address| Self::Tls { address }),
            _ => Err("the kind of socket is not known"),
        };
        parsed.map_err(|problem| TargetError { target, problem })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSyslogConfig {
    target: Option<SyslogTarget>,
    #[serde(default)]
    protocol: SyslogProtocol,
    format: Option<FormatName>,
    enriched: Option<bool>,
    with_node: Option<bool>,
    facility: Option<Facility>,
    severity: Option<Severity>,
    would_deny_severity: Option<Severity>,
    alert_severity: Option<Severity>,
    kill_severity: Option<Severity>,
    tls: Option<TlsConfig>,
    spool: Option<RawSpoolConfig>,
    acknowledge_records: Option<NonZeroUsize>,
    acknowledge_ms: Option<NonZeroU64>,
    #[serde(default)]
    filter: FilterConfig,
    queue: Option<NonZeroUsize>,
    queue_bytes: Option<NonZeroUsize>,
}

impl RawSyslogConfig {
    fn severities(&self) -> Severities {
        let default = Severities::default();
        let alert = self.alert_severity.unwrap_or(default.alert);
        Severities {
            normal: self.severity.unwrap_or(default.normal),
            would_deny: self.would_deny_severity.unwrap_or(default.would_deny),
            alert,
            kill: self.kill_severity.unwrap_or(alert),
        }
    }

    /// Keys that are of no use at a target are mistakes.
    fn check(&self, target: &SyslogTarget) -> Result<(), String> {
        let tls = matches!(target, SyslogTarget::Tls { .. });
        let stream = tls || matches!(target, SyslogTarget::Tcp { .. });
        let acknowledge = self.acknowledge_records.is_some() || self.acknowledge_ms.is_some();
        if self.tls.is_some() && !tls {
            return Err(format!("`tls` belongs to targets tls://..., not to {target}"));
        }
        if (self.spool.is_some() || acknowledge) && !stream {
            return Err(format!(
                "`spool` and `acknowledge_...` belong to targets tcp://... and tls://...; {target} does not tell what \
                 arrived"
            ));
        }
        self.tls.as_ref().map_or(Ok(()), TlsConfig::check)
    }
}

impl TryFrom<RawSyslogConfig> for SyslogConfig {
    type Error = String;

    fn try_from(raw: RawSyslogConfig) -> Result<Self, String> {
        let target = raw.target.clone().unwrap_or_else(|| SyslogTarget::Unix(PathBuf::from("/dev/log")));
        raw.check(&target)?;
        let spool = match &target {
            SyslogTarget::Unix(_) | SyslogTarget::Udp { .. } => None,
            SyslogTarget::Tcp { .. } | SyslogTarget::Tls { .. } => {
                Some(raw.spool.clone().unwrap_or_default().resolve(&target.to_string())?)
            }
        };
        Ok(Self {
            target,
            protocol: raw.protocol,
            format: format(raw.format.unwrap_or(FormatName::Json), raw.enriched, raw.with_node)?,
            facility: raw.facility.unwrap_or(Facility::Authpriv),
            severities: raw.severities(),
            tls: raw.tls.unwrap_or_default(),
            spool,
            acknowledge: Acknowledge::resolve(raw.acknowledge_records, raw.acknowledge_ms),
            filter: raw.filter,
            limits: limits(raw.queue, raw.queue_bytes),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::WhenFull;

    fn parse(keys: &str) -> Result<SyslogConfig, String> {
        toml::from_str(keys).map_err(|error| error.to_string())
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
            ("tcp://loghost", "tcp://loghost:514"),
            ("tls://loghost", "tls://loghost:6514"),
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
            "tls:h",
            "unix:dev/log",
            "/dev/log",
        ] {
            assert!(target(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_stream_has_a_spool() {
        assert_eq!(parse("").unwrap().spool, None);
        let spool = parse("target='tls://log.example:6514'").unwrap().spool.unwrap();
        assert_eq!(spool.path, Path::new("/var/spool/auditd-bpf/tls-log.example-6514"));
        assert_eq!((spool.bytes, spool.when_full), (1 << 30, WhenFull::DropOldest));
        let given = "target='tcp://h'\nspool={path='/s',bytes=2000000,when_full='drop-newest'}\nacknowledge_records=5";
        let syslog = parse(given).unwrap();
        let spool = SpoolConfig { path: "/s".into(), bytes: 2_000_000, when_full: WhenFull::DropNewest };
        assert_eq!((syslog.spool, syslog.acknowledge.records.get()), (Some(spool), 5));
    }

    #[test]
    fn mistakes_are_named() {
        let error = |keys| parse(keys).unwrap_err();
        assert!(error("target='tcp://h'\ntls={}").contains("`tls` belongs to targets tls://"));
        assert!(error("target='udp://h'\nspool={}").contains("does not tell what arrived"));
        assert!(error("target='tls://h'\ntls={cert='/c'}").contains("a `cert` without its `key`"));
        assert!(error("target='tls://h'\ntls={certificate='/c'}").contains("unknown field `certificate`"));
        assert!(error("target='tcp://h'\nspool={path='s'}").contains("must be absolute"));
        assert!(error("target='tcp://h'\nspool={bytes=5}").contains("at least 1048576"));
        assert!(error("protocol='rfc5425'").contains("expected `rfc5424` or `rfc3164`"));
    }
}
