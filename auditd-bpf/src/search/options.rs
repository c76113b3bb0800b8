//! Options of `auditd-bpf search` and `tail`: ausearch's.

use std::ffi::OsString;
use std::path::PathBuf;

use chrono::{DateTime, TimeZone};
use clap::{Args, ValueEnum};
use nix::unistd::{Group, User};
use output::UNSET;
use output::search::{Call, Comparison, Groups, Layout, Query, Users};

use crate::logs::Unnamed;

use super::checkpoint::From;
use super::time::{End, TimeError, instant};

/// Options of `auditd-bpf search` and `tail`.
#[derive(Debug, Args)]
pub struct SearchOptions {
    /// Number of the event
    #[arg(short = 'a', long, value_name = "SERIAL")]
    event: Option<u64>,
    /// Pass over what was seen up to the checkpoint in FILE, and write the new one; see also --start checkpoint
    #[arg(long, value_name = "FILE")]
    pub(super) checkpoint: Option<PathBuf>,
    /// Name of the task
    #[arg(short, long)]
    comm: Option<String>,
    /// Return value of the call, or an errno by name: -13, EACCES
    #[arg(short, long, value_name = "EXIT", value_parser = exit, allow_hyphen_values = true)]
    exit: Option<i64>,
    /// A file or directory; the working directory and local sockets count too
    #[arg(short, long, value_name = "PATH")]
    file: Option<String>,
    /// Real or effective group, by name or number; ausearch's -ga
    #[arg(long, value_name = "GROUP", value_parser = group)]
    gid_all: Option<u32>,
    /// Effective group; -ge
    #[arg(long, value_name = "GROUP", value_parser = group)]
    gid_effective: Option<u32>,
    /// Real group; -gi
    #[arg(long, value_name = "GROUP", value_parser = group)]
    gid: Option<u32>,
    /// Name or address of another machine; -hn
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// Log to read instead of the daemon's, or a directory of logs; - is standard input; -if
    #[arg(long, value_name = "FILE|DIR")]
    pub(super) input: Vec<PathBuf>,
    /// Read the daemon's logs even where standard input is a pipe
    #[arg(long, conflicts_with = "input")]
    pub(super) input_logs: bool,
    /// Configuration that names the daemon's logs [default: /etc/audit/auditd-bpf.toml]
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// End after the first event
    #[arg(long)]
    pub(super) just_one: bool,
    /// Names for numbers, text for hexadecimal, in native records
    #[arg(short, long, conflicts_with_all = ["raw", "format"])]
    interpret: bool,
    /// Key of the rule
    #[arg(short, long)]
    key: Option<String>,
    /// Hand on each event when it is found
    #[arg(short, long)]
    pub(super) line_buffered: bool,
    /// Record types, by name or number, with commas between them; ALL for any
    #[arg(short, long, value_name = "TYPE", value_delimiter = ',', value_parser = record_type)]
    message: Vec<RecordType>,
    /// Name of the machine
    #[arg(short, long)]
    node: Option<String>,
    /// Process
    #[arg(short, long)]
    pid: Option<u32>,
    /// Parent process; -pp
    #[arg(long)]
    ppid: Option<u32>,
    /// The same as --format raw
    #[arg(short, long, conflicts_with = "format")]
    raw: bool,
    /// How to show events [default: default; of tail: text]
    #[arg(long, value_name = "FORMAT")]
    format: Option<FormatName>,
    /// System call, by name or number; -sc
    #[arg(long, value_name = "CALL", value_parser = call)]
    syscall: Option<Call>,
    /// Login session; -1 for none
    #[arg(long, value_parser = id, allow_hyphen_values = true)]
    session: Option<u32>,
    /// Whether the act succeeded; -sv
    #[arg(long, value_name = "yes|no", value_parser = success)]
    success: Option<bool>,
    /// Last moment: a date, a time, both, or a word such as now, yesterday, this-week; -te
    #[arg(long, value_names = ["DATE", "TIME"], num_args = 1..=2)]
    end: Vec<String>,
    /// First moment; -ts
    #[arg(long, value_names = ["DATE", "TIME"], num_args = 1..=2)]
    start: Vec<String>,
    /// Terminal; -tm
    #[arg(long, value_name = "TTY")]
    terminal: Option<String>,
    /// Real, effective or login user, by name or number; -ua
    #[arg(long, value_name = "USER", value_parser = user, allow_hyphen_values = true)]
    uid_all: Option<u32>,
    /// Effective user; -ue
    #[arg(long, value_name = "USER", value_parser = user, allow_hyphen_values = true)]
    uid_effective: Option<u32>,
    /// Real user; -ui
    #[arg(long, value_name = "USER", value_parser = user, allow_hyphen_values = true)]
    uid: Option<u32>,
    /// Login user; -1 or unset for none; -ul
    #[arg(long, value_name = "USER", value_parser = user, allow_hyphen_values = true)]
    loginuid: Option<u32>,
    /// Texts must be equal, not only be a part
    #[arg(short, long)]
    word: bool,
    /// Executable
    #[arg(short = 'x', long, value_name = "PATH")]
    executable: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum FormatName {
    /// A rule, the time, and native records, as ausearch shows them
    Default,
    /// Native records, for ausearch and its like to read
    Raw,
    /// A sentence
    Text,
    /// ausearch's columns
    Csv,
    /// The daemon's JSON records
    Json,
}

/// One of the types after `-m`.
#[derive(Clone, Debug, PartialEq, Eq)]
enum RecordType {
    Any,
    Named(String),
}

/// ausearch's options of two letters, which clap cannot spell.
const TWO_LETTERS: [(&str, &str); 15] = [
    ("-ga", "--gid-all"),
    ("-ge", "--gid-effective"),
    ("-gi", "--gid"),
    ("-hn", "--host"),
    ("-if", "--input"),
    ("-pp", "--ppid"),
    ("-sc", "--syscall"),
    ("-sv", "--success"),
    ("-te", "--end"),
    ("-tm", "--terminal"),
    ("-ts", "--start"),
    ("-ua", "--uid-all"),
    ("-ue", "--uid-effective"),
    ("-ui", "--uid"),
    ("-ul", "--loginuid"),
];

/// Arguments of `search` and `tail` with ausearch's two-letter options in their long form.
pub(crate) fn long_options(arguments: &mut [OsString]) {
    for argument in arguments {
        if let Some((_, long)) = TWO_LETTERS.iter().find(|(short, _)| argument == short) {
            *argument = long.into();
        }
    }
}

impl SearchOptions {
    /// What is searched for.
    ///
    /// # Errors
    /// If a time is none.
    pub(super) fn query<Z: TimeZone>(&self, now: &DateTime<Z>) -> Result<Query, TimeError> {
        let time = |words: &[String], end| (!words.is_empty()).then(|| instant(words, end, now)).transpose();
        let types = self.message.iter().map(|record_type| match record_type {
            RecordType::Any => None,
            RecordType::Named(name) => Some(name.clone()),
        });
        Ok(Query {
            from: if self.goes_on_from() == From::Time { None } else { time(&self.start, End::Start)? },
            to: time(&self.end, End::Stop)?,
            serial: self.event,
            node: self.node.clone(),
            record_types: types.collect::<Option<_>>().unwrap_or_default(),
            pid: self.pid,
            ppid: self.ppid,
            users: Users { uid: self.uid, euid: self.uid_effective, auid: self.loginuid, any: self.uid_all },
            groups: Groups { gid: self.gid, egid: self.gid_effective, any: self.gid_all },
            session: self.session,
            call: self.syscall.clone(),
            exit: self.exit,
            success: self.success,
            comm: self.comm.clone(),
            exe: self.executable.clone(),
            file: self.file.clone(),
            host: self.host.clone(),
            terminal: self.terminal.clone(),
            key: self.key.clone(),
            comparison: if self.word { Comparison::Whole } else { Comparison::Part },
        })
    }

