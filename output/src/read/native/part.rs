//! Records of calls of certain kinds. `None` where a record is not as the kernel writes it.

use super::value::{Fields, untrusted};
use crate::event::{BprmCaps, Bytes, FileCapSets, Ipc, IpcPerm, MqAttributes, Part, TaskCaps, Word};

pub(super) fn parse(record_type: &str, text: &[u8]) -> Option<Part> {
    let mut fields = Fields::parse(text)?;
    let part = part(record_type, &mut fields)?;
    fields.whole(part)
}

fn part(record_type: &str, fields: &mut Fields<'_>) -> Option<Part> {
    Some(match record_type {
        "BPRM_FCAPS" => Part::BprmCaps(Box::new(bprm_caps(fields)?)),
        "SOCKETCALL" => socket_call(fields)?,
        "IPC" => Part::Ipc(Ipc {
            uid: fields.id("ouid")?,
            gid: fields.id("ogid")?,
            mode: fields.octal("mode")?,
            label: fields.plain("obj"),
        }),
        "IPC_SET_PERM" => Part::IpcSetPerm(IpcPerm {
            queue_bytes: fields.hex("qbytes")?,
            uid: fields.id("ouid")?,
            gid: fields.id("ogid")?,
            mode: fields.octal("mode")?,
        }),
        "CAPSET" => Part::Capset {
            pid: fields.number("pid")?,
            inheritable: fields.hex("cap_pi")?,
            permitted: fields.hex("cap_pp")?,
            effective: fields.hex("cap_pe")?,
            ambient: fields.hex("cap_pa")?,
        },
        "MMAP" => Part::Mmap { fd: fields.number("fd")?, flags: fields.hex("flags")? },
        "OPENAT2" => Part::Openat2 {
            flags: fields.octal("oflag")?,
            mode: fields.octal("mode")?,
            resolve: fields.hex("resolve")?,
        },
        "KERN_MODULE" => Part::KernelModule { name: fields.untrusted("name")? },
        "TIME_INJOFFSET" => Part::TimeInjOffset { seconds: fields.number("sec")?, nanoseconds: fields.number("nsec")? },
        "TIME_ADJNTPVAL" => Part::TimeAdjNtpVal {
            op: Word::Owned(String::from_utf8(fields.plain("op")?).ok()?),
            old: fields.number("old")?,
            new: fields.number("new")?,
        },
        "FD_PAIR" => Part::FdPair { fd0: fields.number("fd0")?, fd1: fields.number("fd1")? },
        _ => message_queue(record_type, fields)?,
    })
}

fn socket_call(fields: &mut Fields<'_>) -> Option<Part> {
    // socketcall(2) has six at most.
    let count: usize = fields.number("nargs").filter(|count| *count <= 6)?;
    let args = (0..count).map(|number| fields.hex(&format!("a{number}")));
    Some(Part::SocketCall { args: args.collect::<Option<_>>()? })
}

fn message_queue(record_type: &str, fields: &mut Fields<'_>) -> Option<Part> {
    Some(match record_type {
        "MQ_OPEN" => Part::MqOpen {
            flags: fields.hex("oflag")?,
            mode: fields.octal("mode")?,
            attributes: mq_attributes(fields)?,
        },
        "MQ_SENDRECV" => Part::MqSendReceive {
            queue: fields.number("mqdes")?,
            length: fields.number("msg_len")?,
            priority: fields.number("msg_prio")?,
            timeout_seconds: fields.number("abs_timeout_sec")?,
            timeout_nanoseconds: fields.number("abs_timeout_nsec")?,
        },
        "MQ_NOTIFY" => Part::MqNotify { queue: fields.number("mqdes")?, signal: fields.number("sigev_signo")? },
        "MQ_GETSETATTR" => Part::MqGetSetAttr { queue: fields.number("mqdes")?, attributes: mq_attributes(fields)? },
        _ => return None,
    })
}

fn mq_attributes(fields: &mut Fields<'_>) -> Option<MqAttributes> {
    Some(MqAttributes {
        flags: fields.hex("mq_flags")?,
        max_messages: fields.number("mq_maxmsg")?,
        message_size: fields.number("mq_msgsize")?,
        messages: fields.number("mq_curmsgs")?,
    })
}

