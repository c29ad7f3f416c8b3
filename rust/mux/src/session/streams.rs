//! What the owners of streams do with them, and how a stream ends.

use std::collections::HashMap;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use tokio::time::Instant;

use super::{Core, TYPE_LEN};
use crate::chunks::Chunks;
use crate::error::{ErrorCode, OpenError};
use crate::frame::MAX_31;
use crate::stream::{Entry, Fin};

/// How many streams that are gone may stand in a list beside as many as there are.
const SLACK: usize = 64;

/// Why a stream cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    Session,
    Reset(ErrorCode),
    /// Written after its FIN.
    Finished,
}

// === impl Core ===

impl Core {
    /// Opens a stream whose first frame carries all of `first`: four type bytes and more.
    pub fn open(&mut self, first: Bytes) -> Result<u32, OpenError> {
        if first.len() < TYPE_LEN {
            return Err(OpenError::TooShort);
        }
        if self.closing() {
            return Err(OpenError::Closed);
        }
        if self.next_id > MAX_31 {
            return Err(OpenError::Exhausted);
        }
        let within = self.peer.forgets_within;
        while self.ended.front().is_some_and(|at| at.elapsed() >= within) {
            self.ended.pop_front();
        }
        let limit = self.config.max_streams.min(self.peer.max_streams);
        let taken = self.streams.len() + self.ended.len();
        if taken >= limit || self.unaccepted >= self.peer.max_unaccepted {
            return Err(OpenError::Busy);
        }
        let id = self.next_id;
        self.next_id += 2;
        let mut entry = Entry {
            handles: 2,
            unaccepted: true,
            ..Entry::default()
        };
        entry.send.syn = true;
        entry.send.queued = first.len();
        entry.send.queue.push_back(first);
        self.streams.insert(id, entry);
        self.unaccepted += 1;
        self.stats.opened += 1;
        self.schedule(id);
        Ok(id)
    }

    /// The next stream of the peer whose type is known.
    pub fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Option<u32>> {
        while let Some(id) = self.accept.pop_front() {
            let Some(entry) = self.streams.get_mut(&id) else {
                continue;
            };
            entry.waiting = false;
            entry.announced = false;
            entry.handles = 2;
            self.waiting -= 1;
            self.stats.accepted += 1;
            return Poll::Ready(Some(id));
        }
        if self.closing() {
            return Poll::Ready(None);
        }
        register(&mut self.accept_waker, cx);
        Poll::Pending
    }

