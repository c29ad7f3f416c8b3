//! What holds for any input: headers, frames cut anywhere, windows, turns.
//!
//! `PROPTEST_CASES=1000000` makes more of each, and `PORTWAY_FUZZ_SECONDS=600` lets the fuzz of the
//! decoder run so long (with `cargo test`: nextest ends what takes long).

#![allow(clippy::unwrap_used)] // helpers of tests unwrap as tests do

mod decoder;
mod frames;
mod sched;
mod window;
