//! Hooks that only refuse: attached where a rule that refuses names one of their calls, and nothing is recorded of what they let
//! through. Files are read by copying: `mmap_file` may be shown none, which kernels before 6.13 believe cannot be, and a check
//! for it they drop.

use crate::{
    call::Call,
    kernel::{self, Memory, Object, Probed, Typed},
    record::{self, Met},
    refuse,
};
use auditd_bpf_common::{hooks, plan_rows::moment, wire::name_type};
use aya_ebpf::{macros::lsm, programs::LsmContext};

/// `PROT_EXEC` (`include/uapi/asm-generic/mman-common.h`).
const PROT_EXEC: u64 = 4;
/// Perm bit of memory that is executed.
const EXECUTES: u32 = 1;

/// Decides about files by address.
#[inline(always)]
fn files<const N: usize>(hook: u32, access: u32, objects: impl FnOnce() -> [Met; N]) -> i32 {
    let Some(call) = Call::refusable(hook) else { return 0 };
    record::objects_of::<Probed, N>(&call, hook, access, moment::ANY_RESULT, objects())
}

/// An argument as a plain number.
#[inline(always)]
fn address<const ARGUMENT: usize>(ctx: &LsmContext) -> u64 {
    Typed::address(ctx.arg::<Object>(ARGUMENT))
}

#[inline(always)]
fn at_path(path: u64) -> Met {
    Met::at_address(name_type::NORMAL, path)
}

#[inline(always)]
fn of_file(file: u64) -> Met {
    at_path(file + u64::from(kernel::FILE_F_PATH.load()))
}

#[inline(always)]
fn of_dentry(dentry: u64) -> Met {
    Met::without_mount(dentry as Object)
}

#[lsm(hook = "mmap_file")]
pub fn lsm_mmap_file(ctx: LsmContext) -> i32 {
    let file = address::<0>(&ctx);
    if file == 0 {
        return refuse::only(hooks::MMAP_FILE);
    }
    files(hooks::MMAP_FILE, execution(ctx.arg(2)), || [of_file(file)])
}

#[lsm(hook = "file_mprotect")]
pub fn lsm_file_mprotect(ctx: LsmContext) -> i32 {
    let file = kernel::probe(address::<0>(&ctx), &kernel::VMA_VM_FILE);
    if file == 0 {
        return refuse::only(hooks::FILE_MPROTECT);
    }
    files(hooks::FILE_MPROTECT, execution(ctx.arg(2)), || [of_file(file)])
}

#[inline(always)]
fn execution(protection: u64) -> u32 {
    if protection & PROT_EXEC != 0 { EXECUTES } else { 0 }
}

#[lsm(hook = "move_mount")]
pub fn lsm_move_mount(ctx: LsmContext) -> i32 {
    files(hooks::MOVE_MOUNT, 0, || [at_path(address::<0>(&ctx)), at_path(address::<1>(&ctx))])
}

#[lsm(hook = "sb_pivotroot")]
pub fn lsm_sb_pivotroot(ctx: LsmContext) -> i32 {
    files(hooks::SB_PIVOTROOT, 0, || [at_path(address::<0>(&ctx)), at_path(address::<1>(&ctx))])
}

#[lsm(hook = "sb_umount")]
pub fn lsm_sb_umount(ctx: LsmContext) -> i32 {
    files(hooks::SB_UMOUNT, 0, || {
        let mount = address::<0>(&ctx);
        let dentry = kernel::probe::<u64>(mount, &kernel::VFSMOUNT_MNT_ROOT) as Object;
        [Met::Whole { role: name_type::NORMAL, dentry, mount: mount as Object }]
    })
}

/// Hooks that are shown one file, path or dentry.
macro_rules! one {
    ($($program:ident, $hook:literal, $number:ident, $object:ident, $argument:literal;)+) => {
        $(#[lsm(hook = $hook)]
        pub fn $program(ctx: LsmContext) -> i32 {
            files(hooks::$number, 0, || [$object(address::<$argument>(&ctx))])
        })+
    };
}

