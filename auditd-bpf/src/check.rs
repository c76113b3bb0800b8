//! `auditd-bpf check`: everything that is wrong with rule files, without a daemon, without root, without loading anything.

use std::io::{self, Write};
use std::path::PathBuf;

use rules::{Diagnostic, Dialect, Host, Listing, Plan, RuleSet, Severity};
use serde::Serialize;

use crate::exit_code::ExitCode;
use crate::rule_files::{self, RuleFileError};

/// What `check` prints on standard output. Findings for people go to standard error in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Nothing.
    Findings,
    /// Findings as a JSON array.
    Json,
    /// What `auditctl -l` would print if the rules were loaded.
    List(Dialect),
    /// The same with `-i`.
    Interpreted(Dialect),
}

/// Rules as far as they are right, and what is wrong with the rest.
pub struct Checked {
    /// Rules of every line without an error.
    pub ruleset: RuleSet,
    /// Files that are not read.
    pub file_errors: Vec<RuleFileError>,
    /// Errors and warnings about lines.
    pub diagnostics: Vec<Diagnostic>,
}

/// One finding in `--json`.
#[derive(Serialize)]
struct Finding<'a> {
    /// `null` if the rule was not read from a file.
    file: Option<String>,
    /// 1-based; `null` for findings about a whole file.
    line: Option<u32>,
    /// 1-based, in characters; `null` for findings about a whole file.
    column: Option<usize>,
    severity: &'static str,
    code: &'static str,
    message: String,
    hint: Option<&'a str>,
}

impl Checked {
    /// Reads and checks.
    #[must_use]
    pub fn read(paths: &[PathBuf], host: &dyn Host) -> Self {
        let (sources, file_errors) = rule_files::read_each(paths);
        let parsed = rules::parse(&sources, host);
        Self { ruleset: parsed.ruleset, file_errors, diagnostics: parsed.diagnostics }
    }

    /// How many errors.
    #[must_use]
    pub fn errors(&self) -> usize {
        self.file_errors.len() + self.count(Severity::Error)
    }

    /// Prints all findings for people, and how many there are.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn print(&self, err: &mut dyn Write) -> io::Result<()> {
        for error in &self.file_errors {
            writeln!(err, "{error}")?;
        }
        for diagnostic in &self.diagnostics {
            writeln!(err, "{diagnostic}")?;
        }
        let rules = counted(self.ruleset.len(), "rule");
        let errors = counted(self.errors(), "error");
        writeln!(err, "{rules}, {errors}, {}", counted(self.count(Severity::Warning), "warning"))
    }

    fn print_json(&self, out: &mut dyn Write) -> io::Result<()> {
        let findings = self.file_errors.iter().map(Finding::about_file);
        let findings: Vec<_> = findings.chain(self.diagnostics.iter().map(Finding::about_line)).collect();
        serde_json::to_writer_pretty(&mut *out, &findings)?;
        writeln!(out)
    }

    fn count(&self, severity: Severity) -> usize {
        self.diagnostics.iter().filter(|diagnostic| diagnostic.severity == severity).count()
    }
}

impl<'a> Finding<'a> {
    fn about_file(error: &RuleFileError) -> Self {
        Self {
            file: Some(error.path().to_string_lossy().into_owned()),
            line: None,
            column: None,
            severity: "error",
            code: "bad-file",
            message: error.to_string(),
            hint: None,
        }
    }

    fn about_line(diagnostic: &'a Diagnostic) -> Self {
        let origin = &diagnostic.line.origin;
        Self {
            file: origin.file.as_ref().map(|file| file.to_string_lossy().into_owned()),
            line: Some(origin.line),
            column: Some(diagnostic.column()),
            severity: if diagnostic.severity == Severity::Error { "error" } else { "warning" },
            code: diagnostic.code.name(),
            message: diagnostic.message.clone(),
            hint: diagnostic.hint.as_deref(),
        }
    }
}

