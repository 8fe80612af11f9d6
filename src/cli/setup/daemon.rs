//! `daemon`: the agent started and given the stored keys, stopped, told of.

use std::process::{Command, Stdio};

use super::load::{Loaded, load};
use crate::cli::args::Words;
use crate::cli::elsewhere::{agent_program, no_program};
use crate::cli::error::{CliError, Exit};
use crate::cli::json::{list, word};
use crate::cli::keys::Terms;
use crate::cli::print_data;
use crate::client::{Agent, CallError};
use crate::output::say;
use crate::protocol::Request;
use crate::{env, paths};

/// Does what the command line says.
pub(super) fn daemon(words: &Words) -> Result<(), CliError> {
    match &*words.value("action").unwrap_or_default() {
        "start" => start(words),
        "stop" => stop(),
        "status" => status(),
        _ => Err(CliError::new("there is no such action").hint("it is start, stop or status").exit(Exit::Usage)),
    }
}

fn start(words: &Words) -> Result<(), CliError> {
    let terms = Terms::read(words)?;
    let mut agent = find_or_start()?.trusted()?;
    tell(&mut agent)?;
    if load_missing(&mut agent, &terms)?.failed { Err(CliError::told()) } else { Ok(()) }
}

/// Ends the agent as `-k` does, which knows it for one of ours before anything is done.
fn stop() -> Result<(), CliError> {
    let mut agent = Agent::find()?;
    let pong = agent.call(&Request::Ping)?;
    let mut end = Command::new(agent_program());
    end.arg("-k").env(env::AUTH_SOCK, agent.socket()).stdin(Stdio::null()).stdout(Stdio::null());
    drop(agent);
    if !end.status().map_err(|error| no_program(&error))?.success() {
        return Err(CliError::told());
    }
    say(format_args!("Agent pid {} ended.", word(&pong, "pid")));
    Ok(())
}

fn status() -> Result<(), CliError> {
    let status = Agent::find()?.call(&Request::Status)?;
    let state = if status["locked"] == true { "locked".to_owned() } else { count(list(&status, "keys").len()) };
    print_data(format!("Agent pid {}, {state}\n", word(&status, "pid")).as_bytes())
}

fn find_or_start() -> Result<Agent, CliError> {
    match Agent::find() {
        Err(CallError::NoAgent(_)) => {}
        found => return Ok(found?),
    }
    // What it prints is for shells; who comes later finds it by its record, and without one nobody would.
    paths::make_record_directory().and_then(|directory| paths::open_start_lock(&directory)).map_err(|error| {
        CliError::new(format!("no command would find the agent: it cannot be written down: {error}"))
            .hint("see who may write in the runtime directory, or start it with: eval \"$(apptoken-agent)\"")
    })?;
    let started = Command::new(agent_program()).arg("-s").stdin(Stdio::null()).stdout(Stdio::null()).status();
    if !started.map_err(|error| no_program(&error))?.success() {
        return Err(CliError::told().exit(Exit::NoAgent));
    }
    Ok(Agent::find()?)
}

/// Loads the stored keys that are not held.
fn load_missing(agent: &mut Agent, terms: &Terms) -> Result<Loaded, CliError> {
    let answer = agent.call(&Request::ListKeys)?;
    let is_held = |field: &str, value: String| list(&answer, "keys").iter().any(|key| word(key, field) == value);
    load(agent, terms, |name, config| {
        let mut remembered = config.keys.iter().filter(|key| key.name == *name);
        is_held("name", name.to_string()) || remembered.any(|key| is_held("fingerprint", key.fingerprint.to_string()))
    })
}

fn tell(agent: &mut Agent) -> Result<(), CliError> {
    let pong = agent.call(&Request::Ping)?;
    say(format_args!("Agent pid {}", word(&pong, "pid")));
    Ok(())
}

fn count(keys: usize) -> String {
    match keys {
        0 => "no keys".to_owned(),
        1 => "1 key".to_owned(),
        _ => format!("{keys} keys"),
    }
}
