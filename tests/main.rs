//! The integration tests: one file a promise, all in one binary, so that they link once.

mod abuse;
mod agent_output;
mod answers;
mod at_rest;
mod attacks;
mod audit;
mod checking;
mod choosing;
mod command_mode;
mod completions;
mod confirm;
mod credential;
mod daemon;
mod day;
mod doctor;
mod encrypted_keys;
mod forwarding;
mod fuzz_corpus;
mod gh;
mod git;
mod github_failures;
mod hardening;
mod identity;
mod idle;
mod init;
mod isolation;
mod job_control;
mod key_files;
mod keys;
mod layering;
mod lifetimes;
mod lock;
mod manual;
mod memory;
mod model;
mod package;
mod protocol;
mod proxy;
mod quoting;
mod readme;
mod redirects;
mod refusals;
mod reuse;
mod revoke;
mod run_command;
mod sealed;
mod secrecy;
mod setup_git;
mod shell;
mod shell_functions;
mod simulator;
mod stampede;
mod store;
mod stored;
mod support;
mod systemd;
mod tls;
mod tokens;
mod waiting;

use std::fs;
use std::path::Path;

#[test]
fn every_file_of_tests_is_part_of_this_binary() {
    let listed = include_str!("main.rs");
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")).expect("tests/ is readable") {
        let path = entry.expect("tests/ is readable").path();
        let name = path.file_stem().expect("a file has a name").to_string_lossy();
        if path.extension().is_some_and(|extension| extension == "rs") && name != "main" {
            assert!(listed.contains(&format!("\nmod {name};\n")), "tests/main.rs does not say `mod {name};`");
        }
    }
}
