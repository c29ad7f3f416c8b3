//! What the screen says, as lines of text: pure, so that every width can be tested.
//!
//! In a window of the usual size it has the rows and columns of cli.md §11. In a smaller one, what
//! matters least goes first: of a line its label, of the rows those that only decorate. The status
//! and the URLs stay to the last.

use std::fmt::Write;
use std::time::Duration;

use super::layout::{Layout, Line, Rank, Tone, USUAL, make_room, title};
use super::text::{clean, cut, shortened, wrapped};

/// Figures in the row of connections, and the width of each.
const FIGURES: [&str; 6] = ["ttl", "opn", "rt1", "rt5", "p50", "p90"];
const FIGURE: usize = 8;
/// In a lower window a row is better used for a URL.
const LEAST_FOR_COUNT: usize = 3;
/// Requests for which other rows make room.
const SOME_REQUESTS: usize = 3;
/// Columns of a request that are not its path: time before it, status behind.
const AROUND_REQUEST: usize = 40;

/// Everything the screen shows at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    pub(crate) status: Status,
    /// Lines the edge wants its agents to see.
    pub(crate) banner: Vec<String>,
    pub(crate) account: Option<String>,
    /// A newer version than this one.
    pub(crate) offer: Option<Offer>,
    pub(crate) version: String,
    pub(crate) region: Option<String>,
    /// Of each connection to the edge, as far as it is known.
    pub(crate) latencies: Vec<Option<Duration>>,
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

/// A version that could take the place of this one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Offer {
    pub(crate) version: String,
    /// The command that brings it; nothing: Ctrl+U does.
    pub(crate) instead: Option<String>,
    /// What became of bringing it.
    pub(crate) state: Option<String>,
}

/// What is on the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    Session,
    /// The same, and whether to update.
    Question,
    /// What the keys do.
    Help,
}

/// What the first row tells of the session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Status {
    #[default]
    Connecting,
    /// The first attempts failed, with the last cause.
    Failing(String),
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

// === impl View ===

impl View {
    /// The lines for a window of `width` × `height`; never more, never longer.
    pub(super) fn page(&self, page: Page, width: usize, height: usize) -> Vec<Line> {
        match page {
            Page::Session => self.lines(width, height, false),
            Page::Question => self.lines(width, height, true),
            Page::Help => help(width, height),
        }
    }

    /// `asked`: whether to update.
    fn lines(&self, width: usize, height: usize, asked: bool) -> Vec<Line> {
        let layout = Layout::of(width);
        let mut lines = self.rows(layout, asked);
        let requests = self.requests.as_deref().unwrap_or_default();
        make_room(&mut lines, height, requests.len().min(SOME_REQUESTS));
        self.count_left_out(&mut lines, layout, height);
        lines.extend(requests.iter().map(|request| request.line(layout)));
        lines.truncate(height);
        for line in &mut lines {
            cut(&mut line.text, width);
        }
        lines
    }

    /// Where there is no room for all URLs, it is told how many more there are.
    fn count_left_out(&self, lines: &mut Vec<Line>, layout: Layout, height: usize) {
        if lines.len() <= height || height < LEAST_FOR_COUNT {
            return;
        }
        // Everything else that could go has gone: URLs are what is at the end.
        let rows: Vec<_> = self
            .forwarding
            .iter()
            .map(|(url, upstream)| {
                let lines = layout.forwarding(&clean(url), &clean(upstream));
                lines.iter().filter(|one| one.rank == Rank::Needed).count()
            })
            .collect();
        let mut end = lines.len().saturating_sub(rows.iter().sum());
        let mut shown = 0;
        while rows.get(shown).is_some_and(|more| end + more < height) {
            end += rows[shown];
            shown += 1;
        }
        lines.truncate(end.min(height - 1));
        let more = format!("... and {} more", rows.len() - shown);
        lines.push(Line::plain(Rank::Needed, layout.labelled("", &more)));
    }

    /// Of each leg; a session that has none yet has one that is not known.
    fn latency(&self) -> String {
        let known = |latency: &Option<Duration>| latency.map_or_else(|| "-".into(), milliseconds);
        if self.latencies.is_empty() {
            return known(&None);
        }
        let all: Vec<_> = self.latencies.iter().map(known).collect();
        all.join(", ")
    }

