//! Whether a rule's act can be refused: a `deny` is decided in a hook, before the act, from what is known by then.

use std::collections::BTreeSet;
use std::fmt;

use tables::{
    Arch, CAPABLE, Field, FilterList, Op, Perm, hooks_refusing_upon_task, mistaken_for, perm_class, refuses_by_file,
    refusing_hooks, refusing_hooks_if, syscalls,
};

use crate::diagnostic::{Code, Diagnostic};
use crate::rule::{Fail, Rule, Syscalls, Test};
use crate::source::Span;

/// Why a rule could not refuse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// Only the exit list is about acts.
    List(FilterList),
    /// A test of the result, with its position among the rule's tests.
    Result {
        /// `exit` or `success`.
        field: Field,
        /// Which test.
        test: usize,
    },
    /// A call that no hook stands before.
    Call {
        /// Its number.
        number: u16,
        /// Its name, or its number if it has none.
        name: String,
    },
    /// Without `arch`, a number that means another call to 32-bit programs.
    Ambiguous {
        /// The number.
        number: u16,
        /// What was meant.
        name: &'static str,
    },
    /// A call whose hooks are shown no file, in a rule that tests files.
    NoFile {
        /// Its number.
        number: u16,
        /// Its name.
        name: &'static str,
    },
    /// A call in which the rule's errno is no refusal.
    Errno {
        /// Its number.
        number: u16,
        /// Its name.
        name: &'static str,
        /// The errno's name.
        errno: &'static str,
        /// What the kernel takes it for.
        meaning: &'static str,
    },
    /// The rule names every call.
    EveryCall,
}

/// Everything that stands in the way of refusing what a rule matches; nothing if `deny` would do.
#[must_use]
pub fn obstacles(rule: &Rule) -> Vec<Obstacle> {
    if rule.list != FilterList::Exit {
        return vec![Obstacle::List(rule.list)];
    }
    let results = rule.tests.iter().enumerate().filter_map(|(test, tested)| match tested.field() {
        Some(field @ (Field::Exit | Field::Success)) => Some(Obstacle::Result { field, test }),
        _ => None,
    });
    let mut obstacles: Vec<_> = results.collect();
    match &rule.syscalls {
        Syscalls::Set(numbers) => {
            let of = |number: u16| {
                of_call(rule, number).or_else(|| without_file(rule, number)).or_else(|| by_errno(rule, number))
            };
            obstacles.extend(numbers.iter().copied().filter_map(of));
        }
        Syscalls::All | Syscalls::OfPerm if !narrows(rule) => obstacles.push(Obstacle::EveryCall),
        // Every call of every perm can be refused, but for what needs a descriptor that is open for it; a test in `tables` sees to it.
        Syscalls::All | Syscalls::OfPerm => {}
    }
    obstacles
}

/// Hooks that would refuse what a rule matches, by kernel name.
#[must_use]
pub fn hooks(rule: &Rule) -> BTreeSet<&'static str> {
    let names = |arch: Arch| -> Vec<&'static str> {
        let numbers = match &rule.syscalls {
            Syscalls::Set(numbers) => numbers.clone(),
            Syscalls::All | Syscalls::OfPerm => perm_class(perm(rule), arch),
        };
        numbers.into_iter().filter_map(|number| syscalls::name(arch, number)).collect()
    };
    arches(rule).flat_map(names).flat_map(|call| hooks_of_call(rule, call)).collect()
}

