use std::time::Duration;

use bytes::Bytes;
use portway_mux::heartbeat::{self, Failure, Pace};
use tokio::sync::mpsc;

use crate::raw::{Bench, DATA, FIN, Frame, RST, SYN, agent, edge, frame};

/// The session answers whatever heartbeats it is sent.
fn answering(
    bench: Bench,
) -> (
    tokio::io::DuplexStream,
    tokio::task::JoinHandle<()>,
    portway_mux::Session,
) {
    let Bench {
        session,
        mut acceptor,
        wire,
        ..
    } = bench;
    let task = tokio::spawn(async move {
        while let Some(mut stream) = acceptor.accept().await {
            if let Ok(Some(heartbeat::STREAM_TYPE)) = stream.read_type().await {
                tokio::spawn(heartbeat::answer(stream));
            }
        }
    });
    (wire, task, session)
}

async fn next(wire: &mut tokio::io::DuplexStream) -> Frame {
    use tokio::io::AsyncReadExt;
    loop {
        let mut header = [0; 8];
        wire.read_exact(&mut header).await.unwrap();
        let length = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
        let mut payload = vec![0; length];
        wire.read_exact(&mut payload).await.unwrap();
        if header[3] >> 4 != crate::raw::WNDINC {
            let stream = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
            return frame(header[3] >> 4, header[3] & 15, stream, &payload);
        }
    }
}

#[tokio::test]
async fn h51_h52_beats_are_echoed_four_bytes_a_frame_on_several_streams() {
    use tokio::io::AsyncWriteExt;
    for (bench, ids) in [(agent(), [2, 4]), (edge(), [3, 5])] {
        let (mut wire, _task, _session) = answering(bench);
        for id in ids {
            wire.write_all(&frame(DATA, SYN, id, &[0xff; 4]).bytes())
                .await
                .unwrap();
            wire.write_all(&frame(DATA, 0, id, b"abcd").bytes())
                .await
                .unwrap();
            assert_eq!(next(&mut wire).await, frame(DATA, 0, id, b"abcd"));
            // Two and two: still one beat.
            wire.write_all(&frame(DATA, 0, id, b"ef").bytes())
                .await
                .unwrap();
            wire.write_all(&frame(DATA, 0, id, b"gh").bytes())
                .await
                .unwrap();
            assert_eq!(next(&mut wire).await, frame(DATA, 0, id, b"efgh"));
        }
    }
}

#[tokio::test]
async fn h56_the_end_of_a_heartbeat_stream_is_its_own_affair() {
    use tokio::io::AsyncWriteExt;
    let (mut wire, _task, session) = answering(agent());
    wire.write_all(&frame(DATA, SYN, 2, &[0xff; 4]).bytes())
        .await
        .unwrap();
    wire.write_all(&frame(DATA, FIN, 2, b"").bytes())
        .await
        .unwrap();
    assert_eq!(next(&mut wire).await, frame(DATA, FIN, 2, b""));
    wire.write_all(&frame(DATA, SYN, 4, &[0xff; 4]).bytes())
        .await
        .unwrap();
    wire.write_all(&frame(RST, 0, 4, &1u32.to_be_bytes()).bytes())
        .await
        .unwrap();
    wire.write_all(&frame(DATA, SYN, 6, &[0xff; 4]).bytes())
        .await
        .unwrap();
    wire.write_all(&frame(DATA, 0, 6, b"ping").bytes())
        .await
        .unwrap();
    assert_eq!(next(&mut wire).await, frame(DATA, 0, 6, b"ping"));
    assert!(!session.is_closed());
}

async fn beating(
    bench: &mut Bench,
) -> (
    tokio::task::JoinHandle<Failure>,
    mpsc::Receiver<Duration>,
    u32,
) {
    let stream = bench
        .session
        .open(Bytes::from_static(&[0xff; 4]))
        .await
        .unwrap();
    let id = stream.id();
    assert_eq!(bench.next().await.payload, [0xff; 4]);
    let (sender, latencies) = mpsc::channel(100);
    let beats = heartbeat::beat(stream, Pace::default(), move |latency| {
        let _ = sender.try_send(latency);
    });
    (tokio::spawn(beats), latencies, id)
}

