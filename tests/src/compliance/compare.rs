//! Which event of one side is which of the other, and where they differ.

use output::event::SyscallEvent;
use tables::{Arch, syscalls};

use super::fields;

/// What came of one case.
#[derive(Debug, Default)]
pub struct Comparison {
    /// Events that both have.
    pub pairs: usize,
    /// Events of the kernel that we have not.
    pub missing: Vec<String>,
    /// Events of ours that the kernel has not.
    pub extra: Vec<String>,
    /// Fields compared.
    pub fields: usize,
    /// Those that are equal.
    pub equal_fields: usize,
    /// Those that differ.
    pub differences: Vec<Difference>,
}

/// A field that differs.
#[derive(Debug)]
pub struct Difference {
    /// Number of the pair of events.
    pub pair: usize,
    /// The call, for people.
    pub call: String,
    /// The field.
    pub field: String,
    /// The kernel's value; `None` where its records do not have the field.
    pub kernel: Option<String>,
    /// Ours.
    pub ours: Option<String>,
}

/// Compares the events of a case.
pub fn compare(kernel: &[SyscallEvent], ours: &[SyscallEvent]) -> Comparison {
    let mut comparison = Comparison::default();
    let mut left: Vec<_> = ours.iter().map(Some).collect();
    // Those that are surely the same first: the others share the rest.
    let mut found = vec![None; kernel.len()];
    for same in [same_object, same_call, same_arguments] {
        for (event, found) in kernel.iter().zip(&mut found).filter(|(_, found)| found.is_none()) {
            *found = take(&mut left, event, same);
        }
    }
    for (event, found) in kernel.iter().zip(found) {
        match found {
            Some(same) => pair(&mut comparison, event, same),
            None => comparison.missing.push(shown(event)),
        }
    }
    comparison.extra = left.into_iter().flatten().map(shown).collect();
    comparison
}

/// The first that is the same, and takes it away.
fn take<'a>(
    left: &mut [Option<&'a SyscallEvent>],
    event: &SyscallEvent,
    same: fn(&SyscallEvent, &SyscallEvent) -> bool,
) -> Option<&'a SyscallEvent> {
    left.iter_mut().find(|other| other.is_some_and(|other| same(other, event)))?.take()
}

/// By the last name, too.
fn same_object(event: &SyscallEvent, other: &SyscallEvent) -> bool {
    let name = |event: &SyscallEvent| {
        let path = event.paths.last().and_then(|item| item.path.clone()).unwrap_or_default();
        path.rsplit(|byte| *byte == b'/').next().map(<[u8]>::to_vec)
    };
    same_call(event, other) && name(event) == name(other)
}

/// By process, call, arguments and result.
fn same_call(event: &SyscallEvent, other: &SyscallEvent) -> bool {
    same_arguments(event, other) && event.exit == other.exit
}

/// By process, call and arguments.
fn same_arguments(event: &SyscallEvent, other: &SyscallEvent) -> bool {
    let kind = |event: &SyscallEvent| (event.pid, event.arch, event.syscall, event.uring_op);
    kind(event) == kind(other) && event.args.iter().take(4).eq(other.args.iter().take(4))
}

fn pair(comparison: &mut Comparison, kernel: &SyscallEvent, ours: &SyscallEvent) {
    let (theirs, mut our) = fields::of_both(kernel, ours);
    let number = comparison.pairs;
    let call = shown(kernel);
    let mut compared = |field: String, kernel: Option<String>, ours: Option<String>| {
        comparison.fields += 1;
        if kernel == ours {
            comparison.equal_fields += 1;
        } else {
            comparison.differences.push(Difference { pair: number, call: call.clone(), field, kernel, ours });
        }
    };
    for (field, value) in theirs {
        let same = our.remove(&field);
        compared(field, Some(value), same);
    }
    for (field, value) in our {
        compared(field, None, Some(value));
    }
    comparison.pairs += 1;
}

/// An event in a few words.
fn shown(event: &SyscallEvent) -> String {
    let names: Vec<_> = event.paths.iter().map(|item| item.path.as_deref().unwrap_or(b"?")).collect();
    let names: Vec<_> = names.into_iter().map(|name| name.escape_ascii().to_string()).collect();
    let name = call_name(event);
    format!("{name} [{}] exit {:?} {}", event.pid, event.exit, names.join(" "))
}

/// The call's name, or its number.
pub fn call_name(event: &SyscallEvent) -> String {
    if let Some(operation) = event.uring_op {
        return format!("ring:{}", tables::io_uring_op_name(operation).unwrap_or("?"));
    }
    let number = u16::try_from(event.syscall).ok();
    let name = Arch::from_audit_arch(event.arch).zip(number).and_then(|(arch, number)| syscalls::name(arch, number));
    name.map_or_else(|| event.syscall.to_string(), str::to_owned)
}
