//! The way of one request: route, policy, agent, and the response back through policy.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header, response};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use portway_mux::{ErrorCode, StreamReset};
use portway_policy::{Answer, Seen};
use portway_wire::{Code, Scheme};
use tokio::time::{sleep, timeout};

use super::body::{Body, Upload};
use super::fields::{self, AGENT_ERROR, ERROR_CODE};
use super::head::{self, Target};
use super::link::Links;
use super::pulse::Pulse;
use super::serve::Handshake;
use super::{page, upgrade, websocket};
use crate::core::Core;
use crate::endpoint::{Endpoint, Visit};
use crate::registry::{Others, Pick, Pool};

/// Before a request is tried again at an agent that seems not to know of its endpoint yet.
const SETTLE: Duration = Duration::from_millis(50);

/// One visitor's connection, which carries requests one after the other or, as h2, side by side.
pub(super) struct Connection {
    pub core: Arc<Core>,
    pub visit: Visit,
    /// `Http` or `Https`.
    pub scheme: Scheme,
    pub handshake: Handshake,
    pub pulse: Arc<Pulse>,
    pub links: Links,
}

/// Where a request goes.
pub(super) struct Route {
    pub target: Target,
    pub pool: Arc<Pool>,
    pub endpoint: Arc<Endpoint>,
}

// === impl Route ===

impl Route {
    /// Another member of the pool for a request that was let in and made ready for this one: a leg of
    /// the same endpoint, or one of which neither asks for anything of its own.
    fn stand_in(&self) -> Option<Arc<Endpoint>> {
        if let Some(leg) = self.pool.another_leg(&self.endpoint) {
            return Some(leg);
        }
        let plain = |it: &Endpoint| it.chain.is_plain() && it.tls.is_none() && !it.rewrites_host;
        let other = self.pool.pick_another(&self.endpoint)?;
        (plain(&self.endpoint) && plain(&other) && other.http2 == self.endpoint.http2)
            .then_some(other)
    }
}

// === impl Connection ===

