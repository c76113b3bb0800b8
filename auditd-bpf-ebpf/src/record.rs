//! From a hook's arguments to the objects of the event.

use crate::{
    call::Call,
    emit,
    filter::{Rules, Tables, each_word, no_rules},
    host::TASKS,
    kernel::{self, Memory, Object, Probed, Task, Typed, field},
    objects::{self, Level, is_hidden, known_near, meet_near},
    path, refuse,
    task::{self, Context, Created, TaskContext},
    tests::tests_of_object,
};
use auditd_bpf_common::{
    hooks,
    limits::CHUNK_BYTES,
    plan_rows::{ROW_NONE, class, moment},
    wire::{self, name_type, section},
};

/// An object that a hook met, and its role.
#[derive(Clone, Copy)]
pub enum Met {
    /// Reached by a path.
    Whole { role: u8, dentry: Object, mount: Object },
    /// One name below the preceding directory.
    Below { role: u8, dentry: Object },
    /// The same, for a name that is about to come: it has no inode, or one that is about to be replaced.
    New { dentry: Object },
    /// The same, for a name that an inode of another name is about to get.
    Becomes { role: u8, dentry: Object, inode_of: Object },
    /// No object after all.
    Nothing,
}

impl Met {
    /// What a `struct path` points to.
    #[inline(always)]
    pub fn at(role: u8, path: Object) -> Self {
        Self::Whole { role, dentry: field(path, &kernel::PATH_DENTRY), mount: field(path, &kernel::PATH_MNT) }
    }

    /// The same for a path of which only the address is known.
    #[inline(always)]
    pub fn at_address(role: u8, path: u64) -> Self {
        let (dentry, mount) = (kernel::probe(path, &kernel::PATH_DENTRY), kernel::probe(path, &kernel::PATH_MNT));
        Self::Whole { role, dentry, mount }
    }

    /// A name in the preceding directory that goes.
    #[inline(always)]
    pub fn gone(dentry: Object) -> Self {
        Self::Below { role: name_type::DELETE, dentry }
    }

    /// A name in the preceding directory that comes.
    #[inline(always)]
    pub fn new(dentry: Object) -> Self {
        Self::New { dentry }
    }

    /// An object of which the hook tells no mount.
    #[inline(always)]
    pub fn without_mount(dentry: Object) -> Self {
        Self::Whole { role: name_type::NORMAL, dentry, mount: core::ptr::null() }
    }
}

/// Records objects of the current call, if a rule may want them. Returns what the hook is to return.
#[inline(always)]
pub fn objects<const N: usize>(hook: u32, objects: [Met; N]) -> i32 {
    match Call::current(hook) {
        // Most hooks run before the checks that may still refuse the act.
        Some(call) => objects_of::<Typed, N>(&call, hook, 0, moment::ANY_RESULT, objects),
        None => 0,
    }
}

/// Records objects of a call. `access`: perm bits of an open; `moment`: one of [`moment`]. Returns what the hook is to return.
#[inline(always)]
pub fn objects_of<M: Memory, const N: usize>(
    call: &Call,
    hook: u32,
    access: u32,
    moment: usize,
    objects: [Met; N],
) -> i32 {
    let records = call.records(hook);
    if call.tables.header.object_tests != 0 {
        let Some(context) = task::begin(call) else { return refuse::undecided(call.entry, hook) };
        context.records = records as u64;
        if records {
            forget_provisional(context, hook);
        }
    }
    no_rules!(met);
    let mut found = 0;
    each(&objects, |object| {
        found |= match object {
            Met::Whole { dentry, .. } | Met::Below { dentry, .. } => meet_itself::<M>(call, met, dentry),
            Met::New { dentry } => meet_name::<M>(call, met, dentry, dentry),
            Met::Becomes { dentry, inode_of, .. } => meet_name::<M>(call, met, dentry, inode_of),
            Met::Nothing => 0,
        };
    });
    if found & objects::CUT != 0 {
        let answer = refuse::undecided(call.entry, hook);
        if answer != 0 {
            return answer;
        }
    }
    let alone = call.entry.alone_rows[moment & 1];
    if found == 0 && alone == ROW_NONE {
        return 0;
    }
    let Some(context) = task::begin(call) else { return refuse::undecided(call.entry, hook) };
    // Else rules came into force since an earlier hook of the call, and bits mean others: the call is judged by its first ones.
    let adds = records && context.is_judged_by(call.tables);
    let is_added = adds && call.tables.header.object_tests != 0;
    if records {
        forget_provisional(context, hook);
        context.access = access;
    }
    if adds && !is_added {
        each_word(call.tables.header.words, |i| context.object_rules.words[i] |= met.words[i]);
    }
    if refuse::may_refuse(call.entry, hook) {
        // Rules added above are known to match; among the others are those whose tests must wait for an inode.
        let known = if is_added { 0 } else { u64::MAX };
        each_word(call.tables.header.words, |i| context.own_rules.words[i] = met.words[i] & known);
    }
    context.slot_now = call.tables.slot;
    if !call.may_match(met, access, alone) {
        return 0;
    }
    refuse::decide(context, hook, access);
    // One branch: each way to here is followed by itself.
    let left_out = !records & ((context.answer == refuse::LET_THROUGH) | (context.objects != 0));
    if !core::hint::black_box(left_out) {
        note_hook(context, hook);
        each(&objects, |object| append_object::<M>(context, object));
    }
    refuse::result(context)
}

