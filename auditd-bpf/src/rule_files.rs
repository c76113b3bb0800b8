//! Rule files: which ones a path means, in what order, and which are not to be trusted.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rules::Source;

use crate::version_order;

/// Where rules are looked for when nothing else is said.
pub const DEFAULT_RULES: &str = "/etc/audit/rules.d";

/// Stands for standard input where files are named.
pub const STDIN: &str = "-";

/// How standard input is called in diagnostics.
const STDIN_NAME: &str = "<stdin>";

/// Why a rule file is not read. The words are auditctl's where it has any.
#[derive(Debug, thiserror::Error)]
pub enum RuleFileError {
    /// There is no such file or directory.
    #[error("audit rules file {} doesn't exist", path.display())]
    Missing {
        /// Which.
        path: PathBuf,
    },
    /// The system does not let it be read.
    #[error("Error opening {} ({source}); {advice}", path.display(), advice = advice(source))]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Anybody could change it.
    #[error("Error - {} is world writable; `chmod o-w` it after a look at what it contains", path.display())]
    WorldWritable {
        /// Which.
        path: PathBuf,
    },
    /// A device, FIFO, socket or directory.
    #[error("Error - {} is not a regular file", path.display())]
    NotRegular {
        /// Which.
        path: PathBuf,
    },
}

impl RuleFileError {
    /// The file it is about.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Missing { path }
            | Self::Unreadable { path, .. }
            | Self::WorldWritable { path }
            | Self::NotRegular { path } => path,
        }
    }

    fn io(path: &Path, source: io::Error) -> Self {
        let path = path.to_path_buf();
        if source.kind() == io::ErrorKind::NotFound {
            Self::Missing { path }
        } else {
            Self::Unreadable { path, source }
        }
    }
}

fn advice(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::PermissionDenied => "run as root, or make it readable for this user",
        _ => "no rule was loaded",
    }
}

/// Reads files, directories (their `*.rules` in the order of augenrules) and standard input (`-`), in the order given.
///
/// # Errors
/// Everything that is wrong with any of them: rules are loaded whole or not at all.
pub fn read(paths: &[PathBuf]) -> Result<Vec<Source>, Vec<RuleFileError>> {
    let (sources, errors) = read_each(paths);
    if errors.is_empty() { Ok(sources) } else { Err(errors) }
}

/// [`read`] for those who only look: what can be read, and what is wrong with the rest.
#[must_use]
pub fn read_each(paths: &[PathBuf]) -> (Vec<Source>, Vec<RuleFileError>) {
    let mut sources = Vec::new();
    let mut errors = Vec::new();
    for path in paths {
        match files(path) {
            Ok(files) => {
                for file in files {
                    match read_file(&file) {
                        Ok(source) => sources.push(source),
                        Err(error) => errors.push(error),
                    }
                }
            }
            Err(error) => errors.push(error),
        }
    }
    (sources, errors)
}

/// The file itself, or the rule files of a directory.
fn files(path: &Path) -> Result<Vec<PathBuf>, RuleFileError> {
    if path == Path::new(STDIN) || !path.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let listing = fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let entries = listing.map_err(|source| RuleFileError::io(path, source))?;
    let mut names: Vec<_> = entries.into_iter().map(|entry| entry.file_name()).collect();
    // What editors leave behind (`.#10.rules`) is not taken, as the shell's `*.rules` would not.
    names.retain(|name| name.as_bytes().ends_with(b".rules") && !name.as_bytes().starts_with(b"."));
    names.sort_by(|a, b| version_order::compare(a.as_bytes(), b.as_bytes()));
    Ok(names.into_iter().map(|name| path.join(name)).collect())
}

/// Reads one file that `auditctl -R` names.
///
/// # Errors
/// If it is missing, unreadable, no regular file, or anybody could change it.
pub fn read_one(path: &Path) -> Result<Source, RuleFileError> {
    let mut text = Vec::new();
    open_trusted(path)?.read_to_end(&mut text).map_err(|source| RuleFileError::io(path, source))?;
    Ok(Source { name: Some(path.to_path_buf()), text })
}

fn read_file(path: &Path) -> Result<Source, RuleFileError> {
    if path == Path::new(STDIN) {
        let mut text = Vec::new();
        let read = io::stdin().lock().read_to_end(&mut text);
        read.map_err(|source| RuleFileError::io(Path::new(STDIN_NAME), source))?;
        return Ok(Source { name: Some(PathBuf::from(STDIN_NAME)), text });
    }
    read_one(path)
}

/// Opens a file that only trusted users can change. What is checked is the open file, so that it cannot be exchanged in
/// between.
fn open_trusted(path: &Path) -> Result<File, RuleFileError> {
    // Nonblocking, or a FIFO would make us wait for its writer.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    let file = file.map_err(|source| RuleFileError::io(path, source))?;
    let metadata = file.metadata().map_err(|source| RuleFileError::io(path, source))?;
    if metadata.mode() & libc::S_IWOTH != 0 && !metadata.is_dir() {
        return Err(RuleFileError::WorldWritable { path: path.to_path_buf() });
    }
    if !metadata.is_file() {
        return Err(RuleFileError::NotRegular { path: path.to_path_buf() });
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn message(path: &Path) -> String {
        let errors = read(&[path.to_path_buf()]).unwrap_err();
        assert_eq!(errors.len(), 1);
        errors[0].to_string()
    }

    #[test]
    fn a_directory_means_its_rule_files_in_natural_order() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["100-last.rules", "9-b.rules", "10-c.rules", "9-a.rules", ".#9-a.rules", "README", "x.rules.save"]
        {
            fs::write(dir.path().join(name), name).unwrap();
        }
        let sources = read(&[dir.path().to_path_buf()]).unwrap();
        let texts: Vec<_> = sources.iter().map(|source| String::from_utf8_lossy(&source.text).into_owned()).collect();
        assert_eq!(texts, ["9-a.rules", "9-b.rules", "10-c.rules", "100-last.rules"]);
        assert_eq!(sources[0].name, Some(dir.path().join("9-a.rules")));
    }

    #[test]
    fn refusals_are_worded_as_auditctl_does() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("no.rules");
        assert_eq!(message(&missing), format!("audit rules file {} doesn't exist", missing.display()));
        let open_to_all = dir.path().join("1.rules");
        fs::write(&open_to_all, "").unwrap();
        fs::set_permissions(&open_to_all, fs::Permissions::from_mode(0o666)).unwrap();
        assert!(message(&open_to_all).starts_with(&format!("Error - {} is world writable", open_to_all.display())));
        // Also where it is one file among many.
        assert!(message(dir.path()).contains("1.rules is world writable"));
    }

    #[test]
    fn what_is_not_a_file_is_refused_without_waiting() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo.rules");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRUSR).unwrap();
        assert_eq!(message(&fifo), format!("Error - {} is not a regular file", fifo.display()));
        let socket = dir.path().join("socket.rules");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert!(message(&socket).starts_with("Error opening "));
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        let errors = read(&["/nonexistent/a".into(), "/dev/null".into(), "/nonexistent/b".into()]).unwrap_err();
        assert_eq!(errors.len(), 3);
        assert_eq!(errors[2].path(), Path::new("/nonexistent/b"));
    }
}
