//! `auditd-bpf explain`: what each rule attaches to, when each of its fields is decided, what it costs, and what this kernel
//! cannot do of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;

use rules::plan::PlannedRule;
use rules::{Action, Command, Diagnostic, Field, Host, Plan, Rule, RuleSet, Test, refusal};
use serde::Serialize;
use tables::{Objects, Treatment};

use crate::check::Checked;
use crate::exit_code::ExitCode;
use crate::mode::{self, Mode, Shortfall};

/// What must be known of a kernel to tell what it cannot do.
pub trait KernelFacts {
    /// Whether it has a hook.
    fn has_hook(&self, hook: &str) -> bool;
}

/// What each matching call costs beyond a call without rules, in ascending order. Calls that no rule names cost nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CostClass {
    /// One program when the call returns.
    Result,
    /// Also one in a hook.
    Hook,
    /// Also a look-up of the object.
    Object,
    /// Also a walk up the directories.
    Tree,
    /// One program whenever any call of the system returns.
    Every,
}

impl CostClass {
    fn of(planned: &PlannedRule) -> Self {
        let tests = |wanted: fn(&Test) -> bool| planned.rule.tests.iter().any(wanted);
        if planned.all_calls {
            Self::Every
        } else if planned.hooks.is_empty() {
            Self::Result
        } else if tests(|test| matches!(test, Test::Dir(_))) {
            Self::Tree
        } else if tests(|test| matches!(test, Test::Path(_))) {
            Self::Object
        } else {
            Self::Hook
        }
    }
}

impl fmt::Display for CostClass {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Result => "result: these calls run one program when they return",
            Self::Hook => "hook: these calls run one program in each hook and one when they return",
            Self::Object => "object: as `hook`, and a look-up of the file in each hook",
            Self::Every => "every: a program runs whenever any system call of any task returns",
            Self::Tree => "tree: as `hook`, and a walk up the directories of the file in each hook",
        })
    }
}

/// When the fields of a rule are decided.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Moments {
    /// By the number of the call: others are not touched.
    call: BTreeSet<&'static str>,
    /// In a hook, before the act.
    hook: BTreeSet<&'static str>,
    /// When the call returns.
    result: BTreeSet<&'static str>,
}

impl Moments {
    fn of(planned: &PlannedRule) -> Self {
        let mut moments = Self::default();
        if planned.rule.arch.is_some() {
            moments.call.insert("arch");
        }
        let is = |wanted: &'static [Treatment]| {
            move |objects: Option<&Objects>| objects.is_some_and(|objects| wanted.contains(&objects.treatment))
        };
        let is_open = is(&[Treatment::Open, Treatment::OpenHow]);
        let is_exec = is(&[Treatment::Exec]);
        let opens = calls(planned).any(|call| is_open(call.1));
        // Who acts may change in an exec, as with the ids of a set-user-ID program: then the end decides.
        let before = calls(planned).any(|call| call.1.is_some() && !is_exec(call.1));
        let after = calls(planned).any(|call| call.1.is_none() || is_exec(call.1));
        for test in &planned.rule.tests {
            let name = test.field().map_or("-C", Field::name);
            match test {
                Test::Number { field: Field::Exit | Field::Success, .. } => {
                    moments.result.insert(name);
                }
                Test::Perm(_) => {
                    moments.call.insert(name);
                    if opens {
                        moments.hook.insert(name);
                    }
                }
                Test::Path(_) | Test::Dir(_) => {
                    moments.hook.insert(name);
                }
                _ => {
                    if before {
                        moments.hook.insert(name);
                    }
                    if after {
                        moments.result.insert(name);
                    }
                }
            }
        }
        moments
    }
}

/// Whether an act that the rule matches could be refused.
#[derive(Debug, Serialize)]
struct Refusable {
    possible: bool,
    /// Hooks that would refuse it; none if it is not possible.
    hooks: BTreeSet<&'static str>,
    /// What stands in the way.
    obstacles: Vec<String>,
}

impl Refusable {
    fn of(planned: &PlannedRule) -> Self {
        let rule = &planned.rule;
        let obstacles: Vec<String> = refusal::obstacles(rule).iter().map(ToString::to_string).collect();
        let possible = obstacles.is_empty();
        let hooks = if planned.refusal.is_some() {
            calls(planned).flat_map(|(name, _)| refusal::hooks_of_call(rule, name)).copied().collect()
        } else if possible {
            refusal::hooks(rule)
        } else {
            BTreeSet::new()
        };
        Self { possible, hooks, obstacles }
    }

