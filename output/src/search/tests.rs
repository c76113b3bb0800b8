use super::*;
use crate::event::{Body, SyscallEvent};
use crate::read::{LogNames, Reader};
use crate::samples;

fn entry(body: Body) -> Entry {
    Entry { node: samples::NODE.to_owned(), event: samples::event(body), names: LogNames::default() }
}

fn call(call: SyscallEvent) -> Entry {
    entry(Body::Syscall(Box::new(call)))
}

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

/// joe's `cat` may not read `/etc/shadow`: which queries mean it, and which do not.
#[test]
fn each_test_tells_an_event_from_others() {
    let event = call(samples::open_failed());
    let any = Query::default;
    let users = |users: Users| Query { users, ..any() };
    let groups = |groups: Groups| Query { groups, ..any() };
    for (right, wrong) in [
        (Query { serial: Some(2_147_483_649), ..any() }, Query { serial: Some(1), ..any() }),
        (Query { node: text("web1"), ..any() }, Query { node: text("web"), ..any() }),
        (Query { pid: Some(812), ..any() }, Query { pid: Some(800), ..any() }),
        (Query { ppid: Some(800), ..any() }, Query { ppid: Some(812), ..any() }),
        (users(Users { uid: Some(1000), ..Users::default() }), users(Users { uid: Some(0), ..Users::default() })),
        (users(Users { any: Some(1000), ..Users::default() }), users(Users { any: Some(0), ..Users::default() })),
        (
            groups(Groups { egid: Some(1000), ..Groups::default() }),
            groups(Groups { any: Some(0), ..Groups::default() }),
        ),
        (Query { session: Some(3), ..any() }, Query { session: Some(4), ..any() }),
        (Query { call: Some(Call::Number(257)), ..any() }, Query { call: Some(Call::Number(2)), ..any() }),
        (
            Query { call: Some(Call::Name("openat".to_owned())), ..any() },
            Query { call: Some(Call::Name("open".to_owned())), ..any() },
        ),
        (Query { exit: Some(-13), ..any() }, Query { exit: Some(13), ..any() }),
        (Query { success: Some(false), ..any() }, Query { success: Some(true), ..any() }),
        (Query { comm: text("ca"), ..any() }, Query { comm: text("cats"), ..any() }),
        (Query { exe: text("/usr/bin"), ..any() }, Query { exe: text("/usr/sbin"), ..any() }),
        (Query { file: text("/etc/shadow"), ..any() }, Query { file: text("/etc/passwd"), ..any() }),
        (Query { file: text("/home/joe"), ..any() }, Query { file: text("/home/jim"), ..any() }),
        (Query { terminal: text("pts0"), ..any() }, Query { terminal: text("pts1"), ..any() }),
        (Query { key: text("shad"), ..any() }, Query { key: text("etc"), ..any() }),
    ] {
        assert!(right.matches(&event), "{right:?}");
        assert!(!wrong.matches(&event), "{wrong:?}");
        let both = Query { pid: right.pid.or(Some(812)), comm: text("nobody"), ..right };
        assert!(!both.matches(&event), "every test must pass: {both:?}");
    }
}

#[test]
fn whole_texts() {
    let event = call(samples::open_failed());
    let query = |key: &str| Query { key: text(key), comparison: Comparison::Whole, ..Query::default() };
    assert!(query("shadow").matches(&event));
    assert!(!query("shad").matches(&event));
}

#[test]
fn times_are_whole_seconds_and_include_both_ends() {
    let event = call(samples::exec());
    let within = |from, to| Query { from, to, ..Query::default() }.matches(&event);
    let second = 1_795_503_850;
    assert!(within(Some(second), Some(second)));
    assert!(!within(Some(second + 1), None));
    assert!(!within(None, Some(second - 1)));
    assert!(within(None, None));
}

