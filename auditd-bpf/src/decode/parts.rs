//! What calls of certain kinds have besides, from their arguments and the structure that one of them points to
//! (`show_special` in `kernel/auditsc.c`; the structures are those of the man pages in section 2).

use output::event::{Bytes, MqAttributes, Part};
use tables::Arch;

use super::seen::seen;

/// Of `mmap`, not a file (`include/uapi/asm-generic/mman-common.h`).
const MAP_ANONYMOUS: u32 = 0x20;

/// A call that ended.
#[derive(Clone, Copy, Debug)]
pub struct Ended<'a> {
    /// Its ABI.
    pub arch: Arch,
    /// Its name.
    pub name: &'a str,
    /// Whose it was.
    pub pid: u32,
    /// Its arguments.
    pub args: [u64; 6],
    /// Whether it succeeded.
    pub success: bool,
    /// The structure that it pointed to, as it lay in the caller's memory when the call ended.
    pub data: Option<&'a [u8]>,
}

/// The parts of a call, of which hooks saw some.
#[must_use]
pub fn parts(call: Ended<'_>, sections: &[(u8, Bytes)], tai_offset: i64) -> Vec<Part> {
    let mut parts = seen(&call, sections, tai_offset);
    parts.extend(part(call));
    parts
}

fn part(call: Ended<'_>) -> Option<Part> {
    let Ended { arch, name, args, success, data, .. } = call;
    let words = Words(data.unwrap_or_default());
    Some(match name {
        // Of 32-bit calls, `mmap` has its arguments in memory.
        "mmap" if arch == Arch::B32 => mmap(words.u32(4)?, words.u32(3)?)?,
        "mmap" | "mmap2" => mmap(args[4] as u32, args[3] as u32)?,
        "openat2" => Part::Openat2 { flags: words.u64(0)?, mode: words.u64(1)?, resolve: words.u64(2)? },
        "pipe" | "pipe2" | "socketpair" if success => Part::FdPair { fd0: words.i32(0)?, fd1: words.i32(1)? },
        "socketcall" => socketcall(args[0], &words)?,
        _ => message_queue(call, &words)?,
    })
}

fn mmap(fd: u32, flags: u32) -> Option<Part> {
    (flags & MAP_ANONYMOUS == 0).then_some(Part::Mmap { fd: fd.cast_signed(), flags })
}

/// As many arguments as the call of that number takes (`nargs` in `net/compat.c`).
fn socketcall(call: u64, words: &Words<'_>) -> Option<Part> {
    const COUNTS: [usize; 21] = [0, 3, 3, 3, 2, 3, 3, 3, 4, 4, 4, 6, 6, 2, 5, 5, 3, 3, 4, 5, 4];
    let count = *COUNTS.get(usize::try_from(call).ok()?).filter(|count| **count != 0)?;
    let args = (0..count).map(|index| words.u32(index).map(u64::from)).collect::<Option<_>>()?;
    Some(Part::SocketCall { args })
}

fn message_queue(call: Ended<'_>, words: &Words<'_>) -> Option<Part> {
    let Ended { arch, name, args, .. } = call;
    let queue = args[0] as i32;
    Some(match name {
        "mq_open" => {
            let attributes = words.attributes(arch).unwrap_or_default();
            Part::MqOpen { flags: args[1] as u32, mode: args[2] as u32 & 0xffff, attributes }
        }
        "mq_timedsend" | "mq_timedsend_time64" | "mq_timedreceive" | "mq_timedreceive_time64" => {
            let is_short = arch == Arch::B32 && !name.ends_with("64");
            let word = |index| if is_short { words.i32(index).map(i64::from) } else { words.i64(index) };
            Part::MqSendReceive {
                queue,
                length: args[2].cast_signed(),
                priority: if name.starts_with("mq_timedsend") { args[3] as u32 } else { 0 },
                timeout_seconds: word(0).unwrap_or(0),
                timeout_nanoseconds: word(1).unwrap_or(0),
            }
        }
        // Behind a value as wide as a pointer.
        "mq_notify" => {
            let signal = words.i32(if arch == Arch::B32 { 1 } else { 2 }).unwrap_or(0);
            Part::MqNotify { queue, signal }
        }
        "mq_getsetattr" if args[1] != 0 => Part::MqGetSetAttr { queue, attributes: words.attributes(arch)? },
        _ => return None,
    })
}

/// Integers of a structure, by their position among integers of their size.
pub struct Words<'a>(pub &'a [u8]);

