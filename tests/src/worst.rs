//! What one tenant does to hurt the others, one way after the other: each call of the REST API with its most expensive
//! arguments, each packet of MQTT in the shapes that cost the broker most. Whether an answer refuses it does not matter.

mod packets;
mod requests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{Api, Device, Launch, TwoTenants};

/// How many do it at the same time.
const AT_ONCE: usize = 8;
/// How long the history of the tenant may take to be sealed.
const PATIENCE: Duration = Duration::from_secs(60);

/// One way to hurt others.
#[derive(Clone, Copy)]
pub struct Worst {
    /// The call or packet, and what is special about it.
    pub name: &'static str,
    way: Way,
}

#[derive(Clone, Copy)]
enum Way {
    /// A request; the number tells one from the next.
    Request(fn(&Scene, u64) -> Request),
    /// Packets that are said without waiting for answers, of this version of MQTT; the number tells one from the next.
    Packets(u8, fn(&Scene, u64) -> Vec<u8>),
    /// A connection that is opened, says this and is dropped.
    Connections(fn(&Scene, u64) -> Vec<u8>),
}

/// A request of the tenant.
struct Request {
    caller: Api,
    method: Method,
    path: String,
    body: Vec<u8>,
    content_type: &'static str,
}

/// The tenant that does it.
struct Scene {
    admin: Api,
    operator: Api,
    viewer: Api,
    stranger: Api,
    tenant: String,
    viewer_id: String,
    device: Device,
    mqtt: SocketAddr,
}

impl Worst {
    /// How the platform is started: small histories are sealed, so that both log and chunks are asked.
    pub fn launch(launch: Launch) -> Launch {
        launch.set("database.seal_rows", "2000").set("database.seal_after", "2")
    }

    /// All ways.
    pub fn all() -> Vec<Self> {
        [requests::ALL, packets::ALL].concat()
    }
}

/// Tenant A with a history that is expensive to read.
#[derive(Clone)]
pub struct Attacker(Arc<Scene>);

impl Attacker {
    /// Gives tenant A a history: as many shapes of payloads as a chunk takes, wide payloads, and numbers.
    ///
    /// # Panics
    /// When the API does not answer.
    pub async fn prepare(tenants: &TwoTenants) -> Self {
        let a = &tenants.a;
        let me = a.viewer.get("/api/v1/auth/me").await.expect(200);
        let scene = Scene {
            admin: a.admin.clone(),
            operator: a.operator.clone(),
            viewer: a.viewer.clone(),
            stranger: tenants.platform.api(),
            tenant: a.id.clone(),
            viewer_id: me["id"].as_str().expect("a user has an id").to_owned(),
            device: Device { id: a.device.id.clone(), token: a.device.token.clone() },
            mqtt: tenants.platform.mqtt(),
        };
        let shapes = (0..5_000).map(|n| json!({ format!("{n:012x}"): n }));
        let wide = (0..40).map(|n| Value::from_iter((0..200).map(|key| (format!("w{key}"), json!(n)))));
        let numbers = (0..5_000).map(|n| json!({ "temperature": f64::from(n) / 10.0, "count": n }));
        let payloads: Vec<Value> = shapes.chain(wide).chain(numbers).collect();
        for (number, part) in payloads.chunks(1_000).enumerate() {
            let rows = part.iter().map(|payload| {
                json!({ "deviceId": scene.device.id, "topic": format!("history/{}", number % 8), "payload": payload })
            });
            // What is refused because of a limit is not needed.
            scene.operator.post("/api/v1/telemetry", rows.collect()).await;
        }
        let attacker = Self(Arc::new(scene));
        attacker.until_sealed().await;
        attacker
    }

    async fn until_sealed(&self) {
        let (began, path) = (Instant::now(), format!("/api/v1/tenants/{}/usage", self.0.tenant));
        while self.0.admin.get(&path).await.expect(200)["log"]["rows"].as_u64().unwrap_or_default() > 2_000 {
            assert!(began.elapsed() < PATIENCE, "the history is not sealed");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Does one of them for so long.
    pub async fn does(&self, worst: Worst, duration: Duration) {
        let until = tokio::time::Instant::now() + duration;
        let mut workers = JoinSet::new();
        for first in 0..AT_ONCE {
            let scene = Arc::clone(&self.0);
            workers.spawn(async move {
                let _ = tokio::time::timeout_at(until, scene.go_on(worst.way, first as u64)).await;
            });
        }
        workers.join_all().await;
    }
}

impl Scene {
    /// Does it without an end.
    async fn go_on(&self, way: Way, first: u64) {
        for number in (first..).step_by(AT_ONCE) {
            match way {
                Way::Request(of) => self.ask(of(self, number)).await,
                Way::Packets(version, of) => self.say(version, first, number, of).await,
                Way::Connections(of) => packets::say_once(self.mqtt, &of(self, number)).await,
            }
        }
    }

    async fn ask(&self, request: Request) {
        let Request { caller, method, path, body, content_type } = request;
        let request = caller.request(method, &path).header("content-type", content_type).body(body);
        // The answer is read, as a client does that wants it.
        if let Ok(response) = request.send().await {
            let _ = response.bytes().await;
        }
    }
}
