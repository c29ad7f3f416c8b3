//! What an edge tells an agent to do (wire-protocol §6).

use bytes::{BufMut, Bytes, BytesMut};
use serde_json::{Value, json};

use crate::fields::{Fields, Malformed};
use crate::stream_type;

/// A command, with its stream type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    Restart,
    Stop,
    Update {
        version: String,
        permit_major: bool,
    },
    /// Has no reply.
    StopTunnel {
        id: String,
        message: String,
        code: Option<String>,
    },
}

// === impl Command ===

impl Command {
    /// Whether streams of this type carry commands.
    pub fn is_type(kind: u32) -> bool {
        matches!(
            kind,
            stream_type::RESTART
                | stream_type::STOP
                | stream_type::UPDATE
                | stream_type::STOP_TUNNEL
        )
    }

    pub fn stream_type(&self) -> u32 {
        match self {
            Self::Restart => stream_type::RESTART,
            Self::Stop => stream_type::STOP,
            Self::Update { .. } => stream_type::UPDATE,
            Self::StopTunnel { .. } => stream_type::STOP_TUNNEL,
        }
    }

    /// Type and body, to be sent in one frame: agents read bodies while they accept.
    pub fn encode(&self) -> Bytes {
        let body = match self {
            Self::Restart | Self::Stop => json!({}),
            Self::Update {
                version,
                permit_major,
            } => {
                json!({"Version": version, "PermitMajorVersion": permit_major})
            }
            Self::StopTunnel { id, message, code } => {
                json!({"Id": id, "Message": message, "ErrorCode": code})
            }
        };
        let mut frame = BytesMut::new();
        frame.put_u32(self.stream_type());
        frame.put_slice(body.to_string().as_bytes());
        frame.freeze()
    }

    /// Reads the body of a command of this type; `None` for a type that is no command.
    ///
    /// # Errors
    /// [`Malformed`] where a key has the wrong type.
    pub fn decode(kind: u32, body: &Value) -> Result<Option<Self>, Malformed> {
        let fields = Fields::of(body)?;
        Ok(Some(match kind {
            stream_type::RESTART => Self::Restart,
            stream_type::STOP => Self::Stop,
            stream_type::UPDATE => Self::Update {
                version: fields.text("Version")?,
                permit_major: fields.flag("PermitMajorVersion")?,
            },
            stream_type::STOP_TUNNEL => Self::StopTunnel {
                id: fields.text("Id")?,
                message: fields.text("Message")?,
                code: fields
                    .maybe_text("ErrorCode")?
                    .filter(|code| !code.is_empty()),
            },
            _ => return Ok(None),
        }))
    }
}

/// The reply to a command: empty, or why it was not done.
pub fn reply(error: &str) -> Bytes {
    let body = if error.is_empty() {
        json!({})
    } else {
        json!({"Error": error})
    };
    Bytes::from(body.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k106_commands_have_the_bodies_agents_require() {
        let stop = Command::Stop.encode();
        assert_eq!(&stop[..], b"\0\0\0\x05{}");
        let update = Command::Update {
            version: "2".into(),
            permit_major: true,
        };
        assert_eq!(
            &update.encode()[4..],
            br#"{"Version":"2","PermitMajorVersion":true}"#
        );
    }

    #[test]
    fn k108_commands_come_back_as_they_were_sent() {
        for command in [
            Command::Restart,
            Command::Stop,
            Command::Update {
                version: String::new(),
                permit_major: false,
            },
            Command::StopTunnel {
                id: "a".into(),
                message: "m".into(),
                code: Some("ERR_NGROK_1".into()),
            },
            Command::StopTunnel {
                id: "a".into(),
                message: "m".into(),
                code: None,
            },
        ] {
            let frame = command.encode();
            let body = serde_json::from_slice(&frame[4..]).unwrap();
            assert_eq!(
                Command::decode(command.stream_type(), &body),
                Ok(Some(command))
            );
        }
    }
}
