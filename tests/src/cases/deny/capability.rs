//! Refused for the capability that the call makes use of.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::chown;

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::libc;
use nix::unistd::sethostname;
use serde_json::json;

use super::attempt::{answer, attempt, plain, refused_to_one};
use super::{refused, two_directories};
use crate::child::{self, USER};
use crate::harness::Case;
use crate::place::Place;
use crate::session::Test;

/// `LINUX_REBOOT_MAGIC1`, `LINUX_REBOOT_MAGIC2` and `LINUX_REBOOT_CMD_CAD_OFF` (reboot(2)): how the keyboard's keys to reboot act.
const KEYS_ONLY_SIGNAL: [i64; 4] = [0xfee1_dead, 0x2812_1969, 0, 0];

pub const CASES: &[Case] = &[
    Case::new(
        "deny_capability_of_sethostname",
        "-a deny,exit -F arch=b64 -S sethostname -F cap=CAP_SYS_ADMIN -F auid={auid} -k {key}",
        |test| refused_to_one(test, "sethostname", "capable", |_| renamed()).map(drop),
    ),
    Case::new(
        "deny_capability_of_reboot",
        "-a deny,exit -F arch=b64 -S reboot -F cap=sys_boot -F auid={auid} -k {key}",
        |test| {
            refused_to_one(test, "reboot", "capable", |_| answer(plain(libc::SYS_reboot, KEYS_ONLY_SIGNAL))).map(drop)
        },
    ),
    Case::new(
        "deny_another_capability_of_sethostname",
        "-a deny,exit -F arch=b64 -S sethostname,reboot -F cap=sys_time -F auid={auid} -k {key}",
        |test| {
            test.child(|| renamed()?.went_well())?;
            test.silence("another capability")
        },
    ),
    Case::new(
        "deny_capability_on_a_tree",
        "-a deny,exit -F arch=b64 -S openat -F dir={dir}/d -F cap=dac_override -k {key}",
        on_a_tree,
    )
    .prepared(with_a_file_of_another),
    Case::new(
        "capability_made_use_of",
        "-a always,exit -F arch=b64 -S openat -F dir={dir}/d -F cap=dac_override -k {key}",
        made_use_of,
    )
    .prepared(with_a_file_of_another),
];

/// Gives the machine another name for a moment.
fn renamed() -> Result<super::attempt::Attempt> {
    let before = nix::unistd::gethostname()?;
    let result = sethostname("another");
    let happened = nix::unistd::gethostname()? == "another";
    if happened {
        sethostname(before)?;
    }
    attempt(result, happened)
}

fn with_a_file_of_another(place: &Place) -> Result<()> {
    two_directories(place)?;
    fs::set_permissions(place.path("d/f"), std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    Ok(chown(place.path("d/f"), Some(USER), Some(USER))?)
}

fn open(place: &Place, name: &str) -> io::Result<()> {
    File::options().read(true).write(true).open(place.path(name)).map(drop)
}

/// Root may open a file of another only for the capability; its own it may open anyway. Where the file is known by the time of the
/// question, the answer to that is no, and the error the call's own.
fn on_a_tree(test: &mut Test<'_>) -> Result<()> {
    let place = test.place.clone();
    test.child(|| match open(&place, "d/f") {
        Err(error) if error.raw_os_error() == Some(libc::EACCES) => Ok(()),
        result => refused(result, Errno::EPERM),
    })?;
    let [event] = test.exactly()?;
    event.is(&json!({"verdict": "deny", "action": "deny", "success": false}))?;
    ensure!(["file_open", "capable"].iter().any(|hook| event.get("hook") == *hook), "{event:?}");
    test.child(|| open(&place, "d/program").context("one of its own"))?;
    test.silence("one of its own")
}

fn made_use_of(test: &mut Test<'_>) -> Result<()> {
    let place = test.place.clone();
    test.child(|| Ok(open(&place, "d/f")?))?;
    let [event] = test.exactly()?;
    event.is(&json!({"syscall": "openat", "success": true, "action": "always"}))?;
    test.child(|| open(&place, "d/program").context("one of its own"))?;
    test.child(|| {
        child::become_user()?;
        open(&place, "d/f").context("its owner")
    })?;
    test.silence("opens without it")
}
