//! What nobody but the daemon may touch, as rules that refuse: in force before those of the user, and not among them.
//!
//! The daemon's own acts are never refused, so that it goes on to write, rotate and remove its logs. What such rules cannot hold
//! is in `docs/threat-model.md`.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use rules::{Diagnostic, NoHost, RuleSet, Source};
use serde::Deserialize;

use crate::config::{Config, DEFAULT_CONFIG};
use crate::keeper::Kept;
use crate::kernel::pins::{BPF_FS, OURS};
use crate::kernel::process::Process;

/// Key of the records of what was refused.
pub const KEY: &str = "auditd-bpf-guard";

/// Written to, programs come off the functions that they are attached to.
const FTRACE_SWITCH: &str = "/proc/sys/kernel/ftrace_enabled";

/// Where auditd's tools keep rules and configuration.
const AUDIT_CONFIG: &str = "/etc/audit";

/// `protect`: what is guarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protect {
    /// Directories of file outputs and spools: no writing, renaming, removing, mounting over.
    Logs,
    /// `/etc/audit`, the configuration and the rules that the daemon was given, and its program.
    Config,
    /// The daemon: no signals but those that ask it for something, no tracing, no reaching into its memory, no writing to the
    /// libraries that it runs.
    Process,
    /// bpf(2): no descriptors of others' programs, maps and links, by id or by name, by which they could be changed or detached;
    /// nothing is taken away where the daemon has them by name; and ftrace stays enabled.
    Bpf,
}

impl Protect {
    /// All that can be guarded.
    pub const ALL: [Self; 4] = [Self::Logs, Self::Config, Self::Process, Self::Bpf];
    /// What is guarded behind `-e 2` unless it is said otherwise. Not the configuration: where the rules lock themselves at every
    /// start, nobody could ever change them again, or install another version.
    pub const LOCKED: [Self; 3] = [Self::Logs, Self::Process, Self::Bpf];
}

/// What is guarded, and where that is. By default nothing is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Guard {
    what: BTreeSet<Protect>,
    /// What is besides, while `-e 2` is in force.
    what_locked: BTreeSet<Protect>,
    logs: BTreeSet<PathBuf>,
    config: BTreeSet<PathBuf>,
    program: Option<PathBuf>,
    libraries: BTreeSet<PathBuf>,
    /// The daemon, and its keeper if it has one.
    pids: Vec<u32>,
}

impl Guard {
    /// Of this process and its keeper, configured so; `file`: its configuration.
    #[must_use]
    pub fn of_daemon(config: &Config, file: Option<&Path>, kept: Option<&Kept>) -> Self {
        let logs = config.outputs.iter().filter_map(output::OutputConfig::directory).map(Path::to_path_buf).collect();
        let program = match kept {
            // That of this process may have another name by now.
            Some(kept) => kept.program().map(Path::to_path_buf),
            None => std::fs::read_link("/proc/self/exe").ok(),
        };
        let mut libraries = code_in(&std::fs::read_to_string("/proc/self/maps").unwrap_or_default());
        libraries.retain(|library| Some(library) != program.as_ref());
        let named = [Path::new(AUDIT_CONFIG), &config.rules, file.unwrap_or(Path::new(DEFAULT_CONFIG))];
        Self {
            what: config.protect.iter().copied().collect(),
            what_locked: config.protect_locked.iter().copied().collect(),
            logs,
            config: named.into_iter().filter_map(|path| std::fs::canonicalize(path).ok()).collect(),
            program,
            libraries,
            pids: [std::process::id()].into_iter().chain(kept.map(|kept| kept.keeper().pid)).collect(),
        }
    }

    /// The rules, in order.
    ///
    /// # Errors
    /// What is wrong with them: a path may be one that no rule can name.
    pub fn rules(&self) -> Result<RuleSet, Vec<Diagnostic>> {
        loaded(self.text(&self.what, Ending::ByAuditctl))
    }

    /// The same while `-e 2` is in force: then nobody at all ends the daemon, if its process is guarded for that.
    ///
    /// # Errors
    /// As [`Guard::rules`].
    pub fn locked_rules(&self) -> Result<RuleSet, Vec<Diagnostic>> {
        let ending = if self.what_locked.contains(&Protect::Process) { Ending::Never } else { Ending::ByAuditctl };
        loaded(self.text(&(&self.what | &self.what_locked), ending))
    }

    fn text(&self, what: &BTreeSet<Protect>, ending: Ending) -> Vec<u8> {
        let mut text = Vec::new();
        for what in what {
            match what {
                Protect::Logs => self.logs.iter().for_each(|directory| tree(&mut text, directory)),
                Protect::Config => {
                    for path in &self.config {
                        if path.is_dir() { tree(&mut text, path) } else { file(&mut text, path) }
                    }
                    self.program.iter().for_each(|program| file(&mut text, program));
                }
                Protect::Process => {
                    self.pids.iter().for_each(|pid| self.process(*pid, &mut text, ending));
                    self.libraries.iter().for_each(|library| writing(&mut text, library));
                }
                Protect::Bpf => {
                    by_descriptor(&mut text);
                    pinned(&mut text);
                    writing(&mut text, Path::new(FTRACE_SWITCH));
                }
            }
        }
        text
    }

