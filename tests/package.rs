//! What the Debian package is made of. `.ci/package` makes it, installs it and looks at what is there.

use std::fs;
use std::path::Path;

use crate::support::generated::committed;

#[test]
fn every_completion_manual_and_unit_is_in_the_package() {
    let manifest = committed("Cargo.toml");
    let mut shipped = 0;
    for directory in ["completions", "src/cli/man", "shell/systemd"] {
        for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(directory)).expect("it is there") {
            let name = entry.expect("it is readable").file_name().into_string().expect("its name is ASCII");
            assert!(manifest.contains(&format!("[\"{directory}/{name}\", \"usr/")), "{directory}/{name}");
            shipped += 1;
        }
    }
    assert_eq!(shipped, 10);
}

#[test]
fn its_changelog_begins_with_this_version() {
    let changelog = committed("shell/debian/changelog");
    let beginning = format!("apptoken ({}-1) ", env!("CARGO_PKG_VERSION"));
    assert!(changelog.starts_with(&beginning), "{changelog}");
}
