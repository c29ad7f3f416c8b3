//! Frames in: taken apart however they are cut, checked, handed to their streams.

use bytes::{Buf, Bytes};
use tokio::time::Instant;

use super::{Core, MAX_DEBUG, TYPE_LEN};
use crate::error::{CloseReason, ErrorCode};
use crate::frame::{FIN, HEADER_LEN, Header, Kind, MAX_31, SYN};
use crate::stream::{Entry, Fin, Recv};
use crate::window::RecvWindow;

/// Payloads below this are copied, so that a slow reader does not pin a read buffer.
const COPY_BELOW: usize = 4096;
/// Streams whose late data was answered once already.
const REMEMBERED: usize = 32;

/// Where in a frame the input stands.
#[derive(Debug)]
pub(super) enum Parse {
    Header {
        bytes: [u8; HEADER_LEN],
        have: usize,
    },
    Control {
        header: Header,
        bytes: [u8; 8],
        have: usize,
    },
    Data {
        stream: u32,
        left: usize,
        fin: bool,
    },
    Skip {
        left: usize,
    },
}

// === impl Core ===

impl Core {
    /// Takes bytes from the transport, cut anywhere.
    pub fn recv(&mut self, mut input: Bytes) {
        while !input.is_empty() && !self.closing() {
            match &mut self.parse {
                Parse::Header { bytes, have } => {
                    if take(&mut input, bytes, have, HEADER_LEN) {
                        let header = Header::decode(*bytes);
                        self.parse = Parse::start();
                        self.recv_header(header);
                    }
                }
                Parse::Control {
                    header,
                    bytes,
                    have,
                } => {
                    let header = *header;
                    if take(&mut input, bytes, have, (header.length as usize).min(8)) {
                        let bytes = *bytes;
                        self.parse = Parse::start();
                        self.recv_control(header, bytes, &input);
                    }
                }
                Parse::Data { stream, left, fin } => {
                    let (stream, fin) = (*stream, *fin);
                    let chunk = input.split_to(input.len().min(*left));
                    *left -= chunk.len();
                    let ends = *left == 0;
                    if ends {
                        self.parse = Parse::start();
                    }
                    self.recv_data(stream, chunk);
                    if ends {
                        self.recv_end_of_frame(stream, fin);
                    }
                }
                Parse::Skip { left } => {
                    let skipped = input.len().min(*left);
                    input.advance(skipped);
                    *left -= skipped;
                    if *left == 0 {
                        self.parse = Parse::start();
                    }
                }
            }
        }
    }

    fn recv_header(&mut self, header: Header) {
        match (header.kind, header.stream, header.length) {
            (Kind::Unknown(_), ..) => {
                self.stats.unknown_frames += 1;
                self.skip(header.length);
            }
            (Kind::GoAway, stream, length) if stream != 0 || length < 8 => {
                self.violation(ErrorCode::FRAME_SIZE, "malformed GOAWAY");
            }
            (Kind::GoAway, ..) => self.parse = Parse::control(header),
            (_, 0, _) => self.violation(ErrorCode::PROTOCOL, "frame on stream 0"),
            (Kind::Data, ..) => self.recv_data_header(header),
            (Kind::Rst | Kind::WndInc, _, 4) => self.parse = Parse::control(header),
            (Kind::Rst | Kind::WndInc, ..) => {
                self.violation(ErrorCode::FRAME_SIZE, "RST and WNDINC carry four bytes");
            }
        }
    }

    fn recv_control(&mut self, header: Header, bytes: [u8; 8], rest: &[u8]) {
        // Read as one number: the first word is its upper half.
        let both = u64::from_be_bytes(bytes);
        let (first, second) = ((both >> 32) as u32, both as u32);
        match header.kind {
            Kind::WndInc => self.recv_increment(header.stream, first & MAX_31),
            Kind::Rst => self.recv_rst(header.stream, ErrorCode(first)),
            _ => {
                // Nothing behind it is looked at: some peers write a wrong length here.
                let text = &rest[..rest.len().min(header.length as usize - 8).min(MAX_DEBUG)];
                let text = String::from_utf8_lossy(text).into_owned();
                self.close(ErrorCode(second), CloseReason::GoAway, &text);
            }
        }
    }

    fn recv_data_header(&mut self, header: Header) {
        let Header {
            stream,
            length,
            flags,
            ..
        } = header;
        if flags & SYN != 0 && !self.recv_syn(stream) {
            return self.skip(length);
        }
        let fin = flags & FIN != 0;
        let Some(entry) = self.streams.get_mut(&stream) else {
            if length > 0 {
                self.late_data(stream);
            }
            return self.skip(length);
        };
        if entry.reset.is_some() {
            return self.skip(length);
        }
        let refused = if entry.recv.fin {
            (length > 0).then_some(ErrorCode::STREAM_CLOSED)
        } else if entry.recv.window.receive(length) {
            None
        } else {
            Some(ErrorCode::FLOW_CONTROL)
        };
        if let Some(code) = refused {
            self.push_rst(stream, code, false);
            self.kill(stream, code);
            return self.skip(length);
        }
        self.seen(stream);
        if std::mem::replace(&mut self.last_data, stream) != stream {
            self.growth.changed = Some(Instant::now());
        }
        if length == 0 {
            self.recv_end_of_frame(stream, fin);
        } else {
            self.parse = Parse::Data {
                stream,
                left: length as usize,
                fin,
            };
        }
    }

