//! Rules as `auditctl -l` prints them, and as a rule file writes them.

use tables::{Arch, Field, FilterList, Perm, ValueKind, perm_listing, syscalls};

use crate::interpret;
use crate::lexer::escape;
use crate::rule::{Rule, Syscalls, Test};

/// Which auditctl to print like. Both leave spaces in paths as they are, so their text cannot always be read back; that of
/// [`canonical`] can.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// auditctl 3.0.9: `exe!=` comes out as `exe=`.
    V3,
    /// auditctl 4: a rule with `perm` after `arch` lists the system calls of that perm.
    #[default]
    V4,
}

/// A rule as `auditctl -l` prints it. Bytes, as paths and keys need not be UTF-8.
#[must_use]
pub fn rule(rule: &Rule, dialect: Dialect) -> Vec<u8> {
    Printer { style: Style::List(dialect), text: Vec::new() }.rule(rule)
}

/// A rule as `auditctl -l -i` prints it.
#[must_use]
pub fn interpreted(rule: &Rule, dialect: Dialect) -> Vec<u8> {
    Printer { style: Style::Interpreted(dialect), text: Vec::new() }.rule(rule)
}

/// A rule as a rule file writes it: parsing this gives the same rule, whatever its paths hold.
#[must_use]
pub fn canonical(rule: &Rule) -> Vec<u8> {
    Printer { style: Style::File, text: Vec::new() }.rule(rule)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    List(Dialect),
    Interpreted(Dialect),
    File,
}

impl Style {
    fn is_like(self, wanted: Dialect) -> bool {
        matches!(self, Self::List(dialect) | Self::Interpreted(dialect) if dialect == wanted)
    }
}

struct Printer {
    style: Style,
    text: Vec<u8>,
}

impl Printer {
    fn rule(mut self, rule: &Rule) -> Vec<u8> {
        let watch = if self.style == Style::File { None } else { watch_parts(rule) };
        if let Some((path, perm)) = watch {
            self.watch(rule, path, perm);
            return self.text;
        }
        self.word("-a ");
        self.word(&format!("{},{}", rule.action.name(), rule.list.name()));
        if let Some((arch, equal)) = rule.arch {
            let name = match self.style {
                Style::List(_) => arch.name(),
                Style::Interpreted(_) => arch.machine(),
                Style::File => file_arch(arch),
            };
            self.word(&format!(" -F arch{}{name}", if equal { "=" } else { "!=" }));
        }
        self.syscalls(rule);
        for test in &rule.tests {
            self.test(rule, test);
        }
        if let Some(errno) = rule.errno.map(u32::from) {
            let name = tables::errno_name(errno).map_or_else(|| errno.to_string(), str::to_owned);
            self.word(&format!(" -F errno={name}"));
        }
        if let Some(fail) = rule.fail {
            self.word(&format!(" -F fail={}", fail.name()));
        }
        self.dry_run(rule);
        for key in &rule.keys {
            self.word(" -F key=");
            self.bytes(key);
        }
        self.text
    }

    fn watch(&mut self, rule: &Rule, path: &[u8], perm: Perm) {
        self.word("-w ");
        self.bytes(path);
        self.word(&format!(" -p {perm}"));
        if rule.action.refuses() {
            self.word(&format!(" --action {}", rule.action.name()));
        }
        self.dry_run(rule);
        for key in &rule.keys {
            self.word(" -k ");
            self.bytes(key);
        }
    }

    fn dry_run(&mut self, rule: &Rule) {
        if rule.dry_run {
            self.word(" --dry-run");
        }
    }

    fn word(&mut self, text: &str) {
        self.text.extend_from_slice(text.as_bytes());
    }

    /// What a user may have put spaces into.
    fn bytes(&mut self, bytes: &[u8]) {
        if self.style == Style::File {
            self.text.extend(escape(bytes));
        } else {
            self.text.extend_from_slice(bytes);
        }
    }

    fn syscalls(&mut self, rule: &Rule) {
        if !rule.list.takes_syscalls() {
            return;
        }
        let arch = rule.arch.map_or(Arch::B64, |arch| arch.0);
        let name = |number: &u16| {
            let name = if rule.list == FilterList::IoUring {
                tables::io_uring_op_name(u32::from(*number))
            } else {
                syscalls::name(arch, *number)
            };
            name.map_or_else(|| number.to_string(), str::to_owned)
        };
        let listed = match (&rule.syscalls, self.style) {
            (Syscalls::Set(numbers), _) => numbers.iter().map(name).collect::<Vec<_>>().join(","),
            (Syscalls::OfPerm, style) if style.is_like(Dialect::V4) => {
                perm_listing(perms(rule), arch).iter().map(name).collect::<Vec<_>>().join(",")
            }
            // Without `-S`, reading it back gives OfPerm again.
            (Syscalls::OfPerm, Style::File) => return,
            (Syscalls::OfPerm | Syscalls::All, _) => "all".to_owned(),
        };
        self.word(" -S ");
        self.word(&listed);
    }

