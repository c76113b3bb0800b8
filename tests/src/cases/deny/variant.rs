//! Every call that does something to a file, refused by its name on a tree.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, IntoRawFd};
use std::os::unix::fs::chroot;
use std::path::Path;

use anyhow::Result;
use nix::libc;

use super::attempt::only_with_call;
use super::{refused_by_call, two_directories};
use crate::harness::Case;
use crate::place::Place;
use crate::sys::{self, Arg, c_path};

/// A case for each call: its name behind `deny_`, the call, the hook that refuses it, and the act in a directory. Those behind
/// `since` are about calls that some kernels lack.
macro_rules! variants {
    ($($name:literal, $call:literal, $hook:literal, $act:expr;)+ since $($new:literal, $call_new:literal, $number:expr, $hook_new:literal, $act_new:expr;)+) => {
        pub const CASES: &[Case] = &[
            $(case!($name, $call, $hook, $act)),+,
            $(case!($new, $call_new, $hook_new, $act_new).only_where(|| only_with_call($number))),+
        ];
    };
}

macro_rules! case {
    ($name:literal, $call:literal, $hook:literal, $act:expr) => {
        Case::new(
            concat!("deny_", $name),
            concat!("-a deny,exit -F arch=b64 -S ", $call, " -F dir={dir}/d -F auid={auid} -k {key}"),
            |test| refused_by_call(test, $call, $hook, $act),
        )
        .prepared(furnished)
    };
}

const HERE: i64 = libc::AT_FDCWD as i64;
const NO_FOLLOW: i64 = libc::AT_SYMLINK_NOFOLLOW as i64;
const READ: i32 = libc::O_RDONLY;
const WRITE: i32 = libc::O_WRONLY;
/// The attribute that all files have.
const NAME: &std::ffi::CStr = c"trusted.a";
/// Attributes by path relative to a descriptor, and those of file systems: libc does not name them all.
const SETXATTRAT: libc::c_long = 463;
const GETXATTRAT: libc::c_long = 464;
const LISTXATTRAT: libc::c_long = 465;
const REMOVEXATTRAT: libc::c_long = 466;
const FILE_GETATTR: libc::c_long = 468;
const FILE_SETATTR: libc::c_long = 469;

