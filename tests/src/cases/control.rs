//! `auditctl` and `augenrules` against a running daemon: answers and exit statuses, changes of rules and their records.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::unistd::Pid;
use serde_json::json;

use crate::child;
use crate::daemon::{Finished, PROGRAM, run, wait_for};
use crate::event::Event;
use crate::harness::Alone;
use crate::place::{BASE, Place};
use crate::session::{Session, file_output, is_loss, own_log};
use crate::sys::{BpfObjects, count_bpf};

pub const CASES: &[Alone] = &[
    Alone::new("control_answers_like_auditctl", answers),
    Alone::new("control_rule_files", rule_files),
    Alone::new("control_disabled_rules_wait", disabled),
    Alone::new("control_enforces_or_rehearses", enforce),
    Alone::new("control_takes_back_what_nobody_confirms", probation),
    Alone::new("control_locked_rules_stay", locked),
    Alone::new("control_reloads_miss_and_double_nothing", reloads_under_load),
    Alone::new("control_reloads_leave_nothing_behind", reloads_leak_nothing),
    Alone::new("control_watches_rule_files", watched_rules),
    Alone::new("control_socket_is_one_daemon_s_and_root_s", socket),
    Alone::new("control_augenrules_loads", augenrules),
];

const SOCKET: &str = "/run/auditd-bpf/control.sock";
const IMMUTABLE: &str = "The audit system is in immutable mode, no rule changes allowed\n";
const BAD_PARAMETERS: &str = "There was an error while processing parameters\n";
/// A rule on one call of one file: to attach to each call takes time.
const OPEN: &str = "-a always,exit -F arch=b64 -S openat -F path={dir}/f -F key={key}";
const RULE_TIME: Duration = Duration::from_secs(60);

/// The program under another name, as distributions install it.
fn named(name: &str, arguments: &[&str]) -> Result<Finished> {
    run(Command::new(PROGRAM).arg0(format!("/usr/sbin/{name}")).args(arguments))
}

/// Words between spaces; a file name in these cases has none.
pub fn auditctl(line: &str) -> Result<Finished> {
    let words: Vec<_> = line.split(' ').collect();
    named("auditctl", &words)
}

/// What it prints when all is well.
fn prints(line: &str) -> Result<String> {
    let finished = auditctl(line)?;
    finished.ended_with(0).with_context(|| format!("auditctl {line}"))?;
    Ok(finished.stdout)
}

fn refuses(line: &str, status: i32, stderr: &str) -> Result<()> {
    let finished = auditctl(line)?;
    finished.ended_with(status).with_context(|| format!("auditctl {line}"))?;
    // Hints are ours.
    let said: String = finished.stderr.split_inclusive('\n').filter(|line| !line.starts_with("hint: ")).collect();
    ensure!(said == stderr, "auditctl {line} says\n{said}instead of\n{stderr}");
    Ok(())
}

/// The rules that auditctl lists, without the fence's.
fn listed() -> Result<String> {
    let rules = prints("-l")?;
    Ok(rules.split_inclusive('\n').filter(|rule| !rule.contains("-F key=fence")).collect())
}

fn lists(expected: &str) -> Result<()> {
    let rules = listed()?;
    ensure!(rules == expected, "auditctl -l prints\n{rules}instead of\n{expected}");
    Ok(())
}

fn start(place: &Place, rules: &str) -> Result<Session> {
    place.file("f")?;
    place.file("g")?;
    Session::start(place.name, &place.rules(rules))
}

/// A rule file with the fence's rule, which a session needs.
fn rule_file(place: &Place, rules: &str) -> Result<String> {
    let fence = format!("-a always,exit -F arch=b64 -S openat -F path={BASE}/fence -k fence");
    let path = place.file_with_mode("file.rules", 0o640)?;
    fs::write(&path, place.rules(&rules.replace("{fence}", &fence)))?;
    Ok(path.display().to_string())
}

