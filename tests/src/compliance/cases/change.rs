//! Calls on names and attributes, by call.

use std::fs::{self, File, Permissions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt, chown, symlink};

use anyhow::Result;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, OpenHow, RenameFlags, openat2, readlinkat, renameat, renameat2};
use nix::libc;
use nix::sys::stat::{FchmodatFlags, Mode, SFlag, fchmodat, fstatat, makedev, mkdirat, mknod, mknodat, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{
    AccessFlags, Gid, Uid, UnlinkatFlags, access, chdir, faccessat, fchdir, fchownat, linkat, mkfifo, symlinkat,
    truncate, unlinkat,
};

use super::acts::{ATTRIBUTE, either, fails, files, in_child, read, write};
use crate::compliance::case::Case;
use crate::place::Place;
use crate::sys::{self, Arg};

/// Every call of its family, for the case's children alone.
macro_rules! calls {
    ($names:literal) => {
        concat!("-a always,exit -F arch=b64 -S ", $names, " -F auid={auid} -k {key}")
    };
}

pub const CASES: &[Case] = &[
    Case::new("unlink", calls!("unlink,unlinkat"), unlink).prepared(files),
    Case::new("rename", calls!("rename,renameat,renameat2"), rename).prepared(files),
    Case::new("rename_over", calls!("rename,renameat,renameat2"), rename_over).prepared(files),
    Case::new("rename_directory", calls!("rename"), rename_directory).prepared(files),
    Case::new("rename_exchange", calls!("renameat2"), rename_exchange).prepared(files),
    Case::new("rename_refused", calls!("rename,renameat2"), rename_refused).prepared(files),
    Case::new("link", calls!("link,linkat"), link).prepared(files),
    Case::new("symlink", calls!("symlink,symlinkat"), make_symlink).prepared(files),
    Case::new("mkdir_rmdir", calls!("mkdir,mkdirat,rmdir,unlinkat"), directories).prepared(files),
    Case::new("mknod", calls!("mknod,mknodat"), nodes).prepared(files),
    Case::new("chmod", calls!("chmod,fchmod,fchmodat"), chmod).prepared(files),
    Case::new("chown", calls!("chown,fchown,lchown,fchownat"), change_owner).prepared(files),
    Case::new("xattr", calls!("setxattr,lsetxattr,fsetxattr,removexattr,lremovexattr,fremovexattr"), xattr)
        .prepared(files),
    Case::new("xattr_reading", calls!("getxattr,lgetxattr,fgetxattr,listxattr,llistxattr,flistxattr"), xattr)
        .prepared(files),
    Case::new("truncate", calls!("truncate,ftruncate,fallocate"), shorten).prepared(files),
    Case::new("open_family", calls!("open,creat,openat,openat2"), opens).prepared(files),
    Case::new("open_by_handle", calls!("name_to_handle_at,open_by_handle_at"), by_handle).prepared(files),
    Case::new("times", calls!("utimensat,utime,utimes"), times).prepared(files),
    Case::new("access", calls!("access,faccessat,faccessat2"), accesses).prepared(files),
    Case::new("stat_family", calls!("stat,lstat,fstat,newfstatat,statx,statfs"), stats).prepared(files),
    Case::new("readlink", calls!("readlink,readlinkat"), readlink).prepared(files),
    Case::new("chdir", calls!("chdir,fchdir,chroot"), directory_changes).prepared(files),
    Case::new("descriptor_calls", calls!("close,dup,dup2,lseek,getdents64,fsync,flock,read,write"), descriptors)
        .prepared(files),
    Case::new("mmap", calls!("mmap"), mapping).prepared(files),
    Case::new("inotify", calls!("inotify_add_watch,inotify_rm_watch"), inotify).prepared(files),
];

fn unlink(place: &Place) -> Result<()> {
    fs::remove_file(place.path("d/f"))?;
    unlinkat(AT_FDCWD, &place.path("d/g"), UnlinkatFlags::NoRemoveDir)?;
    unlinkat(read(place.path("d/in"))?, "f", UnlinkatFlags::NoRemoveDir)?;
    fails(libc::ENOENT, fs::remove_file(place.path("d/f")))?;
    fails(libc::EISDIR, fs::remove_file(place.path("d/in")))
}

fn rename(place: &Place) -> Result<()> {
    fs::rename(place.path("d/f"), place.path("d/moved"))?;
    fs::rename(place.path("d/moved"), place.path("e/moved"))?;
    let (from, to) = (read(place.path("e"))?, read(place.path("d"))?);
    renameat(&from, "moved", &to, "f")?;
    renameat2(&to, "f", &from, "again", RenameFlags::RENAME_NOREPLACE)?;
    Ok(())
}

fn rename_over(place: &Place) -> Result<()> {
    fs::rename(place.path("d/f"), place.path("d/g"))?;
    fs::rename(place.path("d/g"), place.path("e/f"))?;
    renameat(AT_FDCWD, &place.path("d/in/f"), AT_FDCWD, &place.path("e/f"))?;
    Ok(())
}

fn rename_directory(place: &Place) -> Result<()> {
    fs::rename(place.path("d/in"), place.path("d/in2"))?;
    fs::create_dir(place.path("e/in"))?;
    fs::rename(place.path("d/in2"), place.path("e/in"))?;
    fails(libc::EINVAL, fs::rename(place.path("e"), place.path("e/in/below")))
}

fn rename_exchange(place: &Place) -> Result<()> {
    renameat2(AT_FDCWD, &place.path("d/f"), AT_FDCWD, &place.path("e/f"), RenameFlags::RENAME_EXCHANGE)?;
    Ok(())
}

fn rename_refused(place: &Place) -> Result<()> {
    let (from, to) = (place.path("d/f"), place.path("d/g"));
    let result = renameat2(AT_FDCWD, &from, AT_FDCWD, &to, RenameFlags::RENAME_NOREPLACE);
    fails(libc::EEXIST, result.map_err(Into::into))?;
    fails(libc::ENOENT, fs::rename(place.path("d/absent"), &to))?;
    fails(libc::ENOENT, fs::rename(&from, place.path("absent/f")))?;
    fails(libc::EISDIR, fs::rename(&from, place.path("d/in")))
}

fn link(place: &Place) -> Result<()> {
    let file = place.path("d/f");
    fs::hard_link(&file, place.path("d/hard"))?;
    linkat(AT_FDCWD, &file, AT_FDCWD, &place.path("e/hard"), AtFlags::empty())?;
    symlink("f", place.path("d/soft"))?;
    linkat(AT_FDCWD, &place.path("d/soft"), AT_FDCWD, &place.path("e/soft"), AtFlags::empty())?;
    linkat(AT_FDCWD, &place.path("d/soft"), AT_FDCWD, &place.path("e/followed"), AtFlags::AT_SYMLINK_FOLLOW)?;
    linkat(&read(&file)?, "", AT_FDCWD, &place.path("e/by_descriptor"), AtFlags::AT_EMPTY_PATH)?;
    linkat(&read(place.path("d"))?, "f", &read(place.path("e"))?, "relative", AtFlags::empty())?;
    let again = linkat(AT_FDCWD, &file, AT_FDCWD, &place.path("e/hard"), AtFlags::empty());
    fails(libc::EEXIST, again.map_err(Into::into))?;
    fails(libc::ENOENT, sys::call(libc::SYS_link, &mut [Arg::Text(c"/absent"), Arg::Text(c"/other")]))
}

fn make_symlink(place: &Place) -> Result<()> {
    symlink("target", place.path("d/one"))?;
    symlinkat("target", AT_FDCWD, &place.path("d/two"))?;
    symlinkat("/some/where", &read(place.path("d"))?, "three")?;
    fails(libc::EEXIST, symlink("target", place.path("d/one")))?;
    fails(libc::ENOENT, symlink("target", place.path("absent/one")))
}

fn directories(place: &Place) -> Result<()> {
    let mode = Mode::from_bits_truncate(0o755);
    let new = place.path("d/new");
    fs::create_dir(&new)?;
    fs::remove_dir(&new)?;
    mkdirat(AT_FDCWD, &new, mode)?;
    unlinkat(AT_FDCWD, &new, UnlinkatFlags::RemoveDir)?;
    mkdirat(&read(place.path("d"))?, "new", mode)?;
    fails(libc::EEXIST, fs::create_dir(&new))?;
    fails(libc::ENOTEMPTY, fs::remove_dir(place.path("d")))?;
    fails(libc::ENOENT, fs::remove_dir(place.path("absent")))?;
    fails(libc::ENOTDIR, fs::remove_dir(place.path("d/f")))?;
    fails(libc::ENOENT, fs::create_dir(place.path("absent/new")))
}

fn nodes(place: &Place) -> Result<()> {
    let mode = Mode::from_bits_truncate(0o600);
    mkfifo(&place.path("d/fifo"), mode)?;
    mknod(&place.path("d/null"), SFlag::S_IFCHR, mode, makedev(1, 3))?;
    mknod(&place.path("d/loop"), SFlag::S_IFBLK, mode, makedev(7, 0))?;
    mknod(&place.path("d/regular"), SFlag::S_IFREG, mode, 0)?;
    mknodat(&read(place.path("d"))?, "socket", SFlag::S_IFSOCK, mode, 0)?;
    let again = mknod(&place.path("d/fifo"), SFlag::S_IFIFO, mode, 0);
    fails(libc::EEXIST, again.map_err(Into::into))
}

fn chmod(place: &Place) -> Result<()> {
    let file = place.path("d/f");
    let mode = Mode::from_bits_truncate;
    fs::set_permissions(&file, Permissions::from_mode(0o4755))?;
    read(&file)?.set_permissions(Permissions::from_mode(0o400))?;
    fchmodat(AT_FDCWD, &file, mode(0o640), FchmodatFlags::FollowSymlink)?;
    fchmodat(&read(place.path("d"))?, "f", mode(0o600), FchmodatFlags::FollowSymlink)?;
    fs::set_permissions(place.path("d"), Permissions::from_mode(0o1755))?;
    symlink("f", place.path("d/soft"))?;
    fs::set_permissions(place.path("d/soft"), Permissions::from_mode(0o644))?;
    fails(libc::ENOENT, fs::set_permissions(place.path("absent"), Permissions::from_mode(0o644)))?;
    fails(libc::EBADF, sys::call(libc::SYS_fchmod, &mut [Arg::Number(999), Arg::Number(0o600)]))
}

fn change_owner(place: &Place) -> Result<()> {
    let (file, link) = (place.path("d/f"), place.path("d/link"));
    symlink("f", &link)?;
    chown(&file, Some(1), Some(2))?;
    chown(&link, Some(3), None)?;
    std::os::unix::fs::lchown(&link, Some(1000), Some(1000))?;
    std::os::unix::fs::fchown(read(&file)?, None, Some(5))?;
    let (uid, gid) = (Some(Uid::from_raw(6)), Some(Gid::from_raw(7)));
    fchownat(&read(place.path("d"))?, "f", uid, gid, AtFlags::empty())?;
    fchownat(AT_FDCWD, &link, uid, gid, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    fchownat(&read(&file)?, "", uid, None, AtFlags::AT_EMPTY_PATH)?;
    fails(libc::ENOENT, chown(place.path("absent"), Some(1), None))
}

fn xattr(place: &Place) -> Result<()> {
    let file = place.path("d/f");
    sys::setxattr(&file, ATTRIBUTE, b"value")?;
    sys::getxattr_size(&file, ATTRIBUTE)?;
    sys::listxattr_size(&file)?;
    let open = read(&file)?;
    let fd = || Arg::Number(open.as_raw_fd().into());
    let (name, path) = (|| Arg::Text(ATTRIBUTE), sys::c_path(&file)?);
    let (value, mut room) = (b"other", [0; 64]);
    let length = || Arg::Number(5);
    sys::call(libc::SYS_fsetxattr, &mut [fd(), name(), Arg::Bytes(value), length(), Arg::Number(0)])?;
    sys::call(libc::SYS_lsetxattr, &mut [Arg::Text(&path), name(), Arg::Bytes(value), length(), Arg::Number(0)])?;
    sys::call(libc::SYS_fgetxattr, &mut [fd(), name(), Arg::Room(&mut room), Arg::Number(64)])?;
    sys::call(libc::SYS_lgetxattr, &mut [Arg::Text(&path), name(), Arg::Room(&mut room), Arg::Number(64)])?;
    sys::call(libc::SYS_flistxattr, &mut [fd(), Arg::Room(&mut room), Arg::Number(64)])?;
    sys::call(libc::SYS_llistxattr, &mut [Arg::Text(&path), Arg::Room(&mut room), Arg::Number(64)])?;
    sys::call(libc::SYS_fremovexattr, &mut [fd(), name()])?;
    fails(libc::ENODATA, sys::call(libc::SYS_lremovexattr, &mut [Arg::Text(&path), name()]))?;
    fails(libc::ENODATA, sys::removexattr(&file, ATTRIBUTE))?;
    fails(libc::ENODATA, sys::getxattr_size(&file, ATTRIBUTE))?;
    fails(libc::ENOENT, sys::setxattr(&place.path("absent"), ATTRIBUTE, b"x"))
}

fn shorten(place: &Place) -> Result<()> {
    let file = place.path("d/f");
    truncate(&file, 2)?;
    nix::unistd::ftruncate(write(&file)?, 1)?;
    nix::fcntl::fallocate(write(&file)?, nix::fcntl::FallocateFlags::empty(), 0, 10)?;
    fails(libc::ENOENT, truncate(&place.path("absent"), 1).map_err(Into::into))?;
    fails(libc::EISDIR, truncate(&place.path("d"), 1).map_err(Into::into))?;
    fails(libc::EINVAL, nix::unistd::ftruncate(read(&file)?, 1).map_err(Into::into))
}

fn opens(place: &Place) -> Result<()> {
    let (file, new) = (place.path("d/f"), place.path("d/new"));
    sys::open(&file, libc::O_RDONLY)?;
    sys::open(&place.path("d/opened"), libc::O_CREAT | libc::O_RDWR | libc::O_EXCL)?;
    sys::creat(&new)?;
    sys::creat(&new)?;
    read(&file)?;
    openat2(AT_FDCWD, &file, OpenHow::new().flags(OFlag::O_RDWR))?;
    let beneath = OpenHow::new().flags(OFlag::O_RDONLY).resolve(nix::fcntl::ResolveFlag::RESOLVE_BENEATH);
    openat2(&read(place.path("d"))?, "in/f", beneath)?;
    let outside = openat2(&read(place.path("d"))?, "../e/f", beneath);
    fails(libc::EXDEV, outside.map(drop).map_err(Into::into))?;
    let made = OpenHow::new().flags(OFlag::O_CREAT | OFlag::O_WRONLY).mode(Mode::from_bits_truncate(0o600));
    openat2(AT_FDCWD, &place.path("d/made"), made)?;
    fails(libc::EISDIR, write(place.path("d")))
}

fn by_handle(place: &Place) -> Result<()> {
    // struct file_handle: handle_bytes, handle_type, and up to 128 bytes.
    let (mut handle, mut mount) = ([0_u8; 136], [0; 4]);
    handle[0] = 128;
    let path = sys::c_path(&place.path("d/f"))?;
    let here = Arg::Number(libc::AT_FDCWD.into());
    let mut args = [here, Arg::Text(&path), Arg::Room(&mut handle), Arg::Room(&mut mount), Arg::Number(0)];
    sys::call(libc::SYS_name_to_handle_at, &mut args)?;
    let root = read(&place.dir)?;
    let fd = Arg::Number(root.as_raw_fd().into());
    let opened =
        sys::call(libc::SYS_open_by_handle_at, &mut [fd, Arg::Bytes(&handle), Arg::Number(libc::O_RDWR.into())]);
    either(opened);
    Ok(())
}

fn times(place: &Place) -> Result<()> {
    let (file, time) = (place.path("d/f"), TimeSpec::new(1, 0));
    utimensat(AT_FDCWD, &file, &time, &time, nix::sys::stat::UtimensatFlags::FollowSymlink)?;
    nix::sys::stat::futimens(read(&file)?, &time, &time)?;
    let path = sys::c_path(&file)?;
    // struct utimbuf and two struct timeval, all 0.
    sys::call(libc::SYS_utime, &mut [Arg::Text(&path), Arg::Bytes(&[0; 16])])?;
    sys::call(libc::SYS_utimes, &mut [Arg::Text(&path), Arg::Bytes(&[0; 32])])?;
    let absent =
        utimensat(AT_FDCWD, &place.path("absent"), &time, &time, nix::sys::stat::UtimensatFlags::FollowSymlink);
    fails(libc::ENOENT, absent.map_err(Into::into))
}

fn accesses(place: &Place) -> Result<()> {
    access(&place.path("d/f"), AccessFlags::R_OK)?;
    faccessat(AT_FDCWD, &place.path("d/f"), AccessFlags::W_OK, AtFlags::empty())?;
    faccessat(&read(place.path("d"))?, "in", AccessFlags::X_OK, AtFlags::AT_EACCESS)?;
    fails(libc::ENOENT, access(&place.path("absent"), AccessFlags::F_OK).map_err(Into::into))?;
    fails(libc::EACCES, access(&place.path("d/f"), AccessFlags::X_OK).map_err(Into::into))
}

fn stats(place: &Place) -> Result<()> {
    let file = place.path("d/f");
    fs::metadata(&file)?;
    fs::symlink_metadata(&file)?;
    read(&file)?.metadata()?;
    let path = sys::c_path(&file)?;
    let mut room = [0; 256];
    for number in [libc::SYS_stat, libc::SYS_lstat] {
        sys::call(number, &mut [Arg::Text(&path), Arg::Room(&mut room)])?;
    }
    fstatat(AT_FDCWD, &file, AtFlags::empty())?;
    nix::sys::statfs::statfs(&file)?;
    fails(libc::ENOENT, fs::metadata(place.path("absent")))
}

fn readlink(place: &Place) -> Result<()> {
    symlink("f", place.path("d/soft"))?;
    fs::read_link(place.path("d/soft"))?;
    readlinkat(&read(place.path("d"))?, "soft")?;
    fails(libc::EINVAL, fs::read_link(place.path("d/f")))?;
    fails(libc::ENOENT, fs::read_link(place.path("absent")))
}

fn directory_changes(place: &Place) -> Result<()> {
    chdir(&place.path("d"))?;
    chdir("in")?;
    chdir("..")?;
    fchdir(read(place.path("e"))?)?;
    fails(libc::ENOTDIR, chdir(&place.path("d/f")).map_err(Into::into))?;
    fails(libc::ENOENT, chdir("absent").map_err(Into::into))?;
    in_child(|| {
        std::os::unix::fs::chroot(place.path("d"))?;
        Ok(chdir("/")?)
    })
}

fn descriptors(place: &Place) -> Result<()> {
    use std::io::{Read, Seek, Write};
    let mut file = File::options().read(true).write(true).open(place.path("d/f"))?;
    file.write_all(b"text")?;
    file.rewind()?;
    file.read_exact(&mut [0; 4])?;
    file.sync_all()?;
    drop(file.try_clone()?);
    let fd: i64 = file.as_raw_fd().into();
    sys::call(libc::SYS_dup2, &mut [Arg::Number(fd), Arg::Number(200)])?;
    sys::call(libc::SYS_close, &mut [Arg::Number(200)])?;
    fails(libc::EBADF, sys::call(libc::SYS_close, &mut [Arg::Number(200)]))?;
    sys::call(libc::SYS_flock, &mut [Arg::Number(fd), Arg::Number(libc::LOCK_SH.into())])?;
    fs::read_dir(place.path("d"))?.count();
    Ok(())
}

fn mapping(place: &Place) -> Result<()> {
    let file = read(place.path("d/f"))?;
    let shared = i64::from(libc::MAP_SHARED);
    let numbers = |fd: i64, flags: i64, length: i64| [0, length, libc::PROT_READ.into(), flags, fd, 0].map(Arg::Number);
    sys::call(libc::SYS_mmap, &mut numbers(file.as_raw_fd().into(), shared, 4096))?;
    sys::call(libc::SYS_mmap, &mut numbers(-1, i64::from(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS), 4096))?;
    fails(libc::EBADF, sys::call(libc::SYS_mmap, &mut numbers(999, shared, 4096)))?;
    fails(libc::EINVAL, sys::call(libc::SYS_mmap, &mut numbers(file.as_raw_fd().into(), shared, 0)))
}

fn inotify(place: &Place) -> Result<()> {
    let queue = sys::call(libc::SYS_inotify_init1, &mut [Arg::Number(0)])?;
    let path = sys::c_path(&place.path("d/f"))?;
    let watch = sys::call(libc::SYS_inotify_add_watch, &mut [Arg::Number(queue), Arg::Text(&path), Arg::Number(2)])?;
    sys::call(libc::SYS_inotify_rm_watch, &mut [Arg::Number(queue), Arg::Number(watch)])?;
    fails(
        libc::EBADF,
        sys::call(libc::SYS_inotify_add_watch, &mut [Arg::Number(999), Arg::Text(&path), Arg::Number(2)]),
    )
}
