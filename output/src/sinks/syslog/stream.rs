//! Syslog over TCP (RFC 6587, octet counting) and TLS (RFC 5425), as deliveries of a spool.
//!
//! Neither has acknowledgements, and what the kernel took, or the server's kernel, need not have been read by the server. So the
//! connection is ended in order from time to time: the server closes its side after it has read to the end, or with a reset
//! where it left something unread (RFC 2525, section 2.17; Linux's `tcp_close`). rsyslog's omfwd calls such a change of
//! connections `RebindInterval`.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use super::super::spooled::{Delivery, Pace, Sent};
#[cfg(feature = "tls")]
use super::tls::Client;
use crate::config::Acknowledge;
use crate::spool::Spooled;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// A server that takes nothing for so long is connected to anew.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the server may take to read to the end.
const FINISH_TIMEOUT: Duration = Duration::from_secs(30);

/// Makes connections.
pub(super) struct Server {
    pub(super) address: String,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<Client>,
}

/// See the module's documentation.
pub(super) struct StreamDelivery {
    server: Server,
    acknowledge: Acknowledge,
    connection: Option<Connection>,
}

impl StreamDelivery {
    pub(super) fn new(server: Server, acknowledge: Acknowledge) -> Self {
        Self { server, acknowledge, connection: None }
    }
}

impl Delivery for StreamDelivery {
    fn pace(&self) -> Pace {
        Pace { records: self.acknowledge.records.get(), after: self.acknowledge.after }
    }

    fn send(&mut self, batch: &[Spooled]) -> io::Result<Sent> {
        let mut sent = Sent::Unknown;
        if let Some(connection) = &mut self.connection
            && connection.server_ended()?
        {
            self.acknowledge()?;
            sent = Sent::PreviousArrived;
        }
        let connection = match &mut self.connection {
            Some(connection) => connection,
            None => self.connection.insert(self.server.connect()?),
        };
        let mut frames = Vec::new();
        for message in batch {
            // SYSLOG-FRAME = MSG-LEN SP SYSLOG-MSG: RFC 6587 section 3.4.1, RFC 5425 section 4.3.
            frames.extend_from_slice(format!("{} ", message.payload.len()).as_bytes());
            frames.extend_from_slice(&message.payload);
        }
        connection.write(&frames)?;
        Ok(sent)
    }

    fn acknowledge(&mut self) -> io::Result<()> {
        self.connection.take().map_or(Ok(()), Connection::finish)
    }

    fn reset(&mut self) {
        self.connection = None;
    }
}

impl Server {
    fn connect(&self) -> io::Result<Connection> {
        let mut last_error = io::ErrorKind::NotFound.into();
        for address in self.address.to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT).and_then(|socket| self.set_up(socket)) {
                Ok(connection) => return Ok(connection),
                Err(error) => last_error = error,
            }
        }
        Err(last_error)
    }

    fn set_up(&self, socket: TcpStream) -> io::Result<Connection> {
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(FINISH_TIMEOUT))?;
        socket.set_write_timeout(Some(SEND_TIMEOUT))?;
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

struct Connection {
    socket: TcpStream,
    #[cfg(feature = "tls")]
    session: Option<Box<rustls::ClientConnection>>,
}

impl Connection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        #[cfg(feature = "tls")]
        if let Some(session) = &mut self.session {
            let mut stream = rustls::Stream::new(&mut **session, &mut self.socket);
            stream.write_all(bytes)?;
            return stream.flush();
        }
        self.socket.write_all(bytes)
    }

    /// Reads what is there, which is of no interest but for alerts of TLS. Returns whether the server ended its side.
    fn server_ended(&mut self) -> io::Result<bool> {
        self.socket.set_nonblocking(true)?;
        let ended = loop {
            match self.read() {
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

    /// Reads what comes next; 0 is the end of the TCP stream.
    fn read(&mut self) -> io::Result<usize> {
        #[cfg(feature = "tls")]
        if let Some(session) = &mut self.session {
            let count = session.read_tls(&mut self.socket)?;
            session.process_new_packets().map_err(io::Error::other)?;
            // What it says in clear is thrown away: kept, it would in time make `read_tls` refuse.
            io::copy(&mut session.reader(), &mut io::sink()).or_else(|error| match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::UnexpectedEof => Ok(0),
                _ => Err(error),
            })?;
            return Ok(count);
        }
        self.socket.read(&mut [0; 512])
    }

    /// Ends our side and waits for the server to end its own. An error means that it may have left something unread.
    fn finish(mut self) -> io::Result<()> {
        #[cfg(feature = "tls")]
        if let Some(session) = &mut self.session {
            session.send_close_notify();
            while session.wants_write() {
                session.write_tls(&mut self.socket)?;
            }
        }
        self.socket.shutdown(Shutdown::Write)?;
        let deadline = Instant::now() + FINISH_TIMEOUT;
        while self.read()? != 0 {
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
