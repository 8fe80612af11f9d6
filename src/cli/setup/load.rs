//! `add` where it needs what is stored: the sealed keys, and what is remembered of each.

use serde_json::Value;

use super::store::{Store, StoredKey};
use crate::cli::args::Words;
use crate::cli::error::{CliError, Exit};
use crate::cli::keys::{AppTerms, KeyInput, Known, Terms, add_files, check, confirm};
use crate::cli::prompt;
use crate::client::{Agent, CallError};
use crate::config::{Config, Remembered};
use crate::ids::{Fingerprint, KeyName};
use crate::output::say;
use crate::protocol::{NewKey, Request};
use crate::secret::Secret;

/// Loads each file into the agent; without any, the stored keys.
pub(super) fn add(words: &Words) -> Result<(), CliError> {
    let (files, terms) = (words.rest("files"), Terms::read(words)?);
    if files.is_empty() {
        return match load(&mut Agent::find()?.trusted()?, &terms, |_, _| false)? {
            Loaded { failed: true, .. } => Err(CliError::told()),
            Loaded { loaded: 0, .. } => {
                Err(CliError::new("no key is stored").hint("give a FILE, or store one: apptoken init"))
            }
            _ => Ok(()),
        };
    }
    let config = read_config()?;
    add_files(&files, &terms, |agent, key, judged| {
        let asked = match judged {
            Some(_) => None,
            None if config.keys.is_empty() => return Ok(None),
            None => Some(check(agent, key, None)?),
        };
        let fingerprint = judged.or(asked.as_ref()).and_then(fingerprint_of);
        Ok(fingerprint.and_then(|fingerprint| config.find(&fingerprint)).map(Known::from))
    })
}

/// The fingerprint in an answer.
pub(super) fn fingerprint_of(answer: &Value) -> Option<Fingerprint> {
    answer["fingerprint"].as_str()?.parse().ok()
}

/// Reads what is remembered of keys.
pub(super) fn read_config() -> Result<Config, CliError> {
    let config = Config::load()?;
    for warning in &config.warnings {
        say(format_args!("apptoken: warning: {warning}"));
    }
    Ok(config)
}

/// Loads the stored keys that are not `held`. A passphrase is tried on each of them; for those that it does not open,
/// another is asked for. What fails is told, and the others are loaded all the same.
pub(super) fn load(
    agent: &mut Agent,
    terms: &Terms,
    held: impl Fn(&KeyName, &Config) -> bool,
) -> Result<Loaded, CliError> {
    let config = read_config()?;
    let mut done = Loaded::default();
    let mut waiting = Vec::new();
    for stored in Store::find()?.stored()?.into_iter().filter(|stored| !held(&stored.name, &config)) {
        match stored.open() {
            Ok(key) => waiting.push((stored, key)),
            Err(error) => done.fail(&error),
        }
    }
    if waiting.len() > 1 && terms.name.is_some() {
        return Err(CliError::new("several keys are stored, and `--name` is for one").exit(Exit::Usage));
    }
    let mut tries = prompt::MAX_TRIES;
    while let Some(first) = waiting.first().map(|(stored, _)| stored.name.clone()) {
        let question = format!("Passphrase for {first}: ");
        let passphrase = prompt::given_or_typed(terms.passphrase.as_ref(), &question)?;
        let mut wrong = String::new();
        waiting.retain_mut(|(stored, key)| match check(agent, key, Some(&passphrase)) {
            Err(CallError::Refused(refusal)) if refusal.code == prompt::WRONG_PASSPHRASE => {
                wrong = refusal.error;
                true
            }
            judged => {
                let added = judged
                    .map_err(CliError::from)
                    .and_then(|judged| add_opened(agent, terms, &config, stored, key, &passphrase, &judged));
                match added {
                    Ok(added) => {
                        confirm(&added);
                        done.loaded += 1;
                    }
                    Err(error) => done.fail(&error.about(&stored.name)),
                }
                false
            }
        });
        if waiting.first().is_none_or(|(stored, _)| stored.name != first) {
            tries = prompt::MAX_TRIES;
            continue;
        }
        tries -= 1;
        if tries == 0 || terms.passphrase.is_some() {
            for (stored, _) in waiting {
                done.fail(&CliError::new(&wrong).about(&stored.name));
            }
            break;
        }
        say(format_args!("apptoken: {first}: {wrong}; try again"));
    }
    Ok(done)
}

/// Adds a stored key that this passphrase opens. What is remembered goes by the key itself: names change hands.
fn add_opened(
    agent: &mut Agent,
    terms: &Terms,
    config: &Config,
    stored: &StoredKey,
    key: &KeyInput,
    passphrase: &Secret<str>,
    judged: &Value,
) -> Result<Value, CliError> {
    let remembered = fingerprint_of(judged).and_then(|fingerprint| config.find(&fingerprint)).map(Known::from);
    let known = match remembered {
        Some(remembered) => Some(remembered),
        None => stored.said()?,
    };
    let name = stored.name.to_string();
    let request = terms.request(key.source(), &name, known)?;
    let request = NewKey {
        passphrase: Some(passphrase.expose().into()),
        name: Some(terms.name.clone().unwrap_or(name)),
        ..request
    };
    Ok(agent.hand_over(Request::AddKey(Box::new(request)))?)
}

/// What became of the stored keys.
#[derive(Default)]
pub(super) struct Loaded {
    pub(super) loaded: usize,
    pub(super) failed: bool,
}

impl Loaded {
    fn fail(&mut self, why: &CliError) {
        why.report();
        self.failed = true;
    }
}

impl From<&Remembered> for Known {
    fn from(remembered: &Remembered) -> Self {
        Self {
            app: Some(AppTerms {
                app_id: Some(remembered.app_id.clone()),
                host: remembered.host.clone(),
                api_url: remembered.api_url.clone(),
            }),
            name: Some(remembered.name.clone()),
            installation_id: remembered.installation_id,
        }
    }
}
