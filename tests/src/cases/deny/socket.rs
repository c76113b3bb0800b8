//! Calls on sockets, refused to one login uid.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use anyhow::Result;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::sockopt::{AcceptConn, KeepAlive};
use nix::sys::socket::{
    self, AddressFamily, Backlog, ControlMessage, MsgFlags, MultiHeaders, SockFlag, SockType, SockaddrIn, SockaddrIn6,
    SockaddrLike, SockaddrStorage, UnixAddr, getpeername, getsockname, getsockopt, setsockopt, socketpair,
};

use super::attempt::{Attempt, answer, attempt, calls, plain};

calls! {
    "socket_inet", "socket", "socket_create", |_| answer(new(AddressFamily::Inet, SockType::Stream));
    "socket_inet6", "socket", "socket_create", |_| answer(new(AddressFamily::Inet6, SockType::Datagram));
    "socket_unix", "socket", "socket_create", |_| answer(new(AddressFamily::Unix, SockType::SeqPacket));
    "socket_netlink", "socket", "socket_create", |_| answer(new(AddressFamily::Netlink, SockType::Raw));
    "socket_packet", "socket", "socket_create", |_| answer(new(AddressFamily::Packet, SockType::Raw));
    "socketpair", "socketpair", "socket_create", |_| {
        answer(socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::empty()))
    };
    "bind_inet", "bind", "socket_bind", |_| bind(AddressFamily::Inet, &inet(free_port()?));
    "bind_inet6", "bind", "socket_bind", |_| bind(AddressFamily::Inet6, &inet6(free_port()?));
    "bind_unix", "bind", "socket_bind", |place| {
        let name = place.path("socket");
        let socket = new(AddressFamily::Unix, SockType::Stream)?;
        attempt(socket::bind(socket.as_raw_fd(), &UnixAddr::new(&name)?), name.exists())
    };
    "bind_unix_abstract", "bind", "socket_bind", |place| {
        let name = UnixAddr::new_abstract(place.name.as_bytes())?;
        let socket = new(AddressFamily::Unix, SockType::Stream)?;
        let result = socket::bind(socket.as_raw_fd(), &name);
        attempt(result, getsockname::<UnixAddr>(socket.as_raw_fd())?.as_abstract().is_some())
    };
    "connect_inet", "connect", "socket_connect", |_| {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        connect(AddressFamily::Inet, SockType::Stream, &inet(listener.local_addr()?.port()))
    };
    "connect_inet6", "connect", "socket_connect", |_| {
        let listener = TcpListener::bind((Ipv6Addr::LOCALHOST, 0))?;
        connect(AddressFamily::Inet6, SockType::Stream, &inet6(listener.local_addr()?.port()))
    };
    "connect_udp", "connect", "socket_connect", |_| connect(AddressFamily::Inet, SockType::Datagram, &inet(9));
    "connect_unix", "connect", "socket_connect", |place| connect_unix(&UnixAddr::new(&place.path("connected"))?);
    "connect_unix_abstract", "connect", "socket_connect", |place| {
        connect_unix(&UnixAddr::new_abstract(place.name.as_bytes())?)
    };
    "listen", "listen", "socket_listen", |_| {
        let socket = new(AddressFamily::Inet, SockType::Stream)?;
        attempt(socket::listen(&socket, Backlog::new(1)?), getsockopt(&socket, AcceptConn)?)
    };
    "accept", "accept", "socket_accept", |_| accept(|listener| plain(libc::SYS_accept, [listener, 0, 0]));
    "accept4", "accept4", "socket_accept", |_| accept(|listener| plain(libc::SYS_accept4, [listener, 0, 0, 0]));
    "sendto", "sendto", "socket_sendmsg", |_| {
        let (from, to) = (udp()?, udp()?);
        let result = from.send_to(b"datagram", to.local_addr()?);
        attempt(result, has_come(&to)?)
    };
    "sendto_a_name", "sendto", "socket_sendmsg", |place| {
        let (from, to) = (new(AddressFamily::Unix, SockType::Datagram)?, new(AddressFamily::Unix, SockType::Datagram)?);
        let name = place.path(std::process::id().to_string());
        let name = UnixAddr::new(&name)?;
        socket::bind(to.as_raw_fd(), &name)?;
        attempt(socket::sendto(from.as_raw_fd(), b"datagram", &name, MsgFlags::empty()), has_come(&to)?)
    };
    "send_on_a_connection", "sendto", "socket_sendmsg", |_| {
        let (from, to) = UnixStream::pair()?;
        attempt(socket::send(from.as_raw_fd(), b"bytes", MsgFlags::empty()), has_come(&to)?)
    };
    "sendmsg", "sendmsg", "socket_sendmsg", |_| sendmsg(&[]);
    "sendmsg_of_a_descriptor", "sendmsg", "socket_sendmsg", |_| sendmsg(&[ControlMessage::ScmRights(&[2])]);
    "sendmmsg", "sendmmsg", "socket_sendmsg", |_| {
        let (from, to) = UnixStream::pair()?;
        let mut room = MultiHeaders::<()>::preallocate(1, None);
        let data = [[IoSlice::new(b"bytes")]];
        let result = socket::sendmmsg(from.as_raw_fd(), &mut room, &data, [None], [], MsgFlags::empty()).map(drop);
        attempt(result, has_come(&to)?)
    };
    "writev_to_a_socket", "writev", "file_permission", |_| {
        let (mut from, to) = UnixStream::pair()?;
        attempt(from.write_vectored(&[IoSlice::new(b"by"), IoSlice::new(b"tes")]), has_come(&to)?)
    };
    "readv_of_a_socket", "readv", "file_permission", |_| {
        taken(|socket| socket.read_vectored(&mut [IoSliceMut::new(&mut [0; 2]), IoSliceMut::new(&mut [0; 8])]).map(drop))
    };
    "recvfrom", "recvfrom", "socket_recvmsg", |_| {
        taken(|socket| Ok(socket::recv(socket.as_raw_fd(), &mut [0; 8], MsgFlags::empty()).map(drop)?))
    };
    "recvmsg", "recvmsg", "socket_recvmsg", |_| {
        taken(|socket| {
            let flags = MsgFlags::empty();
            Ok(socket::recvmsg::<()>(socket.as_raw_fd(), &mut [IoSliceMut::new(&mut [0; 8])], None, flags).map(drop)?)
        })
    };
    "recvmmsg", "recvmmsg", "socket_recvmsg", |_| {
        taken(|socket| {
            let mut room = MultiHeaders::<()>::preallocate(1, None);
            let mut bytes = [0; 8];
            let data = &mut [[IoSliceMut::new(&mut bytes)]];
            Ok(socket::recvmmsg(socket.as_raw_fd(), &mut room, data, MsgFlags::empty(), None).map(drop)?)
        })
    };
    "setsockopt", "setsockopt", "socket_setsockopt", |_| {
        let socket = new(AddressFamily::Inet, SockType::Stream)?;
        attempt(setsockopt(&socket, KeepAlive, &true), getsockopt(&socket, KeepAlive)?)
    };
    "getsockopt", "getsockopt", "socket_getsockopt", |_| {
        answer(getsockopt(&new(AddressFamily::Inet, SockType::Stream)?, KeepAlive))
    };
    "getsockname", "getsockname", "socket_getsockname", |_| {
        let socket = new(AddressFamily::Inet, SockType::Stream)?;
        answer(getsockname::<SockaddrStorage>(socket.as_raw_fd()))
    };
    "getpeername", "getpeername", "socket_getpeername", |_| {
        let (here, _there) = UnixStream::pair()?;
        answer(getpeername::<SockaddrStorage>(here.as_raw_fd()))
    };
    "shutdown", "shutdown", "socket_shutdown", |_| {
        let (here, there) = UnixStream::pair()?;
        attempt(here.shutdown(Shutdown::Both), has_come(&there)?)
    };
}

