//! Access to kernel memory: the one place that knows how, with [`host`].
//!
//! Two ways. [`field`] loads directly through a pointer whose type the verifier knows (hook arguments, and what was loaded
//! from them); such loads cannot fault and keep the type of what they load. [`probe`] copies through a helper from any
//! address; it is what a `bpf_loop` callback must use, where types are lost.

pub use crate::host::{cgroup, cgroup_at, current_address, field, pid_tid};

use crate::{
    host,
    maps::{DAEMON_PID, DAEMON_STARTED, KEEPER_PID, KEEPER_STARTED},
};
use auditd_bpf_common::limits::TICK_NS;
use aya_ebpf::{
    Global,
    bindings::task_struct,
    helpers::{self, generated as raw},
};
use core::ffi::c_void;

macro_rules! define_globals {
    ($($name:ident = $path:literal;)+) => {
        $(#[doc = concat!("Offset of `", $path, "`, set by the loader.")]
        #[unsafe(no_mangle)]
        pub static $name: Global<u32> = Global::new(0);)+
    };
}
auditd_bpf_common::kernel_fields!(define_globals);

/// A kernel object.
pub type Object = *const u8;

/// Kernel threads and io_uring workers have no syscall of their own (`include/linux/sched.h`).
const PF_IO_WORKER: u32 = 0x10;
const PF_KTHREAD: u32 = 0x0020_0000;
/// `arch/x86/include/asm/thread_info.h`: a 32-bit syscall is active.
const TS_COMPAT: u32 = 0x2;
/// `ERESTARTSYS`..`ERESTART_RESTARTBLOCK` without `ENOIOCTLCMD` (`include/linux/errno.h`).
const RESTARTS: core::ops::RangeInclusive<i64> = -516..=-512;
const ENOIOCTLCMD: i64 = -515;
const EINTR: i64 = -4;

/// Address of a field, still typed.
#[inline(always)]
pub fn member(object: Object, offset: &Global<u32>) -> Object {
    // SAFETY: only moves the pointer; what is loaded through it is checked by the verifier.
    unsafe { object.add(offset.load() as usize) }
}

/// How the objects that a program is shown are read: the same code serves programs that get typed pointers, and those that
/// get plain addresses.
pub trait Memory {
    /// Loads a field.
    fn load<T: Copy>(object: Object, offset: &Global<u32>) -> T;
    /// The address of an object as a plain number, which a global function may take; a typed pointer it may not.
    fn address(object: Object) -> u64;
}

/// Through [`field`].
pub struct Typed;
/// Through [`probe`].
pub struct Probed;

impl Memory for Typed {
    #[inline(always)]
    fn load<T: Copy>(object: Object, offset: &Global<u32>) -> T {
        field(object, offset)
    }

    #[inline(always)]
    fn address(object: Object) -> u64 {
        let slot = object;
        probe_at((&raw const slot) as u64)
    }
}

impl Memory for Probed {
    #[inline(always)]
    fn load<T: Copy>(object: Object, offset: &Global<u32>) -> T {
        probe(object as u64, offset)
    }

    #[inline(always)]
    fn address(object: Object) -> u64 {
        object as u64
    }
}

/// Copies a field from any kernel address; zero where it cannot be read.
#[inline(always)]
pub fn probe<T: Copy>(address: u64, offset: &Global<u32>) -> T {
    probe_at(address + u64::from(offset.load()))
}

/// Copies a value (an integer) from any kernel address; zero where it cannot be read. Without a branch on the outcome: the
/// helper zeroes what it cannot fill, and every branch doubles what the verifier has to follow.
#[inline(always)]
pub fn probe_at<T: Copy>(address: u64) -> T {
    let mut value = core::mem::MaybeUninit::<T>::uninit();
    // SAFETY: the helper checks the address, and writes every byte of the value in any case.
    unsafe {
        raw::bpf_probe_read_kernel(value.as_mut_ptr().cast(), size_of::<T>() as u32, address as *const c_void);
        value.assume_init()
    }
}

/// Copies a value from the caller's memory.
#[inline(always)]
pub fn probe_user<T: Copy>(address: u64) -> Option<T> {
    // SAFETY: the helper checks the address and fails rather than faults.
    unsafe { helpers::bpf_probe_read_user(address as *const T) }.ok()
}

