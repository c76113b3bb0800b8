//! `cargo xtask package`: .deb and .rpm packages, a static tarball, an SBOM and digests, in target/packages.
//!
//! Packages are made from one directory (`stage`), in which all that `packaging/package.toml` names lies with the times, modes
//! and names of the last commit, so that the same sources give the same bytes.

mod notices;
mod stage;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail, ensure};

use crate::build;
use crate::cmd;
use crate::ebpf;
use crate::setup;
use crate::workspace::Workspace;

/// Cargo's profile for what packages hold.
const PROFILE: &str = "dist";
const STATIC_TARGET: &str = "x86_64-unknown-linux-musl";
const DIGESTS: &str = "SHA256SUMS";
/// cargo-cyclonedx writes beside each manifest, under a name of our choice.
const SBOM: &str = "auditd-bpf-sbom.cdx";

/// Options of `cargo xtask package`.
#[derive(clap::Args)]
pub struct Args {
    /// Build everything a second time, program and eBPF object too, and fail unless the packages are the same to the byte
    #[arg(long)]
    verify: bool,
    /// Make a tarball with a program that needs no shared library instead
    #[arg(long = "static", conflicts_with = "verify")]
    fixed: bool,
    /// Have lintian and rpmlint look at what is there, cargo-deny at licences and origins of crates, and fail for errors
    #[arg(long, conflicts_with_all = ["verify", "fixed"])]
    lint: bool,
}

/// `cargo xtask package`.
pub fn main(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    if args.lint {
        return lint(workspace).map(|()| ExitCode::SUCCESS);
    }
    if args.fixed {
        ebpf::build(workspace)?;
        tarball(workspace)?;
        return Ok(ExitCode::SUCCESS);
    }
    setup::package_tools(workspace)?;
    let packages = build(workspace)?;
    if args.verify {
        let other = workspace.target.join("packages-again");
        let object = ebpf::compile(workspace, &other.join("ebpf-build"))?.join("auditd-bpf");
        same(&[workspace.ebpf_object("auditd-bpf")], &[object])?;
        let program = program(workspace, &other.join("target"), None)?;
        let again = bundle(workspace, Purpose::Release, &program, &other.join("stage"), &other)?;
        same(&packages, &again)?;
        fs::remove_dir_all(&other).with_context(|| format!("cannot remove {}", other.display()))?;
        println!("built twice, the same to the byte");
    }
    Ok(ExitCode::SUCCESS)
}

/// What becomes of the packages, and so how what they hold is built.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// Optimised, without the names of this machine's directories.
    Release,
    /// As all else that is tested: nothing is compiled twice.
    Trial,
}

/// Where packages are left.
pub fn directory(workspace: &Workspace) -> PathBuf {
    workspace.target.join("packages")
}

/// Packages, SBOM and digests of the sources as they are; returns the packages.
pub fn build(workspace: &Workspace) -> Result<Vec<PathBuf>> {
    ebpf::build(workspace)?;
    let program = program(workspace, &workspace.target, None)?;
    let directory = directory(workspace);
    let packages = bundle(workspace, Purpose::Release, &program, &directory.join("stage"), &directory)?;
    sbom(workspace, &directory)?;
    digests(&directory)?;
    println!("{}", directory.display());
    Ok(packages)
}

