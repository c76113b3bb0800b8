//! `cargo xtask test-packages`: what becomes of the packages on a Debian system with systemd, from installation to purge.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::cmd;
use crate::package;
use crate::setup;
use crate::vm::{End, Guest, Kernel};
use crate::workspace::Workspace;

const SUITE: &str = "bookworm";
/// What the system has besides what is essential; the libraries are auditd's, which is installed from its package, the shells
/// those that complete commands.
const PACKAGES: &str = "systemd,systemd-sysv,init-system-helpers,kmod,udev,procps,busybox-static,libauparse0,libcap-ng0,\
                        libgssapi-krb5-2,libwrap0,mawk,rpm,zsh,fish";
const SCRIPT: &str = include_str!("../guest/life-cycle.sh");
/// Its program is the runner of all guests.
const UNIT: &str = "[Unit]\nDescription=Life cycle of packages\nAfter=basic.target auditd-bpf.service auditd.service\n\n\
                    [Service]\nType=oneshot\nExecStart=/guest/run\nTimeoutStartSec=infinity\n";
const IMAGE_BYTES: u64 = 2 << 30;
/// In this order, on the same system.
pub const PHASES: [Phase; 4] = [
    Phase { name: "install", lsm: None },
    Phase { name: "reboot", lsm: None },
    Phase { name: "compat", lsm: None },
    Phase { name: "degraded", lsm: Some("lockdown,capability,landlock,yama") },
];

/// What is done between two boots.
pub struct Phase {
    /// The script's word for it.
    pub name: &'static str,
    /// Instead of the kernel's own security modules and bpf.
    lsm: Option<&'static str>,
}

impl Phase {
    /// What runs in the guest. Not sh: busybox, which runs it, would be the shell, and its own dpkg the package manager.
    pub fn command(&self) -> [&'static str; 3] {
        ["/usr/bin/dash", "/guest/life-cycle.sh", self.name]
    }
}

/// A system without the packages, and these.
pub struct System {
    /// Holds the image and the script.
    work: TempDir,
    packages: Vec<(PathBuf, String)>,
}

impl System {
    /// A new one, for the packages of a directory.
    pub fn prepare(workspace: &Workspace, packages: &Path) -> Result<Self> {
        let work = tempfile::tempdir_in(workspace.guest()).context("cannot create a directory for the image")?;
        let mut files = Vec::new();
        for name in ["auditd-bpf", "auditd-bpf-compat"] {
            let rpm = format!("{name}-{}", env!("CARGO_PKG_VERSION"));
            files.push((package_file(packages, &format!("{name}_"), "deb")?, format!("/guest/{name}.deb")));
            files.push((package_file(packages, &rpm, "rpm")?, format!("/guest/{name}.rpm")));
        }
        let system = Self { work, packages: files };
        format(&debian(workspace)?, &system.image())?;
        fs::write(system.script(), SCRIPT).context("cannot write the script")?;
        Ok(system)
    }

    fn image(&self) -> PathBuf {
        self.work.path().join("root.img")
    }

    fn script(&self) -> PathBuf {
        self.work.path().join("life-cycle.sh")
    }

    /// It, booted for a phase.
    pub fn guest(&self, kernel: Kernel, phase: &Phase) -> Guest {
        let mut guest = Guest::new(kernel).root(self.image()).add(self.script(), "/guest/life-cycle.sh");
        for (file, path) in &self.packages {
            guest = guest.add(file, path);
        }
        match phase.lsm {
            Some(lsm) => guest.lsm(lsm),
            None => guest,
        }
    }
}

/// Options of `cargo xtask test-packages`.
#[derive(clap::Args)]
pub struct Args {
    /// Kernel: 6.1, 6.12, 7.3 or a longer version prefix
    #[arg(long, default_value = "6.12")]
    kernel: String,
    /// Try the packages in target/packages, which `cargo xtask package` makes, instead of building some as `cargo xtask test` does
    #[arg(long)]
    released: bool,
    /// Only this phase, on a new system: install, compat or degraded
    #[arg(long, value_parser = ["install", "compat", "degraded"])]
    phase: Option<String>,
    /// Give up a boot after so many seconds
    #[arg(long, value_name = "S", default_value_t = 3000)]
    timeout: u64,
}

