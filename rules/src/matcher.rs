//! The reference matcher: which rule decides about an event, found by asking one rule after the other.
//!
//! It is what the kernel's tables are tested against, so it is written to be read beside `audit_filter_rules` in
//! `kernel/auditsc.c`, and not to be fast. Files are told apart by their names alone; what a name stands for is the caller's
//! business.

use std::net::Ipv6Addr;

use tables::{AccessTest, Action, Arch, Field, FilterList, Op, Perm, access_test, perm_class};

use crate::{Cgroup, Pattern, Rule, RuleSet, SocketAddress, Syscalls, Test, success_holds};

/// Who acts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// Process id.
    pub pid: u32,
    /// The parent's.
    pub ppid: u32,
    /// Real user id.
    pub uid: u32,
    /// Effective user id.
    pub euid: u32,
    /// Saved user id.
    pub suid: u32,
    /// File system user id.
    pub fsuid: u32,
    /// Real group id.
    pub gid: u32,
    /// Effective group id.
    pub egid: u32,
    /// Saved group id.
    pub sgid: u32,
    /// File system group id.
    pub fsgid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Login user id.
    pub auid: u32,
    /// Session.
    pub session: u32,
    /// Personality.
    pub personality: u32,
    /// Every name of the program that it runs.
    pub exe: Vec<Vec<u8>>,
    /// Its own name.
    pub comm: Vec<u8>,
    /// The control group that it is in, by path and by number, and all above it by path.
    pub cgroups: Vec<Cgroup>,
}

/// What it asked for, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// ABI.
    pub arch: Arch,
    /// Number in that ABI.
    pub number: u16,
    /// Arguments.
    pub args: [u64; 6],
    /// Of an open: reading, writing or both, by its flags.
    pub access: Perm,
    /// Return value; `None` for a call that does not return.
    pub exit: Option<i64>,
    /// The socket address that it was given.
    pub address: Option<SocketAddress>,
    /// The process that it acts upon.
    pub target: Option<u32>,
    /// A bit for each capability that it made use of.
    pub caps: u64,
}

/// A file that the call acts on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Object {
    /// Every name of the file, and the one that it is about to get or was reached by.
    pub names: Vec<Vec<u8>>,
    /// Every name of each directory that it is, or lies in.
    pub trees: Vec<Vec<u8>>,
    /// What is there; `None` for a name that did not come about. (The kernel then compares with zeros.)
    pub inode: Option<Inode>,
    /// `s_magic` of its file system.
    pub magic: u32,
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Inode {
    /// Inode number.
    pub number: u64,
    /// Major and minor number of the device that it is on.
    pub device: (u32, u32),
    /// The same of the device that it stands for.
    pub stands_for: (u32, u32),
    /// Type and permissions, as in `st_mode`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// Position in the exit list of the rule that decides, and its action: the first that matches.
#[must_use]
pub fn exit(rules: &RuleSet, subject: &Subject, call: &Call, objects: &[Object]) -> Option<(usize, Action)> {
    let seen: Vec<&Object> = objects.iter().filter(|object| !is_hidden(rules, object)).collect();
    let event = Event { subject, call: Some(call), objects: &seen, only: None };
    first(rules, FilterList::Exit, |rule| names_call(rule, call) && event.satisfies(rule))
}

/// The same of the task list, asked when a task comes.
#[must_use]
pub fn task(rules: &RuleSet, subject: &Subject) -> Option<(usize, Action)> {
    let event = Event { subject, call: None, objects: &[], only: None };
    first(rules, FilterList::Task, |rule| rule.arch.is_none() && event.satisfies(rule))
}

fn first(rules: &RuleSet, list: FilterList, matches: impl Fn(&Rule) -> bool) -> Option<(usize, Action)> {
    let mut list = rules.rules().filter(|rule| rule.list == list).enumerate();
    list.find(|(_, rule)| matches(rule)).map(|(index, rule)| (index, rule.action))
}

/// Whether the filesystem list keeps an object from being seen (`__audit_inode`).
fn is_hidden(rules: &RuleSet, object: &Object) -> bool {
    let never = rules.rules().filter(|rule| rule.list == FilterList::Filesystem && rule.action == Action::Never);
    never.flat_map(|rule| &rule.tests).any(|test| match *test {
        Test::Number { field: Field::Fstype, op, value } => op.holds(object.magic, value),
        _ => false,
    })
}

fn names_call(rule: &Rule, call: &Call) -> bool {
    let arch = rule.arch.is_none_or(|(arch, equal)| (arch == call.arch) == equal);
    arch && match &rule.syscalls {
        Syscalls::All | Syscalls::OfPerm => true,
        Syscalls::Set(numbers) => numbers.contains(&call.number),
    }
}

/// What a rule is asked about.
#[derive(Clone, Copy)]
struct Event<'a> {
    subject: &'a Subject,
    call: Option<&'a Call>,
    objects: &'a [&'a Object],
    /// The object that is being asked about, for rules on one file.
    only: Option<&'a Object>,
}

