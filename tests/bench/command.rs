//! Running other programs.

use std::io;
use std::process::Command;

/// What came of running `command`; a panic that names it if it could not be run at all.
pub(crate) fn or_panic<T>(command: &Command, result: io::Result<T>) -> T {
    result.unwrap_or_else(|error| panic!("cannot run {}: {error}", command.get_program().display()))
}
