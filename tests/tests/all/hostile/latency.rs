//! Acknowledgements of one tenant while another does its worst.

use std::time::Duration;

use pocket_tests::{AckProbe, Attacker, Launch, TwoTenants, Worst, many};

/// How long an acknowledgement may take with a debug build on a machine that has other things to do. What a release build does
/// alone is measured by `just bench hostile`.
const MOST: Duration = Duration::from_secs(5);
/// How long the tenant does each.
const EACH: Duration = Duration::from_millis(400);

async fn others_are_acknowledged(is_meant: impl Fn(&Worst) -> bool) {
    let tenants = TwoTenants::start(Worst::launch(Launch::default()).set("log.filter", "warn")).await;
    let attacker = Attacker::prepare(&tenants).await;
    let each = EACH * u32::try_from(many(1)).unwrap();
    let mut slow = Vec::new();
    for worst in Worst::all().into_iter().filter(is_meant) {
        let attack = attacker.does(worst, each);
        let (times, ()) = AckProbe::during(tenants.platform.mqtt(), &tenants.b.device, attack).await;
        if times.max() > MOST || times.count() == 0 {
            slow.push(format!("{}: {times}", worst.name));
        }
    }
    assert!(slow.is_empty(), "a message of another tenant waited for more than {MOST:?}: {slow:#?}");
    // And those that were there all the time are answered.
    tenants.b.viewer.get("/api/v1/telemetry?limit=1").await.expect(200);
}

fn is_call(worst: &Worst) -> bool {
    ["GET ", "POST ", "PATCH "].iter().any(|method| worst.name.starts_with(method))
}

#[tokio::test]
async fn no_call_of_one_tenant_holds_up_the_acknowledgements_of_another() {
    others_are_acknowledged(is_call).await;
}

#[tokio::test]
async fn no_packet_of_one_tenant_holds_up_the_acknowledgements_of_another() {
    others_are_acknowledged(|worst| !is_call(worst)).await;
}
