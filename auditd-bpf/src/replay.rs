//! `auditd-bpf explain --replay LOG`: what of the acts in a log rules would have refused.
//!
//! The reference matcher is asked about each recorded act, with what its record tells. A record does not tell the supplementary
//! groups of who acted, nor the kind of file system, nor links to a file: rules that test these may refuse more, or less.
#![forbid(unsafe_code)]

use std::io::{self, Write};
use std::path::PathBuf;

use chrono::{DateTime, SecondsFormat};
use output::event::{Body, Event, Part, PathItem, SyscallEvent};
use output::read::{Entry, Reader};
use rules::matcher::{self, Call, Inode, Object, Subject};
use rules::{Action, Dialect, FilterList, Host, Rule, RuleSet, SocketAddress, print};
use serde::Serialize;
use tables::{Arch, Perm, syscalls};

use crate::check::Checked;
use crate::exit_code::ExitCode;
use crate::explain::Format;
use crate::logs;

/// Asks `rules` about every act in `files`, in order. Acts that would have been refused are told on `out`, then how many each rule
/// would have refused. What is wrong with rules or logs is told on `err`, and makes the status [`ExitCode::Failure`].
///
/// # Errors
/// If the answer cannot be written.
pub fn run(
    paths: &[PathBuf],
    files: &[PathBuf],
    format: Format,
    host: &dyn Host,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<ExitCode> {
    let checked = Checked::read(paths, host);
    if checked.errors() > 0 {
        checked.print(err)?;
        return Ok(ExitCode::Failure);
    }
    let mut replay = Replay::of(&checked.ruleset, format);
    let mut status = ExitCode::Success;
    for file in files {
        let shown = logs::shown(file);
        let reader = match logs::open(file) {
            Ok(input) => Reader::new(input),
            Err(error) => {
                writeln!(err, "{shown}: {error}")?;
                status = ExitCode::Failure;
                continue;
            }
        };
        for entry in reader {
            match entry {
                Ok(entry) => replay.entry(&entry, out)?,
                Err(error) => {
                    writeln!(err, "{shown}: {error}")?;
                    status = ExitCode::Failure;
                }
            }
        }
    }
    replay.close(out)?;
    Ok(status)
}

struct Replay<'a> {
    ruleset: &'a RuleSet,
    format: Format,
    /// Those of the exit list, in match order, and how many acts each would have refused.
    rules: Vec<(&'a Rule, u64)>,
    acts: u64,
}

/// An act that would have been refused; in this shape in `--json`, one on each line.
#[derive(Serialize)]
struct Refused<'a> {
    time: String,
    serial: u64,
    node: &'a str,
    /// `deny` or `kill`.
    verdict: &'static str,
    rule: String,
    syscall: &'a str,
    pid: u32,
    auid: u32,
    uid: u32,
    comm: String,
    exe: String,
    /// Names of its objects.
    paths: Vec<String>,
}

impl<'a> Replay<'a> {
    fn of(ruleset: &'a RuleSet, format: Format) -> Self {
        let rules = ruleset.rules().filter(|rule| rule.list == FilterList::Exit).map(|rule| (rule, 0));
        Self { ruleset, format, rules: rules.collect(), acts: 0 }
    }

    fn entry(&mut self, entry: &Entry, out: &mut dyn Write) -> io::Result<()> {
        let Body::Syscall(call) = &entry.event.body else { return Ok(()) };
        // What failed by itself is refused already; of what an io_uring did, rules of the exit list decide in hooks alone.
        if call.uring_op.is_some() || call.exit.is_some_and(|exit| (-4095..0).contains(&exit)) {
            return Ok(());
        }
        let Some((arch, number)) = Arch::from_audit_arch(call.arch).zip(u16::try_from(call.syscall).ok()) else {
            return Ok(());
        };
        self.acts += 1;
        let objects: Vec<Object> = call.paths.iter().filter_map(|item| object(item, call.cwd.as_deref())).collect();
        let decided = matcher::exit(self.ruleset, &subject(call), &act(call, arch, number), &objects);
        let Some((index, action @ (Action::Deny | Action::Kill))) = decided else { return Ok(()) };
        let (rule, count) = &mut self.rules[index];
        if rule.dry_run {
            return Ok(());
        }
        *count += 1;
        let name = syscalls::name(arch, number).unwrap_or("?");
        let told = Refused::of(&entry.event, call, &entry.node, name, action, rule);
        match self.format {
            Format::Text => told.print(out),
            Format::Json => {
                serde_json::to_writer(&mut *out, &told)?;
                writeln!(out)
            }
        }
    }