    /// What the row is about.
    fn label(rule: &Rule) -> &'static str {
        match rule.action {
            Action::Deny | Action::Kill if rule.dry_run => "would deny",
            Action::Deny => "denies",
            Action::Kill => "kills",
            _ => "could deny",
        }
    }
}

impl fmt::Display for Refusable {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.possible {
            write!(out, "yes, by {}", listed(&self.hooks))
        } else {
            write!(out, "no: {}", self.obstacles.join("; "))
        }
    }
}

/// What a kernel cannot do of a rule.
#[derive(Debug, Serialize)]
struct Lacking {
    hooks: BTreeSet<&'static str>,
    /// Calls whose object no other hook sees.
    calls: BTreeSet<&'static str>,
}

impl Lacking {
    fn of(planned: &PlannedRule, kernel: &dyn KernelFacts) -> Self {
        let hooks = planned.hooks.iter().copied().filter(|hook| !kernel.has_hook(hook)).collect();
        let blind =
            |objects: &Objects| !objects.hooks.is_empty() && !objects.hooks.iter().any(|hook| kernel.has_hook(hook));
        let calls = calls(planned).filter(|(_, objects)| objects.is_some_and(blind)).map(|(name, _)| name);
        Self { hooks, calls: calls.collect() }
    }
}

impl fmt::Display for Lacking {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hooks = listed(&self.hooks);
        if self.hooks.is_empty() {
            out.write_str("can do all of it")
        } else if self.calls.is_empty() {
            write!(out, "has no {hooks}, and other hooks for the same calls")
        } else {
            write!(out, "cannot see the object of {}: it has no {hooks}", listed(&self.calls))
        }
    }
}

/// All that is told of a rule; in this shape in `--json`.
#[derive(Debug, Serialize)]
struct Explanation<'a> {
    /// `null` if the rule was not read from a file.
    file: Option<String>,
    line: u32,
    rule: &'a str,
    action: &'static str,
    /// Names of calls by ABI, and of operations of io_uring as `ring`.
    calls: BTreeMap<&'static str, BTreeSet<&'static str>>,
    hooks: &'a BTreeSet<&'static str>,
    decided: Moments,
    cost: CostClass,
    could_deny: Refusable,
    #[serde(skip)]
    label: &'static str,
    /// Calls of which it matches none, as no hook of any kernel sees their file.
    never_matches: BTreeSet<&'static str>,
    /// `null` where the kernel's types could not be read.
    kernel_lacks: Option<Lacking>,
    mode: Mode,
    /// What the mode leaves out of it; `null` for nothing.
    mode_lacks: Option<Shortfall>,
}

impl<'a> Explanation<'a> {
    fn of(planned: &'a PlannedRule, mode: Mode, kernel: Option<&dyn KernelFacts>) -> Self {
        let origin = &planned.rule.origin;
        Self {
            file: origin.file.as_ref().map(|file| file.display().to_string()),
            line: origin.line,
            rule: &planned.text,
            action: planned.rule.action.name(),
            calls: names_by_arch(planned),
            hooks: &planned.hooks,
            decided: Moments::of(planned),
            cost: CostClass::of(planned),
            could_deny: Refusable::of(planned),
            label: Refusable::label(&planned.rule),
            never_matches: without_file(planned),
            kernel_lacks: kernel.map(|kernel| Lacking::of(planned, kernel)),
            mode,
            mode_lacks: mode::shortfall(planned, mode),
        }
    }

    /// What stands below the rule. Rules of which it is the same are shown together.
    fn body(&self) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        // b64 first.
        for (arch, names) in self.calls.iter().rev() {
            row(&mut out, &format!("calls {arch}"), names.iter().copied())?;
        }
        row(&mut out, "hooks", self.hooks.iter().copied())?;
        row(&mut out, "by the call", self.decided.call.iter().copied())?;
        row(&mut out, "in the hook", self.decided.hook.iter().copied())?;
        row(&mut out, "at return", self.decided.result.iter().copied())?;
        row(&mut out, "cost", self.cost.to_string().split(' '))?;
        row(&mut out, self.label, self.could_deny.to_string().split(' '))?;
        if !self.never_matches.is_empty() {
            let told = format!("{}: no hook sees the file", listed(&self.never_matches));
            row(&mut out, "never matches", told.split(' '))?;
        }
        if let Some(lacking) = &self.kernel_lacks {
            row(&mut out, "this kernel", lacking.to_string().split(' '))?;
        }
        if let Some(shortfall) = &self.mode_lacks {
            row(&mut out, &format!("mode {}", self.mode.name()), shortfall.to_string().split(' '))?;
        }
        Ok(out)
    }
}

