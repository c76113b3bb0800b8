//! Paths: from an object up to the task's root, one section per name, leaf first.

use crate::{
    emit,
    kernel::{self, Object, Task, field, member},
    maps::count,
    task::TaskContext,
};
use auditd_bpf_common::{
    counters,
    limits::{NAME_BYTES, WALK_STEPS},
    wire::{incomplete, path_end, section},
};

/// Appends the path of a dentry. `mount` is the `vfsmount` it was reached through, or null where the hook has none.
#[inline(always)]
pub fn append(context: &mut TaskContext, dentry: Object, mount: Object) {
    // Through the context: what is read back from a map is a plain number, which a global function may take.
    context.scratch = [dentry as u64, mount as u64];
    // SAFETY: plain reads of our own memory; volatile, or the compiler would keep the pointers.
    let [dentry, mount] = unsafe { core::ptr::read_volatile(&raw const context.scratch) };
    path_walk(context, dentry, mount);
}

/// Appends the path of a `struct path`.
#[inline(always)]
fn append_typed(context: &mut TaskContext, path: Object) {
    append(context, field(path, &kernel::PATH_DENTRY), field(path, &kernel::PATH_MNT));
}

/// The same of one at an address.
#[inline(always)]
pub fn append_path(context: &mut TaskContext, path: u64) {
    path_walk(context, kernel::probe(path, &kernel::PATH_DENTRY), kernel::probe(path, &kernel::PATH_MNT));
}

/// Appends a path that is one name below the preceding parent object.
#[inline(always)]
pub fn append_below_parent(context: &mut TaskContext, dentry: Object) {
    let whole = Names::of(dentry as u64).append(context);
    end(context, if whole { path_end::BELOW_PARENT } else { path_end::LOST });
}

/// Ends a path of which nothing is known.
#[inline(always)]
pub fn append_lost(context: &mut TaskContext) {
    end(context, path_end::LOST);
}

struct Walk {
    context: *mut TaskContext,
    dentry: u64,
    mount: u64,
    /// Root of the mount.
    mount_root: u64,
}

/// Global in BPF's sense: the verifier checks it once, for any arguments.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn path_walk(context: *mut TaskContext, dentry: u64, mount: u64) -> i32 {
    // SAFETY: null or the current task's context, as the verifier proves at each call.
    let Some(context) = (unsafe { context.as_mut() }) else { return 0 };
    // Typed loads: a tenth of a probe's cost.
    let fs: Object = field(Task::current().object(), &kernel::TASK_FS);
    if fs.is_null() {
        context.root = [0; 2];
    } else {
        let root = member(fs, &kernel::FS_ROOT);
        context.root = [field(root, &kernel::PATH_DENTRY), field(root, &kernel::PATH_MNT)];
    }
    let deleted = kernel::probe::<u64>(dentry, &kernel::DENTRY_D_HASH_PPREV) == 0
        && kernel::probe::<u64>(dentry, &kernel::DENTRY_D_PARENT) != dentry;
    context.walk_end = u64::from(path_end::LOST);
    let mut walk = Walk { context, dentry, mount, mount_root: root_of(mount) };
    kernel::repeat(WALK_STEPS, walk_step, &mut walk);
    let mark = if deleted { path_end::DELETED } else { 0 };
    // SAFETY: the context passed in.
    let context = unsafe { &mut *walk.context };
    end(context, context.walk_end as u8 | mark);
    0
}

#[inline(always)]
fn root_of(mount: u64) -> u64 {
    if mount == 0 { 0 } else { kernel::probe(mount, &kernel::VFSMOUNT_MNT_ROOT) }
}

