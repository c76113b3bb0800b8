//! `type = "plugins"`, and the files of auditd's `plugins.d`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use serde::Deserialize;

use super::{FailureAction, FilterConfig, FormatName, QueueLimits, format, limits};
use crate::format::Format;

/// auditd's `q_depth`.
const QUEUE: NonZeroUsize = NonZeroUsize::new(2000).unwrap();

/// `type = "plugins"`: each active plugin of a directory is an output of its own.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RawPluginsConfig")]
pub struct PluginsConfig {
    /// `path`: a directory with `*.conf` files, or one such file. Default `/etc/audit/plugins.d`.
    pub path: PathBuf,
    /// `enriched` and `with_node`.
    pub format: Format,
    /// `max_restarts`: how often a plugin that ended is started again. Default 10, as auditd's.
    pub max_restarts: u32,
    /// `overflow_action`: when the queue of a plugin is full. Default `syslog`, as auditd's.
    pub overflow_action: FailureAction,
    /// `filter`.
    pub filter: FilterConfig,
    /// `queue` (default 2000, as auditd's `q_depth`) and `queue_bytes`, of each plugin.
    pub limits: QueueLimits,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPluginsConfig {
    path: Option<PathBuf>,
    enriched: Option<bool>,
    with_node: Option<bool>,
    max_restarts: Option<u32>,
    overflow_action: Option<FailureAction>,
    #[serde(default)]
    filter: FilterConfig,
    queue: Option<NonZeroUsize>,
    queue_bytes: Option<NonZeroUsize>,
}

impl TryFrom<RawPluginsConfig> for PluginsConfig {
    type Error = String;

    fn try_from(raw: RawPluginsConfig) -> Result<Self, String> {
        let path = raw.path.unwrap_or_else(|| PathBuf::from("/etc/audit/plugins.d"));
        if !path.is_absolute() {
            return Err(format!("path `{}` must be absolute", path.display()));
        }
        let overflow_action = raw.overflow_action.unwrap_or(FailureAction::Syslog);
        if let FailureAction::Rotate | FailureAction::Email | FailureAction::Exec(_) = overflow_action {
            return Err(format!("`overflow_action` cannot be {}", overflow_action.name()));
        }
        Ok(Self {
            path,
            format: format(FormatName::Native, raw.enriched, raw.with_node)?,
            max_restarts: raw.max_restarts.unwrap_or(10),
            overflow_action,
            filter: raw.filter,
            limits: limits(raw.queue.or(Some(QUEUE)), raw.queue_bytes),
        })
    }
}

/// A file of `plugins.d`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PluginSpec {
    pub(crate) active: bool,
    pub(crate) path: String,
    pub(crate) kind: PluginKind,
    pub(crate) args: Vec<String>,
    pub(crate) layout: Layout,
}

/// `type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PluginKind {
    /// A program that reads records from its standard input.
    Always,
    /// `builtin_af_unix`.
    Builtin,
}

/// `format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Lines.
    String,
    /// A `struct audit_dispatcher_header` before each record.
    Binary,
}

impl PluginSpec {
    /// Reads `keyword = value` lines as auditd does: keywords and words in any case, `#` begins a comment line.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (path, args) = (String::new(), Vec::new());
        let mut spec = Self { active: false, path, kind: PluginKind::Always, args, layout: Layout::String };
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (keyword, value) = line.split_once('=').ok_or(format!("line {number}: no `=`"))?;
            spec.set(keyword.trim(), value.trim()).map_err(|problem| format!("line {number}: {problem}"))?;
        }
        if spec.path.is_empty() { Err("`path` is missing".to_owned()) } else { Ok(spec) }
    }

    fn set(&mut self, keyword: &str, value: &str) -> Result<(), String> {
        let word = value.to_ascii_lowercase();
        let unknown = |words: &str| Err(format!("`{keyword}` is {words}, not `{value}`"));
        match (keyword.to_ascii_lowercase().as_str(), word.as_str()) {
            ("active", "yes") => self.active = true,
            ("active", "no") => self.active = false,
            ("active", _) => return unknown("yes or no"),
            ("direction", "out") => {}
            // No plugin was ever seen that feeds records in.
            ("direction", _) => return unknown("out"),
            ("path", _) => value.clone_into(&mut self.path),
            ("type", "always") => self.kind = PluginKind::Always,
            ("type", "builtin") => self.kind = PluginKind::Builtin,
            ("type", _) => return unknown("always or builtin"),
            ("args", _) => self.args = value.split_whitespace().map(str::to_owned).collect(),
            ("format", "string") => self.layout = Layout::String,
            ("format", "binary") => self.layout = Layout::Binary,
            ("format", _) => return unknown("string or binary"),
            _ => return Err(format!("unknown keyword `{keyword}`")),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_auditd_reads_it() {
        let text = "# comment\n\nactive = YES\ndirection = out\nPath = /sbin/p\ntype = always\nargs = 1  two\nformat = Binary\n";
        let args = vec!["1".to_owned(), "two".to_owned()];
        let (path, kind, layout) = ("/sbin/p".to_owned(), PluginKind::Always, Layout::Binary);
        assert_eq!(PluginSpec::parse(text), Ok(PluginSpec { active: true, path, kind, args, layout }));
        let inactive = PluginSpec::parse("path = builtin_af_unix\ntype = builtin").unwrap();
        assert_eq!((inactive.active, inactive.kind, inactive.layout), (false, PluginKind::Builtin, Layout::String));
    }

    #[test]
    fn mistakes_have_their_line() {
        let error = |text| PluginSpec::parse(text).unwrap_err();
        assert_eq!(error("active = yes"), "`path` is missing");
        assert_eq!(error("path = /p\nactive = perhaps"), "line 2: `active` is yes or no, not `perhaps`");
        assert_eq!(error("path /p"), "line 1: no `=`");
        assert_eq!(error("pathh = /p"), "line 1: unknown keyword `pathh`");
        assert_eq!(error("direction = in"), "line 1: `direction` is out, not `in`");
    }
}