variants! {
    "open", "open", "file_open", |dir| sys::open(&dir.join("f"), READ).map(drop);
    "open_for_writing", "open", "file_open", |dir| sys::open(&dir.join("f"), WRITE).map(drop);
    "open_to_create", "open", "path_mknod", |dir| sys::open(&dir.join("new"), WRITE | libc::O_CREAT).map(drop);
    "open_to_empty", "open", "file_open", |dir| sys::open(&dir.join("f"), WRITE | libc::O_TRUNC).map(drop);
    "open_without_a_name", "open", "file_open", |dir| sys::open(dir, WRITE | libc::O_TMPFILE).map(drop);
    "creat", "creat", "path_mknod", |dir| sys::creat(&dir.join("new")).map(drop);
    "creat_of_what_is_there", "creat", "file_open", |dir| sys::creat(&dir.join("f")).map(drop);
    "openat_of_a_directory", "openat", "file_open", |dir| File::open(dir.join("sub")).map(drop);
    "openat2_to_create", "openat2", "path_mknod", |dir| {
        let how = [(WRITE | libc::O_CREAT) as u64, 0o600, 0].map(u64::to_ne_bytes).concat();
        at(libc::SYS_openat2, &dir.join("new"), [Arg::Bytes(&how), Arg::Number(24)])
    };
    "acct", "acct", "file_open", |dir| {
        named(libc::SYS_acct, &dir.join("f"), [])?;
        sys::call(libc::SYS_acct, &mut [Arg::Number(0)]).map(drop)
    };
    "swapon", "swapon", "file_open", |dir| but_for(libc::EINVAL, named(libc::SYS_swapon, &dir.join("f"), [Arg::Number(0)]));
    "swapoff", "swapoff", "file_open", |dir| but_for(libc::EINVAL, named(libc::SYS_swapoff, &dir.join("f"), []));
    "unlinkat", "unlinkat", "path_unlink", |dir| at(libc::SYS_unlinkat, &dir.join("f"), [Arg::Number(0)]);
    "unlinkat_of_a_directory", "unlinkat", "path_rmdir", |dir| {
        at(libc::SYS_unlinkat, &dir.join("sub"), [Arg::Number(libc::AT_REMOVEDIR.into())])
    };
    "renameat", "renameat", "path_rename", |dir| between(libc::SYS_renameat, &dir.join("f"), &dir.join("g"), 0);
    "renameat2", "renameat2", "path_rename", |dir| {
        between(libc::SYS_renameat2, &dir.join("f"), &dir.join("g"), libc::RENAME_NOREPLACE)
    };
    "renameat2_to_exchange", "renameat2", "path_rename", |dir| {
        between(libc::SYS_renameat2, &dir.join("f"), &dir.join("program"), libc::RENAME_EXCHANGE)
    };
    "renameat2_to_exchange_outside", "renameat2", "path_rename", |dir| {
        let outside = dir.with_file_name("outside");
        fs::write(&outside, "x")?;
        between(libc::SYS_renameat2, &outside, &dir.join("f"), libc::RENAME_EXCHANGE)
    };
    "linkat", "linkat", "path_link", |dir| between(libc::SYS_linkat, &dir.join("f"), &dir.join("g"), 0);
    "symlinkat", "symlinkat", "path_symlink", |dir| {
        let (text, name) = (c"f", c_path(&dir.join("new"))?);
        sys::call(libc::SYS_symlinkat, &mut [Arg::Text(text), Arg::Number(HERE), Arg::Text(&name)]).map(drop)
    };
    "mkdirat", "mkdirat", "path_mkdir", |dir| at(libc::SYS_mkdirat, &dir.join("new"), [Arg::Number(0o700)]);
    "mknodat_of_a_device", "mknodat", "path_mknod", |dir| {
        let mode = Arg::Number(i64::from(libc::S_IFCHR | 0o600));
        at(libc::SYS_mknodat, &dir.join("new"), [mode, Arg::Number(0x103)])
    };
    "mknodat_of_a_file", "mknodat", "path_mknod", |dir| {
        at(libc::SYS_mknodat, &dir.join("new"), [Arg::Number(i64::from(libc::S_IFREG | 0o600)), Arg::Number(0)])
    };
    "fallocate", "fallocate", "file_permission", |dir| {
        opened(libc::SYS_fallocate, &dir.join("f"), [0, 0, 100].map(Arg::Number))
    };
    "fchmod", "fchmod", "path_chmod", |dir| opened(libc::SYS_fchmod, &dir.join("f"), [Arg::Number(0o600)]);
    "fchmodat", "fchmodat", "path_chmod", |dir| at(libc::SYS_fchmodat, &dir.join("f"), [Arg::Number(0o600)]);
    "chmod_of_a_directory", "chmod", "path_chmod", |dir| named(libc::SYS_chmod, &dir.join("sub"), [Arg::Number(0o700)]);
    "fchown", "fchown", "path_chown", |dir| opened(libc::SYS_fchown, &dir.join("f"), [7, -1].map(Arg::Number));
    "lchown", "lchown", "path_chown", |dir| named(libc::SYS_lchown, &dir.join("link"), [7, -1].map(Arg::Number));
    "fchownat", "fchownat", "path_chown", |dir| {
        at(libc::SYS_fchownat, &dir.join("link"), [-1, 7, NO_FOLLOW].map(Arg::Number))
    };
    "utime", "utime", "inode_setattr", |dir| named(libc::SYS_utime, &dir.join("f"), [Arg::Number(0)]);
    "utimes", "utimes", "inode_setattr", |dir| {
        named(libc::SYS_utimes, &dir.join("f"), [Arg::Bytes(&[0; 32])])
    };
    "futimesat", "futimesat", "inode_setattr", |dir| at(libc::SYS_futimesat, &dir.join("f"), [Arg::Number(0)]);
    "utimensat", "utimensat", "inode_setattr", |dir| {
        at(libc::SYS_utimensat, &dir.join("link"), [Arg::Bytes(&[0; 32]), Arg::Number(NO_FOLLOW)])
    };
    "utimensat_of_a_descriptor", "utimensat", "inode_setattr", |dir| {
        opened(libc::SYS_utimensat, &dir.join("f"), [0, 0, 0].map(Arg::Number))
    };
    "lsetxattr", "lsetxattr", "inode_setxattr", |dir| {
        let (name, value) = (Arg::Text(c"trusted.b"), Arg::Bytes(b"1"));
        named(libc::SYS_lsetxattr, &dir.join("link"), [name, value, Arg::Number(1), Arg::Number(0)])
    };
    "fsetxattr", "fsetxattr", "inode_setxattr", |dir| {
        let (name, value) = (Arg::Text(c"trusted.b"), Arg::Bytes(b"1"));
        opened(libc::SYS_fsetxattr, &dir.join("f"), [name, value, Arg::Number(1), Arg::Number(0)])
    };
    "setxattr_of_capabilities", "setxattr", "inode_setxattr", |dir| {
        // `struct vfs_cap_data` of version 2: all of the first kind are permitted, and in force.
        let value = [0x0200_0001_u32, 1, 0, 0, 0].map(u32::to_le_bytes).concat();
        sys::setxattr(&dir.join("program"), c"security.capability", &value)
    };
    "removexattr", "removexattr", "inode_removexattr", |dir| sys::removexattr(&dir.join("f"), NAME);
    "lremovexattr", "lremovexattr", "inode_removexattr", |dir| {
        named(libc::SYS_lremovexattr, &dir.join("link"), [Arg::Text(NAME)])
    };
    "fremovexattr", "fremovexattr", "inode_removexattr", |dir| {
        opened(libc::SYS_fremovexattr, &dir.join("f"), [Arg::Text(NAME)])
    };
    "getxattr", "getxattr", "inode_getxattr", |dir| sys::getxattr_size(&dir.join("f"), NAME);
    "lgetxattr", "lgetxattr", "inode_getxattr", |dir| {
        named(libc::SYS_lgetxattr, &dir.join("link"), [Arg::Text(NAME), Arg::Number(0), Arg::Number(0)])
    };
    "fgetxattr", "fgetxattr", "inode_getxattr", |dir| {
        opened(libc::SYS_fgetxattr, &dir.join("f"), [Arg::Text(NAME), Arg::Number(0), Arg::Number(0)])
    };
    "listxattr", "listxattr", "inode_listxattr", |dir| sys::listxattr_size(&dir.join("f"));
    "llistxattr", "llistxattr", "inode_listxattr", |dir| {
        named(libc::SYS_llistxattr, &dir.join("link"), [0, 0].map(Arg::Number))
    };
    "flistxattr", "flistxattr", "inode_listxattr", |dir| {
        opened(libc::SYS_flistxattr, &dir.join("f"), [0, 0].map(Arg::Number))
    };
    "readlink", "readlink", "inode_readlink", |dir| {
        named(libc::SYS_readlink, &dir.join("link"), [Arg::Room(&mut [0; 8]), Arg::Number(8)])
    };
    "readlinkat", "readlinkat", "inode_readlink", |dir| {
        at(libc::SYS_readlinkat, &dir.join("link"), [Arg::Room(&mut [0; 8]), Arg::Number(8)])
    };
    "stat", "stat", "inode_getattr", |dir| named(libc::SYS_stat, &dir.join("f"), [Arg::Room(&mut [0; 144])]);
    "lstat", "lstat", "inode_getattr", |dir| named(libc::SYS_lstat, &dir.join("link"), [Arg::Room(&mut [0; 144])]);
    "fstat", "fstat", "inode_getattr", |dir| opened(libc::SYS_fstat, &dir.join("f"), [Arg::Room(&mut [0; 144])]);
    "newfstatat", "newfstatat", "inode_getattr", |dir| {
        at(libc::SYS_newfstatat, &dir.join("f"), [Arg::Room(&mut [0; 144]), Arg::Number(0)])
    };
    "statx", "statx", "inode_getattr", |dir| {
        let (flags, mask) = (Arg::Number(0), Arg::Number(libc::STATX_BASIC_STATS.into()));
        at(libc::SYS_statx, &dir.join("f"), [flags, mask, Arg::Room(&mut [0; 256])])
    };
    "statfs", "statfs", "sb_statfs", |dir| named(libc::SYS_statfs, &dir.join("f"), [Arg::Room(&mut [0; 120])]);
    "fstatfs", "fstatfs", "sb_statfs", |dir| opened(libc::SYS_fstatfs, &dir.join("f"), [Arg::Room(&mut [0; 120])]);
    "read", "read", "file_permission", |dir| {
        opened(libc::SYS_read, &dir.join("f"), [Arg::Room(&mut [0; 8]), Arg::Number(8)])
    };
    "pread", "pread", "file_permission", |dir| {
        opened(libc::SYS_pread64, &dir.join("f"), [Arg::Room(&mut [0; 8]), Arg::Number(8), Arg::Number(1)])
    };
    "readv", "readv", "file_permission", |dir| on_vector(libc::SYS_readv, dir, &[]);
    "preadv", "preadv", "file_permission", |dir| on_vector(libc::SYS_preadv, dir, &[0, 0]);
    "preadv2", "preadv2", "file_permission", |dir| on_vector(libc::SYS_preadv2, dir, &[0, 0, 0]);
    "write", "write", "file_permission", |dir| {
        opened(libc::SYS_write, &dir.join("f"), [Arg::Bytes(b"bytes"), Arg::Number(5)])
    };
    "pwrite", "pwrite", "file_permission", |dir| {
        opened(libc::SYS_pwrite64, &dir.join("f"), [Arg::Bytes(b"bytes"), Arg::Number(5), Arg::Number(1)])
    };
    "writev", "writev", "file_permission", |dir| on_vector(libc::SYS_writev, dir, &[]);
    "pwritev", "pwritev", "file_permission", |dir| on_vector(libc::SYS_pwritev, dir, &[0, 0]);
    "pwritev2", "pwritev2", "file_permission", |dir| on_vector(libc::SYS_pwritev2, dir, &[0, 0, 0]);
    "getdents64", "getdents64", "file_permission", |dir| fs::read_dir(dir)?.next().transpose().map(drop);
    "getdents", "getdents", "file_permission", |dir| {
        let (directory, room) = (File::open(dir)?, &mut [0; 256]);
        let number = Arg::Number(directory.as_raw_fd().into());
        begins_with(libc::SYS_getdents, [number, Arg::Room(room)], [Arg::Number(256)])
    };
    "sendfile", "sendfile", "file_permission", |dir| {
        let to = File::options().write(true).open("/dev/null")?;
        let file = File::open(dir.join("f"))?;
        let numbers = [to.as_raw_fd().into(), file.as_raw_fd().into(), 0, 4];
        sys::call(libc::SYS_sendfile, &mut numbers.map(Arg::Number)).map(drop)
    };
    "copy_file_range", "copy_file_range", "file_permission", |dir| {
        let to = File::create(dir.with_file_name("copy"))?;
        let file = File::open(dir.join("f"))?;
        let numbers = [file.as_raw_fd().into(), 0, to.as_raw_fd().into(), 0, 4, 0];
        sys::call(libc::SYS_copy_file_range, &mut numbers.map(Arg::Number)).map(drop)
    };
    "ioctl", "ioctl", "file_ioctl", |dir| {
        opened(libc::SYS_ioctl, &dir.join("f"), [Arg::Number(libc::FIONREAD as i64), Arg::Room(&mut [0; 4])])
    };
    "fcntl", "fcntl", "file_fcntl", |dir| {
        opened(libc::SYS_fcntl, &dir.join("f"), [libc::F_SETFL, libc::O_APPEND].map(|number| Arg::Number(number.into())))
    };
    "flock", "flock", "file_lock", |dir| opened(libc::SYS_flock, &dir.join("f"), [Arg::Number(libc::LOCK_EX.into())]);
    "mmap", "mmap", "mmap_file", |dir| mapped(&dir.join("f")).map(drop);
    "mprotect", "mprotect", "file_mprotect", |dir| {
        let address = mapped(&dir.join("f"))?;
        sys::call(libc::SYS_mprotect, &mut [address, 4096, libc::PROT_NONE.into()].map(Arg::Number)).map(drop)
    };
    "pkey_mprotect", "pkey_mprotect", "file_mprotect", |dir| {
        let address = mapped(&dir.join("f"))?;
        sys::call(libc::SYS_pkey_mprotect, &mut [address, 4096, libc::PROT_NONE.into(), -1].map(Arg::Number)).map(drop)
    };
    "inotify_add_watch", "inotify_add_watch", "path_notify", |dir| {
        let watches = sys::owned(sys::call(libc::SYS_inotify_init1, &mut [Arg::Number(0)])?)?;
        let (name, events) = (c_path(&dir.join("f"))?, Arg::Number(libc::IN_OPEN.into()));
        let mut arguments = [Arg::Number(watches.as_raw_fd().into()), Arg::Text(&name), events];
        sys::call(libc::SYS_inotify_add_watch, &mut arguments).map(drop)
    };
    "fanotify_mark", "fanotify_mark", "path_notify", |dir| {
        let marks = sys::owned(sys::call(libc::SYS_fanotify_init, &mut [0, 0].map(Arg::Number))?)?;
        let name = c_path(&dir.join("f"))?;
        let (add, opens) = (Arg::Number(libc::FAN_MARK_ADD.into()), Arg::Number(libc::FAN_OPEN as i64));
        let mut arguments = [Arg::Number(marks.as_raw_fd().into()), add, opens, Arg::Number(HERE), Arg::Text(&name)];
        sys::call(libc::SYS_fanotify_mark, &mut arguments).map(drop)
    };
    "execve_by_path", "execve", "bprm_check_security", super::act::run;
    since
    "fchmodat2", "fchmodat2", libc::SYS_fchmodat2, "path_chmod", |dir| {
        at(libc::SYS_fchmodat2, &dir.join("f"), [Arg::Number(0o600), Arg::Number(0)])
    };
    "setxattrat", "setxattrat", SETXATTRAT, "inode_setxattr", |dir| {
        // `struct xattr_args`: address, size and flags of the value.
        let value = b"1";
        let arguments = [value.as_ptr().expose_provenance() as u64, 1].map(u64::to_ne_bytes).concat();
        let (flags, name, size) = (Arg::Number(0), Arg::Text(c"trusted.b"), Arg::Number(16));
        at(SETXATTRAT, &dir.join("f"), [flags, name, Arg::Bytes(&arguments), size])
    };
    "getxattrat", "getxattrat", GETXATTRAT, "inode_getxattr", |dir| {
        let (flags, name, size) = (Arg::Number(0), Arg::Text(NAME), Arg::Number(16));
        at(GETXATTRAT, &dir.join("f"), [flags, name, Arg::Bytes(&[0; 16]), size])
    };
    "listxattrat", "listxattrat", LISTXATTRAT, "inode_listxattr", |dir| {
        at(LISTXATTRAT, &dir.join("f"), [0, 0, 0].map(Arg::Number))
    };
    "removexattrat", "removexattrat", REMOVEXATTRAT, "inode_removexattr", |dir| {
        at(REMOVEXATTRAT, &dir.join("f"), [Arg::Number(0), Arg::Text(NAME)])
    };
    "file_getattr", "file_getattr", FILE_GETATTR, "inode_file_getattr", |dir| {
        at(FILE_GETATTR, &dir.join("f"), [Arg::Room(&mut [0; 24]), Arg::Number(24), Arg::Number(0)])
    };
    "file_setattr", "file_setattr", FILE_SETATTR, "inode_file_setattr", |dir| {
        at(FILE_SETATTR, &dir.join("f"), [Arg::Bytes(&[0; 24]), Arg::Number(24), Arg::Number(0)])
    };
}

