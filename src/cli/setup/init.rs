//! `init`: from a downloaded key to a stored one, checked against GitHub before anything is written.
//!
//! What no option says is asked at the terminal. All cryptography is the agent's; where none runs, one is started that ends
//! with this command.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nix::sys::signal::{SigSet, Signal};
use serde_json::Value;

use super::ask;
use super::load::{fingerprint_of, read_config};
use super::store::{Kind, Store, StoredKey};
use super::strength;
use crate::cli::args::Words;
use crate::cli::elsewhere::{CLIENT_WITH_AGENT, INSTALL, agent_program, no_program};
use crate::cli::error::{CliError, Exit};
use crate::cli::exec::become_it;
use crate::cli::json::{list, word};
use crate::cli::keys::{AppTerms, KeyInput, Known, check, confirm, is_stdin, judge, open_key, understand};
use crate::cli::paste::{self, Typed};
use crate::cli::prompt;
use crate::cli::scope::{either, parse};
use crate::client::{Agent, CallError};
use crate::config::{Config, Remembered};
use crate::env;
use crate::ids::{AppId, Fingerprint, InstallationId, KeyName};
use crate::output::say;
use crate::protocol::{CheckKey, KeySource, NewKey, RemoveKey, Request, SealKey};
use crate::secret::Secret;

/// Stores a key, and gives it to the agent that runs. Where none does, this starts anew with one that ends with it.
pub(super) fn init(words: &Words) -> Result<(), CliError> {
    match Agent::find() {
        Err(CallError::NoAgent(_)) => Err(start_with_agent()),
        found => store_key(&mut found?.trusted()?, words, true),
    }
}

/// Stores a key, with the help of an agent that was started for this.
pub(super) fn with_own_agent(words: &Words) -> Result<(), CliError> {
    store_key(&mut Agent::from_env()?, words, false)
}

fn store_key(agent: &mut Agent, words: &Words, agent_stays: bool) -> Result<(), CliError> {
    let wishes = Wishes::read(words)?;
    // Before anything is asked: a damaged one could not be written to.
    let config = read_config()?;
    let key = find_key(agent, &wishes)?;
    say(format_args!("The key: {} bits, {}", key.bits, key.fingerprint));
    let known = match config.find(&key.fingerprint) {
        Some(remembered) => remembered.into(),
        None => key.source.said()?.unwrap_or_default(),
    };
    let terms = wishes.terms.clone().settle(known.app, AppTerms::in_environment()?);
    let app = find_app(agent, &wishes, &key, &terms, known.installation_id)?;
    let (name, replace) = find_name(&wishes, known.name, &app)?;
    let passphrase = new_passphrase(&wishes, &name)?;
    let remembered = Remembered {
        fingerprint: key.fingerprint.clone(),
        name,
        app_id: app.id,
        host: terms.host,
        api_url: terms.api_url,
        installation_id: app.installation,
    };
    let file = store_sealed(agent, &key, passphrase, &remembered, replace)?;
    say(format_args!("Stored, encrypted: {}", file.display()));
    let Key { input, passphrase, source, .. } = key;
    let held = if agent_stays { hold(agent, input, passphrase, &remembered, wishes.offline) } else { Ok(()) };
    source.remove(wishes.remove_file, &file)?;
    held.map_err(|error| error.about("it is stored, and not loaded"))?;
    say(format_args!("Next: apptoken gh repo list {}", app.account.as_deref().unwrap_or("OWNER")));
    say(format_args!("      Where the key is not loaded yet, it asks for the passphrase and loads it."));
    Ok(())
}

/// What the options say.
struct Wishes {
    file: Option<OsString>,
    terms: AppTerms,
    name: Option<KeyName>,
    installation: Option<InstallationId>,
    passphrase: Option<Secret<str>>,
    offline: bool,
    replace: bool,
    remove_file: bool,
}

impl Wishes {
    fn read(words: &Words) -> Result<Self, CliError> {
        let named = |flag: &'static str| words.value(&flag[2..]).map(|text| (flag, text));
        Ok(Self {
            file: words.rest("file").pop(),
            terms: AppTerms::given(words)?,
            name: named("--name").map(parse).transpose()?,
            installation: either(words.value("installation-id"), "--installation-id", env::INSTALLATION_ID)?
                .map(parse)
                .transpose()?,
            passphrase: words.value("passphrase-fd").as_deref().map(prompt::read_fd).transpose()?,
            offline: words.flag("offline"),
            replace: words.flag("replace"),
            remove_file: words.flag("remove-file"),
        })
    }
}