/// Copies `len` bytes of kernel memory.
#[inline(always)]
pub fn copy_kernel(to: *mut u8, len: u32, from: u64) -> bool {
    // SAFETY: the verifier proves that `len` bytes fit at `to`; the helper checks `from`.
    unsafe { raw::bpf_probe_read_kernel(to.cast(), len, from as *const c_void) == 0 }
}

/// Copies `len` bytes of the caller's memory.
#[inline(always)]
pub fn copy_user(to: *mut u8, len: u32, from: u64) -> bool {
    // SAFETY: as `copy_kernel`.
    unsafe { raw::bpf_probe_read_user(to.cast(), len, from as *const c_void) == 0 }
}

/// Copies a string of the caller's memory, at most `len` bytes with its NUL; returns the bytes copied, negative on failure.
#[inline(always)]
pub fn copy_user_str(to: *mut u8, len: u32, from: u64) -> i64 {
    // SAFETY: as `copy_kernel`.
    unsafe { raw::bpf_probe_read_user_str(to.cast(), len, from as *const c_void) }
}

/// Calls `step(i, state)` up to `steps` times, until it returns 1.
#[inline(always)]
pub fn repeat<S>(steps: u32, step: unsafe extern "C" fn(u32, *mut S) -> i64, state: &mut S) {
    // SAFETY: the verifier checks the callback with exactly this state.
    unsafe { raw::bpf_loop(steps, step as *mut c_void, core::ptr::from_mut(state).cast(), 0) };
}

/// A number known to be below 256, in a form in which the verifier knows it as well: of a comparison the compiler keeps a copy
/// that older ones do not connect with what is used.
#[inline(always)]
pub fn below_256(number: u32) -> u32 {
    core::hint::black_box(number) & 0xff
}

/// A number of which the verifier knows nothing any more. What it knows of a number, from every branch that was taken on it, tells
/// one state of a program from another, and all that follows is checked once for each.
#[inline(always)]
pub fn forgotten(number: u64) -> u64 {
    kernel_forgotten(number)
}

/// Global in BPF's sense: of what such a function returns the verifier knows nothing.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn kernel_forgotten(number: u64) -> u64 {
    core::hint::black_box(number)
}

/// The same below 4096.
#[inline(always)]
pub fn below_4096(number: u32) -> u32 {
    core::hint::black_box(number) & 0xfff
}

/// Zeroes a value of whole words, each by a store: the compiler would call its memset, which goes byte by byte.
#[inline(always)]
pub fn clear<T>(value: &mut T) {
    const { assert!(size_of::<T>() % 8 == 0 && align_of::<T>() <= 8) };
    let words = core::ptr::from_mut(value).cast::<u64>();
    for i in 0..size_of::<T>() / 8 {
        // SAFETY: inside the value, of which every byte pattern used here is valid (integers and arrays of them).
        unsafe { words.add(i).write_volatile(0) };
    }
}

/// Monotonic time in ns.
#[inline(always)]
pub fn now() -> u64 {
    // SAFETY: no arguments.
    unsafe { raw::bpf_ktime_get_ns() }
}

/// `CLOCK_TAI` in ns: unlike `CLOCK_REALTIME`, it may be asked for.
#[inline(always)]
pub fn tai() -> u64 {
    // SAFETY: no arguments.
    unsafe { raw::bpf_ktime_get_tai_ns() }
}

/// The current task.
#[derive(Clone, Copy)]
pub struct Task(*mut task_struct);

impl Task {
    /// The current task.
    #[inline(always)]
    pub fn current() -> Self {
        Self(host::current_task())
    }

    /// For [`field`].
    #[inline(always)]
    pub fn object(self) -> Object {
        self.0.cast_const().cast()
    }

    /// For task storage.
    #[inline(always)]
    pub fn raw(self) -> *mut task_struct {
        self.0
    }

    /// Whether it is the daemon, whose own acts are never recorded, as the kernel never audits auditd.
    #[inline(always)]
    pub fn is_daemon(self) -> bool {
        if is_process::<Typed>(self.object(), DAEMON_PID.load(), DAEMON_STARTED.load()) {
            return true;
        }
        // What is known when the program is loaded costs nothing where there is no keeper.
        KEEPER_PID.load() != 0 && (is_keeper::<Typed>(self.object()) || is_kept::<Typed>(self.object()))
    }

