//! `cargo xtask man`: man pages of the commands from their own help, and those that are written by hand.

use std::fs;

use anyhow::{Context, Result};

use crate::cmd;
use crate::workspace::Workspace;

/// `cargo xtask man`.
pub fn main(workspace: &Workspace) -> Result<()> {
    let pages = workspace.target.join("man");
    let mut write = workspace.cargo("run");
    write.args(["--quiet", "--package", "auditd-bpf", "--example", "man", "--"]).arg(&pages);
    cmd::step("man pages of the commands", || cmd::run(&mut write))?;
    let by_hand = workspace.root.join("packaging/man");
    for page in fs::read_dir(&by_hand).with_context(|| format!("cannot read {}", by_hand.display()))? {
        let page = page?;
        let copy = pages.join(page.file_name());
        fs::copy(page.path(), &copy).with_context(|| format!("cannot write {}", copy.display()))?;
    }
    println!("{}", pages.display());
    Ok(())
}
