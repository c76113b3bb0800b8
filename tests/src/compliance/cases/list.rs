//! Lists beside exit, and the order of rules. Each rule is narrowed to the login uid of its case, or to what only it touches.

use std::fs::{self, File};

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};

use super::acts::{as_user, either, files, in_child, read, write};
use crate::compliance::case::Case;
use crate::place::Place;

macro_rules! opens {
    () => {
        "-a always,exit -F arch=b64 -S openat -F auid={auid} -k {key}\n"
    };
}

/// Rules of which the first that matches decides.
const fn in_order(name: &'static str, rules: &'static str) -> Case {
    Case::new(name, rules, in_children).prepared(files)
}

pub const CASES: &[Case] = &[
    Case::new("never_task", concat!("-a never,task -F auid={auid} -F uid=1000\n", opens!()), of_user_s_children)
        .prepared(files),
    Case::new("never_task_all", concat!("-a never,task -F auid={auid}\n", opens!()), in_children).prepared(files),
    Case::new("always_task", concat!("-a always,task -F auid={auid}\n", opens!()), in_children).prepared(files),
    Case::new(
        "exclude_types",
        concat!(
            "-a always,exclude -F msgtype=CWD -F auid={auid}\n-a always,exclude -F msgtype=PROCTITLE -F auid={auid}\n",
            opens!()
        ),
        in_children,
    )
    .prepared(files),
    Case::new(
        "exclude_path",
        concat!("-a always,exclude -F msgtype=PATH -F auid={auid} -F uid=1000\n", opens!()),
        of_user_s_children,
    )
    .prepared(files),
    Case::new(
        "exclude_by_user",
        concat!("-a always,exclude -F auid={auid} -F uid=1000\n", opens!()),
        of_user_s_children,
    )
    .prepared(files),
    Case::new(
        "exclude_range_of_types",
        concat!("-a always,exclude -F msgtype>=1300 -F msgtype<1303 -F auid={auid} -F gid=1000\n", opens!()),
        of_user_s_children,
    )
    .prepared(files),
    Case::new("never_filesystem", concat!("-a never,filesystem -F fstype=debugfs\n", opens!()), on_debugfs)
        .prepared(debugfs),
    in_order(
        "order_never_first",
        "-a never,exit -F arch=b64 -S openat -F auid={auid} -F path={dir}/d/f\n\
         -a always,exit -F arch=b64 -S openat -F auid={auid} -k {key}",
    ),
    in_order(
        "order_never_last",
        "-a always,exit -F arch=b64 -S openat -F auid={auid} -k {key}\n\
         -a never,exit -F arch=b64 -S openat -F auid={auid} -F path={dir}/d/f",
    ),
    in_order(
        "order_prepended",
        "-a always,exit -F arch=b64 -S openat -F auid={auid} -k {key}\n\
         -A never,exit -F arch=b64 -S openat -F auid={auid} -F dir={dir}/d/in",
    ),
    in_order(
        "order_by_result",
        "-a never,exit -F arch=b64 -S openat -F auid={auid} -F exit=-ENOENT\n\
         -a always,exit -F arch=b64 -S openat -F auid={auid} -F success=0 -k {key} -k failed\n\
         -w {dir}/d/f -p w -k {key} -k written\n\
         -a never,exit -F arch=b64 -S openat -F auid={auid} -F dir={dir}/d\n\
         -a always,exit -F arch=b64 -S openat -F auid={auid} -k {key} -k rest",
    ),
    in_order(
        "order_of_watches",
        "-w {dir}/d -p w -k {key} -k tree\n-w {dir}/d/f -p rw -k {key} -k file\n-w {dir}/d/in -p rwa -k {key} -k inner",
    ),
];

fn acts(place: &Place) -> Result<()> {
    for name in ["d/f", "d/in/f", "e/f"] {
        either(read(place.path(name)));
        either(write(place.path(name)));
        either(fs::remove_file(place.path(name).with_extension("new")));
        either(File::create(place.path(name).with_extension("new")));
    }
    either(read(place.path("absent")));
    Ok(())
}

/// A child, and a child of it.
fn in_children(place: &Place) -> Result<()> {
    acts(place)?;
    in_child(|| {
        acts(place)?;
        in_child(|| acts(place))
    })?;
    as_user(|| acts(place))
}

/// A child of root becomes a user's, and has children: those begin as the user's.
fn of_user_s_children(place: &Place) -> Result<()> {
    acts(place)?;
    as_user(|| {
        acts(place)?;
        in_child(|| acts(place))
    })
}

fn debugfs(place: &Place) -> Result<()> {
    files(place)?;
    let point = place.directory("debug")?;
    mount(Some("debug"), &point, Some("debugfs"), MsFlags::empty(), None::<&str>).context("cannot mount debugfs")
}

fn on_debugfs(place: &Place) -> Result<()> {
    acts(place)?;
    fs::read_dir(place.path("debug"))?.count();
    either(read(place.path("debug/bdi")));
    either(read(place.path("debug/absent")));
    Ok(())
}
