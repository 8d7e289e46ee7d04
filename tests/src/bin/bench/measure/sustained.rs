//! Publishing at QoS 0 for long enough to see memory grow, if it does.

use super::Bench;
use crate::figure::Figure;
use crate::load::Publishing;
use crate::ours::Ours;
use crate::peer::Peer;

/// Parts of the run.
const PARTS: usize = 5;

pub(crate) async fn qos0(bench: &mut Bench) {
    let ours = Ours::start(bench.scale.devices).await;
    let (before, _) = ours.megabytes();
    let messages = bench.scale.sustained;
    // In parts, so that memory is seen to grow, if it does; between two of them the clock stands still.
    let (mut memory, mut seconds) = (Vec::new(), 0.0);
    for _ in 0..PARTS {
        seconds += (messages / PARTS) as f64 / store(&ours, messages / PARTS).await;
        memory.push(ours.megabytes().0);
    }
    let per_second = (messages / PARTS * PARTS) as f64 / seconds;
    let (_, peak) = ours.megabytes();
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
    let [first, .., last] = memory[..] else { unreachable!("there are several parts") };
    for (when, megabytes) in [("before", before), ("after a fifth", first), ("at most", peak)] {
        bench.table.add(Figure::new(format!("QoS 0, memory {when}"), "MB", vec![megabytes]));
    }
    let figure = Figure::new(format!("QoS 0, memory after {messages} messages"), "MB", vec![last]).goal("100");
    bench.table.add(figure.note(format!("{:.2} of that after a fifth", last / first)));
    bench.filled = Some((ours, messages / PARTS * PARTS));
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
