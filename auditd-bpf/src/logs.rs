//! Logs that a command line names, and those that the daemon writes.

use std::fs::{self, File};
use std::io::{self, BufRead};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Context;
use output::config::FileConfig;
use output::{Format, LogSegment, OutputConfig};

use crate::config::Config;

/// What stands for standard input.
const STDIN: &str = "-";

/// The text of a log; `-` is standard input.
pub(crate) fn open(log: &Path) -> io::Result<Box<dyn BufRead>> {
    if log == Path::new(STDIN) { output::read::open(io::stdin()) } else { output::read::open(File::open(log)?) }
}

/// What messages call it.
pub(crate) fn shown(log: &Path) -> String {
    if log == Path::new(STDIN) { "standard input".to_owned() } else { log.display().to_string() }
}

/// The first file that the daemon writes and that can be read again.
fn own_log(config: &Config) -> Option<&FileConfig> {
    config.outputs.iter().find_map(|output| match output {
        OutputConfig::File(file) => matches!(file.format, Format::Json | Format::Native(_)).then_some(file),
        _ => None,
    })
}

/// The daemon's log, as the configuration has it.
pub(crate) fn configured(config: Option<&Path>) -> anyhow::Result<FileConfig> {
    let config = Config::load_to_read(config)?;
    let log = own_log(&config).context("the configuration has no file output with format json or native")?;
    Ok(log.clone())
}

/// Where logs come from when none is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unnamed {
    /// Standard input where it is a pipe, else the daemon's.
    Piped,
    /// The daemon's.
    Own,
}

/// What is given, else what is piped in, else the daemon's own.
pub(crate) fn of(input: &[PathBuf], unnamed: Unnamed, config: Option<&Path>) -> anyhow::Result<Vec<LogSegment>> {
    if !input.is_empty() {
        let given = |path| given(path).with_context(|| path.display().to_string());
        return Ok(input.iter().map(|path| given(path)).collect::<Result<Vec<_>, _>>()?.concat());
    }
    if unnamed == Unnamed::Piped && is_piped(Path::new("/proc/self/fd/0")) {
        return Ok(vec![LogSegment { path: STDIN.into(), times: None }]);
    }
    let log = configured(config)?;
    output::segments(&log).with_context(|| log.path.display().to_string())
}

fn is_piped(stdin: &Path) -> bool {
    fs::metadata(stdin).is_ok_and(|metadata| metadata.file_type().is_fifo())
}

/// A file, or the logs in a directory, in the order in which they were last written.
fn given(path: &Path) -> io::Result<Vec<LogSegment>> {
    let alone = |path: PathBuf| LogSegment { path, times: None };
    if !path.is_dir() {
        return Ok(vec![alone(path.to_owned())]);
    }
    let mut logs: Vec<(SystemTime, PathBuf)> = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let (path, metadata) = (entry.path(), entry.metadata()?);
        let is_sidecar = path.extension().is_some_and(|extension| extension == "sha256");
        if metadata.is_file() && !is_sidecar {
            logs.push((metadata.modified()?, path));
        }
    }
    logs.sort();
    Ok(logs.into_iter().map(|(_, path)| alone(path)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_of_a_directory_come_oldest_first_without_digests() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, second| {
            let file = File::create(directory.path().join(name)).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(second)).unwrap();
        };
        write("audit.log", 30);
        write("audit.log.1", 20);
        write("audit.log.2", 10);
        write("audit.log.2.sha256", 15);
        let names = given(directory.path()).unwrap().into_iter().map(|log| log.path);
        let names: Vec<_> = names.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect();
        assert_eq!(names, ["audit.log.2", "audit.log.1", "audit.log"]);
    }

    #[test]
    fn the_daemons_log_is_one_that_can_be_read() {
        let config: Config = toml::from_str(
            "[[output]]\ntype='stdout'\n[[output]]\ntype='file'\npath='/a'\nformat='cef'\n\
             [[output]]\ntype='file'\npath='/b'\nformat='native'",
        )
        .unwrap();
        assert_eq!(own_log(&config).map(|file| &*file.path), Some(Path::new("/b")));
    }
}
