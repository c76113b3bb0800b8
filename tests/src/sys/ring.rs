//! Operations submitted through an io_uring.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use io_uring::{IoUring, opcode, squeue, types};

/// An operation; names are relative to the working directory.
#[derive(Clone, Copy)]
pub enum Operation<'a> {
    /// openat(2) with flags.
    Open(&'a CStr, i32),
    /// unlinkat(2) of a file.
    Unlink(&'a CStr),
    /// unlinkat(2) of a directory.
    RemoveDirectory(&'a CStr),
    /// renameat(2).
    Rename(&'a CStr, &'a CStr),
    /// mkdirat(2).
    MakeDirectory(&'a CStr),
    /// symlinkat(2): the text, and the name.
    Symlink(&'a CStr, &'a CStr),
    /// linkat(2).
    Link(&'a CStr, &'a CStr),
    /// connect(2) to the bytes of an address.
    Connect(BorrowedFd<'a>, &'a [u8]),
    /// read(2) of some bytes.
    Read(BorrowedFd<'a>),
    /// The same, into memory that the ring knows beforehand.
    ReadFixed(BorrowedFd<'a>),
    /// write(2).
    Write(BorrowedFd<'a>, &'a [u8]),
    /// send(2).
    Send(BorrowedFd<'a>, &'a [u8]),
    /// The same, without copying.
    SendWithoutCopy(BorrowedFd<'a>, &'a [u8]),
    /// accept4(2).
    Accept(BorrowedFd<'a>),
    /// socket(2) of the internet, for a stream.
    Socket,
    /// shutdown(2) of both directions.
    Shutdown(BorrowedFd<'a>),
    /// fallocate(2) of some bytes.
    Allocate(BorrowedFd<'a>),
    /// setxattr(2).
    SetAttribute(&'a CStr, &'a CStr, &'a [u8]),
}

/// Submits operations one after the other, each when the one before is done. Returns what the kernel did: -errno where it
/// failed.
pub fn through_ring(operations: &[Operation<'_>]) -> io::Result<Vec<i32>> {
    let mut room = [0; 16];
    let mut ring = IoUring::new(4)?;
    register(&ring, &mut room)?;
    operations.iter().map(|operation| carry_out(&mut ring, &entry(*operation, &mut room))).collect()
}

/// Makes memory known to a ring.
fn register(ring: &IoUring, room: &mut [u8]) -> io::Result<()> {
    let memory = libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() };
    // SAFETY: `through_ring`, which has the memory, waits for all operations, and drops the ring before it.
    unsafe { ring.submitter().register_buffers(&[memory]) }
}

fn carry_out(ring: &mut IoUring, entry: &squeue::Entry) -> io::Result<i32> {
    // SAFETY: what the entry points to is borrowed by `through_ring`, which waits for the operation to be done.
    unsafe { ring.submission().push(entry) }.map_err(io::Error::other)?;
    ring.submit_and_wait(1)?;
    let done = ring.completion().next().ok_or_else(|| io::Error::other("nothing was done"))?;
    Ok(done.result())
}

fn entry(operation: Operation<'_>, room: &mut [u8; 16]) -> squeue::Entry {
    let here = types::Fd(libc::AT_FDCWD);
    match operation {
        Operation::Open(name, flags) => opcode::OpenAt::new(here, name.as_ptr()).flags(flags).mode(0o640).build(),
        Operation::Unlink(name) => opcode::UnlinkAt::new(here, name.as_ptr()).build(),
        Operation::RemoveDirectory(name) => {
            opcode::UnlinkAt::new(here, name.as_ptr()).flags(libc::AT_REMOVEDIR).build()
        }
        Operation::Rename(name, new) => opcode::RenameAt::new(here, name.as_ptr(), here, new.as_ptr()).build(),
        Operation::MakeDirectory(name) => opcode::MkDirAt::new(here, name.as_ptr()).mode(0o750).build(),
        Operation::Symlink(text, name) => opcode::SymlinkAt::new(here, text.as_ptr(), name.as_ptr()).build(),
        Operation::Link(name, new) => opcode::LinkAt::new(here, name.as_ptr(), here, new.as_ptr()).build(),
        Operation::Connect(socket, address) => {
            let length = address.len() as libc::socklen_t;
            opcode::Connect::new(types::Fd(socket.as_raw_fd()), address.as_ptr().cast(), length).build()
        }
        Operation::ReadFixed(file) => {
            opcode::ReadFixed::new(types::Fd(file.as_raw_fd()), room.as_mut_ptr(), room.len() as u32, 0).build()
        }
        Operation::Write(file, bytes) => {
            opcode::Write::new(types::Fd(file.as_raw_fd()), bytes.as_ptr(), bytes.len() as u32).build()
        }
        Operation::Send(socket, bytes) => {
            opcode::Send::new(types::Fd(socket.as_raw_fd()), bytes.as_ptr(), bytes.len() as u32).build()
        }
        Operation::SendWithoutCopy(socket, bytes) => {
            opcode::SendZc::new(types::Fd(socket.as_raw_fd()), bytes.as_ptr(), bytes.len() as u32).build()
        }
        Operation::Accept(socket) => {
            opcode::Accept::new(types::Fd(socket.as_raw_fd()), ptr::null_mut(), ptr::null_mut()).build()
        }
        Operation::Socket => opcode::Socket::new(libc::AF_INET, libc::SOCK_STREAM, 0).build(),
        Operation::Shutdown(socket) => opcode::Shutdown::new(types::Fd(socket.as_raw_fd()), libc::SHUT_RDWR).build(),
        Operation::Allocate(file) => opcode::Fallocate::new(types::Fd(file.as_raw_fd()), 100).build(),
        Operation::SetAttribute(path, name, value) => {
            opcode::SetXattr::new(name.as_ptr(), value.as_ptr().cast(), path.as_ptr(), value.len() as u32).build()
        }
        Operation::Read(file) => {
            opcode::Read::new(types::Fd(file.as_raw_fd()), room.as_mut_ptr(), room.len() as u32).build()
        }
    }
}
