//! `[metrics]`: what `auditd-bpf status` tells, for Prometheus, over HTTP at a local address.
//!
//! The main loop publishes a report every second; who asks gets the last one, so no scrape ever waits for the loop, nor the
//! loop for a scrape.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use output::SinkCounters;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use serde::Deserialize;

use crate::connections::{Slots, accept_all};
use crate::delays::Delays;
use crate::status::{Counts, Output, Report};

/// What the log calls it.
const NAME: &str = "metrics";
/// Connections at a time; more are closed.
const CONNECTIONS_MAX: usize = 8;
/// How long a client may take for its request, and for each write of the answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// What the keys that are not told apart are called together.
const OTHER_KEYS: &str = "(others)";
/// Longest request.
const REQUEST_MAX: usize = 8192;

/// `[metrics]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricsConfig {
    /// `listen`: `"127.0.0.1:9090"`, or another address of this machine alone, or `"unix:/path"`.
    pub listen: Listen,
}

/// Where to listen. Nobody on another machine gets there.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Listen {
    /// A loopback address.
    Tcp(SocketAddr),
    /// A socket for root, mode 0600.
    Unix(PathBuf),
}

impl TryFrom<String> for Listen {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = PathBuf::from(path);
            return if path.is_absolute() { Ok(Self::Unix(path)) } else { Err(format!("`{text}` must be absolute")) };
        }
        match text.parse::<SocketAddr>() {
            Ok(address) if address.ip().is_loopback() => Ok(Self::Tcp(address)),
            Ok(_) => Err(format!("`{text}` is no loopback address: metrics are for this machine alone")),
            Err(_) => Err(format!("`{text}` is neither like \"127.0.0.1:9090\" nor like \"unix:/path\"")),
        }
    }
}

/// The last report.
#[derive(Clone, Debug, Default)]
struct Board(Arc<Mutex<Report>>);

/// Answers scrapes, for as long as the process lives.
pub struct Metrics(Board);

impl Metrics {
    /// Listens.
    ///
    /// # Errors
    /// If the operating system refuses.
    pub fn start(listen: &Listen) -> io::Result<Self> {
        let board = Board::default();
        let door = Door { board: board.clone(), slots: Slots::new(CONNECTIONS_MAX) };
        let named = thread::Builder::new().name("metrics".to_owned());
        match listen {
            Listen::Tcp(address) => {
                let listener = TcpListener::bind(address)?;
                let accept = move || listener.accept().map(|(stream, _)| stream);
                named.spawn(move || accept_all(NAME, accept, |stream| door.serve(stream)))?;
            }
            Listen::Unix(path) => {
                let listener = listen_unix(path)?;
                let accept = move || listener.accept().map(|(stream, _)| stream);
                named.spawn(move || accept_all(NAME, accept, |stream| door.serve(stream)))?;
            }
        }
        Ok(Self(board))
    }

    /// What the next scrapes get.
    pub fn publish(&self, report: Report) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = report;
    }
}

/// In place of a socket that nobody listens at.
fn listen_unix(path: &Path) -> io::Result<UnixListener> {
    if UnixStream::connect(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
        fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// A connection.
trait Stream: Read + Write + Send + 'static {
    fn limit(&self, read: Duration) -> io::Result<()>;
}

impl Stream for TcpStream {
    fn limit(&self, read: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(read)).and_then(|()| self.set_write_timeout(Some(PATIENCE)))
    }
}

impl Stream for UnixStream {
    fn limit(&self, read: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(read)).and_then(|()| self.set_write_timeout(Some(PATIENCE)))
    }
}

struct Door {
    board: Board,
    slots: Slots,
}

impl Door {
    fn serve<S: Stream>(&self, mut stream: S) {
        let Some(slot) = self.slots.take() else { return };
        let board = self.board.clone();
        slot.serve(NAME, "metrics-client", move || {
            // Who does not take the answer goes without.
            let _ = request(&mut stream).and_then(|line| stream.write_all(&answer(&line, &board)));
        });
    }
}

/// The first line of a request, after all of its head came.
fn request(stream: &mut impl Stream) -> io::Result<Vec<u8>> {
    let deadline = Instant::now() + PATIENCE;
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || head.len() > REQUEST_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        stream.limit(left)?;
        let mut chunk = [0; 1024];
        match stream.read(&mut chunk)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => head.extend_from_slice(&chunk[..count]),
        }
    }
    head.truncate(head.iter().position(|byte| *byte == b'\r').unwrap_or(0));
    Ok(head)
}

