//! What the edge tells an agent to do (wire-protocol §6).

use std::time::Duration;

use portway_mux::{ErrorCode, Session};
use portway_wire::commands::Command;
use portway_wire::{Code, Refusal};
use tokio::time::timeout;

use crate::rpc;
use crate::session::AgentSession;

/// How long an agent may take to close its side. Some never do.
const CLOSE: Duration = Duration::from_secs(1);
/// How long it may take to answer; some do not.
const ANSWER: Duration = Duration::from_secs(10);
/// The same where it fetches and installs something before it does.
const UPDATE: Duration = Duration::from_secs(70);

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

/// Has an agent carry out a command, if it has said that it can.
///
/// # Errors
/// The [`Refusal`] for who asked: the agent cannot, did not, or has not answered.
pub(crate) async fn order(agent: &AgentSession, command: &Command) -> Result<(), Refusal> {
    let about = &agent.about;
    let (unsupported, no, failed, limit) = match command {
        Command::Restart => (&about.restart_unsupported, 804, 808, ANSWER),
        Command::Update { .. } => (&about.update_unsupported, 806, 809, UPDATE),
        Command::Stop | Command::StopTunnel { .. } => (&about.stop_unsupported, 805, 807, ANSWER),
    };
    match unsupported.as_deref() {
        Some("") => {}
        None => return Err(Refusal::of(Code(no))),
        Some(why) => return Err(because(Code(no), why)),
    }
    let lost = || Refusal::of(Code(810));
    let opened = timeout(limit, agent.mux.open(command.encode())).await;
    let mut stream = opened.map_err(|_| lost())?.map_err(|_| lost())?;
    let answer = timeout(limit, rpc::read(&mut stream)).await;
    // Some keep their entry of the stream until it is reset.
    stream.finish();
    stream.reset(ErrorCode::STREAM_CANCELLED);
    let answer = answer.map_err(|_| lost())?.map_err(|_| lost())?;
    let error = portway_wire::bind::error_of(&answer).map_err(|_| lost())?;
    if error.is_empty() {
        return Ok(());
    }
    Err(because(Code(failed), &error))
}

fn because(code: Code, why: &str) -> Refusal {
    let text = code.text().trim_end_matches('.');
    Refusal::new(code, format!("{text}: {}", why.trim()))
}
