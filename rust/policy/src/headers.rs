//! Headers added to and removed from requests and responses (traffic-policy §9).

use http::{HeaderMap, HeaderName, HeaderValue, header};
use portway_wire::opts::HeaderChange;
use portway_wire::{Code, Refusal};

const MOST: usize = 10;
const LONGEST_NAME: usize = 256;
const LONGEST_VALUE: usize = 4096;

/// Removes first, then adds: so a header can be replaced.
#[derive(Debug, Default)]
pub struct HeaderRules {
    remove: Vec<HeaderName>,
    add: Vec<(HeaderName, HeaderValue)>,
}

// === impl HeaderRules ===

impl HeaderRules {
    pub(crate) fn request(change: &HeaderChange) -> Result<Self, Refusal> {
        let rules = Self::compile(change, 372)?;
        let host = rules.remove.contains(&header::HOST);
        if host && !rules.add.iter().any(|(name, _)| *name == header::HOST) {
            return Err(Refusal::of(Code(398)));
        }
        Ok(rules)
    }

    pub(crate) fn response(change: &HeaderChange) -> Result<Self, Refusal> {
        Self::compile(change, 373)
    }

    fn compile(change: &HeaderChange, bad_name: u16) -> Result<Self, Refusal> {
        if change.add.len() > MOST || change.remove.len() > MOST {
            return Err(Refusal::of(Code(376)));
        }
        let mut rules = Self::default();
        for text in &change.add {
            let Some((name, value)) = text.split_once(':') else {
                let code = if bad_name == 372 { 370 } else { 371 };
                return Err(Refusal::new(
                    Code(code),
                    format!("{text:?} is no header: write it as name:value."),
                ));
            };
            rules
                .add
                .push((read_name(name, bad_name)?, read_value(value)?));
        }
        for name in &change.remove {
            rules.remove.push(read_name(name, bad_name)?);
        }
        Ok(rules)
    }

    pub fn is_empty(&self) -> bool {
        self.add.is_empty() && self.remove.is_empty()
    }

    pub fn apply(&self, headers: &mut HeaderMap) {
        for name in &self.remove {
            headers.remove(name);
        }
        for (name, value) in &self.add {
            if *name == header::HOST {
                headers.insert(name, value.clone());
            } else {
                headers.append(name, value.clone());
            }
        }
    }
}

fn read_name(text: &str, code: u16) -> Result<HeaderName, Refusal> {
    let text = text.trim();
    if text.len() > LONGEST_NAME {
        return Err(Refusal::of(Code(377)));
    }
    let name = HeaderName::from_bytes(text.as_bytes())
        .map_err(|_| Refusal::new(Code(code), format!("{text:?} is no header name.")))?;
    // What frames a message is the edge's own affair.
    if [
        header::TRANSFER_ENCODING,
        header::CONTENT_LENGTH,
        header::CONNECTION,
    ]
    .contains(&name)
    {
        return Err(Refusal::new(
            Code(code),
            format!("The header {name} cannot be added or removed: it frames the message."),
        ));
    }
    Ok(name)
}

fn read_value(text: &str) -> Result<HeaderValue, Refusal> {
    let text = text.trim();
    if text.len() > LONGEST_VALUE {
        return Err(Refusal::of(Code(378)));
    }
    if text.contains("${") {
        return Err(Refusal::new(
            Code(2213),
            "This edge cannot fill in ${…} in header values yet.",
        ));
    }
    HeaderValue::from_str(text).map_err(|_| Refusal::of(Code(374)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(add: &[&str], remove: &[&str]) -> HeaderChange {
        let own = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        HeaderChange {
            add: own(add),
            remove: own(remove),
        }
    }

    #[test]
    fn added_values_stand_beside_others_and_host_is_replaced() {
        let rules =
            HeaderRules::request(&change(&["x-a: b:c", "host: up.test"], &["X-Old"])).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("x-a", HeaderValue::from_static("1"));
        headers.insert("x-old", HeaderValue::from_static("1"));
        headers.insert("host", HeaderValue::from_static("edge.test"));
        rules.apply(&mut headers);
        let all: Vec<_> = headers.get_all("x-a").iter().collect();
        assert_eq!(all, ["1", "b:c"]);
        assert_eq!(
            (headers.get("x-old"), &headers["host"]),
            (None, &HeaderValue::from_static("up.test"))
        );
    }

    #[test]
    fn bad_ones_have_their_codes() {
        let code = |add: &[&str], remove: &[&str]| {
            HeaderRules::request(&change(add, remove))
                .unwrap_err()
                .code
                .0
        };
        assert_eq!(code(&["nocolon"], &[]), 370);
        assert_eq!(code(&["b d: x"], &[]), 372);
        assert_eq!(code(&["x: \u{1}"], &[]), 374);
        assert_eq!(code(&["x: ${.backend}"], &[]), 2213);
        assert_eq!(code(&[], &["host"]), 398);
        assert_eq!(code(&["transfer-encoding: chunked"], &[]), 372);
        assert_eq!(code(&["a:b"; 11], &[]), 376);
        assert_eq!(
            HeaderRules::response(&change(&["nocolon"], &[]))
                .unwrap_err()
                .code,
            Code(371)
        );
    }
}
