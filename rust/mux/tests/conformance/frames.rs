use bytes::Bytes;
use portway_mux::{CloseReason, ErrorCode};
use tokio::io::AsyncWriteExt;

use crate::raw::{DATA, FIN, RST, SYN, TYPE, WNDINC, agent, edge, frame};

#[tokio::test]
async fn m08_the_worked_examples_byte_for_byte() {
    let mut bench = agent();
    let stream = bench
        .session
        .open(Bytes::from_static(&[0xff; 4]))
        .await
        .unwrap();
    assert_eq!(
        bench.next().await.bytes(),
        b"\0\0\x04\x12\0\0\0\x03\xff\xff\xff\xff"
    );
    let auth = bench
        .session
        .open(Bytes::from_static(&[0; 4]))
        .await
        .unwrap();
    assert_eq!(
        bench.next().await.bytes(),
        b"\0\0\x04\x12\0\0\0\x05\0\0\0\0"
    );
    drop(auth);
    assert_eq!(bench.next().await.bytes(), b"\0\0\0\x11\0\0\0\x05");
    let mut bench_edge = edge();
    let stop = bench_edge
        .session
        .open(Bytes::from_static(b"\0\0\0\x05{}"))
        .await
        .unwrap();
    // The edge's first id is 2; the example shows its third stream.
    assert_eq!(
        bench_edge.next().await.bytes(),
        b"\0\0\x06\x12\0\0\0\x02\0\0\0\x05{}"
    );
    drop((stream, stop));
}

#[tokio::test]
async fn m09_frames_cut_at_every_byte_and_several_in_one_read() {
    let data = frame(DATA, SYN, 2, &[TYPE, b"hello"].concat()).bytes();
    let fin = frame(DATA, FIN, 2, b"!").bytes();
    let all = [data, frame(WNDINC, 0, 2, &1u32.to_be_bytes()).bytes(), fin].concat();
    for cut in 0..all.len() {
        let mut bench = agent();
        bench.raw(&all[..cut]).await;
        tokio::task::yield_now().await;
        bench.raw(&all[cut..]).await;
        let mut stream = bench.acceptor.accept().await.unwrap();
        stream.read_type().await.unwrap();
        let mut got = Vec::new();
        while let Some(chunk) = stream.read_chunk().await.unwrap() {
            got.extend_from_slice(&chunk);
        }
        assert_eq!(got, b"hello!", "cut at {cut}");
    }
}

#[tokio::test]
async fn m10_lengths_of_all_sizes_and_no_memory_for_claims() {
    let mut bench = agent();
    let mut stream = bench.accepted(2, b"").await;
    for length in [0usize, 1, 65_535, 65_536] {
        bench.send(&frame(DATA, 0, 2, &vec![7; length])).await;
        let mut left = length;
        while left > 0 {
            left -= stream.read_chunk().await.unwrap().unwrap().len();
        }
    }
    // A frame of 16 MiB is claimed: more than any credit, so the stream dies before its bytes.
    bench.raw(b"\xff\xff\xff\x10\0\0\0\x02").await;
    bench.raw(&vec![0; 300_000]).await;
    let reset = loop {
        let next = bench.next_but_credit().await;
        if next.kind == RST {
            break next;
        }
    };
    assert_eq!(reset, frame(RST, 0, 2, &3u32.to_be_bytes()));
}

#[tokio::test]
async fn m11_first_ids_and_steps() {
    for (mut bench, ids) in [(agent(), [3, 5, 7]), (edge(), [2, 4, 6])] {
        for id in ids {
            let stream = bench.session.open(Bytes::from_static(TYPE)).await.unwrap();
            assert_eq!((stream.id(), bench.next().await.stream), (id, id));
            std::mem::forget(stream);
        }
    }
}

#[tokio::test]
async fn m12_ids_out_of_order_are_taken_and_wrong_parity_ends_the_session() {
    let mut bench = agent();
    let high = bench.accepted(20, b"").await;
    let low = bench.accepted(4, b"").await;
    bench.send(&frame(DATA, SYN, 9, TYPE)).await;
    bench.expect_goaway(1).await;
    drop((high, low));
    assert_eq!(bench.driver.await.unwrap().reason, CloseReason::Protocol);
}

