//! Calls that change names and attributes: which objects they name, compared with stat(2).

use std::fs::{self, File, Metadata, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::PathBuf;

use anyhow::{Result, ensure};
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, OpenHow, RenameFlags, openat2, renameat2};
use nix::sys::stat::{Mode, SFlag, makedev, mkdirat, mknod};
use nix::unistd::{UnlinkatFlags, linkat, mkfifo, symlinkat, truncate, unlinkat};
use serde_json::{Value, json};

use crate::event::{Event, item, named};
use crate::harness::Case;
use crate::place::Place;
use crate::session::Test;
use crate::sys;

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
    Case::new("rename_refused", calls!("rename,renameat,renameat2"), rename_refused).prepared(files),
    Case::new("link", calls!("link,linkat"), link).prepared(files),
    Case::new("symlink", calls!("symlink,symlinkat"), make_symlink).prepared(files),
    Case::new("mkdir_rmdir", calls!("mkdir,mkdirat,rmdir,unlinkat"), directories).prepared(files),
    Case::new("mknod", "-w {dir}/d -p w -k {key}", nodes).prepared(files),
    Case::new("chmod", calls!("chmod,fchmod,fchmodat"), chmod).prepared(files),
    Case::new("chown", calls!("chown,fchown,lchown,fchownat"), change_owner).prepared(files),
    Case::new("setxattr", calls!("setxattr,lsetxattr,fsetxattr,removexattr"), xattr).prepared(files),
    Case::new("truncate", calls!("truncate,ftruncate"), shorten).prepared(files),
    Case::new("open_family", calls!("open,creat,openat,openat2"), opens).prepared(files),
    Case::new("device_number", "-w {dir}/null -p r -k {key}", device).prepared(null_device),
];

/// d/f and d/g, both with an owner and a mode that show.
fn files(place: &Place) -> Result<()> {
    place.directory("d")?;
    for name in ["d/f", "d/g"] {
        let path = place.file_with_mode(name, 0o640)?;
        chown(path, Some(1000), Some(4))?;
    }
    Ok(())
}

fn null_device(place: &Place) -> Result<()> {
    mknod(&place.path("null"), SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(1, 3))?;
    Ok(())
}

/// The directory of all files here.
fn directory(test: &Test<'_>) -> Result<(PathBuf, Metadata)> {
    let path = test.path("d");
    let status = fs::metadata(&path)?;
    Ok((path, status))
}

fn parent(test: &Test<'_>) -> Result<Value> {
    let (path, status) = directory(test)?;
    Ok(item("PARENT", &path, &status))
}

fn unlink(test: &mut Test<'_>) -> Result<()> {
    let (f, g) = (test.path("d/f"), test.path("d/g"));
    let (f_status, g_status) = (fs::metadata(&f)?, fs::metadata(&g)?);
    test.child(|| {
        fs::remove_file(&f)?;
        unlinkat(AT_FDCWD, &g, UnlinkatFlags::NoRemoveDir)?;
        Ok(())
    })?;
    let [first, second] = test.exactly()?;
    first.is(&json!({"syscall": "unlink", "success": true, "exit": 0, "hook": "path_unlink"}))?;
    first.paths_are(&[parent(test)?, item("DELETE", &f, &f_status)])?;
    second.is(&json!({"syscall": "unlinkat", "success": true}))?;
    second.paths_are(&[parent(test)?, item("DELETE", &g, &g_status)])
}

fn rename(test: &mut Test<'_>) -> Result<()> {
    let (from, to) = (test.path("d/f"), test.path("moved"));
    let status = fs::metadata(&from)?;
    test.child(|| Ok(fs::rename(&from, &to)?))?;
    let [event] = test.exactly()?;
    event.is(&json!({"syscall": "rename", "success": true, "exit": 0, "hook": "path_rename"}))?;
    let new_parent = item("PARENT", &test.place.dir, &fs::metadata(&test.place.dir)?);
    event.paths_are(&[parent(test)?, item("DELETE", &from, &status), new_parent, item("CREATE", &to, &status)])
}

