//! Asks the linker to keep one of several functions that are the same, where it is known to be able to.

use std::env;
use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=RUSTC_LINKER");
    if links_with_lld().unwrap_or(false) {
        println!("cargo::rustc-link-arg-cdylib=-Wl,--icf=all");
    }
}

/// Whether the linker is the one that comes with Rust: for this target it is, unless somebody has named another, or
/// the compiler is one of a distribution that leaves it out.
fn links_with_lld() -> Option<bool> {
    let named =
        |name| env::var_os(name).is_some_and(|value| value.to_string_lossy().contains("link"));
    let target = env::var("TARGET").ok()?;
    if target != "x86_64-unknown-linux-gnu"
        || env::var_os("RUSTC_LINKER").is_some()
        || named("CARGO_ENCODED_RUSTFLAGS")
    {
        return None;
    }
    let asked = Command::new(env::var_os("RUSTC")?)
        .args(["--print", "sysroot"])
        .output()
        .ok()?;
    let root = String::from_utf8(asked.stdout).ok()?;
    let lld = Path::new(root.trim())
        .join("lib/rustlib")
        .join(target)
        .join("bin/gcc-ld/ld.lld");
    Some(lld.exists())
}
