use auditd_bpf_common::wire::verdict;
use rules::NoHost;

use super::*;
use crate::config::Config;
use crate::control::protocol::{self, Answer, ErrorKind, Run, Said, Text};
use crate::guard::Protect;

const FACTS: Facts = Facts { pid: 77, lost: 5, backlog: 0, dialect: Dialect::V4, probation: None };

fn run(file: Option<&str>, lines: &str) -> Run {
    let lines = (1..).zip(lines.lines()).map(|(number, text)| protocol::Line { number, text: Text(text.into()) });
    Run { file: file.map(|name| Text(name.into())), lines: lines.collect() }
}

fn store(lines: &str) -> Store {
    let outcome = Store::default().run(&run(None, lines), &NoHost, FACTS);
    assert!(!outcome.ran.stopped, "{:?}", outcome.ran);
    outcome.store
}

fn listed(store: &Store) -> String {
    String::from_utf8(store.rules().list_text(Dialect::V4)).unwrap()
}

fn errors(outcome: &Outcome) -> Vec<(u32, ErrorKind, &str)> {
    let answers = outcome.ran.answers.iter();
    let errors = answers.filter_map(|answer| match &answer.said {
        Said::Error { kind, message, .. } => Some((answer.line, *kind, message.as_str())),
        _ => None,
    });
    errors.collect()
}

/// `+` added, `-` removed, `=` set, `!` refused.
fn changes(outcome: &Outcome) -> Vec<String> {
    let key = |rule: &Rule| String::from_utf8(rule.keys.concat()).unwrap();
    let word = |change: &Change| {
        let word = match &change.what {
            What::AddRule(rule) => format!("+{}", key(rule)),
            What::RemoveRule(rule) => format!("-{}", key(rule)),
            What::Locked(op) => format!("locked {op}"),
            What::Set { name, new, old } => format!("{name}={new} old={old}"),
            other => format!("{other:?}"),
        };
        if change.done { word } else { format!("!{word}") }
    };
    outcome.changes.iter().map(word).collect()
}

#[test]
fn rules_come_and_go_in_auditctls_order() {
    let store = store("-w /a -p w -k a\n-w /b -p w -k b\n-A exit,never -F path=/c -F perm=r -k c\n-W /a -p w -k a");
    assert_eq!(listed(&store), "-w /c -p r -k c\n-w /b -p w -k b\n");
    let outcome = store.run(&run(None, "-D -k b"), &NoHost, FACTS);
    assert_eq!(listed(&outcome.store), "-w /c -p r -k c\n");
    assert_eq!(changes(&outcome), ["-b"]);
    assert!(outcome.affects_kernel);
    let outcome = store.run(&run(None, "-l -k c"), &NoHost, FACTS);
    assert!(!outcome.affects_kernel && outcome.changes.is_empty());
    let rules = vec![Text(b"-w /c -p r -k c".to_vec())];
    assert_eq!(outcome.ran.answers, [Answer { line: 1, said: Said::Rules { rules, total: 2 } }]);
}

#[test]
fn duplicates_and_missing_rules_have_auditctls_words() {
    let store = store("-w /a -p w -k a");
    let outcome = store.run(&run(None, "-w /a -p w -k a"), &NoHost, FACTS);
    assert_eq!(errors(&outcome), [(1, ErrorKind::Exists, "Error sending add rule data request (Rule exists)")]);
    assert_eq!(changes(&outcome), ["!+a"]);
    let outcome = store.run(&run(None, "-W /b -p w"), &NoHost, FACTS);
    let missing = "Error sending delete rule data request (No such file or directory)";
    assert_eq!(errors(&outcome), [(1, ErrorKind::Missing, missing)]);
    assert_eq!(listed(&outcome.store), listed(&store));
}

#[test]
fn what_cannot_be_decided_is_refused_with_the_reason() {
    let outcome =
        Store::default().run(&run(None, "-a always,exit -F arch=b64 -S open -F subj_type=a_t"), &NoHost, FACTS);
    let message = "Error sending add rule data request (Operation not supported)";
    assert_eq!(errors(&outcome), [(1, ErrorKind::Unsupported, message)]);
    let Said::Error { hint: Some(hint), .. } = &outcome.ran.answers[0].said else { panic!("{:?}", outcome.ran) };
    assert!(hint.contains("security labels"), "{hint}");
}