/// Packages of the program that tests use, for trying what becomes of them; returns their directory.
pub fn build_for_trial(workspace: &Workspace) -> Result<PathBuf> {
    // As for the guests that try it: crates once.
    build::debug(workspace, &["auditd-bpf", "guest-tests"])?;
    let directory = workspace.target.join("packages-for-trial");
    fs::create_dir_all(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
    let program = directory.join("auditd-bpf");
    cmd::run(Command::new("strip").arg("-o").arg(&program).arg(workspace.binary("debug", "auditd-bpf")))?;
    bundle(workspace, Purpose::Trial, &program, &directory.join("stage"), &directory)?;
    Ok(directory)
}

/// A cargo command that builds what describes the program in packages, with the crates that the program was built of.
fn cargo(workspace: &Workspace, purpose: Purpose, subcommand: &str, target_dir: &Path) -> Result<Command> {
    match purpose {
        Purpose::Release => {
            let mut command = release_cargo(workspace, subcommand, target_dir)?;
            command.args(["--package", "auditd-bpf"]);
            Ok(command)
        }
        Purpose::Trial => Ok(workspace.cargo(subcommand)),
    }
}

fn release_cargo(workspace: &Workspace, subcommand: &str, target_dir: &Path) -> Result<Command> {
    let cargo_home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let cargo_home = cargo_home.or_else(|| Some(std::env::home_dir()?.join(".cargo"))).context("no CARGO_HOME")?;
    let remap = |from: &Path, to: &str| format!("--remap-path-prefix={}={to}", from.display());
    let flags = [remap(&workspace.root, "/auditd-bpf"), remap(&cargo_home, "/cargo")].join("\x1f");
    let mut command = workspace.cargo(subcommand);
    command.args(["--profile", PROFILE, "--locked", "--target-dir"]).arg(target_dir);
    command.env("CARGO_ENCODED_RUSTFLAGS", flags).env("AUDITD_BPF_OBJECT", workspace.ebpf_object("auditd-bpf"));
    Ok(command)
}

/// The program.
fn program(workspace: &Workspace, target_dir: &Path, target: Option<&str>) -> Result<PathBuf> {
    let mut command = release_cargo(workspace, "build", target_dir)?;
    command.args(["--package", "auditd-bpf", "--bin", "auditd-bpf"]);
    let mut directory = target_dir.to_owned();
    if let Some(target) = target {
        command.args(["--target", target]);
        directory.push(target);
    }
    cmd::step("auditd-bpf, as packages have it (about 3 minutes)", || cmd::run(&mut command))?;
    Ok(directory.join(PROFILE).join("auditd-bpf"))
}

/// All four packages of a program, made in `stage`.
fn bundle(
    workspace: &Workspace,
    purpose: Purpose,
    program: &Path,
    stage: &Path,
    directory: &Path,
) -> Result<Vec<PathBuf>> {
    fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
    for old in packages_in(directory)? {
        fs::remove_file(&old).with_context(|| format!("cannot remove {}", old.display()))?;
    }
    let staged = stage::fill(workspace, purpose, program, stage)?;
    for variant in [&[][..], &["--variant", "compat"]] {
        cmd::run(
            packager(workspace, "cargo-deb", stage, &staged)
                .args(["--no-build", "--no-strip", "--quiet"])
                .args(variant)
                .arg("--output")
                .arg(directory),
        )?;
        let mut rpm = packager(workspace, "cargo-generate-rpm", stage, &staged);
        rpm.arg("--source-date").arg(&staged.epoch).args(variant).arg("--output").arg(directory);
        cmd::run(&mut rpm)?;
    }
    packages_in(directory)
}

fn packager(workspace: &Workspace, tool: &str, stage: &Path, staged: &stage::Staged) -> Command {
    let mut command = Command::new(workspace.tools().join("bin").join(tool));
    command.current_dir(stage).env("SOURCE_DATE_EPOCH", &staged.epoch);
    command
}

/// Sorted by name.
fn packages_in(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    let paths = entries.flatten().map(|entry| entry.path());
    let is_package =
        |path: &PathBuf| path.extension().is_some_and(|extension| extension == "deb" || extension == "rpm");
    let mut packages: Vec<_> = paths.filter(is_package).collect();
    packages.sort();
    Ok(packages)
}

fn same(files: &[PathBuf], again: &[PathBuf]) -> Result<()> {
    ensure!(files.len() == again.len(), "there are {} packages, then {}", files.len(), again.len());
    let differing: Vec<_> = files
        .iter()
        .zip(again)
        .filter(|(one, other)| !matches!((fs::read(one), fs::read(other)), (Ok(one), Ok(other)) if one == other))
        .map(|(one, other)| format!("{} {}", one.display(), other.display()))
        .collect();
    if differing.is_empty() {
        return Ok(());
    }
    bail!("built twice, these differ (look with diffoscope): {}", differing.join(", "))
}

/// What the program is made of, as CycloneDX.
fn sbom(workspace: &Workspace, directory: &Path) -> Result<()> {
    let mut command = Command::new(workspace.tools().join("bin/cargo-cyclonedx"));
    command.current_dir(&workspace.root).args(["cyclonedx", "--quiet", "--format", "json", "--no-build-deps"]);
    command.args(["--target", "x86_64-unknown-linux-gnu", "--override-filename", SBOM]);
    command.arg("--manifest-path").arg(workspace.root.join("auditd-bpf/Cargo.toml"));
    command.env("SOURCE_DATE_EPOCH", stage::epoch(workspace)?);
    cmd::run(&mut command)?;
    let name = format!("{SBOM}.json");
    let written = workspace.root.join("auditd-bpf").join(&name);
    let text = fs::read_to_string(&written).with_context(|| format!("cannot read {}", written.display()))?;
    let text = text.replace(&*workspace.root.to_string_lossy(), "/auditd-bpf");
    fs::write(directory.join(&name), text).context("cannot write the SBOM")?;
    // It leaves one beside each member of the workspace.
    for entry in fs::read_dir(&workspace.root)?.flatten() {
        let left = entry.path().join(&name);
        if left.exists() {
            fs::remove_file(&left).with_context(|| format!("cannot remove {}", left.display()))?;
        }
    }
    Ok(())
}

fn digests(directory: &Path) -> Result<()> {
    let mut names: Vec<_> = fs::read_dir(directory)?
        .flatten()
        .filter(|entry| entry.path().is_file() && entry.file_name() != DIGESTS)
        .map(|entry| entry.file_name())
        .collect();
    names.sort();
    let lines = cmd::output(Command::new("sha256sum").current_dir(directory).args(&names))?;
    fs::write(directory.join(DIGESTS), lines).context("cannot write the digests")
}

/// A program that needs no shared library, with its documentation.
fn tarball(workspace: &Workspace) -> Result<()> {
    let installed = cmd::output(Command::new("rustup").args(["target", "list", "--installed"])).unwrap_or_default();
    ensure!(
        installed.lines().any(|line| line == STATIC_TARGET),
        "the Rust library for {STATIC_TARGET} is missing: `rustup target add {STATIC_TARGET}`"
    );
    ensure!(
        cmd::find("musl-gcc").is_some(),
        "musl-gcc is missing, which ring and zstd are compiled with: install the package musl-tools"
    );
    let program = program(workspace, &workspace.target, Some(STATIC_TARGET))?;
    let directory = directory(workspace);
    let name = format!("auditd-bpf-{}-{}-static", env!("CARGO_PKG_VERSION"), std::env::consts::ARCH);
    let stage = directory.join("stage-static").join(&name);
    let staged = stage::fill(workspace, Purpose::Release, &program, &stage)?;
    let archive = directory.join(format!("{name}.tar.gz"));
    let mut tar = Command::new("tar");
    tar.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--use-compress-program=gzip -9n"]);
    tar.arg(format!("--mtime=@{}", staged.epoch))
        .arg("-cf")
        .arg(&archive)
        .arg("-C")
        .arg(directory.join("stage-static"));
    let kept = [
        "auditd-bpf",
        "auditd-bpf.toml",
        "CHANGELOG.md",
        "completions",
        "copyright",
        "examples",
        "links",
        "man",
        "records.schema.json",
        "systemd",
        "THIRD-PARTY",
    ];
    cmd::output(tar.args(kept.map(|kept| format!("{name}/{kept}"))))?;
    digests(&directory)?;
    println!("{}", archive.display());
    Ok(())
}

/// What lintian, rpmlint and cargo-deny say; warnings are shown, errors fail.
fn lint(workspace: &Workspace) -> Result<()> {
    setup::package_judges(workspace)?;
    let directory = directory(workspace);
    let packages = packages_in(&directory)?;
    ensure!(!packages.is_empty(), "there are no packages: `cargo xtask package`");
    let of_kind =
        |kind: &'static str| packages.iter().filter(move |path| path.extension().is_some_and(|found| found == kind));
    cmd::run_shown(
        Command::new(cmd::require("lintian")?).args(["--fail-on", "error", "--allow-root"]).args(of_kind("deb")),
    )?;
    let config = directory.join("stage/rpmlint.toml");
    cmd::run_shown(Command::new(cmd::require("rpmlint")?).arg("--config").arg(config).args(of_kind("rpm")))?;
    // Not advisories, whose database is not here.
    let mut deny = Command::new(workspace.tools().join("bin/cargo-deny"));
    deny.current_dir(&workspace.root).args(["--locked", "--offline", "check", "licenses", "bans", "sources"]);
    cmd::run_shown(&mut deny)
}