impl Event<'_> {
    /// Rules with a watch or an inode are asked about each object in turn (`audit_filter_inodes`), others once.
    fn satisfies(self, rule: &Rule) -> bool {
        let one_file =
            rule.tests.iter().any(|test| matches!(test, Test::Path(_) | Test::Number { field: Field::Inode, .. }));
        if one_file {
            self.objects.iter().any(|object| Event { only: Some(object), ..self }.meets_all(rule))
        } else {
            self.meets_all(rule)
        }
    }

    fn meets_all(self, rule: &Rule) -> bool {
        rule.tests.iter().all(|test| self.meets(test))
    }

    fn meets(self, test: &Test) -> bool {
        match test {
            Test::Number { field, op, value } => self.number(*field, *op, *value),
            Test::Path(path) => self.only.is_some_and(|object| object.names.contains(path)),
            Test::Dir(tree) => self.objects.iter().any(|object| object.trees.iter().any(|name| name[..] == tree[..])),
            Test::Exe { equal, path } => self.subject.exe.contains(path) == *equal,
            Test::Perm(perm) => self.call.is_some_and(|call| has_access(call, *perm)),
            // Without a security module that has labels.
            Test::Text { .. } => false,
            Test::Pattern { equal, pattern } => self.matches(pattern).is_some_and(|matches| matches == *equal),
            Test::Compare { pair, equal } => {
                let op = if *equal { Op::Equal } else { Op::NotEqual };
                let Some(left) = self.id(pair.left()) else { return false };
                match (self.id(pair.right()), pair.right()) {
                    (Some(right), _) => op.holds(left, right),
                    // Any object, whichever is being asked about (`audit_compare_uid`).
                    (None, Field::ObjUid) => self.inodes().any(|inode| op.holds(left, inode.uid)),
                    (None, _) => self.inodes().any(|inode| op.holds(left, inode.gid)),
                }
            }
        }
    }

    /// `None` where there is nothing to compare with.
    fn matches(self, pattern: &Pattern) -> Option<bool> {
        match pattern {
            Pattern::Network(network) => self.inet().map(|(ip, _)| network.contains(&ip)),
            Pattern::Comm(comm) => Some(self.subject.comm == comm.name()),
            Pattern::Cgroup(group) => Some(self.subject.cgroups.contains(group)),
        }
    }

    fn number(self, field: Field, op: Op, value: u32) -> bool {
        let of_object = |of: fn(Inode) -> u32| self.some_inode(|inode| op.holds(of(inode), value));
        let of_device = |of: fn((u32, u32)) -> u32| {
            self.some_inode(|inode| op.holds(of(inode.device), value) || op.holds(of(inode.stands_for), value))
        };
        match field {
            Field::Gid | Field::Egid => self.is_of_group(field, op, value),
            Field::ObjUid => of_object(|inode| inode.uid),
            Field::ObjGid => of_object(|inode| inode.gid),
            Field::Inode => of_object(|inode| inode.number as u32),
            Field::Devmajor => of_device(|device| device.0),
            Field::Devminor => of_device(|device| device.1),
            Field::Filetype => {
                let is_there = self.inodes().any(|inode| inode.mode & 0o170_000 == value);
                is_there == (op == Op::Equal)
            }
            Field::Exit => self.result().is_some_and(|exit| op.holds(exit as u32, value)),
            Field::Success => self.result().is_some_and(|exit| success_holds(op, value, !(-4095..0).contains(&exit))),
            Field::SaddrFam => self.address().is_some_and(|address| op.holds(u32::from(address.family), value)),
            Field::Dport => self.inet().is_some_and(|(_, port)| op.holds(u32::from(port), value)),
            Field::Cap => self.call.is_some_and(|call| call.caps >> value & 1 != 0),
            Field::ObjPid => self.call.and_then(|call| call.target).is_some_and(|target| op.holds(target, value)),
            _ => match field.argument() {
                Some(index) => self.call.is_some_and(|call| op.holds(call.args[index] as u32, value)),
                None => self.id(field).is_some_and(|id| op.holds(id, value)),
            },
        }
    }

    fn address(self) -> Option<SocketAddress> {
        self.call.and_then(|call| call.address)
    }

    fn inet(self) -> Option<(Ipv6Addr, u16)> {
        self.address().and_then(|address| address.inet)
    }

    fn result(self) -> Option<i64> {
        self.call.and_then(|call| call.exit)
    }

    fn inodes(self) -> impl Iterator<Item = Inode> {
        self.objects.iter().filter_map(|object| object.inode)
    }

    fn some_inode(self, holds: impl Fn(Inode) -> bool) -> bool {
        match self.only {
            Some(object) => object.inode.is_some_and(holds),
            None => self.inodes().any(holds),
        }
    }

    /// Equality looks at the supplementary groups as well.
    fn is_of_group(self, field: Field, op: Op, value: u32) -> bool {
        let own = if field == Field::Gid { self.subject.gid } else { self.subject.egid };
        let is_member = own == value || self.subject.groups.contains(&value);
        match op {
            Op::Equal => is_member,
            Op::NotEqual => !is_member,
            _ => op.holds(own, value),
        }
    }

    /// A number that belongs to who acts.
    fn id(self, field: Field) -> Option<u32> {
        let subject = self.subject;
        Some(match field {
            Field::Pid => subject.pid,
            Field::Ppid => subject.ppid,
            Field::Uid => subject.uid,
            Field::Euid => subject.euid,
            Field::Suid => subject.suid,
            Field::Fsuid => subject.fsuid,
            Field::Gid => subject.gid,
            Field::Egid => subject.egid,
            Field::Sgid => subject.sgid,
            Field::Fsgid => subject.fsgid,
            Field::Auid => subject.auid,
            Field::SessionId => subject.session,
            Field::Pers => subject.personality,
            _ => return None,
        })
    }
}

