//! The rules of the standards, one set after the other, under the acts of whole families of cases and upon the files that the
//! rules name.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::acts::{as_user, either, read, write};
use super::{change, exec, socket, task};
use crate::compliance::case::{Case, EXAMPLES};
use crate::place::{BUSYBOX, Place};
use crate::sys::{LowText, call_32, open_32};

pub const CASES: &[Case] = &[
    Case::new("stig", "", mixed).prepared(prepare).with_examples(&[
        "23-ignore-filesystems",
        "30-stig",
        "32-power-abuse",
        "41-containers",
        "42-injection",
        "43-module-load",
        "44-installers",
        "71-networking",
    ]),
    Case::new("ospp", "", mixed).prepared(prepare).with_examples(&[
        "30-ospp-v42",
        "30-ospp-v42-1-create-failed",
        "30-ospp-v42-1-create-success",
        "30-ospp-v42-2-modify-failed",
        "30-ospp-v42-2-modify-success",
        "30-ospp-v42-3-access-failed",
        "30-ospp-v42-3-access-success",
        "30-ospp-v42-4-delete-failed",
        "30-ospp-v42-4-delete-success",
        "30-ospp-v42-5-perm-change-failed",
        "30-ospp-v42-5-perm-change-success",
        "30-ospp-v42-6-owner-change-failed",
        "30-ospp-v42-6-owner-change-success",
    ]),
    Case::new("pci_dss", "", mixed).prepared(prepare).with_examples(&["21-no32bit", "30-pci-dss-v31"]),
    Case::new("nispom", "", mixed).prepared(prepare).with_examples(&["30-nispom", "70-einval"]),
];

/// Whose acts are done.
const FAMILIES: [&[Case]; 4] = [change::CASES, exec::CASES, socket::CASES, task::CASES];
/// Programs that rules name by `exe`: these must be files of their own.
const PROGRAMS: [&str; 2] = ["/usr/bin/su", "/usr/bin/sudo"];

/// Programs that read the log of the kernel's audit.
const AUDIT_PROGRAMS: [&str; 2] = ["ausearch", "aureport"];

/// Each family case's own place within that of the suite.
fn family_cases(place: &Place) -> impl Iterator<Item = Result<(&'static Case, Place)>> {
    FAMILIES.into_iter().flatten().map(|case| Ok((case, place.within(case.name)?)))
}

/// Creates what the rules of any suite name, and what the families' acts need.
fn prepare(place: &Place) -> Result<()> {
    for object in objects()? {
        object.create().with_context(|| format!("cannot create {}", object.path.display()))?;
    }
    for program in PROGRAMS.map(Path::new) {
        either(fs::remove_file(program));
        fs::copy(BUSYBOX, program).with_context(|| format!("cannot copy {BUSYBOX}"))?;
        fs::set_permissions(program, Permissions::from_mode(0o4755)).context("cannot set a mode")?;
    }
    fs::create_dir_all("/home/user").context("cannot create a home")?;
    fs::write("/home/user/mine", "").context("cannot create a file")?;
    std::os::unix::fs::chown("/home/user/mine", Some(1000), Some(1000)).context("cannot give a file away")?;
    for family_case in family_cases(place) {
        let (case, place) = family_case?;
        (case.prepare)(&place).with_context(|| format!("cannot prepare {}", case.name))?;
    }
    Ok(())
}

fn mixed(place: &Place) -> Result<()> {
    let objects = objects()?;
    objects.iter().for_each(Object::act);
    as_user(|| {
        objects.iter().for_each(Object::act);
        Ok(())
    })?;
    either(write("/home/user/mine"));
    for program in PROGRAMS {
        let mut command = Command::new(program);
        command.args(["-c", "true", "root"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        either(command.status());
    }
    bits_32(place)?;
    for family_case in family_cases(place) {
        let (case, place) = family_case?;
        (case.act)(&place).with_context(|| format!("acts of {}", case.name))?;
    }
    Ok(())
}

/// A few calls of 32-bit programs.
fn bits_32(place: &Place) -> Result<()> {
    // unistd_32.h
    const UNLINK: u32 = 10;
    const CHMOD: u32 = 15;
    const GETPID: u32 = 20;
    let (new, shadow) = (place.file("new")?, LowText::new(Path::new("/etc/shadow"))?);
    let new = LowText::new(&new)?;
    open_32(&shadow);
    call_32(CHMOD, [new.address(), 0o600, 0]);
    call_32(GETPID, [0; 3]);
    call_32(UNLINK, [new.address(), 0, 0]);
    as_user(|| {
        open_32(&shadow);
        call_32(CHMOD, [shadow.address(), 0o600, 0]);
        Ok(())
    })
}

/// A file, directory or program that a rule names.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Object {
    path: PathBuf,
    is_directory: bool,
}

impl Object {
    fn create(&self) -> Result<()> {
        if self.path.symlink_metadata().is_ok() {
            return Ok(());
        }
        let directory = if self.is_directory { Some(self.path.as_path()) } else { self.path.parent() };
        fs::create_dir_all(directory.unwrap_or(Path::new("/")))?;
        if self.is_directory {
            fs::write(self.path.join("inside"), "")?;
        } else if self.path.starts_with("/usr") {
            fs::write(&self.path, format!("#!{BUSYBOX} true\n"))?;
            fs::set_permissions(&self.path, Permissions::from_mode(0o755))?;
        } else {
            fs::write(&self.path, "")?;
            fs::set_permissions(&self.path, Permissions::from_mode(0o640))?;
        }
        Ok(())
    }

    /// Reads, writes, changes the mode to what it is; runs a program.
    fn act(&self) {
        let path = if self.is_directory { self.path.join("inside") } else { self.path.clone() };
        if path.starts_with("/usr") {
            // What these do depends on the log, which grows meanwhile.
            if AUDIT_PROGRAMS.iter().any(|name| path.ends_with(name)) {
                return;
            }
            either(Command::new(&path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status());
            return;
        }
        either(read(&path));
        either(write(&path));
        let mode = path.metadata().map(|status| status.permissions());
        either(mode.and_then(|mode| fs::set_permissions(&path, mode)));
    }
}

/// All that the example rules name.
fn objects() -> Result<BTreeSet<Object>> {
    let mut objects = BTreeSet::new();
    for file in fs::read_dir(EXAMPLES).context("cannot read the example rules")? {
        let text = fs::read_to_string(file?.path()).context("cannot read example rules")?;
        for line in text.lines().filter(|line| line.starts_with("-")) {
            let mut words = line.split_whitespace().peekable();
            while let Some(word) = words.next() {
                let watched = if word == "-w" { words.peek().copied() } else { None };
                let directory = word.strip_prefix("dir=");
                let Some(path) = watched.or(directory).or_else(|| word.strip_prefix("path=")) else { continue };
                let is_directory = directory.is_some() || path.ends_with('/');
                objects.insert(Object { path: path.trim_end_matches('/').into(), is_directory });
            }
        }
    }
    Ok(objects)
}
