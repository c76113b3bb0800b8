//! System calls that neither std nor nix offers. All of this package's unsafe code is here and in `ring`.

mod ring;

use std::arch::asm;
use std::ffi::{CStr, CString};
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::{self, NonNull};

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};
use nix::unistd::{ForkResult, Pid};

pub use ring::{Operation, through_ring};

/// Where every guest has its control groups.
pub const CGROUPS: &str = "/sys/fs/cgroup";

/// Which of the two one is.
pub enum Fork {
    Parent(Pid),
    Child,
}

/// The running kernel's release, as `uname -r` prints it.
pub fn kernel_release() -> nix::Result<String> {
    Ok(nix::sys::utsname::uname()?.release().to_string_lossy().into_owned())
}

/// fork(2). The child has the calling thread only; it must end with [`exit_now`] or exec.
pub fn fork() -> nix::Result<Fork> {
    // SAFETY: the child may call anything that needs no lock held by another thread, and glibc's allocator takes care of
    // its own. This program has other threads only within cases, in children, that join them.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => Ok(Fork::Parent(child)),
        ForkResult::Child => Ok(Fork::Child),
    }
}

/// _exit(2): nothing of the parent's that waits in buffers is written twice.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: ends the process, no matter what state it is in.
    unsafe { libc::_exit(status) }
}

