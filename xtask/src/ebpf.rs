//! Building the eBPF object: the crate `auditd-bpf-ebpf` for bpfel-unknown-none.
//!
//! Rust's stable releases have neither a core library for that target nor the few unstable features that aya-ebpf
//! uses. So this runs cargo with another compiler (`setup::compiler` finds it), allows the unstable features for the
//! kernel-side crates alone, and keeps that build's output apart from the host's.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::cmd;
use crate::setup::{self, Compiler};
use crate::workspace::Workspace;

const TARGET: &str = "bpfel-unknown-none";

/// Crates that may use unstable features: ours (named after its binary) and aya's kernel side.
const UNSTABLE_CRATES: &str = "auditd_bpf,auditd_bpf_trial,auditd_bpf_ebpf,aya_ebpf,aya_ebpf_bindings,aya_ebpf_cty";

/// Builds the object and returns its path; beside it lies the one that unit tests put on trial. The files are touched only when
/// their bytes changed, so that the daemon, which embeds the object, is not built again for nothing.
pub fn build(workspace: &Workspace) -> Result<PathBuf> {
    let built = compile(workspace, &workspace.target.join("ebpf-build"))?;
    copy_if_changed(&built.join("auditd-bpf-trial"), &workspace.ebpf_object("auditd-bpf-trial"))?;
    let object = workspace.ebpf_object("auditd-bpf");
    copy_if_changed(&built.join("auditd-bpf"), &object)?;
    Ok(object)
}

/// Compiles both objects under a target directory; returns where they lie, `auditd-bpf` and `auditd-bpf-trial`.
pub fn compile(workspace: &Workspace, build_dir: &Path) -> Result<PathBuf> {
    let toolchain = setup::ebpf_toolchain(workspace)?;
    let mut command = cargo_command(workspace, &toolchain.compiler);
    command
        .args(["build", "--package", "auditd-bpf-ebpf", "--profile", "ebpf", "--target", TARGET])
        .env("CARGO_TARGET_DIR", build_dir)
        .env("CARGO_ENCODED_RUSTFLAGS", rustflags(workspace))
        .env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", &toolchain.linker)
        .env("RUSTC_BOOTSTRAP", UNSTABLE_CRATES);
    cmd::step("eBPF object", || cmd::run(&mut command))?;
    Ok(build_dir.join(TARGET).join("ebpf"))
}

fn cargo_command(workspace: &Workspace, compiler: &Compiler) -> Command {
    let mut command = match compiler {
        Compiler::Packaged { rustc } => {
            let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
            inherit_nothing_of_the_host_build(&mut command);
            command.env("RUSTC", rustc);
            command
        }
        Compiler::Nightly { toolchain } => {
            let mut command = Command::new("rustup");
            command.args(["run", toolchain, "cargo", "-Zbuild-std=core"]);
            inherit_nothing_of_the_host_build(&mut command);
            command
        }
    };
    command.current_dir(&workspace.root);
    command
}

/// `cargo xtask` runs inside `cargo run`, whose toolchain, flags, wrappers and library path are the host's.
fn inherit_nothing_of_the_host_build(command: &mut Command) {
    let of_the_host = |name: &OsStr| {
        let name = name.to_string_lossy();
        let kept = ["CARGO_HOME", "CARGO_NET_OFFLINE", "CARGO_TERM_COLOR"];
        let prefixed = ["CARGO", "RUSTC", "RUSTFLAGS", "RUSTDOC"].iter().any(|prefix| name.starts_with(prefix));
        let network = ["CARGO_REGISTRY", "CARGO_REGISTRIES", "CARGO_SOURCE", "CARGO_HTTP", "CARGO_NET"]
            .iter()
            .any(|prefix| name.starts_with(prefix));
        (prefixed && !network && !kept.contains(&name.as_ref()))
            || name == "RUSTUP_TOOLCHAIN"
            || name == "LD_LIBRARY_PATH"
    };
    for (name, _) in env::vars_os().filter(|(name, _)| of_the_host(name)) {
        command.env_remove(name);
    }
}

fn rustflags(workspace: &Workspace) -> OsString {
    let mut flags = OsString::from(
        ["-Cdebuginfo=2", "-Ctarget-cpu=v3", "-Clink-arg=--btf", "--cfg=bpf_target_arch=\"x86_64\""].join("\x1f"),
    );
    // The object must not depend on where it was built.
    flags.push("\x1f--remap-path-prefix=");
    flags.push(&workspace.root);
    flags.push("=auditd-bpf");
    if let Some(cargo_home) = cargo_home() {
        flags.push("\x1f--remap-path-prefix=");
        flags.push(cargo_home);
        flags.push("=cargo");
    }
    flags
}

fn cargo_home() -> Option<PathBuf> {
    let home = || env::var_os("HOME").map(|home| Path::new(&home).join(".cargo"));
    env::var_os("CARGO_HOME").map(PathBuf::from).or_else(home)
}

fn copy_if_changed(from: &Path, to: &Path) -> Result<()> {
    let built = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    if fs::read(to).is_ok_and(|present| present == built) {
        return Ok(());
    }
    let dir = to.parent().context("the object has no directory")?;
    fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    fs::write(to, built).with_context(|| format!("cannot write {}", to.display()))
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn unchanged_object_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("ebpf/to"));
        fs::write(&from, "one").unwrap();
        copy_if_changed(&from, &to).unwrap();
        let first = fs::metadata(&to).unwrap().modified().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(20));
        copy_if_changed(&from, &to).unwrap();
        assert_eq!(fs::metadata(&to).unwrap().modified().unwrap(), first);
        fs::write(&from, "two").unwrap();
        copy_if_changed(&from, &to).unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"two");
    }
}
