//! What belongs to one case alone: a directory, a key, a login uid.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use nix::sys::stat::minor;

/// A file system of its own, so that paths cross a mount and extended attributes work on every kernel.
pub const BASE: &str = "/srv";
/// Login uids of cases start here, far from every uid that is used.
const FIRST_AUID: u32 = 40_000;

/// Where a case acts, and how its events are told from those of others.
#[derive(Clone, Debug)]
pub struct Place {
    /// The case's name, and the key of its rules.
    pub name: &'static str,
    /// Login uid of its children: rules on whole syscalls narrow themselves to it.
    pub auid: u32,
    /// A directory that nobody else uses.
    pub dir: PathBuf,
}

impl Place {
    /// A place with an empty directory that everybody may search.
    pub fn create(name: &'static str, number: usize) -> Result<Self> {
        let dir = Path::new(BASE).join(name);
        fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).context("cannot open up the directory")?;
        let auid = FIRST_AUID + u32::try_from(number).context("too many cases")?;
        Ok(Self { name, auid, dir })
    }

    /// A place of another case's acts, with the same login uid.
    pub fn within(&self, name: &'static str) -> Result<Self> {
        Ok(Self { name, auid: self.auid, dir: self.directory(name)? })
    }

    /// A path in the directory.
    pub fn path(&self, inside: impl AsRef<Path>) -> PathBuf {
        self.dir.join(inside)
    }

    /// A rule text with `{dir}`, `{key}` and `{auid}` filled in; `{pid}`, which is this process; and `{inode}` and `{minor}`, which
    /// are those of the file `d/f`, if it is there.
    pub fn rules(&self, text: &str) -> String {
        let dir = self.dir.to_string_lossy();
        let rules = text.replace("{dir}", &dir).replace("{key}", self.name).replace("{auid}", &self.auid.to_string());
        let mut rules = rules.replace("{pid}", &std::process::id().to_string());
        if let Ok(file) = fs::metadata(self.path("d/f")) {
            rules =
                rules.replace("{inode}", &file.ino().to_string()).replace("{minor}", &minor(file.dev()).to_string());
        }
        rules.lines().map(|line| line.trim_start().to_owned() + "\n").collect()
    }

    /// Creates a file with mode 0644.
    pub fn file(&self, inside: impl AsRef<Path>) -> Result<PathBuf> {
        self.file_with_mode(inside, 0o644)
    }

    /// Creates a file with some content and a mode.
    pub fn file_with_mode(&self, inside: impl AsRef<Path>, mode: u32) -> Result<PathBuf> {
        let path = self.path(inside);
        fs::write(&path, "content\n").with_context(|| format!("cannot write {}", path.display()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).context("cannot set a mode")?;
        Ok(path)
    }

    /// Creates a directory, with parents.
    pub fn directory(&self, inside: impl AsRef<Path>) -> Result<PathBuf> {
        let path = self.path(inside);
        fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(path)
    }

    /// Copies busybox here: a program with an inode of its own.
    pub fn program(&self, inside: impl AsRef<Path>) -> Result<PathBuf> {
        let path = self.path(inside);
        fs::copy(BUSYBOX, &path).with_context(|| format!("cannot copy {BUSYBOX}"))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).context("cannot set a mode")?;
        Ok(path)
    }
}

/// Runs a copy of busybox, which asks its first argument what it shall be.
pub fn copy_of_busybox(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.arg0("busybox");
    command
}

/// All programs of a guest in one.
pub const BUSYBOX: &str = "/usr/bin/busybox";

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn rules_get_the_case_s_own_names() {
        let place = Place { name: "open", auid: 7, dir: "/srv/open".into() };
        let rules = place.rules("-w {dir}/f -p w -k {key}\n    -a always,exit -S open -F auid={auid} -k {key}");
        assert_eq!(rules, "-w /srv/open/f -p w -k open\n-a always,exit -S open -F auid=7 -k open\n");
    }
}
