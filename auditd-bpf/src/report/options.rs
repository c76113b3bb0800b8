//! Options of `auditd-bpf report`: aureport's.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeZone};
use clap::{ArgGroup, Args};
use output::report::{Detail, Kind, ReportOptions, Spelling};

use crate::logs::Unnamed;
use crate::search::time::{End, TimeError, instant};

/// Options of `auditd-bpf report`.
#[derive(Debug, Args)]
#[command(disable_help_flag = true, args_override_self = true, group = ArgGroup::new("report").multiple(false))]
#[expect(clippy::struct_excessive_bools, reason = "the command line's")]
pub struct ReportArgs {
    /// Authentication; -au
    #[arg(long, group = "report")]
    auth: bool,
    /// Refusals of SELinux
    #[arg(short, long, group = "report")]
    avc: bool,
    /// Names of tasks
    #[arg(long, group = "report")]
    comm: bool,
    /// Changes of configuration
    #[arg(short, long = "config", group = "report")]
    config_changes: bool,
    /// Cryptography; -cr
    #[arg(long, group = "report")]
    crypto: bool,
    /// All events
    #[arg(short, long, group = "report")]
    event: bool,
    /// Files and sockets
    #[arg(short, long, group = "report")]
    file: bool,
    /// Other machines
    #[arg(short = 'h', long, group = "report")]
    host: bool,
    /// Integrity of files
    #[arg(long, group = "report")]
    integrity: bool,
    /// Keys of rules
    #[arg(short, long, group = "report")]
    key: bool,
    /// Logins
    #[arg(short, long, group = "report")]
    login: bool,
    /// Changes of accounts
    #[arg(short, long, group = "report")]
    mods: bool,
    /// Mandatory access control; -ma
    #[arg(long, group = "report")]
    mac: bool,
    /// Anomalies
    #[arg(short = 'n', long, group = "report")]
    anomaly: bool,
    /// Processes
    #[arg(short, long, group = "report")]
    pid: bool,
    /// Responses to anomalies
    #[arg(short, long, group = "report")]
    response: bool,
    /// System calls
    #[arg(short, long, group = "report")]
    syscall: bool,
    /// From when to when each log goes
    #[arg(short = 't', long, group = "report", conflicts_with = "summary")]
    log: bool,
    /// Terminals; -tm
    #[arg(long, group = "report")]
    terminal: bool,
    /// Login users
    #[arg(short, long, group = "report")]
    user: bool,
    /// Virtual machines
    #[arg(long, group = "report")]
    virt: bool,
    /// Executables
    #[arg(short = 'x', long, group = "report")]
    executable: bool,
    /// Write a page with charts of everything to FILE: it needs nothing else, and shows in any browser
    #[arg(long, value_name = "FILE", group = "report", conflicts_with = "summary")]
    html: Option<PathBuf>,
    /// How often each thing occurs, the most frequent first
    #[arg(long)]
    summary: bool,
    /// Only of acts that failed
    #[arg(long, conflicts_with = "success")]
    failed: bool,
    /// Only of acts that succeeded
    #[arg(long)]
    success: bool,
    /// Names instead of numbers
    #[arg(short, long)]
    interpret: bool,
    /// Leave out changes of rules and settings; -nc
    #[arg(long)]
    no_config: bool,
    /// Only of that machine; may be given several times
    #[arg(long, value_name = "NAME")]
    pub(super) node: Vec<String>,
    /// Last moment: a date, a time, both, or a word such as now, yesterday, this-week; -te
    #[arg(long, value_names = ["DATE", "TIME"], num_args = 1..=2)]
    end: Vec<String>,
    /// First moment; -ts
    #[arg(long, value_names = ["DATE", "TIME"], num_args = 1..=2)]
    start: Vec<String>,
    /// Log to read instead of the daemon's, or a directory of logs; - is standard input; -if
    #[arg(long, value_name = "FILE|DIR")]
    pub(super) input: Vec<PathBuf>,
    /// Read the daemon's logs even where standard input is a pipe
    #[arg(long, conflicts_with = "input")]
    input_logs: bool,
    /// Configuration that names the daemon's logs [default: /etc/audit/auditd-bpf.toml]
    #[arg(long, value_name = "FILE")]
    pub(super) configuration: Option<PathBuf>,
    /// Print help
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
}

/// aureport's options of two letters, which clap cannot spell.
const TWO_LETTERS: [(&str, &str); 8] = [
    ("-au", "--auth"),
    ("-cr", "--crypto"),
    ("-if", "--input"),
    ("-ma", "--mac"),
    ("-nc", "--no-config"),
    ("-te", "--end"),
    ("-tm", "--terminal"),
    ("-ts", "--start"),
];

/// Arguments of `report` with aureport's two-letter options in their long form.
pub(crate) fn long_options(arguments: &mut [OsString]) {
    for argument in arguments {
        if let Some((_, long)) = TWO_LETTERS.iter().find(|(short, _)| argument == short) {
            *argument = long.into();
        }
    }
}

/// What is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted<'a> {
    /// aureport's text.
    Text(ReportOptions),
    /// When each log begins and ends.
    LogTimes,
    /// A page of charts, of what these select.
    Page(&'a Path, ReportOptions),
}

impl ReportArgs {
    /// # Errors
    /// If a time is none.
    pub(super) fn wanted<Z: TimeZone>(&self, now: &DateTime<Z>) -> Result<Wanted<'_>, TimeError> {
        if self.log {
            return Ok(Wanted::LogTimes);
        }
        let time = |words: &[String], end| (!words.is_empty()).then(|| instant(words, end, now)).transpose();
        let options = ReportOptions {
            kind: self.kind(),
            detail: if self.summary { Detail::Summary } else { Detail::Rows },
            spelling: if self.interpret { Spelling::Names } else { Spelling::Numbers },
            success: if self.failed { Some(false) } else { self.success.then_some(true) },
            from: time(&self.start, End::Start)?,
            to: time(&self.end, End::Stop)?,
            without_config: self.no_config,
        };
        Ok(match &self.html {
            Some(file) => Wanted::Page(file, options),
            None => Wanted::Text(options),
        })
    }

    pub(super) fn unnamed(&self) -> Unnamed {
        if self.input_logs { Unnamed::Own } else { Unnamed::Piped }
    }

    fn kind(&self) -> Kind {
        let chosen = [
            (self.auth, Kind::Authentication),
            (self.avc, Kind::Avc),
            (self.comm, Kind::Command),
            (self.config_changes, Kind::Config),
            (self.crypto, Kind::Crypto),
            (self.event, Kind::Event),
            (self.file, Kind::File),
            (self.host, Kind::Host),
            (self.integrity, Kind::Integrity),
            (self.key, Kind::Key),
            (self.login, Kind::Login),
            (self.mods, Kind::Accounts),
            (self.mac, Kind::Mac),
            (self.anomaly, Kind::Anomaly),
            (self.pid, Kind::Process),
            (self.response, Kind::Response),
            (self.syscall, Kind::Syscall),
            (self.terminal, Kind::Terminal),
            (self.user, Kind::User),
            (self.virt, Kind::Virtual),
            (self.executable, Kind::Executable),
        ];
        chosen.into_iter().find(|(given, _)| *given).map_or(Kind::Totals, |(_, kind)| kind)
    }
}
