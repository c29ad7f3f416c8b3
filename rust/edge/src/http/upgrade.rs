//! Requests that turn into plain bytes (RFC 9110 §7.8): WebSocket and others. After the upstream's
//! 101 the stream and the visitor's connection are joined.

use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use portway_mux::copy::{Joint, join};
use portway_policy::Answer;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::body::Upload;
use super::link::{Link, Transport};
use super::page;
use super::proxy::{Connection, Route, failure};

/// Sends the request on a stream of its own. Where the upstream agrees, both sides become bytes in
/// a task that outlives the request.
///
/// # Errors
/// The [`Answer`] where there is no response.
pub(super) async fn serve(
    connection: &Connection,
    route: &Route,
    mut head: Parts,
    protocol: HeaderValue,
) -> Result<Response<Incoming>, Answer> {
    if head.method != Method::GET {
        return Err(page::plain(400, "Only a GET can ask for another protocol."));
    }
    let on_visitor = head.extensions.remove::<hyper::upgrade::OnUpgrade>();
    head.headers
        .insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    head.headers.insert(header::UPGRADE, protocol);
    head.uri = head
        .uri
        .path_and_query()
        .cloned()
        .map_or(head.uri, Into::into);
    let mut sender = Link::open_for_upgrade(&route.endpoint, connection.visit)
        .await
        .map_err(|code| page::error(code, code.text()))?;
    let limit = connection.core.config.load().limits.idle_timeout;
    let request = Request::from_parts(head, Upload::whole(bytes::Bytes::new()));
    let mut response = match timeout(limit, sender.send_request(request)).await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => return Err(failure(&error, &route.target)),
        Err(_) => {
            return Err(page::error(
                portway_wire::Code::UPSTREAM_TIMEOUT,
                "The upstream did not answer in time.",
            ));
        }
    };
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        connection.pulse.upgraded();
        let on_agent = hyper::upgrade::on(&mut response);
        let Some(on_visitor) = on_visitor else {
            return Err(page::bad_request(
                "This connection cannot change its protocol.",
            ));
        };
        let (core, visitor, endpoint) = (
            connection.core.clone(),
            connection.visit.visitor,
            route.endpoint.clone(),
        );
        let idle = Some(core.config.load().limits.tcp_idle_timeout);
        tokio::spawn(async move {
            if let (Ok(visitor_side), Ok(agent_side)) = (on_visitor.await, on_agent.await) {
                tokio::select! {
                    () = joined(visitor_side, agent_side, idle) => {}
                    () = core.reached(crate::core::Stage::Stopped) => {}
                }
                tracing::debug!(obj = "visitor", url = %endpoint.url, r = %visitor, "upgraded connection closed");
            }
        });
    }
    Ok(response)
}

async fn joined(visitor: Upgraded, agent: Upgraded, idle: Option<std::time::Duration>) {
    let Ok(parts) = agent.downcast::<TokioIo<Transport>>() else {
        return;
    };
    let Some(stream) = parts.io.into_inner().into_stream() else {
        return;
    };
    let mut visitor = TokioIo::new(visitor);
    // What came in one piece with the 101.
    if !parts.read_buf.is_empty() && visitor.write_all(&parts.read_buf).await.is_err() {
        stream.reset(portway_mux::ErrorCode::STREAM_CANCELLED);
        return;
    }
    let joint = Joint {
        half_close: true,
        idle,
    };
    join(visitor, stream, joint).await;
}