    fn process(&self, pid: u32, text: &mut Vec<u8>, ending: Ending) {
        for arch in ["b64", "b32"] {
            if let (Ending::ByAuditctl, Some(program)) = (ending, &self.program) {
                let calls = "kill,pidfd_send_signal";
                let rule = format!("-a never,exit -F arch={arch} -S {calls} -F obj_pid={pid} -F exe=");
                push(text, &rule, program, "");
            }
            for (calls, signal) in
                [("kill,tkill,rt_sigqueueinfo,pidfd_send_signal", "a1"), ("tgkill,rt_tgsigqueueinfo", "a2")]
            {
                let asks: String = ASKING.iter().map(|number| format!(" -F {signal}!={number}")).collect();
                let _ = writeln!(text, "-a deny,exit -F arch={arch} -S {calls} -F obj_pid={pid}{asks} -k {KEY}");
            }
            for calls in ["ptrace,process_vm_writev,process_vm_readv,pidfd_getfd", STARVING] {
                let _ = writeln!(text, "-a deny,exit -F arch={arch} -S {calls} -F obj_pid={pid} -k {KEY}");
            }
        }
        // Its memory, limits, and what else is written there. Nothing but opening does that; its memory, and files that it has
        // mapped or opened, by any other mount of /proc as well.
        for arch in ["b64", "b32"] {
            for of in [format!("dir=/proc/{pid}"), format!("obj_pid={pid}")] {
                let _ = writeln!(text, "-a deny,exit -F arch={arch} -S {OPENS} -F {of} -F perm=w -k {KEY}");
            }
        }
    }
}

/// Files in /proc that rules of a guard name: while they are open they stay what the rules name.
#[must_use]
pub fn kept_open(spared: impl Iterator<Item = Process>) -> Vec<File> {
    let paths = spared.map(|process| format!("/proc/{}", process.pid)).chain([FTRACE_SWITCH.to_owned()]);
    paths.filter_map(|path| File::open(path).ok()).collect()
}

/// Files that are mapped to be run, by what `/proc/self/maps` says (proc_pid_maps(5)). Those that are replaced already are not to be
/// had by their names.
fn code_in(maps: &str) -> BTreeSet<PathBuf> {
    let files = maps.lines().filter_map(|line| {
        let (fields, path) = line.split_once('/')?;
        let runs = fields.split(' ').nth(1).is_some_and(|permissions| permissions.contains('x'));
        (runs && !path.ends_with(" (deleted)")).then(|| Path::new("/").join(path))
    });
    files.collect()
}

fn loaded(text: Vec<u8>) -> Result<RuleSet, Vec<Diagnostic>> {
    rules::parse(&[Source { name: None, text }], &NoHost).into_loadable().map(|(rules, _)| rules)
}

/// How the daemon may be ended.
#[derive(Clone, Copy)]
enum Ending {
    /// By this same program: `auditctl --signal stop`, which leaves a record of who asked.
    ByAuditctl,
    Never,
}

/// By these a process gets limits that end it, or too little time to keep up.
const STARVING: &str = "prlimit64,setpriority,ioprio_set,sched_setscheduler,sched_setparam,sched_setattr,sched_setaffinity,\
                        migrate_pages,move_pages";

/// Signals that ask for something, and end nothing: none, HUP, USR1, USR2, CONT.
const ASKING: [i32; 5] = [0, 1, 10, 12, 18];

/// By these something is mounted in the place of what is guarded, or it is unmounted.
const MOUNTS: [(&str, &str); 2] = [("b64", "mount,umount2,move_mount"), ("b32", "mount,umount,umount2,move_mount")];

fn tree(text: &mut Vec<u8>, directory: &Path) {
    push(text, "-a deny,exit -F dir=", directory, &format!(" -F perm=wa -k {KEY}"));
    for (arch, calls) in MOUNTS {
        push(text, &format!("-a deny,exit -F arch={arch} -S {calls} -F dir="), directory, &format!(" -k {KEY}"));
    }
}

fn file(text: &mut Vec<u8>, path: &Path) {
    push(text, "-a deny,exit -F path=", path, &format!(" -F perm=wa -k {KEY}"));
}

/// Opens.
const OPENS: &str = "open,openat,openat2,creat";

/// No writing to what a file holds. Another may take its place, as in upgrades.
fn writing(text: &mut Vec<u8>, path: &Path) {
    for (arch, truncate) in [("b64", "truncate"), ("b32", "truncate,truncate64")] {
        let rule = format!("-a deny,exit -F arch={arch} -S {OPENS},{truncate} -F path=");
        push(text, &rule, path, &format!(" -F perm=w -k {KEY}"));
    }
}

