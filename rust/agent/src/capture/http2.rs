//! The same for HTTP/2 (RFC 9113): requests are streams of a connection, and their heads are told as
//! HTTP/1 would write them.
//!
//! No I/O and no clock in here: bytes come in, and [`Streams`] is told what they are.

use std::collections::HashMap;

use super::hpack::{Decoder, Field};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEAD: usize = 9;
/// Bytes of a header block, in all its frames.
const BLOCK: usize = 64 * 1024;
/// Streams that are followed at a time.
const STREAMS: usize = 1024;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const PUSH_PROMISE: u8 = 5;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// Who wants to know. Each stream is a request.
pub(crate) trait Streams {
    fn request(&mut self, stream: u32, head: &[u8], method: &str, target: &str);
    fn sent(&mut self, stream: u32, body: &[u8]);
    fn sent_trailers(&mut self, stream: u32, lines: &[u8]);
    fn sent_all(&mut self, stream: u32);
    fn response(&mut self, stream: u32, head: &[u8], code: u16, reason: &str);
    fn received(&mut self, stream: u32, body: &[u8]);
    fn received_trailers(&mut self, stream: u32, lines: &[u8]);
    fn received_all(&mut self, stream: u32);
    /// Either side has given it up.
    fn reset(&mut self, stream: u32);
    /// There is nothing more to be told of what has not ended.
    fn lost(&mut self, why: &'static str);
}

/// Follows both directions of one connection.
#[derive(Debug)]
pub(crate) struct Follower {
    sent: Frames,
    received: Frames,
    /// Those that are open, and what has come of their answers.
    streams: HashMap<u32, Stage>,
    lost: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Asked,
    Answered,
}

/// One direction: frames, and the header blocks in them.
#[derive(Debug, Default)]
struct Frames {
    /// Bytes of the preface that are still to come.
    preface: usize,
    head: Vec<u8>,
    frame: Option<Frame>,
    /// What has come of a frame that is read as a whole.
    payload: Vec<u8>,
    /// A header block that goes on in further frames.
    block: Option<Block>,
    decoder: Decoder,
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    /// Bytes that are still to come.
    left: usize,
    /// The byte that tells how long the padding is has not been seen.
    unpadded: bool,
    padding: usize,
}

#[derive(Debug)]
struct Block {
    stream: u32,
    ends: bool,
    promise: bool,
    bytes: Vec<u8>,
}

/// What has been found in a direction.
enum Found<'a> {
    Fields {
        stream: u32,
        fields: Vec<Field>,
        ends: bool,
    },
    Data {
        stream: u32,
        data: &'a [u8],
        ends: bool,
    },
    Reset(u32),
}

type Trouble = &'static str;

const MALFORMED: Trouble = "this is no HTTP/2";

// === impl Follower ===

impl Default for Follower {
    fn default() -> Self {
        Self {
            sent: Frames {
                preface: PREFACE.len(),
                ..Frames::default()
            },
            received: Frames::default(),
            streams: HashMap::new(),
            lost: false,
        }
    }
}

impl Follower {
    /// Whether it still understands what it sees.
    pub(crate) fn follows(&self) -> bool {
        !self.lost
    }

    /// Bytes towards the upstream.
    pub(crate) fn sent(&mut self, mut bytes: &[u8], to: &mut impl Streams) {
        while !bytes.is_empty() && !self.lost {
            match self.sent.step(bytes) {
                Ok((used, found)) => {
                    bytes = &bytes[used..];
                    if let Some(found) = found {
                        self.asked(found, to);
                    }
                }
                Err(why) => self.lose(why, to),
            }
        }
    }

    /// Bytes from the upstream.
    pub(crate) fn received(&mut self, mut bytes: &[u8], to: &mut impl Streams) {
        while !bytes.is_empty() && !self.lost {
            match self.received.step(bytes) {
                Ok((used, found)) => {
                    bytes = &bytes[used..];
                    if let Some(found) = found {
                        self.answered(found, to);
                    }
                }
                Err(why) => self.lose(why, to),
            }
        }
    }

    /// The upstream says nothing more.
    pub(crate) fn closed(&mut self, to: &mut impl Streams) {
        if !self.lost {
            self.lose("the upstream closed the connection", to);
        }
    }

    fn lose(&mut self, why: Trouble, to: &mut impl Streams) {
        to.lost(why);
        *self = Self::default();
        self.lost = true;
    }

