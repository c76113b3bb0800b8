//! Calls that fail: outcome, and the object or what is known of it.

use std::env;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use anyhow::{Result, bail, ensure};
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use serde_json::json;

use crate::child::USER;
use crate::event::{asked_for, item};
use crate::harness::Case;
use crate::pathless;
use crate::place::Place;
use crate::session::Test;

/// Opens by the case's children that end with this error.
macro_rules! opens_with {
    ($error:literal) => {
        concat!("-a always,exit -F arch=b64 -S open,openat,openat2 -F exit=-", $error, " -F auid={auid} -k {key}")
    };
}

pub const CASES: &[Case] = &[
    Case::new("open_refused_by_mode", opens_with!("EACCES"), refused_by_mode).prepared(private_file),
    Case::new("open_refused_by_a_directory_above", opens_with!("EACCES"), refused_above).prepared(private_directory),
    Case::new("open_refused_on_a_watched_file", "-w {dir}/private -p wa -k {key}", refused_watched)
        .prepared(private_file),
    Case::new("open_refused_in_a_tree", "-w {dir}/d -p r -k {key}", refused_in_tree).prepared(private_in_tree),
    Case::new("open_of_what_is_not_there", opens_with!("ENOENT"), absent),
    Case::new("open_of_what_is_there_already", opens_with!("EEXIST"), exclusive).prepared(private_file),
    Case::new("open_of_a_link_to_itself", opens_with!("ELOOP"), link_to_itself).prepared(looped),
    Case::new("open_below_a_file", opens_with!("ENOTDIR"), below_a_file).prepared(private_file),
    Case::new(
        "chmod_refused",
        "-a always,exit -F arch=b64 -S chmod,fchmodat -F success=0 -F auid={auid} -k {key}",
        chmod_refused,
    )
    .prepared(private_file),
    Case::new(
        "unlink_refused",
        "-a always,exit -F arch=b64 -S unlink,unlinkat -F exit=-EACCES -F auid={auid} -k {key}",
        unlink_refused,
    )
    .prepared(private_file),
    Case::new(
        "mkdir_of_what_is_there",
        "-a always,exit -F arch=b64 -S mkdir,mkdirat -F success=0 -F auid={auid} -k {key}",
        mkdir_exists,
    )
    .prepared(private_directory),
];

fn private_file(place: &Place) -> Result<()> {
    place.file_with_mode("private", 0o600)?;
    place.file_with_mode("public", 0o666).map(drop)
}

fn private_directory(place: &Place) -> Result<()> {
    let directory = place.directory("closed")?;
    place.file_with_mode("closed/f", 0o666)?;
    fs::set_permissions(&directory, Permissions::from_mode(0o700))?;
    Ok(())
}

fn private_in_tree(place: &Place) -> Result<()> {
    place.directory("d")?;
    place.file_with_mode("d/private", 0o600).map(drop)
}

fn looped(place: &Place) -> Result<()> {
    symlink("loop", place.path("loop"))?;
    Ok(())
}

/// The result must be this error.
fn fails<T>(result: io::Result<T>, errno: i32) -> Result<()> {
    match result {
        Ok(_) => bail!("the act did not fail"),
        Err(error) => ensure!(error.raw_os_error() == Some(errno), "the act failed otherwise: {error}"),
    }
    Ok(())
}

fn refused_by_mode(test: &mut Test<'_>) -> Result<()> {
    let (private, public) = (test.path("private"), test.path("public"));
    test.user(|| {
        fails(File::open(&private), libc::EACCES)?;
        File::open(&public)?;
        fails(File::open("/no/such/file"), libc::ENOENT)
    })?;
    let [event] = test.exactly()?;
    event.is(&json!({
        "syscall": "openat", "success": false, "exit": -13, "errno": "EACCES",
        "uid": USER, "uid_name": "user", "euid": USER, "gid": USER, "auid": test.place.auid,
    }))?;
    event.paths_are(&[item("NORMAL", &private, &fs::metadata(&private)?)])
}

fn refused_above(test: &mut Test<'_>) -> Result<()> {
    let file = test.path("closed/f");
    test.user(|| fails(File::open(&file), libc::EACCES))?;
    let [event] = test.exactly()?;
    event.is(&json!({"success": false, "exit": -13, "errno": "EACCES"}))?;
    event.paths_are(&[asked_for(&file)])
}

