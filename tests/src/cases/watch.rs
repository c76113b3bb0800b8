//! `-w` on one file: each permission by itself, with acts beside it that must stay silent.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown, lchown, symlink};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat, futimens};
use nix::sys::time::TimeSpec;
use nix::unistd::{ftruncate, truncate};
use serde_json::json;

use crate::event::{item, named};
use crate::harness::Case;
use crate::place::{Place, copy_of_busybox};
use crate::session::Test;
use crate::sys;

pub const CASES: &[Case] = &[
    Case::new("watch_write", "-w {dir}/f -p w -k {key}", write).prepared(two_files),
    Case::new("watch_read", "-w {dir}/f -p r -k {key}", read).prepared(two_files),
    Case::new("watch_read_attributes", "-w {dir}/f -p r -k {key}", read_attributes).prepared(two_files),
    Case::new("watch_read_link", "-w {dir}/link -p r -k {key}", read_link).prepared(with_link),
    Case::new("watch_execute", "-w {dir}/f -p x -k {key}", execute).prepared(two_programs),
    Case::new("watch_attributes", "-w {dir}/f -p a -k {key}", attributes).prepared(two_files),
    Case::new("watch_default_is_all", "-w {dir}/f -k {key}", all).prepared(one_program),
    Case::new("watch_write_and_attributes", "-w {dir}/f -p wa -k {key}", write_and_attributes).prepared(two_files),
    Case::new("watch_absent_file", "-w {dir}/f -p wa -k {key}", absent),
    Case::new("watch_survives_replacement", "-w {dir}/f -p wa -k {key}", replaced).prepared(two_files),
    Case::new("watch_survives_many_replacements", "-w {dir}/f -p w -k {key}", replaced_often).prepared(two_files),
    Case::new("watch_survives_moving_away_and_back", "-w {dir}/f -p wa -k {key}", moved).prepared(two_files),
    Case::new("watch_through_links", "-w {dir}/f -p w -k {key}", links).prepared(with_links),
    Case::new("watch_truncation", "-w {dir}/f -p w -k {key}", truncation).prepared(two_files),
    Case::new("watch_as_field_rule", "-a always,exit -F arch=b64 -F path={dir}/f -F perm=wa -k {key}", as_field_rule)
        .prepared(two_files),
];

fn two_files(place: &Place) -> Result<()> {
    place.file("f")?;
    place.file("g")?;
    Ok(())
}

fn one_program(place: &Place) -> Result<()> {
    place.program("f").map(drop)
}

fn two_programs(place: &Place) -> Result<()> {
    place.program("f")?;
    place.program("g")?;
    Ok(())
}

fn with_link(place: &Place) -> Result<()> {
    place.file("f")?;
    symlink("f", place.path("link")).context("cannot create a link")
}

fn with_links(place: &Place) -> Result<()> {
    let file = place.file("f")?;
    fs::hard_link(&file, place.path("hard"))?;
    symlink("f", place.path("soft"))?;
    Ok(())
}

fn for_writing(path: &Path) -> Result<File> {
    OpenOptions::new().write(true).open(path).with_context(|| format!("cannot write {}", path.display()))
}

fn write(test: &mut Test<'_>) -> Result<()> {
    let file = test.path("f");
    let status = fs::metadata(&file)?;
    for_writing(&file)?.write_all(b"x")?;
    OpenOptions::new().read(true).write(true).open(&file)?;
    OpenOptions::new().append(true).open(&file)?;
    let events = test.exactly::<3>()?;
    for event in &events {
        event.is(&json!({
            "syscall": "openat", "arch": "x86_64", "success": true, "hook": "file_open", "keys": ["watch_write"],
            "rule": format!("-w {} -p w -k watch_write", file.display()),
            "pid": std::process::id(), "tid": std::process::id(), "comm": "guest-tests", "exe": "/usr/bin/guest-tests",
            "uid": 0, "uid_name": "root", "auid": null, "auid_name": "unset", "cwd": "/",
        }))?;
        event.paths_are(&[item("NORMAL", &file, &status)])?;
    }
    File::open(&file)?;
    fs::metadata(&file)?;
    OpenOptions::new().read(true).custom_flags(nix::libc::O_CREAT).open(&file)?;
    fs::set_permissions(&file, Permissions::from_mode(0o600))?;
    chown(&file, Some(1), Some(1))?;
    for_writing(&test.path("g"))?;
    test.silence("reading, attributes and other files")
}

fn read(test: &mut Test<'_>) -> Result<()> {
    let file = test.path("f");
    File::open(&file)?;
    OpenOptions::new().read(true).write(true).open(&file)?;
    let events = test.exactly::<2>()?;
    let status = fs::metadata(&file)?;
    for event in &events {
        event.is(&json!({"syscall": "openat", "success": true}))?;
        event.paths_are(&[item("NORMAL", &file, &status)])?;
    }
    for_writing(&file)?;
    fs::metadata(&file)?;
    fs::set_permissions(&file, Permissions::from_mode(0o600))?;
    File::open(test.path("g"))?;
    test.silence("writing, attributes and other files")
}

