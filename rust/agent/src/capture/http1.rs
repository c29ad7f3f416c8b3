//! Where messages of HTTP/1 begin and end in the bytes of a connection (RFC 9112 §6), however these
//! are cut. It only looks: what it does not understand ends the looking, and nothing else.
//!
//! No I/O and no clock in here: bytes come in, and an [`Observer`] is told what they are.

use std::collections::VecDeque;
use std::mem::MaybeUninit;

use httparse::Status;

/// Bytes of a head or of trailers; longer ones are not followed.
const HEAD: usize = 64 * 1024;
const HEADERS: usize = 128;
/// Requests of one connection that may wait for their answers.
const WAITING: usize = 64;

/// Who wants to know. Of the requests that wait, answers are for the first.
pub(crate) trait Observer {
    /// The head of a request, and how many bytes its body is said to have.
    fn request(&mut self, head: &[u8], method: &str, target: &str, length: u64);
    fn sent(&mut self, body: &[u8]);
    fn sent_trailers(&mut self, lines: &[u8]);
    fn sent_all(&mut self);
    /// The head of an answer; none of those that only say that it will come.
    fn response(&mut self, head: &[u8], code: u16, reason: &str, length: u64);
    fn received(&mut self, body: &[u8]);
    fn received_trailers(&mut self, lines: &[u8]);
    fn received_all(&mut self);
    /// Behind these heads something else is spoken. What is sent and received then is no body.
    fn switched(&mut self);
    /// There is nothing more to be told of what has not ended.
    fn lost(&mut self, why: &'static str);
}

/// Follows both directions of one connection.
#[derive(Debug, Default)]
pub(crate) struct Follower {
    requests: Reader,
    responses: Reader,
    waiting: VecDeque<Asked>,
}

/// What has to be known of a request to understand its answer.
#[derive(Clone, Copy, Debug, Default)]
struct Asked {
    head: bool,
    connect: bool,
    upgrade: bool,
    /// It waits to be told to go on.
    expects: bool,
}

/// One direction.
#[derive(Debug, Default)]
struct Reader {
    state: State,
    /// A head, trailers, or what is said before it is known what it is; so far.
    partial: Vec<u8>,
    /// Something of the body has come.
    touched: bool,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Head,
    /// So many bytes of a body are to come.
    Length(u64),
    Chunks(Chunks),
    UntilEnd,
    /// Whether this is still HTTP depends on an answer.
    Unclear,
    Switched,
    Lost,
}

#[derive(Debug)]
enum Chunks {
    /// The line that tells a chunk's size, with what is known of it.
    Size {
        size: u64,
        digits: u8,
        rest: bool,
    },
    Data(u64),
    /// The line end behind the data.
    DataEnd,
    Trailers,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length(u64),
    Chunked,
    UntilEnd,
}

/// What headers say of the body behind them.
#[derive(Debug, Default)]
struct Fields {
    length: Option<u64>,
    /// The last coding is `chunked`; or there is another one.
    coded: Option<bool>,
    upgrade: bool,
    expects: bool,
}

type Trouble = &'static str;

const MALFORMED: Trouble = "this is no HTTP/1";
const LENGTHS: Trouble = "its length is told in several ways";
const CHUNKS: Trouble = "its chunks are malformed";
const TOO_LONG: Trouble = "its head is too long to be followed";
const UNASKED: Trouble = "something came that nobody had asked for";
const TOO_MANY: Trouble = "too many requests wait for an answer";

/// What a piece of a body was found to be.
enum Part<'a> {
    Body(&'a [u8]),
    Trailers(&'a [u8]),
    End,
}

// === impl Follower ===

impl Follower {
    /// Whether all that was asked has been answered, and nothing else is under way.
    pub(crate) fn rests(&self) -> bool {
        let between =
            |reader: &Reader| matches!(reader.state, State::Head) && reader.partial.is_empty();
        self.waiting.is_empty() && between(&self.requests) && between(&self.responses)
    }

    /// Bytes towards the upstream.
    pub(crate) fn sent(&mut self, mut bytes: &[u8], to: &mut impl Observer) {
        while !bytes.is_empty() {
            let done = match self.requests.state {
                State::Lost => return,
                State::Switched => {
                    to.sent(bytes);
                    return;
                }
                State::Unclear => {
                    if self.requests.partial.len() + bytes.len() > HEAD {
                        return self.lose(TOO_LONG, to);
                    }
                    self.requests.partial.extend_from_slice(bytes);
                    return;
                }
                State::Head => self.request(bytes, to),
                _ => self.requests.body(bytes, |part| match part {
                    Part::Body(bytes) => to.sent(bytes),
                    Part::Trailers(lines) => to.sent_trailers(lines),
                    Part::End => to.sent_all(),
                }),
            };
            match done {
                Ok(used) => bytes = &bytes[used..],
                Err(why) => return self.lose(why, to),
            }
        }
    }

    /// Bytes from the upstream.
    pub(crate) fn received(&mut self, mut bytes: &[u8], to: &mut impl Observer) {
        while !bytes.is_empty() {
            let done = match self.responses.state {
                State::Lost => return,
                State::Switched | State::UntilEnd => {
                    to.received(bytes);
                    return;
                }
                State::Head => self.response(bytes, to),
                _ => {
                    let mut ended = false;
                    let done = self.responses.body(bytes, |part| match part {
                        Part::Body(bytes) => to.received(bytes),
                        Part::Trailers(lines) => to.received_trailers(lines),
                        Part::End => ended = true,
                    });
                    if ended {
                        self.answered(to);
                    }
                    done
                }
            };
            match done {
                Ok(used) => bytes = &bytes[used..],
                Err(why) => return self.lose(why, to),
            }
        }
    }

    /// The upstream says nothing more.
    pub(crate) fn closed(&mut self, to: &mut impl Observer) {
        match self.responses.state {
            State::Lost => return,
            State::UntilEnd | State::Switched => to.received_all(),
            State::Head if self.waiting.is_empty() && self.responses.partial.is_empty() => {}
            State::Head => to.lost("the upstream closed the connection without an answer"),
            _ => to.lost("the upstream closed the connection in the middle of its answer"),
        }
        self.responses.state = State::Lost;
        self.requests.state = State::Lost;
    }

    fn lose(&mut self, why: Trouble, to: &mut impl Observer) {
        to.lost(why);
        *self = Self::default();
        self.requests.state = State::Lost;
        self.responses.state = State::Lost;
    }

    fn request(&mut self, bytes: &[u8], to: &mut impl Observer) -> Result<usize, Trouble> {
        if self.requests.partial.is_empty() && starts_with_line_end(bytes) {
            return Ok(1);
        }
        let waiting = self.waiting.len();
        let read = |head: &[u8]| {
            let mut space = [const { MaybeUninit::uninit() }; HEADERS];
            let mut parsed = httparse::Request::new(&mut []);
            let done = parsed.parse_with_uninit_headers(head, &mut space);
            let Status::Complete(length) = done.map_err(trouble)? else {
                return Ok(None);
            };
            if waiting == WAITING {
                return Err(TOO_MANY);
            }
            let fields = Fields::read(parsed.headers)?;
            let method = parsed.method.unwrap_or_default();
            let target = parsed.path.unwrap_or_default();
            let asked = Asked {
                head: method == "HEAD",
                connect: method == "CONNECT",
                upgrade: fields.upgrade,
                expects: fields.expects,
            };
            let framing = match (fields.coded, fields.length) {
                (Some(true), _) => Framing::Chunked,
                (Some(false), _) => return Err("the coding of its body is unknown"),
                (None, length) => Framing::Length(length.unwrap_or_default()),
            };
            to.request(&head[..length], method, target, framing.length());
            Ok(Some((length, (asked, framing))))
        };
        let (used, found) = self.requests.head(bytes, read)?;
        if let Some((asked, framing)) = found {
            self.waiting.push_back(asked);
            if self.requests.begin(framing) {
                to.sent_all();
                if asked.connect || asked.upgrade {
                    self.requests.state = State::Unclear;
                }
            }
        }
        Ok(used)
    }

    fn response(&mut self, bytes: &[u8], to: &mut impl Observer) -> Result<usize, Trouble> {
        let Some(&asked) = self.waiting.front() else {
            return if starts_with_line_end(bytes) {
                Ok(1)
            } else {
                Err(UNASKED)
            };
        };
        if self.responses.partial.is_empty() && starts_with_line_end(bytes) {
            return Ok(1);
        }
        let read = |head: &[u8]| {
            let mut space = [const { MaybeUninit::uninit() }; HEADERS];
            let mut parsed = httparse::Response::new(&mut []);
            let done = httparse::ParserConfig::default().parse_response_with_uninit_headers(
                &mut parsed,
                head,
                &mut space,
            );
            let Status::Complete(length) = done.map_err(trouble)? else {
                return Ok(None);
            };
            let code = parsed.code.unwrap_or_default();
            let switches = code == 101 || (asked.connect && (200..300).contains(&code));
            if (100..200).contains(&code) && !switches {
                return Ok(Some((length, None)));
            }
            let fields = Fields::read(parsed.headers)?;
            let framing = match (fields.coded, fields.length) {
                _ if switches => Framing::UntilEnd,
                _ if asked.head || matches!(code, 204 | 304) => Framing::Length(0),
                (Some(true), _) => Framing::Chunked,
                (None, Some(length)) => Framing::Length(length),
                (Some(false), _) | (None, None) => Framing::UntilEnd,
            };
            let reason = parsed.reason.unwrap_or_default();
            to.response(&head[..length], code, reason, framing.length());
            Ok(Some((length, Some((framing, switches)))))
        };
        let (used, found) = self.responses.head(bytes, read)?;
        match found.flatten() {
            None => {}
            Some((_, true)) => self.switch(to),
            Some((framing, false)) => {
                if self.responses.begin(framing) {
                    self.answered(to);
                }
                self.cleared(to);
            }
        }
        Ok(used)
    }

    /// The answer to the first that waited is complete.
    fn answered(&mut self, to: &mut impl Observer) {
        to.received_all();
        let asked = self.waiting.pop_front().unwrap_or_default();
        // Told not to go on, nobody sends the body that was announced.
        let withheld = asked.expects && self.waiting.is_empty() && self.requests.untouched();
        if withheld {
            to.sent_all();
            self.requests.state = State::Head;
        }
    }

    fn switch(&mut self, to: &mut impl Observer) {
        to.switched();
        self.requests.state = State::Switched;
        self.responses.state = State::Switched;
        let said = std::mem::take(&mut self.requests.partial);
        if !said.is_empty() {
            to.sent(&said);
        }
    }

    /// It has not become something else: what was said meanwhile is the next request.
    fn cleared(&mut self, to: &mut impl Observer) {
        if matches!(self.requests.state, State::Unclear) {
            self.requests.state = State::Head;
            let said = std::mem::take(&mut self.requests.partial);
            self.sent(&said, to);
        }
    }
}

// === impl Reader ===

impl Reader {
    /// Gives a head to `read` once it is complete. How many bytes are used, and what was found.
    fn head<R>(
        &mut self,
        bytes: &[u8],
        read: impl FnOnce(&[u8]) -> Result<Option<(usize, R)>, Trouble>,
    ) -> Result<(usize, Option<R>), Trouble> {
        if self.partial.is_empty() {
            if let Some((length, found)) = read(bytes)? {
                return Ok((length, Some(found)));
            }
            if bytes.len() > HEAD {
                return Err(TOO_LONG);
            }
            self.partial.extend_from_slice(bytes);
            return Ok((bytes.len(), None));
        }
        // Read once when its end is there, and not after each piece.
        let before = self.partial.len();
        let Some(end) = head_end(&self.partial, bytes) else {
            if before + bytes.len() > HEAD {
                return Err(TOO_LONG);
            }
            self.partial.extend_from_slice(bytes);
            return Ok((bytes.len(), None));
        };
        self.partial.extend_from_slice(&bytes[..end]);
        let partial = std::mem::take(&mut self.partial);
        match read(&partial)? {
            Some((length, found)) if length == partial.len() => Ok((end, Some(found))),
            _ => Err(MALFORMED),
        }
    }

    /// A body of this kind comes next; whether it has ended already.
    fn begin(&mut self, framing: Framing) -> bool {
        self.touched = false;
        self.state = match framing {
            Framing::Length(0) => State::Head,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Chunks(Chunks::fresh()),
            Framing::UntilEnd => State::UntilEnd,
        };
        matches!(self.state, State::Head)
    }

    /// Whether a body was announced of which nothing has come.
    fn untouched(&self) -> bool {
        matches!(self.state, State::Length(_) | State::Chunks(_)) && !self.touched
    }

    /// One step through a body; how many bytes it took.
    fn body(&mut self, bytes: &[u8], mut tell: impl FnMut(Part<'_>)) -> Result<usize, Trouble> {
        self.touched = true;
        let chunks = match &mut self.state {
            State::Length(left) => {
                let used = usize::try_from(*left)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len());
                *left -= used as u64;
                let ended = *left == 0;
                tell(Part::Body(&bytes[..used]));
                if ended {
                    self.state = State::Head;
                    tell(Part::End);
                }
                return Ok(used);
            }
            State::Chunks(chunks) => chunks,
            _ => return Err(MALFORMED),
        };
        match chunks {
            Chunks::Size { size, digits, rest } => {
                let byte = bytes[0];
                match byte {
                    b'\n' if *digits > 0 => {
                        *chunks = if *size == 0 {
                            Chunks::Trailers
                        } else {
                            Chunks::Data(*size)
                        };
                    }
                    b'\r' | b';' | b' ' | b'\t' if *digits > 0 => *rest = true,
                    _ if *rest => {}
                    _ => {
                        let digit = char::from(byte).to_digit(16).ok_or(CHUNKS)?;
                        if *digits == 16 {
                            return Err(CHUNKS);
                        }
                        *digits += 1;
                        *size = *size << 4 | u64::from(digit);
                    }
                }
                Ok(1)
            }
            Chunks::Data(left) => {
                let used = usize::try_from(*left)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len());
                *left -= used as u64;
                if *left == 0 {
                    *chunks = Chunks::DataEnd;
                }
                tell(Part::Body(&bytes[..used]));
                Ok(used)
            }
            Chunks::DataEnd => {
                match bytes[0] {
                    b'\r' => {}
                    b'\n' => *chunks = Chunks::fresh(),
                    _ => return Err(CHUNKS),
                }
                Ok(1)
            }
            Chunks::Trailers => {
                if self.partial.len() == HEAD {
                    return Err(TOO_LONG);
                }
                self.partial.push(bytes[0]);
                let lines = &self.partial;
                let last = lines == b"\r\n" || lines == b"\n";
                if last || lines.ends_with(b"\n\r\n") || lines.ends_with(b"\n\n") {
                    if !last {
                        tell(Part::Trailers(lines));
                    }
                    self.partial = Vec::new();
                    self.state = State::Head;
                    tell(Part::End);
                }
                Ok(1)
            }
        }
    }
}

// === impl Chunks ===

impl Chunks {
    fn fresh() -> Self {
        Self::Size {
            size: 0,
            digits: 0,
            rest: false,
        }
    }
}

// === impl Framing ===

impl Framing {
    /// Bytes the body is said to have; none where nobody says.
    fn length(self) -> u64 {
        match self {
            Self::Length(length) => length,
            Self::Chunked | Self::UntilEnd => 0,
        }
    }
}

// === impl Fields ===

impl Fields {
    fn read(headers: &[httparse::Header<'_>]) -> Result<Self, Trouble> {
        let mut fields = Self::default();
        for header in headers {
            // By the lengths first: most headers are none of these.
            match header.name.len() {
                6 if header.name.eq_ignore_ascii_case("expect") => fields.expects = true,
                7 if header.name.eq_ignore_ascii_case("upgrade") => fields.upgrade = true,
                14 if header.name.eq_ignore_ascii_case("content-length") => {
                    for value in header.value.split(|byte| *byte == b',') {
                        let length = number(value.trim_ascii()).ok_or(LENGTHS)?;
                        if fields.length.is_some_and(|other| other != length) {
                            return Err(LENGTHS);
                        }
                        fields.length = Some(length);
                    }
                }
                17 if header.name.eq_ignore_ascii_case("transfer-encoding") => {
                    let last = header.value.rsplit(|byte| *byte == b',').next();
                    let last = last.unwrap_or_default().trim_ascii();
                    fields.coded = Some(last.eq_ignore_ascii_case(b"chunked"));
                }
                _ => {}
            }
        }
        Ok(fields)
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    let plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits)
        .ok()
        .filter(|_| plain)?
        .parse()
        .ok()
}

fn trouble(error: httparse::Error) -> Trouble {
    match error {
        httparse::Error::TooManyHeaders => "it has too many headers to be followed",
        _ => MALFORMED,
    }
}

/// Empty lines in front of a message mean nothing.
fn starts_with_line_end(bytes: &[u8]) -> bool {
    matches!(bytes.first(), Some(b'\r' | b'\n'))
}

/// Where in `bytes`, which go on where `partial` ends, a head is over.
fn head_end(partial: &[u8], bytes: &[u8]) -> Option<usize> {
    // Whether the line so far is empty: a line end came last, perhaps with a CR behind it.
    let mut empty = matches!(partial, [.., b'\n'] | [.., b'\n', b'\r']);
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'\n' if empty => return Some(at + 1),
            b'\n' => empty = true,
            b'\r' => {}
            _ => empty = false,
        }
    }
    None
}

#[cfg(test)]
mod tests;