/// Becomes the agent's program with this command line as its COMMAND; returns only if that fails.
fn start_with_agent() -> CliError {
    let ourselves = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return no_program(&error),
    };
    let mut command = Command::new(agent_program());
    // The first of our own arguments has brought us here.
    command.arg(ourselves).arg(CLIENT_WITH_AGENT).args(std::env::args_os().skip(2));
    become_it(command).explain(INSTALL)
}

/// A path as it is typed where no shell expands it.
fn at_home(typed: &str) -> PathBuf {
    match (typed.strip_prefix("~/"), std::env::var_os(env::HOME)) {
        (Some(rest), Some(home)) => Path::new(&home).join(rest),
        _ => typed.into(),
    }
}

/// A key that was read, opened and judged.
struct Key {
    input: KeyInput,
    /// What opens it, when it is encrypted.
    passphrase: Option<Secret<str>>,
    fingerprint: Fingerprint,
    bits: String,
    source: Source,
}

/// Where a key comes from.
enum Source {
    File(PathBuf),
    Original(StoredKey),
    Typed,
}

fn find_key(agent: &mut Agent, wishes: &Wishes) -> Result<Key, CliError> {
    let stored = Store::find()?.stored()?;
    let original = stored.into_iter().find(|stored| matches!(stored.kind, Kind::Original { .. }));
    if let Some(file) = &wishes.file {
        let is_it = |original: &StoredKey| {
            fs::canonicalize(file)
                .is_ok_and(|file| fs::canonicalize(&original.path).is_ok_and(|original| original == file))
        };
        return match original.filter(is_it) {
            Some(original) => Key::original(agent, original, wishes),
            None => Key::named(agent, file, wishes).map_err(|error| error.about(Path::new(file).display())),
        };
    }
    if let Some(original) = original
        && ask::yes(&format!("The original apptoken left a key in {}: convert it?", original.path.display()))
    {
        return Key::original(agent, original, wishes);
    }
    ask::until_right(|| {
        Ok(match paste::line_or_key("Private key: its .pem file, or paste it here (it is not shown)")? {
            Typed::Key(text) => understand(&text)
                .map_err(CliError::from)
                .and_then(|pem| Key::open(agent, KeyInput::Text(pem), Source::Typed, wishes)),
            Typed::Line(file) if file.is_empty() => Err(CliError::new("the key is needed")),
            Typed::Line(file) => {
                Key::named(agent, at_home(&file).as_os_str(), wishes).map_err(|error| error.about(file))
            }
        })
    })
}

impl Key {
    fn named(agent: &mut Agent, file: &OsStr, wishes: &Wishes) -> Result<Self, CliError> {
        let source = if is_stdin(file) { Source::Typed } else { Source::File(file.into()) };
        Self::open(agent, open_key(file)?, source, wishes)
    }

    fn original(agent: &mut Agent, stored: StoredKey, wishes: &Wishes) -> Result<Self, CliError> {
        Self::open(agent, stored.open()?, Source::Original(stored), wishes)
    }

    fn open(agent: &mut Agent, mut input: KeyInput, source: Source, wishes: &Wishes) -> Result<Self, CliError> {
        let (judged, passphrase) = judge(agent, &mut input, source.shown(), wishes.passphrase.as_ref())?;
        let judged = judged.map_or_else(|| check(agent, &mut input, None), Ok)?;
        let fingerprint = fingerprint_of(&judged)
            .ok_or_else(|| CallError::Broken("the agent's answer has no fingerprint".to_owned()))?;
        Ok(Self { input, passphrase, fingerprint, bits: word(&judged, "bits"), source })
    }

    /// The key and its passphrase for one of several requests.
    fn copies(&self) -> (KeySource, Option<Secret<str>>) {
        (self.input.source(), self.passphrase.as_ref().map(|passphrase| passphrase.expose().into()))
    }
}

/// The App, as far as it matters here.
struct App {
    id: AppId,
    slug: Option<String>,
    installation: Option<InstallationId>,
    /// One that has it installed.
    account: Option<String>,
}

/// The App that is named, else the one that is typed; and GitHub's word that it is a key of that App.
fn find_app(
    agent: &mut Agent,
    wishes: &Wishes,
    key: &Key,
    terms: &AppTerms,
    installation: Option<InstallationId>,
) -> Result<App, CliError> {
    let mut ask = |id| ask_github(agent, wishes, key, AppTerms { app_id: Some(id), ..terms.clone() }, installation);
    if let Some(id) = &terms.app_id {
        return ask(id.clone())?;
    }
    ask::until_right(|| {
        let typed = ask::line("App ID or client ID, from the App's settings page")?.unwrap_or_default();
        typed.parse().map_or_else(|why| Ok(Err(CliError::new(why))), &mut ask)
    })
}

