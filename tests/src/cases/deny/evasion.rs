//! Ways around a rule that refuses: other names for a file, other views of the tree, other calls for the same act.

use std::env;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chroot, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, RenameFlags, renameat2};
use nix::libc;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use serde_json::json;

use super::{refused, two_directories, verdict};
use crate::child;
use crate::harness::{Case, skip};
use crate::place::{Place, copy_of_busybox};
use crate::session::Test;
use crate::sys::{self, Arg, LowText, Operation, c_path, through_ring};

/// A case for each way: its name, what the rule is about, the hook that refuses, and the way.
macro_rules! ways {
    ($($name:literal, $what:literal, $hook:literal, $prepare:ident, $way:ident;)+) => {
        pub const CASES: &[Case] = &[$(
            Case::new(
                concat!("deny_despite_", $name),
                concat!("-a deny,exit -F ", $what, " -F auid={auid} -k {key}"),
                |test| held(test, $hook, $way),
            )
            .prepared($prepare)
        ),+];
    };
}

ways! {
    "a_hard_link", "path={dir}/d/f -F perm=rw", "file_open", linked, by_hard_link;
    "a_symbolic_link", "path={dir}/d/f -F perm=rw", "file_open", linked, by_symbolic_link;
    "a_bind_mount", "dir={dir}/d -F perm=rw", "file_open", two_directories, by_bind_mount;
    "a_chroot", "dir={dir}/d -F perm=rw", "file_open", two_directories, by_chroot;
    "a_relative_path", "dir={dir}/d -F perm=rw", "file_open", two_directories, by_relative_path;
    "a_descriptor_in_proc", "path={dir}/d/f -F perm=rw", "file_open", two_directories, by_descriptor;
    "a_handle", "path={dir}/d/f -F perm=rw", "file_open", two_directories, by_handle;
    "openat2", "path={dir}/d/f -F perm=rw", "file_open", two_directories, by_openat2;
    "a_ring", "path={dir}/d/f -F perm=rw", "file_open", two_directories, by_ring;
    "a_file_put_in_its_place", "path={dir}/d/f -F perm=r", "file_open", two_directories, by_replacement;
    "a_nameless_file", "dir={dir}/d -F perm=w", "path_link", two_directories, by_nameless_file;
    "a_way_of_70_directories", "dir={dir}/d -F perm=rw", "file_open", deep, by_deep_name;
    "names_of_255_bytes", "dir={dir}/d -F perm=rw", "file_open", long, by_long_names;
    "a_loader_run_by_hand", "path={dir}/d/program -F perm=x", "mmap_file", two_directories, by_mapping;
    "a_deleted_program", "path={dir}/d/program -F perm=x", "bprm_check_security", two_directories, by_deleted_program;
    "a_mapping_made_code_later", "path={dir}/d/program -F perm=x", "file_mprotect", two_directories, by_protection;
    "a_program_by_descriptor", "path={dir}/d/program -F perm=x", "bprm_check_security", two_directories, by_program_descriptor;
    "a_program_in_proc", "path={dir}/d/program -F perm=x", "bprm_check_security", two_directories, by_program_in_proc;
    "a_program_by_hard_link", "path={dir}/d/program -F perm=x", "bprm_check_security", two_directories, by_program_link;
    "a_root_in_proc", "path={dir}/d/f -F perm=rw", "file_open", two_directories, by_root_in_proc;
    "a_linked_directory", "dir={dir}/d -F perm=rw", "file_open", two_directories, by_linked_directory;
    "a_user_namespace", "dir={dir}/d -F perm=rw", "file_open", two_directories, by_user_namespace;
    "a_thread", "path={dir}/d/f -F perm=rw", "file_open", two_directories, by_thread;
    "a_child", "path={dir}/d/f -F perm=rw", "file_open", two_directories, by_child;
    "a_32_bit_call", "path={dir}/d/f -F perm=rw", "file_open", two_directories, by_32_bit_call;
    "renaming_the_tree", "dir={dir}/d -F perm=rw", "path_rename", two_directories, by_renaming;
    "exchanging_the_tree", "dir={dir}/d -F perm=rw", "path_rename", two_directories, by_exchange;
    "mode_by_descriptor", "path={dir}/d/f -F perm=a", "path_chmod", two_directories, by_mode_in_proc;
    "link_by_descriptor", "dir={dir}/d -F perm=wa", "path_link", two_directories, by_linking_descriptor;
    "unlinking_by_ring", "dir={dir}/d -F perm=w", "path_unlink", two_directories, by_ring_unlink;
    "removing_by_ring", "dir={dir}/d -F perm=w", "path_rmdir", two_directories, by_ring_rmdir;
    "renaming_by_ring", "dir={dir}/d -F perm=w", "path_rename", two_directories, by_ring_rename;
    "making_by_ring", "dir={dir}/d -F perm=w", "path_mkdir", two_directories, by_ring_mkdir;
    "creating_by_ring", "dir={dir}/d -F perm=w", "path_mknod", two_directories, by_ring_create;
    "a_symbolic_link_by_ring", "dir={dir}/d -F perm=w", "path_symlink", two_directories, by_ring_symlink;
    "linking_by_ring", "dir={dir}/d -F perm=w", "path_link", two_directories, by_ring_link;
    "truncation_by_descriptor", "path={dir}/d/f -F perm=w", "file_open", two_directories, by_truncating_open;
}

