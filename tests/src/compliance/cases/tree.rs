//! `-w` on a directory: everything below it.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};

use anyhow::{Context, Result};
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, RenameFlags, openat, renameat2};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::Mode;
use nix::unistd::{linkat, mkfifo};

use super::acts::{files, read, write};
use crate::compliance::case::Case;
use crate::place::{Place, copy_of_busybox};

pub const CASES: &[Case] = &[
    Case::new("tree_write_attributes", "-w {dir}/d -p wa -k {key}", acts).prepared(files),
    Case::new("tree_read", "-w {dir}/d -p r -k {key}", acts).prepared(files),
    Case::new("tree_default", "-w {dir}/d -k {key}", acts).prepared(files),
    Case::new("tree_execute", "-w {dir}/d -p x -k {key}", execute).prepared(with_tools),
    Case::new("tree_as_field_rule", "-a always,exit -F arch=b64 -S openat -F dir={dir}/d -F perm=w -k {key}", acts)
        .prepared(files),
    Case::new("tree_every_call", "-a always,exit -F arch=b64 -S all -F dir={dir}/d -k {key}", acts).prepared(files),
    Case::new("tree_moves", "-w {dir}/d -p wa -k {key}", moves).prepared(files),
    Case::new("tree_moved_directory", "-w {dir}/d -p wa -k {key}", moved_directory).prepared(files),
    Case::new("tree_of_70_levels", "-w {dir}/d -p w -k {key}", deep).prepared(files),
    Case::new("tree_with_a_mount_inside", "-w {dir}/d -p w -k {key}", mount_inside).prepared(with_mount),
    Case::new("tree_in_a_tree", "-w {dir}/d/in -p w -k {key}\n-w {dir}/d -p w -k {key} -k outer", acts).prepared(files),
    Case::new("tree_links", "-w {dir}/d -p wa -k {key}", links).prepared(files),
    Case::new("tree_reached_by_symlink", "-w {dir}/d -p wa -k {key}", by_symlink).prepared(files),
    Case::new("tree_reached_by_bind_mount", "-w {dir}/d -p wa -k {key}", by_bind_mount).prepared(files),
    Case::new("tree_unnamed_file", "-w {dir}/d -p w -k {key}", unnamed).prepared(files),
    Case::new("tree_exempted", "-a never,exit -F dir={dir}/d/in\n-w {dir}/d -p w -k {key}", acts).prepared(files),
];

fn with_tools(place: &Place) -> Result<()> {
    files(place)?;
    place.program("d/tool")?;
    place.program("tool").map(drop)
}

fn with_mount(place: &Place) -> Result<()> {
    files(place)?;
    let point = place.directory("d/mounted")?;
    mount(Some("inner"), &point, Some("tmpfs"), MsFlags::empty(), None::<&str>).context("cannot mount a tmpfs")?;
    place.file("d/mounted/f").map(drop)
}

/// The same inside and beside the tree.
fn acts(place: &Place) -> Result<()> {
    for directory in ["d", "d/in", "e"] {
        let directory = place.path(directory);
        let (file, new) = (directory.join("f"), directory.join("new"));
        read(&file)?;
        write(&file)?;
        fs::read_dir(&directory)?.count();
        fs::set_permissions(&file, Permissions::from_mode(0o600))?;
        fs::set_permissions(&directory, Permissions::from_mode(0o755))?;
        File::create(&new)?;
        fs::remove_file(&new)?;
        fs::create_dir(&new)?;
        File::create(new.join("file"))?;
        write(new.join("file"))?;
        fs::remove_file(new.join("file"))?;
        fs::remove_dir(&new)?;
        mkfifo(&new, Mode::from_bits_truncate(0o600))?;
        fs::remove_file(&new)?;
    }
    Ok(())
}

