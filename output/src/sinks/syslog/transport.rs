//! Sockets that carry syslog messages, one message whole or not at all.

use std::io::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A server that reads this slowly is tried again later, so that closing the pipeline need not wait for it.
const SEND_TIMEOUT: Duration = Duration::from_secs(1);

/// Linux errno numbers that `std` gives no kind of their own.
const EMSGSIZE: i32 = 90;
const EPROTOTYPE: i32 = 91;

/// Why a message was not sent.
#[derive(Debug)]
pub(super) enum Refusal {
    /// It does not fit into one datagram; no attempt will ever succeed.
    TooLong,
    /// The message before met a closed port, which is only known now. This one was not sent.
    PortClosed(io::Error),
    /// To be tried again over a new connection.
    Failed(io::Error),
}

/// Makes connections.
pub(super) trait Connect: Send {
    /// Connects anew.
    fn connect(&self) -> io::Result<Box<dyn Transport>>;
}

/// A connection.
pub(super) trait Transport: Send {
    /// Sends one message.
    fn send(&mut self, message: &[u8]) -> Result<(), Refusal>;

    /// Whether what was sent is known to have met a closed port.
    fn check(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A server on this machine.
pub(super) struct UnixServer(pub(super) PathBuf);

impl Connect for UnixServer {
    fn connect(&self) -> io::Result<Box<dyn Transport>> {
        connect_unix(&self.0)
    }
}

/// A server at `host:port`.
pub(super) struct UdpServer(pub(super) String);

impl Connect for UdpServer {
    fn connect(&self) -> io::Result<Box<dyn Transport>> {
        connect_udp(&self.0)
    }
}

fn connect_unix(path: &Path) -> io::Result<Box<dyn Transport>> {
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(SEND_TIMEOUT))?;
    match socket.connect(path) {
        Ok(()) => return Ok(Box::new(Datagram(socket))),
        // "Protocol wrong type for socket": the server listens on a stream.
        Err(error) if error.raw_os_error() == Some(EPROTOTYPE) => {}
        Err(error) => return Err(error),
    }
    let stream = UnixStream::connect(path)?;
    stream.set_write_timeout(Some(SEND_TIMEOUT))?;
    Ok(Box::new(Stream(stream)))
}

fn connect_udp(address: &str) -> io::Result<Box<dyn Transport>> {
    let mut last_error = io::ErrorKind::NotFound.into();
    for server in address.to_socket_addrs()? {
        let local: SocketAddr = match server {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        match UdpSocket::bind(local).and_then(|socket| socket.connect(server).map(|()| socket)) {
            Ok(socket) => return Ok(Box::new(Udp(socket))),
            Err(error) => last_error = error,
        }
    }
    Err(last_error)
}

fn refusal(error: io::Error) -> Refusal {
    if error.raw_os_error() == Some(EMSGSIZE) { Refusal::TooLong } else { Refusal::Failed(error) }
}

struct Datagram(UnixDatagram);

impl Transport for Datagram {
    fn send(&mut self, message: &[u8]) -> Result<(), Refusal> {
        self.0.send(message).map(drop).map_err(refusal)
    }
}

struct Udp(UdpSocket);

impl Transport for Udp {
    fn send(&mut self, message: &[u8]) -> Result<(), Refusal> {
        match self.0.send(message) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Err(Refusal::PortClosed(error)),
            Err(error) => Err(refusal(error)),
        }
    }

    fn check(&mut self) -> io::Result<()> {
        self.0.take_error()?.map_or(Ok(()), Err)
    }
}

struct Stream(UnixStream);

impl Transport for Stream {
    /// A newline ends the message, as servers on stream sockets expect; a record contains none. A message that was sent
    /// in part is sent again whole over a new connection: the server sees a torn line and then the record.
    fn send(&mut self, message: &[u8]) -> Result<(), Refusal> {
        let line = [message, b"\n"].concat();
        self.0.write_all(&line).map_err(Refusal::Failed)
    }
}
