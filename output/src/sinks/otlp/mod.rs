//! The `otlp` sink: log records of OpenTelemetry, as OTLP over HTTP, in protobuf.
//!
//! Protobuf and not JSON: every server of the protocol takes it, while JSON is optional for some, and in JSON each quotation mark of
//! a record that is JSON itself would have to be escaped. A record becomes a log record when it goes into the spool
//! ([`log_record`]); a request ([`wire`]) is made of as many as are read from there at once, and sent by [`http`].

mod answer;
mod http;
mod log_record;
mod wire;

use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use flate2::write::GzEncoder;
use prost::Message as _;

use self::answer::Outcome;
use self::http::Client;
use self::log_record::LogRecords;
use self::wire::{KeyValue, Request, Resource, ResourceLogs, Scope, ScopeLogs, Value};
use super::Sink;
use super::message;
use super::network::Server;
use super::spooled::{Delivery, Pace, SpooledSink};
use crate::config::{Compression, HeaderSource, OtlpConfig};
use crate::counters::Meter;
use crate::error::OutputError;
use crate::spool::Spooled;

/// Log records in a request.
const BATCH: usize = 1000;
/// How long the same answer is told once.
const TELL_AGAIN: Duration = Duration::from_secs(60);
/// `service.name`, and the name of the scope.
const SERVICE: &str = "auditd-bpf";

/// Opens the sink.
pub(super) fn open(config: &OtlpConfig, name: &str, meter: Arc<Meter>) -> Result<Box<dyn Sink>, OutputError> {
    let server = Server::new(&config.address, config.tls.as_ref(), name)?;
    for source in config.headers.values() {
        if let HeaderSource::File { file } = source {
            header(source).map_err(|source| OutputError::File {
                action: "read a header from",
                path: file.clone(),
                source,
            })?;
        }
    }
    let encode = LogRecords { format: config.format, max_bytes: config.max_bytes.get() };
    let delivery = OtlpDelivery {
        client: Client::new(server, config.timeout),
        config: config.clone(),
        url: config.url(),
        name: name.to_owned(),
        told: None,
        refused: 0,
        not_before: None,
    };
    Ok(Box::new(SpooledSink::open(name, &config.spool, Box::new(encode), Box::new(delivery), meter)?))
}

struct OtlpDelivery {
    client: Client,
    config: OtlpConfig,
    url: String,
    name: String,
    /// What the log was told last of answers, and when.
    told: Option<(String, Instant)>,
    /// Log records that the server refused for good since it was last asked.
    refused: u64,
    not_before: Option<Instant>,
}

impl Delivery for OtlpDelivery {
    fn pace(&self) -> Pace {
        Pace { records: BATCH, after: Duration::ZERO }
    }

    /// Sends and waits for the answer.
    fn send(&mut self, batch: &[Spooled]) -> io::Result<()> {
        self.not_before = None;
        let answer = self.client.post(&self.url, &self.headers()?, &self.body(batch)?)?;
        let refused = match answer::outcome(&answer) {
            Outcome::Taken => return Ok(()),
            Outcome::Warned => 0,
            Outcome::Later { after } => {
                self.not_before = after.map(|after| Instant::now() + after);
                return Err(io::Error::other(answer.told()));
            }
            // Nginx, for one, takes no more than 1 MiB unless it is told to.
            Outcome::TooLarge if batch.len() > 1 => {
                let (first, second) = batch.split_at(batch.len() / 2);
                self.send(first)?;
                return self.send(second);
            }
            Outcome::TooLarge | Outcome::Refused => batch.len() as u64,
            Outcome::Partly { refused } => refused.min(batch.len() as u64),
        };
        self.refused += refused;
        self.tell(answer.told(), refused);
        Ok(())
    }

    /// The answers said so.
    fn acknowledge(&mut self) -> io::Result<u64> {
        Ok(std::mem::take(&mut self.refused))
    }

    fn not_before(&self) -> Option<Instant> {
        self.not_before
    }

    fn reset(&mut self) {
        self.client.reset();
        self.refused = 0;
    }
}

