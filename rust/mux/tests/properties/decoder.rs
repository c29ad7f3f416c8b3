//! The decoder over frames and bytes of any kind: the same however they are cut, never a panic,
//! never more memory than the limits allow.

use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use portway_mux::outgoing::Outgoing;
use portway_mux::session::Core;
use portway_mux::{Config, Peer};
use proptest::prelude::*;

const TYPE: &[u8] = &[0, 0, 0, 3];

/// Few streams and small limits, so that any input soon comes up against them.
fn core() -> Core {
    let mut core = Core::new(Config {
        max_streams: 8,
        accept_backlog: 4,
        max_pending_resets: 16,
        session_window: 1 << 20,
        ..Config::agent()
    });
    core.set_peer(Peer::PORTWAY);
    core.open(Bytes::from_static(TYPE)).unwrap();
    core
}

/// Frames that mean something more often than bytes at random do.
fn frames() -> impl Strategy<Value = Vec<u8>> {
    let stream = prop_oneof![8 => 0u32..12, 1 => any::<u32>()];
    let payload = prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..9),
        1 => prop::collection::vec(any::<u8>(), 0..6000),
    ];
    // The kind with its flags; DATA more often than others.
    let kind = prop_oneof![6 => 0x10u8..0x14, 2 => 0x00u8..0x40, 1 => any::<u8>()];
    let frame = (
        kind,
        stream,
        payload,
        prop::option::weighted(0.02, 0u32..1 << 24),
    );
    let frame = frame.prop_map(|(kind, stream, payload, claim)| {
        let length = match (kind >> 4, claim) {
            (_, Some(claim)) => claim,
            // Four bytes are what these carry.
            (0 | 2, None) => payload.len().min(4) as u32,
            (_, None) => payload.len() as u32,
        };
        let mut bytes = length.to_be_bytes()[1..].to_vec();
        bytes.push(kind);
        bytes.extend_from_slice(&stream.to_be_bytes());
        bytes.extend_from_slice(&payload[..payload.len().min(length as usize)]);
        bytes
    });
    prop::collection::vec(frame, 0..60).prop_map(|frames| frames.concat())
}

/// Everything that can be seen of a session from outside.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    output: Vec<u8>,
    accepted: Vec<u32>,
    content: Vec<(u32, Vec<u8>, String)>,
    stats: String,
}

fn drain(mut core: Core) -> Seen {
    let mut cx = Context::from_waker(Waker::noop());
    let mut accepted = Vec::new();
    while let Poll::Ready(Some(id)) = core.poll_accept(&mut cx) {
        accepted.push(id);
    }
    let stats = format!("{:?}", core.stats());
    // What is owed before anything is read, for reading gives credit back.
    let output = output(&mut core);
    let mut content = Vec::new();
    for &id in accepted.iter().chain(&[3]) {
        let mut bytes = Vec::new();
        let end = loop {
            match core.poll_read(&mut cx, id) {
                Poll::Ready(Ok(chunk)) if !chunk.is_empty() => bytes.extend_from_slice(&chunk),
                other => break format!("{other:?}"),
            }
        };
        content.push((id, bytes, end));
    }
    Seen {
        output,
        accepted,
        content,
        stats,
    }
}

fn output(core: &mut Core) -> Vec<u8> {
    let mut all = Vec::new();
    while core.has_output() {
        let mut out = Outgoing::new(true);
        let last = core.fill(&mut out);
        all.extend_from_slice(&out.to_vec());
        if last {
            break;
        }
    }
    all
}

/// `cuts` say how long the pieces are.
fn in_pieces(input: &[u8], cuts: &[usize]) -> Core {
    let mut core = core();
    let mut rest = Bytes::copy_from_slice(input);
    for cut in cuts.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        core.recv(rest.split_to((*cut).clamp(1, rest.len())));
    }
    core
}

/// Bounds that hold whatever comes, with nothing read and nothing sent.
fn bounded(core: &mut Core) -> Result<(), TestCaseError> {
    prop_assert!(core.stats().open_streams <= 8);
    // FIN and RST for each stream and each answer that is owed, credit behind each, a GOAWAY.
    let longest = (8 + 16) * (8 + 12 + 12) + 8 * 12 + 1100;
    let output = output(core).len();
    prop_assert!(output <= longest, "{output} bytes are owed");
    Ok(())
}

proptest! {
    #[test]
    fn m09_m50_frames_mean_the_same_however_they_are_cut(
        input in frames(), cuts in prop::collection::vec(1usize..40, 1..20),
    ) {
        let whole = in_pieces(&input, &[usize::MAX]);
        prop_assert_eq!(drain(in_pieces(&input, &cuts)), drain(whole));
    }

    #[test]
    fn m09_m50_bytes_mean_the_same_however_they_are_cut(
        input in prop::collection::vec(any::<u8>(), 0..2000), cuts in prop::collection::vec(1usize..40, 1..20),
    ) {
        let whole = in_pieces(&input, &[usize::MAX]);
        prop_assert_eq!(drain(in_pieces(&input, &cuts)), drain(whole));
    }

    #[test]
    fn m50_what_is_owed_is_bounded(input in prop::collection::vec(frames(), 1..6)) {
        let mut core = core();
        for piece in &input {
            core.recv(Bytes::copy_from_slice(piece));
        }
        bounded(&mut core)?;
    }
}

#[test]
fn m50_fuzz() {
    let seconds = std::env::var("PORTWAY_FUZZ_SECONDS").map_or(1, |text| text.parse().unwrap());
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 64,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let mut rounds = 0u64;
    while Instant::now() < end {
        let inputs =
            prop::collection::vec((frames(), prop::collection::vec(1usize..400, 1..8)), 1..20);
        runner
            .run(&inputs, |inputs| {
                let mut cx = Context::from_waker(Waker::noop());
                let mut core = core();
                for (input, cuts) in &inputs {
                    let mut rest = Bytes::copy_from_slice(input);
                    for cut in cuts.iter().cycle() {
                        if rest.is_empty() {
                            break;
                        }
                        core.recv(rest.split_to((*cut).clamp(1, rest.len())));
                    }
                    // Owners that accept, read and let go, as the bytes themselves decide.
                    while let Poll::Ready(Some(id)) = core.poll_accept(&mut cx) {
                        while let Poll::Ready(Ok(chunk)) = core.poll_read(&mut cx, id) {
                            if chunk.is_empty() {
                                break;
                            }
                        }
                        if input.len() % 3 == 0 {
                            core.drop_writer(id);
                            core.drop_reader(id);
                        } else if input.len() % 3 == 1 {
                            core.reset(id, portway_mux::ErrorCode::STREAM_CANCELLED);
                            core.drop_reader(id);
                            core.drop_writer(id);
                        }
                    }
                    if input.len() % 2 == 0 {
                        output(&mut core);
                    }
                }
                bounded(&mut core)
            })
            .unwrap();
        rounds += 1;
    }
    assert!(rounds > 0);
}