/// What such a hook was shown is noted for the case that no other is shown anything.
#[inline(always)]
fn forget_provisional(context: &mut TaskContext, hook: u32) {
    if hooks::is_provisional(context.header.hook) && !hooks::is_provisional(hook) {
        context.forget_objects();
    }
}

// Functions of their own: inlined once per object they would take the stack of their callers.

/// Adds the rules that an object may satisfy, and tells if there are any.
#[inline(never)]
fn meet_itself<M: Memory>(call: &Call, met: &mut Rules, dentry: Object) -> i32 {
    let known = known_itself::<M>(call.tables, dentry);
    meet::<M>(call, met, known, dentry, dentry)
}

/// The same of a name that nothing has yet; `inode_of`: what will have it, if that is there.
#[inline(never)]
fn meet_name<M: Memory>(call: &Call, met: &mut Rules, dentry: Object, inode_of: Object) -> i32 {
    let known = known_above::<M>(call.tables, dentry);
    meet::<M>(call, met, known, dentry, inode_of)
}

#[inline(never)]
fn known_itself<M: Memory>(tables: Tables, dentry: Object) -> u32 {
    known_near::<M>(tables, dentry, Level::Itself)
}

#[inline(never)]
fn known_above<M: Memory>(tables: Tables, dentry: Object) -> u32 {
    known_near::<M>(tables, dentry, Level::Directory)
}

#[inline(always)]
fn meet<M: Memory>(call: &Call, met: &mut Rules, known: u32, dentry: Object, inode_of: Object) -> i32 {
    if known == 0 && call.tables.header.object_tests == 0 {
        return 0;
    }
    record_meet(call.tables.slot, known, M::address(dentry), M::address(inode_of), met)
}

/// Where rules test more of an object than path and dir, what it satisfies is kept in the context, which is begun in that case:
/// there is no room for it on the stack.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn record_meet(slot: u32, known: u32, dentry: u64, inode_of: u64, met: *mut Rules) -> i32 {
    // SAFETY: null or the caller's bitmap, as the verifier proves at each call.
    let Some(met) = (unsafe { met.as_mut() }) else { return 0 };
    let Some(tables) = Tables::of_slot(slot) else { return 0 };
    if is_hidden::<Probed>(tables, dentry as Object) {
        return 0;
    }
    if tables.header.object_tests == 0 {
        return meet_near(slot, dentry, known, met);
    }
    // SAFETY: null or the current task's own value, which no other task touches.
    let Some(context) = (unsafe { TASKS.get(Task::current().raw()).as_mut() }) else { return 0 };
    tables.load(&mut context.own_rules, tables.header.inode_row);
    let cut = meet_near(slot, dentry, known, &raw mut context.own_rules) & objects::CUT;
    let inode = kernel::probe(inode_of, &kernel::DENTRY_D_INODE);
    if inode == 0 {
        // What is being created is tested once it is there: see [`record_meet_created`].
        each_word(tables.header.words, |i| met.words[i] |= context.own_rules.words[i]);
    }
    tests_of_object(slot, context, inode);
    each_word(tables.header.words, |i| met.words[i] |= context.own_rules.words[i]);
    if context.records != 0 {
        record_own_rules(slot, context);
    }
    cut | 1
}

/// The call may match the rules that its latest object satisfies, unless it is judged by others.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn record_own_rules(slot: u32, context: *mut TaskContext) -> i32 {
    // SAFETY: null or the current task's context, as the verifier proves at each call.
    let Some(context) = (unsafe { context.as_mut() }) else { return 0 };
    let Some(tables) = Tables::of_slot(slot) else { return 0 };
    if context.is_judged_by(tables) {
        each_word(tables.header.words, |i| context.object_rules.words[i] |= context.own_rules.words[i]);
    }
    0
}

/// Calls `act` for each object, unrolled: the verifier loses the type of a pointer taken from an array by a variable index.
#[inline(always)]
fn each<const N: usize>(objects: &[Met; N], mut act: impl FnMut(Met)) {
    if N > 0 {
        act(objects[0]);
    }
    if N > 1 {
        act(objects[1]);
    }
    if N > 2 {
        act(objects[2]);
    }
    if N > 3 {
        act(objects[3]);
    }
    if N > 4 {
        act(objects[4]);
    }
    const { assert!(N <= 5) };
}

