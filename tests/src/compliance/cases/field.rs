//! Fields and their operators, comparisons of fields, and the 32-bit entry.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use nix::libc;
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};

use super::acts::{as_user, either, fails, in_child, read, write};
use crate::compliance::case::Case;
use crate::place::{BUSYBOX, Place, copy_of_busybox};
use crate::sys::{self, Arg, LowText};

/// Opens of `f` for which a test on the task holds.
macro_rules! opens {
    ($name:literal, $fields:literal) => {
        Case::new(
            $name,
            concat!("-a always,exit -F arch=b64 -S openat -F path={dir}/f ", $fields, " -k {key}"),
            identities,
        )
        .prepared(file)
    };
}

/// Calls on objects for which a test holds.
macro_rules! objects {
    ($name:literal, $fields:literal) => {
        Case::new(
            $name,
            concat!(
                "-a always,exit -F arch=b64 -S openat,unlink,mkdir,rename,chmod -F auid={auid} ",
                $fields,
                " -k {key}"
            ),
            kinds,
        )
        .prepared(objects)
    };
}

/// getppid and the like, for which a test on arguments or result holds.
macro_rules! numbers {
    ($name:literal, $fields:literal) => {
        Case::new(
            $name,
            concat!("-a always,exit -F arch=b64 -S dup2,lseek,close -F auid={auid} ", $fields, " -k {key}"),
            arguments,
        )
        .prepared(file)
    };
}

/// Calls through the 32-bit entry.
macro_rules! narrow {
    ($name:literal, $rule:literal) => {
        Case::new($name, concat!("-a always,exit -F arch=b32 -S ", $rule, " -F auid={auid} -k {key}"), narrow)
            .prepared(objects)
    };
}

