//! The agent's process: its plan, its runtime, and the edge inside it where no other is wanted.

use std::io::Write;
use std::sync::{Mutex, PoisonError};

use portway_agent::plan::{Cas, EdgeAddress, Plan};
use portway_agent::{Ended, Hooks, Room, Stop, without_number};
use portway_edge::{Edge, EdgeConfig};

use crate::report::Fatal;
use crate::{limits, memory, plan, runtime, signals, systemd};

/// One core carries several Gbit/s, and one thread needs no memory for others.
const THREADS: usize = 1;
/// Ports of the edge inside, where they are free.
const HTTP_PORT: u16 = 4080;
const HTTPS_PORT: u16 = 4443;

/// A service whose edge cannot be reached counts as started after this long: nothing that waits for it,
/// the start of the machine least of all, waits for the edge.
const STARTED: std::time::Duration = std::time::Duration::from_secs(20);

/// On the screen, while URLs work here only.
const HINT: &str = "These URLs work on this machine only. To go public, run `portway edge` on a server and join it.";

/// Runs the agent of a plan.
///
/// # Errors
/// What the user is told.
pub(crate) fn run(descriptor: i32) -> Result<(), Fatal> {
    let plan: Plan = plan::read(descriptor)?;
    plan::start_logging(&plan.log, &plan.records)?;
    let room = Room {
        open_files: limits::raise_open_files(),
        memory: limits::memory(),
        left: limits::memory_left,
        give_back: memory::trim,
    };
    let runtime = runtime::start(THREADS, "portway")?;
    runtime.spawn(memory::give_back());
    runtime.spawn(systemd::stay_alive());
    if plan.service {
        runtime.spawn(async {
            tokio::time::sleep(STARTED).await;
            systemd::notify("READY=1");
        });
    }
    let result = runtime.block_on(agent(plan, room));
    // A name that is still being resolved must not hold up the end.
    runtime.shutdown_background();
    match result? {
        Ended::Stopped => Ok(()),
        Ended::Again(argv) => Err(replace(&argv)),
    }
}

/// Goes on as this command, in the same process. Comes back only where that is not possible.
#[cfg(unix)]
fn replace(argv: &[String]) -> Fatal {
    use std::os::unix::process::CommandExt;
    let Some((program, arguments)) = argv.split_first() else {
        return Fatal("there is no command to start again".into());
    };
    let error = std::process::Command::new(program).args(arguments).exec();
    Fatal(format!("cannot start {program} again: {error}"))
}

#[cfg(not(unix))]
fn replace(_: &[String]) -> Fatal {
    Fatal("this system has no way to start again in the same process".into())
}

async fn agent(mut plan: Plan, room: Room) -> Result<Ended, Fatal> {
    let stop = signals::stops(|| true)
        .map_err(|error| Fatal(format!("cannot follow signals: {error}")))?;
    let hooks = Outside {
        announce: plan.announce,
        told: Mutex::default(),
        proven: std::mem::take(&mut plan.proven),
    };
    let (embedded, address, hint) = if let Some(address) = plan.edge.take() {
        (None, address, None)
    } else {
        let (edge, address) = embed(&mut plan)?;
        (Some(edge), address, Some(HINT.to_owned()))
    };
    let ended = portway_agent::run(plan, address, hint, room, stop.clone(), &hooks).await;
    if let Some(edge) = embedded {
        let drain = if *stop.borrow() == Stop::Now {
            std::time::Duration::ZERO
        } else {
            edge.drain().min(std::time::Duration::from_millis(200))
        };
        edge.stop(drain).await;
    }
    ended.map_err(|error| Fatal(error.0))
}

/// Starts the edge inside: loopback only, a fresh CA and token in memory.
fn embed(plan: &mut Plan) -> Result<(Edge, EdgeAddress), Fatal> {
    let config = plan
        .embedded
        .clone()
        .unwrap_or_else(|| serde_json::json!({"embedded": true}));
    let config: EdgeConfig = serde_json::from_value(config).map_err(|error| {
        Fatal(format!(
            "the plan of the embedded edge does not fit: {error}"
        ))
    })?;
    let token = portway_edge::random_token();
    let edge = Edge::embedded(config, &token, HTTP_PORT, HTTPS_PORT)
        .map_err(|error| Fatal(error.to_string()))?;
    let address = edge
        .agent_addr()
        .ok_or_else(|| Fatal("the embedded edge listens for no agents".into()))?;
    let ca = edge.ca_pem().to_owned();
    plan.authtoken = token;
    // That the edge is inside decides on remote management; its configuration is done with.
    plan.embedded = Some(serde_json::Value::Null);
    let address = EdgeAddress {
        addrs: vec![address.to_string()],
        cas: Cas::Pem(ca),
        ..EdgeAddress::default()
    };
    Ok((edge, address))
}

/// What the agent tells the world outside.
struct Outside {
    announce: bool,
    /// The last cause of being offline that was told.
    told: Mutex<String>,
    proven: Vec<std::path::PathBuf>,
}

impl Hooks for Outside {
    fn endpoint_up(&self, url: &str, upstream: &str) {
        if self.announce {
            let line = format!("Forwarding {url} -> {upstream}\n");
            // Nobody has to read it.
            let mut out = std::io::stdout().lock();
            let _ = out.write_all(line.as_bytes()).and_then(|()| out.flush());
        }
    }

    fn offline(&self, cause: &str) {
        // Without a screen or a log, nothing else would tell why there is no URL.
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if self.announce && *told != cause {
            cause.clone_into(&mut told);
            let first = without_number(cause);
            let line = format!(
                "{}; trying again\n",
                first.lines().next().unwrap_or_default()
            );
            let _ = std::io::stderr().write_all(line.as_bytes());
        }
    }

    fn ready(&self) {
        for path in &self.proven {
            // What is not there any more is as it should be.
            let _ = std::fs::remove_file(path);
        }
        systemd::notify("READY=1");
    }

    fn stopping(&self) {
        systemd::notify("STOPPING=1");
    }

    fn restarting(&self) {
        // Said to be stopping, a service is killed when that takes long.
        systemd::notify_reloading();
    }
}
