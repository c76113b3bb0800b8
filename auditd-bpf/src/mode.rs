//! How much of the engine a host allows, and what of the rules that leaves out.

use std::collections::BTreeSet;

use clap::ValueEnum;
use rules::plan::{PlannedRule, never_returns};
use rules::{Code, Command, Control, Diagnostic, Fail, FilterList, Plan, RuleSet, Test};
use serde::{Deserialize, Serialize};
use tables::{Field, Treatment, objects, syscalls};

/// Where rules are decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// In the kernel's security hooks, which could also refuse; results at the end of each call.
    Lsm,
    /// In programs on the functions that call those hooks: all but refusing.
    Observe,
    /// At the end of system calls alone: files only by what an open returns and an exec starts.
    Syscall,
}

impl Mode {
    /// As written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lsm => "lsm",
            Self::Observe => "observe",
            Self::Syscall => "syscall",
        }
    }

    /// In a few words.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Lsm => "rules are decided in the kernel's security hooks",
            Self::Observe => "rules are decided where the kernel calls its security hooks; nothing can be refused",
            Self::Syscall => {
                "rules are decided when system calls end; of files only those are seen that an open returns or an exec starts"
            }
        }
    }
}

/// What a mode leaves out of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Shortfall {
    /// All of it: the rule could never match.
    Whole(String),
    /// Some of its calls.
    Part(BTreeSet<&'static str>),
}

impl std::fmt::Display for Shortfall {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Whole(why) => out.write_str(why),
            Self::Part(calls) => {
                let calls: Vec<_> = calls.iter().copied().collect();
                write!(out, "does not see the files of {}", calls.join(", "))
            }
        }
    }
}

/// What a mode leaves out of a rule; `None` for nothing.
#[must_use]
pub fn shortfall(planned: &PlannedRule, mode: Mode) -> Option<Shortfall> {
    let whole = |why: &str| Some(Shortfall::Whole(why.to_owned()));
    let tests = |field| planned.rule.tests.iter().any(|test| test.field() == Some(field));
    if planned.rule.fail == Some(Fail::Closed) && !planned.rule.action.refuses() && mode != Mode::Lsm {
        return whole("can refuse nothing, nor what cannot be recorded");
    }
    if planned.rule.action.refuses() && (mode == Mode::Syscall || mode == Mode::Observe && !planned.rule.dry_run) {
        return whole("can refuse nothing");
    }
    if tests(Field::Cap) && mode != Mode::Lsm {
        return whole("does not see which capabilities are made use of");
    }
    if mode != Mode::Syscall {
        return None;
    }
    if planned.rule.list == FilterList::Task {
        return whole("does not see tasks come");
    }
    if planned.rule.list == FilterList::IoUring {
        return whole("does not see operations of io_uring");
    }
    if [Field::SaddrFam, Field::Daddr, Field::Dport].into_iter().any(tests) {
        return whole("does not see socket addresses");
    }
    if tests(Field::ObjPid) {
        return whole("does not see which process is acted upon");
    }
    if !planned.syscalls.is_empty() && planned.syscalls.iter().all(|call| never_returns(call.0, call.1)) {
        return whole("does not see calls that do not return");
    }
    if planned.rule.tests.iter().any(is_of_file) { files_unseen(planned) } else { None }
}

fn is_of_file(test: &Test) -> bool {
    use Field::{Devmajor, Devminor, Filetype, Inode, ObjGid, ObjUid};
    let fields = match test {
        Test::Path(_) | Test::Dir(_) => return true,
        Test::Number { field, .. } => [Some(*field), None],
        Test::Compare { pair, .. } => [Some(pair.left()), Some(pair.right())],
        _ => return false,
    };
    fields.into_iter().flatten().any(|field| matches!(field, Devmajor | Devminor | Filetype | Inode | ObjGid | ObjUid))
}

fn files_unseen(planned: &PlannedRule) -> Option<Shortfall> {
    if !planned.matches_success {
        return Some(Shortfall::Whole("does not see the files of calls that fail".to_owned()));
    }
    let names = planned.syscalls.iter().filter_map(|(arch, number)| syscalls::name(*arch, *number));
    let is_seen = |name: &&str| {
        let treatment = objects(name).map(|objects| objects.treatment);
        matches!(treatment, Some(Treatment::Open | Treatment::OpenHow | Treatment::Exec))
    };
    let (seen, unseen): (BTreeSet<_>, BTreeSet<_>) = names.partition(is_seen);
    match (seen.is_empty(), unseen.is_empty()) {
        (_, true) => None,
        (true, false) => Some(Shortfall::Whole("does not see the files of any of its calls".to_owned())),
        (false, false) => Some(Shortfall::Part(unseen)),
    }
}

