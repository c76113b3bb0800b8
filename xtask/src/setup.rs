//! Finding the tools that the build and the guests need, and installing what is missing.
//!
//! Two parts, each asked for by the commands that need it: the eBPF toolchain (a compiler with a core library for the
//! BPF target, and bpf-linker built against that compiler's LLVM), and what guests need (QEMU, busybox, ...).

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail};

use crate::cmd;
use crate::vm::packages;
use crate::workspace::Workspace;

const BPF_TARGET: &str = "bpfel-unknown-none";
const BPF_LINKER_VERSION: &str = "0.13.0";

/// Debian's compiler for building its browsers: newer than the release's own, with a core library for the BPF target.
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_COMPILER: [&str; 2] = ["rustc-web", "libstd-rust-web-dev-bpf"];
/// What building bpf-linker takes besides the LLVM development package.
const DEBIAN_BUILD_TOOLS: [(&str, &str); 3] = [("g++", "g++"), ("make", "make"), ("pkg-config", "pkg-config")];
/// The plugin for auditd that others feed their SIEM with: a judge of our plugins output.
const LAUREL_VERSION: &str = "0.8.2";
/// What building LAUREL takes: it generates bindings to libacl.
const LAUREL_PACKAGES: [&str; 2] = ["libacl1-dev", "libclang-dev"];
/// What makes packages.
const PACKAGERS: [(&str, &str); 2] = [("cargo-deb", "3.8.0"), ("cargo-generate-rpm", "0.21.1")];
/// What lists what they are made of: only `cargo xtask package` needs it.
const SBOM_TOOL: (&str, &str) = ("cargo-cyclonedx", "0.5.9");
/// What looks at packages, and at what their program is made of: only `cargo xtask package --lint` needs it.
const DENY: (&str, &str) = ("cargo-deny", "0.20.2");
const PACKAGE_JUDGES: [(&str, &str); 3] = [("lintian", "lintian"), ("rpmlint", "rpmlint"), ("rpm", "rpm")];
const BUSYBOX: (&str, &str) = ("busybox", "busybox-static");
/// Programs that guests need, and the Debian packages that have them.
const GUEST_TOOLS: [(&str, &str); 8] = [
    ("qemu-system-x86_64", "qemu-system-x86"),
    BUSYBOX,
    ("modprobe", "kmod"),
    ("mkfs.ext4", "e2fsprogs"),
    ("zstd", "zstd"),
    ("xz", "xz-utils"),
    ("lz4", "lz4"),
    ("setpriv", "util-linux"),
];

/// The browser that looks at `report --html`, and what a Python environment takes.
const JUDGES: [(&str, &str); 2] = [("chromium", "chromium"), ("python3", "python3")];
/// Has no program of its own: `python3 -m venv` fails without it on Debian.
const PYTHON_VENV: &str = "python3-venv";
/// From PyPI: the database that reads our JSON logs, librdkafka, with a mock of a cluster, for the Kafka output, and OpenTelemetry's
/// types for the OTLP output.
const PYTHON_JUDGES: [&str; 5] = [
    "duckdb==2.0.1",
    "confluent-kafka==2.16.1",
    "opentelemetry-proto==1.45.2",
    "ocsf-json-schema==1.2.0",
    "jsonschema==4.26.0",
];

/// Options of `cargo xtask setup`.
#[derive(clap::Args)]
pub struct Args {
    /// Only report what is missing; exit status 1 if anything is
    #[arg(long)]
    no_install: bool,
}

/// A compiler that has, or can build, a core library for the BPF target.
pub enum Compiler {
    /// One that came with that library: Debian's rustc-web.
    Packaged {
        /// The compiler's path.
        rustc: PathBuf,
    },
    /// rustup's nightly with rust-src, from which cargo builds the library.
    Nightly {
        /// The toolchain's name for rustup.
        toolchain: String,
    },
}

/// All that building the eBPF object takes.
pub struct EbpfToolchain {
    /// The compiler to use.
    pub compiler: Compiler,
    /// bpf-linker's path.
    pub linker: PathBuf,
}

