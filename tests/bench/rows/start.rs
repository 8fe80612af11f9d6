//! Starting an agent, as every login pays for it: until the shell has the lines to eval.

use std::process::{Command, Stdio};
use std::time::Duration;

use crate::command::or_panic;
use crate::daemon::Daemon;
use crate::options::Options;
use crate::stage::Stage;
use crate::table::{Goal, Row};
use crate::turns::{take_turns, timed};

pub(super) fn measure(options: &Options) -> Vec<Row> {
    let stage = Stage::plain(options);
    let (mut ours, mut theirs) = (stage.command(stage.program("apptoken-agent")), stage.command("ssh-agent"));
    ours.args(["-s", "--new"]);
    theirs.arg("-s");
    let [ours, theirs] = take_turns(options.rounds(ROUNDS), 1, [ours, theirs], until_the_lines_are_out);
    Row::of_samples("`apptoken-agent`, until its lines are out", &ours, ("`ssh-agent`", &theirs), Some(GOAL)).into()
}

/// The agent is ended, and its end awaited, only after the clock has stopped.
fn until_the_lines_are_out(command: &mut Command) -> Duration {
    command.stdin(Stdio::null()).stderr(Stdio::null());
    let (took, output) = timed(|| command.output());
    drop(Daemon::from_lines(&or_panic(command, output).stdout));
    took
}

const ROUNDS: usize = 200;
const GOAL: Goal = Goal::TimesAtMost(0.5);
