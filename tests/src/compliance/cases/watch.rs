//! `-w` on one file: each permission, with acts beside it that must stay silent.

use std::fs::{self, File, OpenOptions, Permissions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown, fchown, lchown, symlink};

use anyhow::Result;
use nix::fcntl::{
    AT_FDCWD, AtFlags, FallocateFlags, OFlag, OpenHow, RenameFlags, fallocate, openat, openat2, renameat2,
};
use nix::libc;
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat, futimens};
use nix::sys::time::TimeSpec;
use nix::unistd::{ftruncate, linkat, truncate};

use super::acts::{ATTRIBUTE, as_user, either, fails, in_child, read, two_files, two_programs, write};
use crate::compliance::case::Case;
use crate::place::{Place, copy_of_busybox};
use crate::sys;

pub const CASES: &[Case] = &[
    Case::new("watch_write", "-w {dir}/f -p w -k {key}", all_acts).prepared(two_programs),
    Case::new("watch_read", "-w {dir}/f -p r -k {key}", all_acts).prepared(two_programs),
    Case::new("watch_execute", "-w {dir}/f -p x -k {key}", all_acts).prepared(two_programs),
    Case::new("watch_attributes", "-w {dir}/f -p a -k {key}", all_acts).prepared(two_programs),
    Case::new("watch_default", "-w {dir}/f -k {key}", all_acts).prepared(two_programs),
    Case::new("watch_several_keys", "-w {dir}/f -p wa -k {key} -k second -k third", all_acts).prepared(two_programs),
    Case::new("watch_as_field_rule", "-a always,exit -F arch=b64 -F path={dir}/f -F perm=wa -k {key}", all_acts)
        .prepared(two_programs),
    Case::new("watch_every_call", "-a always,exit -F arch=b64 -S all -F path={dir}/f -k {key}", all_acts)
        .prepared(two_programs),
    Case::new("watch_by_inode", "-a always,exit -F arch=b64 -S all -F inode={inode} -F auid={auid} -k {key}", all_acts)
        .prepared(two_programs),
    Case::new("watch_exempted", "-a never,exit -F path={dir}/f\n-w {dir}/f -p rwxa -k {key}", exempted)
        .prepared(two_files)
        .silent(),
    Case::new("watch_absent_file", "-w {dir}/f -p wa -k {key}", absent),
    Case::new("watch_create_and_truncate", "-w {dir}/f -p wr -k {key}", create).prepared(two_files),
    Case::new("watch_o_path", "-a always,exit -F arch=b64 -S openat -F path={dir}/f -k {key}", o_path)
        .prepared(two_files),
    Case::new("watch_replaced", "-w {dir}/f -p wa -k {key}", replaced).prepared(two_files),
    Case::new("watch_exchanged", "-w {dir}/f -p wa -k {key}", exchanged).prepared(two_files),
    Case::new("watch_moved_away_and_back", "-w {dir}/f -p wa -k {key}", moved).prepared(two_files),
    Case::new("watch_removed_and_made_again", "-w {dir}/f -p wa -k {key}", again).prepared(two_files),
    Case::new("watch_hard_link", "-w {dir}/f -p wa -k {key}", hard_link).prepared(two_files),
    Case::new("watch_through_symlink", "-w {dir}/f -p wa -k {key}", soft_link).prepared(two_files),
    Case::new("watch_symlink_itself", "-w {dir}/link -p rwa -k {key}", link_itself).prepared(with_link),
    Case::new("watch_refused", "-w {dir}/f -p rwa -k {key}", refused).prepared(private_file),
    Case::new("watch_directory_path", "-a always,exit -F arch=b64 -F path={dir}/d -F perm=wa -k {key}", directory)
        .prepared(with_directory),
];

fn with_link(place: &Place) -> Result<()> {
    place.file("f")?;
    Ok(symlink("f", place.path("link"))?)
}

fn private_file(place: &Place) -> Result<()> {
    place.file_with_mode("f", 0o600).map(drop)
}

