//! File systems of `-F fstype=`: the magic numbers of `linux/magic.h` that have a name in auditctl.

use crate::lookup;

const ROWS: &[(u32, &str)] =
    &[(0x0027_e0eb, "cgroup"), (0x6367_7270, "cgroup2"), (0x6462_6720, "debugfs"), (0x7472_6163, "tracefs")];

/// Magic number to name.
#[must_use]
pub fn file_system_name(magic: u32) -> Option<&'static str> {
    lookup::by_number(ROWS, magic)
}

/// Name to magic number, in any case.
#[must_use]
pub fn file_system_magic(name: &str) -> Option<u32> {
    lookup::by_name(ROWS, name)
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_lead_back() {
        crate::lookup::assert_round_trip(super::ROWS);
    }
}
