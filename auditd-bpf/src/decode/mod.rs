//! Samples of the ring buffer → [`Event`]s.
//!
//! | step | where |
//! |---|---|
//! | bytes → checked header and sections | [`sample`] |
//! | chunks of a long event → its parts | [`assemble`] |
//! | sections → paths, names, arguments | `collect`, [`paths`] |
//! | what hooks saw besides → parts of records | parts, seen |
//! | rule number → rule | [`RuleBook`] |
//! | monotonic time → time of day | `clock` |
#![forbid(unsafe_code)]

pub mod assemble;
mod clock;
mod collect;
mod counters;
mod parts;
pub mod paths;
mod rule_book;
pub mod sample;
mod seen;

use std::sync::Arc;

use auditd_bpf_common::hooks;
use auditd_bpf_common::plan_rows::OPERATION;
use auditd_bpf_common::wire::{EventHeader, incomplete, kind, verdict};
use output::Serials;
use output::event::{Args, Body, Event, Ids, NameType, PathItem, SyscallEvent, Verdict, Word};
use tables::{Arch, syscalls};

use crate::delays::Delays;

use assemble::Assembler;
use clock::Clock;
use collect::{Collected, collect};
use parts::{Ended, parts};
use sample::{Sample, until_nul};
use seen::file_caps;

pub use counters::DecodeCounters;
pub use paths::{Mount, Mounts};
pub use rule_book::RuleBook;

/// Words for what is incomplete, in the order of records.
const INCOMPLETE: &[(u32, &str)] = &[
    (incomplete::PATH, "path"),
    (incomplete::ARGV, "argv"),
    (incomplete::USER_NAME, "user_name"),
    (incomplete::CHUNK, "chunk"),
];

/// The call by which operations of io_uring are submitted, of every ABI.
const IO_URING_ENTER: u32 = 426;

/// Turns samples into events, in the order in which the calls ended.
pub struct Decoder {
    serials: Arc<Serials>,
    mounts: Box<dyn Mounts>,
    rules: RuleBook,
    clock: Clock,
    assembler: Assembler,
    counters: DecodeCounters,
    delays: Delays,
}

impl Decoder {
    /// A decoder without rules: see [`Self::rules`].
    pub fn new(serials: Arc<Serials>, mounts: Box<dyn Mounts>) -> Self {
        Self {
            serials,
            mounts,
            rules: RuleBook::default(),
            clock: Clock::default(),
            assembler: Assembler::default(),
            counters: DecodeCounters::default(),
            delays: Delays::default(),
        }
    }

    /// The rules that events refer to.
    pub fn rules(&mut self) -> &mut RuleBook {
        &mut self.rules
    }

    /// Takes a sample; the event, if it is the last one of an event.
    pub fn sample(&mut self, bytes: &[u8]) -> Option<Event> {
        self.counters.samples += 1;
        let sample = match Sample::parse(bytes) {
            Ok(sample) => sample,
            Err(error) => {
                // More of them would tell nothing new.
                if self.counters.malformed_samples == 0 {
                    tracing::error!(%error, "malformed sample from the kernel side; more will only be counted");
                }
                self.counters.malformed_samples += 1;
                return None;
            }
        };
        if sample.header.kind == kind::CHUNK {
            self.assembler.chunk(&sample.header, sample.payload);
            return None;
        }
        Some(self.event(&sample))
    }

    /// What was not usable so far.
    pub fn counters(&self) -> DecodeCounters {
        let (unknown_rules, assembly) = (self.rules.unknown(), self.assembler.counters());
        DecodeCounters { unknown_rules, assembly, ..self.counters }
    }

    /// How long the events waited.
    pub(crate) fn delays(&self) -> Delays {
        self.delays
    }

