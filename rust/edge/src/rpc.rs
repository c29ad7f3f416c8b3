//! The stream of one message and its answer (wire-protocol §4.1): read to the end of the JSON,
//! answer, FIN; never a reset.

use std::time::Duration;

use bytes::Bytes;
use portway_mux::Stream;
use portway_wire::{Malformed, rpc};
use serde_json::Value;
use tokio::time::timeout;

/// How long a message may take to arrive, and its answer to be taken.
const READ: Duration = Duration::from_secs(30);
/// How long the agent may take to close its side after the answer. It has read the answer then.
const CLOSE: Duration = Duration::from_secs(1);

/// Reads the message of a stream, behind its type.
///
/// # Errors
/// [`Malformed`] for what is no message; `Incomplete` also where it does not come in time.
pub(crate) async fn read(stream: &mut Stream) -> Result<Value, Malformed> {
    let mut reader = rpc::Reader::new();
    let reading = async {
        while let Ok(Some(chunk)) = stream.read_chunk().await {
            if let Some(message) = reader.push(&chunk)? {
                return Ok(message);
            }
        }
        Err(Malformed::Incomplete)
    };
    timeout(READ, reading)
        .await
        .unwrap_or(Err(Malformed::Incomplete))
}

/// Answers and waits for the agent to have read it. `false`: it went away first.
pub(crate) async fn answer(mut stream: Stream, message: &Value) -> bool {
    let bytes = Bytes::from(message.to_string());
    // A long answer waits for the agent's credit.
    if !matches!(timeout(READ, stream.write_chunk(bytes)).await, Ok(Ok(()))) {
        return false;
    }
    stream.finish();
    let closing = async {
        loop {
            match stream.read_chunk().await {
                Ok(Some(_)) => {}
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
    };
    // An agent that keeps its side open has read the answer all the same.
    timeout(CLOSE, closing).await.unwrap_or(true)
}
