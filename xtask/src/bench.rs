//! `cargo xtask bench`: what auditd-bpf costs beside the kernel's own audit, in guests whose clock counts instructions.
//!
//! Machines of the same kind run the same calls: one without any audit, and for each set of rules (none, the 35 of
//! `bench/stig-like.rules`, those and more) one with auditd-bpf and one with `audit=1` and Debian's auditd. `bench/session.sh` measures in the guest. The bare
//! machine boots without any audit parameter, because tasks keep the slow path once audit was enabled.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value, json};

use crate::vm::{Clock, End, Guest, Kernel, packages};
use crate::workspace::Workspace;
use crate::{bench_output, bench_rules, build, cmd, setup};

/// Options of `cargo xtask bench`.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    what: Option<What>,
    /// The guests' kernel: 6.1, 6.12, 7.3 or a longer version prefix
    #[arg(long, default_value = "6.12")]
    kernel: String,
    /// Events of the matched workload
    #[arg(long, value_name = "N", default_value_t = 2000)]
    events: u32,
    /// Sets of rules: `none`, `stig` (35 rules), a number of rules, of which these are the first, `watches` (the watches among
    /// the 35), or `deny`, the same as rules that refuse
    #[arg(long, value_name = "SET,...", value_delimiter = ',', default_value = "none,stig,400,1024")]
    rules: Vec<String>,
    /// What to measure beside the bare machine
    #[arg(long, value_enum, value_delimiter = ',', default_value = "auditd-bpf,kernel-audit")]
    of: Vec<Kind>,
    /// Write the figures to FILE, so that runs can be compared
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Use the optimised binaries that are there instead of building them first
    #[arg(long)]
    no_build: bool,
}

#[derive(clap::Subcommand)]
enum What {
    /// Measure how long a full rule set takes from text to plan
    Rules(bench_rules::Args),
    /// Measure how fast events are written in each format, and logs searched beside ausearch
    Output(bench_output::Args),
}

/// Where the bench's files lie in a guest.
const GUEST_BENCH: &str = "/usr/share/auditd-bpf/bench";
/// Booting and starting the daemon take minutes where each instruction is counted.
const GUEST_TIME: Duration = Duration::from_secs(15 * 60);
/// Room for a log, and for auditd's idea of how much should be free.
const SCRATCH_MB: u64 = 512;

/// Sets of rules that are alike but that one refuses; the kernel's audit has no such rules.
const WATCHES: &str = "watches";
const DENY: &str = "deny";

/// What is measured, and its name in figures.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    #[value(skip)]
    Bare,
    AuditdBpf,
    KernelAudit,
}

const KINDS: [Kind; 3] = [Kind::Bare, Kind::AuditdBpf, Kind::KernelAudit];

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::AuditdBpf => "auditd-bpf",
            Self::KernelAudit => "kernel-audit",
        }
    }
}

/// `cargo xtask bench`.
pub fn main(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    match &args.what {
        Some(What::Rules(args)) => return bench_rules::main(workspace, args),
        Some(What::Output(args)) => return bench_output::main(workspace, args),
        None => {}
    }
    setup::guest_tools()?;
    if !args.no_build {
        build::release(workspace)?;
        let mut workload = workspace.cargo("build");
        workload.args(["--release", "--package", "guest-tests", "--bin", "workload"]);
        cmd::step("the workload, optimised", || cmd::run(&mut workload))?;
    }
    let kernel = Kernel::find(workspace, &args.kernel)?;
    let audit = packages::audit(workspace)?;
    let guest = Guest::new(kernel)
        .add(workspace.binary("release", "workload"), "/usr/bin/workload")
        .add(workspace.root.join("xtask/bench"), GUEST_BENCH)
        .memory("2G")
        .scratch(SCRATCH_MB)
        .clock(Clock::Instructions)
        .timeout(GUEST_TIME);
    let guest_of = |kind| match kind {
        Kind::Bare => guest.clone(),
        Kind::AuditdBpf => guest.clone().add(workspace.binary("release", "auditd-bpf"), "/usr/bin/auditd-bpf"),
        Kind::KernelAudit => audit.add_to(guest.clone()).append("audit=1"),
    };
    let session = |kind: Kind, set: &str| {
        let what = format!("measuring: {}, rules: {set}", kind.name());
        cmd::step(&what, || measure(&guest_of(kind), kind, args.events, set))
    };
    let bare = session(Kind::Bare, "none")?;
    let mut tables = Vec::new();
    for set in &args.rules {
        let mut figures = vec![(Kind::Bare, bare.clone())];
        for kind in args.of.iter().filter(|kind| **kind == Kind::AuditdBpf || set != DENY) {
            figures.push((*kind, session(*kind, set)?));
        }
        let table = Table { kernel: args.kernel.clone(), rules: set.clone(), figures };
        print!("{table}");
        tables.push(table);
        // What is measured is not lost if a later guest fails.
        if let Some(file) = &args.json {
            let json = Value::Array(tables.iter().map(Table::json).collect());
            let json = serde_json::to_string_pretty(&json)? + "\n";
            fs::write(file, json).with_context(|| format!("cannot write {}", file.display()))?;
        }
    }
    print!("{NOTES}{}", refusing(&tables));
    Ok(ExitCode::SUCCESS)
}

