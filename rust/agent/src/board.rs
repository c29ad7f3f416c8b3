//! What is known of a running agent at one moment: its session, its URLs, its traffic. Written by
//! those who do the work, read by the screen.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::console::{Counts, Offer, RequestLine, Status, View};
use crate::metrics::{Figures, Metrics, Open};

/// Requests that are remembered for the screen.
const REQUESTS: usize = 50;

/// Shared by all parts of an agent.
#[derive(Debug)]
pub(crate) struct Board {
    facts: Mutex<Facts>,
    changed: watch::Sender<()>,
    /// Connections of all endpoints together, counted as those of each are.
    traffic: Arc<Metrics>,
    /// Whether anybody looks at single requests.
    watched: bool,
}

#[derive(Debug, Default)]
struct Facts {
    status: Status,
    was_online: bool,
    banner: Vec<String>,
    account: Option<String>,
    /// By the number of the leg.
    legs: BTreeMap<u32, LegFacts>,
    web: Option<String>,
    offer: Option<Offer>,
    hint: Option<String>,
    /// Name, public URL, upstream; in the order of the plan.
    endpoints: Vec<(String, Option<String>, String)>,
    has_http: bool,
    requests: VecDeque<RequestLine>,
}

/// What is known of the session.
#[derive(Clone, Debug)]
pub(crate) struct SessionFacts {
    pub(crate) status: Status,
    pub(crate) legs: Vec<LegFacts>,
}

/// One connection to the edge.
#[derive(Clone, Debug, Default)]
pub(crate) struct LegFacts {
    /// What the edge calls the place where it is; may be empty.
    pub(crate) region: String,
    pub(crate) latency: Option<Duration>,
}

// === impl Board ===

impl Board {
    /// `endpoints`: names and upstreams. `watched`: requests are of interest.
    pub(crate) fn new(
        endpoints: Vec<(String, String)>,
        has_http: bool,
        watched: bool,
        hint: Option<String>,
    ) -> Self {
        let facts = Facts {
            endpoints: endpoints
                .into_iter()
                .map(|(name, upstream)| (name, None, upstream))
                .collect(),
            has_http,
            hint,
            ..Facts::default()
        };
        Self {
            facts: Mutex::new(facts),
            changed: watch::Sender::new(()),
            traffic: Arc::default(),
            watched,
        }
    }

    pub(crate) fn watched(&self) -> bool {
        self.watched
    }

    /// Tells of every change.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    fn change<R>(&self, change: impl FnOnce(&mut Facts) -> R) -> R {
        let result = change(&mut self.facts.lock());
        self.changed.send_replace(());
        result
    }

    pub(crate) fn online(&self, account: &str, plan: &str, banner: &str) {
        self.change(|facts| {
            facts.status = Status::Online;
            facts.was_online = true;
            // Of the edge inside, the user needs to know nothing.
            if facts.hint.is_some() {
                return;
            }
            facts.account = (!account.is_empty()).then(|| {
                if plan.is_empty() {
                    account.to_owned()
                } else {
                    format!("{account} (Plan: {plan})")
                }
            });
            facts.banner = banner.lines().map(str::to_owned).collect();
        });
    }

    pub(crate) fn reconnecting(&self, cause: &str) {
        self.change(|facts| {
            let cause = without_number(cause.lines().next().unwrap_or_default());
            facts.status = if facts.was_online {
                Status::Reconnecting(cause)
            } else {
                Status::Failing(cause)
            };
        });
    }

    /// A connection to the edge is up.
    pub(crate) fn leg(&self, number: u32, region: &str) {
        let region = region.to_owned();
        self.change(|facts| {
            let latency = None;
            facts.legs.insert(number, LegFacts { region, latency });
        });
    }

    pub(crate) fn no_leg(&self, number: u32) {
        self.change(|facts| facts.legs.remove(&number));
    }

    pub(crate) fn latency(&self, leg: u32, latency: Duration) {
        self.change(|facts| {
            if let Some(leg) = facts.legs.get_mut(&leg) {
                leg.latency = Some(latency);
            }
        });
    }

    /// Which command brings a newer version; nothing: this program does so itself.
    pub(crate) fn brought_by(&self, command: Option<String>) {
        self.change(|facts| facts.offer.get_or_insert_default().instead = command);
    }

    /// There is a newer version.
    pub(crate) fn offer(&self, version: &str) {
        self.change(|facts| version.clone_into(&mut facts.offer.get_or_insert_default().version));
    }

    /// How bringing it goes.
    pub(crate) fn updating(&self, state: &str) {
        self.change(|facts| facts.offer.get_or_insert_default().state = Some(state.to_owned()));
    }

    /// The local interface is found at this address.
    pub(crate) fn web(&self, address: &str) {
        self.change(|facts| facts.web = Some(format!("http://{address}")));
    }

    pub(crate) fn session(&self) -> SessionFacts {
        let facts = self.facts.lock();
        SessionFacts {
            status: facts.status.clone(),
            legs: facts.legs.values().cloned().collect(),
        }
    }

    /// One more endpoint is wanted.
    pub(crate) fn wanted(&self, name: &str, upstream: &str, http: bool) {
        self.change(|facts| {
            facts.has_http |= http;
            facts
                .endpoints
                .push((name.to_owned(), None, upstream.to_owned()));
        });
    }

    pub(crate) fn unwanted(&self, name: &str) {
        self.change(|facts| facts.endpoints.retain(|entry| entry.0 != name));
    }

    /// An endpoint leads somewhere else now.
    pub(crate) fn changed(&self, name: &str, url: &str, upstream: &str) {
        self.change(|facts| {
            if let Some(entry) = facts.endpoints.iter_mut().find(|entry| entry.0 == name) {
                entry.1 = Some(url.to_owned());
                upstream.clone_into(&mut entry.2);
            }
        });
    }

    /// An endpoint has this URL now, or none any more.
    pub(crate) fn endpoint(&self, name: &str, url: Option<&str>) {
        self.change(|facts| {
            if let Some(entry) = facts.endpoints.iter_mut().find(|entry| entry.0 == name) {
                entry.1 = url.map(str::to_owned);
            }
        });
    }

    /// Counts a connection until the guard is dropped.
    pub(crate) fn connected(&self) -> Connected<'_> {
        let open = self.traffic.connected();
        self.changed.send_replace(());
        Connected {
            board: self,
            open: Some(open),
        }
    }

    /// Connections of visitors so far.
    pub(crate) fn visits(&self) -> u64 {
        self.traffic.connections.count()
    }

    /// A request went by; its status is told later, by [`answered`](Self::answered).
    pub(crate) fn request(&self, method: &str, path: &str) {
        let now = jiff::ZonedDateTime::now();
        let line = RequestLine {
            time: now.strftime("%H:%M:%S%.3f %Z").to_string(),
            method: method.to_owned(),
            path: path.to_owned(),
            status: String::new(),
        };
        self.change(|facts| {
            facts.requests.push_front(line);
            facts.requests.truncate(REQUESTS);
        });
    }

    pub(crate) fn answered(&self, method: &str, path: &str, status: &str) {
        self.change(|facts| {
            let line =
                facts.requests.iter_mut().rev().find(|line| {
                    line.status.is_empty() && line.method == method && line.path == path
                });
            if let Some(line) = line {
                status.clone_into(&mut line.status);
            }
        });
    }

    /// All of it, as the screen shows it.
    pub(crate) fn view(&self) -> View {
        let facts = self.facts.lock();
        let connections = self.traffic.connections.figures();
        let forwarding = facts
            .endpoints
            .iter()
            .filter_map(|(_, url, upstream)| Some((url.clone()?, upstream.clone())));
        View {
            status: facts.status.clone(),
            banner: facts.banner.clone(),
            account: facts.account.clone(),
            offer: facts
                .offer
                .clone()
                .filter(|offer| !offer.version.is_empty()),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            region: (facts.hint.is_none())
                .then(|| regions(&facts.legs))
                .flatten(),
            latencies: facts.legs.values().map(|leg| leg.latency).collect(),
            web: facts.web.clone(),
            forwarding: forwarding.collect(),
            hint: facts.hint.clone(),
            connections: counts(&connections),
            requests: facts
                .has_http
                .then(|| facts.requests.iter().cloned().collect()),
        }
    }
}

