//! Frames out: credit and resets first, then data, stream by stream.

use tokio::time::Instant;

use super::{Core, Phase};
use crate::error::ErrorCode;
use crate::frame::{self, FIN, HEADER_LEN, Header, SYN};
use crate::outgoing::Outgoing;
use crate::stream::Fin;

/// Bytes handed to the transport at once: four full TLS records.
const OUT_BYTES: usize = 64 * 1024;

/// An RST to be sent, behind a FIN where none was sent before (wire-protocol §2.7).
#[derive(Debug)]
pub(super) struct Rst {
    stream: u32,
    code: ErrorCode,
    fin_first: bool,
    /// No entry stands for the stream: the peer alone decides how many of these there are.
    owed: bool,
}

// === impl Core ===

impl Core {
    /// Appends what is to be sent now, about [`OUT_BYTES`] at most. `true`: this was the last.
    pub fn fill(&mut self, out: &mut Outgoing) -> bool {
        if let Phase::Closing { closed, goaway } = &mut self.phase {
            if std::mem::take(goaway) {
                let frame =
                    frame::goaway(self.last_peer_id, closed.code.0, closed.debug.as_bytes());
                out.put(&frame);
            }
            return true;
        }
        while out.len() < OUT_BYTES
            && let Some(stream) = self.increments.pop_front()
        {
            let Some(entry) = self.streams.get_mut(&stream) else {
                continue;
            };
            if entry.handles == 0 && !entry.waiting && entry.send.queued == 0 {
                // Nobody reads it, and its FIN is next: more data would be answered with an RST.
                continue;
            }
            let increment = std::mem::take(&mut entry.recv.increment);
            if increment > 0 && entry.reset.is_none() && !entry.recv.fin {
                out.put(&frame::wndinc(stream, increment));
            }
        }
        while out.len() < OUT_BYTES
            && let Some(rst) = self.rsts.pop_front()
        {
            if rst.fin_first {
                out.put(&Header::data(rst.stream, FIN, 0).encode());
            }
            out.put(&frame::rst(rst.stream, rst.code.0));
            if self.peer.clamps_credit && !rst.owed {
                // A writer over there that waits for credit hears of the RST only when some comes.
                out.put(&frame::wndinc(rst.stream, 1));
            }
            if rst.owed {
                self.rsts_owed -= 1;
            } else if let Some(entry) = self.streams.get_mut(&rst.stream) {
                entry.rst_queued = false;
                self.forget_if_done(rst.stream);
            }
        }
        while out.len() < OUT_BYTES
            && let Some(stream) = self.sched.pop()
        {
            self.fill_stream(stream, out);
        }
        false
    }

    /// Whether [`fill`](Self::fill) would append anything.
    pub fn has_output(&self) -> bool {
        self.closing()
            || !self.sched.is_empty()
            || !self.rsts.is_empty()
            || !self.increments.is_empty()
    }

    fn fill_stream(&mut self, stream: u32, out: &mut Outgoing) {
        let Some(entry) = self.streams.get_mut(&stream) else {
            return;
        };
        entry.send.scheduled = false;
        if !entry.sendable() {
            return;
        }
        let send = &mut entry.send;
        if send.queued > 0 {
            // The first frame is not cut: its reader may block on a part of it.
            let first = if send.syn {
                send.queue.front().len()
            } else {
                0
            };
            let room = room(out.len(), self.config.send_frame)
                .max(first)
                .min(send.queued);
            let length = room.min(usize::try_from(send.credit).unwrap_or(usize::MAX));
            let flags = if std::mem::take(&mut send.syn) {
                entry.syn_sent = self.growth.enabled.then(Instant::now);
                SYN
            } else {
                0
            };
            out.put(&Header::data(stream, flags, length).encode());
            let mut left = length;
            while left > 0 {
                let chunk = send.queue.front();
                let part = chunk.len().min(left);
                if out.lends(part) {
                    out.put_chunk(send.queue.split_to(part));
                } else {
                    out.put(&chunk[..part]);
                    send.queue.advance(part);
                }
                left -= part;
            }
            send.credit -= length as u64;
            send.queued -= length;
            send.burst += length;
            self.stats.bytes_out += length as u64;
            if send.queued < self.config.send_buffer {
                self.wakes.task(send.waker.take());
            }
            if send.queued == 0 {
                send.burst /= 2;
            }
        } else {
            out.put(&Header::data(stream, FIN, 0).encode());
            send.fin = Fin::Sent;
        }
        if entry.sendable() {
            entry.send.scheduled = true;
            self.sched.push(stream, entry.send.burst);
        } else {
            self.forget_if_done(stream);
        }
    }

    /// Queues the RST of a stream in the table. Its entry stays there until the RST is sent, so
    /// that there are never more of these than streams may be open, whoever has them reset.
    pub(super) fn push_rst(&mut self, stream: u32, code: ErrorCode, fin_first: bool) {
        if let Some(entry) = self.streams.get_mut(&stream) {
            entry.rst_queued = true;
            self.rsts.push_back(Rst {
                stream,
                code,
                fin_first,
                owed: false,
            });
            self.wake_driver();
        }
    }

    /// Queues an RST for a stream without an entry; `false`: too many wait already.
    pub(super) fn owe_rst(&mut self, stream: u32, code: ErrorCode, fin_first: bool) -> bool {
        if self.rsts_owed >= self.config.max_pending_resets {
            return false;
        }
        self.rsts_owed += 1;
        self.rsts.push_back(Rst {
            stream,
            code,
            fin_first,
            owed: true,
        });
        self.wake_driver();
        true
    }
}

/// Payload bytes of the next frame, so that it ends where a multiple of `frame` does.
fn room(written: usize, frame: usize) -> usize {
    let left = frame - written % frame;
    // What is left is too little for a frame of its own.
    let left = if left < frame / 8 { frame } else { left };
    left - HEADER_LEN
}

#[cfg(test)]
mod tests {
    use super::room;

    #[test]
    fn frames_end_where_records_do() {
        for (written, payload) in [
            (0, 16_376),
            (16_384, 16_376),
            (12, 16_364),
            (16_384 + 12, 16_364),
            (16_380, 16_376),
        ] {
            assert_eq!(room(written, 16_384), payload, "behind {written} bytes");
        }
    }
}
