//! The fields of `-F`: one row each.

use crate::{FilterList, Op};

/// The left side of `-F`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Field {
    /// `pid`: Process id.
    Pid,
    /// `uid`: Real user id.
    Uid,
    /// `euid`: Effective user id.
    Euid,
    /// `suid`: Saved user id.
    Suid,
    /// `fsuid`: File system user id.
    Fsuid,
    /// `gid`: Real group id.
    Gid,
    /// `egid`: Effective group id.
    Egid,
    /// `sgid`: Saved group id.
    Sgid,
    /// `fsgid`: File system group id.
    Fsgid,
    /// `auid`: Login user id, set at login and inherited.
    Auid,
    /// `pers`: Personality.
    Pers,
    /// `arch`: ABI of the system call.
    Arch,
    /// `msgtype`: Record type.
    Msgtype,
    /// `subj_user`: User of the subject's label.
    SubjUser,
    /// `subj_role`: Role of the subject's label.
    SubjRole,
    /// `subj_type`: Type of the subject's label.
    SubjType,
    /// `subj_sen`: Sensitivity of the subject's label.
    SubjSen,
    /// `subj_clr`: Clearance of the subject's label.
    SubjClr,
    /// `ppid`: Parent's process id.
    Ppid,
    /// `obj_user`: User of the object's label.
    ObjUser,
    /// `obj_role`: Role of the object's label.
    ObjRole,
    /// `obj_type`: Type of the object's label.
    ObjType,
    /// `obj_lev_low`: Low level of the object's label.
    ObjLevLow,
    /// `obj_lev_high`: High level of the object's label.
    ObjLevHigh,
    /// `sessionid`: Login session.
    SessionId,
    /// `fstype`: File system type.
    Fstype,
    /// `devmajor`: Major number of the device a file is on.
    Devmajor,
    /// `devminor`: Minor number of the device a file is on.
    Devminor,
    /// `inode`: Inode number.
    Inode,
    /// `exit`: Result of the system call.
    Exit,
    /// `success`: Whether the system call succeeded, 1 or 0.
    Success,
    /// `path`: A file.
    Path,
    /// `perm`: Kind of access.
    Perm,
    /// `dir`: A directory tree.
    Dir,
    /// `filetype`: Type of a file.
    Filetype,
    /// `obj_uid`: Owner of a file.
    ObjUid,
    /// `obj_gid`: Group of a file.
    ObjGid,
    /// `exe`: Program that acts.
    Exe,
    /// `saddr_fam`: Family of a socket address.
    SaddrFam,
    /// `a0`: First argument.
    A0,
    /// `a1`: Second argument.
    A1,
    /// `a2`: Third argument.
    A2,
    /// `a3`: Fourth argument.
    A3,
    /// `key`: Label of the rule; never filters.
    Key,
    /// `errno`: Error that a refusal returns. Not in stock audit.
    Errno,
    /// `obj_pid`: Process that is signalled or traced, or that an open reaches by /proc: its memory, what it has mapped and opened. To
    /// rules that refuse also one whose limits, priority, scheduling or memory's place are changed. Not in stock audit.
    ObjPid,
    /// `daddr`: Internet address that a call was given. Not in stock audit.
    Daddr,
    /// `dport`: Port that a call was given. Not in stock audit.
    Dport,
    /// `comm`: Name that the task has given itself, or has from its program. Not in stock audit.
    Comm,
    /// `cgroup`: Control group that the task is in. Not in stock audit.
    Cgroup,
    /// `cap`: Capability that a call made use of. Not in stock audit.
    Cap,
    /// `fail`: What becomes of an act that cannot be decided or recorded; never filters. Not in stock audit.
    Fail,
}

/// What may stand on the right side of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ValueKind {
    /// A plain number.
    Number,
    /// A user: number, name or `unset`.
    User,
    /// A group: number or name.
    Group,
    /// A session: number or `unset`.
    Session,
    /// `b64`, `b32` or a machine name.
    Arch,
    /// A record type: name or number.
    RecordType,
    /// A file system: name or magic number.
    FileSystem,
    /// A file type: name.
    FileType,
    /// A result: number, or error name with or without `-`.
    Exit,
    /// An error: name or number.
    Errno,
    /// An address family: number or name.
    AddressFamily,
    /// A system call argument: number, also negative, hexadecimal or octal.
    Argument,
    /// An internet address, with or without the length of a prefix.
    Network,
    /// A port of TCP or UDP.
    Port,
    /// The name of a task: up to 15 bytes.
    Comm,
    /// A control group: its path below the root of version 2, or its number.
    Cgroup,
    /// A capability: name, with or without `cap_`, or number.
    Capability,
    /// `open` or `closed`.
    Fail,
    /// Free text.
    Text,
    /// An absolute path.
    Path,
    /// Letters of `rwxa`.
    Perm,
    /// Free text, the label.
    Key,
}

