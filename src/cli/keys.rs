//! `add`, `list` and `remove`: the keys in the agent.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::io::{self, IsTerminal, Read, Seek};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use zeroize::Zeroizing;

use super::args::Words;
use super::error::{CliError, Exit};
use super::json::{self, list as list_of, span, word};
use super::scope::{Named, parse, parse_lifetime, variable};
use super::{elsewhere, paste, prompt};
use crate::client::{Agent, CallError, Refused};
use crate::ids::{AppId, Host, InstallationId, KeyName};
use crate::{env, paths};

use crate::output::say;
use crate::pem::{self, KeyError, MAX_KEY, Pem};
use crate::protocol::{CheckKey, KeySource, NewKey, RemoveAllKeys, RemoveKey, Request};
use crate::secret::{Secret, on_wiped_stack};

/// What is to hold for the keys that are loaded.
#[derive(Default)]
pub(super) struct Terms {
    /// What the options say.
    given: AppTerms,
    /// What the environment says, of keys that nothing is remembered of.
    pub(super) otherwise: AppTerms,
    pub(super) name: Option<String>,
    installation_id: Option<InstallationId>,
    lifetime: Option<Duration>,
    confirm: bool,
    offline: bool,
    /// What opens keys that are encrypted; else it is asked for.
    pub(super) passphrase: Option<Secret<str>>,
}

/// Whose key it is.
#[derive(Clone, Default)]
pub(super) struct AppTerms {
    pub(super) app_id: Option<AppId>,
    pub(super) host: Option<Host>,
    pub(super) api_url: Option<String>,
}

impl AppTerms {
    /// By the options of `add` and `init`.
    pub(super) fn given(words: &Words) -> Result<Self, CliError> {
        Self::of(|flag, _| Ok(words.value(&flag[2..]).map(|text| (flag, text))))
    }

    /// By the environment.
    pub(super) fn in_environment() -> Result<Self, CliError> {
        Self::of(|_, name| variable(name))
    }

    /// What the options say, else what is known of the key, else the environment. Where something is known, it is known
    /// whole: a host and an API that were not said together do not belong together.
    pub(super) fn settle(self, known: Option<Self>, environment: Self) -> Self {
        let app_id = self.app_id.clone().or_else(|| known.as_ref()?.app_id.clone()).or(environment.app_id);
        let (host, api_url) = match known {
            Some(known) if self.host.is_some() && self.host != known.host => (self.host, self.api_url),
            Some(known) => (known.host, self.api_url.or(known.api_url)),
            None => (self.host.or(environment.host), self.api_url.or(environment.api_url)),
        };
        Self { app_id, host, api_url }
    }

    fn of(text: impl Fn(&'static str, &'static str) -> Result<Option<Named>, CliError>) -> Result<Self, CliError> {
        Ok(Self {
            app_id: text("--app-id", env::APP_ID)?.map(parse).transpose()?,
            host: text("--host", env::HOST)?.map(parse).transpose()?,
            api_url: text("--api-url", env::API_URL)?.map(|(_, url)| url),
        })
    }
}

impl Terms {
    /// Reads the options of `add`.
    pub(super) fn read(words: &Words) -> Result<Self, CliError> {
        let named = |flag: &'static str, name: &str| words.value(name).map(|text| (flag, text));
        Ok(Self {
            given: AppTerms::given(words)?,
            otherwise: AppTerms::in_environment()?,
            name: words.value("name"),
            installation_id: named("--installation-id", "installation-id").map(parse).transpose()?,
            lifetime: named("-t", "life").map(parse_lifetime).transpose()?,
            confirm: words.flag("confirm"),
            offline: words.flag("offline"),
            passphrase: words.value("passphrase-fd").as_deref().map(prompt::read_fd).transpose()?,
        })
    }

    /// A request for a key, of which something may be known.
    pub(super) fn request(&self, key: KeySource, shown: &str, known: Option<Known>) -> Result<NewKey, CliError> {
        let known = known.unwrap_or_default();
        let app = self.given.clone().settle(known.app, self.otherwise.clone());
        let app_id = app.app_id.map_or_else(|| ask_app_id(shown), Ok)?;
        Ok(NewKey {
            name: self.name.clone().or(known.name.map(|name| name.to_string())),
            host: app.host,
            api_url: app.api_url,
            installation_id: self.installation_id.or(known.installation_id),
            lifetime: self.lifetime.map(|life| life.as_secs()),
            confirm: self.confirm,
            offline: self.offline,
            ..NewKey::new(key, app_id)
        })
    }
}

