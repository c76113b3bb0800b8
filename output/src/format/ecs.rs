//! The `ecs` format: Elastic Common Schema 8. What has no place there is below `auditd_bpf`.

use chrono::SecondsFormat;
use serde_json::{Value, json};

use super::classify::{self, Kind};
use super::siem::{base, directory, list, object, optional, subject, text};
use crate::address::Address;
use crate::event::{Body, DaemonEvent, Loss, Message, SyscallEvent};
use crate::record::{Record, UNSET};

/// Version of the schema.
const ECS_VERSION: &str = "8.11.0";

/// The record as an object.
pub(super) fn value(record: &Record<'_>) -> Value {
    let specific = match &record.event.body {
        Body::Syscall(call) => syscall(record, call),
        Body::Lost(losses) => lost(losses),
        Body::Daemon(daemon) => self::daemon(record, daemon),
        Body::Messages(messages) => self::messages(messages),
    };
    let mut value = json!({
        "@timestamp": record.time().to_rfc3339_opts(SecondsFormat::Nanos, true),
        "ecs": { "version": ECS_VERSION },
        "host": { "name": record.node },
        "event": { "module": "auditd_bpf", "dataset": "auditd_bpf.log", "sequence": record.event.serial },
        "auditd_bpf": { "type": record.record_type() },
    });
    merge(&mut value, specific);
    value
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (_, Value::Null) => {}
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

fn event(kind: &str, category: &[&str], types: &[&str], action: &str, outcome: Value) -> Value {
    object([
        ("kind", json!(kind)),
        ("category", json!(category)),
        ("type", json!(types)),
        ("action", json!(action)),
        ("outcome", outcome),
    ])
}

fn outcome(success: Option<bool>) -> Value {
    json!(match success {
        Some(true) => "success",
        Some(false) => "failure",
        None => "unknown",
    })
}

fn syscall(record: &Record<'_>, call: &SyscallEvent) -> Value {
    let kind = classify::kind(record, call);
    let facts = kind.facts();
    let refused = call.verdict.refused();
    let types = [facts.ecs_type, if refused { &["denied"] } else { &[] }].concat();
    let event_kind = if refused { "alert" } else { "event" };
    let is_network = matches!(kind, Kind::Connect | Kind::Accept | Kind::Bind | Kind::Listen | Kind::Traffic);
    let name = record.names.syscall(call.arch, call.syscall);
    object([
        ("event", event(event_kind, facts.ecs_category, &types, facts.action, outcome(call.success()))),
        ("tags", list(call.rule.keys.iter().map(|key| text(key)))),
        ("rule", if call.rule.number == 0 { Value::Null } else { rule(call) }),
        ("user", users(record, call)),
        ("group", named(call.ids.gid, record.group(call.ids.gid).as_deref())),
        ("process", process(call)),
        ("file", subject(call).map_or(Value::Null, |item| file(record, item))),
        ("destination", if kind == Kind::Accept { Value::Null } else { address(call) }),
        ("source", if kind == Kind::Accept { address(call) } else { Value::Null }),
        ("network", if is_network && call.sockaddr.is_some() { network(call, kind) } else { Value::Null }),
        ("error", record.errno(call).map_or(Value::Null, |errno| json!({ "code": errno }))),
        (
            "auditd_bpf",
            object([
                ("syscall", name.map_or(json!(call.syscall), |name| json!(name))),
                ("verdict", json!(call.verdict.name())),
                ("exit", call.exit.map_or(Value::Null, Value::from)),
                ("hook", call.hook.as_ref().map_or(Value::Null, |hook| json!(hook))),
                ("session", unless_unset(call.session)),
                ("paths", list(call.paths.iter().filter_map(|item| Some(text(item.path.as_ref()?))))),
            ]),
        ),
    ])
}

fn rule(call: &SyscallEvent) -> Value {
    let name = call.rule.keys.first().map_or_else(|| json!(&*call.rule.text), |key| text(key));
    json!({ "id": call.rule.number.to_string(), "name": name, "description": &*call.rule.text })
}

fn unless_unset(id: u32) -> Value {
    if id == UNSET { Value::Null } else { json!(id.to_string()) }
}

fn named(id: u32, name: Option<&str>) -> Value {
    if id == UNSET {
        return Value::Null;
    }
    object([("id", unless_unset(id)), ("name", name.map_or(Value::Null, |name| json!(name)))])
}

fn users(record: &Record<'_>, call: &SyscallEvent) -> Value {
    let user = |uid| named(uid, record.user(uid).as_deref());
    let ids = &call.ids;
    let mut users = user(ids.uid);
    let group = |gid| named(gid, record.group(gid).as_deref());
    let mut effective = user(ids.euid);
    merge(&mut effective, object([("group", group(ids.egid))]));
    merge(&mut users, object([("effective", effective), ("audit", user(ids.auid))]));
    merge(&mut users, object([("saved", user(ids.suid)), ("filesystem", user(ids.fsuid))]));
    users
}

fn process(call: &SyscallEvent) -> Value {
    let title = call.proctitle.as_ref().map(|title| title.split(|byte| *byte == 0).collect::<Vec<_>>().join(&b' '));
    object([
        ("pid", json!(call.pid)),
        ("parent", json!({ "pid": call.ppid })),
        ("thread", call.tid.map_or(Value::Null, |tid| json!({ "id": tid }))),
        ("name", text(&call.comm)),
        ("executable", optional(call.exe.as_ref())),
        ("working_directory", optional(call.cwd.as_ref())),
        ("title", optional(title.as_ref())),
        ("args", list(call.argv.iter().flatten().map(|argument| text(argument)))),
        ("args_count", call.argv.as_ref().map_or(Value::Null, |argv| json!(argv.len()))),
        ("tty", call.tty.as_ref().map_or(Value::Null, |tty| json!({ "name": text(tty) }))),
    ])
}

fn file(record: &Record<'_>, item: &crate::event::PathItem) -> Value {
    let path = item.path.as_deref().unwrap_or_default();
    let mut file = object([
        ("path", text(path)),
        ("name", text(base(path))),
        ("directory", directory(path).map_or(Value::Null, text)),
    ]);
    if let Some(inode) = &item.inode {
        let owner = object([
            ("inode", json!(inode.ino.to_string())),
            ("device", json!(format!("{:02x}:{:02x}", inode.dev >> 20, inode.dev & 0xf_ffff))),
            ("mode", json!(format!("{:04o}", inode.mode & 0o7777))),
            ("uid", unless_unset(inode.uid)),
            ("gid", unless_unset(inode.gid)),
            ("owner", record.user(inode.uid).map_or(Value::Null, |name| json!(&*name))),
            ("group", record.group(inode.gid).map_or(Value::Null, |name| json!(&*name))),
        ]);
        merge(&mut file, owner);
    }
    file
}

fn address(call: &SyscallEvent) -> Value {
    match call.sockaddr.as_deref().map(Address::decode) {
        Some(Address::Inet { ip, port }) => json!({ "address": ip.to_string(), "ip": ip.to_string(), "port": port }),
        Some(Address::Inet6 { ip, port, .. }) => {
            json!({ "address": ip.to_string(), "ip": ip.to_string(), "port": port })
        }
        Some(Address::Path(path)) => json!({ "address": text(path) }),
        Some(Address::Abstract(name)) => json!({ "address": format!("@{}", crate::escape::escape(name)) }),
        _ => Value::Null,
    }
}

fn network(call: &SyscallEvent, kind: Kind) -> Value {
    let kind_of = match call.sockaddr.as_deref().map(Address::decode) {
        Some(Address::Inet { .. }) => json!("ipv4"),
        Some(Address::Inet6 { .. }) => json!("ipv6"),
        _ => Value::Null,
    };
    let direction = match kind {
        Kind::Connect => json!("egress"),
        Kind::Accept => json!("ingress"),
        _ => Value::Null,
    };
    object([("type", kind_of), ("direction", direction)])
}

fn lost(losses: &[Loss]) -> Value {
    let total = losses.iter().fold(0_u64, |total, loss| total.saturating_add(loss.count));
    let rows = losses.iter().map(|loss| json!({ "cause": loss.cause, "count": loss.count }));
    object([
        ("event", event("pipeline_error", &["host"], &["error"], "lost-events", json!("failure"))),
        ("auditd_bpf", object([("lost", json!(total)), ("losses", list(rows))])),
    ])
}

fn daemon(record: &Record<'_>, daemon: &DaemonEvent) -> Value {
    let types: &[&str] = match &*daemon.op {
        "start" => &["start"],
        "terminate" => &["end"],
        _ => &["change"],
    };
    let details = daemon.details.iter().map(|(name, value)| (name.to_string(), json!(value))).collect();
    object([
        ("event", event("event", &["configuration"], types, &daemon.op, outcome(Some(daemon.success)))),
        ("user", named(daemon.uid, record.user(daemon.uid).as_deref())),
        ("process", json!({ "pid": daemon.pid })),
        ("auditd_bpf", object([("details", Value::Object(details))])),
    ])
}

fn messages(messages: &[Message]) -> Value {
    let action = messages.first().map(|message| message.record_type.to_ascii_lowercase().replace('_', "-"));
    let rows = messages.iter().map(|message| json!({ "type": message.record_type, "text": text(&message.text) }));
    object([
        ("event", event("event", &["host"], &["info"], &action.unwrap_or_default(), Value::Null)),
        ("auditd_bpf", object([("records", list(rows))])),
    ])
}