/// Events of a key.
fn count(events: &[Event], key: &str) -> usize {
    events.iter().filter(|event| event.has_key(key)).count()
}

fn changes<'a>(events: &'a [Event], op: &str) -> Vec<&'a Event> {
    events.iter().filter(|event| event.get("type") == "CONFIG_CHANGE" && event.get("op") == op).collect()
}

fn read(path: &Path) -> Result<()> {
    File::open(path).map(drop).with_context(|| format!("cannot open {}", path.display()))
}

fn answers(place: &Place) -> Result<()> {
    let mut session = start(place, OPEN)?;
    let g = place.path("g").display().to_string();
    let first = place.rules(OPEN);
    lists(&first)?;
    let open = format!("always,exit -F arch=b64 -S openat -F path={g} -F key=added");
    ensure!(prints(&format!("-a {open}"))?.is_empty(), "adding a rule prints something");
    refuses(
        &format!("-a {open}"),
        255,
        &format!("Error sending add rule data request (Rule exists)\n{BAD_PARAMETERS}"),
    )?;
    prints(&format!("-A exit,never -F arch=b64 -S truncate -F path={g} -F auid>=1000 -F auid!=unset -F key=first"))?;
    let never = format!("-a never,exit -F arch=b64 -S truncate -F path={g} -F auid>=1000 -F auid!=-1 -F key=first\n");
    lists(&format!("{never}{first}-a {open}\n"))?;
    child::run(|| read(&place.path("g")))?;
    session.settle()?;
    ensure!(
        count(session.records(), "added") == 1,
        "{} events of a rule that was added",
        count(session.records(), "added")
    );
    refuses(
        "-W /nowhere -p r",
        255,
        &format!("Error sending delete rule data request (No such file or directory)\n{BAD_PARAMETERS}"),
    )?;
    ensure!(prints("-D -k irs")?.is_empty(), "-D -k lists rules that it kept");
    lists(&format!("{first}-a {open}\n"))?;
    ensure!(prints("-l -k dde")? == format!("-a {open}\n"), "-l -k");
    prints(&format!("-d {open}"))?;
    lists(&first)?;
    // A watch in the form in which it lists, whatever form it was added in.
    prints(&format!("-a exit,always -F path={g} -F perm=x -F key=run"))?;
    lists(&format!("{first}-w {g} -p x -k run\n"))?;
    prints(&format!("-W {g} -p x -k run"))?;
    lists(&first)?;
    refuses("-a always,exit -F uid", 255, &format!("-F missing operation for uid\n{BAD_PARAMETERS}"))?;
    status_and_message()?;
    session.settle()?;
    answers_are_recorded(session.records(), &open)?;
    session.stop()
}

fn status_and_message() -> Result<()> {
    let status = prints("-s")?;
    let words: Vec<_> = status.lines().filter_map(|line| line.split_once(' ')).collect();
    ensure!(
        words.first() == Some(&("enabled", "1")) && words.last() == Some(&("loginuid_immutable", "0 unlocked")),
        "{status}"
    );
    ensure!(words.contains(&("lost", "0")) && words.len() == 10, "{status}");
    ensure!(prints("-b 8192")?.contains("\nbacklog_limit 8192\n"), "-b");
    prints("-m hello")?;
    Ok(())
}

