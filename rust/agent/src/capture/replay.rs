//! A request that was kept, sent once more (agent-api §6.4): from here to the upstream, past the
//! edge and its policies, over a connection of its own. It is kept like any other, and says which
//! one it repeats.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper_util::rt::{TokioExecutor, TokioIo};
use portway_mux::any::AnyIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::timeout;

use super::recorder::Interest;
use super::{Entry, Exchange, Id, Origin, Store};
use crate::endpoint::Endpoint;
use crate::forward::file;
use crate::forward::tap::{Side, Spoke, Tapped};
use crate::forward::unreachable::Page;
use crate::forward::upstream::Upstream;
use crate::session::Agent;

/// How long who asked for it waits for the answer. Libraries give up after four seconds.
const ANSWER: Duration = Duration::from_secs(3);
/// How long the answer is followed.
const FOLLOWED: Duration = Duration::from_mins(5);
/// Tells the upstream what this is (edge.md §8).
const REPLAY_OF: &str = "Ngrok-Replay-Original-Request-ID";
/// Between a folder and who asks it.
const FOLDER_PIPE: usize = 64 * 1024;

/// What is to be different this time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Edits {
    /// Another endpoint's upstream.
    pub(crate) endpoint: Option<String>,
    pub(crate) method: Option<String>,
    /// And query.
    pub(crate) path: Option<String>,
    /// In the place of all there were. What tells the length is made anew in any case. Of a value, a
    /// character is a byte, as in what the page gets of it.
    pub(crate) headers: Option<Vec<(String, String)>>,
    pub(crate) body: Option<Bytes>,
    pub(crate) trailers: Option<Vec<(String, String)>>,
}

/// Why it cannot be sent; a text for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReplayError {
    #[error("no captured request has this id; it may have made room for newer ones")]
    NoRequest,
    #[error("no endpoint is called {0:?}")]
    NoEndpoint(String),
    #[error("{0}")]
    Refused(String),
    #[error("too many requests are being replayed; try again when some have their answers")]
    TooMany,
}

/// A request that is ready to go.
struct Ready {
    method: String,
    target: String,
    headers: Vec<(Vec<u8>, Vec<u8>)>,
    body: Vec<u8>,
    trailers: Vec<(Vec<u8>, Vec<u8>)>,
    chunked: bool,
}

/// Sends a request once more. Resolves with the id of the new one when its answer is there, or when
/// that takes long.
///
/// # Errors
/// [`ReplayError`]; an upstream that is down is none, but a 502 in the record.
pub(crate) async fn replay(agent: &Arc<Agent>, id: &str, edits: Edits) -> Result<Id, ReplayError> {
    let store = agent.forwarder.captured.clone();
    let store = store.ok_or(ReplayError::NoRequest)?;
    let original = store.find(id).ok_or(ReplayError::NoRequest)?;
    let exchange = original.look().ok_or(ReplayError::NoRequest)?;
    let name = edits.endpoint.as_deref().unwrap_or(&original.endpoint);
    let endpoint = agent.roster.get(name);
    let endpoint = endpoint.ok_or_else(|| ReplayError::NoEndpoint(name.to_owned()))?;
    if !endpoint.is_http() {
        let text = format!("the endpoint {name:?} takes no HTTP requests");
        return Err(ReplayError::Refused(text));
    }
    let place = store.replays.clone().try_acquire_owned();
    let place = place.map_err(|_| ReplayError::TooMany)?;
    let ready = Ready::new(&exchange, edits, &store.text(original.id))?;
    let origin = Origin {
        endpoint: endpoint.plan.name.as_str().into(),
        visitor: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        replay_of: Some(original.id),
    };
    let entry = ready.keep(&store, &origin, endpoint.is_http2())?;
    let new = entry.id;
    let interest = Interest {
        metrics: None,
        board: agent.board.watched().then(|| agent.board.clone()),
        store: Some((store, origin)),
        given: Some(entry.clone()),
        at: None,
    };
    let sending = tokio::spawn(async move {
        let sent = timeout(FOLLOWED, ready.send(&endpoint, interest.clone()));
        if let Ok(Err(Down(Some(page)))) = sent.await {
            told(&interest, &entry, &page);
        }
        // Whatever became of it, it is over.
        interest.change(Some(&entry), |exchange| {
            let took = exchange.since.elapsed();
            exchange.broke("the connection ended before the answer did", took);
        });
        drop(place);
    });
    let _ = timeout(ANSWER, sending).await;
    Ok(new)
}

