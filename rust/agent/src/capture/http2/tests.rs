use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use portway_mux::pass_on;
use proptest::prelude::*;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::*;

/// What each stream was told to carry, one line each; pieces of a body joined.
#[derive(Debug, Default, PartialEq)]
struct Told {
    streams: BTreeMap<u32, Vec<String>>,
    lost: Option<&'static str>,
}

impl Told {
    fn add(&mut self, stream: u32, line: String) {
        self.streams.entry(stream).or_default().push(line);
    }

    fn more(&mut self, stream: u32, what: &str, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        let lines = self.streams.entry(stream).or_default();
        match lines.iter_mut().find(|line| line.starts_with(what)) {
            Some(line) => line.push_str(&text),
            None => lines.push(format!("{what}{text}")),
        }
    }
}

impl Streams for Told {
    fn request(&mut self, stream: u32, head: &[u8], method: &str, target: &str) {
        let head = String::from_utf8_lossy(head);
        assert!(head.starts_with(&format!("{method} {target} HTTP/2.0\r\n")));
        self.add(stream, format!("> {head}"));
    }
    fn sent(&mut self, stream: u32, body: &[u8]) {
        self.more(stream, "> body ", body);
    }
    fn sent_trailers(&mut self, stream: u32, lines: &[u8]) {
        self.more(stream, "> trailers ", lines);
    }
    fn sent_all(&mut self, stream: u32) {
        self.add(stream, "> end".into());
    }
    fn response(&mut self, stream: u32, head: &[u8], code: u16, reason: &str) {
        let head = String::from_utf8_lossy(head);
        assert!(head.starts_with(&format!("HTTP/2.0 {code} {reason}\r\n")));
        self.add(stream, format!("< {code}"));
    }
    fn received(&mut self, stream: u32, body: &[u8]) {
        self.more(stream, "< body ", body);
    }
    fn received_trailers(&mut self, stream: u32, lines: &[u8]) {
        self.more(stream, "< trailers ", lines);
    }
    fn received_all(&mut self, stream: u32) {
        self.add(stream, "< end".into());
    }
    fn reset(&mut self, stream: u32) {
        self.add(stream, "reset".into());
    }
    fn lost(&mut self, why: &'static str) {
        self.lost = Some(why);
    }
}

/// Bytes of a connection in the order they went by; whether they went to the upstream.
type Talk = Arc<Mutex<Vec<(bool, Vec<u8>)>>>;

struct Heard<T> {
    inner: T,
    talk: Talk,
}

impl<T: AsyncRead + Unpin> AsyncRead for Heard<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        let read = buf.filled()[before..].to_vec();
        self.talk.lock().push((false, read));
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Heard<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let length = ready!(Pin::new(&mut self.inner).poll_write(cx, buf))?;
        self.talk.lock().push((true, buf[..length].to_vec()));
        Poll::Ready(Ok(length))
    }

    pass_on!(inner: poll_flush, poll_shutdown);
}

async fn answer(
    request: Request<Incoming>,
) -> Response<impl hyper::body::Body<Data = Bytes, Error = Infallible>> {
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-length", body.len().into());
    let body = Full::new(body).with_trailers(async move { Some(Ok(trailers)) });
    let mut response = Response::new(body);
    *response.status_mut() = http::StatusCode::CREATED;
    response
        .headers_mut()
        .insert("x-answer", "yes".parse().unwrap());
    response
}

/// Requests with bodies of these lengths, between a client and a server of hyper's.
fn conversation(lengths: &[usize]) -> Vec<(bool, Vec<u8>)> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let talk = Talk::default();
        let heard = Heard {
            inner: near,
            talk: talk.clone(),
        };
        let service = service_fn(|request| async { Ok::<_, Infallible>(answer(request).await) });
        let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(far), service);
        tokio::spawn(async move { server.await.unwrap() });
        let shaken =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(heard));
        let (mut sender, connection) = shaken.await.unwrap();
        tokio::spawn(connection);
        for (number, length) in lengths.iter().enumerate() {
            let request = Request::post(format!("http://host.test/path/{number}?q"))
                .header("x-number", number.to_string())
                .header("x-always-there", "the same each time, and so in the table")
                .body(Full::new(Bytes::from(vec![
                    b'a' + (number % 26) as u8;
                    *length
                ])))
                .unwrap();
            let response = sender.send_request(request).await.unwrap();
            assert_eq!(
                response
                    .into_body()
                    .collect()
                    .await
                    .unwrap()
                    .to_bytes()
                    .len(),
                *length
            );
        }
        drop(sender);
        talk.lock().clone()
    })
}

fn follow(talk: &[(bool, Vec<u8>)], mut cut: impl FnMut(usize) -> usize) -> Told {
    let (mut told, mut follower) = (Told::default(), Follower::default());
    for (sent, bytes) in talk {
        let mut bytes = &bytes[..];
        while !bytes.is_empty() {
            let (piece, rest) = bytes.split_at(cut(bytes.len()).clamp(1, bytes.len()));
            bytes = rest;
            if *sent {
                follower.sent(piece, &mut told);
            } else {
                follower.received(piece, &mut told);
            }
        }
    }
    told
}

