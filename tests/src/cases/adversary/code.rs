//! Into the daemon's memory: by its files, by /proc, by a debugger.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use nix::libc;
use nix::mount::{MsFlags, mount, umount};
use nix::unistd::Pid;

use crate::child;
use crate::daemon::run;
use crate::harness::{Against, skip};
use crate::locked::{Attempt, KEY, Locked, Target};
use crate::sys::{self, Arg, Operation, c_path};

pub const LIBRARIES: Against = Against::new("locked_libraries_are_not_written", libraries);
pub const MEMORY: Against = Against::new("locked_memory_is_not_had_by_another_proc", memory);
pub const LIMIT_OOM: Against = Against::new("limit_oom_score_by_another_proc", oom_score);
pub const DEBUGGER: Against = Against::new("locked_gdb_does_not_attach", debugger);

/// Another mount of /proc, of which no rule knows the files.
const PROC: &str = "/run/other-proc";
const LINK: &str = "/usr/lib/forged";

/// Libraries that the daemon runs, with where they are mapped.
fn mapped(daemon: Pid, suffix: &str) -> io::Result<Vec<(String, PathBuf)>> {
    let maps = fs::read_to_string(format!("/proc/{daemon}/maps"))?;
    let code = maps.lines().filter(|line| line.contains(" r-xp ") && line.contains(".so"));
    let of = code.filter_map(|line| {
        let (fields, path) = line.split_once('/')?;
        let path = path.strip_suffix(suffix).filter(|path| !path.ends_with(" (deleted)"))?;
        Some((fields.split(' ').next()?.to_owned(), Path::new("/").join(path)))
    });
    Ok(of.collect())
}

fn library(target: &Target) -> io::Result<PathBuf> {
    let libraries = mapped(target.daemon, "")?;
    let libc = libraries.into_iter().find(|(_, path)| path.to_string_lossy().contains("libc.so"));
    libc.map(|(_, path)| path).ok_or_else(|| io::Error::other("the daemon has mapped no C library"))
}

fn write(path: impl AsRef<Path>) -> io::Result<()> {
    OpenOptions::new().write(true).open(path).map(drop)
}

/// openat2(2), whose flags are in memory.
fn write_by_how(path: &Path) -> io::Result<()> {
    let path = c_path(path)?;
    let mut how = [0; 24];
    how[..8].copy_from_slice(&(libc::O_WRONLY as u64).to_ne_bytes());
    let here = Arg::Number(libc::AT_FDCWD.into());
    let arguments = &mut [here, Arg::Text(&path), Arg::Bytes(&how), Arg::Number(24)];
    sys::owned(sys::call(libc::SYS_openat2, arguments)?).map(drop)
}

/// Through an io_uring.
fn write_by_ring(path: &Path) -> io::Result<()> {
    let path = c_path(path)?;
    match sys::through_ring(&[Operation::Open(&path, libc::O_WRONLY)])?[..] {
        [opened] if opened < 0 => Err(io::Error::from_raw_os_error(-opened)),
        _ => Ok(()),
    }
}

const ON_LIBRARIES: &[Attempt] = &[
    ("writing to a library", |target| write(library(target)?)),
    ("writing by openat2", |target| write_by_how(&library(target)?)),
    ("writing through a ring", |target| write_by_ring(&library(target)?)),
    ("appending to it", |target| OpenOptions::new().append(true).open(library(target)?).map(drop)),
    ("reading and writing it", |target| OpenOptions::new().read(true).write(true).open(library(target)?).map(drop)),
    ("emptying it by an open for reading", |target| {
        OpenOptions::new().read(true).custom_flags(libc::O_TRUNC).open(library(target)?).map(drop)
    }),
    ("truncating it", |target| Ok(nix::unistd::truncate(&library(target)?, 0)?)),
    ("creat", |target| sys::creat(&library(target)?).map(drop)),
    ("by another name", |_| write(LINK)),
    ("by a descriptor for reading", |target| {
        use std::os::fd::AsRawFd;
        let file = File::open(library(target)?)?;
        write(format!("/proc/self/fd/{}", file.as_raw_fd()))
    }),
    ("by where it is mapped", |target| write(where_mapped(target, "")?)),
];

/// Of a library that was replaced since.
const DELETED: &str = " (deleted)";
const ON_REPLACED: &[Attempt] = &[
    ("by where it is mapped, without a name", |target| write(where_mapped(target, DELETED)?)),
    ("there by openat2", |target| write_by_how(&where_mapped(target, DELETED)?)),
    ("there through a ring", |target| write_by_ring(&where_mapped(target, DELETED)?)),
];