/// `cargo xtask setup`.
pub fn main(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    if args.no_install {
        let missing = missing(workspace)?;
        for line in &missing {
            println!("missing: {line}");
        }
        if missing.is_empty() {
            println!("nothing is missing");
        } else {
            println!("`cargo xtask setup` installs them");
        }
        return Ok(if missing.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    ebpf_toolchain(workspace)?;
    guest_tools()?;
    packages::peers(workspace)?;
    laurel(workspace)?;
    judges(workspace)?;
    println!("setup: all there");
    Ok(ExitCode::SUCCESS)
}

/// One line for each thing that is missing, with how to get it.
pub fn missing(workspace: &Workspace) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    match find_compiler() {
        None => {
            lines.push(format!("a Rust compiler for {BPF_TARGET} ({})", compiler_remedy()));
            lines.push("bpf-linker, built with the LLVM of that compiler".to_owned());
        }
        Some(compiler) => {
            let llvm = llvm_major(&compiler)?;
            if !linker_fits(&workspace.tools(), llvm) {
                lines.push(format!(
                    "bpf-linker {BPF_LINKER_VERSION} for LLVM {llvm} (package llvm-{llvm}-dev, then cargo install)"
                ));
            }
        }
    }
    let tools = GUEST_TOOLS.iter().filter(|(program, _)| cmd::find(program).is_none());
    lines.extend(tools.map(|(program, package)| format!("{program} (package {package})")));
    Ok(lines)
}

/// The eBPF toolchain; what is missing of it gets installed.
pub fn ebpf_toolchain(workspace: &Workspace) -> Result<EbpfToolchain> {
    let compiler = match find_compiler() {
        Some(compiler) => compiler,
        None => install_compiler()?,
    };
    let llvm = llvm_major(&compiler)?;
    let tools = workspace.tools();
    if !linker_fits(&tools, llvm) {
        install_linker(workspace, llvm)?;
    }
    Ok(EbpfToolchain { compiler, linker: tools.join("bin/bpf-linker") })
}

/// The programs that guests need; those missing get installed.
pub fn guest_tools() -> Result<()> {
    install_programs(&GUEST_TOOLS, "guests")
}

/// What the demonstration needs on the host itself.
pub fn demo_tools() -> Result<()> {
    install_programs(&[BUSYBOX], "the demonstration")
}

fn find_compiler() -> Option<Compiler> {
    if let Some(rustc) = ["rustc", DEBIAN_RUSTC].into_iter().map(PathBuf::from).find(|rustc| has_bpf_core(rustc)) {
        return Some(Compiler::Packaged { rustc });
    }
    nightly_with_source().map(|toolchain| Compiler::Nightly { toolchain })
}

fn has_bpf_core(rustc: &Path) -> bool {
    let Ok(dir) = cmd::output(Command::new(rustc).args(["--print", "target-libdir", "--target", BPF_TARGET])) else {
        return false;
    };
    let Ok(entries) = fs::read_dir(dir.trim()) else { return false };
    entries.flatten().any(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name.starts_with("libcore-") && name.ends_with(".rlib")
    })
}

fn nightly_with_source() -> Option<String> {
    let toolchains = cmd::output(Command::new("rustup").args(["toolchain", "list"])).ok()?;
    let names = toolchains.lines().filter_map(|line| line.split_whitespace().next());
    names.filter(|name| name.starts_with("nightly")).find(|name| has_source(name)).map(str::to_owned)
}

fn has_source(toolchain: &str) -> bool {
    let sysroot = cmd::output(Command::new("rustup").args(["run", toolchain, "rustc", "--print", "sysroot"]));
    sysroot.is_ok_and(|dir| Path::new(dir.trim()).join("lib/rustlib/src/rust/library/core").is_dir())
}

fn install_compiler() -> Result<Compiler> {
    if !on_debian() {
        bail!("no Rust compiler for {BPF_TARGET} found: {}", compiler_remedy());
    }
    apt_install(&DEBIAN_COMPILER.map(str::to_owned))?;
    find_compiler().with_context(|| format!("{DEBIAN_RUSTC} still has no core library for {BPF_TARGET}"))
}

fn compiler_remedy() -> String {
    if on_debian() {
        format!("packages {}", DEBIAN_COMPILER.join(" and "))
    } else {
        "`rustup toolchain install nightly --component rust-src`, or on Debian the packages rustc-web and \
         libstd-rust-web-dev-bpf"
            .to_owned()
    }
}

/// The major version of the LLVM inside a compiler: bpf-linker must be built with the same.
fn llvm_major(compiler: &Compiler) -> Result<u32> {
    let mut command = match compiler {
        Compiler::Packaged { rustc } => Command::new(rustc),
        Compiler::Nightly { toolchain } => {
            let mut command = Command::new("rustup");
            command.args(["run", toolchain, "rustc"]);
            command
        }
    };
    let version = cmd::output(command.arg("-vV"))?;
    parse_llvm_major(&version).with_context(|| format!("{} names no LLVM version", cmd::shown(&command)))
}

