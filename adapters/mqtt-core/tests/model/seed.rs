//! Seeds, the random numbers that come from them, and what is shown when a seed fails.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// One seed to run, with its steps shown.
const ONE: &str = "POCKET_MODEL_SEED";
/// How many seeds to run.
const COUNT: &str = "POCKET_MODEL_SEEDS";
/// The first of them.
const FIRST: &str = "POCKET_MODEL_FIRST";

/// Random numbers of one run: `SplitMix64` of Steele, Lea and Flood.
pub(crate) struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    /// True once in so many times.
    pub(crate) fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// One of several.
    pub(crate) fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

/// What a run writes down of its steps: shown when one seed is run, and compared between runs of the same seed.
pub(crate) struct Trace {
    digest: DefaultHasher,
    is_shown: bool,
}

impl Trace {
    /// Notes a step.
    pub(crate) fn step(&mut self, step: impl FnOnce() -> String) {
        let step = step();
        step.hash(&mut self.digest);
        if self.is_shown {
            println!("{step}");
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is {text:?}; it must be a number")))
}

fn run_one(seed: u64, is_shown: bool, run: impl Fn(&mut Random, &mut Trace)) -> u64 {
    let mut trace = Trace { digest: DefaultHasher::new(), is_shown };
    run(&mut Random::new(seed), &mut trace);
    trace.digest.finish()
}

/// Runs the seeds that the environment asks for, or `count` of them. A seed that fails is shown with the command that
/// repeats it.
pub(crate) fn run(test: &str, count: u64, run: impl Fn(&mut Random, &mut Trace)) {
    if let Some(seed) = number(ONE) {
        run_one(seed, true, run);
        return;
    }
    let first = number(FIRST).unwrap_or(1);
    for seed in first..first.saturating_add(number(COUNT).unwrap_or(count)) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run_one(seed, false, &run))) {
            eprintln!(
                "seed {seed} fails; it is repeated, step by step, by\n  {ONE}={seed} cargo test -p pocket-mqtt-core \
                 --test model {test} -- --exact --nocapture"
            );
            resume_unwind(panic);
        }
    }
}

/// Runs a few seeds twice: each must take the same steps both times.
pub(crate) fn run_twice(run: impl Fn(&mut Random, &mut Trace)) {
    for seed in 1..=10 {
        assert_eq!(run_one(seed, false, &run), run_one(seed, false, &run), "seed {seed}");
    }
    assert_ne!(run_one(1, false, &run), run_one(2, false, &run), "two seeds took the same steps");
}