// The functions below return the event of a call, or what the hook is to return if there is none.

/// Begins the event of a call whose object is not a file, if a rule may want it.
#[inline(always)]
pub fn plain(hook: u32) -> Result<Context, i32> {
    plain_by(&Call::current(hook).ok_or(0)?, hook, 0)
}

/// The same of a call with this access, if it is an open.
#[inline(always)]
pub fn plain_by(call: &Call, hook: u32, access: u32) -> Result<Context, i32> {
    if !call.may_match_alone(access) {
        return Err(0);
    }
    let context = begun(call, hook)?;
    note_hook(context, hook);
    Ok(context)
}

/// The event of a call, begun if it is not yet; or what the hook is to return where there is no memory for it.
#[inline(always)]
fn begun(call: &Call, hook: u32) -> Result<Context, i32> {
    match task::begin(call) {
        Some(context) => Ok(context),
        None => Err(refuse::undecided(call.entry, hook)),
    }
}

/// The same of a call that may still meet a file.
#[inline(always)]
pub fn plain_or_named(hook: u32) -> Result<Context, i32> {
    let context = noted(hook)?;
    note_hook(context, hook);
    Ok(context)
}

/// The same without the hook being named in the record: others of the call may yet be shown what it acts on.
#[inline(always)]
pub fn noted(hook: u32) -> Result<Context, i32> {
    let call = Call::current(hook).ok_or(0)?;
    if call.entry.row == call.entry.alone_rows[moment::ANY_RESULT] && !call.may_match_alone(0) {
        return Err(0);
    }
    begun(&call, hook)
}

/// The event of a call to which a hook adds a part: begun if it is not yet, and a rule may want it.
#[inline(always)]
pub fn part(hook: u32) -> Result<Context, i32> {
    let call = Call::current(hook).ok_or(0)?;
    if !task::is_begun(&call) && !call.may_match_alone(0) {
        return Err(0);
    }
    let context = begun(&call, hook)?;
    note_hook(context, hook);
    Ok(context)
}

/// The same where the call's first hook has begun it, if any.
#[inline(always)]
pub fn part_of_begun(hook: u32) -> Option<Context> {
    let call = Call::current(hook)?;
    if task::is_begun(&call) { task::begin(&call) } else { None }
}

/// Begins the event of a call that a hook may only refuse, if a rule may want to.
#[inline(always)]
pub fn refusable(hook: u32) -> Result<Context, i32> {
    let call = Call::refusable(hook).ok_or(0)?;
    if !call.may_match_alone(0) {
        return Err(0);
    }
    begun(&call, hook)
}

/// The first hook is the one named in the record.
#[inline(always)]
fn note_hook(context: &mut TaskContext, hook: u32) {
    if context.header.hook == 0 {
        context.header.hook = hook;
    }
}

#[inline(always)]
fn append_object<M: Memory>(context: &mut TaskContext, object: Met) {
    match object {
        Met::Whole { role, dentry, mount } => append_whole::<M>(context, dentry, mount, role),
        Met::Below { role, dentry } => append_below::<M>(context, dentry, dentry, role),
        Met::New { dentry } => append_new::<M>(context, dentry),
        Met::Becomes { role, dentry, inode_of } => append_below::<M>(context, dentry, inode_of, role),
        Met::Nothing => {}
    }
}

#[inline(always)]
fn is_left_out<M: Memory>(context: &TaskContext, dentry: Object) -> bool {
    Tables::of_slot(context.slot).is_some_and(|tables| is_hidden::<M>(tables, dentry))
}

// Functions of their own: inlined once per object they would take the stack of their callers.

#[inline(never)]
fn append_whole<M: Memory>(context: &mut TaskContext, dentry: Object, mount: Object, role: u8) {
    if is_left_out::<M>(context, dentry) {
        return;
    }
    append_inode::<M>(context, dentry, role);
    path::append(context, dentry, mount);
}

#[inline(never)]
fn append_below<M: Memory>(context: &mut TaskContext, dentry: Object, inode_of: Object, role: u8) {
    if is_left_out::<M>(context, dentry) {
        return;
    }
    append_inode::<M>(context, inode_of, role);
    path::append_below_parent(context, dentry);
}

#[inline(never)]
fn append_new<M: Memory>(context: &mut TaskContext, dentry: Object) {
    if is_left_out::<M>(context, dentry) {
        return;
    }
    context.objects += 1;
    emit::append_value(context, section::OBJECT, name_type::CREATE, &wire::Object::default());
    let offset = context.header.payload_len.wrapping_sub(size_of::<wire::Object>() as u32);
    let parent = M::load::<u64>(dentry, &kernel::DENTRY_D_PARENT);
    context.created = Created { dentry: M::address(dentry), parent, offset, chunk: context.header.chunk };
    path::append_below_parent(context, dentry);
}

