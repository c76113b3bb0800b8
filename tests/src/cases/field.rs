//! `-F`: who, with what program, with what outcome, through which entry of the kernel.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use nix::unistd::{Uid, setresuid};
use serde_json::{Value, json};

use crate::child::{self, USER};
use crate::event::{Event, item};
use crate::harness::{Case, skip};
use crate::place::{BUSYBOX, Place, copy_of_busybox};
use crate::session::Test;
use crate::sys::{self, LowText};

pub const CASES: &[Case] = &[
    Case::new("field_exe", "-a always,exit -F arch=b64 -S openat,open -F exe={dir}/tool -F path={dir}/f -k {key}", exe)
        .prepared(with_tools),
    Case::new(
        "field_exe_not",
        "-a always,exit -F arch=b64 -S openat,open -F exe!={dir}/tool -F path={dir}/f -k {key}",
        exe_not,
    )
    .prepared(with_tools),
    Case::new("field_uid", "-a always,exit -F arch=b64 -S openat -F path={dir}/f -F uid=user -k {key}", uid)
        .prepared(file),
    Case::new("field_uid_not", "-a always,exit -F arch=b64 -S openat -F path={dir}/f -F uid!=0 -k {key}", uid)
        .prepared(file),
    Case::new("field_uid_order", "-a always,exit -F arch=b64 -S openat -F path={dir}/f -F uid>=1000 -k {key}", uid)
        .prepared(file),
    Case::new(
        "field_euid",
        "-a always,exit -F arch=b64 -S openat -F path={dir}/f -F euid=1000 -F uid=0 -k {key}",
        euid,
    )
    .prepared(file),
    Case::new("field_auid", "-a always,exit -F arch=b64 -S openat -F path={dir}/f -F auid={auid} -k {key}", auid)
        .prepared(file),
    Case::new(
        "field_auid_above_and_set",
        "-a always,exit -F arch=b64 -S openat -F path={dir}/f -F auid>=1000 -F auid!=unset -k {key}",
        auid,
    )
    .prepared(file),
    Case::new(
        "field_auid_unset",
        "-a always,exit -F arch=b64 -S openat -F path={dir}/f -F auid=unset -k {key}",
        auid_unset,
    )
    .prepared(file),
    Case::new("field_success", "-a always,exit -F arch=b64 -S openat -F path={dir}/f -F success=1 -k {key}", success)
        .prepared(private),
    Case::new("field_failure", "-a always,exit -F arch=b64 -S openat -F path={dir}/f -F success=0 -k {key}", failure)
        .prepared(private),
    Case::new("field_perm", "-a always,exit -F arch=b64 -F path={dir}/f -F perm=r -k {key}", perm).prepared(file),
    Case::new(
        "several_fields_all_hold",
        "-a always,exit -F arch=b64 -S openat -F path={dir}/f -F perm=w -F uid=user -F success=0 -k {key}",
        several,
    )
    .prepared(private),
    Case::new(
        "rule_on_some_syscalls",
        "-a always,exit -F arch=b64 -S unlink,mkdir -F auid={auid} -k {key}",
        some_calls,
    )
    .prepared(file),
    Case::new("arch_b32", "-a always,exit -F arch=b32 -S open,openat -F path={dir}/f -k {key}", b32).prepared(file),
    Case::new("arch_b64", "-a always,exit -F arch=b64 -S open,openat -F path={dir}/f -k {key}", b64).prepared(file),
    Case::new("watch_sees_both_arches", "-w {dir}/f -p r -k {key}", both_arches).prepared(file),
];

fn file(place: &Place) -> Result<()> {
    place.file_with_mode("f", 0o666).map(drop)
}

fn private(place: &Place) -> Result<()> {
    place.file_with_mode("f", 0o600).map(drop)
}

fn with_tools(place: &Place) -> Result<()> {
    file(place)?;
    place.program("tool")?;
    symlink("tool", place.path("link"))?;
    Ok(())
}

/// Opens it in ways that a rule on some of them must tell apart.
fn exe(test: &mut Test<'_>) -> Result<()> {
    let (tool, file) = (test.path("tool"), test.path("f"));
    copy_of_busybox(&tool).arg("cat").arg(&file).output()?;
    copy_of_busybox(&test.path("link")).arg("cat").arg(&file).output()?;
    let events = test.exactly::<2>()?;
    for event in &events {
        event.is(&json!({"exe": tool, "success": true}))?;
    }
    Command::new(BUSYBOX).arg("cat").arg(&file).output()?;
    File::open(&file)?;
    test.silence("opening it with other programs")
}

fn exe_not(test: &mut Test<'_>) -> Result<()> {
    let file = test.path("f");
    Command::new(BUSYBOX).arg("cat").arg(&file).output()?;
    let [event] = test.exactly()?;
    event.is(&json!({"exe": BUSYBOX}))?;
    copy_of_busybox(&test.path("tool")).arg("cat").arg(&file).output()?;
    test.silence("opening it with that program")
}

fn uid(test: &mut Test<'_>) -> Result<()> {
    let file = test.path("f");
    File::open(&file)?;
    test.silence("root")?;
    test.user(|| Ok(File::open(&file).map(drop)?))?;
    let [event] = test.exactly()?;
    event.is(&json!({"uid": USER, "uid_name": "user"}))
}

