//! The real ausearch and aureport, for tests that compare.
//!
//! They are looked for in `PATH`, where Debian installs them, and where `cargo xtask test` unpacks them
//! (`target/guest/packages/audit`); `AUDIT_TOOLS` names another directory. Without them a test is skipped, and says so.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// A program of audit's.
pub struct AuditTool {
    pub program: PathBuf,
    /// `LD_LIBRARY_PATH`, where it is not installed.
    pub libraries: Option<OsString>,
}

/// `None`, and said so, where it is not here.
pub fn find(name: &str) -> Option<AuditTool> {
    let given = env::var_os("AUDIT_TOOLS").map(PathBuf::from);
    let path = env::var_os("PATH").unwrap_or_default();
    let installed = given.into_iter().chain(env::split_paths(&path)).chain(["/sbin", "/usr/sbin"].map(PathBuf::from));
    let installed = installed.map(|directory| directory.join(name)).find(|program| program.is_file());
    let found = installed.map(|program| AuditTool { program, libraries: None }).or_else(|| unpacked(name));
    if found.is_none() {
        eprintln!("SKIP: no {name} here nor in target/guest/packages/audit; Debian's package auditd has it");
    }
    found
}

fn unpacked(name: &str) -> Option<AuditTool> {
    let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/guest/packages/audit");
    let libraries = ["lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"].map(|directory| tree.join(directory));
    let program = tree.join("usr/sbin").join(name);
    program.is_file().then(|| AuditTool { program, libraries: env::join_paths(libraries).ok() })
}