fn rename_over(test: &mut Test<'_>) -> Result<()> {
    let (from, to) = (test.path("d/f"), test.path("d/g"));
    let (status, replaced) = (fs::metadata(&from)?, fs::metadata(&to)?);
    test.child(|| Ok(renameat2(AT_FDCWD, &from, AT_FDCWD, &to, RenameFlags::empty())?))?;
    let [event] = test.exactly()?;
    // Without flags, the library calls the older one.
    event.is(&json!({"syscall": "renameat", "success": true}))?;
    event.paths_are(&[
        parent(test)?,
        item("DELETE", &from, &status),
        parent(test)?,
        item("DELETE", &to, &replaced),
        item("CREATE", &to, &status),
    ])
}

fn rename_refused(test: &mut Test<'_>) -> Result<()> {
    let (from, to) = (test.path("d/f"), test.path("d/g"));
    test.child(|| {
        let result = renameat2(AT_FDCWD, &from, AT_FDCWD, &to, RenameFlags::RENAME_NOREPLACE);
        ensure!(result == Err(nix::Error::EEXIST), "{result:?}");
        Ok(())
    })?;
    let [event] = test.exactly()?;
    event.is(&json!({"syscall": "renameat2", "success": false, "exit": -17, "errno": "EEXIST"}))?;
    ensure!(event.get("paths").is_array(), "no paths: {event}");
    Ok(())
}

fn link(test: &mut Test<'_>) -> Result<()> {
    let (old, new) = (test.path("d/f"), test.path("d/hard"));
    let status = fs::metadata(&old)?;
    test.child(|| Ok(linkat(AT_FDCWD, &old, AT_FDCWD, &new, AtFlags::empty())?))?;
    let [event] = test.exactly()?;
    event.is(&json!({"syscall": "linkat", "success": true, "hook": "path_link"}))?;
    event.paths_are(&[item("NORMAL", &old, &status), parent(test)?, item("CREATE", &new, &status)])
}

fn make_symlink(test: &mut Test<'_>) -> Result<()> {
    let (first, second) = (test.path("d/first"), test.path("d/second"));
    test.child(|| {
        symlink("target", &first)?;
        symlinkat("target", AT_FDCWD, &second)?;
        Ok(())
    })?;
    let [one, two] = test.exactly()?;
    one.is(&json!({"syscall": "symlink", "success": true, "hook": "path_symlink"}))?;
    one.creates(&first, &fs::symlink_metadata(&first)?)?;
    two.creates(&second, &fs::symlink_metadata(&second)?)?;
    let text = json!({"path": "target", "nametype": "UNKNOWN", "source": "user"});
    one.paths_are(&[parent(test)?, named("CREATE", &first), text.clone()])?;
    two.is(&json!({"syscall": "symlinkat"}))?;
    two.paths_are(&[parent(test)?, named("CREATE", &second), text])
}

fn directories(test: &mut Test<'_>) -> Result<()> {
    let new = test.path("d/new");
    let make = |test: &mut Test<'_>| -> Result<Event> {
        test.child(|| Ok(mkdirat(AT_FDCWD, &new, Mode::from_bits_truncate(0o755))?))?;
        let [event] = test.exactly()?;
        Ok(event)
    };
    let made = make(test)?;
    made.is(&json!({"syscall": "mkdirat", "success": true, "hook": "path_mkdir"}))?;
    made.paths_are(&[parent(test)?, named("CREATE", &new)])?;
    let status = fs::metadata(&new)?;
    made.creates(&new, &status)?;
    test.child(|| Ok(fs::remove_dir(&new)?))?;
    let [removed] = test.exactly()?;
    removed.is(&json!({"syscall": "rmdir", "success": true, "hook": "path_rmdir"}))?;
    removed.paths_are(&[parent(test)?, item("DELETE", &new, &status)])?;
    make(test)?;
    let status = fs::metadata(&new)?;
    test.child(|| Ok(unlinkat(AT_FDCWD, &new, UnlinkatFlags::RemoveDir)?))?;
    let [removed] = test.exactly()?;
    removed.is(&json!({"syscall": "unlinkat", "hook": "path_rmdir"}))?;
    removed.paths_are(&[parent(test)?, item("DELETE", &new, &status)])
}

fn nodes(test: &mut Test<'_>) -> Result<()> {
    let fifo = test.path("d/fifo");
    mkfifo(&fifo, Mode::from_bits_truncate(0o600))?;
    let [event] = test.exactly()?;
    event.is(&json!({"success": true, "exit": 0, "hook": "path_mknod"}))?;
    event.creates(&fifo, &fs::symlink_metadata(&fifo)?)?;
    event.paths_are(&[parent(test)?, named("CREATE", &fifo)])
}

