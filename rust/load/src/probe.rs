//! One request before all others: whether the endpoint answers, and whether our own upstream does.

use serde_json::json;

use crate::dial::{Dialer, Failure};
use crate::event::Events;
use crate::serve::NAME;

pub(crate) async fn run(dialer: &Dialer, events: &Events) {
    events.tell(&match ask(dialer).await {
        Ok(ours) => json!({"event": "probed", "ours": ours}),
        Err(Failure::Status(status)) => {
            json!({"event": "probed", "failure": "status", "status": status, "text": ""})
        }
        Err(failure) => {
            json!({"event": "probed", "failure": failure.word(), "text": failure.to_string()})
        }
    });
}

/// Whether the upstream that answered is `serve`.
async fn ask(dialer: &Dialer) -> Result<bool, Failure> {
    let mut link = dialer.connect().await?;
    let answer = link.send(dialer.get(None)?).await?;
    Ok(answer
        .headers()
        .get("server")
        .is_some_and(|name| name == NAME))
}
