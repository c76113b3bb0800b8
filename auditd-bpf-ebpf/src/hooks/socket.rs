//! Addresses, from the kernel's own copy.

use crate::{
    emit,
    kernel::{self, Object, field},
    record,
};
use auditd_bpf_common::{hooks, limits::SOCKADDR_BYTES, wire::section};
use aya_ebpf::{macros::lsm, programs::LsmContext};

#[lsm(hook = "socket_connect")]
pub fn lsm_socket_connect(ctx: LsmContext) -> i32 {
    address(hooks::SOCKET_CONNECT, ctx.arg(1), ctx.arg(2));
    0
}

#[lsm(hook = "socket_bind")]
pub fn lsm_socket_bind(ctx: LsmContext) -> i32 {
    address(hooks::SOCKET_BIND, ctx.arg(1), ctx.arg(2));
    0
}

/// The kernel has copied the address, if there is one.
#[lsm(hook = "socket_sendmsg")]
pub fn lsm_socket_sendmsg(ctx: LsmContext) -> i32 {
    let message: Object = ctx.arg(1);
    let name: u64 = field(message, &kernel::MSGHDR_NAME);
    if name != 0 {
        address(hooks::SOCKET_SENDMSG, name, field(message, &kernel::MSGHDR_NAMELEN));
    }
    0
}

#[inline(always)]
pub fn address(hook: u32, address: u64, length: u32) {
    if let Some(context) = record::plain(hook) {
        let length = kernel::below_256(length.min(SOCKADDR_BYTES as u32));
        context.address_family = u64::from(kernel::probe_at::<u16>(address)) + 1;
        emit::append(context, section::SOCKADDR, 0, length, |to| kernel::copy_kernel(to, length, address));
    }
}