/// There was no answer; perhaps with the page that says why.
struct Down(Option<Page>);

/// The upstream is down: the record shows what a visitor would have got.
fn told(interest: &Interest, entry: &Arc<Entry>, page: &Page) {
    let body = page.text();
    let head = format!(
        "HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    interest.change(Some(entry), |exchange| {
        exchange.answered(head.as_bytes());
        exchange.received(body.as_bytes(), body.len() as u64);
        exchange.ended(exchange.since.elapsed());
    });
}

/// What a value is on the wire; with characters that are no bytes, it is meant as UTF-8.
fn bytes_of(value: &str) -> Vec<u8> {
    let bytes: Result<_, _> = value.chars().map(u8::try_from).collect();
    bytes.unwrap_or_else(|_| value.as_bytes().to_vec())
}

// === impl Ready ===

impl Ready {
    fn new(exchange: &Exchange, edits: Edits, id: &str) -> Result<Self, ReplayError> {
        let request = &exchange.request;
        let refuse = |text: &str| Err(ReplayError::Refused(text.into()));
        if edits.body.is_none() {
            if request.truncated {
                return refuse(
                    "its body was too long to be kept whole, so it cannot be sent again",
                );
            }
            if !request.complete {
                return refuse("its body has not come to its end, so it cannot be sent again");
            }
        }
        let owned = |fields: Vec<(String, String)>| {
            let bytes = fields.into_iter();
            bytes
                .map(|(name, value)| (name.into_bytes(), bytes_of(&value)))
                .collect()
        };
        let kept = |(name, value): (&[u8], &[u8])| (name.to_vec(), value.to_vec());
        let (method, target) = request.asked();
        let mut headers: Vec<_> = match edits.headers {
            Some(headers) => owned(headers),
            None => request.headers().map(kept).collect(),
        };
        let trailers = match edits.trailers {
            Some(trailers) => owned(trailers),
            None => request.trailer_fields().map(kept).collect(),
        };
        let is = |name: &[u8], known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        let was_chunked = headers
            .iter()
            .any(|(name, _)| is(name, "transfer-encoding"));
        let had_length = headers.iter().any(|(name, _)| is(name, "content-length"));
        headers.retain(|(name, _)| {
            let ours = ["transfer-encoding", "content-length", "expect", REPLAY_OF];
            !ours.iter().any(|known| is(name, known))
        });
        if !headers.iter().any(|(name, _)| is(name, "host")) {
            let host = request.headers().find(|(name, _)| is(name, "host"));
            headers.extend(host.map(kept));
        }
        headers.push((REPLAY_OF.into(), id.into()));
        let body = edits
            .body
            .map_or_else(|| request.body.clone(), |body| body.to_vec());
        let chunked = was_chunked || !trailers.is_empty();
        if chunked {
            headers.push((b"Transfer-Encoding".to_vec(), b"chunked".to_vec()));
        } else if had_length || !body.is_empty() {
            headers.push((
                b"Content-Length".to_vec(),
                body.len().to_string().into_bytes(),
            ));
        }
        let ready = Self {
            method: edits.method.unwrap_or_else(|| method.to_owned()),
            target: edits.path.unwrap_or_else(|| target.to_owned()),
            headers,
            body,
            trailers,
            chunked,
        };
        ready.check()?;
        Ok(ready)
    }

