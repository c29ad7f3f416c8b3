use std::time::Duration;

use portway_mux::INITIAL_WINDOW;
use portway_mux::window::{Growth, RecvWindow};
use proptest::prelude::*;
use tokio::time::Instant;

#[derive(Clone, Debug)]
enum Step {
    /// A frame of at most so many bytes, on one of the streams.
    Receive(usize, u32),
    /// The reader takes at most so many.
    Consume(usize, u32),
    Wait(u64),
    /// The stream ends, and another takes its place.
    End(usize),
}

const STREAMS: usize = 4;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..STREAMS, 0u32..400_000).prop_map(|(stream, bytes)| Step::Receive(stream, bytes)),
        4 => (0..STREAMS, 0u32..400_000).prop_map(|(stream, bytes)| Step::Consume(stream, bytes)),
        2 => (0u64..300).prop_map(Step::Wait),
        1 => (0..STREAMS).prop_map(Step::End),
    ];
    prop::collection::vec(step, 0..400)
}

/// A stream as both sides see it.
#[derive(Default)]
struct Stream {
    window: RecvWindow,
    received: u64,
    granted: u64,
    unread: u32,
}

proptest! {
    #[test]
    fn m27_m29_credit_is_never_lost_and_growth_never_beyond_the_budget(
        steps in steps(),
        budget in prop_oneof![Just(0), 0u64..4_000_000],
        max_stream in INITIAL_WINDOW..4_000_000,
        enabled: bool,
        round_trip in prop::option::of(0u64..200),
        shared: bool,
    ) {
        let mut growth = Growth {
            budget,
            max_stream,
            enabled,
            round_trip: round_trip.map(Duration::from_millis),
            changed: None,
        };
        let mut now = Instant::now();
        let mut streams: [Stream; STREAMS] = Default::default();
        for step in steps {
            if shared {
                growth.changed = Some(now);
            }
            match step {
                Step::Receive(at, bytes) => {
                    let stream = &mut streams[at];
                    let open = u64::from(INITIAL_WINDOW) + stream.granted - stream.received;
                    // One byte more than there is credit for is refused, and nothing less.
                    prop_assert_eq!(u64::from(stream.window.credit()), open);
                    prop_assert!(!stream.window.receive(open as u32 + 1));
                    let bytes = bytes.min(open as u32);
                    prop_assert!(stream.window.receive(bytes));
                    stream.received += u64::from(bytes);
                    stream.unread += bytes;
                }
                Step::Consume(at, bytes) => {
                    let stream = &mut streams[at];
                    let bytes = bytes.min(stream.unread);
                    stream.unread -= bytes;
                    let grant = stream.window.consume(bytes, &mut growth, || now);
                    stream.granted += u64::from(grant.unwrap_or(0));
                    prop_assert!(grant != Some(0));
                    let open = u64::from(INITIAL_WINDOW) + stream.granted - stream.received;
                    let size = u64::from(stream.window.size());
                    // What is open and what lies unread is never more than the window…
                    prop_assert!(open + u64::from(stream.unread) <= size);
                    // …and never less by a lot: no sender waits for a reader who has read all.
                    prop_assert!(open + u64::from(stream.unread) > size - size / 8);
                    prop_assert!(size <= u64::from(max_stream));
                    if !enabled || round_trip.is_none() {
                        prop_assert_eq!(size, u64::from(INITIAL_WINDOW));
                    }
                }
                Step::Wait(millis) => now += Duration::from_millis(millis),
                Step::End(at) => {
                    streams[at].window.release(&mut growth);
                    streams[at] = Stream::default();
                }
            }
            let grown: u64 = streams
                .iter()
                .map(|stream| u64::from(stream.window.size() - INITIAL_WINDOW))
                .sum();
            prop_assert_eq!(grown + growth.budget, budget);
        }
        for stream in &streams {
            stream.window.release(&mut growth);
        }
        prop_assert_eq!(growth.budget, budget, "what grew comes back");
    }
}
