use bytes::Bytes;
use portway_wire::proxied::{Decoder, HeaderError, MAX_HEADER, ProxyHeader};
use proptest::prelude::*;

use crate::pieces;

proptest! {
    #[test]
    fn p89_p92_p94_a_header_comes_back_and_the_data_behind_it_in_order(
        id: String, client_addr: String, proto: String, edge_type: String, passthrough_tls: bool,
        data in prop::collection::vec(any::<u8>(), 0..100),
        cuts in prop::collection::vec(1usize..60, 1..10),
    ) {
        let header = ProxyHeader { id, client_addr, proto, edge_type, passthrough_tls };
        let frame = header.encode(&data);
        prop_assert_eq!(&frame[..4], &[0, 0, 0, 3]);
        let json = frame.len() - 12 - data.len();
        prop_assert_eq!(&frame[4..12], &(json as i64).to_le_bytes());
        let mut decoder = Decoder::new();
        let mut read = None;
        let mut rest = Vec::new();
        for piece in pieces(&frame[4..], &cuts) {
            if read.is_some() {
                rest.extend_from_slice(piece);
            } else if let Some((header, data)) = decoder.push(&Bytes::copy_from_slice(piece)).unwrap() {
                read = Some(header);
                rest.extend_from_slice(&data);
            }
        }
        prop_assert_eq!(read, Some(header));
        prop_assert_eq!(rest, data);
    }

    #[test]
    fn p91_a_length_is_refused_before_a_byte_is_kept_for_it(length in prop_oneof![
        any::<i64>(), -3i64..3, MAX_HEADER as i64 - 3..MAX_HEADER as i64 + 3,
    ]) {
        let read = Decoder::new().push(&Bytes::copy_from_slice(&length.to_le_bytes()));
        let legal = (1..=MAX_HEADER as i64).contains(&length);
        prop_assert_eq!(read, if legal { Ok(None) } else { Err(HeaderError::Length(length)) });
    }

    #[test]
    fn p91_any_bytes_do_no_harm(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..20)) {
        let mut decoder = Decoder::new();
        for chunk in chunks {
            if !matches!(decoder.push(&chunk.into()), Ok(None)) {
                break;
            }
        }
    }

    #[test]
    fn p91_bad_json_is_an_error_of_this_header(json in prop::collection::vec(any::<u8>(), 1..60)) {
        prop_assume!(serde_json::from_slice::<ProxyHeader>(&json).is_err());
        let bytes = [&(json.len() as i64).to_le_bytes()[..], &json].concat();
        prop_assert!(matches!(Decoder::new().push(&bytes.into()), Err(HeaderError::Json(_))));
    }
}

#[test]
fn p90_an_address_of_either_family_and_the_edge_type_are_strings() {
    for address in ["203.0.113.7:4711", "[2001:db8::1]:99"] {
        let header = ProxyHeader {
            id: "t1".into(),
            client_addr: address.into(),
            proto: "tcp".into(),
            edge_type: "2".into(),
            passthrough_tls: true,
        };
        let frame = header.encode(b"");
        let wanted = format!(
            r#"{{"Id":"t1","ClientAddr":"{address}","Proto":"tcp","EdgeType":"2","PassthroughTLS":true}}"#
        );
        assert_eq!(&frame[12..], wanted.as_bytes());
    }
    // A number is refused, as SDKs refuse it.
    let json = br#"{"Id":"x","EdgeType":0}"#;
    let bytes = [&(json.len() as i64).to_le_bytes()[..], json].concat();
    let read = Decoder::new().push(&bytes.into());
    assert!(matches!(read, Err(HeaderError::Json(_))));
}
