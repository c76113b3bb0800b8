//! Files, as user space finds them when it looks up what rules name, and as the kernel would hold them.

use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rules::matcher;

use super::memory::{Address, Image};
use crate::identity::{FileId, Follow, identify};
use crate::mounts::MountTable;

/// Directories below the deepest directory that is matched without a helper.
const DEPTH: usize = 20;

/// Number of what is created: no rule names it.
const NEW_INODE: u64 = u64::MAX - 1;

/// A name, and what is there.
pub(super) struct Node {
    pub(super) path: PathBuf,
    /// Index of its directory.
    parent: usize,
    /// `None`: nothing is there.
    pub(super) id: Option<FileId>,
}

/// A tree of files in a directory of its own, with all directories above it on the same file system.
pub(super) struct World {
    /// Removes it.
    _directory: tempfile::TempDir,
    root: PathBuf,
    pub(super) nodes: Vec<Node>,
    /// What rules may name, by its place in `nodes`.
    pub(super) directories: Vec<usize>,
    /// The last one is a symbolic link.
    pub(super) files: Vec<usize>,
    pub(super) absent: Vec<usize>,
}

/// What a made-up inode holds beyond its number.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Attributes {
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Major and minor number.
    pub(super) stands_for: (u32, u32),
}

/// The world at one moment.
pub(super) struct State<'a> {
    /// By node.
    pub(super) attributes: &'a [Attributes],
    /// Of the file system.
    pub(super) magic: u32,
    /// A name that was absent and is there now.
    pub(super) created: Option<usize>,
}

impl World {
    pub(super) fn new() -> std::io::Result<Self> {
        let directory = tempfile::tempdir()?;
        let root = fs::canonicalize(directory.path())?;
        let deep: PathBuf = (0..DEPTH).fold(root.join("d0"), |path, level| path.join(format!("{level}")));
        fs::create_dir_all(&deep)?;
        fs::create_dir(root.join("side"))?;
        let files = ["f0", "a-rather-long-name-of-a-file", "side/f0", "d0/f1", "d0/0/f2"].map(|name| root.join(name));
        for file in files.iter().chain([&deep.join("leaf")]) {
            fs::write(file, "")?;
        }
        fs::hard_link(root.join("d0/f1"), root.join("side/hard"))?;
        symlink(root.join("f0"), root.join("link"))?;
        symlink(root.join("d0"), root.join("alias"))?;
        let mut this = Self {
            _directory: directory,
            root: root.clone(),
            nodes: Vec::new(),
            directories: Vec::new(),
            files: Vec::new(),
            absent: Vec::new(),
        };
        let mounts = MountTable::read();
        for path in [root.join("side"), deep.join("none")] {
            this.add(&path, &mounts);
        }
        this.files = files.iter().map(|file| this.add(file, &mounts)).collect();
        let more = [deep.join("leaf"), root.join("side/hard"), root.join("link")].map(|path| this.add(&path, &mounts));
        this.files.extend(more);
        this.absent = ["absent", "d0/0/absent"].map(|name| this.add(&root.join(name), &mounts)).to_vec();
        let inside = |node: &Node| node.path.starts_with(&root) && node.path.is_dir();
        this.directories = (0..this.nodes.len()).filter(|index| inside(&this.nodes[*index])).collect();
        Ok(this)
    }

    /// Adds a name, and the directories above it as far as they are on its file system.
    fn add(&mut self, path: &Path, mounts: &MountTable) -> usize {
        if let Some(known) = self.nodes.iter().position(|node| node.path == path) {
            return known;
        }
        let id = identify(path, Follow::No, mounts);
        let above = path.parent().filter(|parent| {
            let device = identify(parent, Follow::Yes, mounts).map(|id| id.dev);
            id.is_none() || device == id.map(|id| id.dev)
        });
        let parent = above.map(|parent| self.add(parent, mounts));
        let index = self.nodes.len();
        self.nodes.push(Node { path: path.to_owned(), parent: parent.unwrap_or(index), id });
        index
    }

    /// Every path that leads to a node, through the symbolic link as well.
    fn names(&self, index: usize) -> Vec<Vec<u8>> {
        let node = &self.nodes[index];
        let same =
            self.nodes.iter().filter(|other| other.path == node.path || node.id.is_some() && other.id == node.id);
        same.flat_map(|node| self.with_alias(&node.path)).collect()
    }

    fn with_alias(&self, path: &Path) -> Vec<Vec<u8>> {
        let alias = path.strip_prefix(self.root.join("d0")).ok().map(|rest| self.root.join("alias").join(rest));
        let paths = [Some(path.to_owned()), alias].into_iter().flatten();
        paths.map(|path| path.components().collect::<PathBuf>().into_os_string().into_vec()).collect()
    }

    /// The symbolic link to a directory, which a rule may name for it.
    pub(super) fn alias(&self) -> PathBuf {
        self.root.join("alias")
    }

