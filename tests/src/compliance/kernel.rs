//! The kernel's own audit with auditd, the original.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::daemon::{run, wait_for};
use crate::netlink;

/// auditd's log.
pub const LOG: &str = "/var/log/audit/audit.log";
/// Debian's configuration with plain records, and without regard to the room on the disk.
const CONFIG: &str = "local_events = yes
write_logs = yes
log_file = /var/log/audit/audit.log
log_group = root
log_format = RAW
flush = NONE
freq = 0
max_log_file_action = IGNORE
space_left = 2
space_left_action = IGNORE
admin_space_left = 1
admin_space_left_action = IGNORE
disk_full_action = IGNORE
disk_error_action = IGNORE
priority_boost = 4
plugin_dir = /etc/audit/no-plugins.d
";
const TIME: Duration = Duration::from_secs(90);

/// auditd with rules in the kernel.
pub struct KernelAudit {
    auditd: Child,
}

impl KernelAudit {
    /// Starts auditd and loads the rules with auditctl.
    pub fn start(rules: &str) -> Result<Self> {
        fs::create_dir_all("/etc/audit/no-plugins.d")?;
        private("/etc/audit/auditd.conf", CONFIG)?;
        let said = File::create("/tmp/auditd.stderr").context("cannot create a file")?;
        let mut command = Command::new("auditd");
        command.arg("-n").stdin(Stdio::null()).stdout(Stdio::null()).stderr(said);
        let mut auditd = command.spawn().context("cannot run auditd")?;
        let registered = format!("pid {}", auditd.id());
        wait_for("auditd to register", TIME, || {
            ensure!(auditd.try_wait()?.is_none(), "auditd ended: {}", fs::read_to_string("/tmp/auditd.stderr")?);
            Ok(status()?.lines().any(|line| line == registered).then_some(()))
        })?;
        // Booting with audit=1 and without auditd loses some.
        run(Command::new("auditctl").arg("--reset-lost"))?.ended_with(0)?;
        // Those of the io_uring list Debian's auditctl does not know.
        let (own, rules): (Vec<_>, Vec<_>) = rules.lines().partition(|line| line.contains(",io_uring "));
        let rules = rules.join("\n");
        // A limit that no case reaches: what the kernel loses cannot be compared.
        let rules = format!("-D\n-b 65536\n-r 0\n-f 1\n{rules}");
        private("/etc/audit/compliance.rules", &rules)?;
        let loaded = run(Command::new("auditctl").args(["-R", "/etc/audit/compliance.rules"]))?;
        loaded.ended_with(0).context("the kernel refuses the rules")?;
        let expected =
            rules.lines().filter(|line| ["-a", "-A", "-w"].iter().any(|word| line.starts_with(word))).count();
        let there = run(Command::new("auditctl").arg("-l"))?.stdout.lines().count();
        ensure!(there == expected, "{there} of {expected} rules are in the kernel; auditctl said:\n{}", loaded.all());
        own.into_iter().try_for_each(netlink::add_io_uring_rule)?;
        Ok(Self { auditd })
    }

    /// Waits until all up to the event with the key `fence` has been written, ends auditd, and gives its log.
    pub fn finish(mut self, fence: &str) -> Result<Vec<u8>> {
        let fence = format!("key=\"{fence}\"");
        wait_for("auditd's log", TIME, || {
            let log = fs::read_to_string(LOG).unwrap_or_default();
            Ok(log.lines().any(|line| line.starts_with("type=SYSCALL") && line.contains(&fence)).then_some(()))
        })?;
        let lost = status()?.lines().find_map(|line| line.strip_prefix("lost ").map(str::to_owned));
        ensure!(lost.as_deref() == Some("0"), "the kernel's audit lost {lost:?} events");
        run(Command::new("auditctl").args(["-D"]))?.ended_with(0)?;
        kill(Pid::from_raw(self.auditd.id().cast_signed()), Signal::SIGTERM).context("cannot end auditd")?;
        self.auditd.wait().context("cannot wait for auditd")?;
        fs::read(LOG).context("cannot read auditd's log")
    }
}

impl Drop for KernelAudit {
    fn drop(&mut self) {
        // Both fail when it has ended, which is what is wanted.
        let _ = self.auditd.kill();
        let _ = self.auditd.wait();
    }
}

fn status() -> Result<String> {
    Ok(run(Command::new("auditctl").arg("-s"))?.stdout)
}

fn private(path: &str, content: &str) -> Result<()> {
    let path = Path::new(path);
    fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))?;
    fs::set_permissions(path, Permissions::from_mode(0o640)).context("cannot set a mode")
}
