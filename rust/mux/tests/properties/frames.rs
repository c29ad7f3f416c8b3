use portway_mux::frame::{FIN, Header, Kind, MAX_31, SYN, goaway, rst, wndinc};
use proptest::prelude::*;

fn kinds() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Rst),
        Just(Kind::Data),
        Just(Kind::WndInc),
        Just(Kind::GoAway),
        (4u8..16).prop_map(Kind::Unknown),
    ]
}

proptest! {
    #[test]
    fn m08_headers_come_back_as_they_were_written(
        kind in kinds(), flags in 0u8..4, length in 0u32..1 << 24, stream in 0..=MAX_31,
    ) {
        let flags = if kind == Kind::Data { flags } else { 0 };
        let header = Header { kind, flags, length, stream };
        prop_assert_eq!(Header::decode(header.encode()), header);
    }

    #[test]
    fn m36_any_eight_bytes_are_a_header_without_its_reserved_bits(bytes: [u8; 8]) {
        let header = Header::decode(bytes);
        let again = header.encode();
        prop_assert_eq!(Header::decode(again), header);
        prop_assert_eq!(&again[..3], &bytes[..3]);
        prop_assert_eq!(again[3] >> 4, bytes[3] >> 4);
        prop_assert_eq!(again[4] & 0x7f, bytes[4] & 0x7f);
        prop_assert_eq!((again[4] >> 7, &again[5..]), (0, &bytes[5..]));
        prop_assert_eq!(header.flags & !(FIN | SYN), 0);
    }

    #[test]
    fn m08_frames_of_four_bytes(stream in 1..=MAX_31, word: u32) {
        let reset = rst(stream, word);
        prop_assert_eq!(&reset[..4], &[0, 0, 4, 0x00]);
        prop_assert_eq!(&reset[8..], &word.to_be_bytes());
        let credit = wndinc(stream, word);
        prop_assert_eq!(&credit[..4], &[0, 0, 4, 0x20]);
        prop_assert_eq!(&credit[8..], &(word & MAX_31).to_be_bytes());
    }
}

#[test]
fn m08_the_examples_that_no_session_writes_by_itself() {
    let read = |bytes: &str| Header::decode(hex::decode(bytes).unwrap().try_into().unwrap());
    let header = |kind, flags, length, stream| Header {
        kind,
        flags,
        length,
        stream,
    };
    for (bytes, wanted) in [
        ("0000041200000003", header(Kind::Data, SYN, 4, 3)),
        ("0000041200000005", header(Kind::Data, SYN, 4, 5)),
        ("00022d1000000005", header(Kind::Data, 0, 557, 5)),
        ("0000042000000005", header(Kind::WndInc, 0, 4, 5)),
        ("0000001100000005", header(Kind::Data, FIN, 0, 5)),
        ("0000061200000006", header(Kind::Data, SYN, 6, 6)),
        ("0000040000000028", header(Kind::Rst, 0, 4, 40)),
        ("0000103000000000", header(Kind::GoAway, 0, 16, 0)),
        ("0000083000000000", header(Kind::GoAway, 0, 8, 0)),
        ("00007f1200000002", header(Kind::Data, SYN, 127, 2)),
    ] {
        assert_eq!(read(bytes), wanted, "{bytes}");
        assert_eq!(hex::encode(wanted.encode()), bytes);
    }
    assert_eq!(hex::encode(wndinc(5, 557)), "00000420000000050000022d");
    assert_eq!(hex::encode(rst(40, 4)), "000004000000002800000004");
    let text = "00001030000000000000000c000000006e6f206572726f72";
    assert_eq!(hex::encode(goaway(12, 0, b"no error")), text);
    let plain = "00000830000000000000000700000000";
    assert_eq!(hex::encode(goaway(7, 0, b"")), plain);
}
