//! A new connection for each request: TCP, TLS, one exchange, closed.

use std::sync::Arc;
use std::time::Instant;

use hyper::header::{CONNECTION, HeaderValue};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::dial::{Dialer, Failure};
use crate::event::Events;
use crate::plan::Measure;
use crate::steady::{REST, span};
use crate::tally::Tally;

pub(crate) async fn run(
    dialer: &Arc<Dialer>,
    measure: &Measure,
    tally: &Arc<Tally>,
    events: &Events,
) {
    let mut workers = JoinSet::new();
    for _ in 0..measure.connections.max(1) {
        let (dialer, tally) = (dialer.clone(), tally.clone());
        workers.spawn(async move {
            while !tally.hopeless() {
                let from = Instant::now();
                match once(&dialer).await {
                    Ok(()) => tally.answered(from.elapsed()),
                    Err(failure) => {
                        tally.failed(&failure.to_string());
                        sleep(REST).await;
                    }
                }
            }
        });
    }
    span(measure, tally, events, async {
        while workers.join_next().await.is_some() {}
    })
    .await;
}

async fn once(dialer: &Dialer) -> Result<(), Failure> {
    let mut request = dialer.get(None)?;
    request
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("close"));
    dialer.connect().await?.exchange(request).await
}
