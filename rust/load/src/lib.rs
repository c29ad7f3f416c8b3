//! The load generator of `portway bench`: one measurement of one endpoint, or the small upstream
//! that measurements of a whole tunnel end at.
//!
//! It knows nothing of agents and edges; what it meets is HTTP/1.1 over TCP or TLS. Events go to
//! `out` as one JSON object a line; which there are is told in `event`.
//!
//! - [`plan`]: what is to be done. [`dial`]: connections. [`event`]: what is told.
//! - [`steady`], [`churn`], [`bulk`]: the measurements. [`tally`]: counts, latencies, what failed.
//! - [`serve`]: the upstream.

mod bulk;
mod churn;
mod dial;
mod event;
mod plan;
mod probe;
mod serve;
mod steady;
mod tally;

use std::io::Write;
use std::sync::Arc;

pub use plan::Plan;

use crate::dial::Dialer;
use crate::event::Events;
use crate::plan::{Kind, Measure};
use crate::tally::Tally;

/// A measurement while it runs: of what, how, and what has come of it so far.
struct Load {
    dialer: Arc<Dialer>,
    measure: Measure,
    tally: Arc<Tally>,
    events: Events,
}

// === impl Load ===

impl Load {
    fn connections(&self) -> usize {
        self.measure.connections.max(1)
    }
}

/// Does what the plan says, until it is done or `stop` is.
///
/// # Errors
/// A sentence for the user: what cannot be used of the plan, or a port that is taken.
pub async fn run(
    plan: Plan,
    out: Box<dyn Write + Send>,
    stop: impl Future<Output = ()>,
) -> Result<(), String> {
    let events = Events::new(out);
    match plan {
        Plan::Serve(serve) => serve::run(serve.port, &events, stop).await,
        Plan::Measure(measure) => {
            let dialer = Arc::new(Dialer::new(&measure.target)?);
            if let Kind::Probe = measure.kind {
                tokio::select! {
                    () = stop => {}
                    () = probe::run(&dialer, &events) => {}
                }
                return Ok(());
            }
            let load = Load {
                tally: Arc::new(Tally::new(measure.limit_failures)),
                dialer,
                measure,
                events,
            };
            let running = async {
                match load.measure.kind {
                    Kind::Probe => {}
                    Kind::Steady => steady::run(&load).await,
                    Kind::Churn => churn::run(&load).await,
                    Kind::Down => bulk::down(&load).await,
                    Kind::Up => bulk::up(&load).await,
                    Kind::Loaded => bulk::loaded(&load).await,
                }
            };
            // What was measured so far counts, however it ends.
            tokio::select! {
                () = stop => load.tally.cut(),
                () = running => {}
            }
            load.events.done(&load.tally);
            Ok(())
        }
    }
}
