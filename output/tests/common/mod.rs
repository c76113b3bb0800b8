//! What the integration tests share.

#![allow(dead_code, reason = "each test is a program of its own and needs only some of it")]

pub mod certificates;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use output::Names;
use output::event::{Body, DaemonEvent, Event, Word};

/// `AUDIT_ARCH_X86_64`
pub const X86_64: u32 = 0xc000_003e;

/// A machine that knows no name.
pub struct Nobody;

impl Names for Nobody {
    fn user(&self, _: u32) -> Option<Arc<str>> {
        None
    }
    fn group(&self, _: u32) -> Option<Arc<str>> {
        None
    }
    fn arch(&self, _: u32) -> Option<&'static str> {
        None
    }
    fn syscall(&self, _: u32, _: u32) -> Option<&'static str> {
        None
    }
    fn errno(&self, _: i32) -> Option<&'static str> {
        None
    }
}

/// A machine with root alone, and the calls of x86_64.
pub struct Machine;

impl Names for Machine {
    fn user(&self, uid: u32) -> Option<Arc<str>> {
        (uid == 0).then(|| "root".into())
    }
    fn group(&self, gid: u32) -> Option<Arc<str>> {
        self.user(gid)
    }
    fn arch(&self, arch: u32) -> Option<&'static str> {
        (arch == X86_64).then_some("x86_64")
    }
    fn syscall(&self, _: u32, number: u32) -> Option<&'static str> {
        tables::syscalls::name(tables::Arch::B64, u16::try_from(number).ok()?)
    }
    fn errno(&self, _: i32) -> Option<&'static str> {
        None
    }
}

/// An event of the daemon's own.
pub fn daemon_event(time: u64, serial: u64, details: Vec<(Word, String)>) -> Arc<Event> {
    let body = Body::Daemon(DaemonEvent {
        record_type: "DAEMON_CONFIG".into(),
        op: "reconfigure".into(),
        auid: 0,
        pid: 1,
        uid: 0,
        session: 1,
        success: true,
        details,
    });
    Arc::new(Event { time, serial, body })
}

/// Runs a test of this program, with `variable` set, and kills it so long after it first said `word` and a number. Returns the last
/// number that it said behind the first.
pub fn kill_a_run(test: &str, (variable, value): (&str, &OsStr), word: &str, after: Duration) -> Option<u64> {
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(variable, value)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(victim.stdout.take().unwrap()).lines().map(Result::unwrap);
    lines.by_ref().find(|line| line.contains(word)).unwrap();
    std::thread::sleep(after);
    victim.kill().unwrap();
    victim.wait().unwrap();
    lines.filter_map(|line| line.strip_prefix(word)?.strip_prefix(' ')?.parse().ok()).last()
}

/// Waits for `met`.
#[track_caller]
pub fn wait_until(what: &str, patience: Duration, met: impl Fn() -> bool) {
    let deadline = Instant::now() + patience;
    while !met() {
        assert!(Instant::now() < deadline, "{what}: waited in vain");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A port that is free, and given to no other test. That nobody else takes it until the server does is likely enough.
pub fn free_port() -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    loop {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        if GIVEN.lock().unwrap().insert(port) {
            return port;
        }
    }
}

/// The top of the project.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Where the packages of servers and readers are unpacked: `AUDIT_PEERS`, else where `cargo xtask test` leaves them. Without them
/// the tests are skipped, and say so.
pub fn peers() -> Option<PathBuf> {
    let given = std::env::var_os("AUDIT_PEERS").map(PathBuf::from);
    let found = given.or_else(|| root().join("target/guest/packages/peers").canonicalize().ok());
    if found.is_none() {
        eprintln!("SKIP: nothing is unpacked in target/guest/packages/peers; `cargo xtask test` does that");
    }
    found
}
