//! Structures laid out like the running kernel's, in the memory that programs on trial take for the kernel's.

use std::collections::HashMap;

use auditd_bpf_common::trial::{MEMORY_BYTES, Memory};

use crate::kernel::btf::KernelTypes;

/// An address in the kernel.
pub(super) type Address = u64;

/// Offsets by field.
pub(super) struct Layout(HashMap<&'static str, u32>);

macro_rules! list_paths {
    ($($name:ident = $path:literal;)+) => { &[$($path),+] };
}
const FIELDS: &[&str] = auditd_bpf_common::kernel_fields!(list_paths);

impl Layout {
    pub(super) fn of(types: &KernelTypes) -> Self {
        Self(FIELDS.iter().map(|path| (*path, types.offset(path).expect("the programs read it too"))).collect())
    }

    fn offset(&self, field: &str) -> usize {
        self.0[field] as usize
    }

    /// Bytes of a structure, as far as any field of it is read.
    fn size(&self, structure: &str) -> usize {
        let fields = self.0.iter().filter(|(path, _)| path.split('.').next() == Some(structure));
        fields.map(|(_, offset)| *offset as usize + size_of::<u64>() * 2).max().unwrap_or_default()
    }
}

/// Memory under construction.
pub(super) struct Image<'a> {
    layout: &'a Layout,
    memory: Box<Memory>,
    used: usize,
}

impl<'a> Image<'a> {
    /// `address`: where it will be.
    pub(super) fn new(layout: &'a Layout, address: Address) -> Self {
        let memory = Box::new(Memory { address, task: 0, registers: 0, cgroup: 0, bytes: [0; MEMORY_BYTES] });
        Self { layout, memory, used: 0 }
    }

    /// Room for a structure, zeroed.
    pub(super) fn structure(&mut self, kind: &str) -> Address {
        self.take(self.layout.size(kind))
    }

    /// Who acts, and with which registers.
    pub(super) fn acts(&mut self, task: Address, registers: Address) {
        (self.memory.task, self.memory.registers) = (task, registers);
    }

    /// The control group of who acts, by number.
    pub(super) fn is_in(&mut self, cgroup: u64) {
        self.memory.cgroup = cgroup;
    }

    fn take(&mut self, bytes: usize) -> Address {
        let at = self.used;
        self.used += bytes.next_multiple_of(8);
        assert!(self.used <= MEMORY_BYTES, "more structures than there is room for");
        self.memory.address + (std::mem::offset_of!(Memory, bytes) + at) as u64
    }

    /// Bytes of their own.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Address {
        let address = self.take(bytes.len());
        self.write(address, bytes);
        address
    }

    /// Writes a field.
    pub(super) fn set<const N: usize>(&mut self, structure: Address, field: &str, value: impl Bytes<N>) {
        let offset = self.layout.offset(field) as u64;
        self.write(structure + offset, &value.bytes());
    }

    /// Address of a member.
    pub(super) fn member(&self, structure: Address, field: &str) -> Address {
        structure + self.layout.offset(field) as u64
    }

    pub(super) fn write(&mut self, address: Address, bytes: &[u8]) {
        let at = (address - self.memory.address) as usize - std::mem::offset_of!(Memory, bytes);
        self.memory.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }

    pub(super) fn memory(&self) -> &Memory {
        &self.memory
    }
}

/// A number as it lies in memory.
pub(super) trait Bytes<const N: usize> {
    fn bytes(self) -> [u8; N];
}

macro_rules! numbers {
    ($($kind:ty),+) => {
        $(impl Bytes<{ size_of::<$kind>() }> for $kind {
            fn bytes(self) -> [u8; size_of::<$kind>()] {
                self.to_ne_bytes()
            }
        })+
    };
}
numbers!(u16, u32, u64);