pub const CASES: &[Case] = &[
    opens!("uid", "-F uid=1000"),
    opens!("uid_not", "-F uid!=0"),
    opens!("uid_below", "-F uid<1000"),
    opens!("uid_at_most", "-F uid<=1000"),
    opens!("uid_above", "-F uid>0"),
    opens!("uid_at_least", "-F uid>=1000"),
    opens!("euid", "-F euid=1000 -F uid=0"),
    opens!("suid", "-F suid!=0"),
    opens!("fsuid", "-F fsuid=1000"),
    opens!("gid", "-F gid=4"),
    opens!("gid_not", "-F gid!=4"),
    opens!("gid_supplementary", "-F gid=5"),
    opens!("gid_above", "-F gid>4"),
    opens!("egid", "-F egid=5"),
    opens!("egid_not", "-F egid!=5"),
    opens!("sgid", "-F sgid=4"),
    opens!("fsgid", "-F fsgid>=4"),
    opens!("auid", "-F auid={auid} -F uid=0"),
    opens!("auid_unset", "-F auid=unset"),
    opens!("auid_set", "-F auid!=unset -F auid>=1000"),
    opens!("session", "-F sessionid!=unset -F sessionid>0"),
    opens!("exe", "-F exe=/usr/bin/busybox"),
    opens!("exe_not", "-F exe!=/usr/bin/busybox"),
    opens!("pid", "-F pid>1 -F ppid>1"),
    opens!("pid_never", "-F pid!=1 -F ppid!=0"),
    opens!("success", "-F success=1"),
    opens!("failure", "-F success!=1"),
    opens!("exit", "-F exit=-EACCES"),
    opens!("exit_not", "-F exit!=-EACCES"),
    opens!("exit_above", "-F exit>0"),
    opens!("perm_read", "-F perm=r"),
    opens!("perm_write", "-F perm=w"),
    opens!("perm_write_attributes", "-F perm=wa"),
    opens!("flags_of_the_call", "-F a2&1"),
    opens!("flags_of_the_call_all", "-F a2&=1"),
    objects!("obj_uid", "-F obj_uid=1000"),
    objects!("obj_uid_not", "-F obj_uid!=1000"),
    objects!("obj_gid", "-F obj_gid=4"),
    objects!("obj_gid_above", "-F obj_gid>=4"),
    objects!("filetype_directory", "-F filetype=dir"),
    objects!("filetype_file", "-F filetype=file"),
    objects!("filetype_character", "-F filetype=character"),
    objects!("filetype_fifo", "-F filetype=fifo"),
    objects!("filetype_not", "-F filetype!=file"),
    objects!("devmajor", "-F devmajor={devmajor} -F devminor={devminor}"),
    objects!("devmajor_of_node", "-F devmajor=1"),
    objects!("devminor_of_node", "-F devminor=3"),
    objects!("inode", "-F inode={inode}"),
    objects!("perm_of_calls", "-F perm=a"),
    objects!("perm_of_calls_write", "-F perm=w"),
    numbers!("a0", "-F a0=200"),
    numbers!("a0_not", "-F a0!=200"),
    numbers!("a1_above", "-F a1>100"),
    numbers!("a1_mask", "-F a1&192"),
    numbers!("a1_mask_all", "-F a1&=201"),
    numbers!("a1_truncated", "-F a1=7"),
    numbers!("a2", "-F a2=1"),
    numbers!("exit_value", "-F exit=201"),
    numbers!("exit_at_least", "-F exit>=100"),
    numbers!("exit_of_error", "-F exit=-EBADF"),
    opens!("uid_euid", "-C uid=euid"),
    opens!("uid_not_euid", "-C uid!=euid"),
    opens!("uid_suid", "-C uid!=suid"),
    opens!("uid_fsuid", "-C uid!=fsuid"),
    opens!("uid_auid", "-C uid!=auid"),
    opens!("uid_is_auid", "-C uid=auid"),
    opens!("euid_suid", "-C euid!=suid"),
    opens!("euid_fsuid", "-C euid=fsuid"),
    opens!("euid_auid", "-C euid=auid"),
    opens!("suid_fsuid", "-C suid!=fsuid"),
    opens!("suid_auid", "-C suid=auid"),
    opens!("fsuid_auid", "-C fsuid=auid"),
    opens!("uid_obj_uid", "-C uid=obj_uid"),
    opens!("euid_obj_uid", "-C euid=obj_uid"),
    opens!("suid_obj_uid", "-C suid!=obj_uid"),
    opens!("fsuid_obj_uid", "-C fsuid!=obj_uid"),
    opens!("auid_obj_uid", "-C auid=obj_uid"),
    opens!("gid_egid", "-C gid!=egid"),
    opens!("gid_sgid", "-C gid!=sgid"),
    opens!("gid_fsgid", "-C gid=fsgid"),
    opens!("egid_sgid", "-C egid!=sgid"),
    opens!("egid_fsgid", "-C egid=fsgid"),
    opens!("sgid_fsgid", "-C sgid!=fsgid"),
    opens!("gid_obj_gid", "-C gid=obj_gid"),
    opens!("egid_obj_gid", "-C egid=obj_gid"),
    opens!("sgid_obj_gid", "-C sgid!=obj_gid"),
    opens!("fsgid_obj_gid", "-C fsgid!=obj_gid"),
    narrow!("b32_open", "open,openat,creat"),
    narrow!("b32_names", "unlink,mkdir,rmdir,chmod,rename"),
    narrow!("b32_numbers", "getpid,getuid32,close,dup2"),
    narrow!("b32_kill", "kill"),
    narrow!("b32_every_call", "all"),
    Case::new(
        "b32_structures",
        "-a always,exit -F arch=b32 -S socketcall,pipe,mmap,shmget,shmctl,msgget,mq_notify,capset -F auid={auid} -k {key}",
        narrow_structures,
    ),
    Case::new("b64_of_both", "-a always,exit -F arch=b64 -S open,openat,close -F auid={auid} -k {key}", narrow)
        .prepared(objects),
    Case::new("watch_of_both_arches", "-w {dir}/f -p rw -k {key}", narrow).prepared(objects),
];

fn file(place: &Place) -> Result<()> {
    let file = place.file_with_mode("f", 0o640)?;
    Ok(chown(file, Some(1000), Some(4))?)
}

fn objects(place: &Place) -> Result<()> {
    file(place)?;
    place.file("g")?;
    place.directory("d")?;
    let mode = Mode::from_bits_truncate(0o666);
    mknod(&place.path("null"), SFlag::S_IFCHR, mode, makedev(1, 3))?;
    Ok(mknod(&place.path("fifo"), SFlag::S_IFIFO, mode, 0)?)
}

