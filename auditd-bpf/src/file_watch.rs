//! Tells when names come and go in the directories that rules depend on.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use notify::event::{EventKind, ModifyKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};

/// Watches directories, not what is in the files.
pub struct FileWatch {
    watcher: Option<RecommendedWatcher>,
    directories: HashSet<PathBuf>,
    changed: Arc<AtomicBool>,
}

impl FileWatch {
    /// Watches nothing yet. Where the kernel gives no watcher, changes are not seen: said once in the log.
    #[must_use]
    pub fn new() -> Self {
        let changed = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&changed);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // An error, such as an overflow, may hide a change.
            if event.map_or(true, |event| is_about_names(event.kind)) {
                flag.store(true, Ordering::Release);
            }
        });
        let watcher =
            watcher.inspect_err(|error| tracing::error!("changes of watched files will not be followed: {error}"));
        Self { watcher: watcher.ok(), directories: HashSet::new(), changed }
    }

    /// Watches these directories, and no others.
    pub fn watch(&mut self, directories: &[PathBuf]) {
        let Some(watcher) = &mut self.watcher else { return };
        let wanted: HashSet<PathBuf> = directories.iter().cloned().collect();
        for gone in self.directories.difference(&wanted) {
            // Fails where the directory itself is gone: then the kernel has ended the watch.
            let _ = watcher.unwatch(gone);
        }
        self.directories.retain(|directory| wanted.contains(directory));
        for new in wanted {
            if !self.directories.contains(&new) && start(watcher, &new) {
                self.directories.insert(new);
            }
        }
    }

    /// Whether anything came or went since the last call.
    pub fn changed(&self) -> bool {
        self.changed.swap(false, Ordering::AcqRel)
    }
}

fn start(watcher: &mut RecommendedWatcher, directory: &Path) -> bool {
    watcher
        .watch(directory, RecursiveMode::NonRecursive)
        .inspect_err(|error| tracing::warn!("changes in {} will not be followed: {error}", directory.display()))
        .is_ok()
}

/// inotify's own reading by its listener would come back as events without end.
fn is_about_names(kind: EventKind) -> bool {
    matches!(
        kind,
        EventKind::Create(_) | EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)) | EventKind::Other
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn a_new_name_is_seen_and_writing_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("there");
        std::fs::write(&file, "").unwrap();
        let mut watch = FileWatch::new();
        watch.watch(&[dir.path().to_path_buf()]);
        std::fs::write(&file, "more").unwrap();
        std::fs::rename(&file, dir.path().join("elsewhere")).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while !watch.changed() {
            assert!(Instant::now() < deadline, "a rename was not seen");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
