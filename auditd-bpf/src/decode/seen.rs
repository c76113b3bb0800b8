//! What hooks saw that is no object → the parts of a record.

use auditd_bpf_common::wire::{ExecCaps, FileCaps as WireFileCaps, TaskCaps as WireTaskCaps, part};
use output::event::{BprmCaps, Bytes, FileCapSets, FileCaps, Ipc, IpcPerm, Part, TaskCaps, Word};

use super::parts::{Ended, Words};
use super::sample::until_nul;

const NANOSECONDS: i64 = 1_000_000_000;
/// The values of `enum audit_ntp_type` (`include/linux/audit.h`), as `audit_log_time` calls them.
const NTP_VALUES: [&str; 6] = ["offset", "freq", "status", "tai", "tick", "adjust"];
/// Of `magic_etc` (`include/uapi/linux/capability.h`).
const VFS_CAP_FLAGS_EFFECTIVE: u32 = 1;
const VFS_CAP_REVISION_SHIFT: u32 = 24;

/// The parts of a call that hooks saw, in the order of records. `tai_offset`: by how much `CLOCK_TAI` is ahead, in ns.
pub fn seen(call: &Ended<'_>, sections: &[(u8, Bytes)], tai_offset: i64) -> Vec<Part> {
    let mut parts = Vec::new();
    for (kind, data) in sections {
        let words = Words(data);
        match *kind {
            part::EXEC_CAPS => parts.extend(exec_caps(&words).filter(|caps| caps.raised != 0).map(bprm_caps)),
            part::CAPSET => parts.extend(capset(call.pid, &words)),
            // Both ask twice at times, with the same name.
            part::MODULE if !parts.iter().any(|part| matches!(part, Part::KernelModule { .. })) => {
                parts.push(Part::KernelModule { name: Some(until_nul(data).to_vec()) });
            }
            part::NTP => parts.extend(ntp_values(&words)),
            part::CLOCK_OFFSET if call.success => parts.extend(clock_set(words.i64(0), words.i64(1))),
            part::CLOCK if call.success => parts.extend(clock_set_to(&words, tai_offset)),
            // Only the last check of an object is told, and what it sets (`context->ipc` in `kernel/auditsc.c`).
            part::IPC => {
                parts.retain(|part| !matches!(part, Part::Ipc(_) | Part::IpcSetPerm(_)));
                parts.extend(ipc(&words));
            }
            part::IPC_SET => parts.extend(ipc_set(&words)),
            _ => {}
        }
    }
    parts
}

/// Capabilities of the file that was executed, if it has any.
pub fn file_caps(sections: &[(u8, Bytes)]) -> Option<FileCaps> {
    let data = &sections.iter().find(|(kind, _)| *kind == part::EXEC_CAPS)?.1;
    let caps = exec_caps(&Words(data))?;
    (caps.file.magic != 0).then(|| FileCaps::Read(cap_sets(caps.file)))
}

fn exec_caps(words: &Words<'_>) -> Option<ExecCaps> {
    let task = |at: usize| {
        let (permitted, inheritable) = (words.u64(at)?, words.u64(at + 1)?);
        Some(WireTaskCaps { permitted, inheritable, effective: words.u64(at + 2)?, ambient: words.u64(at + 3)? })
    };
    let (permitted, inheritable) = (words.u64(0)?, words.u64(1)?);
    let file = WireFileCaps { permitted, inheritable, magic: words.u32(4)?, root: words.u32(5)? };
    Some(ExecCaps { file, old: task(3)?, new: task(7)?, raised: words.u64(11)? })
}

fn bprm_caps(caps: ExecCaps) -> Part {
    let sets = |caps: WireTaskCaps| {
        let WireTaskCaps { permitted, inheritable, effective, ambient } = caps;
        TaskCaps { permitted, inheritable, effective, ambient }
    };
    Part::BprmCaps(Box::new(BprmCaps { file: cap_sets(caps.file), old: sets(caps.old), new: sets(caps.new) }))
}

fn cap_sets(caps: WireFileCaps) -> FileCapSets {
    let WireFileCaps { permitted, inheritable, magic, root } = caps;
    let (effective, version) = (magic & VFS_CAP_FLAGS_EFFECTIVE != 0, magic >> VFS_CAP_REVISION_SHIFT);
    FileCapSets { permitted, inheritable, effective, version, root }
}

fn capset(pid: u32, words: &Words<'_>) -> Option<Part> {
    let (inheritable, permitted) = (words.u64(0)?, words.u64(1)?);
    Some(Part::Capset { pid, inheritable, permitted, effective: words.u64(2)?, ambient: words.u64(3)? })
}

/// Each value that changed.
fn ntp_values(words: &Words<'_>) -> Vec<Part> {
    let values = NTP_VALUES.iter().enumerate();
    let change = |(index, op): (usize, &&'static str)| {
        let (old, new) = (words.i64(index * 2)?, words.i64(index * 2 + 1)?);
        (old != new).then_some(Part::TimeAdjNtpVal { op: Word::Borrowed(op), old, new })
    };
    values.filter_map(change).collect()
}