/// In what form rules are explained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// A JSON array with an object for each rule.
    Json,
}

/// Explains the rules that are right on `out`, and prints what is wrong with the others on `err`.
///
/// # Errors
/// If the answer cannot be written.
pub fn run(
    paths: &[PathBuf],
    format: Format,
    mode: Mode,
    host: &dyn Host,
    kernel: Option<&dyn KernelFacts>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<ExitCode> {
    let mut checked = Checked::read(paths, host);
    let (planned, refused) = plan_what_can_be(&checked.ruleset);
    checked.diagnostics.extend(refused);
    let explanations = planned.iter().map(|planned| Explanation::of(planned, mode, kernel));
    match format {
        Format::Text => print(explanations, out)?,
        Format::Json => {
            serde_json::to_writer_pretty(&mut *out, &explanations.collect::<Vec<_>>())?;
            writeln!(out)?;
        }
    }
    if checked.errors() == 0 {
        return Ok(ExitCode::Success);
    }
    checked.print(err)?;
    Ok(ExitCode::Failure)
}

/// The plan of all rules; where some cannot be planned, that of the others.
fn plan_what_can_be(ruleset: &RuleSet) -> (Vec<PlannedRule>, Vec<Diagnostic>) {
    // Not what stands beside a rule in the plan alone.
    let rules = |plan: Plan| plan.rules.into_iter().filter(|planned| planned.marked.is_none());
    let refused = match Plan::compile(ruleset) {
        Ok(plan) => return (rules(plan).collect(), Vec::new()),
        Err(refused) => refused,
    };
    let planned = ruleset.rules().filter_map(|rule| {
        let mut alone = RuleSet::default();
        alone.apply(Command::Append(rule.clone()), &rule.written.line).ok()?;
        Plan::compile(&alone).ok().and_then(|plan| rules(plan).next())
    });
    (planned.collect(), refused)
}

/// Rules that follow each other and are all alike, as watches are, are explained once.
fn print<'a>(explanations: impl Iterator<Item = Explanation<'a>>, out: &mut dyn Write) -> io::Result<()> {
    let mut last: Option<Vec<u8>> = None;
    for explanation in explanations {
        let body = explanation.body()?;
        if let Some(last) = last.filter(|last| *last != body) {
            out.write_all(&last)?;
            writeln!(out)?;
        }
        match &explanation.file {
            Some(file) => writeln!(out, "{file}:{}: {}", explanation.line, explanation.rule)?,
            None => writeln!(out, "{}", explanation.rule)?,
        }
        last = Some(body);
    }
    out.write_all(&last.unwrap_or_default())
}

/// Calls of a rule on files whose files no hook of any kernel sees.
fn without_file(planned: &PlannedRule) -> BTreeSet<&'static str> {
    let tests_file = planned.rule.tests.iter().any(|test| matches!(test, Test::Path(_) | Test::Dir(_)));
    let unseen = calls(planned).filter(|(_, objects)| tests_file && !objects.is_some_and(|objects| objects.files));
    // What only refuses is shown files that nothing records.
    let unseen = unseen.filter(|_| planned.refusal.is_none());
    unseen.map(|(name, _)| name).collect()
}

fn calls(planned: &PlannedRule) -> impl Iterator<Item = (&'static str, Option<&'static Objects>)> + '_ {
    let names = planned.syscalls.iter().filter_map(|(arch, number)| tables::syscalls::name(*arch, *number));
    names.map(|name| (name, tables::objects(name)))
}

fn names_by_arch(planned: &PlannedRule) -> BTreeMap<&'static str, BTreeSet<&'static str>> {
    let mut names: BTreeMap<&'static str, BTreeSet<&'static str>> = BTreeMap::new();
    if !planned.operations.is_empty() {
        let operations = planned.operations.iter().map(|number| tables::io_uring_op_name(u32::from(*number)));
        names.insert("ring", operations.flatten().collect());
    }
    if planned.all_calls {
        let arches = planned.syscalls.iter().map(|(arch, _)| (arch.name(), BTreeSet::from(["all"])));
        return arches.collect();
    }
    for (arch, number) in &planned.syscalls {
        names.entry(arch.name()).or_default().extend(tables::syscalls::name(*arch, *number));
    }
    names
}

