//! What a case is.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result};
use nix::sys::stat::{major, minor};

use crate::place::Place;

/// Rules of the standards, as Debian's package of auditd brings them.
pub const EXAMPLES: &str = "/usr/share/doc/auditd/examples/rules";

/// Rules, and acts of which some match and some do not. Its name is the key of its rules.
pub struct Case {
    /// Its name.
    pub name: &'static str,
    rules: &'static str,
    /// Files of [`EXAMPLES`] that stand before its own rules.
    examples: &'static [&'static str],
    /// What must be there before the rules are loaded.
    pub prepare: fn(&Place) -> Result<()>,
    /// The acts, in a child with the case's login uid.
    pub act: fn(&Place) -> Result<()>,
    /// Whether the kernel makes events of them.
    pub silent: bool,
}

impl Case {
    /// A case. In its rules stand `{dir}`, `{key}` and `{auid}` for what is the case's own, and `{inode}`, `{devmajor}` and
    /// `{devminor}` for those of `f` in its directory.
    pub const fn new(name: &'static str, rules: &'static str, act: fn(&Place) -> Result<()>) -> Self {
        Self { name, rules, examples: &[], prepare: |_| Ok(()), act, silent: false }
    }

    /// What must be there before the rules are loaded.
    #[must_use]
    pub const fn prepared(mut self, prepare: fn(&Place) -> Result<()>) -> Self {
        self.prepare = prepare;
        self
    }

    /// Files of [`EXAMPLES`], without the ending, that stand before its own rules.
    #[must_use]
    pub const fn with_examples(mut self, names: &'static [&'static str]) -> Self {
        self.examples = names;
        self
    }

    /// None of the acts matches.
    #[must_use]
    pub const fn silent(mut self) -> Self {
        self.silent = true;
        self
    }

    /// Its rules, one a line.
    pub fn rules(&self, place: &Place) -> Result<String> {
        let mut rules = String::new();
        for name in self.examples {
            let file = Path::new(EXAMPLES).join(name).with_extension("rules");
            rules += &fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        }
        rules += &place.rules(self.rules);
        if rules.contains("{inode}") || rules.contains("{dev") {
            let status = fs::metadata(place.path("f")).context("no f to take numbers from")?;
            let device = status.dev();
            for (name, number) in
                [("{inode}", status.ino()), ("{devmajor}", major(device)), ("{devminor}", minor(device))]
            {
                rules = rules.replace(name, &number.to_string());
            }
        }
        Ok(rules)
    }
}
