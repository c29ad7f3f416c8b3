use std::collections::HashMap;

use portway_mux::sched::{QUICK_BYTES, Scheduler};
use proptest::prelude::*;

/// Quick frames that may go before a bulk one which is due.
const QUICK_IN_A_ROW: usize = 4;

proptest! {
    #[test]
    fn m47_nobody_starves(quick in 0u32..40, bulk in 0u32..40, turns in 1usize..2000) {
        let mut sched = Scheduler::default();
        let burst = |stream: u32| if stream < quick { 0 } else { QUICK_BYTES };
        for stream in 0..quick + bulk {
            sched.push(stream, burst(stream));
        }
        // All of them always have more to send.
        let mut last: HashMap<u32, usize> = HashMap::new();
        for turn in 0..turns {
            let Some(stream) = sched.pop() else { break };
            let waited = turn - last.insert(stream, turn).unwrap_or(0);
            let limit = if stream < quick {
                // Its ring once around, with a bulk frame behind every few of it.
                quick as usize + quick as usize / QUICK_IN_A_ROW + 1
            } else {
                bulk as usize * (QUICK_IN_A_ROW + 1) + QUICK_IN_A_ROW
            };
            prop_assert!(waited <= limit, "{} waited {waited} turns of {limit}", stream);
            sched.push(stream, burst(stream));
        }
    }

    #[test]
    fn m47_a_small_stream_waits_for_one_bulk_frame(bulk in 1u32..100, before in 0usize..300) {
        let mut sched = Scheduler::default();
        for stream in 0..bulk {
            sched.push(stream, QUICK_BYTES);
        }
        for _ in 0..before {
            let stream = sched.pop().unwrap();
            sched.push(stream, QUICK_BYTES);
        }
        sched.push(1000, 0);
        let turns = (0..2).position(|_| sched.pop() == Some(1000));
        prop_assert!(turns.is_some());
    }

    #[test]
    fn what_went_in_comes_out_once(pushed in prop::collection::vec((any::<u32>(), 0..2 * QUICK_BYTES), 0..200)) {
        let mut sched = Scheduler::default();
        for (stream, burst) in &pushed {
            sched.push(*stream, *burst);
        }
        prop_assert_eq!(sched.len(), pushed.len());
        let mut out: Vec<u32> = std::iter::from_fn(|| sched.pop()).collect();
        prop_assert!(sched.is_empty());
        let mut all: Vec<u32> = pushed.iter().map(|(stream, _)| *stream).collect();
        all.sort_unstable();
        out.sort_unstable();
        prop_assert_eq!(out, all);
    }
}
