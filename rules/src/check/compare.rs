//! `-C`: one field against another.

use tables::{CompareField, Field, FilterList, Op};

use crate::ast::Expression;
use crate::diagnostic::Code;
use crate::rule::Test;

use super::builder::Builder;

impl Builder<'_> {
    pub(super) fn compare(&mut self, expression: &Expression) {
        let (left, right) = (expression.name.text(), expression.value.text());
        if !matches!(expression.op, Op::Equal | Op::NotEqual) {
            let message = format!("{} only takes = or != operators", expression.whole.text());
            self.error(expression.op_span, Code::WrongOperator, message);
            return;
        }
        let Some(one) = Field::from_name(&left) else {
            self.error(expression.name.span, Code::UnknownField, format!("-C unknown field: {left}"));
            self.suggest(&expression.name, comparable());
            return;
        };
        let Some(other) = Field::from_name(&right) else {
            let message = format!("-C unknown right hand value for comparison with: {left}");
            self.error(expression.value.span, Code::UnknownField, message);
            self.suggest(&expression.value, comparable());
            return;
        };
        if self.list != Some(FilterList::Exit) {
            let message = format!("{left} can only be used with exit filter list");
            self.error(expression.whole.span, Code::WrongList, message);
            return;
        }
        let Some(pair) = CompareField::of(one, other) else {
            self.error(expression.whole.span, Code::BadComparison, format!("-C incompatible comparison {left}"));
            self.advise("two different fields, both of users (uid euid suid fsuid auid obj_uid) or both of groups");
            return;
        };
        self.push(Test::Compare { pair, equal: expression.op == Op::Equal }, &expression.whole);
    }
}

fn comparable() -> impl Iterator<Item = &'static str> {
    Field::all().filter(|field| CompareField::takes(*field)).map(Field::name)
}
