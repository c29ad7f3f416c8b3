//! Reading JSON objects as Go does: keys without regard to case, null and absent alike, unknown
//! keys passed over, wrong types an error that names the key.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

/// A message that does not mean what it must.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("the message is not a JSON object")]
    NotAnObject,
    #[error("{key}: expected {expected}")]
    Type { key: String, expected: &'static str },
    #[error("invalid JSON: {0}")]
    Json(String),
    #[error("the message is larger than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("the stream ended inside the message")]
    Incomplete,
}

/// An object whose keys are asked for by name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'a>(&'a Map<String, Value>);

// === impl Fields ===

impl<'a> Fields<'a> {
    pub(crate) fn of(value: &'a Value) -> Result<Self, Malformed> {
        value.as_object().map(Self).ok_or(Malformed::NotAnObject)
    }

    pub(crate) fn of_map(map: &'a Map<String, Value>) -> Self {
        Self(map)
    }

    /// The value of `key`: the exact spelling wins over others; null is nothing, and hides nothing.
    pub(crate) fn get(self, key: &str) -> Option<&'a Value> {
        let exact = self.0.get(key).filter(|value| !value.is_null());
        let any = || {
            self.0
                .iter()
                .find(|(name, value)| name.eq_ignore_ascii_case(key) && !value.is_null())
                .map(|(_, value)| value)
        };
        exact.or_else(any)
    }

    pub(crate) fn text(self, key: &str) -> Result<String, Malformed> {
        Ok(self.maybe_text(key)?.unwrap_or_default())
    }

    pub(crate) fn maybe_text(self, key: &str) -> Result<Option<String>, Malformed> {
        self.typed(key, "a string", |value| value.as_str().map(str::to_owned))
    }

    pub(crate) fn flag(self, key: &str) -> Result<bool, Malformed> {
        Ok(self
            .typed(key, "true or false", Value::as_bool)?
            .unwrap_or(false))
    }

    pub(crate) fn maybe_flag(self, key: &str) -> Result<Option<bool>, Malformed> {
        self.typed(key, "true or false", Value::as_bool)
    }

    pub(crate) fn int(self, key: &str) -> Result<i64, Malformed> {
        Ok(self
            .typed(key, "a whole number", Value::as_i64)?
            .unwrap_or(0))
    }

    pub(crate) fn float(self, key: &str) -> Result<f64, Malformed> {
        Ok(self.typed(key, "a number", Value::as_f64)?.unwrap_or(0.0))
    }

    pub(crate) fn texts(self, key: &str) -> Result<Vec<String>, Malformed> {
        let list = self.typed(key, "a list of strings", |value| {
            let texts = value
                .as_array()?
                .iter()
                .map(|text| text.as_str().map(str::to_owned));
            texts.collect::<Option<Vec<String>>>()
        })?;
        Ok(list.unwrap_or_default())
    }

    /// Bytes: a base64 string.
    pub(crate) fn bytes(self, key: &str) -> Result<Vec<u8>, Malformed> {
        let bytes = self.typed(key, "a base64 string", |value| {
            STANDARD.decode(value.as_str()?).ok()
        })?;
        Ok(bytes.unwrap_or_default())
    }

    pub(crate) fn object(self, key: &str) -> Result<Option<Fields<'a>>, Malformed> {
        self.typed(key, "an object", |value| value.as_object().map(Fields))
    }

    pub(crate) fn objects(self, key: &str) -> Result<Vec<Fields<'a>>, Malformed> {
        let list = self.typed(key, "a list of objects", |value| {
            let objects = value
                .as_array()?
                .iter()
                .map(|object| object.as_object().map(Fields));
            objects.collect::<Option<Vec<_>>>()
        })?;
        Ok(list.unwrap_or_default())
    }

    pub(crate) fn map(self) -> &'a Map<String, Value> {
        self.0
    }

    fn typed<T>(
        self,
        key: &str,
        expected: &'static str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, Malformed> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        match read(value) {
            Some(read) => Ok(Some(read)),
            None => Err(Malformed::Type {
                key: key.to_owned(),
                expected,
            }),
        }
    }
}
