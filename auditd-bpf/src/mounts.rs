//! The mount table (`/proc/self/mountinfo`, proc_pid_mountinfo(5)).

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::decode::{Mount, Mounts};

/// Where the kernel shows it.
pub const MOUNTINFO: &str = "/proc/self/mountinfo";

/// The mounts at one moment.
#[derive(Clone, Debug, Default)]
pub struct MountTable {
    rows: Vec<MountRow>,
}

#[derive(Clone, Debug)]
struct MountRow {
    id: u32,
    dev: u32,
    root: PathBuf,
    point: PathBuf,
}

impl MountTable {
    /// Reads the table; empty where it cannot be read.
    #[must_use]
    pub fn read() -> Self {
        Self::parse(&fs::read(MOUNTINFO).unwrap_or_default())
    }

    fn parse(text: &[u8]) -> Self {
        Self { rows: text.split(|byte| *byte == b'\n').filter_map(row).collect() }
    }

    /// Device of a mount, `major << 20 | minor`.
    #[must_use]
    pub fn device(&self, id: u32) -> Option<u32> {
        self.rows.iter().find(|row| row.id == id).map(|row| row.dev)
    }

    /// Mount points below a directory.
    pub fn below<'a>(&'a self, directory: &'a Path) -> impl Iterator<Item = &'a Path> {
        self.rows
            .iter()
            .map(|row| row.point.as_path())
            .filter(move |point| *point != directory && point.starts_with(directory))
    }
}

fn row(line: &[u8]) -> Option<MountRow> {
    let mut words = line.split(|byte| *byte == b' ');
    let text = |word: Option<&[u8]>| word.and_then(|word| std::str::from_utf8(word).ok()).map(ToOwned::to_owned);
    let id = text(words.next())?.parse().ok()?;
    let device = text(words.nth(1))?;
    let (major, minor) = device.split_once(':')?;
    let dev = major.parse::<u32>().ok()? << 20 | minor.parse::<u32>().ok()?;
    let (root, point) = (unescape(words.next()?), unescape(words.next()?));
    Some(MountRow { id, dev, root, point })
}

/// The kernel writes blanks, tabs, newlines and backslashes as three octal digits.
fn unescape(word: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((first, after)) = rest.split_first() {
        let digits =
            after.get(..3).filter(|digits| *first == b'\\' && digits.iter().all(|d| (b'0'..=b'7').contains(d)));
        match digits {
            Some(digits) => {
                bytes.push(digits.iter().fold(0u8, |value, digit| value.wrapping_mul(8).wrapping_add(digit - b'0')));
                rest = &after[3..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

/// The table by device, read again when a device is not in it.
#[derive(Default)]
pub struct MountsByDevice {
    by_device: HashMap<u32, Vec<Mount>>,
}

impl Mounts for MountsByDevice {
    fn of_device(&mut self, device: u32) -> &[Mount] {
        if !self.by_device.contains_key(&device) {
            self.by_device.clear();
            for row in MountTable::read().rows {
                let mount = Mount {
                    root: row.root.as_os_str().as_bytes().to_vec(),
                    mount_point: row.point.as_os_str().as_bytes().to_vec(),
                };
                self.by_device.entry(row.dev).or_default().push(mount);
            }
        }
        self.by_device.get(&device).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw\n\
        23 22 0:5 / /srv/a\\040b rw - tmpfs none rw\nnonsense\n";

    #[test]
    fn mounts_are_found_by_id_and_place() {
        let mounts = MountTable::parse(TABLE);
        assert_eq!((mounts.device(22), mounts.device(23), mounts.device(24)), (Some(254 << 20 | 1), Some(5), None));
        assert_eq!(mounts.below(Path::new("/srv")).collect::<Vec<_>>(), [Path::new("/srv/a b")]);
        assert_eq!(mounts.below(Path::new("/srv/a b")).count(), 0);
    }
}
