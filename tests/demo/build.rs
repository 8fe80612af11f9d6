//! Building the two programs: cargo builds none of them for an example.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use crate::step::Failure;

/// Builds both programs with the profile that this one was built with, and returns the directory that they are in.
pub(crate) fn programs() -> Result<PathBuf, Failure> {
    let demo = env::current_exe().map_err(|error| Failure::new(format!("where is this program? {error}")))?;
    // TARGET/PROFILE/examples/demo
    let [_, _, directory, target] = demo.ancestors().take(4).collect::<Vec<_>>()[..] else {
        return Err(Failure::new(format!("{} is not where cargo builds examples", demo.display())));
    };
    // The one profile that is not built in a directory of its name.
    let profile = directory.file_name().filter(|name| *name != "debug").unwrap_or("dev".as_ref());

    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
    // With the example among what is built, the programs share with it what is compiled already.
    cargo.args(["build", "--quiet", "--bins", "--example", "demo"]);
    cargo.args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")]);
    cargo.arg("--target-dir").arg(target).arg("--profile").arg(profile);
    let built = cargo.status().map_err(|error| Failure::new(format!("cannot run cargo: {error}")))?;
    if built.success() { Ok(directory.to_owned()) } else { Err(Failure::new("the programs could not be built")) }
}