/// The way ends in EPERM and a record, behind those of what was let through on the way, and what it was about is as before.
fn held(test: &mut Test<'_>, hook: &str, way: fn(&Path) -> Result<io::Result<()>>) -> Result<()> {
    let (place, file) = (test.place.dir.clone(), test.path("d/f"));
    let before = fs::read(&file)?;
    test.child(|| refused(way(&place)?, Errno::EPERM))?;
    let events = test.events()?;
    let (event, before_it) = events.split_last().context("no event")?;
    event.is(&verdict(hook, Errno::EPERM))?;
    before_it.iter().try_for_each(|event| event.is(&json!({"verdict": "allow", "success": true})))?;
    ensure!(fs::read(&file)? == before || hook == "file_open", "it was written");
    // The file next door is free to all.
    test.child(|| File::open(place.join("free/f")).map(drop).context("next door"))?;
    test.silence("next door")
}

fn reading(path: &Path) -> io::Result<()> {
    File::open(path).map(drop)
}

fn linked(place: &Place) -> Result<()> {
    two_directories(place)?;
    fs::hard_link(place.path("d/f"), place.path("alias"))?;
    Ok(symlink("d/f", place.path("link"))?)
}

fn by_hard_link(place: &Path) -> Result<io::Result<()>> {
    Ok(reading(&place.join("alias")))
}

fn by_symbolic_link(place: &Path) -> Result<io::Result<()>> {
    Ok(reading(&place.join("link")))
}

/// In a mount namespace of its own.
fn by_bind_mount(place: &Path) -> Result<io::Result<()>> {
    let point = place.join("free/sub");
    own_mounts()?;
    mount(Some(&place.join("d")), &point, None::<&str>, MsFlags::MS_BIND, None::<&str>).context("cannot bind")?;
    Ok(reading(&point.join("f")))
}

fn by_chroot(place: &Path) -> Result<io::Result<()>> {
    chroot(place)?;
    env::set_current_dir("/")?;
    Ok(reading(Path::new("/d/f")))
}

fn by_relative_path(place: &Path) -> Result<io::Result<()>> {
    env::set_current_dir(place.join("free"))?;
    Ok(reading(Path::new("../d/./sub/../f")))
}

fn by_descriptor(place: &Path) -> Result<io::Result<()>> {
    let file = File::options().read(true).custom_flags(libc::O_PATH).open(place.join("d/f"))?;
    Ok(reading(&PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))))
}