/// What [`answers`] did, by its records; `open` is the rule that was added and deleted.
fn answers_are_recorded(records: &[Event], open: &str) -> Result<()> {
    let message = records.iter().find(|event| event.get("type") == "USER").context("no USER record")?;
    let text = message.get("records")[0]["text"].as_str().unwrap_or_default();
    ensure!(text.contains(" uid=0 auid=4294967295 ") && text.contains(" msg='text=hello exe="), "{text}");
    let (added, removed) = (changes(records, "add_rule"), changes(records, "remove_rule"));
    ensure!((added.len(), removed.len()) == (4, 4), "{} added, {} removed", added.len(), removed.len());
    added[0].is(&json!({"success": true, "auid": null, "session": null, "uid": 0}))?;
    let rule = format!("-a {open}");
    ensure!(added[0].get("details")["key"] == "added" && added[0].get("details")["list"] == "exit", "{}", added[0]);
    ensure!(added[0].get("details")["rule"] == rule.as_str(), "{}", added[0]);
    added[1].is(&json!({"success": false}))?;
    removed[0].is(&json!({"success": false}))?;
    ensure!(removed[1].get("details")["key"] == "first", "{}", removed[1]);
    let set = changes(records, "set");
    ensure!(set.len() == 1 && set[0].get("details")["audit_backlog_limit"] == "8192", "{set:?}");
    Ok(())
}

fn rule_files(place: &Place) -> Result<()> {
    let mut session = start(place, OPEN)?;
    let (f, g) = (place.path("f").display().to_string(), place.path("g").display().to_string());
    let before = place.rules(OPEN);
    // One whole: nothing of it, if anything of it is wrong.
    let file = rule_file(place, "# comment\n-D\n{fence}\n-w {dir}/g -p x -k g\n-w nonsense\n")?;
    let wrong = format!("The path must start with '/'\nThere was an error in line 5 of {file}\n");
    refuses(&format!("-R {file}"), 1, &wrong)?;
    lists(&before)?;
    // Line by line, up to the mistake.
    let file = rule_file(place, "-w {dir}/g -p x -k g\n-w {dir}/g -p x -k g\n-w {dir}/f -p x -k never\n")?;
    let exists = format!("Error sending add rule data request (Rule exists)\nThere was an error in line 2 of {file}\n");
    refuses(&format!("-R {file}"), 1, &exists)?;
    lists(&format!("{before}-w {g} -p x -k g\n"))?;
    // Told and passed over.
    let file = rule_file(place, "-D\n-c\n{fence}\n-w {dir}/g -p x -k g\n-w nonsense\n-w {dir}/f -p x -k f\n")?;
    let wrong = format!("The path must start with '/'\nThere was an error in line 5 of {file}\n");
    refuses(&format!("-R {file}"), 1, &wrong)?;
    lists(&format!("-w {g} -p x -k g\n-w {f} -p x -k f\n"))?;
    let missing = place.path("no.rules").display().to_string();
    refuses(&format!("-R {missing}"), 1, &format!("audit rules file {missing} doesn't exist\n"))?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o646))?;
    auditctl(&format!("-R {file}"))?.ended_with(1)?.said(&[&format!("Error - {file} is world writable")])?;
    // A fine one.
    let file = rule_file(
        place,
        "-D\n-b 8192\n{fence}\n-a always,exit -F arch=b64 -S openat,unlink -F dir={dir} -F exit=-EACCES -F auid>=1000 \
         -F auid!=unset -F key=denied\n-w {dir}/f -p x -k one -k two\n",
    )?;
    let printed = prints(&format!("-R {file}"))?;
    ensure!(printed.starts_with("No rules\nenabled 1\n") && printed.contains("backlog_limit 8192\n"), "{printed}");
    lists(&format!(
        "-a always,exit -F arch=b64 -S unlink,openat -F dir={} -F exit=-EACCES -F auid>=1000 -F auid!=-1 -F key=denied\n\
         -w {f} -p x -k one -k two\n",
        place.dir.display()
    ))?;
    session.settle()?;
    session.stop()
}

fn disabled(place: &Place) -> Result<()> {
    let mut session = start(place, OPEN)?;
    let open = || child::run(|| read(&place.path("f"))).map(drop);
    open()?;
    ensure!(prints("-e 0")?.starts_with("enabled 0\n"), "-e 0");
    open()?;
    prints(place.rules(OPEN).trim_end().replace("/f -F", "/g -F").as_str())?;
    child::run(|| read(&place.path("g")))?;
    ensure!(listed()?.lines().count() == 2, "rules are not kept");
    prints("-e 1")?;
    open()?;
    child::run(|| read(&place.path("g")))?;
    session.settle()?;
    let events = count(session.records(), place.name);
    ensure!(events == 3, "{events} events, with rules in force for 3 of 5 openings");
    session.stop()
}

