//! Fields of rules that refuse: who is meant by each, and a near miss.

use std::fs::File;
use std::io;
use std::os::unix::fs::{OpenOptionsExt, chown};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::libc;
use nix::sys::prctl;
use nix::sys::signal::Signal;
use serde_json::json;

use super::attempt::plain;
use super::{refused, two_directories};
use crate::child::{self, USER};
use crate::daemon::wait_for;
use crate::event::Event;
use crate::harness::Case;
use crate::place::{BUSYBOX, Place, copy_of_busybox};
use crate::session::Test;
use crate::sys::{self, CGROUPS, LowText};

/// An act of a child that has the case's login uid. Its own error is one of what must be there for it.
type Act = fn(&Place) -> Result<io::Result<()>>;

/// A case for each field: its name, what the rule says, who is refused, and who is not.
macro_rules! fields {
    ($($name:literal, $rule:literal, $meant:expr, $not_meant:expr;)+) => {
        pub const CASES: &[Case] = &[$(
            Case::new(
                concat!("deny_by_", $name),
                concat!("-a deny,exit ", $rule, " -k {key}"),
                |test| told_apart(test, $meant, $not_meant),
            )
            .prepared(with_another_owner)
        ),+];
    };
}

fields! {
    "uid", "-F arch=b64 -S openat -F path={dir}/d/f -F uid=1000", as_user, opened;
    "uid_not", "-F arch=b64 -S openat -F path={dir}/d/f -F uid!=0", as_user, opened;
    "uid_order", "-F arch=b64 -S openat -F path={dir}/d/f -F uid>=500", as_user, opened;
    "euid", "-F arch=b64 -S openat -F path={dir}/d/f -F euid=1000 -F uid=0", with_effective_user, as_user;
    "suid", "-F arch=b64 -S openat -F path={dir}/d/f -F suid=0 -F euid=1000", with_effective_user, as_user;
    "fsuid", "-F arch=b64 -S openat -F path={dir}/d/f -F fsuid=1000", |place| {
        plain(libc::SYS_setfsuid, [USER.into()])?;
        opened(place)
    }, opened;
    "gid", "-F arch=b64 -S openat -F path={dir}/d/f -F gid=1000", as_user, opened;
    "egid", "-F arch=b64 -S openat -F path={dir}/d/f -F egid=7", |place| {
        plain(libc::SYS_setresgid, [-1, 7, -1])?;
        opened(place)
    }, as_user;
    "auid_not", "-F arch=b64 -S openat -F path={dir}/d/f -F auid!=unset -F auid!={auid}", |place| {
        child::set_login_uid(place.auid + 100_000)?;
        opened(place)
    }, opened;
    "session", "-F arch=b64 -S openat -F path={dir}/d/f -F sessionid!=unset -F uid=0", opened, as_user;
    "parent", "-F arch=b64 -S openat -F path={dir}/d/f -F ppid={pid}", opened, |place| {
        child::run(|| Ok(opened(place)??)).map(|_| Ok(()))
    };
    "exe", "-F arch=b64 -S openat -F exe={dir}/free/program -F path={dir}/d/f", |place| {
        read_with(&place.path("free/program"), place)
    }, |place| read_with(BUSYBOX.as_ref(), place);
    "exe_not", "-F arch=b64 -S openat -F exe!={dir}/free/program -F path={dir}/d/f", opened, |place| {
        read_with(&place.path("free/program"), place)
    };
    "owner", "-F arch=b64 -S openat -F dir={dir}/d -F obj_uid=1000", opened, program;
    "group_of_owner", "-F arch=b64 -S openat -F dir={dir}/d -F obj_gid=1000", opened, program;
    "inode", "-F arch=b64 -S openat -F inode={inode} -F auid={auid}", opened, program;
    "device", "-F arch=b64 -S openat -F devmajor=0 -F devminor={minor} -F auid={auid}", opened, |_| {
        Ok(File::open("/proc/version").map(drop))
    };
    "kind_of_file", "-F arch=b64 -S openat -F dir={dir}/d -F filetype=dir", |place| {
        Ok(File::open(place.path("d/sub")).map(drop))
    }, opened;
    "perm_of_any_call", "-F path={dir}/d/f -F perm=w", written, opened;
    "perms", "-F path={dir}/d/f -F perm=wa", |place| Ok(chown(place.path("d/f"), Some(8), None)), opened;
    "name", "-F arch=b64 -S openat -F path={dir}/d/f -F comm=meant", named, opened;
    "name_not", "-F arch=b64 -S openat -F path={dir}/d/f -F comm!=meant", opened, named;
    "argument_0", "-F arch=b64 -S prctl -F a0=15 -F auid={auid}", |_| Ok(prctl::set_name(c"another").map_err(Into::into)), |_| {
        Ok(prctl::get_name().map(drop).map_err(Into::into))
    };
    "argument_1", "-F arch=b64 -S kill -F a1=10 -F auid={auid}", |_| signal(Signal::SIGUSR1), |_| signal(Signal::SIGCHLD);
    "argument_2", "-F arch=b64 -S openat -F path={dir}/d/f -F a2&1", written, opened;
    "argument_3", "-F arch=b64 -S openat -F path={dir}/d/new -F a3=384", |place| created(place, 0o600), |place| {
        created(place, 0o640)
    };
    "family", "-F arch=b64 -S connect -F saddr_fam=10 -F auid={auid}", |_| connect("::1"), |_| connect("127.0.0.1");
    "family_of_bind", "-F arch=b64 -S bind -F saddr_fam=2 -F auid={auid}", |_| bind("127.0.0.1"), |_| bind("::1");
    "ids_compared", "-F arch=b64 -S openat -F path={dir}/d/f -C uid!=euid", with_effective_user, as_user;
    "ids_compared_as_equal", "-F arch=b64 -S openat -F path={dir}/d/f -C uid=euid", opened, with_effective_user;
    "owner_compared", "-F arch=b64 -S openat -F dir={dir}/d -C uid!=obj_uid", opened, program;
    "owner_compared_as_equal", "-F arch=b64 -S openat -F dir={dir}/d -C fsuid=obj_uid", program, opened;
    "login_compared", "-F arch=b64 -S openat -F path={dir}/d/f -C auid!=uid -F uid=0", opened, as_user;
    "abi", "-F arch=b32 -S open -F path={dir}/d/f", |place| {
        match sys::open_32(&LowText::new(&place.path("d/f"))?) {
            error if error < 0 => Ok(Err(io::Error::from_raw_os_error(-error))),
            _ => Ok(Ok(())),
        }
    }, |place| Ok(sys::open(&place.path("d/f"), libc::O_RDONLY).map(drop));
}

