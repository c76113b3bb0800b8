//! At programs, maps and links, at what they are attached to, and at the clock.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use nix::libc;
use nix::mount::{MsFlags, mount, umount};

use crate::child;
use crate::daemon::run;
use crate::event::Event;
use crate::harness::{Against, skip};
use crate::locked::{CLOCK, KEY, Locked};
use crate::sys::{self, Arg, BpfObjects, bpf_ids};

pub const FTRACE: Against = Against::new("locked_ftrace_stays_enabled", ftrace);
pub const LIMIT_FTRACE: Against = Against::new("limit_ftrace_by_another_proc", ftrace_elsewhere);
pub const BPFTOOL: Against = Against::new("locked_bpftool_gets_nothing", bpftool);
pub const CLOCK_CHANGES: Against = Against::new("locked_clock_changes_are_recorded", clock);

const SWITCH: &str = "sys/kernel/ftrace_enabled";
const PROC: &str = "/run/other-proc";
const FILE_SYSTEM: &str = "/sys/fs/bpf";

fn write(path: impl AsRef<Path>) -> io::Result<()> {
    OpenOptions::new().write(true).open(path).map(drop)
}

fn ftrace(locked: &mut Locked) -> Result<()> {
    let switch = Path::new("/proc").join(SWITCH);
    if !switch.exists() {
        return skip("no ftrace in this kernel");
    }
    locked.refuses(&[("disabling ftrace", |_| write(Path::new("/proc").join(SWITCH)))])?;
    // The kernel makes inodes of such files anew.
    fs::write("/proc/sys/vm/drop_caches", "3").context("cannot drop caches")?;
    locked.refuses(&[("once the kernel has forgotten the file", |_| write(Path::new("/proc").join(SWITCH)))])?;
    ensure!(fs::read_to_string(switch)?.trim() == "1", "ftrace is disabled");
    Ok(())
}

/// Its file there is another. It is opened and not written to.
fn ftrace_elsewhere(_: &mut Locked) -> Result<()> {
    fs::create_dir_all(PROC)?;
    mount(Some("proc"), PROC, Some("proc"), MsFlags::empty(), None::<&str>).context("cannot mount proc")?;
    let opened = child::run(|| write(Path::new(PROC).join(SWITCH)).context("it is held now"));
    umount(PROC)?;
    opened.map(drop)
}

/// All below a directory, the innermost first.
fn below(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.flat_map(|path| below(&path).into_iter().chain([path])).collect()
}

fn bpftool(locked: &mut Locked) -> Result<()> {
    if !Path::new("/usr/sbin/bpftool").exists() {
        return skip("no bpftool in this guest");
    }
    let last = |kind| Ok::<_, anyhow::Error>(bpf_ids(kind)?.last().context("none there")?.to_string());
    let (program, map, link) = (last(BpfObjects::Programs)?, last(BpfObjects::Maps)?, last(BpfObjects::Links)?);
    let commands = [
        format!("link detach id {link}"),
        format!("link show id {link}"),
        format!("link pin id {link} {FILE_SYSTEM}/stolen"),
        format!("map update id {map} key hex 00 00 00 00 value hex 00 00 00 00"),
        format!("map delete id {map} key hex 00 00 00 00"),
        format!("map dump id {map}"),
        format!("map freeze id {map}"),
        format!("prog show id {program}"),
        format!("prog dump xlated id {program}"),
        format!("prog pin id {program} {FILE_SYSTEM}/stolen"),
    ];
    let before = locked.session.records().len();
    for (number, command) in commands.iter().enumerate() {
        let said = run(Command::new("bpftool").args(command.split(' ')))?;
        ensure!(said.status != Some(0), "bpftool {command} succeeded:\n{}", said.all());
        said.said(&["not permitted"]).with_context(|| format!("bpftool {command}"))?;
        locked.session.settle()?;
        let is_attempt = |event: &&Event| event.has_key(KEY) && event.get("comm") == "bpftool";
        let attempts = locked.session.records()[before..].iter().filter(is_attempt).count();
        ensure!(attempts > number, "no record of bpftool {command}");
    }
    for pin in below(Path::new(FILE_SYSTEM)) {
        for object in ["link detach", "map delete", "prog detach"] {
            // It may be none of its kind.
            run(Command::new("bpftool").args(object.split(' ')).arg("pinned").arg(&pin))?;
        }
    }
    Ok(())
}

const DAY: i64 = 24 * 3600;

/// A day ahead and back by clock_settime(2), an hour by clock_adjtime(2).
fn clock(locked: &mut Locked) -> Result<()> {
    let before = locked.session.records().len();
    for seconds in [DAY, -DAY] {
        child::run(|| set_clock(seconds).context("cannot set the clock"))?;
        locked.holds().with_context(|| format!("{seconds} s"))?;
    }
    for seconds in [3600, -3600] {
        child::run(|| shift_clock(seconds).context("cannot shift the clock"))?;
        locked.holds().with_context(|| format!("shifted by {seconds} s"))?;
    }
    let changes = locked.session.records()[before..].iter().filter(|event| event.has_key(CLOCK));
    let changes: Vec<_> = changes.map(|event| event.get("syscall").as_str().unwrap_or_default()).collect();
    ensure!(changes == ["clock_settime", "clock_settime", "clock_adjtime", "clock_adjtime"], "{changes:?}");
    // What an output says of itself, as of a rotation, may come before events that it was handed already.
    let events: Vec<_> = locked.session.records().iter().filter(|event| event.get("type") == "SYSCALL").collect();
    let serial = |event: &Event| event.get("serial").as_u64();
    for pair in events.windows(2) {
        ensure!(serial(pair[0]) < serial(pair[1]), "{} stands before {}", pair[0], pair[1]);
    }
    Ok(())
}

fn set_clock(seconds: i64) -> io::Result<()> {
    let mut time = [0; 16];
    sys::call(libc::SYS_clock_gettime, &mut [Arg::Number(libc::CLOCK_REALTIME.into()), Arg::Room(&mut time)])?;
    let [now, _] = [0, 8].map(|at| i64::from_ne_bytes(time[at..at + 8].try_into().expect("eight bytes")));
    time[..8].copy_from_slice(&(now + seconds).to_ne_bytes());
    sys::call(libc::SYS_clock_settime, &mut [Arg::Number(libc::CLOCK_REALTIME.into()), Arg::Bytes(&time)]).map(drop)
}

/// `struct timex` begins with what is to be done; its time stands behind nine words (include/uapi/linux/timex.h).
fn shift_clock(seconds: i64) -> io::Result<()> {
    const ADJ_SETOFFSET: u32 = 0x100;
    const TIME_AT: usize = 72;
    let mut timex = [0; 208];
    timex[..4].copy_from_slice(&ADJ_SETOFFSET.to_ne_bytes());
    timex[TIME_AT..TIME_AT + 8].copy_from_slice(&seconds.to_ne_bytes());
    let clock = Arg::Number(libc::CLOCK_REALTIME.into());
    sys::call(libc::SYS_clock_adjtime, &mut [clock, Arg::Room(&mut timex)]).map(drop)
}

/// As a file of /sys or /proc wants it: in one write.
pub(super) fn tell(path: impl AsRef<Path>, text: &str) -> Result<()> {
    let path = path.as_ref();
    let mut file = OpenOptions::new().write(true).open(path).with_context(|| format!("no {}", path.display()))?;
    file.write_all(text.as_bytes()).with_context(|| format!("{text} to {}", path.display()))
}