    /// The next bytes the peer sent; empty at its end.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, id: u32) -> Poll<Result<Bytes, Gone>> {
        let Some(entry) = self.streams.get_mut(&id) else {
            return Poll::Ready(Err(Gone::Session));
        };
        let Some(chunk) = entry.recv.queue.pop_front() else {
            if let Some(code) = entry.reset.filter(|_| !entry.whole()) {
                return Poll::Ready(Err(Gone::Reset(code)));
            }
            if entry.recv.fin {
                return Poll::Ready(Ok(Bytes::new()));
            }
            register(&mut entry.recv.waker, cx);
            return Poll::Pending;
        };
        entry.recv.unread -= chunk.len();
        self.give_back(id, chunk.len());
        Poll::Ready(Ok(chunk))
    }

    /// Queues `chunk`, all of it, once less than the send buffer is queued.
    pub fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        id: u32,
        chunk: &mut Bytes,
    ) -> Poll<Result<(), Gone>> {
        match self.poll_writable(cx, id) {
            Poll::Ready(Ok(())) if !chunk.is_empty() => {}
            other => return other,
        }
        let Some(entry) = self.streams.get_mut(&id) else {
            return Poll::Ready(Err(Gone::Session));
        };
        entry.send.queued += chunk.len();
        entry.send.queue.push_back(std::mem::take(chunk));
        self.schedule(id);
        Poll::Ready(Ok(()))
    }

    /// Ready when [`poll_write`](Self::poll_write) would take a chunk.
    pub fn poll_writable(&mut self, cx: &mut Context<'_>, id: u32) -> Poll<Result<(), Gone>> {
        let Some(entry) = self.streams.get_mut(&id) else {
            return Poll::Ready(Err(Gone::Session));
        };
        if let Some(code) = entry.reset {
            return Poll::Ready(Err(Gone::Reset(code)));
        }
        if entry.send.fin != Fin::Open {
            return Poll::Ready(Err(Gone::Finished));
        }
        if entry.send.queued >= self.config.send_buffer {
            register(&mut entry.send.waker, cx);
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    /// When the peer will have forgotten the first of the streams that have ended, if any.
    pub(crate) fn next_forgotten(&self) -> Option<Instant> {
        let first = self.ended.front()?;
        Some(*first + self.peer.forgets_within)
    }

    /// FIN behind what is queued. Idempotent.
    pub fn finish(&mut self, id: u32) {
        if let Some(entry) = self.streams.get_mut(&id)
            && entry.send.fin == Fin::Open
        {
            entry.send.fin = Fin::Queued;
            self.schedule(id);
        }
    }

    /// Gives the stream up: FIN, then RST.
    pub fn reset(&mut self, id: u32, code: ErrorCode) {
        debug_assert_ne!(
            code,
            ErrorCode::NO_ERROR,
            "peers ignore an RST without a reason"
        );
        if let Some(entry) = self.streams.get(&id)
            && entry.reset.is_none()
        {
            let (unseen, fin_first) = (entry.send.syn, entry.send.fin != Fin::Sent);
            if !unseen {
                self.push_rst(id, code, fin_first);
            }
            self.kill(id, code);
        }
    }

    /// Lets go of a stream without telling the peer.
    pub(crate) fn abandon(&mut self, id: u32) {
        if let Some(entry) = self.streams.get_mut(&id) {
            entry.send.fin = Fin::Sent;
        }
    }

    /// The reader went away: what still comes is thrown away.
    pub fn drop_reader(&mut self, id: u32) {
        if let Some(entry) = self.streams.get_mut(&id) {
            entry.handles -= 1;
            entry.recv.discard = true;
            entry.recv.queue = Chunks::default();
            let unread = std::mem::take(&mut entry.recv.unread);
            if unread > 0 && entry.handles > 0 {
                self.give_back(id, unread);
            }
            self.forget_if_done(id);
        }
    }

    /// The writer went away: FIN behind what is queued.
    pub fn drop_writer(&mut self, id: u32) {
        self.finish(id);
        if let Some(entry) = self.streams.get_mut(&id) {
            entry.handles -= 1;
            self.forget_if_done(id);
        }
    }

    /// Ready once the stream was reset or the session ended.
    pub fn poll_gone(&mut self, cx: &mut Context<'_>, id: u32) -> Poll<()> {
        match self.streams.get_mut(&id) {
            Some(entry) if entry.reset.is_none() => {
                register(&mut entry.gone_waker, cx);
                Poll::Pending
            }
            _ => Poll::Ready(()),
        }
    }

    /// Ready once nothing of the stream is of use to anybody: it was given up, or the session ended.
    pub fn poll_given_up(&mut self, cx: &mut Context<'_>, id: u32) -> Poll<Gone> {
        match self.streams.get_mut(&id) {
            Some(entry) => match entry.reset {
                Some(ErrorCode::STREAM_CLOSED) => Poll::Pending,
                Some(code) => Poll::Ready(Gone::Reset(code)),
                None => {
                    register(&mut entry.gone_waker, cx);
                    Poll::Pending
                }
            },
            None => Poll::Ready(Gone::Session),
        }
    }

    pub(super) fn give_back(&mut self, id: u32, length: usize) {
        let Some(entry) = self.streams.get_mut(&id) else {
            return;
        };
        if entry.recv.fin || entry.reset.is_some() {
            return;
        }
        let recv = &mut entry.recv;
        let lot = recv
            .window
            .consume(length as u32, &mut self.growth, Instant::now);
        let Some(lot) = lot else {
            return;
        };
        let listed = recv.increment > 0;
        recv.increment += lot;
        if !listed {
            self.increments.push_back(id);
            // Streams that are gone stay in the list until their turn comes, but not without end.
            if self.increments.len() > 2 * self.streams.len() + SLACK {
                let streams = &self.streams;
                self.increments.retain(|id| streams.contains_key(id));
            }
            self.wake_driver();
        }
    }

    pub(super) fn schedule(&mut self, id: u32) {
        if let Some(entry) = self.streams.get_mut(&id)
            && !entry.send.scheduled
            && entry.sendable()
        {
            entry.send.scheduled = true;
            self.sched.push(id, entry.send.burst);
            if self.sched.len() > 2 * self.streams.len() + SLACK {
                let streams = &self.streams;
                self.sched.retain(|id| streams.contains_key(&id));
            }
            self.wake_driver();
        }
    }

    /// Both directions are dead, but for what came whole; readers and writers learn of it.
    pub(super) fn kill(&mut self, id: u32, code: ErrorCode) {
        let Some(entry) = self.streams.get_mut(&id) else {
            return;
        };
        entry.reset = Some(code);
        // A peer that has said all it wanted is heard, though not as one that ended in order.
        let heard = entry.recv.fin;
        if !heard {
            entry.recv.queue = Chunks::default();
            entry.recv.unread = 0;
        }
        entry.send.queue = Chunks::default();
        entry.send.queued = 0;
        self.wakes.task(entry.recv.waker.take());
        self.wakes.task(entry.send.waker.take());
        self.wakes.task(entry.gone_waker.take());
        self.accepted(id);
        if let Some(entry) = self.streams.get_mut(&id)
            && entry.waiting
            && !(heard && entry.announced)
        {
            // Nobody will ask for it.
            entry.waiting = false;
            self.waiting -= 1;
            if std::mem::take(&mut entry.announced) {
                self.accept.retain(|announced| *announced != id);
            }
        }
        self.forget_if_done(id);
    }

    pub(super) fn forget_if_done(&mut self, id: u32) {
        let Some(entry) = self.streams.get(&id).filter(|entry| entry.done()) else {
            return;
        };
        if entry.starves_peer() {
            self.push_rst(id, ErrorCode::STREAM_CLOSED, false);
            self.kill(id, ErrorCode::STREAM_CLOSED);
        } else {
            self.forget(id);
        }
    }

    fn forget(&mut self, id: u32) {
        self.accepted(id);
        if let Some(entry) = self.streams.remove(&id) {
            entry.recv.window.release(&mut self.growth);
            if !self.peer.forgets_within.is_zero() && !self.config.role.peer_may_open(id) {
                self.ended.push_back(Instant::now());
                // What is beyond the limit changes nothing.
                if self.ended.len() > self.peer.max_streams {
                    self.ended.pop_front();
                }
            }
            self.wakes.room = self.wakes.room.saturating_add(1);
            if self.streams.is_empty() {
                self.streams = HashMap::new();
                self.sched.shrink();
            }
        }
    }

    /// The peer has sent a frame for a stream that may have been opened here.
    pub(super) fn seen(&mut self, id: u32) {
        if let Some(entry) = self.streams.get_mut(&id)
            && let Some(sent) = entry.syn_sent.take()
        {
            self.growth.measured(sent.elapsed());
        }
        self.accepted(id);
    }

    /// The stream no longer counts among those the peer has not accepted.
    fn accepted(&mut self, id: u32) {
        if let Some(entry) = self.streams.get_mut(&id)
            && std::mem::take(&mut entry.unaccepted)
        {
            self.unaccepted -= 1;
            self.wakes.room = self.wakes.room.saturating_add(1);
        }
    }
}

fn register(slot: &mut Option<Waker>, cx: &Context<'_>) {
    match slot {
        Some(waker) => waker.clone_from(cx.waker()),
        none => *none = Some(cx.waker().clone()),
    }
}
