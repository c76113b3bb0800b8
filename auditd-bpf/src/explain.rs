//! `auditd-bpf explain`: what each rule attaches to, when each of its fields is decided, what it costs, and what this kernel
//! cannot do of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;

use rules::plan::PlannedRule;
use rules::{Arch, Command, Diagnostic, Field, Host, Plan, RuleSet, Test};
use tables::{Objects, Treatment};

use crate::check::Checked;
use crate::exit_code::ExitCode;

/// What must be known of a kernel to tell what it cannot do.
pub trait KernelFacts {
    /// Whether it has a hook.
    fn has_hook(&self, hook: &str) -> bool;
}

/// What each matching call costs beyond a call without rules, in ascending order. Calls that no rule names cost nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CostClass {
    /// One program when the call returns.
    Result,
    /// Also one in a hook.
    Hook,
    /// Also a look-up of the object.
    Object,
    /// Also a walk up the directories.
    Tree,
}

impl CostClass {
    fn of(planned: &PlannedRule) -> Self {
        let tests = |wanted: fn(&Test) -> bool| planned.rule.tests.iter().any(wanted);
        if planned.hooks.is_empty() {
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
            Self::Tree => "tree: as `hook`, and a walk up the directories of the file in each hook",
        })
    }
}

/// When the fields of a rule are decided.
#[derive(Debug, Default, PartialEq, Eq)]
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

/// Explains the rules that are right on `out`, and prints what is wrong with the others on `err`.
///
/// # Errors
/// If the answer cannot be written.
pub fn run(
    paths: &[PathBuf],
    host: &dyn Host,
    kernel: Option<&dyn KernelFacts>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<ExitCode> {
    let mut checked = Checked::read(paths, host);
    let (plan, refused) = plan_what_can_be(&checked.ruleset);
    checked.diagnostics.extend(refused);
    print(plan.iter().flat_map(|plan| &plan.rules), kernel, out)?;
    if checked.errors() == 0 {
        return Ok(ExitCode::Success);
    }
    checked.print(err)?;
    Ok(ExitCode::Failure)
}

/// The plan of all rules; where some cannot be planned, that of the others.
fn plan_what_can_be(ruleset: &RuleSet) -> (Option<Plan>, Vec<Diagnostic>) {
    let refused = match Plan::compile(ruleset) {
        Ok(plan) => return (Some(plan), Vec::new()),
        Err(refused) => refused,
    };
    let mut rest = RuleSet::default();
    for rule in ruleset.rules() {
        let mut alone = RuleSet::default();
        let line = &rule.written.line;
        let added = alone.apply(Command::Append(rule.clone()), line).is_ok();
        if added && Plan::compile(&alone).is_ok() {
            // It was no duplicate in the whole set, so it is none here.
            let _ = rest.apply(Command::Append(rule.clone()), line);
        }
    }
    (Plan::compile(&rest).ok(), refused)
}

/// Rules that follow each other and are all alike, as watches are, are explained once.
fn print<'a>(
    rules: impl Iterator<Item = &'a PlannedRule>,
    kernel: Option<&dyn KernelFacts>,
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut last: Option<Vec<u8>> = None;
    for planned in rules {
        let explained = explanation(planned, kernel)?;
        if let Some(last) = last.filter(|last| *last != explained) {
            out.write_all(&last)?;
            writeln!(out)?;
        }
        match &planned.rule.origin.file {
            Some(file) => writeln!(out, "{}:{}: {}", file.display(), planned.rule.origin.line, planned.text)?,
            None => writeln!(out, "{}", planned.text)?,
        }
        last = Some(explained);
    }
    out.write_all(&last.unwrap_or_default())
}

fn explanation(planned: &PlannedRule, kernel: Option<&dyn KernelFacts>) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    for (arch, names) in names_by_arch(planned) {
        row(&mut out, &format!("calls {}", arch.name()), names)?;
    }
    row(&mut out, "hooks", planned.hooks.iter().copied())?;
    let moments = Moments::of(planned);
    row(&mut out, "by the call", moments.call)?;
    row(&mut out, "in the hook", moments.hook)?;
    row(&mut out, "at return", moments.result)?;
    row(&mut out, "cost", CostClass::of(planned).to_string().split(' '))?;
    row(&mut out, "could deny", could_deny(planned).split(' '))?;
    let unseen = without_file(planned);
    if !unseen.is_empty() {
        row(&mut out, "never matches", format!("{}: no hook sees the file", listed(&unseen)).split(' '))?;
    }
    if let Some(kernel) = kernel {
        row(&mut out, "this kernel", honoured(planned, kernel).split(' '))?;
    }
    Ok(out)
}

