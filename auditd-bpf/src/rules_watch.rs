//! Tells when the rules on disk have changed and then been left alone for a while.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};

/// So long nothing may happen before the rules are read: editors and package managers write in several steps.
pub const QUIET: Duration = Duration::from_secs(1);

/// Watches a rule file, or a directory of `*.rules`.
pub struct RulesWatch {
    /// Dropped, it ends the watch.
    _watcher: RecommendedWatcher,
    changed: Arc<Mutex<Option<Instant>>>,
}

impl RulesWatch {
    /// Watches from now on.
    ///
    /// # Errors
    /// If the kernel gives no watch.
    pub fn start(rules: &Path) -> notify::Result<Self> {
        let changed: Arc<Mutex<Option<Instant>>> = Arc::default();
        let last = Arc::clone(&changed);
        let file = (!rules.is_dir()).then(|| rules.to_path_buf());
        // A file that is replaced is another one: its directory tells.
        let directory = match &file {
            Some(file) => file.parent().unwrap_or(Path::new("/")).to_path_buf(),
            None => rules.to_path_buf(),
        };
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // An error, such as an overflow, may hide a change.
            if event.map_or(true, |event| concerns_rules(&event, file.as_deref())) {
                *last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
            }
        })?;
        watcher.watch(&directory, RecursiveMode::NonRecursive)?;
        Ok(Self { _watcher: watcher, changed })
    }

    /// Whether there was a change that [`QUIET`] has followed; said once.
    pub fn settled(&self) -> bool {
        let mut changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        let settled = changed.is_some_and(|last| last.elapsed() >= QUIET);
        if settled {
            *changed = None;
        }
        settled
    }
}

/// Reading the rules is an event too, and must not count.
fn concerns_rules(event: &notify::Event, file: Option<&Path>) -> bool {
    let writes = match event.kind {
        EventKind::Create(_) | EventKind::Remove(_) | EventKind::Other => true,
        EventKind::Access(AccessKind::Close(mode)) => mode == AccessMode::Write,
        EventKind::Modify(kind) => !matches!(kind, ModifyKind::Other),
        EventKind::Access(_) | EventKind::Any => false,
    };
    let is_rules = |path: &PathBuf| match file {
        Some(file) => path == file,
        None => path.extension().is_some_and(|extension| extension == "rules"),
    };
    writes && (event.paths.is_empty() || event.paths.iter().any(is_rules))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settles(watch: &RulesWatch) -> bool {
        let deadline = Instant::now() + QUIET * 3;
        while Instant::now() < deadline {
            if watch.settled() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }

    #[test]
    fn an_edit_settles_once_and_reading_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("10.rules");
        std::fs::write(&file, "-D\n").unwrap();
        let watch = RulesWatch::start(dir.path()).unwrap();
        std::fs::read(&file).unwrap();
        std::fs::write(dir.path().join("10.rules~"), "").unwrap();
        assert!(!settles(&watch), "nothing about rules was changed");
        std::fs::write(&file, "-D\n-b 1\n").unwrap();
        assert!(!watch.settled(), "it must wait for quiet");
        assert!(settles(&watch));
        assert!(!watch.settled(), "said once");
    }

    #[test]
    fn a_single_file_may_be_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("my.conf");
        std::fs::write(&file, "-D\n").unwrap();
        let watch = RulesWatch::start(&file).unwrap();
        std::fs::write(dir.path().join("new"), "-D\n-b 1\n").unwrap();
        std::fs::rename(dir.path().join("new"), &file).unwrap();
        assert!(settles(&watch));
    }
}
