use chrono::Utc;

use super::*;
use crate::event::{Body, Loss};
use crate::read::LogNames;
use crate::samples;

fn page(bodies: impl IntoIterator<Item = Body>) -> String {
    let mut page = Page::default();
    for body in bodies {
        let event = samples::event(body);
        page.add(&Record { event: &event, node: samples::NODE, names: &LogNames::default() });
    }
    page.html(&Utc.timestamp_opt(1_795_600_000, 0).unwrap())
}

fn open(change: impl FnOnce(&mut SyscallEvent)) -> Body {
    let mut call = samples::open_failed();
    change(&mut call);
    Body::Syscall(Box::new(call))
}

#[test]
fn acts_failures_and_refusals_are_told_apart() {
    let lost = Body::Lost(vec![Loss { cause: "queue_full".into(), count: 1234 }]);
    let page = page([
        open(|call| call.exit = Some(3)),
        open(|_| {}),
        open(|_| {}),
        open(|call| call.verdict = Verdict::Deny),
        lost,
    ]);
    for text in [
        "<title>Audit report of web1</title>",
        "<dd class=\"failed\">2</dd><dt>failed</dt>",
        "<dd class=\"refused\">1</dd><dt>refused</dt>",
        "<dd class=\"refused\">1,234</dd><dt>lost</dt>",
        "<title>EACCES: 2</title>",
        "<title>1000 /usr/bin/cat openat /etc/shadow [shadow]: 1</title>",
        "2 succeeded, 2 failed, 1 refused",
        "2026-11-24 07:04:10 to 2026-11-24 07:04:10",
    ] {
        assert!(page.contains(text), "{text} is not in {page}");
    }
}

#[test]
fn names_are_text_wherever_they_stand() {
    let hostile = b"/tmp/\"'><script>alert(1)</script><img src=x onerror=alert(1)>&\x1b[31m".to_vec();
    let page = page([
        open(|call| {
            call.exe = Some(hostile.clone());
            call.paths[0].path = Some(hostile.clone());
            call.rule.keys = [hostile.clone()].into();
        }),
        open(|call| {
            call.exe = Some(hostile.clone());
            call.verdict = Verdict::Kill;
        }),
    ]);
    assert!(!page.contains("<script") && !page.contains("<img") && !page.contains('\x1b'), "{page}");
    assert!(page.contains("&lt;script&gt;alert(1)"), "{page}");
    assert!(page.contains("default-src 'none'"));
    // Nothing is fetched.
    assert!(!page.contains("http:") && !page.contains("https:") && !page.contains("url("), "{page}");
}

#[test]
fn long_lists_are_cut_and_say_so() {
    let page = page((0..25).map(|number| open(|call| call.exe = Some(format!("/bin/{number}").into_bytes()))));
    assert!(page.contains("and 15 more, with 15 events"), "{page}");
}

#[test]
fn an_empty_log_is_a_page_too() {
    assert!(page([]).contains("No events"));
}

proptest::proptest! {
    /// However events lie in time, each is in some column, and columns and bins are bounded.
    #[test]
    fn each_event_has_its_column(times in proptest::collection::vec(0_u64..=u64::from(u32::MAX), 1..300), scale in 1_u64..4_000_000_000) {
        let mut timeline = Timeline::default();
        times.iter().for_each(|time| timeline.add(time.saturating_mul(scale), Outcome::Failed));
        let (columns, span) = timeline.columns(120);
        proptest::prop_assert!(columns.len() <= 120 && span >= 1_000_000_000);
        proptest::prop_assert_eq!(columns.iter().map(|column| column[1]).sum::<u64>(), times.len() as u64);
    }
}