/// Asks GitHub whether this is a key of that App; another App may be meant.
fn ask_github(
    agent: &mut Agent,
    wishes: &Wishes,
    key: &Key,
    terms: AppTerms,
    installation: Option<InstallationId>,
) -> Result<Result<App, CliError>, CliError> {
    let id = terms.app_id.clone().expect("whoever asks names it");
    if wishes.offline {
        let installation = wishes.installation.or(installation);
        return Ok(Ok(App { id, slug: None, installation, account: None }));
    }
    let (source, passphrase) = key.copies();
    let check = CheckKey {
        passphrase,
        app_id: terms.app_id,
        host: terms.host,
        api_url: terms.api_url,
        ..CheckKey::new(source)
    };
    let known = match agent.hand_over(Request::CheckKey(Box::new(check))) {
        Err(CallError::Refused(refusal)) if refusal.code == "app_mismatch" => return Ok(Err((*refusal).into())),
        Err(CallError::Refused(refusal)) if ["github_unavailable", "timeout"].contains(&&*refusal.code) => {
            return Err(CliError::from(*refusal).or_hint("or store it unchecked: `--offline`"));
        }
        known => known?,
    };
    let slug = known["slug"].as_str().map(str::to_owned);
    say(format_args!("GitHub knows it: the App is {}", slug.as_deref().unwrap_or("without a name")));
    let there = list(&known, "installations");
    // One that was the default, and is gone, is none.
    let before = installation.filter(|before| there.iter().any(|there| number(there) == Some(*before)));
    let (installation, account) = find_installation(there, wishes.installation.or(before))?;
    Ok(Ok(App { id, slug, installation, account }))
}

fn number(installation: &Value) -> Option<InstallationId> {
    installation["id"].as_u64().map(InstallationId)
}

/// The installation to use when nothing else chooses one, and an account that has one.
fn find_installation(
    there: &[Value],
    wanted: Option<InstallationId>,
) -> Result<(Option<InstallationId>, Option<String>), CliError> {
    let chosen = |installation: &Value| (number(installation), Some(word(installation, "account")));
    match (there, wanted) {
        (_, Some(wanted)) => match there.iter().find(|installation| number(installation) == Some(wanted)) {
            Some(installation) => Ok(chosen(installation)),
            None => Err(CliError::new("the App has no such installation").hint("see where it is: leave it out")),
        },
        ([], None) => {
            say(format_args!("apptoken: warning: the App is not installed anywhere yet"));
            say(format_args!("hint: install it from its settings page, under \"Install App\""));
            Ok((None, None))
        }
        // One that comes to be the second is to be chosen then.
        ([sole], None) => {
            say(format_args!("It is installed on {}", word(sole, "account")));
            Ok((None, chosen(sole).1))
        }
        (several, None) => {
            say(format_args!("It is installed on:"));
            for installation in several {
                say(format_args!("  {} ({})", word(installation, "account"), word(installation, "id")));
            }
            let question = "Which is meant when nothing says so? Its name or number [none]";
            ask::until_right(|| {
                let Some(answer) = prompt::ask(question) else { return Ok(Ok((None, chosen(&several[0]).1))) };
                let is_it = |installation: &&Value| {
                    word(installation, "account").eq_ignore_ascii_case(&answer) || word(installation, "id") == answer
                };
                let found = several.iter().find(is_it).map(chosen);
                Ok(found.ok_or_else(|| CliError::new("the App is not installed there")))
            })
        }
    }
}

/// A name that no stored key has, or that of the one which is to be replaced; and which of both.
fn find_name(wishes: &Wishes, before: Option<KeyName>, app: &App) -> Result<(KeyName, bool), CliError> {
    let by_app = || app.slug.as_deref().and_then(|slug| slug.parse().ok());
    let by_number = || format!("app-{}", app.id).parse().ok();
    let name = wishes.name.clone().or(before).or_else(by_app).or_else(by_number);
    let Some(name) = name else {
        return Err(CliError::new("the key needs a name").hint("give it with `--name`").exit(Exit::Usage));
    };
    let store = Store::find()?;
    let is_free = |name: &KeyName| !store.key_file(name).exists();
    if is_free(&name) {
        return Ok((name, false));
    }
    if wishes.replace || ask::yes(&format!("A key {name} is stored already: replace it?")) {
        return Ok((name, true));
    }
    let taken =
        || CliError::new("a key of that name is stored").hint("choose another with `--name`, or add `--replace`");
    if !prompt::has_terminal() {
        return Err(taken());
    }
    ask::until_right(|| {
        let typed = ask::line("Another name")?.ok_or_else(taken)?;
        Ok(typed
            .parse()
            .map_err(CliError::new)
            .and_then(|name| if is_free(&name) { Ok((name, false)) } else { Err(taken()) }))
    })
}

