//! Which files the rules' paths are now: device and inode, as the kernel side compares them.
//!
//! A watch on a file is its inode and its name in its directory, so that a file replaced by rename stays watched and one not
//! there yet can be. A tree is the inode of its directory and of every mount below it (`audit_tree` in the kernel).

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use auditd_bpf_common::plan_rows::{self, Row};
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};
use rules::{
    Cgroup, Pattern, Plan,
    plan::{NO_RULES, difference, union},
};

use crate::mounts::MountTable;

/// An inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileId {
    /// Device of the superblock, `major << 20 | minor`.
    pub dev: u32,
    /// Inode number.
    pub ino: u64,
}

/// What rules say of an inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectRules {
    /// Rules whose `path` it is.
    pub path: Row,
    /// Rules whose `dir` it is.
    pub dir: Row,
    /// Whether names in it are watched.
    pub has_names: bool,
}

/// The files that a plan's paths are at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identities {
    /// By inode.
    pub objects: HashMap<FileId, ObjectRules>,
    /// By directory and name in it.
    pub names: HashMap<(FileId, Vec<u8>), Row>,
    /// Rules whose exe test holds, by executable that some rule names.
    pub exes: HashMap<FileId, Row>,
    /// Rules whose exe test holds for every other executable.
    pub other_exes: Row,
    /// Control groups, by their place among the plan's patterns.
    pub cgroups: Vec<(usize, CgroupId)>,
    /// Directories in which a change may change the above.
    pub directories: Vec<PathBuf>,
}

/// A control group as the kernel side compares it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CgroupId {
    /// Its number, 0 for one that is not there: no task is in that.
    pub number: u64,
    /// How many are above it, [`Pattern::ITSELF`](auditd_bpf_common::plan_rows::Pattern::ITSELF) where those below it are not meant.
    pub level: u64,
}

impl Identities {
    /// Looks at the files.
    #[must_use]
    pub fn look_up(plan: &Plan, mounts: &MountTable) -> Self {
        let mut this = Self {
            objects: HashMap::new(),
            names: HashMap::new(),
            exes: HashMap::new(),
            other_exes: plan.no_exe,
            cgroups: Vec::new(),
            directories: Vec::new(),
        };
        for (path, rules) in &plan.paths {
            this.add_path(as_path(path), rules, mounts);
        }
        for (tree, rules) in &plan.trees {
            this.add_tree(as_path(tree), rules, mounts);
        }
        this.add_exes(plan, mounts);
        this.add_cgroups(plan);
        this.directories.sort();
        this.directories.dedup();
        this
    }

    fn object(&mut self, id: FileId) -> &mut ObjectRules {
        self.objects.entry(id).or_insert(ObjectRules { path: NO_RULES, dir: NO_RULES, has_names: false })
    }

    /// The last name is not followed if it is a symbolic link, as in the kernel (`audit_get_nd`).
    fn add_path(&mut self, path: &Path, rules: &Row, mounts: &MountTable) {
        if let Some(id) = identify(path, Follow::No, mounts) {
            let object = self.object(id);
            object.path = union(&object.path, rules);
        }
        self.directories.extend(nearest_directory(path));
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return };
        let Some(directory) = identify(parent, Follow::Yes, mounts) else { return };
        self.object(directory).has_names = true;
        let named = self.names.entry((directory, name.as_bytes().to_vec())).or_insert(NO_RULES);
        *named = union(named, rules);
    }

    fn add_tree(&mut self, tree: &Path, rules: &Row, mounts: &MountTable) {
        self.directories.extend(nearest_directory(tree));
        let Ok(whole) = fs::canonicalize(tree) else { return };
        let below = mounts.below(&whole);
        for root in std::iter::once(whole.as_path()).chain(below) {
            if let Some(id) = identify(root, Follow::Yes, mounts) {
                let object = self.object(id);
                object.dir = union(&object.dir, rules);
            }
        }
    }

    /// Its number is that of its directory's inode (`kernfs_ino` in `include/linux/kernfs.h`).
    fn add_cgroups(&mut self, plan: &Plan) {
        for (index, pattern) in plan.single_tests.patterns.iter().enumerate() {
            let Pattern::Cgroup(group) = pattern else { continue };
            let id = match group {
                Cgroup::Itself(number) => CgroupId { number: *number, level: plan_rows::Pattern::ITSELF },
                Cgroup::Tree(_) => {
                    let Some((directory, level)) = group.directory() else { continue };
                    self.directories.extend(nearest_directory(&directory));
                    CgroupId { number: number_of_cgroup(&directory), level: u64::from(level) }
                }
            };
            self.cgroups.push((index, id));
        }
    }

    fn add_exes(&mut self, plan: &Plan, mounts: &MountTable) {
        let mut tests: HashMap<FileId, (Row, Row)> = HashMap::new();
        for (path, exe) in &plan.exes {
            self.other_exes = union(&self.other_exes, &exe.unequal);
            self.directories.extend(nearest_directory(as_path(path)));
            if let Some(id) = identify(as_path(path), Follow::Yes, mounts) {
                let (equal, unequal) = tests.entry(id).or_insert((NO_RULES, NO_RULES));
                (*equal, *unequal) = (union(equal, &exe.equal), union(unequal, &exe.unequal));
            }
        }
        for (id, (equal, unequal)) in tests {
            self.exes.insert(id, union(&difference(&self.other_exes, &unequal), &equal));
        }
    }
}

