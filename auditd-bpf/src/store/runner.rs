//! Command lines of auditctl, carried out on a copy of the rules and settings.

use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::Arc;

use rules::{Code, Control, Dialect, Host, Line, Loader, Plan, Rule, RuleSet, Severity, print};

use super::{BACKLOG_WAIT_TIME_MAX, Change, Facts, IMMUTABLE, Outcome, Settings, Store, What, differences};
use crate::control::protocol::{self, Answer, ErrorKind, Ran, Run, Said, Status, Text};

impl Store {
    /// Carries out command lines on a copy. A file that begins with `-D` is one whole: it succeeds, or nothing of it does.
    #[must_use]
    pub fn run(&self, run: &Run, host: &dyn Host, facts: Facts) -> Outcome {
        let mut runner = Runner::new(self, host, facts);
        if run.file.is_some() && self.is_locked() {
            runner.refuse_file();
        } else {
            runner.lines(run);
        }
        let mut outcome = runner.outcome;
        if run.file.is_some() && begins_with_delete_all(run) {
            if outcome.ran.stopped {
                outcome.take_back(self);
            } else {
                // What is there again was never gone.
                outcome.changes.retain(|change| !change.done || !is_rule(&change.what));
                outcome.changes.splice(0..0, differences(&self.rules, &outcome.store.rules));
            }
        }
        outcome
    }
}

fn is_rule(what: &What) -> bool {
    matches!(what, What::AddRule(_) | What::RemoveRule(_))
}

fn begins_with_delete_all(run: &Run) -> bool {
    let mut lines = run.lines.iter().map(|line| rules::words(&line.text.0)).filter(|words| !words.is_empty());
    lines.next().is_some_and(|words| words.len() == 1 && words[0].bytes == b"-D")
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum OnError {
    Stop,
    Continue,
    Ignore,
}

struct Runner<'a> {
    host: &'a dyn Host,
    facts: Facts,
    on_error: OnError,
    outcome: Outcome,
}

/// A line that failed. It has said why.
struct Failed;

impl Outcome {
    /// Nothing of what was done is done; what was refused stays refused.
    fn take_back(&mut self, store: &Store) {
        self.store = store.clone();
        self.affects_kernel = false;
        self.resets_lost = false;
        self.confirms = false;
        self.changes.retain(|change| !change.done);
        if let Some(Said::Error { hint, .. }) = self.ran.answers.last_mut().map(|answer| &mut answer.said) {
            let kept = "nothing of the file was loaded; the rules in force stay";
            *hint = Some(hint.take().map_or_else(|| kept.to_owned(), |hint| format!("{hint}; {kept}")));
        }
    }
}

impl<'a> Runner<'a> {
    fn new(store: &Store, host: &'a dyn Host, facts: Facts) -> Self {
        let outcome = Outcome {
            store: store.clone(),
            affects_kernel: false,
            resets_lost: false,
            confirms: false,
            changes: Vec::new(),
            ran: Ran::default(),
        };
        Self { host, facts, on_error: OnError::Stop, outcome }
    }

    fn lines(&mut self, run: &Run) {
        let file = run.file.as_ref().map(|name| PathBuf::from(std::ffi::OsString::from_vec(name.0.clone())));
        for protocol::Line { number, text } in &run.lines {
            let origin = rules::Origin { file: file.clone(), line: *number };
            let line = Arc::new(Line { origin, text: text.0.clone() });
            if self.line(&line).is_ok() {
                continue;
            }
            match self.on_error {
                OnError::Stop => {
                    self.outcome.ran.stopped = true;
                    return;
                }
                OnError::Continue => self.outcome.ran.failed = true,
                OnError::Ignore => {}
            }
        }
    }

    fn refuse_file(&mut self) {
        self.outcome.ran.stopped = true;
        self.changed(What::Locked("add_rule"), false);
        self.say(0, Said::Error { kind: ErrorKind::Immutable, message: IMMUTABLE.to_owned(), hint: None });
    }

    fn say(&mut self, line: u32, said: Said) {
        self.outcome.ran.answers.push(Answer { line, said });
    }

    fn changed(&mut self, what: What, done: bool) {
        self.outcome.changes.push(Change { what, done });
    }

    fn fail(&mut self, line: &Line, kind: ErrorKind, message: impl Into<String>, hint: Option<String>) -> Failed {
        self.say(line.origin.line, Said::Error { kind, message: message.into(), hint });
        Failed
    }