fn refused_watched(test: &mut Test<'_>) -> Result<()> {
    let private = test.path("private");
    test.user(|| {
        fails(OpenOptions::new().write(true).open(&private), libc::EACCES)?;
        fails(File::open(&private), libc::EACCES)
    })?;
    let [event] = test.exactly()?;
    event.is(&json!({"syscall": "openat", "success": false, "exit": -13, "errno": "EACCES", "uid": USER}))?;
    event.paths_are(&[item("NORMAL", &private, &fs::metadata(&private)?)])
}

fn refused_in_tree(test: &mut Test<'_>) -> Result<()> {
    let private = test.path("d/private");
    test.user(|| fails(File::open(&private), libc::EACCES))?;
    let [event] = test.exactly()?;
    event.is(&json!({"success": false, "errno": "EACCES"}))?;
    event.paths_are(&[item("NORMAL", &private, &fs::metadata(&private)?)])
}

fn absent(test: &mut Test<'_>) -> Result<()> {
    let (directory, path) = (test.path(""), test.path("absent/below"));
    let place = File::open(&directory)?;
    test.child(|| {
        fails(File::open(&path), libc::ENOENT)?;
        env::set_current_dir(&directory)?;
        fails(File::open("./absent//below"), libc::ENOENT)?;
        env::set_current_dir("/")?;
        let result = openat(&place, "absent/below", OFlag::O_RDONLY, Mode::empty());
        ensure!(matches!(result, Err(nix::Error::ENOENT)), "{result:?}");
        Ok(())
    })?;
    let events = test.exactly::<3>()?;
    for event in &events {
        event.is(&json!({"syscall": "openat", "success": false, "exit": -2, "errno": "ENOENT"}))?;
        event.paths_are(&[asked_for(&path)])?;
    }
    Ok(())
}

fn exclusive(test: &mut Test<'_>) -> Result<()> {
    let file = test.path("private");
    test.child(|| fails(File::create_new(&file), libc::EEXIST))?;
    let [event] = test.exactly()?;
    event.is(&json!({"success": false, "exit": -17, "errno": "EEXIST"}))?;
    ensure!(event.get("paths")[0]["path"] == *file.to_string_lossy(), "not the file: {event}");
    Ok(())
}

fn link_to_itself(test: &mut Test<'_>) -> Result<()> {
    let link = test.path("loop");
    test.child(|| fails(File::open(&link), libc::ELOOP))?;
    let [event] = test.exactly()?;
    event.is(&json!({"success": false, "errno": "ELOOP"}))?;
    event.paths_are(&[asked_for(&link)])
}

fn below_a_file(test: &mut Test<'_>) -> Result<()> {
    let path = test.path("public/below");
    test.child(|| fails(File::open(&path), libc::ENOTDIR))?;
    let [event] = test.exactly()?;
    event.is(&json!({"success": false, "errno": "ENOTDIR"}))?;
    event.paths_are(&[asked_for(&path)])
}

fn chmod_refused(test: &mut Test<'_>) -> Result<()> {
    let file = test.path("public");
    let change = |path: &Path| fs::set_permissions(path, Permissions::from_mode(0o666));
    test.user(|| fails(change(&file), libc::EPERM))?;
    test.child(|| Ok(change(&file)?))?;
    let [event] = test.exactly()?;
    event.is(&json!({"syscall": "chmod", "success": false, "exit": -1, "errno": "EPERM", "uid": USER}))?;
    event.paths_are(&[item("NORMAL", &file, &fs::metadata(&file)?)])
}

fn unlink_refused(test: &mut Test<'_>) -> Result<()> {
    let file = test.path("public");
    test.user(|| fails(fs::remove_file(&file), libc::EACCES))?;
    let [event] = test.exactly()?;
    event.is(&json!({"syscall": "unlink", "success": false, "exit": -13, "errno": "EACCES"}))?;
    // Without a hook before the checks all that is known of the file is its name.
    let role = if pathless::are_hidden() { "UNKNOWN" } else { "DELETE" };
    ensure!(event.paths_of(role) == [file.to_string_lossy()], "not the file: {event}");
    Ok(())
}

fn mkdir_exists(test: &mut Test<'_>) -> Result<()> {
    let directory = test.path("closed");
    test.child(|| fails(fs::create_dir(&directory), libc::EEXIST))?;
    let [event] = test.exactly()?;
    event.is(&json!({"syscall": "mkdir", "success": false, "exit": -17, "errno": "EEXIST"}))?;
    let above = &test.place.dir;
    event.paths_are(&[item("PARENT", above, &fs::metadata(above)?), asked_for(&directory)])
}