fn new(family: AddressFamily, kind: SockType) -> nix::Result<OwnedFd> {
    socket::socket(family, kind, SockFlag::empty(), None)
}

fn inet(port: u16) -> SockaddrIn {
    SockaddrIn::new(127, 0, 0, 1, port)
}

fn inet6(port: u16) -> SockaddrIn6 {
    SockaddrIn6::from(std::net::SocketAddrV6::new(Ipv6Addr::LOCALHOST, port, 0, 0))
}

/// A port that is free in either family.
fn free_port() -> Result<u16> {
    // A socket that is connected has one that nobody listens on; bind is what may be refused.
    let socket = new(AddressFamily::Inet6, SockType::Datagram)?;
    socket::connect(socket.as_raw_fd(), &inet6(9))?;
    Ok(getsockname::<SockaddrIn6>(socket.as_raw_fd())?.port())
}

fn udp() -> io::Result<UdpSocket> {
    UdpSocket::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
}

fn bind(family: AddressFamily, address: &dyn SockaddrLike) -> Result<Attempt> {
    let socket = new(family, SockType::Stream)?;
    let result = socket::bind(socket.as_raw_fd(), address);
    let own = getsockname::<SockaddrStorage>(socket.as_raw_fd())?;
    let port = own.as_sockaddr_in().map(SockaddrIn::port).or(own.as_sockaddr_in6().map(SockaddrIn6::port));
    attempt(result, port.is_some_and(|port| port != 0))
}

fn connect(family: AddressFamily, kind: SockType, address: &dyn SockaddrLike) -> Result<Attempt> {
    let socket = new(family, kind)?;
    let result = socket::connect(socket.as_raw_fd(), address);
    attempt(result, getpeername::<SockaddrStorage>(socket.as_raw_fd()).is_ok())
}

fn connect_unix(name: &UnixAddr) -> Result<Attempt> {
    if let Some(path) = name.path() {
        // Of an earlier attempt.
        let _ = std::fs::remove_file(path);
    }
    let listener = new(AddressFamily::Unix, SockType::Stream)?;
    socket::bind(listener.as_raw_fd(), name)?;
    socket::listen(&listener, Backlog::new(1)?)?;
    connect(AddressFamily::Unix, SockType::Stream, name)
}

/// Accepts one who waits, and waits still if that does not work.
fn accept(accept: fn(i64) -> io::Result<i64>) -> Result<Attempt> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let _waiting = TcpStream::connect(listener.local_addr()?)?;
    let result = accept(listener.as_raw_fd().into());
    attempt(result, !has_come(&listener)?)
}

fn sendmsg(control: &[ControlMessage<'_>]) -> Result<Attempt> {
    let (from, to) = UnixStream::pair()?;
    let data = [IoSlice::new(b"bytes")];
    let result = socket::sendmsg::<()>(from.as_raw_fd(), &data, control, MsgFlags::empty(), None);
    attempt(result, has_come(&to)?)
}

/// Takes what waits in a socket.
fn taken(take: fn(&mut UnixStream) -> io::Result<()>) -> Result<Attempt> {
    let (mut from, mut to) = UnixStream::pair()?;
    from.write_all(b"bytes")?;
    let result = take(&mut to);
    attempt(result, !has_come(&to)?)
}

/// Whether something waits to be read: bytes, a connection, an end.
pub fn has_come(socket: &impl AsFd) -> Result<bool> {
    let mut asked = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
    Ok(poll(&mut asked, PollTimeout::ZERO)? == 1)
}