/// Opens `f` for reading and for writing.
fn both(place: &Place) {
    // Some may not, which is the point.
    either(read(place.path("f")));
    either(write(place.path("f")));
}

/// Opens `f` as many a task.
fn identities(place: &Place) -> Result<()> {
    const USERS: [[u32; 3]; 6] = [[0, 0, 0], [1000, 1000, 1000], [0, 1000, 0], [1000, 0, 0], [0, 0, 1000], [1, 2, 3]];
    const GROUPS: [[u32; 3]; 4] = [[0, 0, 0], [4, 4, 4], [5, 4, 0], [4, 5, 6]];
    for users in USERS {
        in_child(|| {
            let [real, effective, saved] = users.map(Uid::from_raw);
            setresuid(real, effective, saved)?;
            both(place);
            Ok(())
        })?;
    }
    for (number, groups) in GROUPS.into_iter().enumerate() {
        in_child(|| {
            let others: &[Gid] = if number % 2 == 0 { &[] } else { &[Gid::from_raw(5), Gid::from_raw(9)] };
            setgroups(others)?;
            let [real, effective, saved] = groups.map(Gid::from_raw);
            setresgid(real, effective, saved)?;
            both(place);
            Ok(())
        })?;
    }
    // A login uid that is the owner's, and none.
    for auid in [1000, u32::MAX] {
        in_child(|| {
            crate::child::set_login_uid(auid)?;
            both(place);
            let user = Uid::from_raw(1000);
            setresuid(user, user, user)?;
            both(place);
            Ok(())
        })?;
    }
    in_child(|| {
        sys::call(libc::SYS_setfsuid, &mut [Arg::Number(7)])?;
        sys::call(libc::SYS_setfsgid, &mut [Arg::Number(8)])?;
        both(place);
        Ok(())
    })?;
    Command::new(BUSYBOX).arg("cat").arg(place.path("f")).output()?;
    copy_of_busybox(Path::new(BUSYBOX)).arg("true").status()?;
    Ok(())
}

/// Calls on objects of all kinds.
fn kinds(place: &Place) -> Result<()> {
    for name in ["f", "g", "d", "null"] {
        read(place.path(name))?;
        fs::set_permissions(place.path(name), Permissions::from_mode(0o700))?;
    }
    File::options().read(true).write(true).open(place.path("fifo"))?;
    write(place.path("null"))?;
    File::create(place.path("d/new"))?;
    fs::rename(place.path("d/new"), place.path("d/other"))?;
    fs::rename(place.path("f"), place.path("d/f"))?;
    fs::rename(place.path("d/f"), place.path("f"))?;
    fs::create_dir(place.path("d/in"))?;
    fails(libc::EEXIST, fs::create_dir(place.path("d/in")))?;
    fs::remove_file(place.path("d/other"))?;
    fs::remove_file(place.path("fifo"))?;
    fails(libc::ENOENT, read(place.path("absent")))?;
    as_user(|| fails(libc::EACCES, read(place.path("g"))))
}

fn arguments(place: &Place) -> Result<()> {
    let file = read(place.path("f"))?;
    let fd: i64 = std::os::fd::AsRawFd::as_raw_fd(&file).into();
    let dup = |from: i64, to: i64| sys::call(libc::SYS_dup2, &mut [from, to].map(Arg::Number));
    for to in [200, 201, 300, 5000] {
        either(dup(fd, to));
    }
    fails(libc::EBADF, dup(999, 201))?;
    let seek = |offset: i64, whence: i64| sys::call(libc::SYS_lseek, &mut [fd, offset, whence].map(Arg::Number));
    seek(1 << 32 | 7, 0)?;
    seek(0, 1)?;
    fails(libc::EINVAL, seek(-1, 0))?;
    for fd in [200, 201] {
        sys::call(libc::SYS_close, &mut [Arg::Number(fd)])?;
    }
    fails(libc::EBADF, sys::call(libc::SYS_close, &mut [Arg::Number(200)]))
}

