//! The kernel's audit by netlink: `include/uapi/linux/audit.h`, netlink(7).

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, sendto, setsockopt, socket,
    sockopt::{RcvBufForce, ReceiveTimeout},
};
use nix::sys::time::{TimeVal, TimeValLike};

const NLMSG_ERROR: u16 = 2;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const AUDIT_GET: u16 = 1000;
const AUDIT_SET: u16 = 1001;
const AUDIT_ADD_RULE: u16 = 1011;
const AUDIT_DEL_RULE: u16 = 1012;
/// `AUDIT_NLGRP_READLOG`, as a bit.
const READERS: u32 = 1;
/// `struct nlmsghdr`
const HEADER_BYTES: usize = 16;
/// More than any message: `MAX_AUDIT_MESSAGE_LENGTH` is 8970.
pub const MESSAGE_BYTES: usize = 16384;
/// What may wait in the kernel for the thread.
const SOCKET_BYTES: usize = 4 << 20;
/// How often the thread looks whether it shall end.
const LOOK_MILLIS: i64 = 200;
/// Messages of others before the answer to a request.
const OTHERS_MAX: usize = 10_000;

/// `struct audit_status`, of which these are the first words: mask, enabled, failure, pid.
mod status {
    pub const ENABLED: u32 = 1;
    pub const PID: u32 = 4;
    pub const WORDS: usize = 10;
}

/// A socket.
pub struct Audit(OwnedFd);

/// What this process is to the kernel's audit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Its daemon.
    Daemon {
        /// Whether audit was off before.
        switched_on: bool,
        /// Whether the rule that exempts new tasks is ours.
        exempts_tasks: bool,
    },
    /// One of those who listen.
    Reader,
}

impl fmt::Display for Role {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Daemon { exempts_tasks: true, .. } => out.write_str(
                "registered as the audit daemon; the kernel's own audit of system calls is off for new tasks",
            ),
            Self::Daemon { .. } => out.write_str("registered as the audit daemon"),
            Self::Reader => out.write_str("another audit daemon is registered, or none may be: listening beside it"),
        }
    }
}

impl Audit {
    /// Opens one.
    pub fn open() -> io::Result<Self> {
        let (family, protocol) = (AddressFamily::Netlink, SockProtocol::NetlinkAudit);
        let socket = socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
        // Less than asked for serves, too.
        let _ = setsockopt(&socket, RcvBufForce, &SOCKET_BYTES);
        setsockopt(&socket, ReceiveTimeout, &TimeVal::milliseconds(LOOK_MILLIS))?;
        Ok(Self(socket))
    }

    /// Becomes the daemon where there is none, or else a reader.
    pub fn join(self) -> io::Result<(Role, OwnedFd)> {
        match self.register() {
            Ok(role) => Ok((role, self.0)),
            Err(Errno::EEXIST | Errno::EPERM | Errno::EACCES) => {
                // Another socket: the kernel may have answered this one's requests only in part.
                let reader = Self::open()?;
                bind(reader.0.as_raw_fd(), &NetlinkAddr::new(0, READERS))?;
                Ok((Role::Reader, reader.0))
            }
            Err(errno) => Err(errno.into()),
        }
    }

    fn register(&self) -> nix::Result<Role> {
        let [_, enabled, _, pid, ..] = self.status()?;
        if pid != 0 {
            return Err(Errno::EEXIST);
        }
        // First: tasks that come once audit is on would be audited for good. Fails where rules are locked.
        let exempts_tasks = self.request(AUDIT_ADD_RULE, &never_task()).is_ok();
        let mask = status::PID | if enabled == 0 { status::ENABLED } else { 0 };
        if let Err(errno) = self.request(AUDIT_SET, &words(&[mask, 1, 0, std::process::id()])) {
            if exempts_tasks {
                self.request(AUDIT_DEL_RULE, &never_task())?;
            }
            return Err(errno);
        }
        Ok(Role::Daemon { switched_on: enabled == 0, exempts_tasks })
    }

    fn status(&self) -> nix::Result<[u32; status::WORDS]> {
        self.send(AUDIT_GET, NLM_F_REQUEST, &[])?;
        let payload = self.answer(AUDIT_GET)?;
        let mut status = [0; status::WORDS];
        for (word, bytes) in status.iter_mut().zip(payload.as_chunks().0) {
            *word = u32::from_ne_bytes(*bytes);
        }
        Ok(status)
    }

    fn request(&self, kind: u16, payload: &[u8]) -> nix::Result<()> {
        self.send(kind, NLM_F_REQUEST | NLM_F_ACK, payload)?;
        self.answer(NLMSG_ERROR).map(drop)
    }

    fn send(&self, kind: u16, flags: u16, payload: &[u8]) -> nix::Result<()> {
        let mut message = words(&[(HEADER_BYTES + payload.len()) as u32]);
        message.extend([kind, flags].iter().flat_map(|word| word.to_ne_bytes()));
        // One request at a time: they need no numbers. The kernel is port 0.
        message.extend(words(&[1, 0]));
        message.extend(payload);
        sendto(self.0.as_raw_fd(), &message, &NetlinkAddr::new(0, 0), MsgFlags::empty()).map(drop)
    }

    /// The payload of an answer of a type; that of [`NLMSG_ERROR`] with code 0 acknowledges. Messages that come before are not
    /// told: they are of the moment in which the daemon starts.
    fn answer(&self, wanted: u16) -> nix::Result<Vec<u8>> {
        let mut buffer = vec![0; MESSAGE_BYTES];
        for _ in 0..OTHERS_MAX {
            let Some((kind, payload)) = receive(&self.0, &mut buffer)? else { continue };
            if kind == NLMSG_ERROR {
                let code = payload.first_chunk().map_or(0, |code| i32::from_ne_bytes(*code));
                if code != 0 {
                    return Err(Errno::from_raw(-code));
                }
            }
            if kind == wanted {
                return Ok(payload.to_vec());
            }
        }
        Err(Errno::EPROTO)
    }
}

impl Role {
    /// Gives back what was changed.
    pub fn leave(self) -> io::Result<()> {
        let Self::Daemon { switched_on, exempts_tasks } = self else { return Ok(()) };
        let audit = Audit::open()?;
        let mask = status::PID | if switched_on { status::ENABLED } else { 0 };
        audit.request(AUDIT_SET, &words(&[mask, 0, 0, 0]))?;
        if exempts_tasks {
            audit.request(AUDIT_DEL_RULE, &never_task())?;
        }
        Ok(())
    }
}

/// Type and payload of the next message; `None` where it is none.
pub fn receive<'a>(socket: &OwnedFd, buffer: &'a mut [u8]) -> nix::Result<Option<(u16, &'a [u8])>> {
    let length = recv(socket.as_raw_fd(), buffer, MsgFlags::empty())?;
    let message = &buffer[..length];
    // The length in the header leaves out the header itself in messages that are multicast.
    let Some((header, payload)) = message.split_at_checked(HEADER_BYTES) else { return Ok(None) };
    Ok(Some((u16::from_ne_bytes([header[4], header[5]]), payload)))
}

/// `struct audit_rule_data` of `-a never,task`.
fn never_task() -> Vec<u8> {
    const AUDIT_FILTER_TASK: u32 = 1;
    const AUDIT_NEVER: u32 = 0;
    /// Four columns of 64 words, and the length of a buffer.
    const REST: usize = 4 * 64 + 1;
    let mut rule = words(&[AUDIT_FILTER_TASK, AUDIT_NEVER, 0]);
    rule.extend([0; REST * 4]);
    rule
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}
