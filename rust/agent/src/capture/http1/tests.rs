use proptest::prelude::*;

use super::*;

/// What was told, one line each; pieces of a body joined.
#[derive(Debug, Default, PartialEq)]
struct Told(Vec<String>);

impl Told {
    fn add(&mut self, what: &str, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        match self
            .0
            .iter_mut()
            .rev()
            .find(|line| line.starts_with(&what[..1]))
        {
            Some(line) if line.starts_with(&format!("{what} ")) => line.push_str(&text),
            _ => self.0.push(format!("{what} {text}")),
        }
    }

    fn has(&self, line: &str) -> bool {
        self.0.iter().any(|known| known == line)
    }
}

impl Observer for Told {
    fn request(&mut self, head: &[u8], method: &str, target: &str, length: u64) {
        assert!(head.ends_with(b"\n"));
        self.0.push(format!("> {method} {target} {length}"));
    }
    fn sent(&mut self, body: &[u8]) {
        self.add("> body", body);
    }
    fn sent_trailers(&mut self, lines: &[u8]) {
        self.add("> trailers", lines);
    }
    fn sent_all(&mut self) {
        self.0.push("> end".into());
    }
    fn response(&mut self, head: &[u8], code: u16, reason: &str, length: u64) {
        assert!(head.starts_with(b"HTTP/1."));
        self.0.push(format!("< {code} {reason} {length}"));
    }
    fn received(&mut self, body: &[u8]) {
        self.add("< body", body);
    }
    fn received_trailers(&mut self, lines: &[u8]) {
        self.add("< trailers", lines);
    }
    fn received_all(&mut self) {
        self.0.push("< end".into());
    }
    fn switched(&mut self) {
        self.0.push("switched".into());
    }
    fn lost(&mut self, why: &'static str) {
        self.0.push(format!("lost: {why}"));
    }
}