unsafe extern "C" fn walk_step(_: u32, walk: *mut Walk) -> i64 {
    // SAFETY: the state of `path_walk`, checked by the verifier.
    let walk = unsafe { &mut *walk };
    // SAFETY: the context passed to `path_walk`.
    let context = unsafe { &mut *walk.context };
    if walk.dentry == context.root[0] && walk.mount == context.root[1] {
        context.walk_end = u64::from(path_end::ROOT);
        return 1;
    }
    if walk.mount != 0 && walk.dentry == walk.mount_root {
        let mount = walk.mount - u64::from(kernel::MOUNT_MNT.load());
        let above: u64 = kernel::probe(mount, &kernel::MOUNT_MNT_PARENT);
        if above == mount || above == 0 {
            context.walk_end = u64::from(path_end::OUTSIDE);
            return 1;
        }
        walk.dentry = kernel::probe(mount, &kernel::MOUNT_MNT_MOUNTPOINT);
        walk.mount = above + u64::from(kernel::MOUNT_MNT.load());
        walk.mount_root = root_of(walk.mount);
        return 0;
    }
    let names = Names::of(walk.dentry);
    if names.parent == 0 {
        return 1;
    }
    if names.parent == walk.dentry && walk.mount == 0 {
        context.walk_end = u64::from(path_end::FILE_SYSTEM);
        return 1;
    }
    if !names.append(context) {
        return 1;
    }
    if names.parent == walk.dentry {
        // A file that was never in a directory: memfd, pipe, socket. Its name is all there is.
        context.walk_end = u64::from(path_end::OUTSIDE);
        return 1;
    }
    walk.dentry = names.parent;
    0
}

/// `d_parent` and `d_name` of a dentry, as they lie in it.
#[repr(C)]
#[derive(Clone, Copy)]
struct Names {
    parent: u64,
    hash: u32,
    length: u32,
    name: u64,
}

impl Names {
    /// With one copy where they lie side by side: then the verifier finds the other way dead.
    #[inline(always)]
    fn of(dentry: u64) -> Self {
        let parent = kernel::DENTRY_D_PARENT.load();
        if kernel::DENTRY_D_NAME_LEN.load() == parent + 12 && kernel::DENTRY_D_NAME_NAME.load() == parent + 16 {
            return kernel::probe(dentry, &kernel::DENTRY_D_PARENT);
        }
        Self {
            parent: kernel::probe(dentry, &kernel::DENTRY_D_PARENT),
            hash: 0,
            length: kernel::probe(dentry, &kernel::DENTRY_D_NAME_LEN),
            name: kernel::probe(dentry, &kernel::DENTRY_D_NAME_NAME),
        }
    }

    /// Appends the name.
    #[inline(always)]
    fn append(self, context: &mut TaskContext) -> bool {
        let length = self.length & (NAME_BYTES as u32 - 1);
        emit::append(context, section::COMPONENT, 0, length, |to| kernel::copy_kernel(to, length, self.name))
    }
}

#[inline(always)]
fn end(context: &mut TaskContext, how: u8) {
    if how & !path_end::DELETED == path_end::LOST {
        context.header.incomplete |= incomplete::PATH;
        count(counters::UNRESOLVED_PATH);
    }
    emit::append(context, section::PATH_END, how, 0, |_| true);
}

/// Appends the working directory of the current task.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn path_cwd(context: *mut TaskContext) -> i32 {
    // SAFETY: null or the current task's context, as the verifier proves at each call.
    let Some(context) = (unsafe { context.as_mut() }) else { return 0 };
    let fs: Object = field(Task::current().object(), &kernel::TASK_FS);
    if !fs.is_null() {
        emit::append(context, section::CWD, 0, 0, |_| true);
        append_typed(context, member(fs, &kernel::FS_PWD));
    }
    0
}

/// Appends the executable of the current task.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn path_exe(context: *mut TaskContext) -> i32 {
    // SAFETY: null or the current task's context, as the verifier proves at each call.
    let Some(context) = (unsafe { context.as_mut() }) else { return 0 };
    let mm: Object = field(Task::current().object(), &kernel::TASK_MM);
    if mm.is_null() {
        return 0;
    }
    let exe: Object = field(mm, &kernel::MM_EXE_FILE);
    if !exe.is_null() {
        emit::append(context, section::EXE, 0, 0, |_| true);
        append_typed(context, member(exe, &kernel::FILE_F_PATH));
    }
    0
}