#[tokio::test(start_paused = true)]
async fn h53_one_beat_at_a_time_every_interval_with_its_latency() {
    let mut bench = edge();
    let (_beats, mut latencies, id) = beating(&mut bench).await;
    let begun = tokio::time::Instant::now();
    for turn in 0..3u32 {
        let beat = bench.next_but_credit().await;
        assert_eq!((beat.kind, beat.flags, beat.payload.len()), (DATA, 0, 4));
        assert_eq!(
            begun.elapsed().as_secs(),
            u64::from(turn) * 10,
            "at once, then every interval"
        );
        tokio::time::advance(Duration::from_millis(30)).await;
        bench.send(&frame(DATA, 0, id, &beat.payload)).await;
        assert!(latencies.recv().await.unwrap() >= Duration::from_millis(30));
        // `next` waits five seconds at most.
        tokio::time::advance(Duration::from_secs(9)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn h54_h57_without_a_reply_it_fails_and_never_sends_fin() {
    let mut bench = edge();
    let (beats, _latencies, _) = beating(&mut bench).await;
    let beat = bench.next_but_credit().await;
    assert_eq!(beat.payload.len(), 4);
    let begun = tokio::time::Instant::now();
    assert_eq!(beats.await.unwrap(), Failure::Timeout);
    assert_eq!(begun.elapsed().as_secs(), 25, "interval and tolerance");
    bench.expect_silence().await;
}

#[tokio::test(start_paused = true)]
async fn h55_a_wrong_reply_is_a_failure() {
    let mut bench = edge();
    let (beats, _latencies, id) = beating(&mut bench).await;
    let beat = bench.next_but_credit().await;
    let wrong: Vec<u8> = beat.payload.iter().map(|byte| byte ^ 1).collect();
    bench.send(&frame(DATA, 0, id, &wrong)).await;
    assert_eq!(beats.await.unwrap(), Failure::WrongReply);
}

/// Beats an hour apart that a sender can nudge.
async fn nudged(
    bench: &mut Bench,
) -> (
    tokio::task::JoinHandle<Failure>,
    tokio::sync::watch::Sender<()>,
    u32,
) {
    let first = Bytes::from_static(&[0xff; 4]);
    let stream = bench.session.open(first).await.unwrap();
    let id = stream.id();
    assert_eq!(bench.next().await.payload, [0xff; 4]);
    let pace = Pace {
        interval: Duration::from_hours(1),
        tolerance: Duration::from_hours(1),
    };
    let (sender, nudges) = tokio::sync::watch::channel(());
    let beats = tokio::spawn(heartbeat::beat_nudged(stream, pace, nudges, |_| ()));
    (beats, sender, id)
}

#[tokio::test(start_paused = true)]
async fn b13_a_nudge_is_a_beat_at_once_and_three_seconds_for_its_reply() {
    let mut bench = edge();
    let (beats, nudge, id) = nudged(&mut bench).await;
    for _ in 0..2 {
        let beat = bench.next_but_credit().await;
        bench.send(&frame(DATA, 0, id, &beat.payload)).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
        nudge.send_replace(());
    }
    assert_eq!(bench.next_but_credit().await.payload.len(), 4);
    let begun = tokio::time::Instant::now();
    assert_eq!(beats.await.unwrap(), Failure::Timeout);
    assert_eq!(begun.elapsed().as_secs(), 3);
}

#[tokio::test(start_paused = true)]
async fn b13_a_reply_that_is_awaited_already_has_no_more_than_three_seconds_left() {
    let mut bench = edge();
    let (beats, nudge, _) = nudged(&mut bench).await;
    assert_eq!(bench.next_but_credit().await.payload.len(), 4);
    tokio::time::sleep(Duration::from_mins(1)).await;
    nudge.send_replace(());
    let begun = tokio::time::Instant::now();
    assert_eq!(beats.await.unwrap(), Failure::Timeout);
    assert_eq!(begun.elapsed().as_secs(), 3);
}