    fn event(&mut self, sample: &Sample<'_>) -> Event {
        let (parts, after_gap) = self.assembler.finish(&sample.header);
        let earlier = parts.iter().map(|part| (part.after_gap, part.payload.as_slice()));
        let payloads = earlier.chain([(after_gap, sample.payload)]);
        let collected = collect(payloads, result(&sample.header), &mut *self.mounts, &mut self.counters);
        self.counters.events += 1;
        self.delays.count(self.clock.since(sample.header.time));
        Event {
            // As in the kernel's audit, an event bears the time at which its call began.
            time: self.clock.wall(sample.header.start),
            serial: self.serials.next(),
            body: Body::Syscall(Box::new(self.syscall(&sample.header, collected))),
        }
    }

    fn syscall(&mut self, header: &EventHeader, collected: Collected) -> SyscallEvent {
        let Collected { mut paths, cwd, exe, argv, sockaddr, proctitle, data, seen, targets, incomplete } = collected;
        let operation = (header.abi == OPERATION).then_some(header.syscall);
        let arch = if header.abi == 1 { Arch::B32 } else { Arch::B64 };
        let syscall = if operation.is_some() { IO_URING_ENTER } else { header.syscall };
        let tai_offset = self.clock.tai_offset();
        let exit = result(header);
        let ended = u16::try_from(syscall).ok().and_then(|number| syscalls::name(arch, number)).map(|name| {
            let success = exit.is_some_and(|exit| exit >= 0);
            Ended { arch, name, pid: header.pid, args: header.args, success, data: data.as_deref() }
        });
        // What is executed last is what the capabilities are of: the interpreter of a script.
        if let Some((caps, item)) = file_caps(&seen).zip(last_normal(&mut paths)) {
            item.caps = Some(caps);
        }
        let parts = ended.map(|ended| parts(ended, &seen, tai_offset));
        SyscallEvent {
            rule: self.rules.get(header.generation, header.rule),
            verdict: self.verdict(header.verdict),
            arch: arch.audit_arch(),
            syscall,
            uring_op: operation,
            personality: header.personality,
            args: if operation.is_some() { Args::default() } else { header.args.into() },
            exit,
            hook: self.hook(header.hook),
            pid: header.pid,
            tid: Some(header.tid),
            ppid: header.ppid,
            ids: ids(header),
            session: header.session,
            tty: Some(until_nul(&header.tty).to_vec()).filter(|tty| !tty.is_empty()),
            comm: until_nul(&header.comm).to_vec(),
            exe,
            exe_id: Some((header.exe_dev, header.exe_ino)).filter(|id| *id != (0, 0)),
            cwd,
            argv,
            paths,
            sockaddr,
            proctitle,
            parts: parts.unwrap_or_default(),
            targets,
            incomplete: words(header.incomplete | incomplete),
            ..SyscallEvent::default()
        }
    }

    fn verdict(&mut self, number: u32) -> Verdict {
        match number {
            verdict::ALLOW => Verdict::Allow,
            verdict::DENY => Verdict::Deny,
            verdict::KILL => Verdict::Kill,
            verdict::WOULD_DENY => Verdict::WouldDeny,
            _ => {
                self.counters.unknown_verdicts += 1;
                Verdict::Allow
            }
        }
    }

    fn hook(&mut self, number: u32) -> Option<Word> {
        let name = hooks::name(number);
        if name.is_none() && number != 0 {
            self.counters.unknown_hooks += 1;
        }
        name.map(Word::Borrowed)
    }
}

/// What the call returned, if it did.
fn result(header: &EventHeader) -> Option<i64> {
    (header.has_result != 0).then_some(header.exit)
}

fn ids(header: &EventHeader) -> Ids {
    let [uid, euid, suid, fsuid] = header.uids;
    let [gid, egid, sgid, fsgid] = header.gids;
    Ids { auid: header.auid, uid, euid, suid, fsuid, gid, egid, sgid, fsgid }
}

fn last_normal(paths: &mut [PathItem]) -> Option<&mut PathItem> {
    paths.iter_mut().rev().find(|item| item.name_type == NameType::Normal)
}

fn words(bits: u32) -> Vec<Word> {
    INCOMPLETE.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, word)| Word::Borrowed(*word)).collect()
}

#[cfg(test)]
mod test_samples;
#[cfg(test)]
mod tests;