    /// Whether it carries out what others submitted through an io_uring.
    #[inline(always)]
    pub fn is_io_worker(self) -> bool {
        field::<u32>(self.object(), &TASK_FLAGS) & PF_IO_WORKER != 0
    }

    /// Whether the task can be in a syscall.
    #[inline(always)]
    pub fn has_syscall(self) -> bool {
        field::<u32>(self.object(), &TASK_FLAGS) & (PF_KTHREAD | PF_IO_WORKER) == 0
    }

    /// 0 in a 64-bit call, 1 in a 32-bit one.
    #[inline(always)]
    pub fn abi(self) -> u32 {
        (field::<u32>(self.object(), &TASK_STATUS) & TS_COMPAT != 0) as u32
    }

    /// Registers at the entry of the current syscall.
    #[inline(always)]
    pub fn registers(self) -> Object {
        host::registers(self.0)
    }
}

/// Whether a task is of the process with this number that began then.
#[inline(always)]
fn is_process<M: Memory>(task: Object, pid: u32, started: u64) -> bool {
    if M::load::<u32>(task, &TASK_TGID) != pid {
        return false;
    }
    let leader: Object = M::load(task, &TASK_GROUP_LEADER);
    M::load::<u64>(leader, &TASK_START_BOOTTIME) / TICK_NS == started
}

#[inline(always)]
fn is_keeper<M: Memory>(task: Object) -> bool {
    is_process::<M>(task, KEEPER_PID.load(), KEEPER_STARTED.load())
}

/// Whether it is a child of the keeper: nobody becomes one but by the keeper's own fork.
#[inline(always)]
fn is_kept<M: Memory>(task: Object) -> bool {
    is_keeper::<M>(M::load(task, &TASK_REAL_PARENT))
}

/// Thread group id of a task that is acted upon, for rules. Of what the keeper starts it is the keeper's: so rules that guard the keeper
/// guard the next daemon too, from its first moment on.
#[inline(always)]
pub fn target_pid<M: Memory>(task: Object) -> u32 {
    // Both loaded beforehand: the compiler would make one load of two pointers, which the verifier takes for a mistake.
    let (pid, keeper) = (M::load::<u32>(task, &TASK_TGID), KEEPER_PID.load());
    if keeper != 0 && is_kept::<M>(task) { keeper } else { pid }
}

/// Syscall number.
#[inline(always)]
pub fn syscall_number(registers: Object) -> u32 {
    field::<u64>(registers, &REGS_ORIG_AX) as u32
}

/// An argument of the current syscall, by the calling convention of its ABI.
#[inline(always)]
pub fn argument(registers: Object, abi: u32, index: usize) -> u64 {
    if abi == 0 {
        match index {
            0 => field(registers, &REGS_DI),
            1 => field(registers, &REGS_SI),
            2 => field(registers, &REGS_DX),
            3 => field(registers, &REGS_R10),
            4 => field(registers, &REGS_R8),
            _ => field(registers, &REGS_R9),
        }
    } else {
        u64::from(match index {
            0 => field::<u64>(registers, &REGS_BX),
            1 => field(registers, &REGS_CX),
            2 => field(registers, &REGS_DX),
            3 => field(registers, &REGS_SI),
            4 => field(registers, &REGS_DI),
            _ => field(registers, &REGS_BP),
        } as u32)
    }
}

/// All six arguments.
#[inline(always)]
pub fn arguments(registers: Object, abi: u32) -> [u64; 6] {
    [
        argument(registers, abi, 0),
        argument(registers, abi, 1),
        argument(registers, abi, 2),
        argument(registers, abi, 3),
        argument(registers, abi, 4),
        argument(registers, abi, 5),
    ]
}

/// The return value as audit shows it: a call to be restarted was interrupted (`__audit_syscall_exit`).
#[inline(always)]
pub fn audit_exit(value: i64) -> i64 {
    if RESTARTS.contains(&value) && value != ENOIOCTLCMD { EINTR } else { value }
}

/// `IS_ERR_VALUE`
#[inline(always)]
pub fn is_error(value: i64) -> bool {
    (-4095..0).contains(&value)
}
