//! Section 3.2: CONNACK.

use crate::packets::{field, publish3};
use crate::stage::{Stage, subscribe_3};

#[tokio::test]
async fn mqtt_3_2_0_1_connack_is_the_first_packet_whatever_waits_for_the_client() {
    let stage = Stage::start().await;
    let mut socket = stage.kept3("s").await;
    subscribe_3(&mut socket, &[("t", 1)]).await;
    stage.lose(socket).await;
    for _ in 0..20 {
        stage.publish(1, "t", b"1").await;
    }
    // A client may speak before it has the answer, too.
    let connect = stage.connect3("s").kept().bytes();
    let mut socket = stage.said(&[connect, b"\xc0\0".to_vec()].concat()).await;
    socket.expect(b"\x20\x02\x01\0").await;
}

#[tokio::test]
async fn mqtt_3_2_2_1_a_clean_session_is_never_present() {
    let stage = Stage::start().await;
    stage.lose(stage.kept3("s").await).await;
    assert_eq!(stage.platform.broker.stats().sleeping_sessions, 1);
    let mut socket = stage.said(&stage.connect3("s").bytes()).await;
    socket.expect(b"\x20\x02\0\0").await;
}

#[tokio::test]
async fn mqtt_3_2_2_2_a_session_that_was_kept_is_present() {
    let stage = Stage::start().await;
    stage.lose(stage.kept3("s").await).await;
    let mut socket = stage.said(&stage.connect3("s").kept().bytes()).await;
    socket.expect(b"\x20\x02\x01\0").await;
}

#[tokio::test]
async fn mqtt_3_2_2_3_a_session_that_is_new_is_not_present() {
    let stage = Stage::start().await;
    let mut socket = stage.said(&stage.connect3("s").kept().bytes()).await;
    socket.expect(b"\x20\x02\0\0").await;
}

#[tokio::test]
async fn mqtt_3_2_2_4_a_client_that_is_refused_has_no_session_present() {
    let stage = Stage::start().await;
    stage.lose(stage.kept3("s").await).await;
    let wrong = [field(stage.device.id.to_string().as_bytes()), field(b"0000-0000-0000")].concat();
    let mut socket = stage.said(&stage.connect3("s").kept().raw_credentials(&wrong).bytes()).await;
    socket.expect(b"\x20\x02\0\x04").await;
    // [MQTT-3.2.2-5]
    socket.expect_closed().await;
}

#[tokio::test]
async fn mqtt_3_2_2_6_where_no_code_fits_the_connection_is_closed_without_connack() {
    let stage = Stage::start().await;
    for topic in [b"a/#".as_slice(), b"+", b""] {
        stage.said(&stage.connect3("x").will(0, topic, b"gone").bytes()).await.expect_closed().await;
    }
}

#[tokio::test]
async fn mqtt_3_1_2_4_a_session_goes_on_with_what_it_had() {
    let stage = Stage::start().await;
    let mut socket = stage.kept3("s").await;
    subscribe_3(&mut socket, &[("t", 1)]).await;
    stage.lose(socket).await;
    stage.publish(1, "t", b"1").await;
    let mut socket = stage.kept3("s").await;
    socket.expect(&publish3(1, "t", 1, b"1")).await;
    socket.send(b"\x40\x02\0\x01").await;
    socket.expect_nothing().await;
}
