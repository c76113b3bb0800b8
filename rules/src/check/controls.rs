//! Lines that match no event: settings, and questions to the daemon.

use crate::ast::{Flag, Part, Statement, Value};
use crate::command::{Command, Control, DaemonSignal};
use crate::diagnostic::{Code, Diagnostic};
use crate::lexer::Word;

use super::values;

/// Options with which auditctl stops reading the line, or which it wants by themselves.
pub(super) fn not_alone(statement: &Statement) -> Option<Diagnostic> {
    let error =
        |part: &Part, message: &str| Diagnostic::error(&statement.line, part.span, Code::BadCombination, message);
    let (first, rest) = statement.parts.split_first()?;
    if let Some(part) = statement.parts.iter().find(|part| part.flag == Flag::Message && !rest.is_empty()) {
        return Some(error(part, "The -m option must be only the only option and takes 1 parameter"));
    }
    let reads = statement.parts.iter().find(|part| part.flag == Flag::ReadFile);
    if let Some(part) = reads.filter(|_| !rest.is_empty() || statement.line.origin.file.is_some()) {
        return Some(error(part, "Error - nested rule files not supported"));
    }
    let ends = |part: &Part| matches!(part.flag, Flag::IgnoreErrors | Flag::ContinueOnError | Flag::Version);
    let end = statement.parts.iter().position(ends).filter(|_| !is_head(first.flag))?;
    if let Some(after) = statement.parts.get(end + 1) {
        return Some(error(after, "parameter passed without an option given"));
    }
    let drops = |part: &&Part| {
        matches!(part.flag, Flag::Append | Flag::Prepend | Flag::Delete | Flag::Watch | Flag::RemoveWatch)
    };
    let part = statement.parts.get(end).filter(|_| statement.parts.iter().any(|part| drops(&part)))?;
    let hint = "auditctl reads nothing behind it, and forgets the rule before it";
    Some(error(part, "this option stands on a line of its own").hint(hint))
}

/// `-D`, `-l`, `-s` with the options that may go with them.
pub(super) fn query(statement: &Statement) -> (Vec<Command>, Vec<Diagnostic>) {
    let (first, rest) = match statement.parts.split_first() {
        Some((first, rest)) if is_head(first.flag) => (first, rest),
        Some((first, _)) if first.flag == Flag::Key => return refuse(statement, Some(first), KEY_NEEDS),
        _ => return refuse(statement, None, "parameter passed without an option given"),
    };
    if first.flag == Flag::Status && crate::lexer::words(&statement.line.text).len() > 2 {
        return refuse(statement, rest.first(), "Too many options for status command");
    }
    if first.flag == Flag::List && rest.len() > 1 {
        return refuse(statement, rest.get(1), "Wrong number of options for list request");
    }
    if first.flag == Flag::DeleteAll && crate::lexer::words(&statement.line.text).len() == 2 {
        return refuse(statement, rest.first(), DELETE_ALL_COUNT);
    }
    let mut key = None;
    let mut interpret = false;
    for part in rest {
        match (&part.flag, &part.value) {
            (Flag::Key, Value::Word(word)) if first.flag != Flag::Status && key.is_none() => {
                key = Some(word.bytes.clone());
            }
            (Flag::IgnoreErrors, _) if first.flag != Flag::DeleteAll => interpret = true,
            _ if first.flag == Flag::DeleteAll && rest.len() > 1 => {
                return refuse(statement, Some(part), DELETE_ALL_COUNT);
            }
            _ => return refuse(statement, Some(part), refusal(first.flag)),
        }
    }
    let control = match first.flag {
        Flag::DeleteAll => Control::DeleteAll { key },
        Flag::List => Control::List { interpret, key },
        _ => Control::Status { interpret },
    };
    (vec![Command::Control(control)], Vec::new())
}

const fn is_head(flag: Flag) -> bool {
    matches!(flag, Flag::DeleteAll | Flag::List | Flag::Status)
}

const KEY_NEEDS: &str = "key option needs a watch or syscall given prior to it";
const DELETE_ALL_COUNT: &str = "Wrong number of options for Delete all request";

const fn refusal(head: Flag) -> &'static str {
    match head {
        Flag::DeleteAll => "Only the -k option is allowed",
        Flag::List => "Only -k or -i options are allowed",
        _ => "Only -i option is allowed",
    }
}

