//! Records as the tests see them, and what they are compared with.

use std::fmt::Write;
use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::stat::{major, minor};
use serde_json::{Value, json};

/// One record.
#[derive(Clone, Debug)]
pub struct Event(Value);

impl Event {
    pub fn new(record: Value) -> Self {
        Self(record)
    }

    /// The value of a key; null if it is absent.
    pub fn get(&self, key: &str) -> &Value {
        &self.0[key]
    }

    /// A value that must be text.
    pub fn text(&self, key: &str) -> Result<&str> {
        self.get(key).as_str().with_context(|| format!("no {key} in {}", self.0))
    }

    /// Whether this is one of its keys (`-k`).
    pub fn has_key(&self, key: &str) -> bool {
        self.get("keys").as_array().is_some_and(|keys| keys.iter().any(|k| k == key))
    }

    /// Fails unless all that is expected is there; what is not mentioned may be anything, and what is expected to be null
    /// must be absent.
    pub fn is(&self, expected: &Value) -> Result<()> {
        match difference(expected, &self.0, "") {
            None => Ok(()),
            Some(difference) => bail!("{difference}, in {}", self.0),
        }
    }

    /// Fails unless these are its paths, in any order: kernels differ in it.
    pub fn paths_are(&self, expected: &[Value]) -> Result<()> {
        let mut left = self.get("paths").as_array().cloned().unwrap_or_default();
        ensure!(left.len() == expected.len(), "{} paths instead of {}, in {}", left.len(), expected.len(), self.0);
        for item in expected {
            let found = left.iter().position(|candidate| difference(item, candidate, "").is_none());
            let Some(found) = found else { bail!("no path {item} in {}", self.0) };
            left.remove(found);
        }
        Ok(())
    }

    /// Fails unless it names what it created, and with the right identity if it tells one: some hooks run before there is any.
    pub fn creates(&self, path: &Path, status: &Metadata) -> Result<()> {
        let paths = self.get("paths").as_array().map(Vec::as_slice).unwrap_or_default();
        let mut created = paths.iter().filter(|item| item["nametype"] == "CREATE");
        let (Some(item), None) = (created.next(), created.next()) else { bail!("not one CREATE in {}", self.0) };
        let expected = if item["inode"].is_null() { named("CREATE", path) } else { self::item("CREATE", path, status) };
        difference(&expected, item, "").map_or(Ok(()), |difference| bail!("{difference}, in {}", self.0))
    }

    /// Its paths of one nametype.
    pub fn paths_of(&self, nametype: &str) -> Vec<&str> {
        let paths = self.get("paths").as_array().map(Vec::as_slice).unwrap_or_default();
        let paths = paths.iter().filter(|item| item["nametype"] == nametype);
        paths.filter_map(|item| item["path"].as_str()).collect()
    }
}

impl std::fmt::Display for Event {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(out)
    }
}

/// The first thing that is expected and not so.
fn difference(expected: &Value, actual: &Value, at: &str) -> Option<String> {
    let inside = |key: &dyn std::fmt::Display| if at.is_empty() { key.to_string() } else { format!("{at}.{key}") };
    match (expected, actual) {
        (Value::Object(expected), Value::Object(actual)) => expected
            .iter()
            .find_map(|(key, value)| difference(value, actual.get(key).unwrap_or(&Value::Null), &inside(key))),
        (Value::Array(expected), Value::Array(actual)) if expected.len() == actual.len() => {
            let mut pairs = expected.iter().zip(actual).enumerate();
            pairs.find_map(|(index, (expected, actual))| difference(expected, actual, &inside(&index)))
        }
        _ if expected == actual => None,
        (_, Value::Null) => Some(format!("no {at} (expected {expected})")),
        _ => Some(format!("{at} is {} instead of {}", brief(actual), brief(expected))),
    }
}

/// Arguments can be long.
fn brief(value: &Value) -> String {
    const MOST: usize = 300;
    let text = value.to_string();
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}... ({} bytes)", &text[..end], text.len()),
        None => text,
    }
}

/// A path item of an object that stat(2) shows.
pub fn item(nametype: &str, path: &Path, status: &Metadata) -> Value {
    json!({
        "path": shown(path),
        "nametype": nametype,
        "source": "kernel",
        "inode": status.ino(),
        "dev": device(status.dev()),
        "mode": format!("0{:o}", status.mode()),
        "ouid": status.uid(),
        "ogid": status.gid(),
    })
}

/// A path item of which only the name is looked at.
pub fn named(nametype: &str, path: &Path) -> Value {
    json!({ "path": shown(path), "nametype": nametype, "source": "kernel" })
}

/// A path item of a look-up that failed: what the caller asked for.
pub fn asked_for(path: &Path) -> Value {
    json!({ "path": shown(path), "nametype": "UNKNOWN", "source": "user", "inode": null, "dev": null })
}

fn device(dev: u64) -> String {
    format!("{:02x}:{:02x}", major(dev), minor(dev))
}

/// Bytes as records show them.
pub fn shown(name: impl AsRef<std::ffi::OsStr>) -> String {
    let mut text = String::new();
    for chunk in name.as_ref().as_bytes().utf8_chunks() {
        text.push_str(&chunk.valid().replace('\\', r"\\"));
        for byte in chunk.invalid() {
            // Writing to a String does not fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

#[cfg(test)]
mod test {
    use std::ffi::OsStr;

    use super::*;

    #[test]
    fn what_is_not_expected_may_be_anything() {
        let event = Event::new(json!({"a": 1, "b": [{"c": 2, "d": 3}], "keys": ["k"]}));
        event.is(&json!({"a": 1, "b": [{"c": 2}], "absent": null})).unwrap();
        let difference = |expected: Value| event.is(&expected).unwrap_err().to_string();
        assert!(difference(json!({"b": [{"c": 4}]})).starts_with("b.0.c is 2 instead of 4, in {"));
        assert!(difference(json!({"e": 1})).starts_with("no e (expected 1)"));
        assert!(difference(json!({"b": []})).starts_with("b is "));
        assert!(event.has_key("k") && !event.has_key("a"));
    }

    #[test]
    fn paths_match_in_any_order_and_none_twice() {
        let event = Event::new(json!({"paths": [{"path": "/a", "inode": 1}, {"path": "/b"}]}));
        event.paths_are(&[json!({"path": "/b"}), json!({"path": "/a"})]).unwrap();
        assert!(event.paths_are(&[json!({"path": "/a"}), json!({"path": "/a"})]).is_err());
        assert!(event.paths_are(&[json!({"path": "/a"})]).is_err());
    }

    #[test]
    fn bytes_are_shown_as_documented() {
        assert_eq!(shown(OsStr::from_bytes(b"caf\xe9\\\xc3\xa9")), "caf\\xe9\\\\\u{e9}");
    }
}
