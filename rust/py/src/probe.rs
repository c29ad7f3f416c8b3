//! The process of `portway diagnose`: one line of JSON for each step, as it ends.

use std::io::Write;

use portway_agent::probe::{Event, ProbePlan};

use crate::report::Fatal;
use crate::{plan, runtime};

/// Goes the ways of a plan.
///
/// # Errors
/// What the user is told.
pub(crate) fn run(descriptor: i32) -> Result<(), Fatal> {
    let plan: ProbePlan = plan::read(descriptor)?;
    let runtime = runtime::start(1, "portway-probe")?;
    runtime.block_on(portway_agent::probe::run(plan, &|event| tell(&event)));
    // A name that is still being resolved must not hold up the end.
    runtime.shutdown_background();
    Ok(())
}

fn tell(event: &Event) {
    if let Ok(mut line) = serde_json::to_string(event) {
        line.push('\n');
        // Nobody has to read it.
        let mut out = std::io::stdout().lock();
        let _ = out.write_all(line.as_bytes()).and_then(|()| out.flush());
    }
}