/// Hooks that would refuse a call to what a rule matches, by kernel name. One that is about the use of a capability is asked where
/// the kernel asks for that; it knows all else as well, unless the capability is asked for before.
#[must_use]
pub fn hooks_of_call(rule: &Rule, call: &str) -> Vec<&'static str> {
    let asks = tests_capability(rule);
    let of_call = if asks && matches!(rule.syscalls, Syscalls::All | Syscalls::OfPerm) && !narrows_to_files(rule) {
        &[][..]
    } else if tests_task(rule) {
        hooks_refusing_upon_task(call)
    } else {
        refusing_hooks_if(call)
            .filter(|(bit, _)| asks_for(rule, *bit))
            .map_or_else(|| refusing_hooks(call), |row| row.1)
    };
    // What a call of a perm does with a descriptor that is open for it, as no read and no write is of any perm: to hold it, every read
    // and write of the machine would have to pass a program.
    let is_of_perm = matches!(rule.syscalls, Syscalls::All | Syscalls::OfPerm);
    let of_call = if is_of_perm && of_call == [FILE_PERMISSION] { &[][..] } else { of_call };
    of_call.iter().copied().chain(asks.then_some(CAPABLE)).collect()
}

/// Whether the rule is only about calls with a bit of the first argument set.
fn asks_for(rule: &Rule, bit: u32) -> bool {
    rule.tests.iter().any(|test| match *test {
        Test::Number { field: Field::A0, op: Op::BitMask, value } => value == bit,
        Test::Number { field: Field::A0, op: Op::BitTest | Op::Equal, value } => value & bit != 0,
        _ => false,
    })
}

/// The hook of reading and writing by a descriptor.
const FILE_PERMISSION: &str = "file_permission";

/// Whether the rule is about acts upon tasks.
pub(crate) fn tests_task(rule: &Rule) -> bool {
    rule.tests.iter().any(|test| test.field() == Some(Field::ObjPid))
}

/// Whether the rule is about the use of a capability.
#[must_use]
pub fn tests_capability(rule: &Rule) -> bool {
    rule.tests.iter().any(|test| test.field() == Some(Field::Cap))
}

/// Whether files, accesses or capabilities say which calls are meant.
fn narrows(rule: &Rule) -> bool {
    narrows_to_files(rule) || tests_capability(rule)
}

fn narrows_to_files(rule: &Rule) -> bool {
    rule.tests.iter().any(|test| matches!(test, Test::Path(_) | Test::Dir(_) | Test::Perm(_)))
}

fn perm(rule: &Rule) -> Perm {
    let perms = rule.tests.iter().filter_map(|test| if let Test::Perm(perm) = test { Some(*perm) } else { None });
    perms.reduce(|all, one| all | one).unwrap_or(Perm::ALL)
}

/// ABIs whose calls a rule matches.
fn arches(rule: &Rule) -> impl Iterator<Item = Arch> + '_ {
    let named = rule.arch.map(|arch| arch.0);
    let machine = if named == Some(Arch::Aarch64) { &[Arch::Aarch64][..] } else { &[Arch::B64, Arch::B32] };
    machine.iter().copied().filter(|arch| rule.arch.is_none_or(|(named, equal)| (named == *arch) == equal))
}

fn of_call(rule: &Rule, number: u16) -> Option<Obstacle> {
    let called = |arch: Arch| syscalls::name(arch, number);
    if rule.arch.is_none()
        && let Some(name) = called(Arch::B64).filter(|name| called(Arch::B32) != Some(name))
    {
        return Some(Obstacle::Ambiguous { number, name });
    }
    let free = arches(rule).map(called).find(|name| name.is_none_or(|name| hooks_of_call(rule, name).is_empty()))?;
    Some(Obstacle::Call { number, name: free.map_or_else(|| number.to_string(), str::to_owned) })
}

fn without_file(rule: &Rule, number: u16) -> Option<Obstacle> {
    let tests_file = rule.tests.iter().any(|test| matches!(test, Test::Path(_) | Test::Dir(_)));
    let mut called = arches(rule).filter_map(|arch| syscalls::name(arch, number));
    let name = called.find(|name| !refusing_hooks(name).iter().any(|hook| refuses_by_file(hook)))?;
    tests_file.then_some(Obstacle::NoFile { number, name })
}