/// 0 for one that is not there.
fn number_of_cgroup(directory: &Path) -> u64 {
    let is_one = statfs(directory).is_ok_and(|fs| fs.filesystem_type() == CGROUP2_SUPER_MAGIC);
    fs::metadata(directory).ok().filter(|_| is_one).map_or(0, |directory| directory.ino())
}

fn as_path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

/// The parent of a path, or the nearest ancestor that is there: where its coming or going shows first.
fn nearest_directory(path: &Path) -> Option<PathBuf> {
    path.ancestors().skip(1).find_map(|ancestor| fs::canonicalize(ancestor).ok())
}

/// Whether a symbolic link as the last name is followed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Follow {
    Yes,
    No,
}

/// The device is that of the mount, not `st_dev`: on btrfs and overlayfs stat(2) shows another one than the superblock's.
pub(crate) fn identify(path: &Path, follow: Follow, mounts: &MountTable) -> Option<FileId> {
    let no_follow = if follow == Follow::No { libc::O_NOFOLLOW } else { 0 };
    let file =
        fs::OpenOptions::new().read(true).custom_flags(libc::O_PATH | libc::O_CLOEXEC | no_follow).open(path).ok()?;
    let metadata = file.metadata().ok()?;
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_raw_fd())).ok();
    let mount = info.as_deref().and_then(mount_id).and_then(|id| mounts.device(id));
    let dev = mount.unwrap_or_else(|| kernel_device(metadata.dev()));
    Some(FileId { dev, ino: metadata.ino() })
}

fn mount_id(fdinfo: &str) -> Option<u32> {
    fdinfo.lines().find_map(|line| line.strip_prefix("mnt_id:"))?.trim().parse().ok()
}

/// `stat(2)`'s device number as the kernel keeps it: `MKDEV` in `include/linux/kdev_t.h`.
fn kernel_device(device: u64) -> u32 {
    libc::major(device) << 20 | libc::minor(device)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rules::{NoHost, Source};

    fn plan(text: &str) -> Plan {
        let parsed = rules::parse(&[Source { name: None, text: text.as_bytes().to_vec() }], &NoHost);
        Plan::compile(&parsed.into_loadable().unwrap().0).unwrap()
    }

    #[test]
    fn a_watched_file_is_its_inode_and_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let file = fs::canonicalize(dir.path()).unwrap().join("watched");
        let plan = plan(&format!("-w {} -p wa -k k\n", file.display()));
        let mounts = MountTable::read();
        let absent = Identities::look_up(&plan, &mounts);
        assert_eq!(absent.names.len(), 1);
        assert!(absent.objects.values().all(|object| object.path == NO_RULES && object.has_names));
        assert_eq!(absent.directories, [file.parent().unwrap()]);

        fs::write(&file, "").unwrap();
        let present = Identities::look_up(&plan, &mounts);
        let ino = fs::metadata(&file).unwrap().ino();
        let object = present.objects.iter().find(|(id, _)| id.ino == ino).unwrap().1;
        assert_eq!(object.path, *plan.paths.values().next().unwrap());
    }

    #[test]
    fn exe_tests_hold_by_identity() {
        let plan = plan(
            "-a always,exit -F arch=b64 -S connect -F exe=/proc/self/exe -k one\n\
             -a always,exit -F arch=b64 -S connect -F exe!=/proc/self/exe -k two\n\
             -a always,exit -F arch=b64 -S connect -k three\n",
        );
        let found = Identities::look_up(&plan, &MountTable::read());
        let own = found.exes.values().next().unwrap();
        assert_eq!(own.words[0], 0b101);
        assert_eq!(found.other_exes.words[0], 0b110);
    }
}
