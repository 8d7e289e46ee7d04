//! Sessions that clients leave behind.

use pocket_tests::{Device, Launch};

use super::stage::{Connect, Stage};

/// Firmware that makes up a client id at each start, and asks for a session that is kept.
fn start_of(device: &Device, client_id: &str) -> Connect {
    Connect { client_id: client_id.to_owned(), is_clean: false, ..Connect::of(&device.id, &device.token) }
}

#[tokio::test]
async fn the_log_names_the_abandoned_client_id_whose_session_ends() {
    let stage = Stage::of(Launch::default().set("mqtt.max_device_sessions", "3")).await;
    let other = Device::register(&stage.admin, "boiler-2").await;
    let mut wire = stage.accepted(&start_of(&other, "start-1")).await;
    wire.send(b"\xe0\0").await;
    assert_eq!(wire.packet().await, None);
    for number in 1..=4 {
        let mut wire = stage.accepted(&start_of(&stage.device, &format!("start-{number}"))).await;
        wire.send(b"\xe0\0").await;
        assert_eq!(wire.packet().await, None, "the broker closes, and the session waits");
    }
    stage.log_has("the one that has waited longest ends").await;
    let log = stage.platform.log();
    let told: Vec<&str> = log.lines().filter(|line| line.contains("the one that has waited longest ends")).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("start-1") && told[0].contains(&stage.device.id), "{told:?}");
    // The other device, with the same client id, has lost nothing.
    for (device, client_id, is_present) in
        [(&stage.device, "start-4", 1), (&other, "start-1", 1), (&stage.device, "start-1", 0)]
    {
        let mut wire = stage.opened(&start_of(device, client_id)).await;
        assert_eq!(wire.packet().await, Some(vec![0x20, 2, is_present, 0]), "{client_id} of {}", device.id);
    }
}
