//! Figures of an edge, and how Prometheus reads them (text format 0.0.4).

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use parking_lot::Mutex;
use portway_wire::Code;

/// The doors of an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    Agent,
    Http,
    Https,
    Tcp,
    /// The edge's own interface.
    Api,
}

/// Why a connection was not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turned {
    /// A limit of connections.
    Limit,
    /// No complete head, handshake or login in time.
    Slow,
    /// Bytes that are not the protocol of the door.
    Garbage,
    /// More in front of a request than is read.
    Oversized,
    /// Served before, and then nothing moved any more.
    Idle,
}

const DOORS: [(Door, &str); 5] = [
    (Door::Agent, "agent"),
    (Door::Http, "http"),
    (Door::Https, "https"),
    (Door::Tcp, "tcp"),
    (Door::Api, "api"),
];
const REASONS: [(Turned, &str); 5] = [
    (Turned::Limit, "limit"),
    (Turned::Slow, "slow"),
    (Turned::Garbage, "garbage"),
    (Turned::Oversized, "oversized"),
    (Turned::Idle, "idle"),
];

#[derive(Debug, Default)]
struct PerDoor {
    accepted: AtomicU64,
    open: AtomicI64,
    turned: [AtomicU64; REASONS.len()],
}

/// Counters and gauges; all of them cheap to change.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    doors: [PerDoor; DOORS.len()],
    pub sessions: AtomicI64,
    pub sessions_started: AtomicU64,
    pub logins_failed: AtomicU64,
    /// By the first digit of the status, 1 to 5.
    responses: [AtomicU64; 6],
    /// Payload of proxied connections that are plain bytes.
    pub bytes_in: AtomicU64,
    pub bytes_out: AtomicU64,
    errors: Mutex<BTreeMap<u16, u64>>,
}

// === impl Metrics ===

impl Metrics {
    /// Counts a connection from now until the guard is dropped.
    pub(crate) fn connected(&self, door: Door) -> Connected<'_> {
        let door = &self.doors[door as usize];
        door.accepted.fetch_add(1, Ordering::Relaxed);
        door.open.fetch_add(1, Ordering::Relaxed);
        Connected(door)
    }

    pub(crate) fn turned(&self, door: Door, why: Turned) {
        self.doors[door as usize].turned[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn responded(&self, status: u16) {
        if let Some(class) = self.responses.get(usize::from(status / 100)) {
            class.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// An error page or refusal with this code was given.
    pub(crate) fn failed(&self, code: Code) {
        *self.errors.lock().entry(code.0).or_default() += 1;
    }

    /// Everything, as Prometheus reads it.
    pub(crate) fn text(&self, endpoints: usize) -> String {
        let mut out = String::with_capacity(2048);
        let mut family = |name: &str, kind: &str, help: &str, rows: &[(String, i128)]| {
            let _ = writeln!(
                out,
                "# HELP portway_{name} {help}\n# TYPE portway_{name} {kind}"
            );
            for (labels, value) in rows {
                let _ = writeln!(out, "portway_{name}{labels} {value}");
            }
        };
        let load = |value: &AtomicU64| i128::from(value.load(Ordering::Relaxed));
        let each = |read: &dyn Fn(&PerDoor) -> i128| -> Vec<(String, i128)> {
            DOORS
                .iter()
                .map(|(door, name)| {
                    (
                        format!("{{listener=\"{name}\"}}"),
                        read(&self.doors[*door as usize]),
                    )
                })
                .collect()
        };
        family(
            "connections_total",
            "counter",
            "Connections accepted.",
            &each(&|door| load(&door.accepted)),
        );
        family(
            "connections",
            "gauge",
            "Connections open now.",
            &each(&|door| i128::from(door.open.load(Ordering::Relaxed))),
        );
        let turned: Vec<_> = DOORS
            .iter()
            .flat_map(|(door, door_name)| {
                REASONS.iter().map(move |(why, why_name)| {
                    let labels = format!("{{listener=\"{door_name}\",reason=\"{why_name}\"}}");
                    (
                        labels,
                        load(&self.doors[*door as usize].turned[*why as usize]),
                    )
                })
            })
            .collect();
        family(
            "connections_refused_total",
            "counter",
            "Connections that were not served, or not to their end, and why.",
            &turned,
        );
        let single = |value: i128| vec![(String::new(), value)];
        family(
            "agent_sessions",
            "gauge",
            "Agents connected now.",
            &single(i128::from(self.sessions.load(Ordering::Relaxed))),
        );
        family(
            "agent_sessions_total",
            "counter",
            "Agents that logged in.",
            &single(load(&self.sessions_started)),
        );
        family(
            "logins_failed_total",
            "counter",
            "Logins that were refused.",
            &single(load(&self.logins_failed)),
        );
        family(
            "endpoints",
            "gauge",
            "Endpoints bound now.",
            &single(endpoints as i128),
        );
        let responses: Vec<_> = (1..=5)
            .map(|class| {
                (
                    format!("{{status=\"{class}xx\"}}"),
                    load(&self.responses[class]),
                )
            })
            .collect();
        family(
            "http_responses_total",
            "counter",
            "Responses to visitors.",
            &responses,
        );
        let bytes = [("in", &self.bytes_in), ("out", &self.bytes_out)]
            .map(|(way, value)| (format!("{{direction=\"{way}\"}}"), load(value)));
        family(
            "tunnel_bytes_total",
            "counter",
            "Bytes of TCP, TLS and upgraded connections.",
            &bytes,
        );
        let errors: Vec<_> = self
            .errors
            .lock()
            .iter()
            .map(|(code, count)| (format!("{{code=\"ERR_NGROK_{code}\"}}"), i128::from(*count)))
            .collect();
        family(
            "errors_total",
            "counter",
            "Errors shown to visitors and agents.",
            &errors,
        );
        out
    }
}

/// A connection that is counted as open.
#[derive(Debug)]
pub(crate) struct Connected<'a>(&'a PerDoor);

impl Drop for Connected<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_has_every_figure_once() {
        let metrics = Metrics::default();
        let open = metrics.connected(Door::Https);
        drop(metrics.connected(Door::Https));
        metrics.turned(Door::Http, Turned::Slow);
        metrics.responded(404);
        metrics.failed(Code::OFFLINE);
        let text = metrics.text(3);
        for line in [
            "portway_connections_total{listener=\"https\"} 2",
            "portway_connections{listener=\"https\"} 1",
            "portway_connections_refused_total{listener=\"http\",reason=\"slow\"} 1",
            "portway_http_responses_total{status=\"4xx\"} 1",
            "portway_errors_total{code=\"ERR_NGROK_3200\"} 1",
            "portway_endpoints 3",
        ] {
            assert_eq!(
                text.lines().filter(|it| *it == line).count(),
                1,
                "{line}\n{text}"
            );
        }
        drop(open);
        assert!(
            metrics
                .text(0)
                .contains("portway_connections{listener=\"https\"} 0")
        );
    }
}