/// Rules that a mode can honour, and warnings about what it leaves out.
///
/// # Errors
/// One diagnostic for each rule that could never match, unless `-i` or `-c` stands among the rules, which leaves those rules out.
pub fn fit(mut rules: RuleSet, plan: &Plan, mode: Mode) -> Result<(RuleSet, Vec<Diagnostic>), Vec<Diagnostic>> {
    let goes_on = rules.controls().any(|control| matches!(control, Control::IgnoreErrors | Control::ContinueOnError));
    let (mut warnings, mut errors) = (Vec::new(), Vec::new());
    for planned in &plan.rules {
        let written = &planned.rule.written;
        let Some(shortfall) = shortfall(planned, mode) else { continue };
        let message = format!("mode {} {shortfall}", mode.name());
        match shortfall {
            Shortfall::Whole(_) if !goes_on => {
                let error = Diagnostic::error(&written.line, written.head, Code::Unsupported, message);
                errors.push(error.hint("`auditd-bpf doctor` tells how to get to mode lsm"));
            }
            Shortfall::Whole(_) => {
                let message = format!("{message}: the rule is left out");
                warnings.push(Diagnostic::warning(&written.line, written.head, Code::Unsupported, message));
                // The rule is there: it is the plan's own.
                let _was_there = rules.apply(Command::Delete(planned.rule.clone()), &written.line);
            }
            Shortfall::Part(_) => {
                warnings.push(Diagnostic::warning(&written.line, written.head, Code::Unsupported, message));
            }
        }
    }
    if errors.is_empty() { Ok((rules, warnings)) } else { Err(errors) }
}

#[cfg(test)]
mod tests {
    use rules::{NoHost, Source};

    use super::*;

    fn parsed(text: &str) -> (RuleSet, Plan) {
        let parsed = rules::parse(&[Source { name: None, text: text.as_bytes().to_vec() }], &NoHost);
        let rules = parsed.into_loadable().unwrap().0;
        let plan = Plan::compile(&rules).unwrap();
        (rules, plan)
    }

    fn told(rule: &str, mode: Mode) -> Option<String> {
        parsed(rule).1.rules.first().and_then(|planned| shortfall(planned, mode)).map(|shortfall| shortfall.to_string())
    }

    #[test]
    fn what_needs_no_hook_is_whole_in_every_mode() {
        for rule in [
            "-a always,exit -F arch=b64 -S sethostname -F auid>=1000 -F success=1",
            "-a always,exit -F arch=b64 -S openat -F exit=-EACCES",
            "-a always,exit -F arch=b64 -S execve -F euid=0",
            "-a always,exit -F arch=b64 -S openat -F path=/etc/shadow -F perm=r",
            "-w /usr/bin/sudo -p x",
        ] {
            assert_eq!(told(rule, Mode::Syscall), None, "{rule}");
        }
    }

    #[test]
    fn what_only_hooks_see_is_missing_without_them() {
        for (rule, why) in [
            ("-a always,exit -F arch=b64 -S unlink -F dir=/srv", "does not see the files of any of its calls"),
            (
                "-a always,exit -F arch=b64 -S openat -F dir=/srv -F exit=-EACCES",
                "does not see the files of calls that fail",
            ),
            ("-a always,exit -F arch=b64 -S connect -F saddr_fam=inet", "does not see socket addresses"),
            ("-a never,task -F uid=0", "does not see tasks come"),
            ("-a always,io_uring -S openat -F uid=0", "does not see operations of io_uring"),
            ("-a always,exit -F arch=b64 -S exit_group", "does not see calls that do not return"),
            ("-a always,exit -F arch=b64 -S openat,unlink -F path=/a", "does not see the files of unlink"),
        ] {
            assert_eq!(told(rule, Mode::Syscall).as_deref(), Some(why), "{rule}");
            assert_eq!((told(rule, Mode::Lsm), told(rule, Mode::Observe)), (None, None), "{rule}");
        }
        let of_capability = "-a always,exit -F arch=b64 -S reboot -F cap=sys_boot";
        for mode in [Mode::Syscall, Mode::Observe] {
            let why = "does not see which capabilities are made use of";
            assert_eq!(told(of_capability, mode).as_deref(), Some(why));
        }
        assert_eq!(told(of_capability, Mode::Lsm), None);
    }

    #[test]
    fn only_hooks_refuse_and_other_places_tell_what_they_would() {
        let (deny, dry) = ("-w /a -p w --action deny", "-w /a -p w --action kill --dry-run");
        assert_eq!(told(deny, Mode::Observe).as_deref(), Some("can refuse nothing"));
        assert_eq!(told(dry, Mode::Syscall).as_deref(), Some("can refuse nothing"));
        assert_eq!((told(deny, Mode::Lsm), told(dry, Mode::Observe)), (None, None));
        let closed = "-a always,exit -F arch=b64 -S unlink -F fail=closed";
        let why = "can refuse nothing, nor what cannot be recorded";
        assert_eq!((told(closed, Mode::Lsm), told(closed, Mode::Observe).as_deref()), (None, Some(why)));
    }

    #[test]
    fn rules_that_cannot_match_are_errors_or_left_out() {
        let text = "-a always,exit -F arch=b64 -S unlink -F path=/a\n-a always,exit -F arch=b64 -S setuid\n";
        let (rules, plan) = parsed(text);
        let errors = fit(rules, &plan, Mode::Syscall).unwrap_err();
        assert_eq!(errors.len(), 1);
        assert!(
            errors[0].to_string().contains("mode syscall does not see the files of any of its calls"),
            "{}",
            errors[0]
        );

        for option in ["-i", "-c"] {
            let (rules, plan) = parsed(&format!("{option}\n{text}"));
            let (left, warnings) = fit(rules, &plan, Mode::Syscall).unwrap();
            assert_eq!((left.len(), warnings.len()), (1, 1), "{option}");
        }
    }
}
