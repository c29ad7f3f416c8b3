//! Binding endpoints (wire-protocol §4.4): options compiled, URL assigned, control asked, name
//! claimed; visitors come once the agent knows.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use portway_policy::Chain;
use portway_wire::bind::{BindRequest, BindResponse, LabeledRequest, PatchRequest};
use portway_wire::commands::Command;
use portway_wire::{Code, EndpointUrl, Malformed, Refusal, Scheme, Secret};
use rustls::ServerConfig;
use rustls::sign::SingleCertAndKey;

use crate::certs;
use crate::command;
use crate::control::{BindAsk, LabelsAsk};
use crate::core::{Core, Stage};
use crate::endpoint::{Asked, Endpoint, State};
use crate::naming::{self, Assigned, random_hex};
use crate::session::{self, AgentSession};

const LONGEST_METADATA: usize = 4096;
const LONGEST_ID: usize = 256;

/// The part of an endpoint that comes out of its options.
struct Compiled {
    chain: Chain,
    tls: Option<Arc<ServerConfig>>,
    rewrites_host: bool,
    proxy_proto: u8,
}

/// Binds an endpoint. It is claimed now and live later, by [`Endpoint::go_live`].
///
/// # Errors
/// The [`Refusal`] the agent is told.
pub(crate) async fn bind(
    core: &Core,
    agent: &Arc<AgentSession>,
    request: &BindRequest,
) -> Result<(BindResponse, Arc<Endpoint>), Refusal> {
    admit(core, agent, &request.id)?;
    check_extra(request)?;
    let config = core.config.load();
    let (wanted, label) = request
        .opts
        .wanted_name()
        .map_err(|error| malformed(&error))?;
    let Assigned { mut url, random } =
        naming::assign(&config, core.ports, &request.proto, &wanted, label)?;
    if let Some(option) = request.opts.unread(url.scheme) {
        return Err(Refusal::new(
            Code::BAD_BIND,
            format!(
                "{option} is an option this edge does not have for {} endpoints, so it does not bind one that asks for it.",
                url.scheme
            ),
        ));
    }
    let compiled = compile(core, request, url.scheme)?;
    let http2 = match request.forwards_proto.as_str() {
        "" | "http1" => false,
        "http2" => true,
        other => {
            return Err(Refusal::new(
                Code(15003),
                format!("The upstream protocol {other:?} must be http1 or http2."),
            ));
        }
    };
    let random = random || is_random_elsewhere(core, agent, &request.id, &url);
    let ask = BindAsk {
        account: &agent.account,
        url: &url,
        random,
    };
    core.control.bind(ask).await?;
    let id = if request.id.is_empty() {
        random_hex(16)
    } else {
        request.id.clone()
    };
    let token = if request.extra.token.is_empty() {
        Secret::new(random_hex(16))
    } else {
        Secret::new(request.extra.token.clone())
    };
    // A bind that is repeated replaces itself.
    if let Some(earlier) = agent.remove(&id) {
        session::release(&earlier, &core.registry, &core.tcp);
    }
    let _turn = (url.scheme == Scheme::Tcp).then(|| core.tcp.turn());
    if url.scheme == Scheme::Tcp {
        url.port = Some(open_port(core, &config, url.port)?);
    }
    let opts = request.opts.echo(&url);
    let endpoint = Arc::new(Endpoint {
        id: id.as_str().into(),
        proto: spelled(&request.proto),
        asked: if random { Asked::Random } else { Asked::Name },
        edge_type: "0",
        chain: compiled.chain,
        proxy_proto: compiled.proxy_proto,
        http2,
        pooling: request.extra.pooling_enabled.into(),
        rewrites_host: compiled.rewrites_host,
        tls: compiled.tls,
        token: token.clone(),
        session: agent.mux.clone(),
        latency: agent.latency.clone(),
        account: agent.name.clone(),
        owner: agent.owner.clone(),
        state: State::default(),
        bound: std::time::Instant::now(),
        visits: AtomicU64::new(0),
        url: url.clone(),
    });
    claim(core, agent, &endpoint)?;
    let response = BindResponse {
        tunnel_id: format!("tn_{id}"),
        id,
        url: url.to_string(),
        proto: request.proto.clone(),
        opts,
        token: token.expose().to_owned(),
        error: String::new(),
    };
    Ok((response, endpoint))
}

