//! `add`, `list` and `remove`: the keys in the agent.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde_json::Value;
use zeroize::Zeroizing;

use super::args::Words;
use super::error::{CliError, Exit};
use super::json::{self, list as list_of, span, word};
use super::prompt;
use super::scope::{either, parse, parse_lifetime};
use crate::client::{Agent, CallError};
use crate::env;
use crate::ids::{AppId, Host};

use crate::output::say;
use crate::pem::{self, KeyError, MAX_KEY};
use crate::protocol::{NewKey, RemoveAllKeys, RemoveKey, Request};
use crate::secret::Secret;

/// Loads each file into the agent.
pub(super) fn add(files: &[OsString], words: &Words) -> Result<(), CliError> {
    let named = |flag: &'static str, option: Option<String>| option.map(|text| (flag, text));
    let app_id: Option<AppId> = either(words.value("app-id"), "--app-id", env::APP_ID)?.map(parse).transpose()?;
    let host: Option<Host> = either(words.value("host"), "--host", env::HOST)?.map(parse).transpose()?;
    let api_url = either(words.value("api-url"), "--api-url", env::API_URL)?.map(|(_, url)| url);
    let installation_id = named("--installation-id", words.value("installation-id")).map(parse).transpose()?;
    let lifetime = named("-t", words.value("life")).map(parse_lifetime).transpose()?;
    if files.iter().filter(|file| is_stdin(file)).count() > 1 {
        return Err(CliError::new("standard input was given twice").exit(Exit::Usage));
    }
    let mut agent = Agent::find()?;
    for file in files {
        let shown = if is_stdin(file) { "standard input".into() } else { file.display().to_string() };
        let key = read_key(file).map_err(|error| error.about(&shown))?;
        let app_id = match &app_id {
            Some(app_id) => app_id.clone(),
            None => ask_app_id(&shown)?,
        };
        let request = NewKey {
            name: words.value("name"),
            host: host.clone(),
            api_url: api_url.clone(),
            installation_id,
            lifetime: lifetime.map(|life| life.as_secs()),
            confirm: words.flag("confirm"),
            offline: words.flag("offline"),
            ..NewKey::new(key, app_id)
        };
        let added =
            agent.call(&Request::AddKey(Box::new(request))).map_err(|error| CliError::from(error).about(&shown))?;
        confirm(&added);
    }
    Ok(())
}

/// Lists the keys; an agent without any is told from one with some by the exit status, as by ssh-add.
pub(super) fn list(as_json: bool) -> Result<(), CliError> {
    let mut answer = Agent::find()?.call(&Request::ListKeys)?;
    let empty = list_of(&answer, "keys").is_empty();
    if as_json {
        json::print(answer["keys"].take())?;
    } else if empty {
        super::print_data(b"The agent has no identities.\n")?;
    } else {
        super::print_data(list_of(&answer, "keys").iter().map(line).collect::<String>().as_bytes())?;
    }
    if empty { Err(CliError::told()) } else { Ok(()) }
}

/// Removes keys by name, fingerprint or file; what cannot be removed is told, and the rest removed all the same.
pub(super) fn remove(keys: &[String], all: bool, revoke: bool) -> Result<(), CliError> {
    let mut agent = Agent::find()?;
    if all {
        let how = RemoveAllKeys { revoke, ..RemoveAllKeys::default() };
        let removed = agent.call(&Request::RemoveAllKeys(how))?;
        say(format_args!("All identities removed."));
        return tell_of_tokens(&removed);
    }
    let mut failed = None;
    for key in keys {
        let done = remove_one(&mut agent, key, revoke).and_then(|removed| {
            say(format_args!("Identity removed: {}", removed["removed"][0].as_str().unwrap_or(key)));
            tell_of_tokens(&removed)
        });
        if let Err(error) = done
            && let Some(earlier) = failed.replace(error.about(key))
        {
            earlier.report();
        }
    }
    failed.map_or(Ok(()), Err)
}

