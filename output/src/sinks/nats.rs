//! The `nats` sink: records as messages of a JetStream stream, each with an id by which the server drops those that come twice,
//! and each acknowledged when the stream has stored it.
//!
//! The client is written here, for the five verbs that publishing takes (`docs.nats.io`, "NATS protocol"): `async-nats` brings a
//! runtime and some eighty crates, and waits for acknowledgements in tasks where the sender has a thread anyway.

use std::io::{self, Read};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::Sink;
use super::message::{self, Message};
use super::network::{Connection, Server};
use super::spooled::{Delivery, Pace, SpooledSink};
use crate::config::NatsConfig;
use crate::counters::Meter;
use crate::error::OutputError;
use crate::spool::Spooled;

/// Messages that may be on their way.
const BATCH: usize = 256;
/// Longest line of the protocol that is believed.
const MAX_LINE: usize = 64 << 10;
/// Below it each connection has the server send its acknowledgements, which are for nobody else.
const INBOX: &str = "_INBOX.auditd-bpf";

/// Opens the sink.
pub(super) fn open(config: &NatsConfig, name: &str, meter: Arc<Meter>) -> Result<Box<dyn Sink>, OutputError> {
    let server = Server::new(&config.address, config.tls.as_ref(), name)?;
    let mut options = json!({
        "verbose": false, "pedantic": false, "headers": true, "no_responders": true, "tls_required": config.tls.is_some(),
        "name": "auditd-bpf", "lang": "rust", "version": env!("CARGO_PKG_VERSION"),
    });
    if let Some((user, password)) = &config.login {
        options["user"] = json!(user);
        options["pass"] = json!(password);
    }
    if let Some(token) = &config.token {
        options["auth_token"] = json!(token);
    }
    let delivery = NatsDelivery { server, options, subject: config.subject.clone(), client: None };
    let encode = Message { format: config.format, max_bytes: config.max_bytes.get() };
    Ok(Box::new(SpooledSink::open(name, &config.spool, Box::new(encode), Box::new(delivery), meter)?))
}

/// A subject of a new connection's own: late acknowledgements of the one before must not be taken for its own.
fn inbox() -> String {
    use std::hash::{BuildHasher, RandomState};
    format!("{INBOX}.{}.{:016x}", std::process::id(), RandomState::new().hash_one(()))
}

struct NatsDelivery {
    server: Server,
    options: Value,
    subject: String,
    client: Option<Client>,
}

struct Client {
    connection: Connection,
    inbox: String,
    /// What came and was not looked at yet.
    unread: Vec<u8>,
}

impl Delivery for NatsDelivery {
    fn pace(&self) -> Pace {
        Pace { records: BATCH, after: Duration::ZERO }
    }

    /// Publishes and waits until the stream has all.
    fn send(&mut self, batch: &[Spooled]) -> io::Result<()> {
        let client = match &mut self.client {
            Some(client) => client,
            None => self.client.insert(Client::connect(&self.server, &self.options)?),
        };
        let mut commands = Vec::new();
        for (number, record) in batch.iter().enumerate() {
            let (id, text) = message::parts(&record.payload);
            let id = String::from_utf8_lossy(id);
            let headers = format!("NATS/1.0\r\nNats-Msg-Id: {id}\r\n\r\n");
            let (subject, reply) = (&self.subject, format!("{}.{number}", client.inbox));
            let length = headers.len() + text.len();
            commands.extend(format!("HPUB {subject} {reply} {} {length}\r\n{headers}", headers.len()).into_bytes());
            commands.extend_from_slice(text);
            commands.extend_from_slice(b"\r\n");
        }
        client.connection.write(&commands)?;
        client.acknowledgements(batch.len())?;
        Ok(())
    }

    /// They came one by one.
    fn acknowledge(&mut self) -> io::Result<u64> {
        Ok(0)
    }

    fn reset(&mut self) {
        self.client = None;
    }
}

impl Client {
    fn connect(server: &Server, options: &Value) -> io::Result<Self> {
        let mut socket = server.connect()?;
        let info = first_line(&mut socket)?;
        if !info.starts_with("INFO ") {
            return Err(io::Error::other("this is not a NATS server"));
        }
        // TLS begins behind the server's first line.
        let connection = server.secure(socket)?;
        let (inbox, unread) = (inbox(), Vec::new());
        let mut client = Self { connection, inbox, unread };
        let hello = format!("CONNECT {options}\r\nSUB {}.* 1\r\nPING\r\n", client.inbox);
        client.connection.write(hello.as_bytes())?;
        while client.line()? != "PONG" {}
        Ok(client)
    }

    /// Waits for so many acknowledgements of the batch.
    fn acknowledgements(&mut self, count: usize) -> io::Result<()> {
        let mut acknowledged = vec![false; count];
        while !acknowledged.iter().all(|known| *known) {
            let line = self.line()?;
            let mut words = line.split(' ');
            let with_headers = match words.next() {
                Some("MSG") => false,
                Some("HMSG") => true,
                _ => continue,
            };
            let number = words.next().and_then(|subject| subject.rsplit('.').next()).and_then(|word| word.parse().ok());
            let length = words.next_back().and_then(|word| word.parse().ok());
            let (Some(number), Some(length)) = (number, length) else {
                return Err(io::Error::other(format!("not understood: {line}")));
            };
            let answer = self.body(length)?;
            if with_headers {
                return Err(io::Error::other("no stream keeps this subject"));
            }
            stored(&answer)?;
            if let Some(known) = acknowledged.get_mut::<usize>(number) {
                *known = true;
            }
        }
        Ok(())
    }

    /// The next line that is not the protocol's own affair.
    fn line(&mut self) -> io::Result<String> {
        loop {
            let end = self.unread.windows(2).position(|window| window == b"\r\n");
            let Some(end) = end else {
                if self.unread.len() > MAX_LINE {
                    return Err(io::Error::other("a line without an end"));
                }
                self.read()?;
                continue;
            };
            let line = String::from_utf8_lossy(&self.unread[..end]).into_owned();
            self.unread.drain(..end + 2);
            match line.split(' ').next() {
                Some("PING") => self.connection.write(b"PONG\r\n")?,
                Some("-ERR") => return Err(io::Error::other(line)),
                Some("INFO" | "+OK") => {}
                _ => return Ok(line),
            }
        }
    }

    fn body(&mut self, length: usize) -> io::Result<Vec<u8>> {
        if length > MAX_LINE {
            return Err(io::Error::other("an answer of unlikely length"));
        }
        while self.unread.len() < length + 2 {
            self.read()?;
        }
        let body = self.unread[..length].to_vec();
        self.unread.drain(..length + 2);
        Ok(body)
    }

    fn read(&mut self) -> io::Result<()> {
        if self.connection.read(&mut self.unread)? == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }
}

/// Byte by byte, as TLS may begin behind it.
fn first_line(socket: &mut TcpStream) -> io::Result<String> {
    let (mut line, mut byte) = (Vec::new(), [0]);
    while line.len() < MAX_LINE {
        socket.read_exact(&mut byte)?;
        if byte == *b"\n" {
            break;
        }
        line.extend(byte);
    }
    Ok(String::from_utf8_lossy(&line).into_owned())
}

/// Whether an answer says that the stream has the message, now or from before.
fn stored(answer: &[u8]) -> io::Result<()> {
    let answer: Value = serde_json::from_slice(answer).map_err(io::Error::other)?;
    if answer["error"].is_null() && answer["seq"].is_u64() {
        return Ok(());
    }
    Err(io::Error::other(format!("the stream did not store it: {answer}")))
}
