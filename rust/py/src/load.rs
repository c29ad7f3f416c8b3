//! The process of a load generator. It ends when whoever started it closes its stdin, so that none
//! stays behind.

use std::io::Read;

use tokio::sync::oneshot;

use crate::report::Fatal;
use crate::{limits, plan, runtime};

/// Does what the plan says.
///
/// # Errors
/// What the user is told.
pub(crate) fn run(descriptor: i32) -> Result<(), Fatal> {
    let plan: portway_load::Plan = plan::read(descriptor)?;
    limits::raise_open_files();
    let (ended, end) = oneshot::channel();
    // A thread of its own: reading stdin cannot be called off.
    std::thread::spawn(move || {
        let mut byte = [0];
        while matches!(std::io::stdin().read(&mut byte), Ok(1..)) {}
        let _ = ended.send(());
    });
    let runtime = runtime::start(1, "portway-load")?;
    let result = runtime.block_on(portway_load::run(
        plan,
        Box::new(std::io::stdout()),
        async {
            let _ = end.await;
        },
    ));
    runtime.shutdown_background();
    result.map_err(Fatal)
}