fn execute(place: &Place) -> Result<()> {
    for tool in ["d/tool", "tool"] {
        let tool = place.path(tool);
        copy_of_busybox(&tool).arg("true").status()?;
        read(&tool)?;
        write(&tool)?;
    }
    Ok(())
}

fn moves(place: &Place) -> Result<()> {
    let (outside, inside) = (place.path("e/f"), place.path("d/in/moved"));
    fs::rename(&outside, &inside)?;
    write(&inside)?;
    fs::rename(&inside, &outside)?;
    write(&outside)?;
    fs::rename(place.path("d/f"), place.path("d/in/f2"))?;
    fs::rename(place.path("d/in/f2"), place.path("d/in/f3"))?;
    fs::rename(place.path("d/in/f3"), place.path("d/g"))?;
    renameat2(AT_FDCWD, &place.path("d/g"), AT_FDCWD, &outside, RenameFlags::RENAME_EXCHANGE)?;
    Ok(())
}

fn moved_directory(place: &Place) -> Result<()> {
    fs::rename(place.path("d/in"), place.path("e/in"))?;
    write(place.path("e/in/f"))?;
    fs::rename(place.path("e/in"), place.path("d/back"))?;
    write(place.path("d/back/f"))?;
    fs::create_dir(place.path("e/new"))?;
    File::create(place.path("e/new/f"))?;
    fs::rename(place.path("e/new"), place.path("d/new"))?;
    write(place.path("d/new/f"))?;
    Ok(())
}

fn deep(place: &Place) -> Result<()> {
    let directory = (0..70).fold(place.path("d"), |path, level| path.join(format!("level{level}")));
    fs::create_dir_all(&directory)?;
    fs::write(directory.join("file"), "x")?;
    Ok(())
}

fn mount_inside(place: &Place) -> Result<()> {
    let directory = place.path("d/mounted");
    write(directory.join("f"))?;
    read(directory.join("f"))?;
    File::create(directory.join("new"))?;
    fs::remove_file(directory.join("new"))?;
    Ok(())
}

fn links(place: &Place) -> Result<()> {
    fs::hard_link(place.path("e/f"), place.path("d/hard"))?;
    write(place.path("d/hard"))?;
    write(place.path("e/f"))?;
    fs::remove_file(place.path("d/hard"))?;
    fs::hard_link(place.path("d/f"), place.path("e/hard"))?;
    write(place.path("e/hard"))?;
    symlink("../e/f", place.path("d/soft"))?;
    write(place.path("d/soft"))?;
    fs::remove_file(place.path("d/soft"))?;
    Ok(())
}

fn by_symlink(place: &Place) -> Result<()> {
    let link = place.path("link");
    symlink("d", &link)?;
    write(link.join("f"))?;
    File::create(link.join("new"))?;
    fs::rename(link.join("new"), link.join("in/new"))?;
    fs::remove_file(link.join("in/new"))?;
    Ok(())
}

fn by_bind_mount(place: &Place) -> Result<()> {
    let point = place.directory("point")?;
    mount(Some(&place.path("d")), &point, None::<&str>, MsFlags::MS_BIND, None::<&str>).context("cannot bind")?;
    write(point.join("f"))?;
    File::create(point.join("new"))?;
    fs::set_permissions(point.join("in/f"), Permissions::from_mode(0o600))?;
    nix::mount::umount(&point)?;
    Ok(())
}

fn unnamed(place: &Place) -> Result<()> {
    let mode = Mode::from_bits_truncate(0o600);
    let file = openat(AT_FDCWD, &place.path("d"), OFlag::O_TMPFILE | OFlag::O_WRONLY, mode)?;
    let source = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
    linkat(AT_FDCWD, source.as_str(), AT_FDCWD, &place.path("d/named"), AtFlags::AT_SYMLINK_FOLLOW)?;
    openat(AT_FDCWD, &place.path("e"), OFlag::O_TMPFILE | OFlag::O_WRONLY, mode)?;
    Ok(())
}
