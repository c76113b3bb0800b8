//! The directory that packages are made from.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::{Purpose, notices};
use crate::cmd;
use crate::man;
use crate::workspace::Workspace;

/// Copied from `packaging/` as they are.
const COPIED: [&str; 12] = [
    "auditd-bpf.default",
    "auditd-bpf.toml",
    "compat",
    "deb",
    "deb-compat",
    "examples",
    "package.toml",
    "records.schema.json",
    "rpm",
    "rpmlint.toml",
    "selinux",
    "systemd",
];
/// Names under which the program is another, and its man page for each.
const NAMES: [(&str, &str); 4] = [
    ("auditctl", "auditd-bpf-ctl"),
    ("augenrules", "auditd-bpf-augenrules"),
    ("ausearch", "auditd-bpf-search"),
    ("aureport", "auditd-bpf-report"),
];
/// Units under auditd's names.
const UNITS: [(&str, &str); 2] =
    [("auditd.service", "auditd-bpf.service"), ("audit-rules.service", "auditd-bpf-rules.service")];

/// What the directory was filled with.
pub struct Staged {
    /// Time of the last commit: that of everything in the packages.
    pub epoch: String,
}

/// When the last commit was made, in seconds since 1970; `SOURCE_DATE_EPOCH` overrides it.
pub fn epoch(workspace: &Workspace) -> Result<String> {
    if let Ok(given) = std::env::var("SOURCE_DATE_EPOCH") {
        return Ok(given);
    }
    let mut git = Command::new("git");
    let time = cmd::output(git.current_dir(&workspace.root).args(["log", "-1", "--format=%ct"]));
    Ok(time.context("not a git checkout: set SOURCE_DATE_EPOCH to the time of the sources")?.trim().to_owned())
}

/// Fills it anew.
pub(super) fn fill(workspace: &Workspace, purpose: Purpose, program: &Path, stage: &Path) -> Result<Staged> {
    if stage.exists() {
        fs::remove_dir_all(stage).with_context(|| format!("cannot remove {}", stage.display()))?;
    }
    fs::create_dir_all(stage).with_context(|| format!("cannot create {}", stage.display()))?;
    let staged = Staged { epoch: epoch(workspace)? };
    for name in COPIED {
        copy(&workspace.root.join("packaging").join(name), stage)?;
    }
    copy(program, stage)?;
    copy(&workspace.root.join("CHANGELOG.md"), stage)?;
    copy(&workspace.root.join("packaging/lintian"), stage)?;
    fs::rename(stage.join("lintian"), stage.join("overrides")).context("cannot rename the overrides")?;
    manifest(workspace, stage)?;
    documents(workspace, stage, &staged)?;
    links(stage)?;
    pages(workspace, purpose, stage)?;
    completions(workspace, purpose, stage)?;
    settle(stage, &staged)?;
    Ok(staged)
}

fn copy(from: &Path, stage: &Path) -> Result<()> {
    cmd::output(Command::new("cp").arg("-R").arg(from).arg(stage)).map(drop)
}

