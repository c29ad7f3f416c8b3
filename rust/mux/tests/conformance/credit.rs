use std::time::Duration;

use bytes::Bytes;
use portway_mux::heartbeat::{self, Pace};
use portway_mux::{ErrorCode, Peer};

use crate::raw::{DATA, FIN, RST, SYN, TYPE, WNDINC, agent, edge, frame};

const WINDOW: usize = 262_144;

/// Payload of a stream until the session has nothing more to send for it.
async fn drained(bench: &mut crate::raw::Bench, bytes: usize) {
    let mut received = 0;
    while received < bytes {
        received += bench.next_but_credit().await.payload.len();
    }
    assert_eq!(received, bytes);
}

#[tokio::test]
async fn m25_m26_m31_the_first_credit_and_not_a_byte_more() {
    let mut bench = edge();
    // The type counts: four bytes of the window are gone with it.
    let stream = bench.session.open(Bytes::from_static(TYPE)).await.unwrap();
    assert_eq!(bench.next().await.payload.len(), 4);
    let (_reader, mut writer) = stream.split();
    let writing = tokio::spawn(async move {
        for _ in 0..5 {
            writer
                .write_chunk(Bytes::from(vec![1; 60_000]))
                .await
                .unwrap();
        }
        writer
    });
    drained(&mut bench, WINDOW - 4).await;
    bench.expect_silence().await;
    // A partial frame: three bytes of credit, three bytes.
    bench.send(&frame(WNDINC, 0, 2, &3u32.to_be_bytes())).await;
    assert_eq!(bench.next_but_credit().await.payload.len(), 3);
    bench
        .send(&frame(WNDINC, 0, 2, &100_000u32.to_be_bytes()))
        .await;
    drained(&mut bench, 300_000 - (WINDOW - 4) - 3).await;
    drop(writing.await.unwrap());
}

#[tokio::test]
async fn m44_a_stream_that_was_accepted_is_credited_at_once() {
    let mut bench = agent();
    bench.send(&frame(DATA, SYN, 2, TYPE)).await;
    bench.expect_silence().await;
    let mut stream = bench.acceptor.accept().await.unwrap();
    stream.read_type().await.unwrap();
    assert_eq!(bench.next().await, frame(WNDINC, 0, 2, &4u32.to_be_bytes()));
}

#[tokio::test]
async fn m27_grants_never_fall_behind_what_was_received() {
    let mut bench = agent();
    let mut stream = bench.accepted(2, b"").await;
    let (mut sent, mut granted) = (4, WINDOW);
    while sent < 4 * WINDOW {
        let length = (granted - sent).min(30_000);
        assert!(length > 0, "credit is returned before it is used up");
        bench.send(&frame(DATA, 0, 2, &vec![0; length])).await;
        sent += length;
        let mut left = length;
        while left > 0 {
            left -= stream.read_chunk().await.unwrap().unwrap().len();
        }
        // Credit comes in lots; one is due whenever an eighth of the window was read.
        while granted - sent < WINDOW - WINDOW / 8 {
            let credit = bench.next().await;
            assert_eq!((credit.kind, credit.stream, credit.flags), (WNDINC, 2, 0));
            granted += u32::from_be_bytes(credit.payload.try_into().unwrap()) as usize;
        }
        assert!(
            granted <= sent + WINDOW,
            "a peer that clamps is granted what it consumed only"
        );
    }
}

#[tokio::test]
async fn m28_a_sender_that_clamps_never_stalls() {
    let mut bench = agent();
    bench.session.set_peer(Peer::RUST_SDK);
    let mut stream = bench.accepted(2, b"").await;
    let reading = tokio::spawn(async move {
        let mut total = 0;
        while let Some(chunk) = stream.read_chunk().await.unwrap() {
            total += chunk.len();
        }
        total
    });
    let mut credit = WINDOW - 4;
    let mut left = 8 * WINDOW;
    while left > 0 {
        if credit == 0 {
            let grant = bench.next().await;
            let grant = u32::from_be_bytes(grant.payload.try_into().unwrap()) as usize;
            credit = (credit + grant).min(WINDOW);
            continue;
        }
        let length = credit.min(left).min(16_000);
        bench.send(&frame(DATA, 0, 2, &vec![0; length])).await;
        credit -= length;
        left -= length;
    }
    bench.send(&frame(DATA, FIN, 2, b"")).await;
    assert_eq!(reading.await.unwrap(), 8 * WINDOW);
}

