//! CONNECT with id and token.

use super::Bench;
use crate::figure::Figure;
use crate::load::Connects;
use crate::ours::Ours;
use crate::peer::Peer;

/// Clients that wait for a CONNACK at a time.
const AT_ONCE: usize = 64;

pub(crate) async fn connects(bench: &mut Bench) {
    let load = Connects { connections: bench.scale.many, at_once: AT_ONCE };
    let mut ours = Ours::start(load.connections).await;
    let peer = Peer::start().await;
    let (mut cold, mut warm, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.scale.runs {
        // What a process knows of devices ends with it.
        assert!(ours.platform.stop().await.success(), "an orderly stop");
        ours.platform.start_again().await;
        for runs in [&mut cold, &mut warm] {
            let connected = load.run(&ours.target()).await.expect("the platform lets devices in");
            runs.push(connected.per_second);
            connected.close().expect("connections are open");
            ours.left_alone().await;
        }
        if let Some(peer) = &peer {
            theirs.push(load.run(&peer.target()).await.expect("Mosquitto lets all in").per_second);
        }
    }
    let name = |what: &str| format!("CONNECT, {} devices, {what}", load.connections);
    let note = "Mosquitto asks for no password";
    bench.table.add(Figure::new(name("each for the first time"), "/s", cold).goal("5 k"));
    bench.table.add(Figure::new(name("again"), "/s", warm).beside(theirs).goal("15 k").note(note));
}
