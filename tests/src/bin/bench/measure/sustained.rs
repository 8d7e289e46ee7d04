//! Publishing at QoS 0 for long enough to see memory grow, if it does.

use super::Bench;
use crate::figure::Figure;
use crate::load::Publishing;
use crate::ours::Ours;
use crate::peer::Peer;

pub(crate) async fn qos0(bench: &mut Bench) {
    let ours = Ours::start(bench.scale.devices).await;
    let (before, _) = ours.megabytes();
    let messages = bench.scale.sustained;
    let per_second = store(&ours, messages).await;
    let (after, peak) = ours.megabytes();
    let theirs = match Peer::start().await {
        Some(peer) => {
            let load = load(&ours, messages);
            let published = load.run(&peer.target()).await.expect("Mosquitto takes the load");
            vec![load.messages() as f64 / (published.ended - published.began).as_secs_f64()]
        }
        None => Vec::new(),
    };
    let name = format!("QoS 0, {} devices, {messages} messages, SQLite", bench.scale.devices);
    bench.table.add(Figure::new(&*name, "msg/s", vec![per_second]).beside(theirs).goal("400 k"));
    for (part, megabytes) in [("before", before), ("at most", peak), ("after", after)] {
        let figure = Figure::new(format!("QoS 0, memory {part}"), "MB", vec![megabytes]);
        bench.table.add(if part == "at most" { figure.goal("flat") } else { figure });
    }
    bench.filled = Some((ours, messages));
}

/// Stores so many messages at QoS 0. Returns how many a second.
pub(super) async fn store(ours: &Ours, messages: usize) -> f64 {
    let load = load(ours, messages);
    let (published, stored) = ours.stored(load.messages(), load.run(&ours.target())).await;
    load.messages() as f64 / (stored - published.began).as_secs_f64()
}

fn load(ours: &Ours, messages: usize) -> Publishing {
    let connections = ours.devices.len();
    Publishing { connections, each: messages / connections, qos: 0, window: 0 }
}