    fn line(&mut self, line: &Arc<Line>) -> Result<(), Failed> {
        let (commands, diagnostics) = Loader::new(self.host).commands(line);
        if let Some(error) = diagnostics.iter().find(|diagnostic| diagnostic.severity == Severity::Error) {
            return Err(self.fail(line, ErrorKind::Invalid, &error.message, error.hint.clone()));
        }
        for warning in diagnostics {
            self.say(line.origin.line, Said::Warning { message: warning.message });
        }
        commands.into_iter().try_for_each(|command| self.command(command, line))
    }

    fn command(&mut self, command: rules::Command, line: &Arc<Line>) -> Result<(), Failed> {
        match &command {
            rules::Command::Append(rule) | rules::Command::Prepend(rule) => {
                let what = What::AddRule(rule.clone());
                self.refuse_if_locked("add_rule", line)?;
                if let Err(problem) = can_be_decided(rule, line) {
                    self.changed(what, false);
                    let message = "Error sending add rule data request (Operation not supported)";
                    return Err(self.fail(line, ErrorKind::Unsupported, message, Some(problem)));
                }
                self.apply(command, what, line)
            }
            rules::Command::Delete(rule) => {
                let what = What::RemoveRule(rule.clone());
                self.refuse_if_locked("remove_rule", line)?;
                self.apply(command, what, line)
            }
            rules::Command::Control(control) => self.control(control, line),
        }
    }

    fn refuse_if_locked(&mut self, op: &'static str, line: &Line) -> Result<(), Failed> {
        if !self.outcome.store.is_locked() {
            return Ok(());
        }
        self.changed(What::Locked(op), false);
        Err(self.fail(line, ErrorKind::Immutable, IMMUTABLE, None))
    }

    fn apply(&mut self, command: rules::Command, what: What, line: &Arc<Line>) -> Result<(), Failed> {
        match self.outcome.store.rules.apply(command, line) {
            Ok(()) => {
                self.changed(what, true);
                self.outcome.affects_kernel = true;
                Ok(())
            }
            Err(error) => {
                self.changed(what, false);
                let kind = if error.code == Code::Duplicate { ErrorKind::Exists } else { ErrorKind::Missing };
                Err(self.fail(line, kind, error.message, error.hint))
            }
        }
    }

    fn control(&mut self, control: &Control, line: &Arc<Line>) -> Result<(), Failed> {
        let number = line.origin.line;
        match control {
            Control::IgnoreErrors => self.on_error = OnError::Ignore,
            Control::ContinueOnError => self.on_error = OnError::Continue,
            Control::DeleteAll { key } => return self.delete_all(key.as_deref(), line),
            Control::List { interpret, key } => {
                let print = if *interpret { print::interpreted } else { print::rule };
                self.list(number, key.as_deref(), print);
            }
            Control::Status { interpret } => {
                let status = self.status();
                self.say(number, Said::Status { status, interpret: *interpret });
            }
            Control::ResetLost => {
                let old = std::mem::take(&mut self.facts.lost);
                self.outcome.resets_lost = true;
                self.changed(What::Set { name: "lost", new: 0, old }, true);
                self.say(number, Said::Lost { count: old });
            }
            Control::ResetBacklogWaitTimeActual => {
                self.changed(What::Set { name: "backlog_wait_time_actual", new: 0, old: 0 }, true);
                self.say(number, Said::BacklogWaitTimeActual { count: 0 });
            }
            Control::Message(text) => self.changed(What::Message(text.clone()), true),
            Control::MakeEquivalent { mount, subtree } => {
                let what = What::MakeEquivalent { mount: mount.clone(), subtree: subtree.clone() };
                return self.change(what, "Error sending make_equivalent command", line);
            }
            Control::Confirm => return self.confirm(line),
            Control::TrimSubtrees => return self.change(What::Trim, "Error sending trim subtrees command", line),
            Control::ReadFile(_) => {
                let message = "Error - nested rule files not supported";
                return Err(self.fail(line, ErrorKind::Invalid, message, None));
            }
            // What concerns the program that asks, not the rules.
            Control::Signal(_) | Control::Version | Control::Help => {}
            setting => return self.setting(setting, line),
        }
        Ok(())
    }

    fn confirm(&mut self, line: &Line) -> Result<(), Failed> {
        let any = self.facts.probation.take().is_some();
        self.changed(What::Confirm, any);
        if any {
            self.outcome.confirms = true;
            return Ok(());
        }
        let hint =
            "rules are where the daemon has --probation, until its time is over; auditctl -l shows those in force";
        Err(self.fail(line, ErrorKind::Invalid, "No rules are on probation", Some(hint.to_owned())))
    }