    fn asked(&mut self, found: Found<'_>, to: &mut impl Streams) {
        match found {
            Found::Fields {
                stream,
                fields,
                ends,
            } => {
                if self.streams.contains_key(&stream) {
                    to.sent_trailers(stream, &trailers(&fields));
                } else {
                    if self.streams.len() == STREAMS {
                        return;
                    }
                    self.streams.insert(stream, Stage::Asked);
                    let (head, method, target) = request_head(&fields);
                    to.request(stream, &head, &method, &target);
                }
                if ends {
                    to.sent_all(stream);
                }
            }
            Found::Data { stream, data, ends } if self.streams.contains_key(&stream) => {
                to.sent(stream, data);
                if ends {
                    to.sent_all(stream);
                }
            }
            Found::Data { .. } => {}
            Found::Reset(stream) => self.reset(stream, to),
        }
    }

    fn answered(&mut self, found: Found<'_>, to: &mut impl Streams) {
        let (stream, ends) = match found {
            Found::Fields {
                stream,
                fields,
                ends,
            } => {
                match self.streams.get_mut(&stream) {
                    None => return,
                    Some(Stage::Answered) => to.received_trailers(stream, &trailers(&fields)),
                    Some(stage) => {
                        let (head, code, reason) = response_head(&fields);
                        if (100..200).contains(&code) {
                            return;
                        }
                        *stage = Stage::Answered;
                        to.response(stream, &head, code, reason);
                    }
                }
                (stream, ends)
            }
            Found::Data { stream, data, ends } => {
                if !self.streams.contains_key(&stream) {
                    return;
                }
                to.received(stream, data);
                (stream, ends)
            }
            Found::Reset(stream) => return self.reset(stream, to),
        };
        if ends {
            self.streams.remove(&stream);
            to.received_all(stream);
        }
    }

    fn reset(&mut self, stream: u32, to: &mut impl Streams) {
        if self.streams.remove(&stream).is_some() {
            to.reset(stream);
        }
    }
}

// === impl Frames ===

impl Frames {
    /// One step; how many bytes it took, and what came of it.
    fn step<'a>(&mut self, bytes: &'a [u8]) -> Result<(usize, Option<Found<'a>>), Trouble> {
        if self.preface > 0 {
            let wanted = &PREFACE[PREFACE.len() - self.preface..];
            let used = wanted.len().min(bytes.len());
            if bytes[..used] != wanted[..used] {
                return Err(MALFORMED);
            }
            self.preface -= used;
            return Ok((used, None));
        }
        let Some(frame) = &mut self.frame else {
            let used = (FRAME_HEAD - self.head.len()).min(bytes.len());
            self.head.extend_from_slice(&bytes[..used]);
            if self.head.len() < FRAME_HEAD {
                return Ok((used, None));
            }
            let frame = Frame::read(&self.head);
            self.head.clear();
            if self.block.is_some() && frame.kind != CONTINUATION {
                return Err(MALFORMED);
            }
            if frame.is_whole() && self.payload_size() + frame.left > BLOCK {
                return Err("its headers are too long to be followed");
            }
            self.frame = Some(frame);
            // Nothing may come of it at all.
            return if frame.left == 0 {
                Ok((used, self.over(frame, &[])?))
            } else {
                Ok((used, None))
            };
        };
        if frame.unpadded {
            frame.unpadded = false;
            frame.padding = usize::from(bytes[0]);
            frame.left -= 1;
            let frame = *frame;
            let found = if frame.left == 0 {
                self.over(frame, &[])?
            } else {
                None
            };
            return Ok((1, found));
        }
        let used = frame.left.min(bytes.len());
        let data = &bytes[..used.min(frame.left.saturating_sub(frame.padding))];
        frame.left -= used;
        let frame = *frame;
        if frame.is_whole() {
            self.payload.extend_from_slice(&bytes[..used]);
        }
        if frame.left == 0 {
            return Ok((used, self.over(frame, data)?));
        }
        let found = (frame.kind == DATA && !data.is_empty()).then_some(Found::Data {
            stream: frame.stream,
            data,
            ends: false,
        });
        Ok((used, found))
    }

    /// A frame is complete, and this the end of its data.
    fn over<'a>(&mut self, frame: Frame, data: &'a [u8]) -> Result<Option<Found<'a>>, Trouble> {
        self.frame = None;
        let payload = std::mem::take(&mut self.payload);
        let stream = frame.stream;
        match frame.kind {
            DATA => Ok(Some(Found::Data {
                stream,
                data,
                ends: frame.has(END_STREAM),
            })),
            RST_STREAM => Ok(Some(Found::Reset(stream))),
            HEADERS | PUSH_PROMISE => {
                let mut bytes = &payload[..];
                if frame.has(PADDED) {
                    let (&padding, rest) = bytes.split_first().ok_or(MALFORMED)?;
                    let length = rest
                        .len()
                        .checked_sub(usize::from(padding))
                        .ok_or(MALFORMED)?;
                    bytes = &rest[..length];
                }
                let promise = frame.kind == PUSH_PROMISE;
                let skipped = match (promise, frame.has(PRIORITY)) {
                    (true, _) => 4,
                    (false, true) => 5,
                    (false, false) => 0,
                };
                self.block = Some(Block {
                    stream,
                    ends: !promise && frame.has(END_STREAM),
                    promise,
                    bytes: bytes.get(skipped..).ok_or(MALFORMED)?.to_vec(),
                });
                self.decode(frame)
            }
            CONTINUATION => {
                let block = self.block.as_mut().filter(|block| block.stream == stream);
                block.ok_or(MALFORMED)?.bytes.extend_from_slice(&payload);
                self.decode(frame)
            }
            _ => Ok(None),
        }
    }

    fn decode<'a>(&mut self, frame: Frame) -> Result<Option<Found<'a>>, Trouble> {
        if !frame.has(END_HEADERS) {
            return Ok(None);
        }
        let block = self.block.take().ok_or(MALFORMED)?;
        // All are read, for each may say something that later ones refer to.
        let fields = self.decoder.decode(&block.bytes);
        let fields = fields.map_err(|_| "its headers cannot be read")?;
        Ok((!block.promise).then_some(Found::Fields {
            stream: block.stream,
            fields,
            ends: block.ends,
        }))
    }

    fn payload_size(&self) -> usize {
        self.block.as_ref().map_or(0, |block| block.bytes.len())
    }
}

