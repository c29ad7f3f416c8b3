//! What is told, a JSON object a line: `listening`, `probed`, `began`, `progress`, `done`.

use std::io::Write;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value, json};

use crate::tally::Tally;

/// How often progress is told.
pub(crate) const PROGRESS: Duration = Duration::from_millis(100);

pub(crate) struct Events {
    out: Mutex<Box<dyn Write + Send>>,
}

// === impl Events

impl Events {
    pub(crate) fn new(out: Box<dyn Write + Send>) -> Self {
        Self {
            out: Mutex::new(out),
        }
    }

    pub(crate) fn tell(&self, event: &Value) {
        if let Ok(mut out) = self.out.lock() {
            // Who reads this has gone, and ends us by closing our stdin.
            let _ = writeln!(out, "{event}").and_then(|()| out.flush());
        }
    }

    pub(crate) fn done(&self, tally: &Tally) {
        let mut figures = tally.figures();
        figures["event"] = json!("done");
        self.tell(&figures);
    }
}
