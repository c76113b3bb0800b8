//! Which rules an object satisfies: by its inode, by its name in its directory, by the trees that it lies in.

use crate::{
    filter::{Rules, Tables, rules_widen},
    kernel::{self, Memory, Object},
    maps::{NAME_SEED, NAMES, OBJECTS, count},
};
use auditd_bpf_common::{
    counters,
    limits::{MAX_FS_TYPES, NAME_BYTES, NEAR_LEVELS, WALK_STEPS},
    plan_rows::{NameKey, ObjectKey, ROW_NONE, hash_step, operator},
};

/// Where matching begins.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// At the object's own inode.
    Itself,
    /// At its directory: it may have no inode. Kernels before 6.15 are sure that a dentry has one, drop any check for it from
    /// the program, and would crash (`BTF_TYPE_SAFE_TRUSTED(struct dentry)` in `kernel/bpf/verifier.c`).
    Directory,
}

/// Where [`known_near`] did not come to the root.
const FAR: u32 = 1 << NEAR_LEVELS;

/// Of which levels the rules may know the inode: a bit for the object, its directory, and so on up, and [`FAR`] where there are
/// more. Reckoned without a branch for each: the verifier would follow both ways from there to the end of the program.
///
/// Names of one file system only: mounts below a watched tree are roots of their own in the table, as they are in the
/// kernel's `audit_tree`.
#[inline(always)]
pub fn known_near<M: Memory>(tables: Tables, dentry: Object, from: Level) -> u32 {
    let dev: u32 = M::load(M::load::<Object>(dentry, &kernel::DENTRY_D_SB), &kernel::SUPER_BLOCK_S_DEV);
    let (mut at, mut known) = (dentry, 0);
    for level in 0..NEAR_LEVELS {
        // A rule on a path looks at the object and its directory.
        if level == 2 && tables.header.tests_dir == 0 {
            return known;
        }
        if level != 0 || from == Level::Itself {
            let inode: Object = M::load(at, &kernel::DENTRY_D_INODE);
            // Newer kernels ask for the check, though there is one.
            let ino: u64 = if inode.is_null() { 0 } else { M::load(inode, &kernel::INODE_I_INO) };
            known |= tables.may_know(dev, ino) << level;
        }
        let parent: Object = M::load(at, &kernel::DENTRY_D_PARENT);
        if parent == at {
            return known;
        }
        at = parent;
    }
    known | FAR
}

/// What was found is not all: the way up did not come to an end.
pub const CUT: i32 = 2;

// The functions below are global in BPF's sense: see `filter`. They return 1 if any rule was added, and [`CUT`] besides where that
// is so.

struct NearWalk {
    slot: u32,
    dev: u32,
    /// The object.
    dentry: u64,
    at: u64,
    rules: *mut Rules,
    /// Bits of the level in progress and those above it.
    known: u32,
    found: u32,
}

/// Adds the rules that an object satisfies, and tells if there are any; `known`: what [`known_near`] says of it. Once in a program:
/// in its caller, for want of stack.
#[inline(always)]
pub fn meet_near(slot: u32, dentry: u64, known: u32, rules: *mut Rules) -> i32 {
    let dev = kernel::probe(kernel::probe(dentry, &kernel::DENTRY_D_SB), &kernel::SUPER_BLOCK_S_DEV);
    let mut walk = NearWalk { slot, dev, dentry, at: dentry, rules, known, found: 0 };
    kernel::repeat(NEAR_LEVELS, near_step, &mut walk);
    if walk.known != 0 {
        walk.found |= objects_meet_far(slot, dev, walk.at, rules) as u32;
    }
    walk.found as i32
}

