//! The `ocsf` format: Open Cybersecurity Schema Framework 1.3, with the profiles `host` and `security_control`. What has no
//! place there is below `unmapped`.

use serde_json::{Value, json};

use super::classify::{
    self, FILE_ACTIVITY, KERNEL_ACTIVITY, KERNEL_EXTENSION, Kind, NETWORK_ACTIVITY, PROCESS_ACTIVITY,
};
use super::native;
use super::siem::{base, directory, list, object, optional, pruned, subject, text};
use crate::address::Address;
use crate::escape::escape;
use crate::event::{Body, DaemonEvent, Loss, Message, PathItem, SyscallEvent, Verdict};
use crate::record::{Record, UNSET};

/// Version of the schema.
const OCSF_VERSION: &str = "1.3.0";
const EVENT_LOG: u32 = 1008;
const AUTHENTICATION: u32 = 3002;
/// What an entry of a log is an entry of.
const LOG_NAME: &str = "auditd-bpf";
/// Activity that the class does not name.
const OTHER: u32 = 99;

/// The record as an object.
pub(super) fn value(record: &Record<'_>) -> Value {
    match &record.event.body {
        Body::Syscall(call) => syscall(record, call),
        Body::Lost(losses) => lost(record, losses),
        Body::Daemon(daemon) => self::daemon(record, daemon),
        Body::Messages(messages) => self::messages(record, messages),
    }
}

/// What every event has.
fn event(record: &Record<'_>, (class, activity): (u32, u32), severity: u32, labels: Value, own: Value) -> Value {
    let metadata = object([
        ("version", json!(OCSF_VERSION)),
        ("product", json!({ "name": "auditd-bpf", "vendor_name": "auditd-bpf", "version": env!("CARGO_PKG_VERSION") })),
        ("profiles", json!(["host", "security_control"])),
        ("sequence", json!(record.event.serial)),
        ("event_code", json!(record.record_type())),
        ("labels", labels),
    ]);
    let mut value = json!({
        "time": record.event.time / 1_000_000,
        "category_uid": class / 1000,
        "class_uid": class,
        "activity_id": activity,
        "type_uid": class * 100 + activity,
        "severity_id": severity,
        "metadata": metadata,
        "device": { "hostname": record.node, "type_id": 0 },
    });
    if let (Value::Object(all), Value::Object(own)) = (&mut value, own) {
        all.extend(own);
    }
    pruned(value)
}

fn status(success: Option<bool>) -> u32 {
    match success {
        Some(true) => 1,
        Some(false) => 2,
        None => 0,
    }
}

fn syscall(record: &Record<'_>, call: &SyscallEvent) -> Value {
    let kind = classify::kind(record, call);
    let (class, activity) = class(kind, call);
    // Allowed, blocked; what a rule would have refused went through.
    let (action, disposition, severity) = match call.verdict {
        Verdict::Allow | Verdict::WouldDeny => (1, 1, 1),
        Verdict::Deny | Verdict::Kill => (2, 2, 3),
    };
    let name = record.names.syscall(call.arch, call.syscall);
    let called = name.map_or_else(|| call.syscall.to_string(), str::to_owned);
    let actor = process(record, call);
    let own = json!({
        "activity_name": if activity == OTHER { json!(kind.facts().action) } else { Value::Null },
        "status_id": status(call.success()),
        "status_code": record.errno(call),
        "action_id": action,
        "disposition_id": disposition,
        "actor": { "process": actor, "user": user(record, call.ids.auid, call.ids.uid), "session": session(call) },
        "file": if class == FILE_ACTIVITY { subject(call).map_or(Value::Null, |item| file(record, item)) } else { Value::Null },
        "process": if class == PROCESS_ACTIVITY { acted_upon(record, call, actor.clone()) } else { Value::Null },
        "driver": if class == KERNEL_EXTENSION { json!({ "file": module(call) }) } else { Value::Null },
        "kernel": if class == KERNEL_ACTIVITY {
            json!({ "name": called, "type_id": 2, "system_call": called })
        } else { Value::Null },
        "dst_endpoint": if class == NETWORK_ACTIVITY { endpoint(call) } else { Value::Null },
        "unmapped": unmapped(call, &called),
    });
    event(record, (class, activity), severity, list(call.rule.keys.iter().map(|key| text(key))), own)
}

