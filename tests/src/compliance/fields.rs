//! The fields of an event, as texts that can be compared.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Debug;

use output::event::{NameType, PathItem, SyscallEvent};

/// A field of one side's event. Names are the records'; those of a `PATH` have the item's role before a dot.
pub type Fields = BTreeMap<String, String>;

/// The two sides' fields of what is the same event. An item that only one side has is one field of that side.
pub fn of_both(kernel: &SyscallEvent, ours: &SyscallEvent) -> (Fields, Fields) {
    let (mut theirs, mut our) = (of_call(kernel), of_call(ours));
    let mut left: Vec<_> = ours.paths.iter().map(Some).collect();
    let mut numbers = BTreeMap::new();
    let mut name = |item: &PathItem| {
        let number = numbers.entry(item.name_type.name()).and_modify(|number| *number += 1).or_insert(1);
        if *number == 1 { item.name_type.name().to_owned() } else { format!("{}{number}", item.name_type.name()) }
    };
    // Those that are surely the same first: the others share the rest.
    let mut found = vec![None; kernel.paths.len()];
    for same in [same_name, same_object, same_role] {
        for (item, found) in kernel.paths.iter().zip(&mut found).filter(|(_, found)| found.is_none()) {
            let same = |other: &Option<&PathItem>| other.is_some_and(|other| same((item, kernel), (other, ours)));
            *found = left.iter().position(same).and_then(|at| left[at].take());
        }
    }
    for (item, found) in kernel.paths.iter().zip(found) {
        let name = name(item);
        match found {
            Some(same) => {
                of_path(&mut theirs, &name, item, kernel);
                of_path(&mut our, &name, same, ours);
            }
            None => drop(theirs.insert(format!("PATH {name}"), whole(item, kernel))),
        }
    }
    for item in left.into_iter().flatten() {
        our.insert(format!("PATH {}", name(item)), whole(item, ours));
    }
    (theirs, our)
}

/// An item in one text.
fn whole(item: &PathItem, call: &SyscallEvent) -> String {
    format!("{} inode {:?}", shown_name(item, call), item.inode.map(|inode| inode.ino))
}

/// An item of an event.
type Item<'a> = (&'a PathItem, &'a SyscallEvent);

fn same_role((item, _): Item<'_>, (other, _): Item<'_>) -> bool {
    // Which of several it is, only an object or a name tells.
    item.name_type == other.name_type && item.inode.is_some() == other.inode.is_some()
}

fn same_object(item: Item<'_>, other: Item<'_>) -> bool {
    let id = |(item, _): Item<'_>| item.inode.map(|inode| (inode.ino, inode.dev));
    same_role(item, other) && id(item).is_some() && id(item) == id(other)
}

fn same_name(item: Item<'_>, other: Item<'_>) -> bool {
    let name = |(item, call): Item<'_>| shown_name(item, call);
    let id = |(item, _): Item<'_>| item.inode.map(|inode| (inode.ino, inode.dev));
    same_role(item, other) && id(item) == id(other) && name(item) == name(other)
}

fn of_call(call: &SyscallEvent) -> Fields {
    let mut fields = Fields::new();
    let mut field = |name: &str, value: &dyn Debug| drop(fields.insert(name.to_owned(), format!("{value:?}")));
    field("arch", &call.arch);
    field("syscall", &call.syscall);
    field("per", &call.personality);
    field("uring_op", &call.uring_op);
    field("success", &call.success());
    field("exit", &call.exit);
    for (number, value) in call.args.iter().take(4).enumerate() {
        field(&format!("a{number}"), value);
    }
    field("ppid", &call.ppid);
    field("pid", &call.pid);
    let ids = &call.ids;
    for (name, id) in [("auid", ids.auid), ("uid", ids.uid), ("euid", ids.euid), ("suid", ids.suid)] {
        field(name, &id);
    }
    for (name, id) in [("gid", ids.gid), ("egid", ids.egid), ("sgid", ids.sgid), ("fsgid", ids.fsgid)] {
        field(name, &id);
    }
    field("fsuid", &ids.fsuid);
    field("ses", &call.session);
    field("tty", &call.tty.as_deref().map(text));
    field("comm", &text(&call.comm));
    field("exe", &call.exe.as_deref().map(text));
    field("subj", &call.subject.as_deref().map(text));
    field("key", &call.rule.keys.iter().map(|key| text(key)).collect::<Vec<_>>());
    field("cwd", &call.cwd.as_deref().map(text));
    field("argv", &call.argv.as_ref().map(|argv| argv.iter().map(|word| text(word)).collect::<Vec<_>>()));
    field("saddr", &call.sockaddr.as_deref().map(hex));
    field("proctitle", &call.proctitle.as_deref().map(text));
    for part in &call.parts {
        field(part.record_type(), part);
    }
    // In which order they are met is the kernel's own affair.
    let mut targets: Vec<_> = call.targets.iter().collect();
    targets.sort_by_key(|target| target.pid);
    for (number, target) in targets.into_iter().enumerate() {
        let ids = (target.pid, target.auid, target.uid, target.session);
        field(&format!("OBJ_PID{number}"), &(ids, text(&target.comm)));
        field(&format!("OBJ_PID{number}.obj"), &format_args!("obj {:?}", target.label.as_deref().map(text)));
    }
    fields
}

