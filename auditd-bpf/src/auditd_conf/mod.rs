//! auditd's own configuration, `/etc/audit/auditd.conf`: all 48 keywords of auditd 3.x and 4.x, auditd.conf(5).
//!
//! | what | where |
//! |---|---|
//! | what the file says, and whether it may be trusted | here |
//! | lines to settings, with auditd's rules and limits | [`parse`](mod@parse) |
//! | values of keywords | `values` |
//! | settings to outputs, and what is told about those that have no effect here | `outputs` |

mod outputs;
pub mod parse;
mod values;

use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::num::NonZeroU32;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

pub use output::config::{FailureAction as Action, Space, Watermark};
pub use outputs::Notice;
pub use parse::{Mistake, parse};

/// Where auditd reads it.
pub const AUDITD_CONF: &str = "/etc/audit/auditd.conf";

/// What auditd.conf says. The defaults are those of auditd's code, not of the file that it is shipped with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditdConf {
    /// `write_logs`, and `log_format = nolog`: whether there is a log at all.
    pub write_logs: bool,
    /// `log_file`.
    pub log_file: PathBuf,
    /// `log_format`.
    pub log_format: LogFormat,
    /// `log_group`.
    pub log_group: Option<String>,
    /// `flush` and `freq`.
    pub flush: Flush,
    /// `num_logs`.
    pub num_logs: u32,
    /// `max_log_file`: MiB; 0 is any length.
    pub max_log_file: u32,
    /// `max_log_file_action`.
    pub max_log_file_action: SizeAction,
    /// `name_format` and `name`.
    pub name_format: NameFormat,
    /// `plugin_dir`.
    pub plugin_dir: PathBuf,
    /// `q_depth`: records that may wait for a plugin.
    pub q_depth: u32,
    /// `overflow_action`: when more do.
    pub overflow_action: Action,
    /// `max_restarts`: of a plugin that ended.
    pub max_restarts: u32,
    /// `space_left` and `space_left_action`.
    pub space_left: Watermark,
    /// `admin_space_left` and `admin_space_left_action`.
    pub admin_space_left: Watermark,
    /// `action_mail_acct`: whom mails of these actions go to.
    pub mail_account: String,
    /// `verify_email`: whether the account's host must be known.
    pub verify_email: bool,
    /// `disk_full_action`.
    pub disk_full_action: Action,
    /// `disk_error_action`.
    pub disk_error_action: Action,
    /// `local_events`.
    pub local_events: bool,
    /// `tcp_listen_port`: where records of other machines would be taken.
    pub tcp_listen_port: Option<u32>,
    /// Keywords that were given, are right, and have no effect here.
    pub without_effect: Vec<String>,
    /// Lines that are longer than auditd reads.
    pub skipped: Vec<usize>,
}

/// `log_format`: what is in the native records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// As the kernel writes them.
    Raw,
    /// With the names behind the numbers.
    Enriched,
}

/// `flush`: when to wait for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    /// Never.
    None,
    /// After that many records, `freq`.
    Incremental(NonZeroU32),
    /// After that many, without making records wait.
    IncrementalAsync(NonZeroU32),
    /// After each record: `data`, `sync`.
    Every,
}

/// `max_log_file_action`: what becomes of a log of that length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SizeAction {
    /// It goes on.
    Ignore,
    /// A warning.
    Syslog,
    /// A program is run.
    Exec(PathBuf),
    /// No more is written.
    Suspend,
    /// Another begins, and the oldest goes.
    Rotate,
    /// Another begins, and all stay.
    KeepLogs,
}

/// `name_format`: how this machine is called in records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameFormat {
    /// Not at all.
    None,
    /// By its host name.
    Hostname,
    /// By its name with its domain.
    Fqd,
    /// By its address.
    Numeric,
    /// By `name`.
    User(String),
}

