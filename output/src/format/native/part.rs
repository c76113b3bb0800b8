//! Records of calls of certain kinds (`show_special`, kernel/auditsc.c).

use std::io::Write;

use super::value::{Octal, capability, label, untrusted};
use crate::event::{BprmCaps, MqAttributes, Part, TaskCaps};

/// Appends the fields of a part.
pub(super) fn write(out: &mut Vec<u8>, part: &Part) {
    match part {
        Part::BprmCaps(caps) => bprm_caps(out, caps),
        Part::SocketCall { args } => {
            put!(out, "nargs={}", args.len());
            for (number, argument) in args.iter().enumerate() {
                put!(out, " a{number}={argument:x}");
            }
        }
        Part::Ipc(ipc) => {
            put!(out, "ouid={} ogid={} mode={}", ipc.uid, ipc.gid, Octal(ipc.mode.into()));
            label(out, ipc.label.as_deref());
        }
        Part::IpcSetPerm(perm) => {
            put!(out, "qbytes={:x} ouid={} ogid={}", perm.queue_bytes, perm.uid, perm.gid);
            put!(out, " mode={}", Octal(perm.mode.into()));
        }
        Part::Capset { pid, inheritable, permitted, effective, ambient } => {
            put!(out, "pid={pid}");
            capability(out, "cap_pi", *inheritable);
            capability(out, "cap_pp", *permitted);
            capability(out, "cap_pe", *effective);
            capability(out, "cap_pa", *ambient);
        }
        Part::Mmap { fd, flags } => put!(out, "fd={fd} flags={flags:#x}"),
        Part::Openat2 { flags, mode, resolve } => put!(out, "oflag=0{flags:o} mode=0{mode:o} resolve={resolve:#x}"),
        Part::KernelModule { name } => untrusted(out, "name", name.as_deref()),
        Part::TimeInjOffset { seconds, nanoseconds } => put!(out, "sec={seconds} nsec={nanoseconds}"),
        Part::TimeAdjNtpVal { op, old, new } => put!(out, "op={op} old={old} new={new}"),
        Part::FdPair { fd0, fd1 } => put!(out, "fd0={fd0} fd1={fd1}"),
        Part::MqOpen { .. } | Part::MqSendReceive { .. } | Part::MqNotify { .. } | Part::MqGetSetAttr { .. } => {
            message_queue(out, part);
        }
    }
}

fn message_queue(out: &mut Vec<u8>, part: &Part) {
    match part {
        Part::MqOpen { flags, mode, attributes } => {
            put!(out, "oflag={flags:#x} mode={}", Octal((*mode).into()));
            mq_attributes(out, attributes);
        }
        Part::MqSendReceive { queue, length, priority, timeout_seconds, timeout_nanoseconds } => {
            put!(out, "mqdes={queue} msg_len={length} msg_prio={priority}");
            put!(out, " abs_timeout_sec={timeout_seconds} abs_timeout_nsec={timeout_nanoseconds}");
        }
        Part::MqNotify { queue, signal } => put!(out, "mqdes={queue} sigev_signo={signal}"),
        Part::MqGetSetAttr { queue, attributes } => {
            put!(out, "mqdes={queue}");
            mq_attributes(out, attributes);
            // So the kernel does.
            out.push(b' ');
        }
        _ => {}
    }
}

fn mq_attributes(out: &mut Vec<u8>, attributes: &MqAttributes) {
    let MqAttributes { flags, max_messages, message_size, messages } = attributes;
    put!(out, " mq_flags={flags:#x} mq_maxmsg={max_messages} mq_msgsize={message_size} mq_curmsgs={messages}");
}

fn bprm_caps(out: &mut Vec<u8>, caps: &BprmCaps) {
    put!(out, "fver={:x}", caps.file.version);
    capability(out, "fp", caps.file.permitted);
    capability(out, "fi", caps.file.inheritable);
    put!(out, " fe={}", u8::from(caps.file.effective));
    let TaskCaps { permitted, inheritable, effective, ambient } = caps.old;
    for (name, set) in [("old_pp", permitted), ("old_pi", inheritable), ("old_pe", effective), ("old_pa", ambient)] {
        capability(out, name, set);
    }
    let TaskCaps { permitted, inheritable, effective, ambient } = caps.new;
    for (name, set) in [("pp", permitted), ("pi", inheritable), ("pe", effective), ("pa", ambient)] {
        capability(out, name, set);
    }
    put!(out, " frootid={}", caps.file.root.cast_signed());
}
