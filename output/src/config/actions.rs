//! What is done when disk space runs out or a write fails: auditd's actions, under auditd.conf(5)'s names.

use std::num::NonZeroU64;
use std::path::PathBuf;

use serde::Deserialize;

/// What to do when something runs out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum FailureAction {
    /// Nothing.
    #[default]
    Ignore,
    /// A warning to syslog.
    Syslog,
    /// Begin another log, and lose the oldest.
    Rotate,
    /// A mail, and a warning to syslog.
    Email,
    /// Run a program, and write no more until it says so by SIGUSR2.
    Exec(PathBuf),
    /// Write no more until SIGUSR2.
    Suspend,
    /// To single user mode.
    Single,
    /// Halt the machine.
    Halt,
}

impl FailureAction {
    /// Its name, without a program.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Ignore => "ignore",
            Self::Syslog => "syslog",
            Self::Rotate => "rotate",
            Self::Email => "email",
            Self::Exec(_) => "exec",
            Self::Suspend => "suspend",
            Self::Single => "single",
            Self::Halt => "halt",
        }
    }
}

impl TryFrom<String> for FailureAction {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (name, program) =
            text.split_once(' ').map_or((&*text, None), |(name, program)| (name, Some(program.trim())));
        match (name, program) {
            ("exec", Some(program)) if program.starts_with('/') => Ok(Self::Exec(PathBuf::from(program))),
            ("exec", _) => Err(format!("`{text}`: exec has the absolute path of a program behind it")),
            ("ignore", None) => Ok(Self::Ignore),
            ("syslog", None) => Ok(Self::Syslog),
            ("rotate", None) => Ok(Self::Rotate),
            ("email", None) => Ok(Self::Email),
            ("suspend", None) => Ok(Self::Suspend),
            ("single", None) => Ok(Self::Single),
            ("halt", None) => Ok(Self::Halt),
            _ => Err(format!(
                "`{text}` is no action; there are ignore, syslog, rotate, email, exec /PROGRAM, suspend, single and halt"
            )),
        }
    }
}

/// An amount of disk space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RawSpace")]
pub enum Space {
    /// MiB; 0 is nothing to watch for.
    Mib(u32),
    /// Of the file system, from 1 to 99.
    Percent(u32),
}

impl Space {
    /// In bytes, of a file system of `total`.
    pub fn bytes(self, total: u64) -> u64 {
        match self {
            Self::Mib(mib) => u64::from(mib) << 20,
            Self::Percent(percent) => total / 100 * u64::from(percent),
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawSpace {
    Mib(u32),
    Text(String),
}

impl TryFrom<RawSpace> for Space {
    type Error = String;

    fn try_from(raw: RawSpace) -> Result<Self, String> {
        match raw {
            RawSpace::Mib(mib) => Ok(Self::Mib(mib)),
            RawSpace::Text(text) => {
                let percent = text.strip_suffix('%').and_then(|percent| percent.parse().ok());
                let percent = percent.filter(|percent| (1..=99).contains(percent));
                percent
                    .map(Self::Percent)
                    .ok_or_else(|| format!("`{text}` is neither a number of MiB nor like \"25%\""))
            }
        }
    }
}

/// Free space below which something is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watermark {
    /// How much.
    pub space: Space,
    /// What to do.
    pub action: FailureAction,
}

impl Default for Watermark {
    fn default() -> Self {
        Self { space: Space::Mib(0), action: FailureAction::Ignore }
    }
}

/// When the file's disk fills or fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailureActions {
    /// `space_left` and `space_left_action`.
    pub space_left: Watermark,
    /// `admin_space_left` and `admin_space_left_action`.
    pub admin_space_left: Watermark,
    /// `disk_full_action`.
    pub disk_full: FailureAction,
    /// `disk_error_action`.
    pub disk_error: FailureAction,
    /// auditd's `max_log_file`, in bytes, and `max_log_file_action`, where that is not to begin another log.
    pub too_long: Option<(NonZeroU64, FailureAction)>,
    /// `action_mail_acct`: whom mails go to.
    pub mail_account: String,
}

impl Default for FailureActions {
    fn default() -> Self {
        Self {
            space_left: Watermark::default(),
            admin_space_left: Watermark::default(),
            disk_full: FailureAction::Ignore,
            disk_error: FailureAction::Ignore,
            too_long: None,
            mail_account: "root".to_owned(),
        }
    }
}

impl FailureActions {
    /// All actions.
    pub fn all(&self) -> impl Iterator<Item = &FailureAction> {
        let too_long = self.too_long.as_ref().map(|(_, action)| action);
        [&self.space_left.action, &self.admin_space_left.action, &self.disk_full, &self.disk_error]
            .into_iter()
            .chain(too_long)
    }

