//! The corpus of the fuzz target `topics`, and variations of it, without a fuzzer.

use std::path::Path;

use crate::seed::{self, Random};
use crate::topics;

/// What is put in place of something, besides single bytes: what filters are made of.
const PARTS: [&str; 12] = ["/", "+", "#", "$", "$share/", "$share/g/", "\n", "\0", "a", "%d", "%c", "é"];

fn corpus() -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/topics");
    let mut paths: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

fn varied(mut data: Vec<u8>, random: &mut Random) -> Vec<u8> {
    for _ in 0..random.below(6) {
        let place = random.below(data.len() + 1);
        let end = (place + random.below(4)).min(data.len());
        match random.below(4) {
            0 => drop(data.drain(place..end)),
            1 => {
                let again = data[place..end].to_vec();
                data.splice(place..place, again);
            }
            2 => drop(data.splice(place..end, random.one_of(&PARTS).bytes())),
            _ => drop(data.splice(place..place, random.one_of(&PARTS).bytes())),
        }
    }
    data
}

#[test]
fn topics_are_what_the_specification_says_on_the_corpus() {
    corpus().iter().for_each(|data| topics::check(data));
}

#[test]
fn topics_are_what_the_specification_says_near_the_corpus() {
    let corpus = corpus();
    seed::run("corpus::topics_are_what_the_specification_says_near_the_corpus", 200, |random, trace| {
        for _ in 0..50 {
            let data = varied(random.one_of(&corpus).clone(), random);
            trace.step(|| format!("{:?}", String::from_utf8_lossy(&data)));
            topics::check(&data);
        }
    });
}
