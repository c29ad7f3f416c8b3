//! WebSocket to TCP (traffic-policy §9): the edge ends the WebSocket (RFC 6455), the upstream sees
//! the bytes of its messages and nothing else.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use portway_mux::Stream;
use portway_policy::Answer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::body::Body;
use super::page;
use super::proxy::{Connection, Route};
use crate::endpoint::NOTHING;

/// Bytes of one frame from a visitor.
const LARGEST: usize = 1 << 20;
/// Appended to the key to show that WebSocket was understood (RFC 6455 §1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Completes the handshake and joins the messages to a stream.
///
/// # Errors
/// The [`Answer`] for a request that is no WebSocket handshake, or where the agent is gone.
pub(super) async fn serve(
    connection: &Connection,
    route: &Route,
    mut head: Parts,
) -> Result<Response<Body>, Answer> {
    let key = head.headers.get(header::SEC_WEBSOCKET_KEY);
    let accept = key.map(|key| accept_key(key.as_bytes()));
    let (Some(accept), Some(upgrade)) = (
        accept,
        head.extensions.remove::<hyper::upgrade::OnUpgrade>(),
    ) else {
        return Err(page::bad_request("This is no WebSocket handshake."));
    };
    let stream = route.endpoint.connect(connection.visit, &NOTHING).await;
    let stream = stream.map_err(|code| page::error(code, code.text()))?;
    connection.pulse.upgraded();
    let core = connection.core.clone();
    tokio::spawn(async move {
        if let Ok(visitor) = upgrade.await {
            tokio::select! {
                () = joined(TokioIo::new(visitor), stream) => {}
                () = core.reached(crate::core::Stage::Stopped) => {}
            }
        }
    });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::from_str(&accept) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    if let Some(protocol) = head.headers.get(header::SEC_WEBSOCKET_PROTOCOL)
        && let Ok(offered) = protocol.to_str()
        && let Some(first) = offered.split(',').next()
        && let Ok(first) = HeaderValue::from_str(first.trim())
    {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, first);
    }
    Ok(response)
}

fn accept_key(key: &[u8]) -> String {
    use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key, GUID.as_bytes()].concat());
    STANDARD.encode(hash)
}

async fn joined<T>(visitor: T, stream: Stream)
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let (mut from_visitor, mut to_visitor) = tokio::io::split(visitor);
    let (mut from_agent, mut to_agent) = stream.split();
    let (answers, mut answered) = tokio::sync::mpsc::channel::<Bytes>(8);
    let up = async {
        let mut decoder = Decoder::default();
        loop {
            match decoder.next() {
                Ok(Some(Message::Data(bytes))) => {
                    if to_agent.write_chunk(bytes).await.is_err() {
                        return;
                    }
                }
                Ok(Some(Message::Ping(bytes))) => {
                    if answers.send(frame(PONG, &bytes)).await.is_err() {
                        return;
                    }
                }
                Ok(Some(Message::Close)) | Err(Violation) => {
                    to_agent.finish();
                    return;
                }
                Ok(None) => match from_visitor.read_buf(&mut decoder.0).await {
                    Ok(0) | Err(_) => return to_agent.finish(),
                    Ok(_) => {}
                },
            }
        }
    };
    let down = async {
        loop {
            let out = tokio::select! {
                chunk = from_agent.read_chunk() => if let Ok(Some(chunk)) = chunk { frame(BINARY, &chunk) } else {
                    let normal = 1000u16.to_be_bytes();
                    let _ = to_visitor.write_all(&frame(CLOSE, &normal)).await;
                    let _ = to_visitor.shutdown().await;
                    return;
                },
                Some(answer) = answered.recv() => answer,
            };
            if to_visitor.write_all(&out).await.is_err() || to_visitor.flush().await.is_err() {
                return;
            }
        }
    };
    // The upstream may still speak after the visitor's last message, not the other way about.
    tokio::pin!(up, down);
    tokio::select! {
        () = &mut up => down.await,
        () = &mut down => {}
    }
}