    fn close(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.format == Format::Json {
            return Ok(());
        }
        let refused: u64 = self.rules.iter().map(|(_, count)| count).sum();
        writeln!(out, "{refused} of {} acts that succeeded would have been refused", self.acts)?;
        for (rule, count) in self.rules.iter().filter(|(_, count)| *count > 0) {
            writeln!(out, "{count:>8}  {}", text(rule))?;
        }
        Ok(())
    }
}

impl<'a> Refused<'a> {
    fn of(event: &Event, call: &SyscallEvent, node: &'a str, syscall: &'a str, action: Action, rule: &Rule) -> Self {
        let time = DateTime::from_timestamp_nanos(event.time.cast_signed());
        let shown = |bytes: &[u8]| output::escape::escape(bytes).into_owned();
        Self {
            time: time.to_rfc3339_opts(SecondsFormat::Millis, true),
            serial: event.serial,
            node,
            verdict: action.name(),
            rule: text(rule),
            syscall,
            pid: call.pid,
            auid: call.ids.auid,
            uid: call.ids.uid,
            comm: shown(&call.comm),
            exe: call.exe.as_deref().map(shown).unwrap_or_default(),
            paths: call.paths.iter().filter_map(|item| item.path.as_deref()).map(shown).collect(),
        }
    }

    fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self { time, serial, verdict, syscall, pid, auid, uid, exe, .. } = self;
        let paths = self.paths.join(" ");
        writeln!(out, "{time} {serial} {verdict} {syscall} pid={pid} auid={auid} uid={uid} exe={exe} {paths}")
    }
}

fn text(rule: &Rule) -> String {
    output::escape::escape(&print::rule(rule, Dialect::V4)).into_owned()
}

fn subject(call: &SyscallEvent) -> Subject {
    let ids = call.ids;
    Subject {
        pid: call.pid,
        ppid: call.ppid,
        uid: ids.uid,
        euid: ids.euid,
        suid: ids.suid,
        fsuid: ids.fsuid,
        gid: ids.gid,
        egid: ids.egid,
        sgid: ids.sgid,
        fsgid: ids.fsgid,
        groups: Vec::new(),
        auid: ids.auid,
        session: call.session,
        personality: call.personality,
        exe: call.exe.iter().cloned().collect(),
        comm: call.comm.clone(),
        // No record tells.
        cgroups: Vec::new(),
    }
}

fn act(call: &SyscallEvent, arch: Arch, number: u16) -> Call {
    let mut args = [0; 6];
    args.iter_mut().zip(call.args.iter()).for_each(|(place, value)| *place = *value);
    Call {
        arch,
        number,
        args,
        access: access(call, syscalls::name(arch, number).unwrap_or_default(), args),
        exit: call.exit,
        address: call.sockaddr.as_deref().and_then(SocketAddress::parse),
        target: call.targets.first().map(|target| target.pid),
        // No record tells.
        caps: 0,
    }
}

/// What an open asks for, by its flags.
fn access(call: &SyscallEvent, name: &str, args: [u64; 6]) -> Perm {
    /// `O_ACCMODE` in `include/uapi/asm-generic/fcntl.h`.
    const ACCESS: u64 = 3;
    let of_structure =
        || call.parts.iter().find_map(|part| if let Part::Openat2 { flags, .. } = part { Some(*flags) } else { None });
    let flags = match name {
        "open" => Some(args[1]),
        "openat" => Some(args[2]),
        "openat2" => of_structure(),
        _ => None,
    };
    match flags.map(|flags| flags & ACCESS) {
        None => Perm::NONE,
        Some(0) => Perm::READ,
        Some(1) => Perm::WRITE,
        Some(_) => Perm::READ | Perm::WRITE,
    }
}

/// `None` for an object without a name.
fn object(item: &PathItem, cwd: Option<&[u8]>) -> Option<Object> {
    let name = absolute(item.path.as_deref()?, cwd);
    let ends = name.iter().enumerate().skip(1).filter(|(_, byte)| **byte == b'/').map(|(end, _)| end);
    let trees = ends.chain([name.len()]).map(|end| name[..end].to_vec()).chain([b"/".to_vec()]).collect();
    let inode = item.inode.map(|inode| Inode {
        number: inode.ino,
        device: (inode.dev >> 20, inode.dev & 0xf_ffff),
        stands_for: (inode.rdev >> 20, inode.rdev & 0xf_ffff),
        mode: inode.mode,
        uid: inode.uid,
        gid: inode.gid,
    });
    Some(Object { names: vec![name], trees, inode, magic: 0 })
}

