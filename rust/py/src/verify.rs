//! Whether the manifest of a release is ours, for `portway update`.

use portway_agent::release;
use serde::Deserialize;

use crate::plan;
use crate::report::Fatal;

/// What is signed, by whom it may be, and the signature.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signed {
    content: String,
    signature: String,
    keys: Vec<String>,
}

/// Succeeds where one of the keys has signed the content.
///
/// # Errors
/// What the user is told.
pub(crate) fn run(descriptor: i32) -> Result<(), Fatal> {
    let signed: Signed = plan::read(descriptor)?;
    release::verify(&signed.content, &signed.signature, &signed.keys).map_err(Fatal)
}
