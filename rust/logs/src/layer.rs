//! From `tracing` events to records: our own events only, fields in the order they were given.

use std::fmt::Debug;

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use crate::format::{Level, Record, Value};

/// A field with this name marks an event as `crit`.
const CRIT: &str = "crit";
/// A field with this name is a list, its items parted by blanks.
const LIST: &str = "allow_hosts";
/// Crates whose events are ours; what the libraries below tell is theirs.
const OURS: [&str; 2] = ["portway", "_core"];

pub(crate) struct Records {
    pub(crate) level: Level,
}

impl<S: Subscriber> Layer<S> for Records {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        metadata.is_event()
            && OURS.iter().any(|name| metadata.target().starts_with(name))
            && (self.level == Level::Debug || *metadata.level() <= tracing::Level::INFO)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(match self.level {
            Level::Debug => LevelFilter::DEBUG,
            Level::Info => LevelFilter::INFO,
            Level::Warn => LevelFilter::WARN,
            Level::Error | Level::Crit => LevelFilter::ERROR,
        })
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let level = match *event.metadata().level() {
            tracing::Level::ERROR => Level::Error,
            tracing::Level::WARN => Level::Warn,
            tracing::Level::INFO => Level::Info,
            _ => Level::Debug,
        };
        let mut fields = Fields(Record {
            level,
            message: String::new(),
            fields: Vec::new(),
        });
        event.record(&mut fields);
        crate::record(&fields.0);
    }
}

struct Fields(Record);

impl Fields {
    fn push(&mut self, field: &Field, value: Value) {
        self.0.fields.push((field.name().to_owned(), value));
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let text = format!("{value:?}");
        if field.name() == "message" {
            self.0.message = text;
        } else {
            self.push(field, Value::Text(text));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let value = match (field.name(), value) {
            ("err", "nil") => Value::Nil,
            (LIST, items) => Value::List(items.split_whitespace().map(str::to_owned).collect()),
            _ => Value::Text(value.to_owned()),
        };
        self.push(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        if field.name() == CRIT {
            self.0.level = Level::Crit;
        } else {
            self.push(field, Value::Bool(value));
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push(field, Value::Int(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push(field, Value::Int(i64::try_from(value).unwrap_or(i64::MAX)));
    }
}