fn clock_set(seconds: Option<i64>, nanoseconds: Option<i64>) -> Option<Part> {
    let (seconds, nanoseconds) = (seconds?, nanoseconds?);
    ((seconds, nanoseconds) != (0, 0)).then_some(Part::TimeInjOffset { seconds, nanoseconds })
}

/// By how much that sets the clock: nanoseconds are from 0 to a second, as in `struct timespec64`.
fn clock_set_to(words: &Words<'_>, tai_offset: i64) -> Option<Part> {
    let before = words.i64(2)?.checked_sub(tai_offset)?;
    let difference = words.i64(0)?.checked_mul(NANOSECONDS)?.checked_add(words.i64(1)?)?.checked_sub(before)?;
    clock_set(Some(difference.div_euclid(NANOSECONDS)), Some(difference.rem_euclid(NANOSECONDS)))
}

fn ipc(words: &Words<'_>) -> Option<Part> {
    Some(Part::Ipc(Ipc { uid: words.u32(0)?, gid: words.u32(1)?, mode: words.u32(2)?, label: None }))
}

fn ipc_set(words: &Words<'_>) -> Option<Part> {
    let (queue_bytes, uid) = (words.u32(0)?.into(), words.u32(1)?);
    Some(Part::IpcSetPerm(IpcPerm { queue_bytes, uid, gid: words.u32(2)?, mode: words.u32(3)? }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tables::Arch;

    fn of(sections: &[(u8, Vec<i64>)]) -> Vec<Part> {
        let bytes = |words: &[i64]| words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let sections: Vec<_> = sections.iter().map(|(kind, words)| (*kind, bytes(words))).collect();
        let call = Ended { arch: Arch::B64, name: "x", pid: 7, args: [0; 6], success: true, data: None };
        seen(&call, &sections, 37 * NANOSECONDS)
    }

    #[test]
    fn a_clock_is_set_by_a_difference() {
        let set = |seconds, nanoseconds| vec![Part::TimeInjOffset { seconds, nanoseconds }];
        // TAI is 37 s ahead: it was second 100.
        let was = 137 * NANOSECONDS;
        assert_eq!(of(&[(part::CLOCK, vec![101, 5, was])]), set(1, 5));
        assert_eq!(of(&[(part::CLOCK, vec![99, 999_999_999, was])]), set(-1, 999_999_999));
        assert_eq!(of(&[(part::CLOCK, vec![100, 0, was])]), []);
        assert_eq!(of(&[(part::CLOCK_OFFSET, vec![-2, 5])]), set(-2, 5));
        assert_eq!(of(&[(part::CLOCK, vec![i64::MAX, 0, 0])]), []);
    }

    #[test]
    fn only_ntp_values_that_change_are_told() {
        let values = vec![0, 0, 5, 6, 1, 1, 0, 0, 10_000, 10_001, 0, 0];
        let change = |op, old, new| Part::TimeAdjNtpVal { op: Word::Borrowed(op), old, new };
        assert_eq!(of(&[(part::NTP, values)]), [change("freq", 5, 6), change("tick", 10_000, 10_001)]);
    }

    #[test]
    fn the_last_check_of_an_ipc_object_counts() {
        let word = |low: i64, high: i64| low | high << 32;
        let set = (part::IPC_SET, vec![word(16384, 1), word(2, 0o600)]);
        let parts = of(&[(part::IPC, vec![word(1, 2), 0o600]), set.clone(), (part::IPC, vec![word(3, 4), 0o640]), set]);
        let ipc = Part::Ipc(Ipc { uid: 3, gid: 4, mode: 0o640, label: None });
        assert_eq!(parts, [ipc, Part::IpcSetPerm(IpcPerm { queue_bytes: 16384, uid: 1, gid: 2, mode: 0o600 })]);
    }

    #[test]
    fn capabilities_of_an_exec_are_told_where_they_raise_the_task() {
        let mut words = vec![0x2000, 0, 0x0200_0001, 0, 0, 0, 0, 0x2000, 0, 0x2000, 0, 1];
        let parts = of(&[(part::EXEC_CAPS, words.clone())]);
        let [Part::BprmCaps(caps)] = parts.as_slice() else { panic!("{parts:?}") };
        let file = FileCapSets { permitted: 0x2000, effective: true, version: 2, ..FileCapSets::default() };
        assert_eq!((caps.file, caps.new.effective, caps.old), (file, 0x2000, TaskCaps::default()));
        words[11] = 0;
        assert_eq!(of(&[(part::EXEC_CAPS, words.clone())]), []);
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        assert_eq!(file_caps(&[(part::EXEC_CAPS, bytes)]), Some(FileCaps::Read(file)));
    }

    #[test]
    fn short_sections_are_no_parts() {
        for kind in 0..10 {
            let names_it = kind == part::MODULE;
            assert_eq!(of(&[(kind, vec![])]).is_empty(), !names_it, "{kind}");
        }
    }
}
