//! `auditd-bpf verify`: whether logs are what was written.

use std::io::{self, Write};
use std::path::PathBuf;

use output::chain;

use crate::config::Config;
use crate::exit_code::ExitCode;

/// The same of the directories in which the daemon's logs are, where none is named.
///
/// # Errors
/// If the answer cannot be written.
pub fn run_on(named: &[PathBuf], out: &mut dyn Write, err: &mut dyn Write) -> io::Result<ExitCode> {
    if !named.is_empty() {
        return run(named, out, err);
    }
    match Config::load_to_read(None) {
        Ok(config) => run(&config.log_directories(), out, err),
        Err(error) => {
            writeln!(err, "{error}")?;
            Ok(ExitCode::BadConfiguration)
        }
    }
}

/// Tells of each directory what was removed, reordered or edited; [`ExitCode::Failure`] if anything was.
///
/// # Errors
/// If the answer cannot be written. Directories that cannot be read are told on `err`.
pub fn run(directories: &[PathBuf], out: &mut dyn Write, err: &mut dyn Write) -> io::Result<ExitCode> {
    let mut status = ExitCode::Success;
    for directory in directories {
        let report = match chain::verify(directory) {
            Ok(report) => report,
            Err(error) => {
                writeln!(err, "{}: {error}", directory.display())?;
                status = ExitCode::Failure;
                continue;
            }
        };
        for finding in &report.findings {
            writeln!(out, "{finding}")?;
        }
        // Where nothing carries a digest, nothing can be told.
        if report.heads.is_empty() {
            writeln!(err, "{}: no log with digests is here", directory.display())?;
        }
        if !report.findings.is_empty() || report.heads.is_empty() {
            status = ExitCode::Failure;
        }
        let chain::Report { segments, bytes, pending, .. } = &report;
        let verdict = match report.findings.len() {
            0 => "as written".to_owned(),
            count => format!("{count} findings"),
        };
        writeln!(out, "{}: {segments} segments, {bytes} bytes: {verdict}", directory.display())?;
        if *pending != 0 {
            writeln!(out, "{}: {pending} bytes at the end have no digest yet", directory.display())?;
        }
        for (sidecar, digest) in &report.heads {
            writeln!(out, "{digest}  {}", sidecar.display())?;
        }
    }
    Ok(status)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use output::event::{Body, Event};
    use output::{OutputConfig, Pipeline};

    use super::*;
    use crate::names::HostNames;

    fn verify(directory: &std::path::Path) -> (ExitCode, String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = run(&[directory.to_owned()], &mut out, &mut err).unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap().replace(&format!("{}", directory.display()), "DIR");
        (code, text(out), text(err))
    }

    #[test]
    fn an_edit_is_told_and_fails() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.json");
        let config = format!("type = 'file'\npath = '{}'\ncompression = 'none'", path.display());
        let config: OutputConfig = toml::from_str(&config).unwrap();
        let pipeline = Pipeline::start(&[config], "web1", Arc::new(HostNames::default())).unwrap();
        pipeline.push(Arc::new(Event { time: 1, serial: 1, body: Body::Lost(Vec::new()) }));
        pipeline.close(Duration::from_secs(9));
        let (code, out, _) = verify(directory.path());
        assert_eq!(code, ExitCode::Success);
        assert!(out.starts_with("DIR: 1 segments, ") && out.contains("bytes: as written\n"), "{out}");
        assert!(out.ends_with("  DIR/a.json.sha256\n"), "the digest to keep elsewhere: {out}");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("web1", "web2")).unwrap();
        let (code, out, _) = verify(directory.path());
        assert_eq!(code, ExitCode::Failure);
        assert!(out.starts_with("DIR/a.json: edited: not the bytes that were written\n"), "{out}");
    }

    #[test]
    fn a_directory_without_logs_is_not_as_written() {
        let directory = tempfile::tempdir().unwrap();
        let (code, _, err) = verify(directory.path());
        assert_eq!((code, &*err), (ExitCode::Failure, "DIR: no log with digests is here\n"));
        let (code, _, err) = verify(&directory.path().join("absent"));
        assert_eq!(code, ExitCode::Failure);
        assert!(err.starts_with("DIR: No such file"), "{err}");
    }
}
