//! What a server that ends leaves behind of what its kernel acknowledged: whether a sender could tell from the
//! acknowledgements of TCP what has arrived.

use std::io::{self, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::thread;
use std::time::{Duration, Instant};

use crate::PATIENCE;
use crate::server::{Kind, Server, Transport};

const ROUNDS: u64 = 6;

/// Counts, and asserts only what TCP promises: the figures in `docs/testing.md` are from here.
#[test]
#[ignore = "a measurement"]
fn servers_that_end_keep_less_than_they_acknowledged() {
    for kind in [Kind::Rsyslog, Kind::SyslogNg] {
        for round in 0..ROUNDS {
            let Some(mut server) = Server::start(kind, Transport::Tcp) else { return };
            let socket = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
            let sender = thread::spawn(move || send_to_the_end(&socket));
            thread::sleep(Duration::from_millis(300 + 70 * round));
            server.stop();
            let sent = sender.join().unwrap();
            let kept = server.lines().len();
            assert!(kept <= sent.acknowledged, "{kept} of {}", sent.acknowledged);
            eprintln!("{kind:?}: {:?}, acknowledged {}, kept {kept}", sent.end, sent.acknowledged);
        }
    }
}

struct Sent {
    /// Records whose last byte was acknowledged.
    acknowledged: usize,
    /// `BrokenPipe` where the server's FIN came before a reset, which would say that something was not read.
    end: io::ErrorKind,
}

fn send_to_the_end(mut socket: &TcpStream) -> Sent {
    let (mut ends, mut sent) = (Vec::new(), 0);
    let deadline = Instant::now() + PATIENCE;
    let end = 'sending: loop {
        assert!(Instant::now() < deadline, "the server goes on");
        let text = "x".repeat(ends.len() * 37 % 900);
        let message = format!("<134>1 2026-11-24T07:04:10.123456Z web1 auditd-bpf 1 SYSCALL - {{\"x\":\"{text}\"}}");
        let frame = format!("{} {message}", message.len());
        let mut rest = frame.as_bytes();
        while !rest.is_empty() {
            match socket.write(rest) {
                Ok(count) => (sent, rest) = (sent + count, &rest[count..]),
                Err(error) => break 'sending error.kind(),
            }
        }
        ends.push(sent);
    };
    let acknowledged = sent - unacknowledged(socket);
    Sent { acknowledged: ends.iter().filter(|end| **end <= acknowledged).count(), end }
}

/// Bytes that were written and not acknowledged: `SIOCOUTQ`, which is also known as `TIOCOUTQ`.
fn unacknowledged(socket: &TcpStream) -> usize {
    let mut count: libc::c_int = 0;
    // SAFETY: the descriptor is open, and the request writes one int, for which there is room.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut count) };
    assert_eq!(done, 0, "{}", io::Error::last_os_error());
    usize::try_from(count).unwrap()
}
