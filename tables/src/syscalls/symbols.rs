//! The kernel functions behind system calls: what fexit attaches to.

use crate::Arch;

/// Functions that may implement a system call, the likeliest first; which of them a kernel has, its BTF says.
/// Empty for a number without a name.
#[must_use]
pub fn kernel_symbols(arch: Arch, number: u16) -> Vec<String> {
    let Some(name) = super::name(arch, number) else { return Vec::new() };
    let differs = match arch {
        Arch::B64 => X86_64,
        Arch::B32 => I386,
        Arch::Aarch64 => AARCH64,
    };
    let entry = differs.iter().find(|row| row.0 == name).map_or_else(|| plain_entry(arch, name), |row| row.1);
    match arch {
        Arch::B64 => vec![format!("__x64_sys_{entry}")],
        Arch::B32 => vec![format!("__ia32_compat_sys_{entry}"), format!("__ia32_sys_{entry}")],
        Arch::Aarch64 => vec![format!("__arm64_sys_{entry}")],
    }
}

/// On i386 the wide call is the one that today's kernel function serves: `chown32` is `sys_chown`.
fn plain_entry(arch: Arch, name: &'static str) -> &'static str {
    if arch != Arch::B32 {
        return name;
    }
    let shared_by_both = |suffix| name.strip_suffix(suffix).filter(|plain| !COMPAT_TIME64.contains(plain));
    name.strip_suffix("32").or_else(|| shared_by_both("_time64")).unwrap_or(name)
}

/// These keep `_time64` in the kernel's own name, as 32-bit callers need their own structures.
const COMPAT_TIME64: &[&str] = &["io_pgetevents", "pselect6", "ppoll", "recvmmsg", "rt_sigtimedwait"];

/// `arch/x86/entry/syscalls/syscall_64.tbl`, where the function's name is not the call's.
const X86_64: &[(&str, &str)] = &[
    ("pread", "pread64"),
    ("pwrite", "pwrite64"),
    ("stat", "newstat"),
    ("fstat", "newfstat"),
    ("lstat", "newlstat"),
    ("sendfile", "sendfile64"),
    ("uname", "newuname"),
    ("umount2", "umount"),
];

/// `include/uapi/asm-generic/unistd.h`.
const AARCH64: &[(&str, &str)] = &[
    ("getdents", "getdents64"),
    ("pread", "pread64"),
    ("pwrite", "pwrite64"),
    ("sendfile", "sendfile64"),
    ("uname", "newuname"),
    ("umount2", "umount"),
    ("fadvise64", "fadvise64_64"),
];

/// `arch/x86/entry/syscalls/syscall_32.tbl`, on a 64-bit kernel.
const I386: &[(&str, &str)] = &[
    ("time", "time32"),
    ("stime", "stime32"),
    ("utime", "utime32"),
    ("chown", "chown16"),
    ("lchown", "lchown16"),
    ("fchown", "fchown16"),
    ("setuid", "setuid16"),
    ("getuid", "getuid16"),
    ("setgid", "setgid16"),
    ("getgid", "getgid16"),
    ("geteuid", "geteuid16"),
    ("getegid", "getegid16"),
    ("setreuid", "setreuid16"),
    ("setregid", "setregid16"),
    ("getgroups", "getgroups16"),
    ("setgroups", "setgroups16"),
    ("setfsuid", "setfsuid16"),
    ("setfsgid", "setfsgid16"),
    ("setresuid", "setresuid16"),
    ("getresuid", "getresuid16"),
    ("setresgid", "setresgid16"),
    ("getresgid", "getresgid16"),
    ("oldstat", "stat"),
    ("oldfstat", "fstat"),
    ("oldlstat", "lstat"),
    ("stat", "newstat"),
    ("fstat", "newfstat"),
    ("lstat", "newlstat"),
    ("stat64", "ia32_stat64"),
    ("lstat64", "ia32_lstat64"),
    ("fstat64", "ia32_fstat64"),
    ("fstatat64", "ia32_fstatat64"),
    ("umount", "oldumount"),
    ("umount2", "umount"),
    ("uname", "newuname"),
    ("olduname", "uname"),
    ("oldolduname", "olduname"),
    ("fcntl", "fcntl64"),
    ("getrlimit", "old_getrlimit"),
    ("ugetrlimit", "getrlimit"),
    ("select", "old_select"),
    ("_newselect", "select"),
    ("_llseek", "llseek"),
    ("readdir", "old_readdir"),
    ("mmap", "ia32_mmap"),
    ("mmap2", "mmap_pgoff"),
    ("clone", "ia32_clone"),
    ("pread64", "ia32_pread64"),
    ("pwrite64", "ia32_pwrite64"),
    ("truncate64", "ia32_truncate64"),
    ("ftruncate64", "ia32_ftruncate64"),
    ("readahead", "ia32_readahead"),
    ("fadvise64", "ia32_fadvise64"),
    ("fadvise64_64", "ia32_fadvise64_64"),
    ("sync_file_range", "ia32_sync_file_range"),
    ("fallocate", "ia32_fallocate"),
    ("adjtimex", "adjtimex_time32"),
    ("nanosleep", "nanosleep_time32"),
    ("sched_rr_get_interval", "sched_rr_get_interval_time32"),
    ("rt_sigtimedwait", "rt_sigtimedwait_time32"),
    ("futex", "futex_time32"),
    ("io_getevents", "io_getevents_time32"),
    ("timer_settime", "timer_settime32"),
    ("timer_gettime", "timer_gettime32"),
    ("timerfd_settime", "timerfd_settime32"),
    ("timerfd_gettime", "timerfd_gettime32"),
    ("clock_settime", "clock_settime32"),
    ("clock_gettime", "clock_gettime32"),
    ("clock_getres", "clock_getres_time32"),
    ("clock_nanosleep", "clock_nanosleep_time32"),
    ("clock_adjtime", "clock_adjtime32"),
    ("clock_settime64", "clock_settime"),
    ("clock_gettime64", "clock_gettime"),
    ("clock_adjtime64", "clock_adjtime"),
    ("timer_settime64", "timer_settime"),
    ("timer_gettime64", "timer_gettime"),
    ("timerfd_settime64", "timerfd_settime"),
    ("timerfd_gettime64", "timerfd_gettime"),
    ("utimes", "utimes_time32"),
    ("utimensat", "utimensat_time32"),
    ("futimesat", "futimesat_time32"),
    ("mq_timedsend", "mq_timedsend_time32"),
    ("mq_timedreceive", "mq_timedreceive_time32"),
    ("pselect6", "pselect6_time32"),
    ("ppoll", "ppoll_time32"),
    ("recvmmsg", "recvmmsg_time32"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syscalls;

    fn first(arch: Arch, name: &str) -> Vec<String> {
        kernel_symbols(arch, syscalls::number(arch, name).unwrap())
    }

    #[test]
    fn functions_of_native_calls() {
        assert_eq!(first(Arch::B64, "openat"), ["__x64_sys_openat"]);
        assert_eq!(first(Arch::B64, "stat"), ["__x64_sys_newstat"]);
        assert_eq!(first(Arch::B64, "umount2"), ["__x64_sys_umount"]);
    }

    #[test]
    fn functions_of_compat_calls() {
        assert_eq!(first(Arch::B32, "open"), ["__ia32_compat_sys_open", "__ia32_sys_open"]);
        assert_eq!(first(Arch::B32, "chown32")[1], "__ia32_sys_chown");
        assert_eq!(first(Arch::B32, "chown")[1], "__ia32_sys_chown16");
        assert_eq!(first(Arch::B32, "mmap2")[1], "__ia32_sys_mmap_pgoff");
        assert_eq!(first(Arch::B32, "futex_time64")[1], "__ia32_sys_futex");
        assert_eq!(first(Arch::B32, "ppoll_time64")[0], "__ia32_compat_sys_ppoll_time64");
        assert_eq!(first(Arch::B32, "io_pgetevents_time64")[0], "__ia32_compat_sys_io_pgetevents_time64");
    }

    #[test]
    fn every_exception_is_about_a_call_that_exists() {
        for (arch, rows) in [(Arch::B64, X86_64), (Arch::B32, I386), (Arch::Aarch64, AARCH64)] {
            for (name, _) in rows {
                assert!(syscalls::all(arch).iter().any(|row| row.1 == *name), "{name}");
            }
        }
        assert!(kernel_symbols(Arch::B64, 2000).is_empty());
    }
}