/// Those below a control group, and those in it, which is made before the daemon starts.
pub const IN_CGROUP: &[Case] = &[
    Case::new(
        "deny_by_cgroup",
        "-a deny,exit -F arch=b64 -S openat -F path={dir}/d/f -F cgroup=/{key}/ -k {key}",
        |test| {
            told_apart(test, |place| opened_in(place, "inner"), opened)?;
            let place = test.place.clone();
            test.child(|| refused(opened_in(&place, "")?, Errno::EPERM))?;
            test.exactly().and_then(|[event]| is_refused(&event))
        },
    )
    .prepared(with_cgroups),
    Case::new(
        "deny_by_cgroup_that_comes_later",
        "-a deny,exit -F arch=b64 -S openat -F path={dir}/d/f -F cgroup=/{key}/later -k {key}",
        |test| {
            for time in ["first", "again"] {
                let (place, later) = (test.place.clone(), Path::new(CGROUPS).join(test.place.name).join("later"));
                std::fs::create_dir(&later)?;
                let is_refused = || {
                    let tried = child::run(|| {
                        child::set_login_uid(place.auid)?;
                        refused(opened_in(&place, "later")?, Errno::EPERM)
                    });
                    Ok(tried.ok())
                };
                wait_for("the daemon to find it", Duration::from_secs(30), is_refused).context(time)?;
                test.events().context(time)?;
                std::fs::remove_dir(later)?;
            }
            Ok(())
        },
    )
    .prepared(with_cgroups),
    Case::new(
        "deny_by_cgroup_not",
        "-a deny,exit -F arch=b64 -S openat -F path={dir}/d/f -F cgroup!=/{key}/inner -k {key}",
        |test| told_apart(test, |place| opened_in(place, ""), |place| opened_in(place, "inner")),
    )
    .prepared(with_cgroups),
];

