//! The short way of a request: most have nothing that must be decided about, only passed on.
//!
//! One task reads a visitor's request, hands it to the agent, and passes the response back while it
//! comes, without a queue or a second task between. Heads are read by hyper's own parser and written
//! anew; nothing unparsed is passed on. Whatever asks for more than that, and whatever fails before
//! the visitor has seen any of it, is left to the long way ([`super::serve`]): this way knows no
//! policy, no upgrade, no second try.
//!
//! - here: the connection.
//! - [`request`]: which requests go this way, and what upstreams get to see.
//! - [`response`]: heads of responses.
//! - [`chunked`]: bodies in chunks.
//! - [`link`]: the stream to the agent.
//! - [`limit`]: how long something may take.

mod chunked;
mod limit;
mod link;
mod request;
mod response;

use std::io;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use portway_mux::StreamReset;
use portway_mux::copy::Outbox;
use portway_policy::Answer;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use self::chunked::Chunked;
use self::limit::Limit;
use self::link::Link;
use self::request::{Read, Request};
use self::response::{Framing, Head};
use super::head::{self, Target};
use super::proxy::{self, Connection};
use super::pulse::Watched;
use super::sieve::Sieve;
use super::{Unserved, page};
use crate::config::Limits;
use crate::core::Stage;
use crate::metrics::{Door, Turned};
use crate::registry::Pick;

/// A head that is larger goes the long way.
const HEAD_BYTES: usize = 16 * 1024;
/// Reads after which a head that is still not whole goes the long way: each looks at all of it.
const READS: usize = 8;
/// What a visitor may send ahead while a response is on its way.
const AHEAD: usize = 16 * 1024;
/// Bytes of a response's head.
const RESPONSE_HEAD: usize = 256 * 1024;
/// Bytes read at once.
const READ: usize = 8 * 1024;

/// Reads and rewrites both heads of an exchange; bytes that were written. For [`crate::parts`].
pub(crate) fn heads(request: &[u8], response: &[u8]) -> usize {
    let visitor = request::Visitor {
        address: "203.0.113.7".into(),
        scheme: "https",
    };
    let asked = match request::read(request, &visitor) {
        Read::Simple(request) => request.upstream.len(),
        _ => 0,
    };
    let answered = response::read(response, false, false);
    asked + answered.map_or(0, |head| head.map_or(0, |head| head.visitor.len()))
}

/// Serves requests as long as they are simple. Returns what is left to serve, if anything is.
pub(super) async fn serve<T>(
    connection: &Connection,
    door: Door,
    limits: &Limits,
    first: Bytes,
    io: T,
) -> Option<Unserved<T>>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let mut short = Short {
        connection,
        limits,
        visitor: request::Visitor {
            address: connection.visit.visitor.ip().to_string(),
            scheme: connection.scheme.as_str(),
        },
        target: None,
        link: None,
        limit: Limit::new(limits.head_timeout),
        input: BytesMut::from(first),
        out: Outbox::default(),
        io,
    };
    match short.run().await {
        Ok(Next::Hand) => {
            if let Some(link) = short.link.take() {
                let endpoint = link.endpoint.clone();
                if let Some(stream) = link.into_stream() {
                    connection.links.take_over(&endpoint, stream).await;
                }
            }
            Some(Unserved {
                first: short.input.freeze(),
                io: short.io,
            })
        }
        Ok(Next::Over) => {
            let mut io = Watched::new(short.io, connection.pulse.clone(), Sieve::new(0));
            // Whoever does not read the last answer is not waited for.
            let _ = io.shutdown().await;
            None
        }
        Err(Broken::Turned(why)) => {
            connection.core.metrics.turned(door, why);
            None
        }
        Err(Broken::Gone) => None,
    }
}

/// One visitor's connection of HTTP/1.1.
struct Short<'a, T> {
    connection: &'a Connection,
    limits: &'a Limits,
    visitor: request::Visitor,
    /// Of the last request: most are for the same host.
    target: Option<Target>,
    link: Option<Link>,
    limit: Limit,
    /// Read, and not answered yet: a request stays here until its response begins.
    input: BytesMut,
    out: Outbox,
    io: T,
}

enum Next {
    /// The rest is for the long way.
    Hand,
    /// Nothing more is served.
    Over,
}