fn refuse(statement: &Statement, part: Option<&Part>, message: &str) -> (Vec<Command>, Vec<Diagnostic>) {
    let head = statement.parts.iter().find(|part| is_head(part.flag));
    let span = part.or(head).map(|part| part.span).unwrap_or_default();
    (Vec::new(), vec![Diagnostic::error(&statement.line, span, Code::BadCombination, message)])
}

/// Settings of a line, in order; rule options are left alone.
pub(super) fn settings(statement: &Statement) -> (Vec<Command>, Vec<Diagnostic>) {
    let mut commands = Vec::new();
    let mut errors = Vec::new();
    for part in &statement.parts {
        match setting(part) {
            Ok(Some(control)) => commands.push(Command::Control(control)),
            Ok(None) => {}
            Err(message) => {
                let span = if let Value::Word(word) = &part.value { word.span } else { part.span };
                errors.push(Diagnostic::error(&statement.line, span, Code::BadValue, message));
            }
        }
    }
    (commands, errors)
}

fn setting(part: &Part) -> Result<Option<Control>, String> {
    let control = match &part.value {
        Value::Word(word) => setting_with_word(part.flag, word)?,
        Value::None => match part.flag {
            Flag::LoginuidImmutable => Some(Control::LoginuidImmutable),
            Flag::Confirm => Some(Control::Confirm),
            Flag::IgnoreErrors => Some(Control::IgnoreErrors),
            Flag::ContinueOnError => Some(Control::ContinueOnError),
            Flag::ResetLost => Some(Control::ResetLost),
            Flag::ResetBacklogWaitTimeActual => Some(Control::ResetBacklogWaitTimeActual),
            Flag::TrimSubtrees => Some(Control::TrimSubtrees),
            Flag::Version => Some(Control::Version),
            Flag::Help => Some(Control::Help),
            _ => None,
        },
        Value::Expression(_) => None,
    };
    Ok(control)
}

fn setting_with_word(flag: Flag, word: &Word) -> Result<Option<Control>, String> {
    let control = match flag {
        Flag::Enabled => Control::Enabled(zero_to_two(word).ok_or_else(|| bad("Enable must be 0, 1, or 2", word))?),
        Flag::Enforce => {
            let value = number(word).filter(|value| *value <= 1).ok_or_else(|| bad("Enforce must be 0 or 1", word))?;
            Control::Enforce(value == 1)
        }
        Flag::Failure => Control::Failure(zero_to_two(word).ok_or_else(|| bad("Failure must be 0, 1, or 2", word))?),
        Flag::RateLimit => Control::RateLimit(number(word).ok_or_else(|| bad("Rate must be a numeric value", word))?),
        Flag::BacklogLimit => {
            Control::BacklogLimit(number(word).ok_or_else(|| bad("Backlog must be a numeric value", word))?)
        }
        Flag::BacklogWaitTime => Control::BacklogWaitTime(
            number(word).ok_or_else(|| bad("Backlog_wait_time must be a numeric value", word))?,
        ),
        Flag::Message => {
            if word.bytes.iter().any(|byte| *byte < 32) {
                return Err("Illegal character in audit event".to_owned());
            }
            Control::Message(word.bytes.clone())
        }
        Flag::ReadFile => Control::ReadFile(word.bytes.clone()),
        Flag::MakeEquivalent => equivalent(word).ok_or("Error parsing equivalent parts")?,
        Flag::Signal => {
            let signal = DaemonSignal::from_name(&word.text());
            Control::Signal(signal.ok_or_else(|| format!("{} is an unsupported signal", word.text()))?)
        }
        _ => return Ok(None),
    };
    Ok(Some(control))
}

fn bad(what: &str, word: &Word) -> String {
    format!("{what} was {}", word.text())
}

fn number(word: &Word) -> Option<u32> {
    values::unsigned(&word.text())
}

fn zero_to_two(word: &Word) -> Option<u32> {
    number(word).filter(|number| *number <= 2)
}

fn equivalent(word: &Word) -> Option<Control> {
    let comma = word.bytes.iter().position(|byte| *byte == b',')?;
    let (mount, subtree) = (word.slice(0, comma).bytes, word.from(comma + 1).bytes);
    (!mount.is_empty() && !subtree.is_empty()).then_some(Control::MakeEquivalent { mount, subtree })
}