/// `cargo xtask test-packages`.
pub fn main(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    setup::guest_tools()?;
    setup::life_cycle_tools()?;
    let packages = if args.released {
        package::directory(workspace)
    } else {
        setup::packagers(workspace)?;
        package::build_for_trial(workspace)?
    };
    let system = System::prepare(workspace, &packages)?;
    let kernel = Kernel::find(workspace, &args.kernel)?;
    let mut failed = Vec::new();
    for phase in PHASES.iter().filter(|phase| args.phase.as_ref().is_none_or(|only| only == phase.name)) {
        println!("{} on {}:", phase.name, kernel.name);
        let guest = system.guest(kernel.clone(), phase).timeout(Duration::from_secs(args.timeout));
        match guest.run(&phase.command(), io::stdout(), io::stderr())? {
            End::Exited(0) => {}
            End::Exited(_) => failed.push(phase.name),
            End::TimedOut => bail!("{}: timed out after {} s", phase.name, args.timeout),
            End::Died(why) => bail!("{}: the machine went down: {why}", phase.name),
        }
    }
    if failed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    println!("failed: {}", failed.join(", "));
    Ok(ExitCode::FAILURE)
}

/// The package whose file name begins and ends so.
fn package_file(directory: &Path, prefix: &str, kind: &str) -> Result<PathBuf> {
    let entries = fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    let is_it = |path: &PathBuf| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        name.starts_with(prefix) && path.extension().is_some_and(|extension| extension == kind)
    };
    let found = entries.flatten().map(|entry| entry.path()).find(is_it);
    found.with_context(|| format!("no {prefix}*.{kind} in {}: `cargo xtask package`", directory.display()))
}

/// A small Debian with systemd, as a directory; made the first time. Debian's auditd lies in it as a package.
fn debian(workspace: &Workspace) -> Result<PathBuf> {
    let tree = workspace.guest().join(format!("debian-{SUITE}"));
    if ["guest", "usr/bin/rpm", "usr/bin/fish"].iter().all(|last| tree.join(last).exists()) {
        return Ok(tree);
    }
    if tree.exists() {
        cmd::run(setup::as_root("rm").arg("-rf").arg(&tree))?;
    }
    let fetch_auditd = "mkdir -p \"$1/srv/auditd\" && cd \"$1/srv/auditd\" && \
                        APT_CONFIG=\"$MMDEBSTRAP_APT_CONFIG\" apt-get -qq -o APT::Sandbox::User=root download auditd";
    let unit = "printf '%b' \"$GUEST_UNIT\" > \"$1/etc/systemd/system/guest.service\" && \
                mkdir -p \"$1/etc/systemd/system/multi-user.target.wants\" && \
                ln -s ../guest.service \"$1/etc/systemd/system/multi-user.target.wants/guest.service\"";
    let mut make = setup::as_root("env");
    make.arg(format!("GUEST_UNIT={}", UNIT.replace('\n', "\\n")));
    make.args(["mmdebstrap", "--quiet", "--variant=minbase", "--mode=root", "--include", PACKAGES]);
    // Nobody logs in, and what waits for devices or the network only takes time.
    let masked = "for unit in serial-getty@ttyS0.service getty@tty1.service systemd-udev-settle.service \
                  apt-daily.timer apt-daily-upgrade.timer; do ln -s /dev/null \"$1/etc/systemd/system/$unit\"; done";
    for hook in [fetch_auditd, unit, masked, "mkdir \"$1/guest\""] {
        make.arg(format!("--customize-hook={hook}"));
    }
    make.arg(SUITE).arg(&tree).arg(mirror()?);
    cmd::step("a Debian with systemd (once, about 2 minutes)", || cmd::run(&mut make))?;
    Ok(tree)
}

/// The machine's own mirror, as a line of sources.list.
fn mirror() -> Result<String> {
    let mut command = Command::new("apt-get");
    let mirrors =
        cmd::output(command.args(["indextargets", "--format", "$(REPO_URI) $(RELEASE)", "Created-By: Packages"]))?;
    let uri = mirrors.lines().filter_map(|line| line.split_once(' ')).find(|(_, suite)| *suite == SUITE);
    let (uri, _) = uri.with_context(|| format!("this machine's apt is not configured with a mirror of {SUITE}"))?;
    Ok(format!("deb {uri} {SUITE} main"))
}

fn format(tree: &Path, image: &Path) -> Result<()> {
    let file = fs::File::create(image).with_context(|| format!("cannot create {}", image.display()))?;
    file.set_len(IMAGE_BYTES).context("cannot size the image")?;
    let mut mkfs = setup::as_root(cmd::require("mkfs.ext4")?);
    cmd::output(mkfs.args(["-q", "-F", "-d"]).arg(tree).arg(image))?;
    ensure!(image.is_file(), "mkfs.ext4 made no {}", image.display());
    Ok(())
}
