use portway_wire::Malformed;
use portway_wire::rpc::{MAX_MESSAGE, Reader};
use proptest::prelude::*;
use serde_json::Value;

use crate::{object, pieces};

proptest! {
    #[test]
    fn r59_a_message_is_read_however_it_is_written_and_cut(
        message in object(&["Version", "ClientId", "Extra"]),
        pretty: bool,
        before in "[ \t\r\n]{0,3}",
        behind in "(\r?\n)?",
        cuts in prop::collection::vec(1usize..30, 1..10),
    ) {
        let message = Value::Object(message);
        let text = if pretty {
            serde_json::to_string_pretty(&message).unwrap()
        } else {
            message.to_string()
        };
        let bytes = format!("{before}{text}{behind}");
        let mut reader = Reader::new();
        let mut fed = 0;
        let mut read = None;
        for piece in pieces(bytes.as_bytes(), &cuts) {
            read = reader.push(piece).unwrap();
            fed += piece.len();
            if read.is_some() {
                break;
            }
            // It is whole with its last brace, and waits for nothing behind it.
            prop_assert!(fed < before.len() + text.len());
        }
        prop_assert_eq!(read, Some(message));
    }

    #[test]
    fn r61_what_is_no_object_is_refused_with_its_first_byte(text in "[ \t\r\n]{0,2}[^ \t\r\n{\\[]") {
        prop_assert_eq!(Reader::new().push(text.as_bytes()), Err(Malformed::NotAnObject));
    }

    #[test]
    fn r61_any_bytes_do_no_harm_however_they_are_cut(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        cuts in prop::collection::vec(1usize..30, 1..10),
    ) {
        let result = |cuts: &[usize]| {
            let mut reader = Reader::new();
            let mut result = Ok(None);
            for piece in pieces(&bytes, cuts) {
                result = reader.push(piece);
                if result != Ok(None) {
                    break;
                }
            }
            result
        };
        prop_assert_eq!(result(&cuts), result(&[usize::MAX]));
    }
}

#[test]
fn r61_a_message_without_end_is_refused_at_the_limit() {
    let mut reader = Reader::new();
    reader.push(b"{\"a\":\"").unwrap();
    let mut fed = 6;
    let refused = loop {
        match reader.push(&[b'x'; 1000]) {
            Ok(None) => fed += 1000,
            other => break other,
        }
    };
    assert_eq!(refused, Err(Malformed::TooLarge { limit: MAX_MESSAGE }));
    assert!(fed <= MAX_MESSAGE && fed > MAX_MESSAGE - 1000);
}

#[test]
fn r61_a_deep_message_is_refused_and_not_followed() {
    let text = [vec![b'{'; 1], b"\"a\":".to_vec(), vec![b'['; 100_000]].concat();
    let end = [vec![b']'; 100_000], vec![b'}']].concat();
    let mut reader = Reader::new();
    assert_eq!(reader.push(&text).unwrap(), None);
    assert!(matches!(reader.push(&end), Err(Malformed::Json(_))));
}
