//! Connections to servers, over TCP or TLS.

#[cfg(feature = "tls")]
mod tls;

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use crate::config::TlsConfig;
use crate::error::OutputError;

#[cfg(feature = "tls")]
use self::tls::Client;
#[cfg(feature = "tls")]
pub use self::tls::TlsError;
#[cfg(feature = "kafka")]
pub(super) use self::tls::client_config;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// A server that takes nothing for so long is connected to anew.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a server may take to answer, or to read to the end.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// Makes connections.
pub(super) struct Server {
    address: String,
    #[cfg(feature = "tls")]
    tls: Option<Client>,
}

impl Server {
    /// A server at `host:port`; over TLS where the keys of `tls` are given.
    #[cfg(feature = "tls")]
    pub(super) fn new(address: &str, tls: Option<&TlsConfig>, output: &str) -> Result<Self, OutputError> {
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let tls = tls.map(|tls| Client::new(tls, host)).transpose();
        let tls = tls.map_err(|source| OutputError::Tls { sink: output.to_owned(), source })?;
        Ok(Self { address: address.to_owned(), tls })
    }

    /// A server at `host:port`.
    #[cfg(not(feature = "tls"))]
    pub(super) fn new(address: &str, tls: Option<&TlsConfig>, output: &str) -> Result<Self, OutputError> {
        match tls {
            Some(_) => Err(OutputError::NotBuilt { sink: output.to_owned(), feature: "tls" }),
            None => Ok(Self { address: address.to_owned() }),
        }
    }

    /// Connects, without TLS yet.
    pub(super) fn connect(&self) -> io::Result<TcpStream> {
        let mut last_error = io::ErrorKind::NotFound.into();
        for address in self.address.to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT).and_then(set_up) {
                Ok(socket) => return Ok(socket),
                Err(error) => last_error = error,
            }
        }
        Err(last_error)
    }

    /// Has the server prove who it is, where that is configured.
    pub(super) fn secure(&self, socket: TcpStream) -> io::Result<Connection> {
        #[cfg(feature = "tls")]
        if let Some(client) = &self.tls {
            let mut socket = socket;
            let session = client.handshake(&mut socket)?;
            return Ok(Connection { socket, session: Some(session) });
        }
        Ok(Connection {
            socket,
            #[cfg(feature = "tls")]
            session: None,
        })
    }
}

fn set_up(socket: TcpStream) -> io::Result<TcpStream> {
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(READ_TIMEOUT))?;
    socket.set_write_timeout(Some(WRITE_TIMEOUT))?;
    Ok(socket)
}

/// A connection over TCP or TLS.
pub(super) struct Connection {
    socket: TcpStream,
    #[cfg(feature = "tls")]
    session: Option<Box<rustls::ClientConnection>>,
}

impl Connection {
    /// Writes all of it.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        #[cfg(feature = "tls")]
        if let Some(session) = &mut self.session {
            let mut stream = rustls::Stream::new(&mut **session, &mut self.socket);
            stream.write_all(bytes)?;
            return stream.flush();
        }
        self.socket.write_all(bytes)
    }

    /// Whether the server proved who it is.
    #[cfg(feature = "otlp")]
    pub(super) fn is_tls(&self) -> bool {
        #[cfg(feature = "tls")]
        return self.session.is_some();
        #[cfg(not(feature = "tls"))]
        return false;
    }

    /// Other limits than the usual for each read and write; none where it is too late for any.
    #[cfg(feature = "otlp")]
    pub(super) fn set_patience(&self, patience: Option<Duration>) -> io::Result<()> {
        self.socket.set_read_timeout(patience)?;
        self.socket.set_write_timeout(patience)
    }

    /// Reads what is there, which is of no interest but for alerts of TLS. Returns whether the server ended its side.
    pub(super) fn server_ended(&mut self) -> io::Result<bool> {
        self.socket.set_nonblocking(true)?;
        let ended = loop {
            match self.read(&mut Vec::new()) {
                Ok(0) => break Ok(true),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        self.socket.set_nonblocking(false)?;
        ended
    }

    /// Appends what comes next; returns how many bytes came over TCP, of which 0 is the end.
    pub(super) fn read(&mut self, bytes: &mut Vec<u8>) -> io::Result<usize> {
        #[cfg(feature = "tls")]
        if let Some(session) = &mut self.session {
            let count = session.read_tls(&mut self.socket)?;
            session.process_new_packets().map_err(io::Error::other)?;
            // All of it: what stayed would in time make `read_tls` refuse.
            session.reader().read_to_end(bytes).or_else(|error| match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::UnexpectedEof => Ok(0),
                _ => Err(error),
            })?;
            return Ok(count);
        }
        let mut buffer = [0; 4096];
        let count = self.socket.read(&mut buffer)?;
        bytes.extend_from_slice(&buffer[..count]);
        Ok(count)
    }

    /// Ends our side and waits for the server to end its own. An error means that it may have left something unread.
    pub(super) fn finish(mut self) -> io::Result<()> {
        #[cfg(feature = "tls")]
        if let Some(session) = &mut self.session {
            session.send_close_notify();
            while session.wants_write() {
                session.write_tls(&mut self.socket)?;
            }
        }
        self.socket.shutdown(Shutdown::Write)?;
        let deadline = Instant::now() + READ_TIMEOUT;
        while self.read(&mut Vec::new())? != 0 {
            if Instant::now() > deadline {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
        self.wait_closed(deadline)
    }

    /// Both ends said that they are done. Where the server did first, what we sent meanwhile met nobody, and a reset is on its
    /// way. The connection is over when our end was acknowledged or reset, and then has no peer any more.
    fn wait_closed(&self, deadline: Instant) -> io::Result<()> {
        let mut pause = Duration::from_micros(100);
        while self.socket.peer_addr().is_ok() {
            if Instant::now() > deadline {
                return Err(io::ErrorKind::TimedOut.into());
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(50));
        }
        self.socket.take_error()?.map_or(Ok(()), Err)
    }
}