fn new_passphrase(wishes: &Wishes, name: &KeyName) -> Result<Secret<str>, CliError> {
    if let Some(given) = &wishes.passphrase {
        return Ok(given.expose().into());
    }
    let question = format!("New passphrase for {name}: ");
    let ask = || prompt::new_passphrase(&question, |typed| say(format_args!("{}", strength::word_on(typed))));
    if prompt::has_terminal() { ask::until_right(|| Ok(ask())) } else { ask() }
}

/// Has the key sealed, and writes it and what is to be remembered of it. An interrupt waits until both are there.
fn store_sealed(
    agent: &mut Agent,
    key: &Key,
    new_passphrase: Secret<str>,
    remembered: &Remembered,
    replace: bool,
) -> Result<PathBuf, CliError> {
    let (source, passphrase) = key.copies();
    let request = SealKey { passphrase, ..SealKey::new(source, new_passphrase) };
    let sealed = agent.hand_over(Request::SealKey(Box::new(request)))?;
    if fingerprint_of(&sealed).as_ref() != Some(&key.fingerprint) {
        return Err(CliError::new("the file has another key in it than before").hint("nothing was stored; try again"));
    }
    let sealed = sealed["sealed"].as_str().and_then(|sealed| STANDARD.decode(sealed).ok());
    let sealed = sealed.ok_or_else(|| CallError::Broken("the agent's answer has no sealed key".to_owned()))?;
    let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
    let held_back = signals.thread_block();
    // In this order: without its file, what is remembered of a key does no harm.
    let stored = Config::remember(remembered)
        .map_err(CliError::from)
        .and_then(|()| Store::find()?.save_key(&remembered.name, &sealed, replace));
    if held_back.is_ok() {
        let _ = signals.thread_unblock();
    }
    stored
}

/// Adds the key to an agent that stays, in place of the one that had its name.
fn hold(
    agent: &mut Agent,
    input: KeyInput,
    passphrase: Option<Secret<str>>,
    remembered: &Remembered,
    offline: bool,
) -> Result<(), CliError> {
    let answer = agent.call(&Request::ListKeys)?;
    let name = remembered.name.to_string();
    let before = list(&answer, "keys").iter().find(|held| word(held, "name") == name);
    if let Some(before) =
        before.map(|held| word(held, "fingerprint")).filter(|print| *print != remembered.fingerprint.to_string())
    {
        agent.call(&Request::RemoveKey(RemoveKey::new(before.into(), false)))?;
    }
    let request = NewKey {
        passphrase,
        name: Some(name),
        host: remembered.host.clone(),
        api_url: remembered.api_url.clone(),
        installation_id: remembered.installation_id,
        offline,
        ..NewKey::new(input.into_source(), remembered.app_id.clone())
    };
    confirm(&agent.hand_over(Request::AddKey(Box::new(request)))?);
    Ok(())
}

impl Source {
    fn shown(&self) -> &str {
        match self {
            Self::File(file) => file.to_str().unwrap_or("the file"),
            Self::Original(_) => "the original's key",
            Self::Typed => "the key",
        }
    }

    /// What the original tool says of its key.
    fn said(&self) -> Result<Option<Known>, CliError> {
        if let Self::Original(stored) = self { stored.said() } else { Ok(None) }
    }

    /// Removes what the key was read from, if that is wanted, and it is not where the key is `stored` now.
    fn remove(&self, wanted: bool, stored: &Path) -> Result<(), CliError> {
        let wanted = |what: &Path| wanted || ask::yes(&format!("Remove {}, now that it is stored?", what.display()));
        match self {
            Self::File(file) if is_another(file, stored) && wanted(file) => {
                fs::remove_file(file)
                    .map_err(|error| CliError::new(format!("cannot remove {}: {error}", file.display())))?;
                say(format_args!("Removed: {}", file.display()));
            }
            Self::Original(original) if wanted(&original.path) => Store::find()?.remove_original()?,
            _ => {}
        }
        Ok(())
    }
}

/// Whether this is a file, and another than that one by whatever name.
fn is_another(file: &Path, stored: &Path) -> bool {
    let place = |path: &Path| fs::metadata(path).map(|there| (there.is_file(), there.dev(), there.ino()));
    matches!((place(file), place(stored)), (Ok((true, dev, ino)), Ok((_, there, number))) if (dev, ino) != (there, number))
}