fn chmod(test: &mut Test<'_>) -> Result<()> {
    let file = test.path("d/f");
    let status = fs::metadata(&file)?;
    test.child(|| {
        fs::set_permissions(&file, Permissions::from_mode(0o600))?;
        File::open(&file)?.set_permissions(Permissions::from_mode(0o400))?;
        Ok(())
    })?;
    let [by_path, by_descriptor] = test.exactly()?;
    by_path.is(&json!({"syscall": "chmod", "success": true, "hook": "path_chmod"}))?;
    // As it was before the act.
    by_path.paths_are(&[item("NORMAL", &file, &status)])?;
    by_descriptor.is(&json!({"syscall": "fchmod", "success": true}))?;
    by_descriptor.paths_are(&[json!({"path": file, "inode": status.ino(), "mode": "0100600"})])
}

fn change_owner(test: &mut Test<'_>) -> Result<()> {
    let (file, link) = (test.path("d/f"), test.path("d/link"));
    symlink("f", &link)?;
    let (status, link_status) = (fs::metadata(&file)?, fs::symlink_metadata(&link)?);
    test.child(|| {
        chown(&link, Some(0), Some(0))?;
        std::os::unix::fs::lchown(&link, Some(1000), Some(1000))?;
        Ok(())
    })?;
    let [of_file, of_link] = test.exactly()?;
    of_file.is(&json!({"syscall": "chown", "success": true, "hook": "path_chown"}))?;
    of_file.paths_are(&[item("NORMAL", &file, &status)])?;
    of_link.is(&json!({"syscall": "lchown", "success": true}))?;
    of_link.paths_are(&[item("NORMAL", &link, &link_status)])
}

fn xattr(test: &mut Test<'_>) -> Result<()> {
    let file = test.path("d/f");
    test.child(|| {
        sys::setxattr(&file, c"trusted.test", b"x")?;
        sys::removexattr(&file, c"trusted.test")?;
        Ok(())
    })?;
    let [set, removed] = test.exactly()?;
    let expected = item("NORMAL", &file, &fs::metadata(&file)?);
    set.is(&json!({"syscall": "setxattr", "success": true, "hook": "inode_setxattr"}))?;
    set.paths_are(std::slice::from_ref(&expected))?;
    removed.is(&json!({"syscall": "removexattr", "success": true, "hook": "inode_removexattr"}))?;
    removed.paths_are(&[expected])
}

fn shorten(test: &mut Test<'_>) -> Result<()> {
    let file = test.path("d/f");
    let status = fs::metadata(&file)?;
    test.child(|| Ok(truncate(&file, 2)?))?;
    let [event] = test.exactly()?;
    event.is(&json!({"syscall": "truncate", "success": true, "hook": "path_truncate"}))?;
    event.paths_are(&[item("NORMAL", &file, &status)])
}

fn opens(test: &mut Test<'_>) -> Result<()> {
    let (file, new) = (test.path("d/f"), test.path("d/new"));
    let status = fs::metadata(&file)?;
    test.child(|| {
        sys::open(&file, nix::libc::O_RDONLY)?;
        sys::creat(&new)?;
        File::open(&file)?;
        openat2(AT_FDCWD, &file, OpenHow::new().flags(OFlag::O_RDWR))?;
        Ok(())
    })?;
    let [open, creat, openat, openat2] = test.exactly()?;
    for (event, call) in [(&open, "open"), (&openat, "openat"), (&openat2, "openat2")] {
        event.is(&json!({"syscall": call, "success": true, "hook": "file_open"}))?;
        event.paths_are(&[item("NORMAL", &file, &status)])?;
    }
    creat.is(&json!({"syscall": "creat", "success": true}))?;
    creat.paths_are(&[parent(test)?, item("CREATE", &new, &fs::metadata(&new)?)])
}

fn device(test: &mut Test<'_>) -> Result<()> {
    File::open(test.path("null"))?;
    let [event] = test.exactly()?;
    let null = test.path("null");
    let mut expected = item("NORMAL", &null, &fs::metadata(&null)?);
    expected["rdev"] = json!("01:03");
    event.paths_are(&[expected])
}
