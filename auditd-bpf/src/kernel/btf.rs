//! Offsets of kernel structure fields, from the running kernel's BTF (`Documentation/bpf/btf.rst`).
//!
//! aya-obj reads BTF but has no look-up of structure members; this reader does only that. Anonymous structures and unions
//! are looked through; where a type name occurs twice, the first type that has the field counts.

use std::collections::HashMap;
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::OnceLock;

/// Where the kernel offers its types.
pub const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";

/// Why BTF could not be used.
#[derive(Debug, thiserror::Error)]
pub enum BtfError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// Which file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not BTF, or cut short.
    #[error("{path} is not valid BTF")]
    Malformed {
        /// Which file.
        path: String,
    },
    /// The kernel has no such field.
    #[error("the kernel's type information has no `{0}`")]
    NoField(&'static str),
}

const MAGIC: u16 = 0xeb9f;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_FUNC: u32 = 12;
/// typedef, volatile, const, restrict, type tag: named or qualified forms of another type.
const KINDS_TRANSPARENT: [u32; 5] = [8, 9, 10, 11, 18];
/// `struct btf_type`
const TYPE_BYTES: usize = 12;
/// `struct btf_member`
const MEMBER_BYTES: usize = 12;

/// The types of a kernel.
pub struct KernelTypes {
    data: Vec<u8>,
    strings: usize,
    /// Position of each type in `data`, by type id; id 0 is `void`.
    types: Vec<usize>,
    structs: HashMap<String, Vec<u32>>,
    /// Hash of each function's name, ascending, and type id of its prototype. The names of 60,000 functions take ten times
    /// the room; that two of them share one hash of 2^64 is no matter.
    functions: Vec<(u64, u32)>,
}

/// [`KERNEL_BTF`], opened by the keeper: when a later daemon of its starts, another file may have been mounted over it.
static HELD: OnceLock<File> = OnceLock::new();

/// Has all of this process and its children, from here on, read the file that is there now.
///
/// # Errors
/// If it cannot be opened.
pub fn hold() -> io::Result<()> {
    // It may be held already: then that one stays.
    let _held = HELD.set(File::open(KERNEL_BTF)?);
    Ok(())
}

