//! What outlives the daemon: its programs, their rules and the ring buffer, pinned in a BPF file system. Where the daemon is killed,
//! rules stay in force and events wait, until the next one [finds](Left::find) them and takes over.

use std::cell::Cell;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use auditd_bpf_common::{counters, names, plan_rows::active};
use aya::maps::{Array, Map, MapData, MapError, PerCpuArray, RingBuf};
use aya::pin::PinError;
use nix::sys::statfs::statfs;

/// Where systemd mounts the BPF file system.
pub const BPF_FS: &str = "/sys/fs/bpf";
/// `BPF_FS_MAGIC` in `include/uapi/linux/magic.h`.
const BPF_FS_MAGIC: u64 = 0xcafe_4a11;
/// All of ours in it.
pub const OURS: &str = "/sys/fs/bpf/auditd-bpf";

/// Names of links begin so.
const LINK: &str = "link-";

/// Maps that are needed without the daemon: those behind tail calls, which the kernel empties when no user of theirs is left, and
/// those that the next daemon reads.
const MAPS: [&str; 5] =
    [names::ACTIVE, names::EVENTS, names::COUNTERS, names::FEXIT_SYSCALL[0].1, names::FEXIT_SYSCALL[1].1];

/// Why nothing is pinned, or what is pinned cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PinsError {
    /// No BPF file system.
    #[error("{BPF_FS} is no BPF file system: mount -t bpf bpf {BPF_FS}")]
    NotMounted,
    /// A directory.
    #[error("{}: {source}", path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A map is missing, or of another kind.
    #[error("{}: {source}", path.display())]
    Map {
        /// Where it should be.
        path: PathBuf,
        /// Why.
        source: MapError,
    },
    /// A guard is in force, and spares this process not.
    #[error("{}: an earlier daemon guards what it left in force", path.display())]
    Guarded {
        /// What was asked for.
        path: PathBuf,
    },
    /// A map cannot be pinned.
    #[error("{}: {source}", path.display())]
    Pin {
        /// Where.
        path: PathBuf,
        /// Why.
        source: PinError,
    },
}

fn in_directory(path: &Path) -> impl FnOnce(io::Error) -> PinsError {
    move |source| PinsError::Directory { path: path.to_path_buf(), source }
}

/// A file in the BPF file system, removed when it is dropped.
#[derive(Debug)]
pub struct Pin(Option<PathBuf>);

impl Pin {
    /// Of a file that was made just now.
    #[must_use]
    pub const fn new(path: PathBuf) -> Self {
        Self(Some(path))
    }

    /// Leaves it there.
    pub fn leave(mut self) {
        self.0 = None;
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        // It may be gone: then it is as it should be.
        let _gone = self.0.take().map(fs::remove_file);
    }
}

/// Where a running daemon has its pins: a directory of its own, removed with all that is in it when this is dropped.
#[derive(Debug)]
pub struct Pins {
    directory: Option<PathBuf>,
    number: u32,
    links: Cell<u32>,
}

impl Pins {
    /// Makes the directory, beside what was `left` at the same control socket, and shares the word that says whose tables are in
    /// force with the latest of them.
    ///
    /// # Errors
    /// If there is no BPF file system, or it takes no more.
    pub fn create(socket: &Path, left: &[Left]) -> Result<Self, PinsError> {
        if statfs(BPF_FS).map_or(0, |fs| fs.filesystem_type().0 as u64) != BPF_FS_MAGIC {
            return Err(PinsError::NotMounted);
        }
        let number = left.last().map_or(1, |left| left.number + 1);
        let directory = place_of(socket).join(number.to_string());
        let make = || DirBuilder::new().recursive(true).mode(0o700).create(&directory);
        make().map_err(in_directory(&directory))?;
        let pins = Self { directory: Some(directory), number, links: Cell::new(0) };
        if let (Some(left), Some(path)) = (left.last(), pins.path(names::ACTIVE)) {
            left.active_map.pin(&path).map_err(|source| PinsError::Pin { path, source })?;
        }
        Ok(pins)
    }

    /// Tells it from what earlier daemons left at the same control socket.
    #[must_use]
    pub const fn number(&self) -> u32 {
        self.number
    }

    /// The maps that are to be pinned, and where.
    pub fn maps(&self) -> impl Iterator<Item = (&'static str, PathBuf)> {
        MAPS.into_iter().filter_map(|name| Some((name, self.path(name)?)))
    }

    /// Where the next link goes.
    #[must_use]
    pub fn next_link(&self) -> Option<PathBuf> {
        let number = self.links.replace(self.links.get() + 1);
        self.path(&format!("{LINK}{number}"))
    }

    /// Leaves all where it is.
    pub fn leave(mut self) {
        self.directory = None;
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        Some(self.directory.as_ref()?.join(name))
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        if let Some(directory) = self.directory.take() {
            remove(&directory);
        }
    }
}

/// What a daemon left that was killed, or told to leave it.
pub struct Left {
    directory: PathBuf,
    number: u32,
    active_map: MapData,
    active: Array<MapData, u32>,
    events: RingBuf<MapData>,
    counters: PerCpuArray<MapData, u64>,
}

