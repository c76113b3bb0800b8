//! auditd-bpf, writing native records.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::daemon::{self, Daemon, wait_for};
use crate::session::private_file;

/// Its log.
pub const LOG: &str = "/var/log/audit/auditd-bpf.log";
const CONFIG: &str = "[kernel]
user_messages = \"off\"
[[output]]
type = \"file\"
format = \"native\"
enriched = false
path = \"/var/log/audit/auditd-bpf.log\"
compression = \"none\"
flush_ms = 20
queue = 100000
";
const TIME: Duration = Duration::from_secs(90);

/// A running daemon.
pub struct Ours {
    daemon: Daemon,
}

impl Ours {
    /// Starts the daemon on these rules.
    pub fn start(rules: &str) -> Result<Self> {
        let config = private_file("compliance", "toml", CONFIG)?;
        let rules = private_file("compliance", "rules", rules)?;
        Ok(Self { daemon: Daemon::start(&config, &rules)? })
    }

    /// The daemon's pid.
    pub fn pid(&self) -> Result<u32> {
        Ok(daemon::serving()?.as_raw().cast_unsigned())
    }

    /// Waits until all up to the event with the key `fence` has been written, ends the daemon, and gives its log.
    pub fn finish(mut self, fence: &str) -> Result<Vec<u8>> {
        let fence = format!("key=\"{fence}\"");
        wait_for("the events", TIME, || {
            self.daemon.check_alive()?;
            Ok(fs::read_to_string(LOG).unwrap_or_default().contains(&fence).then_some(()))
        })?;
        self.daemon.stop()?;
        let log = fs::read(LOG).context("cannot read the log")?;
        let lost = String::from_utf8_lossy(&log).lines().find(|line| is_loss(line)).map(str::to_owned);
        ensure!(lost.is_none(), "events were lost: {lost:?}");
        Ok(log)
    }
}

/// Whether a record tells that events are missing. Ends of calls that the kernel may have left out are no more than counted by it,
/// most of them of calls that no rule matches: which event is missing, the comparison finds.
fn is_loss(line: &str) -> bool {
    let count = |name: &str| line.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    line.contains("op=lost") && count("lost") != count("call_end_not_seen")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_of_a_call_alone_is_no_loss() {
        assert!(!is_loss("type=DAEMON_ERR op=lost pid=0 lost=1 call_end_not_seen=1 res=failed"));
        assert!(is_loss("type=DAEMON_ERR op=lost pid=0 lost=3 call_end_not_seen=1 ring_buffer_full=2 res=failed"));
        assert!(is_loss("type=DAEMON_ERR op=lost pid=0 lost=2 ring_buffer_full=2 res=failed"));
        assert!(!is_loss("type=SYSCALL lost=1"));
    }
}
