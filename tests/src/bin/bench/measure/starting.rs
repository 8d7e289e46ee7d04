//! From the start of the process until it is ready to store.

use std::time::Instant;

use super::{Bench, sustained};
use crate::figure::Figure;
use crate::ours::{Ours, launch};

pub(crate) async fn start(bench: &mut Bench) {
    let mut fresh = Vec::new();
    for _ in 0..bench.scale.runs {
        let began = Instant::now();
        let platform = launch().start().await;
        fresh.push(began.elapsed().as_secs_f64() * 1e3);
        drop(platform);
    }
    let figure = Figure::new("start to ready, nothing there", "ms", fresh).goal("200");
    bench.table.add(figure.note("makes schema, secrets and an administrator"));

    let (mut ours, rows) = match bench.filled.take() {
        Some(filled) => filled,
        None => (Ours::start(bench.scale.devices).await, 0),
    };
    let missing = bench.scale.rows.saturating_sub(rows);
    if missing > 0 {
        sustained::store(&ours, missing).await;
    }
    let mut again = Vec::new();
    for _ in 0..bench.scale.runs {
        assert!(ours.platform.stop().await.success(), "an orderly stop");
        let began = Instant::now();
        ours.platform.start_again().await;
        again.push(began.elapsed().as_secs_f64() * 1e3);
    }
    let name = format!("start to ready, {} rows", rows + missing);
    bench.table.add(Figure::new(name, "ms", again).goal("200"));
}