fn by_errno(rule: &Rule, number: u16) -> Option<Obstacle> {
    let errno = rule.errno.and_then(|errno| tables::errno_name(errno.into()))?;
    let mut called = arches(rule).filter_map(|arch| syscalls::name(arch, number));
    called.find_map(|name| Some(Obstacle::Errno { number, name, errno, meaning: mistaken_for(name, errno)? }))
}

impl fmt::Display for Obstacle {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::List(list) => write!(out, "the {} list is not about acts, only exit is", list.name()),
            Self::Result { field, .. } => write!(out, "{} is known only after the act", field.name()),
            Self::Call { name, .. } => write!(out, "no hook can refuse {name} before it happens"),
            Self::Ambiguous { number, name } => {
                write!(out, "{name} is {number}, which means another call to 32-bit programs")
            }
            Self::NoFile { name, .. } => write!(out, "no hook of {name} is shown a file"),
            Self::Errno { name, errno, meaning, .. } => {
                write!(out, "{errno} does not refuse {name}: there it means {meaning}")
            }
            Self::EveryCall => out.write_str("the rule names every system call, and not all can be refused"),
        }
    }
}

impl Obstacle {
    fn span(&self, rule: &Rule) -> Span {
        match self {
            Self::List(_) | Self::EveryCall => rule.written.head,
            Self::Result { test, .. } => rule.written.test(*test),
            Self::Call { number, .. }
            | Self::Ambiguous { number, .. }
            | Self::NoFile { number, .. }
            | Self::Errno { number, .. } => rule.written.syscall(*number),
        }
    }

    /// What to write instead.
    fn alternative(&self) -> String {
        match self {
            Self::List(_) => "write -a deny,exit, or keep this list with always or never".to_owned(),
            Self::Result { field, .. } => {
                format!("leave {} out, or keep the test in a rule with the action always", field.name())
            }
            Self::Call { name, .. } => match refusing_hooks_if(name) {
                Some((bit, _)) => format!("add -F a0&{bit:#x}: it can be refused where it asks for that"),
                None => format!("record it with a rule of its own, -a always,exit -S {name}, and deny the others"),
            },
            Self::Ambiguous { .. } => "write the rule twice, with -F arch=b64 and -F arch=b32 before -S".to_owned(),
            Self::NoFile { name, .. } => format!("deny {name} by a rule of its own, without path and dir"),
            Self::Errno { .. } => "write another errno, or leave it out: then it is EPERM".to_owned(),
            Self::EveryCall => "name the calls with -S, or files and accesses with path, dir or perm".to_owned(),
        }
    }
}

