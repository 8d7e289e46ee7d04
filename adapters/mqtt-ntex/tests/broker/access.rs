//! Access that ends while a device is connected.

use std::time::Duration;

use pocket_domain::{DeviceUpdate, PayloadPolicy};
use pocket_ports::{Clock, SystemClock, TenantUpdate};

use crate::packets::{connect3, connect5, publish3};
use crate::platform::Platform;

#[tokio::test]
async fn a_device_that_is_disabled_is_disconnected() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let bystander = platform.device("b").await;
    let (mut first, mut second) = (platform.v5(&device, "x").await, platform.v3(&device, "y").await);
    let mut other = platform.v3(&bystander, "x").await;
    let update = DeviceUpdate { enabled: Some(false), ..Default::default() };
    platform.application.devices.update(&platform.admin, None, device.id, update).await.unwrap();
    first.expect_disconnect(0x98).await;
    second.expect_closed().await;
    other.expect_nothing().await;
    let mut again = platform.socket().await;
    again.send(&connect5(&device, "x", b"")).await;
    assert_eq!(again.packet().await[3], 0x87);
    let mut again = platform.socket().await;
    again.send(&connect3(&device, "x")).await;
    again.expect(b"\x20\x02\0\x05").await;
    assert_eq!(platform.broker.stats().revocations, 2);
}

#[tokio::test]
async fn a_device_that_is_deleted_is_disconnected() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let mut socket = platform.v5(&device, "x").await;
    platform.application.devices.delete(&platform.admin, None, device.id).await.unwrap();
    socket.expect_disconnect(0x87).await;
}

#[tokio::test]
async fn a_new_token_ends_the_sessions_of_the_old_one() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let mut socket = platform.v5(&device, "x").await;
    let devices = &platform.application.devices;
    devices.regenerate_token(&platform.admin, None, device.id, None, Duration::ZERO).await.unwrap();
    socket.expect_disconnect(0x87).await;
}

#[tokio::test]
async fn a_session_ends_when_its_token_expires() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let mut socket = platform.v5(&device, "x").await;
    let soon = SystemClock.now().plus(Duration::from_millis(300));
    let update = DeviceUpdate { token_expires_at: Some(Some(soon)), ..Default::default() };
    platform.application.devices.update(&platform.admin, None, device.id, update).await.unwrap();
    socket.expect_disconnect(0x87).await;
    assert!(SystemClock.now() >= soon);
}

#[tokio::test]
async fn a_new_payload_policy_reaches_connected_devices() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let mut socket = platform.v3(&device, "x").await;
    let update = TenantUpdate { payload_policy: Some(PayloadPolicy::Any), ..Default::default() };
    platform.application.tenants.update(&platform.admin, device.tenant, update).await.unwrap();
    let mut id = 0;
    while platform
        .application
        .storage
        .telemetry
        .range(device.tenant, &Default::default())
        .await
        .unwrap()
        .rows
        .is_empty()
    {
        id += 1;
        assert!(id < 500, "the policy never arrived");
        socket.send(&publish3(1, "t", id, b"plain text")).await;
        socket.packet().await;
    }
    socket.expect_nothing().await;
}

#[tokio::test]
async fn a_device_is_online_as_long_as_it_has_a_connection() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let online = async |expected: bool| {
        for _ in 0..500 {
            let now = platform.application.devices.get(&platform.admin, None, device.id).await.unwrap();
            if now.online == expected {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the device was never seen as online: {expected}");
    };
    let (first, second) = (platform.v3(&device, "x").await, platform.v3(&device, "y").await);
    online(true).await;
    first.break_off();
    platform.eventually(|platform| platform.broker.stats().connections == 1).await;
    online(true).await;
    second.break_off();
    online(false).await;
}