/// `BPF_OBJ_GET`, `BPF_PROG_GET_FD_BY_ID`, `BPF_MAP_GET_FD_BY_ID`, `BPF_LINK_GET_FD_BY_ID` (`include/uapi/linux/bpf.h`): of these
/// everything else that could be done to a program, map or link of another process needs one.
fn by_descriptor(text: &mut Vec<u8>) {
    for command in [7, 13, 14, 30] {
        let _ = writeln!(text, "-a deny,exit -F arch=b64 -S bpf -F a0={command} -k {KEY}");
        let _ = writeln!(text, "-a deny,exit -F arch=b32 -S bpf -F a0={command} -k {KEY}");
    }
}

/// The daemon's names in the BPF file system, which hold what is in force should it be killed; and the whole of it, which would take
/// them along, or hide them.
fn pinned(text: &mut Vec<u8>) {
    tree(text, Path::new(OURS));
    for (arch, calls) in MOUNTS {
        let _ = writeln!(text, "-a deny,exit -F arch={arch} -S {calls} -F path={BPF_FS} -k {KEY}");
    }
}

/// Writes a rule with a path. One with a line break is none that a rule can name.
fn push(text: &mut Vec<u8>, before: &str, path: &Path, behind: &str) {
    let path = path.as_os_str().as_encoded_bytes();
    if path.contains(&b'\n') {
        tracing::warn!("cannot be guarded, for the line break in it: {}", output::escape::escape(path));
        return;
    }
    text.extend_from_slice(before.as_bytes());
    text.extend_from_slice(&rules::escape(path));
    text.extend_from_slice(behind.as_bytes());
    text.push(b'\n');
}

#[cfg(test)]
mod tests {
    use rules::Dialect;

    use super::*;

    fn guard(what: &[Protect], what_locked: &[Protect]) -> Guard {
        Guard {
            what: what.iter().copied().collect(),
            what_locked: what_locked.iter().copied().collect(),
            logs: ["/var/log/my audit".into(), "/var/log/x\n-D".into()].into(),
            config: ["/etc/audit".into()].into(),
            program: Some("/usr/sbin/auditd-bpf".into()),
            libraries: ["/usr/lib/libc.so.6".into()].into(),
            pids: vec![812, 811],
        }
    }

    fn listed(rules: &RuleSet) -> Vec<String> {
        String::from_utf8(rules.list_text(Dialect::V4)).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn nothing_is_guarded_unless_it_is_asked_for() {
        assert_eq!(Guard::default().rules().unwrap().len(), 0);
        assert_eq!(guard(&[], &Protect::ALL).rules().unwrap().len(), 0);
    }

    #[test]
    fn a_directory_is_guarded_against_changes_and_mounts() {
        let rules = listed(&guard(&[Protect::Logs], &[]).rules().unwrap());
        assert_eq!(rules.len(), 3, "{rules:?}");
        assert_eq!(rules[0], "-w /var/log/my audit -p wa --action deny -k auditd-bpf-guard");
        assert!(rules[1].contains("-S mount,umount2,move_mount -F dir=/var/log/my audit"), "{rules:?}");
    }

    #[test]
    fn auditctl_ends_the_daemon_until_it_is_locked() {
        let guard = guard(&[Protect::Process], &Protect::ALL);
        let exempts = |rules: RuleSet| listed(&rules).iter().filter(|rule| rule.starts_with("-a never")).count();
        assert_eq!(exempts(guard.rules().unwrap()), 4, "one for each ABI, of the daemon and its keeper");
        let locked = guard.locked_rules().unwrap();
        assert_eq!(exempts(locked.clone()), 0);
        let locked = listed(&locked).join("\n");
        for guarded in [
            "obj_pid=812",
            "obj_pid=811",
            "/etc/audit",
            "/usr/sbin/auditd-bpf",
            "-S bpf -F a0=",
            "-w /sys/fs/bpf/auditd-bpf -p wa",
            "/proc/812",
            "/proc/811",
            "/usr/lib/libc.so.6",
            FTRACE_SWITCH,
        ] {
            assert!(locked.contains(guarded), "{guarded} in {locked}");
        }
    }

    #[test]
    fn code_is_what_is_mapped_to_be_run() {
        let maps = "55d0c0400000-55d0c0401000 r-xp 00001000 fe:00 12 /usr/sbin/auditd-bpf\n\
                    7f10a0000000-7f10a0001000 r--p 00000000 fe:00 77                         /usr/lib/locale/C.utf8\n\
                    7f10b0000000-7f10b0001000 r-xp 00000000 fe:00 78                         /usr/lib/my libc.so.6\n\
                    7f10c0000000-7f10c0001000 r-xp 00000000 fe:00 79                         /usr/lib/old.so (deleted)\n\
                    7ffd3a000000-7ffd3a002000 r-xp 00000000 00:00 0                          [vdso]\n";
        let expected: [PathBuf; 2] = ["/usr/lib/my libc.so.6".into(), "/usr/sbin/auditd-bpf".into()];
        assert!(code_in(maps).iter().eq(&expected));
        let own = code_in(&std::fs::read_to_string("/proc/self/maps").unwrap());
        assert!(own.contains(&std::fs::read_link("/proc/self/exe").unwrap()), "{own:?}");
    }
}