/// Checks, prints, and tells by the status whether there is an error.
///
/// # Errors
/// If the answer cannot be written.
pub fn run(
    paths: &[PathBuf],
    output: Output,
    host: &dyn Host,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<ExitCode> {
    let mut checked = Checked::read(paths, host);
    // A list is what auditctl would make of the rules, so it asks nothing of this engine.
    if matches!(output, Output::Findings | Output::Json) {
        checked.diagnostics.extend(Plan::compile(&checked.ruleset).err().unwrap_or_default());
    }
    let fails = checked.errors() > 0;
    match output {
        Output::Findings => checked.print(err)?,
        Output::Json => checked.print_json(out)?,
        Output::List(dialect) | Output::Interpreted(dialect) => {
            if fails {
                checked.print(err)?;
            } else {
                checked.diagnostics.iter().try_for_each(|warning| writeln!(err, "{warning}"))?;
                let interpret = matches!(output, Output::Interpreted(_));
                out.write_all(&checked.ruleset.list(&Listing { dialect, interpret, key: None }))?;
            }
        }
    }
    Ok(if fails { ExitCode::Failure } else { ExitCode::Success })
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rules::NoHost;

    use super::*;

    const RULES: &str = "-w /etc/passwd -p wa -k id\n-a always,exit -F arch=b64 -S opne -F uid=0\n-w passwd -p w\n";

    /// Status, standard output and standard error; the file's path is replaced by `R`.
    fn check(text: &str, output: Output) -> (ExitCode, String, String) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.rules");
        fs::write(&file, text).unwrap();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let status = run(std::slice::from_ref(&file), output, &NoHost, &mut out, &mut err).unwrap();
        let shown = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace(&file.display().to_string(), "R");
        (status, shown(out), shown(err))
    }

    #[test]
    fn all_errors_with_their_places() {
        let (status, out, err) = check(RULES, Output::Findings);
        assert_eq!((status, out.as_str()), (ExitCode::Failure, ""));
        assert!(err.starts_with("R:2:31: error: "), "{err}");
        assert!(err.contains("did you mean `open`?"), "{err}");
        assert!(err.contains("\nR:3:4: error: "), "{err}");
        assert!(err.ends_with("\n1 rule, 2 errors, 0 warnings\n"), "{err}");
    }

    #[test]
    fn json_has_every_part_of_a_finding() {
        let (status, out, err) = check(RULES, Output::Json);
        assert_eq!((status, err.as_str()), (ExitCode::Failure, ""));
        let findings: serde_json::Value = serde_json::from_str(&out).unwrap();
        let first = &findings[0];
        assert_eq!((&first["file"], &first["line"], &first["column"]), (&"R".into(), &2.into(), &31.into()));
        assert_eq!((&first["severity"], &first["code"]), (&"error".into(), &"unknown-syscall".into()));
        assert_eq!(first["hint"], "did you mean `open`?");
        assert!(first["message"].as_str().is_some_and(|message| !message.is_empty()));
        assert_eq!(check("", Output::Json).1, "[]\n");
    }

    #[test]
    fn files_that_are_not_read_are_findings_too() {
        let paths = ["/nonexistent/a.rules".into(), "/dev/null".into()];
        let (mut out, mut err) = (Vec::new(), Vec::new());
        assert_eq!(run(&paths, Output::Json, &NoHost, &mut out, &mut err).unwrap(), ExitCode::Failure);
        let findings: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(findings[0]["message"], "audit rules file /nonexistent/a.rules doesn't exist");
        assert_eq!(findings[0]["line"], serde_json::Value::Null);
        assert_eq!(findings.as_array().unwrap().len(), 2);
    }

    #[test]
    fn the_list_is_auditctls() {
        let (status, out, err) = check("-w /etc/passwd -p wa -k id\n", Output::List(Dialect::V4));
        assert_eq!((status, err.as_str()), (ExitCode::Success, ""));
        assert_eq!(out, "-w /etc/passwd -p wa -k id\n");
        assert_eq!(check("# none\n", Output::List(Dialect::V3)).1, "No rules\n");
        let unset = "-a always,exit -F arch=b64 -S open -F auid=unset\n";
        let interpreted = "-a always,exit -F arch=x86_64 -S open -F auid=unset\n";
        assert_eq!(check(unset, Output::Interpreted(Dialect::V4)).1, interpreted);
        // With an error nothing would be loaded, so nothing is listed.
        let (status, out, err) = check(RULES, Output::List(Dialect::V4));
        assert_eq!((status, out.as_str()), (ExitCode::Failure, ""));
        assert!(err.contains("2 errors"));
    }

    #[test]
    fn what_this_engine_cannot_do_is_an_error_but_in_a_list() {
        let label = "-a always,exit -F arch=b64 -S open -F subj_role=a_r\n";
        let (status, _, err) = check(label, Output::Findings);
        assert_eq!(status, ExitCode::Failure);
        assert!(err.starts_with("R:1:39: error: ") && err.contains("[unsupported]"), "{err}");
        let (status, out, _) = check(label, Output::List(Dialect::V4));
        assert_eq!(
            (status, out.as_str()),
            (ExitCode::Success, "-a always,exit -F arch=b64 -S open -F subj_role=a_r\n")
        );
    }

    #[test]
    fn warnings_are_no_failure() {
        let twice = "-a always,exit -F arch=b64 -S open -k a\n-a always,exit -F arch=b64 -S open -F uid=0 -k b\n";
        let (status, _, err) = check(twice, Output::Findings);
        assert_eq!(status, ExitCode::Success);
        assert!(err.ends_with("2 rules, 0 errors, 1 warning\n"), "{err}");
    }
}
