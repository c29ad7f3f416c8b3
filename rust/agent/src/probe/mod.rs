//! `portway diagnose`: every step of the way to an edge by itself (agent-behaviour §12), each told as
//! it ends. What the steps mean together is judged by who reads them.
//!
//! - [`event`]: what is told. [`way`]: the steps up to TLS. [`edge`]: what is said to an edge then.

mod edge;
mod event;
mod way;

use futures_util::future::join_all;
use portway_wire::Secret;
use serde::Deserialize;

pub use self::event::Event;
use self::way::Way;
use crate::dial::split;
use crate::plan::{Cas, EdgeAddress};

/// What is to be tried.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbePlan {
    pub version: u32,
    pub edge: EdgeAddress,
    /// A well-known `host:port` that speaks HTTPS; nothing where the edge alone is of interest.
    #[serde(default)]
    pub internet: Option<String>,
    /// IPv6 too, by itself.
    #[serde(default)]
    pub ipv6: bool,
    /// For a login at the end.
    #[serde(default)]
    pub authtoken: Secret,
    /// Resolvers of strangers are not asked.
    #[serde(default)]
    pub alone: bool,
}

/// Which addresses of a host are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// IPv4; IPv6 where there is nothing else.
    Usual,
    V6,
}

/// Goes all the ways of a plan, side by side where they do not depend on one another.
pub async fn run(plan: ProbePlan, tell: &(dyn Fn(Event) + Sync)) {
    let way = Way::new(&plan, tell);
    if !way.proxy().await {
        return;
    }
    let internet = async {
        if let Some((host, port)) = plan.internet.as_deref().and_then(split) {
            let cas = match plan.edge.cas {
                Cas::Host => Cas::Host,
                _ => Cas::Trusted,
            };
            let found = way.names("internet", &host, port).await;
            way.secure("internet", &host, port, &found, Family::Usual, &cas, None)
                .await;
        }
    };
    let edges = join_all(plan.edge.addrs.iter().map(|address| {
        let way = &way;
        let plan = &plan;
        async move {
            let Some((host, port)) = split(address) else {
                return;
            };
            let section = format!("edge {address}");
            let found = way.names(&section, &host, port).await;
            let talk = Some(&plan.authtoken);
            let cas = &plan.edge.cas;
            way.secure(&section, &host, port, &found, Family::Usual, cas, talk)
                .await;
            if plan.ipv6 {
                let section = format!("ipv6 {address}");
                way.secure(
                    &section,
                    &host,
                    port,
                    &found,
                    Family::V6,
                    cas,
                    Some(&Secret::default()),
                )
                .await;
            }
        }
    }));
    futures_util::join!(internet, edges);
}
