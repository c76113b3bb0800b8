//! The guest's file system: busybox, kernel modules, two scripts and whatever files are added, as one cpio archive.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use cpio::newc;

use super::kernel::{Kernel, read_module};
use crate::cmd;

/// Loaded at boot, with what they depend on.
const MODULES: [&str; 5] = ["virtio_pci", "virtio_blk", "ext4", "overlay", "loop"];
/// Not loaded: something harmless for those who want to load a module.
const SPARE_MODULE: &str = "dummy";

const DIRECTORIES: &str = "dev proc sys run tmp root out scratch mnt srv home/user etc/audit/rules.d guest/modules \
                           usr/bin usr/sbin usr/lib usr/lib64 usr/local/bin usr/local/sbin \
                           var/log/audit var/lib var/spool";
const LINKS: [(&str, &str); 5] =
    [("bin", "usr/bin"), ("sbin", "usr/sbin"), ("lib", "usr/lib"), ("lib64", "usr/lib64"), ("var/run", "../run")];
const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\
                      user:x:1000:1000:user:/home/user:/bin/sh\n\
                      nobody:x:65534:65534:nobody:/nonexistent:/bin/sh\n";
const GROUP: &str = "root:x:0:\nadm:x:4:\nuser:x:1000:\nnogroup:x:65534:\n";
const HOSTS: &str = "127.0.0.1 localhost guest\n::1 localhost\n";

const FILE: u32 = 0o100_000;
const DIRECTORY: u32 = 0o040_000;
const SYMLINK: u32 = 0o120_000;

/// A cpio archive in the making; directories come into being with what lies in them.
pub struct Initramfs<W: Write> {
    output: W,
    paths: BTreeSet<PathBuf>,
}

impl<W: Write> Initramfs<W> {
    /// The base system for a kernel.
    pub fn new(output: W, kernel: &Kernel) -> Result<Self> {
        let mut archive = Self { output, paths: BTreeSet::new() };
        // Links before all else: what is put into /bin lands in /usr/bin.
        for (link, target) in LINKS {
            archive.symlink(Path::new(link), target)?;
        }
        for dir in DIRECTORIES.split_whitespace() {
            archive.directory(Path::new(dir))?;
        }
        archive.file(Path::new("etc/passwd"), 0o644, PASSWD.as_bytes())?;
        archive.file(Path::new("etc/group"), 0o644, GROUP.as_bytes())?;
        archive.file(Path::new("etc/hosts"), 0o644, HOSTS.as_bytes())?;
        archive.file(Path::new("init"), 0o755, include_bytes!("../../guest/init.sh"))?;
        archive.file(Path::new("guest/run"), 0o755, include_bytes!("../../guest/run.sh"))?;
        archive.busybox()?;
        archive.modules(kernel)?;
        Ok(archive)
    }

    /// Adds a file from the host with the shared libraries that it needs, or a directory with all that is in it.
    pub fn add(&mut self, host: &Path, guest: &Path) -> Result<()> {
        let metadata = fs::metadata(host).with_context(|| format!("cannot read {}", host.display()))?;
        if metadata.is_dir() {
            return self.add_tree(host, &inside(guest));
        }
        self.host_file(host, &inside(guest))?;
        for library in shared_libraries(host) {
            if !self.paths.contains(&inside(&library)) {
                self.host_file(&library, &inside(&library))?;
            }
        }
        Ok(())
    }

    /// Adds a file with the given contents.
    pub fn file(&mut self, path: &Path, mode: u32, contents: &[u8]) -> Result<()> {
        self.parents(path)?;
        self.entry(path, FILE | mode, contents)
    }

    /// Writes what ends an archive.
    pub fn finish(self) -> Result<W> {
        newc::trailer(self.output).context("cannot finish the initramfs")
    }

    fn busybox(&mut self) -> Result<()> {
        let busybox = cmd::require("busybox")?;
        self.add(&busybox, Path::new("/usr/bin/busybox"))?;
        for applet in cmd::output(Command::new(&busybox).arg("--list"))?.lines() {
            let path = Path::new("usr/bin").join(applet);
            if applet != "busybox" && !self.paths.contains(&path) {
                self.symlink(&path, "busybox")?;
            }
        }
        Ok(())
    }

    fn modules(&mut self, kernel: &Kernel) -> Result<()> {
        for (number, module) in kernel.module_files(&MODULES)?.iter().enumerate() {
            let stem = module.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let stem = stem.split(".ko").next().unwrap_or_default();
            let path = format!("guest/modules/{number:03}-{stem}.ko");
            self.file(Path::new(&path), 0o644, &read_module(module)?)?;
        }
        if let Some(spare) = kernel.module_files(&[SPARE_MODULE])?.last() {
            self.file(&Path::new("guest").join(SPARE_MODULE).with_extension("ko"), 0o644, &read_module(spare)?)?;
        }
        Ok(())
    }

