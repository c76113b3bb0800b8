//! Where auditd-bpf differs from the kernel's audit. Whatever else differs fails its case.

use super::compare::Difference;
use super::fields::AT_DESCRIPTOR;

/// A difference that is known.
pub struct Known {
    /// Whether it is to stay.
    pub standing: Standing,
    /// The cases it is limited to; any where there are none.
    cases: &'static [&'static str],
    /// The field; one that begins with a dot is that of every `PATH` item, one that ends in a star any that begins so.
    /// [`EXTRA`] and [`MISSING`] are whole events.
    field: &'static str,
    /// What it looks like.
    looks: fn(&Seen) -> bool,
    /// Why it is so.
    pub reason: &'static str,
}

/// Whether a difference is to stay.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is on purpose.
    Meant,
    /// It is a defect that waits to be mended.
    Open,
}

impl Standing {
    /// Its word in the results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Meant => "meant",
            Self::Open => "open",
        }
    }
}

/// A difference that was seen.
pub struct Seen {
    /// The call: its name first, and `exit`.
    call: String,
    /// The kernel's value; `None` where it has none.
    kernel: Option<String>,
    /// Ours.
    ours: Option<String>,
}

impl Seen {
    fn only_kernel(&self) -> bool {
        self.kernel.is_some() && matches!(self.ours.as_deref(), None | Some("None"))
    }

    fn only_ours(&self) -> bool {
        self.ours.is_some() && matches!(self.kernel.as_deref(), None | Some("None" | ""))
    }

    fn both(&self) -> bool {
        self.kernel.is_some() && self.ours.is_some()
    }

    /// Whether it is one of these calls.
    fn of(&self, calls: &[&str]) -> bool {
        self.call.split(' ').next().is_some_and(|name| calls.contains(&name))
    }

    /// Whether it is an operation of io_uring.
    fn is_operation(&self) -> bool {
        self.call.starts_with("ring:")
    }

    fn failed(&self) -> bool {
        self.call.contains(" exit Some(-")
    }

    /// Whether the kernel's name begins at a descriptor, and ours ends in it.
    fn at_descriptor(&self) -> bool {
        let rest = self.kernel.as_deref().and_then(|kernel| kernel.strip_prefix(AT_DESCRIPTOR)).map(last);
        // The last name of a name's directory is not told.
        rest.zip(self.ours.as_deref())
            .is_some_and(|(rest, ours)| ours.starts_with('/') && (rest == "." || last(ours) == rest))
    }
}

/// Whether both offsets of a clock are less than ten milliseconds apart: a guest may be slow.
fn is_about_the_same(seen: &Seen) -> bool {
    let nanoseconds = |part: &Option<String>| {
        let words = part.as_deref()?.split(|c: char| !c.is_ascii_digit() && c != '-').filter(|word| !word.is_empty());
        let [seconds, nanoseconds] =
            words.map(str::parse::<i64>).collect::<Result<Vec<_>, _>>().ok()?.try_into().ok()?;
        Some(seconds * 1_000_000_000 + nanoseconds)
    };
    nanoseconds(&seen.kernel).zip(nanoseconds(&seen.ours)).is_some_and(|(one, other)| one.abs_diff(other) < 10_000_000)
}

fn last(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or(path)
}

/// An event that the kernel does not have.
pub const EXTRA: &str = "+";
/// An event that only the kernel has.
pub const MISSING: &str = "-";

/// Calls that make or remove a name.
const CHANGES: &[&str] = &[
    "unlink",
    "unlinkat",
    "rmdir",
    "mkdir",
    "mkdirat",
    "mknod",
    "mknodat",
    "rename",
    "renameat",
    "renameat2",
    "link",
    "linkat",
    "symlink",
    "symlinkat",
];
const OPENS: &[&str] = &["open", "openat", "openat2", "creat"];
const OUTSIDE: &str = "what lies outside of the process's root begins with `(unreachable)`";
const EXCHANGE: &str = "an exchange of two names has each object with both its names";
const LINK: &str = "the name of what was reached through a symbolic link is that of the object, where the kernel has what the \
                    call was given";
const TOMOYO: &str = "a program is one item: where TOMOYO is in the lsm list, the kernel has it twice, as that looks it up again, without \
                      following a symbolic link, and then matches tests of the link, too";
const SUITES: &[&str] = &["stig", "ospp", "pci_dss", "nispom"];
const CREAT: &str = "creat of a file that is there has no item of its directory: 6.1 has, later kernels where the file is not in \
                     their cache";
const FAILED: &str = "a call that failed has the name that it was given in place of the objects that it met";

const OPERATION_RESULT: &str =
    "an operation of io_uring has its own result, where the kernel has 0 of all that were done";
const OPERATION_ITEMS: &str = "the items of an operation of io_uring have names and stand once, where the kernel has them twice, \
                               without names, or not at all";

