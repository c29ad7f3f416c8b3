//! The three shapes of a record (cli.md §12). Wrappers of the agent parse them, so quoting, order
//! and level names are interface.

use std::fmt::Write;

use crate::system::priority;

/// Severity. In records `error` is spelled `eror`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Debug,
    #[default]
    Info,
    Warn,
    Error,
    Crit,
}

/// How records look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people on a terminal, `Logfmt` elsewhere.
    #[default]
    Term,
    Logfmt,
    Json,
}

/// The value of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Text(String),
    Int(i64),
    Bool(bool),
    List(Vec<String>),
    /// No error: `nil` to some readers, `<nil>` to others.
    Nil,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub level: Level,
    pub message: String,
    /// In the order they are shown; `obj` goes first wherever it stands.
    pub fields: Vec<(String, Value)>,
}

/// A format, decided for where it goes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shape {
    Term {
        color: bool,
    },
    Logfmt,
    /// `Logfmt` for a reader that has a clock, and perhaps asks for the priority of the line.
    Untimed {
        priority: bool,
    },
    Json,
}

// === impl Level ===

impl Level {
    /// Reads a level of a flag or file; `eror` and `error` are the same.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "debug" => Self::Debug,
            "info" => Self::Info,
            "warn" => Self::Warn,
            "error" | "eror" => Self::Error,
            "crit" => Self::Crit,
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "eror",
            Self::Crit => "crit",
        }
    }

    fn term(self) -> (&'static str, u8) {
        match self {
            Self::Debug => ("DEBG", 36),
            Self::Info => ("INFO", 32),
            Self::Warn => ("WARN", 33),
            Self::Error => ("EROR", 31),
            Self::Crit => ("CRIT", 35),
        }
    }
}

// === impl Format ===

impl Format {
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "term" => Self::Term,
            "logfmt" => Self::Logfmt,
            "json" => Self::Json,
            _ => return None,
        })
    }
}

// === impl Shape ===

impl Shape {
    /// The record as one line, with its end.
    pub(crate) fn line(self, record: &Record, now: &jiff::ZonedDateTime) -> String {
        match self {
            Self::Json => json(record, now),
            Self::Logfmt => format!("t={} {}", time(now), logfmt(record)),
            Self::Untimed { priority: false } => logfmt(record),
            Self::Untimed { priority: true } => {
                format!("<{}>{}", priority(record.level), logfmt(record))
            }
            Self::Term { color } => term(record, now, color),
        }
    }
}

/// Local time in seconds, the zone without a colon.
fn time(now: &jiff::ZonedDateTime) -> String {
    now.strftime("%Y-%m-%dT%H:%M:%S%z").to_string()
}

fn ordered(record: &Record) -> impl Iterator<Item = &(String, Value)> {
    let is_obj = |field: &&(String, Value)| field.0 == "obj";
    let obj = record.fields.iter().filter(is_obj);
    obj.chain(record.fields.iter().filter(move |field| !is_obj(field)))
}

fn logfmt(record: &Record) -> String {
    let mut line = format!("lvl={} msg=", record.level.name());
    push_value(&mut line, &record.message);
    push_fields(&mut line, record);
    line.push('\n');
    line
}

fn term(record: &Record, now: &jiff::ZonedDateTime, color: bool) -> String {
    /// Columns up to the first field.
    const MESSAGE: usize = 40;
    let (level, shade) = record.level.term();
    let mut line = if color {
        format!("\x1b[{shade}m{level}\x1b[0m")
    } else {
        level.to_owned()
    };
    // Terminals obey what is written to them: no control character gets through.
    let message: String = record
        .message
        .chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .collect();
    let _ = write!(
        line,
        "[{}] {message:<MESSAGE$}",
        now.strftime("%m-%d|%H:%M:%S")
    );
    push_fields(&mut line, record);
    let mut line = line.trim_end().to_owned();
    line.push('\n');
    line
}

fn push_fields(line: &mut String, record: &Record) {
    for (key, value) in ordered(record) {
        let _ = write!(line, " {key}=");
        match value {
            Value::Text(text) => push_value(line, text),
            Value::Int(number) => {
                let _ = write!(line, "{number}");
            }
            Value::Bool(flag) => {
                let _ = write!(line, "{flag}");
            }
            Value::List(items) => push_value(line, &format!("[{}]", items.join(" "))),
            Value::Nil => line.push_str("nil"),
        }
    }
}

