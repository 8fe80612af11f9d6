//! What the linker is asked for beyond the usual: a start of either program is for the most part the dynamic loader's work.
//!
//! Only where it was tried, and only what this machine's C library and compiler have; elsewhere the programs are linked as ever.

use std::env;
use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=src/build.rs");
    let is = |variable: &str, value: &str| env::var(variable).is_ok_and(|is| is == value);
    if !is("TARGET", TRIED) || !is("HOST", TRIED) {
        return;
    }
    if has_unwinder() {
        // From the archive, not from libgcc_s.so: one library less to find, map and bind at each start.
        println!("cargo::rustc-link-lib=static:-bundle=gcc_eh");
    }
    if glibc().is_some_and(|version| version >= PACKED_SINCE) {
        // Thousands of addresses to correct at each start, in bits instead of 24 bytes each.
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// Whether the compiler that links has the unwinder as an archive.
fn has_unwinder() -> bool {
    let linker = env::var("RUSTC_LINKER").unwrap_or_else(|_| "cc".to_owned());
    // What it does not have, it prints as it was asked.
    said_by(&linker, "-print-file-name=libgcc_eh.a").is_some_and(|path| Path::new(&path).is_absolute())
}

/// The version of the C library, such as 2.36.
fn glibc() -> Option<(u32, u32)> {
    let said = said_by("getconf", "GNU_LIBC_VERSION")?;
    let (major, minor) = said.strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.split('.').next()?.parse().ok()?))
}

fn said_by(program: &str, argument: &str) -> Option<String> {
    let output = Command::new(program).arg(argument).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

const TRIED: &str = "x86_64-unknown-linux-gnu";
/// The first glibc whose loader reads packed relocations.
const PACKED_SINCE: (u32, u32) = (2, 36);
