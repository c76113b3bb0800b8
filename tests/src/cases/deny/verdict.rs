//! What rules do to calls without files, and rules that cannot be.

use std::fs;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use nix::unistd::{Uid, getpid, setuid};
use serde_json::json;

use super::attempt::{Act, Attempt, answer, attempt, plain, refused_to_one_with};
use super::task::traced;
use super::{refused, verdict};
use crate::child;
use crate::daemon::{PROGRAM, run};
use crate::harness::Case;
use crate::place::{BUSYBOX, copy_of_busybox};
use crate::session::{Test, private_file};
use crate::sys;

/// A case for each errno: its name, what the rule says of it, the call, the hook, and the act.
macro_rules! errnos {
    ($($name:literal, $errno:ident, $call:literal, $hook:literal, $act:expr;)+) => {
        pub const ERRNOS: &[Case] = &[$(
            Case::new(
                concat!("deny_with_", $name),
                concat!("-a deny,exit -F arch=b64 -S ", $call, " -F errno=", stringify!($errno), " -F auid={auid} -k {key}"),
                |test| {
                    let event = refused_to_one_with(test, $call, $hook, Errno::$errno, $act)?;
                    event.is(&json!({"errno": stringify!($errno)}))
                },
            )
        ),+];
    };
}

errnos! {
    "an_errno_of_sockets", EAFNOSUPPORT, "socket", "socket_create", |_| answer(inet());
    "an_errno_of_networks", ECONNREFUSED, "connect", "socket_connect", |_| {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        answer(TcpStream::connect(listener.local_addr()?))
    };
    "an_errno_of_identities", EAGAIN, "setuid", "task_fix_setuid", |_| become_another();
    "an_errno_of_missing_calls", ENOSYS, "kexec_load", "kernel_load_data", |_| {
        answer(plain(libc::SYS_kexec_load, [0, 0, 0, 0]))
    };
    "an_errno_of_signals", EINVAL, "kill", "task_kill", |_| answer(to_oneself(0));
    "an_errno_of_absence", ESRCH, "tkill", "task_kill", |_| {
        answer(plain(libc::SYS_tkill, [getpid().as_raw().into(), 0]))
    };
    "an_errno_that_looks_up_again", ESTALE, "open", "file_open", |_| answer(sys::open("/dev/null".as_ref(), libc::O_RDONLY));
    "an_errno_that_looks_up_slowly", ECHILD, "open", "file_open", |_| {
        answer(sys::open("/dev/null".as_ref(), libc::O_RDONLY))
    };
    "an_errno_that_removes_again", ESTALE, "unlink", "path_unlink", |place| {
        let file = place.file("f")?;
        let result = fs::remove_file(&file);
        attempt(result, !file.exists())
    };
    "an_errno_of_tracing", EBUSY, "ptrace", "ptrace_access_check", |_| traced(libc::PTRACE_SEIZE);
    "an_errno_of_mounting", EROFS, "chroot", "path_chroot", |place| answer(nix::unistd::chroot(&place.dir));
    "an_errno_of_programs", ETXTBSY, "execve", "bprm_check_security", |_| {
        // Who is let through ends as another program.
        attempt(Err::<(), _>(copy_of_busybox(BUSYBOX.as_ref()).arg("true").exec()), false)
    };
    "the_last_errno", EHWPOISON, "setpriority", "task_setnice", |_| answer(plain(libc::SYS_setpriority, [0, 0, 1]));
}

