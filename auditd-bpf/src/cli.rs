//! The command line.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::auditctl;
use crate::augenrules;
use crate::check::{self, Output};
use crate::config::{Config, ConfigError, DEFAULT_CONFIG, DialectName};
use crate::convert::{self, ConvertOptions};
use crate::daemon;
use crate::doctor;
use crate::exit_code::ExitCode;
use crate::explain::{self, Format, KernelFacts};
use crate::fmt;
use crate::host_facts::HostFacts;
use crate::keeper::{self, Role};
use crate::kernel::btf::KernelTypes;
use crate::logging;
use crate::mode::Mode;
use crate::release;
use crate::replay;
use crate::report::{self, ReportArgs};
use crate::rule_files::DEFAULT_RULES;
use crate::search::{self, SearchOptions};
use crate::status;
use crate::verify;

/// Audits with BPF LSM: auditctl's rules, decided in the kernel, one JSON record per event
#[derive(Debug, Parser)]
#[command(name = "auditd-bpf", version, about, after_help = exit_statuses())]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Audit until SIGTERM or SIGINT, in the foreground; needs root
    Daemon(DaemonOptions),
    /// Try everything that auditing needs of this host; tell what is missing and what to do
    Doctor(DoctorOptions),
    /// Find everything that is wrong with rules; loads nothing, needs no root
    Check(CheckOptions),
    /// Tell of each rule what it attaches to, when its fields are decided, what it costs, what this kernel cannot do of it
    Explain(ExplainOptions),
    /// Print rules in one spelling, or write them back; comments and meaning stay
    Fmt(FmtOptions),
    /// Write logs, ours or auditd's, in another format
    Convert(ConvertOptions),
    /// Find events in logs, ours or auditd's, by ausearch's options (also those of two letters, such as -ts); also by the program name `ausearch`
    Search(Box<SearchOptions>),
    /// Show events as they come to the daemon's log, or another, by the options of search
    Tail(Box<SearchOptions>),
    /// Add up what happened in logs, ours or auditd's, by aureport's options; also by the program name `aureport`
    Report(Box<ReportArgs>),
    /// Compare logs with the digests beside them; tell what was removed, reordered or edited
    Verify(VerifyOptions),
    /// Ask the running daemon what it has seen, written and lost; needs root
    Status(StatusOptions),
    /// Take out of force what a daemon left that was killed or has `persist`, where none is to take over; needs root
    Release(ReleaseOptions),
    /// Ask the running daemon, as auditctl does: rules, status, settings; also by the program name `auditctl`
    #[command(disable_help_flag = true)]
    Ctl(Words),
    /// Merge /etc/audit/rules.d into /etc/audit/audit.rules; also by the program name `augenrules`
    #[command(disable_help_flag = true)]
    Augenrules(Words),
}

/// Arguments that another parser reads.
#[derive(Debug, Args)]
struct Words {
    /// As for that program
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTION")]
    words: Vec<OsString>,
}

/// Options of `auditd-bpf daemon`.
#[derive(Clone, Debug, Default, Args)]
pub struct DaemonOptions {
    /// Rule file, or directory of *.rules [default: `rules` of the configuration, else /etc/audit/rules.d]
    #[arg(long, value_name = "FILE|DIR")]
    pub rules: Option<PathBuf>,
    /// Configuration file; the default one may be missing [default: /etc/audit/auditd-bpf.toml]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Take new rules back after this time, unless `auditctl --confirm` says that they may stay: a number with s, m or h [default: `probation_s` of the configuration]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub probation: Option<Duration>,
    /// Load rules that refuse what the first process must do
    #[arg(long)]
    pub force: bool,
}

impl DaemonOptions {
    /// The configuration that is named, with the rules that are.
    ///
    /// # Errors
    /// If it cannot be read, or is wrong.
    pub fn configuration(&self) -> Result<Config, ConfigError> {
        let mut config = Config::load(self.config.as_deref())?;
        if let Some(rules) = &self.rules {
            config.rules.clone_from(rules);
        }
        if let Some(time) = self.probation {
            config.probation_s = time.as_secs();
        }
        Ok(config)
    }
}