/// Bare where that is safe for every reader; an unquoted apostrophe is not.
fn push_value(line: &mut String, text: &str) {
    let bare =
        |letter: char| letter.is_ascii_graphic() && !matches!(letter, '=' | '"' | '\'' | '\\');
    if !text.is_empty() && text.chars().all(bare) {
        line.push_str(text);
        return;
    }
    line.push('"');
    for letter in text.chars() {
        match letter {
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\t' => line.push_str("\\t"),
            '"' | '\\' => line.extend(['\\', letter]),
            control if control.is_control() => {
                let _ = write!(line, "\\u{:04x}", u32::from(control));
            }
            other => line.push(other),
        }
    }
    line.push('"');
}

fn json(record: &Record, now: &jiff::ZonedDateTime) -> String {
    let mut fields: Vec<(&str, serde_json::Value)> = vec![
        ("t", time(now).into()),
        ("lvl", record.level.name().into()),
        ("msg", record.message.as_str().into()),
    ];
    for (key, value) in &record.fields {
        let value = match value {
            Value::Text(text) => text.as_str().into(),
            Value::Int(number) => (*number).into(),
            Value::Bool(flag) => (*flag).into(),
            Value::List(items) => items.clone().into(),
            Value::Nil => "<nil>".into(),
        };
        // A key stands once.
        if !fields.iter().any(|(name, _)| name == key) {
            fields.push((key, value));
        }
    }
    fields.sort_by_key(|(key, _)| *key);
    let object: serde_json::Map<_, _> = fields
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect();
    let mut line = serde_json::Value::Object(object).to_string();
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> jiff::ZonedDateTime {
        "2026-09-10T05:46:45+01:00[+01:00]".parse().unwrap()
    }

    fn text(value: &str) -> Value {
        Value::Text(value.to_owned())
    }

    fn record(fields: &[(&str, Value)]) -> Record {
        Record {
            level: Level::Info,
            message: "starting web service".into(),
            fields: fields
                .iter()
                .map(|(key, value)| ((*key).to_owned(), value.clone()))
                .collect(),
        }
    }

    #[test]
    fn the_line_that_extensions_match() {
        let record = record(&[
            ("addr", text("127.0.0.1:4040")),
            ("obj", text("web")),
            ("allow_hosts", Value::List(Vec::new())),
        ]);
        assert_eq!(
            Shape::Logfmt.line(&record, &now()),
            "t=2026-09-10T05:46:45+0100 lvl=info msg=\"starting web service\" obj=web addr=127.0.0.1:4040 allow_hosts=[]\n"
        );
        assert_eq!(
            Shape::Json.line(&record, &now()),
            "{\"addr\":\"127.0.0.1:4040\",\"allow_hosts\":[],\"lvl\":\"info\",\"msg\":\"starting web service\",\"obj\":\"web\",\"t\":\"2026-09-10T05:46:45+0100\"}\n"
        );
        assert_eq!(
            Shape::Term { color: false }.line(&record, &now()),
            format!(
                "INFO[09-10|05:46:45] {:<40} obj=web addr=127.0.0.1:4040 allow_hosts=[]\n",
                "starting web service"
            )
        );
    }

    #[test]
    fn who_has_a_clock_gets_no_time_and_a_priority_where_it_is_asked_for() {
        let record = record(&[("err", text("gone"))]);
        let line = |priority| Shape::Untimed { priority }.line(&record, &now());
        let plain = "lvl=info msg=\"starting web service\" err=gone\n";
        assert_eq!(line(false), plain);
        assert_eq!(line(true), format!("<6>{plain}"));
    }

    #[test]
    fn no_error_is_spelled_as_each_kind_of_reader_expects_it() {
        let record = record(&[("err", Value::Nil)]);
        assert!(Shape::Logfmt.line(&record, &now()).ends_with(" err=nil\n"));
        assert!(
            Shape::Json
                .line(&record, &now())
                .contains("\"err\":\"<nil>\"")
        );
    }

    #[test]
    fn values_are_quoted_where_a_reader_would_stumble() {
        for (value, shown) in [
            ("plain-1.2:3/x", "plain-1.2:3/x"),
            ("", "\"\""),
            ("it's", "\"it's\""),
            ("a=b", "\"a=b\""),
            ("a\r\n\tb", "\"a\\r\\n\\tb\""),
            ("q\"\\", "\"q\\\"\\\\\""),
            ("286.042µs", "\"286.042µs\""),
            ("\u{1b}[31m", "\"\\u001b[31m\""),
        ] {
            let line = Shape::Logfmt.line(&record(&[("err", text(value))]), &now());
            assert!(line.ends_with(&format!(" err={shown}\n")), "{line}");
            assert_eq!(line.lines().count(), 1);
        }
    }
}