fn of_path(fields: &mut Fields, role: &str, item: &PathItem, call: &SyscallEvent) {
    let mut field = |name: &str, value: String| drop(fields.insert(format!("{role}.{name}"), value));
    field("name", shown_name(item, call));
    if let Some(inode) = item.inode {
        field("inode", inode.ino.to_string());
        field("dev", format!("{:x}", inode.dev));
        field("mode", format!("{:o}", inode.mode));
        field("ouid", inode.uid.to_string());
        field("ogid", inode.gid.to_string());
        field("rdev", format!("{:x}", inode.rdev));
    }
    field("cap", format!("{:?}", item.caps));
}

/// A name that begins at a descriptor.
pub const AT_DESCRIPTOR: &str = "(descriptor)/";

/// An item's name, joined with the working directory; that of an object that has none is empty.
fn shown_name(item: &PathItem, call: &SyscallEvent) -> String {
    let name = item.path.as_deref().unwrap_or_default();
    if name.is_empty() {
        return String::new();
    }
    if begins_at_descriptor(call) {
        if name[0] != b'/' {
            return format!("{AT_DESCRIPTOR}{}", text(name));
        }
        // The kernel names the working directory as the parent of a name without a directory, wherever that began.
        if item.name_type == NameType::Parent && call.cwd.as_deref() == Some(name) {
            return format!("{AT_DESCRIPTOR}.");
        }
    }
    text(&joined(name, call.cwd.as_deref()))
}

/// Whether relative names of the call begin at a descriptor instead of the working directory. Of a call with two names,
/// either may.
fn begins_at_descriptor(call: &SyscallEvent) -> bool {
    const AT: [&str; 22] = [
        "openat",
        "openat2",
        "mkdirat",
        "mknodat",
        "fchownat",
        "utimensat",
        "newfstatat",
        "unlinkat",
        "renameat",
        "renameat2",
        "linkat",
        "symlinkat",
        "readlinkat",
        "fchmodat",
        "fchmodat2",
        "faccessat",
        "faccessat2",
        "execveat",
        "statx",
        "name_to_handle_at",
        "move_mount",
        "open_tree",
    ];
    let name = super::compare::call_name(call);
    let directories: &[usize] = match name.as_str() {
        "renameat" | "renameat2" | "linkat" | "move_mount" => &[0, 2],
        "symlinkat" => &[1],
        _ => &[0],
    };
    let here = |number: usize| call.args.get(number).is_some_and(|fd| *fd as u32 == libc::AT_FDCWD.cast_unsigned());
    AT.contains(&name.as_str()) && !directories.iter().all(|number| here(*number))
}

/// A name as the log's readers take it: from the working directory on, without empty and `.` components. A slash at its
/// end is lost: the record of a directory ends in one.
fn joined(name: &[u8], cwd: Option<&[u8]>) -> Vec<u8> {
    let whole = match (name.first(), cwd) {
        (Some(b'/' | b'('), _) | (_, None) => Cow::Borrowed(name),
        (_, Some(cwd)) => Cow::Owned([cwd, name].join(&b'/')),
    };
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in whole.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".") {
        if part == b".." && parts.last().is_some_and(|last| *last != b"..") {
            parts.pop();
        } else {
            parts.push(part);
        }
    }
    let mut path = if whole.starts_with(b"/") { b"/".to_vec() } else { Vec::new() };
    path.extend(parts.join(&b'/'));
    path
}

/// Bytes as a text in which each has one spelling.
fn text(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn names_are_joined_as_readers_do() {
        let join = |name: &str| String::from_utf8(joined(name.as_bytes(), Some(b"/d"))).unwrap();
        assert_eq!(join("f"), "/d/f");
        assert_eq!(join("./x//../f"), "/d/f");
        assert_eq!(join("/a/./b"), "/a/b");
        assert_eq!(join("/"), "/");
        assert_eq!(join("(unreachable)/f"), "(unreachable)/f");
        assert_eq!(join("/d/"), "/d");
    }
}