/// `--enforce 0`: what would be refused is told, until `--enforce 1`.
fn enforce(place: &Place) -> Result<()> {
    let mut session = start(place, "-w {dir}/f -p r --action deny -k {key}")?;
    let refused = || -> Result<()> {
        ensure!(File::open(place.path("f")).is_err_and(|error| error.raw_os_error() == Some(1)), "it is not refused");
        Ok(())
    };
    child::run(refused)?;
    ensure!(!prints("-s")?.contains("enforce"), "auditctl -s says more than auditctl's");
    ensure!(prints("--enforce 0")?.ends_with("\nenforce 0\n"), "auditctl --enforce 0 does not tell");
    child::run(|| read(&place.path("f")))?;
    prints("--enforce 1")?;
    child::run(refused)?;
    session.settle()?;
    let verdicts: Vec<_> = session.records().iter().filter(|event| event.has_key(place.name)).collect();
    let verdicts: Vec<_> = verdicts.iter().map(|event| event.get("verdict").clone()).collect();
    ensure!(verdicts == ["deny", "would-deny", "deny"], "verdicts: {verdicts:?}");
    let settings = changes(session.records(), "set").len();
    ensure!(settings == 2, "{settings} records of settings");
    session.stop()
}

fn probation(place: &Place) -> Result<()> {
    place.file("f")?;
    place.file("g")?;
    let log = own_log(place.name);
    let config = format!("probation_s = 15\n{}", file_output(&log));
    let mut session = Session::start_with(place.name, &place.rules(OPEN), &config, &log)?;
    ensure!(prints("-s")?.contains("\nprobation "), "the rules of the start are not on probation");
    prints("--confirm")?;
    ensure!(!prints("-s")?.contains("\nprobation "), "confirmed rules are on probation");
    let confirmed = prints("-l")?;
    prints(&format!("-w {} -p r --action deny -k other", place.path("g").display()))?;
    child::run(|| {
        ensure!(File::open(place.path("g")).is_err(), "the new rule refuses nothing");
        Ok(())
    })?;
    wait_for("rules that nobody confirms to go", RULE_TIME, || Ok((prints("-l")? == confirmed).then_some(())))?;
    child::run(|| read(&place.path("g")).and_then(|()| read(&place.path("f"))))?;
    let confirmation = auditctl("--confirm")?;
    ensure!(confirmation.status != Some(0), "nothing can be confirmed, and auditctl says that it was");
    confirmation.said(&["No rules are on probation"])?;
    session.settle()?;
    let records = session.records();
    ensure!(count(records, place.name) == 1, "the rules from before do not decide");
    let ops: Vec<_> = records.iter().filter_map(|event| event.get("op").as_str()).collect();
    for op in ["confirm", "add_rule", "remove_rule", "revert"] {
        ensure!(ops.contains(&op), "no record of {op} among {ops:?}");
    }
    session.stop()
}

