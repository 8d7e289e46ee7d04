//! Packets as they come from brokers, and as they go on.

use super::*;

async fn reread(bytes: &[u8], version: Version) -> Incoming {
    let mut reader = bytes;
    let read = read(&mut reader, version, 1 << 20).await.unwrap();
    assert!(reader.is_empty());
    read
}

#[tokio::test]
async fn a_message_is_passed_on_with_its_properties_and_a_mark() {
    // A content type, and the identifier of a subscription.
    let properties = [&b"\x03\0\x01j"[..], b"\x0b\x81\x01", b"\x26\0\x01k\0\x01v"].concat();
    let mut body = b"\0\x03a/b\0\x07".to_vec();
    body.push(properties.len() as u8);
    body.extend(&properties);
    body.extend(b"{}");
    let Incoming::Publish(read) = reread(&packet(0x33, &body), Version::V5).await else { panic!() };
    assert_eq!((read.topic.as_str(), read.qos, read.retain, read.id), ("a/b", 1, true, 7));
    assert_eq!(read.properties, [&b"\x03\0\x01j"[..], b"\x26\0\x01k\0\x01v"].concat());
    let Incoming::Publish(again) = reread(&read.bytes(Version::V5, "us"), Version::V5).await else { panic!() };
    assert_eq!((again.marks.as_slice(), &again.payload[..]), (&["us".to_owned()][..], &b"{}"[..]));
    assert_eq!(read.bytes(Version::V311, "us"), b"\x33\x09\0\x03a/b\0\x07{}");
}

#[tokio::test]
async fn acknowledgements_are_read_in_both_versions() {
    assert_eq!(reread(b"\x40\x02\0\x07", Version::V311).await, Incoming::PublishAck { id: 7, reason: 0 });
    assert_eq!(reread(b"\x40\x04\0\x07\x97\0", Version::V5).await, Incoming::PublishAck { id: 7, reason: 0x97 });
    assert_eq!(reread(b"\x90\x04\0\x01\0\x01", Version::V5).await, Incoming::SubscribeAck { reasons: vec![1] });
    let Incoming::ConnectAck(ack) = reread(b"\x20\x06\x01\0\x03\x21\0\x14", Version::V5).await else { panic!() };
    assert!(ack.session_present && ack.receive_maximum == 20);
}

#[tokio::test]
async fn what_is_no_packet_is_refused() {
    for bytes in [&b"\x30\x02\0\x05"[..], b"\x30\xff\xff\xff\xff\xff", b"\x20\x01\0", b"\x30\x05\0\x01a\x01\xff"] {
        let mut reader = bytes;
        assert!(read(&mut reader, Version::V5, 1 << 20).await.is_err(), "{bytes:02x?}");
    }
    assert!(read(&mut &b"\x30\x80\x80\x40"[..], Version::V5, 1_000).await.is_err());
}
