//! Calls upon tasks, own and others', refused to one login uid.

use std::fs;
use std::hint::black_box;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::libc;
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::waitpid;
use nix::unistd::{Gid, getpid, getppid, setgroups};
use serde_json::json;

use super::attempt::{Attempt, answer, attempt, calls, plain};
use crate::child;
use crate::harness::Case;
use crate::place::{BUSYBOX, Place, copy_of_busybox};
use crate::session::Test;
use crate::sys::{self, Arg, Fork};

/// The signal that is sent: blocked by who gets it, so that it is seen to wait.
const SIGNAL: i64 = libc::SIGUSR1 as i64;
/// `struct siginfo` with the signal and the code of sigqueue(3).
const SIGNAL_INFO: usize = 128;
const WHOLE_PROCESS: i64 = 0;
const SECOND_USER: i64 = 1000;
/// `KCMP_VM`
const SAME_MEMORY: i64 = 1;
/// The best-effort class of ioprio_set(2), and its last level.
const LAST: i64 = 2 << 13 | 7;

calls! {
    "kill", "kill", "task_kill", |_| signalled(|to| plain(libc::SYS_kill, [to, SIGNAL]));
    "kill_by_nothing", "kill", "task_kill", |_| answer(plain(libc::SYS_kill, [victim()?, 0]));
    "kill_oneself", "kill", "task_kill", |_| {
        SigSet::from_iter([Signal::SIGUSR1]).thread_block()?;
        changes(|| pending(own()), || plain(libc::SYS_kill, [own(), SIGNAL]))
    };
    "kill_a_group", "kill", "task_kill", |_| {
        plain(libc::SYS_setpgid, [0, 0])?;
        let member = victim()?;
        changes(|| pending(member), || plain(libc::SYS_kill, [0, SIGNAL]))
    };
    "tkill", "tkill", "task_kill", |_| signalled(|to| plain(libc::SYS_tkill, [to, SIGNAL]));
    "tgkill", "tgkill", "task_kill", |_| signalled(|to| plain(libc::SYS_tgkill, [to, to, SIGNAL]));
    "rt_sigqueueinfo", "rt_sigqueueinfo", "task_kill", |_| {
        signalled(|to| {
            let mut arguments = [Arg::Number(to), Arg::Number(SIGNAL), Arg::Bytes(&signal_info())];
            sys::call(libc::SYS_rt_sigqueueinfo, &mut arguments)
        })
    };
    "rt_tgsigqueueinfo", "rt_tgsigqueueinfo", "task_kill", |_| {
        signalled(|to| {
            let mut arguments = [Arg::Number(to), Arg::Number(to), Arg::Number(SIGNAL), Arg::Bytes(&signal_info())];
            sys::call(libc::SYS_rt_tgsigqueueinfo, &mut arguments)
        })
    };
    "pidfd_send_signal", "pidfd_send_signal", "task_kill", |_| {
        signalled(|to| {
            let process = pidfd(to)?;
            plain(libc::SYS_pidfd_send_signal, [process.as_raw_fd().into(), SIGNAL, 0, WHOLE_PROCESS])
        })
    };
    "ptrace_attach", "ptrace", "ptrace_access_check", |_| traced(libc::PTRACE_ATTACH);
    "ptrace_seize", "ptrace", "ptrace_access_check", |_| traced(libc::PTRACE_SEIZE);
    "ptrace_traceme", "ptrace", "ptrace_traceme", |_| {
        changes(status, || plain(libc::SYS_ptrace, [libc::PTRACE_TRACEME.into(), 0, 0, 0]))
    };
    "process_vm_readv", "process_vm_readv", "ptrace_access_check", read_memory;
    "process_vm_writev", "process_vm_writev", "ptrace_access_check", |_| {
        answer(copied(libc::SYS_process_vm_writev, &mut [7; 8], &mut [0; 8])?)
    };
    "kcmp", "kcmp", "ptrace_access_check", compare_memory;
    "pidfd_getfd", "pidfd_getfd", "ptrace_access_check", |_| {
        let process = pidfd(victim()?)?;
        answer(plain(libc::SYS_pidfd_getfd, [process.as_raw_fd().into(), 2, 0]))
    };
    "setuid", "setuid", "task_fix_setuid", |_| changes(status, || plain(libc::SYS_setuid, [SECOND_USER]));
    "setreuid", "setreuid", "task_fix_setuid", |_| changes(status, || plain(libc::SYS_setreuid, [-1, SECOND_USER]));
    "setresuid", "setresuid", "task_fix_setuid", |_| {
        changes(status, || plain(libc::SYS_setresuid, [-1, SECOND_USER, -1]))
    };
    "setgid", "setgid", "task_fix_setgid", |_| changes(status, || plain(libc::SYS_setgid, [SECOND_USER]));
    "setregid", "setregid", "task_fix_setgid", |_| changes(status, || plain(libc::SYS_setregid, [-1, SECOND_USER]));
    "setresgid", "setresgid", "task_fix_setgid", |_| {
        changes(status, || plain(libc::SYS_setresgid, [-1, SECOND_USER, -1]))
    };
    "setgroups", "setgroups", "task_fix_setgroups", |_| {
        changes(status, || setgroups(&[Gid::from_raw(4)]).map(|()| 0).map_err(Into::into))
    };
    "capset", "capset", "capset", |_| changes(status, drop_capabilities);
    "setpgid", "setpgid", "task_setpgid", |_| changes(status, || plain(libc::SYS_setpgid, [0, 0]));
    "setpriority", "setpriority", "task_setnice", |_| {
        changes(|| told(libc::SYS_getpriority, [0, 0]), || plain(libc::SYS_setpriority, [0, 0, 5]))
    };
    "setpriority_of_another", "setpriority", "task_setnice", |_| {
        let other = victim()?;
        changes(|| told(libc::SYS_getpriority, [0, other]), || plain(libc::SYS_setpriority, [0, other, 5]))
    };
    "ioprio_set", "ioprio_set", "task_setioprio", |_| {
        changes(|| told(libc::SYS_ioprio_get, [1, 0]), || plain(libc::SYS_ioprio_set, [1, 0, LAST]))
    };
    "setrlimit", "setrlimit", "task_setrlimit", |_| {
        let descriptors = Arg::Number(libc::RLIMIT_NOFILE.into());
        changes(|| limits(own()), || sys::call(libc::SYS_setrlimit, &mut [descriptors, Arg::Bytes(&limit())]))
    };
    "prlimit64", "prlimit64", "task_setrlimit", |_| changes(|| limits(own()), || limit_descriptors_of(0));
    "prlimit64_of_another", "prlimit64", "task_prlimit", |_| {
        let other = victim()?;
        changes(|| limits(other), || limit_descriptors_of(other))
    };
    "sched_setscheduler", "sched_setscheduler", "task_setscheduler", |_| {
        changes(scheduling, || schedule(libc::SCHED_BATCH, 0))
    };
    "sched_setscheduler_of_another", "sched_setscheduler", "task_setscheduler", |_| {
        let other = victim()?;
        let policy = Arg::Number(libc::SCHED_BATCH.into());
        changes(
            || told(libc::SYS_sched_getscheduler, [other]),
            || sys::call(libc::SYS_sched_setscheduler, &mut [Arg::Number(other), policy, Arg::Bytes(&[0; 4])]),
        )
    };
    "sched_setparam", "sched_setparam", "task_setscheduler", |_| {
        schedule(libc::SCHED_RR, 1)?;
        let priority = 2_i32.to_ne_bytes();
        changes(scheduling, || sys::call(libc::SYS_sched_setparam, &mut [Arg::Number(0), Arg::Bytes(&priority)]))
    };
    "sched_setattr", "sched_setattr", "task_setscheduler", |_| {
        // `struct sched_attr`: its size, and the policy.
        let mut attributes = [0; 48];
        attributes[0] = 48;
        attributes[4] = libc::SCHED_BATCH as u8;
        let mut arguments = [Arg::Number(0), Arg::Bytes(&attributes), Arg::Number(0)];
        changes(scheduling, || sys::call(libc::SYS_sched_setattr, &mut arguments))
    };
    "sched_setaffinity", "sched_setaffinity", "task_setscheduler", |_| {
        answer(sys::call(libc::SYS_sched_setaffinity, &mut [Arg::Number(0), Arg::Number(8), Arg::Bytes(&[0xff; 8])]))
    };
    "migrate_pages", "migrate_pages", "task_movememory", |_| {
        let first_node = Arg::Bytes(&[1, 0, 0, 0, 0, 0, 0, 0]);
        let mut arguments = [Arg::Number(0), Arg::Number(64), first_node, Arg::Bytes(&[1, 0, 0, 0, 0, 0, 0, 0])];
        answer(sys::call(libc::SYS_migrate_pages, &mut arguments))
    };
    "move_pages_of_another", "move_pages", "task_movememory", |_| {
        answer(plain(libc::SYS_move_pages, [victim()?, 0, 0, 0, 0, 0]))
    };
    "prctl", "prctl", "task_prctl", |_| {
        changes(status, || prctl::set_name(c"another").map(|()| 0).map_err(Into::into))
    };
    "prctl_for_good", "prctl", "task_prctl", |_| {
        changes(status, || prctl::set_no_new_privs().map(|()| 0).map_err(Into::into))
    };
    "fork", "fork", "task_alloc", |_| begun(libc::SYS_fork, &mut []);
    "clone", "clone", "task_alloc", |_| begun(libc::SYS_clone, &mut [Arg::Number(libc::SIGCHLD.into())]);
    "clone_of_a_user_namespace", "clone", "task_alloc", |_| {
        begun(libc::SYS_clone, &mut [Arg::Number(i64::from(libc::CLONE_NEWUSER | libc::SIGCHLD))])
    };
    "clone3", "clone3", "task_alloc", |_| {
        // `struct clone_args`: the signal at its end is the fifth field.
        let mut arguments = [0; 64];
        arguments[32] = libc::SIGCHLD as u8;
        begun(libc::SYS_clone3, &mut [Arg::Bytes(&arguments), Arg::Number(64)])
    };
    "a_thread", "clone3", "task_alloc", |_| answer(thread::Builder::new().spawn(|| ()));
    "execve", "execve", "bprm_check_security", |_| {
        // Who is let through ends as another program.
        let error = copy_of_busybox(BUSYBOX.as_ref()).arg("true").exec();
        attempt(Err::<(), _>(error), false)
    };
    "execveat_of_memory", "execveat", "bprm_check_security", |_| {
        let name = c"program";
        let program = sys::owned(sys::call(libc::SYS_memfd_create, &mut [Arg::Text(name), Arg::Number(1)])?)?;
        fs::copy(BUSYBOX, format!("/proc/self/fd/{}", program.as_raw_fd()))?;
        let (path, own, argument) = (c"", c"busybox", c"true");
        let list = [own.as_ptr().addr(), argument.as_ptr().addr(), 0].map(usize::to_ne_bytes).concat();
        let descriptor = Arg::Number(program.as_raw_fd().into());
        let (list, empty) = (Arg::Bytes(&list), Arg::Number(libc::AT_EMPTY_PATH.into()));
        let result = sys::call(libc::SYS_execveat, &mut [descriptor, Arg::Text(path), list, Arg::Number(0), empty]);
        attempt(result, false)
    };
}

