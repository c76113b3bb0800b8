use chrono::Utc;

use super::*;
use crate::event::{Body, Loss};
use crate::read::LogNames;
use crate::samples;

fn report(options: ReportOptions, bodies: impl IntoIterator<Item = Body>) -> (String, bool) {
    let mut out = Vec::new();
    let mut report = Report::new(options, Utc);
    report.head(&mut out);
    for body in bodies {
        let event = samples::event(body);
        report.add(&Record { event: &event, node: "", names: &LogNames::default() }, &mut out);
    }
    let found = report.finish(&mut out);
    (String::from_utf8(out).unwrap(), found)
}

fn of(kind: Kind) -> ReportOptions {
    ReportOptions { kind, ..ReportOptions::default() }
}

fn failed_open() -> Body {
    Body::Syscall(Box::new(samples::open_failed()))
}

#[test]
fn rows_have_the_columns_of_their_report() {
    let (text, found) = report(of(Kind::File), [failed_open()]);
    let row = "1. 11/24/26 07:04:10 /etc/shadow 257 no /usr/bin/cat 1000 2147483649\n";
    assert!(found && text.ends_with(row), "{text}");
    let names = ReportOptions { spelling: Spelling::Names, ..of(Kind::Syscall) };
    let (text, _) = report(names, [failed_open()]);
    assert!(text.ends_with(" openat 812 cat unknown(1000) 2147483649\n"), "{text}");
}

#[test]
fn summaries_count_and_sort() {
    let mut other = samples::open_failed();
    other.exe = Some(b"/bin/evil\x1b[31m\n".to_vec());
    let summary = ReportOptions { detail: Detail::Summary, ..of(Kind::Executable) };
    let (text, _) = report(summary, [Body::Syscall(Box::new(other)), failed_open(), failed_open()]);
    let lines: Vec<_> = text.lines().skip(5).collect();
    assert_eq!(lines, ["2  /usr/bin/cat", r"1  /bin/evil\u{1b}[31m\n"], "nothing acts on a terminal");
}

#[test]
fn of_events_that_do_not_matter_nothing_is_told() {
    let success = ReportOptions { success: Some(true), ..of(Kind::File) };
    let (text, found) = report(success, [failed_open()]);
    assert!(!found && text.ends_with("<no events of interest were found>\n\n"), "{text}");
    let later = ReportOptions { from: Some(1_795_503_851), ..of(Kind::File) };
    assert!(!report(later, [failed_open()]).1);
    let until = ReportOptions { to: Some(1_795_503_850), ..of(Kind::File) };
    assert!(report(until, [failed_open()]).1);
}

#[test]
fn the_totals_are_of_what_is_selected_and_the_range_of_all() {
    let lost = Body::Lost(vec![Loss { cause: "queue_full".into(), count: 3 }]);
    let failed = ReportOptions { success: Some(false), ..of(Kind::Totals) };
    let (text, found) = report(failed, [failed_open(), lost]);
    assert!(found && text.starts_with("\nFailed Summary Report\n"), "{text}");
    for line in [
        "Range of time in logs: 11/24/26 07:04:10.123 - 11/24/26 07:04:10.123",
        "Number of failed syscalls: 1",
        "Number of keys: 1",
        "Number of events: 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in {text}");
    }
}