/// Over a link with this round trip all credit is used at once, then what came is read. Returns
/// the bytes that had been granted more than were sent, at the end.
async fn over_a_link(peer: Peer, round_trip: Duration, between: Duration) -> usize {
    let mut bench = agent();
    bench.session.set_peer(peer);
    let heart = bench.session.open(Bytes::from_static(&[0xff; 4])).await;
    let heart = heart.unwrap();
    let heart_id = heart.id();
    tokio::spawn(heartbeat::beat(heart, Pace::default(), |_| ()));
    // The type and the first beat, in one frame or two.
    let mut said = Vec::new();
    while said.len() < TYPE.len() + 4 {
        said.extend(bench.next().await.payload);
    }
    tokio::time::sleep(round_trip).await;
    bench
        .send(&frame(DATA, 0, heart_id, &said[TYPE.len()..]))
        .await;

    let mut stream = bench.accepted(2, b"").await;
    let (mut sent, mut granted) = (4, WINDOW);
    for _ in 0..20 {
        let mut left = granted - sent;
        sent = granted;
        while left > 0 {
            let length = left.min(1 << 20);
            bench.send(&frame(DATA, 0, 2, &vec![0; length])).await;
            left -= length;
            let mut unread = length;
            while unread > 0 {
                unread -= stream.read_chunk().await.unwrap().unwrap().len();
            }
        }
        tokio::time::sleep(between).await;
        // All that was granted by now, up to a frame of another stream.
        let probe = bench.session.open(Bytes::from_static(TYPE)).await.unwrap();
        loop {
            let next = bench.next().await;
            if next.stream == probe.id() {
                break;
            }
            if next.stream == 2 {
                granted += u32::from_be_bytes(next.payload.try_into().unwrap()) as usize;
            }
        }
        probe.reset(ErrorCode::STREAM_CANCELLED);
    }
    granted - sent
}

#[tokio::test(start_paused = true)]
async fn m29_the_first_answer_on_a_stream_tells_the_length_of_the_link() {
    let mut bench = edge();
    bench.session.set_peer(Peer::PORTWAY);
    // A stream that is given up at once tells nothing.
    let early = bench.session.try_open(Bytes::from_static(TYPE)).unwrap();
    let id = bench.next().await.stream;
    early.reset(ErrorCode::STREAM_CANCELLED);
    bench.send(&frame(DATA, 0, id, b"late")).await;
    let mut stream = bench.session.try_open(Bytes::from_static(TYPE)).unwrap();
    while bench.next().await.stream != stream.id() {}
    let (mut sent, mut granted) = (0, WINDOW);
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let length = granted - sent;
        bench
            .send(&frame(DATA, 0, stream.id(), &vec![0; length]))
            .await;
        sent += length;
        let mut unread = length;
        while unread > 0 {
            unread -= stream.read_chunk().await.unwrap().unwrap().len();
        }
        let probe = bench.session.open(Bytes::from_static(TYPE)).await.unwrap();
        loop {
            let next = bench.next().await;
            if next.stream == probe.id() {
                break;
            }
            granted += u32::from_be_bytes(next.payload.try_into().unwrap()) as usize;
        }
        std::mem::forget(probe);
        if granted - sent > 4 * WINDOW {
            return;
        }
    }
    panic!("only {} are open", granted - sent);
}

#[tokio::test(start_paused = true)]
async fn m29_windows_grow_over_a_long_link_for_peers_that_add_up() {
    let round_trip = Duration::from_millis(100);
    let grown = over_a_link(Peer::PORTWAY, round_trip, round_trip).await;
    // Not quite the cap: what was read last is given back in the next lot.
    assert!(grown > 14 << 20, "{grown}");
    // A sender that could have sent twice as fast is held back by something else.
    let slow = over_a_link(Peer::PORTWAY, round_trip, round_trip * 3).await;
    assert!(slow <= WINDOW, "{slow}");
    let clamping = over_a_link(Peer::RUST_SDK, round_trip, round_trip).await;
    assert!(clamping <= WINDOW, "{clamping}");
}

