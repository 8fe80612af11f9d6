//! One honest request while other processes flood the agent with theirs.

use std::time::Duration;

use crate::options::Options;
use crate::process::allow_open_files;
use crate::requesters::{NUMBER, Requesters};
use crate::server::Server;
use crate::stage::Stage;
use crate::table::{Amount, Goal, Row};
use crate::turns::timed;

pub(super) fn measure(options: &Options) -> Vec<Row> {
    allow_open_files();
    let stage = Stage::plain(options);
    let agent = stage.apptoken();
    // GitHub must be slow enough for the other requests to be under way when the honest one arrives.
    stage.github.delay(API_DELAY);
    prepare(&agent);

    let rounds = options.rounds(ROUNDS).max(1);
    let slowest = |measure: &dyn Fn() -> Duration| {
        Amount::Time((0..rounds).map(|_| measure()).max().expect("there is at least one round"))
    };
    let unlock = |processes| slowest(&|| unlock_behind(&stage, &agent, processes));
    let one = unlock(1);
    let many = unlock(WRONG);
    let cached = slowest(&|| token_behind(&stage, &agent, TOKEN));
    let minted = slowest(&|| token_behind(&stage, &agent, NARROWED));

    let note = format!("the slowest of {rounds} rounds, as in the rows below; a refusal counts as an hour");
    let behind = format!("behind {REQUESTS} requests of another process");
    vec![
        Row::new(format!("a correct unlock behind {WRONG} wrong ones of one process"), one)
            .goal(UNLOCK_GOAL)
            .note(note),
        Row::new(format!("a correct unlock behind {WRONG} wrong ones of {WRONG} processes"), many).goal(UNLOCK_GOAL),
        Row::new(format!("a cached token {behind}"), cached).goal(TOKEN_GOAL),
        Row::new(format!("a new token {behind}"), minted)
            .goal(NEW_TOKEN_GOAL)
            .note(format!("{REQUESTS} lookups of {API_DELAY:?} each, five at a time, take forty seconds and more")),
    ]
}

/// How long a correct unlock takes after `processes` other ones together have sent [`WRONG`] wrong passphrases.
fn unlock_behind(stage: &Stage, agent: &Server, processes: usize) -> Duration {
    assert!(ask(agent, LOCK).is_some(), "the agent cannot be locked");
    let mut others = requesters(stage, agent, processes, WRONG / processes, WRONG_UNLOCK);
    others.send();
    let took = ask(agent, UNLOCK).unwrap_or(REFUSED);
    drop(others);
    prepare(agent);
    took
}

/// How long a token takes while another process waits for the installations of [`REQUESTS`] accounts.
fn token_behind(stage: &Stage, agent: &Server, request: &str) -> Duration {
    let message = format!(r#"{{"action":"getToken","owner":"account-{NUMBER}"}}"#);
    let mut others = requesters(stage, agent, 1, REQUESTS, &message);
    others.send();
    let took = ask(agent, request).unwrap_or(REFUSED);
    drop(others);
    prepare(agent);
    took
}

/// Gets the agent ready for a round: it is unlocked, and has the usual token and no other.
fn prepare(agent: &Server) {
    // Whether it is locked already depends on what was measured.
    let _ = ask(agent, LOCK);
    for request in [UNLOCK, TOKEN] {
        assert!(ask(agent, request).is_some(), "the agent refuses {request}");
    }
}

fn requesters(stage: &Stage, agent: &Server, processes: usize, connections: usize, message: &str) -> Requesters {
    Requesters::start(processes, || {
        let mut command = stage.this_program();
        command.arg("--requests").arg(agent.socket()).arg(connections.to_string()).arg(message);
        command
    })
}

/// Sends one request on a new connection, and returns how long it took, or nothing when it was refused.
fn ask(agent: &Server, request: &str) -> Option<Duration> {
    let (took, answer) = timed(|| {
        let mut conversation = agent.connect();
        conversation.send(request.as_bytes());
        conversation.receive().to_vec()
    });
    answer.starts_with(br#"{"ok":true"#).then_some(took)
}

const TOKEN: &str = r#"{"action":"getToken"}"#;
const NARROWED: &str = r#"{"action":"getToken","permissions":{"metadata":"read"}}"#;
const LOCK: &str = r#"{"action":"lock","passphrase":"correct"}"#;
const UNLOCK: &str = r#"{"action":"unlock","passphrase":"correct"}"#;
const WRONG_UNLOCK: &str = r#"{"action":"unlock","passphrase":"wrong"}"#;

/// A round with 200 processes takes a second or more to set up.
const ROUNDS: usize = 10;
/// Wrong passphrases at the same time.
const WRONG: usize = 200;
/// Requests that wait for GitHub at the same time.
const REQUESTS: usize = 1_000;
/// How long GitHub takes for each answer.
const API_DELAY: Duration = Duration::from_millis(200);
const UNLOCK_GOAL: Goal = Goal::AtMost(Amount::Time(Duration::from_secs(2)));
/// Longer than any request takes.
const REFUSED: Duration = Duration::from_hours(1);
const TOKEN_GOAL: Goal = Goal::AtMost(Amount::Time(Duration::from_millis(50)));
/// The agent tries for 25 s, and then the request times out.
const NEW_TOKEN_GOAL: Goal = Goal::AtMost(Amount::Time(Duration::from_secs(25)));
