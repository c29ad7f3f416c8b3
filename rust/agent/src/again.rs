//! How a running agent is made anew: whether it could be, and by what version (agent-behaviour §6).

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use crate::child;
use crate::endpoint::Endpoint;
use crate::plan::Plan;
use crate::trust;

/// Reading the configuration anew. Whoever asked from afar is still there then.
const CHECK: Duration = Duration::from_secs(8);
/// Fetching and installing another version.
const UPDATE: Duration = Duration::from_mins(1);

/// Whether this agent would start again with the configuration, policies and certificates as they
/// are now.
///
/// # Errors
/// What is wrong with them.
pub(crate) async fn check(plan: &Plan) -> Result<(), String> {
    let again = plan.again.as_ref().ok_or("it cannot be started again")?;
    let made = child::run(&again.check, &again.stdin, CHECK).await?;
    let next: Plan = serde_json::from_slice(&made)
        .map_err(|error| format!("the new configuration makes no plan: {error}"))?;
    for endpoint in next.endpoints {
        let name = endpoint.name.clone();
        Endpoint::new(endpoint).map_err(|error| format!("endpoint {name:?}: {error}"))?;
    }
    if let Some(edge) = &next.edge {
        trust::edge(&edge.cas, None).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// What the command says that installs a version.
#[derive(Debug, Deserialize)]
struct Installed {
    /// Nothing: there was none to install.
    version: Option<String>,
}

/// Installs a version (`""`: the newest); the one that was. Nothing: this is it.
///
/// # Errors
/// Why it was not installed; then nothing has changed.
pub(crate) async fn update(
    plan: &Plan,
    version: &str,
    major: bool,
) -> Result<Option<String>, String> {
    let update = plan.update.as_ref().ok_or("it does not replace itself")?;
    let mut told = update.settings();
    told["version"] = version.into();
    told["major"] = major.into();
    let said = child::run(&update.argv, &told.to_string(), UPDATE).await?;
    let installed: Installed = serde_json::from_slice(&said)
        .map_err(|error| format!("the update has told nothing of use: {error}"))?;
    Ok(installed.version)
}

// === impl UpdatePlan ===

impl crate::plan::UpdatePlan {
    /// Who brings a newer version that this program does not.
    pub(crate) fn brought_by(&self) -> &str {
        match self.instead.as_str() {
            "" => "portway update",
            command => command,
        }
    }

    fn settings(&self) -> serde_json::Value {
        json!({"url": self.url, "channel": self.channel, "proxy": self.proxy})
    }
}
