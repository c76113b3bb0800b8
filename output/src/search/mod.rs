//! Searching logs: which events are meant, and how they are shown.
//!
//! | step | where |
//! |---|---|
//! | the tests, as ausearch's options give them | [`Query`] |
//! | what of an event they look at | `facts`, `fields` |
//! | what of its bytes tells that it cannot be meant | [`Query::sieve`] |
//! | what of its records tells that it is meant, or not | [`Query::glance`] |
//! | an event that was found, as text | [`Layout`] |

mod facts;
pub(crate) mod fields;
mod glance;
mod interpret;
mod layout;
mod sieve;
mod spelled;

use tables::Arch;

use crate::format::{Content, Format, NativeStyle, Node};
use crate::names::Names;
use crate::read::Entry;
use crate::record::Record;
use facts::Facts;

pub use layout::Layout;

/// Tests that an event must pass, all of them. The default passes every event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// First second, since the epoch.
    pub from: Option<i64>,
    /// Last second, since the epoch.
    pub to: Option<i64>,
    /// The event's number.
    pub serial: Option<u64>,
    /// Name of the machine.
    pub node: Option<String>,
    /// Types of records, of which the event has one; empty for any.
    pub record_types: Vec<String>,
    /// Process.
    pub pid: Option<u32>,
    /// Parent process.
    pub ppid: Option<u32>,
    /// User ids.
    pub users: Users,
    /// Group ids.
    pub groups: Groups,
    /// Login session.
    pub session: Option<u32>,
    /// System call.
    pub call: Option<Call>,
    /// What the call returned.
    pub exit: Option<i64>,
    /// Whether the act succeeded.
    pub success: Option<bool>,
    /// Task name.
    pub comm: Option<String>,
    /// Executable.
    pub exe: Option<String>,
    /// A file or directory, also the working directory.
    pub file: Option<String>,
    /// Name or address of another machine.
    pub host: Option<String>,
    /// Terminal.
    pub terminal: Option<String>,
    /// A key of the rule.
    pub key: Option<String>,
    /// How the texts above are compared.
    pub comparison: Comparison,
}

/// Tests of user ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Users {
    /// Real.
    pub uid: Option<u32>,
    /// Effective.
    pub euid: Option<u32>,
    /// Of the login.
    pub auid: Option<u32>,
    /// Any of the three.
    pub any: Option<u32>,
}

/// Tests of group ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Groups {
    /// Real.
    pub gid: Option<u32>,
    /// Effective.
    pub egid: Option<u32>,
    /// Either.
    pub any: Option<u32>,
}

/// A system call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// By number.
    Number(u32),
    /// By name; its number depends on the ABI of the event.
    Name(String),
}

/// How texts are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Comparison {
    /// The event's contains that of the query.
    #[default]
    Part,
    /// They are equal.
    Whole,
}

impl Query {
    /// Whether the event passes.
    pub fn matches(&self, entry: &Entry) -> bool {
        let event = &entry.event;
        let may_pass = self.time(event.time)
            && holds(self.serial, Some(event.serial))
            && self.node.as_ref().is_none_or(|node| *node == entry.node);
        if !may_pass {
            return false;
        }
        let facts = Facts::of(event);
        self.has_numbers(&facts) && self.has_texts(&facts) && self.record_type(entry)
    }

    /// Whether events between two times, in nanoseconds since the epoch, can pass.
    pub fn may_lie_within(&self, from: u64, to: u64) -> bool {
        self.from.is_none_or(|first| seconds(to) >= first) && self.to.is_none_or(|last| seconds(from) <= last)
    }

    fn time(&self, time: u64) -> bool {
        self.may_lie_within(time, time)
    }

    fn has_numbers(&self, facts: &Facts<'_>) -> bool {
        let same_call = |(arch, number): (u32, u32)| match &self.call {
            None => true,
            Some(Call::Number(wanted)) => *wanted == number,
            Some(Call::Name(name)) => {
                let wanted = Arch::from_audit_arch(arch).and_then(|arch| tables::syscalls::number(arch, name));
                wanted.map(u32::from) == Some(number)
            }
        };
        (self.call.is_none() || facts.call.is_some_and(same_call))
            && holds(self.exit, facts.exit)
            && holds(self.pid, facts.pid)
            && holds(self.ppid, facts.ppid)
            && holds(self.session, facts.session)
            && holds(self.success, facts.success)
            && self.users.pass(facts)
            && self.groups.pass(facts)
    }

    fn has_texts(&self, facts: &Facts<'_>) -> bool {
        self.text(self.comm.as_deref(), &facts.comm)
            && self.text(self.exe.as_deref(), &facts.exe)
            && self.text(self.file.as_deref(), &facts.files)
            && self.text(self.host.as_deref(), &facts.hosts)
            && self.text(self.terminal.as_deref(), &facts.terminals)
            && self.text(self.key.as_deref(), &facts.keys)
    }

    fn text<T: AsRef<[u8]>>(&self, wanted: Option<&str>, found: &[T]) -> bool {
        wanted.is_none_or(|wanted| {
            found.iter().any(|found| match self.comparison {
                Comparison::Part => contains(found.as_ref(), wanted.as_bytes()),
                Comparison::Whole => found.as_ref() == wanted.as_bytes(),
            })
        })
    }

    /// What records an event has, its native form tells.
    fn record_type(&self, entry: &Entry) -> bool {
        let wanted = |found: &[u8]| self.record_types.iter().any(|wanted| wanted.as_bytes() == found);
        let names: &dyn Names = &entry.names;
        let record = Record { event: &entry.event, node: "", names };
        if self.record_types.is_empty() || wanted(record.record_type().as_bytes()) {
            return true;
        }
        let mut lines = Vec::new();
        Format::Native(NativeStyle { content: Content::Raw, node: Node::Left }).write_lines(&record, &mut lines);
        let record_type = |line: &[u8]| {
            let word = line.split(|byte| *byte == b' ').next();
            word.and_then(|word| word.strip_prefix(b"type=")).is_some_and(wanted)
        };
        lines.split(|byte| *byte == b'\n').any(record_type)
    }
}

impl Users {
    fn pass(&self, facts: &Facts<'_>) -> bool {
        let any = self.any.is_none_or(|any| [facts.uid, facts.euid, facts.auid].contains(&Some(any)));
        any && holds(self.uid, facts.uid) && holds(self.euid, facts.euid) && holds(self.auid, facts.auid)
    }
}

impl Groups {
    fn pass(&self, facts: &Facts<'_>) -> bool {
        let any = self.any.is_none_or(|any| [facts.gid, facts.egid].contains(&Some(any)));
        any && holds(self.gid, facts.gid) && holds(self.egid, facts.egid)
    }
}

/// Whether nothing is asked, or just this was found.
fn holds<T: PartialEq + Copy>(wanted: Option<T>, found: Option<T>) -> bool {
    wanted.is_none() || wanted == found
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    memchr::memmem::find(text, part).is_some()
}

fn seconds(nanoseconds: u64) -> i64 {
    i64::try_from(nanoseconds / 1_000_000_000).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