/// Whether another leg of the agent has this bind, of a URL that was chosen for it: it names that now.
fn is_random_elsewhere(core: &Core, agent: &AgentSession, id: &str, url: &EndpointUrl) -> bool {
    let legs = agent.identity.leg > 0;
    legs && core.sessions.legs(&agent.identity).iter().any(|leg| {
        leg.endpoint(id)
            .is_some_and(|same| matches!(same.asked, Asked::Random) && same.url == *url)
    })
}

/// A protocol as the agent wrote it; the usual spelling takes no memory of its own.
fn spelled(proto: &str) -> Cow<'static, str> {
    Scheme::parse(proto).map_or_else(|| proto.to_owned().into(), |usual| usual.as_str().into())
}

/// Binds an endpoint by labels, where a rule of the operator says which URL they mean.
///
/// # Errors
/// The [`Refusal`] the agent is told.
pub(crate) async fn bind_labeled(
    core: &Core,
    agent: &Arc<AgentSession>,
    request: &LabeledRequest,
) -> Result<(String, Option<Arc<Endpoint>>), Refusal> {
    admit(core, agent, "")?;
    if request.labels.is_empty() {
        return Err(Refusal::of(Code(394)));
    }
    if request.metadata.len() > LONGEST_METADATA {
        return Err(Refusal::of(Code(100)));
    }
    let id = random_hex(16);
    let config = core.config.load();
    let carried = |rule: &&crate::config::LabelRoute| {
        rule.labels
            .iter()
            .all(|(key, value)| request.labels.get(key) == Some(value))
    };
    let rule = config.labels.iter().find(carried);
    let ask = LabelsAsk {
        account: &agent.account,
        labels: &request.labels,
    };
    core.control.bind_labels(ask).await?;
    let Some(rule) = rule else {
        tracing::warn!(
            obj = "bind",
            account = agent.account.name,
            labels = ?request.labels,
            "no rule of this edge serves these labels; the endpoint gets no visitors"
        );
        return Ok((id, None));
    };
    let proto = EndpointUrl::parse(&rule.url)?.scheme;
    let Assigned { mut url, .. } =
        naming::assign(&config, core.ports, proto.as_str(), &rule.url, false)?;
    let _turn = (url.scheme == Scheme::Tcp).then(|| core.tcp.turn());
    if url.scheme == Scheme::Tcp {
        url.port = Some(open_port(core, &config, url.port)?);
    }
    let endpoint = Arc::new(Endpoint {
        id: id.as_str().into(),
        proto: proto.as_str().into(),
        asked: Asked::Labels(request.labels.clone()),
        edge_type: match proto {
            Scheme::Tcp => "1",
            Scheme::Tls => "2",
            Scheme::Http | Scheme::Https => "3",
        },
        chain: Chain::default(),
        proxy_proto: 0,
        http2: request.forwards_proto == "http2",
        // Several agents may carry the same labels.
        pooling: true.into(),
        rewrites_host: false,
        tls: None,
        token: Secret::new(random_hex(16)),
        session: agent.mux.clone(),
        latency: agent.latency.clone(),
        account: agent.name.clone(),
        owner: agent.owner.clone(),
        state: State::default(),
        bound: std::time::Instant::now(),
        visits: AtomicU64::new(0),
        url,
    });
    claim(core, agent, &endpoint)?;
    Ok((id, Some(endpoint)))
}

/// Ends a bind, on all legs of the agent. An id that is not known is none any more.
pub(crate) fn unbind(core: &Core, agent: &AgentSession, id: &str) {
    for leg in core.sessions.legs(&agent.identity) {
        if let Some(endpoint) = leg.remove(id) {
            session::release(&endpoint, &core.registry, &core.tcp);
            tracing::info!(obj = "bind", id = &*endpoint.id, url = %endpoint.url, account = agent.account.name, "endpoint ended");
        }
    }
}