fn euid(test: &mut Test<'_>) -> Result<()> {
    let file = test.path("f");
    File::open(&file)?;
    test.user(|| Ok(File::open(&file).map(drop)?))?;
    test.silence("root, and an ordinary user")?;
    test.child(|| {
        setresuid(Uid::from_raw(0), Uid::from_raw(USER), Uid::from_raw(0))?;
        File::open(&file)?;
        Ok(())
    })?;
    let [event] = test.exactly()?;
    event.is(&json!({"uid": 0, "euid": USER, "suid": 0, "fsuid": USER}))
}

fn auid(test: &mut Test<'_>) -> Result<()> {
    let file = test.path("f");
    File::open(&file)?;
    test.silence("no login uid")?;
    test.child(|| Ok(File::open(&file).map(drop)?))?;
    let [event] = test.exactly()?;
    let set = event.get("session").is_u64();
    ensure!(set, "a login has a session: {event}");
    event.is(&json!({"auid": test.place.auid, "auid_name": null}))
}

fn auid_unset(test: &mut Test<'_>) -> Result<()> {
    let file = test.path("f");
    test.child(|| Ok(File::open(&file).map(drop)?))?;
    test.silence("a login uid")?;
    File::open(&file)?;
    let [event] = test.exactly()?;
    event.is(&json!({"auid": null, "auid_name": "unset", "session": null}))
}

fn success(test: &mut Test<'_>) -> Result<()> {
    let file = test.path("f");
    test.user(|| {
        ensure!(File::open(&file).is_err(), "an ordinary user may read it");
        Ok(())
    })?;
    test.silence("a refusal")?;
    File::open(&file)?;
    let [event] = test.exactly()?;
    event.is(&json!({"success": true}))
}

fn failure(test: &mut Test<'_>) -> Result<()> {
    let file = test.path("f");
    File::open(&file)?;
    test.silence("a success")?;
    test.user(|| {
        ensure!(File::open(&file).is_err(), "an ordinary user may read it");
        Ok(())
    })?;
    let [event] = test.exactly()?;
    event.is(&json!({"success": false, "exit": -13, "uid": USER}))?;
    event.paths_are(&[item("NORMAL", &file, &fs::metadata(&file)?)])
}

fn perm(test: &mut Test<'_>) -> Result<()> {
    let file = test.path("f");
    File::options().write(true).open(&file)?;
    test.silence("writing")?;
    File::open(&file)?;
    test.exactly::<1>().map(drop)
}

fn several(test: &mut Test<'_>) -> Result<()> {
    let file = test.path("f");
    File::options().write(true).open(&file)?;
    test.user(|| {
        ensure!(File::open(&file).is_err(), "an ordinary user may read it");
        Ok(())
    })?;
    test.silence("acts for which only some of them hold")?;
    test.user(|| {
        ensure!(File::options().write(true).open(&file).is_err(), "an ordinary user may write it");
        Ok(())
    })?;
    test.exactly::<1>().map(drop)
}

fn some_calls(test: &mut Test<'_>) -> Result<()> {
    let (file, directory) = (test.path("f"), test.path("new"));
    test.child(|| {
        File::options().write(true).open(&file)?;
        fs::create_dir(&directory)?;
        fs::remove_dir(&directory)?;
        fs::remove_file(&file)?;
        Ok(())
    })?;
    let [made, removed] = test.exactly()?;
    made.is(&json!({"syscall": "mkdir"}))?;
    removed.is(&json!({"syscall": "unlink"}))
}

/// Opens the file as a 32-bit program does, in a child: where the kernel was built without that entry, it faults.
fn open_as_32_bit(test: &Test<'_>) -> Result<()> {
    let file = test.path("f");
    let entry = child::run(|| {
        // Any answer will do.
        sys::open_32(&LowText::new("/".as_ref())?);
        Ok(())
    });
    if entry.is_err() {
        return skip("the kernel takes no 32-bit calls");
    }
    test.child(|| {
        let result = sys::open_32(&LowText::new(&file)?);
        ensure!(result >= 0, "open gave {result}");
        Ok(())
    })?;
    Ok(())
}

fn is_32_bit(test: &Test<'_>, event: &Event) -> Result<()> {
    let file = test.path("f");
    let syscall: Value = json!({"syscall": "open", "syscall_number": 5, "arch": "i386", "success": true});
    event.is(&syscall)?;
    event.paths_are(&[item("NORMAL", &file, &fs::metadata(&file)?)])
}

fn b32(test: &mut Test<'_>) -> Result<()> {
    open_as_32_bit(test)?;
    let [event] = test.exactly()?;
    is_32_bit(test, &event)?;
    File::open(test.path("f"))?;
    test.silence("the 64-bit call")
}

fn b64(test: &mut Test<'_>) -> Result<()> {
    open_as_32_bit(test)?;
    test.silence("the 32-bit call")?;
    File::open(test.path("f"))?;
    let [event] = test.exactly()?;
    event.is(&json!({"syscall": "openat", "arch": "x86_64"}))
}

fn both_arches(test: &mut Test<'_>) -> Result<()> {
    File::open(test.path("f")).context("cannot open it")?;
    open_as_32_bit(test)?;
    let [wide, narrow] = test.exactly()?;
    wide.is(&json!({"syscall": "openat", "arch": "x86_64"}))?;
    is_32_bit(test, &narrow)
}
