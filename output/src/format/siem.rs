//! What `ecs` and `ocsf` have in common: values that are left out where there is none, and the object of a call.

use serde_json::{Map, Value};

use crate::escape::escape;
use crate::event::{NameType, PathItem, SyscallEvent};

/// An object without the keys whose value is null.
pub(super) fn object<const N: usize>(pairs: [(&str, Value); N]) -> Value {
    let kept = pairs.into_iter().filter(|(_, value)| !value.is_null());
    let map: Map<String, Value> = kept.map(|(key, value)| (key.to_owned(), value)).collect();
    if map.is_empty() { Value::Null } else { Value::Object(map) }
}

/// A value without what is null in it, at any depth.
pub(super) fn pruned(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let pairs = map.into_iter().map(|(key, value)| (key, pruned(value)));
            Value::Object(pairs.filter(|(_, value)| !value.is_null()).collect())
        }
        other => other,
    }
}

/// Bytes as text.
pub(super) fn text(bytes: &[u8]) -> Value {
    Value::String(escape(bytes).into_owned())
}

/// Bytes as text, where there are any.
pub(super) fn optional(bytes: Option<&Vec<u8>>) -> Value {
    bytes.map_or(Value::Null, |bytes| text(bytes))
}

/// An array, where it has items.
pub(super) fn list(items: impl Iterator<Item = Value>) -> Value {
    let items: Vec<_> = items.collect();
    if items.is_empty() { Value::Null } else { Value::Array(items) }
}

/// What the call was about: what came to be, or ceased to be, before what was there; never a parent, if there is another.
pub(super) fn subject(call: &SyscallEvent) -> Option<&PathItem> {
    let rank = |item: &&PathItem| match item.name_type {
        NameType::Create => 0,
        NameType::Delete => 1,
        NameType::Normal | NameType::Unknown => 2,
        NameType::Parent => 3,
    };
    call.paths.iter().filter(|item| item.path.is_some()).min_by_key(rank)
}

/// Last name of a path.
pub(super) fn base(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').find(|name| !name.is_empty()).unwrap_or(path)
}

/// Everything up to the last name.
pub(super) fn directory(path: &[u8]) -> Option<&[u8]> {
    let at = path.iter().rposition(|byte| *byte == b'/')?;
    Some(if at == 0 { b"/" } else { &path[..at] })
}
