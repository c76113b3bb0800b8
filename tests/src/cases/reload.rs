//! SIGHUP: the configuration again. What the daemon records of signals, and of whom it says they came.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::child;
use crate::daemon::wait_for;
use crate::event::Event;
use crate::harness::Alone;
use crate::place::Place;
use crate::session::{Session, file_output, private_file};

pub const CASES: &[Alone] = &[Alone::new("reload_reads_the_configuration_again", configuration)];

const OPEN: &str = "-a always,exit -F arch=b64 -S openat -F path={dir}/f -F key={key}";
const RELOAD_TIME: Duration = Duration::from_secs(60);

fn plain(path: &Path, format: &str) -> String {
    let path = path.display();
    format!(
        "[[output]]\ntype = \"file\"\nformat = \"{format}\"\npath = \"{path}\"\ncompression = \"none\"\nflush_ms = 20\n"
    )
}

/// The records of a plain log; none where one segment has ended and the next has not begun.
fn json_lines(path: &Path) -> Result<Vec<Event>> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        read => read.with_context(|| format!("cannot read {}", path.display()))?,
    };
    text.lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .map(|record| Ok(Event::new(record)))
        .collect()
}

fn of_type<'a>(records: &'a [Event], record_type: &str) -> Vec<&'a Event> {
    records.iter().filter(|event| event.get("type") == record_type).collect()
}

fn configuration(place: &Place) -> Result<()> {
    let path = |name: &str| PathBuf::from(format!("/var/log/audit/{}-{name}", place.name));
    let [log, changed, added] = ["log.json.gz", "changed", "added"].map(path);
    let first = file_output(&log);
    place.file("f")?;
    let before = format!("{first}{}", plain(&changed, "json"));
    let mut session = Session::start_with(place.name, &place.rules(OPEN), &before, &log)?;
    let open = |session: &mut Session| {
        child::run(|| fs::read(place.path("f")).map(drop).context("cannot read"))?;
        session.settle()
    };
    let said =
        |session: &Session, what: &str| wait_for(what, RELOAD_TIME, || Ok(session.said().contains(what).then_some(())));
    open(&mut session)?;

    private_file(place.name, "toml", &format!("{first}{}{}", plain(&changed, "text"), plain(&added, "json")))?;
    session.reload()?;
    said(&session, "outputs: 1 as before, 1 changed, 1 new, 0 closed")?;
    open(&mut session)?;

    // Neither what cannot be read nor what cannot be opened changes anything.
    private_file(place.name, "toml", &format!("{first}[[output]]\ntype = \"nonsense\"\n"))?;
    session.reload()?;
    said(&session, "unknown variant `nonsense`")?;
    private_file(place.name, "toml", &format!("{first}{}", plain(&changed.join("in-a-file"), "json")))?;
    session.reload()?;
    wait_for("the second refusal", RELOAD_TIME, || {
        Ok((session.said().matches("all stays as it was").count() == 2).then_some(()))
    })?;
    open(&mut session)?;

    let reloads = of_type(session.records(), "DAEMON_CONFIG");
    let told: Vec<_> = reloads.iter().map(|event| (event.get("success"), &event.get("details")["state"])).collect();
    let (yes, no) = ((json!(true), json!("changed")), (json!(false), json!("no-change")));
    ensure!(told == [(&yes.0, &yes.1), (&no.0, &no.1), (&no.0, &no.1)], "{told:?}");
    let ours = json!({"pid": std::process::id(), "uid": 0});
    reloads.iter().try_for_each(|event| event.is(&ours))?;
    let start = of_type(session.records(), "DAEMON_START");
    let kernel = crate::sys::kernel_release()?;
    ensure!(
        start[0].get("details")["format"] == "json" && start[0].get("details")["kernel"] == *kernel,
        "{}",
        start[0]
    );

    session.signal(Signal::SIGUSR1)?;
    wait_for("the rotation", RELOAD_TIME, || {
        Ok((!of_type(&json_lines(&added)?, "DAEMON_ROTATE").is_empty()).then_some(()))
    })?;
    session.stop()?;
    let rest = json_lines(&added)?;
    for record_type in ["DAEMON_ROTATE", "DAEMON_END"] {
        of_type(&rest, record_type).first().with_context(|| format!("no {record_type}"))?.is(&ours)?;
    }
    // One opening before the change, two after it.
    let lines = all_segments(&changed)?;
    let opened = lines.lines().filter(|line| line.contains(place.name) && line.contains("/f"));
    let (as_json, as_text): (Vec<_>, Vec<_>) = opened.partition(|line| line.starts_with('{'));
    ensure!((as_json.len(), as_text.len()) == (1, 2), "openings as JSON and as text: {as_json:?} {as_text:?}");
    Ok(())
}

/// A plain log with the segments that ended.
fn all_segments(path: &Path) -> Result<String> {
    let name = path.file_name().and_then(|name| name.to_str()).context("no name")?;
    let mut all = String::new();
    for entry in fs::read_dir(path.parent().context("no directory")?)? {
        let path = entry?.path();
        let own = path.file_name().is_some_and(|file| file.to_string_lossy().starts_with(name));
        if own && path.extension().is_none_or(|extension| extension != "sha256") {
            all.push_str(&fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?);
        }
    }
    Ok(all)
}
