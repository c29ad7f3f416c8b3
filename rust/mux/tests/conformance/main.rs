//! The conformance cases of wire-protocol §9 that are the multiplexer's: M 8–50 and H 51–58. Each
//! test names its number. The peer is written out byte by byte, independent of the code under test.

#![allow(clippy::unwrap_used)] // helpers of tests unwrap as tests do

mod close;
mod credit;
mod frames;
mod heartbeats;
mod limits;
mod raw;
mod streams;
