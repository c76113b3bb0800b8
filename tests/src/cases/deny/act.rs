//! Every act on files, refused by a watch on their tree.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;

use nix::sys::stat::{Mode, SFlag, mknod};

use super::{refused_in_one, two_directories};
use crate::harness::Case;
use crate::place::copy_of_busybox;
use crate::sys;

/// A case for each act: its name, the perm that names it, the hook that refuses it, and the act in a directory.
macro_rules! acts {
    ($($name:literal, $perm:literal, $hook:literal, $act:expr;)+) => {
        pub const CASES: &[Case] = &[$(
            Case::new(
                concat!("deny_", $name),
                concat!("-a deny,exit -F dir={dir}/d -F perm=", $perm, " -F auid={auid} -k {key}"),
                |test| refused_in_one(test, $hook, $act).map(drop),
            )
            .prepared(two_directories)
        ),+];
    };
}

acts! {
    "reading", "r", "file_open", |dir| File::open(dir.join("f")).map(drop);
    "reading_by_open", "r", "file_open", |dir| sys::open(&dir.join("f"), libc::O_RDONLY).map(drop);
    "listing", "r", "file_open", |dir| fs::read_dir(dir).map(drop);
    "writing", "w", "file_open", |dir| OpenOptions::new().write(true).open(dir.join("f")).map(drop);
    "appending", "w", "file_open", |dir| OpenOptions::new().append(true).open(dir.join("f"))?.write_all(b"more");
    "reading_and_writing", "w", "file_open", |dir| OpenOptions::new().read(true).write(true).open(dir.join("f")).map(drop);
    "creating", "w", "path_mknod", |dir| File::create_new(dir.join("new")).map(drop);
    "creating_by_creat", "w", "path_mknod", |dir| sys::creat(&dir.join("new")).map(drop);
    "creating_to_read", "w", "path_mknod", |dir| sys::open(&dir.join("new"), libc::O_RDONLY | libc::O_CREAT).map(drop);
    "creating_where_reading_is_refused", "r", "path_mknod", |dir| {
        sys::open(&dir.join("new"), libc::O_RDONLY | libc::O_CREAT).map(drop)
    };
    "creating_deeper", "w", "path_mknod", |dir| File::create_new(dir.join("sub/new")).map(drop);
    "unlink", "w", "path_unlink", |dir| fs::remove_file(dir.join("f"));
    "rmdir", "w", "path_rmdir", |dir| fs::remove_dir(dir.join("sub"));
    "mkdir", "w", "path_mkdir", |dir| fs::create_dir(dir.join("new"));
    "rename_within", "w", "path_rename", |dir| fs::rename(dir.join("f"), dir.join("g"));
    "rename_into", "w", "path_rename", |dir| {
        let outside = dir.with_file_name("outside");
        fs::write(&outside, "x")?;
        fs::rename(outside, dir.join("new"))
    };
    "rename_out_of", "w", "path_rename", |dir| fs::rename(dir.join("f"), dir.with_file_name("taken"));
    "link_to", "a", "path_link", |dir| fs::hard_link(dir.join("f"), dir.with_file_name("link"));
    "link_within", "w", "path_link", |dir| fs::hard_link(dir.join("f"), dir.join("link"));
    "symlink", "w", "path_symlink", |dir| symlink("f", dir.join("link"));
    "mknod", "w", "path_mknod", |dir| Ok(mknod(&dir.join("fifo"), SFlag::S_IFIFO, Mode::S_IRWXU, 0)?);
    "truncate", "w", "path_truncate", |dir| Ok(nix::unistd::truncate(&dir.join("f"), 1)?);
    "chmod", "a", "path_chmod", |dir| fs::set_permissions(dir.join("f"), PermissionsExt::from_mode(0o600));
    "chown", "a", "path_chown", |dir| chown(dir.join("f"), Some(7), None);
    "setxattr", "a", "inode_setxattr", |dir| sys::setxattr(&dir.join("f"), c"trusted.a", b"1");
    "exec", "x", "bprm_check_security", run;
    "exec_of_a_script", "x", "bprm_check_security", |dir| {
        let script = dir.with_file_name("script");
        fs::write(&script, format!("#!{}/program true\n", dir.display()))?;
        fs::set_permissions(&script, PermissionsExt::from_mode(0o755))?;
        copy_of_busybox(&script).status().map(drop)
    };
}

/// Runs a program by the calls of the standard library.
pub fn run(dir: &Path) -> io::Result<()> {
    copy_of_busybox(&dir.join("program")).arg("true").status().map(drop)
}
