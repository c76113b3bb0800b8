//! Names: relative ones, odd ones, long ones, and those seen from elsewhere.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::chroot;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, mkdirat};
use serde_json::json;

use crate::event::{item, shown};
use crate::harness::Case;
use crate::place::{Place, copy_of_busybox};
use crate::session::Test;

pub const CASES: &[Case] = &[
    Case::new("relative_path", "-w {dir}/d/f -p w -k {key}", relative).prepared(nested),
    Case::new("path_relative_to_a_descriptor", "-w {dir}/d/f -p w -k {key}", descriptor).prepared(nested),
    Case::new("path_with_dots", "-w {dir}/d/f -p w -k {key}", dots).prepared(nested),
    Case::new("path_in_a_chroot", "-w {dir}/d/f -p w -k {key}", in_chroot).prepared(nested),
    Case::new("path_through_a_bind_mount", "-w {dir}/d/f -p w -k {key}", bind_mount).prepared(nested),
    Case::new("name_of_255_bytes", "-w {dir}/d -p w -k {key}", long_name).prepared(nested),
    Case::new("name_that_is_not_utf8", "-w {dir}/d -p w -k {key}", not_utf8).prepared(nested),
    Case::new("name_with_odd_characters", "-w {dir}/d -p w -k {key}", odd_characters).prepared(nested),
    Case::new("watched_name_with_a_space", "-w {dir}/a\\ b -p w -k {key}", space),
    Case::new("path_longer_than_path_max", "-w {dir}/d -p w -k {key}", beyond_path_max).prepared(nested),
    Case::new("executable_that_was_removed", "-w {dir}/d/f -p w -k {key}", removed_executable).prepared(nested),
];

fn nested(place: &Place) -> Result<()> {
    place.directory("d")?;
    place.file("d/f").map(drop)
}

fn for_writing(path: &Path) -> Result<File> {
    OpenOptions::new().write(true).open(path).with_context(|| format!("cannot write {}", path.display()))
}

fn relative(test: &mut Test<'_>) -> Result<()> {
    let (directory, file) = (test.path("d"), test.path("d/f"));
    test.child(|| {
        env::set_current_dir(&directory)?;
        for_writing(Path::new("f")).map(drop)
    })?;
    let [event] = test.exactly()?;
    event.is(&json!({"cwd": directory, "syscall": "openat"}))?;
    event.paths_are(&[item("NORMAL", &file, &fs::metadata(&file)?)])
}

fn descriptor(test: &mut Test<'_>) -> Result<()> {
    let file = test.path("d/f");
    let directory = File::open(&test.place.dir)?;
    test.child(|| Ok(openat(&directory, "d/f", OFlag::O_WRONLY, Mode::empty()).map(drop)?))?;
    let [event] = test.exactly()?;
    event.is(&json!({"cwd": "/"}))?;
    event.paths_are(&[item("NORMAL", &file, &fs::metadata(&file)?)])
}

fn dots(test: &mut Test<'_>) -> Result<()> {
    let file = test.path("d/f");
    for_writing(&test.path("d/../d/.//f"))?;
    let [event] = test.exactly()?;
    event.paths_are(&[item("NORMAL", &file, &fs::metadata(&file)?)])
}

fn in_chroot(test: &mut Test<'_>) -> Result<()> {
    let root = test.path("d");
    let status = fs::metadata(test.path("d/f"))?;
    test.child(|| {
        chroot(&root)?;
        env::set_current_dir("/")?;
        for_writing(Path::new("/f")).map(drop)
    })?;
    let [event] = test.exactly()?;
    // As the process sees it; its inode tells which one it is.
    event.is(&json!({"cwd": "/"}))?;
    event.paths_are(&[item("NORMAL", Path::new("/f"), &status)])
}

fn bind_mount(test: &mut Test<'_>) -> Result<()> {
    let (directory, point) = (test.path("d"), test.place.directory("point")?);
    mount(Some(&directory), &point, None::<&str>, MsFlags::MS_BIND, None::<&str>).context("cannot bind")?;
    let file = point.join("f");
    for_writing(&file)?;
    let [event] = test.exactly()?;
    event.paths_are(&[item("NORMAL", &file, &fs::metadata(&file)?)])
}

fn long_name(test: &mut Test<'_>) -> Result<()> {
    create(test, OsStr::new(&"n".repeat(255)))
}

fn not_utf8(test: &mut Test<'_>) -> Result<()> {
    create(test, OsStr::from_bytes(b"caf\xe9 \xff\xfe \xc3"))
}

fn odd_characters(test: &mut Test<'_>) -> Result<()> {
    create(test, OsStr::from_bytes(b"a \"b\" \\c \n\t\x1b[31m \x7f \xc2\x9b {} ' \xf0\x9f\x90\xa7"))
}

/// Creates a file of this name in d/, and expects it in the record.
fn create(test: &mut Test<'_>, name: &OsStr) -> Result<()> {
    let (directory, file) = (test.path("d"), test.path("d").join(name));
    File::create_new(&file)?;
    let [event] = test.exactly()?;
    let parent = item("PARENT", &directory, &fs::metadata(&directory)?);
    event.paths_are(&[parent, item("CREATE", &file, &fs::metadata(&file)?)])
}

fn space(test: &mut Test<'_>) -> Result<()> {
    let file = test.path("a b");
    File::create_new(&file)?;
    File::create_new(test.path("a"))?;
    let [event] = test.exactly()?;
    event.is(&json!({"rule": format!("-w {} -p w -k watched_name_with_a_space", file.display())}))?;
    ensure!(event.paths_of("CREATE") == [file.to_string_lossy()], "not the file: {event}");
    Ok(())
}

fn beyond_path_max(test: &mut Test<'_>) -> Result<()> {
    const LEVELS: usize = 20;
    let name = "n".repeat(250);
    let directory = test.path("d");
    test.child(|| {
        env::set_current_dir(&directory)?;
        for _ in 0..LEVELS {
            mkdirat(AT_FDCWD, name.as_str(), Mode::from_bits_truncate(0o755))?;
            env::set_current_dir(&name)?;
        }
        File::create_new("file")?;
        Ok(())
    })?;
    let events = test.events()?;
    ensure!(events.len() == LEVELS + 1, "{} events instead of {}", events.len(), LEVELS + 1);
    let deepest: PathBuf = (0..LEVELS).fold(directory, |path, _| path.join(&name));
    let event = &events[LEVELS];
    event.is(&json!({"syscall": "openat", "cwd": shown(&deepest)}))?;
    ensure!(event.paths_of("CREATE") == [shown(deepest.join("file"))], "not the whole path: {event}");
    Ok(())
}

fn removed_executable(test: &mut Test<'_>) -> Result<()> {
    let (program, file) = (test.place.program("program")?, test.path("d/f"));
    let script = format!("echo started; read line; echo x >> {}", file.display());
    let mut child = copy_of_busybox(&program)
        .args(["sh", "-c", &script])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()?;
    let mut started = [0u8; 8];
    std::io::Read::read_exact(&mut child.stdout.take().context("no output")?, &mut started)?;
    fs::remove_file(&program)?;
    drop(child.stdin.take());
    child.wait()?;
    let [event] = test.exactly()?;
    event.is(&json!({"exe": format!("{} (deleted)", program.display()), "pid": child.id()}))
}
