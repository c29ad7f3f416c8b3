//! What is said once TLS stands: to an edge, the question before any login and then the login; to
//! anybody else, what time it is.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use portway_mux::{Config, ErrorCode};
use portway_wire::auth::{Abilities, AuthExtra, AuthRequest, AuthResponse, VERSION};
use portway_wire::{Refusal, Secret, stream_type};
use serde_json::json;
use tokio::time::timeout;

use super::ProbePlan;
use super::way::One;
use crate::dial::EdgeStream;
use crate::plan::Cas;
use crate::session::{arch, call, os, useless};

/// For a session and an answer.
const ANSWER: Duration = Duration::from_secs(10);

/// A session, what the edge says of itself without a login, and the login where there is a token.
pub(crate) async fn talk(one: &One<'_>, plan: &ProbePlan, stream: EdgeStream, token: &Secret) {
    let (mux, acceptor, driver) = portway_mux::session(stream, Config::agent());
    let mut driver = tokio::spawn(driver);
    let started = Instant::now();
    let asked = timeout(ANSWER, call(&mux, stream_type::SRV_INFO, &json!({}))).await;
    let answer = match asked {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {ANSWER:?}")),
    };
    let mut over = None;
    if answer.is_err() {
        mux.close(ErrorCode::NO_ERROR, "giving up");
        over = timeout(ANSWER, &mut driver).await.ok().and_then(Result::ok);
    }
    let why = over.as_deref().and_then(useless);
    let answer = answer.map_err(|text| why.unwrap_or(text));
    let mut event = one.event("protocol");
    if let Ok(answer) = &answer {
        event.region = answer["Region"].as_str().map(str::to_owned);
    }
    one.told(event, started, &answer, 8004);
    if answer.is_ok() && !token.expose().is_empty() {
        let started = Instant::now();
        let refused = log_in(&mux, plan, token).await;
        let code = refused.as_ref().err().map_or(0, |refused| refused.code);
        let result = refused.map_err(|refused| refused.text);
        one.told(one.event("auth"), started, &result, code);
    }
    mux.close(ErrorCode::NO_ERROR, "no error");
    drop(acceptor);
    if over.is_none() {
        let _ = timeout(ANSWER, driver).await;
    }
}

struct Refused {
    text: String,
    code: u16,
}

async fn log_in(
    mux: &portway_mux::Session,
    plan: &ProbePlan,
    token: &Secret,
) -> Result<(), Refused> {
    let version = env!("CARGO_PKG_VERSION");
    let request = AuthRequest {
        version: vec![VERSION.into(), "2".into()],
        extra: AuthExtra {
            os: os().into(),
            arch: arch().into(),
            authtoken: token.clone(),
            version: version.into(),
            user_agent: format!("portway/{version}"),
            custom_cas: !matches!(plan.edge.cas, Cas::Trusted),
            client_type: "portway".into(),
            portway: Some(Abilities::default()),
            ..AuthExtra::default()
        },
        ..AuthRequest::default()
    };
    let other = |text: String| Refused { text, code: 0 };
    let asked = timeout(ANSWER, call(mux, stream_type::AUTH, &request.encode())).await;
    let answer = asked
        .map_err(|_| other(format!("no answer within {ANSWER:?}")))?
        .map_err(|error| other(error.to_string()))?;
    let response = AuthResponse::decode(&answer).map_err(|error| other(error.to_string()))?;
    if response.error.is_empty() {
        return Ok(());
    }
    let refusal = Refusal::parse(&response.error);
    Err(Refused {
        text: refusal.message,
        code: refusal.code.0,
    })
}

/// The time by the answer to a request, in seconds of Unix.
///
/// # Errors
/// Why there is none.
pub(crate) async fn date(stream: EdgeStream, host: &str) -> Result<i64, String> {
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(64 * 1024)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    let connection = tokio::spawn(connection);
    let request = http::Request::head("/")
        .header(http::header::HOST, host)
        .header(http::header::USER_AGENT, "portway")
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let answer = sender.send_request(request).await;
    connection.abort();
    let answer = answer.map_err(|error| error.to_string())?;
    let date = answer.headers().get(http::header::DATE);
    let date = date.and_then(|date| date.to_str().ok());
    let date = date.ok_or("the answer has no date")?;
    let time =
        httpdate::parse_http_date(date).map_err(|_| "the date of the answer makes no sense")?;
    let since = time
        .duration_since(std::time::UNIX_EPOCH)
        .map_err(|error| error.to_string())?;
    i64::try_from(since.as_secs()).map_err(|error| error.to_string())
}
