//! The nats sink before Debian's nats-server, with JetStream.
//!
//! It is looked for among the peers: see [`common::peers`].

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use output::{OutputConfig, Pipeline, SinkCounters};
use tempfile::TempDir;

use common::{Nobody, daemon_event, free_port, peers, wait_until};

const PATIENCE: Duration = Duration::from_secs(60);

/// A server with its store in a directory.
struct Server {
    program: PathBuf,
    directory: TempDir,
    port: u16,
    child: Option<Child>,
}

impl Server {
    fn start() -> Option<Self> {
        let program = peers()?.join("usr/sbin/nats-server");
        if !program.is_file() {
            eprintln!("SKIP: no {}; `cargo xtask test` unpacks it", program.display());
            return None;
        }
        let port = free_port();
        let mut server = Self { program, directory: tempfile::tempdir().unwrap(), port, child: None };
        server.run();
        Some(server)
    }

    fn run(&mut self) {
        let mut command = Command::new(&self.program);
        command.args(["-a", "127.0.0.1", "-js", "--user", "joe", "--pass", "secret", "-p", &self.port.to_string()]);
        command.arg("-sd").arg(self.directory.path());
        self.child = Some(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        wait_until("the server starts", PATIENCE, || TcpStream::connect(("127.0.0.1", self.port)).is_ok());
    }

    /// As a crash would.
    fn kill(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// A server that has just begun to listen may still turn connections away.
    fn client(&self) -> Client {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.connect() {
                Ok(client) => return client,
                Err(error) => assert!(Instant::now() < deadline, "no connection: {error}"),
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn connect(&self) -> std::io::Result<Client> {
        let mut socket = TcpStream::connect(("127.0.0.1", self.port))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.write_all(b"CONNECT {\"verbose\":false,\"user\":\"joe\",\"pass\":\"secret\"}\r\nPING\r\n")?;
        let mut reader = BufReader::new(socket);
        let mut line = String::new();
        while line != "PONG\r\n" {
            line.clear();
            if reader.read_line(&mut line)? == 0 || line.starts_with("-ERR") {
                return Err(std::io::Error::other(format!("the server says {line:?}")));
            }
        }
        reader.get_mut().write_all(b"SUB answer 1\r\n")?;
        Ok(Client { reader })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

struct Client {
    reader: BufReader<TcpStream>,
}

impl Client {
    fn publish(&mut self, subject: &str, body: &str) {
        let command = format!("PUB {subject} answer {}\r\n{body}\r\n", body.len());
        self.reader.get_mut().write_all(command.as_bytes()).unwrap();
    }

    /// The body of the next message.
    fn next(&mut self) -> String {
        loop {
            let mut line = String::new();
            self.reader.read_line(&mut line).unwrap();
            let length = match line.split_whitespace().next() {
                Some("MSG" | "HMSG") => line.split_whitespace().next_back().unwrap().parse::<usize>().unwrap(),
                Some("PING") => {
                    self.reader.get_mut().write_all(b"PONG\r\n").unwrap();
                    continue;
                }
                _ => continue,
            };
            let mut body = vec![0; length + 2];
            self.reader.read_exact(&mut body).unwrap();
            body.truncate(length);
            return String::from_utf8(body).unwrap();
        }
    }

    fn create_stream(&mut self) {
        self.publish(
            "$JS.API.STREAM.CREATE.AUDIT",
            "{\"name\":\"AUDIT\",\"subjects\":[\"audit.>\"],\"storage\":\"file\"}",
        );
        assert!(!self.next().contains("error"));
    }

    fn stored(&mut self) -> u64 {
        self.publish("$JS.API.STREAM.INFO.AUDIT", "");
        let info: serde_json::Value = serde_json::from_str(&self.next()).unwrap();
        info["state"]["messages"].as_u64().unwrap_or_else(|| panic!("{info}"))
    }

    /// The serials of all that the stream has, in its order.
    fn serials(&mut self) -> Vec<u64> {
        let count = self.stored();
        self.reader.get_mut().write_all(b"SUB all 2\r\n").unwrap();
        let consumer = "{\"stream_name\":\"AUDIT\",\"config\":{\"deliver_subject\":\"all\",\"ack_policy\":\"none\",\
                        \"deliver_policy\":\"all\"}}";
        self.publish("$JS.API.CONSUMER.CREATE.AUDIT", consumer);
        let mut serials = Vec::new();
        while (serials.len() as u64) < count {
            // Messages carry their id in headers, which precede the record.
            let message = self.next();
            let record = message.split_once("\r\n\r\n").map_or(message.as_str(), |(_, record)| record);
            let record: serde_json::Value = serde_json::from_str(record).unwrap();
            serials.extend(record["serial"].as_u64());
            assert!(record["error"].is_null(), "{record}");
        }
        serials
    }
}

fn start(server: &Server, spool: &TempDir, keys: &str) -> Pipeline {
    let config = format!(
        "type = 'nats'\nserver = 'nats://127.0.0.1:{}'\nsubject = 'audit.web1'\nuser = 'joe'\nqueue = 1000000\n\
         queue_bytes = 4000000000\n{keys}\nspool.path = '{}'\n",
        server.port,
        spool.path().join("spool").display()
    );
    let config: OutputConfig = toml::from_str(&config).unwrap();
    Pipeline::start(&[config], "web1", Arc::new(Nobody)).unwrap()
}

fn push(pipeline: &Pipeline, serials: std::ops::Range<u64>, details: &str) {
    for serial in serials {
        let details = vec![("more".into(), details.to_owned())];
        pipeline.push(daemon_event(1_795_503_850_123_456_789, serial, details));
    }
}

fn counters(pipeline: &Pipeline) -> SinkCounters {
    pipeline.counters().remove(0)
}

#[test]
fn the_stream_has_each_record_once_through_crashes_of_the_server() {
    let Some(mut server) = Server::start() else { return };
    server.client().create_stream();
    let spool = tempfile::tempdir().unwrap();
    let pipeline = start(&server, &spool, "password = 'secret'");
    for round in 0..3 {
        push(&pipeline, round * 2000..(round + 1) * 2000, "x");
        wait_until("half of it", PATIENCE, || counters(&pipeline).written > round * 2000 + 500);
        server.kill();
        server.run();
    }
    wait_until("all of it", PATIENCE, || counters(&pipeline).written == 6000);
    pipeline.close(PATIENCE);
    let mut serials = server.client().serials();
    serials.sort_unstable();
    assert!(serials.into_iter().eq(0..6000), "missing, or twice");
}

#[test]
fn records_wait_for_a_stream_and_for_the_next_daemon() {
    let Some(server) = Server::start() else { return };
    let spool = tempfile::tempdir().unwrap();
    let pipeline = start(&server, &spool, "password = 'secret'");
    push(&pipeline, 0..10, "x");
    wait_until("refusal", PATIENCE, || counters(&pipeline).errors >= 2);
    assert_eq!(counters(&pipeline).written, 0, "no stream keeps the subject yet");
    let counters_then = pipeline.close(PATIENCE).remove(0);
    assert_eq!((counters_then.spooled, counters_then.lost_total()), (10, 0));
    server.client().create_stream();
    let pipeline = start(&server, &spool, "password = 'secret'");
    wait_until("delivered", PATIENCE, || counters(&pipeline).written == 10);
    pipeline.close(PATIENCE);
    assert_eq!(server.client().serials(), (0..10).collect::<Vec<_>>());
}

#[test]
fn a_wrong_password_delivers_nothing() {
    let Some(server) = Server::start() else { return };
    server.client().create_stream();
    let spool = tempfile::tempdir().unwrap();
    let pipeline = start(&server, &spool, "password = 'wrong'");
    push(&pipeline, 0..10, "x");
    wait_until("refusal", PATIENCE, || counters(&pipeline).errors >= 2);
    assert_eq!(counters(&pipeline).written, 0);
    pipeline.close(PATIENCE);
    assert_eq!(server.client().stored(), 0);
}

#[test]
fn what_is_too_long_is_lost_and_told_and_holds_up_nothing() {
    let Some(server) = Server::start() else { return };
    server.client().create_stream();
    let spool = tempfile::tempdir().unwrap();
    let pipeline = start(&server, &spool, "password = 'secret'\nmax_bytes = 10000");
    push(&pipeline, 0..1, &"x".repeat(20_000));
    push(&pipeline, 1..3, "x");
    wait_until("delivered", PATIENCE, || counters(&pipeline).written == 2);
    assert_eq!(counters(&pipeline).lost[1], ("too_long", 1));
    pipeline.close(PATIENCE);
    // The two, and the record of the loss.
    assert_eq!(server.client().stored(), 3);
}
