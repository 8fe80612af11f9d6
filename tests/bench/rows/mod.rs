//! What is measured: a file for each kind of row.

mod crowd;
mod hostile;
mod load;
mod memory;
mod programs;
mod requests;
mod size;
mod start;

use super::options::Options;
use super::table::Row;

/// Measures the rows of one kind.
type Measure = fn(&Options) -> Vec<Row>;

/// Every kind by its name, in the order of the table.
pub(crate) const KINDS: [(&str, Measure); 8] = [
    ("requests", requests::measure),
    ("load", load::measure),
    ("programs", programs::measure),
    ("start", start::measure),
    ("memory", memory::measure),
    ("crowd", crowd::measure),
    ("hostile", hostile::measure),
    ("size", size::measure),
];
