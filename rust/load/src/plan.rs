//! What is to be done, as Python wrote it.

use std::time::Duration;

use serde::Deserialize;

/// One run of this process.
#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Plan {
    Serve(Serve),
    Measure(Measure),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Serve {
    /// On loopback; 0 takes any.
    pub port: u16,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measure {
    pub target: Target,
    pub kind: Kind,
    /// What counts, after the warm-up.
    pub secs: f64,
    #[serde(default)]
    pub warm_up_secs: f64,
    #[serde(default = "one")]
    pub connections: usize,
    /// Requests a second by schedule; without it each follows the one before.
    #[serde(default)]
    pub rate: Option<f64>,
    /// After so many failures in a row the measurement is given up.
    #[serde(default = "some_failures")]
    pub limit_failures: u32,
    /// What bulk is fetched from or sent to.
    #[serde(default)]
    pub bulk_path: Option<String>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// One request: whether it works, and who answers.
    Probe,
    /// Requests over connections that stay.
    Steady,
    /// A connection for each request.
    Churn,
    Down,
    Up,
    /// Small requests, one at a time, beside a download.
    Loaded,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    pub tls: bool,
    /// Without brackets.
    pub host: String,
    pub port: u16,
    /// The Host header.
    pub authority: String,
    pub path: String,
    /// Where the connection goes, when it is not where the name leads.
    #[serde(default)]
    pub connect: Option<String>,
    /// Trusted instead of the system's.
    #[serde(default)]
    pub ca_pem: Option<String>,
}

fn one() -> usize {
    1
}

fn some_failures() -> u32 {
    20
}

// === impl Measure

impl Measure {
    pub(crate) fn time(&self) -> Duration {
        seconds(self.secs)
    }

    pub(crate) fn warm_up(&self) -> Duration {
        seconds(self.warm_up_secs)
    }
}

fn seconds(given: f64) -> Duration {
    Duration::try_from_secs_f64(given).unwrap_or_default()
}
