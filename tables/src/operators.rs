//! The eight operators of `-F`.

/// How a field and a value are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Op {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `&`: any bit of the value is set.
    BitMask,
    /// `&=`: all bits of the value are set.
    BitTest,
}

impl Op {
    /// Those of two characters before those of one that begin the same: the order to look for them in.
    pub const SEARCH_ORDER: [Self; 8] = [
        Self::NotEqual,
        Self::GreaterOrEqual,
        Self::LessOrEqual,
        Self::BitTest,
        Self::Equal,
        Self::Greater,
        Self::Less,
        Self::BitMask,
    ];

    /// As written.
    #[must_use]
    pub const fn symbol(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::BitMask => "&",
            Self::BitTest => "&=",
        }
    }

    /// The kernel's comparison: both sides unsigned 32 bits.
    #[must_use]
    pub const fn holds(self, left: u32, right: u32) -> bool {
        match self {
            Self::Equal => left == right,
            Self::NotEqual => left != right,
            Self::Less => left < right,
            Self::LessOrEqual => left <= right,
            Self::Greater => left > right,
            Self::GreaterOrEqual => left >= right,
            Self::BitMask => left & right != 0,
            Self::BitTest => left & right == right,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_large_numbers_to_the_kernel() {
        let eperm = (-1_i32).cast_unsigned();
        assert!(Op::Greater.holds(eperm, 0));
        assert!(!Op::Less.holds(eperm, 0));
        assert!(Op::BitMask.holds(0x41, 0x40) && Op::BitTest.holds(0x41, 0x41) && !Op::BitTest.holds(0x40, 0x41));
    }
}
