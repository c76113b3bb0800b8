//! `-F`: a field, an operator, a value.

use tables::{Field, FilterList, Op, Perm, ValueKind};

use crate::ast::Expression;
use crate::diagnostic::Code;
use crate::lexer::Word;
use crate::rule::{Fail, Test};

use super::builder::Builder;
use super::values;

/// Longest label of a subject or object that auditctl takes.
const TEXT_MAX: usize = 4096;

impl Builder<'_> {
    pub(super) fn field(&mut self, expression: &Expression) {
        let name = &expression.name;
        let Some(list) = self.list else {
            self.error(expression.whole.span, Code::BadCombination, "List must be given before field");
            return;
        };
        let Some(field) = Field::from_name(&name.text()) else {
            self.error(name.span, Code::UnknownField, format!("-F unknown field: {}", name.text()));
            self.suggest(name, Field::all().map(Field::name));
            return;
        };
        if let Some(message) = wrong_list(field, list) {
            self.error(name.span, Code::WrongList, message);
            self.advise(&format!("{} works on: {}", field.name(), list_names(field)));
            return;
        }
        if !field.operators().contains(&expression.op) {
            self.error(expression.op_span, Code::WrongOperator, wrong_operator(field));
            return;
        }
        match field.value_kind() {
            ValueKind::Arch => self.arch_field(expression),
            ValueKind::Path => self.path_field(field, expression),
            ValueKind::Perm => self.perm_field(expression),
            ValueKind::Key => self.key_of_field(&expression.value),
            ValueKind::Fail => self.fail_field(expression),
            ValueKind::Text => self.text_field(field, expression),
            ValueKind::Network | ValueKind::Comm | ValueKind::Cgroup => self.pattern_field(field, expression),
            _ => self.number_field(field, expression),
        }
    }

    fn number_field(&mut self, field: Field, expression: &Expression) {
        let value = match values::number(field, &expression.value.bytes, self.host) {
            Ok(value) => value,
            Err(bad) => return self.bad_value(expression, bad),
        };
        if field == Field::Errno {
            self.errno_field(value, expression);
            return;
        }
        let op = expression.op;
        if value == u32::MAX && field == Field::Auid && !matches!(op, Op::Equal | Op::NotEqual) {
            let message =
                "Error sending add rule data request (Invalid argument): unset is no number to be above or below";
            self.error(expression.op_span, Code::WrongOperator, message);
            self.advise("write auid=unset or auid!=unset");
            return;
        }
        self.push(Test::Number { field, op, value }, &expression.whole);
    }

    fn bad_value(&mut self, expression: &Expression, bad: values::BadValue) {
        self.error(expression.value.span, bad.code, bad.message);
        if let Some(hint) = bad.hint {
            self.advise(&hint);
        }
    }

    fn pattern_field(&mut self, field: Field, expression: &Expression) {
        match values::pattern(field, &expression.value.bytes) {
            Ok(pattern) => {
                let equal = expression.op == Op::Equal;
                self.push(Test::Pattern { equal, pattern }, &expression.whole);
            }
            Err(bad) => self.bad_value(expression, bad),
        }
    }

    fn errno_field(&mut self, value: u32, expression: &Expression) {
        match u16::try_from(value) {
            Ok(value) => self.errno = Some((value, expression.whole.span)),
            Err(_) => self.error(expression.value.span, Code::BadValue, "-F unknown errno - errno"),
        }
    }

    fn fail_field(&mut self, expression: &Expression) {
        match Fail::from_name(&expression.value.bytes) {
            Some(fail) => self.fail = Some((fail, expression.whole.span)),
            None => self.error(expression.value.span, Code::BadValue, "-F value should be open or closed for fail"),
        }
    }

    fn arch_field(&mut self, expression: &Expression) {
        if self.selection.is_given() {
            self.error(expression.whole.span, Code::BadCombination, "arch must be before -S");
            return;
        }
        let Some(arch) = values::arch(&expression.value.bytes, self.host) else {
            self.error(expression.value.span, Code::BadValue, "arch elf mapping not found");
            self.advise("b64 or b32, or a machine: x86_64, i386, aarch64");
            return;
        };
        let arch = (arch, expression.op == Op::Equal);
        if self.arch.is_some_and(|earlier| earlier != arch) {
            self.error(expression.whole.span, Code::BadCombination, "a rule has one arch, and this is a second");
            self.advise("write one rule for each arch");
            return;
        }
        self.arch = Some(arch);
        self.arch_span = Some(expression.whole.span);
    }

    fn perm_field(&mut self, expression: &Expression) {
        let value = &expression.value;
        if value.bytes.len() > 4 {
            self.error(value.span, Code::BadValue, "String value too long");
            return;
        }
        let Some(perm) = perm(value) else {
            self.error(value.span, Code::BadValue, "Permission can only contain  'rwxa'");
            return;
        };
        self.perm_after_arch = self.arch.is_some() && !self.selection.is_given();
        self.push(Test::Perm(perm), &expression.whole);
    }

    fn text_field(&mut self, field: Field, expression: &Expression) {
        let value = &expression.value;
        if value.bytes.len() > TEXT_MAX {
            self.error(value.span, Code::Limit, "String value too long");
            return;
        }
        self.push(Test::Text { field, op: expression.op, value: value.bytes.clone() }, &expression.whole);
    }
}

