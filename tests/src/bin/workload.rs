//! The workload of `cargo xtask bench`: calls that are timed, in a guest whose clock counts instructions. Prints one
//! `name value` per line.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{AccessFlags, ForkResult, access, execv, fork, getppid};

/// Calls that are timed. Run as root, in a guest: it takes a login uid for itself.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    calls: Calls,
}

#[derive(Subcommand)]
enum Calls {
    /// Calls that no rule matches: nanoseconds for each
    Unmatched {
        /// A file that nobody watches
        file: PathBuf,
        /// A static program that ends at once
        program: PathBuf,
        /// Its argument
        argument: String,
        /// A tree of files that it archives, as `tar`
        tree: PathBuf,
    },
    /// Opens of a watched file for writing: nanoseconds for each, of this program and of all tasks
    Matched {
        /// The file that is watched
        file: PathBuf,
        /// How often to open it
        events: u32,
        /// How long the log may take to reach the disk
        settle_seconds: u64,
        /// The log
        #[arg(long)]
        log: Option<PathBuf>,
    },
}

/// The login uid of somebody who logged in and became root: rules on `auid` are then looked at to their end.
const AUID: &str = "1000";
/// The median of so many rounds is taken: the timer ticks and other tasks run in between.
const ROUNDS: usize = 11;
/// Under `-icount`, one is one instruction of the guest.
type Nanoseconds = i64;

fn main() -> Result<()> {
    let cli = Cli::parse();
    fs::write("/proc/self/loginuid", AUID).context("cannot set the login uid")?;
    match cli.calls {
        Calls::Unmatched { file, program, argument, tree } => {
            unmatched(&file, &c_path(&program)?, &argument)?;
            archive(&c_path(&program)?, &tree)
        }
        Calls::Matched { file, events, settle_seconds, log } => {
            let settle = Duration::from_secs(settle_seconds);
            Matched { file: c_path(&file)?, events, settle, log: log.as_deref() }.measure()
        }
    }
}

fn c_path(path: &Path) -> Result<CString> {
    CString::new(path.as_os_str().as_bytes()).with_context(|| format!("{} holds a NUL", path.display()))
}

fn unmatched(file: &Path, program: &CStr, argument: &str) -> Result<()> {
    read_and_write(file)?;
    let file = c_path(file)?;
    let file = file.as_c_str();
    print(
        "getppid",
        median(2000, || {
            getppid();
            Ok(())
        })?,
    );
    print("access", median(500, || Ok(access(file, AccessFlags::R_OK)?))?);
    print("open_close", median(500, || open_and_close(file, OFlag::O_RDONLY))?);
    print("open_write_close", median(500, || open_and_close(file, OFlag::O_WRONLY))?);
    let arguments = [program.to_owned(), CString::new(argument)?];
    print("fork_exec", median(20, || fork_exec(program, &arguments))?);
    let listener = TcpListener::bind("127.0.0.1:0").context("cannot listen")?;
    let address = listener.local_addr()?;
    print(
        "connect",
        median(50, || {
            let connection = TcpStream::connect(address)?;
            listener.accept()?;
            drop(connection);
            Ok(())
        })?,
    );
    Ok(())
}

fn read_and_write(file: &Path) -> Result<()> {
    let file = fs::File::options().read(true).write(true).open(file)?;
    let mut buffer = [0; 4096];
    let time = median(500, || {
        file.write_all_at(&buffer, 0)?;
        Ok(file.read_exact_at(&mut buffer, 0)?)
    })?;
    print("read_write", time);
    Ok(())
}

fn archive(program: &CStr, tree: &Path) -> Result<()> {
    let arguments = [program.to_owned(), c"tar".to_owned(), c"-cf".to_owned(), c"/dev/null".to_owned(), c_path(tree)?];
    print("tar", median(2, || fork_exec(program, &arguments))?);
    Ok(())
}

/// Time of one call, from rounds of so many.
fn median(calls: u32, mut call: impl FnMut() -> Result<()>) -> Result<Nanoseconds> {
    call()?;
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let start = now(ClockId::CLOCK_MONOTONIC)?;
        for _ in 0..calls {
            call()?;
        }
        rounds.push((now(ClockId::CLOCK_MONOTONIC)? - start) / Nanoseconds::from(calls));
    }
    rounds.sort_unstable();
    Ok(rounds[ROUNDS / 2])
}

