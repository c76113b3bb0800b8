//! What several families of cases do.

use std::ffi::CStr;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::chown;
use std::path::Path;

use anyhow::{Result, bail};

use crate::child;
use crate::place::Place;

/// d/f, d/g and d/in/f, with an owner and a mode that show; e beside them.
pub fn files(place: &Place) -> Result<()> {
    place.directory("d/in")?;
    place.directory("e")?;
    for name in ["d/f", "d/g", "d/in/f", "e/f"] {
        let path = place.file_with_mode(name, 0o640)?;
        chown(path, Some(1000), Some(4))?;
    }
    Ok(())
}

/// f and g.
pub fn two_files(place: &Place) -> Result<()> {
    place.file("f")?;
    place.file("g").map(drop)
}

/// f and g, both programs.
pub fn two_programs(place: &Place) -> Result<()> {
    place.program("f")?;
    place.program("g").map(drop)
}

/// Opens for writing.
pub fn write(path: impl AsRef<Path>) -> io::Result<File> {
    OpenOptions::new().write(true).open(path)
}

/// Opens for reading.
pub fn read(path: impl AsRef<Path>) -> io::Result<File> {
    File::open(path)
}

/// Acts as uid 1000, in a child.
pub fn as_user(act: impl FnOnce() -> Result<()>) -> Result<()> {
    child::run(|| {
        child::become_user()?;
        act()
    })
    .map(drop)
}

/// Acts in a child.
pub fn in_child(act: impl FnOnce() -> Result<()>) -> Result<()> {
    child::run(act).map(drop)
}

/// The act must fail with this errno: a case that does something else than it says proves nothing.
pub fn fails<T>(errno: i32, result: io::Result<T>) -> Result<()> {
    match result {
        Ok(_) => bail!("an act worked that should have failed with errno {errno}"),
        Err(error) if error.raw_os_error() == Some(errno) => Ok(()),
        Err(error) => bail!("an act failed with {error} instead of errno {errno}"),
    }
}

/// A call that may work or not, depending on the kernel: only its record counts.
pub fn either<T>(result: io::Result<T>) {
    drop(result);
}

/// An extended attribute for tests.
pub const ATTRIBUTE: &CStr = c"trusted.test";
