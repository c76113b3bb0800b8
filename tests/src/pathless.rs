//! A kernel that seems to lack the hooks of paths, as those do that are built without CONFIG_SECURITY_PATH.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use nix::mount::{MsFlags, mount};

/// Where the kernel offers its types, and the names of functions.
const TYPES: &str = "/sys/kernel/btf/vmlinux";
/// Attaching goes by the number of a function's type, which is found by its name: what has another cannot be attached to. Names
/// and their substitutes, of the same length.
const HIDDEN: [(&[u8], &[u8]); 2] =
    [(b"\0bpf_lsm_path_", b"\0hidden__path_"), (b"\0security_path_", b"\0hidden___path_")];
/// The hook `path_notify` is not among them.
const STAYS: &[u8] = b"notify\0";
/// What it is replaced by.
const WITHOUT: &str = "/run/vmlinux-without-hooks-of-paths";

/// Whether this was done.
pub fn are_hidden() -> bool {
    Path::new(WITHOUT).exists()
}

/// Puts type information that has none of them in the place of the kernel's, for as long as the machine runs.
pub fn hide_hooks() -> Result<()> {
    let mut types = fs::read(TYPES).with_context(|| format!("cannot read {TYPES}"))?;
    for (name, substitute) in HIDDEN {
        let starts = types.windows(name.len()).enumerate().filter(|(_, found)| *found == name);
        let starts = starts.map(|(start, _)| start);
        let starts: Vec<_> = starts.filter(|start| !types[start + name.len()..].starts_with(STAYS)).collect();
        ensure!(!starts.is_empty(), "the kernel has none of {}", String::from_utf8_lossy(name));
        for start in starts {
            types[start..start + name.len()].copy_from_slice(substitute);
        }
    }
    fs::write(WITHOUT, types).context("cannot write types")?;
    mount(Some(WITHOUT), TYPES, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .with_context(|| format!("cannot mount over {TYPES}"))
}
