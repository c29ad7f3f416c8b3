//! What the edge tells an agent to do (wire-protocol §6).

use std::time::Duration;

use portway_mux::{ErrorCode, Session};
use portway_wire::commands::Command;
use tokio::time::timeout;

/// How long an agent may take to close its side. Some never do.
const CLOSE: Duration = Duration::from_secs(1);

/// Sends a command that has no reply: its body in the first frame, FIN, and in the end RST, for
/// there are agents that keep the stream until then.
pub(crate) async fn tell(session: Session, command: Command) {
    let Ok(mut stream) = session.open(command.encode()).await else {
        return;
    };
    stream.finish();
    let closing = async { while let Ok(Some(_)) = stream.read_chunk().await {} };
    let _ = timeout(CLOSE, closing).await;
    stream.reset(ErrorCode::STREAM_CANCELLED);
}
