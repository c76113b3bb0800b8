//! `cargo xtask run`: the daemon at work, on this host where its kernel loads LSM programs, else in a guest.
//!
//! Both ways run the same scripts: `demo/session.sh` starts and stops the daemon, `demo/workload.sh` gives it something
//! to see. What is left is to find out where to run them and to sum up the log.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, IsTerminal};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::vm::{End, Guest, Kernel};
use crate::workspace::Workspace;
use crate::{build, cmd, setup};

/// Options of `cargo xtask run`.
#[derive(clap::Args)]
pub struct Args {
    /// The guest's kernel: 6.1, 6.12, 7.3 or a longer version prefix
    #[arg(long, default_value = "6.12")]
    kernel: String,
    /// Rules to load [default: those of the demonstration]; @DIR@ in them stands for the workload's directory
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
    /// Run on this host, or fail
    #[arg(long, conflicts_with = "guest")]
    host: bool,
    /// Run in a guest, whatever this host could do
    #[arg(long)]
    guest: bool,
    /// A shell beside the running daemon instead of the scripted workload
    #[arg(long)]
    interactive: bool,
    /// Do not install what is missing: report it and stop
    #[arg(long)]
    no_install: bool,
}

/// Where the demonstration's files lie in a guest.
const GUEST_DEMO: &str = "/usr/share/auditd-bpf/demo";
const GUEST_DIR: &str = "/srv/demo";
const LOG: &str = "audit.json.gz";
const SESSION_TIME: Duration = Duration::from_secs(600);
/// Someone may think before typing.
const INTERACTIVE_TIME: Duration = Duration::from_secs(24 * 3600);

/// `cargo xtask run`.
pub fn main(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    if args.interactive && !io::stdin().is_terminal() {
        bail!("--interactive needs a terminal");
    }
    if args.no_install {
        let missing = setup::missing(workspace)?;
        ensure!(missing.is_empty(), "missing: {}; `cargo xtask setup` installs them", missing.join(", "));
    }
    build::debug(workspace, &["auditd-bpf"])?;
    let demo = workspace.root.join("xtask/demo");
    let rules = args.rules.clone().unwrap_or_else(|| demo.join("demo.rules"));
    let rules = fs::canonicalize(&rules).with_context(|| format!("cannot read {}", rules.display()))?;
    let log = empty_run_directory(workspace)?.join(LOG);
    let session = Session { workspace, args, demo: &demo, rules: &rules, log: &log };
    let ended_well = if session.place()? { session.on_host()? } else { session.in_guest()? };
    summarise(&log)?;
    Ok(if ended_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct Session<'a> {
    workspace: &'a Workspace,
    args: &'a Args,
    demo: &'a Path,
    rules: &'a Path,
    log: &'a Path,
}

impl Session<'_> {
    /// Whether to run on the host; says why if not.
    fn place(&self) -> Result<bool> {
        if self.args.guest {
            return Ok(false);
        }
        match (self.why_not_on_host()?, self.args.host) {
            (None, _) => {
                eprintln!("This host loads LSM programs: running here.");
                Ok(true)
            }
            (Some(why), true) => bail!("this host cannot run auditd-bpf: {why}"),
            (Some(why), false) => {
                eprintln!("This host cannot run auditd-bpf ({why}): booting Linux {} in QEMU.", self.args.kernel);
                Ok(false)
            }
        }
    }

    fn why_not_on_host(&self) -> Result<Option<String>> {
        let mut doctor = setup::as_root(self.daemon());
        doctor.args(["doctor", "--json"]).stdin(Stdio::inherit()).stderr(Stdio::inherit());
        let output = doctor.output().with_context(|| format!("cannot run {}", cmd::shown(&doctor)))?;
        Ok(why_not(&String::from_utf8_lossy(&output.stdout)))
    }

    fn on_host(&self) -> Result<bool> {
        setup::demo_tools()?;
        let dir = tempfile::tempdir().context("cannot create the workload's directory")?;
        // An unprivileged user must be able to reach the file that it then may not write.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).context("cannot open up the directory")?;
        let mut command = setup::as_root(cmd::require("busybox")?);
        command.arg("sh").arg(self.demo.join("session.sh")).arg(self.daemon());
        command.arg(dir.path()).arg(self.log).arg(self.rules);
        if self.args.interactive {
            command.arg("sh");
        } else {
            command.arg("sh").arg(self.demo.join("workload.sh")).arg(dir.path());
        }
        let status = command.status().context("cannot run the session")?;
        let log_dir = self.log.parent().context("the log has no directory")?;
        // Made by root: hand it to whoever asked for it, and clear away what tempfile could not.
        let owner = cmd::output(Command::new("id").arg("-u"))?;
        cmd::output(setup::as_root("chown").arg("-R").arg(owner.trim()).arg(log_dir).arg(dir.path()))?;
        Ok(status.success())
    }

    fn in_guest(&self) -> Result<bool> {
        setup::guest_tools()?;
        let log_dir = self.log.parent().context("the log has no directory")?;
        let time = if self.args.interactive { INTERACTIVE_TIME } else { SESSION_TIME };
        let guest = Guest::new(Kernel::find(self.workspace, &self.args.kernel)?)
            .add(self.daemon(), "/usr/bin/auditd-bpf")
            .add(self.demo, GUEST_DEMO)
            .add(self.rules, "/etc/audit/demo.rules")
            .out(log_dir)
            .timeout(time);
        let script = |name: &str| format!("{GUEST_DEMO}/{name}");
        let (session, workload) = (script("session.sh"), script("workload.sh"));
        let out = format!("/out/{LOG}");
        let mut command = vec!["sh", &session, "/usr/bin/auditd-bpf", GUEST_DIR, &out, "/etc/audit/demo.rules"];
        let end = if self.args.interactive {
            eprintln!("A shell in the guest follows; `sh {workload} {GUEST_DIR}` makes events, `exit` ends.");
            command.extend(["sh", "-l"]);
            guest.attach(&command)?
        } else {
            command.extend(["sh", &workload, GUEST_DIR]);
            guest.run(&command, io::stdout(), io::stderr())?
        };
        match end {
            End::Exited(status) => Ok(status == 0),
            End::TimedOut => bail!("the guest took longer than {}", cmd::duration(time)),
            End::Died(why) => bail!("the guest went down\n{why}"),
        }
    }

    fn daemon(&self) -> PathBuf {
        self.workspace.binary("debug", "auditd-bpf")
    }
}