impl Connection {
    /// Answers a request, come what may.
    pub(super) async fn handle(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Infallible> {
        self.pulse.request();
        let (head, body) = request.into_parts();
        // What decides on the form of an error page; the head itself goes to the upstream.
        let forms = page_headers(&head);
        // The rest of a connection is not trusted when a head in it could be read in two ways.
        let one_by_one = head.version <= Version::HTTP_11;
        let response = match self.respond(head, body).await {
            Ok(response) => response,
            Err(answer) => {
                if let Some(code) = answer.code {
                    self.core.metrics.failed(code);
                }
                let mut response = page::response(&answer, &forms);
                if one_by_one && answer.status == 400 && answer.code.is_none() {
                    response
                        .headers_mut()
                        .insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                response
            }
        };
        self.pulse.beat();
        self.core.metrics.responded(response.status().as_u16());
        Ok(response)
    }

    async fn respond(&self, mut head: Parts, body: Incoming) -> Result<Response<Body>, Answer> {
        let limits = self.core.config.load().limits.clone();
        if head.headers.len() > limits.header_count {
            return Err(page::plain(431, "The request has too many headers."));
        }
        let target = head::target(&head).map_err(page::bad_request)?;
        let mut route = self.route(&head, target).await?;
        let chain = &route.endpoint.chain;
        chain.on_request(&head, self.visit.visitor.ip())?;
        let mut upload = Upload::visitor(body, limits.idle_timeout, self.pulse.clone());
        if let Some(webhook) = chain.webhook() {
            let bytes = match Limited::new(upload, limits.webhook_bytes).collect().await {
                Ok(body) => body.to_bytes(),
                Err(_) => {
                    return Err(page::plain(
                        413,
                        "The body is larger than can be verified here.",
                    ));
                }
            };
            let now = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |now| now.as_secs() as i64);
            let seen = Seen {
                headers: &head.headers,
                body: &bytes,
                now,
            };
            if !webhook.verify(seen) {
                return Err(Answer::refused(Code::WEBHOOK_FAILED));
            }
            upload = Upload::whole(bytes);
        }
        chain.breaker_admits()?;
        if chain.websocket_tcp() {
            return websocket::serve(self, &route, head).await;
        }
        let wants_upgrade =
            head.version == Version::HTTP_11 && fields::wants_upgrade(&head.headers);
        if wants_upgrade && !upload.is_empty() {
            return Err(page::bad_request(
                "A request that asks for another protocol cannot have a body.",
            ));
        }
        let wants_gzip = chain.compression() && accepts_gzip(&head);
        let is_head = head.method == Method::HEAD;
        let protocol = head.headers.get(header::UPGRADE).cloned();
        fields::strip_hop_by_hop(&mut head.headers);
        head.headers.remove(header::EXPECT);
        head.headers.remove(AGENT_ERROR);
        fields::add_forwarded(
            &mut head.headers,
            self.visit.visitor.ip(),
            self.scheme.as_str(),
            &route.target.shown,
        );
        if let Ok(host) = HeaderValue::from_str(&route.target.shown) {
            head.headers.insert(header::HOST, host);
        }
        chain.request_headers().apply(&mut head.headers);
        let upstream_host = head.headers.get(header::HOST).cloned();
        let response = if let (true, Some(protocol), false) =
            (wants_upgrade, protocol, route.endpoint.http2)
        {
            upgrade::serve(self, &route, head, protocol).await
        } else {
            self.send(&mut route, head, upload, limits.idle_timeout)
                .await
        };
        let endpoint = route.endpoint.clone();
        let response = response.inspect_err(|_| endpoint.chain.ended(true))?;
        self.finish(
            &route,
            response,
            upstream_host.as_ref(),
            wants_gzip && !is_head,
        )
    }

    // === route

    async fn route(&self, head: &Parts, target: Target) -> Result<Route, Answer> {
        let Some(pool) = self.core.registry.find(self.scheme, &target.host) else {
            return Err(self.nobody(head, &target));
        };
        let verified = self.handshake.verified.as_ref();
        // A pool whose members ask for client certificates: the handshake was with one of them.
        let settled = verified.filter(|endpoint| endpoint.is_live() && pool.holds(endpoint));
        let picked = settled.map_or_else(|| pool.pick(), |one| Pick::Ready(one.clone()));
        let endpoint = match picked {
            Pick::Ready(endpoint) => endpoint,
            Pick::Soon(endpoint) if endpoint.live().await => endpoint,
            Pick::Soon(_) | Pick::Nothing => return Err(offline(self.scheme, &target)),
        };
        // The handshake asked for the certificates of the name in it; only that name is open now.
        if endpoint.tls.is_some() && verified.is_none_or(|verified| !verified.is_leg_of(&endpoint))
        {
            return Err(page::plain(
                421,
                "This connection has shown no client certificate for this host; connect anew.",
            ));
        }
        if !self.is_in_reach(&target, &endpoint) {
            return Err(page::plain(
                421,
                "This connection was made for another host; connect anew.",
            ));
        }
        Ok(Route {
            target,
            pool,
            endpoint,
        })
    }

    /// The name of the handshake and the one asked for have one owner (edge.md §6): browsers share
    /// a connection between names of one certificate.
    pub(super) fn is_in_reach(&self, target: &Target, endpoint: &Endpoint) -> bool {
        let Some(name) = &self.handshake.name else {
            return true;
        };
        let owned = |pool: Arc<Pool>| match pool.pick() {
            Pick::Ready(other) | Pick::Soon(other) => other.account == endpoint.account,
            Pick::Nothing => false,
        };
        *name == target.host
            || self
                .core
                .registry
                .find(self.scheme, name)
                .is_some_and(owned)
    }

    /// The name is not served over this scheme.
    fn nobody(&self, head: &Parts, target: &Target) -> Answer {
        let secure = self.scheme == Scheme::Http
            && self
                .core
                .registry
                .find(Scheme::Https, &target.host)
                .is_some();
        if let (true, Some(port)) = (secure, self.core.ports.https) {
            let port = if port == 443 {
                String::new()
            } else {
                format!(":{port}")
            };
            let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
            if let Ok(location) =
                HeaderValue::from_str(&format!("https://{}{port}{path}", target.host))
            {
                return Answer {
                    header: Some((header::LOCATION, location)),
                    ..page::plain(307, "This address is served over https.")
                };
            }
        }
        offline(self.scheme, target)
    }

    // === to the agent and back

    async fn send(
        &self,
        route: &mut Route,
        head: Parts,
        upload: Upload,
        limit: Duration,
    ) -> Result<Response<Incoming>, Answer> {
        let uploading = upload.pulse();
        let bodyless = upload.is_empty();
        let repeatable = bodyless && head.method.is_idempotent();
        let mut request = prepare(head, upload, &route.endpoint);
        for attempt in 0.. {
            let taken = self.links.take(&route.endpoint, self.visit).await;
            let (mut link, used) = match taken {
                Ok(link) => link,
                Err(code) => match route.stand_in() {
                    Some(other) if attempt < 2 => {
                        route.endpoint = other;
                        continue;
                    }
                    _ => return Err(page::error(code, code.text())),
                },
            };
            // A used connection may have been closed by the upstream while we write.
            let again = repeatable && (used || route.endpoint.is_young());
            let pooled = bodyless && route.pool.others() != Others::Nobody;
            let mut spare = (attempt == 0 && (again || pooled)).then(|| copy(&request));
            // A body takes as long as it takes.
            let sent = match &uploading {
                Some(pulse) => pulse.outlasts(limit, link.send(request)).await,
                None => timeout(limit, link.send(request)).await.ok(),
            };
            let Some(sent) = sent else {
                return Err(late(&route.target.host));
            };
            match sent {
                Ok(response) => {
                    self.links.put(&route.endpoint, link);
                    return Ok(response);
                }
                Err(mut failed) => {
                    if let (Some(unsent), true) = (failed.take_message(), attempt < 2) {
                        request = unsent;
                        continue;
                    }
                    let error = failed.into_error();
                    if reset_code(&error).is_some_and(is_turned_away) {
                        let Some((spare, other)) = spare.zip(route.stand_in()) else {
                            let code = Code::NOTHING_AVAILABLE;
                            return Err(page::error(code, code.text()));
                        };
                        request = spare;
                        route.endpoint = other;
                        continue;
                    }
                    if repeatable
                        && let Some(leg) = route.pool.leg_instead(&route.endpoint)
                        && let Some(spare) = spare.take()
                    {
                        request = spare;
                        route.endpoint = leg;
                        continue;
                    }
                    // An answer that cannot be read is one: only silence is asked again.
                    if let Some(spare) = spare.filter(|_| again && !error.is_parse()) {
                        if !used {
                            // The agent does not know of its endpoint yet.
                            sleep(SETTLE).await;
                        }
                        request = spare;
                        continue;
                    }
                    return Err(failure(&error, &route.target));
                }
            }
        }
        unreachable!("the loop ends by returning")
    }

    fn finish(
        &self,
        route: &Route,
        response: Response<Incoming>,
        upstream_host: Option<&HeaderValue>,
        wants_gzip: bool,
    ) -> Result<Response<Body>, Answer> {
        let (mut head, body) = response.into_parts();
        let endpoint = &route.endpoint;
        if let Some(answer) = agent_error(&head, endpoint) {
            endpoint.chain.ended(true);
            return Err(answer);
        }
        endpoint.chain.ended(head.status.is_server_error());
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            // Made by `upgrade`, which has taken off what is not the visitor's.
            return Ok(Response::from_parts(head, Body::empty()));
        }
        head.version = Version::HTTP_11;
        if head.headers.contains_key(header::TRANSFER_ENCODING) {
            head.headers.remove(header::CONTENT_LENGTH);
        }
        fields::strip_hop_by_hop(&mut head.headers);
        head.headers.remove(ERROR_CODE);
        head.headers.remove(AGENT_ERROR);
        if endpoint.rewrites_host
            && let Some(host) = upstream_host
        {
            rewrite_location(&mut head, host, self.scheme, &route.target.shown);
        }
        endpoint.chain.response_headers().apply(&mut head.headers);
        if wants_gzip && compressible(&head) {
            head.headers.remove(header::CONTENT_LENGTH);
            head.headers
                .insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            head.headers
                .append(header::VARY, HeaderValue::from_static("accept-encoding"));
            return Ok(Response::from_parts(head, Body::compressed(body)));
        }
        Ok(Response::from_parts(
            head,
            Body::upstream(body, Some(endpoint.clone()), self.pulse.clone()),
        ))
    }
}