/// A path as the kernel takes it.
pub fn c_path(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

fn checked(result: libc::c_long) -> io::Result<libc::c_long> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn descriptor(result: libc::c_long) -> io::Result<OwnedFd> {
    let fd = RawFd::try_from(checked(result)?).map_err(io::Error::other)?;
    // SAFETY: the call that returned it has just opened it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// An argument of [`call`].
pub enum Arg<'a> {
    /// A number, never an address.
    Number(i64),
    /// A path or another text.
    Text(&'a CStr),
    /// What the kernel reads.
    Bytes(&'a [u8]),
    /// What the kernel may write.
    Room(&'a mut [u8]),
}

/// Any system call with up to six arguments.
pub fn call(number: libc::c_long, args: &mut [Arg<'_>]) -> io::Result<i64> {
    let mut words = [0i64; 6];
    for (word, arg) in words.iter_mut().zip(args) {
        *word = match arg {
            Arg::Number(number) => *number,
            Arg::Text(text) => text.as_ptr().addr().cast_signed() as i64,
            Arg::Bytes(bytes) => bytes.as_ptr().addr().cast_signed() as i64,
            Arg::Room(bytes) => bytes.as_mut_ptr().addr().cast_signed() as i64,
        };
    }
    let [a0, a1, a2, a3, a4, a5] = words;
    // SAFETY: all memory that the arguments name outlives the call; whoever names a structure gives it whole, and what the
    // kernel writes to is borrowed for that.
    checked(unsafe { libc::syscall(number, a0, a1, a2, a3, a4, a5) })
}

/// What a call returned, if that is a descriptor that it opened.
pub fn owned(result: i64) -> io::Result<OwnedFd> {
    descriptor(result)
}

/// open(2) itself: the library's function of that name calls openat.
pub fn open(path: &Path, flags: i32) -> io::Result<OwnedFd> {
    let path = c_path(path)?;
    // SAFETY: the path is NUL-terminated and outlives the call.
    descriptor(unsafe { libc::syscall(libc::SYS_open, path.as_ptr(), flags, 0o644) })
}

/// creat(2) itself.
pub fn creat(path: &Path) -> io::Result<OwnedFd> {
    let path = c_path(path)?;
    // SAFETY: the path is NUL-terminated and outlives the call.
    descriptor(unsafe { libc::syscall(libc::SYS_creat, path.as_ptr(), 0o644) })
}

/// setxattr(2).
pub fn setxattr(path: &Path, name: &CStr, value: &[u8]) -> io::Result<()> {
    let path = c_path(path)?;
    // SAFETY: path and name are NUL-terminated, the value has the length given, and all outlive the call.
    let result = unsafe { libc::setxattr(path.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
    checked(result.into()).map(drop)
}

/// sendto(2) with the bytes of an address, whatever they are.
pub fn send_to(socket: RawFd, message: &[u8], address: &[u8]) -> io::Result<()> {
    let length = libc::socklen_t::try_from(address.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let (message, size, address) = (message.as_ptr().cast(), message.len(), address.as_ptr().cast());
    // SAFETY: message and address have the lengths given and outlive the call.
    checked(unsafe { libc::sendto(socket, message, size, 0, address, length) } as i64).map(drop)
}

/// removexattr(2).
pub fn removexattr(path: &Path, name: &CStr) -> io::Result<()> {
    let path = c_path(path)?;
    // SAFETY: path and name are NUL-terminated and outlive the call.
    checked(unsafe { libc::removexattr(path.as_ptr(), name.as_ptr()) }.into()).map(drop)
}

/// getxattr(2) for the size of the value.
pub fn getxattr_size(path: &Path, name: &CStr) -> io::Result<()> {
    let path = c_path(path)?;
    // SAFETY: path and name are NUL-terminated and outlive the call; a size of 0 asks for no value.
    checked(unsafe { libc::getxattr(path.as_ptr(), name.as_ptr(), ptr::null_mut(), 0) } as libc::c_long).map(drop)
}

/// listxattr(2) for the size of the list.
pub fn listxattr_size(path: &Path) -> io::Result<()> {
    let path = c_path(path)?;
    // SAFETY: the path is NUL-terminated and outlives the call; a size of 0 asks for no list.
    checked(unsafe { libc::listxattr(path.as_ptr(), ptr::null_mut(), 0) } as libc::c_long).map(drop)
}

/// The names of a file's extended attributes, each with a NUL behind it; a symbolic link is not followed.
pub fn attributes(path: &Path) -> io::Result<Vec<u8>> {
    let (path, mut names) = (c_path(path)?, vec![0; 1024]);
    let length = call(libc::SYS_llistxattr, &mut [Arg::Text(&path), Arg::Room(&mut names), Arg::Number(1024)])?;
    names.truncate(usize::try_from(length).map_err(io::Error::other)?);
    Ok(names)
}

/// A descriptor of what is pinned there in the BPF file system (`BPF_OBJ_GET`).
pub fn bpf_pinned(path: &Path) -> io::Result<OwnedFd> {
    const OBJ_GET: i64 = 7;
    let path = c_path(path)?;
    let mut request = [0; 16];
    request[..8].copy_from_slice(&path.as_ptr().addr().to_ne_bytes());
    descriptor(call(libc::SYS_bpf, &mut [Arg::Number(OBJ_GET), Arg::Bytes(&request), Arg::Number(16)])?)
}

/// A text, or other bytes, at an address below 4 GB, for [`call_32`]. Never freed: it is for children that end soon.
pub struct LowText(u32);

impl LowText {
    /// Where it is.
    pub fn address(&self) -> u32 {
        self.0
    }

    /// Copies a path.
    pub fn new(path: &Path) -> io::Result<Self> {
        Self::of_bytes(c_path(path)?.as_bytes_with_nul())
    }

    /// Copies bytes, to which the kernel may write as well.
    pub fn of_bytes(bytes: &[u8]) -> io::Result<Self> {
        let length = NonZeroUsize::new(bytes.len()).ok_or_else(|| io::Error::other("no bytes"))?;
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new private mapping at an address of the kernel's choice affects no memory in use.
        let memory: NonNull<libc::c_void> =
            unsafe { mmap_anonymous(None, length, protection, MapFlags::MAP_PRIVATE | MapFlags::MAP_32BIT) }?;
        // SAFETY: the mapping is writable, at least this long, and nobody else knows of it.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), memory.as_ptr().cast(), bytes.len()) };
        u32::try_from(memory.as_ptr().addr()).map(Self).map_err(io::Error::other)
    }
}

/// open(2) for reading through the 32-bit entry of the kernel. Returns what the kernel did: a descriptor, or -errno.
pub fn open_32(path: &LowText) -> i32 {
    const OPEN: u32 = 5;
    call_32(OPEN, [path.address(), libc::O_RDONLY.cast_unsigned(), 0])
}

/// A call with up to three arguments through the 32-bit entry of the kernel: numbers, or addresses of [`LowText`]s. Returns
/// what the kernel did.
pub fn call_32(number: u32, args: [u32; 3]) -> i32 {
    let mut result = number;
    // SAFETY: `int 0x80` reads its arguments from ebx, ecx and edx, returns in eax, and may clobber r8 to r11; LLVM keeps
    // rbx for itself, so it is put back. The kernel touches memory only at texts, which are mapped and never freed.
    unsafe {
        asm!(
            "xchg rbx, {first:r}",
            "int 0x80",
            "xchg rbx, {first:r}",
            first = inout(reg) u64::from(args[0]) => _,
            inout("eax") result,
            in("rcx") u64::from(args[1]),
            in("rdx") u64::from(args[2]),
            // 7.3 audits whole registers, so what is no argument has no upper half either.
            in("rsi") 0_u64,
            in("rdi") 0_u64,
            lateout("r8") _, lateout("r9") _, lateout("r10") _, lateout("r11") _,
        );
    }
    result.cast_signed()
}

/// Kinds of kernel objects of BPF.
#[derive(Clone, Copy)]
pub enum BpfObjects {
    Programs,
    Links,
    Maps,
}

/// Commands of bpf(2), `enum bpf_cmd` of include/uapi/linux/bpf.h.
mod command {
    pub const PROG_GET_NEXT_ID: libc::c_long = 11;
    pub const MAP_GET_NEXT_ID: libc::c_long = 12;
    pub const LINK_GET_NEXT_ID: libc::c_long = 31;
}

/// bpf(2) with a `union bpf_attr` that begins with these words. None of the commands here reads memory through them but
/// `OBJ_GET_INFO_BY_FD`.
fn bpf<const N: usize>(command: libc::c_long, attributes: &mut [u32; N]) -> io::Result<libc::c_long> {
    // SAFETY: the attributes are as long as stated, writable, and outlive the call.
    checked(unsafe { libc::syscall(libc::SYS_bpf, command, attributes.as_mut_ptr(), size_of_val(attributes)) })
}

/// The ids of all there are in the kernel, whoever made them.
pub fn bpf_ids(kind: BpfObjects) -> io::Result<Vec<u32>> {
    let next = match kind {
        BpfObjects::Programs => command::PROG_GET_NEXT_ID,
        BpfObjects::Links => command::LINK_GET_NEXT_ID,
        BpfObjects::Maps => command::MAP_GET_NEXT_ID,
    };
    let mut ids = Vec::new();
    loop {
        // start_id, next_id, open_flags.
        let mut attributes = [ids.last().copied().unwrap_or(0), 0, 0];
        match bpf(next, &mut attributes) {
            Ok(_) => ids.push(attributes[1]),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(ids),
            Err(error) => return Err(error),
        }
    }
}

/// How many there are in the kernel, whoever made them.
pub fn count_bpf(kind: BpfObjects) -> io::Result<usize> {
    Ok(bpf_ids(kind)?.len())
}