/// Calls that say nothing of a refusal.
pub const SILENT: &[Case] = &[
    Case::new("deny_setfsuid", "-a deny,exit -F arch=b64 -S setfsuid -F auid={auid} -k {key}", |test| {
        stays(test, "task_fix_setuid", libc::SYS_setfsuid)
    }),
    Case::new("deny_setfsgid", "-a deny,exit -F arch=b64 -S setfsgid -F auid={auid} -k {key}", |test| {
        stays(test, "task_fix_setgid", libc::SYS_setfsgid)
    }),
];

/// setfsuid(2) returns what was, refused or not.
fn stays(test: &mut Test<'_>, hook: &str, call: libc::c_long) -> Result<()> {
    let set = |expected: bool| {
        let attempt = changes(status, || plain(call, [SECOND_USER]))?;
        ensure!(attempt.happened() == expected, "it happened: {}", !expected);
        Ok(())
    };
    test.child(|| set(false))?;
    let [event] = test.exactly()?;
    event.is(&json!({"verdict": "deny", "action": "deny", "hook": hook, "exit": 0, "success": true}))?;
    child::run(|| set(true))?;
    test.silence("the act of another")
}

/// An act is seen to have happened by what it changes.
fn changes(show: impl Fn() -> Result<String>, act: impl FnOnce() -> io::Result<i64>) -> Result<Attempt> {
    let before = show()?;
    let result = act();
    attempt(result, show()? != before)
}

