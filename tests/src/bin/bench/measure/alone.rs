//! One device that waits for each acknowledgement before it sends again: what a commit takes.

use super::Bench;
use crate::figure::Figure;
use crate::load::Publishing;
use crate::machine;
use crate::ours::Ours;
use crate::peer::Peer;

pub(crate) async fn one_at_a_time(bench: &mut Bench) {
    let load = Publishing { connections: 1, each: bench.scale.alone, qos: 1, window: 1 };
    let ours = Ours::start(1).await;
    let peer = Peer::start().await;
    let (mut own, mut theirs, mut fsync) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.scale.runs {
        fsync.push(machine::fsync(&ours.platform.data_dir(), load.each));
        own.push(stored(&ours, load).await);
        if let Some(peer) = &peer {
            theirs.push(mean(&load.run(&peer.target()).await.expect("Mosquitto takes the load").latencies));
        }
    }
    let figure = Figure::new("QoS 1, one message at a time, SQLite, mean", "µs", own).beside(theirs);
    bench.table.add(figure.note("Mosquitto does not wait for a disk"));
    bench.table.add(Figure::new("4 KiB appended and fdatasync, mean", "µs", fsync).note("in the same directory"));
    let Some((_database, ours)) = Ours::start_on_postgres(1).await else { return };
    let mut own = Vec::new();
    for _ in 0..bench.scale.runs {
        own.push(stored(&ours, load).await);
    }
    bench.table.add(Figure::new("QoS 1, one message at a time, PostgreSQL, mean", "µs", own));
}

async fn stored(ours: &Ours, load: Publishing) -> f64 {
    mean(&ours.stored(load.messages(), load.run(&ours.target())).await.0.latencies)
}

fn mean(latencies: &[u32]) -> f64 {
    latencies.iter().map(|&micros| f64::from(micros)).sum::<f64>() / latencies.len() as f64
}
