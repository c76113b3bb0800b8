//! Tests of the daemon on a real kernel: run as root inside a guest, where `cargo xtask test` boots them.
//!
//! `harness` runs the cases, `session` is a daemon and its log, `cases` holds one file per family of acts; `compliance` compares
//! with the kernel's own audit. See docs/testing.md.

mod cases;
mod child;
mod compliance;
mod daemon;
mod event;
mod harness;
mod locked;
mod log;
mod measure;
mod netlink;
mod pathless;
mod place;
mod session;
mod sys;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Tests of auditd-bpf on the running kernel. They change the machine: run them in a guest.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    mode: Mode,
}

#[derive(Subcommand)]
enum Mode {
    /// Run the cases for kernels that are supported
    Run {
        /// Only cases with one of these in their name
        only: Vec<String>,
    },
    /// Of these, run those in which the kernel has a part: what rules decide, refuse and guard
    Kernel {
        /// Only cases with one of these in their name
        only: Vec<String>,
    },
    /// Run the cases for kernels that must be refused
    Refused {
        /// Only cases with one of these in their name
        only: Vec<String>,
    },
    /// Run the cases about rules on a kernel booted without bpf among its security modules
    Observe {
        /// Only cases with one of these in their name
        only: Vec<String>,
    },
    /// Run the cases about files as on a kernel without CONFIG_SECURITY_PATH, of which there is none to be had: its type
    /// information is made to tell of no hooks of paths
    Pathless {
        /// Only cases with one of these in their name
        only: Vec<String>,
    },
    /// Compare events with those of the kernel's own audit: needs auditd, auditctl and a kernel booted with audit=1
    Compliance {
        /// Only cases with one of these in their name
        only: Vec<String>,
    },
    /// Measure what settings do to losses and delays
    Measure,
    /// Measure what a plain user can take of memory, and of others' time
    Attacker,
    /// List all cases
    List,
}

fn main() -> ExitCode {
    match Cli::parse().mode {
        Mode::Run { only } => harness::run(cases::SUPPORTED, &only),
        Mode::Kernel { only } => harness::run(cases::KERNEL, &only),
        Mode::Refused { only } => harness::run(cases::REFUSED, &only),
        Mode::Observe { only } => harness::run(cases::OBSERVED, &only),
        Mode::Pathless { only } => match pathless::hide_hooks() {
            Ok(()) => harness::run(cases::PATHLESS, &only),
            Err(error) => {
                eprintln!("cannot hide hooks: {error:#}");
                ExitCode::FAILURE
            }
        },
        Mode::Compliance { only } => compliance::run(&only),
        Mode::Measure => measure::run(),
        Mode::Attacker => measure::attacker(),
        Mode::List => {
            compliance::list();
            harness::list(&[cases::SUPPORTED, cases::OBSERVED, cases::REFUSED])
        }
    }
}
