//! Log records of agent and edge in the three formats of the command line (cli.md §12).
//!
//! The rest of the core speaks `tracing`; this crate alone knows how a record looks and where it
//! goes. Each record is one write, so that readers of a pipe see whole lines.
//!
//! - [`format`]: `term`, `logfmt` and `json`.
//! - [`sink`]: stdout, stderr, a [`file`](mod@file) or nothing; [`system`]: the log of the operating system.
//! - [`layer`]: from `tracing` events to records.

mod file;
mod format;
mod layer;
mod sink;
mod system;

use std::io;
use std::path::PathBuf;
use std::sync::OnceLock;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

pub use format::{Format, Level, Record, Value};

use sink::Sink;

/// Where records go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Target {
    #[default]
    Off,
    Stdout,
    Stderr,
    /// Appended to; created with mode 0600.
    File(PathBuf),
    /// The log of the operating system.
    System,
}

/// What is logged, how, and where to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    pub target: Target,
    /// The least severe level that is still written.
    pub level: Level,
    pub format: Format,
}

static SINK: OnceLock<Sink> = OnceLock::new();

/// Turns logging on for the whole process. Only the first call counts.
///
/// # Errors
/// When the log file cannot be opened.
pub fn init(options: &Options) -> io::Result<()> {
    let sink = Sink::open(options)?;
    if SINK.set(sink).is_ok() && options.target != Target::Off {
        // A second subscriber cannot be: `set` has just made sure of it.
        let _ = tracing_subscriber::registry()
            .with(layer::Records {
                level: options.level,
            })
            .try_init();
    }
    Ok(())
}

/// Writes a record that was made elsewhere, at its level.
pub fn record(record: &Record) {
    if let Some(sink) = SINK.get() {
        sink.write(record);
    }
}
