//! [`Statement`]s into [`Command`]s: names become numbers, and what audit would refuse is refused here, in its own words.

mod builder;
mod compare;
mod controls;
mod fields;
mod paths;
mod syscalls;
mod values;

use crate::ast::{Flag, Statement};
use crate::command::Command;
use crate::diagnostic::{Diagnostic, Severity};
use crate::host::Host;

/// How strict to be where audit and this engine differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MissingPaths {
    /// A path that is not there yet gets a warning: this engine watches for it to appear.
    #[default]
    Warn,
    /// As the kernel's own audit: a missing directory is an error, and so is a missing parent of a file.
    Refuse,
}

/// What a line asks for; nothing if it has an error. Warnings come either way.
pub(crate) fn check(statement: &Statement, host: &dyn Host, missing: MissingPaths) -> (Vec<Command>, Vec<Diagnostic>) {
    let (mut commands, mut diagnostics) = if let Some(error) = controls::not_alone(statement) {
        (Vec::new(), vec![error])
    } else if is_query(statement) {
        controls::query(statement)
    } else {
        let (mut commands, mut diagnostics) = controls::settings(statement);
        let (rule, more) = builder::rule(statement, host, missing);
        commands.extend(rule);
        diagnostics.extend(more);
        (commands, diagnostics)
    };
    if diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error) {
        commands.clear();
        // Warnings are about rules that load.
        diagnostics.retain(|diagnostic| diagnostic.severity == Severity::Error);
    }
    diagnostics.sort_by_key(|diagnostic| diagnostic.span.start);
    (commands, diagnostics)
}

/// `-D`, `-l` and `-s` take the whole line.
fn is_query(statement: &Statement) -> bool {
    statement.parts.iter().any(|part| matches!(part.flag, Flag::DeleteAll | Flag::List | Flag::Status))
}