fn bprm_caps(fields: &mut Fields<'_>) -> Option<BprmCaps> {
    let permitted = fields.hex("fp")?;
    let file = file_caps(fields, "", permitted)?;
    let mut task = |[permitted, inheritable, effective, ambient]: [&str; 4]| {
        Some(TaskCaps {
            permitted: fields.hex(permitted)?,
            inheritable: fields.hex(inheritable)?,
            effective: fields.hex(effective)?,
            ambient: fields.hex(ambient)?,
        })
    };
    let old = task(["old_pp", "old_pi", "old_pe", "old_pa"])?;
    Some(BprmCaps { file, old, new: task(["pp", "pi", "pe", "pa"])? })
}

/// `fi`, `fe`, `fver` and `frootid` behind a prefix; `fp` was taken.
pub(super) fn file_caps(fields: &mut Fields<'_>, prefix: &str, permitted: u64) -> Option<FileCapSets> {
    Some(FileCapSets {
        permitted,
        inheritable: fields.hex(&format!("{prefix}fi"))?,
        effective: match fields.take(&format!("{prefix}fe"))? {
            b"0" => false,
            b"1" => true,
            _ => return None,
        },
        version: fields.hex(&format!("{prefix}fver"))?,
        root: fields.id(&format!("{prefix}frootid"))?,
    })
}

/// Arguments of an exec, over the records that have them.
#[derive(Default)]
pub(super) struct Arguments {
    count: Option<usize>,
    done: Vec<Bytes>,
    /// Pieces of the last argument, where it came in pieces.
    pieces: usize,
}

/// A field of an `EXECVE` record.
enum Argument {
    Count(usize),
    /// `aN_len`, which tells nothing that the pieces do not.
    Length,
    Whole(usize, Bytes),
    Piece(usize, usize, Bytes),
}

impl Arguments {
    /// Takes a record; `None`, and nothing taken, where it does not continue those before.
    pub(super) fn record(&mut self, text: &[u8]) -> Option<()> {
        let fields = Fields::parse(text)?.rest();
        let arguments = fields.into_iter().map(|(name, value)| argument(name, value)).collect::<Option<Vec<_>>>()?;
        self.continued_by(&arguments)?;
        for argument in arguments {
            match argument {
                Argument::Count(count) => self.count = Some(count),
                Argument::Length => {}
                Argument::Whole(_, value) => {
                    self.done.push(value);
                    self.pieces = 0;
                }
                Argument::Piece(_, 0, value) => {
                    self.done.push(value);
                    self.pieces = 1;
                }
                Argument::Piece(_, _, value) => {
                    self.done.last_mut()?.extend(value);
                    self.pieces += 1;
                }
            }
        }
        Some(())
    }

    /// Whether each argument, and each piece, is the next one.
    fn continued_by(&self, arguments: &[Argument]) -> Option<()> {
        let (mut counted, mut next, mut pieces) = (self.count.is_some(), self.done.len(), self.pieces);
        for argument in arguments {
            let fits = match argument {
                Argument::Count(_) => !std::mem::replace(&mut counted, true),
                Argument::Length => true,
                Argument::Whole(number, _) => *number == next,
                Argument::Piece(number, 0, _) => *number == next,
                Argument::Piece(number, piece, _) => pieces > 0 && *number + 1 == next && *piece == pieces,
            };
            if !fits || !counted {
                return None;
            }
            match argument {
                Argument::Whole(..) => (next, pieces) = (next + 1, 0),
                Argument::Piece(_, 0, _) => (next, pieces) = (next + 1, 1),
                Argument::Piece(..) => pieces += 1,
                Argument::Count(_) | Argument::Length => {}
            }
        }
        Some(())
    }

    /// The arguments, if there was a record, and whether some are missing.
    pub(super) fn finish(self) -> (Option<Vec<Bytes>>, bool) {
        let missing = self.count.is_some_and(|count| count != self.done.len());
        (self.count.map(|_| self.done), missing)
    }
}

fn argument(name: &[u8], value: &[u8]) -> Option<Argument> {
    let name = str::from_utf8(name).ok()?;
    if name == "argc" {
        return Some(Argument::Count(str::from_utf8(value).ok()?.parse().ok()?));
    }
    let name = name.strip_prefix('a')?;
    if name.ends_with("_len") {
        return Some(Argument::Length);
    }
    let value = untrusted(value)??;
    Some(match name.strip_suffix(']').and_then(|name| name.split_once('[')) {
        None => Argument::Whole(name.parse().ok()?, value),
        Some((number, piece)) => Argument::Piece(number.parse().ok()?, piece.parse().ok()?, value),
    })
}
