//! Rule files in one spelling: `auditd-bpf fmt`. Words are put in order and spaced alike; names and values stay as written, as
//! what they stand for is the host's matter. Lines with an error, and lines whose meaning another spelling would change, stay
//! as they are.

use std::sync::Arc;

use tables::{Action, Field, FilterList};

use crate::ast::{Expression, Flag, OPTIONS, Part, Statement, Value};
use crate::check::MissingPaths;
use crate::command::Command;
use crate::host::{Host, PathKind};
use crate::lexer::{Word, escape};
use crate::load::Loader;
use crate::parser::parse_line;
use crate::source::{Line, Source};

/// The text of a rule file in its canonical form, line by line: comments and blank lines are kept.
#[must_use]
pub fn format(text: &[u8]) -> Vec<u8> {
    if text.is_empty() {
        return Vec::new();
    }
    let source = Source { name: None, text: text.to_vec() };
    source.lines().flat_map(|line| ended(format_line(&line))).collect()
}

/// With a line end, before which one carriage return counts for nothing: if the line ends with one of its own, there are two.
fn ended(mut line: Vec<u8>) -> Vec<u8> {
    let end: &[u8] = if line.ends_with(b"\r") { b"\r\n" } else { b"\n" };
    line.extend_from_slice(end);
    line
}

fn format_line(line: &Arc<Line>) -> Vec<u8> {
    let blank = line.text.iter().take_while(|byte| **byte == b' ').count();
    let text = line.text.get(blank..).unwrap_or_default();
    if text.is_empty() || text.starts_with(b"#") {
        return text.trim_ascii_end().to_vec();
    }
    let Ok(Some(statement)) = parse_line(line) else { return line.text.clone() };
    let formatted = words(&statement).join(&b' ');
    if means_the_same(line, &formatted) { formatted } else { line.text.clone() }
}

/// Whether both lines ask for the same on any host.
fn means_the_same(line: &Arc<Line>, formatted: &[u8]) -> bool {
    let other = Arc::new(Line { origin: line.origin.clone(), text: formatted.to_vec() });
    let loader = Loader::new(&EveryName).missing_paths(MissingPaths::Warn);
    let (before, told_before) = loader.commands(line);
    let (after, told_after) = loader.commands(&other);
    let is_same = |(one, other): (&Command, &Command)| match (one, other) {
        (Command::Append(one), Command::Append(other))
        | (Command::Prepend(one), Command::Prepend(other))
        | (Command::Delete(one), Command::Delete(other)) => one.is_same_as(other),
        _ => one == other,
    };
    // A line with an error asks for nothing, and its author should find it as it was.
    !before.is_empty()
        && before.len() == after.len()
        && before.iter().zip(&after).all(is_same)
        && told_before.len() == told_after.len()
}

/// A host that has every user and group, each with a number of its own.
struct EveryName;

impl Host for EveryName {
    fn user_id(&self, name: &[u8]) -> Option<u32> {
        // FNV-1a, less the number that means unset.
        let hash = name.iter().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
        Some(hash & 0x7fff_ffff)
    }

    fn group_id(&self, name: &[u8]) -> Option<u32> {
        self.user_id(name)
    }

    fn path_kind(&self, _: &[u8]) -> PathKind {
        PathKind::Other
    }
}

/// What stands where in a line.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Head,
    Arch,
    Syscalls,
    Test,
    Extension,
    Key,
}

fn place(part: &Part) -> Place {
    match (part.flag, &part.value) {
        (Flag::Append | Flag::Prepend | Flag::Delete | Flag::Watch | Flag::RemoveWatch, _) => Place::Head,
        (Flag::Field, Value::Expression(expression)) => match Field::from_name(&expression.name.text()) {
            Some(Field::Arch) => Place::Arch,
            Some(Field::Errno) => Place::Extension,
            Some(Field::Key) => Place::Key,
            _ => Place::Test,
        },
        (Flag::Syscalls, _) => Place::Syscalls,
        (Flag::Action | Flag::DryRun, _) => Place::Extension,
        (Flag::Key, _) => Place::Key,
        _ => Place::Test,
    }
}

fn words(statement: &Statement) -> Vec<Vec<u8>> {
    let mut parts: Vec<&Part> = statement.parts.iter().collect();
    if parts.iter().any(|part| place(part) == Place::Head) {
        parts.sort_by_key(|part| place(part));
    }
    let mut words = Vec::new();
    let mut calls: Vec<Vec<u8>> = Vec::new();
    for part in parts {
        match &part.value {
            // One option holds all calls.
            Value::Word(word) if part.flag == Flag::Syscalls => {
                let named = word.comma_separated().map(|name| escape(&name.bytes.to_ascii_lowercase()));
                let first = calls.is_empty();
                calls.extend(named);
                let listed = unique(&calls).join(&b',');
                if first {
                    words.push(b"-S".to_vec());
                    words.push(listed);
                } else if let Some(last) = words.last_mut() {
                    *last = listed;
                }
            }
            value => {
                words.push(option(part.flag));
                words.extend(argument(part.flag, value));
            }
        }
    }
    words
}