    /// That it is one request, and no more, whatever the edits say.
    fn check(&self) -> Result<(), ReplayError> {
        let refuse = |text: String| Err(ReplayError::Refused(text));
        if http::Method::from_bytes(self.method.as_bytes()).is_err() {
            return refuse(format!("{:?} is no method", self.method));
        }
        let printable = |byte: u8| byte > b' ' && byte != 0x7f;
        if self.target.is_empty() || !self.target.bytes().all(printable) {
            return refuse(format!(
                "{:?} is no path: blanks are written as %20",
                self.target
            ));
        }
        for (name, value) in self.headers.iter().chain(&self.trailers) {
            let shown = String::from_utf8_lossy(name);
            if HeaderName::from_bytes(name).is_err() {
                return refuse(format!("{shown:?} is no name of a header"));
            }
            if HeaderValue::from_bytes(value).is_err() {
                return refuse(format!(
                    "the header {shown} has a value that cannot be sent"
                ));
            }
        }
        Ok(())
    }

    fn head(&self, protocol: &str) -> Vec<u8> {
        let mut head = format!("{} {} {protocol}\r\n", self.method, self.target).into_bytes();
        head.extend(lines(&self.headers));
        head.extend_from_slice(b"\r\n");
        head
    }

    /// Makes the record of it, the request's side complete.
    fn keep(
        &self,
        store: &Arc<Store>,
        origin: &Origin,
        http2: bool,
    ) -> Result<Arc<Entry>, ReplayError> {
        let head = self.head(if http2 { "HTTP/2.0" } else { "HTTP/1.1" });
        let refused = || ReplayError::Refused("its headers are too long to be kept".into());
        let entry = store
            .begin(&head, origin, Instant::now())
            .ok_or_else(refused)?;
        store.change(&entry, |exchange| {
            exchange.sent(&self.body, self.body.len() as u64);
            if !self.trailers.is_empty() {
                let mut trailers = lines(&self.trailers);
                trailers.extend_from_slice(b"\r\n");
                exchange.sent_trailers(&trailers);
            }
            exchange.request.complete = true;
        });
        Ok(entry)
    }

    async fn send(self, endpoint: &Endpoint, interest: Interest) -> Result<(), Down> {
        let mut spoke = Spoke {
            http2: endpoint.is_http2(),
            fronted: false,
        };
        if let Upstream::Folder(root) = &endpoint.upstream {
            let (inner, outer) = tokio::io::duplex(FOLDER_PIPE);
            // A folder is no stranger: it takes either, and this one is simpler.
            let inner: AnyIo = Box::new(inner);
            let tapped = Tapped::new(inner, Side::Upstream, interest, Spoke::default());
            let (_, sent) = tokio::join!(
                file::serve(Box::new(outer), root.clone(), false),
                self.send_http1(tapped, b"")
            );
            return sent.map_err(|_| Down(None));
        }
        // An upstream that waits for a PROXY header gets one that names nobody.
        let front: &[u8] = match endpoint.plan.proxy_protocol {
            0 => b"",
            1 => b"PROXY UNKNOWN\r\n",
            _ => b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0",
        };
        let before_tls = matches!(endpoint.upstream, Upstream::Tls { .. });
        let connected = endpoint
            .upstream
            .connect(if before_tls { front } else { b"" })
            .await;
        let connection = connected.map_err(|unreachable| {
            Down(Some(Page {
                upstream: endpoint.plan.shown_upstream().to_owned(),
                cause: unreachable.0,
                token: None,
            }))
        })?;
        let front = if before_tls { b"" } else { front };
        spoke.fronted = !front.is_empty();
        let connection: AnyIo = Box::new(connection);
        let tapped = Tapped::new(connection, Side::Upstream, interest, spoke);
        if spoke.http2 {
            return self.send_http2(tapped, front).await.ok_or(Down(None));
        }
        self.send_http1(tapped, front).await.map_err(|_| Down(None))
    }