/// The connection cannot go on, and nothing can be said any more.
enum Broken {
    /// The visitor or the upstream left in the middle.
    Gone,
    Turned(Turned),
}

/// What became of a request that was sent.
enum Reply {
    Begins(Head, Bytes),
    Failed(Answer),
    /// Nothing has come, and it may be sent again.
    Silent,
}

// === impl Short

impl<T: AsyncRead + AsyncWrite + Unpin> Short<'_, T> {
    async fn run(&mut self) -> Result<Next, Broken> {
        let core = &self.connection.core;
        let mut draining = pin!(core.reached(Stage::Draining));
        loop {
            let Some(request) = self.request(draining.as_mut()).await? else {
                let over = self.input.is_empty();
                return Ok(if over { Next::Over } else { Next::Hand });
            };
            let Some(mut link) = self.send(&request) else {
                return Ok(Next::Hand);
            };
            match self.reply(&mut link, &request).await? {
                Reply::Silent => return Ok(Next::Hand),
                Reply::Failed(answer) => {
                    self.connection.pulse.request();
                    if let Some(code) = answer.code {
                        core.metrics.failed(code);
                    }
                    core.metrics.responded(answer.status);
                    let forms = request::forms(&self.input);
                    let page = page::http1(&answer, &forms, request.is_head, request.last);
                    self.answered(&request);
                    self.out.push(page);
                    self.flush().await?;
                }
                Reply::Begins(head, rest) => {
                    self.connection.pulse.request();
                    core.metrics.responded(head.status);
                    self.answered(&request);
                    let whole = self
                        .body(&mut link, head.visitor.freeze(), rest, head.framing)
                        .await?;
                    link.used = true;
                    let keeps = head.keeps && whole && !request.last;
                    if keeps && !link.endpoint.session.is_crowded() {
                        self.link = Some(link);
                    }
                }
            }
            if request.last {
                return Ok(Next::Over);
            }
        }
    }

    /// The request is not needed any more.
    fn answered(&mut self, request: &Request) {
        let rest = self.input.split_off(request.length);
        // Idle connections hold no buffer.
        self.input = if rest.is_empty() {
            BytesMut::new()
        } else {
            rest
        };
    }

    /// The next request that goes this way; none where another comes, or nothing.
    async fn request(
        &mut self,
        mut draining: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<Option<Request>, Broken> {
        let core = &self.connection.core;
        self.limit.set(self.limits.head_timeout);
        for _ in 0..READS {
            if !self.input.is_empty() {
                match request::read(&self.input, &self.visitor) {
                    Read::Simple(mut request)
                        if request.head <= self.limits.header_bytes
                            && request.headers <= self.limits.header_count =>
                    {
                        request.last |= core.stage() >= Stage::Draining;
                        return Ok(Some(request));
                    }
                    Read::Begun if self.input.len() < HEAD_BYTES => {}
                    _ => return Ok(None),
                }
            }
            let came = std::future::poll_fn(|cx| {
                // An upstream that closes a kept connection, or says something nobody asked for.
                if let Some(link) = &mut self.link
                    && link.poll_chunk(cx).is_ready()
                {
                    self.link = None;
                }
                if self.input.is_empty() && draining.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Ok(false));
                }
                if self.limit.poll(cx).is_ready() {
                    return Poll::Ready(Err(Broken::Turned(self.connection.pulse.timed_out())));
                }
                self.poll_input(cx)
            });
            if !came.await? {
                return Ok(None);
            }
        }
        Ok(None)
    }

    /// Hands a request to its agent; none where that takes more than passing it on.
    fn send(&mut self, request: &Request) -> Option<Link> {
        let connection = self.connection;
        let shown = str::from_utf8(&self.input[request.host.clone()]).ok()?;
        if self
            .target
            .as_ref()
            .is_none_or(|target| target.shown != shown)
        {
            self.target = Some(head::named(shown).ok()?);
        }
        let target = self.target.as_ref()?;
        let pool = connection
            .core
            .registry
            .find(connection.scheme, &target.host)?;
        let last = self.link.as_ref().map(|link| &link.endpoint);
        let Pick::Ready(endpoint) = pool.pick_again(last) else {
            return None;
        };
        let plain = endpoint.chain.is_plain()
            && endpoint.tls.is_none()
            && !endpoint.http2
            && !endpoint.rewrites_host
            && !pool.is_shared();
        if !plain || !connection.is_in_reach(target, &endpoint) {
            return None;
        }
        if let Some(mut link) = self.link.take()
            && Arc::ptr_eq(&link.endpoint, &endpoint)
            && link.queue(request.upstream.clone())
        {
            return Some(link);
        }
        let stream = endpoint.try_connect(connection.visit, &request.upstream);
        Some(Link::new(endpoint, stream.ok()?))
    }

    /// Waits for the head of a response. A visitor that leaves meanwhile ends it all.
    async fn reply(&mut self, link: &mut Link, request: &Request) -> Result<Reply, Broken> {
        self.limit.set(self.limits.idle_timeout);
        let mut came = Bytes::new();
        loop {
            if !came.is_empty() {
                match response::read(&came, request.is_head, request.last) {
                    // Nobody has asked for another protocol.
                    Ok(Some(head)) if head.status == 101 => return Ok(self.failed(None)),
                    Ok(Some(head)) if head.status < 200 => {
                        let _interim = came.split_to(head.length);
                        continue;
                    }
                    Ok(Some(head)) => {
                        let said = head.agent_error.as_deref();
                        if let Some(answer) =
                            said.and_then(|said| proxy::agent_answer(said, &link.endpoint))
                        {
                            return Ok(Reply::Failed(answer));
                        }
                        let rest = came.split_off(head.length);
                        return Ok(Reply::Begins(head, rest));
                    }
                    Ok(None) if came.len() < RESPONSE_HEAD => {}
                    _ => return Ok(self.failed(None)),
                }
            }
            let more = std::future::poll_fn(|cx| {
                if let Poll::Ready(more) = link.poll_chunk(cx) {
                    return Poll::Ready(Ok(Some(more)));
                }
                self.poll_visitor(cx)?;
                self.limit.poll(cx).map(|()| Ok(None))
            });
            match more.await? {
                None => return Ok(Reply::Failed(proxy::late(self.host()))),
                Some(Ok(Some(chunk))) if came.is_empty() => came = chunk,
                Some(Ok(Some(chunk))) => came = [came, chunk].concat().into(),
                Some(ended) => {
                    let again = request.repeatable
                        && (link.used || link.endpoint.is_young() || self.has_a_leg_instead(link));
                    if came.is_empty() && again {
                        return Ok(Reply::Silent);
                    }
                    return Ok(self.failed(ended.err().filter(|_| came.is_empty()).as_ref()));
                }
            }
        }
    }

    /// Whether what one connection of an agent has lost can be asked for over another.
    fn has_a_leg_instead(&self, link: &Link) -> bool {
        let pool = self
            .connection
            .core
            .registry
            .find(self.connection.scheme, self.host());
        pool.is_some_and(|pool| pool.leg_instead(&link.endpoint).is_some())
    }

    fn failed(&self, error: Option<&io::Error>) -> Reply {
        Reply::Failed(proxy::broken(
            error.map(io::Error::kind),
            error.and_then(StreamReset::code_of),
            self.host(),
        ))
    }

    /// Whom the last request was for.
    fn host(&self) -> &str {
        self.target.as_ref().map_or("", |target| &target.host)
    }

    /// Passes head and body on while they come. `false`: the upstream said more than that, and what
    /// follows is no answer to anything.
    async fn body(
        &mut self,
        link: &mut Link,
        head: Bytes,
        rest: Bytes,
        framing: Framing,
    ) -> Result<bool, Broken> {
        let mut body = Body::new(framing);
        self.out.push(head);
        body.pass(rest, &mut self.out)?;
        std::future::poll_fn(|cx| {
            loop {
                self.poll_out(cx)?;
                if body.over && self.out.is_empty() {
                    return self.poll_flush(cx).map_ok(|()| !body.exceeded);
                }
                if !self.out.is_empty() || !body.poll_more(cx, link, &mut self.out)? {
                    break;
                }
            }
            if let Poll::Ready(flushed) = self.poll_flush(cx) {
                flushed?;
            }
            self.poll_visitor(cx)?;
            self.limit
                .poll(cx)
                .map(|()| Err(Broken::Turned(Turned::Idle)))
        })
        .await
    }

    async fn flush(&mut self) -> Result<(), Broken> {
        std::future::poll_fn(|cx| {
            self.poll_out(cx)?;
            if self.out.is_empty() {
                return self.poll_flush(cx);
            }
            self.limit
                .poll(cx)
                .map(|()| Err(Broken::Turned(Turned::Idle)))
        })
        .await
    }

    /// Writes what is there, as far as the visitor takes it.
    fn poll_out(&mut self, cx: &mut Context<'_>) -> Result<(), Broken> {
        while !self.out.is_empty() {
            match self.out.poll_write(cx, &mut self.io) {
                Poll::Ready(Ok(_)) => self.limit.set(self.limits.idle_timeout),
                Poll::Ready(Err(_)) => return Err(Broken::Gone),
                Poll::Pending => break,
            }
        }
        Ok(())
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        Pin::new(&mut self.io)
            .poll_flush(cx)
            .map_err(|_| Broken::Gone)
    }

    /// Takes what the visitor sends ahead, a little. One that leaves is broken off.
    fn poll_visitor(&mut self, cx: &mut Context<'_>) -> Result<(), Broken> {
        while self.input.len() < AHEAD {
            match self.poll_input(cx) {
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(Ok(false) | Err(_)) => return Err(Broken::Gone),
                Poll::Pending => break,
            }
        }
        Ok(())
    }

    /// Reads once; `false` at the end.
    fn poll_input(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Broken>> {
        let mut space = [const { MaybeUninit::uninit() }; READ];
        let mut buf = ReadBuf::uninit(&mut space);
        let read = ready!(Pin::new(&mut self.io).poll_read(cx, &mut buf));
        self.input.extend_from_slice(buf.filled());
        Poll::Ready(match read {
            Ok(()) => Ok(!buf.filled().is_empty()),
            Err(_) => Err(Broken::Gone),
        })
    }
}