    fn add_tree(&mut self, host: &Path, guest: &Path) -> Result<()> {
        self.directory(guest)?;
        let mut entries: Vec<_> = fs::read_dir(host)
            .and_then(Iterator::collect)
            .with_context(|| format!("cannot read {}", host.display()))?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let (path, kind) = (entry.path(), entry.file_type()?);
            let inner = inside(&guest.join(entry.file_name()));
            if kind.is_dir() {
                self.add_tree(&path, &inner)?;
            } else if kind.is_symlink() {
                let target = fs::read_link(&path)?;
                self.symlink(&inner, &target.to_string_lossy())?;
            } else if kind.is_file() {
                self.host_file(&path, &inner)?;
            }
        }
        Ok(())
    }

    fn host_file(&mut self, host: &Path, path: &Path) -> Result<()> {
        let contents = fs::read(host).with_context(|| format!("cannot read {}", host.display()))?;
        let mode = File::open(host)?.metadata()?.permissions().mode() & 0o7777;
        self.file(path, mode, &contents)
    }

    fn symlink(&mut self, path: &Path, target: &str) -> Result<()> {
        self.parents(path)?;
        self.entry(path, SYMLINK | 0o777, target.as_bytes())
    }

    fn directory(&mut self, path: &Path) -> Result<()> {
        if path.as_os_str().is_empty() || self.paths.contains(path) {
            return Ok(());
        }
        self.parents(path)?;
        self.entry(path, DIRECTORY | 0o755, &[])
    }

    fn parents(&mut self, path: &Path) -> Result<()> {
        path.parent().map_or(Ok(()), |parent| self.directory(parent))
    }

    fn entry(&mut self, path: &Path, mode: u32, contents: &[u8]) -> Result<()> {
        let name = path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))?;
        ensure!(!name.is_empty(), "a file in the guest needs a name");
        let size = u32::try_from(contents.len()).with_context(|| format!("{name} is too large for a guest"))?;
        let number = u32::try_from(self.paths.len())? + 1;
        let mut write = || -> io::Result<()> {
            let mut entry = newc::Builder::new(name).mode(mode).ino(number).write(&mut self.output, size);
            entry.write_all(contents)?;
            entry.finish()?;
            Ok(())
        };
        write().with_context(|| format!("cannot put {name} into the initramfs"))?;
        self.paths.insert(path.to_owned());
        Ok(())
    }
}

/// A guest path as it is named in the archive: relative, and below usr/ for the directories merged into it.
fn inside(path: &Path) -> PathBuf {
    let mut parts: Vec<_> = path.components().filter(|part| matches!(part, Component::Normal(_))).collect();
    if LINKS
        .iter()
        .any(|(link, target)| parts.first().is_some_and(|part| part.as_os_str() == *link) && target.starts_with("usr"))
    {
        parts.insert(0, Component::Normal("usr".as_ref()));
    }
    parts.iter().collect()
}

/// The libraries and the loader that a program needs; nothing for scripts and static programs.
fn shared_libraries(program: &Path) -> Vec<PathBuf> {
    // ldd fails for what is not dynamic, which is no error here.
    let Ok(listing) = cmd::output(Command::new("ldd").arg(program)) else { return Vec::new() };
    libraries_listed(&listing)
}

/// Lines are `name => /path (address)` or `/path (address)`.
pub fn libraries_listed(listing: &str) -> Vec<PathBuf> {
    let path = |line: &str| line.split_whitespace().find(|word| word.starts_with('/')).map(PathBuf::from);
    listing.lines().filter_map(path).collect()
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn merged_directories_go_below_usr() {
        assert_eq!(inside(Path::new("/lib64/ld.so")), Path::new("usr/lib64/ld.so"));
        assert_eq!(inside(Path::new("/usr/bin/x")), Path::new("usr/bin/x"));
        assert_eq!(inside(Path::new("/etc/../etc/x")), Path::new("etc/etc/x"));
    }

    #[test]
    fn libraries_are_those_with_a_path() {
        let listing = "\tlinux-vdso.so.1 (0x1)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x2)\n\
                       \tlibgone.so => not found\n\t/lib64/ld-linux-x86-64.so.2 (0x3)\n";
        let expected = ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"].map(PathBuf::from);
        assert_eq!(libraries_listed(listing), expected);
    }
}
