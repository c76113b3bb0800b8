//! What was refused, in every format that others read.

use std::fs::{self, OpenOptions};
use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::daemon::wait_for;
use crate::harness::Alone;
use crate::place::Place;
use crate::session::{EVENT_TIME, Session, file_output, own_log};

pub const CASES: &[Alone] = &[Alone::new("refusal_is_told_in_every_format", refused)];

const RULES: &str = "-a deny,exit -F path={dir}/f -F perm=w -F errno=EACCES -k {key}";

fn log_of(place: &Place, format: &str) -> PathBuf {
    own_log(&format!("{}-{format}", place.name))
}

/// The record in a format, once it is written.
fn line(place: &Place, format: &str) -> Result<String> {
    wait_for(&format!("the record as {format}"), EVENT_TIME, || {
        let log = fs::read_to_string(log_of(place, format)).unwrap_or_default();
        Ok(log.lines().find(|line| line.contains(place.name)).map(str::to_owned))
    })
}

/// The record in a format that is JSON, and what of it is at each pointer (RFC 6901).
fn json_has(place: &Place, format: &str, expected: &[(&str, Value)]) -> Result<()> {
    let record: Value = serde_json::from_str(&line(place, format)?).with_context(|| format.to_owned())?;
    for (pointer, value) in expected {
        ensure!(record.pointer(pointer) == Some(value), "{format}: {pointer} is not {value}: {record}");
    }
    Ok(())
}

fn refused(place: &Place) -> Result<()> {
    let path = place.file("f")?;
    let receiver = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    receiver.set_read_timeout(Some(EVENT_TIME))?;
    let files = ["ecs", "ocsf", "cef", "native", "text"].map(|format| {
        let path = log_of(place, format);
        let path = path.display();
        format!("[[output]]\ntype = \"file\"\nformat = \"{format}\"\npath = \"{path}\"\ncompression = \"none\"\n")
    });
    let target = receiver.local_addr()?;
    let syslog = format!(
        "[[output]]\ntype = \"syslog\"\ntarget = \"udp://{target}\"\nfilter = {{ keys = [\"{}\"] }}\n",
        place.name
    );
    let log = own_log(place.name);
    let config = format!("{}{}{syslog}", file_output(&log), files.concat());
    let session = Session::start_with(place.name, &place.rules(RULES), &config, &log)?;
    let error = OpenOptions::new().write(true).open(&path).err().context("it was not refused")?;
    ensure!(error.kind() == io::ErrorKind::PermissionDenied, "{error}");

    let path = path.to_str().context("a path that is no text")?;
    json_has(
        place,
        "ecs",
        &[
            ("/event/kind", json!("alert")),
            ("/event/type", json!(["access", "denied"])),
            ("/event/outcome", json!("failure")),
            ("/error/code", json!("EACCES")),
            ("/rule/name", json!(place.name)),
            ("/file/path", json!(path)),
            ("/auditd_bpf/verdict", json!("deny")),
            ("/auditd_bpf/hook", json!("file_open")),
        ],
    )?;
    // File System Activity; Denied, Blocked; Failure.
    json_has(
        place,
        "ocsf",
        &[
            ("/class_uid", json!(1001)),
            ("/action_id", json!(2)),
            ("/disposition_id", json!(2)),
            ("/status_id", json!(2)),
            ("/status_code", json!("EACCES")),
            ("/file/path", json!(path)),
            ("/unmapped/verdict", json!("deny")),
        ],
    )?;
    let mut message = vec![0; 1 << 16];
    let length = receiver.recv(&mut message).context("no syslog message")?;
    let message = String::from_utf8_lossy(&message[..length]);
    // authpriv.warning (RFC 5424, 6.2.1).
    let begin = format!("<{}>1 ", 10 * 8 + 4);
    for (of, whole, part) in [
        ("syslog", message.as_ref(), "verdict=\"deny\""),
        ("syslog", &message, &begin),
        ("cef", &line(place, "cef")?, " act=deny outcome=failure reason=EACCES "),
        ("native", &line(place, "native")?, " success=no exit=-13 "),
        ("text", &line(place, "text")?, "refused"),
    ] {
        ensure!(whole.contains(part), "{of} has no {part:?}: {whole}");
    }
    session.stop()
}