fn counts(figures: &Figures) -> Counts {
    let [p50, p90, ..] = figures.percentiles;
    let length = |nanos: f64| Duration::from_nanos(nanos as u64);
    Counts {
        total: figures.count,
        open: figures.open,
        rate_1m: figures.rates[0],
        rate_5m: figures.rates[1],
        p50: length(p50),
        p90: length(p90),
    }
}

/// The places where the legs end, each once.
fn regions(legs: &BTreeMap<u32, LegFacts>) -> Option<String> {
    let mut regions: Vec<&str> = legs.values().map(|leg| leg.region.as_str()).collect();
    regions.retain(|region| !region.is_empty());
    regions.dedup();
    (!regions.is_empty()).then(|| regions.join(", "))
}

/// The text of an error without the numbers that the standard library puts into it.
pub fn without_number(text: &str) -> String {
    let mut text = text.to_owned();
    while let Some(start) = text.find(" (os error ") {
        let end = text[start..]
            .find(')')
            .map_or(text.len(), |end| start + end + 1);
        text.replace_range(start..end, "");
    }
    text
}

/// A connection that is counted as open.
#[derive(Debug)]
pub(crate) struct Connected<'a> {
    board: &'a Board,
    open: Option<Open>,
}

impl Drop for Connected<'_> {
    fn drop(&mut self) {
        drop(self.open.take());
        self.board.changed.send_replace(());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_is_seen() {
        let board = Board::new(vec![("a".into(), "localhost:1".into())], true, true, None);
        let changes = board.changes();
        board.online("ann", "Free", "hello\nthere");
        board.endpoint("a", Some("http://a.test"));
        let open = board.connected();
        drop(board.connected());
        board.request("GET", "/x");
        board.answered("GET", "/x", "200 OK");
        let view = board.view();
        assert!(changes.has_changed().unwrap());
        assert_eq!(view.account.as_deref(), Some("ann (Plan: Free)"));
        assert_eq!(
            view.forwarding,
            [("http://a.test".to_owned(), "localhost:1".to_owned())]
        );
        assert_eq!((view.connections.total, view.connections.open), (2, 1));
        assert_eq!(view.requests.unwrap()[0].status, "200 OK");
        drop(open);
        assert_eq!(board.view().connections.open, 0);
        board.reconnecting("lost (os error 104): x\nmore");
        assert_eq!(board.view().status, Status::Reconnecting("lost: x".into()));
    }

    #[test]
    fn before_the_first_session_it_is_still_connecting() {
        let board = Board::new(Vec::new(), false, true, Some("local".into()));
        board.reconnecting("refused");
        assert_eq!(board.view().status, Status::Failing("refused".into()));
        board.online("local", "", "");
        assert_eq!(board.view().status, Status::Online);
        assert_eq!((board.view().account, board.view().region), (None, None));
    }
}
