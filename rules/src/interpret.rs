//! What `auditctl -l -i` prints in place of numbers: names of machines, unset ids, and arguments of the one call that a rule
//! names.

use tables::{Field, argument_kind, syscalls};

use crate::rule::{Rule, Syscalls};

/// The call whose arguments a rule tests; auditctl wants an `arch` to look its name up.
fn call(rule: &Rule) -> Option<&'static str> {
    match (rule.arch, &rule.syscalls) {
        (Some((arch, _)), Syscalls::Set(numbers)) if numbers.len() == 1 => syscalls::name(arch, *numbers.first()?),
        _ => None,
    }
}

/// A value of `a0` to `a3`. Rules of several calls show it as without `-i`.
pub(crate) fn argument(rule: &Rule, field: Field, value: u32) -> String {
    let has_one_call = !matches!(&rule.syscalls, Syscalls::Set(numbers) if numbers.len() > 1);
    let names_all = rule.list.takes_syscalls() && !matches!(rule.syscalls, Syscalls::Set(_));
    if !has_one_call || names_all {
        return format!("0x{value:X}");
    }
    let kind = field.argument().and_then(|position| argument_kind(call(rule)?, position));
    kind.and_then(|kind| kind.shown(value)).unwrap_or_else(|| format!("0x{value:x}"))
}
