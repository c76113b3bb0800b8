//! Facts about Linux audit that every other crate reads.