/// Who is meant is refused, with a record; who is not is let through, without one.
fn told_apart(test: &mut Test<'_>, meant: Act, not_meant: Act) -> Result<()> {
    let place = test.place.clone();
    test.child(|| not_meant(&place)?.context("who is not meant"))?;
    test.silence("who is not meant")?;
    test.child(|| refused(meant(&place)?, Errno::EPERM))?;
    let [event] = test.exactly()?;
    is_refused(&event)?;
    ensure!(!place.path("d/new").exists(), "it was created");
    Ok(())
}

fn is_refused(event: &Event) -> Result<()> {
    event.is(&json!({"verdict": "deny", "action": "deny", "exit": -1, "errno": "EPERM", "success": false}))
}

fn with_another_owner(place: &Place) -> Result<()> {
    two_directories(place)?;
    Ok(chown(place.path("d/f"), Some(USER), Some(USER))?)
}

fn opened(place: &Place) -> Result<io::Result<()>> {
    Ok(File::open(place.path("d/f")).map(drop))
}

fn program(place: &Place) -> Result<io::Result<()>> {
    Ok(File::open(place.path("d/program")).map(drop))
}

fn written(place: &Place) -> Result<io::Result<()>> {
    Ok(File::options().append(true).open(place.path("d/f")).map(drop))
}

fn named(place: &Place) -> Result<io::Result<()>> {
    prctl::set_name(c"meant")?;
    opened(place)
}

fn with_cgroups(place: &Place) -> Result<()> {
    with_another_owner(place)?;
    Ok(std::fs::create_dir_all(Path::new(CGROUPS).join(place.name).join("inner"))?)
}

/// Opens it in a control group of the case's, or one in that.
fn opened_in(place: &Place, inner: &str) -> Result<io::Result<()>> {
    std::fs::write(Path::new(CGROUPS).join(place.name).join(inner).join("cgroup.procs"), "0")?;
    opened(place)
}

/// Creates a file with a mode, and removes it.
fn created(place: &Place, mode: u32) -> Result<io::Result<()>> {
    let path = place.path("d/new");
    let created = File::options().write(true).create_new(true).mode(mode).open(&path);
    Ok(created.and_then(|_| std::fs::remove_file(path)))
}

fn as_user(place: &Place) -> Result<io::Result<()>> {
    child::become_user()?;
    opened(place)
}

fn with_effective_user(place: &Place) -> Result<io::Result<()>> {
    plain(libc::SYS_setresuid, [-1, USER.into(), -1])?;
    opened(place)
}

/// Has a program read the file, and tell what became of it.
fn read_with(program: &Path, place: &Place) -> Result<io::Result<()>> {
    let output = copy_of_busybox(program).arg("cat").arg(place.path("d/f")).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    let refused = said.contains("not permitted");
    ensure!(refused || output.status.success(), "it said: {said}");
    Ok(if refused { Err(io::Error::from_raw_os_error(libc::EPERM)) } else { Ok(()) })
}

/// Signals this process, which does not mind.
fn signal(signal: Signal) -> Result<io::Result<()>> {
    nix::sys::signal::SigSet::from_iter([signal]).thread_block()?;
    let own = nix::unistd::getpid().as_raw();
    Ok(plain(libc::SYS_kill, [own.into(), signal as i64]).map(drop))
}

fn connect(host: &str) -> Result<io::Result<()>> {
    let listener = std::net::TcpListener::bind((host, 0))?;
    Ok(std::net::TcpStream::connect(listener.local_addr()?).map(drop))
}

fn bind(host: &str) -> Result<io::Result<()>> {
    Ok(std::net::TcpListener::bind((host, 0)).map(drop))
}