fn remove_one(agent: &mut Agent, key: &str, revoke: bool) -> Result<Value, CliError> {
    let mut remove = |which: Secret<str>| agent.call(&Request::RemoveKey(RemoveKey::new(which, revoke)));
    match remove(key.into()) {
        // Not a name or fingerprint: then it may be a file.
        Err(CallError::Refused(refusal)) if refusal.code == "no_key" && Path::new(key).is_file() => {
            Ok(remove(read_key(OsStr::new(key))?)?)
        }
        answer => Ok(answer?),
    }
}

/// Tells what became of the tokens, if they were to be revoked.
fn tell_of_tokens(removed: &Value) -> Result<(), CliError> {
    if let Some(revoked) = removed["revoked"].as_u64() {
        say(format_args!("Tokens revoked: {revoked}"));
    }
    match removed["warning"].as_str() {
        Some(warning) => {
            Err(CliError::new(warning).hint("they end by themselves, within an hour of when they were had"))
        }
        None => Ok(()),
    }
}

fn read_key(file: &OsStr) -> Result<Secret<str>, CliError> {
    let mut text = Zeroizing::new(Vec::with_capacity(MAX_KEY + 1));
    let read = if is_stdin(file) {
        if io::stdin().is_terminal() {
            say(format_args!("Paste the key and end it with Ctrl-D:"));
        }
        io::stdin().lock().take(MAX_KEY as u64 + 1).read_to_end(&mut text)
    } else {
        File::open(file).and_then(|opened| {
            warn_if_exposed(file, &opened)?;
            opened.take(MAX_KEY as u64 + 1).read_to_end(&mut text)
        })
    };
    read.map_err(|error| CliError::new(reason(&error)).hint("give the .pem file that GitHub downloaded for the App"))?;
    let pem = pem::read(&text).and_then(|pem| if pem.encrypted { Err(KeyError::Encrypted) } else { Ok(pem.wire) });
    pem.map_err(|why| CliError::new(format!("this is no App's key: {why}")).hint(why.hint()))
}

fn warn_if_exposed(file: &OsStr, opened: &File) -> io::Result<()> {
    const OTHERS: u32 = 0o077;
    let there = opened.metadata()?;
    if there.is_file() && there.mode() & OTHERS != 0 {
        say(format_args!("apptoken: warning: others can read {}", file.display()));
        say(format_args!("hint: chmod 600 {}", shell_words::quote(&file.to_string_lossy())));
    }
    Ok(())
}

fn ask_app_id(file: &str) -> Result<AppId, CliError> {
    let answer = prompt::ask(&format!("App ID or client ID for {file}"));
    let answer = answer.ok_or_else(|| {
        CliError::new("the App ID is not known")
            .hint("give it with `--app-id`: the App's settings page shows it")
            .exit(Exit::Usage)
    })?;
    answer.parse().map_err(|why| CliError::new(why).exit(Exit::Usage))
}

fn confirm(added: &Value) {
    say(format_args!(
        "Identity added: {} (App {} on {})",
        word(added, "name"),
        word(added, "appId"),
        word(added, "host")
    ));
    if let Some(lifetime) = span(added, "lifetime") {
        say(format_args!("Lifetime set to {lifetime}"));
    }
    if added["confirm"] == true {
        say(format_args!("The user must confirm each use of the key"));
    }
    if let Some(warning) = added["warning"].as_str() {
        say(format_args!("apptoken: warning: {warning}"));
    }
}

fn line(key: &Value) -> String {
    let left = span(key, "lifetime").map(|left| format!(", {left} left")).unwrap_or_default();
    let confirm = if key["confirm"] == true { ", confirm" } else { "" };
    let (bits, fingerprint, name) = (word(key, "bits"), word(key, "fingerprint"), word(key, "name"));
    format!("{bits} {fingerprint} {name} (App {} on {}{left}{confirm})\n", word(key, "appId"), word(key, "host"))
}

fn is_stdin(file: &OsStr) -> bool {
    file == "-"
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::IsADirectory => "it is a directory".to_owned(),
        _ => error.to_string(),
    }
}
