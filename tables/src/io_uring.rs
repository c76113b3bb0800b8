//! io_uring operations, `linux/io_uring.h`; what `-S` names on the io_uring list.

use crate::lookup;

/// Number to name.
#[must_use]
pub fn io_uring_op_name(number: u32) -> Option<&'static str> {
    lookup::by_number(ROWS, number)
}

/// Name to number, in any case.
#[must_use]
pub fn io_uring_op_number(name: &str) -> Option<u32> {
    lookup::by_name(ROWS, name)
}

/// Functions of the kernel that carry an operation out, of which any one has some: `io_issue_defs` in `io_uring/opdef.c`.
#[must_use]
pub fn io_uring_functions(number: u32) -> Vec<String> {
    let Some(name) = io_uring_op_name(number) else { return Vec::new() };
    let functions: &[&str] = match name {
        "readv" | "read_fixed" | "readv_fixed" => &["io_read", "io_read_fixed"],
        "writev" | "write_fixed" | "writev_fixed" => &["io_write", "io_write_fixed"],
        "read_multishot" => &["io_read_mshot"],
        "futex_waitv" => &["io_futexv_wait"],
        "fixed_fd_install" => &["io_install_fixed_fd"],
        "recv_zc" => &["io_recvzc"],
        "send_zc" => &["io_send_zc", "io_sendmsg_zc"],
        "provide_buffers" | "remove_buffers" => &["io_manage_buffers_legacy"],
        // Carried out by others.
        "link_timeout" => return Vec::new(),
        _ => &[],
    };
    functions.iter().map(|function| (*function).to_owned()).chain([format!("io_{name}")]).collect()
}

/// The system call that does the same.
#[must_use]
pub fn io_uring_syscall(number: u32) -> Option<&'static str> {
    io_uring_op_name(number).map(|name| match name {
        "accept" => "accept4",
        // Buffers that the ring knows beforehand, or that are not copied, make no other call of it.
        "read_fixed" | "read_multishot" => "read",
        "write_fixed" => "write",
        "readv_fixed" => "readv",
        "writev_fixed" => "writev",
        "send" | "send_zc" => "sendto",
        "sendmsg_zc" => "sendmsg",
        "recv" | "recv_zc" => "recvfrom",
        "fadvise" => "fadvise64",
        "pipe" => "pipe2",
        name => name,
    })
}

/// Operations that the kernel's audit sees: the others carry `audit_skip` in `io_uring/opdef.c`.
pub const AUDITED_OPS: &[u16] = &[
    9, 10, 13, 16, 17, 18, 19, 28, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 46, 48, 50, 51, 52, 53, 54, 55, 56, 57,
    62,
];

/// Every operation.
#[must_use]
pub fn io_uring_ops() -> Vec<u16> {
    ROWS.iter().filter_map(|row| u16::try_from(row.0).ok()).collect()
}

const ROWS: &[(u32, &str)] = &[
    (0, "nop"),
    (1, "readv"),
    (2, "writev"),
    (3, "fsync"),
    (4, "read_fixed"),
    (5, "write_fixed"),
    (6, "poll_add"),
    (7, "poll_remove"),
    (8, "sync_file_range"),
    (9, "sendmsg"),
    (10, "recvmsg"),
    (11, "timeout"),
    (12, "timeout_remove"),
    (13, "accept"),
    (14, "async_cancel"),
    (15, "link_timeout"),
    (16, "connect"),
    (17, "fallocate"),
    (18, "openat"),
    (19, "close"),
    (20, "files_update"),
    (21, "statx"),
    (22, "read"),
    (23, "write"),
    (24, "fadvise"),
    (25, "madvise"),
    (26, "send"),
    (27, "recv"),
    (28, "openat2"),
    (29, "epoll_ctl"),
    (30, "splice"),
    (31, "provide_buffers"),
    (32, "remove_buffers"),
    (33, "tee"),
    (34, "shutdown"),
    (35, "renameat"),
    (36, "unlinkat"),
    (37, "mkdirat"),
    (38, "symlinkat"),
    (39, "linkat"),
    (40, "msg_ring"),
    (41, "fsetxattr"),
    (42, "setxattr"),
    (43, "fgetxattr"),
    (44, "getxattr"),
    (45, "socket"),
    (46, "uring_cmd"),
    (47, "send_zc"),
    (48, "sendmsg_zc"),
    (49, "read_multishot"),
    (50, "waitid"),
    (51, "futex_wait"),
    (52, "futex_wake"),
    (53, "futex_waitv"),
    (54, "fixed_fd_install"),
    (55, "ftruncate"),
    (56, "bind"),
    (57, "listen"),
    (58, "recv_zc"),
    (59, "epoll_wait"),
    (60, "readv_fixed"),
    (61, "writev_fixed"),
    (62, "pipe"),
];

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_audited_has_a_function_and_most_of_it_a_call() {
        for op in super::AUDITED_OPS.iter().map(|op| u32::from(*op)) {
            assert!(!super::io_uring_functions(op).is_empty(), "{op}");
        }
        let call = |op| super::io_uring_syscall(op).and_then(|name| crate::syscalls::number(crate::Arch::B64, name));
        assert_eq!(call(18), Some(257));
        assert_eq!(call(13), Some(288));
        assert_eq!([call(4), call(47), call(48)], [Some(0), Some(44), Some(46)]);
        assert_eq!(call(0), None);
    }

    #[test]
    fn names_lead_back() {
        crate::lookup::assert_round_trip(super::ROWS);
    }
}