// === impl Frame ===

impl Frame {
    fn read(head: &[u8]) -> Self {
        let number = |bytes: &[u8]| {
            bytes
                .iter()
                .fold(0, |sum, byte| sum << 8 | u32::from(*byte))
        };
        let (kind, flags) = (head[3], head[4]);
        let left = number(&head[..3]) as usize;
        Self {
            kind,
            flags,
            stream: number(&head[5..9]) & 0x7fff_ffff,
            left,
            unpadded: kind == DATA && flags & PADDED != 0 && left > 0,
            padding: 0,
        }
    }

    fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Whether it is only understood once it is all there.
    fn is_whole(self) -> bool {
        matches!(self.kind, HEADERS | PUSH_PROMISE | CONTINUATION)
    }
}

// === heads

fn pseudo<'a>(fields: &'a [Field], name: &str) -> &'a [u8] {
    let found = fields.iter().find(|(known, _)| known == name.as_bytes());
    found.map_or(&[], |(_, value)| value)
}

fn text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.replace(
        |letter: char| letter.is_whitespace() || letter.is_control(),
        "%20",
    )
}

fn request_head(fields: &[Field]) -> (Vec<u8>, String, String) {
    let authority = pseudo(fields, ":authority");
    let method = text(pseudo(fields, ":method"));
    let path = pseudo(fields, ":path");
    let target = text(if path.is_empty() { authority } else { path });
    let mut head = format!("{method} {target} HTTP/2.0\r\n").into_bytes();
    if !authority.is_empty() {
        line(&mut head, b"host", authority);
    }
    head.extend(lines(fields));
    head.extend_from_slice(b"\r\n");
    (head, method, target)
}

fn response_head(fields: &[Field]) -> (Vec<u8>, u16, &'static str) {
    let code = std::str::from_utf8(pseudo(fields, ":status")).ok();
    let code = code.and_then(|code| code.parse().ok()).unwrap_or_default();
    let status = http::StatusCode::from_u16(code).ok();
    let reason = status
        .and_then(|status| status.canonical_reason())
        .unwrap_or_default();
    let mut head = format!("HTTP/2.0 {code} {reason}\r\n").into_bytes();
    head.extend(lines(fields));
    head.extend_from_slice(b"\r\n");
    (head, code, reason)
}

/// With the empty line behind them, as HTTP/1 has it.
fn trailers(fields: &[Field]) -> Vec<u8> {
    let mut text = lines(fields);
    text.extend_from_slice(b"\r\n");
    text
}

fn lines(fields: &[Field]) -> Vec<u8> {
    let mut text = Vec::new();
    for (name, value) in fields.iter().filter(|(name, _)| !name.starts_with(b":")) {
        line(&mut text, name, value);
    }
    text
}

/// No field may look like two.
fn line(to: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    let plain = |byte: &u8| {
        if matches!(byte, b'\r' | b'\n') {
            b' '
        } else {
            *byte
        }
    };
    to.extend(name.iter().map(plain));
    to.extend_from_slice(b": ");
    to.extend(value.iter().map(plain));
    to.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests;
