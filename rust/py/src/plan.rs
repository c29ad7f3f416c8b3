//! Reading a plan from the descriptor that Python left open, and turning logging on with it.

use std::fs::File;
use std::io::Read;

use portway_agent::plan::{Log, Note};
use portway_logs::{Format, Level, Options, Record, Target, Value};
use serde::de::DeserializeOwned;

use crate::report::Fatal;

/// The plan behind a descriptor, on Windows a handle; it is closed afterwards.
///
/// # Errors
/// A text for the user where it cannot be read. Only another version of the Python part can be
/// the cause.
pub(crate) fn read<P: DeserializeOwned>(descriptor: i32) -> Result<P, Fatal> {
    let mut text = String::new();
    open(descriptor)
        .read_to_string(&mut text)
        .map_err(|error| Fatal(format!("cannot read the plan: {error}")))?;
    serde_json::from_str(&text).map_err(|error| {
        Fatal(format!(
            "the plan does not fit this version of portway: {error}"
        ))
    })
}

#[cfg(unix)]
#[allow(unsafe_code)]
fn open(descriptor: i32) -> File {
    // SAFETY: `launch.py` has opened the descriptor for this one call and has nothing else to do
    // with it; nobody else in this process knows its number.
    unsafe { std::os::fd::FromRawFd::from_raw_fd(descriptor) }
}

#[cfg(windows)]
#[allow(unsafe_code)]
fn open(handle: i32) -> File {
    // SAFETY: `launch.py` has made the handle for this one call, and only this process has inherited it. Handles have 32
    // bits that count, whatever their width (Windows, "Interprocess Communication Between 32-bit and 64-bit Applications").
    unsafe { std::os::windows::io::FromRawHandle::from_raw_handle(handle as isize as *mut _) }
}

/// Turns logging on and writes what was noted before.
///
/// # Errors
/// A text for the user: an unknown value, or a log file that cannot be opened.
pub(crate) fn start_logging(log: &Log, notes: &[Note]) -> Result<(), Fatal> {
    let target = match log.target.as_str() {
        "" | "false" => Target::Off,
        "stdout" => Target::Stdout,
        "stderr" => Target::Stderr,
        "system" => Target::System,
        path => Target::File(path.into()),
    };
    let level = Level::parse(&log.level);
    let format = Format::parse(&log.format);
    let options = Options {
        target,
        level: level.ok_or_else(|| {
            Fatal(format!(
                "unknown log level {:?}: use debug, info, warn, error or crit",
                log.level
            ))
        })?,
        format: format.ok_or_else(|| {
            Fatal(format!(
                "unknown log format {:?}: use term, logfmt or json",
                log.format
            ))
        })?,
    };
    portway_logs::init(&options)
        .map_err(|error| Fatal(format!("cannot open the log file {}: {error}", log.target)))?;
    for note in notes {
        portway_logs::record(&record(note));
    }
    Ok(())
}

fn record(note: &Note) -> Record {
    let value = |value: &serde_json::Value| match value {
        serde_json::Value::Null => Value::Nil,
        serde_json::Value::Bool(flag) => Value::Bool(*flag),
        serde_json::Value::Number(number) => number
            .as_i64()
            .map_or_else(|| Value::Text(number.to_string()), Value::Int),
        serde_json::Value::String(text) => Value::Text(text.clone()),
        other => Value::Text(other.to_string()),
    };
    Record {
        level: Level::parse(&note.lvl).unwrap_or_default(),
        message: note.msg.clone(),
        fields: note
            .fields
            .iter()
            .map(|(key, field)| (key.clone(), value(field)))
            .collect(),
    }
}
