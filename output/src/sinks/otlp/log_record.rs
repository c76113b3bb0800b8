//! A record as a log record of OpenTelemetry.

use prost::Message as _;

use super::wire::{AnyValue, ArrayValue, KeyValue, LogRecord, Value};
use crate::config::{Severities, Severity};
use crate::escape::escape;
use crate::event::{Body, SyscallEvent};
use crate::format::Format;
use crate::record::Record;
use crate::sinks::message;
use crate::sinks::spooled::Encode;

/// Makes of a record what stands in the spool: the name of its machine, a newline, and the log record.
pub(super) struct LogRecords {
    pub(super) format: Format,
    /// Longest text that may be sent.
    pub(super) max_bytes: usize,
}

impl Encode for LogRecords {
    fn encode(&self, record: &Record<'_>) -> Vec<Vec<u8>> {
        let mut text = Vec::new();
        self.format.write_lines(record, &mut text);
        text.pop();
        if text.len() > self.max_bytes {
            return Vec::new();
        }
        let node: String = record.node.chars().filter(|character| !character.is_control()).collect();
        let mut payload = node.into_bytes();
        payload.push(b'\n');
        payload.extend(log_record(record, text).encode_to_vec());
        vec![payload]
    }
}

/// The event's time is that of its observation, too: the kernel side took it when it saw the act.
fn log_record(record: &Record<'_>, text: Vec<u8>) -> LogRecord {
    let (severity_number, severity_text) = severity(Severities::default().of(record.event));
    // Only native records may be other than UTF-8; bytes lose nothing of them.
    let body = String::from_utf8(text).map_or_else(|error| Value::Bytes(error.into_bytes()), Value::String);
    LogRecord {
        time_unix_nano: record.event.time,
        observed_time_unix_nano: record.event.time,
        severity_number,
        severity_text: severity_text.to_owned(),
        body: Some(body.into()),
        attributes: attributes(record),
    }
}

/// What pipelines sort by without reading the body.
fn attributes(record: &Record<'_>) -> Vec<KeyValue> {
    let serial = i64::try_from(record.event.serial).unwrap_or(i64::MAX);
    let mut attributes = vec![
        // Semantic conventions: records with the same are one, and the others may be removed.
        KeyValue::new("log.record.uid", Value::String(message::id(record))),
        KeyValue::new("auditd_bpf.type", Value::String(record.record_type().to_owned())),
        KeyValue::new("auditd_bpf.serial", Value::Int(serial)),
    ];
    if let Body::Syscall(call) = &record.event.body {
        attributes.push(KeyValue::new("auditd_bpf.verdict", Value::String(call.verdict.name().to_owned())));
        if let Some(name) = syscall(record, call) {
            attributes.push(KeyValue::new("auditd_bpf.syscall", Value::String(name.to_owned())));
        }
        if !call.rule.keys.is_empty() {
            let values = call.rule.keys.iter().map(|key| AnyValue::from(Value::String(escape(key).into_owned())));
            attributes.push(KeyValue::new("auditd_bpf.keys", Value::Array(ArrayValue { values: values.collect() })));
        }
    }
    attributes
}

fn syscall(record: &Record<'_>, call: &SyscallEvent) -> Option<&'static str> {
    record.names.syscall(call.arch, call.syscall).or_else(|| tables::io_uring_op_name(call.uring_op?))
}

/// SeverityNumber and SeverityText, by the table for syslog in "Logs Data Model", appendix B.
const fn severity(severity: Severity) -> (i32, &'static str) {
    match severity {
        Severity::Emerg => (21, "emerg"),
        Severity::Alert => (19, "alert"),
        Severity::Crit => (18, "crit"),
        Severity::Err => (17, "err"),
        Severity::Warning => (13, "warning"),
        Severity::Notice => (10, "notice"),
        Severity::Info => (9, "info"),
        Severity::Debug => (5, "debug"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::NativeStyle;
    use crate::samples;

    fn encoded(format: Format, body: Body) -> (Vec<u8>, LogRecord) {
        let event = samples::event(body);
        let record = samples::record(&event);
        let payload = LogRecords { format, max_bytes: 100_000 }.encode(&record).remove(0);
        let (node, log_record) = message::parts(&payload);
        (node.to_vec(), LogRecord::decode(log_record).unwrap())
    }

    fn attribute<'a>(record: &'a LogRecord, key: &str) -> Option<&'a Value> {
        record.attributes.iter().find(|attribute| attribute.key == key)?.value.as_ref()?.value.as_ref()
    }

    fn string(text: &str) -> Value {
        Value::String(text.to_owned())
    }

    #[test]
    fn a_refused_act() {
        let (node, record) = encoded(Format::Json, Body::Syscall(Box::new(samples::rename_denied())));
        assert_eq!(node, samples::NODE.as_bytes());
        assert_eq!(
            (record.time_unix_nano, record.observed_time_unix_nano),
            (1_795_503_850_123_456_789, record.time_unix_nano)
        );
        assert_eq!((record.severity_number, record.severity_text.as_str()), (13, "warning"));
        let Some(Value::String(body)) = record.body.as_ref().and_then(|body| body.value.as_ref()) else {
            panic!("{record:?}")
        };
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!((&body["serial"], &body["verdict"]), (&2_147_483_649_u64.into(), &"deny".into()));
        assert_eq!(attribute(&record, "log.record.uid"), Some(&string("web1:1795503850123456789:2147483649")));
        assert_eq!(attribute(&record, "auditd_bpf.type"), Some(&string("SYSCALL")));
        assert_eq!(attribute(&record, "auditd_bpf.serial"), Some(&Value::Int(2_147_483_649)));
        assert_eq!(attribute(&record, "auditd_bpf.verdict"), Some(&string("deny")));
        assert_eq!(attribute(&record, "auditd_bpf.syscall"), Some(&string("rename")));
        let keys = ArrayValue { values: vec![string("etc").into(), string("ren").into()] };
        assert_eq!(attribute(&record, "auditd_bpf.keys"), Some(&Value::Array(keys)));
    }

    #[test]
    fn what_has_no_rule_has_neither_verdict_nor_keys() {
        let (_, record) = encoded(Format::Text, samples::daemon());
        assert_eq!((record.severity_number, record.severity_text.as_str()), (9, "info"));
        let keys: Vec<_> = record.attributes.iter().map(|attribute| attribute.key.as_str()).collect();
        assert_eq!(keys, ["log.record.uid", "auditd_bpf.type", "auditd_bpf.serial"]);
        assert_eq!(encoded(Format::Text, samples::lost()).1.severity_text, "warning");
    }

    #[test]
    fn what_is_no_text_is_bytes() {
        let message = crate::event::Message { record_type: "USER".into(), text: b"msg='\xff'".to_vec() };
        let (_, record) = encoded(Format::Native(NativeStyle::default()), Body::Messages(vec![message]));
        let Some(Value::Bytes(body)) = record.body.and_then(|body| body.value) else { panic!("no bytes") };
        assert!(body.contains(&0xff));
    }

    #[test]
    fn what_is_too_long_is_not_sent() {
        let event = samples::event(samples::daemon());
        assert!(LogRecords { format: Format::Json, max_bytes: 20 }.encode(&samples::record(&event)).is_empty());
    }
}
