//! What `auditctl -l -i` prints in place of numbers: names of machines, unset ids, and arguments of the one call that a rule
//! names.

use tables::{ACCESS_BITS, ArgumentKind, Field, OPEN_FLAGS, PROTECTION_BITS, argument_kind, syscalls};

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
    kind.and_then(|kind| named(kind, value)).unwrap_or_else(|| format!("0x{value:x}"))
}

fn named(kind: ArgumentKind, value: u32) -> Option<String> {
    match kind {
        ArgumentKind::OpenFlags => {
            let read_only = (value & 3 == 0).then_some("O_RDONLY");
            bits(read_only, OPEN_FLAGS, value)
        }
        ArgumentKind::Access if value & 0xf == 0 => Some("F_OK".to_owned()),
        ArgumentKind::Access => bits(None, ACCESS_BITS, value),
        ArgumentKind::Protection if value & 7 == 0 => Some("PROT_NONE".to_owned()),
        ArgumentKind::Protection => bits(None, PROTECTION_BITS, value),
        ArgumentKind::Mode => Some(mode(value)),
        ArgumentKind::Signal => {
            let name = tables::signal_name(value).map(str::to_owned);
            name.or_else(|| Some(format!("unknown-signal(0x{value:x})")))
        }
        ArgumentKind::DirFd => (value.cast_signed() == AT_FDCWD).then(|| "AT_FDCWD".to_owned()),
        ArgumentKind::Family => {
            let name = tables::address_family_name(value).map(str::to_owned);
            name.or_else(|| Some(format!("unknown-family(0x{value:x})")))
        }
        ArgumentKind::SocketType => {
            let name = tables::socket_type_name(value).map(str::to_owned);
            name.or_else(|| Some(format!("unknown-type({value:x})")))
        }
    }
}

const AT_FDCWD: i32 = -100;

fn bits(first: Option<&'static str>, names: &[(u32, &'static str)], value: u32) -> Option<String> {
    let set = names.iter().filter(|row| row.0 & value != 0).map(|row| row.1);
    let names: Vec<_> = first.into_iter().chain(set).collect();
    (!names.is_empty()).then(|| names.join("|"))
}

fn mode(value: u32) -> String {
    let special = [(0o4000, "suid"), (0o2000, "sgid"), (0o1000, "sticky")];
    let special: Vec<_> = special.into_iter().filter(|row| row.0 & value != 0).map(|row| row.1).collect();
    let permissions = format!("0{:03o}", value & 0o777);
    if special.is_empty() { permissions } else { format!("{},{permissions}", special.join(",")) }
}