/// Calls of a rule on files whose files no hook of any kernel sees.
fn without_file(planned: &PlannedRule) -> BTreeSet<&'static str> {
    let tests_file = planned.rule.tests.iter().any(|test| matches!(test, Test::Path(_) | Test::Dir(_)));
    let unseen = calls(planned).filter(|(_, objects)| tests_file && !objects.is_some_and(|objects| objects.files));
    unseen.map(|(name, _)| name).collect()
}

fn calls(planned: &PlannedRule) -> impl Iterator<Item = (&'static str, Option<&'static Objects>)> + '_ {
    let names = planned.syscalls.iter().filter_map(|(arch, number)| tables::syscalls::name(*arch, *number));
    names.map(|name| (name, tables::objects(name)))
}

fn names_by_arch(planned: &PlannedRule) -> BTreeMap<Arch, BTreeSet<&'static str>> {
    let mut names: BTreeMap<Arch, BTreeSet<&'static str>> = BTreeMap::new();
    for (arch, number) in &planned.syscalls {
        names.entry(*arch).or_default().extend(tables::syscalls::name(*arch, *number));
    }
    names
}

/// A rule can refuse an act if all it asks is known before it, and a hook stands in the way of each call.
fn could_deny(planned: &PlannedRule) -> String {
    let result = Moments::of(planned).result;
    if let Some(field) = ["exit", "success"].into_iter().find(|field| result.contains(field)) {
        return format!("no: {field} is known only after the act");
    }
    // What is traced at its end cannot be refused.
    let refuses = |objects: &Objects| objects.hooks.iter().any(|hook| *hook != "may_open");
    let free = calls(planned).filter(|(_, objects)| !objects.is_some_and(refuses)).map(|(name, _)| name);
    let free: BTreeSet<_> = free.collect();
    let free: BTreeSet<_> = free.difference(&without_file(planned)).copied().collect();
    if free.is_empty() { "yes".to_owned() } else { format!("no: no hook can refuse {}", listed(&free)) }
}

/// What a kernel cannot do of a rule.
fn honoured(planned: &PlannedRule, kernel: &dyn KernelFacts) -> String {
    let absent: BTreeSet<_> = planned.hooks.iter().copied().filter(|hook| !kernel.has_hook(hook)).collect();
    if absent.is_empty() {
        return "can do all of it".to_owned();
    }
    let blind =
        |objects: &Objects| !objects.hooks.is_empty() && !objects.hooks.iter().any(|hook| kernel.has_hook(hook));
    let lost = calls(planned).filter(|(_, objects)| objects.is_some_and(blind)).map(|(name, _)| name);
    let lost: BTreeSet<_> = lost.collect();
    if lost.is_empty() {
        return format!("has no {}, and other hooks for the same calls", listed(&absent));
    }
    format!("cannot see the object of {}: it has no {}", listed(&lost), listed(&absent))
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

    struct Lacking(&'static [&'static str]);

    impl KernelFacts for Lacking {
        fn has_hook(&self, hook: &str) -> bool {
            !self.0.contains(&hook)
        }
    }

    /// Status, standard output and standard error; the file's path is replaced by `R`.
    fn explain(text: &str, lacking: &'static [&'static str]) -> (ExitCode, String, String) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.rules");
        fs::write(&file, text).unwrap();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let kernel = Lacking(lacking);
        let status = run(std::slice::from_ref(&file), &NoHost, Some(&kernel), &mut out, &mut err).unwrap();
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
    hooks         file_open may_open path_unlink
    by the call   arch perm
    in the hook   auid path perm
    cost          object: as `hook`, and a look-up of the file in each hook
    could deny    yes
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
        assert!(out.contains("\n    could deny    no: no hook can refuse sethostname\n"), "{out}");
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
    fn rules_that_cannot_be_planned_do_not_hide_the_others() {
        let (status, out, err) = explain("-a always,task -F uid=0\n-w /etc/passwd -p r -k id\n-w x\n", &[]);
        assert_eq!(status, ExitCode::Failure);
        assert!(out.starts_with("R:2: -w /etc/passwd -p r -k id\n"), "{out}");
        assert!(err.contains("R:1:") && err.contains("R:3:4: error: "), "{err}");
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
        assert!(out.contains("\n    could deny    yes\n"), "{out}");
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