one! {
    lsm_file_permission, "file_permission", FILE_PERMISSION, of_file, 0;
    lsm_file_ioctl, "file_ioctl", FILE_IOCTL, of_file, 0;
    lsm_file_ioctl_compat, "file_ioctl_compat", FILE_IOCTL_COMPAT, of_file, 0;
    lsm_file_fcntl, "file_fcntl", FILE_FCNTL, of_file, 0;
    lsm_file_lock, "file_lock", FILE_LOCK, of_file, 0;
    lsm_path_notify, "path_notify", PATH_NOTIFY, at_path, 0;
    lsm_path_chroot, "path_chroot", PATH_CHROOT, at_path, 0;
    lsm_sb_statfs, "sb_statfs", SB_STATFS, of_dentry, 0;
    lsm_inode_setattr, "inode_setattr", INODE_SETATTR, of_dentry, 0;
    lsm_inode_setattr_mapped, "inode_setattr", INODE_SETATTR, of_dentry, 1;
    lsm_inode_file_getattr, "inode_file_getattr", INODE_FILE_GETATTR, of_dentry, 0;
    lsm_inode_file_setattr, "inode_file_setattr", INODE_FILE_SETATTR, of_dentry, 0;
}

/// Hooks that are shown no file.
macro_rules! no_file {
    ($($program:ident, $hook:literal, $number:ident;)+) => {
        $(#[lsm(hook = $hook)]
        pub fn $program(_ctx: LsmContext) -> i32 {
            refuse::only(hooks::$number)
        })+
    };
}

no_file! {
    lsm_quotactl, "quotactl", QUOTACTL;
    lsm_ptrace_traceme, "ptrace_traceme", PTRACE_TRACEME;
    lsm_task_fix_setuid, "task_fix_setuid", TASK_FIX_SETUID;
    lsm_task_fix_setgid, "task_fix_setgid", TASK_FIX_SETGID;
    lsm_task_fix_setgroups, "task_fix_setgroups", TASK_FIX_SETGROUPS;
    lsm_task_setpgid, "task_setpgid", TASK_SETPGID;
    lsm_task_prlimit, "task_prlimit", TASK_PRLIMIT;
    lsm_task_prctl, "task_prctl", TASK_PRCTL;
    lsm_userns_create, "userns_create", USERNS_CREATE;
    lsm_socket_create, "socket_create", SOCKET_CREATE;
    lsm_socket_socketpair, "socket_socketpair", SOCKET_SOCKETPAIR;
    lsm_socket_listen, "socket_listen", SOCKET_LISTEN;
    lsm_socket_accept, "socket_accept", SOCKET_ACCEPT;
    lsm_socket_recvmsg, "socket_recvmsg", SOCKET_RECVMSG;
    lsm_socket_getsockname, "socket_getsockname", SOCKET_GETSOCKNAME;
    lsm_socket_getpeername, "socket_getpeername", SOCKET_GETPEERNAME;
    lsm_socket_getsockopt, "socket_getsockopt", SOCKET_GETSOCKOPT;
    lsm_socket_setsockopt, "socket_setsockopt", SOCKET_SETSOCKOPT;
    lsm_socket_shutdown, "socket_shutdown", SOCKET_SHUTDOWN;
    lsm_kernel_load_data, "kernel_load_data", KERNEL_LOAD_DATA;
    lsm_bpf, "bpf", BPF;
    lsm_perf_event_open, "perf_event_open", PERF_EVENT_OPEN;
    lsm_syslog, "syslog", SYSLOG;
    lsm_key_permission, "key_permission", KEY_PERMISSION;
    lsm_msg_queue_msgsnd, "msg_queue_msgsnd", MSG_QUEUE_MSGSND;
    lsm_msg_queue_msgrcv, "msg_queue_msgrcv", MSG_QUEUE_MSGRCV;
    lsm_msg_queue_msgctl, "msg_queue_msgctl", MSG_QUEUE_MSGCTL;
    lsm_shm_shmat, "shm_shmat", SHM_SHMAT;
    lsm_shm_shmctl, "shm_shmctl", SHM_SHMCTL;
    lsm_sem_semop, "sem_semop", SEM_SEMOP;
    lsm_sem_semctl, "sem_semctl", SEM_SEMCTL;
}

/// Hooks that are shown a task.
macro_rules! task {
    ($($program:ident, $hook:literal, $number:ident;)+) => {
        $(#[lsm(hook = $hook)]
        pub fn $program(ctx: LsmContext) -> i32 {
            refuse::only_upon(hooks::$number, ctx.arg(0))
        })+
    };
}

task! {
    lsm_task_setnice, "task_setnice", TASK_SETNICE;
    lsm_task_setioprio, "task_setioprio", TASK_SETIOPRIO;
    lsm_task_setrlimit, "task_setrlimit", TASK_SETRLIMIT;
    lsm_task_setscheduler, "task_setscheduler", TASK_SETSCHEDULER;
    lsm_task_movememory, "task_movememory", TASK_MOVEMEMORY;
}