    /// `--start checkpoint`, where there is one.
    pub(super) fn goes_on_from(&self) -> From {
        let of_time = self.checkpoint.is_some() && self.start == ["checkpoint"];
        if of_time { From::Time } else { From::Event }
    }

    pub(super) fn unnamed(&self) -> Unnamed {
        if self.input_logs { Unnamed::Own } else { Unnamed::Piped }
    }

    /// `None` where nothing is said.
    pub(super) fn layout(&self) -> Option<Layout> {
        Some(match self.format {
            _ if self.raw => Layout::Raw,
            _ if self.interpret => Layout::Interpreted,
            None => return None,
            Some(FormatName::Default) => Layout::Default,
            Some(FormatName::Raw) => Layout::Raw,
            Some(FormatName::Text) => Layout::Text,
            Some(FormatName::Csv) => Layout::Csv,
            Some(FormatName::Json) => Layout::Json,
        })
    }
}

fn id(text: &str) -> Result<u32, String> {
    match text {
        "-1" | "unset" => Ok(UNSET),
        _ => text.parse().map_err(|_| "neither a number nor unset".to_owned()),
    }
}

fn user(text: &str) -> Result<u32, String> {
    let named = || User::from_name(text).ok().flatten().map(|user| user.uid.as_raw());
    id(text).ok().or_else(named).ok_or_else(|| "neither a number nor a user of this machine".to_owned())
}

fn group(text: &str) -> Result<u32, String> {
    let named = || Group::from_name(text).ok().flatten().map(|group| group.gid.as_raw());
    id(text).ok().or_else(named).ok_or_else(|| "neither a number nor a group of this machine".to_owned())
}

/// With or without the sign, a name is an error that was returned.
fn exit(text: &str) -> Result<i64, String> {
    let named = || tables::errno_number(text.trim_start_matches('-')).map(|number| -i64::from(number));
    text.parse().ok().or_else(named).ok_or_else(|| "neither a number nor an errno".to_owned())
}

fn call(text: &str) -> Result<Call, String> {
    if let Ok(number) = text.parse() {
        return Ok(Call::Number(number));
    }
    let known = [tables::Arch::B64, tables::Arch::B32, tables::Arch::Aarch64];
    let known = known.iter().any(|arch| tables::syscalls::number(*arch, text).is_some());
    known.then(|| Call::Name(text.to_owned())).ok_or_else(|| "no system call has that name".to_owned())
}

fn success(text: &str) -> Result<bool, String> {
    match text {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err("yes or no".to_owned()),
    }
}

/// `LOST` is the daemon's own.
fn record_type(text: &str) -> Result<RecordType, String> {
    let number = text.parse().ok().or_else(|| tables::record_type_number(text));
    match (text.to_ascii_uppercase(), number) {
        (name, _) if name == "ALL" => Ok(RecordType::Any),
        (name, _) if name == "LOST" => Ok(RecordType::Named(name)),
        (_, Some(number)) => {
            let name = tables::record_type_name(number);
            Ok(RecordType::Named(name.map_or_else(|| format!("UNKNOWN[{number}]"), str::to_owned)))
        }
        _ => Err("no record type has that name".to_owned()),
    }
}