fn by_handle(place: &Path) -> Result<io::Result<()>> {
    /// `struct file_handle`: the size of what follows, a type, and what follows.
    const HEAD: usize = 8;
    const SIZE: u32 = 128;
    let mut handle = vec![0; HEAD + SIZE as usize];
    handle[..4].copy_from_slice(&SIZE.to_ne_bytes());
    let (name, mut mount_id) = (c_path(&place.join("d/f"))?, [0; 4]);
    let here = Arg::Number(i64::from(libc::AT_FDCWD));
    let arguments = &mut [here, Arg::Text(&name), Arg::Room(&mut handle), Arg::Room(&mut mount_id), Arg::Number(0)];
    sys::call(libc::SYS_name_to_handle_at, arguments).context("there are no handles here")?;
    let mount = File::open(place)?;
    let mount = Arg::Number(i64::from(mount.as_raw_fd()));
    let mut arguments = [mount, Arg::Bytes(&handle), Arg::Number(i64::from(libc::O_RDONLY))];
    Ok(sys::call(libc::SYS_open_by_handle_at, &mut arguments).map(drop))
}

fn by_openat2(place: &Path) -> Result<io::Result<()>> {
    // `struct open_how`: flags, mode, resolve.
    let (name, how) = (c_path(&place.join("d/f"))?, [0; 24]);
    let here = Arg::Number(i64::from(libc::AT_FDCWD));
    let mut arguments = [here, Arg::Text(&name), Arg::Bytes(&how), Arg::Number(24)];
    Ok(sys::call(libc::SYS_openat2, &mut arguments).map(drop))
}

fn by_ring(place: &Path) -> Result<io::Result<()>> {
    let name = c_path(&place.join("d/f"))?;
    submit(Operation::Open(&name, libc::O_RDONLY))
}

/// Has a ring carry out one operation.
pub fn submit(operation: Operation<'_>) -> Result<io::Result<()>> {
    match through_ring(&[operation])?[..] {
        [result] if result < 0 => Ok(Err(io::Error::from_raw_os_error(-result))),
        _ => Ok(Ok(())),
    }
}

fn by_ring_unlink(place: &Path) -> Result<io::Result<()>> {
    submit(Operation::Unlink(&c_path(&place.join("d/f"))?))
}

fn by_ring_rmdir(place: &Path) -> Result<io::Result<()>> {
    submit(Operation::RemoveDirectory(&c_path(&place.join("d/sub"))?))
}

fn by_ring_rename(place: &Path) -> Result<io::Result<()>> {
    submit(Operation::Rename(&c_path(&place.join("d/f"))?, &c_path(&place.join("taken"))?))
}

fn by_ring_mkdir(place: &Path) -> Result<io::Result<()>> {
    submit(Operation::MakeDirectory(&c_path(&place.join("d/new"))?))
}

fn by_ring_create(place: &Path) -> Result<io::Result<()>> {
    submit(Operation::Open(&c_path(&place.join("d/new"))?, libc::O_RDONLY | libc::O_CREAT))
}

fn by_ring_symlink(place: &Path) -> Result<io::Result<()>> {
    submit(Operation::Symlink(c"f", &c_path(&place.join("d/new"))?))
}

fn by_ring_link(place: &Path) -> Result<io::Result<()>> {
    submit(Operation::Link(&c_path(&place.join("free/f"))?, &c_path(&place.join("d/new"))?))
}

/// The rule names a path: whatever comes to lie there is meant.
fn by_replacement(place: &Path) -> Result<io::Result<()>> {
    fs::write(place.join("other"), "other")?;
    fs::rename(place.join("other"), place.join("d/f"))?;
    Ok(reading(&place.join("d/f")))
}

fn by_nameless_file(place: &Path) -> Result<io::Result<()>> {
    let file = File::options().write(true).custom_flags(libc::O_TMPFILE).open(place)?;
    let name = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    let (new, follow) = (place.join("d/new"), AtFlags::AT_SYMLINK_FOLLOW);
    let linked = nix::unistd::linkat(AT_FDCWD, &name, AT_FDCWD, &new, follow);
    ensure!(!new.exists(), "it has a name");
    Ok(linked.map_err(Into::into))
}

