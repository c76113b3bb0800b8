//! What calls of certain kinds have besides, from their arguments and the structure that one of them points to
//! (`show_special` in `kernel/auditsc.c`; the structures are those of the man pages in section 2).

use output::event::{MqAttributes, Part};

/// Of `mmap`, not a file (`include/uapi/asm-generic/mman-common.h`).
const MAP_ANONYMOUS: u64 = 0x20;

/// A call that ended.
#[derive(Clone, Copy, Debug)]
pub struct Ended<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its arguments.
    pub args: [u64; 6],
    /// Whether it succeeded.
    pub success: bool,
    /// The structure that it pointed to, as it lay in the caller's memory when the call ended.
    pub data: Option<&'a [u8]>,
}

/// The parts of a call of the 64-bit ABI.
#[must_use]
pub fn parts(call: Ended<'_>) -> Vec<Part> {
    part(call).into_iter().collect()
}

fn part(call: Ended<'_>) -> Option<Part> {
    let Ended { name, args, success, data } = call;
    let words = Words(data.unwrap_or_default());
    Some(match name {
        "mmap" if args[3] & MAP_ANONYMOUS == 0 => Part::Mmap { fd: args[4] as i32, flags: args[3] as u32 },
        "openat2" => Part::Openat2 { flags: words.u64(0)?, mode: words.u64(1)?, resolve: words.u64(2)? },
        "pipe" | "pipe2" | "socketpair" if success => Part::FdPair { fd0: words.i32(0)?, fd1: words.i32(1)? },
        "mq_open" => {
            let attributes = words.attributes().unwrap_or_default();
            Part::MqOpen { flags: args[1] as u32, mode: args[2] as u32 & 0xffff, attributes }
        }
        "mq_timedsend" | "mq_timedreceive" => Part::MqSendReceive {
            queue: args[0] as i32,
            length: args[2].cast_signed(),
            priority: if name == "mq_timedsend" { args[3] as u32 } else { 0 },
            timeout_seconds: words.i64(0).unwrap_or(0),
            timeout_nanoseconds: words.i64(1).unwrap_or(0),
        },
        "mq_notify" => Part::MqNotify { queue: args[0] as i32, signal: words.i32(2).unwrap_or(0) },
        "mq_getsetattr" if args[1] != 0 => {
            Part::MqGetSetAttr { queue: args[0] as i32, attributes: words.attributes()? }
        }
        _ => return None,
    })
}

/// Integers of a structure, by their position among integers of their size.
struct Words<'a>(&'a [u8]);

impl Words<'_> {
    fn i32(&self, index: usize) -> Option<i32> {
        self.0.as_chunks().0.get(index).copied().map(i32::from_ne_bytes)
    }

    fn u64(&self, index: usize) -> Option<u64> {
        self.0.as_chunks().0.get(index).copied().map(u64::from_ne_bytes)
    }

    fn i64(&self, index: usize) -> Option<i64> {
        self.u64(index).map(u64::cast_signed)
    }

    /// `struct mq_attr`
    fn attributes(&self) -> Option<MqAttributes> {
        let (flags, max_messages) = (self.u64(0)?, self.i64(1)?);
        Some(MqAttributes { flags, max_messages, message_size: self.i64(2)?, messages: self.i64(3)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, args: [u64; 6], data: &[u8]) -> Vec<Part> {
        parts(Ended { name, args, success: true, data: Some(data) })
    }

    #[test]
    fn structures_are_read_where_the_call_pointed() {
        let how: Vec<u8> = [0o102u64, 0o644, 8].iter().flat_map(|word| word.to_ne_bytes()).collect();
        assert_eq!(of("openat2", [0; 6], &how), [Part::Openat2 { flags: 0o102, mode: 0o644, resolve: 8 }]);
        let pair: Vec<u8> = [3i32, 4].iter().flat_map(|fd| fd.to_ne_bytes()).collect();
        assert_eq!(of("pipe2", [0; 6], &pair), [Part::FdPair { fd0: 3, fd1: 4 }]);
        let failed = Ended { name: "pipe2", args: [0; 6], success: false, data: Some(&pair) };
        assert_eq!(parts(failed), []);
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
