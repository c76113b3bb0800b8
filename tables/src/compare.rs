//! The 25 pairs of `-C`, with the kernel's codes (`AUDIT_COMPARE_*`).

use crate::Field;

/// A pair of fields that may be compared with each other; order does not matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CompareField {
    code: u8,
    left: Field,
    right: Field,
}

/// Left and right in the order in which auditctl prints them; the code is the position, from 1.
const PAIRS: [(Field, Field); 25] = [
    (Field::Uid, Field::ObjUid),
    (Field::Gid, Field::ObjGid),
    (Field::Euid, Field::ObjUid),
    (Field::Egid, Field::ObjGid),
    (Field::Auid, Field::ObjUid),
    (Field::Suid, Field::ObjUid),
    (Field::Sgid, Field::ObjGid),
    (Field::Fsuid, Field::ObjUid),
    (Field::Fsgid, Field::ObjGid),
    (Field::Uid, Field::Auid),
    (Field::Uid, Field::Euid),
    (Field::Uid, Field::Fsuid),
    (Field::Uid, Field::Suid),
    (Field::Auid, Field::Fsuid),
    (Field::Auid, Field::Suid),
    (Field::Auid, Field::Euid),
    (Field::Euid, Field::Suid),
    (Field::Euid, Field::Fsuid),
    (Field::Suid, Field::Fsuid),
    (Field::Gid, Field::Egid),
    (Field::Gid, Field::Fsgid),
    (Field::Gid, Field::Sgid),
    (Field::Egid, Field::Fsgid),
    (Field::Egid, Field::Sgid),
    (Field::Sgid, Field::Fsgid),
];

impl CompareField {
    /// Every pair, by code.
    pub fn all() -> impl Iterator<Item = Self> {
        (1..).zip(PAIRS).map(|(code, (left, right))| Self { code, left, right })
    }

    /// The pair of two fields, in either order.
    #[must_use]
    pub fn of(one: Field, other: Field) -> Option<Self> {
        Self::all().find(|pair| (pair.left, pair.right) == (one, other) || (pair.left, pair.right) == (other, one))
    }

    /// Whether a field stands in any pair.
    #[must_use]
    pub fn takes(field: Field) -> bool {
        PAIRS.iter().any(|pair| pair.0 == field || pair.1 == field)
    }

    /// The kernel's code, 1 to 25.
    #[must_use]
    pub const fn code(self) -> u8 {
        self.code
    }

    /// The field printed first.
    #[must_use]
    pub const fn left(self) -> Field {
        self.left
    }

    /// The field printed last.
    #[must_use]
    pub const fn right(self) -> Field {
        self.right
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_order_finds_the_pair() {
        for pair in CompareField::all() {
            assert_eq!(CompareField::of(pair.left(), pair.right()), Some(pair));
            assert_eq!(CompareField::of(pair.right(), pair.left()), Some(pair));
        }
        assert_eq!(CompareField::of(Field::Auid, Field::Fsuid).map(CompareField::code), Some(14));
        assert_eq!(CompareField::of(Field::Uid, Field::Gid), None);
        assert_eq!(CompareField::of(Field::Uid, Field::Uid), None);
    }
}
