//! What the edge tells the agent to do (agent-behaviour §6, wire-protocol §6).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use portway_mux::Stream;
use portway_wire::commands::{self, Command};
use tokio::time::timeout;

use crate::again;
use crate::session::{Agent, Request, SessionError, read};

/// How long a command's body may take; it comes in one piece.
const BODY: Duration = Duration::from_secs(10);

/// And how long until the edge has read the reply.
const READ: Duration = Duration::from_millis(500);

const NOT_MANAGED: &str = "remote management is disabled in this agent's configuration";
const WINDOWS: &str = "restart is not supported on Windows; use stop and let the service manager start the agent again";
const NO_RESTART: &str =
    "this agent cannot restart itself; stop it and let what started it start it again";
const NO_UPDATE: &str = "this agent does not replace itself; install another version where it is";
const BUSY: &str = "another command is being carried out";

impl Agent {
    /// Why it is not stopped from afar; nothing: it is.
    pub(crate) fn no_stop(&self) -> &str {
        if self.managed { "" } else { NOT_MANAGED }
    }

    /// The same of a restart.
    pub(crate) fn no_restart(&self) -> &str {
        match &self.plan.again {
            _ if !self.managed => NOT_MANAGED,
            _ if cfg!(windows) => WINDOWS,
            Some(_) => "",
            None => NO_RESTART,
        }
    }

    /// And of an update.
    pub(crate) fn no_update(&self) -> &str {
        match &self.plan.update {
            _ if !self.managed => NOT_MANAGED,
            _ if cfg!(windows) => WINDOWS,
            Some(update) if self.plan.again.is_some() => &update.unsupported,
            _ => NO_UPDATE,
        }
    }

    /// Reads a command and carries it out. The reply is sent before that shows.
    pub(crate) async fn command(&self, kind: u32, mut stream: Stream) {
        if !Command::is_type(kind) {
            tracing::debug!(
                obj = "tunnels.session",
                kind,
                "stream of an unknown type dropped"
            );
            return;
        }
        let command = match timeout(BODY, read(&mut stream)).await {
            Ok(Ok(body)) => Command::decode(kind, &body).map_err(|error| error.to_string()),
            Ok(Err(SessionError::Answer(error))) => Err(error.to_string()),
            Ok(Err(_)) => Err("The command ended before it was complete.".into()),
            Err(_) => Err(format!("The command was not complete within {BODY:?}.")),
        };
        match command {
            Ok(Some(Command::StopTunnel { id, message, code })) => {
                self.stopped_by_edge(&id, &message, code.as_deref()).await;
            }
            Ok(Some(command)) => self.carry_out(&command, stream).await,
            Ok(None) => {}
            Err(error) => reply(stream, &error).await,
        }
    }

    async fn carry_out(&self, command: &Command, stream: Stream) {
        let unsupported = match command {
            Command::Restart => self.no_restart(),
            Command::Update { .. } => self.no_update(),
            Command::Stop | Command::StopTunnel { .. } => self.no_stop(),
        };
        if !unsupported.is_empty() {
            return reply(stream, unsupported).await;
        }
        if self.commanded.swap(true, Ordering::SeqCst) {
            return reply(stream, BUSY).await;
        }
        let done = match command {
            Command::Restart => self.restart().await,
            Command::Update {
                version,
                permit_major,
            } => self.update(version, *permit_major).await,
            Command::Stop | Command::StopTunnel { .. } => {
                tracing::info!(obj = "app", from = "remote", "received stop request");
                Ok(Some(Request::Stop))
            }
        };
        match done {
            Ok(request) => {
                reply(stream, "").await;
                match request {
                    Some(request) => {
                        let _ = self.requests.send(request).await;
                    }
                    None => self.commanded.store(false, Ordering::SeqCst),
                }
            }
            Err(error) => {
                tracing::warn!(obj = "app", from = "remote", err = error, "request refused");
                self.commanded.store(false, Ordering::SeqCst);
                reply(stream, &error).await;
            }
        }
    }

    async fn restart(&self) -> Result<Option<Request>, String> {
        tracing::info!(obj = "app", from = "remote", "received restart request");
        again::check(&self.plan).await?;
        Ok(Some(Request::Again))
    }

    async fn update(&self, version: &str, major: bool) -> Result<Option<Request>, String> {
        tracing::info!(
            obj = "app",
            from = "remote",
            version,
            "received update request"
        );
        let installed = self.install(version, major).await?;
        Ok(installed.then_some(Request::Again))
    }

    /// Whether there was a version to install.
    async fn install(&self, version: &str, major: bool) -> Result<bool, String> {
        // The new version begins with the configuration as it is by then.
        again::check(&self.plan).await?;
        let installed = again::update(&self.plan, version, major).await?;
        if let Some(version) = &installed {
            tracing::info!(obj = "app", version, "update installed");
        }
        Ok(installed.is_some())
    }

    /// The person at the keyboard wants the version that is on offer, whatever its number.
    pub(crate) async fn update_by_hand(self: Arc<Self>) {
        if self.commanded.swap(true, Ordering::SeqCst) {
            return;
        }
        tracing::info!(obj = "app", from = "console", "received update request");
        self.board.updating("installing …");
        match self.install("", true).await {
            Ok(true) => {
                self.board.updating("starting again …");
                let _ = self.requests.send(Request::Again).await;
                return;
            }
            Ok(false) => self.board.updating("this is the newest version"),
            Err(error) => {
                tracing::warn!(
                    obj = "app",
                    from = "console",
                    err = error,
                    "request refused"
                );
                self.board.updating(&format!("not updated: {error}"));
            }
        }
        self.commanded.store(false, Ordering::SeqCst);
    }

    async fn stopped_by_edge(&self, id: &str, message: &str, code: Option<&str>) {
        let Some(endpoint) = self.unroute(id) else {
            return;
        };
        let reason = match code {
            Some(code) => format!("{message}\r\n\r\n{code}\r\n"),
            None => message.to_owned(),
        };
        let url = endpoint.bound().map(|bound| bound.url).unwrap_or_default();
        endpoint.forget();
        self.roster.remove(&endpoint);
        self.board.endpoint(&endpoint.plan.name, None);
        tracing::warn!(
            obj = "tunnels",
            name = endpoint.plan.name,
            url,
            err = reason,
            "tunnel stopped by server"
        );
        let name = endpoint.plan.name.clone();
        let _ = self.requests.send(Request::Ended { name, reason }).await;
        // Other legs may lead to other edges.
        self.unbind(id).await;
    }
}

/// The reply, and until the edge has read it: what is done then may end the session.
async fn reply(mut stream: Stream, error: &str) {
    if stream.write_chunk(commands::reply(error)).await.is_ok() {
        stream.finish();
        // An edge that keeps its side open has read it all the same.
        let read = async { while let Ok(Some(_)) = stream.read_chunk().await {} };
        let _ = timeout(READ, read).await;
    }
}
