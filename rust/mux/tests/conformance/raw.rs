//! A peer that says exactly what a test tells it to.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use portway_mux::{Acceptor, Closed, Config, Session, Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

pub(crate) const RST: u8 = 0;
pub(crate) const DATA: u8 = 1;
pub(crate) const WNDINC: u8 = 2;
pub(crate) const GOAWAY: u8 = 3;
pub(crate) const FIN: u8 = 1;
pub(crate) const SYN: u8 = 2;
/// A stream type, as every stream begins.
pub(crate) const TYPE: &[u8] = &[0, 0, 0, 3];

/// A frame as it stands on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Frame {
    Frame {
        kind,
        flags,
        stream,
        payload: payload.to_vec(),
    }
}

impl Frame {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let length = self.payload.len() as u32;
        let mut bytes = length.to_be_bytes()[1..].to_vec();
        bytes.push(self.kind << 4 | self.flags);
        bytes.extend_from_slice(&self.stream.to_be_bytes());
        bytes.extend_from_slice(&self.payload);
        bytes
    }
}

/// A session under test and the wire it hangs on.
pub(crate) struct Bench {
    pub(crate) session: Session,
    pub(crate) acceptor: Acceptor,
    pub(crate) driver: JoinHandle<Arc<Closed>>,
    pub(crate) wire: DuplexStream,
}

/// Both roles open streams of one parity; ids of the peer are these.
pub(crate) fn agent() -> Bench {
    bench(Config::agent())
}

pub(crate) fn edge() -> Bench {
    bench(Config::edge())
}

pub(crate) fn bench(config: Config) -> Bench {
    bench_over(config, 1 << 20)
}

/// The wire holds so many bytes in each direction.
pub(crate) fn bench_over(config: Config, wire_bytes: usize) -> Bench {
    let (ours, wire) = tokio::io::duplex(wire_bytes);
    let (session, acceptor, driver) = portway_mux::session(ours, config);
    Bench {
        session,
        acceptor,
        driver: tokio::spawn(driver),
        wire,
    }
}

impl Bench {
    pub(crate) async fn send(&mut self, frame: &Frame) {
        self.raw(&frame.bytes()).await;
    }

    pub(crate) async fn raw(&mut self, bytes: &[u8]) {
        self.wire.write_all(bytes).await.unwrap();
    }

    /// The next frame of the session under test.
    pub(crate) async fn next(&mut self) -> Frame {
        timeout(Duration::from_secs(5), async {
            let mut header = [0; 8];
            self.wire.read_exact(&mut header).await.unwrap();
            let length = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
            let mut payload = vec![0; length];
            self.wire.read_exact(&mut payload).await.unwrap();
            Frame {
                kind: header[3] >> 4,
                flags: header[3] & 0x0f,
                stream: u32::from_be_bytes([header[4], header[5], header[6], header[7]]),
                payload,
            }
        })
        .await
        .expect("a frame within five seconds")
    }

    /// The next frame that is not credit.
    pub(crate) async fn next_but_credit(&mut self) -> Frame {
        loop {
            let frame = self.next().await;
            if frame.kind != WNDINC {
                return frame;
            }
        }
    }

    /// Streams opened here, which the peer has taken: their types are credited.
    pub(crate) async fn opened(&mut self, count: usize) -> Vec<Stream> {
        let mut streams = Vec::new();
        for _ in 0..count {
            let stream = self.session.try_open(Bytes::from_static(TYPE)).unwrap();
            assert_eq!(self.next().await.stream, stream.id());
            self.send(&frame(WNDINC, 0, stream.id(), &4u32.to_be_bytes()))
                .await;
            streams.push(stream);
        }
        streams
    }

    /// Writes until neither the wire nor the session takes more, and leaves it so.
    pub(crate) async fn clog(&mut self) -> Stream {
        let mut stream = self.opened(1).await.remove(0);
        let clogging = timeout(Duration::from_secs(1), async {
            loop {
                let chunk = Bytes::from(vec![0; 16_384]);
                stream.write_chunk(chunk).await.unwrap();
            }
        });
        clogging.await.expect_err("the wire is full");
        stream
    }

    /// Shows that nothing was sent: a stream is opened and its frame is the next one.
    pub(crate) async fn expect_silence(&mut self) {
        let probe = self
            .session
            .open(Bytes::from_static(b"\0\0\0\x7fprobe"))
            .await
            .unwrap();
        let frame = self.next().await;
        assert_eq!(
            frame.payload, b"\0\0\0\x7fprobe",
            "something was sent: {frame:?}"
        );
        std::mem::forget(probe);
    }

    /// A stream of the peer, behind its type.
    pub(crate) async fn accepted(&mut self, id: u32, first: &[u8]) -> Stream {
        let payload = [TYPE, first].concat();
        self.send(&frame(DATA, SYN, id, &payload)).await;
        let mut stream = self.acceptor.accept().await.unwrap();
        assert_eq!(stream.id(), id);
        assert_eq!(stream.read_type().await.unwrap(), Some(3));
        stream
    }

    /// The frame that ends a session, and the end of the connection right behind it.
    pub(crate) async fn expect_goaway(&mut self, code: u32) -> Frame {
        let frame = self.next_but_credit().await;
        assert_eq!(
            (frame.kind, frame.flags, frame.stream),
            (GOAWAY, 0, 0),
            "{frame:?}"
        );
        assert_eq!(frame.payload[4..8], code.to_be_bytes(), "{frame:?}");
        let mut rest = Vec::new();
        self.wire.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"", "GOAWAY is the last frame");
        frame
    }
}