fn read_attributes(test: &mut Test<'_>) -> Result<()> {
    let file = test.path("f");
    sys::setxattr(&file, c"trusted.test", b"value")?;
    test.silence("setting an attribute")?;
    sys::getxattr_size(&file, c"trusted.test")?;
    sys::listxattr_size(&file)?;
    let [get, list] = test.exactly()?;
    let expected = item("NORMAL", &file, &fs::metadata(&file)?);
    get.is(&json!({"syscall": "getxattr", "success": true, "exit": 5}))?;
    get.paths_are(std::slice::from_ref(&expected))?;
    list.is(&json!({"syscall": "listxattr", "success": true}))?;
    list.paths_are(&[expected])
}

fn read_link(test: &mut Test<'_>) -> Result<()> {
    let link = test.path("link");
    fs::read_link(&link)?;
    let [event] = test.exactly()?;
    event.is(&json!({"syscall": "readlink", "success": true, "exit": 1}))?;
    event.paths_are(&[item("NORMAL", &link, &fs::symlink_metadata(&link)?)])
}

fn execute(test: &mut Test<'_>) -> Result<()> {
    let program = test.path("f");
    let run = |path: &Path| -> Result<u32> {
        let mut child = copy_of_busybox(path).arg("true").spawn().context("cannot run it")?;
        ensure!(child.wait()?.success(), "the program failed");
        Ok(child.id())
    };
    let pid = run(&program)?;
    let [event] = test.exactly()?;
    event.is(&json!({
        "syscall": "execve", "success": true, "exit": 0, "pid": pid, "ppid": std::process::id(), "comm": "f",
        "exe": program, "exe_inode": fs::metadata(&program)?.ino(), "argv": ["busybox", "true"],
    }))?;
    event.paths_are(&[item("NORMAL", &program, &fs::metadata(&program)?)])?;
    fs::copy(&program, test.path("copy"))?;
    for_writing(&program)?;
    fs::set_permissions(&program, Permissions::from_mode(0o700))?;
    run(&test.path("g"))?;
    test.silence("reading and writing a program, and running another")
}

fn attributes(test: &mut Test<'_>) -> Result<()> {
    let file = test.path("f");
    fs::set_permissions(&file, Permissions::from_mode(0o640))?;
    File::open(&file)?.set_permissions(Permissions::from_mode(0o644))?;
    fchmodat(nix::fcntl::AT_FDCWD, &file, Mode::from_bits_truncate(0o600), FchmodatFlags::FollowSymlink)?;
    chown(&file, Some(2), Some(3))?;
    lchown(&file, Some(0), Some(0))?;
    std::os::unix::fs::fchown(File::open(&file)?, Some(4), None)?;
    sys::setxattr(&file, c"trusted.test", b"x")?;
    sys::removexattr(&file, c"trusted.test")?;
    fs::hard_link(&file, test.path("hard"))?;
    let events = test.events()?;
    let calls: Vec<_> = events.iter().filter_map(|event| event.get("syscall").as_str()).collect();
    let expected = ["chmod", "fchmod", "fchmodat", "chown", "lchown", "fchown", "setxattr", "removexattr", "linkat"];
    ensure!(calls == expected, "events of {calls:?} instead of {expected:?}");
    for event in &events {
        event.is(&json!({"success": true, "exit": 0}))?;
        let named = event.paths_of("NORMAL");
        ensure!(named == [file.to_string_lossy()], "not the file, but {named:?}");
    }
    for_writing(&file)?.write_all(b"x")?;
    File::open(&file)?;
    futimens(for_writing(&file)?, &TimeSpec::new(1, 0), &TimeSpec::new(1, 0))?;
    fs::set_permissions(test.path("g"), Permissions::from_mode(0o600))?;
    fs::remove_file(&file)?;
    test.silence("reading, writing, touching, removing, and other files")
}

fn all(test: &mut Test<'_>) -> Result<()> {
    let file = test.path("f");
    File::open(&file)?;
    for_writing(&file)?;
    copy_of_busybox(&file).arg("true").status()?;
    fs::set_permissions(&file, Permissions::from_mode(0o700))?;
    let [read, write, run, change] = test.exactly()?;
    read.is(&json!({"syscall": "openat", "rule": format!("-w {} -p rwxa -k watch_default_is_all", file.display())}))?;
    write.is(&json!({"syscall": "openat"}))?;
    run.is(&json!({"syscall": "execve"}))?;
    change.is(&json!({"syscall": "chmod"}))
}

