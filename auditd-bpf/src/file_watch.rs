//! Tells when names come and go in the directories that rules depend on.
//!
//! By inotify itself: `notify` asks for opens, writes and closes as well, and each of them in a watched directory, `/etc` to
//! begin with, would cost its caller an event and wake the daemon.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};

/// Names that come and go, and the directory itself.
const NAMES: AddWatchFlags = AddWatchFlags::IN_CREATE
    .union(AddWatchFlags::IN_DELETE)
    .union(AddWatchFlags::IN_MOVE)
    .union(AddWatchFlags::IN_DELETE_SELF)
    .union(AddWatchFlags::IN_MOVE_SELF)
    .union(AddWatchFlags::IN_ONLYDIR);

/// Watches directories, not what is in the files.
pub struct FileWatch {
    inotify: Option<Inotify>,
    directories: HashMap<PathBuf, WatchDescriptor>,
}

impl FileWatch {
    /// Watches nothing yet. Where the kernel gives no watcher, changes are not seen: said once in the log.
    #[must_use]
    pub fn new() -> Self {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC);
        let inotify =
            inotify.inspect_err(|error| tracing::error!("changes of watched files will not be followed: {error}"));
        Self { inotify: inotify.ok(), directories: HashMap::new() }
    }

    /// Watches these directories, and no others.
    pub fn watch(&mut self, directories: &[PathBuf]) {
        let Some(inotify) = &self.inotify else { return };
        let wanted: HashSet<&Path> = directories.iter().map(PathBuf::as_path).collect();
        let (stay, gone): (HashMap<_, _>, HashMap<_, _>) =
            std::mem::take(&mut self.directories).into_iter().partition(|(path, _)| wanted.contains(path.as_path()));
        self.directories = stay;
        // One directory by two paths is one watch.
        for watch in gone.into_values().filter(|watch| !self.directories.values().any(|other| other == watch)) {
            // Fails where the directory itself is gone: then the kernel has ended the watch.
            let _ = inotify.rm_watch(watch);
        }
        for new in wanted {
            if self.directories.contains_key(new) {
                continue;
            }
            match inotify.add_watch(new, NAMES) {
                Ok(watch) => _ = self.directories.insert(new.to_path_buf(), watch),
                Err(error) => tracing::warn!("changes in {} will not be followed: {error}", new.display()),
            }
        }
    }

    /// Whether anything came or went since the last call.
    pub fn changed(&mut self) -> bool {
        let mut changed = false;
        while let Some(events) = self.inotify.as_ref().and_then(read) {
            changed |= events.iter().any(|event| event.mask != AddWatchFlags::IN_IGNORED);
            for ended in events.iter().filter(|event| event.mask.contains(AddWatchFlags::IN_IGNORED)) {
                // Its path may come again, as another directory.
                self.directories.retain(|_, watch| *watch != ended.wd);
            }
        }
        changed
    }
}

/// What waits, if anything does.
fn read(inotify: &Inotify) -> Option<Vec<InotifyEvent>> {
    match inotify.read_events() {
        Ok(events) => Some(events),
        Err(Errno::EAGAIN) => None,
        Err(error) => {
            tracing::error!("changes of watched files cannot be read: {error}");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watching(directory: &Path) -> FileWatch {
        let mut watch = FileWatch::new();
        watch.watch(&[directory.to_path_buf()]);
        watch
    }

    #[test]
    fn a_new_name_is_seen_and_writing_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("there");
        std::fs::write(&file, "").unwrap();
        let mut watch = watching(dir.path());
        std::fs::write(&file, "more").unwrap();
        assert!(!watch.changed());
        std::fs::rename(&file, dir.path().join("elsewhere")).unwrap();
        assert!(watch.changed());
        assert!(!watch.changed(), "said once");
    }

    #[test]
    fn a_directory_that_comes_again_is_watched_again() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("inner");
        std::fs::create_dir(&inner).unwrap();
        let mut watch = watching(&inner);
        std::fs::remove_dir(&inner).unwrap();
        assert!(watch.changed());
        std::fs::create_dir(&inner).unwrap();
        watch.watch(std::slice::from_ref(&inner));
        std::fs::write(inner.join("new"), "").unwrap();
        assert!(watch.changed());
    }

    #[test]
    fn one_that_is_no_longer_wanted_says_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut watch = watching(dir.path());
        watch.watch(&[]);
        std::fs::write(dir.path().join("new"), "").unwrap();
        assert!(!watch.changed());
    }
}