struct Row {
    field: Field,
    name: &'static str,
    number: u32,
    kind: ValueKind,
    operators: &'static [Op],
    lists: &'static [FilterList],
}

const EIGHT: &[Op] = &Op::SEARCH_ORDER;
const SIX: &[Op] = &[Op::NotEqual, Op::GreaterOrEqual, Op::LessOrEqual, Op::Equal, Op::Greater, Op::Less];
const EQUALITY: &[Op] = &[Op::NotEqual, Op::Equal];
const EQUAL: &[Op] = &[Op::Equal];

const ANY: &[FilterList] = &FilterList::ALL;
const EXIT: &[FilterList] = &[FilterList::Exit];
/// On all but exit these never match, and auditctl takes them all the same.
const TASKS: &[FilterList] = &[FilterList::User, FilterList::Task, FilterList::Exit];
const FILESYSTEM: &[FilterList] = &[FilterList::Filesystem];
const EXIT_EXCLUDE: &[FilterList] = &[FilterList::Exit, FilterList::Exclude];
const USER_EXCLUDE: &[FilterList] = &[FilterList::User, FilterList::Exclude];
const SESSIONS: &[FilterList] = &[FilterList::User, FilterList::Exit, FilterList::Exclude];
const ACTORS: &[FilterList] = &[FilterList::Task, FilterList::Exit, FilterList::IoUring];
const PROGRAMS: &[FilterList] =
    &[FilterList::User, FilterList::Task, FilterList::Exit, FilterList::Exclude, FilterList::IoUring];

/// Other names that auditctl takes.
const ALIASES: &[(Field, &str)] = &[(Field::Auid, "loginuid")];

impl Field {
    fn row(self) -> &'static Row {
        // Rows stand in the order of the enum; a test holds them to it.
        &ROWS[self as usize]
    }

    /// Every field, by number.
    pub fn all() -> impl Iterator<Item = Self> {
        ROWS.iter().map(|row| row.field)
    }

    /// From its name, in any case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let alias = || crate::lookup::by_name(ALIASES, name);
        ROWS.iter().find(|row| row.name.eq_ignore_ascii_case(name)).map(|row| row.field).or_else(alias)
    }

    /// As printed.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// The kernel's number; above 0x1000 our own, which the kernel never sees.
    #[must_use]
    pub fn number(self) -> u32 {
        self.row().number
    }

    /// What its value may be.
    #[must_use]
    pub fn value_kind(self) -> ValueKind {
        self.row().kind
    }

    /// Operators that the kernel accepts for it.
    #[must_use]
    pub fn operators(self) -> &'static [Op] {
        self.row().operators
    }

    /// Lists on which auditctl lets it stand.
    #[must_use]
    pub fn lists(self) -> &'static [FilterList] {
        self.row().lists
    }

    /// Position of `a0` to `a3`.
    #[must_use]
    pub const fn argument(self) -> Option<usize> {
        match self {
            Self::A0 => Some(0),
            Self::A1 => Some(1),
            Self::A2 => Some(2),
            Self::A3 => Some(3),
            _ => None,
        }
    }
}

const fn row(
    field: Field,
    name: &'static str,
    number: u32,
    kind: ValueKind,
    operators: &'static [Op],
    lists: &'static [FilterList],
) -> Row {
    Row { field, name, number, kind, operators, lists }
}