/// What rules that refuse cost beside the same ones that record, if both were measured.
fn refusing(tables: &[Table]) -> String {
    let of = |set: &str| tables.iter().find(|table| table.rules == set);
    let Some((deny, watches)) = of(DENY).zip(of(WATCHES)) else { return String::new() };
    let calls = ROWS.iter().filter(|(_, _, against)| matches!(against, Against::Bare));
    let rows = calls.map(|(name, text, _)| {
        let [deny, watches] = [deny, watches].map(|table| table.get(Kind::AuditdBpf, name));
        format!("{text:<28}{:>9}\n", ratio(deny, watches))
    });
    format!(
        "\nCalls that no rule matches, with rules that refuse beside the same ones that record:\n{}",
        rows.collect::<String>()
    )
}

fn measure(guest: &Guest, kind: Kind, events: u32, rules: &str) -> Result<Figures> {
    let script = format!("{GUEST_BENCH}/session.sh");
    let mut said = Vec::new();
    let end = guest.run(&["sh", &script, kind.name(), &events.to_string(), rules], &mut said, io::stderr())?;
    match end {
        End::Exited(0) => {}
        End::Exited(status) => bail!("the session in the guest ended with status {status}"),
        End::TimedOut => bail!("the guest took longer than {}", cmd::duration(GUEST_TIME)),
        End::Died(why) => bail!("the guest went down\n{why}"),
    }
    let figures = Figures::parse(&String::from_utf8_lossy(&said))?;
    if rules != "none" {
        figures.check_complete(kind, events)?;
    }
    Ok(figures)
}

/// What a session in a guest measured, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Figures(BTreeMap<String, i64>);

impl Figures {
    fn parse(lines: &str) -> Result<Self> {
        let figure = |line: &str| {
            let (name, value) = line.trim_end().split_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        };
        let figures = lines.lines().map(|line| figure(line).with_context(|| format!("not a figure: {line}")));
        figures.collect::<Result<_>>().map(Self)
    }

    /// Figures of events that are not all in the log would flatter.
    fn check_complete(&self, kind: Kind, events: u32) -> Result<()> {
        if kind == Kind::Bare {
            return Ok(());
        }
        let (logged, lost) = (self.get("logged"), self.get("lost"));
        ensure!(
            logged == Some(events.into()) && lost == Some(0),
            "{}: of {events} events {} are in the log, and {} were lost",
            kind.name(),
            shown(logged),
            shown(lost)
        );
        Ok(())
    }

    fn get(&self, name: &str) -> Option<i64> {
        self.0.get(name).copied()
    }
}

fn shown(figure: Option<i64>) -> String {
    figure.map_or_else(|| "?".to_owned(), |figure| figure.to_string())
}

/// How a row's figures compare.
#[derive(Clone, Copy)]
enum Against {
    /// With the bare machine.
    Bare,
    /// Kernel audit's with auditd-bpf's, where a bare machine has none.
    AuditdBpf,
}

/// Rows of the table: the figure's name, its text, and what it is compared with.
const ROWS: [(&str, &str, Against); 15] = [
    ("getppid", "getppid", Against::Bare),
    ("access", "access", Against::Bare),
    ("open_close", "open + close", Against::Bare),
    ("open_write_close", "open for writing + close", Against::Bare),
    ("read_write", "write + read of 4 KiB", Against::Bare),
    ("fork_exec", "fork + exec", Against::Bare),
    ("connect", "connect on loopback", Against::Bare),
    ("tar", "tar of 96 files", Against::Bare),
    ("matched_caller", "matched event: caller", Against::AuditdBpf),
    ("matched_all", "matched event: all tasks", Against::AuditdBpf),
    ("log_bytes", "matched event: bytes of log", Against::AuditdBpf),
    ("json_bytes", "  before compression", Against::AuditdBpf),
    ("idle_second", "idle, per second", Against::AuditdBpf),
    ("resident_kib", "daemon resident, KiB", Against::AuditdBpf),
    ("table_bytes", "kernel tables, bytes", Against::AuditdBpf),
];

/// What one has to know to read the table.
const NOTES: &str = "
Calls that no rule matches: instructions each, and times bare.
Matched events: an open for writing of a watched file and its close, always the same one, which compresses better than a
mixed log. Instructions of the caller alone, and of all tasks until the log is on disk, less what they do when idle; the
ratio is kernel-audit to auditd-bpf. None was lost, all are in the log.
";

/// All figures.
struct Table {
    kernel: String,
    rules: String,
    figures: Vec<(Kind, Figures)>,
}