fn unique(calls: &[Vec<u8>]) -> Vec<&[u8]> {
    let mut unique: Vec<&[u8]> = Vec::new();
    for call in calls {
        if !unique.contains(&call.as_slice()) {
            unique.push(call);
        }
    }
    unique
}

fn option(flag: Flag) -> Vec<u8> {
    let row = OPTIONS.iter().find(|row| row.flag == flag);
    match row.map(|row| (row.short, row.long)) {
        Some((Some(letter), _)) => vec![b'-', letter],
        Some((None, Some(name))) => [b"--", name.as_bytes()].concat(),
        _ => Vec::new(),
    }
}

fn argument(flag: Flag, value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::None => None,
        Value::Word(word) => Some(escape(&match flag {
            Flag::Append | Flag::Prepend | Flag::Delete => action_and_list(word),
            Flag::Permissions => perm(&word.bytes),
            _ => word.bytes.clone(),
        })),
        Value::Expression(expression) => Some(escape(&test(expression))),
    }
}

/// The action first, as `auditctl -l` prints it.
fn action_and_list(word: &Word) -> Vec<u8> {
    let text = word.text();
    match text.split_once(',') {
        Some((list, action)) if FilterList::from_name(list).is_some() && Action::from_name(action).is_some() => {
            [action, ",", list].concat().into_bytes()
        }
        _ => word.bytes.clone(),
    }
}

fn perm(letters: &[u8]) -> Vec<u8> {
    let perms = letters.iter().map(|letter| tables::Perm::from_letter(char::from(*letter)));
    let perm = perms.reduce(|all, one| Some(all? | one?)).flatten();
    perm.map_or_else(|| letters.to_vec(), |perm| perm.to_string().into_bytes())
}

fn test(expression: &Expression) -> Vec<u8> {
    let field = Field::from_name(&expression.name.text());
    let name = field.map_or_else(|| expression.name.bytes.clone(), |field| field.name().into());
    let value = if field == Some(Field::Perm) { perm(&expression.value.bytes) } else { expression.value.bytes.clone() };
    [name, expression.op.symbol().into(), value].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn formatted(text: &str) -> String {
        String::from_utf8(format(text.as_bytes())).unwrap()
    }

    #[test]
    fn one_spelling() {
        for (written, expected) in [
            (
                "  -a   exit,always -F arch=b64  -S open -S close,OPEN -k  x ",
                "-a always,exit -F arch=b64 -S open,close -k x",
            ),
            ("-S open -Aexit,never -F UID=root -F loginuid!=unset", "-A never,exit -S open -F uid=root -F auid!=unset"),
            ("-a always,exit -F key=k -F path=/a\\ b -F perm=aw", "-a always,exit -F path=/a\\ b -F perm=wa -F key=k"),
            ("-kid -w /etc/passwd", "-kid -w /etc/passwd"),
            ("-w /etc/passwd -k id -p xr", "-w /etc/passwd -p rx -k id"),
            ("--backlog_wait=60 -b8192", "--backlog_wait_time 60 -b 8192"),
            ("-w /a -k k --dry-run --action deny -p w", "-w /a -p w --dry-run --action deny -k k"),
            ("-a always,exit -F arch=b64 -F perm=w -S all", "-a always,exit -F arch=b64 -F perm=w -S all"),
        ] {
            assert_eq!(formatted(written), format!("{expected}\n"));
        }
    }

    #[test]
    fn lines_stay_lines() {
        let text = "# Rules \t\r\n\r\n   ## for  hosts\n-D\r\n\n\n-w  /etc/hosts\n";
        assert_eq!(formatted(text), "# Rules\n\n## for  hosts\n-D\n\n\n-w /etc/hosts\n");
        assert_eq!(formatted(""), "");
        assert_eq!(formatted("\n"), "\n");
        assert_eq!(formatted("-D"), "-D\n");
    }

    #[test]
    fn carriage_returns_inside_lines_stay_there() {
        for text in ["\r\r\n", "-k  x\r \n", "-w /a  -k x\r\r\n", "#\r\r\n"] {
            assert_eq!(formatted(&formatted(text)), formatted(text), "{text:?}");
        }
        assert_eq!(formatted("-w /a  -k x\r\r\n"), "-w /a -k x\r\r\n");
    }

    #[test]
    fn what_is_wrong_is_left_alone() {
        for text in ["-a always,exit -F  uid", "-w\t/a  -p w", "-a always,exit  -S opne", "-e  7", " -w /a\\  -p  w q "]
        {
            assert_eq!(formatted(text), format!("{text}\n"));
        }
    }
}
