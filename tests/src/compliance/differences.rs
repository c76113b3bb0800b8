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
    /// What the two values are like.
    values: Values,
    /// Why it is so.
    pub reason: &'static str,
}

/// The kernel's value and ours.
type Values = fn(Option<&str>, Option<&str>) -> bool;

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

/// An event that the kernel does not have.
pub const EXTRA: &str = "+";
/// An event that only the kernel has.
pub const MISSING: &str = "-";

/// All there are.
pub const KNOWN: &[Known] = &[
    meant(
        ".cap",
        |kernel, ours| kernel.is_some() && ours == Some("None"),
        "`cap_*` of a `PATH` are absent where nothing asked \
         for the file's capabilities",
    ),
    meant(
        ".name",
        |kernel, ours| kernel == Some("") && ours.is_some_and(|ours| ours.starts_with('/')),
        "an object that \
         the call named by a descriptor alone has its path, where the kernel has `(null)` or an empty name",
    ),
    meant(
        ".name",
        relative,
        "a name relative to a descriptor is absolute, where the kernel's cannot be joined to anything",
    ),
    meant(
        "subj",
        |kernel, ours| kernel.is_some() && ours == Some("None"),
        "labels of security modules (`subj`) are not \
         recorded",
    ),
    meant(
        "cwd",
        |kernel, ours| kernel == Some("None") && ours.is_some(),
        "there is a `CWD` where the call took no name",
    ),
    meant(
        EXTRA,
        |_, ours| ours.is_some_and(|event| event.starts_with("ftruncate ")),
        "ftruncate of a watched file is seen: \
         the kernel does not note the object, and misses it",
    ),
    meant(
        ".name",
        |kernel, ours| kernel.is_some() && ours.is_some(),
        "a name \
         reached through a symbolic link is that of the object, where the kernel has what the call was given",
    )
    .only(&["tree_reached_by_symlink"]),
    meant(
        ".name",
        |kernel, ours| kernel.is_some() && ours.is_some(),
        "the name of a symbolic link that was followed is \
         that of its target, where the kernel has what the call was given",
    )
    .only(&["watch_through_symlink", "chmod", "chown", "link", "tree_links"]),
    open("proctitle", |kernel, ours| kernel.is_some() && ours == Some("None"), "no `PROCTITLE`"),
    open("OPENAT2", |_, ours| ours.is_none(), "no `OPENAT2`"),
    open(
        MISSING,
        |kernel, _| kernel.is_some_and(|event| event.starts_with("statx ")),
        "permission r misses stat, lstat \
         and statx, which belong to it from 7.3 on",
    )
    .only(&["watch_read", "watch_default", "watch_symlink_itself"]),
    meant(
        "PATH PARENT*",
        |_, ours| ours.is_none(),
        "creat of a file that is there has no item of its directory: 6.1 has, \
         later kernels have not",
    )
    .only(&["open_family"]),
    open("MMAP", |_, ours| ours.is_none(), "no `MMAP`"),
    open(
        "PATH *",
        |_, ours| ours.is_none(),
        "no `PATH` of calls that only look names up (stat, access, utime, chdir...)",
    )
    .only(&["open_by_handle", "times", "access", "stat_family", "chdir", "inotify"]),
    open(MISSING, |_, _| true, "rules on any call miss those that only look names up").only(&[
        "watch_every_call",
        "watch_by_inode",
        "tree_every_call",
    ]),
    open("PATH *", |_, _| true, "of a call that failed, the name that it was given in place of the objects met").only(
        &[
            "unlink",
            "rename_directory",
            "rename_refused",
            "link",
            "symlink",
            "mkdir_rmdir",
            "mknod",
            "truncate",
            "readlink",
            "watch_create_and_truncate",
        ],
    ),
    open("PATH UNKNOWN*", |_, ours| ours.is_none(), "no item for the text of a new symbolic link")
        .only(&["watch_symlink_itself", "tree_links"]),
    open("UNKNOWN.name", |_, _| true, "no item for the text of a new symbolic link").only(&["symlink"]),
    open("cwd", |_, _| true, "`cwd` is that after the call").only(&["chdir"]),
    meant(
        "exe",
        |_, ours| ours.is_some_and(|exe| exe.contains("(unreachable)")),
        "what lies outside of the process's root \
         begins with `(unreachable)`",
    )
    .only(&["chdir"]),
    open("PATH NORMAL*", |_, ours| ours.is_none(), "a program is one item, not two").only(&[
        "watch_execute",
        "watch_default",
        "watch_every_call",
        "watch_by_inode",
        "tree_execute",
    ]),
    open(MISSING, |_, _| true, "opens with `O_PATH`, `O_EXCL` or `O_DIRECTORY` that fail or open nothing are missed")
        .only(&["watch_o_path", "watch_create_and_truncate"]),
    open(EXTRA, |_, _| true, "a watch follows its file when it is moved away")
        .only(&["watch_exchanged", "watch_moved_away_and_back"]),
    meant("PATH CREATE*", |_, _| true, "an exchange of two names has each object with both its names")
        .only(&["watch_exchanged", "tree_moves"]),
    meant("PATH DELETE*", |_, _| true, "an exchange of two names has each object with both its names")
        .only(&["rename_exchange"]),
    meant("CREATE.inode", |_, _| true, "an exchange of two names has each object with both its names")
        .only(&["rename_exchange"]),
    meant("DELETE.name", |_, _| true, "an exchange of two names has each object with both its names")
        .only(&["rename_exchange"]),
    meant(
        ".name",
        |_, ours| ours.is_some_and(|ours| ours.contains("/#")),
        "an unnamed file has a name of its own: `#` and its \
         inode",
    )
    .only(&["tree_unnamed_file"]),
];

const fn meant(field: &'static str, values: Values, reason: &'static str) -> Known {
    Known { standing: Standing::Meant, cases: &[], field, values, reason }
}

const fn open(field: &'static str, values: Values, reason: &'static str) -> Known {
    Known { standing: Standing::Open, cases: &[], field, values, reason }
}

/// Whether the kernel's name begins at a descriptor, and ours ends in it.
fn relative(kernel: Option<&str>, ours: Option<&str>) -> bool {
    let rest =
        kernel.and_then(|kernel| kernel.strip_prefix(AT_DESCRIPTOR)).map(|rest| last(rest.trim_end_matches('/')));
    // A name of the directory itself is that of a parent.
    rest.zip(ours).is_some_and(|(rest, ours)| ours.starts_with('/') && (rest == "." || last(ours) == rest))
}

/// Whether a pattern names a field.
fn covers(pattern: &str, field: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => field.starts_with(start),
        None => pattern == field || pattern.starts_with('.') && field.ends_with(pattern),
    }
}

fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

impl Known {
    const fn only(mut self, cases: &'static [&'static str]) -> Self {
        self.cases = cases;
        self
    }

    /// The one that covers a difference.
    pub fn of(case: &str, field: &str, kernel: Option<&str>, ours: Option<&str>) -> Option<&'static Self> {
        KNOWN.iter().find(|known| {
            (known.cases.is_empty() || known.cases.contains(&case))
                && covers(known.field, field)
                && (known.values)(kernel, ours)
        })
    }

    /// The one that covers a field's difference.
    pub fn of_field(case: &str, difference: &Difference) -> Option<&'static Self> {
        Self::of(case, &difference.field, difference.kernel.as_deref(), difference.ours.as_deref())
    }
}
