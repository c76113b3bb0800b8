//! `type = "nats"`.

use std::num::NonZeroUsize;

use serde::Deserialize;

use super::network::{MAX_BYTES, RawSpoolConfig, SpoolConfig, TlsConfig, login, with_port};
use super::{FilterConfig, FormatName, QueueLimits, format, limits};
use crate::format::Format;

/// `type = "nats"`: messages to a subject of a JetStream stream, each acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RawNatsConfig")]
pub struct NatsConfig {
    /// `server`: `nats://host:port` or `tls://host:port`. Port 4222 where left out.
    pub server: String,
    /// `host:port` of it.
    pub address: String,
    /// `subject`: one that a stream keeps. Default `audit`.
    pub subject: String,
    /// `user` and `password`.
    pub login: Option<(String, String)>,
    /// `token`.
    pub token: Option<String>,
    /// `tls`, of `tls://` servers.
    pub tls: Option<TlsConfig>,
    /// `format`: default `json`. One record is one message.
    pub format: Format,
    /// `max_bytes`: of a record; what is longer is lost. Default 1000000, as servers take 1 MiB.
    pub max_bytes: NonZeroUsize,
    /// `spool`.
    pub spool: SpoolConfig,
    /// `filter`.
    pub filter: FilterConfig,
    /// `queue` and `queue_bytes`.
    pub limits: QueueLimits,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawNatsConfig {
    server: String,
    subject: Option<String>,
    user: Option<String>,
    password: Option<String>,
    token: Option<String>,
    tls: Option<TlsConfig>,
    format: Option<FormatName>,
    enriched: Option<bool>,
    with_node: Option<bool>,
    max_bytes: Option<NonZeroUsize>,
    #[serde(default)]
    spool: RawSpoolConfig,
    #[serde(default)]
    filter: FilterConfig,
    queue: Option<NonZeroUsize>,
    queue_bytes: Option<NonZeroUsize>,
}

impl TryFrom<RawNatsConfig> for NatsConfig {
    type Error = String;

    fn try_from(raw: RawNatsConfig) -> Result<Self, String> {
        let (scheme, rest) = raw.server.split_once("://").unwrap_or(("", ""));
        let address = with_port(rest, 4222).filter(|_| ["nats", "tls"].contains(&scheme));
        let address =
            address.ok_or(format!("nats server `{}`: use `nats://host:port` or `tls://host:port`", raw.server))?;
        let tls = match (scheme, raw.tls) {
            ("tls", tls) => Some(tls.unwrap_or_default()),
            (_, None) => None,
            (_, Some(_)) => return Err("`tls` belongs to servers tls://...".to_owned()),
        };
        tls.as_ref().map_or(Ok(()), TlsConfig::check)?;
        let login = login(raw.user, raw.password)?;
        let server = format!("{scheme}://{address}");
        Ok(Self {
            subject: subject(raw.subject.unwrap_or_else(|| "audit".to_owned()))?,
            spool: raw.spool.resolve(&format!("nats-{address}"))?,
            server,
            address,
            login,
            token: raw.token,
            tls,
            format: format(raw.format.unwrap_or(FormatName::Json), raw.enriched, raw.with_node)?,
            max_bytes: raw.max_bytes.unwrap_or(MAX_BYTES),
            filter: raw.filter,
            limits: limits(raw.queue, raw.queue_bytes),
        })
    }
}

/// Subjects are words between dots; wildcards are for readers.
fn subject(subject: String) -> Result<String, String> {
    let word = |word: &str| !word.is_empty() && word.chars().all(|character| character.is_ascii_graphic());
    if subject.split('.').all(word) && !subject.contains(['*', '>']) {
        return Ok(subject);
    }
    Err(format!("nats subject `{subject}` must be words between dots, without wildcards"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn parse(keys: &str) -> Result<NatsConfig, String> {
        toml::from_str(keys).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults() {
        let nats = parse("server = 'nats://bus.example'").unwrap();
        assert_eq!((nats.address.as_str(), nats.subject.as_str(), nats.tls), ("bus.example:4222", "audit", None));
        assert_eq!(nats.spool.path, Path::new("/var/spool/auditd-bpf/nats-bus.example-4222"));
        assert_eq!(parse("server = 'tls://h'").unwrap().tls, Some(TlsConfig::default()));
    }

    #[test]
    fn mistakes_are_named() {
        let error = |keys| parse(keys).unwrap_err();
        assert!(error("server = 'bus:4222'").contains("use `nats://host:port`"));
        assert!(error("server = 'nats://h'\nsubject = 'a.>'").contains("without wildcards"));
        assert!(error("server = 'nats://h'\nsubject = 'a b'").contains("words between dots"));
        assert!(error("server = 'nats://h'\nuser = 'u'").contains("belong together"));
        assert!(error("server = 'nats://h'\ntls = {}").contains("servers tls://"));
    }
}