/// Calls as a 32-bit program makes them, and some of the usual ones. Where the kernel has no such entry, nobody has events.
fn narrow(place: &Place) -> Result<()> {
    // arch/x86/entry/syscalls/syscall_32.tbl.
    const OPEN: u32 = 5;
    const UNLINK: u32 = 10;
    const CHMOD: u32 = 15;
    const GETPID: u32 = 20;
    const RENAME: u32 = 38;
    const KILL: u32 = 37;
    const MKDIR: u32 = 39;
    const RMDIR: u32 = 40;
    const GETUID32: u32 = 199;
    const DUP2: u32 = 63;
    const CLOSE: u32 = 6;
    let name = |name: &str| LowText::new(&place.path(name)).map(|text| text.address());
    let (file, other, directory) = (name("f")?, name("new")?, name("new-d")?);
    let here = sys::call_32(OPEN, [file, 0, 0]);
    anyhow::ensure!(here >= 0, "open gave {here}");
    let (write, create) = (libc::O_WRONLY.cast_unsigned(), (libc::O_CREAT | libc::O_WRONLY).cast_unsigned());
    for (number, args) in [
        (OPEN, [file, write, 0]),
        (OPEN, [other, create, 0o600]),
        (OPEN, [name("absent")?, 0, 0]),
        (CHMOD, [file, 0o600, 0]),
        (RENAME, [other, name("renamed")?, 0]),
        (UNLINK, [name("renamed")?, 0, 0]),
        (UNLINK, [name("absent")?, 0, 0]),
        (MKDIR, [directory, 0o700, 0]),
        (RMDIR, [directory, 0, 0]),
        (GETPID, [0; 3]),
        (GETUID32, [0; 3]),
        (DUP2, [1, 222, 0]),
        (CLOSE, [222, 0, 0]),
        (CLOSE, [222, 0, 0]),
        (KILL, [std::process::id(), 0, 0]),
    ] {
        sys::call_32(number, args);
    }
    read(place.path("f"))?;
    Ok(())
}

/// Calls as a 32-bit program makes them, with structures in its memory.
fn narrow_structures(_: &Place) -> Result<()> {
    // arch/x86/entry/syscalls/syscall_32.tbl.
    const PIPE: u32 = 42;
    const MMAP: u32 = 90;
    const SOCKETCALL: u32 = 102;
    const CAPSET: u32 = 185;
    const MQ_NOTIFY: u32 = 281;
    const SHMGET: u32 = 395;
    const SHMCTL: u32 = 396;
    const MSGGET: u32 = 399;
    // net(2): socket and connect.
    const SOCKET: u32 = 1;
    const CONNECT: u32 = 3;
    let words = |words: &[u32]| {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        LowText::of_bytes(&bytes).map(|memory| memory.address())
    };
    sys::call_32(PIPE, [words(&[0, 0])?, 0, 0]);
    sys::call_32(PIPE, [words(&[0, 0])?, 0, 0]);
    let socket = sys::call_32(SOCKETCALL, [SOCKET, words(&[1, 1, 0, 0, 0, 0])?, 0]).cast_unsigned();
    let nobody = LowText::of_bytes(&[1, 0, 0, b'n', b'o'])?;
    sys::call_32(SOCKETCALL, [CONNECT, words(&[socket, nobody.address(), 5, 0, 0, 0])?, 0]);
    let file = read("/proc/self/exe")?;
    let fd = std::os::fd::AsRawFd::as_raw_fd(&file).cast_unsigned();
    sys::call_32(MMAP, [words(&[0, 4096, 1, 2, fd, 0])?, 0, 0]);
    sys::call_32(MMAP, [words(&[0, 4096, 1, 0x22, u32::MAX, 0])?, 0, 0]);
    let memory = sys::call_32(SHMGET, [0, 4096, 0o600]).cast_unsigned();
    sys::call_32(SHMCTL, [memory, 0, 0]);
    sys::call_32(MSGGET, [0, 0o600, 0]);
    sys::call_32(MQ_NOTIFY, [99, words(&[0, 10, 0, 0])?, 0]);
    // Version 3, this process; nothing at all.
    sys::call_32(CAPSET, [words(&[0x2008_0522, 0])?, words(&[0; 6])?, 0]);
    Ok(())
}
