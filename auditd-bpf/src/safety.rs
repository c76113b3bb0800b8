//! Rules that would refuse what the machine cannot do without: told when they are loaded, and not loaded without `--force`.
//!
//! What is asked is the reference matcher, about acts of the first process as root: to start a program, this daemon among them,
//! and to read or list what every program reads. The daemon's own acts are never refused.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use rules::matcher::{self, Call, Inode, Object, Subject};
use rules::{Code, Diagnostic, RuleSet};
use tables::{Arch, Perm, syscalls};

/// Where the first process' program is, and this one's.
#[derive(Clone, Debug)]
pub struct Vital {
    init: Vec<PathBuf>,
    daemon: Vec<PathBuf>,
}

/// An act without which the machine or the daemon does not work.
struct Act {
    what: &'static str,
    call: &'static str,
    access: Perm,
    files: Vec<PathBuf>,
}

impl Vital {
    /// Of this host.
    #[must_use]
    pub fn of_host() -> Self {
        let target = |link: &str| std::fs::read_link(link).ok();
        let init = target("/proc/1/exe").into_iter().chain([PathBuf::from("/sbin/init")]);
        Self { init: init.collect(), daemon: target("/proc/self/exe").into_iter().collect() }
    }

    fn acts(&self) -> Vec<Act> {
        let act = |what, call, access, files: &[PathBuf]| Act { what, call, access, files: files.to_vec() };
        let shell = [PathBuf::from("/bin/sh"), PathBuf::from("/usr/bin/sh")];
        let library = [PathBuf::from("/etc/ld.so.cache")];
        vec![
            act("starting the first process' own program", "execve", Perm::NONE, &self.init),
            act("starting this daemon", "execve", Perm::NONE, &self.daemon),
            act("starting a shell", "execve", Perm::NONE, &shell),
            act("reading what every program reads", "openat", Perm::READ, &library),
            act("listing the root directory", "openat", Perm::READ, &["/".into()]),
            act("starting processes", "clone", Perm::NONE, &[]),
            act("mapping memory", "mmap", Perm::NONE, &[]),
        ]
    }

    /// One diagnostic for each such act that a rule refuses to the first process.
    #[must_use]
    pub fn refused_by(&self, rules: &RuleSet) -> Vec<Diagnostic> {
        let told = self.acts().into_iter().filter_map(|act| {
            let names = self.init.iter().map(|path| bytes(path)).collect();
            let subject = Subject { pid: 1, auid: u32::MAX, session: u32::MAX, exe: names, ..Subject::default() };
            let number = syscalls::number(Arch::B64, act.call)?;
            let (arch, access) = (Arch::B64, act.access);
            let call = Call { arch, number, args: [0; 6], access, exit: Some(0), address: None, target: None, caps: 0 };
            let objects: Vec<Object> = act.files.iter().map(|path| object(path)).collect();
            let (position, action) = matcher::exit(rules, &subject, &call, &objects)?;
            let rule = rules.rules().filter(|rule| rule.list == rules::FilterList::Exit).nth(position)?;
            let told = action.refuses() && !rule.dry_run;
            let message = format!("{} would refuse the first process {}", action.name(), act.what);
            let error = Diagnostic::error(&rule.written.line, rule.written.head, Code::CannotDeny, message);
            told.then(|| {
                error.hint("exempt it by a never above, as -F pid=1 or -F auid=unset, or start the daemon with --force")
            })
        });
        told.collect()
    }
}

fn bytes(path: &Path) -> Vec<u8> {
    path.as_os_str().as_encoded_bytes().to_vec()
}

/// A file, in all the directories that its name says.
fn object(path: &Path) -> Object {
    let trees = path.ancestors().map(bytes).collect();
    Object { names: vec![bytes(path)], trees, inode: Some(Inode { mode: 0o100_755, ..Inode::default() }), magic: 0 }
}

#[cfg(test)]
mod tests {
    use rules::{NoHost, Source};

    use super::*;

    fn told(text: &str) -> Vec<String> {
        let vital =
            Vital { init: vec!["/usr/lib/systemd/systemd".into()], daemon: vec!["/usr/sbin/auditd-bpf".into()] };
        let parsed = rules::parse(&[Source { name: None, text: text.as_bytes().to_vec() }], &NoHost);
        let rules = parsed.into_loadable().unwrap().0;
        vital.refused_by(&rules).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_stops_the_machine_is_told_with_its_rule() {
        for (rule, acts) in [
            ("-w / -p x --action deny", 3),
            ("-w / -p rwxa --action kill", 5),
            ("-w /usr/sbin/auditd-bpf -p x --action deny", 1),
            ("-a deny,exit -F arch=b64 -S execve", 3),
            ("-a deny,exit -F arch=b64 -S clone,fork -F uid=0", 1),
        ] {
            let told = told(rule);
            assert_eq!(told.len(), acts, "{rule}: {told:?}");
            assert!(told[0].contains("would refuse the first process"), "{told:?}");
        }
    }

    #[test]
    fn rules_that_leave_the_machine_alone_pass() {
        for rule in [
            "-w / -p x --action deny --dry-run",
            "-w / -p x",
            "-a never,exit -F arch=b64 -S execve -F pid=1\n-a deny,exit -F arch=b64 -S execve",
            "-a deny,exit -F arch=b64 -S execve -F auid>=1000 -F auid!=unset",
            "-w /etc/shadow -p rwa --action deny",
        ] {
            assert_eq!(told(rule), Vec::<String>::new(), "{rule}");
        }
    }
}
