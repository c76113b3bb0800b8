//! Calls that a rule refuses to one login uid: each act is tried under it, and without one.

use std::io;

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use serde_json::json;

use super::{refused, verdict};
use crate::child;
use crate::event::Event;
use crate::harness::skip;
use crate::place::Place;
use crate::session::Test;
use crate::sys::{self, Arg};

/// What came of an act.
pub struct Attempt {
    result: io::Result<()>,
    happened: bool,
}

/// What a call returned, and whether what it is for is seen to have happened.
pub fn attempt<T>(result: Result<T, impl Into<io::Error>>, happened: bool) -> Result<Attempt> {
    Ok(Attempt { result: result.map(drop).map_err(Into::into), happened })
}

/// A call that does nothing but return something.
pub fn answer<T>(result: Result<T, impl Into<io::Error>>) -> Result<Attempt> {
    let happened = result.is_ok();
    attempt(result, happened)
}

impl Attempt {
    /// Fails unless it was refused, and nothing came of it.
    pub fn failed_with(self, errno: Errno) -> Result<()> {
        refused(self.result, errno)?;
        ensure!(!self.happened, "it failed, and happened");
        Ok(())
    }

    /// Whether it is seen to have happened.
    pub fn happened(&self) -> bool {
        self.happened
    }

    /// Fails unless it went well.
    pub fn went_well(self) -> Result<()> {
        self.result?;
        ensure!(self.happened, "it did not happen");
        Ok(())
    }
}

/// An act in a case's directory. Its own error is one of what must be there for it.
pub type Act = fn(&Place) -> Result<Attempt>;

/// Runs an act that must be refused by a hook to the case's login uid, and must work for others, silently. Returns the record.
pub fn refused_to_one(test: &mut Test<'_>, call: &str, hook: &str, act: Act) -> Result<Event> {
    refused_to_one_with(test, call, hook, Errno::EPERM, act)
}

/// The same with an errno of the rule's.
pub fn refused_to_one_with(test: &mut Test<'_>, call: &str, hook: &str, errno: Errno, act: Act) -> Result<Event> {
    let place = test.place.clone();
    let pid = test.child(|| act(&place)?.failed_with(errno))?;
    let [event] = test.exactly()?;
    event.is(&verdict(hook, errno))?;
    event.is(&json!({"syscall": call, "pid": pid, "auid": place.auid}))?;
    child::run(|| act(&place)?.went_well().context("the act of another"))?;
    test.silence("the act of another")?;
    Ok(event)
}

/// A case for each call: its name behind `deny_`, the call, the hook that refuses it, and the act.
macro_rules! calls {
    ($($name:literal, $call:literal, $hook:literal, $act:expr;)+) => {
        pub const CASES: &[$crate::harness::Case] = &[$(
            $crate::harness::Case::new(
                concat!("deny_", $name),
                concat!("-a deny,exit -F arch=b64 -S ", $call, " -F auid={auid} -k {key}"),
                |test| super::attempt::refused_to_one(test, $call, $hook, $act).map(drop),
            )
        ),+];
    };
}
pub(super) use calls;

/// A call whose arguments are numbers.
pub fn plain<const N: usize>(number: libc::c_long, arguments: [i64; N]) -> io::Result<i64> {
    sys::call(number, &mut arguments.map(Arg::Number))
}

/// Skips a case about a call that the kernel does not have.
pub fn only_with_call(number: libc::c_long) -> Result<()> {
    match plain(number, [-1; 6]) {
        Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => skip(format!("no call {number} in this kernel")),
        _ => Ok(()),
    }
}