fn write(stage: &Path, name: &str, text: &str) -> Result<()> {
    let path = stage.join(name);
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// `package.toml` becomes the manifest of a crate that is never built.
fn manifest(workspace: &Workspace, stage: &Path) -> Result<()> {
    let template = stage.join("package.toml");
    let text = read(&template)?.replace("@VERSION@", env!("CARGO_PKG_VERSION"));
    let text = text.replace("@REPOSITORY@", env!("CARGO_PKG_REPOSITORY"));
    fs::remove_file(&template).context("cannot remove the template")?;
    write(stage, "Cargo.toml", &text)?;
    write(stage, "lib.rs", "")?;
    for name in ["description", "description-compat"] {
        let text = read(&workspace.root.join("packaging/deb").join(name))?;
        // cargo-deb indents it, and writes an empty line as a dot itself.
        write(stage, name, &text.replace("\n.\n", "\n\n"))?;
        fs::remove_file(stage.join("deb").join(name)).context("cannot remove a description")?;
    }
    Ok(())
}

/// Licences, and Debian's changelog, which has one entry: the news are in CHANGELOG.md.
fn documents(workspace: &Workspace, stage: &Path, staged: &Staged) -> Result<()> {
    let licences: Result<Vec<_>> =
        ["LICENSE", "LICENSE-MIT", "LICENSE-APACHE"].iter().map(|name| read(&workspace.root.join(name))).collect();
    let licences = licences?;
    write(stage, "copyright", &licences.join("\n----\n\n"))?;
    let apache = "On Debian systems /usr/share/common-licenses/Apache-2.0 has the Apache License, Version 2.0.\n";
    write(stage, "THIRD-PARTY", &notices::of_crates(workspace)?)?;
    cmd::output(Command::new("gzip").arg("-9nk").arg(stage.join("THIRD-PARTY")))?;
    write(stage, "copyright-debian", &[licences[0].as_str(), &licences[1], apache].join("\n----\n\n"))?;
    let mut date = Command::new("date");
    let date = cmd::output(date.args(["-u", "-R", "-d"]).arg(format!("@{}", staged.epoch)).env("LC_ALL", "C"))?;
    let version = env!("CARGO_PKG_VERSION");
    let entry = format!(
        "auditd-bpf ({version}-1) unstable; urgency=medium\n\n  * CHANGELOG.md of the sources has what is new.\n\n \
         -- auditd-bpf maintainers <maintainers@auditd-bpf.invalid>  {date}"
    );
    write(stage, "changelog", &entry)
}

fn links(stage: &Path) -> Result<()> {
    let links = stage.join("links");
    fs::create_dir(&links).context("cannot create the links' directory")?;
    let programs = NAMES.iter().map(|(name, _)| (*name, "../bin/auditd-bpf"));
    for (name, target) in programs.chain(UNITS) {
        symlink(target, links.join(name)).with_context(|| format!("cannot link {name}"))?;
    }
    Ok(())
}

fn pages(workspace: &Workspace, purpose: Purpose, stage: &Path) -> Result<()> {
    let built = workspace.target.join("man");
    if built.exists() {
        // A page of a command that is gone would come along.
        fs::remove_dir_all(&built).with_context(|| format!("cannot remove {}", built.display()))?;
    }
    man::pages(workspace, super::cargo(workspace, purpose, "run", &workspace.target)?)?;
    copy(&workspace.target.join("man"), stage)?;
    let compat = stage.join("man-compat");
    fs::create_dir(&compat).context("cannot create the directory of man pages")?;
    for (name, page) in NAMES.iter().chain(&[("auditd", "auditd-bpf-daemon")]) {
        write(&compat, &format!("{name}.8"), &format!(".so man8/{page}.8\n"))?;
    }
    for dir in [stage.join("man"), compat] {
        let mut gzip = Command::new("gzip");
        gzip.arg("-9n").args(fs::read_dir(dir)?.flatten().map(|entry| entry.path()));
        cmd::output(&mut gzip)?;
    }
    Ok(())
}

fn completions(workspace: &Workspace, purpose: Purpose, stage: &Path) -> Result<()> {
    let mut write = super::cargo(workspace, purpose, "run", &workspace.target)?;
    write.args(["--quiet", "--example", "completions", "--"]).arg(stage.join("completions"));
    cmd::step("completions for shells", || cmd::run(&mut write))
}

/// Times and modes that do not depend on who builds, and when.
fn settle(stage: &Path, staged: &Staged) -> Result<()> {
    cmd::output(Command::new("chmod").args(["-R", "u=rwX,go=rX"]).arg(stage))?;
    let mut touch = Command::new("find");
    touch.arg(stage).args(["-exec", "touch", "-h", "-d", &format!("@{}", staged.epoch), "{}", "+"]);
    cmd::output(&mut touch).map(drop)
}
