//! Filter lists and actions: `-a list,action`.

use crate::lookup;

/// Where in the kernel a rule is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FilterList {
    /// Messages from user space.
    User,
    /// Creation of a task.
    Task,
    /// End of a system call.
    Exit,
    /// Any record, by type, before it is made.
    Exclude,
    /// Names on a type of file system.
    Filesystem,
    /// End of an io_uring operation.
    IoUring,
}

const LISTS: &[(FilterList, &str)] = &[
    (FilterList::User, "user"),
    (FilterList::Task, "task"),
    (FilterList::Exit, "exit"),
    (FilterList::Exclude, "exclude"),
    (FilterList::Filesystem, "filesystem"),
    (FilterList::IoUring, "io_uring"),
];

impl FilterList {
    /// In the order in which the kernel numbers and lists them.
    pub const ALL: [Self; 6] = [Self::User, Self::Task, Self::Exit, Self::Exclude, Self::Filesystem, Self::IoUring];

    /// `AUDIT_FILTER_*`.
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::User => 0,
            Self::Task => 1,
            Self::Exit => 4,
            Self::Exclude => 5,
            Self::Filesystem => 6,
            Self::IoUring => 7,
        }
    }

    /// Whether its rules name calls, or operations, with `-S`.
    #[must_use]
    pub const fn takes_syscalls(self) -> bool {
        matches!(self, Self::Exit | Self::IoUring)
    }

    /// As written.
    #[must_use]
    pub fn name(self) -> &'static str {
        lookup::by_number(LISTS, self).unwrap_or_default()
    }

    /// From its name, in lower case: auditctl insists on that here.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        LISTS.iter().find(|row| row.1 == name).map(|row| row.0)
    }
}

/// What a matching rule asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// No event.
    Never,
    /// An event.
    Always,
    /// An event, and the act is refused. Not in stock audit.
    Deny,
    /// An event, the act is refused and the task killed. Not in stock audit.
    Kill,
}

const ACTIONS: &[(Action, &str)] =
    &[(Action::Never, "never"), (Action::Always, "always"), (Action::Deny, "deny"), (Action::Kill, "kill")];

impl Action {
    /// Every action.
    pub const ALL: [Self; 4] = [Self::Never, Self::Always, Self::Deny, Self::Kill];

    /// As written.
    #[must_use]
    pub fn name(self) -> &'static str {
        lookup::by_number(ACTIONS, self).unwrap_or_default()
    }

    /// From its name, in lower case: auditctl insists on that here.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        ACTIONS.iter().find(|row| row.1 == name).map(|row| row.0)
    }

    /// Whether the act itself is refused.
    #[must_use]
    pub const fn refuses(self) -> bool {
        matches!(self, Self::Deny | Self::Kill)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back() {
        lookup::assert_round_trip(LISTS);
        lookup::assert_round_trip(ACTIONS);
        assert_eq!(FilterList::ALL.map(FilterList::name).join(" "), "user task exit exclude filesystem io_uring");
        assert_eq!(Action::ALL.map(Action::name).join(" "), "never always deny kill");
        assert_eq!(FilterList::from_name("entry"), None);
        assert_eq!(FilterList::from_name("EXIT"), None);
        assert!(FilterList::ALL.into_iter().all(|list| FilterList::from_name(list.name()) == Some(list)));
        assert!(Action::ALL.into_iter().all(|action| Action::from_name(action.name()) == Some(action)));
    }
}
