//! Acts submitted through an io_uring, in the task and by workers of the kernel.

use std::path::Path;

use anyhow::{Result, ensure};
use nix::libc;
use serde_json::json;

use crate::harness::Case;
use crate::place::Place;
use crate::session::Test;
use crate::sys::{Operation, c_path, through_ring};

pub const CASES: &[Case] = &[
    Case::new("ring_watch", "-w {dir}/f -p wa -k {key}", watch).prepared(file),
    Case::new("ring_list", "-a always,io_uring -S unlinkat,connect -F auid={auid} -k {key}", failures).prepared(file),
    Case::new("ring_is_no_call", "-a always,exit -F arch=b64 -S openat,unlinkat -F auid={auid} -k {key}", no_call)
        .prepared(file),
];

fn file(place: &Place) -> Result<()> {
    place.file("f").map(drop)
}

fn watch(test: &mut Test<'_>) -> Result<()> {
    let (file, beside) = (c_path(&test.path("f"))?, c_path(&test.path("g"))?);
    let pid = test.child(|| {
        let create = libc::O_CREAT | libc::O_WRONLY;
        through_ring(&[Operation::Open(&beside, create), Operation::Open(&file, libc::O_RDONLY)])?;
        let done = through_ring(&[Operation::Open(&file, libc::O_WRONLY), Operation::Unlink(&file)])?;
        ensure!(done[0] >= 0 && done[1] == 0, "operations failed: {done:?}");
        Ok(())
    })?;
    let [opened, removed] = test.exactly::<2>()?;
    opened.is(&json!({"type": "URINGOP", "uring_op": "openat", "success": true, "pid": pid, "hook": "file_open"}))?;
    removed.is(&json!({"type": "URINGOP", "uring_op": "unlinkat", "exit": 0, "pid": pid}))?;
    let path = test.path("f");
    ensure!(removed.paths_of("DELETE") == [path.to_string_lossy()], "no deleted {}: {removed:?}", path.display());
    Ok(())
}

fn failures(test: &mut Test<'_>) -> Result<()> {
    let (file, absent) = (c_path(&test.path("f"))?, c_path(&test.path("absent"))?);
    test.child(|| {
        through_ring(&[Operation::Open(&file, libc::O_WRONLY), Operation::Unlink(&absent)])?;
        // The calls themselves are on another list.
        ensure!(std::fs::remove_file(Path::new("/no/such/file")).is_err(), "there is such a file");
        Ok(())
    })?;
    let [failed] = test.exactly::<1>()?;
    failed.is(&json!({"uring_op": "unlinkat", "success": false, "exit": -2, "errno": "ENOENT"}))
}

fn no_call(test: &mut Test<'_>) -> Result<()> {
    let file = c_path(&test.path("f"))?;
    test.child(|| {
        through_ring(&[Operation::Open(&file, libc::O_WRONLY), Operation::Unlink(&file)]).map(drop).map_err(Into::into)
    })?;
    test.silence("an io_uring")
}
