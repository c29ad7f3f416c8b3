use super::*;

fn made(wanted: i64, memory: Option<u64>) -> Option<Store> {
    let room = Room {
        open_files: 0,
        memory,
        left: || Some(1),
        give_back: || (),
    };
    Store::new(wanted, &room)
}

fn origin(endpoint: &str) -> Origin {
    Origin {
        endpoint: endpoint.into(),
        visitor: None,
        replay_of: None,
    }
}

fn head(number: usize) -> Vec<u8> {
    format!("GET /{number} HTTP/1.1\r\nhost: a\r\n\r\n").into_bytes()
}

fn paths(store: &Store) -> Vec<String> {
    let all = store.list(None, usize::MAX);
    all.iter().map(|entry| path(entry)).collect()
}

fn path(entry: &Entry) -> String {
    let path = entry.glance(|exchange| exchange.request.asked().1.to_owned());
    path.unwrap()
}

#[test]
fn the_limit_is_what_is_asked_for_or_fits_the_machine() {
    let limit = |wanted, memory| made(wanted, memory).map(|store| store.limit);
    assert_eq!(limit(0, None), Some(USUAL));
    assert_eq!(limit(0, Some(64 << 30)), Some(USUAL));
    assert_eq!(limit(0, Some(100 << 20)), Some((100 << 20) / 100 * 15));
    assert_eq!(limit(12_345, Some(1)), Some(12_345));
    assert_eq!(limit(-1, None), None);
}

#[test]
fn the_oldest_go_so_that_the_rest_fits() {
    let store = made(20_000, None).unwrap();
    for number in 0..100 {
        let entry = store
            .begin(&head(number), &origin("a"), Instant::now())
            .unwrap();
        store.change(&entry, |exchange| {
            exchange.answered(b"HTTP/1.1 200 OK\r\n\r\n");
            exchange.received(&[0; 400], 400);
            exchange.ended(Duration::ZERO);
        });
        assert!(store.taken.load(Ordering::Relaxed) <= 20_000);
    }
    let paths = paths(&store);
    assert!((15..40).contains(&paths.len()), "{}", paths.len());
    let newest: Vec<_> = (0..100).rev().map(|number| format!("/{number}")).collect();
    assert_eq!(paths, newest[..paths.len()]);
    store.clear();
    assert_eq!(store.taken.load(Ordering::Relaxed), 0);
    assert!(store.list(None, usize::MAX).is_empty());
}

#[test]
fn what_had_to_go_grows_no_more() {
    let store = made(100_000, None).unwrap();
    let old = store.begin(&head(0), &origin("a"), Instant::now()).unwrap();
    store.clear();
    store.change(&old, |exchange| exchange.sent(&[0; 5000], 0));
    assert_eq!(store.taken.load(Ordering::Relaxed), 0);
    assert!(old.look().is_none());
    assert!(store.get(old.id).is_none());
}

#[test]
fn one_takes_an_eighth_at_most() {
    let store = made(80_000, None).unwrap();
    let limit = store.limit;
    let entry = store.begin(&head(0), &origin("a"), Instant::now()).unwrap();
    for _ in 0..100 {
        store.change(&entry, |exchange| exchange.sent(&[1; 1000], 100_000));
    }
    store.change(&entry, |exchange| {
        exchange.answered(b"HTTP/1.1 200 OK\r\n\r\n");
    });
    for _ in 0..100 {
        store.change(&entry, |exchange| exchange.received(&[2; 999], 0));
    }
    let exchange = entry.look().unwrap();
    assert!(exchange.cost() <= limit / ONE, "{}", exchange.cost());
    assert!(exchange.request.truncated && exchange.request.length == 100_000);
    let response = exchange.response.unwrap();
    assert!(response.truncated && response.length == 99_900);
    assert!(response.body.len() > 4000 && response.body.iter().all(|byte| *byte == 2));
    // What does not fit at all is not kept.
    assert!(
        store
            .begin(&vec![b'x'; limit / ONE], &origin("a"), Instant::now())
            .is_none()
    );
}

#[test]
fn a_mebibyte_of_a_body_is_kept() {
    let store = made(0, None).unwrap();
    let entry = store.begin(&head(0), &origin("a"), Instant::now()).unwrap();
    store.change(&entry, |exchange| exchange.sent(&vec![7; (1 << 20) + 1], 0));
    let request = entry.look().unwrap().request;
    assert_eq!(
        (request.body.len(), request.length, request.truncated),
        (1 << 20, (1 << 20) + 1, true)
    );
}