/// A name as a log of the kernel's audit has it, with the working directory.
fn absolute(name: &[u8], cwd: Option<&[u8]>) -> Vec<u8> {
    match cwd {
        Some(cwd) if !name.starts_with(b"/") => [cwd, b"/", name].concat(),
        _ => name.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rules::NoHost;

    use super::*;

    const LOG: &str = "\
type=SYSCALL msg=audit(1700000000.100:7): arch=c000003e syscall=257 success=yes exit=3 a0=ffffff9c a1=1 a2=241 a3=1b6 items=1 ppid=1 pid=42 auid=1000 uid=1000 gid=1000 euid=1000 suid=1000 fsuid=1000 egid=1000 sgid=1000 fsgid=1000 tty=pts0 ses=3 comm=\"vi\" exe=\"/usr/bin/vi\" key=(null)
type=CWD msg=audit(1700000000.100:7): cwd=\"/srv/www\"
type=PATH msg=audit(1700000000.100:7): item=0 name=\"index.html\" inode=12 dev=08:01 mode=0100644 ouid=0 ogid=0 rdev=00:00 nametype=NORMAL
type=SYSCALL msg=audit(1700000000.200:8): arch=c000003e syscall=257 success=yes exit=3 a0=ffffff9c a1=1 a2=0 a3=0 items=1 ppid=1 pid=43 auid=1000 uid=1000 gid=1000 euid=1000 suid=1000 fsuid=1000 egid=1000 sgid=1000 fsgid=1000 tty=pts0 ses=3 comm=\"cat\" exe=\"/usr/bin/cat\" key=(null)
type=CWD msg=audit(1700000000.200:8): cwd=\"/\"
type=PATH msg=audit(1700000000.200:8): item=0 name=\"/srv/www/index.html\" inode=12 dev=08:01 mode=0100644 ouid=0 ogid=0 rdev=00:00 nametype=NORMAL
type=SYSCALL msg=audit(1700000000.300:9): arch=c000003e syscall=257 success=no exit=-13 a0=ffffff9c a1=1 a2=1 a3=0 items=1 ppid=1 pid=44 auid=1000 uid=1000 gid=1000 euid=1000 suid=1000 fsuid=1000 egid=1000 sgid=1000 fsgid=1000 tty=pts0 ses=3 comm=\"sh\" exe=\"/usr/bin/sh\" key=(null)
type=CWD msg=audit(1700000000.300:9): cwd=\"/\"
type=PATH msg=audit(1700000000.300:9): item=0 name=\"/srv/www/index.html\" inode=12 dev=08:01 mode=0100644 ouid=0 ogid=0 rdev=00:00 nametype=NORMAL
";

    fn replayed(rules: &str, format: Format) -> (String, String) {
        let directory = tempfile::tempdir().unwrap();
        let (rule_file, log) = (directory.path().join("r.rules"), directory.path().join("audit.log"));
        fs::write(&rule_file, rules).unwrap();
        fs::write(&log, LOG).unwrap();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        run(&[rule_file], &[log], format, &NoHost, &mut out, &mut err).unwrap();
        (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    #[test]
    fn acts_that_would_be_refused_are_told_with_their_rule() {
        let (out, err) = replayed("-a deny,exit -F dir=/srv/www -F perm=w -k web\n", Format::Text);
        assert_eq!(err, "");
        let lines: Vec<_> = out.lines().collect();
        let first = "2023-11-14T22:13:20.100Z 7 deny openat pid=42 auid=1000 uid=1000 exe=/usr/bin/vi index.html";
        assert_eq!(lines[..2], [first, "1 of 2 acts that succeeded would have been refused"]);
        assert_eq!(lines[2..], ["       1  -w /srv/www -p w --action deny -k web"]);
    }

    #[test]
    fn rules_above_exempt_and_a_dry_run_refuses_nothing() {
        let exempt = "-a never,exit -F arch=b64 -S openat -F exe=/usr/bin/vi\n-a deny,exit -F path=/srv/www/index.html -F perm=rw\n";
        let (out, _) = replayed(exempt, Format::Json);
        let [line] = out.lines().collect::<Vec<_>>().try_into().unwrap();
        let told: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(
            (&told["serial"], &told["verdict"], &told["exe"]),
            (&8.into(), &"deny".into(), &"/usr/bin/cat".into())
        );
        let (out, _) = replayed("-a deny,exit -F path=/srv/www/index.html -F perm=rw --dry-run\n", Format::Text);
        assert!(out.starts_with("0 of 2 acts"), "{out}");
    }

    #[test]
    fn nothing_is_replayed_by_rules_that_are_wrong() {
        let (out, err) = replayed("-a deny,exit -F nothing=1\n", Format::Text);
        assert!(out.is_empty() && err.contains("nothing"), "{out}{err}");
    }
}
