//! Writes completions of the command line for bash, zsh and fish to a directory; `cargo xtask package` runs it.

use std::fs;
use std::path::PathBuf;

use clap_complete::{Shell, generate_to};

fn main() -> anyhow::Result<()> {
    let directory = std::env::args_os().nth(1).map(PathBuf::from);
    let directory = directory.ok_or_else(|| anyhow::anyhow!("usage: completions DIRECTORY"))?;
    fs::create_dir_all(&directory)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        generate_to(shell, &mut auditd_bpf::cli::command(), "auditd-bpf", &directory)?;
    }
    Ok(())
}
