//! `type = "otlp"`.

use std::collections::BTreeMap;
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::network::{MAX_BYTES, RawSpoolConfig, SpoolConfig, TlsConfig, with_port};
use super::{Compression, FilterConfig, FormatName, QueueLimits, format, limits};
use crate::format::Format;

/// What is added to `endpoint`: where servers take logs.
const PATH: &str = "/v1/logs";
/// Headers that say how the request is made.
const OURS: [&str; 8] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "transfer-encoding",
    "user-agent",
];

/// `type = "otlp"`: log records of OpenTelemetry, over HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RawOtlpConfig")]
pub struct OtlpConfig {
    /// `endpoint`: `http://host:port/path` or `https://...`, to which `/v1/logs` is added. Port 80 or 443 where left out.
    pub endpoint: String,
    /// `host:port` of it.
    pub address: String,
    /// `headers`: sent with each request, by their names.
    pub headers: BTreeMap<String, HeaderSource>,
    /// `tls`, of `https://` endpoints.
    pub tls: Option<TlsConfig>,
    /// `compression` of requests: `gzip` (default) or `none`.
    pub compression: Compression,
    /// `timeout_ms`: the longest that a request may take. Default 10000.
    pub timeout: Duration,
    /// `format`: default `json`. One record is the body of one log record.
    pub format: Format,
    /// `max_bytes`: of a record; what is longer is lost. Default 1000000.
    pub max_bytes: NonZeroUsize,
    /// `spool`.
    pub spool: SpoolConfig,
    /// `filter`.
    pub filter: FilterConfig,
    /// `queue` and `queue_bytes`.
    pub limits: QueueLimits,
}

impl OtlpConfig {
    /// Where logs are sent.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}{PATH}", self.endpoint)
    }
}

