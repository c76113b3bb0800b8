//! The kernel side of auditd-bpf.
//!
//! Two moments. A hook sees an object before the act, matches it ([`objects`]) and notes what it is
//! ([`record`], [`task`]); the end of the syscall
//! ([`syscall`]) knows the result, applies the rules ([`filter`]) and emits one event ([`emit`]). Kernel memory is reached
//! through [`kernel`] alone.
#![no_std]
#![no_main]
// Loops over fixed arrays with a bound known at run time: the form that the verifier follows.
#![allow(clippy::needless_range_loop, reason = "iterators hide the bound from the verifier")]
#![allow(missing_docs, reason = "a program, not a library: no item is public API")]

mod call;
mod emit;
mod filter;
mod hooks;
mod host;
mod kernel;
mod maps;
mod objects;
mod path;
mod record;
mod refuse;
mod syscall;
mod task;
mod tests;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// Helpers such as `bpf_probe_read_kernel` are offered only to programs whose licence the kernel knows as GPL-compatible.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
