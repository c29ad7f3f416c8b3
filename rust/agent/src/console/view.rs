//! What the screen says, as lines of text: pure, so that every width can be tested.

use std::fmt::Write;
use std::time::Duration;

/// Width of the column of labels.
const LABEL: usize = 30;
/// Width of one figure in the row of connections.
const FIGURE: usize = 8;

/// Everything the screen shows at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    pub(crate) status: Status,
    /// Lines the edge wants its agents to see.
    pub(crate) banner: Vec<String>,
    pub(crate) account: Option<String>,
    pub(crate) version: String,
    pub(crate) region: Option<String>,
    pub(crate) latency: Option<Duration>,
    /// Address of the local web interface, where there is one.
    pub(crate) web: Option<String>,
    /// Public URL and upstream of every endpoint, in their order.
    pub(crate) forwarding: Vec<(String, String)>,
    /// One line of advice, such as how to go public.
    pub(crate) hint: Option<String>,
    pub(crate) connections: Counts,
    /// Newest first; `None` where no endpoint speaks HTTP.
    pub(crate) requests: Option<Vec<RequestLine>>,
}

/// What the first row tells of the session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Status {
    #[default]
    Connecting,
    Online,
    /// With the cause of the loss.
    Reconnecting(String),
}

/// Connections of all endpoints together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Counts {
    pub(crate) total: u64,
    pub(crate) open: u64,
    /// Connections a second, over the last minute and the last five.
    pub(crate) rate_1m: f64,
    pub(crate) rate_5m: f64,
    /// Median and 90th percentile of how long connections lasted.
    pub(crate) p50: Duration,
    pub(crate) p90: Duration,
}

/// One answered request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RequestLine {
    /// Local time as it is shown, `10:48:38.014 CET`.
    pub(crate) time: String,
    pub(crate) method: String,
    pub(crate) path: String,
    /// `200 OK`; empty while there is no answer yet.
    pub(crate) status: String,
}

/// How a line is to stand out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Title,
    Good,
    Wait,
    Bad,
}

/// One line: its tone holds from `toned` (in columns) on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) text: String,
    pub(super) tone: Tone,
    pub(super) toned: usize,
}

// === impl View ===

impl View {
    /// The lines for a window of `width` × `height`; never more, never longer.
    pub(super) fn lines(&self, width: usize, height: usize) -> Vec<Line> {
        let mut lines = vec![title(width), Line::plain(String::new())];
        if !self.banner.is_empty() {
            lines.extend(self.banner.iter().map(|text| Line::plain(clean(text))));
            lines.push(Line::plain(String::new()));
        }
        lines.push(self.status.line());
        let mut row = |label: &str, value: Option<&str>| {
            if let Some(value) = value {
                lines.push(Line::plain(labelled(label, &clean(value))));
            }
        };
        row("Account", self.account.as_deref());
        row("Version", Some(&self.version));
        row("Region", self.region.as_deref());
        row(
            "Latency",
            Some(&self.latency.map_or_else(|| "-".to_owned(), milliseconds)),
        );
        row("Web Interface", self.web.as_deref());
        for (url, upstream) in &self.forwarding {
            row("Forwarding", Some(&format!("{url} -> {upstream}")));
        }
        row("", self.hint.as_deref());
        lines.push(Line::plain(String::new()));
        lines.extend(self.connections.lines());
        if let Some(requests) = &self.requests {
            lines.extend(
                ["", "HTTP Requests", "-------------", ""].map(|text| Line::plain(text.into())),
            );
            lines.extend(requests.iter().map(RequestLine::line));
        }
        lines.truncate(height);
        for line in &mut lines {
            cut(&mut line.text, width);
        }
        lines
    }
}

impl Status {
    fn line(&self) -> Line {
        let (value, tone) = match self {
            Self::Connecting => ("connecting".to_owned(), Tone::Wait),
            Self::Online => ("online".to_owned(), Tone::Good),
            Self::Reconnecting(cause) => (format!("reconnecting ({})", clean(cause)), Tone::Bad),
        };
        Line {
            text: labelled("Session Status", &value),
            tone,
            toned: LABEL,
        }
    }
}

impl Counts {
    fn lines(&self) -> [Line; 2] {
        let mut heads = labelled("Connections", "");
        for head in ["ttl", "opn", "rt1", "rt5", "p50", "p90"] {
            let _ = write!(heads, "{head:<FIGURE$}");
        }
        let mut figures = " ".repeat(LABEL);
        let _ = write!(figures, "{:<FIGURE$}{:<FIGURE$}", self.total, self.open);
        let seconds = [
            self.rate_1m,
            self.rate_5m,
            self.p50.as_secs_f64(),
            self.p90.as_secs_f64(),
        ];
        for figure in seconds {
            let _ = write!(figures, "{figure:<FIGURE$.2}");
        }
        [heads, figures].map(|text| Line::plain(text.trim_end().to_owned()))
    }
}

