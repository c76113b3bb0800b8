//! Acts upon tasks, identities, mounts and kernel modules.

use std::fs::File;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::kmod::{DeleteModuleFlags, ModuleInitFlags, delete_module, finit_module, init_module};
use nix::mount::{MsFlags, mount, umount};
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Gid, Pid, Uid, getpid, setgid, setpgid, setresuid, setuid};
use serde_json::json;

use crate::child::{self, Child, USER};
use crate::event::item;
use crate::harness::Case;
use crate::place::Place;
use crate::session::Test;

const KILL: &str = "-a always,exit -F arch=b64 -S kill -F auid={auid} -k {key}";
const PTRACE: &str = "-a always,exit -F arch=b64 -S ptrace -F auid={auid} -k {key}";
const IDENTITIES: &str =
    "-a always,exit -F arch=b64 -S setuid,setgid,setreuid,setregid,setresuid,setresgid -F auid={auid} -k {key}";
const MODULES: &str = "-a always,exit -F arch=b64 -S init_module,finit_module -F auid={auid} -k {key}";
/// Lies in every guest, not loaded.
const MODULE: &str = "/guest/dummy.ko";

pub const CASES: &[Case] = &[
    Case::new("kill_one", KILL, kill_one),
    Case::new("kill_a_group", KILL, kill_group),
    Case::new("kill_nobody", KILL, kill_nobody),
    Case::new("kill_refused", KILL, kill_refused),
    Case::new("ptrace_another", PTRACE, ptrace_another),
    Case::new("change_identity", IDENTITIES, identity),
    Case::new("change_identity_refused", IDENTITIES, identity_refused),
    Case::new("mount", "-a always,exit -F arch=b64 -S mount -F auid={auid} -k {key}", mounting).prepared(mount_point),
    Case::new("load_module_from_file", MODULES, module_from_file),
    Case::new("load_module_from_memory", MODULES, module_from_memory),
    Case::new("thread", "-w {dir}/f -p w -k {key}", in_thread).prepared(one_file),
];

fn mount_point(place: &Place) -> Result<()> {
    place.directory("point").map(drop)
}

fn one_file(place: &Place) -> Result<()> {
    place.file("f").map(drop)
}

fn raw(pid: u32) -> Pid {
    Pid::from_raw(pid.cast_signed())
}

/// A child that waits to be killed, under another login uid than the one that kills it.
fn victim(group: Pid) -> Result<Child> {
    const VICTIM: u32 = 39_999;
    child::start(move || {
        setpgid(Pid::from_raw(0), group)?;
        child::set_login_uid(VICTIM)?;
        nix::unistd::pause();
        Ok(())
    })
    .and_then(|victim| {
        // Its login uid is the last thing that it sets.
        let auid = format!("/proc/{}/loginuid", victim.pid());
        crate::daemon::wait_for("the victim", Duration::from_secs(10), || {
            Ok((std::fs::read_to_string(&auid)?.trim() == VICTIM.to_string()).then_some(()))
        })?;
        Ok(victim)
    })
}

fn kill_one(test: &mut Test<'_>) -> Result<()> {
    let victim = victim(Pid::from_raw(0))?;
    let pid = victim.pid();
    let killer = test.child(|| Ok(kill(raw(pid), Signal::SIGKILL)?))?;
    victim.wait_killed()?;
    let [event] = test.exactly()?;
    event.is(&json!({
        "syscall": "kill", "success": true, "exit": 0, "hook": "check_kill_permission", "pid": killer, "auid": test.place.auid,
        "targets": [{"pid": pid, "comm": "guest-tests", "uid": 0, "uid_name": "root", "auid": 39_999}],
    }))
}

fn kill_group(test: &mut Test<'_>) -> Result<()> {
    let leader = victim(Pid::from_raw(0))?;
    let member = victim(raw(leader.pid()))?;
    let mut expected = [leader.pid(), member.pid()];
    test.child(|| Ok(killpg(raw(expected[0]), Signal::SIGKILL)?))?;
    leader.wait_killed()?;
    member.wait_killed()?;
    let [event] = test.exactly()?;
    event.is(&json!({"syscall": "kill", "success": true}))?;
    let targets = event.get("targets").as_array().context("no targets")?;
    let mut killed: Vec<_> = targets.iter().filter_map(|target| target["pid"].as_u64()).collect();
    killed.sort_unstable();
    expected.sort_unstable();
    ensure!(killed == expected.map(u64::from), "targets are {killed:?} instead of {expected:?}");
    Ok(())
}

fn kill_nobody(test: &mut Test<'_>) -> Result<()> {
    // Above every pid that the kernel gives out.
    let nobody = Pid::from_raw(i32::MAX);
    test.child(|| {
        ensure!(kill(nobody, Signal::SIGTERM) == Err(Errno::ESRCH), "somebody is there");
        Ok(())
    })?;
    let [event] = test.exactly()?;
    event.is(&json!({"success": false, "exit": -3, "errno": "ESRCH", "targets": null}))
}

