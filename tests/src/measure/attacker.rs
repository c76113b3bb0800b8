//! Figures for `docs/threat-model.md`: what a plain user can take of the kernel's memory and of others' time, with the daemon and
//! without. Asserted is only that rules decide as they should meanwhile.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid, chdir, chown, pipe};

use crate::cases::auditctl;
use crate::child::{self, Child, USER};
use crate::session::{Session, kernel_and_file_output, lost, own_log};

const DIRECTORY: &str = "/srv/attacked";
const RULES: &str = "-a deny,exit -F arch=b64 -S openat -F path=/srv/attacked/refused -F perm=w -k refused\n\
                     -w /srv/attacked/watched -p r -k attacked\n\
                     -a always,exit -F arch=b64 -S openat -F dir=/srv/attacked/tree -F perm=w -k tree\n\
                     -a always,exit -F arch=b64 -S openat -F exit=-EACCES -k failed\n";
/// Processes of the user that act at once.
const ATTACKERS: u32 = 2;
/// Processes of the user that stay.
const TASKS: usize = 1000;
/// Deeper than any path that one call can name.
const LEVELS: usize = 2000;
/// Opens of the other.
const OPENS: u32 = 5000;

/// What the user does again and again.
struct Storm {
    name: &'static str,
    act: fn() -> Result<()>,
}

const STORMS: [Storm; 6] = [
    Storm { name: "nothing", act: wait },
    Storm { name: "opens of a file that no rule names", act: || open("/srv/attacked/unwatched") },
    Storm { name: "opens of a watched file", act: || open("/srv/attacked/watched") },
    Storm { name: "opens 2,000 directories deep", act: || open("f") },
    Storm { name: "opens through 39 links", act: || open("/srv/attacked/user/link-38") },
    Storm { name: "processes", act: || child::run(|| Ok(())).map(drop) },
];

fn wait() -> Result<()> {
    thread::sleep(Duration::from_secs(1));
    Ok(())
}

fn open(path: &str) -> Result<()> {
    File::open(path).map(drop).with_context(|| path.to_owned())
}

/// Time of one open and close, by the clock and on the processor.
#[derive(Clone, Copy)]
struct Times {
    wall_ns: u64,
    own_ns: u64,
}

/// Prints both tables.
pub fn measured() -> Result<()> {
    prepare()?;
    let bare_memory = memory_of_tasks()?;
    let bare = STORMS.iter().map(|storm| beside(storm, || Ok(()))).collect::<Result<Vec<_>>>()?;
    let log = own_log("attacked");
    let config = kernel_and_file_output("", &log);
    let session = Session::start_with("attacked", RULES, &config, &log)?;
    let memory = memory_of_tasks()?;
    println!("unreclaimable slab for a task of {TASKS} that acted and stay: {bare_memory} bytes, audited {memory}");
    println!(
        "another's open + close beside {ATTACKERS} processes of the user    us  audited   ratio  on the processor: us  audited"
    );
    for (number, (storm, bare)) in STORMS.iter().zip(bare).enumerate() {
        let audited = beside(storm, || decides(number)).with_context(|| storm.name)?;
        let us = |ns: u64| ns as f64 / 1000.0;
        println!(
            "{:<36} {:>25.1} {:>8.1} {:>7.2} {:>22.1} {:>8.1}",
            storm.name,
            us(bare.wall_ns),
            us(audited.wall_ns),
            audited.wall_ns as f64 / bare.wall_ns as f64,
            us(bare.own_ns),
            us(audited.own_ns)
        );
    }
    let records = session.stop_and_read()?;
    println!("{} records, {} events lost and counted", records.len(), lost(&records));
    Ok(())
}

