//! Interface of the multiplexer; bodies follow.
#![allow(clippy::todo, unused_variables, clippy::unused_async, clippy::needless_pass_by_value)]
use std::{
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{Closed, Config, ErrorCode, OpenError, Peer};

/// Counters of one session since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    pub opened_here: u64,
    pub opened_by_peer: u64,
    pub refused: u64,
    pub resets_sent: u64,
    pub resets_received: u64,
    pub payload_sent: u64,
    pub payload_received: u64,
    pub frames_sent: u64,
    pub frames_received: u64,
    pub frames_skipped: u64,
}

/// Runs a session over `io`.
pub fn session<T>(io: T, config: Config) -> (Session, Acceptor, Driver<T>)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    todo!()
}

/// Owns the transport.
pub struct Driver<T> {
    io: T,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Future for Driver<T> {
    type Output = Arc<Closed>;
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Arc<Closed>> {
        todo!()
    }
}

/// A handle of a session.
#[derive(Clone, Debug)]
pub struct Session;

impl Session {
    pub fn try_open(&self, first: Bytes) -> Result<Stream, OpenError> {
        todo!()
    }
    pub async fn open(&self, first: Bytes) -> Result<Stream, OpenError> {
        todo!()
    }
    pub fn set_peer(&self, peer: Peer) {
        todo!()
    }
    /// A measured round trip (a heartbeat's latency), for the growth of receive windows.
    pub fn set_rtt(&self, rtt: Duration) {
        todo!()
    }
    pub fn close(&self, code: ErrorCode, debug: &str) {
        todo!()
    }
    pub async fn closed(&self) -> Arc<Closed> {
        todo!()
    }
    pub fn is_closed(&self) -> bool {
        todo!()
    }
    pub fn open_streams(&self) -> usize {
        todo!()
    }
    pub fn stats(&self) -> Stats {
        todo!()
    }
}

/// Streams that the peer opens.
#[derive(Debug)]
pub struct Acceptor;

impl Acceptor {
    pub async fn accept(&mut self) -> Option<Stream> {
        todo!()
    }
}

macro_rules! read_methods {
    () => {
        pub async fn read_type(&mut self) -> io::Result<Option<u32>> {
            todo!()
        }
        pub fn poll_read_chunk(
            &mut self,
            cx: &mut Context<'_>,
        ) -> Poll<io::Result<Option<Bytes>>> {
            todo!()
        }
        pub async fn read_chunk(&mut self) -> io::Result<Option<Bytes>> {
            todo!()
        }
    };
}
macro_rules! write_methods {
    () => {
        pub fn poll_write_chunk(
            &mut self,
            cx: &mut Context<'_>,
            chunk: &mut Bytes,
        ) -> Poll<io::Result<()>> {
            todo!()
        }
        pub async fn write_chunk(&mut self, chunk: Bytes) -> io::Result<()> {
            todo!()
        }
        /// Half-close: FIN after what was written.
        pub fn finish(&mut self) {
            todo!()
        }
    };
}
macro_rules! both_methods {
    () => {
        pub fn id(&self) -> u32 {
            todo!()
        }
        /// Resolves when the peer reset the stream or the session ended, not on FIN.
        pub async fn peer_gone(&self) {
            todo!()
        }
        pub fn poll_peer_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
            todo!()
        }
    };
}

/// One stream.
#[derive(Debug)]
pub struct Stream;
impl Stream {
    both_methods!();
    read_methods!();
    write_methods!();
    /// FIN then RST.
    pub fn reset(self, code: ErrorCode) {
        todo!()
    }
    pub fn split(self) -> (ReadHalf, WriteHalf) {
        todo!()
    }
}

/// The reading half.
#[derive(Debug)]
pub struct ReadHalf;
impl ReadHalf {
    both_methods!();
    read_methods!();
}

/// The writing half; dropping it sends FIN.
#[derive(Debug)]
pub struct WriteHalf;
impl WriteHalf {
    both_methods!();
    write_methods!();
    /// FIN then RST: kills both directions.
    pub fn reset(self, code: ErrorCode) {
        todo!()
    }
}

macro_rules! read_io {
    ($t:ty) => {
        impl AsyncRead for $t {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                todo!()
            }
        }
    };
}
macro_rules! write_io {
    ($t:ty) => {
        impl AsyncWrite for $t {
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &[u8],
            ) -> Poll<io::Result<usize>> {
                todo!()
            }
            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                todo!()
            }
            fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                todo!()
            }
        }
    };
}
read_io!(Stream);
read_io!(ReadHalf);
write_io!(Stream);
write_io!(WriteHalf);