/// A call for whose hook kernels without hooks of paths have no other.
pub const CHROOT: &[Case] = &[case!("chroot_into_a_tree", "chroot", "path_chroot", |dir| chroot(dir.join("sub")))];

/// Access control lists, which are attributes, and lengths by descriptor: they have hooks of their own since 6.2.
pub const SINCE_6_2: &[Case] = &[
    Case::new(
        "deny_ftruncate",
        "-a deny,exit -F arch=b64 -S ftruncate -F dir={dir}/d -F auid={auid} -k {key}",
        |test| {
            let hook = since_6_2("file_truncate", "path_truncate")?;
            refused_by_call(test, "ftruncate", hook, |dir| {
                opened(libc::SYS_ftruncate, &dir.join("f"), [Arg::Number(1)])
            })
        },
    )
    .prepared(furnished),
    Case::new(
        "deny_setting_an_acl",
        "-a deny,exit -F arch=b64 -S setxattr -F dir={dir}/d -F auid={auid} -k {key}",
        |test| refused_by_call(test, "setxattr", since_6_2("inode_set_acl", "inode_setxattr")?, set_acl),
    )
    .prepared(furnished),
    Case::new(
        "deny_reading_an_acl",
        "-a deny,exit -F arch=b64 -S getxattr -F dir={dir}/d -F auid={auid} -k {key}",
        |test| {
            let hook = since_6_2("inode_get_acl", "inode_getxattr")?;
            refused_by_call(test, "getxattr", hook, |dir| sys::getxattr_size(&dir.join("f"), ACL))
        },
    )
    .prepared(with_acls),
    Case::new(
        "deny_removing_an_acl",
        "-a deny,exit -F arch=b64 -S removexattr -F dir={dir}/d -F auid={auid} -k {key}",
        |test| {
            let hook = since_6_2("inode_remove_acl", "inode_removexattr")?;
            refused_by_call(test, "removexattr", hook, |dir| sys::removexattr(&dir.join("f"), ACL))
        },
    )
    .prepared(with_acls),
];

