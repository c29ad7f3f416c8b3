//! Sessions over a simulated connection, in paused time and without sockets: everything that
//! happens is decided by a seed. A run that fails names its seed.
//!
//! `PORTWAY_SIM_SEED=7` runs this one seed, `PORTWAY_SIM_SEEDS=100000` so many (with `cargo test`:
//! nextest ends what takes long).

#![allow(clippy::unwrap_used)] // helpers of tests unwrap as tests do

mod both;
mod link;
mod plan;
mod rng;
mod rules;
mod sdk;

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use portway_mux::Peer;

/// Seeds of one test, where the environment says nothing else.
const SEEDS: u64 = 200;

fn paused() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
}

/// Runs `each` with every seed there is to be.
fn seeds<F: Future<Output = ()>>(each: impl Fn(u64) -> F) {
    let number = |name| {
        let text = std::env::var(name).ok()?;
        Some(text.parse::<u64>().expect(name))
    };
    let seeds = match number("PORTWAY_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("PORTWAY_SIM_SEEDS").unwrap_or(SEEDS),
    };
    for seed in seeds {
        let run = AssertUnwindSafe(|| paused().block_on(each(seed)));
        if let Err(panic) = catch_unwind(run) {
            eprintln!("failed with PORTWAY_SIM_SEED={seed}");
            resume_unwind(panic);
        }
    }
}

#[test]
fn both_roles_keep_every_byte_and_nothing_else() {
    seeds(both::run);
}

#[test]
fn a_peer_made_with_the_rust_sdk_is_never_overrun_and_never_stalls() {
    seeds(sdk::run);
}

#[test]
fn m44_six_hundred_visitors_at_once_do_not_end_the_session_of_such_a_peer() {
    paused().block_on(sdk::crowd(900));
}

#[test]
fn one_stream_fills_a_long_link() {
    let rate = |peer| paused().block_on(both::rate(Duration::from_millis(100), peer));
    let grown = rate(Peer::PORTWAY);
    // 16 MiB a round trip; the first window alone would be 2.6 MB/s.
    assert!(grown > 60e6, "{grown} bytes per second");
    let clamped = rate(Peer::RUST_SDK);
    assert!((2e6..3e6).contains(&clamped), "{clamped} bytes per second");
}