fn parse_llvm_major(version: &str) -> Option<u32> {
    let llvm = version.lines().find_map(|line| line.strip_prefix("LLVM version: "))?;
    llvm.split('.').next()?.parse().ok()
}

/// Cargo notes in its install directory which features a program was built with.
fn linker_fits(tools: &Path, llvm: u32) -> bool {
    tools.join("bin/bpf-linker").is_file()
        && fs::read_to_string(tools.join(".crates2.json")).is_ok_and(|notes| notes_fit(&notes, llvm))
}

fn notes_fit(notes: &str, llvm: u32) -> bool {
    let Ok(notes) = serde_json::from_str::<serde_json::Value>(notes) else { return false };
    let Some(installs) = notes["installs"].as_object() else { return false };
    let wanted = format!("bpf-linker {BPF_LINKER_VERSION} ");
    let feature = format!("llvm-{llvm}");
    let has_feature = |install: &serde_json::Value| {
        install["features"].as_array().is_some_and(|features| features.iter().any(|name| *name == feature))
    };
    installs.iter().any(|(name, install)| name.starts_with(&wanted) && has_feature(install))
}

fn install_linker(workspace: &Workspace, llvm: u32) -> Result<()> {
    install_programs(&DEBIAN_BUILD_TOOLS, "bpf-linker")?;
    let llvm_config = format!("llvm-config-{llvm}");
    let prefix = PathBuf::from(format!("/usr/lib/llvm-{llvm}"));
    if cmd::find(&llvm_config).is_none() && !prefix.join("bin/llvm-config").is_file() {
        if !on_debian() {
            bail!("LLVM {llvm} with its development files is missing: install the package that has {llvm_config}");
        }
        apt_install(&[format!("llvm-{llvm}-dev")])?;
    }
    let mut command = cargo_install(workspace, "bpf-linker", BPF_LINKER_VERSION);
    command.args(["--no-default-features", "--force", "--features", &format!("llvm-{llvm}")]);
    if prefix.is_dir() {
        // Where its build script looks for llvm-config.
        let path = env::var_os("PATH").unwrap_or_default();
        let path = std::iter::once(prefix.join("bin")).chain(env::split_paths(&path));
        command.env("PATH", env::join_paths(path).context("PATH cannot be extended")?);
    }
    cmd::step("bpf-linker (once, about 2 minutes)", || cmd::run_shown(&mut command))?;
    forget_builds(workspace);
    Ok(())
}

/// Builds a program for `target/tools`.
fn cargo_install(workspace: &Workspace, name: &str, version: &str) -> Command {
    let mut command = workspace.cargo("install");
    command.args([name, "--version", version, "--locked", "--root"]).arg(workspace.tools());
    command.env("CARGO_TARGET_DIR", tools_build(workspace));
    command
}

fn tools_build(workspace: &Workspace) -> PathBuf {
    workspace.target.join("tools-build")
}

/// Removes what such programs were built from: half a gigabyte that nobody needs again. Should it stay, it only takes space.
fn forget_builds(workspace: &Workspace) {
    let _ = fs::remove_dir_all(tools_build(workspace));
}

/// LAUREL, built the first time. Its debug build is fast enough for tests, and ready sooner.
pub fn laurel(workspace: &Workspace) -> Result<()> {
    let tools = workspace.tools();
    if tools.join("bin/laurel").is_file() {
        return Ok(());
    }
    if on_debian() {
        apt_install(&LAUREL_PACKAGES.map(str::to_owned))?;
    }
    let mut command = cargo_install(workspace, "laurel", LAUREL_VERSION);
    command.arg("--debug");
    cmd::step("LAUREL (once, about 2 minutes)", || cmd::run_shown(&mut command))?;
    forget_builds(workspace);
    Ok(())
}

/// cargo-deb and cargo-generate-rpm, built the first time.
pub fn packagers(workspace: &Workspace) -> Result<()> {
    install_crates(workspace, &PACKAGERS)
}

/// These, and cargo-cyclonedx.
pub fn package_tools(workspace: &Workspace) -> Result<()> {
    packagers(workspace)?;
    install_crates(workspace, &[SBOM_TOOL])
}

