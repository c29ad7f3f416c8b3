//! The edge's process: its plan, its runtime, reload, and a stop in order.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

use portway_agent::plan::{Log, Note};
use portway_agent::{Stop, child};
use portway_edge::{Edge, EdgeConfig};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::report::Fatal;
#[cfg(unix)]
use crate::signals::Terminal;
use crate::{limits, memory, plan, runtime, signals, systemd};

/// How long reading the configuration anew may take.
const RELOAD: Duration = Duration::from_secs(30);
/// The socket in the data directory over which `portway edge reload` asks for it.
#[cfg(unix)]
const CONTROL: &str = "control.sock";

/// What an edge is told (ARCHITECTURE: the plan).
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EdgePlan {
    #[serde(rename = "version")]
    _version: u32,
    #[serde(rename = "command")]
    _command: String,
    edge: EdgeConfig,
    #[serde(default)]
    log: Log,
    #[serde(default)]
    records: Vec<Note>,
    #[serde(default)]
    reload: Option<Reload>,
}

/// The command that makes this plan anew.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reload {
    argv: Vec<String>,
    /// What it reads on its standard input.
    #[serde(default)]
    stdin: String,
}

/// Runs the edge of a plan.
///
/// # Errors
/// What the user is told.
pub(crate) fn run(descriptor: i32) -> Result<(), Fatal> {
    let plan: EdgePlan = plan::read(descriptor)?;
    plan::start_logging(&plan.log, &plan.records)?;
    limits::raise_open_files();
    let threads = plan.edge.threads.unwrap_or_else(runtime::fitting_threads);
    let runtime = runtime::start(threads.clamp(1, 256), "portway-edge")?;
    runtime.spawn(memory::give_back());
    runtime.spawn(systemd::stay_alive());
    let result = runtime.block_on(edge(plan));
    runtime.shutdown_background();
    result
}

async fn edge(plan: EdgePlan) -> Result<(), Fatal> {
    let terminal = signals::Terminal::at_start();
    let mut stop = signals::stops(move || terminal.is_lost())
        .map_err(|error| Fatal(format!("cannot follow signals: {error}")))?;
    // Followed from the beginning: until then it would end the process.
    #[cfg(unix)]
    let hang_up = signal(SignalKind::hangup())
        .map_err(|error| Fatal(format!("cannot follow signals: {error}")))?;
    #[cfg(unix)]
    let data_dir = plan.edge.data_dir.clone();
    let edge = Edge::start(plan.edge, systemd::sockets(), None).map_err(|error| {
        let text = error.to_string();
        tracing::error!(crit = true, err = text, "command failed");
        Fatal(text)
    })?;
    let edge = Arc::new(edge);
    let reloader = Arc::new(Reloader {
        edge: edge.clone(),
        reload: plan.reload,
        turn: tokio::sync::Mutex::new(()),
    });
    #[cfg(unix)]
    let asked = {
        let listener = data_dir
            .map(|dir| control(&dir.join(CONTROL)))
            .transpose()?;
        tokio::spawn(follow_requests(listener, hang_up, terminal, reloader))
    };
    let show = |address: Option<std::net::SocketAddr>| {
        address.map_or_else(|| "off".into(), |address| address.to_string())
    };
    tracing::info!(
        obj = "edge",
        agent_addr = show(edge.agent_addr()),
        http_addr = show(edge.http_addr()),
        https_addr = show(edge.https_addr()),
        api_addr = show(edge.api_addr()),
        join = edge.join_string(),
        "edge ready"
    );
    show_join(edge.join_string());
    systemd::notify("READY=1");
    // The sender lives as long as this process.
    let _ = stop.wait_for(|stop| *stop >= Stop::Graceful).await;
    systemd::notify("STOPPING=1");
    tracing::info!(obj = "edge", drain = ?edge.drain(), "stopping");
    #[cfg(unix)]
    asked.abort();
    tokio::select! {
        () = edge.stop(edge.drain()) => {}
        () = at_once(&mut stop) => edge.stop(Duration::ZERO).await,
    }
    tracing::info!(obj = "edge", "stopped");
    Ok(())
}

/// The join string is there to be copied: a person at a terminal gets it on a line of its own.
fn show_join(join: &str) {
    let mut out = std::io::stdout().lock();
    if out.is_terminal() {
        let line = format!("\nOn the machine of an agent: portway config join {join}\n\n");
        // Nobody has to read it.
        let _ = out.write_all(line.as_bytes()).and_then(|()| out.flush());
    }
}

