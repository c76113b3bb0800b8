//! `auditd-bpf search` beside the real ausearch, on one log: both find the same events and end with the same status.

mod audit_tools;

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use audit_tools::AuditTool;

/// What the kernel's audit and programs write: calls that succeed and fail, hexadecimal names, addresses, several keys, records of
/// programs, of the daemon, of changes to rules.
const LOG: &str = r#"type=DAEMON_START msg=audit(1795503840.001:100): op=start ver=3.0.9 format=raw kernel=6.12 auid=4294967295 pid=77 uid=0 ses=4294967295 subj=unconfined res=success
type=CONFIG_CHANGE msg=audit(1795503841.002:101): auid=1000 ses=3 subj=unconfined op=add_rule key="shadow" list=4 res=1
type=LOGIN msg=audit(1795503842.003:102): pid=500 uid=0 subj=unconfined old-auid=4294967295 auid=1000 tty=(none) old-ses=4294967295 ses=5 res=1
type=USER_LOGIN msg=audit(1795503843.004:103): pid=501 uid=0 auid=1000 ses=5 subj=unconfined msg='op=login acct="joe" exe="/usr/sbin/sshd" hostname=192.0.2.7 addr=192.0.2.7 terminal=/dev/pts/1 res=failed'
type=SYSCALL msg=audit(1795503844.005:104): arch=c000003e syscall=257 success=no exit=-13 a0=ffffff9c a1=7ffd00001000 a2=0 a3=0 items=1 ppid=800 pid=812 auid=1000 uid=1000 gid=1000 euid=1000 suid=1000 fsuid=1000 egid=1000 sgid=1000 fsgid=1000 tty=pts0 ses=3 comm="cat" exe="/usr/bin/cat" subj=unconfined key="shadow"
type=CWD msg=audit(1795503844.005:104): cwd="/home/joe"
type=PATH msg=audit(1795503844.005:104): item=0 name="/etc/shadow" inode=7 dev=08:01 mode=0100640 ouid=0 ogid=42 rdev=00:00 nametype=NORMAL cap_fp=0 cap_fi=0 cap_fe=0 cap_fver=0 cap_frootid=0
type=PROCTITLE msg=audit(1795503844.005:104): proctitle=636174002F6574632F736861646F77
type=SYSCALL msg=audit(1795503845.006:105): arch=c000003e syscall=82 success=yes exit=0 a0=7ffd00001000 a1=7ffd00002000 a2=0 a3=0 items=2 ppid=800 pid=813 auid=1000 uid=0 gid=0 euid=0 suid=0 fsuid=0 egid=0 sgid=0 fsgid=0 tty=pts0 ses=3 comm=6D7620782079 exe="/usr/bin/mv" subj=unconfined key=6574630170657273
type=CWD msg=audit(1795503845.006:105): cwd="/etc"
type=PATH msg=audit(1795503845.006:105): item=0 name="/etc/" inode=2 dev=08:01 mode=040755 ouid=0 ogid=0 rdev=00:00 nametype=PARENT cap_fp=0 cap_fi=0 cap_fe=0 cap_fver=0 cap_frootid=0
type=PATH msg=audit(1795503845.006:105): item=1 name=2F6574632F612062 inode=9 dev=08:01 mode=0100644 ouid=0 ogid=0 rdev=00:00 nametype=CREATE cap_fp=0 cap_fi=0 cap_fe=0 cap_fver=0 cap_frootid=0
type=PROCTITLE msg=audit(1795503845.006:105): proctitle="mv"
type=SYSCALL msg=audit(1795503846.007:106): arch=c000003e syscall=42 success=no exit=-111 a0=3 a1=7ffd00001000 a2=10 a3=0 items=0 ppid=1 pid=900 auid=4294967295 uid=33 gid=33 euid=33 suid=33 fsuid=33 egid=33 sgid=33 fsgid=33 tty=(none) ses=4294967295 comm="curl" exe="/usr/bin/curl" subj=unconfined key=(null)
type=SOCKADDR msg=audit(1795503846.007:106): saddr=02000050C00002090000000000000000
type=PROCTITLE msg=audit(1795503846.007:106): proctitle="curl"
"#;

/// A program that reads the log from standard input and writes the native records of what it found.
struct Searcher {
    program: PathBuf,
    arguments: &'static [&'static str],
    libraries: Option<std::ffi::OsString>,
}

