//! The configuration file, `auditd-bpf.toml`. Every key is described in `packaging/auditd-bpf.toml`.

mod kernel;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use output::OutputConfig;
use output::config::FileConfig;
use rules::Dialect;
use serde::de::{Error, IgnoredAny};
use serde::{Deserialize, Deserializer, Serialize};
use toml::Spanned;

use crate::auditd_conf::{self, AUDITD_CONF, AuditdConf, AuditdConfError, Mistake, Notice};
use crate::control::DEFAULT_SOCKET;
use crate::guard::Protect;
use crate::metrics::MetricsConfig;
use crate::rule_files::DEFAULT_RULES;

pub use kernel::{CallEndsChoice, KernelConfig, ModeChoice, PollMillis, RingBytes, UserMessagesChoice};

/// Where the configuration is looked for when nothing else is said.
pub const DEFAULT_CONFIG: &str = "/etc/audit/auditd-bpf.toml";

/// The log of those who configure nothing.
const DEFAULT_LOG: &str = "/var/log/audit/audit.json.gz";

/// What the daemon is told.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `rules`: a rule file, or a directory of `*.rules`. Default `/etc/audit/rules.d`.
    pub rules: PathBuf,
    /// `node`: the name of this machine in records. Default: its host name.
    pub node: String,
    /// `control_socket`: where auditctl and augenrules reach the daemon. Default `/run/auditd-bpf/control.sock`.
    #[serde(deserialize_with = "absolute")]
    pub control_socket: PathBuf,
    /// `watch_rules`: read the rules again when they change on disk. Default false.
    pub watch_rules: bool,
    /// `enforce`: whether `deny` and `kill` refuse, or only tell what they would refuse. Default true.
    pub enforce: bool,
    /// `fail`: what becomes of acts that rules without `-F fail=` cannot decide about, or that cannot be recorded: `"open"`, they are let
    /// through; `"closed"`, they are refused. Default: closed for rules that refuse, and with `-f 2` for all; open for others.
    pub fail: Option<FailName>,
    /// `probation_s`: seconds after which new rules go again, unless `auditctl --confirm` says that they may stay. Default 0: they stay.
    pub probation_s: u64,
    /// `persist`: whether a daemon that is told to end leaves its rules in force, and events waiting, for the next one. One that is
    /// killed does so in any case. Default false.
    pub persist: bool,
    /// `protect`: what nobody but the daemon may touch. Default nothing.
    pub protect: Vec<Protect>,
    /// `protect_locked`: the same, while `-e 2` is in force. Default [`Protect::LOCKED`].
    pub protect_locked: Vec<Protect>,
    /// `auditd_conf`: whether `/etc/audit/auditd.conf` says what the log is, beside the `[[output]]` tables. Default false; true
    /// where there is no `auditd-bpf.toml`, but an `auditd.conf`.
    pub auditd_conf: bool,
    /// `dialect`: which auditctl `auditctl -l` prints like, `"3"` (3.0.9) or `"4"`. Default `"4"`.
    pub dialect: DialectName,
    /// `[metrics]`. Default: none.
    pub metrics: Option<MetricsConfig>,
    /// `[kernel]`.
    pub kernel: KernelConfig,
    /// `[[output]]` tables. Default: one gzip file of JSON lines, `/var/log/audit/audit.json.gz`.
    #[serde(rename = "output")]
    pub outputs: Vec<OutputConfig>,
}

/// What becomes of acts that cannot be decided about or recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FailName {
    /// They are let through.
    Open,
    /// They are refused.
    Closed,
}

/// Which auditctl to print like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
pub enum DialectName {
    /// 3.0.9
    #[serde(rename = "3")]
    #[value(name = "3")]
    V3,
    /// 4.x
    #[default]
    #[serde(rename = "4")]
    #[value(name = "4")]
    V4,
}

