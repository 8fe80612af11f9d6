//! `revoke`: ends tokens before their time.

use std::io::{self, Read};

use zeroize::Zeroizing;

use super::error::CliError;
use super::scope::Scope;
use crate::client::Agent;
use crate::output::say;
use crate::protocol::{Request, Revoke};
use crate::secret::Secret;

/// Revokes these tokens, or, when there are none, all that the scope's key was used for.
pub(super) fn revoke(scope: Scope, tokens: &[String]) -> Result<(), CliError> {
    let mut agent = Agent::find()?;
    let (app, host) = (scope.app, scope.host);
    let mut revoked = 0;
    let mut one = |token: Option<Secret<str>>| -> Result<(), CliError> {
        let which = Revoke { token, app: app.clone(), host: host.clone(), ..Revoke::default() };
        revoked += agent.call(&Request::Revoke(which))?["revoked"].as_u64().unwrap_or_default();
        Ok(())
    };
    if tokens.is_empty() {
        one(None)?;
    }
    for token in tokens {
        if token == "-" {
            read_tokens()?.split_whitespace().try_for_each(|token| one(Some(token.into())))?;
        } else {
            one(Some(token.as_str().into()))?;
        }
    }
    say(format_args!("Tokens revoked: {revoked}"));
    Ok(())
}

fn read_tokens() -> Result<Zeroizing<String>, CliError> {
    let mut text = Zeroizing::new(String::with_capacity(MAX_INPUT));
    let read = io::stdin().lock().take(MAX_INPUT as u64).read_to_string(&mut text);
    read.map_err(|error| CliError::new(format!("cannot read tokens from standard input: {error}")))?;
    Ok(text)
}

/// Bytes read from standard input: some hundred tokens.
const MAX_INPUT: usize = 256 * 1024;