const ACL: &std::ffi::CStr = c"system.posix_acl_access";

fn since_6_2(own: &'static str, before: &'static str) -> Result<&'static str> {
    Ok(if sys::kernel_release()?.starts_with("6.1.") { before } else { own })
}

/// Lets the user read and write, who is not the owner.
fn set_acl(dir: &Path) -> io::Result<()> {
    const NOBODY: u32 = u32::MAX;
    // `struct posix_acl_xattr_entry`: a tag, rights, an id; for the owner, a user, the group, the mask and others.
    let entry = |(tag, rights, id): (u16, u16, u32)| {
        [tag.to_le_bytes().as_slice(), &rights.to_le_bytes(), &id.to_le_bytes()].concat()
    };
    let entries = [(0x1, 6, NOBODY), (0x2, 6, 1000), (0x4, 4, NOBODY), (0x10, 6, NOBODY), (0x20, 4, NOBODY)];
    let version = vec![2, 0, 0, 0];
    let value = [version].into_iter().chain(entries.map(entry)).collect::<Vec<_>>().concat();
    sys::setxattr(&dir.join("f"), ACL, &value)
}

fn with_acls(place: &Place) -> Result<()> {
    furnished(place)?;
    Ok(["d", "free"].iter().try_for_each(|directory| set_acl(&place.path(directory)))?)
}