async fn at_once(stop: &mut watch::Receiver<Stop>) {
    let _ = stop.wait_for(|stop| *stop >= Stop::Now).await;
}

/// Takes up a changed configuration, one at a time.
struct Reloader {
    edge: Arc<Edge>,
    reload: Option<Reload>,
    turn: tokio::sync::Mutex<()>,
}

// === impl Reloader ===

impl Reloader {
    /// Reads the configuration anew; what was done, or what is wrong with it.
    async fn reload(&self) -> Result<String, String> {
        let _turn = self.turn.lock().await;
        let done = self.attempt().await;
        match &done {
            Ok(text) => tracing::info!(obj = "edge", result = text, "configuration reloaded"),
            Err(text) => tracing::error!(
                obj = "edge",
                err = text,
                "configuration not reloaded, the old one stays"
            ),
        }
        done
    }

    async fn attempt(&self) -> Result<String, String> {
        let reload = self
            .reload
            .as_ref()
            .ok_or("this edge was started without a way to read its configuration anew")?;
        let made = child::run(&reload.argv, &reload.stdin, RELOAD).await?;
        let plan: EdgePlan = serde_json::from_slice(&made)
            .map_err(|error| format!("the new plan cannot be read: {error}"))?;
        let report = self
            .edge
            .reload(plan.edge)
            .map_err(|error| error.to_string())?;
        let mut parts = vec!["configuration taken up".to_owned()];
        if report.ended > 0 {
            parts.push(format!(
                "{} agents disconnected, their authtoken is gone",
                report.ended
            ));
        }
        parts.extend(report.warnings);
        Ok(parts.join("; "))
    }
}

/// The socket for requests, for the owner of the data directory alone.
#[cfg(unix)]
fn control(path: &std::path::Path) -> Result<tokio::net::UnixListener, Fatal> {
    use std::os::unix::fs::PermissionsExt;
    let fail =
        |error: std::io::Error| Fatal(format!("cannot listen on {}: {error}", path.display()));
    // One that an edge left behind which was killed.
    let _ = std::fs::remove_file(path);
    let listener = tokio::net::UnixListener::bind(path).map_err(fail)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(fail)?;
    Ok(listener)
}

#[cfg(unix)]
async fn follow_requests(
    listener: Option<tokio::net::UnixListener>,
    mut hang_up: Signal,
    terminal: Terminal,
    reloader: Arc<Reloader>,
) {
    loop {
        let connection = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = hang_up.recv() => {
                if !terminal.is_lost() {
                    // Its result is in the log.
                    let _ = reloader.reload().await;
                }
            }
            accepted = connection => {
                if let Ok((connection, _)) = accepted {
                    tokio::spawn(answer(connection, reloader.clone()));
                }
            }
        }
    }
}

/// What comes of a request.
#[cfg(unix)]
async fn reply(reloader: &Reloader, line: &str) -> Result<String, String> {
    let words: Vec<&str> = line.split(' ').collect();
    let (id, command) = match words.as_slice() {
        ["reload"] => return reloader.reload().await,
        ["agents"] => {
            let agents = reloader.edge.agents();
            return serde_json::to_string(&agents).map_err(|error| error.to_string());
        }
        ["stop", id] => (id, portway_edge::Command::Stop),
        ["restart", id] => (id, portway_edge::Command::Restart),
        ["update", id, version, major] => (
            id,
            portway_edge::Command::Update {
                version: version.trim_matches('-').to_owned(),
                permit_major: *major == "major",
            },
        ),
        _ => return Err(format!("unknown request {line:?}")),
    };
    match reloader.edge.order(id, command).await {
        Ok(Some(())) => Ok("done".into()),
        Ok(None) => Err(format!("no agent has the session {id:?} here")),
        Err(refusal) => Err(refusal.to_string()),
    }
}

/// A line asks, and everything up to the end is the answer.
#[cfg(unix)]
async fn answer(connection: tokio::net::UnixStream, reloader: Arc<Reloader>) {
    let (reader, mut writer) = connection.into_split();
    let mut line = String::new();
    let mut reader = BufReader::new(tokio::io::AsyncReadExt::take(reader, 1024));
    if !matches!(
        timeout(RELOAD, reader.read_line(&mut line)).await,
        Ok(Ok(1..))
    ) {
        return;
    }
    let reply = match reply(&reloader, line.trim()).await {
        Ok(text) => format!("ok {text}\n"),
        Err(text) => format!("error {text}\n"),
    };
    // Who asked may have gone.
    let _ = writer.write_all(reply.as_bytes()).await;
}
