//! `status`, `whoami` and `installations`: what the agent holds, who the App is, and where it is installed.

use std::fmt::Write;

use serde_json::Value;

use super::error::CliError;
use super::json::{self, list, span, word};
use super::scope::Scope;
use crate::client::Agent;
use crate::protocol::{KeyChoice, Request};

/// Shows the agent, its keys and its cached tokens; never a secret.
pub(super) fn status(as_json: bool) -> Result<(), CliError> {
    let status = Agent::find()?.call(&Request::Status)?;
    if as_json { json::print(status) } else { super::print_data(as_text(&status).as_bytes()) }
}

/// Shows who the App is when it commits.
pub(super) fn whoami(scope: Scope, as_json: bool) -> Result<(), CliError> {
    let bot = ask_who(scope)?;
    if as_json {
        return json::print(bot);
    }
    let (name, email, id) = (word(&bot, "name"), word(&bot, "email"), word(&bot, "id"));
    let (app, host) = (word(&bot, "appId"), word(&bot, "host"));
    super::print_data(format!("{name} <{email}> (user {id}, App {app} on {host})\n").as_bytes())
}

/// Asks the agent who the App is.
pub(super) fn ask_who(scope: Scope) -> Result<Value, CliError> {
    let choice = KeyChoice { app: scope.app, host: scope.host, ..KeyChoice::default() };
    Ok(Agent::find()?.call(&Request::Whoami(choice))?)
}

/// Lists where the App is installed.
pub(super) fn installations(scope: Scope, as_json: bool) -> Result<(), CliError> {
    let choice = KeyChoice { app: scope.app, host: scope.host, ..KeyChoice::default() };
    let mut answer = Agent::find()?.call(&Request::Installations(choice))?;
    if as_json {
        return json::print(answer["installations"].take());
    }
    super::print_data(list(&answer, "installations").iter().map(line).collect::<String>().as_bytes())
}

fn line(one: &Value) -> String {
    let suspended = if one["suspended"] == true { ", suspended" } else { "" };
    let (id, account, kind) = (word(one, "id"), word(one, "account"), word(one, "accountType"));
    format!("{id} {account} ({kind}, {} repositories{suspended})\n", word(one, "repositorySelection"))
}

fn as_text(status: &Value) -> String {
    let mut text = String::new();
    let locked = if status["locked"] == true { ", locked" } else { "" };
    let (version, protocol, pid) = (word(status, "version"), word(status, "protocol"), word(status, "pid"));
    let up = span(status, "uptime").unwrap_or_default();
    let _ = writeln!(text, "agent {version}, protocol {protocol}, pid {pid}, up {up}{locked}");
    for key in list(status, "keys") {
        let left = span(key, "lifetime").map(|left| format!(", {left} left")).unwrap_or_default();
        let (name, app, host) = (word(key, "name"), word(key, "appId"), word(key, "host"));
        let _ = writeln!(text, "key {name} (App {app} on {host}{left})");
    }
    for token in list(status, "tokens") {
        let only: Vec<&str> = list(token, "repositories").iter().filter_map(Value::as_str).collect();
        let only = if only.is_empty() { String::new() } else { format!(", only {}", only.join(", ")) };
        let (account, key, until) = (word(token, "account"), word(token, "key"), word(token, "expiresAt"));
        let age = span(token, "age").unwrap_or_default();
        let _ = writeln!(text, "token for {account} by {key}, {age} old, until {until}{only}");
    }
    text
}