/// The request as it goes to the agent: origin form for HTTP/1.1, all of it for HTTP/2.
fn prepare(mut head: Parts, upload: Upload, endpoint: &Endpoint) -> Request<Upload> {
    let path = head.uri.path_and_query().cloned();
    let path = path.unwrap_or_else(|| http::uri::PathAndQuery::from_static("/"));
    if endpoint.http2 {
        let host = head.headers.remove(header::HOST);
        let authority = host
            .as_ref()
            .and_then(|host| host.to_str().ok())
            .unwrap_or("localhost");
        let built = Uri::builder()
            .scheme("http")
            .authority(authority)
            .path_and_query(path)
            .build();
        head.uri = built.unwrap_or_else(|_| Uri::from_static("http://localhost/"));
        head.version = Version::HTTP_2;
    } else {
        head.uri = path.into();
        head.version = Version::HTTP_11;
        // Left to itself, hyper sends no body of unknown length with a GET.
        if !upload.is_empty() && !head.headers.contains_key(header::CONTENT_LENGTH) {
            head.headers.insert(
                header::TRANSFER_ENCODING,
                HeaderValue::from_static("chunked"),
            );
        }
    }
    Request::from_parts(head, upload)
}

/// The same request once more; it has no body.
fn copy(request: &Request<Upload>) -> Request<Upload> {
    let mut copy = Request::new(Upload::whole(bytes::Bytes::new()));
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    copy
}

