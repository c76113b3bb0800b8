//! Refused by where it goes.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;

use super::{refused, verdict};
use crate::harness::Case;
use crate::session::Test;
use crate::sys;

const PORT: u16 = 4022;
const RULE: &str =
    "-a deny,exit -F arch=b64 -S connect,sendto -F daddr=127.8.0.0/16 -F dport=4022 -F auid={auid} -k {key}";

pub const CASES: &[Case] = &[
    Case::new("deny_sending_to_a_network", RULE, |test| refused_there(test, "socket_sendmsg", send)),
    Case::new("deny_connecting_to_a_network", RULE, |test| refused_there(test, "socket_connect", connect)),
    Case::new("deny_sending_without_a_family", RULE, without_family),
];

/// A socket of the address's family, and a datagram by it.
fn send(address: SocketAddr) -> io::Result<()> {
    socket(address)?.send_to(b"x", address).map(drop)
}

/// The same by a socket that is connected first.
fn connect(address: SocketAddr) -> io::Result<()> {
    let socket = socket(address)?;
    socket.connect(address)?;
    socket.send(b"x").map(drop)
}

fn socket(address: SocketAddr) -> io::Result<UdpSocket> {
    match address {
        SocketAddr::V4(_) => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)),
    }
}

/// What came within a moment.
fn received(receiver: &UdpSocket) -> bool {
    receiver.recv(&mut [0; 8]).is_ok()
}

fn receiver(address: (Ipv4Addr, u16)) -> Result<UdpSocket> {
    let receiver = UdpSocket::bind(address).with_context(|| format!("cannot receive at {address:?}"))?;
    receiver.set_read_timeout(Some(Duration::from_millis(200)))?;
    Ok(receiver)
}

const INSIDE: Ipv4Addr = Ipv4Addr::new(127, 8, 0, 1);
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(127, 9, 0, 1);

/// By either kind of socket it does not get there; another port and another network it reaches.
fn refused_there(test: &mut Test<'_>, hook: &str, act: fn(SocketAddr) -> io::Result<()>) -> Result<()> {
    let there = receiver((INSIDE, PORT))?;
    for address in [(INSIDE, PORT).into(), (INSIDE.to_ipv6_mapped(), PORT).into()] {
        test.child(|| refused(act(address), Errno::EPERM))?;
        let [event] = test.exactly()?;
        event.is(&verdict(hook, Errno::EPERM))?;
        ensure!(!received(&there), "it got there");
    }
    for next in [(INSIDE, PORT + 1), (OUTSIDE, PORT)] {
        let receiver = receiver(next)?;
        test.child(|| act(next.into()).context("the act next door"))?;
        ensure!(received(&receiver), "the act next door did not happen");
    }
    test.silence("the acts next door")
}

/// The kernel sends to the IPv4 address of one that says no family.
fn without_family(test: &mut Test<'_>) -> Result<()> {
    let there = receiver((INSIDE, PORT))?;
    let mut address = [0; 16];
    address[2..4].copy_from_slice(&PORT.to_be_bytes());
    address[4..8].copy_from_slice(&INSIDE.octets());
    let send = |address: &[u8]| {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        sys::send_to(socket.as_raw_fd(), b"x", address)
    };
    test.child(|| refused(send(&address), Errno::EPERM))?;
    let [event] = test.exactly()?;
    event.is(&verdict("socket_sendmsg", Errno::EPERM))?;
    ensure!(!received(&there), "it got there");
    address[5] = 9;
    let outside = receiver((OUTSIDE, PORT))?;
    test.child(|| send(&address).context("the act next door"))?;
    ensure!(received(&outside), "the act next door did not happen");
    test.silence("the act next door")
}