/// A class needs its object: without one, an act is a call of the kernel.
fn class(kind: Kind, call: &SyscallEvent) -> (u32, u32) {
    let (class, activity) = kind.facts().ocsf;
    match class {
        FILE_ACTIVITY if subject(call).is_none() => (KERNEL_ACTIVITY, 4),
        NETWORK_ACTIVITY if endpoint(call).is_null() => (KERNEL_ACTIVITY, 4),
        _ => (class, activity),
    }
}

fn unmapped(call: &SyscallEvent, called: &str) -> Value {
    object([
        ("syscall", json!(called)),
        ("verdict", json!(call.verdict.name())),
        ("exit", call.exit.map_or(Value::Null, Value::from)),
        ("rule", if call.rule.number == 0 { Value::Null } else { json!(&*call.rule.text) }),
        ("cwd", optional(call.cwd.as_ref())),
        ("euid", json!(call.ids.euid)),
        ("paths", list(call.paths.iter().filter_map(|item| Some(text(item.path.as_ref()?))))),
    ])
}

/// The login user where there is one, who stays the same through su and sudo.
fn user(record: &Record<'_>, auid: u32, uid: u32) -> Value {
    let id = if auid == UNSET { uid } else { auid };
    let name = record.user(id).map_or(Value::Null, |name| json!(&*name));
    object([("uid", json!(id.to_string())), ("name", name)])
}

fn session(call: &SyscallEvent) -> Value {
    if call.session == UNSET { Value::Null } else { json!({ "uid": call.session.to_string() }) }
}

fn process(record: &Record<'_>, call: &SyscallEvent) -> Value {
    let exe = call
        .exe
        .as_ref()
        .map_or(Value::Null, |exe| json!({ "name": text(base(exe)), "path": text(exe), "type_id": 1 }));
    let line = call.argv.as_ref().map(|argv| argv.join(&b' ')).or_else(|| {
        let title = call.proctitle.as_ref()?;
        Some(title.iter().map(|byte| if *byte == 0 { b' ' } else { *byte }).collect())
    });
    object([
        ("pid", json!(call.pid)),
        ("tid", call.tid.map_or(Value::Null, |tid| json!(tid))),
        ("name", text(&call.comm)),
        ("file", exe),
        ("cmd_line", optional(line.as_ref())),
        ("user", user(record, UNSET, call.ids.uid)),
        ("parent_process", json!({ "pid": call.ppid })),
    ])
}

/// The process of a process activity: the one acted upon, or the acting one itself.
fn acted_upon(record: &Record<'_>, call: &SyscallEvent, actor: Value) -> Value {
    let Some(target) = call.targets.first() else { return actor };
    object([("pid", json!(target.pid)), ("name", text(&target.comm)), ("user", user(record, target.auid, target.uid))])
}

fn file(record: &Record<'_>, item: &PathItem) -> Value {
    let path = item.path.as_deref().unwrap_or_default();
    let owner = item.inode.map_or(Value::Null, |inode| user(record, UNSET, inode.uid));
    let type_id = item.inode.map_or(0, |inode| match inode.mode & 0o170_000 {
        0o100_000 => 1,
        0o040_000 => 2,
        0o020_000 => 3,
        0o060_000 => 4,
        0o010_000 => 5,
        0o140_000 => 6,
        0o120_000 => 7,
        _ => 99,
    });
    object([
        ("name", text(base(path))),
        ("path", text(path)),
        ("parent_folder", directory(path).map_or(Value::Null, text)),
        ("type_id", json!(type_id)),
        ("uid", item.inode.map_or(Value::Null, |inode| json!(inode.ino.to_string()))),
        ("owner", owner),
    ])
}

fn module(call: &SyscallEvent) -> Value {
    let named = call.parts.iter().find_map(|part| match part {
        crate::event::Part::KernelModule { name } => name.as_ref(),
        _ => None,
    });
    let path = subject(call).and_then(|item| item.path.as_ref());
    let name = named.map(Vec::as_slice).or_else(|| path.map(|path| base(path)));
    object([("name", name.map_or(json!("unknown"), text)), ("path", optional(path)), ("type_id", json!(1))])
}

