//! One program per hook, called `<kind>_<hook>`; each names the objects it is shown.

mod exec;
pub mod file;
mod in_place;
mod inode;
mod look_up;
mod mount;
mod parts;
mod refusing;
pub mod socket;
mod task;