fn write_and_attributes(test: &mut Test<'_>) -> Result<()> {
    let file = test.path("f");
    for_writing(&file)?;
    fs::set_permissions(&file, Permissions::from_mode(0o600))?;
    let [write, change] = test.exactly()?;
    write.is(&json!({"syscall": "openat"}))?;
    change.is(&json!({"syscall": "chmod"}))?;
    File::open(&file)?;
    test.silence("reading")
}

fn absent(test: &mut Test<'_>) -> Result<()> {
    let file = test.path("f");
    File::create(test.path("other"))?;
    ensure!(!file.exists(), "the file is there before its creation");
    test.silence("another file and a failed look-up")?;
    File::create_new(&file)?;
    let [created] = test.exactly()?;
    created.is(&json!({"syscall": "openat", "success": true}))?;
    let directory = item("PARENT", &test.place.dir, &fs::metadata(&test.place.dir)?);
    created.paths_are(&[directory, item("CREATE", &file, &fs::metadata(&file)?)])?;
    for_writing(&file)?;
    fs::set_permissions(&file, Permissions::from_mode(0o600))?;
    fs::remove_file(&file)?;
    let [write, change, remove] = test.exactly()?;
    write.is(&json!({"syscall": "openat"}))?;
    change.is(&json!({"syscall": "chmod"}))?;
    remove.is(&json!({"syscall": "unlink"}))?;
    File::create_new(&file)?;
    test.exactly::<1>().context("created again")?;
    Ok(())
}

fn replaced(test: &mut Test<'_>) -> Result<()> {
    let (file, new) = (test.path("f"), test.path("new"));
    fs::write(&new, "new content")?;
    test.silence("writing the file that will replace it")?;
    fs::rename(&new, &file)?;
    let [event] = test.exactly()?;
    event.is(&json!({"syscall": "rename", "success": true}))?;
    for_writing(&file)?;
    fs::set_permissions(&file, Permissions::from_mode(0o600))?;
    let [write, change] = test.exactly()?;
    write.paths_are(&[json!({"path": file, "inode": fs::metadata(&file)?.ino()})])?;
    change.is(&json!({"syscall": "chmod"}))
}

fn replaced_often(test: &mut Test<'_>) -> Result<()> {
    const TIMES: usize = 20;
    let (file, new) = (test.path("f"), test.path("new"));
    for _ in 0..TIMES {
        fs::write(&new, "new content")?;
        fs::rename(&new, &file)?;
        for_writing(&file)?;
    }
    let events = test.events()?;
    let calls: Vec<_> = events.iter().filter_map(|event| event.get("syscall").as_str()).collect();
    ensure!(calls == ["rename", "openat"].repeat(TIMES), "events of {calls:?}");
    Ok(())
}

fn moved(test: &mut Test<'_>) -> Result<()> {
    let (file, elsewhere) = (test.path("f"), test.path("elsewhere"));
    fs::rename(&file, &elsewhere)?;
    fs::rename(&elsewhere, &file)?;
    for_writing(&file)?;
    let [away, back, write] = test.exactly()?;
    away.is(&json!({"syscall": "rename"}))?;
    back.is(&json!({"syscall": "rename"}))?;
    write.is(&json!({"syscall": "openat"}))
}

fn links(test: &mut Test<'_>) -> Result<()> {
    let (file, hard) = (test.path("f"), test.path("hard"));
    for_writing(&hard)?;
    for_writing(&test.path("soft"))?;
    let [through_hard, through_soft] = test.exactly()?;
    let status = fs::metadata(&file)?;
    through_hard.paths_are(&[item("NORMAL", &hard, &status)])?;
    through_soft.paths_are(&[item("NORMAL", &file, &status)])?;
    fs::remove_file(test.path("soft"))?;
    test.silence("removing a link to it")
}

fn truncation(test: &mut Test<'_>) -> Result<()> {
    let file = test.path("f");
    let status = fs::metadata(&file)?;
    truncate(&file, 3)?;
    let [by_path] = test.exactly()?;
    by_path.is(&json!({"syscall": "truncate", "success": true, "exit": 0}))?;
    by_path.paths_are(&[item("NORMAL", &file, &status)])?;
    ftruncate(for_writing(&file)?, 1)?;
    let [open, by_descriptor] = test.exactly()?;
    open.is(&json!({"syscall": "openat"}))?;
    by_descriptor.is(&json!({"syscall": "ftruncate", "success": true}))?;
    by_descriptor.paths_are(&[item("NORMAL", &file, &status)])?;
    truncate(&test.path("g"), 3)?;
    test.silence("truncating another")
}

fn as_field_rule(test: &mut Test<'_>) -> Result<()> {
    let file = test.path("f");
    for_writing(&file)?;
    fs::set_permissions(&file, Permissions::from_mode(0o600))?;
    let [write, change] = test.exactly()?;
    write.paths_are(&[named("NORMAL", &file)])?;
    change.paths_are(&[named("NORMAL", &file)])?;
    File::open(&file)?;
    for_writing(&test.path("g"))?;
    test.silence("reading, and other files")
}
