//! A new connection for each request: TCP, TLS, one exchange, closed.

use std::time::Instant;

use hyper::header::{CONNECTION, HeaderValue};
use tokio::task::JoinSet;

use crate::Load;
use crate::dial::{Dialer, Failure};
use crate::steady::{failed, span};

pub(crate) async fn run(load: &Load) {
    let mut workers = JoinSet::new();
    for _ in 0..load.connections() {
        let (dialer, tally) = (load.dialer.clone(), load.tally.clone());
        workers.spawn(async move {
            while !tally.hopeless() {
                let from = Instant::now();
                match once(&dialer).await {
                    Ok(()) => tally.answered(from.elapsed()),
                    Err(failure) => failed(&tally, &failure).await,
                }
            }
        });
    }
    span(load, async { while workers.join_next().await.is_some() {} }).await;
}

async fn once(dialer: &Dialer) -> Result<(), Failure> {
    let mut request = dialer.get(None)?;
    request
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("close"));
    dialer.connect().await?.exchange(request).await
}
