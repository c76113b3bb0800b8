//! Can this host do it? Found out by trying, never by the kernel's version.
//!
//! [`probe`] tries, [`Report`] is the answer: a table for people, JSON for programs, and, where the full mode is not
//! possible, the [`Refusal`] with which the daemon ends.

mod probes;

use std::fmt::{self, Write as _};

use serde::Serialize;

use crate::exit_code::ExitCode;
use crate::mode::Mode;

pub use probes::{likely_mode, probe, require_root};

/// What a probe found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// It is there.
    Yes,
    /// It is not there.
    No,
    /// Could not be found out, because something before is missing.
    NotTried,
}

/// What depends on a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Need {
    /// Every mode.
    Required,
    /// Modes lsm and observe.
    Tracing,
    /// Mode lsm.
    Lsm,
    /// Mode observe.
    Observe,
    /// Mode syscall.
    Syscall,
    /// Something smaller, which the detail names.
    Optional,
}

impl Need {
    const fn is_of(self, mode: Mode) -> bool {
        matches!(
            (self, mode),
            (Self::Required, _)
                | (Self::Tracing, Mode::Lsm | Mode::Observe)
                | (Self::Lsm, Mode::Lsm)
                | (Self::Observe, Mode::Observe)
                | (Self::Syscall, Mode::Syscall)
        )
    }
}

/// One thing that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Probe {
    /// What.
    pub name: &'static str,
    /// What depends on it.
    pub need: Need,
    /// Whether it is there.
    pub answer: Answer,
    /// What was seen.
    pub detail: String,
    /// What to do about a `No`: one sentence.
    pub remedy: Option<String>,
}

/// All that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Name and version of the kernel, for the reader: nothing depends on it.
    pub kernel: String,
    /// The mode that the configuration asks for; `None` for the best.
    pub wanted: Option<Mode>,
    /// In the order tried.
    pub probes: Vec<Probe>,
    /// Hooks that this kernel does not have; rules that need one cannot be honoured. Empty where that could not be found
    /// out.
    pub absent_hooks: Vec<&'static str>,
}

/// Why the daemon does not start here: what, why, and what to do, in one paragraph.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot audit on this host ({kernel}): {why}. What to do: {remedies}. `auditd-bpf doctor` shows every check")]
pub struct Refusal {
    kernel: String,
    why: String,
    remedies: String,
    exit_code: ExitCode,
}

impl Refusal {
    /// The status to end with.
    #[must_use]
    pub const fn exit_code(&self) -> ExitCode {
        self.exit_code
    }
}

impl Probe {
    fn new(name: &'static str, answer: Answer, detail: impl Into<String>) -> Self {
        Self { name, need: Need::Required, answer, detail: detail.into(), remedy: None }
    }

    fn yes(name: &'static str, detail: impl Into<String>) -> Self {
        Self::new(name, Answer::Yes, detail)
    }

    fn no(name: &'static str, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..Self::new(name, Answer::No, detail) }
    }

    fn not_tried(name: &'static str, because: &str) -> Self {
        Self::new(name, Answer::NotTried, format!("not tried: {because}"))
    }

    fn needed_for(self, need: Need) -> Self {
        Self { need, ..self }
    }

    /// Causes of many lines, as the verifier's, begin with the one that tells.
    fn headline(&self) -> &str {
        self.detail.lines().next().unwrap_or_default()
    }
}

impl Report {
    /// The mode: what is wanted, or the best that is possible. `None` if it is not possible.
    #[must_use]
    pub fn mode(&self) -> Option<Mode> {
        let fits = |mode: &Mode| self.obstacles(*mode).next().is_none();
        match self.wanted {
            Some(wanted) => Some(wanted).filter(fits),
            None => [Mode::Lsm, Mode::Observe, Mode::Syscall].into_iter().find(fits),
        }
    }

    /// Every probe that failed of what a mode needs. What is not tried, as something before is missing, stands in its way too.
    fn obstacles(&self, mode: Mode) -> impl Iterator<Item = &Probe> {
        self.probes.iter().filter(move |probe| probe.need.is_of(mode) && probe.answer != Answer::Yes)
    }

    /// Why the mode is not the full one. `None` where it is.
    #[must_use]
    pub fn why(&self) -> Option<String> {
        if self.mode() == Some(Mode::Lsm) {
            return None;
        }
        if let Some(wanted) = self.wanted.filter(|wanted| self.mode() == Some(*wanted)) {
            return Some(format!("the configuration asks for mode {}", wanted.name()));
        }
        let reasons = self.failed().map(|probe| format!("{}: {}", probe.name, probe.headline()));
        Some(reasons.collect::<Vec<_>>().join("; "))
    }

