//! Hosts that cannot, users that may not, and files that are wrong: each is told what, why and what to do.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use nix::mount::{MsFlags, mount, umount};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::Value;

use crate::child::USER;
use crate::daemon::{Finished, PROGRAM, run};
use crate::harness::Alone;
use crate::place::Place;
use crate::session::{file_output, kernel_and_file_output, private_file};

pub const CASES: &[Alone] = &[
    Alone::new("doctor_finds_all_well", doctor_well),
    Alone::new("doctor_misses_the_lsm", no_lsm),
    Alone::new("doctor_misses_btf", no_btf),
    Alone::new("rules_beyond_the_mode", beyond_the_mode),
    Alone::new("daemon_not_root", not_root),
    Alone::new("rules_world_writable", world_writable),
    Alone::new("rules_absent", absent_rules),
    Alone::new("rules_that_are_no_file", no_file),
    Alone::new("rules_with_unknown_syscall", unknown_syscall),
    Alone::new("rules_with_an_error_load_nothing", nothing_half_loaded),
    Alone::new("config_with_unknown_key", unknown_key),
    Alone::new("config_absent", absent_config),
    Alone::new("log_directory_that_cannot_be_made", no_log_directory),
    Alone::new("check_and_explain", check_and_explain),
];

/// For kernels without what the daemon needs.
pub const REFUSED: &[Alone] =
    &[Alone::new("doctor_refuses_by_name", doctor_refuses), Alone::new("daemon_refuses_by_name", daemon_refuses)];

/// For kernels booted without bpf among their security modules.
pub const OBSERVED: &[Alone] = &[Alone::new("doctor_tells_mode_observe", doctor_observes)];

/// Exit statuses, as documented.
const FAILED: i32 = 1;
const HOST_CANNOT: i32 = 3;
const NOT_ROOT: i32 = 4;
const MISCONFIGURED: i32 = 6;

fn log_of(place: &Place) -> PathBuf {
    place.path("log/audit.json.gz")
}

/// A good configuration.
fn config(place: &Place) -> Result<PathBuf> {
    private_file(place.name, "toml", &file_output(&log_of(place)))
}

/// A rule file with mode 0600.
fn rules(place: &Place, text: &str) -> Result<PathBuf> {
    private_file(place.name, "rules", &place.rules(text))
}

fn daemon(config: &Path, rules: &Path) -> Command {
    let mut command = Command::new(PROGRAM);
    command.arg("daemon").arg("--config").arg(config).arg("--rules").arg(rules);
    command
}

/// Runs a daemon that must refuse, having written no log.
fn refuses(place: &Place, config: &Path, rules: &Path, status: i32, says: &[&str]) -> Result<()> {
    run(&mut daemon(config, rules))?.ended_with(status)?.said(says)?;
    ensure!(!log_of(place).exists(), "it began a log");
    Ok(())
}

fn doctor() -> Result<Finished> {
    run(Command::new(PROGRAM).arg("doctor"))
}

fn doctor_json() -> Result<Value> {
    let finished = run(Command::new(PROGRAM).args(["doctor", "--json"]))?;
    serde_json::from_str(&finished.stdout).with_context(|| format!("not JSON: {}", finished.all()))
}

fn doctor_well(_: &Place) -> Result<()> {
    doctor()?.ended_with(0)?.said(&["task storage", "btf", "lsm"])?;
    let report = doctor_json()?;
    ensure!(report["mode"] == "lsm" && report.get("why").is_none_or(Value::is_null), "not all well: {report}");
    Ok(())
}

/// Hides what a path shows behind a file, for as long as it lives.
struct Hidden<'a>(&'a str);

impl<'a> Hidden<'a> {
    fn behind(path: &'a str, file: &Path) -> Result<Self> {
        mount(Some(file), path, None::<&str>, MsFlags::MS_BIND, None::<&str>)
            .with_context(|| format!("cannot mount over {path}"))?;
        Ok(Self(path))
    }
}

impl Drop for Hidden<'_> {
    fn drop(&mut self) {
        if let Err(error) = umount(self.0) {
            eprintln!("cannot uncover {}: {error}", self.0);
        }
    }
}

fn no_lsm(place: &Place) -> Result<()> {
    let list = place.path("lsm");
    fs::write(&list, "lockdown,capability,yama")?;
    let _hidden = Hidden::behind("/sys/kernel/security/lsm", &list)?;
    // The remedy is the whole parameter, ready to be copied.
    doctor()?.ended_with(0)?.said(&["mode observe", "lsm=lockdown,yama,bpf"])?;
    let report = doctor_json()?;
    ensure!(report["mode"] == "observe", "another mode: {report}");
    ensure!(report["why"].as_str().is_some_and(|why| why.contains("LSM")), "no reason: {report}");
    let rules = rules(place, "-w {dir}/f -p w -k {key}")?;
    refuses(place, &config_of_mode(place, "lsm")?, &rules, HOST_CANNOT, &["lsm=lockdown,yama,bpf"])
}

/// A configuration that asks for a mode.
fn config_of_mode(place: &Place, mode: &str) -> Result<PathBuf> {
    private_file(place.name, "toml", &kernel_and_file_output(&format!("mode = \"{mode}\"\n"), &log_of(place)))
}

fn beyond_the_mode(place: &Place) -> Result<()> {
    let rules = rules(place, "-a always,exit -F arch=b64 -S unlink -F path={dir}/f -k {key}")?;
    refuses(place, &config_of_mode(place, "syscall")?, &rules, MISCONFIGURED, &["mode syscall", "unlink", "^"])
}

fn doctor_observes(_: &Place) -> Result<()> {
    doctor()?.ended_with(0)?.said(&["mode observe", "not mode lsm", ",bpf`"])?;
    let report = doctor_json()?;
    ensure!(report["mode"] == "observe", "another mode: {report}");
    Ok(())
}

