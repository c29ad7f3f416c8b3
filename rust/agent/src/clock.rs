//! The time of day, as far as an agent needs it.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970; none before.
pub(crate) fn seconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}