    /// The mode, or the paragraph to refuse with where none is possible.
    ///
    /// # Errors
    /// If none is possible.
    pub fn require_mode(&self) -> Result<Mode, Refusal> {
        let exit_code = self.exit_code();
        let refusal = || Refusal {
            kernel: self.kernel.clone(),
            why: self.why().unwrap_or_default(),
            remedies: self.remedies(),
            exit_code,
        };
        self.mode().ok_or_else(refusal)
    }

    /// Whether the first check found root.
    fn require_root(&self) -> Result<(), Refusal> {
        let is_root = self.failed().all(|probe| probe.name != probes::ROOT);
        if is_root { Ok(()) } else { self.require_mode().map(|_| ()) }
    }

    /// What to do about all that stands in the way of the full mode.
    #[must_use]
    pub fn remedies(&self) -> String {
        let mut remedies: Vec<&str> = self.failed().filter_map(|probe| probe.remedy.as_deref()).collect();
        remedies.dedup();
        remedies.join("; ")
    }

    /// The status that `doctor` ends with.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self.mode() {
            Some(_) => ExitCode::Success,
            None => match self.failed().next() {
                Some(probe) if probe.name == probes::ROOT => ExitCode::NotRoot,
                _ => ExitCode::UnfitHost,
            },
        }
    }

    /// Whether this kernel is known to lack a hook.
    #[must_use]
    pub fn lacks_hook(&self, hook: &str) -> bool {
        self.absent_hooks.contains(&hook)
    }

    /// One object: `mode`, `why` if the mode is not `lsm`, `kernel`, `probes`, `absent_hooks`.
    ///
    /// # Errors
    /// None in practice: all of it is text.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        #[derive(Serialize)]
        struct Shown<'a> {
            mode: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            why: Option<String>,
            kernel: &'a str,
            probes: &'a [Probe],
            absent_hooks: &'a [&'static str],
        }
        let Self { kernel, probes, absent_hooks, .. } = self;
        let mode = self.mode().map_or("none", Mode::name);
        serde_json::to_string_pretty(&Shown { mode, why: self.why(), kernel, probes, absent_hooks })
    }

    /// What is missing for the mode wanted, or for the full one.
    fn failed(&self) -> impl Iterator<Item = &Probe> {
        self.obstacles(self.wanted.unwrap_or(Mode::Lsm)).filter(|probe| probe.answer == Answer::No)
    }
}