fn no_btf(place: &Place) -> Result<()> {
    let empty = place.path("empty");
    fs::write(&empty, "")?;
    let _hidden = Hidden::behind("/sys/kernel/btf/vmlinux", &empty)?;
    doctor()?.ended_with(HOST_CANNOT)?.said(&["btf"])?;
    let rules = rules(place, "-w {dir}/f -p w -k {key}")?;
    refuses(place, &config(place)?, &rules, HOST_CANNOT, &["btf"])
}

fn not_root(place: &Place) -> Result<()> {
    // Readable by everybody, so that nothing but the lack of power is in the way.
    let (config, rules) = (place.path("config.toml"), place.path("audit.rules"));
    fs::write(&config, file_output(&log_of(place)))?;
    fs::write(&rules, place.rules("-w {dir}/f -p w -k {key}"))?;
    run(daemon(&config, &rules).uid(USER).gid(USER))?.ended_with(NOT_ROOT)?.said(&["root"])?;
    ensure!(!log_of(place).exists(), "it began a log");
    Ok(())
}

fn world_writable(place: &Place) -> Result<()> {
    let path = rules(place, "-w {dir}/f -p w -k {key}")?;
    fs::set_permissions(&path, Permissions::from_mode(0o602))?;
    refuses(place, &config(place)?, &path, MISCONFIGURED, &["world writable", &path.to_string_lossy()])
}

fn absent_rules(place: &Place) -> Result<()> {
    let path = place.path("absent.rules");
    refuses(place, &config(place)?, &path, MISCONFIGURED, &[&path.to_string_lossy()])
}

fn no_file(place: &Place) -> Result<()> {
    // Opening it would wait for a writer for ever.
    let path = place.path("fifo.rules");
    mkfifo(&path, Mode::from_bits_truncate(0o600))?;
    refuses(place, &config(place)?, &path, MISCONFIGURED, &["regular file", &path.to_string_lossy()])
}

fn unknown_syscall(place: &Place) -> Result<()> {
    let path = rules(place, "# first line\n-w {dir}/f -p w -k {key}\n-a always,exit -F arch=b64 -S opennat -k {key}")?;
    let position = format!("{}:3:31", path.display());
    refuses(place, &config(place)?, &path, MISCONFIGURED, &[&position, "opennat", "openat"])
}

fn nothing_half_loaded(place: &Place) -> Result<()> {
    // All that is wrong, at once.
    let text = "-w {dir}/f -p w -k {key}\n-a always,exit -F arch=b64 -S openat -F nosuchfield=1\n-w relative -p w\n";
    let path = rules(place, text)?;
    let (second, third) = (format!("{}:2:", path.display()), format!("{}:3:", path.display()));
    refuses(place, &config(place)?, &path, MISCONFIGURED, &["nosuchfield", &second, &third])
}

fn unknown_key(place: &Place) -> Result<()> {
    let text = file_output(&log_of(place)).replace("compression", "compresion");
    let config = private_file(place.name, "toml", &text)?;
    let rules = rules(place, "-w {dir}/f -p w -k {key}")?;
    refuses(place, &config, &rules, MISCONFIGURED, &["compresion", &config.to_string_lossy()])
}

fn absent_config(place: &Place) -> Result<()> {
    let (config, rules) = (place.path("absent.toml"), rules(place, "-w {dir}/f -p w -k {key}")?);
    refuses(place, &config, &rules, MISCONFIGURED, &[&config.to_string_lossy()])
}

fn no_log_directory(place: &Place) -> Result<()> {
    let in_the_way = place.file("log")?;
    let rules = rules(place, "-w {dir}/f -p w -k {key}")?;
    let finished = run(&mut daemon(&config(place)?, &rules))?;
    ensure!(
        matches!(finished.status, Some(FAILED | MISCONFIGURED)),
        "status {:?}: {}",
        finished.status,
        finished.all()
    );
    finished.said(&[&in_the_way.to_string_lossy()]).map(drop)
}

fn check_and_explain(place: &Place) -> Result<()> {
    let good = rules(place, "-w {dir}/f -p w -k {key}")?;
    run(Command::new(PROGRAM).arg("check").arg(&good))?.ended_with(0)?;
    run(Command::new(PROGRAM).arg("explain").arg(&good))?.ended_with(0)?.said(&["file_open", place.name])?;
    let bad = rules(place, "-a always,exit -F arch=b64 -S opennat -k {key}")?;
    run(Command::new(PROGRAM).arg("check").arg(&bad))?.ended_with(FAILED)?.said(&["opennat", "openat"]).map(drop)
}

/// Said by name, with what to do about it.
const WHY: [&str; 2] = ["task storage", "kernel"];

fn doctor_refuses(_: &Place) -> Result<()> {
    doctor()?.ended_with(HOST_CANNOT)?.said(&WHY)?;
    let report = doctor_json()?;
    let why = report["why"].as_str().unwrap_or_default();
    ensure!(why.contains("task storage"), "no reason: {report}");
    ensure!(report["mode"] != "lsm", "the full mode: {report}");
    Ok(())
}

fn daemon_refuses(place: &Place) -> Result<()> {
    let rules = rules(place, "-w {dir}/f -p w -k {key}")?;
    let finished = run(&mut daemon(&config(place)?, &rules))?;
    finished.ended_with(HOST_CANNOT)?.said(&WHY)?;
    ensure!(finished.stderr.lines().count() < 12, "more than a paragraph:\n{}", finished.stderr);
    ensure!(!finished.all().contains("panicked"), "it panicked:\n{}", finished.all());
    ensure!(!log_of(place).exists(), "it began a log");
    Ok(())
}
