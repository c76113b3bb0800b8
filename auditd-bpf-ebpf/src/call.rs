//! The call in progress, as the hooks see it.

use crate::{
    filter::{self, Rules, Tables, no_rules},
    kernel::{self, Task},
    record, refuse,
    task::{self, Subject},
};
use auditd_bpf_common::{
    hooks,
    plan_rows::{ROW_NONE, SyscallEntry, class, moment},
};

/// A call in progress that some rule names.
pub struct Call {
    pub task: Task,
    pub number: u32,
    pub abi: u32,
    pub tables: Tables,
    pub entry: &'static SyscallEntry,
}

impl Call {
    /// The current task's call, if a rule names it and the hook's objects belong to it.
    #[inline(always)]
    pub fn current(hook: u32) -> Option<Self> {
        Self::current_if(hook, |_| true)
    }

    /// The same of an open: if any rule can match one with this access, whatever its objects. `moment`: one of [`moment`].
    #[inline(always)]
    pub fn current_open(hook: u32, access: u32, moment: usize) -> Option<Self> {
        Self::current_if(hook, |entry| entry.accesses[moment & 1] >> (access & 7) & 1 != 0)
    }

    /// The current task's call, if it has objects of hooks, as bits by number, that are of interest.
    #[inline(always)]
    pub fn current_with(is_of_interest: impl FnOnce(u64) -> bool) -> Option<Self> {
        Self::current_where(|entry| is_of_interest(entry.hooks))
    }

    /// The current task's call, if a rule may refuse it in a hook that only refuses.
    #[inline(always)]
    pub fn refusable(hook: u32) -> Option<Self> {
        Self::current_where(|entry| refuse::may_refuse(entry, hook))
    }

    /// Whether objects that a hook is shown belong to the call's event, or only decide about refusing it.
    /// Of most hooks it is known beforehand, and costs no stack.
    #[inline(always)]
    pub fn records(&self, hook: u32) -> bool {
        match hook {
            hooks::PATH_MKNOD | hooks::PATH_TRUNCATE | hooks::FILE_TRUNCATE => self.entry.records >> hook & 1 != 0,
            _ => hook < hooks::FIRST_REFUSING,
        }
    }

    /// In order of cost: most calls are of no interest, and what tells it comes first.
    #[inline(always)]
    fn current_if(hook: u32, is_of_interest: impl FnOnce(&SyscallEntry) -> bool) -> Option<Self> {
        Self::current_where(|entry| entry.hooks >> (hook & 63) & 1 != 0 && is_of_interest(entry))
    }

    #[inline(always)]
    fn current_where(is_of_interest: impl FnOnce(&SyscallEntry) -> bool) -> Option<Self> {
        let task = Task::current();
        let registers = task.registers();
        let (number, abi) = task::call_in_progress(task, registers)?;
        let entry = filter::active_syscall(abi, number)?;
        if !is_of_interest(entry) {
            return None;
        }
        let (number, abi) = unpacked(kernel::forgotten(packed(number, abi)));
        let tables = Tables::active()?;
        // The set may have been replaced since.
        let entry = tables.syscall(abi, number)?;
        if task.is_daemon() || task::is_left_out(tables, task) {
            return None;
        }
        Some(Self { task, number, abi, tables, entry })
    }

    /// Whether the event can still match, the result being unknown: decides if the objects are worth recording. `met`, the
    /// rules that objects satisfy, becomes the rules that can match: there is no stack for a second bitmap.
    #[inline(always)]
    pub fn may_match(&self, met: &mut Rules, access: u32, alone: u32) -> bool {
        call_may_match(self.tables.slot, packed(self.number, self.abi), access, alone, met) != 0
    }

    /// The same for a call whose object is no file. `access`: of an open.
    #[inline(always)]
    pub fn may_match_alone(&self, access: u32) -> bool {
        let alone = self.entry.alone_rows[moment::ANY_RESULT];
        if alone == ROW_NONE {
            return false;
        }
        no_rules!(met);
        self.may_match(met, access, alone)
    }
}

/// Number and ABI in one argument.
#[inline(always)]
fn packed(number: u32, abi: u32) -> u64 {
    u64::from(abi) << 32 | u64::from(number)
}

#[inline(always)]
fn unpacked(call: u64) -> (u32, u32) {
    (call as u32, (call >> 32) as u32)
}

/// Global in BPF's sense: see `filter`.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn call_may_match(slot: u32, call: u64, access: u32, alone: u32, met: *mut Rules) -> i32 {
    // SAFETY: null or the caller's bitmap, as the verifier proves at each call.
    let Some(met) = (unsafe { met.as_mut() }) else { return 0 };
    let (number, abi) = unpacked(call);
    let Some(tables) = Tables::of_slot(slot) else { return 0 };
    let Some(entry) = tables.syscall(abi, number) else { return 0 };
    tables.candidates(met, entry.row, alone);
    if record::has_access(entry.class) {
        tables.narrow(met, tables.header.perm_rows[(access & 7) as usize]);
    }
    if !tables.any(met) {
        return 0;
    }
    if entry.class == class::EXEC {
        // Ids and executable change before the rules are applied.
        return 1;
    }
    let task = Task::current();
    tables.narrow_subject(met, Subject::of(task), |index| kernel::argument(task.registers(), abi, index));
    tables.any(met) as i32
}
