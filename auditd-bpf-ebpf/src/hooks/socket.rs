//! Addresses, from the kernel's own copy.

use crate::{
    emit,
    kernel::{self, Object, field},
    record, refuse,
    task::TaskContext,
};
use auditd_bpf_common::{hooks, limits::SOCKADDR_BYTES, wire::section};
use aya_ebpf::{
    macros::{fentry, kprobe, lsm},
    programs::{FEntryContext, LsmContext, ProbeContext},
};

/// The family of addresses that may be names of files.
pub const AF_UNIX: i64 = 1;

#[lsm(hook = "socket_connect")]
pub fn lsm_socket_connect(ctx: LsmContext) -> i32 {
    address(hooks::SOCKET_CONNECT, ctx.arg(1), ctx.arg(2))
}

#[lsm(hook = "socket_bind")]
pub fn lsm_socket_bind(ctx: LsmContext) -> i32 {
    address(hooks::SOCKET_BIND, ctx.arg(1), ctx.arg(2))
}

/// The kernel has copied the address, if there is one.
#[lsm(hook = "socket_sendmsg")]
pub fn lsm_socket_sendmsg(ctx: LsmContext) -> i32 {
    let message: Object = ctx.arg(1);
    let name: u64 = field(message, &kernel::MSGHDR_NAME);
    if name == 0 {
        return refuse::only(hooks::SOCKET_SENDMSG);
    }
    address(hooks::SOCKET_SENDMSG, name, field(message, &kernel::MSGHDR_NAMELEN))
}

/// Addresses that calls return: of whom they accept, receive from, or ask about.
#[fentry]
pub fn fentry_move_addr_to_user(ctx: FEntryContext) -> u32 {
    address(hooks::SOCKET_ADDRESS, ctx.arg::<Object>(0) as u64, ctx.arg(1));
    0
}

/// The same where the above would be left out at times.
#[kprobe(function = "move_addr_to_user")]
pub fn kprobe_move_addr_to_user(ctx: ProbeContext) -> u32 {
    if let (Some(from), Some(length)) = (ctx.arg(0), ctx.arg(1)) {
        address(hooks::SOCKET_ADDRESS, from, length);
    }
    0
}

/// Notes an address of the internet. What is sent to an address without a family goes to one of IPv4 (`udp_sendmsg` in
/// `net/ipv4/udp.c`).
#[inline(always)]
fn inet(context: &mut TaskContext, hook: u32, family: u16, address: u64, length: u32) {
    const AF_UNSPEC: u16 = 0;
    const AF_INET: u16 = 2;
    const AF_INET6: u16 = 10;
    /// Before an address of IPv4 within IPv6.
    const MAPPED: u64 = 0xffff << 32;
    /// Up to the end of the address in `struct sockaddr_in` and `struct sockaddr_in6`.
    const INET_BYTES: u32 = 8;
    const INET6_BYTES: u32 = 24;
    let is_inet = family == AF_INET || family == AF_UNSPEC && hook == hooks::SOCKET_SENDMSG;
    if is_inet && length >= INET_BYTES {
        context.ip = [0, MAPPED | u64::from(u32::from_be(kernel::probe_at(address + 4)))];
    } else if family == AF_INET6 && length >= INET6_BYTES {
        let half = |offset| u64::from_be(kernel::probe_at(address + offset));
        context.ip = [half(8), half(16)];
    } else {
        return;
    }
    context.port = u64::from(u16::from_be(kernel::probe_at(address + 2))) + 1;
}

#[inline(always)]
pub fn address(hook: u32, address: u64, length: u32) -> i32 {
    let family = kernel::probe_at::<u16>(address);
    let context = if i64::from(family) == AF_UNIX { record::plain_or_named(hook) } else { record::plain(hook) };
    refuse::plain(context, hook, |context| {
        let length = kernel::below_256(length.min(SOCKADDR_BYTES as u32));
        context.address_family = u64::from(family) + 1;
        inet(context, hook, family, address, length);
        emit::append(context, section::SOCKADDR, 0, length, |to| kernel::copy_kernel(to, length, address));
    })
}