/// The table, and the conclusion below it.
impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.probes.iter().map(|probe| probe.name.len()).max().unwrap_or_default();
        writeln!(out, "{}\n", self.kernel)?;
        for probe in &self.probes {
            let answer = match (probe.answer, probe.need) {
                (Answer::Yes, _) => "yes",
                (Answer::No, Need::Optional) => "no",
                (Answer::No, _) => "NO",
                (Answer::NotTried, _) => "-",
            };
            let mut row = format!("{answer:<4} {:<width$}  ", probe.name);
            let indent = row.len();
            let mut lines = probe.detail.lines();
            write!(row, "{}", lines.next().unwrap_or_default())?;
            writeln!(out, "{}", row.trim_end())?;
            for line in lines {
                writeln!(out, "{:indent$}{line}", "")?;
            }
            if let Some(remedy) = &probe.remedy {
                writeln!(out, "{:indent$}-> {remedy}", "")?;
            }
        }
        let why = self.why().unwrap_or_default();
        let Some(mode) = self.mode() else { return write!(out, "\nno mode is possible: {why}") };
        write!(out, "\nmode {}: {}", mode.name(), mode.meaning())?;
        if mode == Mode::Lsm {
            return Ok(());
        }
        write!(out, "\nnot mode lsm, because {why}")?;
        if self.wanted.is_none() { write!(out, "\nto get there: {}", self.remedies()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(probes: Vec<Probe>) -> Report {
        Report { kernel: "Linux 6.12 x86_64".to_owned(), wanted: None, probes, absent_hooks: Vec::new() }
    }

    fn old_kernel() -> Report {
        report(vec![
            Probe::yes(probes::ROOT, ""),
            Probe::no("task storage", "the kernel has no such map type", "boot a newer kernel"),
            Probe::no("bpf_loop", "the kernel has no such helper", "boot a newer kernel"),
            Probe::not_tried("LSM program", "maps are missing"),
            Probe::no("bpffs", "not mounted", "mount it").needed_for(Need::Optional),
        ])
    }

    #[test]
    fn a_fit_host() {
        let fit = report(vec![
            Probe::yes(probes::ROOT, ""),
            Probe::no("bpffs", "not mounted", "mount it").needed_for(Need::Optional),
        ]);
        assert_eq!((fit.mode(), fit.why(), fit.require_mode()), (Some(Mode::Lsm), None, Ok(Mode::Lsm)));
        assert_eq!(fit.exit_code(), ExitCode::Success);
        let json: serde_json::Value = serde_json::from_str(&fit.to_json().unwrap()).unwrap();
        assert_eq!(json["mode"], "lsm");
        assert!(json.get("why").is_none());
        assert_eq!(json["probes"][1]["answer"], "no");
        assert_eq!(json["probes"][1]["need"], "optional");
    }

    #[test]
    fn an_unfit_host_is_told_what_is_missing_and_what_to_do() {
        let report = old_kernel();
        assert_eq!((report.mode(), report.exit_code()), (None, ExitCode::UnfitHost));
        let refusal = report.require_mode().unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "cannot audit on this host (Linux 6.12 x86_64): task storage: the kernel has no such map type; \
             bpf_loop: the kernel has no such helper. What to do: boot a newer kernel. \
             `auditd-bpf doctor` shows every check"
        );
        assert_eq!(refusal.exit_code(), ExitCode::UnfitHost);
        let json: serde_json::Value = serde_json::from_str(&report.to_json().unwrap()).unwrap();
        assert_eq!(json["mode"], "none");
        assert!(json["why"].as_str().unwrap().starts_with("task storage: "));
        assert_eq!(json["probes"][3]["answer"], "not-tried");
    }

    #[test]
    fn the_table() {
        let expected = "\
Linux 6.12 x86_64

yes  root
NO   task storage  the kernel has no such map type
                   -> boot a newer kernel
NO   bpf_loop      the kernel has no such helper
                   -> boot a newer kernel
-    LSM program   not tried: maps are missing
no   bpffs         not mounted
                   -> mount it

no mode is possible: task storage: the kernel has no such map type; bpf_loop: the kernel has no such helper";
        assert_eq!(old_kernel().to_string(), expected);
    }

    #[test]
    fn the_best_mode_that_is_possible() {
        let probes = |lsm, fexit, fentry, raw| {
            let probe = |name, need, yes| {
                let probe = if yes { Probe::yes(name, "") } else { Probe::no(name, "refused", format!("mend {name}")) };
                probe.needed_for(need)
            };
            vec![
                Probe::yes(probes::ROOT, ""),
                probe("LSM program", Need::Lsm, lsm),
                probe("fexit program", Need::Tracing, fexit),
                probe("fentry program", Need::Observe, fentry),
                probe("raw tracepoint", Need::Syscall, raw),
            ]
        };
        let mode = |lsm, fexit, fentry, raw| report(probes(lsm, fexit, fentry, raw)).mode();
        assert_eq!(mode(true, true, true, true), Some(Mode::Lsm));
        assert_eq!(mode(false, true, true, true), Some(Mode::Observe));
        assert_eq!(mode(false, true, false, true), Some(Mode::Syscall));
        assert_eq!(mode(true, false, true, true), Some(Mode::Syscall));
        assert_eq!(mode(false, false, false, false), None);

        let observe = report(probes(false, true, true, true));
        assert_eq!(observe.exit_code(), ExitCode::Success);
        let text = observe.to_string();
        assert!(text.contains("\nmode observe: "), "{text}");
        assert!(text.ends_with("not mode lsm, because LSM program: refused\nto get there: mend LSM program"), "{text}");

        let wanted = Report { wanted: Some(Mode::Lsm), ..observe };
        assert_eq!(wanted.mode(), None);
        assert!(wanted.require_mode().unwrap_err().to_string().contains("LSM program: refused"));
    }

    #[test]
    fn not_root_has_its_own_status() {
        let report =
            report(vec![Probe::no(probes::ROOT, "uid 1000", "run it as root"), Probe::not_tried("maps", "not root")]);
        assert_eq!(report.require_mode().unwrap_err().exit_code(), ExitCode::NotRoot);
    }

    #[test]
    fn a_verifier_log_stays_out_of_the_one_line_reason() {
        let report = report(vec![Probe::no("LSM program", "refused: EACCES\nR1 invalid\nR2 invalid", "report it")]);
        assert_eq!(report.why().as_deref(), Some("LSM program: refused: EACCES"));
        assert!(report.to_string().contains("\n                  R2 invalid\n"));
    }
}
