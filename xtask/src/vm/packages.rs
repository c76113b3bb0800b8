//! Debian packages unpacked for guests: programs that auditd-bpf must work with, or is measured against.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::Guest;
use super::apt::Apt;
use super::initramfs::libraries_listed;
use crate::cmd;
use crate::workspace::Workspace;

/// Packages that make a program run, those of their dependencies included that a guest needs.
struct Bundle {
    name: &'static str,
    /// bookworm's, so that they run with the C library of any Debian since.
    packages: &'static [&'static str],
    /// Files that must come with them, and whose libraries the guest needs.
    programs: &'static [&'static str],
    /// Directories of usr/share that are kept: the rest nobody reads in a guest.
    shared: &'static [&'static str],
}

const RSYSLOG: Bundle = Bundle {
    name: "rsyslog",
    packages: &["rsyslog/bookworm", "libestr0/bookworm", "libfastjson4/bookworm"],
    programs: &[
        "usr/sbin/rsyslogd",
        "usr/lib/x86_64-linux-gnu/rsyslog/imuxsock.so",
        "usr/lib/x86_64-linux-gnu/rsyslog/lmnet.so",
    ],
    shared: &[],
};

const AUDIT: Bundle = Bundle {
    name: "audit",
    packages: &[
        "auditd/bookworm",
        "libaudit1/bookworm",
        "libaudit-common/bookworm",
        "libauparse0/bookworm",
        "libcap-ng0/bookworm",
        "libwrap0/bookworm",
        "libnsl2/bookworm",
        "libtirpc3/bookworm",
        "libtirpc-common/bookworm",
    ],
    programs: &["usr/sbin/auditd", "usr/sbin/auditctl"],
    // Rules of the standards.
    shared: &["usr/share/doc/auditd/examples/rules"],
};

/// What root may take to look into a daemon, and at programs of BPF. Most of it is what gdb's library for symbols on servers needs.
const DEBUGGERS: Bundle = Bundle {
    name: "debuggers",
    packages: &[
        "bpftool/bookworm",
        "gdb-minimal/bookworm",
        "libbrotli1/bookworm",
        "libcap2/bookworm",
        "libcom-err2/bookworm",
        "libcurl3-gnutls/bookworm",
        "libdebuginfod1/bookworm",
        "libelf1/bookworm",
        "libexpat1/bookworm",
        "libffi8/bookworm",
        "libgmp10/bookworm",
        "libgnutls30/bookworm",
        "libgssapi-krb5-2/bookworm",
        "libhogweed6/bookworm",
        "libidn2-0/bookworm",
        "libipt2/bookworm",
        "libk5crypto3/bookworm",
        "libkeyutils1/bookworm",
        "libkrb5-3/bookworm",
        "libkrb5support0/bookworm",
        "libldap-2.5-0/bookworm",
        "liblzma5/bookworm",
        "libnettle8/bookworm",
        "libnghttp2-14/bookworm",
        "libp11-kit0/bookworm",
        "libpsl5/bookworm",
        "libreadline8/bookworm",
        "librtmp1/bookworm",
        "libsasl2-2/bookworm",
        "libssh2-1/bookworm",
        "libssl3/bookworm",
        "libstdc++6/bookworm",
        "libtasn1-6/bookworm",
        "libtinfo6/bookworm",
        "libunistring2/bookworm",
        "libxxhash0/bookworm",
        "libzstd1/bookworm",
        "zlib1g/bookworm",
    ],
    programs: &["usr/sbin/bpftool", "usr/bin/gdb"],
    shared: &[],
};

/// Servers and libraries that outputs are tested with, on the host, and those of their libraries that a small system lacks.
const PEERS: Bundle = Bundle {
    name: "peers",
    packages: &[
        "rsyslog/bookworm",
        "rsyslog-gnutls/bookworm",
        "syslog-ng-core/bookworm",
        "nats-server/bookworm",
        "python3-audit/bookworm",
        "libaudit1/bookworm",
        "libauparse0/bookworm",
        "libestr0/bookworm",
        "libfastjson4/bookworm",
        "libffi8/bookworm",
        "libglib2.0-0/bookworm",
        "libgmp10/bookworm",
        "libgnutls30/bookworm",
        "libhogweed6/bookworm",
        "libidn2-0/bookworm",
        "libivykis0/bookworm",
        "libjson-c5/bookworm",
        "libnet1/bookworm",
        "libnettle8/bookworm",
        "libnsl2/bookworm",
        "libp11-kit0/bookworm",
        "libpcre3/bookworm",
        "libssl3/bookworm",
        "libtasn1-6/bookworm",
        "libtirpc3/bookworm",
        "libunistring2/bookworm",
        "libwrap0/bookworm",
    ],
    programs: &[
        "usr/sbin/rsyslogd",
        "usr/sbin/syslog-ng",
        "usr/sbin/nats-server",
        "usr/lib/x86_64-linux-gnu/libauparse.so.0",
    ],
    shared: &[],
};