    /// What the matcher is to know of a node. `state`: as the call left it.
    pub(super) fn object(&self, index: usize, state: &State<'_>) -> matcher::Object {
        let node = &self.nodes[index];
        let chain = node.path.ancestors().skip(usize::from(!self.directories.contains(&index)));
        let inode = self.id(index, state).map(|id| {
            let Attributes { mode, uid, gid, stands_for } = state.attributes[self.inode_of(index)];
            matcher::Inode { number: id.ino, device: numbers(id.dev), stands_for, mode, uid, gid }
        });
        matcher::Object {
            names: self.names(index),
            trees: chain.flat_map(|directory| self.with_alias(directory)).collect(),
            inode,
            magic: state.magic,
        }
    }

    fn id(&self, index: usize, state: &State<'_>) -> Option<FileId> {
        let created = (state.created == Some(index)).then_some(FileId { dev: self.device(), ino: NEW_INODE });
        self.nodes[index].id.or(created)
    }

    /// Major and minor number of the device that the files are on.
    pub(super) fn device_numbers(&self) -> (u32, u32) {
        numbers(self.device())
    }

    fn device(&self) -> u32 {
        self.nodes.iter().find_map(|node| node.id).map_or(0, |id| id.dev)
    }

    /// The first node with the same inode.
    fn inode_of(&self, index: usize) -> usize {
        let id = self.nodes[index].id;
        self.nodes.iter().position(|node| id.is_some() && node.id == id).unwrap_or(index)
    }

    /// Writes all of it as the kernel would hold it; returns the dentry of each node.
    pub(super) fn write(&self, image: &mut Image<'_>, state: &State<'_>) -> Vec<Address> {
        let sb = image.structure("super_block");
        image.set(sb, "super_block.s_dev", self.device());
        image.set(sb, "super_block.s_magic", u64::from(state.magic));
        // First, so that they stay where they are when an inode comes.
        let dentries: Vec<Address> = self.nodes.iter().map(|_| image.structure("dentry")).collect();
        let mut inodes: Vec<Address> = Vec::new();
        for index in 0..self.nodes.len() {
            let first = self.inode_of(index);
            let inode = match self.id(index, state) {
                None => 0,
                Some(_) if first < index => inodes[first],
                Some(id) => write_inode(image, sb, id, &state.attributes[index]),
            };
            inodes.push(inode);
        }
        for (index, node) in self.nodes.iter().enumerate() {
            let name = node.path.file_name().unwrap_or_default().as_bytes();
            let bytes = image.bytes(name);
            image.set(dentries[index], "dentry.d_parent", dentries[node.parent]);
            image.set(dentries[index], "dentry.d_inode", inodes[index]);
            image.set(dentries[index], "dentry.d_sb", sb);
            image.set(dentries[index], "dentry.d_hash.pprev", 1u64);
            image.set(dentries[index], "dentry.d_name.name", bytes);
            image.set(dentries[index], "dentry.d_name.len", name.len() as u32);
        }
        dentries
    }

    /// A file that is open, as the one that a task runs.
    pub(super) fn write_file(&self, image: &mut Image<'_>, index: usize) -> Address {
        let sb = image.structure("super_block");
        image.set(sb, "super_block.s_dev", self.device());
        let id = self.nodes[index].id.expect("a program is there");
        let inode = write_inode(image, sb, id, &Attributes::default());
        let file = image.structure("file");
        image.set(file, "file.f_inode", inode);
        file
    }

    /// Every path that leads to a program: here the symbolic link is followed.
    pub(super) fn names_of_program(&self, index: usize) -> Vec<Vec<u8>> {
        let is_target = self.nodes[index].path == self.root.join("f0");
        let link = is_target.then(|| self.root.join("link").into_os_string().into_vec());
        self.names(index).into_iter().chain(link).collect()
    }

    /// Files that can be run.
    pub(super) fn programs(&self) -> &[usize] {
        &self.files[..self.files.len() - 1]
    }

    /// Directory of a node.
    pub(super) fn parent(&self, index: usize) -> usize {
        self.nodes[index].parent
    }
}

fn write_inode(image: &mut Image<'_>, sb: Address, id: FileId, attributes: &Attributes) -> Address {
    let inode = image.structure("inode");
    image.set(inode, "inode.i_ino", id.ino);
    image.set(inode, "inode.i_sb", sb);
    image.set(inode, "inode.i_mode", attributes.mode as u16);
    image.set(inode, "inode.i_uid.val", attributes.uid);
    image.set(inode, "inode.i_gid.val", attributes.gid);
    image.set(inode, "inode.i_rdev", attributes.stands_for.0 << 20 | attributes.stands_for.1);
    inode
}

const fn numbers(device: u32) -> (u32, u32) {
    (device >> 20, device & 0xf_ffff)
}
