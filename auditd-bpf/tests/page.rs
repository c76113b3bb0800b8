//! The page of charts in headless Chromium: it shows what was counted, without an error on the console, and names that would be
//! scripts are text.
//!
//! Without Chromium the test is skipped, and says so; `cargo xtask setup` installs it on Debian.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const PROGRAMS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];
/// Would change the title and write to the console.
const SCRIPT: &str = "</text></svg><script>document.title='pwned';console.log('pwned')</script>\
                      <img src=x onerror=\"document.title='pwned';console.log('pwned')\">";

fn chromium() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let directories: Vec<_> = env::split_paths(&path).collect();
    let programs = directories.iter().flat_map(|directory| PROGRAMS.map(|program| directory.join(program)));
    let found = programs.into_iter().find(|program| program.is_file());
    if found.is_none() {
        eprintln!("SKIP: no chromium here; Debian's package chromium has it");
    }
    found
}

/// A log in which a file and a key have that name, refused and not.
fn log(name: &str) -> String {
    let hex: String = name.bytes().map(|byte| format!("{byte:02X}")).collect();
    let event = |serial: u32, exit: i32, verdict: &str| {
        let success = if exit < 0 { "no" } else { "yes" };
        format!(
            "type=SYSCALL msg=audit(1795503844.005:{serial}): arch=c000003e syscall=257 success={success} exit={exit} a0=0 a1=0 a2=0 \
             a3=0 items=1 ppid=800 pid=812 auid=4242 uid=0 gid=0 euid=0 suid=0 fsuid=0 egid=0 sgid=0 fsgid=0 tty=pts0 ses=5 \
             comm=\"cat\" exe={hex} subj=unconfined key={hex}{verdict}\n\
             type=PATH msg=audit(1795503844.005:{serial}): item=0 name={hex} nametype=UNKNOWN\n\
             type=PROCTITLE msg=audit(1795503844.005:{serial}): proctitle=\"cat\"\n"
        )
    };
    event(1, 3, "") + &event(2, -13, "") + &event(3, -1, " verdict=deny")
}

/// What the browser made of the page, and what it said.
fn dump(chromium: &Path, page: &Path, profile: &Path) -> (String, String) {
    let output = Command::new(chromium)
        .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(format!("file://{}", page.display()))
        .stdin(Stdio::null())
        .output()
        .expect("chromium starts");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (text(output.stdout), text(output.stderr))
}

/// What scripts and the page's policy say. The browser's own troubles have another mark.
fn console(said: &str) -> Vec<&str> {
    said.lines().filter(|line| line.contains(":CONSOLE")).collect()
}

#[test]
fn the_page_shows_and_runs_no_script() {
    let Some(chromium) = chromium() else { return };
    let directory = tempfile::tempdir().unwrap();
    let (log_file, page) = (directory.path().join("audit.log"), directory.path().join("page.html"));
    fs::write(&log_file, log(SCRIPT)).unwrap();
    let mut report = Command::new(env!("CARGO_BIN_EXE_auditd-bpf"));
    let status = report.arg("report").arg("--html").arg(&page).arg("-if").arg(&log_file).env("TZ", "UTC").status();
    assert!(status.expect("it starts").success());
    let (dom, said) = dump(&chromium, &page, &directory.path().join("profile"));
    assert!(dom.contains("<title>Audit report</title>"), "{dom}\n{said}");
    assert!(dom.contains("<dd class=\"refused\">1</dd><dt>refused</dt>"), "{dom}");
    assert!(dom.contains("2026-11-24 07:04:04 to 2026-11-24 07:04:04"), "{dom}");
    assert_eq!((dom.contains("<script"), dom.contains("<img"), console(&said)), (false, false, vec![]), "{dom}");
    assert_eq!(dom.matches("<svg").count(), dom.matches("</svg>").count());
}

/// The browser would run it, and the test would see that.
#[test]
fn a_script_that_is_no_text_would_be_seen() {
    let Some(chromium) = chromium() else { return };
    let directory = tempfile::tempdir().unwrap();
    let page = directory.path().join("page.html");
    fs::write(&page, format!("<!DOCTYPE html><title>x</title><svg><text>{SCRIPT}")).unwrap();
    let (dom, said) = dump(&chromium, &page, &directory.path().join("profile"));
    assert!(dom.contains("<title>pwned</title>") && !console(&said).is_empty(), "{dom}\n{said}");
}
