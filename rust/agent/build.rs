//! When this was built: a clock that shows an earlier time is wrong.

use std::time::{SystemTime, UNIX_EPOCH};

fn main() {
    println!("cargo::rerun-if-env-changed=SOURCE_DATE_EPOCH");
    println!("cargo::rerun-if-changed=build.rs");
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = since.unwrap_or_default().as_secs().to_string();
    let built = std::env::var("SOURCE_DATE_EPOCH").unwrap_or(now);
    println!("cargo::rustc-env=BUILT_AT={built}");
}
