//! `EXECVE` records: `argc=N a0=... a1=...`, over several records where the arguments are long.
//!
//! The kernel (`audit_log_execve_info`, kernel/auditsc.c) reads arguments through a buffer of [`ROOM`] bytes and begins a new
//! record when little of its room is left. An argument that does not fit is split: ` a4_len=L a4[0]=... a4[1]=...`. Every
//! cut is where the kernel would make it, so that logs of both compare byte by byte.

use std::io::Write;

use super::value::{hex, needs_hex, quoted};
use crate::event::Bytes;

/// Bytes of arguments in a record (`MAX_EXECVE_AUDIT_LEN`); also the size of the kernel's buffer.
const ROOM: usize = 7500;
/// What the kernel sets aside for the name of an argument.
const NAME: usize = 96;
/// Least room, besides the name, for which a record is continued.
const LEAST: usize = 8;

/// The fields of each record.
pub(super) fn records(argv: &[Bytes]) -> Vec<Vec<u8>> {
    let mut splitter = Splitter { done: Vec::new(), record: format!("argc={}", argv.len()).into_bytes(), room: ROOM };
    for (number, argument) in argv.iter().enumerate() {
        splitter.argument(number, argument);
    }
    splitter.done.push(splitter.record);
    splitter.done
}

struct Splitter {
    done: Vec<Vec<u8>>,
    record: Vec<u8>,
    /// Room in `record`.
    room: usize,
}

impl Splitter {
    fn argument(&mut self, number: usize, argument: &[u8]) {
        // One that fills the buffer is always encoded.
        let encode = argument.len() >= ROOM || needs_hex(argument);
        let mut rest = argument;
        for piece in 0.. {
            if self.room < NAME + LEAST {
                self.done.push(std::mem::take(&mut self.record));
                self.room = ROOM;
            }
            let (buffered, more) = (rest.len().min(ROOM), rest.len() >= ROOM);
            let encoded = if encode { buffered * 2 } else { buffered + 2 };
            let split = more || piece > 0 || encoded + NAME > self.room;
            self.name(number, split.then_some(piece), if encode { argument.len() * 2 } else { argument.len() });
            let fits = if encoded <= self.room {
                buffered
            } else if encode {
                self.room / 2
            } else {
                self.room - 2
            };
            let (now, later) = rest.split_at(fits);
            if encode {
                hex(&mut self.record, now);
            } else {
                quoted(&mut self.record, now);
            }
            self.room = self.room.saturating_sub(if encode { now.len() * 2 } else { now.len() + 2 });
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
    }

    fn name(&mut self, number: usize, piece: Option<usize>, length: usize) {
        let before = self.record.len();
        match piece {
            None => put!(self.record, " a{number}="),
            Some(0) => put!(self.record, " a{number}_len={length} a{number}[0]="),
            Some(piece) => put!(self.record, " a{number}[{piece}]="),
        }
        self.room = self.room.saturating_sub(self.record.len() - before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(argv: &[&[u8]]) -> Vec<String> {
        let argv: Vec<Bytes> = argv.iter().map(|argument| argument.to_vec()).collect();
        records(&argv).into_iter().map(|record| String::from_utf8(record).unwrap()).collect()
    }

    #[test]
    fn short_arguments_share_a_record() {
        assert_eq!(texts(&[b"ls", b"a b", b""]), ["argc=3 a0=\"ls\" a1=612062 a2=\"\""]);
        assert_eq!(texts(&[]), ["argc=0"]);
    }

    /// Compared with a record that the kernel made of these arguments.
    #[test]
    fn a_long_argument_is_cut_where_the_kernel_cuts_it() {
        let long = vec![b'A'; 8999];
        let records = texts(&[b"/bin/true", b"arg one", b"plain", b"q\"uote", &long, b"x"]);
        assert_eq!(records.len(), 3);
        let head = "argc=6 a0=\"/bin/true\" a1=617267206F6E65 a2=\"plain\" a3=7122756F7465 a4_len=17998 a4[0]=";
        assert!(records[0].starts_with(head), "{}", &records[0][..120]);
        assert!(records[1].starts_with(" a4[1]=41"), "a continuation begins with a space");
        assert_eq!(records[0].len() - "argc=6".len(), ROOM);
        assert!(records[2].ends_with("41 a5=\"x\""), "{}", &records[2][records[2].len() - 40..]);
    }

    #[test]
    fn many_arguments_begin_new_records() {
        let argument = vec![b'b'; 100];
        let argv: Vec<&[u8]> = (0..200).map(|_| argument.as_slice()).collect();
        let records = texts(&argv);
        assert!(records.len() > 2);
        assert!(records.iter().all(|record| record.len() <= ROOM + NAME), "a reader takes lines of 8970 bytes");
        let whole = records.concat();
        assert!((0..200).all(|number| whole.contains(&format!(" a{number}"))), "{whole}");
    }
}
