//! The measures, by their names.

mod alone;
mod connecting;
mod delivering;
mod hostile;
mod latest;
mod memory;
mod publishing;
mod reading;
mod starting;
mod sustained;

use crate::history;
use crate::ours::Ours;
use crate::scale::Scale;
use crate::table::Table;

/// In the order in which they are taken: `start` takes over the rows of `sustained`.
pub(crate) const ALL: [&str; 16] = [
    "qos1",
    "qos1-postgres",
    "qos1-many",
    "qos2",
    "fan-out",
    "pairs",
    "broker-only",
    "connects",
    "memory",
    "rest",
    "latest",
    "alone",
    "history",
    "hostile",
    "sustained",
    "start",
];

/// What measures share.
pub(crate) struct Bench {
    pub(crate) scale: Scale,
    pub(crate) table: Table,
    /// A platform with so many rows, for who needs many.
    filled: Option<(Ours, usize)>,
}

impl Bench {
    pub(crate) fn new(scale: Scale, table: Table) -> Self {
        Self { scale, table, filled: None }
    }
}

/// Takes a measure of [`ALL`].
///
/// # Panics
/// When it cannot be taken, or something was stored or answered wrongly; and with any other name.
pub(crate) async fn take(name: &str, bench: &mut Bench) {
    match name {
        "qos1" => publishing::qos1(bench).await,
        "qos1-postgres" => publishing::qos1_on_postgres(bench).await,
        "qos1-many" => publishing::qos1_of_many(bench).await,
        "qos2" => publishing::qos2(bench).await,
        "sustained" => sustained::qos0(bench).await,
        "start" => starting::start(bench).await,
        "fan-out" => delivering::fan_out(bench).await,
        "pairs" => delivering::pairs(bench).await,
        "broker-only" => delivering::broker_only(bench).await,
        "connects" => connecting::connects(bench).await,
        "memory" => memory::idle(bench).await,
        "rest" => reading::rest(bench).await,
        "latest" => latest::latest(bench).await,
        "alone" => alone::one_at_a_time(bench).await,
        "history" => history::all(bench).await,
        "hostile" => hostile::all(bench).await,
        _ => panic!("{name} is no measure"),
    }
}
