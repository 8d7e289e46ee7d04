//! What one tenant notices while another does its worst: the acknowledgements of a device that publishes steadily at QoS 1.

use std::time::Duration;

use pocket_tests::{AckProbe, AckTimes, Attacker, TwoTenants, Worst};

use super::Bench;
use crate::figure::Figure;
use crate::ours::launch;

/// The goals, in milliseconds.
const P99: &str = "100";
const MAX: &str = "500";

pub(crate) async fn all(bench: &mut Bench) {
    let tenants = TwoTenants::start(Worst::launch(launch())).await;
    let attacker = Attacker::prepare(&tenants).await;
    let (address, neighbour) = (tenants.platform.mqtt(), &tenants.b.device);
    let (alone, ()) = AckProbe::during(address, neighbour, tokio::time::sleep(bench.scale.hostile)).await;
    bench.table.add(figure("nobody does anything", &alone));
    let (mut p99, mut max) = ((Duration::ZERO, ""), (Duration::ZERO, ""));
    for worst in Worst::all() {
        let (times, ()) = AckProbe::during(address, neighbour, attacker.does(worst, bench.scale.hostile)).await;
        bench.table.add(figure(worst.name, &times));
        p99 = p99.max((times.p99(), worst.name));
        max = max.max((times.max(), worst.name));
    }
    let of_all = |what: &str, (time, name): (Duration, &str)| {
        Figure::new(format!("PUBACK of another tenant, {what} of all"), "ms", vec![milliseconds(time)]).note(name)
    };
    bench.table.add(of_all("p99", p99).goal(P99));
    bench.table.add(of_all("slowest", max).goal(MAX));
    let memory = tenants.platform.memory();
    let megabytes = Figure::new("memory after all that", "MB", vec![memory.now as f64 / 1e6]);
    bench.table.add(megabytes.note(format!("{:.0} MB at most", memory.peak as f64 / 1e6)));
}

fn figure(name: &str, times: &AckTimes) -> Figure {
    let figure = Figure::new(format!("PUBACK p99 of another tenant: {name}"), "ms", vec![milliseconds(times.p99())]);
    figure.goal(P99).note(format!("{:.1} ms at most (to reach {MAX}), of {}", milliseconds(times.max()), times.count()))
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
