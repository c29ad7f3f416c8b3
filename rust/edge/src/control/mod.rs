//! Who may do what: asked once per session and once per bind, never per request (design,
//! decision 4).

mod embedded;
mod fixed;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use futures_util::future::BoxFuture;
use portway_wire::auth::AuthRequest;
use portway_wire::{EndpointUrl, Refusal};

use crate::config::EdgeConfig;

pub use embedded::Embedded;
pub use fixed::Fixed;

/// Who an agent is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Shown in logs; reservations and take-overs go by it.
    pub name: String,
    /// Which credential was used; its end ends the session.
    pub credential: String,
    /// The credential may be come upon by trying: it does not help where too much was tried.
    pub guessable: bool,
}

/// What an agent wants to bind.
#[derive(Clone, Debug)]
pub struct BindAsk<'a> {
    pub account: &'a Account,
    pub url: &'a EndpointUrl,
    /// The edge chose the name or the port itself.
    pub random: bool,
}

/// Labels an agent wants to serve; the operator may have given a URL to them.
#[derive(Clone, Debug)]
pub struct LabelsAsk<'a> {
    pub account: &'a Account,
    pub labels: &'a BTreeMap<String, String>,
}

/// The control plane as the edge sees it.
pub trait Control: Send + Sync + 'static {
    /// Lets an agent in.
    ///
    /// # Errors
    /// The [`Refusal`] it is told.
    fn authenticate<'a>(
        &'a self,
        request: &'a AuthRequest,
        from: SocketAddr,
    ) -> BoxFuture<'a, Result<Account, Refusal>>;

    /// Lets an account serve a URL.
    ///
    /// # Errors
    /// The [`Refusal`] the agent is told.
    fn bind<'a>(&'a self, ask: BindAsk<'a>) -> BoxFuture<'a, Result<(), Refusal>>;

    /// Lets an account serve what carries these labels.
    ///
    /// # Errors
    /// The [`Refusal`] the agent is told.
    fn bind_labels<'a>(&'a self, ask: LabelsAsk<'a>) -> BoxFuture<'a, Result<(), Refusal>>;

    /// Takes up a changed configuration, where it is one's own.
    fn reload(&self, _config: &EdgeConfig) {}

    /// Whether a credential still stands; asked of open sessions after a reload.
    fn stands(&self, _credential: &str) -> bool {
        true
    }
}
