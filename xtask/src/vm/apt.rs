//! apt with a state of its own, for packages of other Debian suites than the machine's.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::cmd;
use crate::workspace::Workspace;

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// 5.10 is bullseye's, 6.1 bookworm's, 6.12 trixie's and bookworm-backports', 7.3 trixie-backports'.
const SUITES: [&str; 5] = ["bullseye", "bookworm", "bookworm-backports", "trixie", "trixie-backports"];
const SECURITY_SUITES: [&str; 3] = ["bullseye-security", "bookworm-security", "trixie-security"];

/// Package lists of the suites above, under `target/guest/apt`.
pub struct Apt {
    dir: PathBuf,
}

impl Apt {
    /// Fetches the package lists the first time.
    pub fn open(workspace: &Workspace) -> Result<Self> {
        let apt = Self { dir: workspace.guest().join("apt") };
        if !apt.stamp().exists() {
            apt.refresh()?;
        }
        Ok(apt)
    }

    /// Names of packages that begin so.
    pub fn package_names(&self, prefix: &str) -> Result<Vec<String>> {
        let names = cmd::output(self.command("apt-cache").args(["pkgnames", prefix]))?;
        Ok(names.lines().map(str::to_owned).collect())
    }

    /// What a package depends on directly; of alternatives, the first.
    pub fn dependencies(&self, package: &str) -> Result<Vec<String>> {
        let shown = cmd::output(self.command("apt-cache").args(["show", "--no-all-versions", package]))?;
        let depends = shown
            .lines()
            .filter_map(|line| line.strip_prefix("Depends: ").or_else(|| line.strip_prefix("Pre-Depends: ")));
        let names = depends.flat_map(|list| list.split(", ")).filter_map(|name| name.split([' ', ':']).next());
        Ok(names.map(str::to_owned).collect())
    }

    /// Downloads packages and unpacks them into `tree`.
    pub fn unpack(&self, packages: &[String], tree: &Path) -> Result<()> {
        if self.download_and_unpack(packages, tree).is_ok() {
            return Ok(());
        }
        // The lists may have grown old: what they name is gone from the mirror.
        self.refresh()?;
        self.download_and_unpack(packages, tree)
    }

    fn download_and_unpack(&self, packages: &[String], tree: &Path) -> Result<()> {
        let downloads = tempfile::tempdir_in(&self.dir).context("cannot create a directory for the download")?;
        let mut download = self.command("apt-get");
        cmd::output_or_progress(download.current_dir(downloads.path()).arg("download").args(packages))?;
        for entry in fs::read_dir(downloads.path()).context("cannot read the download directory")? {
            let package = entry?.path();
            cmd::output(Command::new("dpkg-deb").arg("-x").arg(&package).arg(tree))?;
        }
        Ok(())
    }

    fn refresh(&self) -> Result<()> {
        if cmd::find("apt-get").is_none() {
            bail!("kernels for guests come from Debian's mirrors through apt-get, which this machine does not have");
        }
        for dir in ["lists/partial", "cache/archives/partial", "state"] {
            let dir = self.dir.join(dir);
            fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        }
        let mirrors = cmd::output(Command::new("apt-get").args([
            "indextargets",
            "--format",
            "$(REPO_URI) $(RELEASE)",
            "Created-By: Packages",
        ]))?;
        let sources = sources(&mirrors, Path::new(KEYRING).exists());
        ensure!(!sources.is_empty(), "this machine's apt is not configured with a Debian mirror");
        fs::write(self.dir.join("sources.list"), sources).context("cannot write the package sources")?;
        let mut update = self.command("apt-get");
        // A mirror without one of the suites is fine as long as the packages wanted are found.
        cmd::step("package lists of other Debian suites (about 15 s)", || {
            match cmd::output_or_progress(update.arg("update")) {
                Ok(()) => Ok(()),
                Err(error) if self.package_names("linux-image-")?.is_empty() => Err(error),
                Err(error) => {
                    eprintln!("warning: {error:#}");
                    Ok(())
                }
            }
        })?;
        fs::write(self.stamp(), "").context("cannot write the stamp")
    }

    fn stamp(&self) -> PathBuf {
        self.dir.join("stamp")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.args(["-o", "Dir::Etc::SourceParts=/dev/null", "-o", "Dir::Etc::PreferencesParts=/dev/null"]);
        command.args(["-o", "Acquire::Languages=none", "-o", "APT::Update::Post-Invoke-Success::=true"]);
        // apt downloads as a user of its own when started by root; that user cannot write here.
        command.args(["-o", "APT::Sandbox::User=root"]);
        for (option, path) in [
            ("Dir::State", "state"),
            ("Dir::State::Lists", "lists"),
            ("Dir::Cache", "cache"),
            ("Dir::Etc::SourceList", "sources.list"),
        ] {
            command.arg("-o").arg(format!("{option}={}", self.dir.join(path).display()));
        }
        command
    }
}

/// The machine's own Debian mirrors, with the suites that have our kernels.
fn sources(mirrors: &str, keyring: bool) -> String {
    let signed_by = if keyring { format!("[signed-by={KEYRING}] ") } else { String::new() };
    let mut lines = BTreeSet::new();
    for (uri, suite) in mirrors.lines().filter_map(|line| line.split_once(' ')) {
        let suites: &[&str] = match suite {
            _ if suite.ends_with("-security") => &SECURITY_SUITES,
            "bullseye" | "bookworm" | "trixie" | "forky" | "sid" => &SUITES,
            _ => &[],
        };
        lines.extend(suites.iter().map(|suite| format!("deb {signed_by}{uri} {suite} main\n")));
    }
    lines.into_iter().collect()
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn sources_use_only_debian_mirrors_of_the_machine() {
        let mirrors = "http://mirror.example/debian/ bookworm\nhttp://mirror.example/debian/ bookworm-updates\n\
                       http://security.example/ bookworm-security\nhttps://vendor.example/apt stable\n";
        let sources = sources(mirrors, false);
        assert_eq!(sources.lines().count(), SUITES.len() + SECURITY_SUITES.len());
        assert!(sources.contains("deb http://mirror.example/debian/ trixie-backports main\n"));
        assert!(sources.contains("deb http://security.example/ bullseye-security main\n"));
        assert!(!sources.contains("vendor.example"));
    }
}