#[test]
fn a_file_stops_at_its_first_error_and_keeps_what_came_before() {
    let file = "-w /a -p w -k a\n-w nonsense\n-w /b -p w -k b";
    let outcome = Store::default().run(&run(Some("f"), file), &NoHost, FACTS);
    assert!(outcome.ran.stopped);
    assert_eq!(errors(&outcome), [(2, ErrorKind::Invalid, "The path must start with '/'")]);
    assert_eq!(listed(&outcome.store), "-w /a -p w -k a\n");
    let outcome = Store::default().run(&run(Some("f"), &format!("-i\n{file}")), &NoHost, FACTS);
    assert!(!outcome.ran.stopped && !outcome.ran.failed);
    assert_eq!(outcome.store.rules().len(), 2);
    let outcome = Store::default().run(&run(Some("f"), &format!("-c\n{file}")), &NoHost, FACTS);
    assert!(!outcome.ran.stopped && outcome.ran.failed);
}

#[test]
fn a_file_that_begins_with_delete_all_is_one_whole() {
    let store = store("-w /a -p w -k a\n-w /b -p w -k b");
    let outcome = store.run(&run(Some("f"), "-D\n-b 9\n-w /c -p w -k c\n-w nonsense"), &NoHost, FACTS);
    assert!(outcome.ran.stopped && !outcome.affects_kernel);
    assert_eq!(listed(&outcome.store), listed(&store));
    assert_eq!(outcome.store.settings(), store.settings());
    assert!(outcome.changes.is_empty());
    let outcome = store.run(&run(Some("f"), "-D\n-b 9\n-w /a -p w -k a\n-w /c -p w -k c"), &NoHost, FACTS);
    assert!(!outcome.ran.stopped);
    // The rule on /a was there all the time.
    assert_eq!(changes(&outcome), ["-b", "+c", "audit_backlog_limit=9 old=64"]);
}

#[test]
fn a_rule_that_changes_its_place_is_removed_and_added() {
    let store = store("-w /a -p w -k a\n-w /b -p w -k b\n-w /c -p w -k c");
    let outcome = store.run(&run(Some("f"), "-D\n-w /a -p w -k a\n-w /c -p w -k c\n-w /b -p w -k b"), &NoHost, FACTS);
    assert_eq!(changes(&outcome), ["-b", "-c", "+c", "+b"]);
    let outcome = store.run(&run(Some("f"), "-D\n-w /a -p w -k a\n-w /c -p w -k c"), &NoHost, FACTS);
    assert_eq!(changes(&outcome), ["-b"]);
}

#[test]
fn locked_rules_and_settings_do_not_change() {
    let locked = store("-w /a -p w -k a\n-e 2");
    for (line, message, change) in [
        ("-w /b -p w -k b", IMMUTABLE, "!locked add_rule"),
        ("-W /a -p w -k a", IMMUTABLE, "!locked remove_rule"),
        ("-D", "Error deleting rule (Operation not permitted)", "!locked remove_rule"),
        ("-e 0", "Error sending enable request (Operation not permitted)", "!audit_enabled=0 old=2"),
        ("-b 5", "Error sending backlog limit request (Operation not permitted)", "!audit_backlog_limit=5 old=64"),
        ("-f 2", "Error sending failure mode request (Operation not permitted)", "!audit_failure=2 old=1"),
        ("-t", "Error sending trim subtrees command (Operation not permitted)", "!Trim"),
    ] {
        let outcome = locked.run(&run(None, line), &NoHost, FACTS);
        assert_eq!(errors(&outcome), [(1, ErrorKind::Immutable, message)], "{line}");
        assert_eq!(changes(&outcome), [change], "{line}");
        assert!(!outcome.affects_kernel && listed(&outcome.store) == listed(&locked), "{line}");
        assert_eq!(outcome.store.settings(), locked.settings(), "{line}");
    }
    let outcome = locked.run(&run(Some("f"), "-D\n-w /b -p w"), &NoHost, FACTS);
    assert_eq!(errors(&outcome), [(0, ErrorKind::Immutable, IMMUTABLE)]);
    assert_eq!(changes(&outcome), ["!locked add_rule"]);
    let outcome = locked.run(&run(None, "-l"), &NoHost, FACTS);
    assert_eq!(outcome.ran.answers.len(), 1, "questions are answered");
}

