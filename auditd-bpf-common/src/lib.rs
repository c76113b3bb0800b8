//! Types and numbers that the kernel side and the user side must agree on: no logic, no dependencies.
//!
//! Everything that crosses is `repr(C)`, made of integers and byte arrays without implicit padding; sizes are asserted.
#![no_std]

pub mod counters;
pub mod hooks;
pub mod limits;
pub mod names;
pub mod offsets;
pub mod plan_rows;
pub mod trial;
pub mod wire;