/// What is known of a key that is to be loaded.
#[derive(Default)]
pub(super) struct Known {
    pub(super) app: Option<AppTerms>,
    pub(super) name: Option<KeyName>,
    pub(super) installation_id: Option<InstallationId>,
}

/// A key that is to be handed over to the agent.
pub(super) enum KeyInput {
    /// A regular file, which the agent reads.
    File(Arc<File>),
    /// What came through a pipe, or was pasted.
    Text(Pem),
}

impl KeyInput {
    /// The key for one of several requests.
    pub(super) fn source(&self) -> KeySource {
        match self {
            Self::File(file) => KeySource::File(Arc::<File>::clone(file)),
            Self::Text(pem) => KeySource::Inline(pem.wire.expose().into()),
        }
    }

    /// The key for the last request: this process keeps no copy of it.
    pub(super) fn into_source(self) -> KeySource {
        match self {
            Self::File(file) => KeySource::File(file),
            Self::Text(pem) => KeySource::Inline(pem.wire),
        }
    }
}

/// Loads files into the agent. What is stored, and what is remembered of keys, the agent's program knows.
pub(super) fn add(words: &Words) -> Result<(), CliError> {
    let files = words.rest("files");
    if files.is_empty() || paths::config_file().is_some_and(|file| file.exists()) {
        return elsewhere::hand_over(words);
    }
    add_files(&files, &Terms::read(words)?, |_, _, _| Ok(None))
}

/// Loads each file into the agent. `know` tells what is known of a key, which is judged already where that was needed.
pub(super) fn add_files(
    files: &[OsString],
    terms: &Terms,
    know: impl Fn(&mut Agent, &mut KeyInput, Option<&Value>) -> Result<Option<Known>, CliError>,
) -> Result<(), CliError> {
    if files.len() > 1 && terms.name.is_some() {
        return Err(CliError::new("`--name` is for one key").hint("add them one by one").exit(Exit::Usage));
    }
    if files.iter().filter(|file| is_stdin(file)).count() > 1 {
        return Err(CliError::new("standard input was given twice").exit(Exit::Usage));
    }
    let mut agent = Agent::find()?.trusted()?;
    for file in files {
        let shown = if is_stdin(file) { "standard input".into() } else { file.display().to_string() };
        let mut add = || {
            let mut key = open_key(file)?;
            let (judged, passphrase) = judge(&mut agent, &mut key, &shown, terms.passphrase.as_ref())?;
            let known = know(&mut agent, &mut key, judged.as_ref())?;
            let request = NewKey { passphrase, ..terms.request(key.into_source(), &shown, known)? };
            Ok(agent.hand_over(Request::AddKey(Box::new(request)))?)
        };
        confirm(&add().map_err(|error: CliError| error.about(&shown))?);
    }
    Ok(())
}

/// Has the agent judge a key, if it is a file or encrypted. One that is encrypted is tried with the `given` passphrase, or with
/// those that are typed. Returns the agent's answer, and the passphrase.
pub(super) fn judge(
    agent: &mut Agent,
    key: &mut KeyInput,
    shown: &str,
    given: Option<&Secret<str>>,
) -> Result<(Option<Value>, Option<Secret<str>>), CliError> {
    match key {
        KeyInput::Text(pem) if !pem.encrypted => return Ok((None, None)),
        KeyInput::Text(_) => {}
        KeyInput::File(_) => match check(agent, key, given) {
            Err(CallError::Refused(refusal)) if refusal.code == prompt::WRONG_PASSPHRASE && given.is_none() => {}
            judged => return Ok((Some(judged?), given.map(|given| given.expose().into()))),
        },
    }
    let open = |passphrase: &_| check(agent, key, Some(passphrase));
    let (judged, passphrase) = prompt::open_with(given, &format!("Passphrase for {shown}: "), open)?;
    Ok((Some(judged), Some(passphrase)))
}