#[test]
fn rules_are_confirmed_where_any_are_on_probation() {
    let store = store("-w /a -p w -k a");
    let outcome = store.run(&run(None, "--confirm"), &NoHost, Facts { probation: Some(5), ..FACTS });
    assert!(outcome.confirms && outcome.ran.answers.is_empty());
    assert_eq!(changes(&outcome), ["Confirm"]);
    let outcome = store.run(&run(None, "--confirm"), &NoHost, FACTS);
    assert!(!outcome.confirms);
    assert_eq!(errors(&outcome), [(1, ErrorKind::Invalid, "No rules are on probation")]);
    assert_eq!(changes(&outcome), ["!Confirm"]);
}

#[test]
fn stores_that_decide_alike_are_told_from_others() {
    let one = store("-w /a -p w -k a\n-w /b -p w -k b");
    assert!(one.decides_as(&one.clone()) && one.decides_as(&store("-w /a -p w -k a\n-w /b -p w -k b\n-b 8192")));
    for other in ["-w /b -p w -k b\n-w /a -p w -k a", "-w /a -p w -k a", "-w /a -p w -k a\n-w /b -p w -k b\n-e 0"] {
        assert!(!one.decides_as(&store(other)), "{other}");
    }
    assert!(one.without_rules().rules().is_empty());
}

#[test]
fn disabled_rules_are_kept_and_do_not_decide() {
    let disabled = store("-w /a -p w -k a\n-e 0");
    assert_eq!(disabled.rules().len(), 1);
    assert!(disabled.plan().unwrap().rules.is_empty());
    let outcome = disabled.run(&run(None, "-e 1"), &NoHost, FACTS);
    assert!(outcome.affects_kernel);
    assert_eq!(outcome.store.plan().unwrap().rules.len(), 1);
}

#[test]
fn rules_that_refuse_are_enforced_or_rehearsed() {
    let verdicts = |store: &Store| -> Vec<u32> {
        store.plan().unwrap().rules.iter().filter_map(|rule| rule.refusal).map(|refusal| refusal.verdict).collect()
    };
    let enforced = store("-w /a -p w --action deny\n-w /b -p w --action kill\n-w /c -p w");
    assert_eq!(verdicts(&enforced), [verdict::DENY, verdict::KILL]);
    let outcome = enforced.run(&run(None, "--enforce 0"), &NoHost, FACTS);
    assert!(outcome.affects_kernel);
    assert_eq!(changes(&outcome), ["enforce=0 old=1"]);
    assert_eq!(verdicts(&outcome.store), [verdict::WOULD_DENY; 2]);
    assert_eq!(listed(&outcome.store), listed(&enforced), "the rules are the same");
    let outcome = outcome.store.run(&run(None, "--enforce 1"), &NoHost, FACTS);
    assert_eq!(verdicts(&outcome.store), [verdict::DENY, verdict::KILL]);
    let outcome = enforced.run(&run(None, "--enforce 2"), &NoHost, FACTS);
    assert_eq!(errors(&outcome)[0].1, ErrorKind::Invalid);
    // As the configuration says at the start.
    assert_eq!(verdicts(&enforced.enforcing(false).0), [verdict::WOULD_DENY; 2]);
    assert!(enforced.enforcing(true).1.is_empty());
    let locked = store("-w /a -p w --action deny\n-e 2").run(&run(None, "--enforce 0"), &NoHost, FACTS);
    assert_eq!((errors(&locked)[0].1, verdicts(&locked.store)), (ErrorKind::Immutable, vec![verdict::DENY]));
}

