use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use portway_mux::copy::{self, Joint};
use portway_mux::{ErrorCode, Peer, StreamReset};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};

use crate::raw::{DATA, FIN, RST, SYN, TYPE, WNDINC, agent, edge, frame};

#[tokio::test]
async fn m15_a_stream_that_ends_before_its_type() {
    for length in 0..4 {
        let mut bench = agent();
        bench.send(&frame(DATA, SYN, 2, &TYPE[..length])).await;
        bench.send(&frame(DATA, FIN, 2, b"")).await;
        let mut other = bench.accepted(4, b"alive").await;
        assert_eq!(other.read_chunk().await.unwrap().unwrap(), "alive");
        // Its entry goes with our answer.
        while bench.session.open_streams() > 1 {
            bench.next().await;
        }
    }
}

#[tokio::test]
async fn m24_what_was_said_whole_is_heard_though_the_stream_was_given_up_behind_it() {
    let mut bench = agent();
    // As an edge sends a command: all of it in one read.
    let said = [
        frame(DATA, SYN, 2, &[TYPE, b"stop"].concat()),
        frame(DATA, FIN, 2, b""),
        frame(RST, 0, 2, &6u32.to_be_bytes()),
    ];
    bench.raw(&said.map(|frame| frame.bytes()).concat()).await;
    let mut stream = bench.acceptor.accept().await.unwrap();
    stream.read_type().await.unwrap();
    assert_eq!(stream.read_chunk().await.unwrap().unwrap(), "stop");
    let error = stream.read_chunk().await.unwrap_err();
    assert_eq!(
        StreamReset::code_of(&error),
        Some(ErrorCode::STREAM_CANCELLED)
    );
    drop(stream);
    // Without the FIN there may have been more, and nothing is made of a part.
    let said = [
        frame(DATA, SYN, 4, &[TYPE, b"st"].concat()),
        frame(RST, 0, 4, &6u32.to_be_bytes()),
    ];
    bench.raw(&said.map(|frame| frame.bytes()).concat()).await;
    let mut other = bench.accepted(6, b"alive").await;
    assert_eq!(other.read_chunk().await.unwrap().unwrap(), "alive");
    assert_eq!(bench.session.open_streams(), 1);
}

#[tokio::test]
async fn m16_syn_and_fin_in_one_frame() {
    let mut bench = agent();
    bench
        .send(&frame(DATA, SYN | FIN, 2, &[TYPE, b"x"].concat()))
        .await;
    let mut stream = bench.acceptor.accept().await.unwrap();
    stream.read_type().await.unwrap();
    assert_eq!(stream.read_chunk().await.unwrap().unwrap(), "x");
    assert_eq!(stream.read_chunk().await.unwrap(), None);
    // Ours are two frames, however quickly the end follows.
    let mut ours = bench.session.open(Bytes::from_static(TYPE)).await.unwrap();
    ours.finish();
    let first = bench.next_but_credit().await;
    assert_eq!((first.flags, first.payload.len()), (SYN, 4));
    assert_eq!(bench.next_but_credit().await.flags, FIN);
}

#[tokio::test]
async fn m17_half_close_each_way_and_the_entry_is_freed() {
    let mut bench = agent();
    let mut stream = bench.accepted(2, b"").await;
    bench.send(&frame(DATA, FIN, 2, b"")).await;
    assert_eq!(stream.read_chunk().await.unwrap(), None);
    stream
        .write_chunk(Bytes::from_static(b"still here"))
        .await
        .unwrap();
    assert_eq!(bench.next_but_credit().await.payload, b"still here");
    stream.finish();
    assert_eq!(bench.next_but_credit().await, frame(DATA, FIN, 2, b""));
    assert_eq!(
        stream
            .write_chunk(Bytes::from_static(b"x"))
            .await
            .unwrap_err()
            .kind(),
        std::io::ErrorKind::BrokenPipe
    );
    drop(stream);
    assert_eq!(bench.session.open_streams(), 0);
    // The other way about.
    let mut ours = bench.session.open(Bytes::from_static(TYPE)).await.unwrap();
    ours.finish();
    let id = bench.next_but_credit().await.stream;
    assert_eq!(bench.next_but_credit().await.flags, FIN);
    bench.send(&frame(DATA, 0, id, b"answer")).await;
    assert_eq!(ours.read_chunk().await.unwrap().unwrap(), "answer");
}

