//! The history of a database against a plain list: random messages, late ones among them, while the log is sealed and chunks
//! are merged, while what is too old is removed, what is there is imported again, and while the process is gone from one moment to
//! the next, between any two statements. Questions are asked in between, and while others write (`beside.rs`).
//!
//! `POCKET_MODEL_SEED` runs one seed, `POCKET_MODEL_SEEDS` so many, from `POCKET_MODEL_FIRST` on.

mod beside;
mod questions;
mod transfer;
mod world;

use pocket_tests::PostgresDatabase;
use tokio::runtime::Runtime;

use world::{Size, World};

/// Steps of one seed.
const STEPS: usize = 60;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

fn seeds(default: u64) -> impl Iterator<Item = u64> {
    let first = number("POCKET_MODEL_FIRST").unwrap_or(1);
    let count = number("POCKET_MODEL_SEEDS").unwrap_or(default);
    let one = number("POCKET_MODEL_SEED");
    one.map_or(first..first + count, |seed| seed..seed + 1)
}

/// Random numbers of one run: `SplitMix64` of Steele, Lea and Flood.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::try_from(self.below(all.len() as u64)).unwrap()]
    }
}

impl World {
    fn step(&mut self) {
        match self.random.below(21) {
            0..5 => self.append(),
            5..8 => self.query(),
            8 => self.aggregate(),
            9 => self.latest(),
            10 => self.crash(),
            11 => self.usage(),
            12 => self.prune(),
            13..15 => self.import(),
            15..17 => self.walk(),
            17..19 => self.write_beside_questions(),
            19 => self.prune_beside_questions(),
            _ if self.random.below(8) == 0 => self.replace_device(),
            _ => self.query(),
        }
    }
}

#[allow(clippy::print_stdout, reason = "a failure names its seed")]
fn run(seed: u64, url: &str, size: Size) {
    println!("seed {seed}");
    let mut world = World::start(url, seed, size);
    for _ in 0..STEPS {
        world.step();
        world.latest();
    }
    world.walk();
    world.end();
}

fn run_in_sqlite(seeds: impl Iterator<Item = u64>, size: Size) {
    for seed in seeds {
        let directory = tempfile::tempdir().unwrap();
        run(seed, &format!("sqlite://{}?mode=rwc", directory.path().join("pocket.db").display()), size);
    }
}

fn run_in_postgresql(seeds: impl Iterator<Item = u64>, size: Size) {
    let runtime = Runtime::new().unwrap();
    for seed in seeds {
        let database = runtime.block_on(PostgresDatabase::create());
        run(seed, &database.url(), size);
        let _in_runtime = runtime.enter();
        drop(database);
    }
}

#[test]
fn a_history_in_sqlite_is_what_was_written() {
    run_in_sqlite(seeds(40), Size::SMALL);
}

#[test]
fn a_history_in_postgresql_is_what_was_written() {
    run_in_postgresql(seeds(12), Size::SMALL);
}

#[test]
fn a_large_history_in_sqlite_is_what_was_written() {
    run_in_sqlite(seeds(2), Size::LARGE);
}

#[test]
fn a_large_history_in_postgresql_is_what_was_written() {
    run_in_postgresql(seeds(1), Size::LARGE);
}
