//! `cargo xtask bench rules`: how long a full rule set takes from text to plan, on this machine.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::cmd;
use crate::workspace::Workspace;

/// Options of `cargo xtask bench rules`.
#[derive(clap::Args)]
pub struct Args {
    /// Write the figures to FILE, so that runs can be compared
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// `cargo xtask bench rules`.
pub fn main(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    let mut bench = workspace.cargo("bench");
    bench.args(["--quiet", "--package", "rules", "--bench", "rules"]);
    let said = cmd::step("measuring, optimised", || cmd::output(&mut bench))?;
    let figures: Value = serde_json::from_str(said.trim()).context("the bench printed no JSON")?;
    println!("{}", sentence(&figures).context("a figure is missing")?);
    if let Some(file) = &args.json {
        let json = serde_json::to_string_pretty(&figures)? + "\n";
        fs::write(file, json).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn sentence(figures: &Value) -> Option<String> {
    let figure = |name: &str| figures.get(name)?.as_f64();
    Some(format!(
        "{} rules: parsed and checked in {:.1} ms, planned in {:.1} ms; {:.0} rules/s",
        figure("rules")?,
        figure("check_ms")?,
        figure("plan_ms")?,
        figure("rules_per_second")?
    ))
}

#[cfg(test)]
mod test {
    use serde_json::json;

    use super::*;

    #[test]
    fn figures_make_a_sentence() {
        let figures =
            json!({"rules": 1024, "check_ms": 9.05, "plan_ms": 4.0, "total_ms": 13.05, "rules_per_second": 78467.4});
        let expected = "1024 rules: parsed and checked in 9.1 ms, planned in 4.0 ms; 78467 rules/s";
        assert_eq!(sentence(&figures).unwrap(), expected);
        assert!(sentence(&json!({"rules": 1024})).is_none());
    }
}