impl OtlpDelivery {
    /// A server that says the same of every request is not to fill the log: counters and `LOST` records tell of each.
    fn tell(&mut self, answer: String, refused: u64) {
        if self.told.as_ref().is_some_and(|(last, at)| *last == answer && at.elapsed() < TELL_AGAIN) {
            return;
        }
        match refused {
            0 => tracing::warn!(output = self.name, answer, "the server took records, with a warning"),
            _ => tracing::error!(output = self.name, refused, answer, "the server refused records for good"),
        }
        self.told = Some((answer, Instant::now()));
    }

    fn headers(&self) -> io::Result<Vec<(&str, String)>> {
        let mut headers = vec![("Content-Type", answer::PROTOBUF.to_owned())];
        if self.config.compression == Compression::Gzip {
            headers.push(("Content-Encoding", "gzip".to_owned()));
        }
        for (name, source) in &self.config.headers {
            headers.push((name, header(source)?));
        }
        Ok(headers)
    }

    fn body(&self, batch: &[Spooled]) -> io::Result<Vec<u8>> {
        let body = request(batch).encode_to_vec();
        if self.config.compression != Compression::Gzip {
            return Ok(body);
        }
        let mut gzip = GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&body)?;
        gzip.finish()
    }
}

/// What a header says now.
fn header(source: &HeaderSource) -> io::Result<String> {
    match source {
        HeaderSource::Text(text) => Ok(text.clone()),
        HeaderSource::File { file } => {
            let told = |problem: String| io::Error::other(format!("{}: {problem}", file.display()));
            let text = std::fs::read_to_string(file).map_err(|error| told(error.to_string()))?;
            let text = text.trim();
            if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
                return Err(told("a header is one line of printable ASCII".to_owned()));
            }
            Ok(text.to_owned())
        }
    }
}

/// Log records of one machine after the other: in a spool there may be some from before it was renamed.
fn request(batch: &[Spooled]) -> Request {
    let of_one = batch.chunk_by(|one, next| message::parts(&one.payload).0 == message::parts(&next.payload).0);
    Request { resource_logs: of_one.map(resource_logs).collect() }
}

fn resource_logs(records: &[Spooled]) -> ResourceLogs {
    let parts = || records.iter().map(|record| message::parts(&record.payload));
    let node = parts().next().map_or_else(String::new, |(node, _)| String::from_utf8_lossy(node).into_owned());
    let string = |text: &str| Value::String(text.to_owned());
    let attributes = vec![
        KeyValue::new("service.name", string(SERVICE)),
        KeyValue::new("service.version", string(env!("CARGO_PKG_VERSION"))),
        KeyValue::new("host.name", Value::String(node)),
    ];
    let scope = Scope { name: SERVICE.to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() };
    let log_records = parts().map(|(_, log_record)| log_record.to_vec()).collect();
    ResourceLogs {
        resource: Some(Resource { attributes }),
        scope_logs: vec![ScopeLogs { scope: Some(scope), log_records }],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spooled(node: &str, log_record: &str) -> Spooled {
        Spooled { sequence: 0, events: 1, payload: format!("{node}\n{log_record}").into_bytes() }
    }

    #[test]
    fn each_machine_is_a_resource_of_its_own_in_order() {
        let batch = [spooled("old", "a\n"), spooled("old", "b"), spooled("new", "c"), spooled("old", "d")];
        let request = request(&batch);
        let told: Vec<_> = request
            .resource_logs
            .iter()
            .map(|logs| {
                let attributes = &logs.resource.as_ref().unwrap().attributes;
                let records = &logs.scope_logs[0].log_records;
                (attributes.last().unwrap().value.clone().unwrap().value.unwrap(), records.concat())
            })
            .collect();
        let host = |name: &str| Value::String(name.to_owned());
        let expected = [(host("old"), "a\nb"), (host("new"), "c"), (host("old"), "d")];
        assert_eq!(told, expected.map(|(host, records)| (host, records.as_bytes().to_vec())));
    }

    #[test]
    fn a_header_is_what_its_file_says_now() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let source = HeaderSource::File { file: file.path().to_owned() };
        for (content, says) in
            [("Bearer abc\n", Some("Bearer abc")), ("Bearer d", Some("Bearer d")), ("\n", None), ("a\nb", None)]
        {
            std::fs::write(file.path(), content).unwrap();
            assert_eq!(header(&source).ok().as_deref(), says, "{content:?}");
        }
        let missing = HeaderSource::File { file: "/nonexistent/token".into() };
        assert!(header(&missing).unwrap_err().to_string().starts_with("/nonexistent/token: "));
    }
}
