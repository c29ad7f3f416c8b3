use bytes::Bytes;
use portway_mux::{CloseReason, Config, ErrorCode, OpenError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::raw::{DATA, GOAWAY, SYN, TYPE, agent, bench_over, edge, frame};

#[tokio::test]
async fn m37_goaway_is_the_last_frame_and_tells_the_highest_stream() {
    let mut bench = agent();
    let one = bench.accepted(12, b"").await;
    let two = bench.accepted(6, b"").await;
    bench.session.close(ErrorCode::NO_ERROR, "no error");
    let last = bench.expect_goaway(0).await;
    assert_eq!(
        last.bytes(),
        b"\0\0\x10\x30\0\0\0\0\0\0\0\x0c\0\0\0\0no error"
    );
    drop((one, two));
    let mut quiet = edge();
    quiet.session.close(ErrorCode::NO_ERROR, "");
    assert_eq!(quiet.expect_goaway(0).await.payload.len(), 8);
}

#[tokio::test]
async fn m38_a_goaway_with_a_wrong_length_ends_the_session_cleanly() {
    let mut bench = agent();
    // The length says 13, and 21 bytes follow.
    bench.raw(b"\0\0\x0d\x30\0\0\0\0").await;
    bench.raw(b"\0\0\0\0\0\0\0\x01protocol text").await;
    let closed = bench.driver.await.unwrap();
    assert_eq!(
        (closed.code, &closed.reason),
        (ErrorCode::PROTOCOL, &CloseReason::GoAway)
    );
}

#[tokio::test]
async fn m39_after_goaway_nothing_is_opened_and_tcp_is_closed() {
    let mut bench = agent();
    let mut stream = bench.accepted(2, b"").await;
    bench.send(&frame(GOAWAY, 0, 0, &[0; 8])).await;
    let closed = bench.session.closed().await;
    assert_eq!(closed.reason, CloseReason::GoAway);
    assert_eq!(
        bench
            .session
            .open(Bytes::from_static(TYPE))
            .await
            .unwrap_err(),
        OpenError::Closed
    );
    assert_eq!(
        stream.read_chunk().await.unwrap_err().kind(),
        std::io::ErrorKind::ConnectionAborted
    );
    assert!(bench.acceptor.accept().await.is_none());
    bench.driver.await.unwrap();
    let mut rest = Vec::new();
    bench.wire.read_to_end(&mut rest).await.unwrap();
}

#[tokio::test]
async fn m40_a_long_text_is_bounded() {
    let mut bench = agent();
    let header = frame(GOAWAY, 0, 0, &[0; 8]).bytes();
    let length = (8u32 + (1 << 20)).to_be_bytes();
    let mut bytes = [&length[1..], &header[3..]].concat();
    bytes.extend_from_slice(&vec![b'x'; 1 << 20]);
    // What is not read any more need not be written.
    let _ = bench.wire.write_all(&bytes).await;
    let closed = bench.driver.await.unwrap();
    assert!(closed.debug.len() <= 1024, "{}", closed.debug.len());
}

#[tokio::test(start_paused = true)]
async fn m49_the_end_of_the_transport_wakes_everybody() {
    let mut bench = agent();
    let stuck = bench.clog().await;
    let mut stream = bench.accepted(2, b"").await;
    let reading = tokio::spawn(async move { stream.read_chunk().await });
    let (gone, mut writer) = stuck.split();
    let waiting = tokio::spawn(async move { gone.peer_gone().await });
    let writing = tokio::spawn(async move {
        loop {
            if let Err(error) = writer.write_chunk(Bytes::from_static(b"more")).await {
                return error;
            }
        }
    });
    let mut held = Vec::new();
    while let Ok(stream) = bench.session.try_open(Bytes::from_static(TYPE)) {
        held.push(stream);
    }
    let session = bench.session.clone();
    let opening = tokio::spawn(async move { session.open(Bytes::from_static(TYPE)).await });
    let session = bench.session.clone();
    let closing = tokio::spawn(async move { session.closed().await });
    let mut acceptor = bench.acceptor;
    let accepting = tokio::spawn(async move { acceptor.accept().await.is_none() });
    tokio::task::yield_now().await;
    drop(bench.wire);
    for error in [reading.await.unwrap().unwrap_err(), writing.await.unwrap()] {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionAborted);
    }
    waiting.await.unwrap();
    assert!(accepting.await.unwrap());
    assert_eq!(opening.await.unwrap().unwrap_err(), OpenError::Closed);
    let closed = bench.driver.await.unwrap();
    assert_eq!(closing.await.unwrap(), closed);
    // Which of the two is noticed first depends on who is polled first.
    assert!(matches!(
        closed.reason,
        CloseReason::Eof | CloseReason::Transport { .. }
    ));
}

#[tokio::test]
async fn a_goaway_on_a_stream_and_one_that_is_too_short() {
    for bytes in [frame(GOAWAY, 0, 7, &[0; 8]), frame(GOAWAY, 0, 0, &[0; 7])] {
        let mut bench = agent();
        bench.send(&bytes).await;
        bench.expect_goaway(8).await;
    }
    let mut bench = agent();
    bench.send(&frame(DATA, SYN, 2, TYPE)).await;
    assert!(bench.acceptor.accept().await.is_some());
}

#[tokio::test(start_paused = true)]
async fn h54_a_close_is_over_in_time_though_the_peer_reads_nothing() {
    let mut bench = bench_over(Config::edge(), 4096);
    let _clog = bench.clog().await;
    bench
        .session
        .close(ErrorCode::NO_ERROR, "heartbeat timeout");
    let begun = tokio::time::Instant::now();
    let closed = bench.driver.await.unwrap();
    assert_eq!(closed.debug, "heartbeat timeout");
    assert_eq!(begun.elapsed(), Config::edge().close_timeout);
}
