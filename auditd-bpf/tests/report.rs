//! `auditd-bpf report` beside the real aureport, on one log: both write the same and end with the same status.

mod audit_tools;

use std::path::{Path, PathBuf};
use std::process::Command;

/// What programs, the kernel, SELinux and auditd write: each report has something to tell of it.
fn log() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/native.log")
}

#[rustfmt::skip]
const REPORTS: &[&str] = &[
    "", "--failed", "--success", "-nc", "-i",
    "-au", "-l", "-m", "-a", "--comm", "-c", "-cr", "-e", "-f", "-h", "--integrity", "-k", "-ma", "-n", "-p", "-r", "-s", "-tm",
    "-u", "--virt", "-x",
];

/// Standard output and status; rows and summaries, numbers and names, successes and failures of each report.
#[test]
fn every_report_is_aureports() {
    let Some(aureport) = audit_tools::find("aureport") else { return };
    let ours = env!("CARGO_BIN_EXE_auditd-bpf");
    let mut differing = Vec::new();
    for report in REPORTS {
        let variants: &[&str] = match *report {
            kind if kind.is_empty() || kind.starts_with("--f") || kind.starts_with("--s") => &[""],
            "-nc" | "-i" => &["", "-f", "-k --summary"],
            _ => &["", "-i", "--summary", "--summary -i", "--failed", "--success --summary", "--failed --summary"],
        };
        for variant in variants {
            let words: Vec<_> = report.split(' ').chain(variant.split(' ')).filter(|word| !word.is_empty()).collect();
            let theirs = {
                let mut command = Command::new(&aureport.program);
                aureport.libraries.iter().for_each(|libraries| {
                    command.env("LD_LIBRARY_PATH", libraries);
                });
                answer(command.args(&words))
            };
            let ours = answer(Command::new(ours).arg("report").args(&words));
            if ours != theirs {
                differing.push(format!("{words:?}: {ours:#?}, aureport {theirs:#?}"));
            }
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

fn answer(command: &mut Command) -> (Vec<String>, Option<i32>) {
    let output = command.arg("-if").arg(log()).env("TZ", "UTC").env("LC_ALL", "C").output().expect("it starts");
    let lines = String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
    (lines, output.status.code())
}

fn ours(words: &[&str]) -> (Vec<String>, Option<i32>) {
    answer(Command::new(env!("CARGO_BIN_EXE_auditd-bpf")).arg("report").args(words))
}

/// Without aureport: what the daemon writes, whatever the format, gives the same report as the native log.
#[test]
fn json_logs_give_the_same_reports() {
    let directory = tempfile::tempdir().unwrap();
    let json = directory.path().join("log.json.gz");
    let convert =
        Command::new(env!("CARGO_BIN_EXE_auditd-bpf")).args(["convert"]).arg(log()).output().expect("it starts");
    let mut encoder = flate2::write::GzEncoder::new(std::fs::File::create(&json).unwrap(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, &convert.stdout).unwrap();
    encoder.finish().unwrap();
    for kind in REPORTS {
        let words: Vec<_> = kind.split(' ').filter(|word| !word.is_empty()).collect();
        let mut command = Command::new(env!("CARGO_BIN_EXE_auditd-bpf"));
        command.arg("report").args(&words).arg("-if").arg(&json).env("TZ", "UTC");
        let output = command.output().expect("it starts");
        let lines: Vec<_> = String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
        assert_eq!((lines, output.status.code()), ours(&words), "{kind}");
    }
}

#[test]
fn the_program_is_aureport_and_ausearch_by_those_names() {
    let directory = tempfile::tempdir().unwrap();
    for (name, words, line) in [
        ("aureport", ["-x", "--summary"], "1  /usr/bin/cat"),
        ("ausearch", ["-x", "cat"], "time->Tue Nov 24 07:04:04 2026"),
    ] {
        let program = directory.path().join(name);
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_auditd-bpf"), &program).unwrap();
        let (lines, status) = answer(Command::new(&program).args(words));
        assert!(lines.iter().any(|found| found == line) && status == Some(0), "{name}: {lines:?}");
    }
}

#[test]
fn what_no_report_takes() {
    for wrong in [&["-e", "-f"][..], &["--failed", "--success"], &["-t", "--summary"], &["-ts", "noon"], &["file"]] {
        let (lines, status) = ours(wrong);
        assert_eq!((lines.len(), status), (0, Some(2)), "{wrong:?}");
    }
    let (lines, status) = ours(&["-f", "-ts", "now"]);
    assert_eq!((lines.last().map(String::as_str), status), (Some(""), Some(1)));
}

#[test]
fn the_time_range_of_each_log() {
    let (lines, _) = ours(&["-t"]);
    let expected = format!("{}: 11/24/26 07:04:00.001 - 11/24/26 07:04:10.900", log().display());
    assert_eq!(lines.last(), Some(&expected));
}
