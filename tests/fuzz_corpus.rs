//! What strangers send is held against the same promises as by the fuzzer, as far as its corpus goes: `tests/fuzz/`.

#[path = "fuzz/bodies/mod.rs"]
mod bodies;

use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use bodies::BODIES;

#[test]
fn no_input_that_the_fuzzer_is_given_to_begin_with_breaks_a_promise() {
    let mut broken = Vec::new();
    for (target, body) in BODIES {
        for input in inputs(target) {
            let data = fs::read(&input).expect("the corpus is readable");
            // All of them are told of, and not the first alone.
            if catch_unwind(|| body(&data)).is_err() {
                broken.push(input);
            }
        }
    }
    assert!(broken.is_empty(), "{broken:?}");
}

#[test]
fn every_fuzz_target_has_a_body_and_a_corpus() {
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).expect("the manifest is readable");
    let targets: Vec<_> = manifest.lines().filter_map(|line| line.strip_prefix("path = \"targets/")).collect();
    let expected: Vec<_> = BODIES.iter().map(|(target, _)| format!("{target}.rs\"")).collect();
    assert_eq!(targets, expected);
    for (target, _) in BODIES {
        let program = fs::read_to_string(fuzz().join(format!("targets/{target}.rs"))).expect("the target is there");
        assert!(program.contains(&format!("run(\"{target}\", data)")), "{target} runs another body");
        assert!(inputs(target).len() >= 5, "{target} begins with nothing");
    }
}

#[test]
fn the_corpus_stays_small() {
    let size = |input: &PathBuf| fs::metadata(input).expect("the corpus is readable").len();
    let all: u64 = BODIES.iter().flat_map(|(target, _)| inputs(target)).map(|input| size(&input)).sum();
    assert!(all <= MAX_CORPUS, "{all} bytes; what the fuzzer makes of it belongs into target/");
}

fn inputs(target: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(fuzz().join("corpus").join(target)).expect("every target has a corpus");
    let mut inputs: Vec<_> = entries.map(|entry| entry.expect("the corpus is readable").path()).collect();
    inputs.sort();
    inputs
}

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz")
}

/// Bytes in all that are kept with the source.
const MAX_CORPUS: u64 = 300 * 1024;