/// Has the agent judge a key, without GitHub. A file that does not reach it is read here from then on.
pub(super) fn check(
    agent: &mut Agent,
    key: &mut KeyInput,
    passphrase: Option<&Secret<str>>,
) -> Result<Value, CallError> {
    let mut ask = |key: &KeyInput| {
        let passphrase = passphrase.map(|passphrase| passphrase.expose().into());
        let check = CheckKey { passphrase, ..CheckKey::new(key.source()) };
        agent.hand_over(Request::CheckKey(Box::new(check)))
    };
    match (ask(key), &*key) {
        // A forwarded socket carries bytes, and no descriptors.
        (Err(CallError::Refused(refusal)), KeyInput::File(file)) if refusal.code == "bad_request" => {
            *key = KeyInput::Text(read_key(file).map_err(|why| CallError::Refused(why.into()))?);
            ask(key)
        }
        (answer, _) => answer,
    }
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
    let remove = |agent: &mut Agent, which: &str| agent.call(&Request::RemoveKey(RemoveKey::new(which.into(), revoke)));
    match remove(agent, key) {
        // Not a name or fingerprint: then it may be a file.
        Err(CallError::Refused(refusal)) if refusal.code == "no_key" && Path::new(key).is_file() => {
            let mut key = open_key(OsStr::new(key))?;
            match check(agent, &mut key, None) {
                Err(CallError::Refused(refusal)) if refusal.code == prompt::WRONG_PASSPHRASE => {
                    Err(CliError::new("the file is encrypted, and does not tell which key it holds")
                        .hint("give the key's name or fingerprint: apptoken list"))
                }
                judged => Ok(remove(agent, &word(&judged?, "fingerprint"))?),
            }
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

/// Opens a key file, to hand it over. A key that is pasted, or comes through a pipe or device, is read.
pub(super) fn open_key(file: &OsStr) -> Result<KeyInput, CliError> {
    if is_stdin(file) && io::stdin().is_terminal() {
        prompt::keep_to_ourselves();
        return Ok(KeyInput::Text(understand(&paste::key("Paste the key; it is not shown")?)?));
    }
    let open = || {
        if is_stdin(file) { io::stdin().as_fd().try_clone_to_owned().map(File::from) } else { File::open(file) }
    };
    let opened = open().map_err(|error| no_key(&error))?;
    let there = opened.metadata().map_err(|error| no_key(&error))?;
    if there.is_file() && !is_stdin(file) {
        warn_if_exposed(Path::new(file), &there, "600");
    }
    // The agent reads from the start, where standard input need not be.
    if there.is_file() && (&opened).stream_position().is_ok_and(|at| at == 0) {
        return Ok(KeyInput::File(Arc::new(opened)));
    }
    Ok(KeyInput::Text(read_key(&opened)?))
}

/// Reads a key from where it is open.
fn read_key(opened: &File) -> Result<Pem, Refused> {
    prompt::keep_to_ourselves();
    on_wiped_stack(|| {
        let mut text = Zeroizing::new(Vec::with_capacity(MAX_KEY + 1));
        opened.take(MAX_KEY as u64 + 1).read_to_end(&mut text).map_err(|error| no_key(&error))?;
        understand(&text)
    })
}

/// Reads a key as people paste it.
pub(super) fn understand(text: &[u8]) -> Result<Pem, Refused> {
    let no_key = |why: KeyError| Refused::new(format!("this is no App's key: {why}"), why.hint());
    pem::read(text).map_err(no_key)
}

fn no_key(error: &io::Error) -> Refused {
    Refused::new(reason(error), "give the .pem file that GitHub downloaded for the App")
}

/// Warns if others can do anything with what is there, and says the mode that mends it.
pub(super) fn warn_if_exposed(file: &Path, there: &Metadata, mode: &str) {
    const OTHERS: u32 = 0o077;
    if there.mode() & OTHERS != 0 {
        say(format_args!("apptoken: warning: others can read {}", file.display()));
        say(format_args!("hint: chmod {mode} {}", shell_words::quote(&file.to_string_lossy())));
    }
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

/// Tells that a key is held.
pub(super) fn confirm(added: &Value) {
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

pub(super) fn is_stdin(file: &OsStr) -> bool {
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