/// Ends what the rules of a changed configuration no longer let their agents serve.
pub(crate) async fn review(core: Arc<Core>) {
    for agent in core.sessions.all() {
        for endpoint in agent.endpoints() {
            let account = &agent.account;
            let allowed = match &endpoint.asked {
                Asked::Labels(labels) => {
                    core.control
                        .bind_labels(LabelsAsk { account, labels })
                        .await
                }
                asked => {
                    let ask = BindAsk {
                        account,
                        url: &endpoint.url,
                        random: matches!(asked, Asked::Random),
                    };
                    core.control.bind(ask).await
                }
            };
            if let Err(refusal) = allowed {
                stop(&core, &agent, &endpoint, refusal);
            }
        }
    }
}

/// Ends an endpoint and tells its agent. That it is not routed is what counts: some agents keep it.
fn stop(core: &Core, agent: &AgentSession, endpoint: &Endpoint, refusal: Refusal) {
    if agent.remove(&endpoint.id).is_none() {
        return;
    }
    session::release(endpoint, &core.registry, &core.tcp);
    tracing::info!(obj = "bind", id = &*endpoint.id, url = %endpoint.url, account = agent.account.name, err = %refusal.code, "endpoint stopped");
    let command = Command::StopTunnel {
        id: endpoint.id.to_string(),
        message: refusal.message,
        code: Some(refusal.code.to_string()),
    };
    tokio::spawn(command::tell(agent.mux.clone(), command));
}

/// Changes of a live endpoint. Names and descriptions are the agent's own affair here.
///
/// # Errors
/// A [`Refusal`] for an id that is not bound, and for what this edge cannot do.
pub(crate) fn patch(
    core: &Core,
    agent: &AgentSession,
    request: &PatchRequest,
) -> Result<(), Refusal> {
    let id = request
        .tunnel_id
        .strip_prefix("tn_")
        .unwrap_or(&request.tunnel_id);
    if agent.endpoint(id).is_none() {
        return Err(Refusal::of(Code(333)));
    }
    if request
        .traffic_policy
        .as_ref()
        .is_some_and(|policy| !policy.trim().is_empty())
    {
        return Err(Refusal::new(
            Code(9026),
            "The traffic policy provided is invalid: this edge has no traffic policy documents yet.",
        ));
    }
    if let Some(pooling) = request.pooling_enabled {
        // It is said on one leg and holds for all.
        for leg in core.sessions.legs(&agent.identity) {
            if let Some(endpoint) = leg.endpoint(id) {
                endpoint.pooling.store(pooling, Ordering::Relaxed);
            }
        }
    }
    Ok(())
}

fn admit(core: &Core, agent: &AgentSession, id: &str) -> Result<(), Refusal> {
    if core.stage() != Stage::Serving {
        return Err(Refusal::of(Code::DRAINING));
    }
    if agent.endpoint_count() >= core.config.load().limits.endpoints_per_session {
        return Err(Refusal::of(Code(324)));
    }
    if id.len() > LONGEST_ID || id.chars().any(char::is_control) {
        return Err(Refusal::of(Code::BAD_BIND));
    }
    Ok(())
}

fn check_extra(request: &BindRequest) -> Result<(), Refusal> {
    let extra = &request.extra;
    if extra.metadata.len() > LONGEST_METADATA {
        return Err(Refusal::of(Code(100)));
    }
    if !extra.ip_policy_ref.is_empty() {
        return Err(Refusal::new(
            Code(341),
            "This edge has no IP policies, so it does not bind an endpoint that refers to one.",
        ));
    }
    match extra.bindings.as_slice() {
        [] => Ok(()),
        [one] if one == "public" => Ok(()),
        [one] if one == "internal" || one == "kubernetes" => Err(Refusal::new(
            Code(15005),
            format!("This edge has no {one} endpoints yet, so it does not bind one."),
        )),
        [one] => Err(Refusal::new(
            Code(15005),
            format!("The binding {one:?} is not public, internal or kubernetes."),
        )),
        _ => Err(Refusal::of(Code(15006))),
    }
}