/// Goes down by steps, as the whole name is too long for some.
fn below(place: &Place, names: impl Iterator<Item = String>) -> Result<()> {
    two_directories(place)?;
    let deepest = names.fold(place.path("d"), |path, name| path.join(name));
    fs::create_dir_all(&deepest)?;
    Ok(fs::write(deepest.join("f"), "secret")?)
}

fn numbered(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|number| number.to_string())
}

fn lengthy() -> impl Iterator<Item = String> {
    (0..14).map(|_| "n".repeat(255))
}

fn deep(place: &Place) -> Result<()> {
    below(place, numbered(70))
}

fn long(place: &Place) -> Result<()> {
    below(place, lengthy())
}

fn by_deep_name(place: &Path) -> Result<io::Result<()>> {
    Ok(reading(&numbered(70).fold(place.join("d"), |path, name| path.join(name)).join("f")))
}

fn by_long_names(place: &Path) -> Result<io::Result<()>> {
    Ok(reading(&lengthy().fold(place.join("d"), |path, name| path.join(name)).join("f")))
}

/// What a dynamic loader does with the program that it is given: reads it, and maps its code.
fn by_mapping(place: &Path) -> Result<io::Result<()>> {
    let program = File::open(place.join("d/program"))?;
    let numbers = [0, 4096, libc::PROT_READ | libc::PROT_EXEC, libc::MAP_PRIVATE, program.as_raw_fd(), 0];
    Ok(sys::call(libc::SYS_mmap, &mut numbers.map(|number| Arg::Number(number.into()))).map(drop))
}

fn by_deleted_program(place: &Path) -> Result<io::Result<()>> {
    let path = place.join("d/program");
    let program = File::options().read(true).custom_flags(libc::O_PATH).open(&path)?;
    fs::remove_file(&path)?;
    execute(&program)
}

/// execveat(2) of a descriptor.
fn execute(program: &File) -> Result<io::Result<()>> {
    let (name, argument) = (c"", c"true");
    let list = [argument.as_ptr().addr(), 0].map(usize::to_ne_bytes).concat();
    let mut arguments = [
        Arg::Number(i64::from(program.as_raw_fd())),
        Arg::Text(name),
        Arg::Bytes(&list),
        Arg::Number(0),
        Arg::Number(i64::from(libc::AT_EMPTY_PATH)),
    ];
    match sys::call(libc::SYS_execveat, &mut arguments) {
        Err(error) => Ok(Err(error)),
        Ok(_) => bail!("an exec returned"),
    }
}

/// As above, in two steps.
fn by_protection(place: &Path) -> Result<io::Result<()>> {
    let program = File::open(place.join("d/program"))?;
    let numbers = [0, 4096, libc::PROT_READ, libc::MAP_PRIVATE, program.as_raw_fd(), 0];
    let address = sys::call(libc::SYS_mmap, &mut numbers.map(|number| Arg::Number(number.into())))?;
    let code = i64::from(libc::PROT_READ | libc::PROT_EXEC);
    Ok(sys::call(libc::SYS_mprotect, &mut [address, 4096, code].map(Arg::Number)).map(drop))
}

fn by_program_descriptor(place: &Path) -> Result<io::Result<()>> {
    execute(&File::options().read(true).custom_flags(libc::O_PATH).open(place.join("d/program"))?)
}

fn by_program_in_proc(place: &Path) -> Result<io::Result<()>> {
    let program = File::options().read(true).custom_flags(libc::O_PATH).open(place.join("d/program"))?;
    Ok(run(&PathBuf::from(format!("/proc/self/fd/{}", program.as_raw_fd()))))
}

fn by_program_link(place: &Path) -> Result<io::Result<()>> {
    fs::hard_link(place.join("d/program"), place.join("tool"))?;
    Ok(run(&place.join("tool")))
}

/// Becomes a program; who is let through ends as it.
fn run(program: &Path) -> io::Result<()> {
    Err(copy_of_busybox(program).arg("true").exec())
}

