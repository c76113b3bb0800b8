//! Rules of the lists exclude and user: which records are not written (`audit_filter` in `kernel/audit.c`).
//!
//! An event is one record here and several in the kernel's audit: what is excluded leaves out that part of it. An event
//! without its SYSCALL record is none, and is left out whole.

use std::os::unix::ffi::OsStrExt;

use output::event::{Body, Event, SyscallEvent};
use rules::{Rule, Test};
use tables::{Action, Field, record_type_number};

use crate::user_messages::Record;

/// The rules.
#[derive(Clone, Copy, Debug)]
pub struct Exclusions<'a>(&'a [Rule]);

/// Who caused a record.
#[derive(Clone, Copy, Debug)]
struct Cause<'a> {
    pid: u32,
    uid: u32,
    gid: u32,
    auid: u32,
    exe: Option<&'a [u8]>,
}

impl<'a> Exclusions<'a> {
    /// The rules of a plan's exclude list.
    #[must_use]
    pub const fn new(rules: &'a [Rule]) -> Self {
        Self(rules)
    }

    /// The event without what is excluded; `None` if that is all of it.
    #[must_use]
    pub fn apply(self, mut event: Event) -> Option<Event> {
        if self.0.is_empty() {
            return Some(event);
        }
        let kept = match &mut event.body {
            Body::Syscall(call) => self.keep_of_call(call),
            Body::Daemon(own) => {
                let cause = Cause { pid: own.pid, uid: own.uid, gid: 0, auid: own.auid, exe: None };
                !self.excludes(&own.record_type, cause)
            }
            // Losses are told in any case; messages of others pass elsewhere.
            Body::Lost(_) | Body::Messages(_) => true,
        };
        kept.then_some(event)
    }

    /// Whether a message of others is written. `user`: the rules of that list, of which the first that holds decides.
    #[must_use]
    pub fn keep_message(self, record: &Record, user: &[Rule]) -> bool {
        let pid = record.number("pid").unwrap_or(0);
        let exe = std::fs::read_link(format!("/proc/{pid}/exe")).ok();
        let cause = Cause {
            pid,
            uid: record.number("uid").unwrap_or(output::UNSET),
            // The kernel tells no group.
            gid: output::UNSET,
            auid: record.number("auid").unwrap_or(output::UNSET),
            exe: exe.as_deref().map(|exe| exe.as_os_str().as_bytes()),
        };
        let number = record_type_number(&record.message.record_type);
        let decides = |rule: &&Rule| rule.tests.iter().all(|test| holds(test, number, cause));
        let is_heard = user.iter().find(decides).is_none_or(|rule| rule.action != Action::Never);
        is_heard && !self.excludes(&record.message.record_type, cause)
    }

    fn keep_of_call(self, call: &mut SyscallEvent) -> bool {
        let exe = call.exe.clone();
        let cause =
            Cause { pid: call.pid, uid: call.ids.uid, gid: call.ids.gid, auid: call.ids.auid, exe: exe.as_deref() };
        let excludes = |record_type: &str| self.excludes(record_type, cause);
        if excludes(if call.uring_op.is_some() { "URINGOP" } else { "SYSCALL" }) {
            return false;
        }
        if excludes("PATH") {
            call.paths.clear();
        }
        if excludes("OBJ_PID") {
            call.targets.clear();
        }
        call.cwd.take_if(|_| excludes("CWD"));
        call.argv.take_if(|_| excludes("EXECVE"));
        call.sockaddr.take_if(|_| excludes("SOCKADDR"));
        call.proctitle.take_if(|_| excludes("PROCTITLE"));
        call.parts.retain(|part| !excludes(part.record_type()));
        true
    }

    fn excludes(self, record_type: &str, cause: Cause<'_>) -> bool {
        let number = record_type_number(record_type);
        self.0.iter().any(|rule| rule.tests.iter().all(|test| holds(test, number, cause)))
    }
}

fn holds(test: &Test, record_type: Option<u32>, cause: Cause<'_>) -> bool {
    let value_of = |field| match field {
        Field::Msgtype => record_type,
        Field::Pid => Some(cause.pid),
        Field::Uid => Some(cause.uid),
        Field::Gid => Some(cause.gid),
        Field::Auid => Some(cause.auid),
        _ => None,
    };
    match test {
        Test::Number { field, op, value } => value_of(*field).is_some_and(|left| op.holds(left, *value)),
        Test::Exe { equal, path } => cause.exe.is_some_and(|exe| (exe == path.as_slice()) == *equal),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use output::event::Ids;
    use rules::{NoHost, Plan, Source, parse};

    use super::*;

    fn applied(text: &str) -> Option<SyscallEvent> {
        let parsed = parse(&[Source { name: None, text: text.as_bytes().to_vec() }], &NoHost);
        let plan = Plan::compile(&parsed.into_loadable().unwrap().0).unwrap();
        let call = SyscallEvent {
            cwd: Some(b"/".to_vec()),
            argv: Some(vec![b"id".to_vec()]),
            exe: Some(b"/bin/id".to_vec()),
            ids: Ids { uid: 1000, auid: 1000, ..Ids::default() },
            ..SyscallEvent::default()
        };
        let event = Event { time: 0, serial: 1, body: Body::Syscall(Box::new(call)) };
        let kept = Exclusions::new(&plan.exclusions).apply(event)?;
        let Body::Syscall(call) = kept.body else { return None };
        Some(*call)
    }

    #[test]
    fn what_is_excluded_leaves_the_event() {
        let call = applied("-a always,exclude -F msgtype=CWD\n").unwrap();
        assert!(call.cwd.is_none() && call.argv.is_some());
        let call = applied("-a never,exclude -F msgtype>=1307 -F msgtype<=1309\n").unwrap();
        assert!(call.cwd.is_none() && call.argv.is_none());
        assert!(applied("-a always,exclude -F msgtype=SYSCALL\n").is_none());
        assert!(applied("-a always,exclude -F msgtype=USER_LOGIN\n").unwrap().cwd.is_some());
    }

    #[test]
    fn the_user_list_and_the_exclude_list_silence_messages() {
        let kept = |rules: &str| {
            let parsed = parse(&[Source { name: None, text: rules.as_bytes().to_vec() }], &NoHost);
            let plan = Plan::compile(&parsed.into_loadable().unwrap().0).unwrap();
            let text = b"audit(1.000:1): pid=4194304 uid=0 auid=1000 ses=1 msg='op=login res=success'";
            let record = Record::parse(1112, text).unwrap();
            Exclusions::new(&plan.exclusions).keep_message(&record, &plan.user)
        };
        assert!(kept("-a never,user -F uid=1\n-a never,user -F auid=1\n"));
        assert!(!kept("-a never,user -F auid=1000\n"));
        assert!(kept("-a always,user -F uid=0\n-a never,user -F auid=1000\n"));
        assert!(!kept("-a always,exclude -F msgtype=USER_LOGIN\n"));
        assert!(kept("-a always,exclude -F msgtype=USER_AUTH\n"));
    }

    #[test]
    fn every_test_of_a_rule_must_hold() {
        assert!(applied("-a always,exclude -F uid=1000\n").is_none());
        assert!(applied("-a always,exclude -F uid=0\n").is_some());
        assert!(applied("-a always,exclude -F msgtype=CWD -F auid=1\n").unwrap().cwd.is_some());
        assert!(applied("-a always,exclude -F msgtype=CWD -F auid=1000\n").unwrap().cwd.is_none());
    }
}
