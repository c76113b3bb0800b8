//! `-w`, `-F path`, `-F dir`, `-F exe`.

use tables::{Field, Op, Perm};

use crate::ast::Expression;
use crate::diagnostic::{Code, Diagnostic};
use crate::host::PathKind;
use crate::lexer::Word;
use crate::rule::{Test, TreePath, without_end_slashes};

use super::MissingPaths;
use super::builder::Builder;

const PATH_MAX: usize = 4096;
const NAME_MAX: usize = 255;

impl Builder<'_> {
    /// The path of `-w` or `-W`: a tree if it is a directory, else a file; every access unless `-p` says otherwise.
    pub(super) fn watch_path(&mut self, word: &Word) {
        let path = without_end_slashes(&word.bytes);
        let base = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        if !path.starts_with(b"/") {
            self.error(word.span, Code::BadPath, "The path must start with '/'");
            if word.bytes.starts_with(b"\t") {
                self.advise("words end at spaces only, and there is a tab here");
            }
        } else if path.len() >= PATH_MAX {
            self.error(word.span, Code::Limit, "The path passed for the watch is too big");
        } else if base.len() > NAME_MAX {
            self.error(word.span, Code::Limit, "The base name of the path is too big");
        } else {
            self.warn_about_notation(word);
            let test = if self.host.path_kind(path) == PathKind::Directory {
                Test::Dir(TreePath::new(path.to_vec()))
            } else {
                self.require_parent(path, word);
                Test::Path(path.to_vec())
            };
            self.push(test, word);
            self.push(Test::Perm(Perm::ALL), word);
        }
    }

    pub(super) fn path_field(&mut self, field: Field, expression: &Expression) {
        let value = &expression.value;
        if !value.bytes.starts_with(b"/") {
            self.refuse(value, "the path must be absolute");
            return;
        }
        if value.bytes.len() > PATH_MAX {
            self.error(value.span, Code::Limit, "String value too long");
            return;
        }
        if value.bytes.split(|byte| *byte == b'/').any(|name| name.len() > NAME_MAX) {
            self.error(value.span, Code::Limit, "Error sending add rule data request (File name too long)");
            return;
        }
        self.warn_about_notation(value);
        match field {
            Field::Dir => {
                let tree = TreePath::new(value.bytes.clone());
                match self.host.path_kind(&tree) {
                    PathKind::Directory => {}
                    PathKind::Missing => self.missing(value, "the directory does not exist"),
                    PathKind::Other => {
                        self.warn(value.span, Code::BadPath, "dir is for directories, and this is none");
                        self.advise("use path= for a file");
                    }
                }
                self.push(Test::Dir(tree), &expression.whole);
            }
            _ if value.bytes.ends_with(b"/") => {
                self.refuse(value, &format!("{} is one file and cannot end in '/'", field.name()));
                self.advise("use dir= for a directory and what is below it");
            }
            Field::Exe => {
                self.require_parent(&value.bytes, value);
                let test = Test::Exe { equal: expression.op == Op::Equal, path: value.bytes.clone() };
                self.push(test, &expression.whole);
            }
            _ => {
                self.require_parent(&value.bytes, value);
                self.push(Test::Path(value.bytes.clone()), &expression.whole);
            }
        }
    }

    fn refuse(&mut self, word: &Word, why: &str) {
        let message = format!("Error sending add rule data request (Invalid argument): {why}");
        self.error(word.span, Code::BadPath, message);
    }

    /// auditctl warns about these for `-w` alone, though they never match elsewhere either.
    fn warn_about_notation(&mut self, word: &Word) {
        let relative = word.bytes.split(|byte| *byte == b'/').any(|part| part == b"..");
        if relative {
            self.warn(word.span, Code::BadPath, "Warning - relative path notation is not supported");
        } else if word.bytes.iter().any(|byte| matches!(byte, b'*' | b'?')) {
            self.warn(word.span, Code::BadPath, "Warning - wildcard notation is not supported");
            self.advise("only a file with this very name matches; watch the directory instead");
        }
    }

    fn require_parent(&mut self, path: &[u8], word: &Word) {
        let parent = match path.iter().rposition(|byte| *byte == b'/') {
            Some(0) | None => return,
            Some(end) => path.get(..end).unwrap_or(path),
        };
        if self.host.path_kind(parent) == PathKind::Missing {
            self.missing(word, "the directory it is in does not exist");
        }
    }

    fn missing(&mut self, word: &Word, why: &str) {
        let diagnostic = match self.missing {
            MissingPaths::Refuse => Diagnostic::error(
                self.line,
                word.span,
                Code::MissingPath,
                format!("Error sending add rule data request (No such file or directory): {why}"),
            ),
            MissingPaths::Warn => Diagnostic::warning(self.line, word.span, Code::MissingPath, why)
                .hint("the rule takes effect once it appears; auditctl would refuse it"),
        };
        self.diagnostics.push(diagnostic);
    }
}