const ROWS: &[Row] = &[
    row(Field::Pid, "pid", 0, ValueKind::Number, SIX, ANY),
    row(Field::Uid, "uid", 1, ValueKind::User, SIX, ANY),
    row(Field::Euid, "euid", 2, ValueKind::User, SIX, ANY),
    row(Field::Suid, "suid", 3, ValueKind::User, SIX, ANY),
    row(Field::Fsuid, "fsuid", 4, ValueKind::User, SIX, ANY),
    row(Field::Gid, "gid", 5, ValueKind::Group, SIX, ANY),
    row(Field::Egid, "egid", 6, ValueKind::Group, SIX, ANY),
    row(Field::Sgid, "sgid", 7, ValueKind::Group, SIX, ANY),
    row(Field::Fsgid, "fsgid", 8, ValueKind::Group, SIX, ANY),
    row(Field::Auid, "auid", 9, ValueKind::User, SIX, ANY),
    row(Field::Pers, "pers", 10, ValueKind::Number, EIGHT, ANY),
    row(Field::Arch, "arch", 11, ValueKind::Arch, EQUALITY, ANY),
    row(Field::Msgtype, "msgtype", 12, ValueKind::RecordType, SIX, USER_EXCLUDE),
    row(Field::SubjUser, "subj_user", 13, ValueKind::Text, EQUALITY, ANY),
    row(Field::SubjRole, "subj_role", 14, ValueKind::Text, EQUALITY, ANY),
    row(Field::SubjType, "subj_type", 15, ValueKind::Text, EQUALITY, ANY),
    row(Field::SubjSen, "subj_sen", 16, ValueKind::Text, SIX, ANY),
    row(Field::SubjClr, "subj_clr", 17, ValueKind::Text, SIX, ANY),
    row(Field::Ppid, "ppid", 18, ValueKind::Number, SIX, EXIT),
    row(Field::ObjUser, "obj_user", 19, ValueKind::Text, EQUALITY, EXIT),
    row(Field::ObjRole, "obj_role", 20, ValueKind::Text, EQUALITY, EXIT),
    row(Field::ObjType, "obj_type", 21, ValueKind::Text, EQUALITY, EXIT),
    row(Field::ObjLevLow, "obj_lev_low", 22, ValueKind::Text, SIX, EXIT),
    row(Field::ObjLevHigh, "obj_lev_high", 23, ValueKind::Text, SIX, EXIT),
    row(Field::SessionId, "sessionid", 25, ValueKind::Session, SIX, SESSIONS),
    row(Field::Fstype, "fstype", 26, ValueKind::FileSystem, EQUALITY, FILESYSTEM),
    row(Field::Devmajor, "devmajor", 100, ValueKind::Number, SIX, EXIT),
    row(Field::Devminor, "devminor", 101, ValueKind::Number, EIGHT, EXIT),
    row(Field::Inode, "inode", 102, ValueKind::Number, EQUALITY, EXIT),
    row(Field::Exit, "exit", 103, ValueKind::Exit, SIX, EXIT),
    row(Field::Success, "success", 104, ValueKind::Number, SIX, EXIT),
    row(Field::Path, "path", 105, ValueKind::Path, EQUAL, EXIT),
    row(Field::Perm, "perm", 106, ValueKind::Perm, EQUAL, EXIT_EXCLUDE),
    row(Field::Dir, "dir", 107, ValueKind::Path, EQUAL, EXIT),
    row(Field::Filetype, "filetype", 108, ValueKind::FileType, EQUALITY, EXIT),
    row(Field::ObjUid, "obj_uid", 109, ValueKind::User, SIX, TASKS),
    row(Field::ObjGid, "obj_gid", 110, ValueKind::Group, SIX, TASKS),
    row(Field::Exe, "exe", 112, ValueKind::Path, EQUALITY, PROGRAMS),
    row(Field::SaddrFam, "saddr_fam", 113, ValueKind::AddressFamily, SIX, ANY),
    row(Field::A0, "a0", 200, ValueKind::Argument, EIGHT, TASKS),
    row(Field::A1, "a1", 201, ValueKind::Argument, EIGHT, TASKS),
    row(Field::A2, "a2", 202, ValueKind::Argument, EIGHT, TASKS),
    row(Field::A3, "a3", 203, ValueKind::Argument, EIGHT, TASKS),
    row(Field::Key, "key", 210, ValueKind::Key, EQUAL, ANY),
    row(Field::Errno, "errno", 0x1000, ValueKind::Errno, EQUAL, EXIT),
    row(Field::ObjPid, "obj_pid", 0x1001, ValueKind::Number, SIX, EXIT),
    row(Field::Daddr, "daddr", 0x1002, ValueKind::Network, EQUALITY, EXIT),
    row(Field::Dport, "dport", 0x1003, ValueKind::Port, SIX, EXIT),
    row(Field::Comm, "comm", 0x1004, ValueKind::Comm, EQUALITY, ACTORS),
    row(Field::Cgroup, "cgroup", 0x1005, ValueKind::Cgroup, EQUALITY, ACTORS),
    row(Field::Cap, "cap", 0x1006, ValueKind::Capability, EQUAL, EXIT),
    row(Field::Fail, "fail", 0x1007, ValueKind::Fail, EQUAL, EXIT),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_in_order_and_names_lead_back() {
        for (index, row) in ROWS.iter().enumerate() {
            assert_eq!(row.field as usize, index, "{}", row.name);
            assert_eq!(Field::from_name(row.name), Some(row.field));
            assert_eq!(row.field.name(), row.name);
        }
        assert!(ROWS.is_sorted_by_key(|row| row.number));
        assert_eq!(Field::from_name("loginuid"), Some(Field::Auid));
        assert_eq!(Field::from_name("UID"), Some(Field::Uid));
        assert_eq!(Field::from_name("ses"), None);
    }
}
