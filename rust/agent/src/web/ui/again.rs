//! A captured request, sent again as the page wants it: `POST /api/ui/replay`.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::super::Web;
use super::super::reply::{Problem, Reply, ok};
use super::super::requests::not_sent;
use crate::capture::replay::{Edits, replay};

/// Bytes of what is asked for: a body that is kept whole, in base64, and a head.
pub(super) const LARGEST: usize = 4 << 20;

impl Web {
    pub(super) async fn again(&self, wanted: &Map<String, Value>) -> Result<Reply, Problem> {
        let id = text(wanted, "id")?.ok_or_else(|| Problem::request("id: which request?"))?;
        let body = text(wanted, "body")?.map(|body| BASE64_STANDARD.decode(body));
        let body = body
            .transpose()
            .map_err(|_| Problem::request("body: expected base64"))?;
        let edits = Edits {
            endpoint: text(wanted, "endpoint")?,
            method: text(wanted, "method")?,
            path: text(wanted, "path")?,
            headers: fields(wanted, "headers")?,
            body: body.map(Bytes::from),
            trailers: fields(wanted, "trailers")?,
        };
        let store = self.captured().ok_or_else(|| Problem::no_request(&id))?;
        let made = replay(&self.agent, &id, edits).await;
        let made = made.map_err(|error| not_sent(&error, &id))?;
        Ok(ok(&json!({"id": store.text(made)})))
    }
}

fn text(wanted: &Map<String, Value>, key: &str) -> Result<Option<String>, Problem> {
    match wanted.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(Problem::request(format!("{key}: expected text"))),
    }
}

/// Names and values.
fn fields(
    wanted: &Map<String, Value>,
    key: &str,
) -> Result<Option<Vec<(String, String)>>, Problem> {
    let Some(list) = wanted.get(key).filter(|list| !list.is_null()) else {
        return Ok(None);
    };
    serde_json::from_value(list.clone())
        .map(Some)
        .map_err(|_| Problem::request(format!("{key}: expected a list of [name, value]")))
}
