//! Which of the captured requests somebody wants to see: the query of the page's URL, with these
//! keys, all of which have to fit.
//!
//! `text` is anywhere in path, heads and bodies. `path` is a part of the path. `status` is one or
//! several of `404`, `4xx`, `200-299`, `pending`. `method` is one or several. `size` (of the
//! response's body) and `duration` are `>10k`, `<500ms`, `1k-2k`. `header` is a name, a part of a
//! value, or both: `accept: json`. `endpoint` is its name.

use std::time::Duration;

use super::super::{names, requests};

/// Longest text that is looked for.
const LONGEST: usize = 1000;

#[derive(Debug, Default)]
pub(super) struct Filter {
    text: Option<Vec<u8>>,
    path: Option<Vec<u8>>,
    status: Vec<Status>,
    methods: Vec<String>,
    size: Option<Range>,
    /// Nanoseconds.
    duration: Option<Range>,
    header: Option<Header>,
    endpoint: Option<String>,
}

/// What is known of a request.
pub(super) struct Subject<'a> {
    pub(super) endpoint: &'a str,
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    /// Nothing before there is an answer.
    pub(super) status: Option<u16>,
    pub(super) pending: bool,
    pub(super) response_size: u64,
    pub(super) duration: Duration,
    /// Of request and response, with their first lines.
    pub(super) heads: [&'a [u8]; 2],
    /// The same two's bodies, as far as they are kept.
    pub(super) bodies: [&'a [u8]; 2],
}

#[derive(Debug, PartialEq, Eq)]
enum Status {
    Pending,
    /// Both ends belong to it.
    Codes(u16, u16),
}

/// Both ends belong to it.
#[derive(Debug, PartialEq, Eq)]
struct Range(u64, u64);

#[derive(Debug, PartialEq, Eq)]
enum Header {
    /// A name, or a part of whatever value.
    Either(String),
    Named(String, String),
}

// === impl Filter ===

impl Filter {
    /// Reads a query.
    ///
    /// # Errors
    /// A text that names the key and what would stand there.
    pub(super) fn read(query: Option<&str>) -> Result<Self, String> {
        let mut filter = Self::default();
        for (key, value) in names::pairs(query.unwrap_or_default()) {
            let value = value.trim();
            if value.is_empty() {
                continue;
            }
            if value.len() > LONGEST {
                return Err(format!("{key}: longer than {LONGEST} bytes"));
            }
            match key {
                "text" => filter.text = Some(lower(value)),
                "path" => filter.path = Some(lower(value)),
                "status" => filter.status = list(value, status)?,
                "method" => filter.methods = list(value, |one| Ok(one.to_owned()))?,
                "size" => filter.size = Some(range("size", value, bytes, SIZES)?),
                "duration" => filter.duration = Some(range("duration", value, nanos, TIMES)?),
                "header" => filter.header = Some(header(value)),
                "endpoint" => filter.endpoint = Some(value.to_owned()),
                other => {
                    return Err(format!(
                        "there is no filter {other:?}; there are text, path, status, method, size, \
                         duration, header and endpoint"
                    ));
                }
            }
        }
        Ok(filter)
    }

    /// Whether what is in bodies has a say.
    pub(super) fn reads_bodies(&self) -> bool {
        self.text.is_some()
    }

    pub(super) fn wants(&self, subject: &Subject<'_>) -> bool {
        self.endpoint
            .as_ref()
            .is_none_or(|name| name == subject.endpoint)
            && self.wants_method(subject.method)
            && (self.status.is_empty() || self.status.iter().any(|one| one.has(subject)))
            && self
                .size
                .as_ref()
                .is_none_or(|range| subject.status.is_some() && range.has(subject.response_size))
            && self
                .duration
                .as_ref()
                .is_none_or(|range| range.has(requests::nanos(subject.duration)))
            && self
                .path
                .as_ref()
                .is_none_or(|part| holds(subject.path.as_bytes(), part))
            && self
                .header
                .as_ref()
                .is_none_or(|one| subject.heads.iter().any(|head| one.is_in(head)))
            && self.text.as_ref().is_none_or(|text| {
                // The path stands in the head.
                let mut texts = subject.heads.iter().chain(&subject.bodies);
                texts.any(|one| holds(one, text))
            })
    }

    fn wants_method(&self, method: &str) -> bool {
        self.methods.is_empty()
            || self
                .methods
                .iter()
                .any(|one| one.eq_ignore_ascii_case(method))
    }
}

// === impl Status ===

impl Status {
    fn has(&self, subject: &Subject<'_>) -> bool {
        match *self {
            Self::Pending => subject.pending,
            Self::Codes(first, last) => subject
                .status
                .is_some_and(|code| (first..=last).contains(&code)),
        }
    }
}

// === impl Range ===

impl Range {
    fn has(&self, value: u64) -> bool {
        (self.0..=self.1).contains(&value)
    }
}

// === impl Header ===

impl Header {
    fn is_in(&self, head: &[u8]) -> bool {
        let lines = head.split(|byte| *byte == b'\n').skip(1);
        lines.map(<[u8]>::trim_ascii).any(|line| {
            let Some(colon) = line.iter().position(|byte| *byte == b':') else {
                return false;
            };
            let (name, value) = (&line[..colon], &line[colon + 1..]);
            match self {
                Self::Either(text) => {
                    name.eq_ignore_ascii_case(text.as_bytes()) || holds(value, &lower(text))
                }
                Self::Named(wanted, part) => {
                    name.eq_ignore_ascii_case(wanted.as_bytes()) && holds(value, &lower(part))
                }
            }
        })
    }
}

fn header(text: &str) -> Header {
    match text.split_once(':') {
        Some((name, part)) if !name.trim().is_empty() => {
            Header::Named(name.trim().to_owned(), part.trim().to_owned())
        }
        Some((_, part)) => Header::Either(part.trim().to_owned()),
        None => Header::Either(text.to_owned()),
    }
}

fn list<T>(text: &str, one: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    let items = text.split([',', ' ']).map(str::trim);
    items.filter(|item| !item.is_empty()).map(one).collect()
}

fn status(text: &str) -> Result<Status, String> {
    let wrong = || format!("status: {text:?} is none of 404, 4xx, 200-299, pending");
    if text.eq_ignore_ascii_case("pending") {
        return Ok(Status::Pending);
    }
    let code = |text: &str| {
        let code: Option<u16> = text.parse().ok();
        code.filter(|code| (100..=999).contains(code))
            .ok_or_else(wrong)
    };
    if let Some(class) = text.to_ascii_lowercase().strip_suffix("xx") {
        let first = code(&format!("{class}00"))?;
        return Ok(Status::Codes(first, first + 99));
    }
    match text.split_once('-') {
        Some((first, last)) => Ok(Status::Codes(code(first)?, code(last)?)),
        None => code(text).map(|code| Status::Codes(code, code)),
    }
}

const SIZES: &str = ">10k, <1M or 1k-2k";
const TIMES: &str = ">500ms, <2s or 1s-2s";

fn range(
    key: &str,
    text: &str,
    one: impl Fn(&str) -> Option<u64>,
    like: &str,
) -> Result<Range, String> {
    let wrong = || format!("{key}: {text:?} is no range; write it like {like}");
    let at = |part: &str| one(part.trim()).ok_or_else(wrong);
    let (sign, rest) = text.split_at(text.len() - text.trim_start_matches(['<', '>', '=']).len());
    Ok(match sign {
        ">" => Range(at(rest)?.saturating_add(1), u64::MAX),
        ">=" => Range(at(rest)?, u64::MAX),
        "<" => match at(rest)?.checked_sub(1) {
            Some(last) => Range(0, last),
            None => return Err(wrong()),
        },
        "<=" => Range(0, at(rest)?),
        "" | "=" => match rest.split_once('-') {
            Some((first, last)) => Range(at(first)?, at(last)?),
            None => Range(at(rest)?, at(rest)?),
        },
        _ => return Err(wrong()),
    })
}

fn bytes(text: &str) -> Option<u64> {
    scaled(text, |unit| match unit.trim_end_matches('b') {
        "" => Some(1.0),
        "k" => Some(1e3),
        "m" => Some(1e6),
        "g" => Some(1e9),
        "ki" => Some(1024.0),
        "mi" => Some(1_048_576.0),
        _ => None,
    })
}

fn nanos(text: &str) -> Option<u64> {
    scaled(text, |unit| match unit {
        "ns" => Some(1.0),
        "us" | "µs" => Some(1e3),
        "" | "ms" => Some(1e6),
        "s" => Some(1e9),
        "m" | "min" => Some(60e9),
        _ => None,
    })
}

fn scaled(text: &str, scale: impl Fn(&str) -> Option<f64>) -> Option<u64> {
    let digits = text.trim_end_matches(|one: char| !one.is_ascii_digit());
    let unit = text[digits.len()..].trim().to_lowercase();
    let number: f64 = digits.parse().ok().filter(|number| *number >= 0.0)?;
    Some((number * scale(&unit)?) as u64)
}

fn lower(text: &str) -> Vec<u8> {
    text.as_bytes().to_ascii_lowercase()
}

/// Whether bytes are in others, letters of ASCII being the same in either case. `part`: lower case.
fn holds(bytes: &[u8], part: &[u8]) -> bool {
    let Some((first, rest)) = part.split_first() else {
        return true;
    };
    let other = first.to_ascii_uppercase();
    let mut left = bytes;
    while let Some(at) = left.iter().position(|byte| byte == first || *byte == other) {
        left = &left[at + 1..];
        match left.get(..rest.len()) {
            Some(next) if next.eq_ignore_ascii_case(rest) => return true,
            Some(_) => {}
            None => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBJECT: Subject<'_> = Subject {
        endpoint: "web",
        method: "POST",
        path: "/Users/7?full=1",
        status: Some(404),
        pending: false,
        response_size: 1500,
        duration: Duration::from_millis(750),
        heads: [
            b"POST /Users/7?full=1 HTTP/1.1\r\nHost: a.test\r\nAccept: application/JSON\r\n\r\n",
            b"HTTP/1.1 404 Not Found\r\nX-Why: gone: for good\r\n\r\n",
        ],
        bodies: [b"name=Ann", "{\"error\": \"für immer\"}".as_bytes()],
    };

    fn wants(query: &str) -> bool {
        Filter::read(Some(query)).unwrap().wants(&SUBJECT)
    }

    #[test]
    fn everything_that_is_asked_for_has_to_fit() {
        for query in [
            "",
            "text=",
            "text=ann",
            "text=F%C3%BCR+immer&text=f%C3%BCr+immer",
            "text=not+found",
            "path=users",
            "path=?full",
            "status=404",
            "status=4xx",
            "status=4XX",
            "status=500,400-499",
            "method=get,post",
            "size=>1k",
            "size=%3C2k",
            "size=1k-2kB",
            "size=>=1500",
            "size=1500",
            "size=<=1.5k",
            "duration=>500",
            "duration=>500ms",
            "duration=0.7s-1s",
            "duration=<1m",
            "header=accept",
            "header=Accept:+json",
            "header=x-why:gone: for",
            "header=good",
            "header=:+application",
            "endpoint=web",
            "text=ann&path=/users&status=4xx&method=post&size=>1k&duration=<1s&header=host:a.test&endpoint=web",
        ] {
            assert!(wants(query), "{query}");
        }
        for query in [
            "text=bob",
            "path=%2FUsers%2F8",
            "path=ann",
            "status=403",
            "status=5xx",
            "status=pending",
            "method=get",
            "size=>1500",
            "size=<1500",
            "size=2k-3k",
            "duration=<500ms",
            "duration=>1s",
            "header=cookie",
            "header=host: b.test",
            "header=HTTP/1.1",
            "endpoint=we",
            "endpoint=Web",
            "text=ann&status=5xx",
        ] {
            assert!(!wants(query), "{query}");
        }
    }

    #[test]
    fn who_waits_for_an_answer_is_pending_and_has_no_size() {
        let subject = Subject {
            status: None,
            pending: true,
            response_size: 0,
            ..SUBJECT
        };
        let wants = |query| Filter::read(Some(query)).unwrap().wants(&subject);
        assert!(wants("status=pending") && wants("status=5xx,Pending"));
        assert!(!wants("status=4xx") && !wants("size=<1k"));
    }

    #[test]
    fn what_is_no_filter_is_told_with_what_would_be_one() {
        for (query, told) in [
            (
                "status=abc",
                "status: \"abc\" is none of 404, 4xx, 200-299, pending",
            ),
            ("status=4", "status: \"4\" is none"),
            ("status=99xx", "status: \"99xx\" is none"),
            (
                "size=big",
                "size: \"big\" is no range; write it like >10k, <1M or 1k-2k",
            ),
            ("size=<0", "size: \"<0\" is no range"),
            ("size=>-1", "size: \">-1\" is no range"),
            ("duration=5parsec", "duration: \"5parsec\" is no range"),
            ("duration=<>5", "duration: \"<>5\" is no range"),
            ("colour=red", "there is no filter \"colour\""),
        ] {
            let found = Filter::read(Some(query)).unwrap_err();
            assert!(found.starts_with(told), "{query}: {found}");
        }
        let long = format!("text={}", "x".repeat(LONGEST + 1));
        assert!(Filter::read(Some(&long)).is_err());
    }

    #[test]
    fn a_part_is_found_wherever_it_stands() {
        for (bytes, part, found) in [
            ("aab", "ab", true),
            ("", "a", false),
            ("a", "", true),
            ("xAB", "ab", true),
            ("ab", "abc", false),
            ("aaab", "aab", true),
        ] {
            assert_eq!(
                holds(bytes.as_bytes(), part.as_bytes()),
                found,
                "{part} in {bytes}"
            );
        }
    }
}
