//! Sockets and their addresses.

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixDatagram, UnixListener, UnixStream};

use anyhow::Result;
use nix::libc;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockType, SockaddrIn, bind, connect, sendmsg, sendto, socket,
    socketpair,
};

use super::acts::{either, fails};
use crate::compliance::case::Case;
use crate::place::Place;
use crate::sys::{self, Arg};

macro_rules! calls {
    ($names:literal) => {
        concat!("-a always,exit -F arch=b64 -S ", $names, " -F auid={auid} -k {key}")
    };
    ($names:literal, $fields:literal) => {
        concat!("-a always,exit -F arch=b64 -S ", $names, " -F auid={auid} ", $fields, " -k {key}")
    };
}

pub const CASES: &[Case] = &[
    Case::new("connect", calls!("connect"), all),
    Case::new("bind", calls!("bind"), all),
    Case::new("send", calls!("sendto,sendmsg"), all),
    Case::new("accept", calls!("accept,accept4,listen"), all),
    Case::new("socket", calls!("socket,socketpair,shutdown"), all),
    Case::new("receive", calls!("recvfrom,recvmsg,getsockname,getpeername,setsockopt"), all),
    Case::new("pipe", calls!("pipe,pipe2"), pipes),
    Case::new("connect_by_failure", calls!("connect", "-F success=0"), all),
    Case::new("connect_by_family_inet", calls!("connect,bind,sendto", "-F saddr_fam=2"), all),
    Case::new("connect_by_family_local", calls!("connect,bind,sendto", "-F saddr_fam=1"), all),
    Case::new("connect_by_family_not", calls!("connect,bind,sendto", "-F saddr_fam!=2"), all),
    Case::new("connect_by_family_above", calls!("connect,bind,sendto", "-F saddr_fam>=10"), all),
    Case::new("socket_by_domain", calls!("socket", "-F a0=2 -F a1&1"), all),
    Case::new("bind_watched", "-w {dir}/s -p wa -k {key}", local),
    Case::new("sockets_in_tree", "-w {dir} -p wa -k {key}", local),
];

fn all(place: &Place) -> Result<()> {
    inet()?;
    local(place)?;
    other()
}

fn inet() -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let client = TcpStream::connect(listener.local_addr()?)?;
    drop(listener.accept()?);
    client.peer_addr()?;
    let closed: SocketAddr = listener.local_addr()?;
    drop(listener);
    fails(libc::ECONNREFUSED, TcpStream::connect(closed))?;
    either(TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).and_then(|listener| TcpStream::connect(listener.local_addr()?)));
    let datagrams = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    datagrams.send_to(b"text", (Ipv4Addr::LOCALHOST, 9))?;
    datagrams.connect((Ipv4Addr::new(127, 1, 2, 3), 9))?;
    either(datagrams.send(b"text"));
    either(datagrams.send(b"text"));
    let message = SockaddrIn::new(127, 0, 0, 1, 7);
    let plain = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::empty(), None)?;
    sendmsg(plain.as_raw_fd(), &[std::io::IoSlice::new(b"x")], &[], MsgFlags::empty(), Some(&message))?;
    sendto(plain.as_raw_fd(), b"x", &message, MsgFlags::empty())?;
    fails(libc::EBADF, sys::call(libc::SYS_connect, &mut [Arg::Number(999), Arg::Bytes(&[2; 16]), Arg::Number(16)]))?;
    fails(
        libc::EINVAL,
        sys::call(libc::SYS_connect, &mut [Arg::Number(plain.as_raw_fd().into()), Arg::Bytes(&[2, 0]), Arg::Number(2)]),
    )?;
    fails(
        libc::EFAULT,
        sys::call(libc::SYS_connect, &mut [Arg::Number(plain.as_raw_fd().into()), Arg::Number(1), Arg::Number(16)]),
    )
}

fn local(place: &Place) -> Result<()> {
    let path = place.path("s");
    let listener = UnixListener::bind(&path)?;
    let client = UnixStream::connect(&path)?;
    drop(listener.accept()?);
    drop(client);
    fails(libc::EADDRINUSE, UnixListener::bind(&path))?;
    fails(libc::ENOENT, UnixStream::connect(place.path("absent")))?;
    fs::remove_file(&path)?;
    let hidden = UnixAddr::from_abstract_name([place.name.as_bytes(), b"\0\xff"].concat())?;
    let listener = UnixListener::bind_addr(&hidden)?;
    drop(UnixStream::connect_addr(&hidden)?);
    drop(listener);
    let datagrams = UnixDatagram::bind(&path)?;
    UnixDatagram::unbound()?.send_to(b"text", &path)?;
    datagrams.recv(&mut [0; 8])?;
    std::env::set_current_dir(&place.dir)?;
    drop(UnixDatagram::unbound()?.connect("s"));
    fs::remove_file(&path)?;
    Ok(())
}

fn other() -> Result<()> {
    let netlink = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::empty(), None)?;
    bind(netlink.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
    connect(netlink.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
    let (one, two) = socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)?;
    nix::sys::socket::shutdown(one.as_raw_fd(), nix::sys::socket::Shutdown::Both)?;
    drop(two);
    fails(libc::EAFNOSUPPORT, sys::call(libc::SYS_socket, &mut [Arg::Number(99), Arg::Number(1), Arg::Number(0)]))
}

fn pipes(_: &Place) -> Result<()> {
    drop(nix::unistd::pipe()?);
    let mut room = [0; 8];
    sys::call(libc::SYS_pipe, &mut [Arg::Room(&mut room)])?;
    drop(nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?);
    fails(libc::EFAULT, sys::call(libc::SYS_pipe, &mut [Arg::Number(1)]))
}