    /// Carries out what has no effect on rules, unless it is too late for that.
    fn change(&mut self, what: What, refusal: &str, line: &Line) -> Result<(), Failed> {
        let locked = self.outcome.store.is_locked();
        self.changed(what, !locked);
        if locked {
            let message = format!("{refusal} (Operation not permitted)");
            return Err(self.fail(line, ErrorKind::Immutable, message, None));
        }
        self.outcome.affects_kernel = true;
        Ok(())
    }

    fn delete_all(&mut self, key: Option<&[u8]>, line: &Arc<Line>) -> Result<(), Failed> {
        let chosen = |rule: &&Rule| key.is_none_or(|key| rule.key_contains(key));
        let removed: Vec<Rule> = self.outcome.store.rules.rules().filter(chosen).cloned().collect();
        if self.outcome.store.is_locked() && !removed.is_empty() {
            self.changed(What::Locked("remove_rule"), false);
            let message = "Error deleting rule (Operation not permitted)";
            return Err(self.fail(line, ErrorKind::Immutable, message, Some(IMMUTABLE.to_owned())));
        }
        for rule in removed {
            // It is one of those that are there.
            self.apply(rules::Command::Delete(rule.clone()), What::RemoveRule(rule), line)?;
        }
        self.list(line.origin.line, key, print::rule);
        Ok(())
    }

    fn setting(&mut self, control: &Control, line: &Line) -> Result<(), Failed> {
        let mut settings = self.outcome.store.settings;
        let Some(what) = settings.set(control) else { return Ok(()) };
        let refusal = if self.outcome.store.is_locked() {
            Some("Operation not permitted")
        } else {
            (settings.backlog_wait_time > BACKLOG_WAIT_TIME_MAX).then_some("Invalid argument")
        };
        if let Some(reason) = refusal {
            self.changed(what, false);
            let message = format!("{} ({reason})", request_of(control));
            let locked = self.outcome.store.is_locked();
            let kind = if locked { ErrorKind::Immutable } else { ErrorKind::Invalid };
            return Err(self.fail(line, kind, message, locked.then(|| IMMUTABLE.to_owned())));
        }
        let before = self.outcome.store.settings;
        self.outcome.affects_kernel |= settings.deciding() != before.deciding();
        self.outcome.store.settings = settings;
        self.changed(what, true);
        if *control == Control::LoginuidImmutable {
            let message = "loginuid-immutable is only remembered: the kernel enforces it by its own audit".to_owned();
            self.say(line.origin.line, Said::Warning { message });
        } else {
            let status = self.status();
            self.say(line.origin.line, Said::Set { status });
        }
        Ok(())
    }

    fn list(&mut self, line: u32, key: Option<&[u8]>, print: fn(&Rule, Dialect) -> Vec<u8>) {
        let all = &self.outcome.store.rules;
        let chosen = all.rules().filter(|rule| key.is_none_or(|key| rule.key_contains(key)));
        let rules = chosen.map(|rule| Text(print(rule, self.facts.dialect))).collect();
        let total = all.len();
        self.say(line, Said::Rules { rules, total });
    }

    fn status(&self) -> Status {
        let Settings {
            enabled,
            failure,
            rate_limit,
            backlog_limit,
            backlog_wait_time,
            loginuid_immutable,
            enforce,
            ..
        } = self.outcome.store.settings;
        let Facts { pid, lost, backlog, probation, .. } = self.facts;
        Status {
            enabled,
            failure,
            pid,
            rate_limit,
            backlog_limit,
            lost,
            backlog,
            backlog_wait_time,
            backlog_wait_time_actual: 0,
            loginuid_immutable,
            enforce,
            probation,
        }
    }
}

/// The request that auditctl's library names where the kernel refuses a setting.
const fn request_of(control: &Control) -> &'static str {
    match control {
        Control::Enabled(_) => "Error sending enable request",
        Control::Failure(_) => "Error sending failure mode request",
        Control::RateLimit(_) => "Error sending rate limit request",
        Control::BacklogLimit(_) | Control::BacklogWaitTime(_) => "Error sending backlog limit request",
        _ => "Error setting feature",
    }
}

/// Whether the kernel side can decide this rule; if not, why.
fn can_be_decided(rule: &Rule, line: &Arc<Line>) -> Result<(), String> {
    let mut alone = RuleSet::default();
    // There is no other that it could be the same as.
    let _ = alone.apply(rules::Command::Append(rule.clone()), line);
    let problems = Plan::compile(&alone).map(drop);
    problems.map_err(|problems| problems.into_iter().map(|problem| problem.message).collect::<Vec<_>>().join("; "))
}