fn with_directory(place: &Place) -> Result<()> {
    place.directory("d/in")?;
    place.file("d/f").map(drop)
}

/// Everything that a permission of a watch may see, to `f` and to `g`.
fn all_acts(place: &Place) -> Result<()> {
    for name in ["f", "g"] {
        let file = place.path(name);
        opens(place, name)?;
        fs::metadata(&file)?;
        fs::symlink_metadata(&file)?;
        attributes(place, name)?;
        let length = fs::metadata(&file)?.len().cast_signed();
        // Longer, so that it stays a program.
        truncate(&file, length + 1)?;
        ftruncate(write(&file)?, length + 2)?;
        fallocate(write(&file)?, FallocateFlags::FALLOC_FL_KEEP_SIZE, 0, length)?;
        futimens(read(&file)?, &TimeSpec::new(1, 0), &TimeSpec::new(1, 0))?;
        fs::set_permissions(&file, Permissions::from_mode(0o755))?;
        copy_of_busybox(&file).arg("true").status()?;
        either(nix::unistd::access(&file, nix::unistd::AccessFlags::R_OK).map_err(Into::into));
        fs::rename(&file, place.path("moved"))?;
        fs::rename(place.path("moved"), &file)?;
        fs::remove_file(&file)?;
    }
    Ok(())
}

/// Without renaming it: the kernel then turns the order of the rules on a file around.
fn exempted(place: &Place) -> Result<()> {
    opens(place, "f")?;
    attributes(place, "f")
}

fn opens(place: &Place, name: &str) -> Result<()> {
    let file = place.path(name);
    read(&file)?;
    write(&file)?;
    OpenOptions::new().read(true).write(true).open(&file)?;
    OpenOptions::new().append(true).open(&file)?;
    sys::open(&file, libc::O_RDONLY)?;
    openat2(AT_FDCWD, &file, OpenHow::new().flags(OFlag::O_RDWR))?;
    openat(read(&place.dir)?, name, OFlag::O_WRONLY, Mode::empty())?;
    Ok(())
}

fn attributes(place: &Place, name: &str) -> Result<()> {
    let file = place.path(name);
    fs::set_permissions(&file, Permissions::from_mode(0o751))?;
    read(&file)?.set_permissions(Permissions::from_mode(0o755))?;
    fchmodat(AT_FDCWD, &file, Mode::from_bits_truncate(0o711), FchmodatFlags::FollowSymlink)?;
    chown(&file, Some(2), Some(3))?;
    lchown(&file, Some(0), Some(0))?;
    fchown(read(&file)?, Some(4), None)?;
    sys::setxattr(&file, ATTRIBUTE, b"value")?;
    sys::getxattr_size(&file, ATTRIBUTE)?;
    sys::listxattr_size(&file)?;
    sys::removexattr(&file, ATTRIBUTE)?;
    linkat(AT_FDCWD, &file, AT_FDCWD, &place.path("hard"), AtFlags::empty())?;
    Ok(fs::remove_file(place.path("hard"))?)
}

fn absent(place: &Place) -> Result<()> {
    let file = place.path("f");
    fails(libc::ENOENT, write(&file))?;
    fails(libc::ENOENT, fs::metadata(&file))?;
    File::create(place.path("other"))?;
    File::create_new(&file)?;
    write(&file)?;
    fs::remove_file(&file)?;
    File::create_new(&file)?;
    Ok(())
}

fn create(place: &Place) -> Result<()> {
    let file = place.path("f");
    let flags = |flags: i32| OpenOptions::new().read(true).custom_flags(flags).open(&file);
    flags(libc::O_CREAT)?;
    OpenOptions::new().write(true).create(true).truncate(true).open(&file)?;
    OpenOptions::new().write(true).truncate(true).open(&file)?;
    fails(libc::EEXIST, File::create_new(&file))?;
    sys::creat(&file)?;
    fs::remove_file(&file)?;
    flags(libc::O_CREAT)?;
    Ok(())
}

