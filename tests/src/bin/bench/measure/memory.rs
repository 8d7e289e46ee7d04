//! Resident memory when nothing happens.

use tokio::time::sleep;

use super::Bench;
use crate::figure::Figure;
use crate::load::Connects;
use crate::ours::{Ours, launch};
use crate::peer::Peer;

pub(crate) async fn idle(bench: &mut Bench) {
    let load = Connects { connections: bench.scale.idle, at_once: 64 };
    let at_rest = {
        let platform = launch().start().await;
        sleep(bench.scale.settle).await;
        platform.memory().now as f64 / 1e6
    };
    let ours = Ours::start(load.connections).await;
    let held = load.run(&ours.target()).await.expect("the platform lets devices in");
    sleep(bench.scale.settle).await;
    let connected = ours.megabytes().0;
    held.close().expect("connections are open");

    let (mut peer_at_rest, mut peer_connected) = (Vec::new(), Vec::new());
    if let Some(peer) = Peer::start().await {
        sleep(bench.scale.settle).await;
        peer_at_rest.push(peer.megabytes());
        let held = load.run(&peer.target()).await.expect("Mosquitto lets all in");
        sleep(bench.scale.settle).await;
        peer_connected.push(peer.megabytes());
        drop(held);
    }
    bench.table.add(Figure::new("memory at rest", "MB", vec![at_rest]).beside(peer_at_rest).goal("20"));
    let name = format!("memory, {} idle connections", load.connections);
    let figure = Figure::new(name, "MB", vec![connected]).beside(peer_connected).goal("90");
    bench.table.add(figure.note("each of a device of its own, just registered over REST"));
}