impl Words<'_> {
    /// A word of 32 bits.
    pub fn u32(&self, index: usize) -> Option<u32> {
        self.0.as_chunks().0.get(index).copied().map(u32::from_ne_bytes)
    }

    fn i32(&self, index: usize) -> Option<i32> {
        self.u32(index).map(u32::cast_signed)
    }

    /// A word of 64 bits.
    pub fn u64(&self, index: usize) -> Option<u64> {
        self.0.as_chunks().0.get(index).copied().map(u64::from_ne_bytes)
    }

    /// The same with a sign.
    pub fn i64(&self, index: usize) -> Option<i64> {
        self.u64(index).map(u64::cast_signed)
    }

    /// `struct mq_attr`, whose members are as wide as a pointer.
    fn attributes(&self, arch: Arch) -> Option<MqAttributes> {
        let word = |index| if arch == Arch::B32 { self.i32(index).map(i64::from) } else { self.i64(index) };
        let (flags, max_messages) = (word(0)?.cast_unsigned(), word(1)?);
        Some(MqAttributes { flags, max_messages, message_size: word(2)?, messages: word(3)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call<'a>(name: &'a str, args: [u64; 6], data: &'a [u8]) -> Ended<'a> {
        Ended { arch: Arch::B64, name, pid: 7, args, success: true, data: Some(data) }
    }

    fn of(name: &str, args: [u64; 6], data: &[u8]) -> Vec<Part> {
        parts(call(name, args, data), &[], 0)
    }

    fn of_b32(name: &str, args: [u64; 6], words: &[i32]) -> Vec<Part> {
        let data: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        parts(Ended { arch: Arch::B32, ..call(name, args, &data) }, &[], 0)
    }

    #[test]
    fn structures_are_read_where_the_call_pointed() {
        let how: Vec<u8> = [0o102u64, 0o644, 8].iter().flat_map(|word| word.to_ne_bytes()).collect();
        assert_eq!(of("openat2", [0; 6], &how), [Part::Openat2 { flags: 0o102, mode: 0o644, resolve: 8 }]);
        let pair: Vec<u8> = [3i32, 4].iter().flat_map(|fd| fd.to_ne_bytes()).collect();
        assert_eq!(of("pipe2", [0; 6], &pair), [Part::FdPair { fd0: 3, fd1: 4 }]);
        let failed = Ended { success: false, ..call("pipe2", [0; 6], &pair) };
        assert_eq!(parts(failed, &[], 0), []);
    }

    #[test]
    fn structures_of_32_bit_calls_are_narrower() {
        let attributes = MqAttributes { flags: 1, max_messages: 10, message_size: 20, messages: 0 };
        let open = Part::MqOpen { flags: 0o102, mode: 0o600, attributes };
        assert_eq!(of_b32("mq_open", [0, 0o102, 0o600, 1, 0, 0], &[1, 10, 20, 0]), [open]);
        let sent = |timeout_seconds, timeout_nanoseconds| {
            vec![Part::MqSendReceive { queue: 3, length: 4, priority: 5, timeout_seconds, timeout_nanoseconds }]
        };
        let args = [3, 1, 4, 5, 1, 0];
        assert_eq!(of_b32("mq_timedsend", args, &[7, 8, 0, 0]), sent(7, 8));
        assert_eq!(of_b32("mq_timedsend_time64", args, &[7, 0, 8, 0]), sent(7, 8));
        assert_eq!(of_b32("mmap", [0; 6], &[0, 4096, 1, 2, 5, 0]), [Part::Mmap { fd: 5, flags: 2 }]);
        let connect = Part::SocketCall { args: vec![3, 0x8000, 16] };
        assert_eq!(of_b32("socketcall", [3, 1, 0, 0, 0, 0], &[3, 0x8000, 16, 9, 9, 9]), [connect]);
        assert_eq!(of_b32("socketcall", [99, 1, 0, 0, 0, 0], &[3; 6]), []);
    }

    #[test]
    fn what_was_not_readable_is_no_part() {
        assert_eq!(of("openat2", [0; 6], &[1; 23]), []);
        assert_eq!(of("pipe", [0; 6], &[]), []);
    }

    #[test]
    fn only_maps_of_files_have_a_descriptor() {
        assert_eq!(of("mmap", [0, 4096, 1, 2, 5, 0], &[]), [Part::Mmap { fd: 5, flags: 2 }]);
        assert_eq!(of("mmap", [0, 4096, 1, 0x22, u64::MAX, 0], &[]), []);
    }
}