#[derive(Debug, Args)]
struct VerifyOptions {
    /// Directories of logs [default: those of the file outputs in the configuration]
    #[arg(value_name = "DIR")]
    directories: Vec<PathBuf>,
}

#[derive(Debug, Args)]
struct ReleaseOptions {
    /// Configuration file of that daemon; the default one may be missing [default: /etc/audit/auditd-bpf.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct StatusOptions {
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct DoctorOptions {
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
    /// Configuration file, of which `mode` is heeded; the default one may be missing [default: /etc/audit/auditd-bpf.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct CheckOptions {
    /// Rule files, directories of *.rules, or - for standard input
    #[arg(value_name = "FILE|DIR", default_value = DEFAULT_RULES)]
    paths: Vec<PathBuf>,
    /// Print the findings as a JSON array on standard output
    #[arg(long, conflicts_with = "list")]
    json: bool,
    /// Print what `auditctl -l` would print if the rules were loaded
    #[arg(long)]
    list: bool,
    /// Which auditctl to list like: that of audit 3.0 or of 4.x
    #[arg(long, requires = "list", value_name = "VERSION", default_value = "4")]
    dialect: DialectName,
    /// List names for some numbers, as `auditctl -l -i` does
    #[arg(long, short, requires = "list")]
    interpret: bool,
}

#[derive(Debug, Args)]
struct ExplainOptions {
    /// Print a JSON array with an object for each rule; with --replay an object on each line
    #[arg(long)]
    json: bool,
    /// Tell instead which acts in this log, ours or auditd's, the rules would have refused; may be given more than once; - is standard input
    #[arg(long, value_name = "LOG")]
    replay: Vec<PathBuf>,
    /// Where rules would be decided [default: what the kernel's lsm list allows]
    #[arg(long, value_enum)]
    mode: Option<Mode>,
    /// Rule files, directories of *.rules, or - for standard input
    #[arg(value_name = "FILE|DIR", default_value = DEFAULT_RULES)]
    paths: Vec<PathBuf>,
}

#[derive(Debug, Args)]
struct FmtOptions {
    /// Rule files, directories of *.rules, or - for standard input
    #[arg(value_name = "FILE|DIR", required = true)]
    paths: Vec<PathBuf>,
    /// Print only the names of files that are not in that spelling, and fail if there are any
    #[arg(long, conflicts_with = "write")]
    check: bool,
    /// Write the files instead of printing them, and print the names of those that changed
    #[arg(long)]
    write: bool,
}

/// The command line, for its man pages.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// Does what the command line says.
#[must_use]
pub fn main() -> std::process::ExitCode {
    let mut arguments: Vec<_> = std::env::args_os().collect();
    let (name, words) =
        arguments.split_first().map_or((OsStr::new(""), &[][..]), |(name, words)| (name.as_os_str(), words));
    match Path::new(name).file_name().and_then(OsStr::to_str) {
        Some("auditctl") => return run_auditctl(words),
        Some("augenrules") => return run_augenrules(&name.to_string_lossy(), words),
        Some("ausearch") => arguments.insert(1, "search".into()),
        Some("aureport") => arguments.insert(1, "report".into()),
        _ => {}
    }
    spell_out(&mut arguments);
    logging::start();
    let (mut out, mut err) = (io::stdout().lock(), io::stderr());
    let done = match Cli::parse_from(arguments).command {
        // The lock on standard output would keep its sink waiting.
        Command::Daemon(options) => {
            drop(out);
            return run_daemon(&options);
        }
        Command::Ctl(words) => {
            drop(out);
            return run_auditctl(&words.words);
        }
        Command::Augenrules(words) => {
            drop(out);
            return run_augenrules("augenrules", &words.words);
        }
        Command::Doctor(options) => run_doctor(&options, &mut out),
        Command::Check(options) => check::run(&options.paths, options.output(), &HostFacts, &mut out, &mut err),
        Command::Convert(options) => convert::run(&options, &mut out, &mut err),
        Command::Search(options) => search::run(&options, &mut out, &mut err),
        Command::Tail(options) => search::tail(&options, &mut out, &mut err),
        Command::Report(options) => report::run(&options, &mut out, &mut err),
        Command::Verify(options) => verify::run_on(&options.directories, &mut out, &mut err),
        Command::Fmt(options) => fmt::run(&options.paths, options.mode(), &mut out, &mut err),
        Command::Status(options) => {
            let format = if options.json { status::Format::Json } else { status::Format::Text };
            status::run(format, &mut out, &mut err)
        }
        Command::Release(options) => run_release(&options, &mut out, &mut err),
        Command::Explain(options) => run_explain(&options, &mut out, &mut err),
    };
    done.and_then(|code| out.flush().map(|()| code)).unwrap_or_else(|error| cannot_answer(&error)).into()
}

/// Options of two letters in their long form.
fn spell_out(arguments: &mut [OsString]) {
    if let [_, command, words @ ..] = arguments {
        match command.to_str() {
            Some("search" | "tail") => search::long_options(words),
            Some("report") => report::long_options(words),
            _ => {}
        }
    }
}

fn run_auditctl(arguments: &[OsString]) -> std::process::ExitCode {
    let (mut out, mut err) = (io::stdout().lock(), io::stderr());
    let done = auditctl::run(arguments, &mut out, &mut err);
    exit(done.and_then(|status| out.flush().map(|()| status)))
}

fn run_augenrules(name: &str, arguments: &[OsString]) -> std::process::ExitCode {
    let (mut out, mut err) = (io::stdout().lock(), io::stderr());
    let done = augenrules::run(name, arguments, &augenrules::Files::default(), &mut out, &mut err);
    exit(done.and_then(|status| out.flush().map(|()| status)))
}

/// With a status of the original programs.
fn exit(done: io::Result<u8>) -> std::process::ExitCode {
    done.map_or_else(|error| cannot_answer(&error).into(), std::process::ExitCode::from)
}

fn run_daemon(options: &DaemonOptions) -> std::process::ExitCode {
    // Before the configuration, which others may not be allowed to read.
    if let Err(refusal) = doctor::require_root() {
        tracing::error!("{refusal}");
        return refusal.exit_code().into();
    }
    let config = match options.configuration() {
        Ok(config) => config,
        Err(error) => {
            tracing::error!("{error}");
            return ExitCode::BadConfiguration.into();
        }
    };
    let (config, kept) = match keeper::keep(options, config) {
        Ok(Role::Daemon { config, kept }) => (*config, kept),
        Ok(Role::Keeper { status }) => return status.into(),
        Err(error) => {
            tracing::error!("{error}");
            return ExitCode::Failure.into();
        }
    };
    match daemon::run(options, config, kept) {
        Ok(()) => ExitCode::Success.into(),
        Err(error) => {
            tracing::error!("{error}");
            error.exit_code().into()
        }
    }
}

fn run_doctor(options: &DoctorOptions, out: &mut dyn Write) -> io::Result<ExitCode> {
    let config = options.config.clone().or_else(|| Some(DEFAULT_CONFIG.into()).filter(|path: &PathBuf| path.exists()));
    let wanted = match config.map(|path| Config::load(Some(&path))).transpose() {
        Ok(config) => config.and_then(|config| config.kernel.mode.fixed()),
        Err(error) => {
            tracing::warn!("the configuration is left out of account: {error}");
            None
        }
    };
    let report = doctor::probe(wanted);
    if options.json {
        writeln!(out, "{}", report.to_json()?)?;
    } else {
        writeln!(out, "{report}")?;
    }
    Ok(report.exit_code())
}

fn run_release(options: &ReleaseOptions, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<ExitCode> {
    if let Err(refusal) = doctor::require_root() {
        writeln!(err, "{refusal}")?;
        return Ok(refusal.exit_code());
    }
    match Config::load(options.config.as_deref()) {
        Ok(config) => release::run(&config, out, err),
        Err(error) => {
            writeln!(err, "{error}")?;
            Ok(ExitCode::BadConfiguration)
        }
    }
}

fn run_explain(options: &ExplainOptions, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<ExitCode> {
    let format = if options.json { Format::Json } else { Format::Text };
    if !options.replay.is_empty() {
        return replay::run(&options.paths, &options.replay, format, &HostFacts, out, err);
    }
    // Rules may be explained where they cannot run: then nothing is said about the kernel.
    let types = KernelTypes::of_kernel().inspect_err(|error| tracing::warn!("{error}")).ok();
    let kernel = types.as_ref().map(|types| types as &dyn KernelFacts);
    let mode = options.mode.unwrap_or_else(doctor::likely_mode);
    explain::run(&options.paths, format, mode, &HostFacts, kernel, out, err)
}

/// A reader that has seen enough (`| head`) is no news; anything else is.
fn cannot_answer(error: &io::Error) -> ExitCode {
    if error.kind() != io::ErrorKind::BrokenPipe {
        tracing::error!("cannot write the answer: {error}");
    }
    ExitCode::Failure
}

fn exit_statuses() -> String {
    let rows = ExitCode::ALL.map(|code| format!("  {}  {}", code.status(), code.meaning()));
    format!(
        "Exit status:\n{}\n\nFiles:\n  {DEFAULT_CONFIG}\n  {DEFAULT_RULES}/*.rules\n\nEnvironment:\n  {}  \
         what to log: error, warn, info (default), debug, trace",
        rows.join("\n"),
        logging::LOG_VARIABLE
    )
}

impl CheckOptions {
    fn output(&self) -> Output {
        match (self.json, self.list, self.interpret) {
            (true, ..) => Output::Json,
            (_, true, false) => Output::List(self.dialect.into()),
            (_, true, true) => Output::Interpreted(self.dialect.into()),
            _ => Output::Findings,
        }
    }
}

impl FmtOptions {
    const fn mode(&self) -> fmt::Mode {
        match (self.check, self.write) {
            (true, _) => fmt::Mode::Check,
            (_, true) => fmt::Mode::Write,
            _ => fmt::Mode::Print,
        }
    }
}

#[cfg(test)]
mod tests {
    use rules::Dialect;

    use super::*;

    fn check_options(arguments: &[&str]) -> Result<CheckOptions, clap::Error> {
        let parsed = Cli::try_parse_from([&["auditd-bpf", "check"], arguments].concat())?;
        match parsed.command {
            Command::Check(options) => Ok(options),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_names_every_command_and_status() {
        let help = Cli::command().render_help().to_string();
        for text in [
            "daemon",
            "doctor",
            "check",
            "explain",
            "fmt",
            "convert",
            "search",
            "tail",
            "report",
            "verify",
            "status",
            "/etc/audit/auditd-bpf.toml",
            "AUDITD_BPF_LOG",
            "  6  an error in",
        ] {
            assert!(help.contains(text), "{text} is not in:\n{help}");
        }
    }

    #[test]
    fn what_check_prints() {
        assert_eq!(check_options(&["a"]).unwrap().output(), Output::Findings);
        assert_eq!(check_options(&["--json", "-"]).unwrap().output(), Output::Json);
        assert_eq!(check_options(&["--list"]).unwrap().output(), Output::List(Dialect::V4));
        assert_eq!(check_options(&["--list", "--dialect", "3"]).unwrap().output(), Output::List(Dialect::V3));
        assert_eq!(check_options(&["--list", "-i"]).unwrap().output(), Output::Interpreted(Dialect::V4));
        assert_eq!(check_options(&[]).unwrap().paths, [PathBuf::from("/etc/audit/rules.d")]);
        for wrong in [&["--list", "--json"][..], &["--dialect", "3"], &["--dialect", "2", "--list"]] {
            assert_eq!(check_options(wrong).unwrap_err().exit_code(), i32::from(ExitCode::BadArguments.status()));
        }
    }
}
