//! Kernel tables are touched without being preempted.
//!
//! While a task is in a map command of bpf(2), the kernel runs no program of perf events on its CPU
//! (`bpf_disable_instrumentation`). Were the daemon preempted there, the system calls of others would end unseen meanwhile.

use tracing::debug;

/// `struct sched_param`.
#[repr(C)]
struct Parameters {
    priority: libc::c_int,
}

/// Runs `act` on a thread that only real-time tasks can preempt. Where that cannot be had, it runs all the same.
pub fn unpreempted<T>(act: impl FnOnce() -> T) -> T {
    let raised = schedule(libc::SCHED_FIFO, 1);
    if let Err(error) = &raised {
        debug!("kernel tables are touched at ordinary priority: {error}");
    }
    let done = act();
    if raised.is_ok()
        && let Err(error) = schedule(libc::SCHED_OTHER, 0)
    {
        debug!("the thread stays at real-time priority: {error}");
    }
    done
}

/// Scheduling policy of the calling thread. By its number: musl's function of that name does nothing.
fn schedule(policy: libc::c_int, priority: libc::c_int) -> std::io::Result<()> {
    let parameters = Parameters { priority };
    // SAFETY: `parameters` is laid out as sched_setscheduler(2) expects, and outlives the call.
    let done = unsafe { libc::syscall(libc::SYS_sched_setscheduler, 0, policy, &raw const parameters) };
    if done < 0 { Err(std::io::Error::last_os_error()) } else { Ok(()) }
}
