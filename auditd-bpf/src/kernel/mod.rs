//! The kernel side as seen from user space: the only part that names aya.

pub mod btf;
pub mod engine;
mod left_out;
pub mod object;
pub mod pins;
pub mod preemption;
pub mod process;
mod symbols;
pub mod tables;
#[cfg(test)]
mod trial;
mod unpreempted;