#[tokio::test]
async fn m13_a_second_syn() {
    let mut bench = agent();
    let stream = bench.accepted(2, b"").await;
    drop(stream);
    assert_eq!(bench.next_but_credit().await, frame(DATA, FIN, 2, b""));
    bench.send(&frame(DATA, FIN, 2, b"")).await;
    // Closed on both sides: the id is free, if odd, and does no harm.
    let again = bench.accepted(2, b"").await;
    bench.send(&frame(DATA, SYN, 2, TYPE)).await;
    bench.expect_goaway(1).await;
    drop(again);
}

#[tokio::test]
async fn m14_a_type_that_comes_in_pieces() {
    for length in [0, 1, 3, 4, 5] {
        let mut bench = agent();
        let content = [TYPE, b"x"].concat();
        bench.send(&frame(DATA, SYN, 2, &content[..length])).await;
        bench.send(&frame(DATA, 0, 2, &content[length..])).await;
        let mut stream = bench.acceptor.accept().await.unwrap();
        assert_eq!(stream.read_type().await.unwrap(), Some(3));
        assert_eq!(stream.read_chunk().await.unwrap().unwrap(), "x");
    }
}

#[tokio::test]
async fn m33_rst_and_wndinc_of_a_wrong_length() {
    for kind in [RST, WNDINC] {
        for length in [3, 5] {
            let mut bench = agent();
            bench.send(&frame(kind, 0, 2, &vec![0; length])).await;
            bench.expect_goaway(8).await;
        }
    }
}

#[tokio::test]
async fn m34_stream_zero() {
    for (kind, payload) in [
        (DATA, &b"abcd"[..]),
        (RST, &[0, 0, 0, 1]),
        (WNDINC, &[0, 0, 0, 1]),
    ] {
        let mut bench = agent();
        bench.send(&frame(kind, 0, 0, payload)).await;
        bench.expect_goaway(1).await;
    }
}

#[tokio::test]
async fn m35_unknown_kinds_are_skipped() {
    let mut bench = agent();
    for kind in 4..16 {
        bench.send(&frame(kind, 0, 77, &[kind; 100])).await;
    }
    let mut stream = bench.accepted(2, b"alive").await;
    assert_eq!(stream.read_chunk().await.unwrap().unwrap(), "alive");
    assert_eq!(bench.session.stats().unknown_frames, 12);
}

#[tokio::test]
async fn m36_reserved_bits_are_ignored() {
    let mut bench = agent();
    // Both reserved flags, and the top bit of the id.
    bench
        .send(&frame(DATA, SYN | 0x4 | 0x8, 0x8000_0002, TYPE))
        .await;
    let stream = bench.acceptor.accept().await.unwrap();
    assert_eq!(stream.id(), 2);
    bench
        .send(&frame(WNDINC, SYN, 4, &1u32.to_be_bytes()))
        .await;
    bench.expect_silence().await;
    assert_eq!(bench.session.open_streams(), 2, "the probe and stream 2");
    drop(stream);
}

#[tokio::test]
async fn m50_random_bytes_do_no_harm() {
    // Long runs are made by the property tests; this one is always there.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for _ in 0..200 {
        let mut bench = agent();
        let bytes: Vec<u8> = (0..500)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state as u8
            })
            .collect();
        // The session may have ended before all of it is written.
        let _ = bench.wire.write_all(&bytes).await;
        bench.session.close(ErrorCode::NO_ERROR, "");
        let (reader, _writer) = tokio::io::split(bench.wire);
        let drained = tokio::spawn(async move {
            let mut reader = reader;
            let mut all = Vec::new();
            let _ = tokio::io::AsyncReadExt::read_to_end(&mut reader, &mut all).await;
        });
        bench.driver.await.unwrap();
        drained.await.unwrap();
    }
}