    /// Writes it, and reads until the answer is complete; the tap keeps what there is to keep.
    async fn send_http1(&self, mut tapped: Tapped<AnyIo>, front: &[u8]) -> io::Result<()> {
        let mut bytes = front.to_vec();
        bytes.extend(self.head("HTTP/1.1"));
        if self.chunked {
            if !self.body.is_empty() {
                bytes.extend_from_slice(format!("{:x}\r\n", self.body.len()).as_bytes());
                bytes.extend_from_slice(&self.body);
                bytes.extend_from_slice(b"\r\n");
            }
            bytes.extend_from_slice(b"0\r\n");
            bytes.extend(lines(&self.trailers));
            bytes.extend_from_slice(b"\r\n");
        } else {
            bytes.extend_from_slice(&self.body);
        }
        let (mut written, mut flushed) = (0, false);
        let mut space = vec![0; 16 * 1024];
        // Both at once: an answer may come before all is written, and has to be read for it to go on.
        poll_fn(|cx| {
            let mut io = Pin::new(&mut tapped);
            while written < bytes.len() {
                match io.as_mut().poll_write(cx, &bytes[written..]) {
                    Poll::Ready(Ok(0) | Err(_)) => written = bytes.len(),
                    Poll::Ready(Ok(more)) => written += more,
                    Poll::Pending => break,
                }
            }
            if written == bytes.len() && !flushed {
                flushed = io.as_mut().poll_flush(cx).is_ready();
            }
            loop {
                let mut buf = ReadBuf::new(&mut space);
                match io.as_mut().poll_read(cx, &mut buf) {
                    Poll::Ready(Ok(())) if buf.filled().is_empty() => return Poll::Ready(Ok(())),
                    Poll::Ready(Ok(())) if !io.waits() => return Poll::Ready(Ok(())),
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await
    }

    async fn send_http2(self, mut tapped: Tapped<AnyIo>, front: &[u8]) -> Option<()> {
        tokio::io::AsyncWriteExt::write_all(&mut tapped, front)
            .await
            .ok()?;
        let shaken =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(tapped));
        let (mut sender, connection) = shaken.await.ok()?;
        let driven = tokio::spawn(connection);
        let request = self.http2_request()?;
        let answer = async {
            let mut body = sender.send_request(request).await.ok()?.into_body();
            while let Some(frame) = body.frame().await {
                frame.ok()?;
            }
            Some(())
        };
        let answered = answer.await;
        driven.abort();
        let _ = driven.await;
        answered
    }

    fn http2_request(
        self,
    ) -> Option<Request<impl hyper::body::Body<Data = Bytes, Error = io::Error>>> {
        let mut headers = HeaderMap::new();
        let mut authority = String::from("localhost");
        for (name, value) in &self.headers {
            let name = HeaderName::from_bytes(name).ok()?;
            let value = HeaderValue::from_bytes(value).ok()?;
            match name.as_str() {
                "host" => value.to_str().ok()?.clone_into(&mut authority),
                "connection" | "keep-alive" | "proxy-connection" | "transfer-encoding"
                | "upgrade" => {}
                _ => {
                    headers.append(name, value);
                }
            }
        }
        let mut trailers = HeaderMap::new();
        for (name, value) in &self.trailers {
            trailers.append(
                HeaderName::from_bytes(name).ok()?,
                HeaderValue::from_bytes(value).ok()?,
            );
        }
        let uri = Uri::builder()
            .scheme("http")
            .authority(authority)
            .path_and_query(self.target)
            .build()
            .ok()?;
        let mut frames = Vec::new();
        if !self.body.is_empty() {
            frames.push(Ok(Frame::data(Bytes::from(self.body))));
        }
        if !trailers.is_empty() {
            frames.push(Ok(Frame::trailers(trailers)));
        }
        let body = StreamBody::new(futures_util::stream::iter(frames));
        let mut request = Request::new(body);
        *request.method_mut() = http::Method::from_bytes(self.method.as_bytes()).ok()?;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        Some(request)
    }
}

fn lines(fields: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let lines = fields.iter();
    lines
        .flat_map(|(name, value)| [name, &b": "[..], value, b"\r\n"].concat())
        .collect()
}
