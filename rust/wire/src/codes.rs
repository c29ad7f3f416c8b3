//! The one table of error codes (design, decision 9): number, HTTP status, text. The numbers are
//! those that existing agents, SDKs and scripts match; the words are ours.

mod table;

use std::fmt;

/// A code of the table, `ERR_NGROK_<n>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Code(pub u16);

/// What an agent does after a refusal with this code (agent-behaviour §1.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// Gives up, whenever it comes.
    Fatal,
    /// Gives up at the first connect; tries on, at the longest delay, once a session was up.
    FatalFirst,
    /// Tries again.
    Retry,
    /// Tries again after up to two seconds: the edge is going away.
    RetrySoon,
    /// Tries again at once under a new identity.
    ForgetIdentity,
}

// === impl Code ===

impl Code {
    pub const BAD_TOKEN: Self = Self(105);
    pub const UNKNOWN_TOKEN: Self = Self(107);
    pub const SESSION_LIMIT: Self = Self(108);
    pub const BAD_AUTH: Self = Self(109);
    pub const TEMPORARY: Self = Self(128);
    pub const REVOKED: Self = Self(300);
    pub const BAD_BIND: Self = Self(301);
    pub const NAME_TAKEN: Self = Self(334);
    pub const DRAINING: Self = Self(742);
    pub const SHUTTING_DOWN: Self = Self(803);
    pub const UPSTREAM_UNREACHABLE: Self = Self(8012);
    pub const BAD_UPSTREAM_ANSWER: Self = Self(3004);
    pub const GATEWAY: Self = Self(3007);
    pub const UPSTREAM_TIMEOUT: Self = Self(3008);
    pub const OFFLINE: Self = Self(3200);
    pub const CIRCUIT_OPEN: Self = Self(3202);
    pub const IP_BLOCKED: Self = Self(3205);
    pub const WEBHOOK_FAILED: Self = Self(3204);
    pub const NO_WEBSOCKET: Self = Self(3206);
    pub const AGENT_UNREACHABLE: Self = Self(3210);
    pub const USER_AGENT_BLOCKED: Self = Self(3211);
    pub const NOTHING_AVAILABLE: Self = Self(724);
    pub const RATE_LIMIT: Self = Self(702);
    pub const NO_CREDENTIAL: Self = Self(4018);

    /// The HTTP status visitors get with it, where it is one for visitors.
    pub fn status(self) -> Option<u16> {
        self.row().and_then(|row| (row.1 != 0).then_some(row.1))
    }

    /// What it means, in one sentence; empty for a number that is not in the table.
    pub fn text(self) -> &'static str {
        self.row().map_or("", |row| row.2)
    }

    pub fn reaction(self) -> Reaction {
        match self.0 {
            128 | 741 | 802 | 743 | 702 | 703 => Reaction::Retry,
            742 | 803 => Reaction::RetrySoon,
            110 => Reaction::ForgetIdentity,
            100
            | 103
            | 105
            | 107
            | 109
            | 111
            | 112
            | 119
            | 121..=124
            | 126
            | 127
            | 300
            | 811
            | 4018
            | 8014
            | 15014 => Reaction::Fatal,
            _ => Reaction::FatalFirst,
        }
    }

    fn row(self) -> Option<&'static table::Row> {
        let index = table::ROWS
            .binary_search_by_key(&self.0, |row| row.0)
            .ok()?;
        table::ROWS.get(index)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ERR_NGROK_{}", self.0)
    }
}

/// What codes begin with, where agents look for them.
const MARK: &str = "ERR_NGROK_";

/// An error as it goes over the wire: human text, and a code on a line of its own.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}\r\n\r\n{code}\r\n")]
pub struct Refusal {
    pub code: Code,
    /// Never holds `ERR_NGROK_n`: some agents drop a line that does.
    pub message: String,
}

// === impl Refusal ===

impl Refusal {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        let mut message = message.into();
        if message.contains(MARK) {
            message = message.replace(MARK, "error ");
        }
        Self { code, message }
    }

    /// The refusal in the words of the table.
    pub fn of(code: Code) -> Self {
        Self::new(code, code.text())
    }

    /// Reads an `Error` as the SDKs do: the first code in it, and the lines that hold none. A
    /// text without a code is code 0.
    pub fn parse(text: &str) -> Self {
        let number = |line: &str| {
            let digits = &line[line.find(MARK)? + MARK.len()..];
            let end = digits
                .find(|letter: char| !letter.is_ascii_digit())
                .unwrap_or(digits.len());
            digits[..end].parse().ok()
        };
        let code = text.lines().find_map(number).unwrap_or(0);
        let lines = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.contains(MARK));
        Self {
            code: Code(code),
            message: lines.collect::<Vec<_>>().join("\n"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_says_something() {
        assert!(table::ROWS.windows(2).all(|pair| pair[0].0 < pair[1].0));
        for (number, status, text) in table::ROWS {
            assert!(*status == 0 || (200..600).contains(status), "{number}");
            assert!(
                text.ends_with('.') && !text.contains("ERR_"),
                "{number}: {text}"
            );
        }
        assert!(Code::OFFLINE.text().ends_with("is offline."));
        assert_eq!(
            (Code::OFFLINE.status(), Code::NAME_TAKEN.status()),
            (Some(404), None)
        );
    }

    #[test]
    fn r76_r83_the_code_stands_alone_on_its_line() {
        let refusal = Refusal::new(Code(334), "The name is taken.\nTry another.");
        assert_eq!(
            refusal.to_string(),
            "The name is taken.\nTry another.\r\n\r\nERR_NGROK_334\r\n"
        );
        assert_eq!(Refusal::parse(&refusal.to_string()), refusal);
        assert_eq!(
            Refusal::parse("plain words"),
            Refusal::new(Code(0), "plain words")
        );
    }

    #[test]
    fn reactions_follow_the_table_of_the_behaviour() {
        for (code, reaction) in [
            (4018, Reaction::Fatal),
            (107, Reaction::Fatal),
            (115, Reaction::FatalFirst),
            (108, Reaction::FatalFirst),
            (110, Reaction::ForgetIdentity),
            (128, Reaction::Retry),
            (742, Reaction::RetrySoon),
            (334, Reaction::FatalFirst),
            (9999, Reaction::FatalFirst),
        ] {
            assert_eq!(Code(code).reaction(), reaction, "{code}");
        }
    }
}
