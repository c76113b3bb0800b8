//! Values of keywords. Words are taken in any case, numbers in decimal digits.

use std::ffi::OsStr;
use std::ops::RangeInclusive;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::{Action, LogFormat, SizeAction, Space};

/// What auditd takes for `log_format`; nothing is "no log".
pub(super) const LOG_FORMATS: [(&str, Option<LogFormat>); 3] =
    [("raw", Some(LogFormat::Raw)), ("enriched", Some(LogFormat::Enriched)), ("nolog", None)];

/// `flush`, before `freq` is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum FlushWord {
    #[default]
    None,
    Incremental,
    IncrementalAsync,
    Every,
}

pub(super) const FLUSHES: [(&str, FlushWord); 5] = [
    ("none", FlushWord::None),
    ("incremental", FlushWord::Incremental),
    ("incremental_async", FlushWord::IncrementalAsync),
    ("data", FlushWord::Every),
    ("sync", FlushWord::Every),
];

/// `name_format`, before `name` is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum NameWord {
    #[default]
    None,
    Hostname,
    Fqd,
    Numeric,
    User,
}

pub(super) const NAME_FORMATS: [(&str, NameWord); 5] = [
    ("none", NameWord::None),
    ("hostname", NameWord::Hostname),
    ("fqd", NameWord::Fqd),
    ("numeric", NameWord::Numeric),
    ("user", NameWord::User),
];

const YES_NO: [(&str, bool); 2] = [("yes", true), ("no", false)];
pub(super) const TRANSPORTS: [(&str, ()); 3] = [("tcp", ()), ("tls", ()), ("krb5", ())];

/// Actions by name, as [`action`] takes them; `exec` has its program to come.
pub(super) const SPACE_LEFT: &[&str] = &["ignore", "syslog", "rotate", "email", "exec", "suspend", "single", "halt"];
pub(super) const DISK_FULL: &[&str] = &["ignore", "syslog", "rotate", "exec", "suspend", "single", "halt"];
pub(super) const DISK_ERROR: &[&str] = &["ignore", "syslog", "exec", "suspend", "single", "halt"];
pub(super) const OVERFLOW: &[&str] = &["ignore", "syslog", "suspend", "single", "halt"];
const SIZE_ACTIONS: &[&str] = &["ignore", "syslog", "exec", "suspend", "rotate", "keep_logs"];

/// A value as a message shows it: on one line, whatever it holds.
pub(super) fn shown(value: &[u8]) -> String {
    String::from_utf8_lossy(value).escape_debug().to_string()
}

/// One of the words.
pub(super) fn word<T: Copy>(value: &[u8], words: &[(&str, T)]) -> Result<T, String> {
    let found = words.iter().find(|(name, _)| value.eq_ignore_ascii_case(name.as_bytes()));
    found.map(|(_, meaning)| *meaning).ok_or_else(|| no_option(value, words.iter().map(|(name, _)| *name)))
}

fn no_option<'a>(value: &[u8], words: impl Iterator<Item = &'a str>) -> String {
    format!("option {} not found; it is one of {}", shown(value), words.collect::<Vec<_>>().join(", "))
}

pub(super) fn yes_no(value: &[u8]) -> Result<bool, String> {
    word(value, &YES_NO)
}

pub(super) fn number(value: &[u8], range: RangeInclusive<u32>) -> Result<u32, String> {
    if !value.iter().all(u8::is_ascii_digit) {
        return Err(format!("value {} should only be numbers", shown(value)));
    }
    let parsed = std::str::from_utf8(value).ok().and_then(|digits| digits.parse().ok());
    let fitting = parsed.filter(|number| range.contains(number));
    fitting.ok_or_else(|| format!("{} is not from {} to {}", shown(value), range.start(), range.end()))
}

/// MiB, or a percentage.
pub(super) fn space(value: &[u8]) -> Result<Space, String> {
    match value.strip_suffix(b"%") {
        Some(percent) => number(percent, 1..=99).map(Space::Percent),
        None => number(value, 0..=u32::MAX).map(Space::Mib),
    }
}

/// Seconds, or another unit by its letter.
pub(super) fn interval(value: &[u8]) -> Result<(), String> {
    let digits = match value.split_last() {
        Some((unit, digits)) if b"smhdM".contains(unit) => digits,
        _ => value,
    };
    number(digits, 0..=u32::MAX).map(drop)
}

/// `tcp_client_ports`: a port, or the first and the last.
pub(super) fn ports(value: &[u8]) -> Result<(), String> {
    let mut ends = value.splitn(2, |byte| *byte == b'-');
    let first = number(ends.next().unwrap_or_default(), 0..=65535)?;
    let last = ends.next().map_or(Ok(first), |last| number(last, 0..=65535))?;
    if first <= last { Ok(()) } else { Err(format!("{} begins after its end", shown(value))) }
}

/// A path from the root.
pub(super) fn path(value: &[u8]) -> Result<PathBuf, String> {
    let path = Path::new(OsStr::from_bytes(value));
    if path.is_absolute() { Ok(path.into()) } else { Err(format!("{} must be an absolute path", shown(value))) }
}

/// `log_file`: a file in a directory that is none of the root's own, as auditd has it.
pub(super) fn log_file(value: &[u8]) -> Result<PathBuf, String> {
    let file = path(value)?;
    match file.parent() {
        Some(directory) if file.file_name().is_some() && directory.as_os_str().len() >= 4 => Ok(file),
        _ => Err(format!("the directory name of {} is too short", shown(value))),
    }
}

/// An action and, of `exec`, its program.
pub(super) fn action(value: &[u8], option: Option<&[u8]>, names: &'static [&str]) -> Result<Action, String> {
    let (name, program) = named(value, option, names)?;
    Ok(match (name, program) {
        ("exec", Some(program)) => Action::Exec(program),
        ("syslog", _) => Action::Syslog,
        ("rotate", _) => Action::Rotate,
        ("email", _) => Action::Email,
        ("suspend", _) => Action::Suspend,
        ("single", _) => Action::Single,
        ("halt", _) => Action::Halt,
        _ => Action::Ignore,
    })
}

/// `max_log_file_action`.
pub(super) fn size_action(value: &[u8], option: Option<&[u8]>) -> Result<SizeAction, String> {
    let (name, program) = named(value, option, SIZE_ACTIONS)?;
    Ok(match (name, program) {
        ("exec", Some(program)) => SizeAction::Exec(program),
        ("syslog", _) => SizeAction::Syslog,
        ("suspend", _) => SizeAction::Suspend,
        ("rotate", _) => SizeAction::Rotate,
        ("keep_logs", _) => SizeAction::KeepLogs,
        _ => SizeAction::Ignore,
    })
}

/// The name of an action; `exec`, and no other, has a program.
fn named(
    value: &[u8],
    option: Option<&[u8]>,
    names: &'static [&str],
) -> Result<(&'static str, Option<PathBuf>), String> {
    let found = names.iter().find(|name| value.eq_ignore_ascii_case(name.as_bytes()));
    match (found.copied(), option) {
        (None, _) => Err(no_option(value, names.iter().copied())),
        (Some("exec"), Some(program)) => Ok(("exec", Some(path(program)?))),
        (Some("exec"), None) => Err("exec has no program behind it".to_owned()),
        (Some(name), None) => Ok((name, None)),
        (Some(name), Some(option)) => Err(format!("{name} has invalid option {}", shown(option))),
    }
}