fn locked(place: &Place) -> Result<()> {
    let mut session = start(place, OPEN)?;
    let before = listed()?;
    prints("-e 2")?;
    let g = place.path("g").display().to_string();
    refuses(&format!("-w {g} -p x -k g"), 1, IMMUTABLE)?;
    refuses(&format!("-A exit,never -F path={g} -F perm=r"), 1, IMMUTABLE)?;
    refuses(&format!("-d {}", before.trim_start_matches("-a ").trim_end()), 1, IMMUTABLE)?;
    refuses("-D", 255, &format!("Error deleting rule (Operation not permitted)\n{BAD_PARAMETERS}"))?;
    refuses("-e 0", 255, &format!("Error sending enable request (Operation not permitted)\n{BAD_PARAMETERS}"))?;
    refuses("-f 2", 255, &format!("Error sending failure mode request (Operation not permitted)\n{BAD_PARAMETERS}"))?;
    let file = rule_file(place, "-D\n{fence}\n")?;
    refuses(&format!("-R {file}"), 1, IMMUTABLE)?;
    session.reload()?;
    wait_for("the reload to be refused", RULE_TIME, || {
        Ok(session.said().contains("all stays as it was: The audit system is in immutable mode").then_some(()))
    })?;
    lists(&before)?;
    ensure!(prints("-s")?.starts_with("enabled 2\n"), "-s");
    child::run(|| read(&place.path("f")))?;
    session.settle()?;
    let records = session.records();
    ensure!(count(records, place.name) == 1, "the rules do not decide any more");
    let refused = |op| changes(records, op).iter().filter(|event| event.get("success") == false).count();
    let counts = (refused("add_rule"), refused("remove_rule"), refused("set"));
    ensure!(counts == (4, 2, 2), "{counts:?} refusals are recorded");
    let reload = records.iter().find(|event| event.get("type") == "DAEMON_CONFIG").context("no DAEMON_CONFIG")?;
    reload.is(&json!({"success": false, "op": "reconfigure"}))?;
    session.stop()
}

/// A process opens a file without pause while the rules are replaced again and again. Every opening has one event.
fn reloads_under_load(place: &Place) -> Result<()> {
    const RELOADS: u32 = 12;
    let mut session = start(place, OPEN)?;
    let (file, end, total) = (place.path("f"), place.path("end"), place.path("total"));
    let opens = child::start(|| {
        let mut count = 0_u32;
        while !end.exists() {
            read(&file)?;
            count += 1;
            thread::sleep(Duration::from_micros(500));
        }
        Ok(fs::write(&total, count.to_string())?)
    })?;
    for number in 0..RELOADS {
        // Other rules come and go, with calls and hooks of their own, before and behind the one that counts.
        let calls = ["unlink", "openat", "chmod,openat", "execve"][number as usize % 4];
        let other = format!("-a always,exit -F arch=b64 -S {calls} -F path={{dir}}/g -k other");
        let rules = if number % 2 == 0 { format!("{other}\n{OPEN}\n") } else { format!("{OPEN}\n{other}\n") };
        let loaded =
            rule_file(place, &format!("-D\n{{fence}}\n{rules}")).and_then(|file| prints(&format!("-R {file}")));
        if loaded.is_err() {
            File::create(&end)?;
        }
        loaded?;
    }
    File::create(&end)?;
    opens.wait()?;
    session.settle()?;
    let opened: usize = fs::read_to_string(&total)?.parse()?;
    let records = session.records();
    if let Some(lost) = records.iter().find(|event| is_loss(event)) {
        anyhow::bail!("events were lost: {lost}");
    }
    let events = count(records, place.name);
    ensure!(opened > RELOADS as usize, "only {opened} openings while the rules were replaced");
    ensure!(events == opened, "{events} events of {opened} openings in {RELOADS} reloads");
    session.stop()
}

fn reloads_leak_nothing(place: &Place) -> Result<()> {
    const RELOADS: usize = 20;
    let mut session = start(place, OPEN)?;
    let pid = session.pid();
    let file = rule_file(place, "-D\n{fence}\n-w {dir}/g -p x -k other\n")?;
    let other = format!("{file}.other");
    fs::write(&other, place.rules("-D\n-a always,exit -F arch=b64 -S unlink,mkdir -F dir={dir} -k other\n"))?;
    let reload = || prints(&format!("-R {other}")).and_then(|_| prints(&format!("-R {file}"))).map(drop);
    reload()?;
    let before = owned(pid)?;
    for _ in 0..RELOADS / 2 {
        reload()?;
    }
    let after = wait_for("what the reloads used to go", RULE_TIME, || {
        let after = owned(pid)?;
        // The kernel frees programs some time after they are gone, also those of the first reload.
        let is_gone = after.iter().zip(&before).all(|(after, before)| after <= before);
        Ok(is_gone.then_some(after))
    });
    after.with_context(|| format!("before {before:?}, after {:?}", owned(pid)))?;
    session.settle()?;
    session.stop()
}