const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// What a visitor says.
#[derive(Debug, PartialEq, Eq)]
enum Message {
    Data(Bytes),
    Ping(Bytes),
    Close,
}

/// Not WebSocket, or more than is taken.
#[derive(Debug, PartialEq, Eq)]
struct Violation;

/// Frames out of bytes, cut anywhere.
#[derive(Default)]
struct Decoder(BytesMut);

// === impl Decoder ===

impl Decoder {
    /// The next message; pieces of one are handed on as they come. Nothing: more bytes are needed.
    fn next(&mut self) -> Result<Option<Message>, Violation> {
        loop {
            let [first, second, ..] = self.0[..] else {
                return Ok(None);
            };
            let opcode = first & 0x0f;
            // No extension was agreed on, and whatever a client sends is masked.
            if first & 0x70 != 0 || second & 0x80 == 0 {
                return Err(Violation);
            }
            let (length, header) = match second & 0x7f {
                126 => match self.0.get(2..4) {
                    Some(bytes) => (usize::from(u16::from_be_bytes([bytes[0], bytes[1]])), 4),
                    None => return Ok(None),
                },
                127 => match self.0.get(2..).and_then(|rest| rest.first_chunk::<8>()) {
                    Some(bytes) => (
                        usize::try_from(u64::from_be_bytes(*bytes)).map_err(|_| Violation)?,
                        10,
                    ),
                    None => return Ok(None),
                },
                length => (usize::from(length), 2),
            };
            if length > LARGEST || (opcode >= CLOSE && length > 125) {
                return Err(Violation);
            }
            if self.0.len() < header + 4 + length {
                return Ok(None);
            }
            self.0.advance(header);
            let mask = self.0.split_to(4);
            let mut payload = self.0.split_to(length);
            for (byte, key) in payload.iter_mut().zip(mask.iter().cycle()) {
                *byte ^= key;
            }
            return Ok(Some(match opcode {
                0..=2 => Message::Data(payload.freeze()),
                CLOSE => Message::Close,
                PING => Message::Ping(payload.freeze()),
                PONG => continue,
                _ => return Err(Violation),
            }));
        }
    }
}

/// One whole frame of ours; servers do not mask.
fn frame(opcode: u8, payload: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(payload.len() + 10);
    frame.put_u8(0x80 | opcode);
    match payload.len() {
        length @ 0..=125 => frame.put_u8(length as u8),
        length @ 126..=0xffff => {
            frame.put_u8(126);
            frame.put_u16(length as u16);
        }
        length => {
            frame.put_u8(127);
            frame.put_u64(length as u64);
        }
    }
    frame.extend_from_slice(payload);
    frame.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_the_rfc() {
        assert_eq!(
            accept_key(b"dGhlIHNhbXBsZSBub25jZQ=="),
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
    }

    #[test]
    fn frames_of_the_rfc_are_read_however_they_are_cut() {
        // A masked "Hello", a ping, a close (RFC 6455 §5.7).
        let bytes =
            b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58\x89\x82\0\0\0\0hi\x88\x80\0\0\0\0";
        for cut in 0..bytes.len() {
            let mut decoder = Decoder::default();
            let mut seen = Vec::new();
            for part in [&bytes[..cut], &bytes[cut..]] {
                decoder.0.extend_from_slice(part);
                while let Some(message) = decoder.next().unwrap() {
                    seen.push(message);
                }
            }
            assert_eq!(
                seen,
                [
                    Message::Data("Hello".into()),
                    Message::Ping("hi".into()),
                    Message::Close
                ]
            );
        }
        for bad in [
            &b"\x81\x05Hello"[..],
            b"\xc1\x80\0\0\0\0",
            b"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0",
            b"\x83\x80\0\0\0\0",
        ] {
            let mut decoder = Decoder(BytesMut::from(bad));
            assert_eq!(decoder.next(), Err(Violation));
        }
    }

    #[test]
    fn our_frames_have_the_right_lengths() {
        for (length, header) in [(5, 2), (125, 2), (126, 4), (65535, 4), (65536, 10)] {
            assert_eq!(frame(BINARY, &vec![0; length]).len(), length + header);
        }
    }
}