fn kill_refused(test: &mut Test<'_>) -> Result<()> {
    let parent = getpid();
    test.user(|| {
        ensure!(kill(parent, None) == Err(Errno::EPERM), "an ordinary user may signal root's process");
        Ok(())
    })?;
    let [event] = test.exactly()?;
    event.is(&json!({"syscall": "kill", "success": false, "exit": -1, "errno": "EPERM", "uid": USER}))?;
    event.is(&json!({"targets": [{"pid": parent.as_raw(), "comm": "guest-tests"}]}))
}

fn ptrace_another(test: &mut Test<'_>) -> Result<()> {
    let victim = victim(Pid::from_raw(0))?;
    let pid = victim.pid();
    test.child(|| Ok(ptrace::seize(raw(pid), Options::empty())?))?;
    let [event] = test.exactly()?;
    event.is(&json!({
        "syscall": "ptrace", "success": true, "hook": "ptrace_attach",
        "targets": [{"pid": pid, "comm": "guest-tests", "uid": 0}],
    }))?;
    kill(raw(pid), Signal::SIGKILL)?;
    victim.wait_killed()
}

fn identity(test: &mut Test<'_>) -> Result<()> {
    let (user, root) = (Uid::from_raw(USER), Uid::from_raw(0));
    test.child(|| {
        setgid(Gid::from_raw(4))?;
        setresuid(root, user, root)?;
        setresuid(user, user, user)?;
        Ok(())
    })?;
    let [group, effective, all] = test.exactly()?;
    group.is(
        &json!({"syscall": "setgid", "success": true, "gid": 4, "gid_name": "adm", "egid": 4, "fsgid": 4, "uid": 0}),
    )?;
    effective.is(&json!({
        "syscall": "setresuid", "success": true,
        "uid": 0, "euid": USER, "euid_name": "user", "suid": 0, "fsuid": USER, "auid": test.place.auid,
    }))?;
    all.is(&json!({"syscall": "setresuid", "uid": USER, "euid": USER, "suid": USER, "fsuid": USER}))
}

fn identity_refused(test: &mut Test<'_>) -> Result<()> {
    test.user(|| {
        ensure!(setuid(Uid::from_raw(0)) == Err(Errno::EPERM), "an ordinary user became root");
        Ok(())
    })?;
    let [event] = test.exactly()?;
    event.is(&json!({"syscall": "setuid", "success": false, "exit": -1, "errno": "EPERM", "uid": USER, "euid": USER}))
}

fn mounting(test: &mut Test<'_>) -> Result<()> {
    let point = test.path("point");
    let status = std::fs::metadata(&point)?;
    let result = test.child(|| Ok(mount(Some("none"), &point, Some("tmpfs"), MsFlags::empty(), None::<&str>)?));
    umount(&point)?;
    result?;
    let [event] = test.exactly()?;
    event.is(&json!({"syscall": "mount", "success": true, "exit": 0, "hook": "sb_mount"}))?;
    event.paths_are(&[item("NORMAL", &point, &status)])
}

fn unload() -> Result<()> {
    delete_module(c"dummy", DeleteModuleFlags::O_NONBLOCK).context("cannot unload dummy")
}

fn module_from_file(test: &mut Test<'_>) -> Result<()> {
    let file = File::open(MODULE).with_context(|| format!("cannot open {MODULE}"))?;
    test.child(|| Ok(finit_module(&file, c"numdummies=0", ModuleInitFlags::empty())?))?;
    unload()?;
    let [event] = test.exactly()?;
    event.is(&json!({"syscall": "finit_module", "success": true, "exit": 0, "hook": "kernel_read_file"}))?;
    event.paths_are(&[item("NORMAL", MODULE.as_ref(), &file.metadata()?)])
}

fn module_from_memory(test: &mut Test<'_>) -> Result<()> {
    let image = std::fs::read(MODULE).with_context(|| format!("cannot read {MODULE}"))?;
    test.child(|| Ok(init_module(&image, c"numdummies=0")?))?;
    unload()?;
    let [event] = test.exactly()?;
    event.is(&json!({"syscall": "init_module", "success": true, "exit": 0, "paths": null}))
}

fn in_thread(test: &mut Test<'_>) -> Result<()> {
    let file = test.path("f");
    let pid = test.child(|| {
        let open = move || File::options().write(true).open(file).map(drop);
        thread::spawn(open).join().ok().context("the thread panicked")??;
        Ok(())
    })?;
    let [event] = test.exactly()?;
    event.is(&json!({"syscall": "openat", "pid": pid}))?;
    let tid = event.get("tid").as_u64().unwrap_or_default();
    ensure!(tid > u64::from(pid), "the thread has tid {tid} in process {pid}");
    Ok(())
}
