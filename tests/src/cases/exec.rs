//! Starting programs.

use std::ffi::{CString, OsStr};
use std::fs::{self, File, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use nix::unistd::fexecve;
use serde_json::{Value, json};

use crate::event::{Event, asked_for, item, shown};
use crate::harness::Case;
use crate::place::{BUSYBOX, Place, copy_of_busybox};
use crate::session::Test;

const ALL: &str = "-a always,exit -F arch=b64 -S execve,execveat -F auid={auid} -k {key}";

pub const CASES: &[Case] = &[
    Case::new("exec_arguments", ALL, arguments),
    Case::new("exec_argument_that_is_not_utf8", ALL, not_utf8),
    Case::new("exec_with_more_than_128_kib_of_arguments", ALL, many_arguments),
    Case::new("exec_after_vfork", ALL, after_vfork),
    Case::new("exec_by_descriptor", ALL, by_descriptor),
    Case::new("exec_of_a_script", ALL, script).prepared(with_script),
    Case::new("exec_of_what_is_not_there", ALL, absent),
    Case::new("exec_of_what_is_no_program", ALL, no_program).prepared(with_text),
    Case::new("exec_in_a_tree", "-w {dir}/bin -p x -k {key}", in_tree).prepared(with_bin),
];

fn with_script(place: &Place) -> Result<()> {
    let script = place.path("script");
    fs::write(&script, format!("#!{BUSYBOX} sh\nexit 0\n"))?;
    fs::set_permissions(&script, Permissions::from_mode(0o755))?;
    Ok(())
}

fn with_text(place: &Place) -> Result<()> {
    place.file_with_mode("text", 0o644)?;
    Ok(())
}

fn with_bin(place: &Place) -> Result<()> {
    place.directory("bin")?;
    place.program("bin/tool")?;
    place.program("tool").map(drop)
}

/// The child becomes `busybox echo ARGUMENTS`.
fn echo(test: &Test<'_>, arguments: &[&OsStr]) -> Result<u32> {
    let null = File::options().write(true).open("/dev/null")?;
    test.child(|| {
        let error = Command::new(BUSYBOX).arg("echo").args(arguments).stdout(null).exec();
        Err(error).context("cannot run busybox")
    })
}

fn argv(arguments: &[&OsStr]) -> Value {
    let words = [OsStr::new(BUSYBOX), OsStr::new("echo")];
    words.iter().chain(arguments).map(|word| Value::from(shown(word))).collect()
}

fn ran_busybox(event: &Event, pid: u32) -> Result<()> {
    event.is(&json!({
        "success": true, "exit": 0, "pid": pid, "tid": pid, "exe": BUSYBOX, "comm": "busybox",
        "hook": "bprm_check_security",
    }))?;
    event.paths_are(&[item("NORMAL", Path::new(BUSYBOX), &fs::metadata(BUSYBOX)?)])
}

fn arguments(test: &mut Test<'_>) -> Result<()> {
    let arguments = ["a", "", "two words", "", "\"q\" \\", "last"].map(OsStr::new);
    let pid = echo(test, &arguments)?;
    let [event] = test.exactly()?;
    ran_busybox(&event, pid)?;
    event.is(
        &json!({"syscall": "execve", "argv": argv(&arguments), "auid": test.place.auid, "ppid": std::process::id()}),
    )
}

fn not_utf8(test: &mut Test<'_>) -> Result<()> {
    let arguments = [OsStr::from_bytes(b"caf\xe9"), OsStr::from_bytes(b"\xff")];
    let pid = echo(test, &arguments)?;
    let [event] = test.exactly()?;
    ran_busybox(&event, pid)?;
    event.is(&json!({"argv": argv(&arguments)}))
}

fn many_arguments(test: &mut Test<'_>) -> Result<()> {
    // The longest that one argument may be, and many of lengths that do not divide any buffer.
    const LONGEST: usize = 128 * 1024 - 1;
    let mut texts = vec!["x".repeat(LONGEST)];
    texts.extend((0..100).map(|number| format!("{number}-").repeat(611 + number)));
    let total: usize = texts.iter().map(String::len).sum();
    ensure!(total > 2 * LONGEST, "only {total} bytes of arguments");
    let arguments: Vec<_> = texts.iter().map(OsStr::new).collect();
    let pid = echo(test, &arguments)?;
    let [event] = test.exactly()?;
    ran_busybox(&event, pid)?;
    event.is(&json!({"argv": argv(&arguments)}))
}

fn after_vfork(test: &mut Test<'_>) -> Result<()> {
    let parent = test.child(|| {
        // std spawns with vfork.
        ensure!(Command::new(BUSYBOX).arg("true").status()?.success(), "true failed");
        Ok(())
    })?;
    let [event] = test.exactly()?;
    event.is(&json!({"ppid": parent, "argv": [BUSYBOX, "true"], "exe": BUSYBOX, "comm": "busybox"}))?;
    ensure!(event.get("pid") != parent, "the pid is its parent's: {event}");
    Ok(())
}

fn by_descriptor(test: &mut Test<'_>) -> Result<()> {
    let program = File::open(BUSYBOX)?;
    let arguments = [c"busybox", c"true"].map(CString::from);
    let pid = test.child(|| {
        fexecve(&program, &arguments, &[] as &[CString]).context("cannot run busybox")?;
        Ok(())
    })?;
    let [event] = test.exactly()?;
    event.is(
        &json!({"syscall": "execveat", "success": true, "pid": pid, "exe": BUSYBOX, "argv": ["busybox", "true"]}),
    )?;
    event.paths_are(&[item("NORMAL", Path::new(BUSYBOX), &fs::metadata(BUSYBOX)?)])
}

fn script(test: &mut Test<'_>) -> Result<()> {
    let script = test.path("script");
    test.child(|| Err(Command::new(&script).arg("one").exec()).context("cannot run the script"))?;
    let [event] = test.exactly()?;
    // What the kernel made of it is what runs.
    event
        .is(&json!({"syscall": "execve", "exe": BUSYBOX, "comm": "script", "argv": [BUSYBOX, "sh", script, "one"]}))?;
    event.paths_are(&[
        item("NORMAL", &script, &fs::metadata(&script)?),
        item("NORMAL", Path::new(BUSYBOX), &fs::metadata(BUSYBOX)?),
    ])
}

/// The child fails to become `path`.
fn fail_to_run(test: &Test<'_>, path: &Path) -> Result<()> {
    test.user(|| {
        let error = Command::new(path).arg("argument").exec();
        ensure!(error.raw_os_error().is_some(), "{error}");
        Ok(())
    })?;
    Ok(())
}

fn absent(test: &mut Test<'_>) -> Result<()> {
    let path = test.path("absent");
    fail_to_run(test, &path)?;
    let [event] = test.exactly()?;
    event.is(&json!({
        "syscall": "execve", "success": false, "exit": -2, "errno": "ENOENT", "uid": 1000, "exe": "/usr/bin/guest-tests",
    }))?;
    event.paths_are(&[asked_for(&path)])
}

fn no_program(test: &mut Test<'_>) -> Result<()> {
    let text = test.path("text");
    fail_to_run(test, &text)?;
    let [event] = test.exactly()?;
    event.is(&json!({"syscall": "execve", "success": false, "exit": -13, "errno": "EACCES"}))?;
    event.paths_are(&[item("NORMAL", &text, &fs::metadata(&text)?)])
}

fn in_tree(test: &mut Test<'_>) -> Result<()> {
    let tool = test.path("bin/tool");
    copy_of_busybox(&tool).arg("true").status()?;
    copy_of_busybox(&test.path("tool")).arg("true").status()?;
    File::open(&tool)?;
    let [event] = test.exactly()?;
    event.is(&json!({"syscall": "execve", "exe": tool, "argv": ["busybox", "true"]}))
}