    /// Everything but the requests.
    fn rows(&self, layout: Layout, asked: bool) -> Vec<Line> {
        let gap = || Line::plain(Rank::Gap, String::new());
        let mut lines = vec![title(layout.width), gap()];
        if !self.banner.is_empty() {
            for text in &self.banner {
                lines.extend(
                    wrapped(&clean(text), layout.width)
                        .map(|text| Line::plain(Rank::Decoration, text)),
                );
            }
            lines.push(gap());
        }
        lines.extend(self.status.lines(layout));
        let latency = self.latency();
        if let Some(account) = &self.account {
            let text = layout.labelled("Account", &clean(account));
            lines.push(Line::plain(Rank::Detail, text));
        }
        if let Some(offer) = &self.offer {
            lines.extend(offer.lines(layout, asked));
        }
        let details = [
            ("Version", Some(self.version.as_str())),
            ("Region", self.region.as_deref()),
            ("Latency", Some(latency.as_str())),
            ("Web Interface", self.web.as_deref()),
        ];
        for (label, value) in details {
            if let Some(value) = value {
                let text = layout.labelled(label, &clean(value));
                lines.push(Line::plain(Rank::Detail, text));
            }
        }
        for (url, upstream) in &self.forwarding {
            lines.extend(layout.forwarding(&clean(url), &clean(upstream)));
        }
        if let Some(hint) = &self.hint {
            let room = layout.width.saturating_sub(layout.label);
            for text in wrapped(&clean(hint), room) {
                lines.push(Line::plain(Rank::Decoration, layout.labelled("", &text)));
            }
        }
        lines.push(gap());
        lines.extend(self.connections.lines(layout));
        if self.requests.is_some() {
            lines.push(gap());
            for text in ["HTTP Requests", "-------------"] {
                lines.push(Line::plain(Rank::Decoration, text.to_owned()));
            }
            lines.push(gap());
        }
        lines
    }
}

impl Status {
    fn lines(&self, layout: Layout) -> Vec<Line> {
        let (state, cause, tone) = match self {
            Self::Connecting => ("connecting", None, Tone::Wait),
            Self::Failing(cause) => ("connecting", Some(cause), Tone::Wait),
            Self::Online => ("online", None, Tone::Good),
            Self::Reconnecting(cause) => ("reconnecting", Some(cause), Tone::Bad),
        };
        let value = cause.map_or_else(
            || state.to_owned(),
            |cause| format!("{state} ({})", clean(cause)),
        );
        let room = layout.width.saturating_sub(layout.label);
        let texts = wrapped(&value, room)
            .enumerate()
            .map(|(number, text)| Line {
                text: layout.labelled(if number == 0 { "Session Status" } else { "" }, &text),
                tone,
                toned: layout.label,
                rank: if number == 0 {
                    Rank::Needed
                } else {
                    Rank::Context
                },
            });
        texts.collect()
    }
}

impl Offer {
    fn lines(&self, layout: Layout, asked: bool) -> Vec<Line> {
        let version = &self.version;
        let value = match (&self.state, &self.instead) {
            _ if asked => format!("install {version} and start again? (y/n)"),
            (Some(state), _) => state.clone(),
            (None, None) => format!("update available (version {version}, Ctrl-U to update)"),
            (None, Some(instead)) => format!("update available (version {version}): {instead}"),
        };
        let room = layout.width.saturating_sub(layout.label);
        let value = clean(&value);
        let texts = wrapped(&value, room).enumerate();
        let lines = texts.map(|(number, text)| Line {
            text: layout.labelled(if number == 0 { "Update" } else { "" }, &text),
            tone: Tone::Wait,
            toned: layout.label,
            // A question is to be read before it is answered.
            rank: if asked { Rank::Needed } else { Rank::Detail },
        });
        lines.collect()
    }
}

impl Counts {
    fn lines(&self, layout: Layout) -> [Line; 2] {
        let room = layout.width.saturating_sub(layout.label);
        let width = FIGURE.min((room / FIGURES.len()).max(6));
        let seconds = |value: f64| format!("{value:.2}");
        let values = [
            self.total.to_string(),
            self.open.to_string(),
            seconds(self.rate_1m),
            seconds(self.rate_5m),
            seconds(self.p50.as_secs_f64()),
            seconds(self.p90.as_secs_f64()),
        ];
        let mut heads = layout.labelled("Connections", "");
        let mut figures = layout.labelled("", "");
        // Half a figure would be another one.
        for (head, value) in FIGURES.iter().zip(values).take(room / width) {
            let _ = write!(heads, "{head:<width$}");
            let _ = write!(figures, "{value:<width$}");
        }
        [heads, figures].map(|text| Line::plain(Rank::Figures, text.trim_end().to_owned()))
    }
}

