//! HTTP that is answered here instead of being passed on, by whatever it comes.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use portway_mux::any::AnyIo;

pub(crate) type Body = BoxBody<Bytes, io::Error>;

/// An answer under way.
pub(crate) type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

/// How a connection is served.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Manner {
    /// HTTP/1.1, one request, whose head may take so long.
    Once(Duration),
    /// HTTP/1.1 until the other side ends, which may still read then.
    Kept,
    /// The other side begins with the preface of HTTP/2.
    Http2,
}

/// A body that is there as a whole.
pub(crate) fn whole(body: impl Into<Bytes>) -> Body {
    Full::new(body.into())
        .map_err(|never| match never {})
        .boxed()
}

/// Answers every request that comes over `io` until that ends.
///
/// # Errors
/// What hyper says of a connection that broke or carried no HTTP.
pub(crate) async fn serve(
    io: AnyIo,
    manner: Manner,
    answer: impl Fn(Request<Incoming>) -> Answer + Send + Sync + 'static,
) -> Result<(), hyper::Error> {
    let answer: Box<dyn Fn(Request<Incoming>) -> Answer + Send + Sync> = Box::new(answer);
    let (io, service) = (TokioIo::new(io), service_fn(answer));
    let mut builder = http1::Builder::new();
    match manner {
        Manner::Http2 => {
            let builder = http2::Builder::new(TokioExecutor::new());
            return builder.serve_connection(io, service).await;
        }
        Manner::Once(head) => builder
            .timer(TokioTimer::new())
            .header_read_timeout(head)
            .keep_alive(false),
        Manner::Kept => builder.half_close(true),
    };
    builder.serve_connection(io, service).await
}
