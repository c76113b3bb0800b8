//! System calls: number, name, and the kernel functions behind them.

mod aarch64;
mod i386;
mod symbols;
mod x86_64;

use std::sync::LazyLock;

use crate::{Arch, lookup};

pub use symbols::kernel_symbols;

/// Names that auditctl does not print but that mean one of its rows.
const ALIASES: &[(&str, &str)] = &[
    ("pread64", "pread"),
    ("pwrite64", "pwrite"),
    ("getdents64", "getdents"),
    ("newfstat", "fstat"),
    ("fstat", "newfstat"),
    ("sys_kexec_load", "kexec_load"),
    ("sched_rr_get_interval64", "sched_rr_get_interval_time64"),
];

/// Every system call of an ABI with the name that auditctl prints, ascending by number.
#[must_use]
pub fn all(arch: Arch) -> &'static [(u16, &'static str)] {
    match arch {
        Arch::B64 => x86_64::ROWS,
        Arch::B32 => i386::ROWS,
        Arch::Aarch64 => aarch64::ROWS,
    }
}

/// Number to name.
#[must_use]
pub fn name(arch: Arch, number: u16) -> Option<&'static str> {
    lookup::by_number(all(arch), number)
}

/// Name to number, in any case. Where auditctl has a name of its own, the kernel's is understood too.
#[must_use]
pub fn number(arch: Arch, name: &str) -> Option<u16> {
    let alias = || ALIASES.iter().find(|row| row.0.eq_ignore_ascii_case(name)).map(|row| row.1);
    row_named(arch, name).or_else(|| row_named(arch, alias()?))
}

fn row_named(arch: Arch, name: &str) -> Option<u16> {
    let rows = index(arch);
    let find = |name: &str| rows.binary_search_by_key(&name, |row| row.0).ok();
    let row = find(name).or_else(|| find(&name.to_ascii_lowercase()))?;
    rows.get(row).map(|row| row.1)
}

/// The rows of an ABI by name: rule files name thousands of calls.
fn index(arch: Arch) -> &'static [(&'static str, u16)] {
    static B64: LazyLock<Vec<(&str, u16)>> = LazyLock::new(|| by_name(x86_64::ROWS));
    static B32: LazyLock<Vec<(&str, u16)>> = LazyLock::new(|| by_name(i386::ROWS));
    static AARCH64: LazyLock<Vec<(&str, u16)>> = LazyLock::new(|| by_name(aarch64::ROWS));
    match arch {
        Arch::B64 => &B64,
        Arch::B32 => &B32,
        Arch::Aarch64 => &AARCH64,
    }
}

fn by_name(rows: &[(u16, &'static str)]) -> Vec<(&'static str, u16)> {
    let mut rows: Vec<_> = rows.iter().map(|row| (row.1, row.0)).collect();
    rows.sort_unstable();
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back() {
        for arch in Arch::ALL {
            lookup::assert_round_trip(all(arch));
            for (number, name) in all(arch) {
                assert_eq!(super::number(arch, name), Some(*number));
            }
        }
    }

    #[test]
    fn numbers_are_the_kernels() {
        let rows = [(Arch::B64, "openat", 257), (Arch::B32, "openat", 295), (Arch::Aarch64, "openat", 56)];
        for (arch, name, expected) in rows {
            assert_eq!(number(arch, name), Some(expected));
        }
        // Since 5.1 all ABIs share the numbers of new calls.
        for arch in Arch::ALL {
            assert_eq!(number(arch, "fchmodat2"), Some(452));
        }
    }

    #[test]
    fn kernel_names_are_understood() {
        assert_eq!(number(Arch::B64, "pread64"), number(Arch::B64, "pread"));
        assert_eq!(number(Arch::B32, "pread64"), Some(180));
        assert_eq!(number(Arch::B64, "OPEN"), Some(2));
        assert_eq!(number(Arch::B64, "opne"), None);
    }
}
