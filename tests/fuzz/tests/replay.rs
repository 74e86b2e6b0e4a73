//! Replays the corpora of all targets, and a number of mutations of each file, on a stable toolchain.

use std::fs;
use std::path::Path;

use fuzz_targets::TARGETS;

/// Mutations of each corpus file: enough to find a careless index within seconds.
const MUTATIONS: usize = 400;

#[test]
fn every_target_accepts_its_corpus_and_mutations_of_it() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    for (name, target) in TARGETS {
        let files: Vec<_> =
            fs::read_dir(corpora.join(name)).expect(name).map(|file| file.expect("a file").path()).collect();
        assert!(!files.is_empty(), "fuzz/corpus/{name} is empty");
        for file in files {
            let seed = fs::read(&file).expect("a corpus file");
            target(&seed);
            let mut random = fastrand::Rng::with_seed(seed.len() as u64);
            for _ in 0..MUTATIONS {
                target(&mutated(&seed, &mut random));
            }
        }
    }
}

#[test]
fn every_target_has_a_fuzzer() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/fuzz_targets");
    for (name, _) in TARGETS {
        let text = fs::read_to_string(folder.join(format!("{name}.rs"))).expect(name);
        assert!(text.contains("fuzz_target!"), "{name}");
    }
}

fn mutated(seed: &[u8], random: &mut fastrand::Rng) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..random.usize(1..8) {
        let at = random.usize(0..=bytes.len());
        match random.u8(0..5) {
            0 if at < bytes.len() => bytes[at] = random.u8(..),
            1 if at < bytes.len() => bytes[at] ^= 1 << random.u8(0..8),
            2 => bytes.truncate(at),
            3 => {
                let (from, to) = (random.usize(0..=at), at);
                let copy = bytes[from..to].to_vec();
                bytes.splice(at..at, copy);
            }
            _ => bytes.insert(at, random.u8(..)),
        }
    }
    bytes
}
