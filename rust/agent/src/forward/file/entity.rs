//! What is sent about one file: type, validators, the whole or one range (RFC 9110 §13, §14).

use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, HeaderName,
    HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, RANGE,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{Method, Response, StatusCode, request};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use tokio::task::JoinHandle;

use super::Body;

/// Bytes read from disk at a time.
const CHUNK: usize = 64 * 1024;
/// Bytes looked at where the name tells no type.
const SNIFF: usize = 512;

/// The answer to `head` for the file at `path`. Blocks on the file system.
pub(super) fn file(path: &Path, head: &request::Parts) -> io::Result<Response<Body>> {
    // To open a pipe nobody writes into would wait for ever, and a device may do anything.
    if !path.metadata()?.is_file() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    let validators = Validators::of(&metadata);
    let mut response = Response::new(Empty::new().map_err(|never| match never {}).boxed());
    validators.write(response.headers_mut());
    if validators.unchanged(&head.headers) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return Ok(response);
    }

    let length = metadata.len();
    let part = match validators.range(&head.headers, length) {
        Wanted::All => 0..length,
        Wanted::Part(part) => {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            let shown = format!("bytes {}-{}/{length}", part.start, part.end - 1);
            set(response.headers_mut(), CONTENT_RANGE, &shown);
            part
        }
        Wanted::Nothing => {
            *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
            set(
                response.headers_mut(),
                CONTENT_RANGE,
                &format!("bytes */{length}"),
            );
            return Ok(response);
        }
    };
    let kind = content_type(path, &mut file)?;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(part.end - part.start));
    if head.method != Method::HEAD {
        file.seek(SeekFrom::Start(part.start))?; // sniffing has moved it
        *response.body_mut() = FileBody {
            left: part.end - part.start,
            state: State::Idle(file),
        }
        .boxed();
    }
    Ok(response)
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert(name, value);
    }
}

/// What tells one state of a file from another.
struct Validators {
    etag: String,
    /// Whole seconds, as HTTP dates are.
    modified: Option<Timestamp>,
}

/// Which bytes a request asks for.
enum Wanted {
    All,
    Part(Range<u64>),
    Nothing,
}

// === impl Validators ===

impl Validators {
    fn of(metadata: &Metadata) -> Self {
        let modified = metadata
            .modified()
            .ok()
            .and_then(|time| Timestamp::try_from(time).ok());
        let nanoseconds = modified.map_or(0, Timestamp::as_nanosecond);
        Self {
            etag: format!("\"{nanoseconds:x}-{:x}\"", metadata.len()),
            modified: modified.and_then(|time| Timestamp::from_second(time.as_second()).ok()),
        }
    }

    fn write(&self, headers: &mut HeaderMap) {
        set(headers, ETAG, &self.etag);
        let printer = rfc2822::DateTimePrinter::new();
        if let Some(Ok(date)) = self
            .modified
            .map(|time| printer.timestamp_to_rfc9110_string(&time))
        {
            set(headers, LAST_MODIFIED, &date);
        }
    }

    /// Whether what the visitor holds is still right. `If-None-Match` wins over the date.
    fn unchanged(&self, headers: &HeaderMap) -> bool {
        let text = |name| {
            headers
                .get(name)
                .and_then(|value: &HeaderValue| value.to_str().ok())
        };
        if let Some(tags) = text(IF_NONE_MATCH) {
            return tags
                .split(',')
                .map(str::trim)
                .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == self.etag);
        }
        let since = text(IF_MODIFIED_SINCE).and_then(date);
        matches!((since, self.modified), (Some(since), Some(modified)) if modified <= since)
    }

    /// One range of bytes; several at once are answered with the whole, as RFC 9110 §14.2 allows.
    fn range(&self, headers: &HeaderMap, length: u64) -> Wanted {
        let text = |name| {
            headers
                .get(name)
                .and_then(|value: &HeaderValue| value.to_str().ok())
        };
        let Some(ranges) = text(RANGE).and_then(|range| range.strip_prefix("bytes=")) else {
            return Wanted::All;
        };
        if let Some(condition) = text(IF_RANGE) {
            let same = condition == self.etag
                || date(condition).is_some_and(|date| Some(date) == self.modified);
            if !same {
                return Wanted::All;
            }
        }
        let Some((first, last)) = ranges.split_once('-').filter(|_| !ranges.contains(',')) else {
            return Wanted::All;
        };
        let (first, last) = (first.trim(), last.trim());
        let part = match (first.parse::<u64>(), last.parse::<u64>()) {
            (Ok(first), Ok(last)) if first <= last => first..last.saturating_add(1).min(length),
            (Ok(first), Err(_)) if last.is_empty() => first..length,
            (Err(_), Ok(suffix)) if first.is_empty() => length.saturating_sub(suffix)..length,
            _ => return Wanted::All,
        };
        if part.start < part.end {
            Wanted::Part(part)
        } else {
            Wanted::Nothing
        }
    }
}

