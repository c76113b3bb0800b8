//! Names: relative, odd, long, and seen from elsewhere; and look-ups that fail.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chroot, symlink};
use std::path::Path;

use anyhow::{Context, Result};
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::libc;
use nix::mount::{MsFlags, mount, umount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::mkfifo;

use super::acts::{as_user, fails, files, in_child, read, write};
use crate::compliance::case::Case;
use crate::place::Place;
use crate::sys::{self, Arg};

const OPENS: &str = "-a always,exit -F arch=b64 -S openat -F auid={auid} -F dir={dir} -k {key}";
const FAILING: &str =
    "-a always,exit -F arch=b64 -S openat,mkdir,unlink,rename,chmod,truncate -F success=0 -F auid={auid} -k {key}";

pub const CASES: &[Case] = &[
    Case::new("name_relative", OPENS, relative).prepared(files),
    Case::new("name_at_descriptor", OPENS, descriptor).prepared(files),
    Case::new("name_with_dots", OPENS, dots).prepared(files),
    Case::new("name_in_chroot", "-w {dir}/d -p w -k {key}", in_chroot).prepared(files),
    Case::new("name_through_bind_mount", OPENS, bind_mount).prepared(files),
    Case::new("name_in_other_mount_namespace", OPENS, namespace).prepared(files),
    Case::new("name_in_overlay", "-a always,exit -F arch=b64 -S openat,unlink -F auid={auid} -k {key}", overlay)
        .prepared(files),
    Case::new("name_of_255_bytes", "-w {dir}/d -p w -k {key}", long_name).prepared(files),
    Case::new("name_not_utf8", "-w {dir}/d -p w -k {key}", not_utf8).prepared(files),
    Case::new("name_with_odd_characters", "-w {dir}/d -p w -k {key}", odd).prepared(files),
    Case::new("name_watched_with_a_space", "-w {dir}/a\\ b -p w -k {key}", space),
    Case::new("name_beyond_path_max", "-w {dir}/d -p w -k {key}", beyond_path_max).prepared(files),
    Case::new("name_through_links", OPENS, through_links).prepared(files),
    Case::new("cwd_removed", "-a always,exit -F arch=b64 -S openat -F auid={auid} -k {key}", cwd_removed)
        .prepared(files),
    Case::new("failing_names", FAILING, failing).prepared(files),
    Case::new("failing_lengths_and_loops", FAILING, lengths).prepared(files),
    Case::new("failing_by_permission", FAILING, refused).prepared(closed),
    Case::new("failing_by_kind", FAILING, kinds).prepared(files),
    Case::new("failing_in_tree", "-w {dir}/d -p rwa -k {key}", in_tree).prepared(closed),
    Case::new("failing_address", FAILING, bad_address),
    Case::new("failing_read_only", FAILING, read_only).prepared(files),
    Case::new("exit_by_name", "-a always,exit -F arch=b64 -S openat -F exit=-EACCES -F auid={auid} -k {key}", refused)
        .prepared(closed),
];

/// d/closed, in which an ordinary user may not search, and files that only root may read.
fn closed(place: &Place) -> Result<()> {
    files(place)?;
    let directory = place.directory("d/closed")?;
    place.file("d/closed/f")?;
    place.file_with_mode("d/private", 0o600)?;
    Ok(fs::set_permissions(directory, Permissions::from_mode(0o700))?)
}

fn relative(place: &Place) -> Result<()> {
    env::set_current_dir(place.path("d"))?;
    read("f")?;
    write("in/f")?;
    File::create("new")?;
    env::set_current_dir(place.path("d/in"))?;
    read("../f")?;
    read("./f")?;
    File::create("../new2")?;
    Ok(())
}

fn descriptor(place: &Place) -> Result<()> {
    let directory = read(&place.dir)?;
    openat(&directory, "d/f", OFlag::O_WRONLY, Mode::empty())?;
    openat(&directory, "d/new", OFlag::O_WRONLY | OFlag::O_CREAT, Mode::from_bits_truncate(0o600))?;
    openat(&read(place.path("d"))?, "new2", OFlag::O_WRONLY | OFlag::O_CREAT, Mode::from_bits_truncate(0o600))?;
    Ok(())
}

fn dots(place: &Place) -> Result<()> {
    for name in ["d/../d/.//f", "d/./in/../g", "d//in///f"] {
        read(place.path(name))?;
    }
    read(place.path("d/in/"))?;
    read(place.path("d/in/."))?;
    read(place.path("d/in/.."))?;
    Ok(())
}

fn in_chroot(place: &Place) -> Result<()> {
    in_child(|| {
        chroot(place.path("d"))?;
        env::set_current_dir("/in")?;
        write("/f")?;
        write("f")?;
        File::create("/in/new")?;
        Ok(())
    })
}

fn bind_mount(place: &Place) -> Result<()> {
    let point = place.directory("point")?;
    mount(Some(&place.path("d")), &point, None::<&str>, MsFlags::MS_BIND, None::<&str>).context("cannot bind")?;
    write(point.join("f"))?;
    File::create(point.join("new"))?;
    Ok(umount(&point)?)
}

fn namespace(place: &Place) -> Result<()> {
    in_child(|| {
        unshare(CloneFlags::CLONE_NEWNS)?;
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
        let point = place.directory("e/point")?;
        mount(Some(&place.path("d")), &point, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
        write(point.join("in/f"))?;
        read(place.path("d/f"))?;
        Ok(())
    })
}

fn overlay(place: &Place) -> Result<()> {
    let point = place.directory("point")?;
    // Both must be on one file system, and work must be empty.
    let (upper, work) = (place.directory("upper")?, place.directory("work")?);
    let shown = |path: &Path| path.display().to_string();
    let lower = shown(&place.path("d"));
    let options = format!("lowerdir={lower},upperdir={},workdir={}", shown(&upper), shown(&work));
    mount(Some("overlay"), &point, Some("overlay"), MsFlags::empty(), Some(options.as_str())).context("no overlay")?;
    read(point.join("f"))?;
    write(point.join("f"))?;
    File::create(point.join("new"))?;
    fs::remove_file(point.join("g"))?;
    Ok(umount(&point)?)
}

fn long_name(place: &Place) -> Result<()> {
    create(place, OsStr::new(&"n".repeat(255)))
}

fn not_utf8(place: &Place) -> Result<()> {
    create(place, OsStr::from_bytes(b"caf\xe9 \xff\xfe \xc3"))
}

fn odd(place: &Place) -> Result<()> {
    create(place, OsStr::from_bytes(b"a \"b\" \\c \n\t\x1b[31m \x7f \xc2\x9b {} ' \xf0\x9f\x90\xa7"))?;
    create(place, OsStr::new("\"quoted\""))?;
    create(place, OsStr::new("3AB4"))
}

fn create(place: &Place, name: &OsStr) -> Result<()> {
    let file = place.path("d").join(name);
    File::create_new(&file)?;
    read(&file)?;
    fs::rename(&file, place.path("d/renamed"))?;
    fs::rename(place.path("d/renamed"), &file)?;
    Ok(fs::remove_file(&file)?)
}

fn space(place: &Place) -> Result<()> {
    File::create_new(place.path("a b"))?;
    File::create_new(place.path("a"))?;
    write(place.path("a b"))?;
    Ok(())
}

fn beyond_path_max(place: &Place) -> Result<()> {
    let name = "n".repeat(250);
    env::set_current_dir(place.path("d"))?;
    for _ in 0..20 {
        mkdirat(AT_FDCWD, name.as_str(), Mode::from_bits_truncate(0o755))?;
        env::set_current_dir(&name)?;
    }
    File::create_new("file")?;
    Ok(())
}

fn through_links(place: &Place) -> Result<()> {
    symlink("d", place.path("link"))?;
    symlink("link/f", place.path("twice"))?;
    read(place.path("link/f"))?;
    read(place.path("twice"))?;
    read(place.path("link/../d/f"))?;
    Ok(())
}

fn cwd_removed(place: &Place) -> Result<()> {
    env::set_current_dir(place.path("d/in"))?;
    fs::remove_file(place.path("d/in/f"))?;
    fs::remove_dir(place.path("d/in"))?;
    read(".")?;
    read(place.path("d/f"))?;
    fails(libc::ENOENT, File::create("new"))
}

fn failing(place: &Place) -> Result<()> {
    let absent = place.path("absent");
    fails(libc::ENOENT, read(&absent))?;
    fails(libc::ENOENT, read(absent.join("below")))?;
    fails(libc::ENOENT, read("relative"))?;
    fails(libc::ENOENT, read(""))?;
    fails(libc::ENOENT, fs::create_dir(absent.join("below")))?;
    fails(libc::EEXIST, fs::create_dir(place.path("d")))?;
    fails(libc::ENOENT, fs::remove_file(&absent))?;
    fails(libc::ENOENT, fs::rename(&absent, place.path("d/new")))?;
    fails(libc::ENOENT, fs::set_permissions(&absent, Permissions::from_mode(0o600)))?;
    fails(libc::EEXIST, File::create_new(place.path("d/f")))
}

fn lengths(place: &Place) -> Result<()> {
    symlink("loop", place.path("loop"))?;
    symlink("absent", place.path("dangling"))?;
    fails(libc::ELOOP, read(place.path("loop")))?;
    fails(libc::ELOOP, fs::set_permissions(place.path("loop"), Permissions::from_mode(0o600)))?;
    fails(libc::ENOENT, read(place.path("dangling")))?;
    fails(libc::ENAMETOOLONG, read(place.path("n".repeat(256))))?;
    fails(libc::ENAMETOOLONG, read(Path::new("/").join("n/".repeat(2100))))
}

fn refused(place: &Place) -> Result<()> {
    as_user(|| {
        let inside = place.path("d/closed/f");
        fails(libc::EACCES, read(&inside))?;
        fails(libc::EACCES, fs::remove_file(&inside))?;
        fails(libc::EACCES, fs::set_permissions(&inside, Permissions::from_mode(0o600)))?;
        fails(libc::EACCES, read(place.path("d/private")))?;
        fails(libc::EACCES, write(place.path("d/private")))?;
        fails(libc::EPERM, fs::set_permissions(place.path("d/private"), Permissions::from_mode(0o666)))?;
        fails(libc::EACCES, File::create(place.path("d/new")))?;
        fails(libc::EACCES, fs::create_dir(place.path("d/new")))?;
        fails(libc::EACCES, fs::rename(place.path("d/private"), place.path("d/other")))?;
        fails(libc::ENOENT, read(place.path("absent")))
    })?;
    read(place.path("d/private")).map(drop).map_err(Into::into)
}

fn in_tree(place: &Place) -> Result<()> {
    refused(place)?;
    fails(libc::ENOENT, read(place.path("d/absent")))?;
    fails(libc::ENOENT, fs::remove_file(place.path("d/absent")))?;
    fails(libc::EEXIST, fs::create_dir(place.path("d/in")))?;
    fails(libc::ENOTEMPTY, fs::remove_dir(place.path("d/in")))?;
    fails(libc::EEXIST, fs::hard_link(place.path("e/f"), place.path("d/f")))
}

fn kinds(place: &Place) -> Result<()> {
    mkfifo(&place.path("fifo"), Mode::from_bits_truncate(0o600))?;
    fails(libc::EISDIR, write(place.path("d")))?;
    fails(libc::ENOTDIR, read(place.path("d/f/below")))?;
    fails(libc::ENOTDIR, read(place.path("d/f/")))?;
    fails(libc::ENXIO, OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(place.path("fifo")))?;
    fails(libc::EISDIR, fs::remove_file(place.path("d")))?;
    fails(libc::ENOTDIR, fs::rename(place.path("d"), place.path("e/f")))?;
    fails(libc::EINVAL, nix::unistd::truncate(&place.path("d/f"), -1).map_err(Into::into))
}

fn bad_address(_: &Place) -> Result<()> {
    let here = || Arg::Number(libc::AT_FDCWD.into());
    fails(libc::EFAULT, sys::call(libc::SYS_openat, &mut [here(), Arg::Number(0), Arg::Number(0)]))?;
    fails(libc::EFAULT, sys::call(libc::SYS_openat, &mut [here(), Arg::Number(1), Arg::Number(0)]))?;
    fails(libc::EFAULT, sys::call(libc::SYS_unlink, &mut [Arg::Number(0)]))
}

fn read_only(place: &Place) -> Result<()> {
    let point = place.directory("point")?;
    let flags = MsFlags::MS_BIND | MsFlags::MS_RDONLY;
    mount(Some(&place.path("d")), &point, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
    mount(None::<&str>, &point, None::<&str>, flags | MsFlags::MS_REMOUNT, None::<&str>)?;
    fails(libc::EROFS, write(point.join("f")))?;
    fails(libc::EROFS, File::create(point.join("new")))?;
    fails(libc::EROFS, fs::remove_file(point.join("f")))?;
    fails(libc::EROFS, fs::set_permissions(point.join("f"), Permissions::from_mode(0o600)))?;
    Ok(umount(&point)?)
}