#[test]
fn a_guard_comes_first_and_is_not_among_the_rules() {
    let config = Config { protect: vec![Protect::Bpf], protect_locked: Vec::new(), ..Config::default() };
    let text = "-a never,task -F uid=7\n-w /a -p w --action deny\n-w /b -p w";
    let guarded = store(text).guarded_by(Guard::of_daemon(&config, None, None));
    assert_eq!(listed(&guarded), listed(&store(text)));
    let numbers = |store: &Store| -> Vec<u32> { store.plan().unwrap().rules.iter().map(|rule| rule.number).collect() };
    let guard = u32::try_from(Guard::of_daemon(&config, None, None).rules().unwrap().len()).unwrap();
    let of_guard: Vec<u32> = (3..3 + guard).collect();
    assert_eq!(
        numbers(&guarded),
        [&[1], of_guard.as_slice(), &[1, 2]].concat(),
        "the task list is before the exit list"
    );
    // Out of force and in rehearsal are the user's rules alone.
    let off = guarded.run(&run(None, "-e 0"), &NoHost, FACTS).store;
    assert_eq!(numbers(&off), (1..=guard).collect::<Vec<_>>());
    let rehearsed = guarded.enforcing(false).0.plan().unwrap();
    let verdicts: Vec<_> = rehearsed.rules.iter().filter_map(|rule| rule.refusal).map(|it| it.verdict).collect();
    assert_eq!(verdicts, [vec![verdict::DENY; guard as usize], vec![verdict::WOULD_DENY]].concat());
}

#[test]
fn what_is_locked_goes_on_with_another_guard() {
    let text = "-a never,task -F uid=7\n-w /a/with\\ space -p w -k one --action deny\n-a deny,exit -F arch=b64 -S open -F dir=/b -F errno=EIO -k two\n\
                -a always,exclude -F msgtype=CWD\n-b 8192\n--enforce 0";
    assert_eq!(store(text).locked(), None);
    let before = store(&format!("{text}\n-e 2"));
    let told = serde_json::to_vec(&before.locked().unwrap()).unwrap();
    let locked: Locked = serde_json::from_slice(&told).unwrap();
    let config = Config { protect: vec![Protect::Bpf], ..Config::default() };
    let after = Store::relocked(&locked, Guard::of_daemon(&config, None, None)).unwrap();
    assert_eq!((listed(&after), *after.settings()), (listed(&before), *before.settings()));
    assert!(after.is_locked() && after.is_guarded() && after.changes_to(&before).is_empty());
    assert!(Store::relocked(&store("-e 2").locked().unwrap(), Guard::default()).unwrap().rules().is_empty());
}

#[test]
fn settings_are_remembered_and_shown() {
    let outcome = Store::default().run(&run(None, "-b 8192\n-r 10\n--backlog_wait_time 60000\n-s"), &NoHost, FACTS);
    let Said::Status { status, interpret: false } = outcome.ran.answers[3].said else { panic!("{:?}", outcome.ran) };
    assert_eq!((status.backlog_limit, status.rate_limit, status.backlog_wait_time), (8192, 10, 60_000));
    assert_eq!((status.pid, status.lost, status.enabled, status.failure), (77, 5, 1, 1));
    let outcome = Store::default().run(&run(None, "--backlog_wait_time 150001"), &NoHost, FACTS);
    let message = "Error sending backlog limit request (Invalid argument)";
    assert_eq!(errors(&outcome), [(1, ErrorKind::Invalid, message)]);
    let outcome = Store::default().run(&run(None, "--reset-lost"), &NoHost, FACTS);
    assert!(outcome.resets_lost);
    assert_eq!(changes(&outcome), ["lost=0 old=5"]);
    assert_eq!(outcome.ran.answers[0].said, Said::Lost { count: 5 });
}

#[test]
fn rule_files_replace_rules_and_keep_settings() {
    let old = store("-b 100\n-w /a -p w -k a\n-w /b -p w -k b");
    let source = rules::Source { name: None, text: b"-e 2\n-D\n-f 2\n-w /b -p w -k b\n-m hello\n".to_vec() };
    let rules = rules::parse(&[source], &NoHost).into_loadable().unwrap().0;
    let (new, changes) = old.replaced(rules);
    assert_eq!(listed(&new), "-w /b -p w -k b\n");
    let Settings { backlog_limit, failure, enabled, .. } = *new.settings();
    assert_eq!((backlog_limit, failure, enabled), (100, 2, 2));
    let whats: Vec<_> = changes.into_iter().map(|change| change.what).collect();
    assert!(matches!(&whats[0], What::RemoveRule(rule) if rule.keys == [b"a"]), "{whats:?}");
    assert_eq!(whats[1], What::Set { name: "audit_failure", new: 2, old: 1 });
    assert_eq!(whats[2], What::Message(b"hello".to_vec()));
    assert_eq!(whats[3], What::Set { name: "audit_enabled", new: 2, old: 1 });
    assert_eq!(whats.len(), 4);
}
