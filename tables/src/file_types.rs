//! File types of `-F filetype=`: the S_IFMT bits of a mode.

use crate::lookup;

const ROWS: &[(u32, &str)] = &[
    (0o010_000, "fifo"),
    (0o020_000, "character"),
    (0o040_000, "dir"),
    (0o060_000, "block"),
    (0o100_000, "file"),
    (0o120_000, "link"),
    (0o140_000, "socket"),
];

/// Number to name.
#[must_use]
pub fn file_type_name(number: u32) -> Option<&'static str> {
    lookup::by_number(ROWS, number)
}

/// Name to number, in any case.
#[must_use]
pub fn file_type_number(name: &str) -> Option<u32> {
    lookup::by_name(ROWS, name)
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_lead_back() {
        crate::lookup::assert_round_trip(super::ROWS);
    }
}
