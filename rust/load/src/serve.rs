//! The upstream of a tunnel that is measured: it answers at once, sends as many bytes as are asked
//! for (`/bytes/COUNT`), and takes any body. Loopback only.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue, SERVER};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use crate::event::Events;
use crate::steady::REST;

/// By this an upstream of ours is known.
pub(crate) const NAME: &str = "portway-bench";
/// One piece of bulk.
pub(crate) const BLOCK: usize = 64 * 1024;
static ZEROS: [u8; BLOCK] = [0; BLOCK];

pub(crate) async fn run(
    port: u16,
    events: &Events,
    stop: impl Future<Output = ()>,
) -> Result<(), String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .await
        .map_err(|error| format!("cannot listen on 127.0.0.1:{port}: {error}"))?;
    let bound = listener.local_addr().map_err(|error| error.to_string())?;
    events.tell(&json!({"event": "listening", "port": bound.port()}));
    let accept = async {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    tokio::spawn(connection(stream));
                }
                // Out of files, mostly: that passes.
                Err(_) => sleep(REST).await,
            }
        }
    };
    tokio::select! {
        () = stop => {}
        () = accept => {}
    }
    Ok(())
}

async fn connection(stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    // Visitors leave in the middle of things.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service_fn(answer))
        .await;
}

async fn answer(request: Request<Incoming>) -> Result<Response<Zeros>, hyper::Error> {
    let asked = request.uri().path().strip_prefix("/bytes/");
    let left = asked.and_then(|count| count.parse().ok()).unwrap_or(2);
    let mut body = request.into_body();
    while let Some(frame) = body.frame().await {
        frame?;
    }
    let mut response = Response::new(Zeros { left });
    let headers = response.headers_mut();
    headers.insert(SERVER, HeaderValue::from_static(NAME));
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    Ok(response)
}

/// So many bytes of nothing.
pub(crate) struct Zeros {
    left: u64,
}

// === impl Zeros

impl Zeros {
    pub(crate) fn block() -> Bytes {
        Bytes::from_static(&ZEROS)
    }
}

impl Body for Zeros {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let now = self.left.min(BLOCK as u64);
        self.left -= now;
        Poll::Ready(Some(Ok(Frame::data(Self::block().slice(..now as usize)))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