#[test]
fn a_type_is_that_of_any_record_of_the_event() {
    let of = |record_type: &str| Query { record_types: vec![record_type.to_owned()], ..Query::default() };
    for (record_type, event) in [
        ("SYSCALL", call(samples::exec())),
        ("EXECVE", call(samples::exec())),
        ("PATH", call(samples::open_failed())),
        ("AVC", call(samples::read_from_native())),
        ("URINGOP", call(samples::uring_read_from_native())),
        ("LOST", entry(samples::lost())),
        ("DAEMON_START", entry(samples::daemon())),
        ("LOGIN", entry(samples::login())),
    ] {
        assert!(of(record_type).matches(&event), "{record_type}");
        assert!(!of("SOCKADDR").matches(&event), "{record_type}");
    }
}

#[test]
fn addresses_of_a_call() {
    let event = call(samples::connect(&[2, 0, 0, 80, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]));
    assert!(Query { host: text("127.0.0.1"), ..Query::default() }.matches(&event));
    assert!(!Query { host: text("127.0.0.2"), ..Query::default() }.matches(&event));
    let event = call(samples::connect(b"\x01\0/run/x"));
    assert!(Query { file: text("/run/x"), ..Query::default() }.matches(&event));
}

#[test]
fn records_of_programs_have_fields_too() {
    let line = "type=USER_LOGIN msg=audit(1.5:7): pid=9 uid=0 auid=1000 ses=3 msg='op=login acct=\"joe\" \
                exe=\"/usr/sbin/sshd\" hostname=192.0.2.7 addr=192.0.2.7 terminal=/dev/pts/1 res=failed'\n";
    let entry = Reader::new(line.as_bytes()).next().unwrap().unwrap();
    let all = Query {
        pid: Some(9),
        users: Users { auid: Some(1000), any: Some(0), ..Users::default() },
        session: Some(3),
        exe: text("sshd"),
        host: text("192.0.2.7"),
        terminal: text("pts/1"),
        success: Some(false),
        record_types: vec!["USER_LOGIN".to_owned()],
        ..Query::default()
    };
    assert!(all.matches(&entry));
    assert!(!Query { success: Some(true), ..all.clone() }.matches(&entry));
    assert!(!Query { call: Some(Call::Number(59)), ..all }.matches(&entry));
}

fn shown(layout: Layout, body: Body) -> String {
    let event = samples::event(body);
    let mut lines = Vec::new();
    layout.write(&samples::record(&event), Content::Raw, &chrono::Utc, &mut lines);
    String::from_utf8(lines).unwrap()
}

#[test]
fn the_default_layout_is_ausearchs() {
    let shown = shown(Layout::Default, Body::Syscall(Box::new(samples::open_failed())));
    let lines: Vec<_> = shown.lines().collect();
    assert_eq!(lines[..2], ["----", "time->Tue Nov 24 07:04:10 2026"]);
    assert!(lines[2].contains("type=PATH") && lines[3].contains("type=CWD"), "{shown}");
    assert!(lines[4].contains("type=SYSCALL msg=audit(1795503850.123:2147483649): "), "{shown}");
    assert_eq!(lines.len(), 5);
}

#[test]
fn columns() {
    let columns = Layout::Csv.heading().unwrap().split(',').count();
    let row = shown(Layout::Csv, Body::Syscall(Box::new(samples::open_failed())));
    let expected = "web1,SYSCALL,2026-11-24,07:04:10,2147483649,audit-rule,3,joe,joe,user-acct,openat,failed,/etc/shadow,,\
                    file,/usr/bin/cat\n";
    assert_eq!(row, expected);
    assert_eq!(row.split(',').count(), columns);
    let mut odd = samples::open_failed();
    odd.paths[0].path = Some(b"/a,\"b\"\n\x1b[2J".to_vec());
    let row = shown(Layout::Csv, Body::Syscall(Box::new(odd)));
    assert!(row.contains(r#","/a,""b""\n\u{1b}[2J",,file,"#), "{row}");
    for event in samples::every_kind() {
        assert_eq!(shown(Layout::Csv, event.body).lines().count(), 1);
    }
}

#[test]
fn raw_is_read_again() {
    for event in samples::every_kind() {
        let shown = shown(Layout::Raw, event.body);
        assert!(Reader::new(shown.as_bytes()).all(|entry| entry.is_ok()), "{shown}");
    }
}