/// All there are.
pub const KNOWN: &[Known] = &[
    meant(".cap", Seen::only_kernel, "`cap_*` of a `PATH` are absent where nothing asked for the file's capabilities"),
    meant("subj", Seen::only_kernel, "labels of security modules (`subj`, `obj`) are not recorded"),
    meant(
        "OBJ_PID*",
        |seen| seen.both() && seen.ours.as_deref() == Some("obj None"),
        "labels of security modules (`subj`, `obj`) are \
        not recorded",
    ),
    meant("cwd", Seen::only_ours, "there is a `CWD` where the call took no name"),
    meant(
        ".name",
        Seen::only_ours,
        "an object that the call named by a descriptor alone has its path, where the kernel has \
        `(null)` or an empty name",
    ),
    meant(
        ".name",
        Seen::at_descriptor,
        "a name relative to a descriptor is absolute, where the kernel's cannot be joined to \
        anything",
    ),
    meant(
        EXTRA,
        |seen| seen.of(&["ftruncate"]),
        "ftruncate of a watched file is seen: the kernel does not note the object, \
        and misses it",
    ),
    meant(
        "PATH NORMAL*",
        |seen| seen.only_ours() && seen.of(&["ftruncate", "finit_module"]),
        "the file of ftruncate and \
        finit_module is an item",
    ),
    meant(
        "PATH UNKNOWN*",
        |seen| seen.only_ours() && seen.of(&["swapon", "swapoff", "acct", "truncate", "openat"]),
        "a name \
        that the kernel did not get to is an item",
    ),
    meant("PATH NORMAL*", |seen| seen.only_kernel() && seen.of(&["execve", "execveat"]), TOMOYO),
    meant(".name", Seen::both, LINK).only(&["tree_reached_by_symlink", "name_through_links"]),
    meant(".name", Seen::both, LINK).only(SUITES),
    meant(MISSING, |seen| seen.of(&["execve"]), TOMOYO).only(SUITES),
    meant(".name", Seen::both, LINK).only(&["watch_through_symlink", "chmod", "chown", "link", "tree_links"]),
    meant("exe", |seen| seen.ours.as_ref().is_some_and(|exe| exe.contains("(unreachable)")), OUTSIDE),
    meant("cwd", |seen| seen.ours.as_ref().is_some_and(|cwd| cwd.contains("(unreachable)")), OUTSIDE),
    meant(
        "PATH UNKNOWN*",
        |seen| seen.only_ours() && seen.failed() && seen.of(CHANGES),
        "a change that failed has the name that it was given, where the kernel has but the directory",
    ),
    meant(
        "PATH UNKNOWN*",
        |seen| seen.only_ours() && seen.failed() && seen.of(&["inotify_add_watch"]),
        "a name that the kernel did not get to is an item",
    ),
    meant(
        ".name",
        |seen| seen.kernel.as_ref().is_some_and(|name| name.contains(" (deleted)/") || name.ends_with(" (deleted)")),
        "names \
        below a directory that was removed are those that they had",
    ),
    meant(
        "*",
        |seen| seen.kernel.as_ref().is_some_and(|value| value.contains("<too_long>")),
        "paths longer than PATH_MAX are whole",
    ),
    meant("PATH *", |_| true, "of an overlay, the files of the layers are other items").only(&["name_in_overlay"]),
    meant("PATH CREATE*", |_| true, EXCHANGE).only(&["watch_exchanged", "tree_moves"]),
    meant("PATH DELETE*", |_| true, EXCHANGE).only(&["rename_exchange"]),
    meant("CREATE.inode", |_| true, EXCHANGE).only(&["rename_exchange"]),
    meant("DELETE.*", |_| true, EXCHANGE).only(&["rename_exchange"]),
    meant(
        ".name",
        |seen| seen.ours.as_ref().is_some_and(|ours| ours.contains("/#")),
        "an unnamed file has a name of its own: `#` and \
        its inode",
    ),
    meant("PATH PARENT*", Seen::only_kernel, CREAT).only(&[
        "open_family",
        "watch_create_and_truncate",
        "b32_open",
        "b32_every_call",
    ]),
    meant("PATH PARENT*", |seen| seen.only_kernel() && seen.of(&["open", "openat", "creat"]), CREAT).only(SUITES),
    meant(
        EXTRA,
        |seen| seen.of(&["newfstatat", "statx"]),
        "stat of a descriptor notes the object: the kernel does up to 6.1",
    ),
    meant(
        "PATH NORMAL*",
        |seen| seen.only_ours() && seen.of(&["newfstatat", "statx", "fstat"]),
        "stat of a descriptor notes \
        the object: the kernel does up to 6.1",
    ),
    meant("exit", |seen| seen.both() && seen.is_operation(), OPERATION_RESULT),
    meant("success", |seen| seen.both() && seen.is_operation(), OPERATION_RESULT),
    meant(
        MISSING,
        Seen::is_operation,
        "an operation of io_uring that was tried and put off is one event, when it is done",
    ),
    meant("proctitle", |seen| seen.only_ours() && seen.is_operation(), "an operation of io_uring has a `PROCTITLE`"),
    meant("PATH NORMAL*", |seen| seen.only_ours() && seen.is_operation(), OPERATION_ITEMS),
    meant("PATH CREATE*", |seen| seen.only_kernel() && seen.is_operation(), OPERATION_ITEMS),
    meant("PATH PARENT*", |seen| seen.only_kernel() && seen.is_operation(), OPERATION_ITEMS),
    meant("PATH PARENT*", |seen| seen.only_ours() && seen.is_operation(), OPERATION_ITEMS),
    meant(EXTRA, Seen::is_operation, "watches see what is done through an io_uring: the kernel's audit does not")
        .only(&["ring_watched"]),
    open(
        "PATH UNKNOWN*",
        |seen| seen.only_kernel() && seen.is_operation(),
        "no item for what an operation of io_uring did not find",
    ),
    meant(
        "FD_PAIR",
        |seen| seen.only_kernel() && seen.failed(),
        "a pipe that the caller never got, as its memory could not be written, has no `FD_PAIR`",
    ),
    meant(
        "TIME_INJOFFSET",
        |seen| seen.both() && seen.of(&["clock_settime", "settimeofday"]) && is_about_the_same(seen),
        "by how much the clock is set is reckoned when the kernel asks whether it may be: some microseconds before it is set",
    ),
    open(
        "saddr",
        |seen| seen.only_kernel() && seen.is_operation(),
        "no `SOCKADDR` of an operation of io_uring that was put off",
    ),
    open("PATH *", |seen| seen.call.starts_with("mq_"), "no `PATH` of message queues"),
    open(
        "PATH *",
        |seen| seen.only_kernel() && seen.failed() && seen.of(&["bind"]),
        "no item for the directory of a local socket whose name is taken",
    ),
    open(
        MISSING,
        |seen| seen.failed() && seen.of(&["bind"]),
        "tests on objects do not see the directory of a local socket whose name is taken",
    )
    .only(&["sockets_in_tree"]),
    open(
        "PATH UNKNOWN*",
        |seen| seen.only_kernel() && seen.of(&["execve"]),
        "no item for an interpreter that is absent",
    ),
    open("PATH *", Seen::failed, FAILED),
    open("PATH CREATE*", |_| true, "what is made at the end of a path of about 2 or 4 KiB is absent or has no inode")
        .only(&["name_beyond_path_max"]),
    open(
        MISSING,
        |seen| seen.of(&["statx", "newfstatat", "stat", "lstat"]),
        "permission r misses stat, lstat and statx, which \
        belong to it from 7.3 on",
    ),
    open(EXTRA, |_| true, "a watch follows its file when it is moved away")
        .only(&["watch_exchanged", "watch_moved_away_and_back"]),
    open(
        MISSING,
        |seen| seen.failed() && seen.of(OPENS),
        "tests on objects do not see what an open met that failed between the look-up and the permission checks: \
         `O_EXCL`, `O_DIRECTORY`, and the directory of a file that is to be created",
    ),
];