fn o_path(place: &Place) -> Result<()> {
    let open = |name: &str, flags: i32| OpenOptions::new().read(true).custom_flags(flags).open(place.path(name));
    open("f", libc::O_PATH)?;
    open("g", libc::O_PATH)?;
    open("f", libc::O_NOFOLLOW)?;
    fails(libc::ENOTDIR, open("f", libc::O_DIRECTORY))
}

fn replaced(place: &Place) -> Result<()> {
    let (file, new) = (place.path("f"), place.path("new"));
    for _ in 0..3 {
        fs::write(&new, "new content")?;
        fs::rename(&new, &file)?;
        write(&file)?;
        fs::set_permissions(&file, Permissions::from_mode(0o600))?;
    }
    Ok(())
}

fn exchanged(place: &Place) -> Result<()> {
    let (file, other) = (place.path("f"), place.path("g"));
    renameat2(AT_FDCWD, &file, AT_FDCWD, &other, RenameFlags::RENAME_EXCHANGE)?;
    write(&file)?;
    write(&other)?;
    Ok(())
}

fn moved(place: &Place) -> Result<()> {
    let (file, elsewhere) = (place.path("f"), place.path("elsewhere"));
    fs::rename(&file, &elsewhere)?;
    write(&elsewhere)?;
    fs::rename(&elsewhere, &file)?;
    write(&file)?;
    Ok(())
}

fn again(place: &Place) -> Result<()> {
    let file = place.path("f");
    for _ in 0..3 {
        fs::remove_file(&file)?;
        File::create(&file)?;
        write(&file)?;
    }
    Ok(())
}

fn hard_link(place: &Place) -> Result<()> {
    let (file, hard) = (place.path("f"), place.path("hard"));
    fs::hard_link(&file, &hard)?;
    write(&hard)?;
    fs::set_permissions(&hard, Permissions::from_mode(0o600))?;
    fs::remove_file(&hard)?;
    fails(libc::EEXIST, fs::hard_link(place.path("g"), &file))
}

fn soft_link(place: &Place) -> Result<()> {
    let (file, soft) = (place.path("f"), place.path("soft"));
    symlink("f", &soft)?;
    write(&soft)?;
    chown(&soft, Some(1), Some(1))?;
    lchown(&soft, Some(1), Some(1))?;
    fails(libc::ELOOP, OpenOptions::new().write(true).custom_flags(libc::O_NOFOLLOW).open(&soft))?;
    fs::remove_file(&soft)?;
    symlink("g", &soft)?;
    fs::rename(&soft, &file)?;
    write(&file)?;
    Ok(())
}

fn link_itself(place: &Place) -> Result<()> {
    let link = place.path("link");
    fs::read_link(&link)?;
    read(&link)?;
    lchown(&link, Some(1), Some(1))?;
    fs::symlink_metadata(&link)?;
    fs::remove_file(&link)?;
    Ok(symlink("elsewhere", &link)?)
}

fn refused(place: &Place) -> Result<()> {
    let file = place.path("f");
    as_user(|| {
        fails(libc::EACCES, read(&file))?;
        fails(libc::EACCES, write(&file))?;
        fails(libc::EPERM, fs::set_permissions(&file, Permissions::from_mode(0o666)))?;
        fails(libc::EACCES, fs::remove_file(&file))?;
        fails(libc::EPERM, chown(&file, Some(1), None))
    })?;
    in_child(|| Ok(read(&file).map(drop)?))
}

fn directory(place: &Place) -> Result<()> {
    let directory = place.path("d");
    File::create(directory.join("new"))?;
    fs::remove_file(directory.join("new"))?;
    write(directory.join("f"))?;
    fs::create_dir(directory.join("in/deeper"))?;
    fs::create_dir(directory.join("dir"))?;
    fs::set_permissions(&directory, Permissions::from_mode(0o700))?;
    fs::rename(&directory, place.path("moved"))?;
    Ok(())
}