#[test]
fn pieces_keep_their_times_and_are_bounded() {
    let store = made(0, None).unwrap();
    let entry = store.begin(&head(0), &origin("a"), Instant::now()).unwrap();
    let second = Duration::from_secs;
    store.change(&entry, |exchange| {
        exchange.sent_piece(b"one", second(1));
        exchange.sent_piece(b"", second(2));
        exchange.sent_piece(b"other", second(3));
    });
    let request = entry.look().unwrap().request;
    let pieces: Vec<_> = request.stream().collect();
    assert_eq!(
        pieces,
        [(second(1), &b"one"[..]), (second(3), &b"other"[..])]
    );
    for _ in 0..(1 << 20) {
        store.change(&entry, |exchange| exchange.sent_piece(b"x", second(4)));
    }
    let exchange = entry.look().unwrap();
    assert!(exchange.request.pieces.len() <= 1 << 14);
    assert_eq!(
        exchange
            .request
            .stream()
            .map(|(_, piece)| piece.len())
            .sum::<usize>(),
        1 << 20
    );
}

#[test]
fn lists_are_of_one_endpoint_and_of_so_many() {
    let store = made(0, None).unwrap();
    for number in 0..6 {
        store.begin(
            &head(number),
            &origin(if number % 2 == 0 { "even" } else { "odd" }),
            Instant::now(),
        );
    }
    let list = |endpoint, most| {
        let list = store.list(endpoint, most).into_iter();
        list.map(|entry| path(&entry)).collect::<Vec<_>>()
    };
    assert_eq!(list(Some("odd"), 2), ["/5", "/3"]);
    assert_eq!(list(None, 1), ["/5"]);
    assert!(list(Some("none"), 9).is_empty());
}

#[tokio::test]
async fn who_follows_is_told_what_is_different() {
    let store = Arc::new(made(3000, None).unwrap());
    store.begin(&head(0), &origin("a"), Instant::now());
    let mut changes = store.changes();
    assert!(changes.take().changed.is_empty());
    let one = store.begin(b"GET / HTTP/1.1\r\n\r\n", &origin("a"), Instant::now());
    assert!(one.is_none(), "larger than an eighth");

    let store = Arc::new(made(60_000, None).unwrap());
    let first = store.begin(&head(0), &origin("a"), Instant::now()).unwrap();
    let mut changes = store.changes();
    let second = store.begin(&head(1), &origin("a"), Instant::now()).unwrap();
    changes.changed().await;
    let delta = changes.take();
    assert_eq!(
        delta
            .changed
            .iter()
            .map(|entry| entry.id)
            .collect::<Vec<_>>(),
        [second.id]
    );
    assert_eq!(delta.oldest, Some(first.id));
    store.change(&first, |exchange| {
        exchange.answered(b"HTTP/1.1 200 OK\r\n\r\n");
    });
    changes.changed().await;
    assert_eq!(changes.take().changed[0].id, first.id);
    store.clear();
    changes.changed().await;
    let delta = changes.take();
    assert!(delta.changed.is_empty() && delta.oldest.is_none());
}

#[test]
fn a_summary_is_read_from_the_heads() {
    let store = made(0, None).unwrap();
    let entry = store
        .begin(
            b"PUT /a?b HTTP/1.1\r\nX-A: b:c \r\n\r\n",
            &origin("e"),
            Instant::now(),
        )
        .unwrap();
    let pending = entry.look().unwrap();
    let status = pending.response.map(|response| response.status().0);
    assert_eq!((status, pending.state), (None, State::Pending));
    store.change(&entry, |exchange| {
        exchange.sent(b"body", 4);
        exchange.answered(b"HTTP/1.0 404 Not Here\r\n\r\n");
        exchange.received(b"no", 0);
        exchange.ended(Duration::from_nanos(5));
        exchange.broke("it has ended already", Duration::ZERO);
    });
    let exchange = entry.look().unwrap();
    assert_eq!(exchange.request.asked(), ("PUT", "/a?b"));
    assert_eq!(exchange.state, State::Ended);
    assert_eq!(exchange.request.length, 4);
    assert_eq!(exchange.duration(), Duration::from_nanos(5));
    assert_eq!(
        exchange.request.headers().collect::<Vec<_>>(),
        [(&b"X-A"[..], &b"b:c"[..])]
    );
    assert_eq!(exchange.request.protocol(), "HTTP/1.1");
    let response = exchange.response.unwrap();
    assert_eq!(response.length, 2);
    assert_eq!(
        (response.protocol(), response.status()),
        ("HTTP/1.0", (404, "Not Here"))
    );
}

#[test]
fn records_go_first_where_memory_is_short() {
    let store = made(16 << 20, Some(1 << 30)).unwrap();
    for number in 0..200 {
        let entry = store
            .begin(&head(number), &origin("a"), Instant::now())
            .unwrap();
        store.change(&entry, |exchange| exchange.sent(&vec![0; 100_000], 100_000));
    }
    let kept = paths(&store).len();
    assert!((5..25).contains(&kept), "{kept} of 100 kB each");
}