#[test]
fn each_request_of_a_connection_is_told_with_its_answer() {
    let lengths = [0, 5, 200_000, 3];
    let told = follow(&conversation(&lengths), |length| length);
    assert_eq!(told.lost, None);
    assert_eq!(told.streams.len(), lengths.len());
    for (number, (length, lines)) in lengths.iter().zip(told.streams.values()).enumerate() {
        let body = String::from(char::from(b'a' + number as u8)).repeat(*length);
        let head = &lines[0];
        assert!(
            head.starts_with(&format!(
                "> POST /path/{number}?q HTTP/2.0\r\nhost: host.test\r\n"
            )),
            "{head}"
        );
        assert!(
            head.contains(&format!("\r\nx-number: {number}\r\n")),
            "{head}"
        );
        assert!(head.contains("\r\nx-always-there: the same"), "{head}");
        let wanted = [
            format!("> body {body}"),
            "> end".into(),
            "< 201".into(),
            format!("< body {body}"),
            format!("< trailers x-length: {length}\r\n\r\n"),
            "< end".into(),
        ];
        let told: Vec<_> = lines[1..]
            .iter()
            .filter(|line| !line.ends_with("body "))
            .collect();
        let wanted: Vec<_> = wanted
            .iter()
            .filter(|line| !line.ends_with("body "))
            .collect();
        assert_eq!(told, wanted, "{number}");
    }
}

proptest! {
    #[test]
    fn however_bytes_are_cut_the_same_is_told(cuts in prop::collection::vec(1_usize..3000, 1..60)) {
        let talk = conversation(&[0, 70_000, 9]);
        let mut cuts = cuts.iter().cycle();
        prop_assert_eq!(follow(&talk, |_| *cuts.next().unwrap()), follow(&talk, |length| length));
    }

    #[test]
    fn any_bytes_are_followed_without_trouble(
        talk in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..60)), 1..20),
    ) {
        let (mut told, mut follower) = (Told::default(), Follower::default());
        follower.sent(PREFACE, &mut told);
        for (sent, bytes) in talk {
            if sent {
                follower.sent(&bytes, &mut told);
            } else {
                follower.received(&bytes, &mut told);
            }
        }
        follower.closed(&mut told);
        prop_assert!(told.lost.is_some());
    }
}

/// A frame as it is written.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

const GET: &[u8] = &[0x82, 0x86, 0x84, 0x41, 1, b'h'];

#[test]
fn padding_priority_and_continuation_are_no_part_of_what_is_told() {
    let (mut told, mut follower) = (Told::default(), Follower::default());
    follower.sent(PREFACE, &mut told);
    let padded = [&[2], &[0; 5][..], &GET[..2], &[0, 0]].concat();
    follower.sent(&frame(HEADERS, PADDED | PRIORITY, 1, &padded), &mut told);
    follower.sent(&frame(CONTINUATION, END_HEADERS, 1, &GET[2..]), &mut told);
    follower.sent(&frame(DATA, PADDED, 1, b"\x03abc\0\0\0"), &mut told);
    follower.sent(&frame(DATA, PADDED | END_STREAM, 1, b"\x00"), &mut told);
    // A frame of a kind nobody knows, and a promise that has to be read for the table.
    follower.received(&frame(0x77, 0xff, 0, &vec![1; 70_000]), &mut told);
    follower.received(
        &frame(PUSH_PROMISE, END_HEADERS, 1, &[&[0, 0, 0, 2], GET].concat()),
        &mut told,
    );
    follower.received(
        &frame(HEADERS, END_HEADERS, 1, &[0x08, 3, b'1', b'0', b'3']),
        &mut told,
    );
    follower.received(
        &frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0x8d]),
        &mut told,
    );
    assert_eq!(told.lost, None);
    assert_eq!(
        told.streams[&1],
        [
            "> GET / HTTP/2.0\r\nhost: h\r\n\r\n",
            "> body abc",
            "> end",
            "< 404",
            "< end"
        ]
    );
    follower.sent(&frame(HEADERS, END_HEADERS, 3, GET), &mut told);
    follower.received(&frame(RST_STREAM, 0, 3, &[0; 4]), &mut told);
    assert_eq!(told.streams[&3][1..], ["reset"]);
}

#[test]
fn headers_without_an_end_are_followed_no_longer() {
    let (mut told, mut follower) = (Told::default(), Follower::default());
    follower.sent(PREFACE, &mut told);
    follower.sent(&frame(HEADERS, 0, 1, GET), &mut told);
    for _ in 0..5 {
        follower.sent(&frame(CONTINUATION, 0, 1, &[0; 16_000]), &mut told);
    }
    assert_eq!(told.lost, Some("its headers are too long to be followed"));
}

#[test]
fn no_field_of_a_head_looks_like_two() {
    let fields = [
        (b":method".to_vec(), b"GET".to_vec()),
        (b":path".to_vec(), b"/ HTTP/1.1\r\nx: y".to_vec()),
        (b"a\nb".to_vec(), b"c\r\n\r\nd".to_vec()),
    ];
    let (head, _, target) = request_head(&fields);
    let head = String::from_utf8(head).unwrap();
    assert_eq!(target, "/%20HTTP/1.1%20%20x:%20y");
    assert_eq!(head.lines().count(), 3, "{head:?}");
}
