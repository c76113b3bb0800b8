//! `type = "kafka"`.

use std::num::NonZeroUsize;

use serde::Deserialize;

use super::network::{self, MAX_BYTES, RawSpoolConfig, SpoolConfig, TlsConfig, with_port};
use super::{Compression, FilterConfig, FormatName, QueueLimits, format, limits};
use crate::format::Format;

/// `type = "kafka"`: records of a topic, each acknowledged by all replicas in sync.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RawKafkaConfig")]
pub struct KafkaConfig {
    /// `brokers`: `host:port` of some, from which the others are known. Port 9092 where left out.
    pub brokers: Vec<String>,
    /// `topic`: default `audit`. It is not created.
    pub topic: String,
    /// `partition`: default one that the node's name decides, so that the records of a machine stay in order.
    pub partition: Option<i32>,
    /// `user`, `password` and `mechanism`.
    pub login: Option<KafkaLogin>,
    /// `tls`: its presence is what makes the connections TLS.
    pub tls: Option<TlsConfig>,
    /// `compression` of what is sent: `none` (default), `gzip` or `zstd`.
    pub compression: Compression,
    /// `format`: default `json`.
    pub format: Format,
    /// `max_bytes`: of a record; what is longer is lost. Default 1000000, as brokers take 1 MiB.
    pub max_bytes: NonZeroUsize,
    /// `spool`.
    pub spool: SpoolConfig,
    /// `filter`.
    pub filter: FilterConfig,
    /// `queue` and `queue_bytes`.
    pub limits: QueueLimits,
}

/// Who we are, by SASL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaLogin {
    /// `user`.
    pub user: String,
    /// `password`.
    pub password: String,
    /// `mechanism`: default `scram-sha-512`.
    pub mechanism: SaslMechanism,
}

/// How the password is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SaslMechanism {
    /// As it is (RFC 4616): over TLS only.
    Plain,
    /// That it is known (RFC 7677).
    #[serde(rename = "scram-sha-256")]
    ScramSha256,
    /// The same with a longer digest.
    #[default]
    #[serde(rename = "scram-sha-512")]
    ScramSha512,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawKafkaConfig {
    brokers: Vec<String>,
    topic: Option<String>,
    partition: Option<i32>,
    user: Option<String>,
    password: Option<String>,
    mechanism: Option<SaslMechanism>,
    tls: Option<TlsConfig>,
    compression: Option<Compression>,
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

impl TryFrom<RawKafkaConfig> for KafkaConfig {
    type Error = String;

    fn try_from(raw: RawKafkaConfig) -> Result<Self, String> {
        let broker = |text: &String| with_port(text, 9092).ok_or(format!("kafka broker `{text}`: use `host:port`"));
        let brokers = raw.brokers.iter().map(broker).collect::<Result<Vec<_>, _>>()?;
        let Some(first) = brokers.first() else { return Err("`brokers` names no broker".to_owned()) };
        let spool = raw.spool.resolve(&format!("kafka-{first}"))?;
        if let Some(tls) = &raw.tls {
            tls.check()?;
            if tls.name.is_some() {
                return Err("tls has a `name`, but each broker's certificate is for its own host".to_owned());
            }
        }
        if raw.partition.is_some_and(i32::is_negative) {
            return Err("`partition` is a number from 0".to_owned());
        }
        Ok(Self {
            login: login(raw.user, raw.password, raw.mechanism, raw.tls.is_some())?,
            spool,
            brokers,
            topic: topic(raw.topic.unwrap_or_else(|| "audit".to_owned()))?,
            partition: raw.partition,
            tls: raw.tls,
            compression: raw.compression.unwrap_or(Compression::None),
            format: format(raw.format.unwrap_or(FormatName::Json), raw.enriched, raw.with_node)?,
            max_bytes: raw.max_bytes.unwrap_or(MAX_BYTES),
            filter: raw.filter,
            limits: limits(raw.queue, raw.queue_bytes),
        })
    }
}

fn login(
    user: Option<String>,
    password: Option<String>,
    mechanism: Option<SaslMechanism>,
    over_tls: bool,
) -> Result<Option<KafkaLogin>, String> {
    let Some((user, password)) = network::login(user, password)? else {
        return match mechanism {
            Some(_) => Err("`mechanism` belongs to `user` and `password`".to_owned()),
            None => Ok(None),
        };
    };
    if mechanism == Some(SaslMechanism::Plain) && !over_tls {
        return Err("mechanism `plain` would show the password to the network: it belongs with `tls`".to_owned());
    }
    Ok(Some(KafkaLogin { user, password, mechanism: mechanism.unwrap_or_default() }))
}

/// Names that Kafka takes (`Topic.validate` in its sources).
fn topic(topic: String) -> Result<String, String> {
    let fine = topic.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    if fine && (1..=249).contains(&topic.len()) && topic != "." && topic != ".." {
        return Ok(topic);
    }
    Err(format!("kafka topic `{topic}` must be of letters, digits, `.`, `_` and `-`, 249 of them at most"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn parse(keys: &str) -> Result<KafkaConfig, String> {
        toml::from_str(keys).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults() {
        let kafka = parse("brokers = ['k1.example', 'k2.example:9093']").unwrap();
        assert_eq!(kafka.brokers, ["k1.example:9092", "k2.example:9093"]);
        assert_eq!((kafka.topic.as_str(), kafka.partition, kafka.tls), ("audit", None, None));
        assert_eq!((kafka.compression, kafka.login), (Compression::None, None));
        assert_eq!(kafka.spool.path, Path::new("/var/spool/auditd-bpf/kafka-k1.example-9092"));
        let login = parse("brokers = ['k1']\nuser = 'u'\npassword = 'p'").unwrap().login.unwrap();
        assert_eq!(login.mechanism, SaslMechanism::ScramSha512);
    }

    #[test]
    fn mistakes_are_named() {
        let error = |keys| parse(&format!("brokers = ['k']\n{keys}")).unwrap_err();
        assert!(parse("brokers = []").unwrap_err().contains("names no broker"));
        assert!(parse("brokers = ['tls://k']").unwrap_err().contains("use `host:port`"));
        assert!(error("topic = 'a b'").contains("must be of letters"));
        assert!(error("partition = -1").contains("a number from 0"));
        assert!(error("user = 'u'").contains("belong together"));
        assert!(error("mechanism = 'plain'").contains("belongs to `user`"));
        assert!(error("user = 'u'\npassword = 'p'\nmechanism = 'plain'").contains("belongs with `tls`"));
        assert!(error("tls.name = 'other'").contains("its own host"));
        assert!(error("tls.cert = '/c'").contains("without its `key`"));
    }
}