#[tokio::test]
async fn m18_fin_with_payload_delivers_it() {
    let mut bench = agent();
    let mut stream = bench.accepted(2, b"").await;
    bench.send(&frame(DATA, FIN, 2, b"last")).await;
    assert_eq!(stream.read_chunk().await.unwrap().unwrap(), "last");
    assert_eq!(stream.read_chunk().await.unwrap(), None);
}

#[tokio::test]
async fn m19_data_behind_fin() {
    let mut bench = agent();
    let mut stream = bench.accepted(2, b"").await;
    bench.send(&frame(DATA, FIN, 2, b"")).await;
    assert_eq!(stream.read_chunk().await.unwrap(), None);
    bench.send(&frame(DATA, 0, 2, b"late")).await;
    let answer = loop {
        let next = bench.next_but_credit().await;
        if next.kind == RST {
            break next;
        }
    };
    assert_eq!(answer.payload, 4u32.to_be_bytes());
}

#[tokio::test]
async fn m20_frames_of_unknown_streams() {
    let mut bench = agent();
    bench.send(&frame(DATA, FIN, 40, b"")).await;
    bench.send(&frame(DATA, 0, 40, b"")).await;
    bench.send(&frame(WNDINC, 0, 40, &1u32.to_be_bytes())).await;
    bench.send(&frame(RST, 0, 40, &1u32.to_be_bytes())).await;
    bench.expect_silence().await;
    for _ in 0..10 {
        bench.send(&frame(DATA, 0, 40, b"who?")).await;
    }
    assert_eq!(bench.next().await, frame(RST, 0, 40, &4u32.to_be_bytes()));
    // A burst is answered once.
    bench.expect_silence().await;
}

#[tokio::test]
async fn m21_a_dropped_stream_ends_and_late_data_is_refused() {
    let mut bench = agent();
    let stream = bench.accepted(2, b"unread").await;
    drop(stream);
    assert_eq!(bench.next_but_credit().await, frame(DATA, FIN, 2, b""));
    bench.send(&frame(DATA, 0, 2, b"late")).await;
    assert_eq!(
        bench.next_but_credit().await,
        frame(RST, 0, 2, &4u32.to_be_bytes())
    );
}

#[tokio::test]
async fn m22_m23_a_reset_wakes_everybody_whatever_its_code() {
    for code in [6u32, 0] {
        let mut bench = agent();
        let stream = bench.accepted(2, b"").await;
        let (mut reader, mut writer) = stream.split();
        let reading = tokio::spawn(async move { reader.read_chunk().await });
        let writing = tokio::spawn(async move {
            loop {
                if let Err(error) = writer.write_chunk(Bytes::from(vec![0; 65_536])).await {
                    return error;
                }
            }
        });
        // All credit is used up before the reset comes.
        let mut received = 0;
        while received < 262_144 {
            received += bench.next_but_credit().await.payload.len();
        }
        bench.send(&frame(RST, 0, 2, &code.to_be_bytes())).await;
        for error in [reading.await.unwrap().unwrap_err(), writing.await.unwrap()] {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
            assert_eq!(StreamReset::code_of(&error), Some(ErrorCode(code)));
        }
        assert_eq!(bench.session.open_streams(), 0);
    }
}