/// `audit_match_perm`
fn has_access(call: &Call, perm: Perm) -> bool {
    /// First argument of the `socketcall` that binds (`include/uapi/linux/net.h`).
    const SYS_BIND: u64 = 2;
    match access_test(call.arch, call.number) {
        AccessTest::Class => perm_class(perm, call.arch).contains(&call.number),
        AccessTest::OpenFlags => call.access.bits() & perm.bits() != 0,
        AccessTest::Exec => perm.contains(Perm::EXEC),
        AccessTest::Socketcall => perm.contains(Perm::WRITE) && call.args[0] == SYS_BIND,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{NoHost, Source, parse};
    use tables::syscalls;

    fn rules(text: &str) -> RuleSet {
        parse(&[Source { name: None, text: text.as_bytes().to_vec() }], &NoHost).into_loadable().expect("rules").0
    }

    fn call(name: &str, exit: i64) -> Call {
        let number = syscalls::number(Arch::B64, name).expect("a call");
        Call {
            arch: Arch::B64,
            number,
            args: [0; 6],
            access: Perm::NONE,
            exit: Some(exit),
            address: None,
            target: None,
            caps: 0,
        }
    }

    fn file(name: &str) -> Object {
        let trees = name.match_indices('/').skip(1).map(|(end, _)| name.as_bytes()[..end].to_vec()).collect();
        let inode = Inode { mode: 0o100_644, ..Inode::default() };
        Object { names: vec![name.into()], trees, inode: Some(inode), magic: 0 }
    }

    /// Position of the rule that decides.
    fn decides(text: &str, subject: &Subject, call: &Call, objects: &[Object]) -> Option<usize> {
        exit(&rules(text), subject, call, objects).map(|rule| rule.0)
    }

    #[test]
    fn the_first_match_decides_whatever_comes_after() {
        let text = "-a never,exit -F arch=b64 -S unlink -F uid=7\n-a always,exit -F arch=b64 -S unlink\n";
        let subject = Subject { uid: 7, ..Subject::default() };
        assert_eq!(exit(&rules(text), &subject, &call("unlink", 0), &[]), Some((0, Action::Never)));
        assert_eq!(decides(text, &Subject::default(), &call("unlink", 0), &[]), Some(1));
        assert_eq!(decides(text, &subject, &call("rmdir", 0), &[]), None);
    }

    #[test]
    fn errors_are_large_and_calls_without_a_result_meet_no_test_of_it() {
        let text = "-a always,exit -F arch=b64 -S unlink -F exit>0\n";
        assert_eq!(decides(text, &Subject::default(), &call("unlink", -13), &[]), Some(0));
        let endless = Call { exit: None, ..call("unlink", 0) };
        assert_eq!(decides(text, &Subject::default(), &endless, &[]), None);
    }

    #[test]
    fn tests_beside_a_path_are_of_that_file_and_others_of_any() {
        let (mut mine, mut other) = (file("/a/mine"), file("/a/other"));
        mine.inode = Some(Inode { uid: 5, ..Inode::default() });
        other.inode = Some(Inode { uid: 6, ..Inode::default() });
        let one = "-a always,exit -F arch=b64 -S unlink -F path=/a/mine -F obj_uid=6\n";
        assert_eq!(decides(one, &Subject::default(), &call("unlink", 0), &[mine.clone(), other.clone()]), None);
        let any = "-a always,exit -F arch=b64 -S unlink -F dir=/a -F obj_uid=6\n";
        assert_eq!(decides(any, &Subject::default(), &call("unlink", 0), &[mine, other]), Some(0));
    }

    #[test]
    fn a_type_is_missing_only_if_no_object_has_it() {
        let text = "-a always,exit -F arch=b64 -S unlink -F filetype!=dir\n";
        let directory = Object { inode: Some(Inode { mode: 0o40_755, ..Inode::default() }), ..file("/a") };
        assert_eq!(decides(text, &Subject::default(), &call("unlink", 0), &[directory, file("/a/b")]), None);
        assert_eq!(decides(text, &Subject::default(), &call("unlink", 0), &[file("/a/b")]), Some(0));
    }

    #[test]
    fn supplementary_groups_count_for_equality_alone() {
        let subject = Subject { gid: 1, groups: vec![100], ..Subject::default() };
        for (test, holds) in [("gid=100", true), ("gid!=100", false), ("gid>=100", false), ("gid=1", true)] {
            let text = format!("-a always,exit -F arch=b64 -S unlink -F {test}\n");
            assert_eq!(decides(&text, &subject, &call("unlink", 0), &[]).is_some(), holds, "{test}");
        }
    }

    #[test]
    fn what_belongs_to_a_call_never_holds_of_a_task() {
        let always = |test: &str| task(&rules(&format!("-a never,task {test}\n")), &Subject::default()).is_some();
        assert!(always("-F uid=0") && always("-F pers=0"));
        assert!(!always("-F a0=0") && !always("-F arch=b64") && !always("-F obj_uid=0"));
    }
}
