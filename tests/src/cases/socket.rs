//! Socket addresses.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixDatagram, UnixListener, UnixStream};

use anyhow::{Context, Result, ensure};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr as NixUnixAddr, bind, socket};
use serde_json::{Value, json};

use crate::event::shown;
use crate::harness::{Case, skip};
use crate::session::Test;

const CONNECT: &str = "-a always,exit -F arch=b64 -S connect -F auid={auid} -k {key}";
const BIND: &str = "-a always,exit -F arch=b64 -S bind -F auid={auid} -k {key}";

pub const CASES: &[Case] = &[
    Case::new("connect_inet", CONNECT, inet),
    Case::new("connect_inet6", CONNECT, inet6),
    Case::new("connect_refused", CONNECT, refused),
    Case::new("connect_udp", CONNECT, udp),
    Case::new("connect_unix", CONNECT, unix),
    Case::new("connect_unix_absent", CONNECT, unix_absent),
    Case::new("connect_unix_abstract", CONNECT, unix_abstract),
    Case::new("bind_inet", BIND, bind_inet),
    Case::new("bind_unix", BIND, bind_unix),
    Case::new(
        "connect_by_outcome",
        "-a always,exit -F arch=b64 -S connect -F success=0 -F auid={auid} -k {key}",
        by_outcome,
    ),
    Case::new(
        "connect_by_network",
        "-a always,exit -F arch=b64 -S connect,sendto -F daddr=127.0.0.0/8 -F dport=4022 -F auid={auid} -k {key}",
        by_network,
    ),
    Case::new(
        "connect_elsewhere",
        "-a never,exit -F arch=b64 -S connect -F dport<4000 -F auid={auid}
         -a always,exit -F arch=b64 -S connect -F daddr!=127.0.0.0/8 -F auid={auid} -k {key}",
        elsewhere,
    ),
];

/// One event of connect with this address.
fn connected(test: &mut Test<'_>, address: &Value) -> Result<()> {
    let [event] = test.exactly()?;
    event.is(&json!({"syscall": "connect", "success": true, "exit": 0, "hook": "socket_connect", "address": address}))
}

fn inet(test: &mut Test<'_>) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    test.child(|| Ok(TcpStream::connect(address).map(drop)?))?;
    connected(test, &json!({"family": "inet", "ip": "127.0.0.1", "port": address.port()}))
}

fn inet6(test: &mut Test<'_>) -> Result<()> {
    let listener = match TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => return skip("the kernel has no IPv6"),
        listener => listener.context("cannot listen on ::1")?,
    };
    let address = listener.local_addr()?;
    test.child(|| Ok(TcpStream::connect(address).map(drop)?))?;
    connected(test, &json!({"family": "inet6", "ip": "::1", "port": address.port(), "scope_id": null}))
}

const WATCHED_PORT: u16 = 4022;

/// Sends a datagram by a socket of the address's family.
fn send(address: impl Into<SocketAddr>) -> Result<()> {
    let address = address.into();
    let socket = match address {
        SocketAddr::V4(_) => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)),
    };
    socket?.send_to(b"x", address).map(drop).with_context(|| format!("cannot send to {address}"))
}

/// By whichever socket it is reached.
fn by_network(test: &mut Test<'_>) -> Result<()> {
    let inside = Ipv4Addr::new(127, 1, 2, 3);
    test.child(|| send((inside, WATCHED_PORT)))?;
    test.child(|| send((inside.to_ipv6_mapped(), WATCHED_PORT)))?;
    test.child(|| Ok(UdpSocket::bind((inside, 0))?.connect((inside, WATCHED_PORT))?))?;
    let events = test.exactly::<3>()?;
    for (event, call) in events.iter().zip(["sendto", "sendto", "connect"]) {
        event.is(&json!({"syscall": call, "success": true}))?;
        ensure!(event.get("address")["port"] == WATCHED_PORT, "{}", event.get("address"));
    }
    test.child(|| send((inside, WATCHED_PORT + 1)))?;
    test.child(|| send((Ipv6Addr::LOCALHOST, WATCHED_PORT)))?;
    test.child(|| {
        ensure!(UnixDatagram::unbound()?.send_to(b"x", "/absent").is_err(), "it is there");
        Ok(())
    })?;
    test.silence("another port, another network, and what has no port")
}