/// The linters of packages, and cargo-deny, built the first time.
pub fn package_judges(workspace: &Workspace) -> Result<()> {
    install_programs(&PACKAGE_JUDGES, "packages")?;
    install_crates(workspace, &[DENY])
}

fn install_crates(workspace: &Workspace, crates: &[(&str, &str)]) -> Result<()> {
    let tools = workspace.tools();
    let notes = fs::read_to_string(tools.join(".crates2.json")).unwrap_or_default();
    for (name, version) in crates {
        if tools.join("bin").join(name).is_file() && notes.contains(&format!("{name} {version} ")) {
            continue;
        }
        let mut command = cargo_install(workspace, name, version);
        command.args(["--debug", "--force"]);
        cmd::step(&format!("{name} (once, one to three minutes)"), || cmd::run_shown(&mut command))?;
    }
    forget_builds(workspace);
    Ok(())
}

/// What makes the Debian that packages are tested in.
pub fn life_cycle_tools() -> Result<()> {
    install_programs(&[("mmdebstrap", "mmdebstrap")], "tests of packages")
}

/// Chromium, and what PyPI has in a Python environment of its own, which the tests of outputs and logs are judged by.
pub fn judges(workspace: &Workspace) -> Result<()> {
    install_programs(&JUDGES, "tests")?;
    let environment = workspace.tools().join("python");
    // Written last: without it the environment is incomplete, with another content out of date.
    let (mark, content) = (environment.join("installed"), PYTHON_JUDGES.join("\n"));
    if fs::read_to_string(&mark).is_ok_and(|installed| installed == content) {
        return Ok(());
    }
    let venv = || cmd::output(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment));
    if venv().is_err() {
        if !on_debian() {
            bail!("python3 -m venv fails: install what it needs with your package manager");
        }
        apt_install(&[PYTHON_VENV.to_owned()])?;
        venv()?;
    }
    let mut pip = Command::new(environment.join("bin/pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:"]);
    pip.args(PYTHON_JUDGES);
    cmd::step(&format!("{} from PyPI (once)", PYTHON_JUDGES.join(", ")), || cmd::run(&mut pip))?;
    fs::write(&mark, content).with_context(|| format!("cannot write {}", mark.display()))
}

fn install_programs(programs: &[(&str, &str)], purpose: &str) -> Result<()> {
    let missing: Vec<_> = programs.iter().filter(|(program, _)| cmd::find(program).is_none()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !on_debian() {
        let names: Vec<_> = missing.iter().map(|(program, _)| *program).collect();
        bail!("missing for {purpose}: {}; install them with your package manager", names.join(", "));
    }
    let packages: Vec<_> = missing.iter().map(|(_, package)| (*package).to_owned()).collect();
    apt_install(&packages)
}

fn on_debian() -> bool {
    cmd::find("apt-get").is_some() && cmd::find("dpkg").is_some()
}

fn apt_install(packages: &[String]) -> Result<()> {
    static UPDATED: AtomicBool = AtomicBool::new(false);
    if !UPDATED.load(Ordering::Relaxed) {
        cmd::run_shown(as_root("apt-get").arg("update"))?;
        UPDATED.store(true, Ordering::Relaxed);
    }
    // Packages must not stop to ask; sudo hands no variables on, so env sets it.
    let mut command = as_root("env");
    command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y", "--no-install-recommends"]);
    cmd::run_shown(command.args(packages))
}

/// A command that runs as root: by itself where we are root, else through sudo.
pub fn as_root(program: impl AsRef<OsStr>) -> Command {
    let is_root = cmd::output(Command::new("id").arg("-u")).is_ok_and(|uid| uid.trim() == "0");
    if is_root {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.arg(program);
    command
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn llvm_version_is_read_from_the_compiler() {
        assert_eq!(parse_llvm_major("rustc 1.96.0\nrelease: 1.96.0\nLLVM version: 22.1.8\n"), Some(22));
        assert_eq!(parse_llvm_major("rustc 1.96.0\n"), None);
    }

    #[test]
    fn linker_for_another_llvm_or_version_does_not_fit() {
        let notes = r#"{"installs":{"bpf-linker 0.13.0 (registry+x)":{"features":["llvm-22"]}}}"#;
        assert!(notes_fit(notes, 22));
        assert!(!notes_fit(notes, 21));
        assert!(!notes_fit(&notes.replace("0.13.0", "0.12.0"), 22));
        assert!(!notes_fit("not json", 22));
    }
}
