//! The budget, measured: what apptoken costs, beside what the ssh-agent of the same machine costs, in one run.
//!
//! `cargo bench` prints one table. Nothing is judged: a row that misses what it is to reach says so, and the exit status
//! is 0 all the same. The contenders of a row take turns, so that whatever else the machine does hits them alike.
//!
//! - `rows`: what is measured, a file for each kind
//! - `stage`: where it is measured: a home, a GitHub, and the servers that are compared
//! - `requesters`: other processes that keep our agent busy
//! - `conversation`: one client for all of them
//! - `turns`: who is measured when, and what is made of it
//! - `table`: the page that is printed
#![expect(clippy::print_stdout, reason = "the table is what this program is for")]

mod affinity;
mod command;
mod conversation;
mod daemon;
mod echo;
mod options;
mod process;
mod requesters;
mod rows;
mod server;
mod stage;
mod table;
mod turns;

#[path = "../support/github/mod.rs"]
mod github;
#[path = "../support/listener.rs"]
mod listener;
#[expect(dead_code, reason = "the tests use more of it")]
#[path = "../support/tls.rs"]
mod tls;
#[path = "../support/wait.rs"]
mod wait;

use std::{fs, thread};

use clap::Parser as _;

use options::Options;
use table::Table;

fn main() {
    let options = Options::parse();
    if let Some(socket) = &options.echo {
        return echo::serve(socket);
    }
    if let Some([socket, count, message]) = options.requests.as_deref() {
        return requesters::run(socket.as_ref(), count.parse().expect("a number"), message);
    }
    let wanted = rows::KINDS.iter().filter(|(name, _)| options.wants(name));
    let table: Table = wanted.flat_map(|(_, measure)| measure(&options)).collect();
    println!("{}\n\n{table}", circumstances(&options));
}

/// What one should know before one believes the figures.
fn circumstances(options: &Options) -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let haste = if options.quick { "fewer rounds than usual; " } else { "" };
    format!("{haste}load average {load} on {cores} cores, this bench included: above {cores}, believe ratios only")
}
