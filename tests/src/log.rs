//! Reads a log while the daemon writes it.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use anyhow::{Context, Result, bail, ensure};
use flate2::bufread::GzDecoder;
use jsonschema::Validator;
use serde_json::Value;

use crate::event::Event;

static SCHEMA: LazyLock<Result<Validator, String>> = LazyLock::new(|| {
    let schema: Value =
        serde_json::from_str(include_str!("../../packaging/records.schema.json")).map_err(|error| error.to_string())?;
    jsonschema::validator_for(&schema).map_err(|error| error.to_string())
});

/// A growing file of gzip members, and the one that follows it when the daemon rotates. Every record that is read is checked against the schema.
pub struct Log {
    path: PathBuf,
    file: Option<File>,
    /// Bytes that do not make a whole member yet.
    pending: Vec<u8>,
    /// All records so far.
    pub records: Vec<Event>,
}

impl Log {
    /// A log that need not exist yet.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), file: None, pending: Vec::new(), records: Vec::new() }
    }

    /// Reads what has come.
    pub fn read(&mut self) -> Result<()> {
        loop {
            let next = match File::open(&self.path) {
                Ok(file) => Some(file),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => return Err(error).with_context(|| format!("cannot open {}", self.path.display())),
            };
            if let Some(file) = &mut self.file {
                file.read_to_end(&mut self.pending).with_context(|| format!("cannot read {}", self.path.display()))?;
            }
            let inode = |file: &Option<File>| {
                Ok::<_, io::Error>(file.as_ref().map(File::metadata).transpose()?.map(|it| it.ino()))
            };
            // Once a segment is complete another file has its name.
            if next.is_none() || inode(&next)? == inode(&self.file)? {
                break;
            }
            self.file = next;
        }
        let mut used = 0;
        while let Some((lines, length)) = member(&self.pending[used..])? {
            used += length;
            for line in lines.split_inclusive('\n') {
                self.records.push(record(line)?);
            }
        }
        self.pending.drain(..used);
        Ok(())
    }
}

/// The first member of `bytes` and its length; `None` if it is not whole.
fn member(bytes: &[u8]) -> Result<Option<(String, usize)>> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let mut decoder = GzDecoder::new(bytes);
    let mut lines = String::new();
    match decoder.read_to_string(&mut lines) {
        Ok(_) => Ok(Some((lines, bytes.len() - decoder.into_inner().len()))),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error).context("the log is broken"),
    }
}

/// One line of a log.
pub fn record(line: &str) -> Result<Event> {
    ensure!(line.ends_with('\n'), "half a line in the log: {line}");
    let value: Value = serde_json::from_str(line).with_context(|| format!("not JSON: {line}"))?;
    let schema = SCHEMA.as_ref().map_err(|error| anyhow::anyhow!("the schema is broken: {error}"))?;
    if !schema.is_valid(&value) {
        let wrong: Vec<_> =
            schema.iter_errors(&value).map(|error| format!("{} at {}", error, error.instance_path)).collect();
        bail!("not as the schema says: {}\n{line}", wrong.join("; "));
    }
    Ok(Event::new(value))
}

#[cfg(test)]
mod test {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    #[test]
    fn members_are_read_one_by_one_and_halves_left() {
        let compress = |text: &str| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(text.as_bytes()).unwrap();
            encoder.finish().unwrap()
        };
        let (first, second) = (compress("a\nb\n"), compress("c\n"));
        let both = [first.clone(), second].concat();
        assert_eq!(member(&both).unwrap(), Some(("a\nb\n".to_owned(), first.len())));
        assert_eq!(member(&both[first.len()..both.len() - 1]).unwrap(), None);
        assert_eq!(member(&[]).unwrap(), None);
        assert!(member(b"no gzip at all").is_err());
    }

    #[test]
    fn records_are_checked() {
        let lost = r#"{"time":"2026-11-24T07:04:10.123456789Z","serial":2147483648,"node":"n","schema":1,"type":"LOST","lost":1,"losses":[{"cause":"too_long","count":1}]}"#;
        assert!(record(&format!("{lost}\n")).is_ok());
        assert!(record(lost).is_err());
        assert!(record(&format!("{}\n", lost.replace("\"lost\":1,", ""))).is_err());
    }
}
