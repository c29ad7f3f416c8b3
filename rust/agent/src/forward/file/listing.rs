//! The page that shows what is in a folder.

use std::fmt::Write;
use std::io;
use std::path::Path;

/// More entries than this are counted, not shown: the page is built in memory.
const MAX_ENTRIES: usize = 10_000;

/// The entries of `folder`, folders first; names that begin with a dot stay unseen.
pub(super) fn page(folder: &Path, request_path: &str) -> io::Result<String> {
    let mut names: Vec<(bool, String)> = Vec::new();
    let mut unshown = 0usize;
    for entry in folder.read_dir()? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        if name.starts_with('.') {
            continue;
        }
        if names.len() == MAX_ENTRIES {
            unshown += 1;
            continue;
        }
        names.push((!entry.path().is_dir(), name));
    }
    names.sort();

    let title = escape(&decoded(request_path));
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>{title}</title><style>:root{{color-scheme:light \
         dark}}body{{font:16px/1.6 system-ui,sans-serif;margin:2rem auto;max-width:50rem;padding:0 \
         1rem}}a{{text-decoration:none}}li{{list-style:none}}ul{{padding:0}}</style><h1>{title}</h1><ul>"
    );
    if request_path != "/" {
        page.push_str("<li><a href=\"../\">../</a>");
    }
    for (is_file, name) in &names {
        let slash = if *is_file { "" } else { "/" };
        // `./` in front: a name with a colon is no scheme.
        let _ = write!(
            page,
            "<li><a href=\"./{}{slash}\">{}{slash}</a>",
            encode(name),
            escape(name)
        );
    }
    page.push_str("</ul>");
    if unshown > 0 {
        let _ = write!(page, "<p>and {unshown} more</p>");
    }
    Ok(page)
}

/// A name as it stands in a link: everything but letters, digits and `-._~` percent-encoded.
fn encode(name: &str) -> String {
    name.bytes()
        .fold(String::with_capacity(name.len()), |mut link, byte| {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                link.push(char::from(byte));
            } else {
                let _ = write!(link, "%{byte:02X}");
            }
            link
        })
}

/// A text as it stands in HTML.
fn escape(text: &str) -> String {
    text.chars()
        .fold(String::with_capacity(text.len()), |mut safe, letter| {
            match letter {
                '&' => safe.push_str("&amp;"),
                '<' => safe.push_str("&lt;"),
                '>' => safe.push_str("&gt;"),
                '"' => safe.push_str("&quot;"),
                '\'' => safe.push_str("&#39;"),
                other => safe.push(other),
            }
            safe
        })
}

/// The path for human eyes; one that does not decode is shown as it came.
fn decoded(path: &str) -> String {
    let segments: Option<Vec<String>> = path
        .split('/')
        .map(|segment| super::path::decode(segment).ok())
        .collect();
    segments.map_or_else(|| path.to_owned(), |segments| segments.join("/"))
}