/// The body of a response on its way.
struct Body {
    framing: Framing,
    chunked: Chunked,
    over: bool,
    /// Something has come behind its end.
    exceeded: bool,
}

// === impl Body ===

impl Body {
    fn new(framing: Framing) -> Self {
        Self {
            framing,
            chunked: Chunked::default(),
            over: framing == Framing::Length(0),
            exceeded: false,
        }
    }

    /// Takes what has come of it, up to one write full. `false`: nothing has.
    fn poll_more(
        &mut self,
        cx: &mut Context<'_>,
        link: &mut Link,
        out: &mut Outbox,
    ) -> Result<bool, Broken> {
        while !self.over && !out.is_full(true) {
            match link.poll_chunk(cx) {
                Poll::Ready(Ok(Some(chunk))) => self.pass(chunk, out)?,
                Poll::Ready(Ok(None)) if self.framing == Framing::UntilEnd => {
                    out.push(Bytes::from_static(b"0\r\n\r\n"));
                    self.over = true;
                }
                // Cut short. What came before is not held back, but it is not made whole either.
                Poll::Ready(_) if out.is_empty() => return Err(Broken::Gone),
                Poll::Ready(_) | Poll::Pending => break,
            }
        }
        Ok(!out.is_empty() || self.over)
    }

    fn pass(&mut self, mut bytes: Bytes, out: &mut Outbox) -> Result<(), Broken> {
        match &mut self.framing {
            Framing::Length(left) => {
                let length = bytes
                    .len()
                    .min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= length as u64;
                self.over = *left == 0;
                out.push(bytes.split_to(length));
                self.exceeded = !bytes.is_empty();
            }
            Framing::Chunked => {
                push_chunk(
                    self.chunked.data(&mut bytes).map_err(|_| Broken::Gone)?,
                    out,
                );
                if self.chunked.is_over() {
                    self.over = true;
                    self.exceeded = !bytes.is_empty();
                    out.push(Bytes::from_static(b"0\r\n\r\n"));
                }
            }
            Framing::UntilEnd => push_chunk(bytes, out),
        }
        Ok(())
    }
}

fn push_chunk(data: Bytes, out: &mut Outbox) {
    if !data.is_empty() {
        out.push(format!("{:x}\r\n", data.len()).into());
        out.push(data);
        out.push(Bytes::from_static(b"\r\n"));
    }
}
