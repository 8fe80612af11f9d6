//! The size of the two programs, stripped, as they are installed.

use std::fs;

use crate::options::Options;
use crate::table::{Amount, Goal, Row};

pub(super) fn measure(options: &Options) -> Vec<Row> {
    LIMITS.map(|(program, limit)| row(options, program, limit)).into()
}

fn row(options: &Options, program: &str, limit: u64) -> Row {
    let file = fs::metadata(options.programs.join(program)).expect("the programs are there");
    Row::new(format!("size of `{program}`"), Amount::Bytes(file.len())).goal(Goal::AtMost(Amount::Bytes(limit)))
}

/// In bytes.
const LIMITS: [(&str, u64); 2] = [("apptoken", 1_300_000), ("apptoken-agent", 7_000_000)];