    /// Whether the stream was opened.
    fn recv_syn(&mut self, stream: u32) -> bool {
        if !self.config.role.peer_may_open(stream) {
            self.violation(ErrorCode::PROTOCOL, "SYN with an id of the other side");
            return false;
        }
        if self.streams.contains_key(&stream) {
            self.violation(ErrorCode::PROTOCOL, "SYN on an open stream");
            return false;
        }
        self.last_peer_id = self.last_peer_id.max(stream);
        let refusal = if self.streams.len() >= self.config.max_streams {
            Some(ErrorCode::STREAM_REFUSED)
        } else if self.waiting >= self.config.accept_backlog {
            Some(ErrorCode::ACCEPT_QUEUE_FULL)
        } else {
            None
        };
        if let Some(code) = refusal {
            self.stats.refused += 1;
            if self.owe_rst(stream, code, true) {
                self.remember_late(stream);
            } else {
                // An opener that is not told would wait for ever.
                let text = "too many streams had to be refused";
                self.violation(ErrorCode::ENHANCE_YOUR_CALM, text);
            }
            return false;
        }
        self.late.retain(|late| *late != stream);
        self.streams.insert(
            stream,
            Entry {
                waiting: true,
                recv: Recv {
                    window: RecvWindow::of_peer(),
                    ..Recv::default()
                },
                ..Entry::default()
            },
        );
        self.waiting += 1;
        true
    }

    fn recv_data(&mut self, stream: u32, chunk: Bytes) {
        self.stats.bytes_in += chunk.len() as u64;
        let Some(entry) = self.streams.get_mut(&stream) else {
            return;
        };
        if entry.reset.is_some() {
            return;
        }
        if entry.recv.discard {
            return self.give_back(stream, chunk.len());
        }
        let recv = &mut entry.recv;
        recv.unread += chunk.len();
        recv.queue.push_back(if chunk.len() < COPY_BELOW {
            Bytes::copy_from_slice(&chunk)
        } else {
            chunk
        });
        self.wakes.task(recv.waker.take());
        // A stream can be accepted once its type is there.
        if entry.waiting && !entry.announced && entry.recv.unread >= TYPE_LEN {
            entry.announced = true;
            self.accept.push_back(stream);
            self.wakes.task(self.accept_waker.take());
        }
    }

    fn recv_end_of_frame(&mut self, stream: u32, fin: bool) {
        let Some(entry) = self.streams.get_mut(&stream).filter(|_| fin) else {
            return;
        };
        entry.recv.fin = true;
        self.wakes.task(entry.recv.waker.take());
        if entry.waiting && entry.recv.unread < TYPE_LEN {
            // It ended before it said what it was.
            self.waiting -= 1;
            entry.waiting = false;
            entry.send.fin = Fin::Queued;
            self.schedule(stream);
        }
    }

    fn recv_increment(&mut self, stream: u32, increment: u32) {
        self.seen(stream);
        if let Some(entry) = self.streams.get_mut(&stream) {
            entry.send.credit = entry.send.credit.saturating_add(u64::from(increment));
            self.schedule(stream);
        }
    }

    /// Code 0 is an abort like any other.
    fn recv_rst(&mut self, stream: u32, code: ErrorCode) {
        if self
            .streams
            .get(&stream)
            .is_some_and(|entry| entry.reset.is_none())
        {
            self.kill(stream, code);
        }
    }

    fn late_data(&mut self, stream: u32) {
        // Where too many answers wait already, a later frame gets one: that much data can be under
        // way to streams which were given up here all at once.
        if !self.late.contains(&stream) && self.owe_rst(stream, ErrorCode::STREAM_CLOSED, false) {
            self.remember_late(stream);
            self.stats.late_data += 1;
        }
    }

    fn remember_late(&mut self, stream: u32) {
        if self.late.len() == REMEMBERED {
            self.late.pop_front();
        }
        self.late.push_back(stream);
    }

    fn skip(&mut self, length: u32) {
        if length > 0 {
            self.parse = Parse::Skip {
                left: length as usize,
            };
        }
    }

    fn violation(&mut self, code: ErrorCode, text: &str) {
        self.close(code, CloseReason::Protocol, text);
    }
}

// === impl Parse ===

impl Parse {
    pub(super) const fn start() -> Self {
        Self::Header {
            bytes: [0; HEADER_LEN],
            have: 0,
        }
    }

    const fn control(header: Header) -> Self {
        Self::Control {
            header,
            bytes: [0; 8],
            have: 0,
        }
    }
}

/// Moves input into `bytes` until `want` are there; whether they are.
fn take(input: &mut Bytes, bytes: &mut [u8; 8], have: &mut usize, want: usize) -> bool {
    let length = input.len().min(want - *have);
    input.copy_to_slice(&mut bytes[*have..*have + length]);
    *have += length;
    *have == want
}
