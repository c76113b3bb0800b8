//! All cases, one file per family.

mod acts;
mod change;
mod tree;
mod watch;

use super::case::Case;

/// Every case.
pub fn all() -> impl Iterator<Item = &'static Case> {
    [watch::CASES, tree::CASES, change::CASES].into_iter().flatten()
}