/// What one side says after the other; a `None` of the upstream closes the connection.
#[derive(Clone, Copy, Debug)]
enum Said {
    Visitor(&'static [u8]),
    Upstream(&'static [u8]),
    Closed,
}

use Said::{Closed, Upstream, Visitor};

fn follow(talk: &[Said], mut cut: impl FnMut(usize) -> usize) -> Told {
    let mut told = Told::default();
    let mut follower = Follower::default();
    for said in talk {
        let (mut bytes, visitor) = match said {
            Visitor(bytes) => (*bytes, true),
            Upstream(bytes) => (*bytes, false),
            Closed => {
                follower.closed(&mut told);
                continue;
            }
        };
        while !bytes.is_empty() {
            let (piece, rest) = bytes.split_at(cut(bytes.len()).clamp(1, bytes.len()));
            bytes = rest;
            if visitor {
                follower.sent(piece, &mut told);
            } else {
                follower.received(piece, &mut told);
            }
        }
    }
    told
}

fn whole(talk: &[Said]) -> Told {
    follow(talk, |length| length)
}

const TALKS: &[(&str, &[Said], &[&str])] = &[
    (
        "a body with a length, and one without",
        &[
            Visitor(b"POST /a?b=c HTTP/1.1\r\nHost: x\r\ncontent-length: 4\r\n\r\nbody"),
            Upstream(b"HTTP/1.1 201 Made Here\r\nContent-Length: 2\r\n\r\nok"),
            Visitor(b"\r\nGET /b HTTP/1.1\r\n\r\n"),
            Upstream(b"HTTP/1.1 200 OK\r\n\r\nuntil the end"),
            Closed,
        ],
        &[
            "> POST /a?b=c 4", "> body body", "> end", "< 201 Made Here 2", "< body ok", "< end",
            "> GET /b 0", "> end", "< 200 OK 0", "< body until the end", "< end",
        ],
    ),
    (
        "chunks with extensions and trailers",
        &[
            Visitor(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n00A\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n"),
            Upstream(b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, Chunked\r\n\r\n2\r\nok\r\n0\r\nA: b\r\nC: d\r\n\r\n"),
            Visitor(b"GET /next HTTP/1.1\r\n\r\n"),
        ],
        &[
            "> POST / 0", "> body abc0123456789", "> trailers X-Sum: 1\r\n\r\n", "> end",
            "< 200 OK 0", "< body ok", "< trailers A: b\r\nC: d\r\n\r\n", "< end", "> GET /next 0", "> end",
        ],
    ),
    (
        "answers that have no body, whatever they say",
        &[
            Visitor(b"HEAD /h HTTP/1.1\r\n\r\n"),
            Upstream(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
            Visitor(b"GET /n HTTP/1.1\r\n\r\n"),
            Upstream(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"),
            Visitor(b"GET /c HTTP/1.1\r\n\r\n"),
            Upstream(b"HTTP/1.1 204 No Content\r\n\r\n"),
        ],
        &[
            "> HEAD /h 0", "> end", "< 200 OK 0", "< end", "> GET /n 0", "> end", "< 304 Not Modified 0", "< end",
            "> GET /c 0", "> end", "< 204 No Content 0", "< end",
        ],
    ),
    (
        "answers that only say that one will come",
        &[
            Visitor(b"PUT /p HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"),
            Upstream(b"HTTP/1.1 100 Continue\r\n\r\n"),
            Visitor(b"hi"),
            Upstream(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        ],
        &["> PUT /p 2", "> body hi", "> end", "< 200 OK 0", "< end"],
    ),
    (
        "an announced body that is not wanted",
        &[
            Visitor(b"PUT /p HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"),
            Upstream(b"HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n"),
            Visitor(b"GET /q HTTP/1.1\r\n\r\n"),
            Upstream(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n!"),
        ],
        &[
            "> PUT /p 2", "< 417 No 0", "< end", "> end", "> GET /q 0", "> end", "< 200 OK 1", "< body !", "< end",
        ],
    ),
    (
        "an answer before all is sent",
        &[
            Visitor(b"POST /p HTTP/1.1\r\nContent-Length: 6\r\n\r\nabc"),
            Upstream(b"HTTP/1.1 413 Too Much\r\nContent-Length: 1\r\n\r\n!"),
            Visitor(b"def"),
            Visitor(b"GET /q HTTP/1.1\r\n\r\n"),
        ],
        &[
            "> POST /p 6", "> body abcdef", "< 413 Too Much 1", "< body !", "< end", "> end", "> GET /q 0", "> end",
        ],
    ),
    (
        "requests that do not wait for each other",
        &[
            Visitor(b"GET /1 HTTP/1.1\r\n\r\nHEAD /2 HTTP/1.1\r\n\r\nGET /3 HTTP/1.1\r\n\r\n"),
            Upstream(b"HTTP/1.1 200 One\r\nContent-Length: 1\r\n\r\n1HTTP/1.1 200 Two\r\nContent-Length: 1\r\n\r\n"),
            Upstream(b"HTTP/1.1 200 Three\r\nContent-Length: 1\r\n\r\n3"),
        ],
        &[
            "> GET /1 0", "> end", "> HEAD /2 0", "> end", "> GET /3 0", "> end",
            "< 200 One 1", "< body 1", "< end", "< 200 Two 0", "< end", "< 200 Three 1", "< body 3", "< end",
        ],
    ),
    (
        "another protocol behind the heads",
        &[
            Visitor(b"GET /w HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nearly "),
            Upstream(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\nfrom there "),
            Visitor(b"GET / HTTP/1.1\r\n\r\n"),
            Upstream(b"and more"),
            Closed,
        ],
        &[
            "> GET /w 0", "> end", "< 101 Switching Protocols 0", "switched",
            "> body early GET / HTTP/1.1\r\n\r\n", "< body from there and more", "< end",
        ],
    ),
    (
        "an upstream that stays with HTTP",
        &[
            Visitor(b"GET /w HTTP/1.1\r\nUpgrade: h2c\r\n\r\nGET /x HTTP/1.1\r\n\r\n"),
            Upstream(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n!HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"),
        ],
        &[
            "> GET /w 0", "> end", "< 200 OK 1", "> GET /x 0", "> end", "< body !", "< end", "< 404 No 0", "< end",
        ],
    ),
    (
        "a tunnel",
        &[
            Visitor(b"CONNECT a.test:1 HTTP/1.1\r\n\r\n"),
            Upstream(b"HTTP/1.1 200 OK\r\n\r\n"),
            Visitor(b"one"),
            Upstream(b"other"),
        ],
        &["> CONNECT a.test:1 0", "> end", "< 200 OK 0", "switched", "> body one", "< body other"],
    ),
    (
        "bare line ends",
        &[
            Visitor(b"GET /l HTTP/1.1\nA: b\n\n"),
            Upstream(b"HTTP/1.1 200 OK\nContent-Length: 1\n\n!"),
        ],
        &["> GET /l 0", "> end", "< 200 OK 1", "< body !", "< end"],
    ),
    (
        "an answer that is cut short",
        &[
            Visitor(b"GET /s HTTP/1.1\r\n\r\n"),
            Upstream(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nonly"),
            Closed,
        ],
        &[
            "> GET /s 0", "> end", "< 200 OK 9", "< body only",
            "lost: the upstream closed the connection in the middle of its answer",
        ],
    ),
    (
        "no answer",
        &[Visitor(b"GET /s HTTP/1.1\r\n\r\n"), Closed],
        &["> GET /s 0", "> end", "lost: the upstream closed the connection without an answer"],
    ),
    (
        "lengths that differ",
        &[Visitor(b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n")],
        &["lost: its length is told in several ways"],
    ),
    (
        "what nobody asked for",
        &[
            Visitor(b"GET / HTTP/1.1\r\n\r\n"),
            Upstream(b"HTTP/1.1 204 No\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"),
        ],
        &["> GET / 0", "> end", "< 204 No 0", "< end", "lost: something came that nobody had asked for"],
    ),
    (
        "chunks that are none",
        &[Visitor(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n")],
        &["> POST / 0", "lost: its chunks are malformed"],
    ),
    (
        "no HTTP at all",
        &[Visitor(b"\x16\x03\x01 hello there, this is something else\r\n\r\n")],
        &["lost: this is no HTTP/1"],
    ),
];

#[test]
fn every_kind_of_message_is_told_as_what_it_is() {
    for (name, talk, wanted) in TALKS {
        let told = whole(talk);
        assert_eq!(told.0, *wanted, "{name}");
    }
}

#[test]
fn single_bytes_are_told_as_the_whole_is() {
    for (name, talk, _) in TALKS {
        assert_eq!(follow(talk, |_| 1).0, whole(talk).0, "{name}");
    }
}

proptest! {
    #[test]
    fn however_bytes_are_cut_the_same_is_told(
        which in 0..TALKS.len(),
        cuts in prop::collection::vec(1_usize..40, 1..60),
    ) {
        let talk = TALKS[which].1;
        let mut cuts = cuts.iter().cycle();
        let told = follow(talk, |_| *cuts.next().unwrap());
        prop_assert_eq!(told.0, whole(talk).0);
    }

    #[test]
    fn any_bytes_are_followed_without_trouble(
        talk in prop::collection::vec((any::<bool>(), "(GET|POST)? ?/?(HTTP/1.1)?( 200)?(\r\n|Content-Length: 3|Transfer-Encoding: chunked|[0-9a-f]|\n|:|[ -~]){0,30}"), 1..20),
    ) {
        let (mut told, mut follower) = (Told::default(), Follower::default());
        for (visitor, bytes) in talk {
            if visitor {
                follower.sent(bytes.as_bytes(), &mut told);
            } else {
                follower.received(bytes.as_bytes(), &mut told);
            }
        }
        follower.closed(&mut told);
    }
}

#[test]
fn a_head_without_an_end_is_followed_no_longer() {
    let (mut told, mut follower) = (Told::default(), Follower::default());
    follower.sent(b"GET / HTTP/1.1\r\nA: ", &mut told);
    let mut sent = 0;
    while !told.has("lost: its head is too long to be followed") {
        follower.sent(&[b'a'; 1000], &mut told);
        sent += 1000;
        assert!(sent <= HEAD + 1000, "it collects for ever");
    }
}

#[test]
fn too_many_requests_in_a_row_are_followed_no_longer() {
    let (mut told, mut follower) = (Told::default(), Follower::default());
    for _ in 0..=WAITING {
        follower.sent(b"GET / HTTP/1.1\r\n\r\n", &mut told);
    }
    assert!(told.has("lost: too many requests wait for an answer"));
}
