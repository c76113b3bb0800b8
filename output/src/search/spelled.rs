//! The kernel's own spelling of a `SYSCALL` record (`audit_log_exit` and `audit_log_task_info` of the kernel): the same
//! fields, in the same order, one space between them.

use crate::record::succeeded;

/// What such a record says. Whatever is taken for one, the parser understands.
pub(super) struct Call<'a> {
    pub(super) arch: u32,
    pub(super) syscall: u32,
    pub(super) success: bool,
    pub(super) exit: i64,
    pub(super) ppid: u32,
    pub(super) pid: u32,
    pub(super) auid: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) euid: u32,
    pub(super) egid: u32,
    pub(super) tty: &'a [u8],
    pub(super) session: u32,
    pub(super) comm: &'a [u8],
    pub(super) exe: &'a [u8],
    pub(super) key: &'a [u8],
}

impl<'a> Call<'a> {
    /// `None` where anything is spelled in another way.
    pub(super) fn parse(fields: &'a [u8]) -> Option<Self> {
        let mut rest = Rest(fields);
        let arch = u32::try_from(rest.hex(b"arch=")?).ok()?;
        let syscall = rest.number(b" syscall=")?;
        if rest.0.starts_with(b" per=") {
            rest.hex(b" per=")?;
        }
        let word = rest.word(b" success=")?;
        let exit = str::from_utf8(rest.word(b" exit=")?).ok()?.parse().ok()?;
        let success = succeeded(exit);
        if word != if success { b"yes".as_slice() } else { b"no" } {
            return None;
        }
        rest.hex(b" a0=")?;
        rest.hex(b" a1=")?;
        rest.hex(b" a2=")?;
        rest.hex(b" a3=")?;
        rest.number(b" items=")?;
        let (ppid, pid) = (rest.number(b" ppid=")?, rest.number(b" pid=")?);
        let (auid, uid, gid) = (rest.number(b" auid=")?, rest.number(b" uid=")?, rest.number(b" gid=")?);
        let euid = rest.number(b" euid=")?;
        rest.number(b" suid=")?;
        rest.number(b" fsuid=")?;
        let egid = rest.number(b" egid=")?;
        rest.number(b" sgid=")?;
        rest.number(b" fsgid=")?;
        let (tty, session) = (rest.word(b" tty=")?, rest.number(b" ses=")?);
        let (comm, exe) = (rest.untrusted(b" comm=")?, rest.untrusted(b" exe=")?);
        if rest.0.starts_with(b" subj=") {
            rest.label()?;
        }
        let key = rest.untrusted(b" key=")?;
        let call =
            Self { arch, syscall, success, exit, ppid, pid, auid, uid, gid, euid, egid, tty, session, comm, exe, key };
        rest.0.is_empty().then_some(call)
    }
}

/// What was not read yet. `name` is what must come next, its equals sign included.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    /// Up to the next space.
    fn word<const N: usize>(&mut self, name: &[u8; N]) -> Option<&'a [u8]> {
        let value = without_prefix(self.0, name)?;
        let end = value.iter().position(|byte| *byte == b' ').unwrap_or(value.len());
        self.0 = &value[end..];
        Some(&value[..end])
    }

    /// A decimal number without a sign.
    fn number<const N: usize>(&mut self, name: &[u8; N]) -> Option<u32> {
        let value = without_prefix(self.0, name)?;
        let digits = value.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (value, rest) = value.split_at(digits);
        // Ten digits are no overflow of 64 bits.
        let number = value.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0'));
        self.0 = rest;
        u32::try_from(number).ok().filter(|_| matches!(digits, 1..=10))
    }

    /// A hexadecimal number without anything in front.
    fn hex<const N: usize>(&mut self, name: &[u8; N]) -> Option<u64> {
        let value = self.word(name)?;
        let digit = |number, byte: &u8| Some(number << 4 | u64::from(char::from(*byte).to_digit(16)?));
        value.iter().try_fold(0, digit).filter(|_| matches!(value.len(), 1..=16))
    }

    fn untrusted<const N: usize>(&mut self, name: &[u8; N]) -> Option<&'a [u8]> {
        self.word(name).filter(|value| is_untrusted(value))
    }

    /// A label, which may have spaces (`/usr/bin/man (enforce)`), up to the key.
    fn label(&mut self) -> Option<()> {
        self.word(b" subj=")?;
        while !self.0.starts_with(b" key=") {
            self.word(b" ").filter(|word| !word.contains(&b'='))?;
        }
        Some(())
    }
}

pub(super) fn without_prefix<'a, const N: usize>(text: &'a [u8], prefix: &[u8; N]) -> Option<&'a [u8]> {
    let (start, rest) = text.split_first_chunk::<N>()?;
    (start == prefix).then_some(rest)
}

/// Whether a value is what the kernel makes of names (`audit_log_untrustedstring`): in quotes, hexadecimal, or
/// `(null)`.
pub(super) fn is_untrusted(value: &[u8]) -> bool {
    match value {
        b"(null)" => true,
        [b'"', inner @ .., b'"'] => !inner.iter().any(|byte| matches!(byte, b'"' | b' ')),
        _ => !value.is_empty() && value.len().is_multiple_of(2) && value.iter().all(u8::is_ascii_hexdigit),
    }
}