pub const CASES: &[Case] = &[
    Case::new(
        "deny_call_below_never",
        "-a never,exit -F arch=b64 -S kill -F auid={auid} -F a1=0
         -a deny,exit -F arch=b64 -S kill -F auid={auid} -k {key}",
        below_never,
    ),
    Case::new(
        "deny_call_below_always",
        "-a always,exit -F arch=b64 -S kill -F auid={auid} -F a1=0 -k {key}
         -a deny,exit -F arch=b64 -S kill -F auid={auid} -k {key}",
        below_always,
    ),
    Case::new(
        "deny_call_above_never",
        "-a deny,exit -F arch=b64 -S kill -F auid={auid} -F a1=0 -k {key}
         -a never,exit -F arch=b64 -S kill -F auid={auid}",
        above_never,
    ),
    Case::new(
        "deny_call_by_the_first_of_two",
        "-a deny,exit -F arch=b64 -S kill -F auid={auid} -F a1=0 -F errno=EBUSY -k {key}
         -a deny,exit -F arch=b64 -S kill -F auid={auid} -k {key}",
        by_the_first,
    ),
    Case::new("deny_call_dry_run", "-a deny,exit -F arch=b64 -S setuid --dry-run -F auid={auid} -k {key}", dry_run),
    Case::new(
        "deny_call_below_a_dry_run",
        "-a deny,exit -F arch=b64 -S setuid -F auid={auid} -k {key} --dry-run
         -a deny,exit -F arch=b64 -S setuid -F auid={auid} -k {key}",
        dry_run,
    ),
    Case::new("kill_who_changes_identity", "-a kill,exit -F arch=b64 -S setuid -F auid={auid} -k {key}", |test| {
        killed(test, "task_fix_setuid", |_| become_another())
    }),
    Case::new("kill_who_connects", "-a kill,exit -F arch=b64 -S connect -F auid={auid} -k {key}", |test| {
        killed(test, "socket_connect", |_| answer(connect_to_nobody()))
    }),
    Case::new("kill_who_makes_sockets", "-a kill,exit -F arch=b64 -S socket -F auid={auid} -k {key}", |test| {
        killed(test, "socket_create", |_| answer(inet()))
    }),
    Case::new("kill_who_forks", "-a kill,exit -F arch=b64 -S clone,fork -F auid={auid} -k {key}", |test| {
        killed(test, "task_alloc", |_| answer(child::run(|| Ok(())).map_err(io::Error::other)))
    }),
    Case::new("kill_dry_run", "-a kill,exit -F arch=b64 -S setuid -F auid={auid} -k {key} --dry-run", |test| {
        test.child(|| become_another()?.went_well())?;
        let [event] = test.exactly()?;
        event.is(&json!({"verdict": "would-deny", "action": "kill", "hook": "task_fix_setuid", "success": true}))
    }),
    Case::new("deny_what_cannot_be_refused", "", not_loaded),
];

fn inet() -> nix::Result<OwnedFd> {
    socket(AddressFamily::Inet, SockType::Stream, SockFlag::empty(), None)
}

fn become_another() -> Result<Attempt> {
    let another = Uid::from_raw(child::USER);
    attempt(setuid(another), Uid::current() == another)
}

fn to_oneself(signal: i64) -> io::Result<i64> {
    plain(libc::SYS_kill, [getpid().as_raw().into(), signal])
}

/// Asks for a port on which nobody listens, which is known to who may ask.
fn connect_to_nobody() -> io::Result<()> {
    match TcpStream::connect(("127.0.0.1", 9)) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        result => result.map(drop),
    }
}

fn below_never(test: &mut Test<'_>) -> Result<()> {
    test.child(|| to_oneself(0).map(drop).context("what never exempts"))?;
    test.silence("what never exempts")?;
    test.child(|| refused(to_oneself(libc::SIGCHLD.into()), Errno::EPERM))?;
    let [event] = test.exactly()?;
    event.is(&verdict("task_kill", Errno::EPERM))
}

fn below_always(test: &mut Test<'_>) -> Result<()> {
    test.child(|| to_oneself(0).map(drop).context("what always exempts"))?;
    let [event] = test.exactly()?;
    event.is(&json!({"verdict": "allow", "action": "always", "success": true}))?;
    test.child(|| refused(to_oneself(libc::SIGCHLD.into()), Errno::EPERM))?;
    let [event] = test.exactly()?;
    event.is(&verdict("task_kill", Errno::EPERM))
}