fn prepare() -> Result<()> {
    let directory = Path::new(DIRECTORY);
    for below in ["tree", "user"] {
        fs::create_dir_all(directory.join(below))?;
    }
    for file in ["watched", "unwatched", "refused"] {
        fs::write(directory.join(file), "x")?;
    }
    chown(&directory.join("user"), Some(Uid::from_raw(USER)), None)?;
    child::run(|| {
        child::become_user()?;
        chdir(&directory.join("user"))?;
        for link in 0..39 {
            let to = if link == 0 { "../unwatched".to_owned() } else { format!("link-{}", link - 1) };
            symlink(to, format!("link-{link}"))?;
        }
        for _ in 0..LEVELS {
            fs::create_dir("d")?;
            chdir("d")?;
        }
        fs::write("f", "x").context("cannot make the deepest file")
    })
    .map(drop)
}

/// The user goes where his deepest file is.
fn descend() -> Result<()> {
    chdir(&Path::new(DIRECTORY).join("user"))?;
    (0..LEVELS).try_for_each(|_| chdir("d").context("cannot go down"))
}

/// Bytes of unreclaimable slab for each task of many.
fn memory_of_tasks() -> Result<i64> {
    let before = slab()?;
    let (read, write) = pipe()?;
    let write = File::from(write);
    let tasks = (0..TASKS).map(|_| {
        child::start(|| {
            child::become_user()?;
            open("/srv/attacked/watched")?;
            open("/srv/attacked/unwatched")?;
            (&write).write_all(&[1])?;
            loop {
                thread::park();
            }
        })
    });
    let tasks = tasks.collect::<Result<Vec<_>>>()?;
    File::from(read).read_exact(&mut vec![0; TASKS])?;
    let during = slab()?;
    end(tasks)?;
    Ok((during - before) / i64::try_from(TASKS)?)
}

fn slab() -> Result<i64> {
    let meminfo = fs::read_to_string("/proc/meminfo")?;
    let line = meminfo.lines().find_map(|line| line.strip_prefix("SUnreclaim:")).context("no SUnreclaim")?;
    let kib: i64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024)
}

fn end(children: Vec<Child>) -> Result<()> {
    for child in &children {
        kill(Pid::from_raw(child.pid().cast_signed()), Signal::SIGKILL)?;
    }
    children.into_iter().try_for_each(Child::wait_killed)
}

/// What another's opens take while the user storms, and what is looked at meanwhile.
fn beside(storm: &Storm, look: impl FnOnce() -> Result<()>) -> Result<Times> {
    let attackers = (0..ATTACKERS).map(|_| {
        child::start(|| {
            child::become_user()?;
            descend()?;
            loop {
                (storm.act)()?;
            }
        })
    });
    let attackers = attackers.collect::<Result<Vec<_>>>()?;
    let measured = times().and_then(|times| look().map(|()| times));
    end(attackers)?;
    measured
}

fn times() -> Result<Times> {
    // The first finds nothing in any cache.
    open("/srv/attacked/unwatched")?;
    let (start, own) = (Instant::now(), on_processor()?);
    for _ in 0..OPENS {
        open("/srv/attacked/unwatched")?;
    }
    let per_open = |ns: u64| ns / u64::from(OPENS);
    let wall = u64::try_from(start.elapsed().as_nanos())?;
    Ok(Times { wall_ns: per_open(wall), own_ns: per_open(on_processor()? - own) })
}

/// Nanoseconds that this thread has run: the first field of schedstat (Documentation/scheduler/sched-stats.rst).
fn on_processor() -> Result<u64> {
    let stat = fs::read_to_string("/proc/thread-self/schedstat")?;
    stat.split(' ').next().context("an empty schedstat")?.parse().context("no number in schedstat")
}

/// Rules from before decide about a new process, and so does one that comes in the storm.
fn decides(number: usize) -> Result<()> {
    let new = format!("{DIRECTORY}/new-{number}");
    fs::write(&new, "x")?;
    auditctl(&format!("-a deny,exit -F arch=b64 -S openat -F path={new} -F perm=w -k new"))?.ended_with(0)?;
    let refused = format!("{DIRECTORY}/refused");
    for path in [&new, &refused] {
        let opened = child::run(|| Ok(File::options().write(true).open(path).map(drop)?));
        ensure!(opened.is_err(), "{path} can be written");
    }
    open(&new)?;
    child::run(|| File::options().write(true).open(format!("{DIRECTORY}/unwatched")).map(drop).context("refused"))
        .map(drop)
}
