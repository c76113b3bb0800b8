//! `auditd-bpf release`: an end to the rules that a daemon left in force, where none is to take over.
#![forbid(unsafe_code)]

use std::fs;
use std::io::{self, Write};

use auditd_bpf_common::plan_rows::active;

use crate::config::Config;
use crate::control::server;
use crate::daemon::will_of;
use crate::exit_code::ExitCode;
use crate::kernel::pins::Left;

/// Takes out of force and detaches what was left at the control socket of the configuration. [`ExitCode::Failure`] where a daemon
/// runs, or the kernel refuses.
///
/// # Errors
/// If the answer cannot be written.
pub fn run(config: &Config, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<ExitCode> {
    let socket = &config.control_socket;
    // What a daemon that runs has in the kernel is its own.
    let _lock = match server::lock(socket) {
        Ok(lock) => lock,
        Err(error) => {
            writeln!(err, "{error}")?;
            return Ok(ExitCode::Failure);
        }
    };
    let mut status = ExitCode::Success;
    let all = match Left::find(socket) {
        Ok(all) => all,
        Err(error) => {
            writeln!(err, "{error}; that ends when the machine reboots")?;
            return Ok(ExitCode::Failure);
        }
    };
    if all.is_empty() {
        writeln!(out, "no daemon left rules in force")?;
    }
    for mut left in all {
        if let Err(error) = left.withdraw(active::NONE) {
            writeln!(err, "the rules cannot be taken out of force: {error}")?;
            status = ExitCode::Failure;
        }
        left.detaching()();
        let mut samples = 0_u64;
        left.drain(|_| samples += 1);
        let will = will_of(socket, left.number());
        left.remove();
        // It may be gone.
        let _gone = fs::remove_file(will);
        writeln!(
            out,
            "rules of an earlier daemon are no longer in force; {samples} samples of events that waited are gone"
        )?;
    }
    Ok(status)
}