pub(super) const EXCLUDE_FIELDS: &str =
    "Only msgtype, *uid, *gid, pid, and subj* fields can be used with exclude filter";

/// Letters of `rwxa`.
pub(super) fn perm(word: &Word) -> Option<Perm> {
    word.bytes.iter().try_fold(Perm::NONE, |perm, letter| Some(perm | Perm::from_letter(char::from(*letter))?))
}

/// auditctl's refusal, if a field cannot stand on a list.
fn wrong_list(field: Field, list: FilterList) -> Option<String> {
    let name = field.name();
    if list == FilterList::Exclude && !excludable(field) {
        return Some(EXCLUDE_FIELDS.to_owned());
    }
    if list == FilterList::Filesystem && field.lists().contains(&list) && !matches!(field, Field::Fstype | Field::Key) {
        return Some(format!(
            "Error sending add rule data request (Invalid argument): {name} is unknown to the filesystem list"
        ));
    }
    if field.lists().contains(&list) {
        return None;
    }
    Some(match field {
        Field::Msgtype => "msgtype field can only be used with exclude or user filter list".to_owned(),
        Field::SessionId => "sessionid must be used with exclude, user, or exit filter".to_owned(),
        Field::Fstype | Field::Exe => format!("{name} field is not valid for the filter"),
        _ => format!("{name} can only be used with exit filter list"),
    })
}

/// What the kernel's exclude filter can ask (`audit_filter` in `kernel/auditfilter.c`); auditctl's words promise more.
const fn excludable(field: Field) -> bool {
    use Field::{Auid, Exe, Gid, Msgtype, Pid, SubjClr, SubjRole, SubjSen, SubjType, SubjUser, Uid};
    matches!(field, Auid | Exe | Gid | Msgtype | Pid | SubjClr | SubjRole | SubjSen | SubjType | SubjUser | Uid)
}

fn list_names(field: Field) -> String {
    field
        .lists()
        .iter()
        .filter(|list| wrong_list(field, **list).is_none())
        .map(|list| list.name())
        .collect::<Vec<_>>()
        .join(" ")
}

fn wrong_operator(field: Field) -> String {
    let name = field.name();
    match (field.operators(), field) {
        ([Op::Equal], Field::Perm) => format!("{name} only takes = operator"),
        ([_, _], Field::Arch | Field::Inode | Field::Exe | Field::Fstype) => {
            format!("{name} only takes = or != operators")
        }
        // These auditctl leaves to the kernel.
        (operators, _) => {
            let mut operators = operators.to_vec();
            operators.sort_unstable();
            let symbols: Vec<_> = operators.into_iter().map(Op::symbol).collect();
            format!("Error sending add rule data request (Invalid argument): {name} only takes {}", symbols.join(" "))
        }
    }
}
