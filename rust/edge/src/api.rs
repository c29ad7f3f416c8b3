//! `/healthz` and `/metrics`, for those who run the edge, and `/ca.crl` for its agents.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};

use crate::core::{Core, Stage};
use crate::metrics::{Door, Turned};

/// The list of revoked certificates.
pub(crate) const CRL: &str = "/ca.crl";

const HEAD: Duration = Duration::from_secs(10);
/// Connections at a time; who watches needs few.
const CONNECTIONS: usize = 64;

pub(crate) async fn accept(listener: TcpListener, core: Arc<Core>) {
    let places = Arc::new(tokio::sync::Semaphore::new(CONNECTIONS));
    loop {
        // A draining edge still tells that it drains.
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = core.reached(Stage::Stopped) => return,
        };
        let Ok((io, _)) = accepted else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            core.metrics.turned(Door::Api, Turned::Limit);
            continue;
        };
        let core = core.clone();
        tokio::spawn(async move {
            serve(core, io).await;
            drop(place);
        });
    }
}

async fn serve(core: Arc<Core>, io: TcpStream) {
    let _connected = core.metrics.connected(Door::Api);
    let service = service_fn(|request| {
        let response = answer(&core, &request);
        async move { Ok::<_, Infallible>(response) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .serve_connection(TokioIo::new(io), service)
        .await;
    match served {
        Err(error) if error.is_parse() => core.metrics.turned(Door::Api, Turned::Garbage),
        Err(error) if error.is_timeout() => core.metrics.turned(Door::Api, Turned::Slow),
        _ => {}
    }
}

fn answer(core: &Core, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let (status, kind, body) = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/healthz") => match core.stage() {
            Stage::Serving => (StatusCode::OK, "text/plain", "ok\n".into()),
            _ => (
                StatusCode::SERVICE_UNAVAILABLE,
                "text/plain",
                "draining\n".into(),
            ),
        },
        (&Method::GET | &Method::HEAD, CRL) => match core.authority.revoked() {
            Ok(list) => (StatusCode::OK, "application/pkix-crl", Bytes::from(list)),
            Err(error) => {
                tracing::error!(obj = "tls", err = %error, "cannot sign the list of revoked certificates");
                (
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "text/plain",
                    "the list of revoked certificates cannot be signed\n".into(),
                )
            }
        },
        (&Method::GET | &Method::HEAD, "/metrics") => (
            StatusCode::OK,
            "text/plain; version=0.0.4; charset=utf-8",
            core.metrics.text(core.registry.count()).into(),
        ),
        (_, "/healthz" | "/metrics" | CRL) => (
            StatusCode::METHOD_NOT_ALLOWED,
            "text/plain",
            "GET only\n".into(),
        ),
        _ => (
            StatusCode::NOT_FOUND,
            "text/plain",
            "there are /healthz, /metrics and /ca.crl here\n".into(),
        ),
    };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
