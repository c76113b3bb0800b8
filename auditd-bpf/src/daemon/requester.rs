//! Who asked for a change.

use std::fs;

use output::event::{DaemonEvent, Word};

use crate::control::server::Peer;

/// A process that asks, or this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Requester {
    pub pid: u32,
    pub uid: u32,
    pub auid: u32,
    pub session: u32,
    /// What the security module calls it, where one does.
    pub subject: Option<String>,
}

impl Requester {
    /// A process as far as /proc tells; it may have ended.
    pub fn of(pid: u32, uid: u32) -> Self {
        let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).ok();
        let number = |file: &str| read(file).and_then(|text| text.trim().parse().ok()).unwrap_or(output::UNSET);
        let subject = read("attr/current").map(|text| text.trim_end_matches(['\n', '\0']).to_owned());
        Self {
            pid,
            uid,
            auid: number("loginuid"),
            session: number("sessionid"),
            subject: subject.filter(|subject| !subject.is_empty()),
        }
    }

    /// The daemon itself.
    pub fn own() -> Self {
        Self::of(std::process::id(), nix::unistd::getuid().as_raw())
    }

    /// What it caused, successfully.
    pub fn event(&self, record_type: &'static str, op: &'static str, mut details: Vec<(Word, String)>) -> DaemonEvent {
        details.extend(self.subject.clone().map(|subject| ("subj".into(), subject)));
        let (auid, pid, uid, session) = (self.auid, self.pid, self.uid, self.session);
        DaemonEvent { record_type: record_type.into(), op: op.into(), auid, pid, uid, session, success: true, details }
    }

    /// The text of a `USER` record: what the kernel puts before a message (`audit_log_user_recv_msg`), and libaudit around
    /// it (`audit_log_user_message`).
    pub fn message(&self, text: &[u8]) -> Vec<u8> {
        let Self { pid, uid, auid, session, .. } = self;
        let subject = self.subject.as_ref().map(|subject| format!(" subj={subject}")).unwrap_or_default();
        let exe = self.exe().map_or_else(|| "?".to_owned(), |exe| format!("\"{exe}\""));
        let terminal = self.terminal().unwrap_or_else(|| "?".to_owned());
        let before = format!("pid={pid} uid={uid} auid={auid} ses={session}{subject} msg='text=");
        let after = format!(" exe={exe} hostname=? addr=? terminal={terminal} res=success'");
        [before.as_bytes(), text, after.as_bytes()].concat()
    }

    fn exe(&self) -> Option<String> {
        let path = fs::read_link(format!("/proc/{}/exe", self.pid)).ok()?;
        Some(path.to_string_lossy().into_owned())
    }

    /// That of its standard input.
    fn terminal(&self) -> Option<String> {
        let path = fs::read_link(format!("/proc/{}/fd/0", self.pid)).ok()?;
        let name = path.strip_prefix("/dev").ok()?.to_string_lossy().into_owned();
        (name.starts_with("pts/") || name.starts_with("tty") || name == "console").then_some(name)
    }
}

impl From<Peer> for Requester {
    fn from(peer: Peer) -> Self {
        Self::of(peer.pid.cast_unsigned(), peer.uid)
    }
}