fn above_never(test: &mut Test<'_>) -> Result<()> {
    test.child(|| refused(to_oneself(0), Errno::EPERM))?;
    let [event] = test.exactly()?;
    event.is(&verdict("task_kill", Errno::EPERM))?;
    test.child(|| to_oneself(libc::SIGCHLD.into()).map(drop).context("what deny does not name"))?;
    test.silence("what deny does not name")
}

fn by_the_first(test: &mut Test<'_>) -> Result<()> {
    test.child(|| refused(to_oneself(0), Errno::EBUSY))?;
    test.child(|| refused(to_oneself(libc::SIGCHLD.into()), Errno::EPERM))?;
    let [first, second] = test.exactly()?;
    first.is(&verdict("task_kill", Errno::EBUSY))?;
    second.is(&verdict("task_kill", Errno::EPERM))
}

fn dry_run(test: &mut Test<'_>) -> Result<()> {
    test.child(|| become_another()?.went_well())?;
    let [event] = test.exactly()?;
    event.is(&json!({"verdict": "would-deny", "action": "deny", "hook": "task_fix_setuid", "success": true}))
}

/// Who acts so dies of it, and the act does not happen; another does not.
fn killed(test: &mut Test<'_>, hook: &str, act: Act) -> Result<()> {
    let (place, after) = (test.place.clone(), test.path("after"));
    let who = child::start(|| {
        child::set_login_uid(place.auid)?;
        let attempt = act(&place)?;
        fs::write(&after, format!("it happened: {}", attempt.happened()))?;
        Ok(())
    })?;
    let pid = who.pid();
    who.wait_killed()?;
    ensure!(!after.exists(), "it lived on");
    let [event] = test.exactly()?;
    event.is(&json!({"verdict": "kill", "action": "kill", "hook": hook, "exit": -1, "pid": pid}))?;
    child::run(|| act(&place)?.went_well().context("the act of another"))?;
    test.silence("the act of another")
}

/// Each is told, with its place.
fn not_loaded(test: &mut Test<'_>) -> Result<()> {
    const CALLS: [&str; 12] = [
        "unshare",
        "delete_module",
        "open_tree",
        "fsmount",
        "mount_setattr",
        "mq_open",
        "faccessat",
        "sethostname",
        "adjtimex",
        "request_key",
        "shmget",
        "reboot",
    ];
    const OTHERS: [(&str, &str); 6] = [
        ("-a deny,exit -F arch=b64 -S kill -F success=0", "success is known only after the act"),
        ("-a deny,exit -F arch=b64 -S kill -F errno=ESRCH", "ESRCH does not refuse kill"),
        ("-a deny,exit -F arch=b64 -S prctl -F errno=ENOSYS", "ENOSYS does not refuse prctl"),
        ("-a kill,task", "the task list is not about acts"),
        ("-a deny,exit -F auid=1", "the rule names every system call"),
        ("-a deny,exit -S openat", "openat is 257, which means another call to 32-bit programs"),
    ];
    let of_calls = CALLS.iter().map(|call| format!("-a deny,exit -F arch=b64 -S {call} -k {call}\n"));
    let rules: String = of_calls.chain(OTHERS.iter().map(|(rule, _)| format!("{rule}\n"))).collect();
    let file = private_file(test.place.name, "rules", &rules)?;
    let finished = run(Command::new(PROGRAM).arg("check").arg(&file))?;
    finished.ended_with(1)?.said(&OTHERS.map(|(_, said)| said))?;
    for call in CALLS {
        finished.said(&[&format!("no hook can refuse {call} before it happens")])?;
    }
    let errors = finished.all().matches("[cannot-deny]").count();
    ensure!(errors == CALLS.len() + OTHERS.len(), "{errors} errors:\n{}", finished.all());
    Ok(())
}
