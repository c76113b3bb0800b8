//! The ABI of a system call: `-F arch=`.

/// Whose system call numbers a rule means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Arch {
    /// x86_64, `b64` on a PC.
    B64,
    /// i386, `b32` on a PC.
    B32,
    /// aarch64, `b64` on 64-bit ARM.
    Aarch64,
}

/// Machine names that auditctl takes for `-F arch=`.
const MACHINES: &[(&str, Arch)] = &[
    ("x86_64", Arch::B64),
    ("i386", Arch::B32),
    ("i486", Arch::B32),
    ("i586", Arch::B32),
    ("i686", Arch::B32),
    ("aarch64", Arch::Aarch64),
];

impl Arch {
    /// Every ABI that has a table here.
    pub const ALL: [Self; 3] = [Self::B64, Self::B32, Self::Aarch64];

    /// `AUDIT_ARCH_*`: ELF machine, 0x8000_0000 for 64 bits, 0x4000_0000 for little endian.
    #[must_use]
    pub const fn audit_arch(self) -> u32 {
        match self {
            Self::B64 => 0xc000_003e,
            Self::B32 => 0x4000_0003,
            Self::Aarch64 => 0xc000_00b7,
        }
    }

    /// Back from `AUDIT_ARCH_*`.
    #[must_use]
    pub fn from_audit_arch(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|arch| arch.audit_arch() == number)
    }

    /// `x86_64`, `i386`... in any case; `b64` and `b32` depend on the host and are not machine names.
    #[must_use]
    pub fn from_machine(name: &str) -> Option<Self> {
        MACHINES.iter().find(|row| row.0.eq_ignore_ascii_case(name)).map(|row| row.1)
    }

    /// The machine's name.
    #[must_use]
    pub const fn machine(self) -> &'static str {
        match self {
            Self::B64 => "x86_64",
            Self::B32 => "i386",
            Self::Aarch64 => "aarch64",
        }
    }

    /// 64 or 32.
    #[must_use]
    pub const fn bits(self) -> u8 {
        match self {
            Self::B64 | Self::Aarch64 => 64,
            Self::B32 => 32,
        }
    }

    /// `b64` or `b32`, as `auditctl -l` prints it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::B64 | Self::Aarch64 => "b64",
            Self::B32 => "b32",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_machine_names_lead_back() {
        for arch in Arch::ALL {
            assert_eq!(Arch::from_audit_arch(arch.audit_arch()), Some(arch));
            assert_eq!(Arch::from_machine(arch.machine()), Some(arch));
        }
        assert_eq!(Arch::from_machine("X86_64"), Some(Arch::B64));
        assert_eq!(Arch::from_machine("vax"), None);
    }
}
