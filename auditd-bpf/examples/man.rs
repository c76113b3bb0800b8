//! Writes a man page for the program and each of its commands to a directory; `cargo xtask man` runs it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use clap::Command;
use clap_mangen::Man;

fn main() -> anyhow::Result<()> {
    let directory = std::env::args_os().nth(1).map(PathBuf::from);
    let directory = directory.ok_or_else(|| anyhow::anyhow!("usage: man DIRECTORY"))?;
    fs::create_dir_all(&directory)?;
    let mut program = auditd_bpf::cli::command().disable_help_subcommand(true);
    program.build();
    write(&directory, &program)?;
    program.get_subcommands().filter(|command| !command.is_hide_set()).try_for_each(|page| write(&directory, page))
}

/// Of a command, clap makes the displayed name what its page is called: `auditd-bpf-check`.
fn write(directory: &Path, command: &Command) -> anyhow::Result<()> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    let page = File::create(directory.join(format!("{name}.8")))?;
    Man::new(command.clone()).title(name).section("8").manual("auditd-bpf").render(&mut &page)?;
    Ok(())
}