impl From<DialectName> for Dialect {
    fn from(name: DialectName) -> Self {
        match name {
            DialectName::V3 => Self::V3,
            DialectName::V4 => Self::V4,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            rules: PathBuf::from(DEFAULT_RULES),
            node: host_name(),
            control_socket: PathBuf::from(DEFAULT_SOCKET),
            watch_rules: false,
            enforce: true,
            fail: None,
            probation_s: 0,
            persist: false,
            protect: Vec::new(),
            protect_locked: Protect::LOCKED.to_vec(),
            auditd_conf: false,
            dialect: DialectName::default(),
            metrics: None,
            kernel: KernelConfig::default(),
            outputs: vec![OutputConfig::File(FileConfig::new(PathBuf::from(DEFAULT_LOG)))],
        }
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}: {source}; correct the path after --config, or leave --config out to use {DEFAULT_CONFIG}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not what it should be.
    #[error("{}:{line}:{column}: {message}\n    {excerpt}\n    {}^\n    hint: packaging/auditd-bpf.toml, the sample, describes every key", path.display(), " ".repeat(column.saturating_sub(1)))]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// 1-based.
        line: usize,
        /// 1-based, in characters.
        column: usize,
        /// What is wrong.
        message: String,
        /// The line.
        excerpt: String,
    },
    /// auditd's own configuration cannot be used.
    #[error(transparent)]
    Auditd(#[from] AuditdConfError),
}

impl Config {
    /// Reads the file that was named, or the default one. Where that is missing, auditd's configuration holds, or else the
    /// built-in one, and the log says so.
    ///
    /// # Errors
    /// If the file cannot be read, or is wrong.
    pub fn load(named: Option<&Path>) -> Result<Self, ConfigError> {
        Self::load_beside(auditd_conf::running_auditd(), named)
    }

    /// The same for those who only read the logs that it names: auditd's own may be being written.
    ///
    /// # Errors
    /// If the file cannot be read, or is wrong.
    pub fn load_to_read(named: Option<&Path>) -> Result<Self, ConfigError> {
        // Beside auditd a daemon without a file writes its own log, if it ever ran so.
        let writes_own = named.is_none() && !Path::new(DEFAULT_CONFIG).exists() && Path::new(DEFAULT_LOG).exists();
        Self::load_beside(auditd_conf::running_auditd().filter(|_| writes_own), named)
    }

    /// Beside the auditd that runs.
    fn load_beside(running: Option<u32>, named: Option<&Path>) -> Result<Self, ConfigError> {
        let path = named.unwrap_or(Path::new(DEFAULT_CONFIG));
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(path, &text)?.with_auditd_conf(&text, Path::new(AUDITD_CONF), running),
            Err(source) if named.is_none() && source.kind() == io::ErrorKind::NotFound => {
                Ok(Self::built_in(Path::new(AUDITD_CONF), running)?)
            }
            Err(source) => Err(ConfigError::Unreadable { path: path.to_path_buf(), source }),
        }
    }

    /// The directories of its file outputs, each once.
    #[must_use]
    pub fn log_directories(&self) -> Vec<PathBuf> {
        let mut directories = Vec::new();
        for output in &self.outputs {
            let OutputConfig::File(file) = output else { continue };
            let directory = file.path.parent().unwrap_or(Path::new("/")).to_path_buf();
            if !directories.contains(&directory) {
                directories.push(directory);
            }
        }
        directories
    }

    /// Without an `auditd-bpf.toml`: the log that auditd.conf asks for, if auditd is not there to write it.
    fn built_in(auditd: &Path, running: Option<u32>) -> Result<Self, AuditdConfError> {
        let mut config = Self::default();
        match running {
            _ if !auditd.exists() => {}
            Some(pid) => tracing::info!("auditd is running (pid {pid}): its log stays its own"),
            None => {
                tracing::info!("{DEFAULT_CONFIG} is not there: using {}", auditd.display());
                let (node, outputs) = told(auditd)?;
                return Ok(Self { auditd_conf: true, node, outputs, ..config });
            }
        }
        config.auditd_conf = false;
        let outputs: Vec<_> = config.outputs.iter().map(OutputConfig::name).collect();
        tracing::info!("{DEFAULT_CONFIG} is not there: using the built-in configuration, {}", outputs.join(", "));
        Ok(config)
    }

    /// With the log of auditd.conf, if the file asks for it: before the outputs of its own, if it has any.
    fn with_auditd_conf(mut self, text: &str, auditd: &Path, running: Option<u32>) -> Result<Self, ConfigError> {
        #[derive(Deserialize)]
        struct Written {
            node: Option<IgnoredAny>,
            output: Option<IgnoredAny>,
        }
        if !self.auditd_conf {
            return Ok(self);
        }
        if let Some(pid) = running {
            return Err(AuditdConfError::Live { path: auditd.to_path_buf(), pid }.into());
        }
        let (node, outputs) = told(auditd)?;
        // It was read before.
        let written = toml::from_str(text).unwrap_or(Written { node: None, output: None });
        if written.node.is_none() {
            self.node = node;
        }
        let own = std::mem::replace(&mut self.outputs, outputs);
        if written.output.is_some() {
            self.outputs.extend(own);
        }
        Ok(self)
    }

    /// This configuration in the place of another that is in force: keys that count only at the start stay as they were.
    /// Returns which of those are different.
    #[must_use]
    pub fn behind(self, before: &Self) -> (Self, Vec<&'static str>) {
        let poll_ms = self.kernel.poll_ms;
        let kernel = KernelConfig { poll_ms, ..before.kernel };
        let waiting = [
            ("control_socket", self.control_socket != before.control_socket),
            ("[metrics]", self.metrics != before.metrics),
            ("[kernel]", self.kernel != kernel),
        ];
        let waiting = waiting.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect();
        let (control_socket, metrics) = (before.control_socket.clone(), before.metrics.clone());
        (Self { control_socket, metrics, kernel, ..self }, waiting)
    }

    /// The default configuration file for others than the daemon: nothing if it is missing, unreadable or wrong, which is for
    /// the daemon to say.
    #[must_use]
    pub fn peek() -> Option<Self> {
        let text = fs::read_to_string(DEFAULT_CONFIG).ok()?;
        toml::from_str(&text).ok()
    }

    fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        toml::from_str(text).map_err(|error| malformed(path, text, &error))
    }
}