/// What is wrong with a rule that refuses: always, or what cannot be recorded.
pub(crate) fn diagnose(rule: &Rule) -> Vec<Diagnostic> {
    let refuses = if rule.action.refuses() {
        rule.action.name()
    } else if rule.fail == Some(Fail::Closed) {
        "fail=closed"
    } else {
        return Vec::new();
    };
    let told = obstacles(rule).into_iter().map(|obstacle| {
        let message = format!("{refuses} is decided before the act: {obstacle}");
        let error = Diagnostic::error(&rule.written.line, obstacle.span(rule), Code::CannotDeny, message);
        error.hint(obstacle.alternative())
    });
    told.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{NoHost, Source, parse};

    fn rule(text: &str) -> Rule {
        let parsed = parse(&[Source { name: None, text: text.into() }], &NoHost);
        parsed.ruleset.rules().next().cloned().unwrap_or_else(|| panic!("{text}: {:?}", parsed.diagnostics))
    }

    fn told(text: &str) -> Vec<String> {
        obstacles(&rule(text)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn acts_with_a_hook_before_them_can_be_refused() {
        for text in [
            "-w /etc/passwd -p rwxa",
            "-a always,exit -F arch=b64 -S unlink,sendto,setuid -F auid>=1000",
            "-a always,exit -F arch!=b64 -S unlink",
            "-a always,exit -F dir=/srv/",
            "-a always,exit -S all -F perm=x -F uid=0",
            "-a always,exit -F arch=b64 -S sethostname,reboot -F cap=sys_admin",
            "-a always,exit -F cap=sys_module",
        ] {
            assert!(told(text).is_empty(), "{text}: {:?}", told(text));
        }
        let hooks = hooks(&rule("-a always,exit -F arch=b32 -S unlinkat,connect"));
        assert_eq!(hooks.into_iter().collect::<Vec<_>>(), ["path_rmdir", "path_unlink", "socket_connect"]);
        let of_call = |text| hooks_of_call(&rule(text), "bind");
        assert_eq!(of_call("-a always,exit -F arch=b64 -S bind -F cap=net_bind_service"), ["socket_bind", "capable"]);
        assert_eq!(of_call("-a always,exit -F cap=net_bind_service"), ["capable"]);
        let of_unshare =
            |test| hooks_of_call(&rule(&format!("-a always,exit -F arch=b64 -S unshare {test}")), "unshare");
        for test in ["-F a0&0x10000000", "-F a0&=0x10020000", "-F a0=0x10000000"] {
            assert_eq!(of_unshare(test), ["userns_create"], "{test}");
        }
        for test in ["", "-F a0&0x10020000", "-F a0=0x20000", "-F a1&0x10000000"] {
            assert!(of_unshare(test).is_empty(), "{test}");
        }
        assert!(hooks_of_call(&rule("-w /a -p w"), "fallocate").is_empty(), "it needs a descriptor to write");
        let named = "-a always,exit -F arch=b64 -S fallocate -F dir=/a";
        assert_eq!(hooks_of_call(&rule(named), "fallocate"), ["file_permission"]);
    }

    #[test]
    fn what_stands_in_the_way_is_told_each_by_itself() {
        let rows = [
            (
                "-a always,exit -F arch=b64 -S unlink,reboot,sethostname",
                "no hook can refuse sethostname before it happens",
            ),
            ("-a always,exit -F arch=b64 -S unlink -F exit=-EPERM", "exit is known only after the act"),
            ("-a always,exit -F arch=b64 -S unlink -F success=1", "success is known only after the act"),
            ("-a always,exit -S openat", "openat is 257, which means another call to 32-bit programs"),
            ("-a always,exit -F arch=b64 -S unlink,setuid -F dir=/a", "no hook of setuid is shown a file"),
            ("-a always,exit -F uid=0", "the rule names every system call, and not all can be refused"),
            ("-a always,task -F uid=0", "the task list is not about acts, only exit is"),
            ("-a always,exit -F arch=b64 -S 1999", "no hook can refuse 1999 before it happens"),
        ];
        for (text, expected) in rows {
            assert!(told(text).iter().any(|told| told == expected), "{text}: {:?}", told(text));
        }
        assert_eq!(told(rows[0].0).len(), 2);
    }

    #[test]
    fn an_errno_that_is_no_refusal_of_a_call_is_in_the_way() {
        let rows = [
            ("-a deny,exit -F arch=b64 -S kill,tkill -F errno=ESRCH", "ESRCH does not refuse kill"),
            ("-a kill,exit -F arch=b32 -S rt_sigqueueinfo -F errno=ESRCH", "ESRCH does not refuse rt_sigqueueinfo"),
            (
                "-a deny,exit -F arch=b64 -S pidfd_send_signal -F errno=3 --dry-run",
                "ESRCH does not refuse pidfd_send_signal",
            ),
            ("-a deny,exit -F arch=b64 -S prctl -F errno=ENOSYS", "ENOSYS does not refuse prctl"),
        ];
        for (text, told) in rows {
            let parsed = parse(&[Source { name: None, text: text.into() }], &NoHost);
            assert!(parsed.diagnostics.iter().any(|diagnostic| diagnostic.message.contains(told)), "{text}");
        }
        for text in
            ["-a deny,exit -F arch=b64 -S tkill -F errno=ESRCH", "-a deny,exit -F arch=b64 -S kill -F errno=EBUSY"]
        {
            assert!(obstacles(&rule(text)).is_empty(), "{text}");
        }
    }
}