fn page_headers(head: &Parts) -> http::HeaderMap {
    let mut forms = http::HeaderMap::new();
    for name in [header::ACCEPT, header::USER_AGENT] {
        if let Some(value) = head.headers.get(&name) {
            forms.insert(name, value.clone());
        }
    }
    forms
}

fn offline(scheme: Scheme, target: &Target) -> Answer {
    page::error(
        Code::OFFLINE,
        format!("The endpoint {scheme}://{} is offline.", target.host),
    )
}

/// The upstream of this host has taken too long.
pub(super) fn late(host: &str) -> Answer {
    page::error(
        Code::UPSTREAM_TIMEOUT,
        format!("The upstream of {host} did not answer in time."),
    )
}

/// What went wrong between edge and upstream, as far as it can be told.
pub(super) fn failure(error: &hyper::Error, target: &Target) -> Answer {
    if error.is_user() {
        return page::plain(400, "The body of the request ended early.");
    }
    let io = io_error(error);
    broken(io.map(io::Error::kind), reset_code(error), &target.host)
}

/// The same for a stream that has ended before its response.
pub(super) fn broken(kind: Option<io::ErrorKind>, reset: Option<ErrorCode>, host: &str) -> Answer {
    match kind {
        Some(io::ErrorKind::ConnectionAborted) => page::error(
            Code::AGENT_UNREACHABLE,
            format!("The agent that serves {host} went away during the request."),
        ),
        _ if reset.is_some_and(is_turned_away) => {
            page::error(Code::NOTHING_AVAILABLE, Code::NOTHING_AVAILABLE.text())
        }
        _ => page::error(
            Code::BAD_UPSTREAM_ANSWER,
            format!("The upstream of {host} gave no valid HTTP answer."),
        ),
    }
}

fn io_error(error: &hyper::Error) -> Option<&io::Error> {
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        if let Some(error) = inner.downcast_ref::<io::Error>() {
            return Some(error);
        }
        source = inner.source();
    }
    None
}

/// The agent has no room for a stream, and has not looked at what is in it.
fn is_turned_away(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::ACCEPT_QUEUE_FULL | ErrorCode::STREAM_REFUSED
    )
}

pub(super) fn reset_code(error: &hyper::Error) -> Option<ErrorCode> {
    io_error(error).and_then(StreamReset::code_of)
}

/// The agent's own error page: the edge shows its own instead. The token proves who made it.
fn agent_error(head: &response::Parts, endpoint: &Endpoint) -> Option<Answer> {
    agent_answer(head.headers.get(AGENT_ERROR)?.to_str().ok()?, endpoint)
}

/// The page for what an agent says in that header.
pub(super) fn agent_answer(said: &str, endpoint: &Endpoint) -> Option<Answer> {
    let mut parts = said.splitn(3, ' ');
    let (code, token, message) = (parts.next()?, parts.next()?, parts.next()?);
    let number = code.strip_prefix("ERR_NGROK_")?.parse().ok()?;
    (token == endpoint.token.expose()).then(|| page::error(Code(number), message))
}

/// Absolute redirects to the upstream's own name lead visitors to the public one.
fn rewrite_location(head: &mut response::Parts, host: &HeaderValue, scheme: Scheme, shown: &str) {
    let (Some(location), Ok(host)) = (head.headers.get(header::LOCATION), host.to_str()) else {
        return;
    };
    let Ok(location) = location.to_str() else {
        return;
    };
    let rest = ["http://", "https://"]
        .iter()
        .find_map(|prefix| location.strip_prefix(prefix));
    if let Some(rest) = rest.and_then(|rest| rest.strip_prefix(host))
        && (rest.is_empty() || rest.starts_with(['/', '?', '#']))
        && let Ok(location) = HeaderValue::from_str(&format!("{scheme}://{shown}{rest}"))
    {
        head.headers.insert(header::LOCATION, location);
    }
}

fn accepts_gzip(head: &Parts) -> bool {
    head.headers
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|coding| {
            let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
            let refused = weight
                .trim()
                .strip_prefix("q=")
                .is_some_and(|q| q.parse::<f32>().is_ok_and(|q| q == 0.0));
            matches!(name.trim(), "gzip" | "*") && !refused
        })
}

/// Events and gRPC messages must not wait in a compressor.
fn compressible(head: &response::Parts) -> bool {
    let kind = head
        .headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .unwrap_or_default();
    let streams = kind.starts_with("text/event-stream") || kind.starts_with("application/grpc");
    let bodyless = matches!(
        head.status,
        StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED | StatusCode::PARTIAL_CONTENT
    );
    !streams && !bodyless && !head.headers.contains_key(header::CONTENT_ENCODING)
}