/// Symbolic links and attributes besides.
fn furnished(place: &Place) -> Result<()> {
    two_directories(place)?;
    for directory in ["d", "free"] {
        let link = place.path(directory).join("link");
        std::os::unix::fs::symlink("f", &link)?;
        sys::setxattr(&place.path(directory).join("f"), NAME, b"1")?;
        let (name, value) = (Arg::Text(NAME), Arg::Bytes(b"1"));
        named(libc::SYS_lsetxattr, &link, [name, value, Arg::Number(1), Arg::Number(0)])?;
    }
    Ok(())
}

/// A call that comes further than the hook when it is told this of what it was given.
fn but_for(errno: i32, result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.raw_os_error() == Some(errno) => Ok(()),
        result => result,
    }
}

/// A call whose first argument is a path.
fn named<const N: usize>(number: libc::c_long, path: &Path, rest: [Arg<'_>; N]) -> io::Result<()> {
    begins_with(number, [Arg::Text(&c_path(path)?)], rest)
}

/// A call whose first arguments are a directory's descriptor and a path.
fn at<const N: usize>(number: libc::c_long, path: &Path, rest: [Arg<'_>; N]) -> io::Result<()> {
    begins_with(number, [Arg::Number(HERE), Arg::Text(&c_path(path)?)], rest)
}

/// A call whose first argument is a file's descriptor. That stays open: closing it may ask fcntl(2) before.
fn opened<'a>(number: libc::c_long, path: &Path, rest: impl IntoIterator<Item = Arg<'a>>) -> io::Result<()> {
    let file = File::options().read(true).write(true).open(path)?.into_raw_fd();
    begins_with(number, [Arg::Number(file.into())], rest)
}

/// A call on two paths, each behind a directory's descriptor.
fn between(number: libc::c_long, from: &Path, to: &Path, flags: u32) -> io::Result<()> {
    let (from, to) = (c_path(from)?, c_path(to)?);
    let names = [Arg::Number(HERE), Arg::Text(&from), Arg::Number(HERE), Arg::Text(&to)];
    begins_with(number, names, [Arg::Number(flags.into())])
}

/// A call with these arguments, and those behind them.
fn begins_with<'a, const N: usize>(
    number: libc::c_long,
    first: [Arg<'a>; N],
    rest: impl IntoIterator<Item = Arg<'a>>,
) -> io::Result<()> {
    sys::call(number, &mut first.into_iter().chain(rest).collect::<Vec<_>>()).map(drop)
}

/// readv(2), writev(2) and the like, of one piece of memory.
fn on_vector(number: libc::c_long, dir: &Path, rest: &[i64]) -> io::Result<()> {
    let mut bytes = [b'x'; 8];
    let vector = [bytes.as_mut_ptr().expose_provenance(), bytes.len()].map(usize::to_ne_bytes).concat();
    let first = [Arg::Bytes(&vector), Arg::Number(1)];
    opened(number, &dir.join("f"), first.into_iter().chain(rest.iter().copied().map(Arg::Number)))
}

/// Maps a file's first page, to read. Returns where.
fn mapped(path: &Path) -> io::Result<i64> {
    let file = File::open(path)?;
    let numbers = [0, 4096, libc::PROT_READ, libc::MAP_PRIVATE, file.as_raw_fd(), 0];
    sys::call(libc::SYS_mmap, &mut numbers.map(|number| Arg::Number(number.into())))
}