    fn test(&mut self, rule: &Rule, test: &Test) {
        match test {
            Test::Number { field, op, value } => {
                let value = match self.style {
                    Style::List(_) => number(*field, *value),
                    Style::Interpreted(_) => interpreted_number(rule, *field, *value),
                    Style::File => file_number(*field, *value),
                };
                self.word(&format!(" -F {}{}{value}", field.name(), op.symbol()));
            }
            Test::Path(path) => self.path("path=", path),
            Test::Dir(tree) => self.path("dir=", tree.as_written()),
            Test::Exe { equal, path } => {
                let drops_not = self.style.is_like(Dialect::V3);
                self.path(if *equal || drops_not { "exe=" } else { "exe!=" }, path);
            }
            Test::Perm(perm) => self.word(&format!(" -F perm={perm}")),
            Test::Pattern { equal, pattern } => {
                self.word(&format!(" -F {}{}", pattern.field().name(), if *equal { "=" } else { "!=" }));
                self.bytes(&pattern.text());
            }
            Test::Text { field, op, value } => {
                self.word(&format!(" -F {}{}", field.name(), op.symbol()));
                self.bytes(value);
            }
            Test::Compare { pair, equal } => {
                let op = if *equal { "=" } else { "!=" };
                self.word(&format!(" -C {}{op}{}", pair.left().name(), pair.right().name()));
            }
        }
    }

    fn path(&mut self, field: &str, path: &[u8]) {
        self.word(" -F ");
        self.word(field);
        self.bytes(path);
    }
}

/// In a file the machine matters, as `b64` means another one elsewhere.
const fn file_arch(arch: Arch) -> &'static str {
    match arch {
        Arch::Aarch64 => "aarch64",
        Arch::B64 | Arch::B32 => arch.name(),
    }
}

fn perms(rule: &Rule) -> Perm {
    rule.tests.iter().fold(Perm::NONE, |all, test| if let Test::Perm(perm) = test { all | *perm } else { all })
}

/// auditctl prints a rule as a watch if it has one object, one perm, keys and nothing else, whatever its action: a `never`
/// rule looks like an `always` one. It also does so without an object, or with perm before it, and then prints what is no
/// rule; such a rule prints in full here.
fn watch_parts(rule: &Rule) -> Option<(&[u8], Perm)> {
    let says_more = rule.arch.is_some() || rule.errno.is_some() || rule.fail.is_some();
    if rule.list != FilterList::Exit || rule.syscalls != Syscalls::All || says_more {
        return None;
    }
    match rule.tests.as_slice() {
        [Test::Path(path), Test::Perm(perm)] => Some((path, *perm)),
        [Test::Dir(tree), Test::Perm(perm)] => Some((tree.as_written(), *perm)),
        _ => None,
    }
}

/// auditctl prints large numbers as negative ones, and takes those back for some fields only.
fn file_number(field: Field, value: u32) -> String {
    match field.value_kind() {
        ValueKind::User | ValueKind::Session if value == u32::MAX => "unset".to_owned(),
        ValueKind::Argument
        | ValueKind::Exit
        | ValueKind::RecordType
        | ValueKind::FileSystem
        | ValueKind::Capability => number(field, value),
        _ => value.to_string(),
    }
}

fn interpreted_number(rule: &Rule, field: Field, value: u32) -> String {
    match field {
        Field::Auid | Field::SessionId if value == u32::MAX => "unset".to_owned(),
        Field::A0 | Field::A1 | Field::A2 | Field::A3 => interpret::argument(rule, field, value),
        _ => number(field, value),
    }
}

fn number(field: Field, value: u32) -> String {
    let signed = value.cast_signed();
    match field.value_kind() {
        ValueKind::Argument => format!("0x{value:X}"),
        // The one plain number that auditctl prints without a sign.
        _ if field == Field::Inode => value.to_string(),
        ValueKind::Exit if signed < 0 => match tables::errno_name(signed.unsigned_abs()) {
            Some(name) => format!("-{name}"),
            None => signed.to_string(),
        },
        ValueKind::RecordType => tables::record_type_name(value).map_or_else(|| value.to_string(), str::to_owned),
        ValueKind::FileSystem => tables::file_system_name(value).map_or_else(|| value.to_string(), str::to_owned),
        ValueKind::Capability => tables::capability_name(value).map_or_else(|| value.to_string(), str::to_owned),
        _ => signed.to_string(),
    }
}
