//! From the path of a request to a file below the root, or a refusal.

use std::io;
use std::path::{Path, PathBuf};

/// Why a path names nothing here.
#[derive(Debug)]
pub(super) enum Refused {
    /// Encoded separators, NUL, dots that climb, or percent signs that encode nothing.
    Malformed,
    /// A symbolic link that leaves the root.
    Outside,
    Io(io::Error),
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// The existing file or folder that `request_path` (percent-encoded, begins with `/`) names.
pub(super) fn resolve(root: &Path, request_path: &str) -> Result<PathBuf, Refused> {
    let mut wanted = root.to_path_buf();
    for segment in request_path.split('/') {
        let name = decode(segment)?;
        match name.as_str() {
            "" | "." => {}
            ".." => return Err(Refused::Malformed),
            name => wanted.push(name),
        }
    }
    inside(root, &wanted)
}

/// `wanted` with its links resolved, if that is still below `root`.
pub(super) fn inside(root: &Path, wanted: &Path) -> Result<PathBuf, Refused> {
    let real = wanted.canonicalize()?;
    if real.starts_with(root) {
        Ok(real)
    } else {
        Err(Refused::Outside)
    }
}

/// One segment without its percent signs. What would be a separator again is refused.
pub(super) fn decode(segment: &str) -> Result<String, Refused> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        let (Some(high), Some(low)) = (digit(rest.next()), digit(rest.next())) else {
            return Err(Refused::Malformed);
        };
        bytes.push((high * 16 + low) as u8);
    }
    // A colon names a drive or a stream on Windows; elsewhere it is a letter like any other.
    let separator =
        |byte: &u8| matches!(byte, 0 | b'/' | b'\\') || (cfg!(windows) && *byte == b':');
    if bytes.iter().any(separator) {
        return Err(Refused::Malformed);
    }
    String::from_utf8(bytes).map_err(|_| Refused::Malformed)
}
