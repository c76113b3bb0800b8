//! Setting up, building, testing and trying auditd-bpf: `cargo xtask help` lists the commands.
#![forbid(unsafe_code)]

mod bench;
mod bench_output;
mod bench_rules;
mod build;
mod cmd;
mod compliance;
mod ebpf;
mod guest_tests;
mod life_cycle;
mod man;
mod package;
mod results;
mod run;
mod setup;
mod test;
mod vm;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

/// Setting up, building, testing and trying auditd-bpf.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = false)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what building and testing need: a compiler for the BPF target, bpf-linker, QEMU
    Setup(setup::Args),
    /// Build the eBPF object that the daemon embeds
    BuildEbpf,
    /// Build the daemon, optimised, to target/release/auditd-bpf
    Build,
    /// See auditd-bpf at work: on this host if its kernel loads LSM programs, else in a guest
    Run(run::Args),
    /// Run everything that CI checks: formatting, clippy, unit, doc and guest tests
    Test(test::Args),
    /// Measure what auditd-bpf costs beside the kernel's own audit, in instructions; or how long rules take
    Bench(bench::Args),
    /// Compare events with those of the kernel's own audit in guests, and write docs/compliance.md
    Compliance(compliance::Args),
    /// Write the man pages, to target/man
    Man,
    /// Build .deb and .rpm packages, with an SBOM and digests, to target/packages
    Package(package::Args),
    /// Install, upgrade, remove and change the packages in a Debian guest with systemd
    TestPackages(life_cycle::Args),
    /// Boot a stock Debian kernel in QEMU, run a command in it as root, return its output and exit status
    Vm(Box<vm::Args>),
}

fn main() -> ExitCode {
    match run(&Cli::parse().task) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: &Task) -> Result<ExitCode> {
    let workspace = Workspace::discover()?;
    match task {
        Task::Setup(args) => setup::main(&workspace, args),
        Task::BuildEbpf => ebpf::build(&workspace).map(|_| ExitCode::SUCCESS),
        Task::Build => build::release(&workspace).map(|()| ExitCode::SUCCESS),
        Task::Run(args) => run::main(&workspace, args),
        Task::Test(args) => test::main(&workspace, args),
        Task::Bench(args) => bench::main(&workspace, args),
        Task::Compliance(args) => compliance::main(&workspace, args),
        Task::Man => man::main(&workspace).map(|()| ExitCode::SUCCESS),
        Task::Package(args) => package::main(&workspace, args),
        Task::TestPackages(args) => life_cycle::main(&workspace, args),
        Task::Vm(args) => vm::main(&workspace, args),
    }
}