fn listed(names: &BTreeSet<&str>) -> String {
    names.iter().copied().collect::<Vec<_>>().join(", ")
}

/// A heading and words below each other; nothing where there is no word.
fn row<'a>(out: &mut dyn Write, heading: &str, words: impl IntoIterator<Item = &'a str>) -> io::Result<()> {
    const HEADING: usize = 13;
    const WIDTH: usize = 100;
    let mut line = format!("    {heading:<HEADING$}");
    let empty = line.len();
    for word in words.into_iter().filter(|word| !word.is_empty()) {
        if line.len() > empty && line.len() + 1 + word.len() > WIDTH {
            writeln!(out, "{line}")?;
            line = " ".repeat(empty);
        }
        line.push(' ');
        line.push_str(word);
    }
    if line.trim_end().len() > empty { writeln!(out, "{line}") } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rules::NoHost;

    use super::*;

    struct KernelWithout(&'static [&'static str]);

    impl KernelFacts for KernelWithout {
        fn has_hook(&self, hook: &str) -> bool {
            !self.0.contains(&hook)
        }
    }

    /// Status, standard output and standard error; the file's path is replaced by `R`.
    fn explain(text: &str, lacking: &'static [&'static str]) -> (ExitCode, String, String) {
        explain_as(Format::Text, text, lacking)
    }

    fn explain_as(format: Format, text: &str, lacking: &'static [&'static str]) -> (ExitCode, String, String) {
        explain_in(Mode::Lsm, format, text, lacking)
    }

    fn explain_in(
        mode: Mode,
        format: Format,
        text: &str,
        lacking: &'static [&'static str],
    ) -> (ExitCode, String, String) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.rules");
        fs::write(&file, text).unwrap();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let kernel = KernelWithout(lacking);
        let status =
            run(std::slice::from_ref(&file), format, mode, &NoHost, Some(&kernel), &mut out, &mut err).unwrap();
        let shown = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace(&file.display().to_string(), "R");
        (status, shown(out), shown(err))
    }

    #[test]
    fn a_rule_on_files() {
        let rule = "-a always,exit -F arch=b64 -S unlink,openat -F path=/etc/passwd -F perm=wa -F auid>=1000 -k id";
        let (status, out, err) = explain(rule, &[]);
        assert_eq!((status, err.as_str()), (ExitCode::Success, ""));
        let expected = "\
R:1: -a always,exit -F arch=b64 -S unlink,openat -F path=/etc/passwd -F perm=wa -F auid>=1000 -F key=id
    calls b64     openat unlink
    hooks         __filename_parentat file_open may_open path_unlink
    by the call   arch perm
    in the hook   auid path perm
    cost          object: as `hook`, and a look-up of the file in each hook
    could deny    yes, by file_open, file_truncate, path_mknod, path_truncate, path_unlink
    this kernel   can do all of it
";
        assert_eq!(out, expected);
    }

    #[test]
    fn what_is_known_only_at_the_end() {
        let (_, out, _) = explain("-a always,exit -F arch=b64 -S openat -F uid=1 -F exit=-EACCES -F dir=/etc/", &[]);
        assert!(out.contains("\n    in the hook   dir uid\n    at return     exit\n    cost          tree: "), "{out}");
        assert!(out.contains("\n    could deny    no: exit is known only after the act\n"), "{out}");
        let (_, out, _) = explain("-a always,exit -F arch=b64 -S sethostname -F uid=1", &[]);
        assert!(out.contains("\n    at return     uid\n    cost          result: "), "{out}");
        assert!(out.contains("\n    could deny    no: no hook can refuse sethostname before it happens\n"), "{out}");
        assert!(!out.contains("hooks"), "{out}");
        let (_, out, _) = explain("-a always,exit -F arch=b64 -S execve -F euid=0", &[]);
        assert!(out.contains("\n    at return     euid\n") && !out.contains("in the hook"), "{out}");
    }

    #[test]
    fn what_the_kernel_lacks() {
        let rule = "-a always,exit -F arch=b64 -S chmod,unlink -F path=/a";
        let (_, out, _) = explain(rule, &["path_chmod"]);
        assert!(out.contains("this kernel   cannot see the object of chmod: it has no path_chmod\n"), "{out}");
        let (_, out, _) = explain("-a always,exit -F arch=b64 -S ftruncate -F path=/a", &["file_truncate"]);
        assert!(out.contains("this kernel   has no file_truncate, and other hooks for the same calls\n"), "{out}");
    }

    #[test]
    fn what_the_mode_leaves_out() {
        let rules = "-a always,exit -F arch=b64 -S unlink -F path=/a\n-a always,exit -F arch=b64 -S setuid\n";
        let (_, out, _) = explain_in(Mode::Syscall, Format::Text, rules, &[]);
        assert!(out.contains("    mode syscall  does not see the files of any of its calls\n"), "{out}");
        assert_eq!(out.matches("mode syscall").count(), 1, "{out}");
        let (_, out, _) = explain_in(Mode::Observe, Format::Json, rules, &[]);
        let json: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!((&json[0]["mode"], &json[0]["mode_lacks"]), (&"observe".into(), &serde_json::Value::Null));
    }

    #[test]
    fn rules_that_cannot_be_planned_do_not_hide_the_others() {
        let (status, out, err) =
            explain("-a always,exit -S open -F subj_type=a\n-w /etc/passwd -p r -k id\n-w x\n", &[]);
        assert_eq!(status, ExitCode::Failure);
        assert!(out.starts_with("R:2: -w /etc/passwd -p r -k id\n"), "{out}");
        assert!(err.contains("R:1:") && err.contains("R:3:4: error: "), "{err}");
    }

    #[test]
    fn what_a_rule_refuses_is_told_with_the_hooks() {
        let rules =
            "-a deny,exit -F arch=b64 -S unlink -F path=/a -F errno=EACCES -k k\n-w /a -p x --action kill --dry-run\n";
        let (status, out, err) = explain(rules, &[]);
        assert_eq!((status, &*err), (ExitCode::Success, ""));
        assert!(out.contains("\n    denies        yes, by path_unlink\n"), "{out}");
        assert!(out.contains("\n    would deny    yes, by bprm_check_security, file_mprotect, mmap_file\n"), "{out}");
    }

    #[test]
    fn json_has_every_part_of_an_explanation() {
        let rules = "-a always,exit -F arch=b64 -S unlink,chmod -F path=/a -F exit=-EPERM\n-w /b -p x\n";
        let (status, out, err) = explain_as(Format::Json, rules, &["path_chmod"]);
        assert_eq!((status, err.as_str()), (ExitCode::Success, ""));
        let json: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(json[0]["line"], 1);
        assert_eq!(json[0]["calls"]["b64"], serde_json::json!(["chmod", "unlink"]));
        assert_eq!(json[0]["decided"]["result"], serde_json::json!(["exit"]));
        assert_eq!(json[0]["cost"], "object");
        assert_eq!(json[0]["could_deny"]["possible"], false);
        assert_eq!(json[0]["could_deny"]["obstacles"][0], "exit is known only after the act");
        assert_eq!(json[0]["kernel_lacks"]["calls"], serde_json::json!(["chmod"]));
        assert_eq!(json[1]["could_deny"]["hooks"], serde_json::json!(["bprm_check_security"]));
        assert_eq!(json[1]["kernel_lacks"]["hooks"], serde_json::json!([]));
    }

    #[test]
    fn rules_alike_are_explained_once() {
        let (_, out, _) = explain("-w /a -p x\n-w /b -p x\n-a always,exit -F arch=b64 -S kill\n", &[]);
        assert!(out.starts_with("R:1: -w /a -p x\nR:2: -w /b -p x\n    calls b64"), "{out}");
        assert_eq!(out.matches("cost ").count(), 2, "{out}");
        assert!(out.contains("\n\nR:3: "), "{out}");
    }

    #[test]
    fn calls_whose_file_no_hook_sees_are_named() {
        let (_, out, _) = explain("-a always,exit -F arch=b64 -S fallocate,unlink -F path=/a", &[]);
        assert!(out.contains("\n    never matches fallocate: no hook sees the file\n"), "{out}");
        assert!(out.contains("\n    could deny    yes, by file_permission, path_unlink\n"), "{out}");
        let (_, out, _) = explain("-a always,exit -F arch=b64 -S fallocate -F uid=0", &[]);
        assert!(!out.contains("never matches"), "{out}");
    }

    #[test]
    fn long_lists_are_wrapped() {
        let (_, out, _) = explain("-w /etc/passwd -p wa", &[]);
        assert!(out.lines().skip(1).all(|line| line.len() <= 100), "{out}");
        assert!(out.lines().count() > 8, "{out}");
    }
}
