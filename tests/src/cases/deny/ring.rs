//! Operations of io_uring, refused by rules on the calls that do the same.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use serde_json::json;

use super::attempt::{Act, answer, attempt};
use super::evasion::submit;
use super::socket::has_come;
use super::{two_directories, verdict};
use crate::child;
use crate::harness::Case;
use crate::session::Test;
use crate::sys::{self, Operation, c_path};

/// A case for each operation: its name, the call and what else the rule says, the hook that refuses it, and the act.
macro_rules! operations {
    ($($operation:literal, $rule:literal, $hook:literal, $act:expr;)+) => {
        pub const CASES: &[Case] = &[$(
            Case::new(
                concat!("deny_ring_", $operation),
                concat!("-a deny,exit -F arch=b64 -S ", $rule, " -F auid={auid} -k {key}"),
                |test| refused_in_ring(test, $operation, $hook, $act),
            )
            .prepared(two_directories)
        ),+];
    };
}

operations! {
    "socket", "socket", "socket_create", |_| answer(submit(Operation::Socket)?);
    "connect", "connect", "socket_connect", |_| {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port().to_be_bytes();
        // `struct sockaddr_in`: the family, and a port and an address in the order of the network.
        let address = [2, 0, port[0], port[1], 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
        let socket = socket(AddressFamily::Inet, SockType::Stream, SockFlag::empty(), None)?;
        attempt(submit(Operation::Connect(socket.as_fd(), &address))?, has_come(&listener)?)
    };
    "accept", "accept4", "socket_accept", |_| {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let _waiting = TcpStream::connect(listener.local_addr()?)?;
        attempt(submit(Operation::Accept(listener.as_fd()))?, !has_come(&listener)?)
    };
    "send", "sendto", "socket_sendmsg", |_| {
        let (from, to) = UnixStream::pair()?;
        attempt(submit(Operation::Send(from.as_fd(), b"bytes"))?, has_come(&to)?)
    };
    "send_zc", "sendto", "socket_sendmsg", |_| {
        let (from, to) = (UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?, UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?);
        from.connect(to.local_addr()?)?;
        attempt(submit(Operation::SendWithoutCopy(from.as_fd(), b"bytes"))?, has_come(&to)?)
    };
    "shutdown", "shutdown", "socket_shutdown", |_| {
        let (here, there) = UnixStream::pair()?;
        attempt(submit(Operation::Shutdown(here.as_fd()))?, has_come(&there)?)
    };
    "read", "read -F dir={dir}/d", "file_permission", |place| {
        answer(submit(Operation::Read(File::open(place.path("d/f"))?.as_fd()))?)
    };
    "read_fixed", "read -F dir={dir}/d", "file_permission", |place| {
        answer(submit(Operation::ReadFixed(File::open(place.path("d/f"))?.as_fd()))?)
    };
    "write", "write -F dir={dir}/d", "file_permission", |place| {
        let file = place.path("d/f");
        let opened = File::options().write(true).open(&file)?;
        let result = submit(Operation::Write(opened.as_fd(), b"written"))?;
        attempt(result, fs::read(&file)?.starts_with(b"written"))
    };
    "fallocate", "fallocate -F dir={dir}/d", "file_permission", |place| {
        let file = File::options().write(true).open(place.path("d/f"))?;
        attempt(submit(Operation::Allocate(file.as_fd()))?, file.metadata()?.len() == 100)
    };
    "setxattr", "setxattr -F dir={dir}/d", "inode_setxattr", |place| {
        let file = place.path("d/f");
        let result = submit(Operation::SetAttribute(&c_path(&file)?, c"trusted.b", b"1"))?;
        attempt(result, !sys::attributes(&file)?.is_empty())
    };
}

/// The operation is refused to the case's login uid, and works for another, silently.
fn refused_in_ring(test: &mut Test<'_>, operation: &str, hook: &str, act: Act) -> Result<()> {
    let place = test.place.clone();
    let pid = test.child(|| act(&place)?.failed_with(Errno::EPERM))?;
    let [event] = test.exactly()?;
    event.is(&verdict(hook, Errno::EPERM))?;
    event.is(&json!({"type": "URINGOP", "uring_op": operation, "pid": pid}))?;
    child::run(|| act(&place)?.went_well().context("the act of another"))?;
    test.silence("the act of another")
}
