//! Log pipeline.
