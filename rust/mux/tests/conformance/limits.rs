use std::time::Instant;

use bytes::Bytes;
use portway_mux::{Config, ErrorCode, OpenError, Peer};

use crate::raw::{DATA, FIN, RST, SYN, TYPE, WNDINC, agent, bench, bench_over, edge, frame};

#[tokio::test]
async fn m42_idle_streams_cost_their_entry_only() {
    let mut bench = bench(Config {
        max_streams: 20_000,
        accept_backlog: 20_000,
        ..Config::agent()
    });
    let mut held = Vec::new();
    for turn in 0..10_000u32 {
        held.push(bench.accepted(2 + 2 * turn, b"").await);
    }
    assert_eq!(bench.session.open_streams(), 10_000);
    // How many bytes each takes is measured in bench/.
}

#[tokio::test]
async fn m43_a_full_backlog_refuses_and_more_streams_than_allowed_are_refused() {
    let mut bench = bench(Config {
        accept_backlog: 3,
        max_streams: 5,
        ..Config::agent()
    });
    for turn in 0..4u32 {
        bench.send(&frame(DATA, SYN, 2 + 2 * turn, TYPE)).await;
    }
    // Refused as everything is aborted: FIN, then RST.
    assert_eq!(bench.next().await, frame(DATA, FIN, 8, b""));
    assert_eq!(bench.next().await, frame(RST, 0, 8, &9u32.to_be_bytes()));
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(bench.acceptor.accept().await.unwrap());
    }
    for turn in 4..7u32 {
        bench.send(&frame(DATA, SYN, 2 + 2 * turn, TYPE)).await;
    }
    assert_eq!(bench.next_but_credit().await, frame(DATA, FIN, 14, b""));
    assert_eq!(
        bench.next_but_credit().await,
        frame(RST, 0, 14, &5u32.to_be_bytes())
    );
}

#[tokio::test]
async fn m44_a_peer_is_never_sent_more_than_it_can_take() {
    let mut bench = edge();
    bench.session.set_peer(Peer::RUST_SDK);
    let mut held = Vec::new();
    for _ in 0..64 {
        held.push(bench.session.try_open(Bytes::from_static(TYPE)).unwrap());
    }
    assert_eq!(
        bench
            .session
            .try_open(Bytes::from_static(TYPE))
            .unwrap_err(),
        OpenError::Busy
    );
    // The credit for its type shows that a stream was accepted; then there is room for another.
    let session = bench.session.clone();
    let waiting = tokio::spawn(async move { session.open(Bytes::from_static(TYPE)).await });
    bench.send(&frame(WNDINC, 0, 2, &4u32.to_be_bytes())).await;
    held.push(waiting.await.unwrap().unwrap());
    for id in (4..2000).step_by(2) {
        bench.send(&frame(WNDINC, 0, id, &4u32.to_be_bytes())).await;
        if held.len() == 480 {
            break;
        }
        let session = bench.session.clone();
        held.push(session.open(Bytes::from_static(TYPE)).await.unwrap());
    }
    assert_eq!(held.len(), 480);
    assert_eq!(
        bench
            .session
            .try_open(Bytes::from_static(TYPE))
            .unwrap_err(),
        OpenError::Busy
    );
    // One that ends on both sides makes room, once the peer has forgotten it too.
    let ended = held.remove(0);
    bench.send(&frame(DATA, FIN, ended.id(), b"")).await;
    drop(ended);
    let began = Instant::now();
    let waited = bench.session.open(Bytes::from_static(TYPE)).await;
    assert!(waited.is_ok() && began.elapsed() > Peer::RUST_SDK.forgets_within / 2);
}

/// What each side writes of `m45`.
const BYTES: usize = 10 << 20;

#[tokio::test]
async fn m45_both_sides_write_and_neither_reads_and_nothing_locks_up() {
    let (left, right) = tokio::io::duplex(4096);
    let (one, _one_acceptor, one_driver) = portway_mux::session(left, Config::agent());
    let (two, mut two_acceptor, two_driver) = portway_mux::session(right, Config::edge());
    tokio::spawn(one_driver);
    tokio::spawn(two_driver);
    one.set_peer(Peer::PORTWAY);
    two.set_peer(Peer::PORTWAY);
    let ours = one.open(Bytes::from_static(TYPE)).await.unwrap();
    let mut theirs = two_acceptor.accept().await.unwrap();
    theirs.read_type().await.unwrap();
    let mut tasks = Vec::new();
    for stream in [ours, theirs] {
        let (mut reader, mut writer) = stream.split();
        tasks.push(tokio::spawn(async move {
            for _ in 0..BYTES / 65_536 {
                writer
                    .write_chunk(Bytes::from(vec![9; 65_536]))
                    .await
                    .unwrap();
            }
            writer.finish();
            drop(writer);
            0
        }));
        tasks.push(tokio::spawn(async move {
            let mut total = 0;
            while let Some(chunk) = reader.read_chunk().await.unwrap() {
                total += chunk.len();
            }
            total
        }));
    }
    let mut total = 0;
    for task in tasks {
        total += task.await.unwrap();
    }
    assert_eq!(total, 2 * BYTES);
}

