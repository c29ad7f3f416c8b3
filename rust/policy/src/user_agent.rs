//! Allowed and denied user agents (traffic-policy §9, UserAgentFilter).

use portway_wire::opts::UserAgentFilter;
use portway_wire::{Code, Refusal};
use regex::{Regex, RegexBuilder};

/// Bytes a compiled expression may take.
const EXPRESSION_BYTES: usize = 1 << 20;

/// Who matches an allowed expression passes; who matches none passes unless one denies it.
#[derive(Debug)]
pub(crate) struct UserAgents {
    allow: Vec<Regex>,
    deny: Vec<Regex>,
}

// === impl UserAgents ===

impl UserAgents {
    pub(crate) fn compile(options: &UserAgentFilter) -> Result<Self, Refusal> {
        let expressions = |texts: &[String]| {
            texts
                .iter()
                .map(|text| expression(text))
                .collect::<Result<Vec<_>, _>>()
        };
        Ok(Self {
            allow: expressions(&options.allow)?,
            deny: expressions(&options.deny)?,
        })
    }

    /// Nobody passes without saying who they are, unless the empty text is allowed by name.
    pub(crate) fn admit(&self, agent: Option<&str>) -> bool {
        let matches = |list: &[Regex], text: &str| list.iter().any(|regex| regex.is_match(text));
        match agent {
            Some(agent) => matches(&self.allow, agent) || !matches(&self.deny, agent),
            None => self.allow.iter().any(|regex| regex.as_str() == "^$"),
        }
    }
}

fn expression(text: &str) -> Result<Regex, Refusal> {
    let built = RegexBuilder::new(text).size_limit(EXPRESSION_BYTES).build();
    built.map_err(|error| {
        let reason = error
            .to_string()
            .lines()
            .last()
            .unwrap_or_default()
            .to_owned();
        Refusal::new(
            Code(2090),
            format!("The user agent filter {text:?} is no regular expression: {reason}."),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agents(allow: &[&str], deny: &[&str]) -> UserAgents {
        let own = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        UserAgents::compile(&UserAgentFilter {
            allow: own(allow),
            deny: own(deny),
        })
        .unwrap()
    }

    #[test]
    fn allow_beats_deny_and_silence_is_denied() {
        let both = agents(&["foo.*"], &[".*"]);
        assert!(both.admit(Some("foobarbaz")) && !both.admit(Some("bar")) && !both.admit(None));
        let allow_only = agents(&["foo"], &[]);
        assert!(allow_only.admit(Some("bar")) && !allow_only.admit(None));
        assert!(agents(&["^$"], &["."]).admit(None));
        let bad = UserAgentFilter {
            allow: vec!["(".into()],
            deny: Vec::new(),
        };
        assert_eq!(UserAgents::compile(&bad).unwrap_err().code, Code(2090));
    }
}
