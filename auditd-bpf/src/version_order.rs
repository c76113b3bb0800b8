//! The order of `sort -V`, by which augenrules reads rule files: digits count as numbers, and the suffix after the last
//! name part counts only between names that are otherwise equal (GNU coreutils manual, "Version sort ordering").

use std::cmp::Ordering;

/// Compares two file names.
#[must_use]
pub fn compare(a: &[u8], b: &[u8]) -> Ordering {
    parts(stem(a), stem(b)).then_with(|| parts(a, b)).then_with(|| a.cmp(b))
}

/// Without the longest suffix of the form `(\.[A-Za-z~][A-Za-z0-9~]*)*`.
fn stem(name: &[u8]) -> &[u8] {
    let mut end = name.len();
    while let Some(dot) = name.get(..end).and_then(|rest| rest.iter().rposition(|byte| *byte == b'.')) {
        let suffix = name.get(dot + 1..end).unwrap_or_default();
        let starts_well = suffix.first().is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'~');
        if dot == 0 || !starts_well || !suffix.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'~') {
            break;
        }
        end = dot;
    }
    name.get(..end).unwrap_or(name)
}

/// Alternately stretches without digits, character by character, and numbers.
fn parts(mut a: &[u8], mut b: &[u8]) -> Ordering {
    while !a.is_empty() || !b.is_empty() {
        while a.first().is_some_and(|byte| !byte.is_ascii_digit())
            || b.first().is_some_and(|byte| !byte.is_ascii_digit())
        {
            match rank(a.first()).cmp(&rank(b.first())) {
                Ordering::Equal => (a, b) = (a.get(1..).unwrap_or_default(), b.get(1..).unwrap_or_default()),
                unequal => return unequal,
            }
        }
        let (number_a, rest_a) = number(a);
        let (number_b, rest_b) = number(b);
        let order = number_a.len().cmp(&number_b.len()).then_with(|| number_a.cmp(number_b));
        if order != Ordering::Equal {
            return order;
        }
        (a, b) = (rest_a, rest_b);
    }
    Ordering::Equal
}

/// `~` before the end of the name, before digits, before letters, before everything else.
fn rank(byte: Option<&u8>) -> i32 {
    match byte {
        Some(b'~') => -2,
        None => -1,
        Some(byte) if byte.is_ascii_digit() => 0,
        Some(byte) if byte.is_ascii_alphabetic() => i32::from(*byte),
        Some(byte) => i32::from(*byte) + 256,
    }
}

/// The digits at the start, without leading zeros, and what follows.
fn number(text: &[u8]) -> (&[u8], &[u8]) {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let zeros = text.iter().take_while(|byte| **byte == b'0').count();
    (text.get(zeros..digits).unwrap_or_default(), text.get(digits..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_sort_v_has_it() {
        // The answer of `sort -V` of coreutils 9.1 to these names in any order.
        for (index, a) in SORTED.iter().enumerate() {
            for (other, b) in SORTED.iter().enumerate() {
                assert_eq!(compare(a.as_bytes(), b.as_bytes()), index.cmp(&other), "{a} and {b}");
            }
        }
    }

    const SORTED: &[&str] = &[
        "01.rules",
        "1.rules",
        "1.1.rules",
        "09-a.rules",
        "9-a.rules",
        "9-a1.rules",
        "9-a2.rules",
        "9-a10.rules",
        "10-base.rules",
        "30-ospp-v42.rules",
        "30-ospp-v42-1-create.rules",
        "30-ospp-v42-2-modify.rules",
        "99-finalize.rules",
        "100-x.rules",
        "Audit.rules",
        "a~.rules",
        "a.b.rules",
        "a.rules",
        "ab.rules",
        "audit.rules",
        "a-b.rules",
        "a.2.rules",
        "a.10.rules",
        "a_b.rules",
        "x-1.rules",
        "x-1-1.rules",
        "xä.rules",
    ];
}