/// A process to act upon: it blocks the signal, and ends after its parent.
fn victim() -> Result<i64> {
    SigSet::from_iter([Signal::SIGUSR1]).thread_block()?;
    let parent = getpid();
    match sys::fork()? {
        Fork::Parent(pid) => Ok(pid.as_raw().into()),
        Fork::Child => {
            while getppid() == parent {
                thread::sleep(Duration::from_millis(20));
            }
            sys::exit_now(0)
        }
    }
}

fn signalled(send: impl FnOnce(i64) -> io::Result<i64>) -> Result<Attempt> {
    let victim = victim()?;
    changes(|| pending(victim), || send(victim))
}

fn own() -> i64 {
    getpid().as_raw().into()
}

/// Lines of a process's status.
fn lines(pid: i64, names: &[&str]) -> Result<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("no such process")?;
    Ok(status.lines().filter(|line| names.iter().any(|name| line.starts_with(name))).collect())
}

fn pending(pid: i64) -> Result<String> {
    lines(pid, &["SigPnd:", "ShdPnd:"])
}

/// Who this process is.
fn status() -> Result<String> {
    let names = ["Name:", "Uid:", "Gid:", "Groups:", "CapEff:", "TracerPid:", "NoNewPrivs:", "NSpgid:"];
    lines(own(), &names)
}