/// One level, and on to the next.
unsafe extern "C" fn near_step(level: u32, walk: *mut NearWalk) -> i64 {
    // SAFETY: the state of `meet_near`, checked by the verifier.
    let walk = unsafe { &mut *walk };
    if walk.known == 0 {
        return 1;
    }
    if walk.known & 1 != 0 {
        let ino = kernel::probe(kernel::probe(walk.at, &kernel::DENTRY_D_INODE), &kernel::INODE_I_INO);
        walk.found |= match level {
            0 => objects_meet_itself(walk.slot, walk.dev, ino, walk.rules),
            1 => objects_meet_parent(walk.slot, walk.dev, ino, walk.dentry, walk.rules),
            _ => objects_meet_above(walk.slot, walk.dev, ino, walk.rules),
        } as u32;
    }
    walk.known >>= 1;
    walk.at = kernel::probe(walk.at, &kernel::DENTRY_D_PARENT);
    0
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn objects_meet_itself(slot: u32, dev: u32, ino: u64, rules: *mut Rules) -> i32 {
    // SAFETY: the row numbers are copied out at once.
    let Some(value) = (unsafe { OBJECTS.get(ObjectKey { slot, dev, ino }) }) else { return 0 };
    let (path_row, dir_row) = (value.path_row, value.dir_row);
    widen(slot, path_row, rules) | widen(slot, dir_row, rules)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn objects_meet_parent(slot: u32, dev: u32, ino: u64, dentry: u64, rules: *mut Rules) -> i32 {
    let mut search = NameSearch { key: NameKey { slot, dev, ino, hash: 0 }, name: 0, length: 0 };
    // SAFETY: the key begins with that of its directory; the row number and the flag are copied out at once.
    let value = unsafe { OBJECTS.get(&*(&raw const search.key).cast::<ObjectKey>()) };
    let Some(value) = value else { return 0 };
    let (dir_row, has_names) = (value.dir_row, value.has_names);
    let mut name_row = ROW_NONE;
    if has_names != 0 {
        search.hash(dentry);
        // SAFETY: the row number is copied out at once.
        name_row = unsafe { NAMES.get(&search.key) }.copied().unwrap_or(ROW_NONE);
    }
    widen(slot, name_row, rules) | widen(slot, dir_row, rules)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn objects_meet_above(slot: u32, dev: u32, ino: u64, rules: *mut Rules) -> i32 {
    // SAFETY: the row number is copied out at once.
    let row = unsafe { OBJECTS.get(ObjectKey { slot, dev, ino }) }.map_or(ROW_NONE, |value| value.dir_row);
    widen(slot, row, rules)
}

#[inline(always)]
fn widen(slot: u32, row: u32, rules: *mut Rules) -> i32 {
    if row == ROW_NONE {
        return 0;
    }
    rules_widen(slot, row, rules);
    1
}

/// The key is built in its place, for want of stack.
struct TreeWalk {
    key: ObjectKey,
    rules: *mut Rules,
    dentry: u64,
    found: u32,
    whole: u32,
}

/// The trees of a directory and all above it.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn objects_meet_far(slot: u32, dev: u32, dentry: u64, rules: *mut Rules) -> i32 {
    if rules.is_null() {
        return 0;
    }
    let mut walk = TreeWalk { key: ObjectKey { slot, dev, ino: 0 }, rules, dentry, found: 0, whole: 0 };
    kernel::repeat(WALK_STEPS, tree_step, &mut walk);
    if walk.whole == 0 {
        count(counters::UNRESOLVED_PATH);
        walk.found |= CUT as u32;
    }
    walk.found as i32
}

/// One directory up.
unsafe extern "C" fn tree_step(_: u32, walk: *mut TreeWalk) -> i64 {
    // SAFETY: the state of `objects_meet_far`, checked by the verifier.
    let walk = unsafe { &mut *walk };
    let inode: u64 = kernel::probe(walk.dentry, &kernel::DENTRY_D_INODE);
    if inode != 0 {
        walk.key.ino = kernel::probe(inode, &kernel::INODE_I_INO);
        // SAFETY: the row number is copied out at once.
        let row = unsafe { OBJECTS.get(&walk.key) }.map_or(ROW_NONE, |value| value.dir_row);
        walk.found |= widen(walk.key.slot, row, walk.rules) as u32;
    }
    let parent: u64 = kernel::probe(walk.dentry, &kernel::DENTRY_D_PARENT);
    if parent == walk.dentry || parent == 0 {
        walk.whole = (parent != 0) as u32;
        return 1;
    }
    walk.dentry = parent;
    0
}

/// Whether a rule of the filesystem list keeps an object out of records, and so from being matched (`audit_inode` in
/// `kernel/auditsc.c`).
#[inline(always)]
pub fn is_hidden<M: Memory>(tables: Tables, dentry: Object) -> bool {
    let count = tables.header.fs_type_count;
    count != 0
        && objects_hidden(
            tables.slot,
            M::load(M::load::<Object>(dentry, &kernel::DENTRY_D_SB), &kernel::SUPER_BLOCK_S_MAGIC),
        ) != 0
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn objects_hidden(slot: u32, magic: u64) -> i32 {
    let Some(tables) = Tables::of_slot(slot) else { return 0 };
    for index in 0..MAX_FS_TYPES {
        if index as u32 >= tables.header.fs_type_count {
            break;
        }
        let [operator, value] = tables.header.fs_types[index];
        if operator::holds(operator, magic as u32, value) {
            return 1;
        }
    }
    0
}

/// A name's key while its hash is reckoned: in its place, for want of stack.
struct NameSearch {
    key: NameKey,
    name: u64,
    length: u64,
}

impl NameSearch {
    /// [`auditd_bpf_common::plan_rows::hash_name`] of a dentry's name.
    #[inline(always)]
    fn hash(&mut self, dentry: u64) {
        self.length = u64::from(kernel::probe::<u32>(dentry, &kernel::DENTRY_D_NAME_LEN) & (NAME_BYTES as u32 - 1));
        self.name = kernel::probe(dentry, &kernel::DENTRY_D_NAME_NAME);
        self.key.hash = hash_step(NAME_SEED.load(), self.length);
        kernel::repeat(NAME_BYTES as u32 / 8, hash_word, self);
    }
}

// Callbacks count by their index: a counter in the state would be followed by the verifier through every value.
unsafe extern "C" fn hash_word(index: u32, state: *mut NameSearch) -> i64 {
    // SAFETY: the state of `NameSearch::hash`, checked by the verifier.
    let state = unsafe { &mut *state };
    let done = u64::from(index) * 8;
    if done >= state.length {
        return 1;
    }
    let mut word = 0u64;
    let bytes = (state.length - done).min(8) as u32;
    if !kernel::copy_kernel((&raw mut word).cast(), bytes, state.name + done) {
        count(counters::UNRESOLVED_PATH);
    }
    state.key.hash = hash_step(state.key.hash, word);
    0
}