#[tokio::test]
async fn m48_ids_run_out_and_do_not_wrap() {
    let mut core = portway_mux::session::Core::new(Config::agent());
    core.start_at(0x7fff_fffd);
    assert_eq!(core.open(Bytes::from_static(TYPE)), Ok(0x7fff_fffd));
    assert_eq!(core.open(Bytes::from_static(TYPE)), Ok(0x7fff_ffff));
    assert_eq!(
        core.open(Bytes::from_static(TYPE)),
        Err(OpenError::Exhausted)
    );
}

#[tokio::test]
async fn a_stream_begins_with_its_type() {
    let bench = agent();
    assert_eq!(
        bench
            .session
            .try_open(Bytes::from_static(b"abc"))
            .unwrap_err(),
        OpenError::TooShort
    );
}

#[tokio::test(start_paused = true)]
async fn m44_visitors_that_leave_all_at_once_do_not_end_the_session() {
    let mut bench = bench_over(Config::edge(), 4096);
    bench.session.set_peer(Peer::PORTWAY);
    let visitors = bench.opened(1500).await;
    let clog = bench.clog().await;
    for visitor in visitors {
        visitor.reset(ErrorCode::STREAM_CANCELLED);
    }
    assert!(!bench.session.is_closed());
    assert_eq!(
        bench.session.open_streams(),
        1501,
        "a stream counts until its reset is sent"
    );
    let (mut ended, mut reset) = (0, 0);
    while reset < 1500 {
        let next = bench.next().await;
        if next.stream == clog.id() {
            continue;
        }
        if next.kind == RST {
            reset += 1;
            assert_eq!(next.payload, 6u32.to_be_bytes());
        } else {
            ended += 1;
            assert_eq!((next.kind, next.flags), (DATA, FIN), "{next:?}");
        }
    }
    assert_eq!((ended, bench.session.open_streams()), (1500, 1));
}

#[tokio::test(start_paused = true)]
async fn m44_what_was_under_way_to_them_does_not_end_it_either() {
    let mut bench = bench_over(Config::edge(), 4096);
    bench.session.set_peer(Peer::PORTWAY);
    drop(bench.opened(1500).await);
    for _ in 0..1500 {
        assert_eq!(bench.next().await.flags, FIN);
    }
    let clog = bench.clog().await;
    for turn in 0..1500u32 {
        bench.send(&frame(DATA, 0, 2 + 2 * turn, b"late")).await;
    }
    bench.send(&frame(DATA, 0, clog.id(), b"alive")).await;
    let (mut reader, _writer) = clog.split();
    assert_eq!(reader.read_chunk().await.unwrap().unwrap(), "alive");
    let late = bench.session.stats().late_data;
    assert!((1000..1500).contains(&late), "{late} answers are owed");
}

#[tokio::test(start_paused = true)]
async fn m50_a_flood_of_streams_without_reading_the_answers_ends_the_session() {
    let mut bench = bench_over(
        Config {
            accept_backlog: 1,
            ..Config::edge()
        },
        4096,
    );
    let _clog = bench.clog().await;
    let first = Config::edge().max_pending_resets as u32 + 1;
    for turn in 0..first {
        bench.send(&frame(DATA, SYN, 3 + 2 * turn, TYPE)).await;
    }
    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    assert!(!bench.session.is_closed());
    bench.send(&frame(DATA, SYN, 3 + 2 * first, TYPE)).await;
    let closed = bench.session.closed().await;
    assert_eq!(closed.code, ErrorCode::ENHANCE_YOUR_CALM);
}

#[tokio::test]
async fn m43_a_stream_that_comes_goes_and_comes_again_is_accepted_once() {
    let mut bench = agent();
    for _ in 0..3 {
        bench.send(&frame(DATA, SYN, 2, TYPE)).await;
        bench.send(&frame(RST, 0, 2, &1u32.to_be_bytes())).await;
    }
    bench.send(&frame(DATA, SYN, 2, TYPE)).await;
    bench.send(&frame(DATA, SYN, 4, TYPE)).await;
    let first = bench.acceptor.accept().await.unwrap();
    let second = bench.acceptor.accept().await.unwrap();
    assert_eq!((first.id(), second.id()), (2, 4));
}