#[tokio::test]
async fn m30_one_byte_too_many_ends_that_stream_only() {
    let mut bench = agent();
    let overrun = bench.accepted(2, b"").await;
    let mut other = bench.accepted(4, b"").await;
    // The type was read, so all of the window is open.
    bench.send(&frame(DATA, 0, 2, &vec![0; WINDOW])).await;
    bench.send(&frame(DATA, 0, 4, b"fine")).await;
    assert_eq!(other.read_chunk().await.unwrap().unwrap(), "fine");
    bench.send(&frame(DATA, 0, 2, b"x")).await;
    let reset = loop {
        let next = bench.next_but_credit().await;
        if next.kind == RST {
            break next;
        }
    };
    assert_eq!(reset, frame(RST, 0, 2, &3u32.to_be_bytes()));
    bench.send(&frame(DATA, 0, 4, b"fine")).await;
    assert_eq!(other.read_chunk().await.unwrap().unwrap(), "fine");
    drop(overrun);
}

#[tokio::test]
async fn m32_strange_increments() {
    let mut bench = edge();
    let mut stream = bench.session.open(Bytes::from_static(TYPE)).await.unwrap();
    bench.next().await;
    bench.send(&frame(WNDINC, 0, 2, &0u32.to_be_bytes())).await;
    // The top bit is no part of it, and sums beyond 2^31 are no overflow.
    for _ in 0..5 {
        bench
            .send(&frame(WNDINC, 0, 2, &0xffff_ffffu32.to_be_bytes()))
            .await;
    }
    stream
        .write_chunk(Bytes::from(vec![0; 50_000]))
        .await
        .unwrap();
    drained(&mut bench, 50_000).await;
}

#[tokio::test]
async fn m46_a_stream_nobody_reads_holds_up_nobody() {
    let mut bench = agent();
    let unread = bench.accepted(2, b"").await;
    bench.send(&frame(DATA, 0, 2, &vec![0; WINDOW - 4])).await;
    for turn in 0..100u32 {
        let id = 4 + 2 * turn;
        let mut stream = bench.accepted(id, b"ping").await;
        assert_eq!(stream.read_chunk().await.unwrap().unwrap(), "ping");
        stream
            .write_chunk(Bytes::from_static(b"pong"))
            .await
            .unwrap();
        assert_eq!(bench.next_but_credit().await.payload, b"pong");
        std::mem::forget(stream);
    }
    drop(unread);
}

#[tokio::test]
async fn m46_m47_small_frames_and_credit_pass_bulk() {
    let mut bench = edge();
    bench.session.set_peer(Peer::GO_SDK);
    let bulk = bench.session.open(Bytes::from_static(TYPE)).await.unwrap();
    assert_eq!(bench.next().await.flags, SYN);
    bench
        .send(&frame(WNDINC, 0, 2, &(64u32 << 20).to_be_bytes()))
        .await;
    let (_bulk_reader, mut bulk_writer) = bulk.split();
    let bulking = tokio::spawn(async move {
        for _ in 0..200 {
            if bulk_writer
                .write_chunk(Bytes::from(vec![0; 65_536]))
                .await
                .is_err()
            {
                return;
            }
        }
    });
    // The wire holds a megabyte; behind it bulk queues up in the session.
    tokio::task::yield_now().await;
    let mut small = bench
        .session
        .open(Bytes::from_static(b"\0\0\0\x03small"))
        .await
        .unwrap();
    let mut before = 0;
    loop {
        let next = bench.next_but_credit().await;
        if next.stream == small.id() {
            break;
        }
        before += next.payload.len();
        assert!(before < (1 << 20) + 300_000, "bulk queued later went first");
    }
    small.finish();
    drop(bench);
    bulking.await.unwrap();
}
