//! What the control socket asks of the daemon, and the records of what was changed.

use output::escape::escape;
use output::event::{Body, DaemonEvent, Message, Verdict};
use rules::{Dialect, Rule, print};

use super::Daemon;
use super::requester::Requester;
use crate::control::protocol::{Answer, Command, ErrorKind, Outcome, Ran, Response, Run, Said};
use crate::host_facts::HostFacts;
use crate::status::{Report, counts};
use crate::store::{Change, Facts, What};

impl Daemon {
    /// Answers every request that waits.
    pub(super) fn serve(&mut self) {
        while let Some(asked) = self.control.take() {
            let outcome = match &asked.command {
                Command::Run(run) => Outcome::Ran(self.carry_out(run, &Requester::from(asked.peer))),
                Command::Status => Outcome::Status { report: self.status() },
            };
            asked.answer(Response::new(outcome));
        }
    }

    /// What of it is known now.
    pub(super) fn status(&self) -> Report {
        let (keys, other_keys) = self.keys.told();
        let delays = self.decoder.delays();
        Report {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            mode: self.mode.name().to_owned(),
            rules: self.store.rules().len() as u64,
            programs: self.engine.attached() as u64,
            events: counts(Verdict::ALL.map(|verdict| (verdict.name(), self.verdicts[verdict as usize]))),
            keys,
            other_keys,
            delays: counts(delays.by_bound()),
            delay_micros: delays.micros(),
            lost: counts(self.lost()),
            outputs: self.pipeline.counters().into_iter().map(Into::into).collect(),
        }
    }

    /// Command lines as a whole: known to be right, then in force, then recorded, then answered.
    fn carry_out(&mut self, run: &Run, who: &Requester) -> Ran {
        let outcome = self.store.run(run, &HostFacts, self.facts());
        if outcome.resets_lost {
            self.lost_before = self.lost_total();
        }
        if outcome.confirms {
            self.confirm();
        }
        let mut ran = outcome.ran;
        let mut changes = outcome.changes;
        let put = if outcome.affects_kernel {
            self.put_in_force(outcome.store)
        } else {
            self.store = outcome.store;
            Ok(())
        };
        if let Err(error) = put {
            tracing::error!("the rules in force stay: {error}");
            changes.retain(|change| !matches!(change.what, What::Message(_)));
            changes.iter_mut().for_each(|change| change.done = false);
            let line = run.lines.last().map_or(0, |line| line.number);
            let message = "Error sending add rule data request (Operation not supported)".to_owned();
            let said = Said::Error { kind: ErrorKind::Unsupported, message, hint: Some(error.to_string()) };
            ran.answers.push(Answer { line, said });
            ran.stopped = true;
        }
        // Events under the rules before come before the record of the change.
        self.drain();
        self.record(&changes, who);
        ran
    }

    fn facts(&self) -> Facts {
        Facts {
            pid: std::process::id(),
            lost: self.lost_total().saturating_sub(self.lost_before),
            backlog: self.pipeline.counters().iter().map(output::SinkCounters::pending).max().unwrap_or(0),
            dialect: self.config.dialect.into(),
            probation: self.probation_left(),
        }
    }

    /// A record for each change.
    pub(super) fn record(&self, changes: &[Change], who: &Requester) {
        for change in changes {
            if let What::Message(text) = &change.what {
                self.push(Body::Messages(vec![Message { record_type: "USER".into(), text: who.message(text) }]));
                continue;
            }
            let (op, details) = self.words(&change.what);
            let details = details.into_iter().map(|(name, value)| (name.into(), value)).collect();
            let event = who.event("CONFIG_CHANGE", op, details);
            self.push(Body::Daemon(DaemonEvent { success: change.done, ..event }));
        }
    }

    /// The kernel's words for a change: `audit_log_rule_change`, `audit_log_config_change` and their like.
    fn words(&self, what: &What) -> (&'static str, Vec<(&'static str, String)>) {
        match what {
            What::AddRule(rule) => ("add_rule", self.rule_words(rule)),
            What::RemoveRule(rule) => ("remove_rule", self.rule_words(rule)),
            What::Locked(op) => (op, vec![("audit_enabled", "2".to_owned())]),
            What::Set { name, new, old } => ("set", vec![(name, new.to_string()), ("old", old.to_string())]),
            What::MakeEquivalent { mount, subtree } => {
                ("make_equiv", vec![("old", escape(mount).into_owned()), ("new", escape(subtree).into_owned())])
            }
            What::Trim => ("trim", Vec::new()),
            What::Confirm => ("confirm", Vec::new()),
            // A record of another type.
            What::Message(_) => ("message", Vec::new()),
        }
    }

    fn rule_words(&self, rule: &Rule) -> Vec<(&'static str, String)> {
        let dialect: Dialect = self.config.dialect.into();
        let mut details = Vec::new();
        if !rule.keys.is_empty() {
            // As the kernel holds them: several keys are one text with a control character between.
            details.push(("key", escape(&rule.keys.join(&1)).into_owned()));
        }
        details.push(("list", rule.list.name().to_owned()));
        details.push(("rule", escape(&print::rule(rule, dialect)).into_owned()));
        details
    }
}
