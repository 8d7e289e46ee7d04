//! Messages from publishers to subscribers, at QoS 0.

use std::time::Instant;

use super::Bench;
use crate::figure::Figure;
use crate::load::{Delivered, Delivering};
use crate::ours::{Ours, launch};
use crate::peer::Peer;

pub(crate) async fn fan_out(bench: &mut Bench) {
    let ours = Ours::start(bench.scale.devices).await;
    let load = fan_out_of(bench);
    let name = format!("fan-out 1:{}, QoS 0, all stored", load.subscribers);
    deliver(bench, &name, &ours, load, true, "5 × Mosquitto").await;
}

pub(crate) async fn pairs(bench: &mut Bench) {
    let ours = Ours::start(bench.scale.devices).await;
    let load = pairs_of(bench);
    let name = format!("pairs {0}:{0}, QoS 0, all stored", load.subscribers);
    deliver(bench, &name, &ours, load, true, "3 × Mosquitto").await;
}

/// Both, when nothing is stored.
pub(crate) async fn broker_only(bench: &mut Bench) {
    let ours = Ours::start_with(launch().env("POCKET_TELEMETRY_TOPICS", ""), bench.scale.devices).await;
    let (fan_out, pairs) = (fan_out_of(bench), pairs_of(bench));
    let name = format!("fan-out 1:{}, QoS 0, nothing stored", fan_out.subscribers);
    deliver(bench, &name, &ours, fan_out, false, "2 M").await;
    let name = format!("pairs {0}:{0}, QoS 0, nothing stored", pairs.subscribers);
    deliver(bench, &name, &ours, pairs, false, "2 M").await;
}

fn fan_out_of(bench: &Bench) -> Delivering {
    let subscribers = bench.scale.devices;
    Delivering { publishers: 1, subscribers, each: bench.scale.deliveries / subscribers }
}

fn pairs_of(bench: &Bench) -> Delivering {
    let pairs = bench.scale.devices;
    Delivering { publishers: pairs, subscribers: pairs, each: bench.scale.deliveries / pairs }
}

async fn deliver(
    bench: &mut Bench,
    name: &str,
    ours: &Ours,
    load: Delivering,
    is_stored: bool,
    to_reach: &'static str,
) {
    // What Mosquitto does is measured with the others.
    let peer = if is_stored { Peer::start().await } else { None };
    let (mut own, mut theirs, mut lost, mut lost_by_peer) = (Vec::new(), Vec::new(), 0, 0);
    for _ in 0..bench.scale.runs {
        let rows = if is_stored { load.messages() } else { 0 };
        let (delivered, stored) = ours.stored(rows, load.run(&ours.target())).await;
        let ended = if is_stored { delivered.ended.max(stored) } else { delivered.ended };
        own.push(rate(&delivered, ended));
        lost += delivered.expected - delivered.arrived;
        if let Some(peer) = &peer {
            let delivered = load.run(&peer.target()).await.expect("Mosquitto takes the load");
            theirs.push(rate(&delivered, delivered.ended));
            lost_by_peer += delivered.expected - delivered.arrived;
        }
    }
    let figure = Figure::new(name, "deliveries/s", own).beside(theirs).goal(to_reach).losing(lost);
    let note = if lost_by_peer > 0 { format!("Mosquitto lost {lost_by_peer}") } else { String::new() };
    bench.table.add(figure.note(note));
}

fn rate(delivered: &Delivered, ended: Instant) -> f64 {
    delivered.arrived as f64 / (ended - delivered.began).as_secs_f64()
}
