//! HTTP by ureq, over the connections that all network outputs make: so their keys of `tls` mean the same here.

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport as UreqTransport,
};
use ureq::{Agent, http};

use crate::sinks::network::{Connection, Server};

/// Longest answer that is read: it says little more than that all is well.
const MAX_ANSWER: u64 = 64 << 10;

/// A client of one server, with a connection that is kept.
pub(super) struct Client {
    server: Arc<Server>,
    agent: Agent,
    timeout: Duration,
}

/// What the server said.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) content_type: String,
    pub(super) retry_after: Option<String>,
    pub(super) body: Vec<u8>,
}

impl Client {
    pub(super) fn new(server: Server, timeout: Duration) -> Self {
        let server = Arc::new(server);
        Self { agent: agent(&server, timeout), server, timeout }
    }

    /// Forgets the connection.
    pub(super) fn reset(&mut self) {
        self.agent = agent(&self.server, self.timeout);
    }

    /// Sends a request and waits for its answer.
    pub(super) fn post(&self, url: &str, headers: &[(&str, String)], body: &[u8]) -> io::Result<Answer> {
        let mut request = self.agent.post(url);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let mut response = request.send(body).map_err(ureq::Error::into_io)?;
        let text = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let content_type = text(http::header::CONTENT_TYPE).unwrap_or_default();
        let retry_after = text(http::header::RETRY_AFTER);
        let status = response.status().as_u16();
        let mut body = Vec::new();
        response.body_mut().as_reader().take(MAX_ANSWER).read_to_end(&mut body)?;
        Ok(Answer { status, content_type, retry_after, body })
    }
}

/// Redirections are not followed: what is sent, and the token with it, is for the endpoint that is configured.
fn agent(server: &Arc<Server>, timeout: Duration) -> Agent {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .timeout_global(Some(timeout))
        .user_agent(concat!("auditd-bpf/", env!("CARGO_PKG_VERSION")))
        .build();
    Agent::with_parts(config, Connect(Arc::clone(server)), Nowhere)
}

/// The address is the server's own affair.
#[derive(Debug)]
struct Nowhere;

impl Resolver for Nowhere {
    fn resolve(
        &self,
        _: &http::Uri,
        _: &ureq::config::Config,
        _: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        Ok(self.empty())
    }
}

struct Connect(Arc<Server>);

impl fmt::Debug for Connect {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Connect")
    }
}

impl Connector for Connect {
    type Out = Transport;

    fn connect(&self, details: &ConnectionDetails<'_>, _: Option<()>) -> Result<Option<Transport>, ureq::Error> {
        let socket = self.0.connect()?;
        let patience = patience(&details.timeout);
        socket.set_read_timeout(patience)?;
        socket.set_write_timeout(patience)?;
        let connection = self.0.secure(socket)?;
        let buffers = LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Some(Transport { connection, buffers, unread: Vec::new() }))
    }
}

struct Transport {
    connection: Connection,
    buffers: LazyBuffers,
    /// What came and had no room in the buffers yet.
    unread: Vec<u8>,
}

impl fmt::Debug for Transport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Transport")
    }
}

impl UreqTransport for Transport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.connection.set_patience(patience(&timeout))?;
        let output = &self.buffers.output()[..amount];
        self.connection.write(output).map_err(|error| in_time(error, &timeout))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.connection.set_patience(patience(&timeout))?;
        // What comes first may be TLS's own.
        while self.unread.is_empty() {
            if self.connection.read(&mut self.unread).map_err(|error| in_time(error, &timeout))? == 0 {
                return Ok(false);
            }
        }
        let room = self.buffers.input_append_buf();
        let length = room.len().min(self.unread.len());
        room[..length].copy_from_slice(&self.unread[..length]);
        self.unread.drain(..length);
        self.buffers.input_appended(length);
        Ok(length > 0)
    }

    fn is_tls(&self) -> bool {
        self.connection.is_tls()
    }

    fn is_open(&mut self) -> bool {
        self.unread.is_empty() && self.connection.server_ended().is_ok_and(|ended| !ended)
    }
}

/// How long a system call may take.
fn patience(timeout: &NextTimeout) -> Option<Duration> {
    timeout.not_zero().map(|timeout| *timeout)
}

/// A socket's timeout is told as if it did not block.
fn in_time(error: io::Error, timeout: &NextTimeout) -> ureq::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => ureq::Error::Timeout(timeout.reason),
        _ => ureq::Error::Io(error),
    }
}
