//! What a fuzzer would try first, without one: the corpus, damaged packets, any bytes.

use std::path::Path;

use ntex::codec::Decoder;
use ntex::util::BytesMut;
use pocket_mqtt_core::Limits;
use proptest::prelude::*;

use super::packets;
use crate::wire::Wire;

const CONNECT3: &[u8] = b"\x10\x0d\0\x04MQTT\x04\x02\0\0\0\x01x";
const CONNECT5: &[u8] = b"\x10\x13\0\x04MQTT\x05\x02\0\0\x05\x11\0\0\0\x05\0\x01x";

/// Packets of both versions that are right, or nearly so.
const PACKETS: &[&[u8]] = &[
    CONNECT3,
    CONNECT5,
    b"\x10\x2a\0\x04MQTT\x05\xee\0\x0a\x03\x21\0\x09\0\x01x\x05\x18\0\0\0\x01\0\x01w\0\x01m\0\x01u\0\x01p",
    b"\x30\x05\0\x01t{}",
    b"\x3b\x07\0\x01t\0\x01{}",
    b"\x34\x07\0\x01t\0\x02{}",
    b"\x32\x0b\0\x01t\0\x03\x03\x23\0\x01{}",
    b"\x30\x13\0\x01t\x0e\x01\x01\x02\0\0\0\x05\x26\0\x01k\0\x01v{",
    b"\x40\x02\0\x01",
    b"\x50\x04\0\x01\0\0",
    b"\x62\x02\0\x01",
    b"\x70\x02\0\x01",
    b"\x82\x06\0\x01\0\x01t\x01",
    b"\x82\x09\0\x01\x02\x0b\x01\0\x01t\x2d",
    b"\x82\x10\0\x01\0\0\x0a$share/g/t\x01",
    b"\xa2\x05\0\x02\0\x01t",
    b"\xa2\x06\0\x02\0\0\x01t",
    b"\xc0\0",
    b"\xe0\0",
    b"\xe0\x07\0\x05\x11\0\0\0\0",
    b"\xf0\x02\x18\0",
];

type Damage = Vec<(prop::sample::Index, u8, u8)>;

fn damage(count: std::ops::Range<usize>) -> impl Strategy<Value = Damage> {
    prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0u8..4), count)
}

/// Bytes of which some are changed, left out or repeated.
fn with_damage(mut bytes: Vec<u8>, damage: Damage) -> Vec<u8> {
    for (place, byte, how) in damage {
        let place = place.index(bytes.len().max(1)).min(bytes.len().saturating_sub(1));
        match how {
            _ if bytes.is_empty() => bytes.push(byte),
            0 => bytes[place] = byte,
            1 => drop(bytes.remove(place)),
            2 => bytes.insert(place, byte),
            _ => bytes.truncate(place),
        }
    }
    bytes
}

fn damaged() -> impl Strategy<Value = Vec<u8>> {
    (prop::sample::select(PACKETS), damage(0..4)).prop_map(|(packet, damage)| with_damage(packet.to_vec(), damage))
}

/// The corpus of the fuzz target `packets`.
fn corpus() -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/packets");
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let corpus: Vec<Vec<u8>> = entries.map(|path| std::fs::read(path).unwrap()).collect();
    assert!(!corpus.is_empty());
    corpus
}

#[test]
fn the_corpus_is_served() {
    corpus().iter().for_each(|stream| packets(stream));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_048))]

    #[test]
    fn no_damaged_packet_makes_it_panic(five: bool, stream in prop::collection::vec(damaged(), 1..6)) {
        let connect = if five { CONNECT5 } else { CONNECT3 };
        packets(&[connect, &stream.concat()].concat());
    }

    #[test]
    fn no_bytes_make_it_panic(connected: bool, five: bool, bytes: Vec<u8>) {
        let connect = if five { CONNECT5 } else { CONNECT3 };
        packets(&[if connected { connect } else { b"" }, &bytes].concat());
    }

    #[test]
    fn no_damaged_conversation_makes_it_panic(stream in prop::sample::select(corpus()), damage in damage(1..8)) {
        packets(&with_damage(stream, damage));
    }
}

#[test]
fn the_packets_of_the_test_above_are_right() {
    let accepted = |connect: &[u8], packet: &[u8]| {
        let wire = Wire::new(&Limits { packet_bytes: 1_000, usual_packet_bytes: 1_000, ..Limits::default() });
        let mut buffer = BytesMut::from([connect, packet].concat().as_slice());
        wire.decode(&mut buffer).is_ok_and(|frame| frame.is_some()) && matches!(wire.decode(&mut buffer), Ok(Some(_)))
    };
    for packet in PACKETS.iter().filter(|packet| packet[0] != 0x10) {
        assert!(accepted(CONNECT3, packet) || accepted(CONNECT5, packet), "{packet:02x?}");
    }
}
