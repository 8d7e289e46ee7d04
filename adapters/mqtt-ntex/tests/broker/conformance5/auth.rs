//! Sections 3.15 and 4.12: enhanced authentication, of which no method is offered.

use crate::stage::{Stage, text, told};

#[tokio::test]
async fn mqtt5_3_15_1_1_flags_of_auth_are_malformed() {
    let stage = Stage::start().await;
    for flags in 1..16 {
        stage.closes5(&[0xf0 | flags, 0], 0x81).await;
    }
}

#[tokio::test]
async fn mqtt5_4_12_0_1_a_method_that_is_not_offered_is_refused() {
    let stage = Stage::start().await;
    let method = text(0x15, b"SCRAM-SHA-256");
    stage.refuses5(&stage.connect5("x").property(&method).bytes(), 0x8c).await;
    let with_data = [method, text(0x16, b"client-first")].concat();
    stage.refuses5(&stage.connect5("x").property(&with_data).bytes(), 0x8c).await;
}

#[tokio::test]
async fn mqtt5_4_12_0_6_without_a_method_the_server_speaks_of_none() {
    let stage = Stage::start().await;
    let (mut socket, ack) = stage.accepted(&stage.connect5("x")).await;
    assert_eq!((told(&ack, 0x15), told(&ack, 0x16)), (None, None));
    socket.expect_nothing().await;
}

#[tokio::test]
async fn mqtt5_4_12_0_7_auth_of_a_client_without_a_method_is_a_protocol_error() {
    let stage = Stage::start().await;
    let method = text(0x15, b"SCRAM");
    let with = |reason: u8| [vec![0xf0, 10, reason, 8], method.clone()].concat();
    for bytes in [b"\xf0\0".to_vec(), with(0x00), with(0x18), with(0x19)] {
        stage.closes5(&bytes, 0x82).await;
    }
    // A code that AUTH does not have.
    stage.closes5(&with(0x17), 0x81).await;
}
