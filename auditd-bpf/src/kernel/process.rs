//! Processes as the kernel side tells them apart.

use std::fs;
use std::io;

/// A process that no other can be taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// When it began, in [ticks](auditd_bpf_common::limits::TICK_NS) since boot.
    pub started: u64,
}

impl Process {
    /// This one.
    ///
    /// # Errors
    /// If `/proc/self/stat` (proc(5)) cannot be read.
    pub fn own() -> io::Result<Self> {
        let stat = fs::read_to_string("/proc/self/stat")?;
        // The name, which may hold anything, ends at the last parenthesis; the time is field 22, 20th behind it.
        let started = stat.rsplit_once(") ").and_then(|(_, fields)| fields.split(' ').nth(19)?.parse().ok());
        let started = started.ok_or_else(|| io::Error::other("/proc/self/stat: no time in field 22"))?;
        Ok(Self { pid: std::process::id(), started })
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_process_began_since_boot_and_before_now() {
        let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
        let seconds: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
        let super::Process { pid, started } = super::Process::own().unwrap();
        assert_eq!(pid, std::process::id());
        assert!(started > 0 && started as f64 / 100.0 <= seconds + 1.0, "{started} of {seconds} s");
    }
}
