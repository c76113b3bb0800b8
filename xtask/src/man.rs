//! `cargo xtask man`: man pages of the commands from their own help, and those that are written by hand.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::cmd;
use crate::workspace::Workspace;

/// What describes every key of the configuration: once, for those who edit it and those who look it up.
const SAMPLE: &str = "packaging/auditd-bpf.toml";
/// Where a page has it.
const SAMPLE_MARK: &str = ".\\\" SAMPLE\n";

/// `cargo xtask man`.
pub fn main(workspace: &Workspace) -> Result<()> {
    pages(workspace, workspace.cargo("run"))
}

/// The same by a `cargo run` of the caller's.
pub fn pages(workspace: &Workspace, mut write: Command) -> Result<()> {
    let pages = workspace.target.join("man");
    write.args(["--quiet", "--example", "man", "--"]).arg(&pages);
    cmd::step("man pages of the commands", || cmd::run(&mut write))?;
    let by_hand = workspace.root.join("packaging/man");
    for page in fs::read_dir(&by_hand).with_context(|| format!("cannot read {}", by_hand.display()))? {
        let page = page?;
        let text = read(&page.path())?;
        let copy = pages.join(page.file_name());
        let text = text.replace(SAMPLE_MARK, &literal(&read(&workspace.root.join(SAMPLE))?));
        fs::write(&copy, text).with_context(|| format!("cannot write {}", copy.display()))?;
    }
    println!("{}", pages.display());
    Ok(())
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Text as a page shows it, line by line: a backslash begins an escape, a dot or an apostrophe in front a request (groff(7)), and a
/// plain hyphen is what may be copied.
fn literal(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let line = line.replace('\\', r"\e").replace('-', r"\-");
        if line.starts_with(['.', '\'']) { format!("\\&{line}\n") } else { format!("{line}\n") }
    });
    format!(".nf\n{}.fi\n", lines.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_is_a_request() {
        assert_eq!(literal(".a\n'b\nc\\d-e"), ".nf\n\\&.a\n\\&'b\nc\\ed\\-e\n.fi\n");
    }
}