/// Name of this machine and outputs by auditd.conf. What does not happen as it says, the log tells.
fn told(path: &Path) -> Result<(String, Vec<OutputConfig>), AuditdConfError> {
    let conf = AuditdConf::load(path)?;
    let outputs = conf.outputs();
    let outputs = outputs.map_err(|message| AuditdConfError::malformed(path, Mistake { line: None, message }))?;
    for notice in conf.notices() {
        match notice {
            Notice::Note(text) => tracing::info!("{}: {text}", path.display()),
            Notice::Warning(text) => tracing::warn!("{}: {text}", path.display()),
        }
    }
    Ok((conf.node(), outputs))
}

fn malformed(path: &Path, text: &str, error: &toml::de::Error) -> ConfigError {
    let (at, message) =
        culprit(text).unwrap_or_else(|| (error.span().map_or(0, |span| span.start), error.message().to_owned()));
    // The error's place is a boundary in this very text.
    let before = text.get(..at).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line_text = text.get(line_start..).unwrap_or_default().lines().next().unwrap_or_default();
    ConfigError::Malformed {
        path: path.to_path_buf(),
        line: before.matches('\n').count() + 1,
        column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
        message,
        excerpt: line_text.replace(|character: char| character.is_control(), " "),
    }
}

/// Place and message of a mistake in an `[[output]]` table. serde reads such a table twice, first for its type, and loses
/// the places of its keys. The key that is to blame is the one without which the message is another.
fn culprit(text: &str) -> Option<(usize, String)> {
    #[derive(Deserialize)]
    struct Tables {
        output: Vec<toml::Table>,
    }
    #[derive(Deserialize)]
    struct Places {
        output: Vec<BTreeMap<Spanned<String>, IgnoredAny>>,
    }
    let message = |table: &toml::Table| {
        let read = OutputConfig::deserialize(toml::Value::Table(table.clone()));
        read.err().map(|error| error.message().to_owned())
    };
    let tables = toml::from_str::<Tables>(text).ok()?.output;
    let places = toml::from_str::<Places>(text).ok()?.output;
    let (table, keys) = tables.iter().zip(places).find(|(table, _)| message(table).is_some())?;
    let problem = message(table)?;
    let key = keys.into_keys().find(|key| {
        let mut rest = table.clone();
        rest.remove(key.get_ref());
        message(&rest).as_ref() != Some(&problem)
    })?;
    let at = key.span().start;
    let key = key.into_inner();
    Some((at, if problem.contains(&key) { problem } else { format!("{key}: {problem}") }))
}