impl Left {
    /// What was left at a control socket, oldest first. Nobody but who has the socket may ask: what a daemon that runs has there
    /// looks the same. What cannot be used is removed, and said.
    ///
    /// # Errors
    /// [`PinsError::Guarded`].
    pub fn find(socket: &Path) -> Result<Vec<Self>, PinsError> {
        let place = place_of(socket);
        let entries = fs::read_dir(&place).into_iter().flatten().flatten();
        let mut numbers: Vec<u32> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        numbers.sort_unstable();
        let opened = numbers.into_iter().filter_map(|number| {
            let directory = place.join(number.to_string());
            match Self::open(directory.clone(), number) {
                Ok(left) => Some(Ok(left)),
                Err(error) if is_refusal(&error) => Some(Err(PinsError::Guarded { path: directory })),
                Err(error) => {
                    if links_in(&directory).is_empty() {
                        tracing::debug!("an earlier daemon was parted with, and the rest of it is removed: {error}");
                    } else {
                        tracing::error!(
                            "what an earlier daemon left in the kernel cannot be taken over, and is removed: {error}"
                        );
                    }
                    remove(&directory);
                    None
                }
            }
        });
        opened.collect()
    }

    fn open(directory: PathBuf, number: u32) -> Result<Self, PinsError> {
        let pinned = |name: &str| {
            let path = directory.join(name);
            MapData::from_pin(&path).map_err(|source| PinsError::Map { path, source })
        };
        let of_kind = |name: &str| {
            let path = directory.join(name);
            move |source| PinsError::Map { path, source }
        };
        let active_map = pinned(names::ACTIVE)?;
        let active = Map::Array(pinned(names::ACTIVE)?).try_into().map_err(of_kind(names::ACTIVE))?;
        let events = Map::RingBuf(pinned(names::EVENTS)?).try_into().map_err(of_kind(names::EVENTS))?;
        let counters = Map::PerCpuArray(pinned(names::COUNTERS)?).try_into().map_err(of_kind(names::COUNTERS))?;
        Ok(Self { directory, number, active_map, active, events, counters })
    }

    /// See [`Pins::number`].
    #[must_use]
    pub const fn number(&self) -> u32 {
        self.number
    }

    /// Hands every waiting sample to `consume`.
    pub fn drain(&mut self, mut consume: impl FnMut(&[u8])) {
        while let Some(sample) = self.events.next() {
            consume(&sample);
        }
    }

    /// Events that were lost, by cause, since its rules were loaded.
    #[must_use]
    pub fn lost(&self) -> Vec<(&'static str, u64)> {
        let causes = counters::COUNTERS.iter().filter(|(slot, _)| counters::LOSSES.contains(slot));
        causes.map(|(slot, name)| (*name, self.counters.get(slot, 0).map_or(0, |each| each.iter().sum()))).collect()
    }

    /// Takes its rules out of force, if those of `owner`, which are in force, have not done so.
    ///
    /// # Errors
    /// If the kernel refuses the write.
    pub fn withdraw(&mut self, owner: u32) -> Result<(), MapError> {
        if active::owner(self.active.get(&0, 0)?) == owner {
            return Ok(());
        }
        self.active.set(0, active::NONE, 0)
    }

    /// What detaches its programs, which takes some hundredths of a second for each. The tables stay, and the buffer with what is in
    /// it: another daemon finds them, should this one be killed before it [removes](Self::remove) them.
    pub fn detaching(&self) -> impl FnOnce() + Send + use<> {
        let directory = self.directory.clone();
        move || remove_links(&directory)
    }

    /// Removes the rest, once its programs are detached and nothing is left to drain.
    pub fn remove(self) {
        remove(&self.directory);
    }
}

/// Whether it was refused, as by a guard: root may open whatever is pinned, else.
fn is_refusal(error: &PinsError) -> bool {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    let mut causes = causes.filter_map(|cause| cause.downcast_ref::<io::Error>());
    causes.any(|cause| cause.kind() == io::ErrorKind::PermissionDenied)
}

/// Where daemons have their pins, one after the other: by their control socket, which one at a time has. The file system takes no
/// dots in names.
fn place_of(socket: &Path) -> PathBuf {
    let name: String = socket.as_os_str().as_bytes().iter().map(|byte| in_name(*byte)).collect();
    Path::new(OURS).join(name)
}

fn in_name(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("_{byte:02x}") }
}

fn links_in(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let links = entries.filter(|entry| entry.file_name().as_bytes().starts_with(LINK.as_bytes()));
    links.map(|entry| entry.path()).collect()
}

fn remove_links(directory: &Path) {
    for link in links_in(directory) {
        // What cannot be removed is told of where the directory is to go.
        let _gone = fs::remove_file(link);
    }
}

/// Removes a directory of pins, and those above it if nothing else is in them. Links before maps: programs that still run need these.
fn remove(directory: &Path) {
    remove_links(directory);
    if let Err(error) = fs::remove_dir_all(directory) {
        tracing::warn!("{} stays in the BPF file system: {error}", directory.display());
    }
    let above = directory.ancestors().skip(1).take(2);
    // Others' pins may be there.
    let _done = above.map(fs::remove_dir).find(Result::is_err);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_have_places_apart_whose_names_the_file_system_takes() {
        let names: Vec<_> =
            ["/run/a.sock", "/run/a_2esock", "/run/a/sock"].map(|path| place_of(Path::new(path))).into();
        assert_eq!(names[0], Path::new("/sys/fs/bpf/auditd-bpf/_2frun_2fa_2esock"));
        assert!(names[0] != names[1] && names[0] != names[2] && names[1] != names[2]);
    }
}