/// Descriptors and threads of the daemon, and programs, links and maps in the kernel.
fn owned(pid: Pid) -> Result<[usize; 5]> {
    let entries = |directory: &str| Ok::<_, anyhow::Error>(fs::read_dir(format!("/proc/{pid}/{directory}"))?.count());
    Ok([
        entries("fd")?,
        entries("task")?,
        count_bpf(BpfObjects::Programs)?,
        count_bpf(BpfObjects::Links)?,
        count_bpf(BpfObjects::Maps)?,
    ])
}

fn watched_rules(place: &Place) -> Result<()> {
    let log = own_log(place.name);
    let config = format!("watch_rules = true\n{}", file_output(&log));
    place.file("f")?;
    place.file("g")?;
    let mut session = Session::start_with(place.name, &place.rules(OPEN), &config, &log)?;
    let rules = session.rules().to_path_buf();
    let old = fs::read_to_string(&rules)?;
    let before = listed()?;
    // As editors do: a new file in place of the old one.
    let new = rules.with_extension("new");
    fs::write(&new, format!("{old}{}", place.rules("-w {dir}/g -p x -k {key}")))?;
    fs::rename(&new, &rules)?;
    let added = format!("{before}-w {} -p x -k {}\n", place.path("g").display(), place.name);
    wait_for("the new rule", RULE_TIME, || Ok((listed()? == added).then_some(())))?;
    fs::write(&rules, format!("{old}-w nonsense\n"))?;
    wait_for("the refusal", RULE_TIME, || Ok(session.said().contains("The path must start with '/'").then_some(())))?;
    lists(&added)?;
    session.settle()?;
    let reloads: Vec<_> = session.records().iter().filter(|event| event.get("type") == "DAEMON_CONFIG").collect();
    ensure!(reloads.len() == 2, "{reloads:?}");
    reloads[0].is(&json!({"success": true}))?;
    ensure!(reloads[0].get("details")["state"] == "changed", "{}", reloads[0]);
    reloads[1].is(&json!({"success": false}))?;
    ensure!(reloads[1].get("details")["reason"].as_str().is_some_and(|why| why.contains("nonsense")), "{}", reloads[1]);
    session.stop()
}

fn socket(place: &Place) -> Result<()> {
    refuses("-l", 0, "The audit system is disabled\n")?;
    refuses("-w /srv -p r", 1, "The audit system is disabled\n")?;
    refuses("--signal stop", 2, "Auditd is not running\n")?;
    let session = start(place, OPEN)?;
    let mode = fs::metadata(SOCKET)?.permissions().mode() & 0o777;
    ensure!(mode == 0o600, "the socket has mode {mode:o}");
    let config = place.file("other.toml")?;
    fs::write(&config, file_output(&place.path("other.json.gz")))?;
    let second =
        run(Command::new(PROGRAM).args(["daemon", "--config"]).arg(&config).arg("--rules").arg(session.rules()))?;
    second.ended_with(1)?.said(&[&format!("pid {}", session.pid())])?;
    ensure!(listed()?.contains(place.name), "the first daemon lost its socket to the second");
    let user = run(Command::new(PROGRAM).arg0("auditctl").arg("-l").uid(1000).gid(1000))?;
    user.ended_with(4)?.said(&["You must be root to run this program."])?;
    ensure!(
        child::run(|| child::become_user().and_then(|()| Ok(UnixStream::connect(SOCKET).map(drop)?))).is_err(),
        "users get in"
    );
    hostile_clients()?;
    ensure!(listed()?.contains(place.name), "no answer after hostile clients");
    session.kill()?;
    ensure!(Path::new(SOCKET).exists(), "no socket is left, and the case tests nothing");
    refuses("-l", 0, "The audit system is disabled\n")?;
    let mut session = start(place, OPEN)?;
    session.settle()?;
    // Some of the daemon that was killed, whose rules were in force meanwhile.
    let before = count(session.records(), place.name);
    child::run(|| read(&place.path("f")))?;
    session.settle()?;
    let after = count(session.records(), place.name);
    ensure!(after == before + 1, "{before} events before, {after} after one more: no event after a restart");
    prints("--signal stop")?;
    ensure!(!Path::new(SOCKET).exists(), "the socket stays behind");
    Ok(())
}

