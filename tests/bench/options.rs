//! The command line; the doc comments are its help.

use std::path::{Path, PathBuf};

use clap::Parser;

/// Measure apptoken beside ssh-agent and print a table
#[derive(Parser)]
pub(crate) struct Options {
    /// Measure fewer rounds
    #[arg(long)]
    pub(crate) quick: bool,

    /// Measure only rows of this kind: requests, load, programs, start, memory, crowd, hostile, size; may be given several times
    #[arg(long = "row", value_name = "KIND")]
    rows: Vec<String>,

    /// Measure the two programs in this directory instead of those just built
    #[arg(long, value_name = "DIR", default_value = env!("CARGO_BIN_EXE_apptoken"), value_parser = directory_of)]
    pub(crate) programs: PathBuf,

    /// Be the echo server, at this socket
    #[arg(long, value_name = "SOCKET", hide = true)]
    pub(crate) echo: Option<PathBuf>,

    /// Send a message over so many connections to the agent at this socket
    #[arg(long, num_args = 3, value_names = ["SOCKET", "COUNT", "MESSAGE"], hide = true)]
    pub(crate) requests: Option<Vec<String>>,

    /// What cargo says to every bench
    #[arg(long = "bench", hide = true)]
    _bench: bool,
}

impl Options {
    /// Whether rows of this kind are wanted.
    pub(crate) fn wants(&self, kind: &str) -> bool {
        self.rows.is_empty() || self.rows.iter().any(|row| row == kind)
    }

    /// How many rounds to measure where `usual` are the rule.
    pub(crate) fn rounds(&self, usual: usize) -> usize {
        if self.quick { usual / QUICKER } else { usual }
    }
}

/// A directory; for a program, the one that it is in.
fn directory_of(path: &str) -> Result<PathBuf, &'static str> {
    let path = Path::new(path);
    let directory = if path.is_dir() { Some(path) } else { path.parent() };
    directory.map(Path::to_owned).ok_or("there is no such directory")
}

/// What `--quick` divides the number of rounds by.
const QUICKER: usize = 10;