fn open_and_close(file: &CStr, flags: OFlag) -> Result<()> {
    drop(open(file, flags, Mode::empty())?);
    Ok(())
}

fn fork_exec(program: &CStr, arguments: &[CString]) -> Result<()> {
    // SAFETY: this program has one thread, so the child may do whatever the parent could.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => {
            let status = waitpid(child, None)?;
            ensure!(matches!(status, WaitStatus::Exited(_, 0)), "the program ended so: {status:?}");
            Ok(())
        }
        ForkResult::Child => {
            let Err(error) = execv(program, arguments);
            eprintln!("cannot execute the program: {error}");
            std::process::exit(1)
        }
    }
}

/// Opens of a watched file.
struct Matched<'a> {
    file: CString,
    events: u32,
    settle: Duration,
    log: Option<&'a Path>,
}

impl Matched<'_> {
    fn measure(&self) -> Result<()> {
        // What the daemon does when nothing happens is not the events'.
        let before = Tasks::read()?;
        thread::sleep(self.settle);
        let idle = Tasks::read()?.since(&before);

        let log_before = self.log_size()?;
        let before = Tasks::read()?;
        let caller_start = now(ClockId::CLOCK_THREAD_CPUTIME_ID)?;
        for _ in 0..self.events {
            open_and_close(&self.file, OFlag::O_WRONLY)?;
        }
        let caller = now(ClockId::CLOCK_THREAD_CPUTIME_ID)? - caller_start;
        thread::sleep(self.settle);
        let after = Tasks::read()?;
        let log_after = self.log_size()?;

        let seconds = |tasks: &Elapsed| tasks.wall as f64 / 1e9;
        let busy = after.since(&before);
        let idle_rate = idle.others as f64 / seconds(&idle);
        let others = busy.others as f64 - idle_rate * seconds(&busy);
        let events = Nanoseconds::from(self.events);
        print("matched_caller", caller / events);
        print("matched_all", (caller + others as Nanoseconds) / events);
        print("idle_second", idle_rate as Nanoseconds);
        print("events", events);
        if self.log.is_some() {
            print("log_bytes", (log_after - log_before) / events);
        }
        Ok(())
    }

    fn log_size(&self) -> Result<i64> {
        let Some(log) = self.log else { return Ok(0) };
        let size = fs::metadata(log).with_context(|| format!("no log {}", log.display()))?.len();
        Ok(i64::try_from(size)?)
    }
}

/// How long each task but this one ran, and when that was. /proc/stat samples at timer ticks, which a daemon on a timer
/// can always run between; the scheduler's own sums are exact.
struct Tasks {
    at: Nanoseconds,
    ran: HashMap<String, Nanoseconds>,
}

/// What passed between two readings.
struct Elapsed {
    wall: Nanoseconds,
    others: Nanoseconds,
}

impl Tasks {
    fn read() -> Result<Self> {
        let mut ran = HashMap::new();
        let own = std::process::id().to_string();
        for process in fs::read_dir("/proc").context("cannot read /proc")? {
            let name = process?.file_name().to_string_lossy().into_owned();
            if name == own || !name.bytes().all(|byte| byte.is_ascii_digit()) {
                continue;
            }
            // A process that ends meanwhile is one that none of the measuring concerns.
            let Ok(threads) = fs::read_dir(format!("/proc/{name}/task")) else { continue };
            for thread in threads.flatten() {
                let Ok(times) = fs::read_to_string(thread.path().join("schedstat")) else { continue };
                let time = times.split(' ').next().unwrap_or_default();
                ran.insert(thread.file_name().to_string_lossy().into_owned(), time.parse().context("schedstat")?);
            }
        }
        Ok(Self { at: now(ClockId::CLOCK_MONOTONIC)?, ran })
    }

    fn since(&self, before: &Self) -> Elapsed {
        let ran = |(task, time): (&String, &Nanoseconds)| time - before.ran.get(task).unwrap_or(&0);
        Elapsed { wall: self.at - before.at, others: self.ran.iter().map(ran).sum() }
    }
}

fn now(clock: ClockId) -> Result<Nanoseconds> {
    let time = clock_gettime(clock)?;
    Ok(time.tv_sec() * 1_000_000_000 + time.tv_nsec())
}

fn print(name: &str, value: Nanoseconds) {
    println!("{name} {value}");
}