impl Default for AuditdConf {
    fn default() -> Self {
        Self {
            write_logs: true,
            log_file: PathBuf::from("/var/log/audit/audit.log"),
            log_format: LogFormat::Enriched,
            log_group: None,
            flush: Flush::None,
            num_logs: 0,
            max_log_file: 0,
            max_log_file_action: SizeAction::Ignore,
            name_format: NameFormat::None,
            plugin_dir: PathBuf::from("/etc/audit/plugins.d"),
            q_depth: 2000,
            overflow_action: Action::Syslog,
            max_restarts: 10,
            space_left: Watermark::default(),
            admin_space_left: Watermark::default(),
            mail_account: "root".to_owned(),
            verify_email: true,
            disk_full_action: Action::Ignore,
            disk_error_action: Action::Syslog,
            local_events: true,
            tcp_listen_port: None,
            without_effect: Vec::new(),
            skipped: Vec::new(),
        }
    }
}

/// Why auditd.conf is not used.
#[derive(Debug, thiserror::Error)]
pub enum AuditdConfError {
    /// It cannot be read.
    #[error("Error opening config file {} ({source})", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system said; a link is an error too.
        source: io::Error,
    },
    /// Others than root could change it.
    #[error("Error - {} {problem}", path.display())]
    Untrusted {
        /// Which file.
        path: PathBuf,
        /// Why.
        problem: &'static str,
    },
    /// It is wrong.
    #[error("{}{}: {message}", path.display(), line.map(|line| format!(":{line}")).unwrap_or_default())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// 1-based, where a line is to blame.
        line: Option<usize>,
        /// What is wrong.
        message: String,
    },
    /// auditd writes to the same files.
    #[error("auditd is running (pid {pid}) and writes the log that {} names; stop it, or take `auditd_conf = true` out", path.display())]
    Live {
        /// Which file.
        path: PathBuf,
        /// auditd.
        pid: u32,
    },
}

impl AuditdConfError {
    pub(crate) fn malformed(path: &Path, Mistake { line, message }: Mistake) -> Self {
        Self::Malformed { path: path.to_path_buf(), line, message }
    }
}

impl AuditdConf {
    /// Reads a file as auditd does: root's, not writable by all, no link.
    ///
    /// # Errors
    /// If it cannot be read, is not to be trusted, or is wrong.
    pub fn load(path: &Path) -> Result<Self, AuditdConfError> {
        let text = read_trusted(path)?;
        parse(&text).map_err(|mistake| AuditdConfError::malformed(path, mistake))
    }
}

fn read_trusted(path: &Path) -> Result<Vec<u8>, AuditdConfError> {
    let unreadable = |source| AuditdConfError::Unreadable { path: path.to_path_buf(), source };
    let untrusted = |problem| Err(AuditdConfError::Untrusted { path: path.to_path_buf(), problem });
    // Not waiting for who would write into a FIFO.
    let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;
    let mut file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(unreadable)?;
    let meta = file.metadata().map_err(unreadable)?;
    if !meta.is_file() {
        return untrusted("is not a regular file");
    }
    if meta.uid() != 0 {
        return untrusted("isn't owned by root");
    }
    if meta.mode() & 0o002 != 0 {
        return untrusted("is world writable");
    }
    let mut text = Vec::new();
    file.read_to_end(&mut text).map_err(unreadable)?;
    Ok(text)
}

/// The pid of the auditd that runs on this machine. By its name: in the foreground it leaves no pid file.
#[must_use]
pub fn running_auditd() -> Option<u32> {
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let name = fs::read_to_string(entry.path().join("comm")).ok()?;
        (name.trim_end() == "auditd").then_some(pid)
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn error(path: &Path) -> String {
        AuditdConf::load(path).unwrap_err().to_string()
    }

    #[test]
    fn only_a_file_that_root_alone_can_change_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let (path, link) = (dir.path().join("auditd.conf"), dir.path().join("link"));
        assert!(error(&path).starts_with("Error opening config file"));
        fs::write(&path, "num_logs = 5\nmax_log_files = 8\n").unwrap();
        symlink(&path, &link).unwrap();
        assert!(error(&link).contains("Error opening config file"), "a link");
        assert!(error(dir.path()).ends_with("is not a regular file"));
        if nix::unistd::geteuid().is_root() {
            assert_eq!(error(&path), format!("{}:2: unknown keyword `max_log_files`", path.display()));
            fs::set_permissions(&path, fs::Permissions::from_mode(0o646)).unwrap();
            assert!(error(&path).ends_with("is world writable"));
        } else {
            assert!(error(&path).ends_with("isn't owned by root"));
        }
    }
}