fn date(text: &str) -> Option<Timestamp> {
    rfc2822::DateTimeParser::new().parse_timestamp(text).ok()
}

/// By extension, else by the look of the first bytes: text or octets, nothing cleverer.
fn content_type(path: &Path, file: &mut File) -> io::Result<&'static str> {
    let extension = path
        .extension()
        .and_then(|extension| extension.to_str())
        .unwrap_or("");
    let known = match extension.to_ascii_lowercase().as_str() {
        "html" | "htm" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "xml" => "application/xml",
        "txt" | "md" | "log" => "text/plain; charset=utf-8",
        "csv" => "text/csv; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "avif" => "image/avif",
        "ico" => "image/x-icon",
        "woff" => "font/woff",
        "woff2" => "font/woff2",
        "ttf" => "font/ttf",
        "otf" => "font/otf",
        "wasm" => "application/wasm",
        "pdf" => "application/pdf",
        "zip" => "application/zip",
        "gz" | "tgz" => "application/gzip",
        "mp3" => "audio/mpeg",
        "ogg" => "audio/ogg",
        "wav" => "audio/wav",
        "mp4" => "video/mp4",
        "webm" => "video/webm",
        _ => "",
    };
    if !known.is_empty() {
        return Ok(known);
    }
    let mut start = Vec::with_capacity(SNIFF);
    file.take(SNIFF as u64).read_to_end(&mut start)?;
    let text = match std::str::from_utf8(&start) {
        Ok(_) => true,
        // A letter cut by the end of the look is still a letter.
        Err(error) => error.error_len().is_none() && start.len() == SNIFF,
    };
    let printable = !start
        .iter()
        .any(|&byte| byte < 0x20 && !b"\t\n\r\x0c\x1b".contains(&byte));
    Ok(if text && printable {
        "text/plain; charset=utf-8"
    } else {
        "application/octet-stream"
    })
}

/// Part of a file, read a chunk at a time off the session's thread, and only when asked.
struct FileBody {
    left: u64,
    state: State,
}

enum State {
    Idle(File),
    Reading(JoinHandle<io::Result<(File, Bytes)>>),
    Over,
}

impl HttpBody for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        loop {
            match std::mem::replace(&mut self.state, State::Over) {
                State::Over => return Poll::Ready(None),
                State::Idle(_) if self.left == 0 => return Poll::Ready(None),
                State::Idle(file) => {
                    let limit = self.left.min(CHUNK as u64) as usize;
                    self.state =
                        State::Reading(tokio::task::spawn_blocking(move || read(file, limit)));
                }
                State::Reading(mut reading) => {
                    let done = match Pin::new(&mut reading).poll(cx) {
                        Poll::Pending => {
                            self.state = State::Reading(reading);
                            return Poll::Pending;
                        }
                        Poll::Ready(done) => done,
                    };
                    let (file, chunk) = match done.map_err(io::Error::other).flatten() {
                        Ok(read) => read,
                        Err(error) => return Poll::Ready(Some(Err(error))),
                    };
                    if chunk.is_empty() {
                        // Shorter than promised: an error ends the connection, so nobody takes
                        // the part for the whole.
                        let error = io::Error::from(io::ErrorKind::UnexpectedEof);
                        return Poll::Ready(Some(Err(error)));
                    }
                    self.left -= chunk.len() as u64;
                    self.state = State::Idle(file);
                    return Poll::Ready(Some(Ok(Frame::data(chunk))));
                }
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }
}

fn read(mut file: File, limit: usize) -> io::Result<(File, Bytes)> {
    let mut chunk = BytesMut::zeroed(limit);
    let length = file.read(&mut chunk)?;
    chunk.truncate(length);
    Ok((file, chunk.freeze()))
}