fn elsewhere(test: &mut Test<'_>) -> Result<()> {
    let connect = |address: SocketAddr| {
        let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?;
        socket.connect(address).with_context(|| format!("cannot connect to {address}"))
    };
    let mapped = Ipv4Addr::new(127, 0, 0, 9).to_ipv6_mapped();
    test.child(|| connect((mapped, WATCHED_PORT).into()))?;
    test.child(|| connect((Ipv6Addr::LOCALHOST, 22).into()))?;
    test.child(|| {
        ensure!(UnixStream::connect("/absent").is_err(), "it is there");
        Ok(())
    })?;
    test.silence("the network, a port below, and what is no network")?;
    test.child(|| connect((Ipv6Addr::LOCALHOST, WATCHED_PORT).into()))?;
    let [event] = test.exactly()?;
    event.is(&json!({"address": {"family": "inet6", "ip": "::1", "port": WATCHED_PORT, "scope_id": null}}))
}

/// A port on which nobody listens.
fn closed_port() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

fn refuse(address: SocketAddr) -> Result<()> {
    let error = TcpStream::connect(address).err().context("somebody listens")?;
    ensure!(error.kind() == io::ErrorKind::ConnectionRefused, "{error}");
    Ok(())
}

fn refused(test: &mut Test<'_>) -> Result<()> {
    let address = closed_port()?;
    test.child(|| refuse(address))?;
    let [event] = test.exactly()?;
    event.is(&json!({
        "syscall": "connect", "success": false, "exit": -111, "errno": "ECONNREFUSED",
        "address": {"family": "inet", "ip": "127.0.0.1", "port": address.port()},
    }))
}

fn udp(test: &mut Test<'_>) -> Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    test.child(|| Ok(socket.connect((Ipv4Addr::new(127, 1, 2, 3), 9))?))?;
    connected(test, &json!({"family": "inet", "ip": "127.1.2.3", "port": 9}))
}

fn unix(test: &mut Test<'_>) -> Result<()> {
    let path = test.path("socket");
    let _listener = UnixListener::bind(&path)?;
    test.child(|| Ok(UnixStream::connect(&path).map(drop)?))?;
    connected(test, &json!({"family": "local", "path": shown(&path)}))
}

fn unix_absent(test: &mut Test<'_>) -> Result<()> {
    let path = test.path("absent");
    test.child(|| {
        ensure!(UnixStream::connect(&path).is_err(), "somebody listens");
        Ok(())
    })?;
    let [event] = test.exactly()?;
    event.is(&json!({
        "success": false, "exit": -2, "errno": "ENOENT", "address": {"family": "local", "path": shown(&path)},
    }))
}

fn unix_abstract(test: &mut Test<'_>) -> Result<()> {
    let address = UnixAddr::from_abstract_name(b"a\0b\xff")?;
    let _listener = UnixListener::bind_addr(&address)?;
    test.child(|| Ok(UnixStream::connect_addr(&address).map(drop)?))?;
    connected(test, &json!({"family": "local", "abstract": "a\0b\\xff"}))
}

fn bind_inet(test: &mut Test<'_>) -> Result<()> {
    let address = closed_port()?;
    test.child(|| Ok(TcpListener::bind(address).map(drop)?))?;
    let [event] = test.exactly()?;
    event.is(&json!({
        "syscall": "bind", "success": true, "hook": "socket_bind",
        "address": {"family": "inet", "ip": "127.0.0.1", "port": address.port()},
    }))?;
    let taken = TcpListener::bind(address)?;
    test.child(|| {
        let error = TcpListener::bind(address).err().context("bound twice")?;
        ensure!(error.kind() == io::ErrorKind::AddrInUse, "{error}");
        Ok(())
    })?;
    drop(taken);
    let [event] = test.exactly()?;
    event.is(&json!({"syscall": "bind", "success": false, "errno": "EADDRINUSE", "address": {"port": address.port()}}))
}

fn bind_unix(test: &mut Test<'_>) -> Result<()> {
    let path = test.path("socket");
    test.child(|| {
        let socket = socket(AddressFamily::Unix, SockType::Datagram, SockFlag::empty(), None)?;
        bind(socket.as_raw_fd(), &NixUnixAddr::new(&path)?)?;
        Ok(())
    })?;
    let [event] = test.exactly()?;
    event.is(&json!({"syscall": "bind", "success": true, "address": {"family": "local", "path": shown(&path)}}))
}

fn by_outcome(test: &mut Test<'_>) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let (open, closed) = (listener.local_addr()?, closed_port()?);
    test.child(|| {
        TcpStream::connect(open)?;
        refuse(closed)
    })?;
    let [event] = test.exactly()?;
    event.is(&json!({"success": false, "address": {"port": closed.port()}}))?;
    File::open("/dev/null")?;
    test.silence("a call that is not connect")
}
