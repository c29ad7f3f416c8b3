//! Names of endpoints in paths (agent-api §3): escaped as other agents do, read in whatever way
//! clients write them. And queries, which are escaped alike.

use std::fmt::Write;

/// The path of an object. Marks that a path can hold stay as they are.
pub(super) fn uri(base: &str, name: &str) -> String {
    let mut path = base.to_owned();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~$&+=:@".contains(&byte) {
            path.push(char::from(byte));
        } else {
            let _ = write!(path, "%{byte:02X}");
        }
    }
    path
}

/// What an escaped text says. What is not escaped, or badly, stands for itself.
pub(super) fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digits = bytes.get(at + 1..at + 3);
        let escaped = digits
            .filter(|_| bytes[at] == b'%')
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        decoded.push(escaped.unwrap_or(bytes[at]));
        at += if escaped.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// Keys and values of a query.
pub(super) fn pairs(query: &str) -> impl Iterator<Item = (&str, String)> {
    query.split('&').map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key, decode(&value.replace('+', " ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_a_path() {
        for (name, shown) in [
            ("command_line (http)", "command_line%20%28http%29"),
            ("a/b", "a%2Fb"),
            ("ü", "%C3%BC"),
            ("http-https://h:1-x", "http-https:%2F%2Fh:1-x"),
            ("50%", "50%25"),
        ] {
            let path = uri("/", name);
            assert_eq!(&path[1..], shown);
            assert_eq!(decode(&path[1..]), name);
        }
        assert_eq!(decode("tunnel%20(1)"), "tunnel (1)");
        assert_eq!(decode("50%"), "50%");
        assert_eq!(decode("%zz%4"), "%zz%4");
    }
}
