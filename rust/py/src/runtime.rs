//! Threads of a process. The fewer they are, the less time goes into waking one another: on two
//! cores, a second thread doubles what a request costs.

use std::thread::available_parallelism;

use tokio::runtime::{Builder, Runtime};

use crate::report::Fatal;

/// Cores for which one more thread is started, where nobody says how many.
const CORES: usize = 2;

/// Threads of an edge nobody has given a number to.
pub(crate) fn fitting_threads() -> usize {
    available_parallelism().map_or(1, |cores| cores.get().div_ceil(CORES))
}

/// A runtime of so many threads; a single one is the caller's, and wakes nobody.
///
/// # Errors
/// Where the system gives no threads or no poller.
pub(crate) fn start(threads: usize, name: &str) -> Result<Runtime, Fatal> {
    let mut builder = if threads > 1 {
        Builder::new_multi_thread()
    } else {
        Builder::new_current_thread()
    };
    builder
        .worker_threads(threads)
        .thread_name(name)
        .enable_all()
        .build()
        .map_err(|error| Fatal(format!("cannot start: {error}")))
}
