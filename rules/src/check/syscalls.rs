//! `-S`: which system calls, or io_uring operations.

use tables::{Arch, FilterList, syscalls};

use crate::diagnostic::Code;
use crate::lexer::Word;
use crate::rule::Syscalls;
use crate::source::Span;

use super::builder::Builder;
use super::values;

/// The kernel's mask has 2048 bits, the last 16 of which stand for classes of system calls.
const SYSCALL_END: u32 = 2032;

/// What `-S` options of a line add up to.
#[derive(Default)]
pub(super) struct Selection {
    given: bool,
    all: bool,
    numbers: Vec<(u16, Span)>,
}

impl Selection {
    pub(super) const fn is_given(&self) -> bool {
        self.given
    }

    /// The sorted set, and where each number was named.
    pub(super) fn finish(mut self) -> (Syscalls, Vec<(u16, Span)>) {
        if self.all || !self.given {
            return (Syscalls::All, Vec::new());
        }
        self.numbers.sort_unstable();
        self.numbers.dedup_by_key(|row| row.0);
        (Syscalls::Set(self.numbers.iter().map(|row| row.0).collect()), self.numbers)
    }
}

impl Builder<'_> {
    pub(super) fn syscalls(&mut self, word: &Word) {
        let Some(list) = self.list else {
            self.error(word.span, Code::BadCombination, "Error - no list specified");
            return;
        };
        match list {
            FilterList::Exit | FilterList::IoUring => {}
            FilterList::Exclude => {
                let message = "Error: syscall auditing cannot be put on exclude list";
                return self.error(word.span, Code::WrongList, message);
            }
            _ => {
                let message = format!("Error: syscall auditing being added to {} list", list.name());
                return self.error(word.span, Code::WrongList, message);
            }
        }
        if self.watch {
            self.warn(word.span, Code::BadCombination, "a watch covers all system calls, so -S has no effect");
            self.advise("write -a always,exit -S ... -F path=... -F perm=...");
            return;
        }
        let before = self.selection.numbers.len();
        for item in word.comma_separated() {
            self.selection.given = true;
            self.syscall(list, &item);
        }
        if !self.selection.given {
            self.error(word.span, Code::UnknownSyscall, "Syscall name unknown: ");
        }
        self.warn_about_mismatch(word, before);
    }

    fn syscall(&mut self, list: FilterList, item: &Word) {
        let name = item.text();
        if name.eq_ignore_ascii_case("all") {
            self.selection.all = true;
            return;
        }
        let numeric = name.starts_with(|first: char| first.is_ascii_digit());
        let number = if numeric { values::unsigned(&name) } else { self.syscall_named(list, &name) };
        match number.filter(|number| *number < SYSCALL_END).and_then(|number| u16::try_from(number).ok()) {
            Some(number) => self.selection.numbers.push((number, item.span)),
            None => self.unknown_syscall(list, item),
        }
    }

    fn arch_of_names(&self) -> Arch {
        self.arch.map_or_else(|| self.host.native_arch(), |arch| arch.0)
    }

    fn syscall_named(&self, list: FilterList, name: &str) -> Option<u32> {
        if list == FilterList::IoUring {
            return tables::io_uring_op_number(name);
        }
        syscalls::number(self.arch_of_names(), name).map(u32::from)
    }

    fn unknown_syscall(&mut self, list: FilterList, item: &Word) {
        let name = item.text();
        if list == FilterList::IoUring {
            self.error(item.span, Code::UnknownSyscall, format!("io_uring op unknown: {name}"));
            self.suggest(item, (0..).map_while(tables::io_uring_op_name));
            return;
        }
        self.error(item.span, Code::UnknownSyscall, format!("Syscall name unknown: {name}"));
        if name.starts_with(|first: char| first.is_ascii_digit()) {
            return self.advise("a number below 2032; the kernel uses those above for classes of system calls");
        }
        let arch = self.arch_of_names();
        let elsewhere = Arch::ALL.into_iter().find(|other| syscalls::number(*other, &name).is_some());
        match elsewhere {
            Some(other) => self.advise(&format!("{} has it, {} does not", other.machine(), arch.machine())),
            None => self.suggest(item, syscalls::all(arch).iter().map(|row| row.1)),
        }
    }

    /// Without `arch` a number stands for what it means on either ABI; warn where that is not the same call.
    fn warn_about_mismatch(&mut self, word: &Word, before: usize) {
        if self.arch.is_some() || self.list != Some(FilterList::Exit) || self.host.native_arch() != Arch::B64 {
            return;
        }
        let differs = |number: u16| {
            let native = syscalls::name(Arch::B64, number);
            native.is_some_and(|name| syscalls::number(Arch::B32, name) != Some(number))
        };
        let is_name = |span: Span| self.line.text.get(span.start).is_some_and(|first| !first.is_ascii_digit());
        let added = self.selection.numbers.get(before..).unwrap_or_default();
        if added.iter().any(|row| is_name(row.1) && differs(row.0)) {
            let message = "WARNING - 32/64 bit syscall mismatch, you should specify an arch";
            self.warn(word.span, Code::ArchMismatch, message);
            self.advise("write the rule twice, with -F arch=b64 and -F arch=b32 before -S");
        }
    }
}