fn answer(line: &[u8], board: &Board) -> Vec<u8> {
    let mut words = line.split(|byte| *byte == b' ');
    let (status, kind, body) = match (words.next(), words.next()) {
        (Some(b"GET"), Some(b"/metrics")) => match text(board) {
            Ok(text) => ("200 OK", "application/openmetrics-text; version=1.0.0; charset=utf-8", text),
            Err(_) => ("500 Internal Server Error", "text/plain", String::new()),
        },
        (Some(b"GET"), _) => ("404 Not Found", "text/plain", "see /metrics\n".to_owned()),
        _ => ("405 Method Not Allowed", "text/plain", "GET alone\n".to_owned()),
    };
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    (head + &body).into_bytes()
}

fn text(board: &Board) -> Result<String, std::fmt::Error> {
    let mut registry = Registry::with_prefix("auditd_bpf");
    registry.register_collector(Box::new(board.clone()));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry)?;
    Ok(text)
}

/// Labels and numbers of a metric.
type Rows<'a> = Vec<(Vec<(&'static str, &'a str)>, u64)>;

fn by<'a>(label: &'static str, counts: &'a Counts) -> Rows<'a> {
    counts.iter().map(|(name, count)| (vec![(label, name.as_str())], *count)).collect()
}

/// The same beneath a label that all of them have.
fn below<'a>(label: &'static str, value: &'a str, mut rows: Rows<'a>) -> Rows<'a> {
    rows.iter_mut().for_each(|(labels, _)| labels.insert(0, (label, value)));
    rows
}

impl Collector for Board {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let report = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let of = |number: fn(&Output) -> u64| -> Rows<'_> {
            report.outputs.iter().map(|output| (vec![("output", output.name.as_str())], number(output))).collect()
        };
        let lost = report.outputs.iter().flat_map(|output| below("output", &output.name, by("cause", &output.lost)));
        let others = (!report.other_keys.is_empty()).then_some((OTHER_KEYS, &report.other_keys));
        let keys = report.keys.iter().map(|(key, events)| (key.as_str(), events)).chain(others);
        let by_key = keys.flat_map(|(key, events)| below("key", key, by("verdict", events)));
        let counters: [(&str, &str, Rows<'_>); 8] = [
            ("events", "Events of rules", by("verdict", &report.events)),
            ("key_events", "Events of rules with a key, for each key", by_key.collect()),
            ("lost", "Events lost before any output", by("cause", &report.lost)),
            ("output_written", "Events that the destination has", of(|output| output.written)),
            ("output_filtered", "Events that the filter kept away", of(|output| output.filtered)),
            ("output_written_bytes", "Bytes that the destination has", of(|output| output.bytes)),
            ("output_errors", "Attempts that failed and were made again", of(|output| output.errors)),
            ("output_lost", "Events lost to the output", lost.collect()),
        ];
        for (name, help, rows) in counters {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (labels, count) in rows {
                ConstCounter::new(count).encode(metric.encode_family(&labels)?)?;
            }
        }
        let gauges: [(&str, &str, Rows<'_>); 6] = [
            ("rules", "Rules in force", vec![(Vec::new(), report.rules)]),
            ("programs", "Programs attached to the kernel", vec![(Vec::new(), report.programs)]),
            ("output_waiting", "Events that wait", of(|output| output.waiting)),
            ("output_spool_bytes", "Length of the spool", of(|output| output.spool_bytes)),
            ("output_stalled", "Whether the destination takes nothing", of(|output| output.stalled.into())),
            ("output_suspended", "Whether it takes nothing until SIGUSR2", of(|output| output.suspended.into())),
        ];
        for (name, help, rows) in gauges {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (labels, count) in rows {
                let count = i64::try_from(count).unwrap_or(i64::MAX);
                ConstGauge::new(count).encode(metric.encode_family(&labels)?)?;
            }
        }
        let help = "How long events waited between the end of their act and the daemon";
        let mut metric = encoder.encode_descriptor("delay_seconds", help, None, MetricType::Histogram)?;
        if !report.delays.is_empty() {
            let labels: [(&str, &str); 0] = [];
            times(metric.encode_family(&labels)?, &Delays::bounds(), &report.delays, report.delay_micros)?;
        }
        let help = "How long it took to hand on what had gathered";
        let mut metric = encoder.encode_descriptor("output_flush_seconds", help, None, MetricType::Histogram)?;
        for output in report.outputs.iter().filter(|output| !output.flushes.is_empty()) {
            let labels = [("output", output.name.as_str())];
            let bounds = SinkCounters::flush_bounds();
            times(metric.encode_family(&labels)?, &bounds, &output.flushes, output.flush_micros)?;
        }
        Ok(())
    }
}

