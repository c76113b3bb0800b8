//! Names in the kernel.

use std::cell::OnceCell;
use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, BufReader};

const KALLSYMS: &str = "/proc/kallsyms";

/// A symbol of the kernel.
#[derive(Debug, PartialEq, Eq)]
pub struct Symbol<'a> {
    /// 0 where the kernel hides it.
    pub address: u64,
    /// Its name.
    pub name: &'a str,
}

/// Calls `wanted` with each symbol of the kernel until it returns something.
pub fn find<T>(mut wanted: impl FnMut(&Symbol<'_>) -> Option<T>) -> Option<T> {
    let lines = BufReader::new(File::open(KALLSYMS).ok()?).lines();
    lines.map_while(Result::ok).find_map(|line| parse(&line).and_then(|symbol| wanted(&symbol)))
}

/// `ffffffff82c550e0 D preempt_dynamic_mode`, and behind it `[module]` for what is not the kernel's own.
fn parse(line: &str) -> Option<Symbol<'_>> {
    let mut words = line.split_ascii_whitespace();
    let (address, _, name) = (words.next()?, words.next()?, words.next()?);
    if words.next().is_some() {
        return None;
    }
    Some(Symbol { address: u64::from_str_radix(address, 16).ok()?, name })
}

/// The functions behind system calls, read when first asked for.
#[derive(Debug, Default)]
pub struct Symbols(OnceCell<HashSet<String>>);

impl Symbols {
    /// Whether the kernel has a function of that name, the name being that of a system call's function.
    pub fn has(&self, name: &str) -> bool {
        self.0.get_or_init(system_calls).contains(name)
    }
}

fn system_calls() -> HashSet<String> {
    let mut names = HashSet::new();
    find(|symbol| {
        if symbol.name.contains("_sys_") {
            names.insert(symbol.name.to_owned());
        }
        None::<()>
    });
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_of_modules_are_not_the_kernels() {
        let mode = Symbol { address: 0xffff_ffff_82c5_50e0, name: "preempt_dynamic_mode" };
        assert_eq!(parse("ffffffff82c550e0 D preempt_dynamic_mode"), Some(mode));
        assert_eq!(parse("ffffffffc0000000 d preempt_dynamic_mode\t[module]"), None);
        assert_eq!(parse("0000000000000000 T hidden"), Some(Symbol { address: 0, name: "hidden" }));
        assert_eq!(parse(""), None);
    }
}
