//! `-w` on a directory: everything below it, however deep and however new.

use std::fs::{self, File, OpenOptions, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use nix::mount::{MsFlags, mount};
use serde_json::json;

use crate::event::{Event, item, named};
use crate::harness::Case;
use crate::place::Place;
use crate::session::Test;

pub const CASES: &[Case] = &[
    Case::new("tree_files_there_before", "-w {dir}/d -p wa -k {key}", there_before).prepared(nested),
    Case::new("tree_files_that_come_later", "-w {dir}/d -p wa -k {key}", come_later).prepared(nested),
    Case::new("tree_reading", "-w {dir}/d -p r -k {key}", reading).prepared(nested),
    Case::new("tree_moves_in_and_out", "-w {dir}/d -p wa -k {key}", moves).prepared(nested),
    Case::new("tree_directory_itself", "-w {dir}/d -p wa -k {key}", itself).prepared(nested),
    Case::new("tree_of_70_levels", "-w {dir}/d -p w -k {key}", deep).prepared(nested),
    Case::new("tree_with_a_mount_inside", "-w {dir}/d -p w -k {key}", mount_inside).prepared(with_mount),
    Case::new("tree_as_field_rule", "-a always,exit -F arch=b64 -S openat -F dir={dir}/d -F perm=w -k {key}", field)
        .prepared(nested),
    Case::new("tree_within_a_tree", "-w {dir}/d/in -p w -k {key}\n-w {dir}/d -p w -k outer", within).prepared(nested),
    Case::new("tree_that_comes_later", "-w {dir}/later -p wa -k {key}", later),
];

/// d/f, d/in/f, and d2 beside it.
fn nested(place: &Place) -> Result<()> {
    place.directory("d/in")?;
    place.directory("d2")?;
    place.file("d/f")?;
    place.file("d/in/f")?;
    place.file("d2/f")?;
    Ok(())
}

fn with_mount(place: &Place) -> Result<()> {
    let point = place.directory("d/mounted")?;
    mount(Some("inner"), &point, Some("tmpfs"), MsFlags::empty(), None::<&str>).context("cannot mount a tmpfs")?;
    place.file("d/mounted/f").map(drop)
}

fn for_writing(path: &Path) -> Result<File> {
    OpenOptions::new().write(true).open(path).with_context(|| format!("cannot write {}", path.display()))
}

fn there_before(test: &mut Test<'_>) -> Result<()> {
    for name in ["d/f", "d/in/f"] {
        let path = test.path(name);
        let before = fs::metadata(&path)?;
        for_writing(&path)?;
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        let [write, change] = test.exactly()?;
        write.paths_are(&[item("NORMAL", &path, &before)])?;
        change.is(&json!({"syscall": "chmod"}))?;
        change.paths_are(&[item("NORMAL", &path, &before)])?;
    }
    File::open(test.path("d/f"))?;
    for_writing(&test.path("d2/f"))?;
    fs::write(test.path("f"), "")?;
    test.silence("reading, and writing beside the tree")
}

fn come_later(test: &mut Test<'_>) -> Result<()> {
    let (directory, file) = (test.path("d/new/deeper"), test.path("d/new/deeper/file"));
    fs::create_dir(test.path("d/new"))?;
    fs::create_dir(&directory)?;
    fs::write(&file, "x")?;
    for_writing(&file)?;
    fs::remove_file(&file)?;
    fs::remove_dir(&directory)?;
    let events = test.events()?;
    let calls: Vec<_> = events.iter().filter_map(|event| event.get("syscall").as_str()).collect();
    ensure!(calls == ["mkdir", "mkdir", "openat", "openat", "unlink", "rmdir"], "events of {calls:?}");
    let created = &events[2];
    ensure!(created.paths_of("CREATE") == [file.to_string_lossy()], "not the file, but {created}");
    ensure!(created.paths_of("PARENT") == [directory.to_string_lossy()], "not the directory, but {created}");
    Ok(())
}

fn reading(test: &mut Test<'_>) -> Result<()> {
    File::open(test.path("d/in/f"))?;
    fs::read_dir(test.path("d/in"))?.count();
    let [file, list] = test.exactly()?;
    file.is(&json!({"syscall": "openat"}))?;
    list.paths_are(&[item("NORMAL", &test.path("d/in"), &fs::metadata(test.path("d/in"))?)])?;
    for_writing(&test.path("d/in/f"))?;
    File::open(test.path("d2/f"))?;
    test.silence("writing, and reading beside the tree")
}

fn moves(test: &mut Test<'_>) -> Result<()> {
    let (outside, inside) = (test.path("d2/f"), test.path("d/in/moved"));
    fs::rename(&outside, &inside)?;
    for_writing(&inside)?;
    fs::rename(&inside, &outside)?;
    let [into, write, out] = test.exactly()?;
    into.is(&json!({"syscall": "rename"}))?;
    write.paths_are(&[named("NORMAL", &inside)])?;
    out.is(&json!({"syscall": "rename"}))?;
    for_writing(&outside)?;
    test.silence("writing to what was moved out")
}

fn itself(test: &mut Test<'_>) -> Result<()> {
    let directory = test.path("d");
    let before = fs::metadata(&directory)?;
    fs::set_permissions(&directory, Permissions::from_mode(0o700))?;
    let [event] = test.exactly()?;
    event.is(&json!({"syscall": "chmod"}))?;
    event.paths_are(&[item("NORMAL", &directory, &before)])?;
    fs::set_permissions(test.path("d2"), Permissions::from_mode(0o700))?;
    test.silence("the directory beside it")
}

fn deep(test: &mut Test<'_>) -> Result<()> {
    const LEVELS: usize = 70;
    let directory = (0..LEVELS).fold(test.path("d"), |path, level| path.join(format!("level{level}")));
    fs::create_dir_all(&directory)?;
    test.events()?;
    let file = directory.join("file");
    fs::write(&file, "x")?;
    let [event] = test.exactly()?;
    let parent = item("PARENT", &directory, &fs::metadata(&directory)?);
    event.paths_are(&[parent, item("CREATE", &file, &fs::metadata(&file)?)])
}

fn mount_inside(test: &mut Test<'_>) -> Result<()> {
    let file = test.path("d/mounted/f");
    for_writing(&file)?;
    let [event] = test.exactly()?;
    event.paths_are(&[item("NORMAL", &file, &fs::metadata(&file)?)])
}

fn field(test: &mut Test<'_>) -> Result<()> {
    for_writing(&test.path("d/in/f"))?;
    let [event] = test.exactly()?;
    event.is(&json!({"syscall": "openat"}))?;
    File::open(test.path("d/in/f"))?;
    fs::remove_file(test.path("d/in/f"))?;
    for_writing(&test.path("d2/f"))?;
    test.silence("reading, calls that are not named, and files beside the tree")
}

fn within(test: &mut Test<'_>) -> Result<()> {
    for_writing(&test.path("d/in/f"))?;
    for_writing(&test.path("d/f"))?;
    let [event] = test.exactly()?;
    ensure!(event.paths_of("NORMAL") == [test.path("d/in/f").to_string_lossy()], "not the inner file, but {event}");
    Ok(())
}

fn later(test: &mut Test<'_>) -> Result<()> {
    let directory = test.path("later");
    fs::create_dir(&directory)?;
    let [event]: [Event; 1] = test.exactly()?;
    event.is(&json!({"syscall": "mkdir", "success": true}))?;
    event.paths_are(&[named("PARENT", &test.place.dir), named("CREATE", &directory)])?;
    fs::set_permissions(&directory, Permissions::from_mode(0o700))?;
    fs::remove_dir(&directory)?;
    let [change, remove] = test.exactly()?;
    change.is(&json!({"syscall": "chmod"}))?;
    remove.is(&json!({"syscall": "rmdir"}))
}