fn by_root_in_proc(place: &Path) -> Result<io::Result<()>> {
    let below = place.strip_prefix("/")?;
    Ok(reading(&Path::new("/proc/self/root").join(below).join("d/f")))
}

fn by_linked_directory(place: &Path) -> Result<io::Result<()>> {
    symlink(place.join("d"), place.join("way"))?;
    Ok(reading(&place.join("way/f")))
}

fn by_user_namespace(place: &Path) -> Result<io::Result<()>> {
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)?;
    Ok(reading(&place.join("d/f")))
}

fn by_thread(place: &Path) -> Result<io::Result<()>> {
    let file = place.join("d/f");
    thread::spawn(move || reading(&file)).join().ok().context("the thread panicked")
}

fn by_child(place: &Path) -> Result<io::Result<()>> {
    let file = place.join("d/f");
    child::run(|| match reading(&file) {
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => Ok(()),
        other => bail!("the child got {other:?}"),
    })?;
    Ok(Err(io::Error::from_raw_os_error(libc::EPERM)))
}

fn by_32_bit_call(place: &Path) -> Result<io::Result<()>> {
    match sys::open_32(&LowText::new(&place.join("d/f"))?) {
        error if error < 0 => Ok(Err(io::Error::from_raw_os_error(-error))),
        _ => Ok(Ok(())),
    }
}

fn by_renaming(place: &Path) -> Result<io::Result<()>> {
    Ok(fs::rename(place.join("d"), place.join("elsewhere")))
}

fn by_exchange(place: &Path) -> Result<io::Result<()>> {
    let (one, other) = (place.join("free"), place.join("d"));
    Ok(renameat2(AT_FDCWD, &one, AT_FDCWD, &other, RenameFlags::RENAME_EXCHANGE).map_err(Into::into))
}

fn by_mode_in_proc(place: &Path) -> Result<io::Result<()>> {
    let file = File::options().read(true).custom_flags(libc::O_PATH).open(place.join("d/f"))?;
    let name = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    Ok(fs::set_permissions(name, fs::Permissions::from_mode(0o777)))
}

fn by_linking_descriptor(place: &Path) -> Result<io::Result<()>> {
    let file = File::options().read(true).custom_flags(libc::O_PATH).open(place.join("d/f"))?;
    let new = place.join("link");
    let linked = nix::unistd::linkat(&file, "", AT_FDCWD, &new, AtFlags::AT_EMPTY_PATH);
    ensure!(!new.exists(), "it has another name");
    Ok(linked.map_err(Into::into))
}

fn by_truncating_open(place: &Path) -> Result<io::Result<()>> {
    let opened = File::options().write(true).truncate(true).open(place.join("d/f")).map(drop);
    ensure!(fs::metadata(place.join("d/f"))?.len() != 0, "it was emptied");
    Ok(opened)
}

/// Another view of the tree: an overlay opens the file below by itself.
pub const OVERLAY: &[Case] =
    &[Case::new("deny_despite_an_overlay", "-a deny,exit -F dir={dir}/d -F perm=rw -F auid={auid} -k {key}", |test| {
        if sys::kernel_release()?.starts_with("6.1.") {
            return skip("6.1 opens the file below an overlay by its name above");
        }
        held(test, "file_open", by_overlay)
    })
    .prepared(two_directories)];

fn by_overlay(place: &Path) -> Result<io::Result<()>> {
    let (room, merged) = (place.join("room"), place.join("room/merged"));
    fs::create_dir(&room)?;
    own_mounts()?;
    mount(Some("none"), &room, Some("tmpfs"), MsFlags::empty(), None::<&str>).context("tmpfs")?;
    for name in ["upper", "work", "merged"] {
        fs::create_dir(room.join(name))?;
    }
    let (lower, room) = (place.join("d"), room.display());
    let options = format!("lowerdir={},upperdir={room}/upper,workdir={room}/work", lower.display());
    mount(Some("overlay"), &merged, Some("overlay"), MsFlags::empty(), Some(options.as_str())).context("overlay")?;
    Ok(reading(&merged.join("f")))
}

fn own_mounts() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).context("private")
}