/// A link to a file that the daemon has mapped.
fn where_mapped(target: &Target, suffix: &str) -> io::Result<PathBuf> {
    let libraries = mapped(target.daemon, suffix)?;
    let (range, _) = libraries.first().ok_or_else(|| io::Error::other(format!("nothing mapped{suffix}")))?;
    Ok(PathBuf::from(format!("/proc/{}/map_files/{range}", target.daemon)))
}

fn libraries(locked: &mut Locked) -> Result<()> {
    let all = mapped(locked.target.daemon, "")?;
    ensure!(all.len() > 1, "the daemon is linked to {all:?}");
    let libc = library(&locked.target)?;
    let content = fs::read(&libc)?;
    fs::hard_link(&libc, LINK).context("a link to the library")?;
    locked.refuses(ON_LIBRARIES)?;
    fs::remove_file(LINK)?;
    ensure!(fs::read(&libc)? == content, "the library is another");
    // All of them, not this one alone.
    for (_, path) in &all {
        let tried = child::run(|| Ok(write(path)?));
        ensure!(tried.is_err(), "{} can be written", path.display());
    }
    // An upgrade puts another file in its place.
    child::run(|| {
        let new = libc.with_extension("new");
        fs::copy(&libc, &new).context("a copy")?;
        fs::rename(&new, &libc).context("in the place of the library")
    })?;
    // The daemon still runs the one before, which has no name any more.
    locked.refuses(ON_REPLACED)
}

/// Runs the acts while there is another mount of /proc.
fn with_proc(act: impl FnOnce() -> Result<()>) -> Result<()> {
    fs::create_dir_all(PROC)?;
    mount(Some("proc"), PROC, Some("proc"), MsFlags::empty(), None::<&str>).context("cannot mount proc")?;
    let done = act();
    umount(PROC).context("cannot unmount it")?;
    done
}

fn memory(locked: &mut Locked) -> Result<()> {
    const ATTEMPTS: &[Attempt] = &[
        ("writing to its memory", |target| write(format!("{PROC}/{}/mem", target.daemon))),
        ("by openat2", |target| write_by_how(Path::new(&format!("{PROC}/{}/mem", target.daemon)))),
        ("through a ring", |target| write_by_ring(Path::new(&format!("{PROC}/{}/mem", target.daemon)))),
        ("by a thread's", |target| write(format!("{PROC}/{0}/task/{0}/mem", target.daemon))),
        ("reading its memory", |target| File::open(format!("{PROC}/{}/mem", target.daemon)).map(drop)),
        ("the log by its descriptor", |target| {
            let descriptors = fs::read_dir(format!("{PROC}/{}/fd", target.daemon))?.flatten();
            let is_log = |path: &PathBuf| fs::read_link(path).is_ok_and(|open| open == target.log);
            let log = descriptors.map(|entry| entry.path()).find(is_log);
            write(log.ok_or_else(|| io::Error::other("the log is not open"))?)
        }),
        ("what resets counters of its memory", |target| write(format!("/proc/{}/clear_refs", target.daemon))),
        ("its timer slack", |target| write(format!("/proc/{}/timerslack_ns", target.daemon))),
        ("its name", |target| write(format!("/proc/{}/comm", target.daemon))),
    ];
    with_proc(|| {
        locked.refuses(ATTEMPTS)?;
        // Looking stays allowed.
        let daemon = locked.target.daemon;
        child::run(|| {
            fs::read(format!("{PROC}/{daemon}/maps")).context("looking at what it has mapped")?;
            fs::read(format!("{PROC}/{daemon}/environ")).context("looking at its environment").map(drop)
        })?;
        let of_another = child::run(|| Ok(write(format!("{PROC}/self/mem"))?));
        of_another.map(drop).context("writing to one's own memory")
    })
}

/// No hook is asked which process it is of.
fn oom_score(locked: &mut Locked) -> Result<()> {
    let daemon = locked.target.daemon;
    with_proc(|| child::run(|| write(format!("{PROC}/{daemon}/oom_score_adj")).context("it is held now")).map(drop))
}

fn debugger(locked: &mut Locked) -> Result<()> {
    if !Path::new("/usr/bin/gdb").exists() {
        return skip("no gdb in this guest");
    }
    let before = locked.session.records().len();
    let daemon = locked.target.daemon.to_string();
    let said = run(Command::new("gdb").args(["--batch", "-nx", "-p", &daemon, "-ex", "call (int)close(1)"]))?;
    said.said(&["Operation not permitted"])?;
    locked.session.settle()?;
    let records = &locked.session.records()[before..];
    let is_attempt = |event: &&crate::event::Event| event.has_key(KEY) && event.get("comm") == "gdb";
    let attempts = records.iter().filter(is_attempt).count();
    ensure!(attempts > 0, "no record of gdb, which said:\n{}", said.all());
    Ok(())
}
