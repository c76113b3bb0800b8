//! Starting programs, and tasks.

use std::ffi::{CString, OsStr};
use std::fs::{self, File, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::thread;

use anyhow::{Context, Result, ensure};
use nix::libc;
use nix::unistd::{execve, fexecve};

use super::acts::{as_user, fails, in_child, read};
use crate::compliance::case::Case;
use crate::place::{BUSYBOX, Place, copy_of_busybox};
use crate::sys::{self, Arg};

const ALL: &str = "-a always,exit -F arch=b64 -S execve,execveat -F auid={auid} -k {key}";

pub const CASES: &[Case] = &[
    Case::new("exec_arguments", ALL, arguments),
    Case::new("exec_many_arguments", ALL, many_arguments),
    Case::new("exec_without_arguments", ALL, no_arguments),
    Case::new("exec_after_vfork", ALL, after_vfork),
    Case::new("exec_by_descriptor", ALL, by_descriptor),
    Case::new("exec_relative", ALL, relative).prepared(programs),
    Case::new("exec_script", ALL, script).prepared(programs),
    Case::new("exec_from_a_thread", ALL, from_thread),
    Case::new("exec_failing", ALL, failing).prepared(programs),
    Case::new("exec_set_user_id", ALL, set_user_id).prepared(programs),
    Case::new("exec_with_capabilities", ALL, with_capabilities).prepared(programs),
    Case::new("exec_watched", "-w {dir}/tool -p x -k {key}", watched).prepared(programs),
    Case::new("exec_in_tree", "-w {dir}/bin -p x -k {key}", watched).prepared(programs),
    Case::new("exec_by_new_program", "-a always,exit -F arch=b64 -S execve -F exe={dir}/tool -k {key}", watched)
        .prepared(programs),
    Case::new(
        "exec_by_arguments_of_the_call",
        "-a always,exit -F arch=b64 -S execve -F a0=0 -F auid={auid} -k {key}",
        failing,
    )
    .prepared(programs),
    Case::new(
        "exec_becomes_root",
        "-a always,exit -F arch=b64 -S execve -C uid!=euid -F euid=0 -F auid={auid} -k {key}",
        set_user_id,
    )
    .prepared(programs),
    Case::new("fork_family", "-a always,exit -F arch=b64 -S fork,vfork,clone,clone3 -F auid={auid} -k {key}", forks),
    Case::new("exits", "-a always,exit -F arch=b64 -S exit,exit_group -F auid={auid} -k {key}", forks),
    Case::new("waits", "-a always,exit -F arch=b64 -S wait4,waitid -F auid={auid} -k {key}", forks),
];

fn programs(place: &Place) -> Result<()> {
    place.directory("bin")?;
    place.program("bin/tool")?;
    place.program("tool")?;
    let set = place.program("set")?;
    fs::set_permissions(set, Permissions::from_mode(0o4755))?;
    // struct vfs_cap_data, revision 2, effective: CAP_NET_BIND_SERVICE permitted, nothing inheritable.
    let capable: Vec<u8> = [0x0200_0001_u32, 1 << 10, 0, 0, 0].iter().flat_map(|word| word.to_le_bytes()).collect();
    sys::setxattr(&place.program("capable")?, c"security.capability", &capable)?;
    place.file("text")?;
    let script = place.path("script");
    fs::write(&script, format!("#!{BUSYBOX} sh\nexit 0\n"))?;
    fs::set_permissions(&script, Permissions::from_mode(0o755))?;
    let broken = place.path("broken");
    fs::write(&broken, "#!/no/such/interpreter\n")?;
    fs::set_permissions(&broken, Permissions::from_mode(0o755))?;
    let garbage = place.path("garbage");
    fs::write(&garbage, "no program\n")?;
    Ok(fs::set_permissions(garbage, Permissions::from_mode(0o755))?)
}

/// A child becomes `busybox echo ARGUMENTS`.
fn echo(arguments: &[&OsStr]) -> Result<()> {
    let null = File::options().write(true).open("/dev/null")?;
    in_child(|| {
        Err(Command::new(BUSYBOX).arg("echo").args(arguments).stdout(null).exec()).context("cannot run busybox")
    })
}

fn arguments(_: &Place) -> Result<()> {
    echo(&["a", "", "two words", "", "\"q\" \\", "last"].map(OsStr::new))?;
    echo(&[OsStr::from_bytes(b"caf\xe9"), OsStr::from_bytes(b"\xff"), OsStr::new("a\nb")])?;
    echo(&[])
}

fn many_arguments(_: &Place) -> Result<()> {
    // Longer than a record, and a length that divides nothing.
    let mut texts = vec!["x".repeat(20_000), "\u{e9}".repeat(9_000)];
    texts.extend((0..300).map(|number| format!("{number}-").repeat(7)));
    echo(&texts.iter().map(OsStr::new).collect::<Vec<_>>())
}

fn no_arguments(_: &Place) -> Result<()> {
    // Linux gives a program without arguments an empty one.
    in_child(|| {
        // busybox complains.
        nix::unistd::dup2_stderr(File::options().write(true).open("/dev/null")?)?;
        let none: [CString; 0] = [];
        execve(&CString::new(BUSYBOX)?, &none, &none)?;
        Ok(())
    })
    .or_else(|error| if error.to_string().contains("status") { Ok(()) } else { Err(error) })
}

fn after_vfork(_: &Place) -> Result<()> {
    // std spawns with vfork.
    ensure!(Command::new(BUSYBOX).arg("true").status()?.success(), "true failed");
    Ok(())
}

fn by_descriptor(_: &Place) -> Result<()> {
    let program = read(BUSYBOX)?;
    let arguments = [c"busybox", c"true"].map(CString::from);
    in_child(|| {
        fexecve(&program, &arguments, &[] as &[CString])?;
        Ok(())
    })
}

fn relative(place: &Place) -> Result<()> {
    std::env::set_current_dir(&place.dir)?;
    copy_of_busybox(Path::new("./tool")).arg("true").status()?;
    copy_of_busybox(Path::new("bin/../tool")).arg("true").status()?;
    Ok(())
}

fn script(place: &Place) -> Result<()> {
    Command::new(place.path("script")).arg("one").status()?;
    Ok(())
}

fn from_thread(_: &Place) -> Result<()> {
    in_child(|| {
        let exec = || Command::new(BUSYBOX).arg("true").exec();
        Err(thread::spawn(exec).join().ok().context("the thread panicked")?)?
    })
}

fn failing(place: &Place) -> Result<()> {
    let run = |name: &str| Command::new(place.path(name)).arg("argument").status();
    fails(libc::ENOENT, run("absent"))?;
    fails(libc::EACCES, run("text"))?;
    fails(libc::ENOENT, run("broken"))?;
    fails(libc::EACCES, run("bin"))?;
    fails(libc::ENOTDIR, run("text/below"))?;
    fails(libc::ENOEXEC, run("garbage"))?;
    fails(libc::EFAULT, sys::call(libc::SYS_execve, &mut [Arg::Number(0), Arg::Number(0), Arg::Number(0)]))
}

fn set_user_id(place: &Place) -> Result<()> {
    let set = place.path("set");
    as_user(|| {
        copy_of_busybox(&set).arg("true").status()?;
        copy_of_busybox(Path::new(BUSYBOX)).arg("true").status()?;
        Ok(())
    })
}

fn with_capabilities(place: &Place) -> Result<()> {
    let capable = place.path("capable");
    copy_of_busybox(&capable).arg("true").status()?;
    as_user(|| {
        copy_of_busybox(&capable).arg("true").status()?;
        copy_of_busybox(&place.path("tool")).arg("true").status()?;
        Ok(())
    })
}

fn watched(place: &Place) -> Result<()> {
    for name in ["tool", "bin/tool", "script"] {
        copy_of_busybox(&place.path(name)).arg("true").status()?;
    }
    copy_of_busybox(&place.path("tool")).args(["sh", "-c", "/bin/true; exit 0"]).status()?;
    read(place.path("tool")).map(drop).map_err(Into::into)
}

fn forks(_: &Place) -> Result<()> {
    in_child(|| Ok(()))?;
    after_vfork(&Place { name: "", auid: 0, dir: "/".into() })?;
    thread::spawn(|| ()).join().ok().context("the thread panicked")?;
    // fork(2) itself: libraries use clone.
    match sys::call(libc::SYS_fork, &mut [])? {
        0 => sys::exit_now(7),
        child => drop(nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(i32::try_from(child)?), None)?),
    }
    Ok(())
}
