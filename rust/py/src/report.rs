//! Errors as users see them (cli.md §1): on stderr, each line marked, never a trace.

use std::io::Write;

/// What ends a run early; the text is for the user.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Fatal(pub(crate) String);

/// Shows what went wrong and gives the exit code.
pub(crate) fn exit_code(result: Result<(), Fatal>) -> u8 {
    let Err(error) = result else { return 0 };
    let mut text = String::new();
    for line in portway_agent::without_number(&error.0).lines() {
        text.push_str("ERROR:  ");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    // Where stderr is closed there is nobody to tell.
    let _ = std::io::stderr().write_all(text.as_bytes());
    1
}
