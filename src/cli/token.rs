//! `token`: prints an installation token, and nothing else.

use serde_json::Value;
use zeroize::Zeroizing;

use super::elsewhere::with_keys;
use super::error::CliError;
use super::remotes::repo_of_directory;
use super::scope::Scope;
use super::{gitconfig, json};
use crate::client::{Agent, CallError};
use crate::ids::{Host, Repo};
use crate::output::{is_stdout_closed, say};
use crate::protocol::Request;
use crate::secret::Secret;

/// Prints a token and a newline, or JSON.
pub(super) fn token(scope: &Scope, as_json: bool) -> Result<(), CliError> {
    if is_stdout_closed() {
        return Err(CliError::new("standard output is closed, so the token would be lost")
            .hint("to discard it on purpose, write `>/dev/null`"));
    }
    if as_json {
        return json::print(with_keys(scope.no_start, |agent| ask(agent, scope.clone()))?);
    }
    let text = Zeroizing::new(format!("{}\n", get(scope)?.token.expose()));
    super::print_data(text.as_bytes())
}

/// What a program needs to be given.
pub(super) struct Given {
    /// The token.
    pub(super) token: Secret<str>,
    /// The host it is for, and must not leave.
    pub(super) host: Host,
}

/// Gets a token from the agent.
pub(super) fn get(scope: &Scope) -> Result<Given, CliError> {
    let mut answer = with_keys(scope.no_start, |agent| ask(agent, scope.clone()))?;
    let host = answer["host"].as_str().and_then(|host| host.parse().ok());
    let is_there = of(&answer).is_ok();
    match (answer["token"].take(), host) {
        (Value::String(token), Some(host)) if is_there => Ok(Given { token: token.into(), host }),
        _ => Err(no_token()),
    }
}

/// The token in an answer. It becomes a line of git's, a variable, a word: what could end one of these is no token, whoever
/// answers.
pub(super) fn of(answer: &Value) -> Result<&str, CliError> {
    let token =
        answer["token"].as_str().filter(|token| !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic()));
    token.ok_or_else(no_token)
}

fn no_token() -> CliError {
    CliError::new("the agent's answer has no token")
        .hint("compare the versions that `apptoken --version` and `apptoken status` print")
}

/// Asks the agent for a token, and tells what it warns of. When the agent cannot choose among installations, the one for the
/// current directory is meant; git is looked at only then, so that the usual case starts no process.
pub(super) fn ask(agent: &mut Agent, mut scope: Scope) -> Result<Value, CallError> {
    let answer = match ask_once(agent, scope.clone()) {
        Err(CallError::Refused(refusal)) if refusal.code == "choose_installation" && !scope.chooses_installation() => {
            let Some(repo) = repo_here(agent, &scope)? else { return Err(CallError::Refused(refusal)) };
            scope.owner = Some(repo.owner);
            ask_once(agent, scope)?
        }
        answer => answer?,
    };
    if let Some(warning) = answer["warning"].as_str() {
        say(format_args!("apptoken: warning: {warning}"));
    }
    Ok(answer)
}

fn ask_once(agent: &mut Agent, scope: Scope) -> Result<Value, CallError> {
    agent.call(&Request::GetToken(scope.request()))
}

/// The repository that the current directory is a clone of, on a host of the keys that may be meant.
fn repo_here(agent: &mut Agent, scope: &Scope) -> Result<Option<Repo>, CallError> {
    if let Some(host) = &scope.host {
        return Ok(repo_of_directory(host));
    }
    Ok(gitconfig::chosen(agent, scope)?.iter().find_map(|site| repo_of_directory(&site.host)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_could_end_a_line_or_a_variable_is_no_token() {
        assert_eq!(of(&json!({"token": "ghs_a.b-c_d"})).ok(), Some("ghs_a.b-c_d"));
        for token in ["", "ghs_a\nhost=evil.example", "ghs_a\r", "ghs_a b", "ghs_\u{0}", "ghs_\u{e9}"] {
            assert!(of(&json!({ "token": token })).is_err(), "{token:?}");
        }
    }
}
