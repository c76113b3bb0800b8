//! Building the daemon, with the eBPF object first.

use anyhow::Result;

use crate::cmd;
use crate::ebpf;
use crate::workspace::Workspace;

/// Builds packages unoptimised, for trying and testing.
pub fn debug(workspace: &Workspace, packages: &[&str]) -> Result<()> {
    ebpf::build(workspace)?;
    let mut command = workspace.cargo("build");
    for package in packages {
        command.args(["--package", package]);
    }
    cmd::step(&format!("building {}", packages.join(", ")), || cmd::run(&mut command))
}

/// Builds the daemon as it is released.
pub fn release(workspace: &Workspace) -> Result<()> {
    ebpf::build(workspace)?;
    let mut command = workspace.cargo("build");
    command.args(["--release", "--package", "auditd-bpf"]);
    cmd::step("auditd-bpf, optimised", || cmd::run(&mut command))?;
    eprintln!("    {}", workspace.binary("release", "auditd-bpf").display());
    Ok(())
}
