//! Rules in force, in match order.

use std::sync::Arc;

use tables::{Action, FilterList};

use crate::command::{Command, Control};
use crate::diagnostic::{Code, Diagnostic};
use crate::implication::covers;
use crate::print::{self, Dialect};
use crate::rule::Rule;
use crate::source::{Line, Span};

/// Rules and settings that a set of files, or a series of commands, adds up to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleSet {
    rules: Vec<Rule>,
    controls: Vec<(Control, Arc<Line>)>,
}

/// How `auditctl -l` is to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Like which auditctl.
    pub dialect: Dialect,
    /// `-i`: names for some numbers.
    pub interpret: bool,
    /// `-k`: only rules with this text in their key.
    pub key: Option<Vec<u8>>,
}

impl RuleSet {
    /// Every rule: list by list in the kernel's order, and in match order within a list, which is also the order of
    /// `auditctl -l`.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        FilterList::ALL.into_iter().flat_map(|list| self.rules.iter().filter(move |rule| rule.list == list))
    }

    /// These rules, and others before them. Of two that are the same the first stays.
    #[must_use]
    pub fn behind(&self, others: &Self) -> Self {
        let mut all = others.clone();
        all.rules
            .extend(self.rules.iter().filter(|rule| !others.rules.iter().any(|other| other.is_same_as(rule))).cloned());
        all
    }

    /// How many rules.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there is no rule.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Control rules in the order written. `-D` has had its effect on the rules already.
    pub fn controls(&self) -> impl Iterator<Item = &Control> {
        self.controls.iter().map(|row| &row.0)
    }

    /// Control rules, each with the line that holds it.
    pub fn controls_with_lines(&self) -> impl Iterator<Item = (&Control, &Arc<Line>)> {
        self.controls.iter().map(|row| (&row.0, &row.1))
    }

    /// Forgets the control rules, and hands them out: whoever keeps a set for long carries them out once.
    pub fn take_controls(&mut self) -> Vec<Control> {
        std::mem::take(&mut self.controls).into_iter().map(|row| row.0).collect()
    }

    /// What `auditctl -l` prints.
    #[must_use]
    pub fn list_text(&self, dialect: Dialect) -> Vec<u8> {
        self.list(&Listing { dialect, ..Listing::default() })
    }

    /// What `auditctl -l` prints with its options. Nothing at all if there are rules and none has the key.
    #[must_use]
    pub fn list(&self, listing: &Listing) -> Vec<u8> {
        if self.rules.is_empty() {
            return b"No rules\n".to_vec();
        }
        let print = if listing.interpret { print::interpreted } else { print::rule };
        let mut text = Vec::new();
        for rule in self.rules().filter(|rule| listing.key.as_ref().is_none_or(|key| rule.key_contains(key))) {
            text.extend(print(rule, listing.dialect));
            text.push(b'\n');
        }
        text
    }

    /// Carries out a command.
    ///
    /// # Errors
    /// The rule is there already, or the one to delete is not.
    pub fn apply(&mut self, command: Command, line: &Arc<Line>) -> Result<(), Box<Diagnostic>> {
        match command {
            Command::Append(rule) => {
                self.refuse_duplicate(&rule)?;
                self.rules.push(rule);
            }
            Command::Prepend(rule) => {
                self.refuse_duplicate(&rule)?;
                self.rules.insert(0, rule);
            }
            Command::Delete(rule) => {
                let at = self.rules.iter().position(|present| present.is_same_as(&rule));
                let at = at.ok_or_else(|| {
                    let message = "Error sending delete rule data request (No such file or directory)";
                    Box::new(Diagnostic::error(line, whole(line), Code::NoSuchRule, message))
                })?;
                self.rules.remove(at);
            }
            Command::Control(control) => {
                if let Control::DeleteAll { key } = &control {
                    self.rules.retain(|rule| key.as_ref().is_some_and(|key| !rule.key_contains(key)));
                }
                self.controls.push((control, Arc::clone(line)));
            }
        }
        Ok(())
    }

    fn refuse_duplicate(&self, rule: &Rule) -> Result<(), Box<Diagnostic>> {
        let Some(earlier) = self.rules.iter().find(|present| present.is_same_as(rule)) else { return Ok(()) };
        let line = &rule.written.line;
        let message = "Error sending add rule data request (Rule exists)";
        let error = Diagnostic::error(line, whole(line), Code::Duplicate, message);
        Err(Box::new(error.hint(format!("it is {}", place(earlier)))))
    }

    /// Warnings about rules beside others, each of which does what it says.
    #[must_use]
    pub fn warnings(&self) -> Vec<Diagnostic> {
        let mut warnings = self.shadowed();
        warnings.extend(self.exempting());
        warnings
    }

    /// A warning about the first rule of the task list because of which tasks are refused nothing.
    fn exempting(&self) -> Option<Diagnostic> {
        let refusing = self.rules().find(|rule| rule.action.refuses())?;
        let rule = self.rules().find(|rule| rule.list == FilterList::Task && rule.action == Action::Never)?;
        let message = "tasks that it leaves out are refused nothing";
        let warning = Diagnostic::warning(&rule.written.line, rule.written.head, Code::Exempts, message);
        Some(warning.hint(format!("a rule that refuses is {}", place(refusing))))
    }

    /// A warning for each rule that an earlier one of its list decides in every case.
    fn shadowed(&self) -> Vec<Diagnostic> {
        let mut warnings = Vec::new();
        let rules: Vec<_> = self.rules().collect();
        for (index, rule) in rules.iter().enumerate() {
            let mut earlier = rules.get(..index).unwrap_or_default().iter();
            if let Some(earlier) = earlier.find(|earlier| covers(earlier, rule)) {
                let line = &rule.written.line;
                let (code, message) = if rule.differs_in_keys_alone(earlier) {
                    (Code::Duplicate, "this rule never decides: an earlier one is the same but for its key")
                } else {
                    (Code::Shadowed, "this rule never decides: an earlier one matches whatever it matches")
                };
                let warning = Diagnostic::warning(line, rule.written.head, code, message);
                warnings.push(warning.hint(format!("the earlier one is {}", place(earlier))));
            }
        }
        warnings
    }
}

fn whole(line: &Line) -> Span {
    let start = line.text.iter().position(|byte| *byte != b' ').unwrap_or(0);
    let end = line.text.iter().rposition(|byte| *byte != b' ').map_or(start, |last| last + 1);
    Span::new(start, end)
}

fn place(rule: &Rule) -> String {
    match &rule.origin.file {
        Some(file) => format!("{}:{}", file.display(), rule.origin.line),
        None => format!("`{}`", String::from_utf8_lossy(&rule.written.line.text)),
    }
}
