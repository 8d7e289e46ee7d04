//! Sections 1.5.4 to 1.5.7: text, variable byte integers, and pairs of text.

use crate::packets::{field, packet, publish5};
use crate::stage::{Stage, text, user_property};

/// Every packet of a client with text in it, with these bytes as that text.
fn packets_with(bytes: &[u8]) -> Vec<Vec<u8>> {
    vec![
        packet(0x30, &[&field(bytes)[..], b"\x001"].concat()),
        packet(0x82, &[b"\0\x01\0", &field(bytes)[..], b"\0"].concat()),
        packet(0xa2, &[b"\0\x01\0", &field(bytes)[..]].concat()),
        publish5(0, "t", 0, &text(0x03, bytes), b"1"),
        publish5(0, "t", 0, &text(0x08, bytes), b"1"),
        publish5(0, "t", 0, &user_property(bytes, b"value"), b"1"),
        publish5(0, "t", 0, &user_property(b"name", bytes), b"1"),
        packet(0xe0, &[b"\0", &with_len(&text(0x1f, bytes))[..]].concat()),
    ]
}

fn with_len(properties: &[u8]) -> Vec<u8> {
    [&[u8::try_from(properties.len()).unwrap()], properties].concat()
}

async fn are_malformed(texts: &[&[u8]]) {
    let stage = Stage::start().await;
    for bytes in texts {
        for packet in packets_with(bytes) {
            stage.closes5(&packet, 0x81).await;
        }
        let connect = stage.connect5("x");
        for connect in [
            connect.clone().raw_client_id(&field(bytes)),
            connect.clone().will(0, bytes, b"gone"),
            connect.clone().will_with(0, &text(0x08, bytes), b"t", b"gone"),
            connect.clone().will_with(0, &text(0x03, bytes), b"t", b"gone"),
            connect.clone().property(&user_property(bytes, b"value")),
            connect.raw_credentials(&[field(bytes), field(stage.device.token.as_bytes())].concat()),
        ] {
            stage.refuses5(&connect.bytes(), 0x81).await;
        }
    }
}

#[tokio::test]
async fn mqtt5_1_5_4_1_ill_formed_utf_8_in_any_text_is_malformed() {
    are_malformed(&[b"a\xff", b"\xed\xa0\x80"]).await;
}

#[tokio::test]
async fn mqtt5_1_5_4_2_the_null_character_in_any_text_is_malformed() {
    are_malformed(&[b"a\0b"]).await;
}

#[tokio::test]
async fn mqtt5_1_5_4_3_a_byte_order_mark_is_a_character_like_any_other() {
    let stage = Stage::start().await;
    let mut marked = stage.subscriber5("marked", &[("\u{feff}t", 0)]).await;
    let mut plain = stage.subscriber5("plain", &[("t", 0)]).await;
    let named = user_property("\u{feff}name".as_bytes(), b"");
    marked.send(&publish5(0, "\u{feff}t", 0, &named, b"1")).await;
    marked.expect(&publish5(0, "\u{feff}t", 0, &named, b"1")).await;
    plain.expect_nothing().await;
}

#[tokio::test]
async fn mqtt5_1_5_5_1_an_integer_of_more_bytes_than_needed_is_malformed() {
    let stage = Stage::start().await;
    for bytes in [
        // The length of a packet, of properties, and a subscription identifier.
        b"\xc0\x80\0".as_slice(),
        b"\xc0\x80\x80\0",
        b"\x30\x05\0\x01t\x80\0",
        b"\x82\x0a\0\x01\x03\x0b\x81\0\0\x01t\0",
        // And those of more than four.
        b"\xc0\x80\x80\x80\x80\0",
        b"\x30\x0a\0\x01t\xff\xff\xff\xff\x01\0\0",
    ] {
        stage.closes5(bytes, 0x81).await;
    }
    let mut connect = stage.connect5("x").bytes();
    connect.splice(1..2, [connect[1] | 0x80, 0]);
    stage.refuses5(&connect, 0x81).await;
}
