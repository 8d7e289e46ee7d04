//! Reads over REST.

use pocket_tests::Platform;
use serde_json::json;

use super::{Bench, sustained};
use crate::figure::Figure;
use crate::load::Requests;
use crate::ours::Ours;

const CONNECTIONS: usize = 32;
/// Rows of a page.
const PAGE: usize = 100;

pub(crate) async fn rest(bench: &mut Bench) {
    let ours = Ours::start(bench.scale.devices).await;
    sustained::store(&ours, (bench.scale.messages / 10).max(PAGE * bench.scale.devices)).await;
    let login = json!({ "username": "admin", "password": Platform::ADMIN_PASSWORD });
    let session = ours.platform.api().post("/api/v1/auth/login", login).await.expect(200);
    let token = session["token"].as_str().expect("a log-in answers a token").to_owned();
    let paths = |path: fn(&str) -> String| ours.devices.iter().map(|(id, _)| path(id)).collect::<Vec<_>>();
    let one = paths(|id| format!("/api/v1/devices/{id}"));
    let page = paths(|id| format!("/api/v1/telemetry?deviceId={id}&limit={PAGE}"));
    let admin = ours.platform.admin().await;
    assert_eq!(admin.get(&one[0]).await.expect(200)["id"], *ours.devices[0].0);
    assert_eq!(admin.get(&page[0]).await.expect(200)["data"].as_array().map(Vec::len), Some(PAGE));
    let measures = [
        ("GET /devices/{id}", one, bench.scale.requests, "40 k"),
        ("GET /telemetry, 100 rows", page, bench.scale.requests / 4, "15 k"),
    ];
    for (name, paths, requests, to_reach) in measures {
        let requests = Requests {
            address: ours.platform.api_address(),
            paths,
            token: token.clone(),
            connections: CONNECTIONS,
            each: requests.div_ceil(CONNECTIONS),
        };
        let mut runs = Vec::new();
        for _ in 0..bench.scale.runs {
            runs.push(requests.run().await.expect("the platform answers"));
        }
        bench.table.add(Figure::new(format!("{name}, {CONNECTIONS} connections"), "/s", runs).goal(to_reach));
    }
}
