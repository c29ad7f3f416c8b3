//! What an agent says of itself to an edge, and what the edge says to that (wire-protocol §3).

use std::time::Duration;

use portway_mux::Session;
use portway_wire::auth::{Abilities, AuthExtra, AuthRequest, AuthResponse, VERSION};
use portway_wire::{Reaction, Refusal, stream_type};

use super::message::call;
use super::{Agent, Identity, SessionError};
use crate::legs::FIRST;
use crate::plan::Cas;

// === impl Agent ===

impl Agent {
    pub(super) async fn log_in(
        &self,
        mux: &Session,
        leg: u32,
        proxy: &str,
    ) -> Result<AuthResponse, SessionError> {
        let (client_id, cookie) = {
            let identity = self.identity.lock();
            (identity.client_id.clone(), identity.cookie.clone())
        };
        let nanos = |duration: Duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
        let version = env!("CARGO_PKG_VERSION");
        let request = AuthRequest {
            version: vec![VERSION.into(), "2".into()],
            client_id,
            extra: AuthExtra {
                os: os().into(),
                arch: arch().into(),
                authtoken: self.plan.authtoken.clone(),
                version: version.into(),
                user_agent: format!("portway/{version}"),
                metadata: self.plan.metadata.clone(),
                cookie,
                heartbeat_interval: nanos(self.plan.heartbeat_interval),
                heartbeat_tolerance: nanos(self.plan.heartbeat_tolerance),
                update_unsupported: Some(self.no_update().into()),
                stop_unsupported: Some(self.no_stop().into()),
                restart_unsupported: Some(self.no_restart().into()),
                service_run: self.plan.service,
                proxy_type: proxy.into(),
                custom_interface: self.edge.interface.is_some(),
                custom_cas: !matches!(self.edge.cas, Cas::Trusted),
                client_type: "portway".into(),
                leg_number: leg,
                portway: Some(Abilities::default()),
                ..AuthExtra::default()
            },
        };
        let answer = call(mux, stream_type::AUTH, &request.encode()).await?;
        let response = AuthResponse::decode(&answer)?;
        if !response.error.is_empty() {
            let refusal = Refusal::parse(&response.error);
            // Those of the other legs still hold.
            if refusal.code.reaction() == Reaction::ForgetIdentity && leg == FIRST {
                *self.identity.lock() = Identity::default();
            }
            return Err(SessionError::Refused(refusal));
        }
        if leg == FIRST {
            let mut identity = self.identity.lock();
            identity.client_id.clone_from(&response.client_id);
            identity.cookie.clone_from(&response.cookie);
        }
        Ok(response)
    }
}

/// What the edge wants people to know.
pub(super) fn heed(response: &AuthResponse) {
    if let Some(warning) = &response.deprecation {
        tracing::warn!(
            obj = "tunnels.session",
            next_min = warning.next_min,
            next_date = warning.next_date,
            warning = warning.message,
            "server deprecation warning"
        );
    }
    if !response.banner.is_empty() {
        let banner = &response.banner;
        tracing::info!(obj = "tunnels.session", banner, "server banner");
    }
}

pub(crate) fn os() -> &'static str {
    match std::env::consts::OS {
        "macos" => "darwin",
        os => os,
    }
}

pub(crate) fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        arch => arch,
    }
}