impl RequestLine {
    fn line(&self) -> Line {
        let request = format!("{} {}", clean(&self.method), clean(&self.path));
        let tone = match self.status.as_bytes().first() {
            Some(b'2' | b'3') => Tone::Good,
            Some(b'4') => Tone::Wait,
            Some(b'5') => Tone::Bad,
            _ => Tone::Plain,
        };
        let mut text = format!("{} {}", self.time, shortened(&request, 40));
        let toned = text.chars().count() + 1;
        let _ = write!(text, " {}", clean(&self.status));
        Line { text, tone, toned }
    }
}

impl Line {
    fn plain(text: String) -> Self {
        Self {
            text,
            tone: Tone::Plain,
            toned: 0,
        }
    }
}

fn title(width: usize) -> Line {
    const NAME: &str = "portway";
    const KEYS: &str = "(Ctrl+C to quit)";
    let gap = width.saturating_sub(NAME.len() + KEYS.len()).max(1);
    Line {
        text: format!("{NAME}{}{KEYS}", " ".repeat(gap)),
        tone: Tone::Title,
        toned: 0,
    }
}

fn labelled(label: &str, value: &str) -> String {
    format!("{label:<LABEL$}{value}")
}

fn milliseconds(latency: Duration) -> String {
    match latency.as_millis() {
        0 => "<1ms".to_owned(),
        whole => format!("{whole}ms"),
    }
}

/// Text of others without what a terminal would obey.
fn clean(text: &str) -> String {
    text.chars()
        .map(|letter| {
            if letter.is_control() {
                '\u{fffd}'
            } else {
                letter
            }
        })
        .collect()
}

/// Exactly `width` columns, cut with `...` where the text is longer.
fn shortened(text: &str, width: usize) -> String {
    let mut text = text.to_owned();
    cut(&mut text, width);
    format!("{text:<width$}")
}

fn cut(text: &mut String, width: usize) {
    if text.chars().count() <= width {
        return;
    }
    let keep = width.saturating_sub(3);
    let end = text
        .char_indices()
        .nth(keep)
        .map_or(text.len(), |(index, _)| index);
    text.truncate(end);
    text.push_str(&"..."[..width.min(3)]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view() -> View {
        View {
            status: Status::Online,
            version: "0.1.0".into(),
            latency: Some(Duration::from_millis(78)),
            forwarding: vec![(
                "https://shop.example.com".into(),
                "http://localhost:8080".into(),
            )],
            connections: Counts {
                total: 12,
                open: 3,
                rate_1m: 0.256,
                ..Counts::default()
            },
            requests: Some(vec![RequestLine {
                time: "10:48:38.014 CET".into(),
                method: "GET".into(),
                path: "/path".into(),
                status: "200 OK".into(),
            }]),
            ..View::default()
        }
    }

    fn text(view: &View, width: usize, height: usize) -> Vec<String> {
        view.lines(width, height)
            .into_iter()
            .map(|line| line.text)
            .collect()
    }

    #[test]
    fn rows_stand_in_the_order_and_columns_of_the_spec() {
        let lines = text(&view(), 80, 40);
        assert_eq!(lines[0].len(), 80);
        assert!(lines[0].starts_with("portway ") && lines[0].ends_with("(Ctrl+C to quit)"));
        let rows: Vec<&str> = lines[2..].iter().map(String::as_str).collect();
        assert_eq!(
            rows,
            [
                "Session Status                online",
                "Version                       0.1.0",
                "Latency                       78ms",
                "Forwarding                    https://shop.example.com -> http://localhost:8080",
                "",
                "Connections                   ttl     opn     rt1     rt5     p50     p90",
                "                              12      3       0.26    0.00    0.00    0.00",
                "",
                "HTTP Requests",
                "-------------",
                "",
                "10:48:38.014 CET GET /path                                200 OK",
            ]
        );
    }

    #[test]
    fn no_window_is_too_small() {
        for width in 0..100 {
            for height in 0..30 {
                let lines = view().lines(width, height);
                assert!(lines.len() <= height);
                assert!(lines.iter().all(|line| line.text.chars().count() <= width));
            }
        }
    }

    #[test]
    fn a_long_row_is_cut_with_dots() {
        let lines = text(&view(), 50, 40);
        assert!(
            lines.contains(&"Forwarding                    https://shop.exam...".to_owned()),
            "{lines:?}"
        );
    }

    #[test]
    fn a_visitor_cannot_write_to_the_terminal() {
        let mut view = view();
        view.requests.as_mut().unwrap()[0].path = "/\x1b[2J\u{9b}31m".into();
        view.status = Status::Reconnecting("cut\r\n\x1b]0;x\x07".into());
        let all = text(&view, 200, 40).concat();
        assert!(!all.contains(char::is_control), "{all:?}");
    }

    #[test]
    fn without_http_there_is_no_list_of_requests() {
        let view = View {
            requests: None,
            ..view()
        };
        assert!(
            !text(&view, 80, 40)
                .iter()
                .any(|line| line.contains("HTTP Requests"))
        );
    }
}