/// Clients that send nothing, nonsense, or without end, as long as they are let.
fn hostile_clients() -> Result<()> {
    let _idle: Vec<_> = (0..10).map(|_| UnixStream::connect(SOCKET)).collect::<Result<_, _>>()?;
    let mut nonsense = UnixStream::connect(SOCKET)?;
    nonsense.write_all(b"\x00\xff{]\n")?;
    let mut endless = UnixStream::connect(SOCKET)?;
    endless.set_write_timeout(Some(Duration::from_secs(20)))?;
    let piece = vec![b'x'; 1 << 20];
    // Until it is refused.
    while endless.write_all(&piece).is_ok() {}
    let mut answer = vec![0; 4096];
    let length = nonsense.read(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
    ensure!(answer.contains("malformed request"), "{answer}");
    ensure!(!prints("-l")?.is_empty(), "no answer beside hostile clients");
    Ok(())
}

fn augenrules(place: &Place) -> Result<()> {
    let rules = Path::new("/etc/audit/rules.d");
    let merged = Path::new("/etc/audit/audit.rules");
    let _ = fs::remove_dir_all(rules);
    let _ = fs::remove_file(merged);
    let mut session = start(place, OPEN)?;
    fs::create_dir_all(rules)?;
    let fence = format!("-a always,exit -F arch=b64 -S openat -F path={BASE}/fence -k fence");
    fs::write(rules.join("10-z.rules"), format!("-e 1\n# comment\n{fence}\n"))?;
    fs::write(rules.join("9-a.rules"), place.rules(&format!("{OPEN}\n-D\n-b 100")))?;
    let augenrules = |arguments: &[&str]| named("augenrules", arguments);
    let check = augenrules(&["--check"])?;
    ensure!(
        check.ended_with(0)?.stdout == "/usr/sbin/augenrules: Rules have changed and should be updated\n",
        "{}",
        check.all()
    );
    augenrules(&["--load"])?.ended_with(0)?;
    let watch = place.rules(OPEN);
    let expected = format!(
        "## This file is automatically generated from /etc/audit/rules.d\n-D\n-b 100\n\n{watch}{fence}\n-e 1\n"
    );
    let written = fs::read_to_string(merged)?;
    ensure!(written == expected, "{written}");
    lists(&watch)?;
    let again = augenrules(&["--load"])?;
    ensure!(again.ended_with(0)?.stdout.starts_with("/usr/sbin/augenrules: No change\n"), "{}", again.all());
    child::run(|| read(&place.path("f")))?;
    session.settle()?;
    ensure!(count(session.records(), place.name) == 1, "the merged rules do not decide");
    prints("-e 2")?;
    let locked = augenrules(&["--load"])?;
    let exiting = "/usr/sbin/augenrules: Audit system is in immutable mode - exiting with no changes\n";
    ensure!(locked.ended_with(0)?.stdout.ends_with(exiting), "{}", locked.all());
    session.stop()?;
    fs::remove_dir_all(rules)?;
    Ok(fs::remove_file(merged)?)
}
