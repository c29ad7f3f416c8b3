//! Messages of a session: each has a stream of its own, on which it is answered (wire-protocol §4.1).

use std::time::Duration;

use bytes::{BufMut, BytesMut};
use portway_mux::{CloseReason, Closed, Session, Stream};
use portway_wire::rpc;
use serde_json::Value;
use tokio::time::timeout;

use super::SessionError;

/// How long the edge may take to answer a message.
const ANSWER: Duration = Duration::from_secs(10);

/// Opens a message's stream: type and JSON in one frame.
pub(super) async fn begin(
    mux: &Session,
    kind: u32,
    message: &Value,
) -> Result<Stream, SessionError> {
    let text = message.to_string();
    let mut frame = BytesMut::with_capacity(4 + text.len());
    frame.put_u32(kind);
    frame.put_slice(text.as_bytes());
    mux.open(frame.freeze())
        .await
        .map_err(|error| SessionError::Lost(error.to_string()))
}

/// The first JSON value of a stream.
pub(crate) async fn read(stream: &mut Stream) -> Result<Value, SessionError> {
    let mut reader = rpc::Reader::new();
    let reading = async {
        while let Some(chunk) = stream
            .read_chunk()
            .await
            .map_err(|error| SessionError::Lost(error.to_string()))?
        {
            if let Some(value) = reader.push(&chunk)? {
                return Ok(value);
            }
        }
        Err(SessionError::Lost(
            "the edge closed the stream without an answer".into(),
        ))
    };
    let slow = || SessionError::Lost(format!("the edge did not answer within {ANSWER:?}"));
    timeout(ANSWER, reading).await.map_err(|_| slow())?
}

/// Why a session ended before it was of any use. Nothing where that was our own doing.
pub(crate) fn useless(closed: &Closed) -> Option<String> {
    match closed.reason {
        CloseReason::Local => None,
        CloseReason::GoAway => Some(closed.to_string()),
        CloseReason::Eof | CloseReason::Transport { .. } | CloseReason::Protocol => {
            Some(format!("{closed} (is it the address for agents?)"))
        }
    }
}

pub(crate) async fn call(mux: &Session, kind: u32, message: &Value) -> Result<Value, SessionError> {
    let mut stream = begin(mux, kind, message).await?;
    read(&mut stream).await
}