fn endpoint(call: &SyscallEvent) -> Value {
    match call.sockaddr.as_deref().map(Address::decode) {
        Some(Address::Inet { ip, port }) => json!({ "ip": ip.to_string(), "port": port }),
        Some(Address::Inet6 { ip, port, .. }) => json!({ "ip": ip.to_string(), "port": port }),
        Some(Address::Path(path)) => json!({ "name": text(path) }),
        Some(Address::Abstract(name)) => json!({ "name": format!("@{}", escape(name)) }),
        _ => Value::Null,
    }
}

fn lost(record: &Record<'_>, losses: &[Loss]) -> Value {
    let rows = losses.iter().map(|loss| json!({ "cause": loss.cause, "count": loss.count }));
    let total = losses.iter().fold(0_u64, |total, loss| total.saturating_add(loss.count));
    let unmapped = object([("lost", json!(total)), ("losses", list(rows))]);
    let own = json!({ "status_id": 2, "activity_name": "lost events", "action_id": 0, "log_name": LOG_NAME, "unmapped": unmapped });
    event(record, (EVENT_LOG, OTHER), 3, Value::Null, own)
}

fn daemon(record: &Record<'_>, daemon: &DaemonEvent) -> Value {
    let activity = match &*daemon.op {
        "rotate-logs" => 5,
        "start" => 6,
        "terminate" => 7,
        _ => OTHER,
    };
    let details = daemon.details.iter().map(|(name, value)| (name.to_string(), json!(value))).collect();
    let own = json!({
        "activity_name": if activity == OTHER { json!(daemon.op) } else { Value::Null },
        "status_id": status(Some(daemon.success)),
        "action_id": 0,
        "log_name": LOG_NAME,
        "actor": { "process": { "pid": daemon.pid }, "user": user(record, daemon.auid, daemon.uid) },
        "unmapped": Value::Object(details),
    });
    event(record, (EVENT_LOG, activity), 1, Value::Null, own)
}

/// Logging in and out is authentication; the rest is an entry of a log.
fn messages(record: &Record<'_>, messages: &[Message]) -> Value {
    let activity = match record.record_type() {
        "USER_LOGIN" | "USER_AUTH" | "USER_START" => Some(1),
        "USER_LOGOUT" | "USER_END" => Some(2),
        _ => None,
    };
    let rows = messages.iter().map(|message| json!({ "type": message.record_type, "text": text(&message.text) }));
    let unmapped = object([("records", list(rows))]);
    if let (Some(activity), Some(message)) = (activity, messages.first()) {
        return authentication(record, activity, message, &unmapped);
    }
    let own =
        json!({ "activity_name": record.record_type(), "action_id": 0, "log_name": LOG_NAME, "unmapped": unmapped });
    event(record, (EVENT_LOG, OTHER), 1, Value::Null, own)
}

fn authentication(record: &Record<'_>, activity: u32, message: &Message, unmapped: &Value) -> Value {
    let field =
        |name: &str| native::fields(&message.text).find(|(known, _)| *known == name.as_bytes()).map(|field| field.1);
    let shown =
        |name: &str| field(name).filter(|value| *value != b"?").map(|value| escape(value).trim_matches('"').to_owned());
    let id = |name: &str| field(name).and_then(|value| native::id(str::from_utf8(value).ok()?));
    let success = field("res").map(|result| matches!(result, b"success" | b"1"));
    let ip = shown("addr").filter(|address| address.parse::<std::net::IpAddr>().is_ok());
    let own = json!({
        "status_id": status(success),
        "user": user(record, id("id").or(id("auid")).unwrap_or(UNSET), id("uid").unwrap_or(UNSET)),
        "service": { "name": shown("exe").unwrap_or_else(|| "unknown".to_owned()) },
        "src_endpoint": ip.map(|ip| json!({ "ip": ip })),
        "unmapped": unmapped,
    });
    event(record, (AUTHENTICATION, activity), 1, Value::Null, own)
}
