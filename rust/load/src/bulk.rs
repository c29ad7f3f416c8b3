//! Bulk both ways, and small requests beside it. Bytes of a download count as they arrive, those
//! of an upload once the answer says that all have.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::Load;
use crate::dial::{Dialer, Failure, Link};
use crate::serve::{BLOCK, Zeros};
use crate::steady::{failed, once, span};
use crate::tally::Tally;

/// What is fetched from our own upstream; a transfer is cut when its time is over.
const ENDLESS: &str = "/bytes/1099511627776";
/// How long bytes may be silent.
const SILENCE: Duration = Duration::from_secs(10);

/// Streams that load a measurement until it is over.
fn downloads(load: &Load) -> JoinSet<()> {
    let mut workers = JoinSet::new();
    let path = load.measure.bulk_path.as_deref().unwrap_or(ENDLESS);
    let path: Arc<str> = path.into();
    for _ in 0..load.connections() {
        let (dialer, tally) = (load.dialer.clone(), load.tally.clone());
        let path = path.clone();
        workers.spawn(async move {
            while !tally.hopeless() {
                if let Err(failure) = download(&dialer, &path, &tally).await {
                    failed(&tally, &failure).await;
                }
            }
        });
    }
    workers
}

pub(crate) async fn down(load: &Load) {
    let mut workers = downloads(load);
    span(load, async { while workers.join_next().await.is_some() {} }).await;
}

async fn download(dialer: &Dialer, path: &str, tally: &Tally) -> Result<(), Failure> {
    let mut link = dialer.connect().await?;
    let mut body = link.send(dialer.get(Some(path))?).await?.into_body();
    loop {
        match timeout(SILENCE, body.frame()).await {
            Err(_) => return Err(Failure::Late),
            Ok(None) => return Ok(()),
            Ok(Some(Err(_))) => return Err(Failure::Lost),
            Ok(Some(Ok(frame))) => tally.moved(frame.data_ref().map_or(0, Bytes::len) as u64),
        }
    }
}

/// Small requests, one at a time, beside the downloads.
pub(crate) async fn loaded(load: &Load) {
    let _beside = downloads(load);
    let (dialer, tally) = (&load.dialer, &load.tally);
    span(load, async move {
        let mut link = None;
        while !tally.hopeless() {
            once(dialer, &mut link, tally, None).await;
        }
    })
    .await;
}

pub(crate) async fn up(load: &Load) {
    let Load {
        dialer,
        measure,
        tally,
        events,
    } = load;
    let mut workers = JoinSet::new();
    let path: Arc<str> = measure.bulk_path.as_deref().unwrap_or("/").into();
    // Time counts from when all are connected.
    let mut dialing = JoinSet::new();
    for _ in 0..load.connections() {
        let dialer = dialer.clone();
        dialing.spawn(async move { dialer.connect().await });
    }
    let links = dialing.join_all().await;
    tally.begin(false);
    events.tell(&serde_json::json!({"event": "began"}));
    let until = Instant::now() + measure.time();
    let handed = Arc::new(AtomicU64::new(0));
    for mut link in links {
        let (dialer, tally, path) = (dialer.clone(), tally.clone(), path.clone());
        let handed = handed.clone();
        workers.spawn(async move {
            loop {
                let sent = match link {
                    Ok(link) => upload(&dialer, link, &path, &tally, until, &handed).await,
                    Err(failure) => Err(failure),
                };
                if let Err(failure) = sent {
                    failed(&tally, &failure).await;
                }
                if tally.hopeless() || Instant::now() >= until {
                    break;
                }
                link = dialer.connect().await;
            }
        });
    }
    let mut beat = tokio::time::interval(crate::event::PROGRESS);
    let silent = until + SILENCE;
    loop {
        tokio::select! {
            one = workers.join_next() => if one.is_none() { break },
            _ = beat.tick() => {
                let mut progress = tally.progress();
                progress["bytes"] = handed.load(Ordering::Relaxed).into();
                events.tell(&progress);
                if Instant::now() > silent {
                    tally.failed(&Failure::Late.to_string());
                    break;
                }
            }
        }
    }
    tally.end();
}

async fn upload(
    dialer: &Dialer,
    mut link: Link,
    path: &str,
    tally: &Tally,
    until: Instant,
    handed: &Arc<AtomicU64>,
) -> Result<(), Failure> {
    let sent = Arc::new(AtomicU64::new(0));
    let body = Upload {
        until,
        sent: sent.clone(),
        all: handed.clone(),
    };
    let status = link
        .send_patiently(dialer.request("POST", Some(path), body.boxed())?)
        .await?;
    if status >= 400 {
        return Err(Failure::Status(status));
    }
    tally.moved(sent.load(Ordering::Relaxed));
    Ok(())
}

/// A body that ends when the time is over.
struct Upload {
    until: Instant,
    sent: Arc<AtomicU64>,
    all: Arc<AtomicU64>,
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if Instant::now() >= self.until {
            return Poll::Ready(None);
        }
        self.sent.fetch_add(BLOCK as u64, Ordering::Relaxed);
        self.all.fetch_add(BLOCK as u64, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(Zeros::block()))))
    }
}