#[inline(always)]
fn append_inode<M: Memory>(context: &mut TaskContext, dentry: Object, role: u8) {
    context.objects += 1;
    let inode: Object = M::load(dentry, &kernel::DENTRY_D_INODE);
    // Newer kernels ask for the check, though the object is there.
    let value = if inode.is_null() { wire::Object::default() } else { described::<M>(inode) };
    emit::append_value(context, section::OBJECT, role, &value);
}

/// Address of a dentry's inode, 0 for none: asked of the memory itself, see [`Level::Directory`].
#[inline(always)]
pub fn inode_address<M: Memory>(dentry: Object) -> u64 {
    kernel::probe(M::address(dentry), &kernel::DENTRY_D_INODE)
}

#[inline(always)]
fn described<M: Memory>(inode: Object) -> wire::Object {
    wire::Object {
        ino: M::load(inode, &kernel::INODE_I_INO),
        dev: M::load(M::load::<Object>(inode, &kernel::INODE_I_SB), &kernel::SUPER_BLOCK_S_DEV),
        mode: u32::from(M::load::<u16>(inode, &kernel::INODE_I_MODE)),
        uid: M::load(inode, &kernel::INODE_I_UID),
        gid: M::load(inode, &kernel::INODE_I_GID),
        rdev: M::load(inode, &kernel::INODE_I_RDEV),
        _pad: 0,
    }
}

/// Address of the inode of what was created, 0 for none. Nobody holds the dentry any more: it is believed if it still lies where
/// it was.
#[inline(always)]
fn created_inode(context: &TaskContext) -> u64 {
    let Created { dentry, parent, .. } = context.created;
    if dentry == 0 || kernel::probe::<u64>(dentry, &kernel::DENTRY_D_PARENT) != parent {
        return 0;
    }
    kernel::probe(dentry, &kernel::DENTRY_D_INODE)
}

/// Matches what was created once more, as it has an inode now: where rules test more of objects than path and dir.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn record_meet_created(slot: u32, context: *mut TaskContext) -> i32 {
    // SAFETY: null or the current task's context, as the verifier proves at each call.
    let Some(context) = (unsafe { context.as_mut() }) else { return 0 };
    let Some(tables) = Tables::of_slot(slot) else { return 0 };
    let inode = created_inode(context);
    if inode == 0 {
        return 0;
    }
    tables.load(&mut context.own_rules, tables.header.inode_row);
    let dentry = context.created.dentry;
    let known = known_near::<Probed>(tables, dentry as Object, Level::Directory);
    meet_near(slot, dentry, known, &raw mut context.own_rules);
    tests_of_object(slot, context, inode);
    record_own_rules(slot, context)
}

/// Fills in the inode of what was created, unless its part of the event is on its way already.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn record_created(context: *mut TaskContext) -> i32 {
    // SAFETY: null or the current task's context, as the verifier proves at each call.
    let Some(context) = (unsafe { context.as_mut() }) else { return 0 };
    let Created { offset, chunk, .. } = context.created;
    if chunk != context.header.chunk || offset as usize > CHUNK_BYTES {
        return 0;
    }
    let inode = created_inode(context);
    if inode == 0 {
        return 0;
    }
    let value = described::<Probed>(inode as Object);
    // Again, on the very register that is added: the compiler checked a copy of it, which older verifiers do not connect.
    let offset = core::hint::black_box(offset as usize).min(CHUNK_BYTES);
    // SAFETY: offset <= CHUNK_BYTES, and APPEND_BYTES, more than an object has, lie behind that.
    unsafe { context.payload.as_mut_ptr().add(offset).cast::<wire::Object>().write_unaligned(value) };
    0
}

/// Reading and writing.
pub const ANY_ACCESS: u32 = 6;

/// Access of an open by its flags, as `ACC_MODE` in `include/linux/fs.h`, in audit's perm bits: reckoned, as each branch here would
/// have the verifier follow the whole program once more.
#[inline(always)]
pub fn open_access(flags: u32) -> u32 {
    /// Four bits for each access mode: read, write, and twice both.
    const BY_MODE: u32 = 0x6624;
    BY_MODE >> ((flags & 3) * 4) & 7
}

/// Whether the access mode decides about perm.
#[inline(always)]
pub fn is_open(class: u8) -> bool {
    class == class::OPEN || class == class::OPENAT2
}

/// Whether the access that a hook is shown decides about perm: that of an open, or what memory is for.
#[inline(always)]
pub fn has_access(class: u8) -> bool {
    is_open(class) || class == class::MAP
}
