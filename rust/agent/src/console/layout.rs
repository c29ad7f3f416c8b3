//! Lines in a window: labels and values beside each other, and which lines go where there is no room
//! for all.

use super::text::{broken, columns};

/// Width of the column of labels, in a window of at least so many columns.
const LABEL: usize = 30;
pub(super) const USUAL: usize = 80;
/// The same in a narrower window; in a very narrow one there are no labels.
const SHORT_LABEL: usize = 16;
const NARROW: usize = 40;

/// How a line is to stand out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Title,
    Good,
    Wait,
    Bad,
}

/// One line: its tone holds from `toned` (in letters) on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) text: String,
    pub(super) tone: Tone,
    pub(super) toned: usize,
    pub(super) rank: Rank,
}

/// How long a line stays when there is no room for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    Gap,
    Decoration,
    Detail,
    Figures,
    Context,
    Needed,
}

/// Columns of a window, and how lines are laid out in it.
#[derive(Clone, Copy)]
pub(super) struct Layout {
    pub(super) width: usize,
    /// Columns of the labels; 0: there are none.
    pub(super) label: usize,
}

// === impl Line ===

impl Line {
    pub(super) fn plain(rank: Rank, text: String) -> Self {
        Self {
            text,
            tone: Tone::Plain,
            toned: 0,
            rank,
        }
    }
}

// === impl Layout ===

impl Layout {
    pub(super) fn of(width: usize) -> Self {
        let label = match width {
            USUAL.. => LABEL,
            NARROW.. => SHORT_LABEL,
            _ => 0,
        };
        Self { width, label }
    }

    pub(super) fn labelled(self, label: &str, value: &str) -> String {
        if self.label == 0 {
            value.to_owned()
        } else {
            format!("{label:<width$}{value}", width = self.label)
        }
    }

    /// A URL is there to be read: where both do not fit on a line, the upstream goes below it, and
    /// a URL that is too long by itself goes on there.
    pub(super) fn forwarding(self, url: &str, upstream: &str) -> Vec<Line> {
        let whole = format!("{url} -> {upstream}");
        let room = self.width.saturating_sub(self.label);
        if columns(&whole) <= room {
            return vec![Line::plain(
                Rank::Needed,
                self.labelled("Forwarding", &whole),
            )];
        }
        let mut lines: Vec<_> = broken(url, room)
            .into_iter()
            .enumerate()
            .map(|(number, part)| {
                let label = if number == 0 { "Forwarding" } else { "" };
                Line::plain(Rank::Needed, self.labelled(label, &part))
            })
            .collect();
        let upstream = format!("-> {upstream}");
        lines.push(Line::plain(Rank::Context, self.labelled("", &upstream)));
        lines
    }
}

/// Takes out what matters least until `height` has room for `more` lines too, or nothing is left
/// that may go.
pub(super) fn make_room(lines: &mut Vec<Line>, height: usize, more: usize) {
    for rank in [
        Rank::Gap,
        Rank::Decoration,
        Rank::Detail,
        Rank::Figures,
        Rank::Context,
    ] {
        while lines.len() + more > height {
            // From below: what stands first is looked at first.
            let Some(at) = lines.iter().rposition(|line| line.rank == rank) else {
                break;
            };
            lines.remove(at);
            if rank == Rank::Figures {
                // Headings without figures, or these alone, say nothing.
                lines.retain(|line| line.rank != rank);
            }
        }
    }
}

pub(super) fn title(width: usize) -> Line {
    const NAME: &str = "portway";
    /// Where there is no room for both, how to quit is what one must know.
    const HELP: usize = 50;
    const KEYS: [&str; 2] = ["(Ctrl+C to quit)", "(? for help) (Ctrl+C to quit)"];
    let keys = KEYS[usize::from(width >= HELP)];
    let gap = width.saturating_sub(NAME.len() + keys.len()).max(1);
    Line {
        text: format!("{NAME}{}{keys}", " ".repeat(gap)),
        tone: Tone::Title,
        toned: 0,
        rank: Rank::Decoration,
    }
}