/// A histogram of times: the names of its bounds, in seconds, how many lie below each by that name, and their sum.
fn times(
    mut metric: MetricEncoder<'_>,
    bounds: &[(&str, f64)],
    counts: &Counts,
    micros: u64,
) -> Result<(), std::fmt::Error> {
    let count_of = |name: &str| counts.get(name).copied().unwrap_or_default();
    let buckets: Vec<_> = bounds.iter().map(|(name, bound)| (*bound, count_of(name))).collect();
    let (sum, count) = (Duration::from_micros(micros), buckets.iter().map(|(_, count)| count).sum());
    metric.encode_histogram::<NoLabelSet>(sum.as_secs_f64(), count, &buckets, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::counts;

    fn ask(stream: &mut (impl Read + Write), line: &str) -> String {
        stream.write_all(format!("{line}\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn a_scrape_gets_the_last_report() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.sock");
        drop(UnixListener::bind(&path).unwrap());
        let metrics = Metrics::start(&Listen::Unix(path.clone())).unwrap();
        let lost = counts([("queue_full", 4)]);
        let name = "file:/a\"b".to_owned();
        let flushes = counts([("1ms", 2), ("1s", 1)]);
        let output =
            Output { name, written: 7, spool_bytes: 9, lost, flushes, flush_micros: 250_000, ..Output::default() };
        let events = counts([("deny", 3)]);
        let (keys, other_keys) = ([("ssh".to_owned(), events.clone())].into(), counts([("allow", 8)]));
        let delays = counts([("5ms", 2)]);
        let outputs = vec![output];
        metrics.publish(Report { rules: 5, events, keys, other_keys, delays, outputs, ..Report::default() });
        let text = ask(&mut UnixStream::connect(&path).unwrap(), "GET /metrics HTTP/1.1");
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
        for line in [
            "# TYPE auditd_bpf_events counter\n",
            "auditd_bpf_events_total{verdict=\"deny\"} 3\n",
            "auditd_bpf_key_events_total{key=\"ssh\",verdict=\"deny\"} 3\n",
            "auditd_bpf_key_events_total{key=\"(others)\",verdict=\"allow\"} 8\n",
            "auditd_bpf_delay_seconds_bucket{le=\"0.005\"} 2\n",
            "auditd_bpf_output_flush_seconds_sum{output=\"file:/a\\\"b\"} 0.25\n",
            "auditd_bpf_output_flush_seconds_bucket{le=\"0.001\",output=\"file:/a\\\"b\"} 2\n",
            "auditd_bpf_output_flush_seconds_bucket{le=\"+Inf\",output=\"file:/a\\\"b\"} 3\n",
            "auditd_bpf_rules 5\n",
            "auditd_bpf_output_written_total{output=\"file:/a\\\"b\"} 7\n",
            "auditd_bpf_output_lost_total{output=\"file:/a\\\"b\",cause=\"queue_full\"} 4\n",
            "auditd_bpf_output_spool_bytes{output=\"file:/a\\\"b\"} 9\n",
        ] {
            assert!(text.contains(line), "{line} is not in:\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
        assert!(ask(&mut UnixStream::connect(&path).unwrap(), "GET / HTTP/1.1").contains(" 404 "));
        assert!(ask(&mut UnixStream::connect(&path).unwrap(), "POST /metrics HTTP/1.1").contains(" 405 "));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn this_machine_alone() {
        let listen = |text: &str| Listen::try_from(text.to_owned());
        assert_eq!(listen("127.0.0.1:9090"), Ok(Listen::Tcp(([127, 0, 0, 1], 9090).into())));
        assert!(listen("[::1]:9090").is_ok());
        assert!(listen("0.0.0.0:9090").unwrap_err().contains("no loopback address"));
        assert!(listen("unix:a").unwrap_err().contains("must be absolute"));
        assert!(listen("9090").is_err());
    }

    #[test]
    fn who_says_nothing_keeps_others_waiting_only_up_to_the_limit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.sock");
        let _metrics = Metrics::start(&Listen::Unix(path.clone())).unwrap();
        let idle: Vec<_> = (1..CONNECTIONS_MAX).map(|_| UnixStream::connect(&path).unwrap()).collect();
        assert!(ask(&mut UnixStream::connect(&path).unwrap(), "GET /metrics HTTP/1.1").contains(" 200 "));
        drop(idle);
    }
}