fn ausearch() -> Option<Searcher> {
    let AuditTool { program, libraries } = audit_tools::find("ausearch")?;
    Some(Searcher { program, arguments: &[], libraries })
}

fn ours() -> Searcher {
    Searcher { program: env!("CARGO_BIN_EXE_auditd-bpf").into(), arguments: &["search"], libraries: None }
}

impl Searcher {
    /// Serials of the events found, ascending, and the exit status.
    fn find(&self, query: &[&str]) -> (Vec<u64>, Option<i32>) {
        let mut command = Command::new(&self.program);
        command.args(self.arguments).arg("--raw").args(query);
        let output = self.run(command, LOG);
        let serial = |line: &str| line.split_once("msg=audit(")?.1.split_once(')')?.0.split_once(':')?.1.parse().ok();
        let mut serials: Vec<u64> = String::from_utf8_lossy(&output.stdout).lines().filter_map(serial).collect();
        serials.dedup();
        (serials, output.status.code())
    }

    /// What `-i` shows of a log.
    fn shown(&self, log: &str) -> String {
        let mut command = Command::new(&self.program);
        command.args(self.arguments).arg("-i");
        String::from_utf8(self.run(command, log).stdout).unwrap()
    }

    fn run(&self, mut command: Command, log: &str) -> Output {
        command.env("TZ", "UTC").env("LC_ALL", "C");
        if let Some(libraries) = &self.libraries {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
        // It may have seen enough before the end.
        let _ = child.stdin.take().expect("piped").write_all(log.as_bytes());
        child.wait_with_output().expect("it ends")
    }
}

#[rustfmt::skip]
const QUERIES: &[&[&str]] = &[
    &["-m", "ALL"], &["-m", "all", "--just-one"], &["-m", "SYSCALL"], &["-m", "PATH"], &["-m", "CWD,LOGIN"], &["-m", "1112"],
    &["-m", "user_login"], &["-m", "AVC"],
    &["-k", "shadow"], &["-k", "shad"], &["-k", "shad", "-w"], &["-k", "pers"], &["-k", "none"],
    &["-p", "812"], &["-p", "77"], &["-p", "501"], &["-pp", "800"], &["-pp", "2"],
    &["-ui", "0"], &["-ui", "1000"], &["-ue", "0"], &["-ul", "1000"], &["-ul", "-1"], &["-ua", "1000"], &["-ua", "33"],
    &["-ui", "root", "-m", "SYSCALL"], &["-gi", "1000"], &["-ge", "33"], &["-ga", "0"],
    &["-x", "/usr/bin/cat"], &["-x", "sshd"], &["-x", "/bin/nothing"], &["-c", "curl"], &["-c", "mv x y", "-w"],
    &["-f", "/etc/shadow"], &["-f", "/etc/a b"], &["-f", "/home"], &["-f", "/etc"], &["-f", "/etc", "-w"], &["-f", "/nothing"],
    &["-sv", "yes"], &["-sv", "no"], &["-sv", "no", "-m", "SYSCALL"],
    &["-sc", "openat"], &["-sc", "42"], &["-sc", "open"], &["-e", "-13"], &["-e", "-ECONNREFUSED"], &["-e", "0"],
    &["-a", "105"], &["-a", "99"], &["--session", "5"], &["--session", "3"],
    &["-hn", "192.0.2.7"], &["-hn", "192.0.2.9"], &["-tm", "pts0"], &["-tm", "pts/1"],
    &["-ts", "11/24/26", "07:04:04"], &["-te", "11/24/26", "07:04:01"],
    &["-ts", "11/24/26", "07:04:02", "-te", "11/24/26", "07:04:03"], &["-ts", "now"],
    &["-k", "shadow", "-ui", "1000", "-x", "cat", "-sv", "no", "-f", "/etc/shadow"],
];

/// What `-i` shows names for, besides what stands in [`LOG`].
const NUMBERS: &str = r#"type=USER_LOGIN msg=audit(1795503843.004:103): pid=501 uid=0 auid=0 ses=5 subj=unconfined msg='op=login acct="joe" id=0 exe="/usr/sbin/sshd" hostname=192.0.2.7 addr=192.0.2.7 terminal=/dev/pts/1 res=failed'
type=SYSCALL msg=audit(1795503844.005:104): arch=c000003e syscall=257 success=no exit=-13 a0=ffffff9c a1=7ffd00001000 a2=80241 a3=1b6 items=0 ppid=800 pid=812 auid=0 uid=0 gid=0 euid=0 suid=33 fsuid=77777 egid=0 sgid=0 fsgid=88888 tty=pts0 ses=3 comm="cat" exe="/usr/bin/cat" subj=unconfined key=6574630170657273
type=BPRM_FCAPS msg=audit(1795503844.005:104): fver=2 fp=0000000000000400 fi=0 fe=1 old_pp=0 old_pi=0 old_pe=3 old_pa=0 pp=000001ffffffffff pi=0 pe=000001ffffffffff pa=1 frootid=0
type=CAPSET msg=audit(1795503844.005:104): pid=7 cap_pi=0 cap_pp=1ff cap_pe=c0 cap_pa=0
type=MMAP msg=audit(1795503844.005:104): fd=3 flags=0x22
type=IPC msg=audit(1795503844.007:106): ouid=0 ogid=0 mode=0600 obj=unconfined
type=IPC_SET_PERM msg=audit(1795503844.007:106): qbytes=0 ouid=0 ogid=0 mode=0600
type=MQ_OPEN msg=audit(1795503844.007:106): oflag=0x42 mode=0600 mq_flags=0x0 mq_maxmsg=10 mq_msgsize=8192 mq_curmsgs=0
type=MQ_NOTIFY msg=audit(1795503844.007:106): mqdes=3 sigev_signo=10
type=SOCKETCALL msg=audit(1795503844.007:106): nargs=3 a0=2 a1=1 a2=0
type=KERN_MODULE msg=audit(1795503844.008:107): name="dummy"
type=ANOM_PROMISCUOUS msg=audit(1795503844.010:109): dev=eth0 prom=256 old_prom=0 auid=0 uid=0 gid=0 ses=1
type=SYSCALL msg=audit(1795503844.012:111): arch=c000003e syscall=62 success=yes exit=0 a0=81 a1=f a2=0 a3=0 items=1 ppid=800 pid=812 auid=0 uid=0 gid=0 euid=0 suid=33 fsuid=77777 egid=0 sgid=0 fsgid=88888 tty=pts0 ses=3 comm="cat" exe="/usr/bin/cat" subj=unconfined key=(null)
type=OBJ_PID msg=audit(1795503844.012:111): opid=183 oauid=0 ouid=0 oses=1 obj=unconfined ocomm="work"
type=PATH msg=audit(1795503844.012:111): item=0 name=(null) inode=7 dev=08:01 mode=041777 ouid=0 ogid=42 rdev=00:00 nametype=UNKNOWN cap_fp=0 cap_fi=0 cap_fe=0 cap_fver=0 cap_frootid=0
type=SYSCALL msg=audit(1795503844.014:113): arch=c000003e syscall=9 success=yes exit=140000000 a0=0 a1=1000 a2=5 a3=22 items=0 ppid=800 pid=812 auid=0 uid=0 gid=0 euid=0 suid=33 fsuid=77777 egid=0 sgid=0 fsgid=88888 tty=pts0 ses=3 comm="cat" exe="/usr/bin/cat" subj=unconfined key=(null)
type=SYSCALL msg=audit(1795503844.015:114): arch=40000003 syscall=5 success=yes exit=3 a0=ff a1=8000 a2=0 a3=0 items=0 ppid=800 pid=812 auid=0 uid=0 gid=0 euid=0 suid=33 fsuid=77777 egid=0 sgid=0 fsgid=88888 tty=pts0 ses=3 comm="cat" exe="/usr/bin/cat" subj=unconfined key=(null)
"#;

#[test]
fn names_for_numbers_are_ausearchs() {
    let Some(ausearch) = ausearch() else { return };
    for log in [LOG, NUMBERS] {
        let [ours, ausearch] = [&ours(), &ausearch].map(|searcher| searcher.shown(log));
        for (ours, ausearch) in ours.lines().zip(ausearch.lines()) {
            assert_eq!(ours, ausearch);
        }
        assert_eq!(ours.lines().count(), ausearch.lines().count());
    }
}

#[test]
fn every_query_finds_what_ausearch_finds() {
    let Some(ausearch) = ausearch() else { return };
    let ours = ours();
    let differs = |query: &&&[&str]| ours.find(query) != ausearch.find(query);
    let differing: Vec<_> = QUERIES.iter().filter(differs).collect();
    let shown =
        differing.iter().map(|query| format!("{query:?}: {:?}, ausearch {:?}", ours.find(query), ausearch.find(query)));
    assert!(differing.is_empty(), "{:#?}", shown.collect::<Vec<_>>());
}

/// Also those that this release would spell in another way.
#[test]
fn raw_records_are_ausearchs_to_the_letter() {
    let Some(ausearch) = ausearch() else { return };
    let odd = LOG.replace("name=\"/etc/\"", "name=\"/etc\"").replace("cap_fp=0", "cap_fp=00");
    for log in [LOG, &odd] {
        for query in [&["-m", "ALL"][..], &["-k", "shadow"], &["-f", "/etc"], &["-sv", "no"], &["-p", "813"]] {
            let [ours, ausearch] = [&ours(), &ausearch].map(|searcher| {
                let mut command = Command::new(&searcher.program);
                command.args(searcher.arguments).arg("--raw").args(query);
                String::from_utf8(searcher.run(command, log).stdout).unwrap()
            });
            assert!(!ours.is_empty());
            assert_eq!(ours, ausearch, "{query:?}");
        }
    }
}

/// What one search has seen, the next passes over; each goes on where the other ended.
#[test]
fn checkpoints_are_ausearchs() {
    let Some(ausearch) = ausearch() else { return };
    let directory = tempfile::tempdir().unwrap();
    let (log, checkpoint) = (directory.path().join("audit.log"), directory.path().join("checkpoint"));
    let query = |searcher: &Searcher, more: &[&str]| {
        let mut command = Command::new(&searcher.program);
        command
            .args(searcher.arguments)
            .args(["--raw", "-m", "ALL", "-if"])
            .arg(&log)
            .arg("--checkpoint")
            .arg(&checkpoint)
            .args(more);
        searcher.libraries.iter().for_each(|libraries| {
            command.env("LD_LIBRARY_PATH", libraries);
        });
        let output = command.env("TZ", "UTC").env("LC_ALL", "C").stdin(Stdio::null()).output().expect("it starts");
        let serial = |line: &str| line.split_once("msg=audit(")?.1.split_once(')')?.0.split_once(':')?.1.parse().ok();
        let mut serials: Vec<u64> = String::from_utf8_lossy(&output.stdout).lines().filter_map(serial).collect();
        serials.dedup();
        (serials, output.status.code())
    };
    let append = |serial: u32| {
        let second = 1_795_503_900 + serial;
        let line =
            format!("type=USER msg=audit({second}.000:{serial}): pid=9 uid=0 auid=0 ses=1 msg='text=x res=success'\n");
        let mut file = std::fs::File::options().append(true).open(&log).unwrap();
        file.write_all(line.as_bytes()).unwrap();
    };
    std::fs::write(&log, LOG).unwrap();
    for (number, searcher) in [ours(), ausearch, ours()].iter().enumerate() {
        let (serials, status) = query(searcher, &[]);
        let expected: Vec<u64> = match number {
            0 => (100..=106).collect(),
            _ => vec![199 + number as u64],
        };
        assert_eq!((serials, status), (expected, Some(0)), "{number}");
        let again = query(searcher, &[]);
        assert_eq!(again, (vec![], Some(1)), "{number}");
        append(200 + u32::try_from(number).unwrap());
    }
    std::fs::write(&checkpoint, "dev=0x1\ninode=2\noutput=- 1795503846.007:106 0x514\n").unwrap();
    assert_eq!(query(&ours(), &[]).1, Some(10), "its log is gone");
    assert_eq!(query(&ours(), &["-ts", "checkpoint"]), (vec![106, 200, 201, 202], Some(0)));
    let text = std::fs::read_to_string(&checkpoint).unwrap();
    std::fs::write(&checkpoint, text.replace("1795504102.000:202", "1795503841.000:99")).unwrap();
    assert_eq!(query(&ours(), &[]).1, Some(12), "its event is gone");
    std::fs::write(&checkpoint, "nonsense").unwrap();
    assert_eq!(query(&ours(), &[]).1, Some(10));
}