fn empty_run_directory(workspace: &Workspace) -> Result<PathBuf> {
    let dir = workspace.target.join("run");
    if dir.exists() {
        fs::remove_dir_all(&dir).with_context(|| format!("cannot clear {}", dir.display()))?;
    }
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    Ok(dir)
}

/// The first thing that doctor found wanting, in one line; `None` where rules are decided in hooks. At the ends of system calls alone,
/// which is all that some hosts let programs see, there is little of the session to be seen.
fn why_not(report: &str) -> Option<String> {
    let report: Value = serde_json::from_str(report).unwrap_or_default();
    if report["mode"] == "lsm" {
        return None;
    }
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    Some(text(&report["why"]).unwrap_or_else(|| "`auditd-bpf doctor` says why".to_owned()))
}

/// What a log holds, by rule key.
#[derive(Debug, Default, PartialEq, Eq)]
struct Summary {
    events: u64,
    by_key: BTreeMap<String, u64>,
    lost: u64,
}

impl Summary {
    fn of(lines: &str) -> Result<Self> {
        let mut summary = Self::default();
        for line in lines.lines() {
            let record: Value = serde_json::from_str(line).with_context(|| format!("not JSON: {line}"))?;
            summary.lost += record["lost"].as_u64().unwrap_or(0);
            // Records of the daemon itself have no keys.
            let Some(keys) = record["keys"].as_array() else { continue };
            summary.events += 1;
            for key in keys.iter().filter_map(Value::as_str) {
                *summary.by_key.entry(key.to_owned()).or_default() += 1;
            }
            if keys.is_empty() {
                *summary.by_key.entry("(no key)".to_owned()).or_default() += 1;
            }
        }
        Ok(summary)
    }
}

fn summarise(log: &Path) -> Result<()> {
    ensure!(log.exists(), "the daemon wrote no log");
    let lines = cmd::output(Command::new("gzip").arg("-dc").arg(log))?;
    let summary = Summary::of(&lines)?;
    println!("\nevents: {}", summary.events);
    for (key, count) in &summary.by_key {
        println!("{count:>8}  {key}");
    }
    println!("lost: {}", summary.lost);
    println!("log: {}\n     zcat {}", log.display(), cmd::quote_if_needed(&log.to_string_lossy()));
    Ok(())
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn summary_counts_by_key_and_adds_losses_up() {
        let log = "{\"type\":\"daemon\",\"op\":\"start\"}\n{\"keys\":[\"a\",\"b\"]}\n{\"keys\":[\"a\"]}\n{\"keys\":[]}\n\
                   {\"type\":\"lost\",\"lost\":4}\n";
        let summary = Summary::of(log).unwrap();
        let expected = [("(no key)", 1), ("a", 2), ("b", 1)].map(|(key, count)| (key.to_owned(), count));
        assert_eq!(summary, Summary { events: 3, by_key: expected.into(), lost: 4 });
        assert!(Summary::of("{\"keys\":").is_err());
    }

    #[test]
    fn reason_is_doctor_s_own() {
        let refused = r#"{"mode":"syscall","why":"LSM programs are refused"}"#;
        assert_eq!(why_not(refused).as_deref(), Some("LSM programs are refused"));
        assert_eq!(why_not(r#"{"mode":"lsm","why":null}"#), None);
        assert!(why_not("garbage").is_some_and(|why| why.contains("auditd-bpf doctor")));
    }
}