const fn meant(field: &'static str, looks: fn(&Seen) -> bool, reason: &'static str) -> Known {
    Known { standing: Standing::Meant, cases: &[], field, looks, reason }
}

const fn open(field: &'static str, looks: fn(&Seen) -> bool, reason: &'static str) -> Known {
    Known { standing: Standing::Open, cases: &[], field, looks, reason }
}

impl Known {
    const fn only(mut self, cases: &'static [&'static str]) -> Self {
        self.cases = cases;
        self
    }

    fn of(case: &str, field: &str, seen: &Seen) -> Option<&'static Self> {
        KNOWN.iter().find(|known| {
            (known.cases.is_empty() || known.cases.contains(&case)) && covers(known.field, field) && (known.looks)(seen)
        })
    }

    /// The one that covers a field's difference.
    pub fn of_field(case: &str, difference: &Difference) -> Option<&'static Self> {
        let (call, kernel, ours) = (difference.call.clone(), difference.kernel.clone(), difference.ours.clone());
        Self::of(case, &difference.field, &Seen { call, kernel, ours })
    }

    /// The one that covers an event of the kernel alone.
    pub fn of_missing(case: &str, event: &str) -> Option<&'static Self> {
        Self::of(case, MISSING, &Seen { call: event.to_owned(), kernel: Some(event.to_owned()), ours: None })
    }

    /// The one that covers an event of ours alone.
    pub fn of_extra(case: &str, event: &str) -> Option<&'static Self> {
        Self::of(case, EXTRA, &Seen { call: event.to_owned(), kernel: None, ours: Some(event.to_owned()) })
    }
}

/// Whether a pattern names a field.
fn covers(pattern: &str, field: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => field.starts_with(start),
        None => pattern == field || pattern.starts_with('.') && field.ends_with(pattern),
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn differences_are_limited_to_what_they_say() {
        let of = |case: &str, event: &str| Known::of_missing(case, event).is_some();
        assert!(of("watch_o_path", "openat [7] exit Some(-20) /f"));
        assert!(!of("bind_watched", "bind [7] exit Some(0) /s"));
        assert!(!of("watch_write", "openat [7] exit Some(3) /f"));
        assert!(covers(".name", "PARENT2.name") && !covers(".name", "PARENT2.names") && covers("IPC*", "IPC_SET_PERM"));
        assert!(!covers("cwd", "a.cwd"));
    }
}
