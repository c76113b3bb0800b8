//! How often the kernel left a program out.
//!
//! While a task runs a tracing program and is interrupted on its CPU by another that comes to the same program, the kernel
//! skips it for the latter (`__bpf_prog_enter_recur` in `kernel/bpf/trampoline.c`). It counts that per program; aya does not
//! read the counter.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `bpf(2)` command `BPF_OBJ_GET_INFO_BY_FD`.
const OBJ_GET_INFO_BY_FD: libc::c_long = 15;
/// `struct bpf_prog_info` up to and with its field `recursion_misses`, in words of eight bytes.
const INFO_WORDS: usize = 27;

/// The part of `union bpf_attr` that the command reads.
#[repr(C)]
struct InfoRequest {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

/// Times that the kernel left out the program behind a descriptor since it was loaded.
///
/// # Errors
/// If the kernel refuses to tell.
pub fn times_left_out(program: BorrowedFd<'_>) -> io::Result<u64> {
    let mut info = [0u64; INFO_WORDS];
    let request = InfoRequest {
        bpf_fd: program.as_raw_fd().cast_unsigned(),
        info_len: (INFO_WORDS * size_of::<u64>()) as u32,
        info: info.as_mut_ptr().expose_provenance() as u64,
    };
    // SAFETY: `request` is laid out as the command expects and outlives the call, as does `info`, of which the kernel writes
    // at most `info_len` bytes.
    let done =
        unsafe { libc::syscall(libc::SYS_bpf, OBJ_GET_INFO_BY_FD, &raw const request, size_of::<InfoRequest>()) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(info[INFO_WORDS - 1]) }
}