/// What a call tells of who is scheduled and how.
fn told<const N: usize>(call: libc::c_long, arguments: [i64; N]) -> Result<String> {
    Ok(plain(call, arguments)?.to_string())
}

fn limits(pid: i64) -> Result<String> {
    Ok(fs::read_to_string(format!("/proc/{pid}/limits"))?)
}

fn signal_info() -> [u8; SIGNAL_INFO] {
    let mut info = [0; SIGNAL_INFO];
    info[0] = SIGNAL as u8;
    info[8..12].copy_from_slice(&libc::SI_QUEUE.to_ne_bytes());
    info
}

fn pidfd(pid: i64) -> io::Result<OwnedFd> {
    sys::owned(plain(libc::SYS_pidfd_open, [pid, 0])?)
}

pub fn traced(request: libc::c_uint) -> Result<Attempt> {
    let victim = victim()?;
    let traced =
        changes(|| lines(victim, &["TracerPid:"]), || plain(libc::SYS_ptrace, [request.into(), victim, 0, 0]))?;
    // It may have been stopped, for good.
    plain(libc::SYS_kill, [victim, libc::SIGKILL.into()])?;
    Ok(traced)
}

/// process_vm_readv(2) or its like: a forked process has its memory at the same addresses.
fn copied(call: libc::c_long, own: &mut [u8], others: &mut [u8]) -> Result<io::Result<i64>> {
    // `struct iovec`
    let vector =
        |bytes: &mut [u8]| [bytes.as_mut_ptr().expose_provenance(), bytes.len()].map(usize::to_ne_bytes).concat();
    let (own, others) = (vector(own), vector(others));
    let (other, one, none) = (Arg::Number(victim()?), Arg::Number(1), Arg::Number(0));
    Ok(sys::call(call, &mut [other, Arg::Bytes(&own), one, Arg::Bytes(&others), Arg::Number(1), none]))
}

/// Asks whether another process has the same memory.
pub fn compare_memory(_: &Place) -> Result<Attempt> {
    answer(plain(libc::SYS_kcmp, [own(), victim()?, SAME_MEMORY, 0, 0]))
}

/// Reads what another process has in its memory.
pub fn read_memory(_: &Place) -> Result<Attempt> {
    let (mut secret, mut copy) = ([7; 8], [0; 8]);
    let result = copied(libc::SYS_process_vm_readv, &mut copy, &mut secret)?;
    attempt(result, black_box(copy) == secret)
}

/// `struct rlimit64`, in which there is room for few descriptors.
fn limit() -> Vec<u8> {
    [200_u64, 200].map(u64::to_ne_bytes).concat()
}

fn limit_descriptors_of(pid: i64) -> io::Result<i64> {
    let descriptors = Arg::Number(libc::RLIMIT_NOFILE.into());
    sys::call(libc::SYS_prlimit64, &mut [Arg::Number(pid), descriptors, Arg::Bytes(&limit()), Arg::Number(0)])
}

/// Policy and priority.
fn scheduling() -> Result<String> {
    let mut priority = [0; 4];
    sys::call(libc::SYS_sched_getparam, &mut [Arg::Number(0), Arg::Room(&mut priority)])?;
    Ok(format!("{} {priority:?}", plain(libc::SYS_sched_getscheduler, [0])?))
}

fn schedule(policy: i32, priority: i32) -> io::Result<i64> {
    let priority = priority.to_ne_bytes();
    sys::call(libc::SYS_sched_setscheduler, &mut [Arg::Number(0), Arg::Number(policy.into()), Arg::Bytes(&priority)])
}

/// Gives up all that may be used.
fn drop_capabilities() -> io::Result<i64> {
    // Version 3, this process; effective, permitted and inheritable, twice.
    let head = [0x2008_0522_u32, 0].map(u32::to_ne_bytes).concat();
    sys::call(libc::SYS_capset, &mut [Arg::Bytes(&head), Arg::Bytes(&[0; 24])])
}

/// Makes a process, which ends at once.
fn begun(call: libc::c_long, arguments: &mut [Arg<'_>]) -> Result<Attempt> {
    let result = sys::call(call, arguments);
    if matches!(result, Ok(0)) {
        sys::exit_now(0);
    }
    attempt(result, !matches!(waitpid(None, None), Err(Errno::ECHILD)))
}