    /// Keys as they are written in a table.
    pub(super) fn resolve(raw: RawFailureActions) -> Result<Self, String> {
        let default = Self::default();
        let watermark = |keyword: &str, space: Option<Space>, action: Option<FailureAction>| match (space, action) {
            (Some(space), Some(action)) => Ok(Watermark { space, action }),
            (None, None) => Ok(Watermark::default()),
            _ => Err(format!("`{keyword}` and `{keyword}_action` belong together")),
        };
        // As in auditd.conf(5): no mail for what cannot wait, and no rotation for a disk that fails.
        if raw.disk_full_action == Some(FailureAction::Email) {
            return Err("`disk_full_action` cannot be email".to_owned());
        }
        if let Some(action @ (FailureAction::Email | FailureAction::Rotate)) = &raw.disk_error_action {
            return Err(format!("`disk_error_action` cannot be {}", action.name()));
        }
        Ok(Self {
            space_left: watermark("space_left", raw.space_left, raw.space_left_action)?,
            admin_space_left: watermark("admin_space_left", raw.admin_space_left, raw.admin_space_left_action)?,
            disk_full: raw.disk_full_action.unwrap_or(default.disk_full),
            disk_error: raw.disk_error_action.unwrap_or(default.disk_error),
            too_long: None,
            mail_account: raw.action_mail_acct.map_or(Ok(default.mail_account), mail_account)?,
        })
    }
}

/// The keys of a table.
#[derive(Default)]
pub(super) struct RawFailureActions {
    pub(super) space_left: Option<Space>,
    pub(super) space_left_action: Option<FailureAction>,
    pub(super) admin_space_left: Option<Space>,
    pub(super) admin_space_left_action: Option<FailureAction>,
    pub(super) disk_full_action: Option<FailureAction>,
    pub(super) disk_error_action: Option<FailureAction>,
    pub(super) action_mail_acct: Option<String>,
}

/// The characters that auditd takes: it stands in a mail's header.
fn mail_account(account: String) -> Result<String, String> {
    let fine =
        !account.is_empty() && account.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"@.-_".contains(&byte));
    if fine { Ok(account) } else { Err(format!("`action_mail_acct`: `{account}` is no mail address")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OutputConfig;

    fn parse(keys: &str) -> Result<FailureActions, String> {
        let table = format!("type='file'\npath='/a'\n{keys}");
        match toml::from_str(&table).map_err(|error| error.to_string())? {
            OutputConfig::File(file) => Ok(file.actions),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_key() {
        let keys = "space_left='25%'\nspace_left_action='email'\nadmin_space_left=50\n\
                    admin_space_left_action='exec /sbin/tidy'\ndisk_full_action='suspend'\ndisk_error_action='halt'\n\
                    action_mail_acct='ops@example.org'";
        let expected = FailureActions {
            space_left: Watermark { space: Space::Percent(25), action: FailureAction::Email },
            admin_space_left: Watermark { space: Space::Mib(50), action: FailureAction::Exec("/sbin/tidy".into()) },
            disk_full: FailureAction::Suspend,
            disk_error: FailureAction::Halt,
            too_long: None,
            mail_account: "ops@example.org".to_owned(),
        };
        assert_eq!(parse(keys), Ok(expected));
        assert_eq!(parse(""), Ok(FailureActions::default()));
    }

    #[test]
    fn mistakes_are_named() {
        let error = |keys| parse(keys).unwrap_err();
        assert!(error("space_left='x%'\nspace_left_action='syslog'").contains("neither a number of MiB nor like"));
        assert!(error("space_left='100%'\nspace_left_action='syslog'").contains("`100%`"));
        assert!(error("space_left=5").contains("`space_left` and `space_left_action` belong together"));
        assert!(error("disk_full_action='email'").contains("cannot be email"));
        assert!(error("disk_error_action='rotate'").contains("cannot be rotate"));
        assert!(error("disk_error_action='exec tidy'").contains("absolute path"));
        assert!(error("disk_error_action='panic'").contains("`panic` is no action"));
        assert!(error("action_mail_acct='a b'").contains("no mail address"));
    }

    #[test]
    fn amounts() {
        assert_eq!(Space::Mib(3).bytes(0), 3 << 20);
        assert_eq!(Space::Percent(25).bytes(4000), 1000);
    }
}
