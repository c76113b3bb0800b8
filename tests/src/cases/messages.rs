//! What programs tell the kernel's audit.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, process};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::child;
use crate::daemon::wait_for;
use crate::event::Event;
use crate::harness::Alone;
use crate::netlink::{self, Audit};
use crate::place::Place;
use crate::session::{Session, file_output, own_log};

pub const CASES: &[Alone] = &[
    Alone::new("messages_as_the_daemon", as_daemon),
    Alone::new("messages_beside_another", beside_another),
    Alone::new("messages_of_nobody", of_nobody),
];

/// `include/uapi/linux/audit.h`, and libaudit's own.
const USER: u16 = 1005;
const USER_ACCT: u16 = 1101;
const USER_LOGIN: u16 = 1112;
const LOGIN_TEXT: &[u8] =
    b"op=login acct=\"joe\" exe=\"/usr/sbin/sshd\" hostname=h addr=192.0.2.1 terminal=ssh res=success\0";
const RULES: &str = "-a never,user -F auid=4242\n-a always,exclude -F msgtype=USER_ACCT\n";
const TIME: Duration = Duration::from_secs(60);

fn native_of(place: &Place) -> PathBuf {
    PathBuf::from(format!("/var/log/audit/{}.log", place.name))
}

/// A daemon that receives messages, and writes native records as well.
fn start(place: &Place) -> Result<Session> {
    let log = own_log(place.name);
    let native = format!(
        "[[output]]\ntype = \"file\"\nformat = \"native\"\npath = \"{}\"\ncompression = \"none\"\nflush_ms = 20\n",
        native_of(place).display()
    );
    let config = file_output(&log).replace("\"off\"", "\"auto\"") + &native;
    Session::start_with(place.name, RULES, &config, &log)
}

/// Sends what is written, and what is not.
fn tell(place: &Place) -> Result<u32> {
    child::run(|| {
        child::set_login_uid(4242)?;
        netlink::request(USER_LOGIN, b"op=silenced res=success\0")
    })?;
    child::run(|| {
        child::set_login_uid(place.auid)?;
        netlink::request(USER_ACCT, b"op=silenced res=success\0")?;
        netlink::request(USER, b"text=first res=success\0")?;
        netlink::request(USER_LOGIN, LOGIN_TEXT)
    })
}

/// The messages, when the login is there.
fn messages(session: &mut Session) -> Result<Vec<Event>> {
    wait_for("the login", TIME, || {
        session.settle()?;
        Ok(session.records().iter().any(|event| event.get("type") == "USER_LOGIN").then_some(()))
    })?;
    let is_user = |event: &&Event| event.text("type").is_ok_and(|kind| kind.starts_with("USER"));
    Ok(session.records().iter().filter(is_user).cloned().collect())
}

fn are_told(place: &Place, session: &mut Session) -> Result<()> {
    let pid = tell(place)?;
    let told = messages(session)?;
    ensure!(told.len() == 2, "{} messages instead of 2: {told:?}", told.len());
    let begins = format!("pid={pid} uid=0 auid={} ses=", place.auid);
    for (event, kind, said) in [(&told[0], "USER", "text=first"), (&told[1], "USER_LOGIN", "acct=\"joe\"")] {
        event.is(&json!({"type": kind, "node": "guest"}))?;
        let text = event.get("records")[0]["text"].as_str().with_context(|| format!("no text: {event}"))?;
        ensure!(text.starts_with(&begins) && text.contains(said), "{text} is not of {begins}");
    }
    let native = wait_for("the native log", TIME, || {
        let text = fs::read_to_string(native_of(place)).unwrap_or_default();
        Ok(text.lines().find(|line| line.starts_with("type=USER_LOGIN ")).map(str::to_owned))
    })?;
    let said = str::from_utf8(LOGIN_TEXT)?.trim_end_matches('\0');
    ensure!(native.contains(&format!("): {begins}")) && native.contains(&format!(" msg='{said}'")), "native: {native}");
    Ok(())
}

fn as_daemon(place: &Place) -> Result<()> {
    let before = Audit::open()?.status()?;
    ensure!(before == (false, 0), "audit of this guest is on: {before:?}");
    let mut session = start(place)?;
    let own = session.pid().as_raw().cast_unsigned();
    let now = Audit::open()?.status()?;
    ensure!(now == (true, own), "status {now:?} instead of on, {own}");
    are_told(place, &mut session)?;
    // The kernel audits no call of a task that came since.
    child::run(|| {
        let status = fs::read_to_string("/proc/self/loginuid").context("no loginuid")?;
        ensure!(!status.is_empty(), "no loginuid");
        Ok(())
    })?;
    session.stop()?;
    let after = Audit::open()?.status()?;
    ensure!(after == (false, 0), "the daemon left {after:?}");
    Ok(())
}

fn beside_another(place: &Place) -> Result<()> {
    let other = Audit::open()?;
    other.register()?;
    let mut session = start(place)?;
    let own = process::id();
    let now = Audit::open()?.status()?;
    ensure!(now == (true, own), "status {now:?} instead of on, {own}: the other daemon was thrown out");
    are_told(place, &mut session)?;
    session.stop()?;
    ensure!(Audit::open()?.status()? == (true, own), "the other daemon was thrown out at the end");
    Ok(())
}

/// With messages off, nothing is touched.
fn of_nobody(place: &Place) -> Result<()> {
    let (_, before) = Audit::open()?.status()?;
    let session = Session::start(place.name, RULES)?;
    let (_, now) = Audit::open()?.status()?;
    // What a case before left in the kernel, it may notice later.
    ensure!(now == before || now == 0, "registered is {now} instead of {before}");
    ensure!(!Path::new(&native_of(place)).exists(), "a native log");
    session.stop()
}
