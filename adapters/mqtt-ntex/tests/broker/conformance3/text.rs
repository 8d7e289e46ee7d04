//! Section 1.5.3: UTF-8 encoded strings.

use crate::packets::{field, packet, publish3};
use crate::stage::Stage;

/// Every packet of a client with text in it, with these bytes as that text.
fn packets_with(text: &[u8]) -> Vec<Vec<u8>> {
    vec![
        packet(0x30, &[field(text), b"1".to_vec()].concat()),
        packet(0x82, &[b"\0\x01", &field(text)[..], b"\0"].concat()),
        packet(0xa2, &[b"\0\x01", &field(text)[..]].concat()),
    ]
}

async fn are_closed(texts: &[&[u8]]) {
    let stage = Stage::start().await;
    for text in texts {
        for packet in packets_with(text) {
            stage.closes3(&packet).await;
        }
        let connect = stage.connect3("x");
        let client_id = connect.clone().raw_client_id(&field(text));
        let will_topic = connect.clone().will(0, text, b"gone");
        let user_name = connect.raw_credentials(&[field(text), field(stage.device.token.as_bytes())].concat());
        for connect in [client_id, will_topic, user_name] {
            // [MQTT-3.1.4-1] without CONNACK
            stage.said(&connect.bytes()).await.expect_closed().await;
        }
    }
}

#[tokio::test]
async fn mqtt_1_5_3_1_ill_formed_utf_8_in_any_text_closes_the_connection() {
    // A byte that is never UTF-8, an encoded surrogate, a sequence that is cut off, an overlong form.
    are_closed(&[b"a\xff", b"\xed\xa0\x80", b"a\xe2\x82", b"\xc0\xaf"]).await;
}

#[tokio::test]
async fn mqtt_1_5_3_2_the_null_character_in_any_text_closes_the_connection() {
    are_closed(&[b"a\0b", b"\0"]).await;
}

#[tokio::test]
async fn mqtt_1_5_3_3_a_byte_order_mark_is_a_character_like_any_other() {
    let stage = Stage::start().await;
    let mut marked = stage.subscriber3("marked", &[("\u{feff}t", 0)]).await;
    let mut plain = stage.subscriber3("plain", &[("t", 0)]).await;
    stage.publish(0, "\u{feff}t", b"1").await;
    stage.publish(0, "t", b"2").await;
    marked.expect(&publish3(0, "\u{feff}t", 0, b"1")).await;
    marked.expect_nothing().await;
    plain.expect(&publish3(0, "t", 0, b"2")).await;
}
