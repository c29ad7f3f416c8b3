//! Where records go: one write each, and silence once nobody reads.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use crate::file::LogFile;
use crate::format::{Format, Level, Record, Shape};
use crate::system::{self, System};
use crate::{Options, Target};

enum Out {
    Off,
    Stdout,
    Stderr,
    File(Mutex<LogFile>),
    /// Not stderr, but syslog or the event log.
    System,
}

pub(crate) struct Sink {
    out: Out,
    level: Level,
    shape: Shape,
    /// The reader is gone: the program lives on without logging.
    closed: AtomicBool,
}

// === impl Sink ===

impl Sink {
    pub(crate) fn open(options: &Options) -> io::Result<Self> {
        let system = (options.target == Target::System).then(System::find);
        let (out, terminal) = match &options.target {
            Target::Off => (Out::Off, false),
            Target::Stdout => (Out::Stdout, io::stdout().is_terminal()),
            Target::File(path) => (Out::File(Mutex::new(LogFile::open(path)?)), false),
            Target::System if system == Some(System::Log) => (Out::System, false),
            Target::Stderr | Target::System => (Out::Stderr, io::stderr().is_terminal()),
        };
        let shape = match options.format {
            _ if system == Some(System::Journal) => Shape::Untimed { priority: true },
            _ if system == Some(System::Log) => Shape::Untimed { priority: false },
            Format::Json => Shape::Json,
            Format::Term if terminal => Shape::Term {
                color: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
                    && std::env::var_os("TERM").is_none_or(|name| name != "dumb"),
            },
            Format::Term | Format::Logfmt => Shape::Logfmt,
        };
        Ok(Self {
            out,
            level: options.level,
            shape,
            closed: AtomicBool::new(false),
        })
    }

    pub(crate) fn write(&self, record: &Record) {
        if record.level < self.level || self.closed.load(Ordering::Relaxed) {
            return;
        }
        let shown = |record: &Record| self.shape.line(record, &jiff::ZonedDateTime::now());
        let line = shown(record);
        let written = match &self.out {
            Out::Off => Ok(()),
            Out::Stdout => one_write(&mut io::stdout().lock(), &line),
            Out::Stderr => one_write(&mut io::stderr().lock(), &line),
            Out::File(file) => {
                let told = file.lock().write(&line, shown);
                told.map_or(Ok(()), |told| one_write(&mut io::stderr().lock(), &told))
            }
            Out::System => system::write(record.level, line.trim_end()),
        };
        if let Err(error) = written
            && error.kind() == io::ErrorKind::BrokenPipe
            && !matches!(self.out, Out::File(_))
        {
            self.closed.store(true, Ordering::Relaxed);
        }
    }
}

fn one_write(out: &mut impl Write, line: &str) -> io::Result<()> {
    out.write_all(line.as_bytes())?;
    out.flush()
}
