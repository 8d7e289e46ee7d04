//! Acknowledgements of one tenant while another does its worst.

use std::time::Duration;

use pocket_tests::wire::{RawClient, publish};
use pocket_tests::{AckProbe, Launch, TwoTenants, many};

/// How long an acknowledgement may take with a debug build on a machine that has other things to do.
const MOST: Duration = Duration::from_secs(3);

#[tokio::test]
async fn a_tenant_that_floods_the_broker_leaves_the_acknowledgements_of_another_alone() {
    let TwoTenants { platform, a, b, .. } = TwoTenants::start(Launch::default()).await;
    let flood = async {
        let mut client = RawClient::connect(platform.mqtt(), 4, "flood", &a.device).await;
        let payload = vec![b'1'; 1_000];
        for number in 0..many(20) {
            for id in 1..=500 {
                client.send(&publish(4, 0x32, &format!("flood/{number}"), id, &[], &payload)).await;
            }
            for _ in 1..=500 {
                client.until(0x40).await;
            }
        }
    };
    let (times, ()) = AckProbe::during(platform.mqtt(), &b.device, flood).await;
    times.none_took_longer_than(MOST);
}
