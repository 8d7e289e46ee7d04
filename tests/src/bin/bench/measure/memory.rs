//! Resident memory when nothing happens.

use std::time::Duration;

use tokio::time::sleep;

use super::Bench;
use crate::figure::Figure;
use crate::load::Connects;
use crate::ours::{Ours, launch};
use crate::peer::Peer;

/// In which what a start or a connection leaves behind settles.
const SETTLED: Duration = Duration::from_secs(1);

pub(crate) async fn idle(bench: &mut Bench) {
    let load = Connects { connections: bench.scale.idle, at_once: 64 };
    let at_rest = {
        let platform = launch().start().await;
        sleep(SETTLED).await;
        platform.memory().now as f64 / 1e6
    };
    let ours = Ours::start(load.connections).await;
    let held = load.run(&ours.target()).await.expect("the platform lets devices in");
    sleep(SETTLED).await;
    let connected = ours.megabytes().0;
    held.close().expect("connections are open");

    let (mut peer_at_rest, mut peer_connected) = (Vec::new(), Vec::new());
    if let Some(peer) = Peer::start().await {
        sleep(SETTLED).await;
        peer_at_rest.push(peer.megabytes());
        let held = load.run(&peer.target()).await.expect("Mosquitto lets all in");
        sleep(SETTLED).await;
        peer_connected.push(peer.megabytes());
        drop(held);
    }
    bench.table.add(Figure::new("memory at rest", "MB", vec![at_rest]).beside(peer_at_rest).to_reach("20"));
    let name = format!("memory, {} idle connections", load.connections);
    let figure = Figure::new(name, "MB", vec![connected]).beside(peer_connected).to_reach("90");
    bench.table.add(figure.note("each of a device of its own, just registered over REST"));
}