impl RequestLine {
    fn line(&self, layout: Layout) -> Line {
        let request = format!("{} {}", clean(&self.method), clean(&self.path));
        let tone = match self.status.as_bytes().first() {
            Some(b'2' | b'3') => Tone::Good,
            Some(b'4') => Tone::Wait,
            Some(b'5') => Tone::Bad,
            _ => Tone::Plain,
        };
        let status = clean(&self.status);
        let mut text = if layout.width >= USUAL {
            let room = layout.width - AROUND_REQUEST;
            format!("{} {} ", self.time, shortened(&request, room))
        } else {
            // Seconds will do, and the code without its words.
            let time = self.time.get(..8).unwrap_or_default();
            let room = layout.width.saturating_sub(time.len() + 5);
            if layout.label > 0 {
                format!("{time} {} ", shortened(&request, room))
            } else {
                format!("{} ", shortened(&request, layout.width.saturating_sub(4)))
            }
        };
        let toned = text.chars().count();
        text.push_str(if layout.width >= USUAL {
            &status
        } else {
            status.split(' ').next().unwrap_or_default()
        });
        Line {
            text,
            tone,
            toned,
            rank: Rank::Needed,
        }
    }
}

/// What the keys do.
fn help(width: usize, height: usize) -> Vec<Line> {
    const KEYS: [(&str, &str); 5] = [
        ("?", "this page, and back"),
        (
            "Ctrl+U",
            "install the update that is on offer, and start again",
        ),
        ("Ctrl+L", "draw the screen anew"),
        ("Ctrl+Z", "put into the background; `fg` brings it back"),
        (
            "Ctrl+C",
            "quit when all visitors are served; again: at once",
        ),
    ];
    /// Width of the column of keys.
    const KEY: usize = 10;
    let room = width.saturating_sub(KEY);
    let mut lines = vec![title(width), Line::plain(Rank::Gap, String::new())];
    for (key, meaning) in KEYS {
        for (number, text) in wrapped(meaning, room.max(1)).enumerate() {
            // In a small window the keys stay, and what is left of their meaning.
            let (key, rank) = match number {
                0 => (key, Rank::Needed),
                _ => ("", Rank::Detail),
            };
            lines.push(Line::plain(rank, format!("{key:<KEY$}{text}")));
        }
    }
    lines.push(Line::plain(Rank::Gap, String::new()));
    lines.push(Line::plain(
        Rank::Context,
        "Any other key leads back.".into(),
    ));
    make_room(&mut lines, height, 0);
    lines.truncate(height);
    for line in &mut lines {
        cut(&mut line.text, width);
    }
    lines
}

