//! Whole processes, as a script pays for them: from the start of a program to its end.

use std::process::{Command, Stdio};
use std::time::Duration;

use crate::command::or_panic;
use crate::options::Options;
use crate::stage::Stage;
use crate::table::{Amount, Goal, Row};
use crate::turns::{take_turns, timed};

pub(super) fn measure(options: &Options) -> Vec<Row> {
    let stage = Stage::plain(options);
    let (apptoken, ssh_agent) = (stage.apptoken(), stage.ssh_agent());

    let (mut token, mut list) = (stage.client(&apptoken), stage.ssh_add(&ssh_agent));
    token.arg("token");
    list.arg("-l");
    let (mut run, bare) = (stage.client(&apptoken), stage.command("true"));
    run.args(["run", "--", "true"]);
    let commands = [token, list, run, bare];
    let [token, list, run, bare] = take_turns(options.rounds(ROUNDS), 1, commands, whole_life);

    let beyond = Amount::Time(run.median().saturating_sub(bare.median()));
    let mut rows = Vec::from(Row::of_samples("`apptoken token`", &token, ("`ssh-add -l`", &list), Some(TOKEN_GOAL)));
    rows.push(Row::new("`apptoken run -- true` beyond `true`, median", beyond).goal(RUN_GOAL));
    rows
}

fn whole_life(command: &mut Command) -> Duration {
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let (took, status) = timed(|| command.status());
    let status = or_panic(command, status);
    assert!(status.success(), "{command:?} ended with {status}");
    took
}

const ROUNDS: usize = 500;
const TOKEN_GOAL: Goal = Goal::TimesAtMost(0.4);
const RUN_GOAL: Goal = Goal::AtMost(Amount::Time(Duration::from_millis(1)));