const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";
/// Directories of packages from before these were merged into /usr.
const UNMERGED: [&str; 3] = ["bin", "lib", "sbin"];

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
    RSYSLOG.unpacked(workspace)
}

/// The original auditd and auditctl, fetched the first time.
pub fn audit(workspace: &Workspace) -> Result<Unpacked> {
    AUDIT.unpacked(workspace)
}

/// bpftool and gdb, fetched the first time.
pub fn debuggers(workspace: &Workspace) -> Result<Unpacked> {
    DEBUGGERS.unpacked(workspace)
}

/// The tree of rsyslog, syslog-ng and nats-server, for tests on the host; fetched the first time.
pub fn peers(workspace: &Workspace) -> Result<PathBuf> {
    PEERS.tree(workspace)
}

impl Bundle {
    fn tree(&self, workspace: &Workspace) -> Result<PathBuf> {
        let packages = workspace.guest().join("packages");
        let tree = packages.join(self.name);
        if !self.is_whole(&tree) {
            let what = format!("{}: downloading and unpacking", self.name);
            cmd::step(&what, || self.fetch(workspace, &packages, &tree))?;
        }
        Ok(tree)
    }

    /// Whether a tree is there, and not from before something was added to this list.
    fn is_whole(&self, tree: &Path) -> bool {
        self.programs.iter().chain(self.shared).all(|path| tree.join(path).exists())
    }

    fn unpacked(&self, workspace: &Workspace) -> Result<Unpacked> {
        let tree = self.tree(workspace)?;
        let mut host_libraries = self.needed_libraries(&tree)?;
        host_libraries.retain(|library| !library.starts_with(&tree));
        Ok(Unpacked { tree, host_libraries })
    }

    fn fetch(&self, workspace: &Workspace, packages: &Path, tree: &Path) -> Result<()> {
        fs::create_dir_all(packages).with_context(|| format!("cannot create {}", packages.display()))?;
        let work = tempfile::tempdir_in(packages).context("cannot create a directory for the download")?;
        let unpacked = work.path().join("tree");
        let names: Vec<_> = self.packages.iter().copied().map(str::to_owned).collect();
        Apt::open(workspace)?.unpack(&names, &unpacked)?;
        for old in UNMERGED.map(|name| unpacked.join(name)) {
            if old.is_dir() {
                cmd::output(Command::new("cp").arg("-a").arg(&old).arg(unpacked.join("usr")))?;
                fs::remove_dir_all(&old).with_context(|| format!("cannot remove {}", old.display()))?;
            }
        }
        self.drop_shared(&unpacked)?;
        ensure!(self.is_whole(&unpacked), "the packages of {} do not hold all of {:?}", self.name, self.programs);
        if tree.exists() {
            fs::remove_dir_all(tree).with_context(|| format!("cannot remove {}", tree.display()))?;
        }
        fs::rename(&unpacked, tree).with_context(|| format!("cannot create {}", tree.display()))
    }

    fn drop_shared(&self, tree: &Path) -> Result<()> {
        let (share, old) = (tree.join("usr/share"), tree.join("old-share"));
        if !share.exists() {
            return Ok(());
        }
        fs::rename(&share, &old).with_context(|| format!("cannot move {}", share.display()))?;
        for kept in self.shared.iter().filter_map(|path| Some((tree.join(path), path.strip_prefix("usr/share/")?))) {
            let (to, from) = (kept.0, old.join(kept.1));
            fs::create_dir_all(&to).with_context(|| format!("cannot create {}", to.display()))?;
            fs::rename(&from, &to).with_context(|| format!("the packages hold no {}", to.display()))?;
        }
        fs::remove_dir_all(&old).with_context(|| format!("cannot remove {}", old.display()))
    }

    fn needed_libraries(&self, tree: &Path) -> Result<Vec<PathBuf>> {
        let mut libraries = Vec::new();
        for program in self.programs {
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
}
