//! `auditd-bpf fmt`: rule files in one spelling.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, fchown};
use std::path::{Path, PathBuf};

use rules::Source;

use crate::exit_code::ExitCode;
use crate::rule_files;

/// What to do with the canonical form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Print it.
    Print,
    /// Tell which files are not in it.
    Check,
    /// Put it in the place of the files.
    Write,
}

/// Formats, and tells by the status whether it failed or, with [`Mode::Check`], whether a file would change.
///
/// # Errors
/// If the answer cannot be written. Files that cannot be are told on `err`.
pub fn run(paths: &[PathBuf], mode: Mode, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<ExitCode> {
    let (sources, errors) = rule_files::read_each(paths);
    for error in &errors {
        writeln!(err, "{error}")?;
    }
    let mut status = if errors.is_empty() { ExitCode::Success } else { ExitCode::Failure };
    for source in &sources {
        let formatted = rules::format(&source.text);
        let differs = formatted != source.text;
        match mode {
            Mode::Print => out.write_all(&formatted)?,
            Mode::Check if differs => {
                writeln!(out, "{}", shown(source))?;
                status = ExitCode::Failure;
            }
            Mode::Write if differs => match write(source, &formatted) {
                Ok(()) => writeln!(out, "{}", shown(source))?,
                Err(error) => {
                    writeln!(err, "cannot write {}: {error}", shown(source))?;
                    status = ExitCode::Failure;
                }
            },
            Mode::Check | Mode::Write => {}
        }
    }
    Ok(status)
}

fn shown(source: &Source) -> String {
    source.name.as_deref().unwrap_or(Path::new(rule_files::STDIN)).display().to_string()
}

/// Puts a file in the place of another whole, so that whoever reads it meanwhile reads one or the other.
fn write(source: &Source, formatted: &[u8]) -> io::Result<()> {
    let name = source.name.as_deref().filter(|name| name.is_file());
    let name = name.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "it is not a file"))?;
    // A link stays, and what it leads to is written.
    let path = fs::canonicalize(name)?;
    let directory = path.parent().unwrap_or(Path::new("/"));
    let before = fs::metadata(&path)?;
    if fs::read(&path)? != source.text {
        return Err(io::Error::other("it was changed meanwhile"));
    }
    let mut file = tempfile::Builder::new().prefix(".fmt").tempfile_in(directory)?;
    file.write_all(formatted)?;
    fchown(file.as_file(), Some(before.uid()), Some(before.gid()))?;
    file.as_file().set_permissions(before.permissions())?;
    file.as_file().sync_all()?;
    file.persist(&path)?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    const UNTIDY: &str = "# hosts\n-w  /etc/hosts -k h  -p aw\n";
    const TIDY: &str = "# hosts\n-w /etc/hosts -p wa -k h\n";

    fn fmt(path: &Path, mode: Mode) -> (ExitCode, String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let status = run(&[path.to_path_buf()], mode, &mut out, &mut err).unwrap();
        (status, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    #[test]
    fn printing_changes_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.rules");
        fs::write(&file, UNTIDY).unwrap();
        assert_eq!(fmt(&file, Mode::Print), (ExitCode::Success, TIDY.to_owned(), String::new()));
        assert_eq!(fs::read_to_string(&file).unwrap(), UNTIDY);
    }

    #[test]
    fn checking_names_what_would_change() {
        let dir = tempfile::tempdir().unwrap();
        let (untidy, tidy) = (dir.path().join("a.rules"), dir.path().join("b.rules"));
        fs::write(&untidy, UNTIDY).unwrap();
        fs::write(&tidy, TIDY).unwrap();
        let (status, out, _) = fmt(dir.path(), Mode::Check);
        assert_eq!((status, out), (ExitCode::Failure, format!("{}\n", untidy.display())));
        assert_eq!(fmt(&tidy, Mode::Check).0, ExitCode::Success);
        assert_eq!(fs::read_to_string(&untidy).unwrap(), UNTIDY);
    }

    #[test]
    fn writing_keeps_mode_and_links_and_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("a.rules"), dir.path().join("b.rules"));
        fs::write(&file, UNTIDY).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        symlink(&file, &link).unwrap();
        assert_eq!(fmt(&link, Mode::Write), (ExitCode::Success, format!("{}\n", link.display()), String::new()));
        assert_eq!(fs::read_to_string(&file).unwrap(), TIDY);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o600);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
        assert_eq!(fmt(&link, Mode::Write).1, "");
    }

    #[test]
    fn what_cannot_be_read_fails() {
        let (status, out, err) = fmt(Path::new("/nonexistent"), Mode::Check);
        assert_eq!((status, out.as_str()), (ExitCode::Failure, ""));
        assert_eq!(err, "audit rules file /nonexistent doesn't exist\n");
    }
}