fn milliseconds(latency: Duration) -> String {
    match latency.as_millis() {
        0 => "<1ms".to_owned(),
        whole => format!("{whole}ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::text::columns;
    use super::*;

    fn view() -> View {
        View {
            status: Status::Online,
            version: "0.1.0".into(),
            latencies: vec![Some(Duration::from_millis(78))],
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
        view.page(Page::Session, width, height)
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
        let mut view = view();
        view.offer = Some(Offer {
            version: "9.9.9".into(),
            ..Offer::default()
        });
        for page in [Page::Session, Page::Question, Page::Help] {
            for width in 0..100 {
                for height in 0..30 {
                    let lines = view.page(page, width, height);
                    assert!(lines.len() <= height);
                    assert!(lines.iter().all(|line| columns(&line.text) <= width));
                }
            }
        }
    }

    #[test]
    fn an_update_on_offer_has_a_row_and_a_question() {
        let mut view = view();
        let row = |view: &View, page| {
            let lines = view.page(page, 90, 40).into_iter().map(|line| line.text);
            lines
                .filter(|line| line.starts_with("Update"))
                .collect::<Vec<_>>()
        };
        assert!(row(&view, Page::Session).is_empty());
        let mut offer = Offer {
            version: "3.33.1".into(),
            ..Offer::default()
        };
        view.offer = Some(offer.clone());
        assert_eq!(
            row(&view, Page::Session),
            ["Update                        update available (version 3.33.1, Ctrl-U to update)"]
        );
        assert_eq!(
            row(&view, Page::Question),
            ["Update                        install 3.33.1 and start again? (y/n)"]
        );
        offer.instead = Some("apt upgrade".into());
        view.offer = Some(offer.clone());
        assert_eq!(
            row(&view, Page::Session),
            ["Update                        update available (version 3.33.1): apt upgrade"]
        );
        offer.state = Some("installing".into());
        view.offer = Some(offer);
        assert_eq!(
            row(&view, Page::Session),
            ["Update                        installing"]
        );
    }

    #[test]
    fn a_long_row_is_cut_with_dots() {
        let mut view = view();
        view.account = Some("a".repeat(100));
        let lines = text(&view, 80, 40);
        assert_eq!(lines[3], format!("{:<30}{}...", "Account", "a".repeat(47)));
    }

    #[test]
    fn a_url_is_whole_in_every_window_that_is_high_enough() {
        for width in 1..120 {
            let all = text(&view(), width, 100).concat().replace(' ', "");
            assert!(all.contains("https://shop.example.com"), "{width}: {all}");
        }
        let lines = text(&view(), 60, 40);
        assert_eq!(lines[5], "Forwarding      https://shop.example.com");
        assert_eq!(lines[6], "                -> http://localhost:8080");
    }

    #[test]
    fn in_a_small_window_status_url_and_requests_stay() {
        assert_eq!(
            text(&view(), 20, 5),
            [
                "online",
                "https://shop.example",
                ".com",
                "-> http://localho...",
                "GET /path        200",
            ]
        );
        assert_eq!(
            text(&view(), 60, 2),
            [
                "Session Status  online",
                "Forwarding      https://shop.example.com"
            ]
        );
    }

    #[test]
    fn urls_that_do_not_fit_are_counted() {
        let mut view = view();
        for number in 1..10 {
            let url = format!("https://number-{number}.shop.example.com");
            view.forwarding.push((url, "http://localhost:8080".into()));
        }
        assert_eq!(
            text(&view, 60, 4),
            [
                "Session Status  online",
                "Forwarding      https://shop.example.com",
                "Forwarding      https://number-1.shop.example.com",
                "                ... and 8 more",
            ]
        );
        // A URL of two rows is there as a whole, or not at all.
        assert_eq!(
            text(&view, 25, 4),
            [
                "online",
                "https://shop.example.com",
                "... and 9 more",
                "GET /path             200",
            ]
        );
        assert!(!text(&view, 120, 11).concat().contains("more"));
    }

    #[test]
    fn long_advice_and_causes_are_broken_between_words() {
        let mut view = view();
        view.hint = Some("These URLs work on this machine only, for now.".into());
        view.status =
            Status::Failing("cannot reach edge.example.com:443: connection refused".into());
        let lines = text(&view, 80, 40);
        assert_eq!(
            lines[2],
            "Session Status                connecting (cannot reach edge.example.com:443:"
        );
        assert_eq!(lines[3].trim_start(), "connection refused)");
        assert_eq!(
            lines[7],
            format!("{:30}These URLs work on this machine only, for now.", "")
        );
        assert_eq!(
            text(&view, 60, 40)[8..10]
                .iter()
                .map(|line| line.trim_start())
                .collect::<Vec<_>>(),
            ["These URLs work on this machine only, for", "now."]
        );
    }

    #[test]
    fn wide_letters_take_two_columns() {
        let mut view = view();
        view.requests.as_mut().unwrap()[0].path = "/\u{65e5}\u{672c}".repeat(40);
        let lines = text(&view, 80, 40);
        assert!(lines.iter().all(|line| columns(line) <= 80), "{lines:?}");
        assert!(lines.last().unwrap().ends_with("... 200 OK"));
    }

    #[test]
    fn figures_are_whole_or_left_out() {
        let lines = text(&view(), 40, 40);
        let at = lines
            .iter()
            .position(|line| line.starts_with("Connections"))
            .unwrap();
        assert_eq!(lines[at], "Connections     ttl   opn   rt1   rt5");
        assert_eq!(lines[at + 1], "                12    3     0.26  0.00");
    }

    #[test]
    fn a_wide_window_shows_more_of_a_path() {
        let mut view = view();
        view.requests.as_mut().unwrap()[0].path = format!("/{}", "x".repeat(90));
        let lines = text(&view, 140, 40);
        assert!(lines.last().unwrap().contains(&"x".repeat(90)), "{lines:?}");
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
