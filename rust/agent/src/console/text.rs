//! Text in columns of a terminal: how wide it is, and cut or broken to a width.

/// Text of others without what a terminal would obey.
pub(super) fn clean(text: &str) -> String {
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

/// Columns that a letter takes, as most terminals see it.
fn columns_of(letter: char) -> usize {
    match u32::from(letter) {
        0x300..=0x36f | 0x200b..=0x200f | 0xfe00..=0xfe0f => 0,
        0x1100..=0x115f
        | 0x2e80..=0xa4cf
        | 0xac00..=0xd7a3
        | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f
        | 0xff00..=0xff60
        | 0x1f300..=0x1faff
        | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

pub(super) fn columns(text: &str) -> usize {
    text.chars().map(columns_of).sum()
}

/// Exactly `width` columns, cut with `...` where the text is longer.
pub(super) fn shortened(text: &str, width: usize) -> String {
    let mut text = text.to_owned();
    cut(&mut text, width);
    let rest = width.saturating_sub(columns(&text));
    text.extend(std::iter::repeat_n(' ', rest));
    text
}

pub(super) fn cut(text: &mut String, width: usize) {
    if columns(text) <= width {
        return;
    }
    let end = fitting(text, width.saturating_sub(3));
    text.truncate(end);
    text.push_str(&"..."[..width.min(3)]);
}

/// How many bytes of `text` fit in `width` columns.
fn fitting(text: &str, width: usize) -> usize {
    let mut used = 0;
    for (index, letter) in text.char_indices() {
        used += columns_of(letter);
        if used > width {
            return index;
        }
    }
    text.len()
}

/// `text` in lines of `width` columns, broken between words where that is possible.
pub(super) fn wrapped(text: &str, width: usize) -> impl Iterator<Item = String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let mut line = lines.pop().unwrap_or_default();
        if !line.is_empty() && columns(&line) + 1 + columns(word) > width {
            lines.push(std::mem::take(&mut line));
        } else if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
        lines.push(line);
    }
    lines.into_iter()
}

/// `text` in pieces of `width` columns, broken anywhere.
pub(super) fn broken(text: &str, width: usize) -> Vec<String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = fitting(rest, width);
        if end == 0 {
            break;
        }
        pieces.push(rest[..end].to_owned());
        rest = &rest[end..];
    }
    pieces
}
