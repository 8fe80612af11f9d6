//! The bodies, for the targets: each of those is a program of its own.

mod bodies;

/// Runs one body; a promise that is broken is a panic.
pub fn run(target: &str, data: &[u8]) {
    let (_, body) = bodies::BODIES.iter().find(|(name, _)| *name == target).expect("every target has a body");
    body(data);
}
