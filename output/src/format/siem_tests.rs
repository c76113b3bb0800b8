//! What Elastic, OCSF and CEF readers see.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::event::{Body, Message, SyscallEvent};
use crate::format::Format;
use crate::samples;

fn line(format: Format, body: Body) -> String {
    let event = samples::event(body);
    let mut line = Vec::new();
    format.write_lines(&samples::record(&event), &mut line);
    String::from_utf8(line).unwrap()
}

fn value(format: Format, call: SyscallEvent) -> Value {
    serde_json::from_str(&line(format, Body::Syscall(Box::new(call)))).unwrap()
}

/// Values that the schema allows, <https://www.elastic.co/docs/reference/ecs/ecs-allowed-values-event-category>.
#[test]
fn ecs_has_only_values_that_it_allows() {
    const KINDS: [&str; 3] = ["alert", "event", "pipeline_error"];
    const CATEGORIES: [&str; 6] = ["configuration", "driver", "file", "host", "network", "process"];
    const TYPES: [&str; 10] =
        ["access", "change", "connection", "creation", "deletion", "denied", "end", "error", "info", "start"];
    for event in samples::every_kind() {
        let value: Value = serde_json::from_str(&line(Format::Ecs, event.body)).unwrap();
        let all = |key: &str, allowed: &[&str]| {
            let values = value["event"][key].as_array().unwrap();
            values.iter().all(|value| allowed.contains(&value.as_str().unwrap())) && !values.is_empty()
        };
        assert!(KINDS.contains(&value["event"]["kind"].as_str().unwrap()), "{value}");
        assert!(all("category", &CATEGORIES) && all("type", &TYPES), "{value}");
        assert!(value["@timestamp"].is_string() && value["ecs"]["version"].is_string(), "{value}");
    }
}

#[test]
fn an_exec_in_ecs() {
    let value = value(Format::Ecs, samples::exec());
    assert_eq!(value["event"]["action"], "executed");
    assert_eq!((&value["event"]["category"], &value["event"]["type"]), (&json!(["process"]), &json!(["start"])));
    assert_eq!((&value["event"]["outcome"], &value["tags"]), (&json!("success"), &json!(["exec"])));
    assert_eq!(value["process"]["args"], json!(["ls", "-l", "a b", "caf\\xe9"]));
    assert_eq!(value["process"]["executable"], "/usr/bin/ls");
    assert_eq!((&value["user"]["name"], &value["user"]["effective"]["id"]), (&json!("joe"), &json!("0")));
    assert_eq!(value["user"]["audit"]["name"], "joe");
}

#[test]
fn a_refused_rename_in_ecs_is_an_alert() {
    let value = value(Format::Ecs, samples::rename_denied());
    assert_eq!((&value["event"]["kind"], &value["event"]["type"]), (&json!("alert"), &json!(["change", "denied"])));
    assert_eq!((&value["event"]["outcome"], &value["error"]["code"]), (&json!("failure"), &json!("EPERM")));
    assert_eq!(value["file"]["path"], "/etc/b", "what came to be, not its directory");
    assert_eq!(value["user"].get("audit"), None, "never logged in");
}

#[test]
fn a_connection_in_every_format() {
    let call = samples::connect(&[2, 0, 0, 80, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    let ecs = value(Format::Ecs, call.clone());
    assert_eq!((&ecs["destination"]["ip"], &ecs["destination"]["port"]), (&json!("127.0.0.1"), &json!(80)));
    assert_eq!((&ecs["network"]["type"], &ecs["network"]["direction"]), (&json!("ipv4"), &json!("egress")));
    let ocsf = value(Format::Ocsf, call.clone());
    assert_eq!((&ocsf["type_uid"], &ocsf["dst_endpoint"]["port"]), (&json!(400_101), &json!(80)));
    let cef = line(Format::Cef, Body::Syscall(Box::new(call)));
    assert!(cef.contains("|SYSCALL:connect|connected-to|2|") && cef.contains(" dst=127.0.0.1 dpt=80 "), "{cef}");
}

#[test]
fn refusals_and_logins_in_ocsf() {
    let refused = value(Format::Ocsf, samples::rename_denied());
    assert_eq!((&refused["class_uid"], &refused["activity_id"]), (&json!(1001), &json!(5)));
    assert_eq!((&refused["disposition_id"], &refused["action_id"]), (&json!(2), &json!(2)));
    let text =
        b"pid=1 uid=0 auid=1000 ses=3 msg='op=login id=1000 exe=\"/usr/sbin/sshd\" addr=::1 res=failed'".to_vec();
    let login = Body::Messages(vec![Message { record_type: "USER_LOGIN".into(), text }]);
    let login: Value = serde_json::from_str(&line(Format::Ocsf, login)).unwrap();
    assert_eq!((&login["type_uid"], &login["status_id"]), (&json!(300_201), &json!(2)));
    assert_eq!((&login["user"]["name"], &login["src_endpoint"]["ip"]), (&json!("joe"), &json!("::1")));
    assert_eq!(login["service"]["name"], "/usr/sbin/sshd");
}

#[test]
fn nothing_breaks_out_of_a_cef_field() {
    let mut call = samples::open_failed();
    call.paths[0].path = Some(b"/tmp/a=b|c\\d\ncs1=forged".to_vec());
    call.rule.keys = [b"k=v".to_vec()].into();
    let cef = line(Format::Cef, Body::Syscall(Box::new(call)));
    assert!(cef.starts_with("CEF:0|auditd-bpf|auditd-bpf|") && cef.lines().count() == 1, "{cef}");
    assert!(cef.contains(r" filePath=/tmp/a\=b|c\\\\d\\ncs1\=forged "), "{cef}");
    assert!(cef.contains(r" cs1Label=key cs1=k\=v ") && cef.contains(" reason=EACCES "), "{cef}");
}

const VALIDATOR: &str = r#"
import json, sys
from jsonschema import Draft202012Validator
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema
schema = OcsfJsonSchemaEmbedded(get_ocsf_schema(version="1.3.0"))
validators = {}
for line in sys.stdin:
    event = json.loads(line)
    name = schema.lookup_class_name_from_uid(event["class_uid"])
    if name not in validators:
        validators[name] = Draft202012Validator(schema.get_class_schema(name, profiles=["host", "security_control"]))
    for error in validators[name].iter_errors(event):
        print(name, error.json_path, error.message[:300])
"#;

/// The published schema is in the PyPI package ocsf-json-schema, which `cargo xtask setup` puts into `target/tools/python`.
#[test]
fn ocsf_is_valid_against_the_published_schema() {
    let python = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/tools/python/bin/python");
    let has = Command::new(python).args(["-c", "import ocsf_json_schema, jsonschema"]).stderr(Stdio::null()).status();
    if !has.is_ok_and(|status| status.success()) {
        return eprintln!(
            "SKIP: no ocsf-json-schema and jsonschema in target/tools/python; `cargo xtask setup` installs them"
        );
    }
    let logins = ["USER_LOGIN", "USER_LOGOUT"].map(|record_type| {
        let text =
            b"pid=1 uid=0 auid=1000 ses=3 msg='op=login id=1000 exe=\"/usr/sbin/sshd\" addr=? res=success'".to_vec();
        samples::event(Body::Messages(vec![Message { record_type: record_type.into(), text }]))
    });
    let lines: String =
        samples::every_kind().into_iter().chain(logins).map(|event| line(Format::Ocsf, event.body)).collect();
    let mut child =
        Command::new(python).args(["-c", VALIDATOR]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "");
}
