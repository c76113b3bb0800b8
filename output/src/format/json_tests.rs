//! What a reader of the log sees.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::escape::unescape;
use crate::event::{Body, Event, SyscallEvent};
use crate::format::Format;
use crate::samples;

const SCHEMA: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/records.schema.json"));

fn line(event: &Event) -> String {
    let mut line = Vec::new();
    Format::Json.write_lines(&samples::record(event), &mut line);
    String::from_utf8(line).unwrap()
}

fn parsed(call: SyscallEvent) -> Value {
    serde_json::from_str(&line(&samples::event(Body::Syscall(Box::new(call))))).unwrap()
}

#[test]
fn every_kind_of_record_is_valid() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    for event in samples::every_kind() {
        let text = line(&event);
        let value = serde_json::from_str(&text).unwrap();
        let errors: Vec<String> =
            validator.iter_errors(&value).map(|error| format!("{} at {}", error, error.instance_path)).collect();
        assert!(errors.is_empty(), "{text}{errors:#?}");
    }
}

#[test]
fn the_schema_refuses_what_is_not_a_record() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let good = parsed(samples::exec());
    assert!(validator.is_valid(&good));
    for (key, bad) in [
        ("surprise", json!(1)),
        ("auid", json!("1000")),
        ("auid", json!(4_294_967_295_u32)),
        ("comm", json!("a\\b")),
        ("time", json!("2026-11-24 07:04:10")),
        ("verdict", json!("maybe")),
        ("schema", json!(2)),
    ] {
        let mut record = good.clone();
        record[key] = bad;
        assert!(!validator.is_valid(&record), "{record}");
    }
}

#[test]
fn a_line_as_a_whole() {
    let event = samples::event(Body::Syscall(Box::new(samples::open_failed())));
    let expected = concat!(
        r#"{"time":"2026-11-24T07:04:10.123456789Z","serial":2147483649,"node":"web1","schema":1,"type":"SYSCALL","#,
        r#""keys":["shadow"],"rule":"-w /etc -p rwxa -k etc","rule_number":3,"action":"always","verdict":"allow","#,
        r#""syscall":"openat","syscall_number":257,"arch":"x86_64","#,
        r#""args":["0xffffff9c","0x7ffd00001000","0x0","0x0","0x0","0xffffffffffffffff"],"#,
        r#""success":false,"exit":-13,"errno":"EACCES","pid":812,"tid":812,"ppid":800,"#,
        r#""auid":1000,"auid_name":"joe","uid":1000,"uid_name":"joe","euid":1000,"euid_name":"joe","#,
        r#""suid":1000,"suid_name":"joe","fsuid":1000,"fsuid_name":"joe","gid":1000,"gid_name":"joe","#,
        r#""egid":1000,"egid_name":"joe","sgid":1000,"sgid_name":"joe","fsgid":1000,"fsgid_name":"joe","#,
        r#""session":3,"tty":"pts0","comm":"cat","exe":"/usr/bin/cat","exe_dev":"08:01","exe_inode":4711,"#,
        r#""cwd":"/home/joe","paths":[{"path":"/etc/shadow","nametype":"UNKNOWN","source":"user"}]}"#,
        "\n"
    );
    assert_eq!(line(&event), expected);
}

#[test]
fn unset_ids_are_null_and_unknown_ones_have_no_name() {
    let mut call = samples::rename_denied();
    call.ids.uid = 4242;
    let record = parsed(call);
    assert_eq!((&record["auid"], &record["auid_name"]), (&Value::Null, &json!("unset")));
    assert_eq!((&record["uid"], record.get("uid_name")), (&json!(4242), None));
    assert_eq!(record["session"], Value::Null);
}

#[test]
fn what_does_not_apply_is_absent() {
    let record = parsed(samples::device_killed());
    for key in ["success", "exit", "errno", "syscall", "exe", "cwd", "argv", "address", "targets"] {
        assert_eq!(record.get(key), None, "{key}");
    }
    assert_eq!(record["arch"], "0x1234");
    assert_eq!(record["paths"][0]["mode"], "060660");
    assert_eq!(record["paths"][0]["rdev"], "08:00");
}

#[test]
fn addresses() {
    let address = |bytes: &[u8]| parsed(samples::connect(bytes))["address"].clone();
    let inet = [2, 0, 0, 80, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(address(&inet), json!({"family": "inet", "ip": "127.0.0.1", "port": 80}));
    assert_eq!(address(b"\x01\0/run/x\0"), json!({"family": "local", "path": "/run/x"}));
    assert_eq!(address(b"\x01\0\0a\xff"), json!({"family": "local", "abstract": "a\\xff"}));
    assert_eq!(address(&[40, 0, 255]), json!({"family": "vsock", "family_number": 40, "hex": "2800ff"}));
}

#[test]
fn losses_add_up() {
    let record: Value = serde_json::from_str(&line(&samples::event(samples::lost()))).unwrap();
    assert_eq!(record["lost"], 12);
    assert_eq!(record["losses"][1], json!({"cause": "queue_full", "count": 2}));
}

/// Keys that differ only in case break search engines.
#[test]
fn keys_are_lower_case() {
    fn check(value: &Value) {
        match value {
            Value::Object(map) => map.iter().for_each(|(key, value)| {
                assert!(key.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_')), "{key}");
                check(value);
            }),
            Value::Array(items) => items.iter().for_each(check),
            _ => {}
        }
    }
    for event in samples::every_kind() {
        check(&serde_json::from_str(&line(&event)).unwrap());
    }
}

proptest! {
    #[test]
    fn every_argument_comes_back_and_nothing_acts_on_a_terminal(
        argv in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..24), 0..4),
        text in any::<String>(),
    ) {
        let argv: Vec<Vec<u8>> = argv.into_iter().chain([text.into_bytes(), "\u{7f}\u{9b}\u{85}é\u{c2}".into()]).collect();
        let mut call = samples::exec();
        call.argv = Some(argv.clone());
        let line = line(&samples::event(Body::Syscall(Box::new(call))));
        prop_assert!(!line.trim_end_matches('\n').chars().any(char::is_control), "{line:?}");
        let record: Value = serde_json::from_str(&line).unwrap();
        let read: Vec<Vec<u8>> =
            record["argv"].as_array().unwrap().iter().map(|item| unescape(item.as_str().unwrap()).unwrap()).collect();
        prop_assert_eq!(read, argv);
    }
}