#[tokio::test]
async fn m22_a_reset_closes_the_connection_that_is_joined_to_the_stream() {
    let mut bench = agent();
    let stream = bench.accepted(2, b"").await;
    let (upstream, mut service) = tokio::io::duplex(64);
    let joint = Joint {
        half_close: true,
        idle: None,
    };
    let joined = tokio::spawn(copy::join(upstream, stream, joint));
    bench.send(&frame(RST, 0, 2, &6u32.to_be_bytes())).await;
    let mut rest = Vec::new();
    service.read_to_end(&mut rest).await.unwrap();
    assert!(service.write_all(b"x").await.is_err(), "both ways");
    let error = joined.await.unwrap().error.unwrap();
    assert_eq!(
        StreamReset::code_of(&error),
        Some(ErrorCode::STREAM_CANCELLED)
    );
    assert_eq!(bench.session.open_streams(), 0);
}

#[tokio::test]
async fn m24_an_abort_is_fin_and_then_rst() {
    let mut bench = edge();
    let stream = bench.session.open(Bytes::from_static(TYPE)).await.unwrap();
    bench.next().await;
    stream.reset(ErrorCode::STREAM_CANCELLED);
    assert_eq!(bench.next().await, frame(DATA, FIN, 2, b""));
    assert_eq!(bench.next().await, frame(RST, 0, 2, &6u32.to_be_bytes()));
    assert_eq!(bench.session.open_streams(), 0);
}

/// An SDK made in Rust whose writer waits for credit learns of an RST only when some comes.
#[tokio::test]
async fn p103_credit_behind_the_reset_wakes_writers_that_wait_for_it() {
    for peer in [Peer::RUST_SDK, Peer::GO_SDK] {
        let mut bench = edge();
        bench.session.set_peer(peer);
        let stream = bench.opened(1).await.remove(0);
        stream.reset(ErrorCode::STREAM_CANCELLED);
        assert_eq!(bench.next().await, frame(DATA, FIN, 2, b""));
        assert_eq!(bench.next().await.kind, RST);
        if peer.clamps_credit {
            assert_eq!(bench.next().await, frame(WNDINC, 0, 2, &1u32.to_be_bytes()));
        }
        bench.expect_silence().await;
    }
}

#[tokio::test]
async fn m24_p39_a_reset_behind_fin_leaves_what_came_before() {
    let mut bench = edge();
    let mut stream = bench.session.open(Bytes::from_static(TYPE)).await.unwrap();
    let id = bench.next().await.stream;
    bench.send(&frame(DATA, 0, id, b"whole response")).await;
    bench.send(&frame(DATA, FIN, id, b"")).await;
    bench.send(&frame(RST, 0, id, &4u32.to_be_bytes())).await;
    stream.peer_gone().await;
    assert_eq!(
        stream.read_chunk().await.unwrap().unwrap(),
        "whole response"
    );
    assert_eq!(stream.read_chunk().await.unwrap(), None);
}

#[tokio::test]
async fn m24_p103_a_stream_that_was_given_up_does_not_look_complete() {
    let mut bench = agent();
    let mut stream = bench.accepted(2, b"half of it").await;
    bench.send(&frame(DATA, FIN, 2, b"")).await;
    bench.send(&frame(RST, 0, 2, &6u32.to_be_bytes())).await;
    stream.peer_gone().await;
    // Read together with the type, before it was given up.
    assert_eq!(stream.read_chunk().await.unwrap().unwrap(), "half of it");
    let error = stream.read_chunk().await.unwrap_err();
    assert_eq!(
        StreamReset::code_of(&error),
        Some(ErrorCode::STREAM_CANCELLED)
    );
}

#[tokio::test]
async fn m21_a_sender_without_credit_learns_that_nobody_reads() {
    let mut bench = agent();
    let stream = bench.accepted(2, b"").await;
    // All of the window, the type's four bytes included.
    bench.send(&frame(DATA, 0, 2, &vec![0; 262_144])).await;
    let mut other = bench.accepted(4, b"there").await;
    assert_eq!(other.read_chunk().await.unwrap().unwrap(), "there");
    drop(stream);
    assert_eq!(bench.next_but_credit().await, frame(DATA, FIN, 2, b""));
    assert_eq!(
        bench.next_but_credit().await,
        frame(RST, 0, 2, &4u32.to_be_bytes())
    );
}