impl Table {
    fn get(&self, kind: Kind, name: &str) -> Option<i64> {
        self.figures.iter().find(|(of, _)| *of == kind).and_then(|(_, figures)| figures.get(name))
    }

    fn json(&self) -> Value {
        let mut object = Map::new();
        object.insert("kernel".to_owned(), json!(self.kernel));
        object.insert("rules".to_owned(), json!(self.rules));
        for (kind, figures) in &self.figures {
            object.insert(kind.name().to_owned(), json!(figures.0));
        }
        Value::Object(object)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let events = self.get(Kind::AuditdBpf, "events").map(grouped).unwrap_or_default();
        writeln!(f, "\nLinux {}, rules: {}, {events} matched events", self.kernel, self.rules)?;
        let heads = KINDS.map(Kind::name);
        writeln!(f, "{:<28}{:>10}{:>12}{:>9}{:>14}", "", heads[0], heads[1], "", heads[2])?;
        for (name, text, against) in ROWS {
            let [bare, ours, kernel] = KINDS.map(|kind| self.get(kind, name));
            let (our_ratio, kernel_ratio) = match against {
                Against::Bare => (ratio(ours, bare), ratio(kernel, bare)),
                Against::AuditdBpf => (String::new(), ratio(kernel, ours)),
            };
            let [bare, ours, kernel] = [bare, ours, kernel].map(|figure| figure.map(grouped).unwrap_or_default());
            let row = format!("{text:<28}{bare:>10}{ours:>12}{our_ratio:>9}{kernel:>14}{kernel_ratio:>9}");
            writeln!(f, "{}", row.trim_end())?;
        }
        Ok(())
    }
}

fn ratio(figure: Option<i64>, to: Option<i64>) -> String {
    match (figure, to) {
        (Some(figure), Some(to)) if to > 0 => format!("{:.2}x", figure as f64 / to as f64),
        _ => String::new(),
    }
}

/// 1234567 as 1,234,567.
fn grouped(figure: i64) -> String {
    let digits = figure.unsigned_abs().to_string();
    let mut text = if figure < 0 { "-".to_owned() } else { String::new() };
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod test {
    use super::*;

    fn figures(lines: &str) -> Figures {
        Figures::parse(lines).unwrap()
    }

    #[test]
    fn anything_but_figures_in_a_session_s_output_is_an_error() {
        assert_eq!(figures("getppid 389\r\naccess 3372\n").get("access"), Some(3372));
        for line in ["getppid", "getppid many", "a b 3"] {
            assert!(Figures::parse(line).unwrap_err().to_string().contains(line), "{line}");
        }
    }

    #[test]
    fn lost_or_missing_events_spoil_the_measurement() {
        let complete = |lines| figures(lines).check_complete(Kind::AuditdBpf, 10);
        complete("logged 10\nlost 0").unwrap();
        let error = complete("logged 9\nlost 1").unwrap_err().to_string();
        assert!(error.contains("of 10 events 9 are in the log, and 1 were lost"), "{error}");
        assert!(complete("lost 0").is_err());
        figures("").check_complete(Kind::Bare, 10).unwrap();
    }

    #[test]
    fn rules_that_refuse_are_compared_with_those_that_record() {
        let table = |rules: &str, lines: &str| Table {
            kernel: "6.12".to_owned(),
            rules: rules.to_owned(),
            figures: vec![(Kind::AuditdBpf, figures(lines))],
        };
        let tables = [table("watches", "open_close 5000\ntar 100"), table("deny", "open_close 5100\ntar 100")];
        let text = refusing(&tables);
        assert!(text.lines().any(|line| line.split_whitespace().eq(["open", "+", "close", "1.02x"])), "{text}");
        assert_eq!(refusing(&tables[..1]), "");
    }

    #[test]
    fn table_compares_calls_with_bare_and_events_with_each_other() {
        let table = Table {
            kernel: "6.12".to_owned(),
            rules: "stig".to_owned(),
            figures: vec![
                (Kind::Bare, figures("open_close 5000")),
                (Kind::AuditdBpf, figures("open_close 5400\nmatched_all 20000")),
                (Kind::KernelAudit, figures("open_close 7900\nmatched_all 244000")),
            ],
        };
        let text = table.to_string();
        let words = |start: &str| {
            let line = text.lines().find(|line| line.starts_with(start)).unwrap();
            line.split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(words("open + close"), "open + close 5,000 5,400 1.08x 7,900 1.58x");
        assert_eq!(words("matched event: all"), "matched event: all tasks 20,000 244,000 12.20x");
        assert_eq!(table.json()["kernel-audit"]["matched_all"], 244_000);
    }

    #[test]
    fn figures_are_grouped_by_thousands() {
        assert_eq!([0, 999, 1000, 1_234_567, -1500].map(grouped), ["0", "999", "1,000", "1,234,567", "-1,500"]);
    }
}
