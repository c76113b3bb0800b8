//! What checking rules must know of this machine.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;

use nix::unistd::{Group, User};
use rules::{Host, PathKind};

/// The machine this runs on.
#[derive(Clone, Copy, Debug, Default)]
pub struct HostFacts;

impl Host for HostFacts {
    fn user_id(&self, name: &[u8]) -> Option<u32> {
        let user = User::from_name(std::str::from_utf8(name).ok()?).ok()??;
        Some(user.uid.as_raw())
    }

    fn group_id(&self, name: &[u8]) -> Option<u32> {
        let group = Group::from_name(std::str::from_utf8(name).ok()?).ok()??;
        Some(group.gid.as_raw())
    }

    fn user_names(&self) -> Vec<String> {
        first_columns("/etc/passwd")
    }

    fn group_names(&self) -> Vec<String> {
        first_columns("/etc/group")
    }

    fn path_kind(&self, path: &[u8]) -> PathKind {
        match fs::metadata(OsStr::from_bytes(path)) {
            Ok(metadata) if metadata.is_dir() => PathKind::Directory,
            Ok(_) => PathKind::Other,
            Err(_) => PathKind::Missing,
        }
    }
}

/// Names in a file of colon-separated rows. Those that come from elsewhere (LDAP) are only missed as suggestions.
fn first_columns(path: &str) -> Vec<String> {
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    text.lines().filter_map(|row| row.split_once(':')).map(|row| row.0.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_paths_of_this_machine() {
        assert_eq!(HostFacts.user_id(b"root"), Some(0));
        assert_eq!(HostFacts.group_id(b"root"), Some(0));
        for unknown in [&b"no such user"[..], b"", b"a\0b", b"\xff"] {
            assert_eq!(HostFacts.user_id(unknown), None);
            assert_eq!(HostFacts.group_id(unknown), None);
        }
        assert!(HostFacts.user_names().iter().any(|name| name == "root"));
        assert!(HostFacts.group_names().iter().any(|name| name == "root"));
        assert_eq!(HostFacts.path_kind(b"/"), PathKind::Directory);
        assert_eq!(HostFacts.path_kind(b"/dev/null"), PathKind::Other);
        assert_eq!(HostFacts.path_kind(b"/nonexistent"), PathKind::Missing);
        assert_eq!(HostFacts.path_kind(b"/dev\0null"), PathKind::Missing);
    }
}