fn compile(core: &Core, request: &BindRequest, scheme: Scheme) -> Result<Compiled, Refusal> {
    let version = |proto: i64| match proto {
        0..=2 => Ok(proto as u8),
        _ => Err(Refusal::new(
            Code::BAD_BIND,
            "ProxyProto must be 0, 1 or 2.",
        )),
    };
    let alpn: [&[u8]; 2] = [b"h2", b"http/1.1"];
    match scheme {
        Scheme::Http | Scheme::Https => {
            let options = request.opts.http().map_err(|error| malformed(&error))?;
            let tls = match &options.mutual_tls_ca {
                Some(_) if scheme == Scheme::Http => {
                    return Err(Refusal::new(
                        Code(14002),
                        "Client certificates need an https endpoint.",
                    ));
                }
                Some(pem) => {
                    let verifier = certs::client_verifier(pem).map_err(|reason| bad_ca(&reason))?;
                    Some(Arc::new(certs::config(
                        Some(verifier),
                        core.certificates.clone(),
                        &alpn,
                    )))
                }
                None => None,
            };
            Ok(Compiled {
                chain: Chain::http(&options)?,
                tls,
                rewrites_host: options.host_header_rewrite,
                proxy_proto: version(options.common.proxy_proto)?,
            })
        }
        Scheme::Tcp => {
            let options = request.opts.tcp().map_err(|error| malformed(&error))?;
            Ok(Compiled {
                chain: Chain::tcp(&options)?,
                tls: None,
                rewrites_host: false,
                proxy_proto: version(options.proxy_proto)?,
            })
        }
        Scheme::Tls => {
            let options = request.opts.tls().map_err(|error| malformed(&error))?;
            let chain = Chain::tls(&options)?;
            let verifier = options.mutual_tls_ca.as_deref().map(certs::client_verifier);
            let verifier = verifier.transpose().map_err(|reason| bad_ca(&reason))?;
            let tls = match &options.termination {
                None if verifier.is_some() => {
                    return Err(Refusal::new(
                        Code(14002),
                        "The edge can ask for client certificates only where it ends TLS: set TLSTermination too.",
                    ));
                }
                None => None,
                Some(pair) if pair.cert.is_empty() && pair.key.is_empty() => {
                    Some(certs::config(verifier, core.certificates.clone(), &[]))
                }
                Some(pair) => {
                    let key = certs::certified_key(&pair.cert, pair.key.expose().as_bytes())
                        .map_err(|reason| {
                            Refusal::new(
                                Code(14001),
                                format!("The TLS certificate and key cannot be used: {reason}."),
                            )
                        })?;
                    Some(certs::config(
                        verifier,
                        Arc::new(SingleCertAndKey::from(key)),
                        &[],
                    ))
                }
            };
            Ok(Compiled {
                chain,
                tls: tls.map(Arc::new),
                rewrites_host: false,
                proxy_proto: version(options.common.proxy_proto)?,
            })
        }
    }
}

fn open_port(
    core: &Core,
    config: &crate::config::EdgeConfig,
    wanted: Option<u16>,
) -> Result<u16, Refusal> {
    match (wanted, &config.tcp_ports) {
        (Some(port), _) => core.tcp.open(port).map(|()| port),
        (None, Some(range)) => core.tcp.open_any(range),
        (None, None) => Err(Refusal::of(Code(307))),
    }
}

fn claim(core: &Core, agent: &AgentSession, endpoint: &Arc<Endpoint>) -> Result<(), Refusal> {
    core.registry.claim(endpoint)?;
    agent.add(endpoint.clone());
    if agent.mux.is_closed() {
        // Its session ended meanwhile and has released what it knew of; this came later.
        session::release(endpoint, &core.registry, &core.tcp);
    }
    tracing::info!(obj = "bind", id = &*endpoint.id, url = %endpoint.url, account = agent.account.name, r = %agent.from, "endpoint bound");
    Ok(())
}

fn bad_ca(reason: &str) -> Refusal {
    Refusal::new(
        Code(14002),
        format!("The CAs of client certificates cannot be used: {reason}."),
    )
}

fn malformed(error: &Malformed) -> Refusal {
    Refusal::new(
        Code::BAD_BIND,
        format!("The bind message is malformed: {error}."),
    )
}
