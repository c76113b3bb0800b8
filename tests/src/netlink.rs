//! Requests to the kernel's audit (audit_add_rule_data(3), `include/uapi/linux/audit.h`).

use std::os::fd::{AsRawFd, OwnedFd};

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket};
use tables::io_uring_op_number;

/// `AUDIT_ADD_RULE`
const ADD_RULE: u16 = 1011;
/// `NLM_F_REQUEST`
const REQUEST: u16 = 1;
/// `NLM_F_ACK`
const ACK: u16 = 4;
/// `struct nlmsghdr`
const HEADER_BYTES: usize = 16;

/// A socket of the kernel's audit.
pub struct Audit(OwnedFd);

impl Audit {
    pub fn open() -> Result<Self> {
        socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkAudit)
            .map(Self)
            .context("cannot open an audit socket")
    }

    /// Becomes the kernel's audit daemon, for as long as the socket is open, and switches audit on.
    pub fn register(&self) -> Result<()> {
        const SET: u16 = 1001;
        // struct audit_status: AUDIT_STATUS_ENABLED | AUDIT_STATUS_PID.
        let status = [1 | 4, 1, 0, std::process::id()];
        self.request(SET, &status.iter().flat_map(|word| word.to_ne_bytes()).collect::<Vec<_>>())
    }

    /// Sends a message of a type, and waits for the kernel to take it.
    pub fn request(&self, kind: u16, payload: &[u8]) -> Result<()> {
        self.send(kind, REQUEST | ACK, payload)?;
        let (_, answer) = self.receive()?;
        let error = i32::from_ne_bytes(*answer.first_chunk().context("a short answer")?);
        ensure!(error == 0, "the kernel refuses it: {}", Errno::from_raw(-error));
        Ok(())
    }

    /// Whether audit is on, and the process of the registered daemon.
    pub fn status(&self) -> Result<(bool, u32)> {
        const GET: u16 = 1000;
        self.send(GET, REQUEST, &[])?;
        let (kind, answer) = self.receive()?;
        ensure!(kind == GET, "an answer of type {kind}");
        let word =
            |index: usize| answer.as_chunks().0.get(index).copied().map(u32::from_ne_bytes).context("a short answer");
        Ok((word(1)? != 0, word(3)?))
    }

    fn send(&self, kind: u16, flags: u16, payload: &[u8]) -> Result<()> {
        let mut message = ((HEADER_BYTES + payload.len()) as u32).to_ne_bytes().to_vec();
        message.extend([kind, flags].iter().flat_map(|word| word.to_ne_bytes()));
        // Sequence number, and no port.
        message.extend([1_u32, 0].iter().flat_map(|word| word.to_ne_bytes()));
        message.extend(payload);
        sendto(self.0.as_raw_fd(), &message, &NetlinkAddr::new(0, 0), MsgFlags::empty()).context("cannot send")?;
        Ok(())
    }

    fn receive(&self) -> Result<(u16, Vec<u8>)> {
        let mut answer = vec![0; 16384];
        let length = recv(self.0.as_raw_fd(), &mut answer, MsgFlags::empty()).context("no answer")?;
        answer.truncate(length);
        ensure!(length >= HEADER_BYTES, "a short answer");
        Ok((u16::from_ne_bytes([answer[4], answer[5]]), answer.split_off(HEADER_BYTES)))
    }
}

/// Sends a message of a type, and waits for the kernel to take it.
pub fn request(kind: u16, payload: &[u8]) -> Result<()> {
    Audit::open()?.request(kind, payload)
}

/// Loads a rule of the io_uring list, which Debian's auditctl does not know: `-a ACTION,io_uring -S OPERATIONS`, tests of ids
/// for equality, and a key.
pub fn add_io_uring_rule(rule: &str) -> Result<()> {
    /// `AUDIT_FILTER_URING_EXIT`
    const LIST: u32 = 7;
    const ALWAYS: u32 = 2;
    const FILTER_KEY: u32 = 210;
    const EQUAL: u32 = 0x4000_0000;
    let (mut mask, mut fields) = ([0_u32; 64], Vec::new());
    let (mut action, mut key) = (ALWAYS, "");
    let words: Vec<&str> = rule.split_whitespace().collect();
    for option in words.chunks_exact(2) {
        match option {
            ["-a", list] => action = if list.starts_with("never") { 0 } else { ALWAYS },
            ["-S", names] => {
                for name in names.split(',') {
                    let number = io_uring_op_number(name).with_context(|| format!("no operation {name}"))?;
                    mask[number as usize / 32] |= 1 << (number % 32);
                }
            }
            ["-F", test] => fields.push(number_test(test)?),
            ["-k", name] => key = name,
            other => anyhow::bail!("{other:?} is not understood"),
        }
    }
    fields.extend((!key.is_empty()).then_some((FILTER_KEY, key.len() as u32)));
    let column = |words: &mut dyn Iterator<Item = u32>| -> Vec<u8> {
        words.chain(std::iter::repeat(0)).take(64).flat_map(u32::to_ne_bytes).collect()
    };
    let mut data = column(&mut [LIST, action, fields.len() as u32].into_iter());
    // struct audit_rule_data begins with three words of its own.
    data.truncate(12);
    data.extend(column(&mut mask.into_iter()));
    data.extend(column(&mut fields.iter().map(|field| field.0)));
    data.extend(column(&mut fields.iter().map(|field| field.1)));
    data.extend(column(&mut fields.iter().map(|_| EQUAL)));
    data.extend((key.len() as u32).to_ne_bytes());
    data.extend(key.as_bytes());
    request(ADD_RULE, &data).with_context(|| format!("cannot load {rule}"))
}

/// Number of the field, and its value.
fn number_test(test: &str) -> Result<(u32, u32)> {
    let (name, value) = test.split_once('=').context("no test for equality")?;
    let field = match name {
        "uid" => 1,
        "auid" => 9,
        _ => anyhow::bail!("field {name} is not understood"),
    };
    Ok((field, value.parse()?))
}
