//! Sources into a [`RuleSet`], with everything wrong in them at once.

use std::sync::Arc;

use crate::check::{MissingPaths, check};
use crate::command::{Command, Control};
use crate::diagnostic::{Diagnostic, Severity};
use crate::host::Host;
use crate::lexer::escape;
use crate::parser::parse_line;
use crate::rule::Origin;
use crate::ruleset::RuleSet;
use crate::source::{Line, Source};

/// What sources add up to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// Rules of every line without an error.
    pub ruleset: RuleSet,
    /// In the order of lines; warnings about rules that never decide come last.
    pub diagnostics: Vec<Diagnostic>,
    /// Whether an error stands before any `-i` or `-c`: then auditctl would have stopped there, and nothing may be loaded.
    pub stopped: bool,
    /// Whether an error stands after `-c`, which loads the rest and reports failure at the end.
    pub failed: bool,
}

impl Parsed {
    /// The rule set if it may be loaded.
    ///
    /// # Errors
    /// All diagnostics, if an error forbids loading.
    pub fn into_loadable(self) -> Result<(RuleSet, Vec<Diagnostic>), Vec<Diagnostic>> {
        if self.stopped { Err(self.diagnostics) } else { Ok((self.ruleset, self.diagnostics)) }
    }

    /// Diagnostics that are errors.
    pub fn errors(&self) -> impl Iterator<Item = &Diagnostic> {
        self.diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error)
    }
}

/// Reads sources in order, starting from no rules; a missing path is a warning.
#[must_use]
pub fn parse(sources: &[Source], host: &dyn Host) -> Parsed {
    Loader::new(host).parse(sources)
}

/// [`parse`] with choices.
pub struct Loader<'a> {
    host: &'a dyn Host,
    missing: MissingPaths,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum OnError {
    Stop,
    Continue,
    Ignore,
}

impl<'a> Loader<'a> {
    /// With the usual choices.
    #[must_use]
    pub const fn new(host: &'a dyn Host) -> Self {
        Self { host, missing: MissingPaths::Warn }
    }

    /// What to make of paths that are not there.
    #[must_use]
    pub const fn missing_paths(mut self, missing: MissingPaths) -> Self {
        self.missing = missing;
        self
    }

    /// One line.
    #[must_use]
    pub fn commands(&self, line: &Arc<Line>) -> (Vec<Command>, Vec<Diagnostic>) {
        match parse_line(line) {
            Ok(Some(statement)) => check(&statement, self.host, self.missing),
            Ok(None) => (Vec::new(), Vec::new()),
            Err(errors) => (Vec::new(), errors),
        }
    }

    /// A command line, already split into words: they are joined into the line that diagnostics show.
    #[must_use]
    pub fn command_line(&self, words: &[Vec<u8>]) -> (Arc<Line>, Vec<Command>, Vec<Diagnostic>) {
        let text = words.iter().map(|word| escape(word)).collect::<Vec<_>>().join(&b' ');
        let line = Arc::new(Line { origin: Origin { file: None, line: 1 }, text });
        let (commands, diagnostics) = self.commands(&line);
        (line, commands, diagnostics)
    }

    /// All lines of all sources, starting from no rules.
    #[must_use]
    pub fn parse(&self, sources: &[Source]) -> Parsed {
        self.parse_onto(RuleSet::default(), sources)
    }

    /// All lines of all sources, starting from rules already in force.
    #[must_use]
    pub fn parse_onto(&self, ruleset: RuleSet, sources: &[Source]) -> Parsed {
        let mut parsed = Parsed { ruleset, diagnostics: Vec::new(), stopped: false, failed: false };
        let mut on_error = OnError::Stop;
        for line in sources.iter().flat_map(Source::lines) {
            let (commands, mut diagnostics) = self.commands(&line);
            for command in commands {
                on_error = after(&command, on_error);
                if let Err(error) = parsed.ruleset.apply(command, &line) {
                    diagnostics.push(*error);
                }
            }
            if diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error) {
                parsed.stopped |= on_error == OnError::Stop;
                parsed.failed |= on_error == OnError::Continue;
            }
            parsed.diagnostics.extend(diagnostics);
        }
        parsed.diagnostics.extend(parsed.ruleset.warnings());
        parsed
    }
}

fn after(command: &Command, on_error: OnError) -> OnError {
    match command {
        Command::Control(Control::IgnoreErrors) => OnError::Ignore,
        Command::Control(Control::ContinueOnError) => OnError::Continue,
        _ => on_error,
    }
}