/// What a header says.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(
    untagged,
    deny_unknown_fields,
    expecting = "a header is a text, or `{ file = \"/path\" }`, whose content is the text"
)]
pub enum HeaderSource {
    /// This.
    Text(String),
    /// What is in a file, so that it need not be in the configuration. It is read for every request.
    File {
        /// The file.
        file: PathBuf,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawOtlpConfig {
    endpoint: String,
    #[serde(default)]
    headers: BTreeMap<String, HeaderSource>,
    tls: Option<TlsConfig>,
    compression: Option<Compression>,
    timeout_ms: Option<NonZeroU64>,
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

impl TryFrom<RawOtlpConfig> for OtlpConfig {
    type Error = String;

    fn try_from(raw: RawOtlpConfig) -> Result<Self, String> {
        let endpoint = Endpoint::parse(&raw.endpoint)?;
        let tls = match (endpoint.scheme, raw.tls) {
            ("https", tls) => Some(tls.unwrap_or_default()),
            (_, None) => None,
            (_, Some(_)) => return Err("`tls` belongs to endpoints https://...".to_owned()),
        };
        tls.as_ref().map_or(Ok(()), TlsConfig::check)?;
        raw.headers.iter().try_for_each(|(name, source)| check_header(name, source))?;
        let compression = raw.compression.unwrap_or(Compression::Gzip);
        if compression == Compression::Zstd {
            return Err("compression `zstd` is none of OTLP: use `gzip` or `none`".to_owned());
        }
        Ok(Self {
            spool: raw.spool.resolve(&format!("otlp-{}{}", endpoint.address, endpoint.path))?,
            endpoint: raw.endpoint.trim_end_matches('/').to_owned(),
            address: endpoint.address,
            headers: raw.headers,
            tls,
            compression,
            timeout: Duration::from_millis(raw.timeout_ms.map_or(10_000, NonZeroU64::get)),
            format: format(raw.format.unwrap_or(FormatName::Json), raw.enriched, raw.with_node)?,
            max_bytes: raw.max_bytes.unwrap_or(MAX_BYTES),
            filter: raw.filter,
            limits: limits(raw.queue, raw.queue_bytes),
        })
    }
}

struct Endpoint<'a> {
    scheme: &'a str,
    address: String,
    path: &'a str,
}

impl<'a> Endpoint<'a> {
    fn parse(text: &'a str) -> Result<Self, String> {
        let wrong = |problem: &str| format!("otlp endpoint `{text}`: {problem}");
        let malformed = || wrong("use `http://host:port/path` or `https://host:port/path`");
        let (scheme, rest) = text.split_once("://").ok_or_else(malformed)?;
        let port = match scheme {
            "http" => 80,
            "https" => 443,
            _ => return Err(malformed()),
        };
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let path = path.trim_end_matches('/');
        let address = with_port(host, port).filter(|_| path.bytes().all(in_a_path)).ok_or_else(malformed)?;
        if path.ends_with(PATH) {
            return Err(wrong("leave out `/v1/logs`, which is added"));
        }
        Ok(Self { scheme, address, path })
    }
}

/// Neither a query nor a fragment, which `/v1/logs` cannot follow.
fn in_a_path(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"?#\"<>\\^`{|}".contains(&byte)
}

fn check_header(name: &str, source: &HeaderSource) -> Result<(), String> {
    // "token" of RFC 9110, section 5.6.2.
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(token) {
        return Err(format!("header `{name}` is no name of a header"));
    }
    if OURS.iter().any(|ours| name.eq_ignore_ascii_case(ours)) {
        return Err(format!("header `{name}` is set by the output itself"));
    }
    match source {
        HeaderSource::Text(text) if !text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') => {
            Err(format!("header `{name}` must be printable ASCII"))
        }
        HeaderSource::File { file } if !file.is_absolute() => {
            Err(format!("header `{name}`: the path `{}` must be absolute", file.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn parse(keys: &str) -> Result<OtlpConfig, String> {
        toml::from_str(keys).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults() {
        let otlp = parse("endpoint = 'http://collector.example:4318'").unwrap();
        assert_eq!(otlp.url(), "http://collector.example:4318/v1/logs");
        assert_eq!((otlp.address.as_str(), otlp.tls), ("collector.example:4318", None));
        assert_eq!((otlp.compression, otlp.timeout), (Compression::Gzip, Duration::from_secs(10)));
        assert_eq!(otlp.spool.path, Path::new("/var/spool/auditd-bpf/otlp-collector.example-4318"));
    }

    #[test]
    fn an_endpoint_is_a_url_without_the_usual_path() {
        for (endpoint, url) in [
            ("http://h", "http://h/v1/logs"),
            ("https://h", "https://h/v1/logs"),
            ("https://h/", "https://h/v1/logs"),
            ("https://h:8443/otlp/team-1/", "https://h:8443/otlp/team-1/v1/logs"),
            ("http://[::1]:4318", "http://[::1]:4318/v1/logs"),
        ] {
            assert_eq!(parse(&format!("endpoint = '{endpoint}'")).unwrap().url(), url);
        }
        assert_eq!(parse("endpoint = 'http://h'").unwrap().address, "h:80");
        let with_path = parse("endpoint = 'https://h/otlp/team-1'").unwrap();
        assert_eq!(with_path.spool.path, Path::new("/var/spool/auditd-bpf/otlp-h-443-otlp-team-1"));
        assert_eq!(with_path.tls, Some(TlsConfig::default()));
    }

    #[test]
    fn a_header_is_a_text_or_a_file() {
        let keys =
            "endpoint = 'https://h'\nheaders = { x-tenant = 'a b', Authorization = { file = '/etc/audit/token' } }";
        let headers = parse(keys).unwrap().headers;
        assert_eq!(headers["x-tenant"], HeaderSource::Text("a b".to_owned()));
        assert_eq!(headers["Authorization"], HeaderSource::File { file: "/etc/audit/token".into() });
    }

    #[test]
    fn mistakes_are_named() {
        let error = |keys: &str| parse(&format!("endpoint = 'https://h'\n{keys}")).unwrap_err();
        for endpoint in ["h:4318", "grpc://h", "https://", "https://user@h", "https://h/a?b=c", "https://h/a b"] {
            let message = parse(&format!("endpoint = '{endpoint}'")).unwrap_err();
            assert!(message.contains("use `http://host:port/path`"), "{endpoint}: {message}");
        }
        assert!(parse("endpoint = 'https://h/v1/logs'").unwrap_err().contains("which is added"));
        assert!(parse("endpoint = 'http://h'\ntls = {}").unwrap_err().contains("endpoints https://"));
        assert!(error("tls.cert = '/c'").contains("without its `key`"));
        assert!(error("compression = 'zstd'").contains("none of OTLP"));
        assert!(error("timeout_ms = 0").contains("nonzero"));
        assert!(error("headers = { 'a b' = 'c' }").contains("no name of a header"));
        assert!(error("headers = { Content-Type = 'c' }").contains("set by the output"));
        assert!(error("headers = { a = \"b\\nc\" }").contains("printable ASCII"));
        assert!(error("headers = { a = { file = 'token' } }").contains("must be absolute"));
        assert!(error("headers = { a = { path = '/token' } }").contains("a header is a text, or"));
    }
}
