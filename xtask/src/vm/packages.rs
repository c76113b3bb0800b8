//! Debian packages unpacked for guests: programs that auditd-bpf must work with.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::Guest;
use super::apt::Apt;
use super::initramfs::libraries_listed;
use crate::cmd;
use crate::workspace::Workspace;

/// bookworm's, so that they run with the C library of any Debian since.
const RSYSLOG: [&str; 3] = ["rsyslog/bookworm", "libestr0/bookworm", "libfastjson4/bookworm"];
const RSYSLOGD: &str = "usr/sbin/rsyslogd";
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";

/// A tree of unpacked packages, and what it needs of the host's libraries.
pub struct Unpacked {
    tree: PathBuf,
    host_libraries: Vec<PathBuf>,
}

impl Unpacked {
    /// Puts it into a guest.
    pub fn add_to(&self, guest: Guest) -> Guest {
        let guest = guest.add(&self.tree, "/");
        self.host_libraries.iter().fold(guest, |guest, library| guest.add(library, library))
    }
}

/// rsyslog, fetched the first time.
pub fn rsyslog(workspace: &Workspace) -> Result<Unpacked> {
    let packages = workspace.guest().join("packages");
    let tree = packages.join("rsyslog");
    if !tree.exists() {
        cmd::step("rsyslog: downloading and unpacking", || fetch(workspace, &packages, &tree))?;
    }
    let libraries = needed_libraries(&tree)?;
    Ok(Unpacked { host_libraries: libraries.into_iter().filter(|library| !library.starts_with(&tree)).collect(), tree })
}

fn fetch(workspace: &Workspace, packages: &Path, tree: &Path) -> Result<()> {
    fs::create_dir_all(packages).with_context(|| format!("cannot create {}", packages.display()))?;
    let work = tempfile::tempdir_in(packages).context("cannot create a directory for the download")?;
    let unpacked = work.path().join("tree");
    Apt::open(workspace)?.unpack(&RSYSLOG.map(str::to_owned), &unpacked)?;
    // Packages from before the merge of /lib into /usr/lib, and what nobody reads in a guest.
    let old = unpacked.join("lib");
    if old.is_dir() {
        cmd::output(Command::new("cp").arg("-a").arg(&old).arg(unpacked.join("usr")))?;
        fs::remove_dir_all(&old).context("cannot remove the unpacked lib/")?;
    }
    cmd::output(Command::new("rm").arg("-rf").arg(unpacked.join("usr/share")))?;
    ensure!(unpacked.join(RSYSLOGD).is_file(), "the rsyslog package holds no {RSYSLOGD}");
    fs::rename(&unpacked, tree).with_context(|| format!("cannot create {}", tree.display()))
}

fn needed_libraries(tree: &Path) -> Result<Vec<PathBuf>> {
    let mut libraries = Vec::new();
    for program in
        [RSYSLOGD, "usr/lib/x86_64-linux-gnu/rsyslog/imuxsock.so", "usr/lib/x86_64-linux-gnu/rsyslog/lmnet.so"]
    {
        let mut ldd = Command::new("ldd");
        ldd.arg(tree.join(program)).env("LD_LIBRARY_PATH", tree.join(LIBRARIES));
        let listing = cmd::output(&mut ldd)?;
        ensure!(!listing.contains("not found"), "libraries are missing: {listing}");
        libraries.extend(libraries_listed(&listing));
    }
    libraries.sort();
    libraries.dedup();
    Ok(libraries)
}
