//! Publishing with acknowledgements: each comes when the message is a row.

use super::Bench;
use crate::figure::Figure;
use crate::load::{Published, Publishing, percentile};
use crate::ours::Ours;
use crate::peer::Peer;

/// One run: messages a second, and milliseconds of half and of 99 of 100 acknowledgements.
type Run = (f64, f64, f64);

pub(crate) async fn qos1(bench: &mut Bench) {
    let load = load(bench, bench.scale.devices, bench.scale.messages, 1);
    let ours = Ours::start(load.connections).await;
    let name = format!("QoS 1, {} devices, SQLite", load.connections);
    publish(bench, &name, &ours, load, Some(load), "250 k, 1.5 × Mosquitto").await;
}

pub(crate) async fn qos1_on_postgres(bench: &mut Bench) {
    let load = load(bench, bench.scale.devices, bench.scale.messages, 1);
    let Some((_database, ours)) = Ours::start_on_postgres(load.connections).await else { return };
    let name = format!("QoS 1, {} devices, PostgreSQL", load.connections);
    publish(bench, &name, &ours, load, None, "120 k").await;
}

pub(crate) async fn qos1_of_many(bench: &mut Bench) {
    let load = load(bench, bench.scale.many, bench.scale.messages, 1);
    let ours = Ours::start(load.connections).await;
    let name = format!("QoS 1, {} devices, SQLite", load.connections);
    // With so many it takes ten times as long.
    let beside = Publishing { each: load.each.div_ceil(10), ..load };
    publish(bench, &name, &ours, load, Some(beside), "150 k").await;
}

pub(crate) async fn qos2(bench: &mut Bench) {
    let load = load(bench, bench.scale.devices, bench.scale.exactly_once, 2);
    let ours = Ours::start(load.connections).await;
    let name = format!("QoS 2, {} devices, SQLite", load.connections);
    publish(bench, &name, &ours, load, Some(load), "100 k").await;
}

fn load(bench: &Bench, connections: usize, messages: usize, qos: u8) -> Publishing {
    Publishing { connections, each: messages / connections, qos, window: bench.scale.window }
}

/// Publishes `load` to Pocket IoT and `beside` to Mosquitto, in turns.
async fn publish(
    bench: &mut Bench,
    name: &str,
    ours: &Ours,
    load: Publishing,
    beside: Option<Publishing>,
    to_reach: &'static str,
) {
    let peer = if beside.is_some() { Peer::start().await } else { None };
    let (mut own, mut theirs): (Vec<Run>, Vec<Run>) = (Vec::new(), Vec::new());
    for _ in 0..bench.scale.runs {
        let (published, stored) = ours.stored(load.messages(), load.run(&ours.target())).await;
        own.push(run(load, &Published { ended: published.ended.max(stored), ..published }));
        if let (Some(peer), Some(load)) = (&peer, beside) {
            theirs.push(run(load, &load.run(&peer.target()).await.expect("Mosquitto takes the load")));
        }
    }
    type Part = fn(&Run) -> f64;
    let parts: [(&str, &str, Part); 3] = [
        ("", "msg/s", |run| run.0),
        (", acknowledged p50", "ms", |run| run.1),
        (", acknowledged p99", "ms", |run| run.2),
    ];
    for (part, unit, of) in parts {
        let figure = Figure::new(format!("{name}{part}"), unit, own.iter().map(of).collect());
        let figure = figure.beside(theirs.iter().map(of).collect());
        bench.table.add(if part.is_empty() { figure.goal(to_reach) } else { figure });
    }
}

fn run(load: Publishing, published: &Published) -> Run {
    let seconds = (published.ended - published.began).as_secs_f64();
    let millis = |share| percentile(&published.latencies, share) / 1e3;
    (load.messages() as f64 / seconds, millis(50), millis(99))
}
