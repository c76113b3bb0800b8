//! Names that a log tells.

use std::sync::Arc;

use tables::Arch;

use crate::names::Names;

/// Names of users and groups as one event of a log tells them; names of calls, ABIs and errnos come from tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogNames {
    users: Vec<(u32, Arc<str>)>,
    groups: Vec<(u32, Arc<str>)>,
    told: bool,
}

impl LogNames {
    /// Whether the log has names at all. Where it has none (`RAW`), whoever shows the event may ask the machine.
    pub fn told(&self) -> bool {
        self.told
    }

    pub(super) fn tells(&mut self) {
        self.told = true;
    }

    pub(super) fn add_user(&mut self, uid: u32, name: &str) {
        self.told = true;
        add(&mut self.users, uid, name);
    }

    pub(super) fn add_group(&mut self, gid: u32, name: &str) {
        self.told = true;
        add(&mut self.groups, gid, name);
    }
}

fn add(names: &mut Vec<(u32, Arc<str>)>, id: u32, name: &str) {
    if get(names, id).is_none() {
        names.push((id, name.into()));
    }
}

fn get(names: &[(u32, Arc<str>)], id: u32) -> Option<Arc<str>> {
    names.iter().find(|(known, _)| *known == id).map(|(_, name)| Arc::clone(name))
}

impl Names for LogNames {
    fn user(&self, uid: u32) -> Option<Arc<str>> {
        get(&self.users, uid)
    }

    fn group(&self, gid: u32) -> Option<Arc<str>> {
        get(&self.groups, gid)
    }

    fn arch(&self, arch: u32) -> Option<&'static str> {
        Arch::from_audit_arch(arch).map(Arch::machine)
    }

    fn syscall(&self, arch: u32, number: u32) -> Option<&'static str> {
        tables::syscalls::name(Arch::from_audit_arch(arch)?, u16::try_from(number).ok()?)
    }

    fn errno(&self, number: i32) -> Option<&'static str> {
        tables::errno_name(u32::try_from(number).ok()?)
    }
}
