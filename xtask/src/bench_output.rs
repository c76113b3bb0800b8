//! `cargo xtask bench output`: how fast events are written and logs are searched, on this machine.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::cmd;
use crate::vm::packages;
use crate::workspace::Workspace;

/// Options of `cargo xtask bench output`.
#[derive(clap::Args)]
pub struct Args {
    /// Write the figures to FILE, so that runs can be compared
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Measure nothing but the search
    #[arg(long)]
    search: bool,
}

/// `cargo xtask bench output`.
pub fn main(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    if let Err(error) = packages::audit(workspace) {
        eprintln!("warning: no ausearch to compare with: {error:#}");
    }
    let mut bench = workspace.cargo("bench");
    bench.args(["--quiet", "--package", "auditd-bpf", "--bench", "output"]);
    if args.search {
        bench.args(["--", "search"]);
    }
    let said = cmd::step("measuring, optimised", || cmd::output(&mut bench))?;
    let figures: Value = serde_json::from_str(said.trim()).context("the bench printed no JSON")?;
    print!("{}", table(&figures).context("a figure is missing")?);
    if let Some(file) = &args.json {
        let json = serde_json::to_string_pretty(&figures)? + "\n";
        fs::write(file, json).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn table(figures: &Value) -> Option<String> {
    // A `String` takes whatever is written.
    let mut text = String::new();
    let formats = figures["formats"].as_array()?;
    if !formats.is_empty() {
        let _ = writeln!(text, "{:<20}{:<8}{:>12}{:>8}{:>14}", "one core", "", "events/s", "MB/s", "bytes/event");
    }
    for row in formats {
        let figure = |name: &str| row[name].as_f64();
        let _ = writeln!(
            text,
            "{:<20}{:<8}{:>12.0}{:>8.0}{:>14.1}",
            row["format"].as_str()?,
            row["compression"].as_str()?,
            figure("events_per_second")?,
            figure("megabytes_per_second")?,
            figure("bytes_per_event")?
        );
    }
    let search = &figures["search"];
    let megabytes = search["log_bytes"].as_u64()? / 1_000_000;
    let heading = format!("search, {megabytes} MB, {} cores", search["cores"].as_u64()?);
    if !formats.is_empty() {
        text.push('\n');
    }
    let _ = writeln!(text, "{heading:<32}{:>8}{:>10}{:>8}", "s", "ausearch", "");
    for row in search["queries"].as_array()? {
        let theirs = row["ausearch_seconds"].as_f64().map_or_else(|| "?".to_owned(), |seconds| format!("{seconds:.3}"));
        let times = row["times"].as_f64().map_or_else(String::new, |times| format!("{times:.1}x"));
        let _ = writeln!(text, "{:<32}{:>8.3}{theirs:>10}{times:>8}", row["query"].as_str()?, row["seconds"].as_f64()?);
    }
    Some(text)
}

#[cfg(test)]
mod test {
    use serde_json::json;

    use super::*;

    #[test]
    fn figures_make_a_table() {
        let figures = json!({
            "formats": [{"format": "json", "compression": "gzip", "events_per_second": 150_000.0,
                         "megabytes_per_second": 90.0, "bytes_per_event": 58.25}],
            "search": {"log_bytes": 256_000_000, "cores": 2, "queries": [
                {"query": "-k x", "seconds": 0.04, "ausearch_seconds": 0.8, "times": 20.0},
                {"query": "-p 1", "seconds": 0.04, "ausearch_seconds": null, "times": null}]}
        });
        let text = table(&figures).unwrap();
        let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[1], ["json", "gzip", "150000", "90", "58.2"]);
        assert_eq!(rows[4], ["-k", "x", "0.040", "0.800", "20.0x"]);
        assert_eq!(rows[5], ["-p", "1", "0.040", "?"]);
        assert!(table(&json!({})).is_none());
        let search_alone = json!({ "formats": [], "search": { "log_bytes": 1_000_000, "cores": 2, "queries": [] } });
        assert!(table(&search_alone).unwrap().starts_with("search, 1 MB, 2 cores"));
    }
}