/// The types of the running kernel, as they are written.
///
/// # Errors
/// If they cannot be read.
pub fn of_kernel() -> Result<Vec<u8>, BtfError> {
    let whole = |file: &File| -> io::Result<Vec<u8>> {
        // Without moving the position, which parent and child share.
        let mut bytes = vec![0; usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    };
    let read = HELD.get().map_or_else(|| std::fs::read(KERNEL_BTF), whole);
    read.map_err(|source| BtfError::Read { path: KERNEL_BTF.to_owned(), source })
}

impl KernelTypes {
    /// Reads those of the running kernel.
    ///
    /// # Errors
    /// If they cannot be read, or are not BTF.
    pub fn of_kernel() -> Result<Self, BtfError> {
        Self::parse(of_kernel()?).ok_or_else(|| BtfError::Malformed { path: KERNEL_BTF.to_owned() })
    }

    /// Reads a BTF file.
    ///
    /// # Errors
    /// If it cannot be read, or is not BTF.
    pub fn read(path: &Path) -> Result<Self, BtfError> {
        let name = || path.display().to_string();
        let data = std::fs::read(path).map_err(|source| BtfError::Read { path: name(), source })?;
        Self::parse(data).ok_or_else(|| BtfError::Malformed { path: name() })
    }

    fn parse(data: Vec<u8>) -> Option<Self> {
        if u16::from_le_bytes(data.get(..2)?.try_into().ok()?) != MAGIC {
            return None;
        }
        let word = |at| word(&data, at);
        let (header, types_at, types_len, strings_at) = (word(4)?, word(8)?, word(12)?, word(16)?);
        let start = header.checked_add(types_at)?;
        let end = start.checked_add(types_len)?;
        let mut this = Self {
            strings: header.checked_add(strings_at)?,
            types: vec![usize::MAX],
            structs: HashMap::new(),
            functions: Vec::new(),
            data: Vec::new(),
        };
        let mut named = Vec::new();
        let mut at = start;
        while at < end {
            let info = u32::try_from(word(at + 4)?).ok()?;
            let (kind, members) = (info >> 24 & 0x1f, (info & 0xffff) as usize);
            if matches!(kind, KIND_STRUCT | KIND_UNION | KIND_FUNC) {
                named.push((kind, word(at)?, u32::try_from(this.types.len()).ok()?));
            }
            this.types.push(at);
            at = at.checked_add(TYPE_BYTES + trailer_bytes(kind, members))?;
        }
        this.data = data;
        for (kind, name, id) in named {
            let Some(name) = this.string(name).filter(|name| !name.is_empty()) else { continue };
            if kind == KIND_FUNC {
                let prototype = this.word(this.types[id as usize] + 8).map_or(0, |id| id as u32);
                let hash = hash(name);
                this.functions.push((hash, prototype));
            } else {
                let name = name.to_owned();
                this.structs.entry(name).or_default().push(id);
            }
        }
        // Of one name the last counts.
        this.functions.reverse();
        this.functions.sort_by_key(|function| function.0);
        this.functions.dedup_by_key(|function| function.0);
        this.functions.shrink_to_fit();
        Some(this)
    }

    fn string(&self, offset: usize) -> Option<&str> {
        let bytes = self.data.get(self.strings.checked_add(offset)?..)?;
        std::str::from_utf8(bytes.get(..bytes.iter().position(|byte| *byte == 0)?)?).ok()
    }

    fn word(&self, at: usize) -> Option<usize> {
        word(&self.data, at)
    }

    fn kind(&self, id: u32) -> Option<(u32, usize, usize)> {
        let at = *self.types.get(id as usize)?;
        let info = self.word(at.checked_add(4)?)?;
        Some(((info >> 24 & 0x1f) as u32, info & 0xffff, at))
    }

    /// The structure behind typedefs and qualifiers.
    fn strip(&self, mut id: u32) -> Option<u32> {
        // A chain longer than this is a loop.
        for _ in 0..32 {
            let (kind, _, at) = self.kind(id)?;
            if !KINDS_TRANSPARENT.contains(&kind) {
                return Some(id);
            }
            id = u32::try_from(self.word(at + 8)?).ok()?;
        }
        None
    }

    /// Byte offset and type of a member.
    fn member(&self, id: u32, name: &str, depth: u32) -> Option<(u32, u32)> {
        let (kind, members, at) = self.kind(id)?;
        if !matches!(kind, KIND_STRUCT | KIND_UNION) || depth > 16 {
            return None;
        }
        // With kind_flag set the upper byte of the offset is a bit field's size.
        let bit_fields = self.word(at + 4)? >> 31 == 1;
        (0..members).find_map(|index| {
            let member = at + TYPE_BYTES + index * MEMBER_BYTES;
            let bits = self.word(member + 8)? & if bit_fields { 0x00ff_ffff } else { 0xffff_ffff };
            let offset = u32::try_from(bits / 8).ok()?;
            let kind = u32::try_from(self.word(member + 4)?).ok()?;
            match self.string(self.word(member)?)? {
                own if own == name => Some((offset, kind)),
                "" => self.member(self.strip(kind)?, name, depth + 1).map(|(inner, kind)| (offset + inner, kind)),
                _ => None,
            }
        })
    }

    /// Byte offset of a field by path, for example `task_struct.loginuid.val`.
    ///
    /// # Errors
    /// If the kernel has no such structure or field.
    pub fn offset(&self, path: &'static str) -> Result<u32, BtfError> {
        let mut names = path.split('.');
        let candidates = names.next().and_then(|name| self.structs.get(name)).map_or(&[][..], Vec::as_slice);
        candidates
            .iter()
            .find_map(|id| {
                names.clone().try_fold((0, *id), |(offset, id), name| {
                    let (inner, kind) = self.member(self.strip(id)?, name, 0)?;
                    Some((offset + inner, kind))
                })
            })
            .map(|(offset, _)| offset)
            .ok_or(BtfError::NoField(path))
    }

    /// Whether the kernel has a traceable function of that name.
    #[must_use]
    pub fn has_function(&self, name: &str) -> bool {
        self.prototype(name).is_some()
    }

    /// Type id of a function's prototype: equal for functions that the kernel takes for the same kind.
    #[must_use]
    pub fn prototype(&self, function: &str) -> Option<u32> {
        let hash = hash(function);
        let at = self.functions.binary_search_by_key(&hash, |function| function.0).ok()?;
        self.functions.get(at).map(|function| function.1)
    }

    /// Number of a function's parameters; none once the fields are [forgotten](Self::forget_fields).
    #[must_use]
    pub fn parameters(&self, function: &str) -> Option<usize> {
        self.kind(self.prototype(function)?).map(|(_, parameters, _)| parameters)
    }

    /// Forgets all but the functions: the fields are asked for once, and the kernel's types are some 6 MiB.
    pub fn forget_fields(&mut self) {
        (self.data, self.types, self.structs) = Default::default();
    }
}

fn hash(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

fn word(data: &[u8], at: usize) -> Option<usize> {
    let bytes = data.get(at..at.checked_add(4)?)?.try_into().ok()?;
    Some(u32::from_le_bytes(bytes) as usize)
}

/// Bytes behind a `struct btf_type`, by kind (`Documentation/bpf/btf.rst`, section 2.2).
const fn trailer_bytes(kind: u32, members: usize) -> usize {
    match kind {
        1 | 14 | 17 => 4,
        3 => 12,
        4 | 5 | 15 | 19 => members * 12,
        6 | 13 => members * 8,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `struct outer { int a; struct { int b; }; }` and the function `traced`.
    fn sample() -> Vec<u8> {
        let strings = b"\0outer\0a\0b\0traced\0";
        let types: Vec<u32> = [
            &[0, 1 << 24, 4, 0x20][..],              // 1: int
            &[0, 4 << 24 | 1, 4, 9, 1, 0],           // 2: anonymous struct { b }
            &[1, 4 << 24 | 2, 8, 7, 1, 0, 0, 2, 32], // 3: outer
            &[11, 12 << 24, 1],                      // 4: traced
        ]
        .concat();
        let types: Vec<u8> = types.into_iter().flat_map(u32::to_le_bytes).collect();
        let mut data = vec![0x9f, 0xeb, 1, 0];
        for word in [24, 0, types.len() as u32, types.len() as u32, strings.len() as u32] {
            data.extend(word.to_le_bytes());
        }
        data.extend(types);
        data.extend(strings);
        data
    }

    #[test]
    fn what_is_held_is_read_as_often_as_it_is_asked_for() {
        if let Err(error) = hold() {
            println!("SKIP {KERNEL_BTF}: {error}");
            return;
        }
        let written = std::fs::read(KERNEL_BTF).unwrap();
        assert!(of_kernel().unwrap() == written && of_kernel().unwrap() == written);
        hold().unwrap();
    }

    #[test]
    fn fields_are_found_through_anonymous_structures() {
        let types = KernelTypes::parse(sample()).unwrap();
        assert_eq!(types.offset("outer.a").unwrap(), 0);
        assert_eq!(types.offset("outer.b").unwrap(), 4);
        assert!(matches!(types.offset("outer.c"), Err(BtfError::NoField("outer.c"))));
        assert!(types.has_function("traced") && !types.has_function("outer"));
    }

    #[test]
    fn functions_are_known_when_fields_are_forgotten() {
        let mut types = KernelTypes::parse(sample()).unwrap();
        types.forget_fields();
        assert_eq!(types.prototype("traced"), Some(1));
        assert!(types.offset("outer.a").is_err());
    }

    #[test]
    fn damaged_input_is_refused_or_harmless() {
        let whole = sample();
        for cut in 0..whole.len() {
            if let Some(types) = KernelTypes::parse(whole[..cut].to_vec()) {
                let _ = types.offset("outer.b");
            }
            for value in [0, 0x7f, 0xff] {
                let mut damaged = whole.clone();
                damaged[cut] = value;
                if let Some(types) = KernelTypes::parse(damaged) {
                    let _ = types.offset("outer.b");
                }
            }
        }
    }
}