#[tokio::test]
async fn m21_p98_an_early_answer_is_delivered_though_the_upload_goes_on() {
    let mut bench = agent();
    let stream = bench.accepted(2, b"").await;
    let (upstream, mut service) = tokio::io::duplex(64);
    let joint = Joint {
        half_close: true,
        idle: None,
    };
    let joined = tokio::spawn(copy::join(upstream, stream, joint));
    // Says all, and is gone: it took not a byte of the upload.
    let answer = vec![7; 300_000];
    let answering = tokio::spawn(async move {
        service.write_all(&answer).await.unwrap();
    });
    let mut received = 0;
    while received < 262_144 {
        received += bench.next_but_credit().await.payload.len();
    }
    // Credit for the rest comes only after the upload has failed.
    answering.await.unwrap();
    bench.send(&frame(DATA, 0, 2, b"upload")).await;
    let copied = joined.await.unwrap();
    assert_eq!((copied.sent, copied.received), (300_000, 0));
    bench
        .send(&frame(WNDINC, 0, 2, &100_000u32.to_be_bytes()))
        .await;
    while received < 300_000 {
        let next = bench.next_but_credit().await;
        assert_eq!((next.kind, next.flags), (DATA, 0), "{next:?}");
        received += next.payload.len();
    }
    assert_eq!(bench.next_but_credit().await, frame(DATA, FIN, 2, b""));
    bench.send(&frame(DATA, 0, 2, b"upload")).await;
    assert_eq!(
        bench.next_but_credit().await,
        frame(RST, 0, 2, &4u32.to_be_bytes())
    );
}

#[tokio::test(start_paused = true)]
async fn m22_a_joined_stream_that_is_idle_too_long_is_told_even_behind_its_fin() {
    let mut bench = agent();
    let stream = bench.accepted(2, b"").await;
    let (upstream, mut service) = tokio::io::duplex(64);
    let joint = Joint {
        half_close: true,
        idle: Some(Duration::from_secs(30)),
    };
    let joined = tokio::spawn(copy::join(upstream, stream, joint));
    service.shutdown().await.unwrap();
    assert_eq!(bench.next_but_credit().await, frame(DATA, FIN, 2, b""));
    let error = joined.await.unwrap().error.unwrap();
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    assert_eq!(
        bench.next_but_credit().await,
        frame(RST, 0, 2, &4u32.to_be_bytes())
    );
}

/// TLS whose other side has said something and then just closed.
struct Curt(&'static [u8]);

impl AsyncRead for Curt {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let words = std::mem::take(&mut self.0);
        if words.is_empty() {
            return Poll::Ready(Err(std::io::ErrorKind::UnexpectedEof.into()));
        }
        buf.put_slice(words);
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn the_last_words_of_a_joined_connection_that_just_closes_are_sent() {
    let mut bench = agent();
    let stream = bench.accepted(2, b"").await;
    let upstream = tokio::io::join(Curt(b"last words"), tokio::io::sink());
    let joint = Joint {
        half_close: true,
        idle: None,
    };
    let joined = tokio::spawn(copy::join(upstream, stream, joint));
    let words = frame(DATA, 0, 2, b"last words");
    assert_eq!(bench.next_but_credit().await, words);
    assert_eq!(bench.next_but_credit().await, frame(DATA, FIN, 2, b""));
    bench.send(&frame(DATA, FIN, 2, b"")).await;
    assert!(joined.await.unwrap().error.is_none());
}

#[tokio::test]
async fn m41_a_thousand_streams_leave_nothing() {
    let mut bench = agent();
    for turn in 0..1000u32 {
        let id = 2 + 2 * turn;
        let mut stream = bench.accepted(id, b"").await;
        bench.send(&frame(DATA, FIN, id, b"")).await;
        assert_eq!(stream.read_chunk().await.unwrap(), None);
        drop(stream);
        assert_eq!(bench.next_but_credit().await, frame(DATA, FIN, id, b""));
    }
    assert_eq!(bench.session.open_streams(), 0);
    assert!(bench.session.at_rest(), "nothing is left in any list");
}
