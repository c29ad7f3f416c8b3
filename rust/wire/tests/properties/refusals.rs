use portway_wire::{Code, Refusal};
use proptest::prelude::*;

const MARK: &str = "ERR_NGROK_";

/// As ngrok-rust reads an error (wire-protocol §4.2).
fn as_rust(text: &str) -> (Option<String>, String) {
    let mut code = None;
    let mut lines = Vec::new();
    for line in text.lines() {
        if line.starts_with(MARK) {
            code = Some(line.trim_end().to_owned());
        } else if !line.is_empty() {
            lines.push(line);
        }
    }
    (code, lines.join("\n"))
}

/// As ngrok-go does.
fn as_go(text: &str) -> (Option<String>, String) {
    let code = text.match_indices(MARK).find_map(|(at, _)| {
        let digits: String = text[at + MARK.len()..]
            .chars()
            .take_while(char::is_ascii_digit)
            .collect();
        (!digits.is_empty()).then(|| format!("{MARK}{digits}"))
    });
    let lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.contains(MARK));
    (code, lines.collect::<Vec<_>>().join("\n"))
}

proptest! {
    #[test]
    fn r76_r83_everybody_reads_the_same_code_and_text(
        code: u16, message in prop_oneof!["[a-z \"]{1,40}(\n[a-z]{1,20}){0,2}", ".{0,20}ERR_NGROK_[0-9]{0,4}.{0,20}"],
    ) {
        let refusal = Refusal::new(Code(code), message);
        let text = refusal.to_string();
        let wanted = format!("{MARK}{code}");
        prop_assert_eq!(as_rust(&text).0, Some(wanted.clone()));
        prop_assert_eq!(as_go(&text).0, Some(wanted.clone()));
        prop_assert_eq!(Refusal::parse(&text).code, Code(code));
        // Alone on its line, behind an empty one.
        let mut lines: Vec<&str> = text.lines().collect();
        prop_assert_eq!(lines.pop(), Some(wanted.as_str()));
        prop_assert_eq!(lines.pop(), Some(""));
        // No line of it is lost with any of them.
        let trimmed = refusal.message.lines().map(str::trim).filter(|line| !line.is_empty());
        let trimmed = trimmed.collect::<Vec<_>>().join("\n");
        prop_assert_eq!(as_go(&text).1, trimmed.clone());
        prop_assert_eq!(Refusal::parse(&text).message, trimmed);
    }

    #[test]
    fn any_error_text_does_no_harm(text: String) {
        let _ = Refusal::parse(&text);
    }
}
