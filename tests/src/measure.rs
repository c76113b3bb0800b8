//! Figures for `docs/operations.md`: what the settings of `[kernel]` do to losses and delays. Measured, never asserted.

mod attacker;

use std::fs::{self, File};
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::kmod::{DeleteModuleFlags, delete_module, finit_module};
use nix::sys::ptrace;
use nix::unistd::{Pid, Uid, setuid};

use crate::child;
use crate::daemon;
use crate::place::{BUSYBOX, copy_of_busybox};
use crate::session::{Session, kernel_and_file_output, lost, own_log};

const DIRECTORY: &str = "/srv/measured";

/// Prints what the settings do.
pub fn run() -> ExitCode {
    ended(fs::create_dir_all(DIRECTORY).map_err(Into::into).and_then(|()| rings()).and_then(|()| polls()))
}

/// Prints what a plain user can do.
pub fn attacker() -> ExitCode {
    ended(attacker::measured())
}

fn ended(measured: Result<()>) -> ExitCode {
    match measured {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cannot measure: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Four processes make files as fast as they can.
fn rings() -> Result<()> {
    const PROCESSES: u32 = 4;
    const EACH: u32 = 2500;
    println!("ring_buffer_bytes  poll_ms  events  lost");
    for (bytes, poll) in [(256 << 10, 20), (256 << 10, 200), (1 << 20, 20), (8 << 20, 20), (8 << 20, 200)] {
        let name = format!("ring-{bytes}-{poll}");
        let directory = Path::new(DIRECTORY).join(&name);
        fs::create_dir(&directory)?;
        let rules = format!("-a always,exit -F arch=b64 -S openat -F dir={} -F perm=w -k ring\n", directory.display());
        let kernel = format!("ring_buffer_bytes = {bytes}\npoll_ms = {poll}\n");
        let log = own_log(&name);
        let session = Session::start_with(&name, &rules, &kernel_and_file_output(&kernel, &log), &log)?;
        child::make_files(&directory, PROCESSES, EACH)?;
        let records = session.stop_and_read()?;
        println!("{bytes:>17}  {poll:>7}  {:>6}  {:>4}", PROCESSES * EACH, lost(&records));
    }
    Ok(())
}

/// What an event is made by.
struct Act {
    name: &'static str,
    /// What a rule on it names.
    syscall: &'static str,
    perform: fn() -> Result<()>,
}

const ACTS: [Act; 6] = [
    Act { name: "exec", syscall: "execve -F path=/srv/measured/program", perform: exec },
    Act {
        name: "setuid",
        syscall: "setuid",
        perform: || child::run(|| Ok(setuid(Uid::from_raw(child::USER))?)).map(drop),
    },
    Act { name: "kill", syscall: "kill", perform: || Ok(nix::sys::signal::kill(Pid::this(), None)?) },
    Act { name: "ptrace", syscall: "ptrace", perform: || child::run(|| Ok(ptrace::traceme()?)).map(drop) },
    Act { name: "module", syscall: "finit_module", perform: module },
    Act { name: "open", syscall: "openat -F path=/srv/measured/program", perform: open },
];

/// One act after the other, with pauses: how long its event is on its way.
fn polls() -> Result<()> {
    const TIMES: u32 = 20;
    let program = Path::new(DIRECTORY).join("program");
    fs::copy(BUSYBOX, &program).context("cannot copy busybox")?;
    println!("act     poll_ms  within so many ms");
    for Act { name: act, syscall, perform } in ACTS {
        for poll in [1, 20, 200] {
            let name = format!("poll-{act}-{poll}");
            let rules = format!("-a always,exit -F arch=b64 -S {syscall} -k poll\n");
            let log = own_log(&name);
            let config = kernel_and_file_output(&format!("poll_ms = {poll}\n"), &log);
            let session = Session::start_with(&name, &rules, &config, &log)?;
            for _ in 0..TIMES {
                perform().with_context(|| act.to_owned())?;
                thread::sleep(Duration::from_millis(70));
            }
            let status = daemon::status()?;
            session.stop()?;
            println!("{act:<7} {poll:>7}  {}, {} us together", status["delays"], status["delay_micros"]);
        }
    }
    Ok(())
}

fn exec() -> Result<()> {
    copy_of_busybox(Path::new("/srv/measured/program")).arg("true").status().map(drop).context("cannot run it")
}

fn open() -> Result<()> {
    File::open("/srv/measured/program").map(drop).context("cannot open it")
}

fn module() -> Result<()> {
    let file = File::open("/guest/dummy.ko")?;
    match finit_module(file, c"", nix::kmod::ModuleInitFlags::empty()) {
        Ok(()) | Err(Errno::EEXIST) => {}
        Err(errno) => return Err(errno.into()),
    }
    Ok(delete_module(c"dummy", DeleteModuleFlags::O_NONBLOCK)?)
}
