//! Which rule decides, and what it does.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use serde_json::json;

use super::{refused, refused_in_one, two_directories, verdict};
use crate::child;
use crate::harness::Case;
use crate::session::Test;

pub const CASES: &[Case] = &[
    Case::new(
        "deny_below_never",
        "-a never,exit -F arch=b64 -S unlink,unlinkat -F path={dir}/d/f
         -a deny,exit -F arch=b64 -S unlink,unlinkat -F dir={dir}/d -k {key}",
        below_never,
    )
    .prepared(two_directories),
    Case::new(
        "deny_below_always",
        "-a always,exit -F arch=b64 -S unlink,unlinkat -F path={dir}/d/f -k {key}
         -a deny,exit -F arch=b64 -S unlink,unlinkat -F dir={dir}/d -k {key}",
        below_always,
    )
    .prepared(two_directories),
    Case::new(
        "deny_below_a_rule_on_results",
        "-a never,exit -F arch=b64 -S unlink,unlinkat -F dir={dir}/d -F success=0
         -a deny,exit -F arch=b64 -S unlink,unlinkat -F dir={dir}/d -k {key}",
        below_result,
    )
    .prepared(two_directories),
    Case::new("deny_errno", "-a deny,exit -F arch=b64 -S openat -F path={dir}/d/f -F errno=ENOENT -k {key}", errno)
        .prepared(two_directories),
    Case::new(
        "deny_by_subject",
        "-a deny,exit -F arch=b64 -S openat -F path={dir}/d/f -F auid={auid} -k {key}",
        subject,
    )
    .prepared(two_directories),
    Case::new("deny_dry_run", "-w {dir}/d/f -p rw --action deny --dry-run -k {key}", dry_run).prepared(two_directories),
    Case::new("kill_the_reader", "-w {dir}/d/f -p r --action kill -k {key}", kill).prepared(two_directories),
    Case::new("deny_by_a_watch_on_a_tree", "-w {dir}/d -p wa --action deny -k {key}", watch).prepared(two_directories),
    Case::new("deny_nothing_else", "-w {dir}/d/f -p wa --action deny -k {key}", nothing_else).prepared(two_directories),
];

fn below_never(test: &mut Test<'_>) -> Result<()> {
    let (exempt, other) = (test.path("d/f"), test.path("d/program"));
    test.child(|| fs::remove_file(&exempt).context("the exempted file"))?;
    test.silence("what never exempts")?;
    test.child(|| refused(fs::remove_file(&other), Errno::EPERM))?;
    let [event] = test.exactly()?;
    event.is(&verdict("path_unlink", Errno::EPERM))?;
    ensure!(other.exists() && !exempt.exists());
    Ok(())
}

fn below_always(test: &mut Test<'_>) -> Result<()> {
    let (exempt, other) = (test.path("d/f"), test.path("d/program"));
    test.child(|| fs::remove_file(&exempt).context("the exempted file"))?;
    let [event] = test.exactly()?;
    event.is(&json!({"verdict": "allow", "action": "always", "success": true}))?;
    test.child(|| refused(fs::remove_file(&other), Errno::EPERM))?;
    let [event] = test.exactly()?;
    event.is(&verdict("path_unlink", Errno::EPERM))
}

/// What comes of the act is not known before it: such a rule neither exempts, nor keeps the refusal out of the log.
fn below_result(test: &mut Test<'_>) -> Result<()> {
    let file = test.path("d/f");
    test.child(|| refused(fs::remove_file(&file), Errno::EPERM))?;
    let [event] = test.exactly()?;
    event.is(&verdict("path_unlink", Errno::EPERM))
}

fn errno(test: &mut Test<'_>) -> Result<()> {
    let file = test.path("d/f");
    test.child(|| refused(File::open(&file), Errno::ENOENT))?;
    let [event] = test.exactly()?;
    event.is(&verdict("file_open", Errno::ENOENT))?;
    event.is(&json!({"errno": "ENOENT"}))
}

fn subject(test: &mut Test<'_>) -> Result<()> {
    let file = test.path("d/f");
    child::run(|| File::open(&file).map(drop).context("with another login uid"))?;
    test.silence("another login uid")?;
    test.child(|| refused(File::open(&file), Errno::EPERM))?;
    test.user(|| refused(File::open(&file), Errno::EPERM))?;
    let events = test.exactly::<2>()?;
    events.iter().try_for_each(|event| event.is(&verdict("file_open", Errno::EPERM)))
}

fn dry_run(test: &mut Test<'_>) -> Result<()> {
    let file = test.path("d/f");
    test.child(|| File::open(&file).map(drop).context("nothing is refused"))?;
    test.child(|| Ok(fs::write(&file, "written")?))?;
    let events = test.exactly::<2>()?;
    let expected = json!({"verdict": "would-deny", "action": "deny", "hook": "file_open", "success": true});
    events.iter().try_for_each(|event| event.is(&expected))?;
    ensure!(fs::read(&file)? == b"written");
    test.events().map(drop)
}

fn kill(test: &mut Test<'_>) -> Result<()> {
    let file = test.path("d/f");
    let (free, after) = (test.path("free/f"), test.path("after"));
    let mark = |path: &Path| -> io::Result<()> { fs::write(path, "") };
    let reader = child::start(|| {
        let _ = File::open(&file);
        mark(&after)?;
        Ok(())
    })?;
    let pid = reader.pid();
    reader.wait_killed()?;
    ensure!(!after.exists(), "it lived on");
    let [event] = test.exactly()?;
    event.is(&json!({"verdict": "kill", "action": "kill", "hook": "file_open", "exit": -1, "pid": pid}))?;
    test.child(|| File::open(&free).map(drop).context("next door"))?;
    test.silence("next door")
}

/// Whoever acts, root of the machine included.
fn watch(test: &mut Test<'_>) -> Result<()> {
    let event = refused_in_one(test, "path_unlink", |dir| fs::remove_file(dir.join("f")))?;
    event
        .is(&json!({"rule": format!("-w {} -p wa --action deny -k {}", test.path("d").display(), test.place.name)}))?;
    refused(File::create(test.path("d/new")), Errno::EPERM)?;
    test.exactly::<1>().map(drop)
}

fn nothing_else(test: &mut Test<'_>) -> Result<()> {
    let file = test.path("d/f");
    test.child(|| File::open(&file).map(drop).context("reading"))?;
    test.silence("reading")?;
    test.child(|| refused(OpenOptions::new().write(true).open(&file), Errno::EPERM))?;
    test.exactly::<1>().map(drop)
}
