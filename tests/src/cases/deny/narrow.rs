//! Calls of 32-bit programs, which go by other numbers, refused.

use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

use anyhow::Result;
use nix::libc;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use serde_json::json;

use super::attempt::{Attempt, answer, attempt, refused_to_one};
use super::system::unmounted;
use super::{refused_by_call, two_directories};
use crate::child;
use crate::harness::{Case, skip};
use crate::sys::{self, LowText, call_32};

/// A case for each call on files: its name, the call, the hook that refuses it, and the act in a directory.
macro_rules! on_files {
    ($($call:literal, $hook:literal, $act:expr;)+) => {
        pub const ON_FILES: &[Case] = &[$(
            Case::new(
                concat!("deny_b32_", $call),
                concat!("-a deny,exit -F arch=b32 -S ", $call, " -F dir={dir}/d -F auid={auid} -k {key}"),
                |test| refused_by_call(test, $call, $hook, $act),
            )
            .prepared(two_directories)
            .only_where(has_32_bit_calls)
        ),+];
    };
}

/// A case for each other call.
macro_rules! on_others {
    ($($name:literal, $call:literal, $hook:literal, $act:expr;)+) => {
        pub const ON_OTHERS: &[Case] = &[$(
            Case::new(
                concat!("deny_b32_", $name),
                concat!("-a deny,exit -F arch=b32 -S ", $call, " -F auid={auid} -k {key}"),
                |test| refused_to_one(test, $call, $hook, $act)?.is(&json!({"arch": "i386"})),
            )
            .only_where(has_32_bit_calls)
        ),+];
    };
}

on_files! {
    "open", "file_open", |dir| on_name(5, &dir.join("f"), [0, 0]);
    "creat", "path_mknod", |dir| on_name(8, &dir.join("new"), [0o600, 0]);
    "link", "path_link", |dir| on_names(9, &dir.join("f"), &dir.join("new"));
    "unlink", "path_unlink", |dir| on_name(10, &dir.join("f"), [0, 0]);
    "execve", "bprm_check_security", |dir| {
        let (name, argument) = (LowText::of_bytes(b"busybox\0")?, LowText::of_bytes(b"true\0")?);
        let list = [name.address(), argument.address(), 0].map(u32::to_ne_bytes).concat();
        on_name(11, &dir.join("program"), [LowText::of_bytes(&list)?.address(), 0])
    };
    "mknod", "path_mknod", |dir| on_name(14, &dir.join("new"), [libc::S_IFIFO | 0o600, 0]);
    "chmod", "path_chmod", |dir| on_name(15, &dir.join("f"), [0o600, 0]);
    "utime", "inode_setattr", |dir| on_name(30, &dir.join("f"), [0, 0]);
    "rename", "path_rename", |dir| on_names(38, &dir.join("f"), &dir.join("new"));
    "mkdir", "path_mkdir", |dir| on_name(39, &dir.join("new"), [0o700, 0]);
    "rmdir", "path_rmdir", |dir| on_name(40, &dir.join("sub"), [0, 0]);
    "symlink", "path_symlink", |dir| on_names(83, Path::new("f"), &dir.join("new"));
    "truncate", "path_truncate", |dir| on_name(92, &dir.join("f"), [1, 0]);
    "truncate64", "path_truncate", |dir| on_name(193, &dir.join("f"), [1, 0]);
    "stat64", "inode_getattr", |dir| {
        let room = LowText::of_bytes(&[0; 96])?.address();
        on_name(195, &dir.join("f"), [room, 0])
    };
    "chown32", "path_chown", |dir| on_name(212, &dir.join("f"), [7, 7]);
}

on_others! {
    "kill", "kill", "task_kill", |_| answer(call(37, [std::process::id(), 0, 0]));
    "nice", "nice", "task_setnice", |_| answer(call(34, [1, 0, 0]));
    "setuid", "setuid32", "task_fix_setuid", |_| {
        let result = call(213, [1000, 0, 0]);
        attempt(result, nix::unistd::getuid().as_raw() == 1000)
    };
    "setgid", "setgid32", "task_fix_setgid", |_| {
        let result = call(214, [1000, 0, 0]);
        attempt(result, nix::unistd::getgid().as_raw() == 1000)
    };
    "stime", "stime", "settime", |_| {
        let now = u32::try_from(nix::time::clock_gettime(nix::time::ClockId::CLOCK_REALTIME)?.tv_sec())?;
        answer(call(25, [LowText::of_bytes(&now.to_ne_bytes())?.address(), 0, 0]))
    };
    "umount", "umount", "sb_umount", |_| {
        let proc = LowText::new(Path::new("/proc"))?;
        unmounted(|| call(22, [proc.address(), 0, 0]).map(drop))
    };
    "umount2", "umount2", "sb_umount", |_| {
        let proc = LowText::new(Path::new("/proc"))?;
        unmounted(|| call(52, [proc.address(), 0, 0]).map(drop))
    };
    "socket", "socketcall", "socket_create", |_| {
        socketcall(1, &[libc::AF_INET.cast_unsigned(), libc::SOCK_STREAM.cast_unsigned(), 0])
    };
    "connect", "socketcall", "socket_connect", |_| {
        // `struct sockaddr_in`: the family, and a port and an address in the order of the network.
        let address = LowText::of_bytes(&[2, 0, 0, 9, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0])?;
        let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::empty(), None)?;
        socketcall(3, &[socket.as_raw_fd().cast_unsigned(), address.address(), 16])
    };
    "listen", "socketcall", "socket_listen", |_| {
        let socket = socket(AddressFamily::Inet, SockType::Stream, SockFlag::empty(), None)?;
        socketcall(4, &[socket.as_raw_fd().cast_unsigned(), 1])
    };
}

/// Where the kernel was built without that entry, it faults.
fn has_32_bit_calls() -> Result<()> {
    let entered = child::run(|| {
        // Any answer will do.
        sys::open_32(&LowText::new("/".as_ref())?);
        Ok(())
    });
    if entered.is_err() { skip("the kernel takes no 32-bit calls") } else { Ok(()) }
}

fn call(number: u32, arguments: [u32; 3]) -> io::Result<i32> {
    match call_32(number, arguments) {
        error if error < 0 => Err(io::Error::from_raw_os_error(-error)),
        result => Ok(result),
    }
}

/// A call whose first argument is a path.
fn on_name(number: u32, path: &Path, [second, third]: [u32; 2]) -> io::Result<()> {
    call(number, [LowText::new(path)?.address(), second, third]).map(drop)
}

/// A call on two paths.
fn on_names(number: u32, one: &Path, other: &Path) -> io::Result<()> {
    call(number, [LowText::new(one)?.address(), LowText::new(other)?.address(), 0]).map(drop)
}

/// All that sockets can do, in one call.
fn socketcall(which: u32, arguments: &[u32]) -> Result<Attempt> {
    let bytes: Vec<u8> = arguments.iter().flat_map(|argument| argument.to_ne_bytes()).collect();
    answer(call(102, [which, LowText::of_bytes(&bytes)?.address(), 0]))
}