fn absolute<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    let path = PathBuf::deserialize(deserializer)?;
    if path.is_absolute() { Ok(path) } else { Err(D::Error::custom(format!("`{}` must be absolute", path.display()))) }
}

/// Name of this machine.
pub(crate) fn host_name() -> String {
    nix::unistd::gethostname().map_or_else(|_| "localhost".to_owned(), |name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(Path::new("a.toml"), text).map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_written_means_the_defaults() {
        let config = parse("").unwrap();
        assert_eq!(config, Config::default());
        assert_eq!(config.rules, Path::new("/etc/audit/rules.d"));
        assert_eq!(config.outputs[0].name(), "file:/var/log/audit/audit.json.gz");
        assert_eq!(config.kernel.ring_buffer_bytes.get(), 8 << 20);
        assert_eq!(config.kernel.poll_ms.duration(), Duration::from_millis(20));
    }

    #[test]
    fn the_sample_is_valid_and_shows_the_defaults() {
        let sample = include_str!("../../packaging/auditd-bpf.toml");
        assert_eq!(parse(sample).unwrap(), Config::default());
        // Every key that is commented out is one that would be taken.
        let uncommented: String = sample
            .lines()
            .map(|line| line.strip_prefix("#:").map_or(line, |key| key.trim_start()))
            .flat_map(|line| [line, "\n"])
            .collect();
        let config = parse(&uncommented).unwrap();
        let kinds: Vec<_> = config.outputs.iter().map(OutputConfig::name).collect();
        assert_eq!(
            kinds,
            [
                "file:/var/log/audit/audit.json.gz",
                "syslog:unix:/dev/log",
                "syslog:tls://loghost.example.org:6514",
                "nats:nats://bus.example.org:4222/audit",
                "kafka:kafka1.example.org:9093,kafka2.example.org:9093/audit",
                "otlp:https://collector.example.org:4318",
                "plugins:/etc/audit/plugins.d",
                "stdout"
            ]
        );
    }

    #[test]
    fn mistakes_are_shown_where_they_are() {
        for (text, expected) in [
            ("rule = '/etc'", "a.toml:1:1: unknown field `rule`"),
            (
                "node = 'x'\n[kernel]\nring_buffer_bytes = 1000000",
                "a.toml:3:21: ring_buffer_bytes must be a power of two",
            ),
            ("[kernel]\npoll_ms = 0", "a.toml:2:11: "),
            ("[kernel]\npoll_ms = 5000", "a.toml:2:11: poll_ms must be from 1 to 1000"),
            ("[kernel]\n  ring_bytes = 1", "a.toml:2:3: unknown field `ring_bytes`"),
            ("node = ", "a.toml:1:8: "),
            ("control_socket = 'x.sock'", "a.toml:1:18: `x.sock` must be absolute"),
            ("[metrics]\nlisten = '10.0.0.1:9090'", "a.toml:2:10: `10.0.0.1:9090` is no loopback address"),
            ("dialect = '5'", "a.toml:1:11: unknown variant `5`"),
            ("node = 'ä' 'b'", "a.toml:1:12: "),
            ("[[output]]\ntype = 'pigeon'", "a.toml:2:1: type: unknown variant `pigeon`"),
            (
                "node='x'\n[[output]]\ntype = 'file'\npath = '/a'\ncompresion = 'gzip'",
                "a.toml:5:1: unknown field `compresion`",
            ),
            ("[[output]]\ntype='stdout'\n[[output]]\nqueue = 1", "a.toml:3:1: missing field `type`"),
            (
                "[[output]]\ntype='stdout'\n[[output]]\nqueue=1\nqueue_bytes=0\ntype='stdout'",
                "a.toml:5:1: queue_bytes: invalid value",
            ),
            ("[[output]]\ntype = 'file'\npath = 'a'", "a.toml:3:1: path `a` must be absolute"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.starts_with(expected), "{error}");
            assert!(error.contains("hint: "), "{error}");
        }
    }

    #[test]
    fn a_caret_stands_under_the_mistake() {
        let error = parse("[kernel]\nring_buffer_bytes = 1000000").unwrap_err();
        let lines: Vec<_> = error.lines().collect();
        assert_eq!(lines[1], "    ring_buffer_bytes = 1000000");
        assert_eq!(lines[2].find('^'), Some(4 + 20));
        assert!(lines[0].ends_with("for example 1048576"), "{error}");
    }

    fn names(config: &Config) -> Vec<String> {
        config.outputs.iter().map(OutputConfig::name).collect()
    }

    /// What auditd.conf says counts only where root owns it.
    #[test]
    fn auditds_configuration_holds_where_it_is_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let auditd = dir.path().join("auditd.conf");
        let beside = |text: &str, running| {
            parse(text).unwrap().with_auditd_conf(text, &auditd, running).map_err(|error| error.to_string())
        };
        let load = |text: &str| beside(text, None);
        let built_in = ["file:/var/log/audit/audit.json.gz"];
        assert_eq!(names(&Config::built_in(&auditd, None).unwrap()), built_in);
        assert!(beside("auditd_conf = true", Some(7)).unwrap_err().contains("auditd is running (pid 7)"));
        assert!(load("auditd_conf = true").unwrap_err().contains("Error opening config file"));
        let plugins = "plugin_dir = /nonexistent";
        fs::write(&auditd, format!("log_file = /srv/log/a.log\nname_format = user\nname = web1\n{plugins}\n")).unwrap();
        assert_eq!(names(&load("").unwrap()), built_in, "not asked for");
        if !nix::unistd::geteuid().is_root() {
            assert!(load("auditd_conf = true").unwrap_err().contains("isn't owned by root"));
            return;
        }
        let config = load("auditd_conf = true").unwrap();
        assert_eq!((names(&config), config.node.as_str()), (vec!["file:/srv/log/a.log".to_owned()], "web1"));
        let config = load("auditd_conf = true\nnode = 'db1'\n[[output]]\ntype = 'stdout'").unwrap();
        assert_eq!((names(&config).join(" "), config.node.as_str()), ("file:/srv/log/a.log stdout".to_owned(), "db1"));
        assert_eq!(names(&Config::built_in(&auditd, None).unwrap()), ["file:/srv/log/a.log"]);
        assert_eq!(Config::built_in(&auditd, None).unwrap().log_directories(), [Path::new("/srv/log")]);
        assert_eq!(names(&Config::built_in(&auditd, Some(7)).unwrap()), built_in, "auditd writes its own");
        fs::write(&auditd, "\nlog_format = json\n").unwrap();
        let message = load("auditd_conf = true").unwrap_err();
        assert!(message.contains("auditd.conf:2: option json not found"), "{message}");
    }

    #[test]
    fn what_counts_at_the_start_waits_for_the_next() {
        let before = parse("control_socket = '/a'").unwrap();
        let after = parse("control_socket = '/b'\nnode = 'n'\n[kernel]\npoll_ms = 5\nmode = 'syscall'").unwrap();
        let (config, waiting) = after.behind(&before);
        assert_eq!(waiting, ["control_socket", "[kernel]"]);
        assert_eq!((config.control_socket.as_path(), config.node.as_str()), (Path::new("/a"), "n"));
        assert_eq!((config.kernel.mode, config.kernel.poll_ms.duration().as_millis()), (ModeChoice::Auto, 5));
        assert_eq!(config.clone().behind(&config), (config, Vec::new()));
    }

    #[test]
    fn a_file_that_was_named_must_be_there() {
        let error = Config::load(Some(Path::new("/nonexistent/a.toml"))).unwrap_err().to_string();
        assert!(error.starts_with("cannot read the configuration /nonexistent/a.toml: No such file"), "{error}");
        assert!(error.contains("--config"));
    }
}
