use std::time::Duration;

use pocket_domain::{DeviceConnection, DeviceEventKind, DeviceId, NewDeviceEvent, Peer, TenantId, Timestamp};
use pocket_ports::Clock;
use serde_json::{Value, json};

use super::platform::Platform;

struct Device {
    tenant: TenantId,
    id: DeviceId,
    path: String,
}

async fn start() -> (Platform, String, Device) {
    let platform = Platform::start().await;
    let admin = platform.admin().await;
    let id = platform.device(&admin, "boiler").await;
    let path = format!("/api/v1/devices/{id}");
    let shown = platform.get(&admin, &path).await.expect(200);
    let tenant = shown["tenantId"].as_str().unwrap().parse().unwrap();
    (platform, admin, Device { tenant, id: id.parse().unwrap(), path })
}

impl Platform {
    fn now(&self) -> Timestamp {
        self.clock.advance(Duration::from_secs(1));
        self.clock.now()
    }

    async fn connect(&self, device: &Device, peer: Peer) {
        let connection = DeviceConnection { connected_at: self.now(), peer };
        self.application.activity.connected(device.tenant, device.id, connection);
        self.application.activity.flush().await;
    }

    async fn disconnect(&self, device: &Device, peer: Peer) {
        let kind = DeviceEventKind::Disconnected("keep_alive_timeout".into());
        let event = NewDeviceEvent { at: self.now(), kind, peer };
        self.application.activity.disconnected(device.tenant, device.id, event, true);
        self.application.activity.flush().await;
    }
}

fn peer() -> Peer {
    let address = Some("[2001:db8::7]:50123".parse().unwrap());
    Peer { client_id: "sensor \"1\"".into(), address, protocol: "MQTT 5.0".into() }
}

#[ntex::test]
async fn a_device_shows_its_latest_connection() {
    let (platform, admin, device) = start().await;
    let shown = async || {
        let body = platform.get(&admin, &device.path).await.expect(200);
        let fields =
            ["online", "connectedAt", "remoteAddress", "protocol", "lastSeenAt"].map(|field| body[field].clone());
        Value::from(fields.to_vec())
    };
    assert_eq!(shown().await, json!([false, null, null, null, null]));
    platform.connect(&device, peer()).await;
    let (first, second) = ("2027-01-15T08:00:01.000Z", "2027-01-15T08:00:02.000Z");
    assert_eq!(shown().await, json!([true, first, "[2001:db8::7]:50123", "MQTT 5.0", first]));
    platform.disconnect(&device, peer()).await;
    assert_eq!(shown().await, json!([false, first, "[2001:db8::7]:50123", "MQTT 5.0", second]));
}

#[ntex::test]
async fn connects_and_disconnects_are_listed_the_newest_first() {
    let (platform, admin, device) = start().await;
    let path = format!("{}/events", device.path);
    let none = platform.get(&admin, &path).await.expect(200);
    assert_eq!(none, json!({"data": [], "pagination": {"limit": 100, "next": null}}));
    platform.connect(&device, peer()).await;
    platform.disconnect(&device, Peer { address: None, ..peer() }).await;
    let page = platform.get(&admin, &path).await.expect(200);
    assert_eq!(
        page["data"],
        json!([
            {"id": page["data"][0]["id"], "type": "disconnected", "at": "2027-01-15T08:00:02.000Z",
                "clientId": "sensor \"1\"", "remoteAddress": null, "protocol": "MQTT 5.0",
                "reason": "keep_alive_timeout"},
            {"id": page["data"][1]["id"], "type": "connected", "at": "2027-01-15T08:00:01.000Z",
                "clientId": "sensor \"1\"", "remoteAddress": "[2001:db8::7]:50123", "protocol": "MQTT 5.0",
                "reason": null},
        ])
    );
    assert!(page["data"][0]["id"].is_string() && page["data"][0]["id"] != page["data"][1]["id"]);
}

#[ntex::test]
async fn the_cursor_leads_through_all_events() {
    let (platform, admin, device) = start().await;
    for _ in 0..5 {
        platform.connect(&device, peer()).await;
    }
    let mut seen = Vec::new();
    let mut query = String::new();
    loop {
        let page = platform.get(&admin, &format!("{}/events?limit=2{query}", device.path)).await.expect(200);
        assert_eq!(page["pagination"]["limit"], 2);
        seen.extend(page["data"].as_array().unwrap().iter().map(|event| event["at"].as_str().unwrap().to_owned()));
        let Some(next) = page["pagination"]["next"].as_str() else { break };
        query = format!("&cursor={next}");
    }
    assert_eq!(seen.len(), 5);
    assert!(seen.is_sorted_by(|a, b| a > b), "{seen:?}");
}

#[ntex::test]
async fn wrong_questions_about_events_are_refused() {
    let (platform, admin, device) = start().await;
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("cursor=x", "cursor"),
        ("offset=1", "offset"),
        ("tenantId=acme", "tenantId"),
    ] {
        let reply = platform.get(&admin, &format!("{}/events?{query}", device.path)).await;
        assert_eq!(reply.problem(422, "INVALID"), [field], "{query}");
    }
    for id in ["0192f3c8-7b1a-7cc2-9d0e-0a1b2c3d4e5f", "no-id"] {
        platform.get(&admin, &format!("/api/v1/devices/{id}/events")).await.problem(404, "NOT_FOUND");
    }
}
