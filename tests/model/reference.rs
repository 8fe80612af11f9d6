//! The reference: what happens, and what must come of it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::repositories_of;
use crate::support::github::{Expiry, Fault};

/// What happens.
#[derive(Clone, Debug)]
pub(super) enum Event {
    Add {
        app: u64,
        lifetime: Option<u64>,
        offline: bool,
    },
    Remove(u64),
    RemoveAll,
    Lock,
    Unlock,
    UnlockWrongly,
    /// So many seconds go by.
    Pass(u64),
    Ask(Question),
    /// The same as the last time.
    AskAgain,
    /// Whoever asks does not wait. What was begun goes on while the next is waited for.
    AskAndLeave(Question),
    /// Something goes wrong at GitHub's while this is asked.
    AskDespite(Trouble, Question),
    /// The App is installed there; or uninstalled, if it was installed.
    Install(Place),
    /// The App is uninstalled, and installed anew, with another number.
    InstallAnew(Place),
    /// The installation is suspended; or not any more, if it was.
    Suspend(Place),
    /// The installation may only read from now on; or write again, if it could not.
    Permit(Place),
}

#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) app: Option<u64>,
    pub(super) target: Target,
    pub(super) repositories: &'static [&'static str],
    pub(super) contents: Option<&'static str>,
    pub(super) min_ttl: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Target {
    Sole,
    Owner(&'static str),
    Repo(&'static str, &'static str),
}

#[derive(Clone, Debug)]
pub(super) enum Trouble {
    Fault(Fault),
    Expiry(Expiry),
}

/// An App on an account.
pub(super) type Place = (u64, &'static str);

/// What there is, and what must come of the last event.
#[derive(Clone, Debug)]
pub(super) struct Model {
    pub(super) now: u64,
    pub(super) locked: bool,
    /// The Apps whose keys are held, and when each is forgotten.
    pub(super) keys: BTreeMap<u64, Option<u64>>,
    /// For each scope the best token that the agent can have.
    pub(super) tokens: BTreeMap<Scope, Kept>,
    pub(super) installed: BTreeMap<Place, Installed>,
    /// Every installation that there ever was, by its number.
    pub(super) numbers: BTreeMap<u64, Place>,
    /// Apps that were installed or uninstalled since the agent had their key: it may go by what was before.
    pub(super) moved: BTreeSet<u64>,
    /// Until then anything may be refused, because GitHub did, or could not be used.
    pub(super) excused_until: u64,
    /// What was asked last, by somebody who waited for the answer.
    pub(super) last: Question,
    /// What may yet be had for those who left.
    pub(super) left: Vec<Scope>,
    pub(super) due: Due,
    /// Tokens that GitHub may grant for the last event.
    pub(super) mints: usize,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Scope {
    pub(super) place: Place,
    pub(super) repositories: BTreeSet<&'static str>,
    pub(super) contents: Option<&'static str>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    pub(super) expires: u64,
    /// Whether the agent has it for sure.
    pub(super) certain: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Installed {
    pub(super) number: u64,
    pub(super) suspended: bool,
    pub(super) writes: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Due {
    Done,
    Refused(&'static str),
    /// A token, or a refusal of GitHub's.
    Either,
}

impl Model {
    pub(super) fn meet(&mut self, event: &Event) {
        self.due = if self.locked { Due::Refused("locked") } else { Due::Done };
        self.mints = self.left.len();
        match event {
            Event::Unlock if self.locked => (self.locked, self.due) = (false, Due::Done),
            Event::UnlockWrongly if self.locked => self.due = Due::Refused("denied"),
            Event::Unlock | Event::UnlockWrongly => self.due = Due::Refused("bad_request"),
            Event::Pass(seconds) => {
                self.now += seconds;
                self.keys.retain(|_, until| until.is_none_or(|until| until > self.now));
                let held: BTreeSet<_> = self.keys.keys().copied().collect();
                self.forget(|app| !held.contains(&app));
            }
            Event::Install(place) if self.installed.contains_key(place) => self.uninstall(*place),
            Event::Install(place) => self.install(*place),
            Event::InstallAnew(place) => {
                self.uninstall(*place);
                self.install(*place);
            }
            Event::Suspend(place) => self.change(place, |there| there.suspended = !there.suspended),
            Event::Permit(place) => self.change(place, |there| there.writes = !there.writes),
            // The gate: nothing else happens to a locked agent.
            _ if self.locked => {}
            Event::Add { app, lifetime, .. } => {
                let had = self.keys.get(app).copied().flatten();
                self.keys.insert(*app, lifetime.map(|lifetime| self.now + lifetime).or(had));
                self.forget(|of| of == *app);
            }
            Event::Remove(app) => {
                let held = self.keys.remove(app).is_some();
                self.due = if held { Due::Done } else { Due::Refused("no_key") };
                self.forget(|of| of == *app);
            }
            Event::RemoveAll => {
                self.keys.clear();
                self.forget(|_| true);
            }
            Event::Lock => {
                self.locked = true;
                self.forget(|_| true);
                self.left.clear();
            }
            Event::Ask(question) => {
                self.last = question.clone();
                self.ask(question);
            }
            Event::AskAgain => self.ask(&self.last.clone()),
            Event::AskAndLeave(question) => match self.choose(question) {
                Ok(app) => {
                    self.due = Due::Either;
                    self.left.extend(question.scopes(app));
                }
                Err(code) => self.due = Due::Refused(code),
            },
            Event::AskDespite(trouble, question) => match self.choose(question) {
                Ok(app) => {
                    self.last = question.clone();
                    self.due = Due::Either;
                    self.mints += TRIES;
                    self.excuse(trouble.lasts());
                    self.left.extend(question.scopes(app));
                }
                Err(code) => self.due = Due::Refused(code),
            },
        }
        if event.is_waited_for() && !self.left.is_empty() {
            self.excuse(REMEMBERED);
            let scopes = std::mem::take(&mut self.left);
            self.may_have(scopes);
        }
    }

    /// What comes of a question that nothing disturbs.
    fn ask(&mut self, question: &Question) {
        match self.choose(question).map(|app| (app, self.granted(app, question))) {
            Err(code) => self.due = Due::Refused(code),
            Ok((app, Ok(account))) => self.ask_for_what_is_granted((app, account), question),
            Ok((app, Err(code))) => self.ask_for_what_is_refused(app, question, code),
        }
    }

    fn ask_for_what_is_granted(&mut self, place: Place, question: &Question) {
        let (now, least) = (self.now, question.least());
        let (scope, excused) = (question.scope(place), now < self.excused_until);
        self.due = if excused { Due::Either } else { Due::Done };
        let kept = self.tokens.get(&scope).copied().unwrap_or(Kept { expires: 0, certain: true });
        // A token is renewed ten minutes before it cannot be used any more, or a quarter of the time that it could.
        let margin = ((LIFE - least) / 4).min(600);
        if kept.certain && kept.lives(least + margin, now) {
            return;
        }
        self.mints += 1;
        // An uncertain one may have been handed out, and then there is no other.
        let is_new = kept.certain || !kept.lives(least, now);
        let certain = is_new && !excused && !self.moved.contains(&place.0);
        self.tokens.insert(scope, Kept { expires: now + LIFE, certain });
    }

    fn ask_for_what_is_refused(&mut self, app: u64, question: &Question, code: &'static str) {
        let now = self.now;
        let excused = now < self.excused_until;
        let at_hand = |scope| self.tokens.get(&scope).is_some_and(|kept| kept.lives(question.least(), now));
        // There may have been a sole installation elsewhere, and for the agent that is the one still.
        let elsewhere = matches!(question.target, Target::Sole) && self.moved.contains(&app);
        let can_be_had = excused || elsewhere || question.scopes(app).any(at_hand);
        self.due = if can_be_had { Due::Either } else { Due::Refused(code) };
        self.excuse(REMEMBERED);
        if elsewhere {
            self.mints += 1;
            self.may_have(question.scopes(app));
        }
    }

    /// From now on, for so many seconds, the agent may refuse what GitHub would grant.
    fn excuse(&mut self, seconds: u64) {
        self.excused_until = self.excused_until.max(self.now + seconds);
    }

    /// The agent may have new tokens for these scopes.
    fn may_have(&mut self, scopes: impl IntoIterator<Item = Scope>) {
        let kept = Kept { expires: self.now + LIFE, certain: false };
        self.tokens.extend(scopes.into_iter().map(|scope| (scope, kept)));
    }

    /// With which key, if the agent does not say no at once.
    pub(super) fn choose(&self, question: &Question) -> Result<u64, &'static str> {
        let mut held = self.keys.keys().copied().filter(|key| question.app.is_none_or(|app| app == *key));
        let app = match (self.locked, held.next(), held.next()) {
            (true, ..) => Err("locked"),
            (_, None, _) => Err("no_key"),
            (_, Some(app), None) => Ok(app),
            (_, Some(_), Some(_)) => Err("choose_key"),
        };
        if question.least() > 59 * 60 { app.and(Err("bad_request")) } else { app }
    }

    /// On which account GitHub grants what is asked now, else what is wrong.
    fn granted(&self, app: u64, question: &Question) -> Result<&'static str, &'static str> {
        let account = match question.target {
            Target::Owner(owner) => owner,
            Target::Repo(owner, name) if repositories_of(owner).contains(&name) => owner,
            Target::Repo(..) => return Err("not_installed"),
            Target::Sole => {
                let mut places = self.installed.keys().filter(|(of, _)| *of == app);
                match (places.next(), places.next()) {
                    (None, _) => return Err("not_installed"),
                    (Some((_, account)), None) => account,
                    _ => return Err("choose_installation"),
                }
            }
        };
        let there = self.installed.get(&(app, account)).ok_or("not_installed")?;
        let sees_all = question.names().iter().all(|name| repositories_of(account).contains(name));
        match there {
            Installed { suspended: true, .. } => Err("suspended"),
            Installed { writes, .. } if !sees_all || question.contents == Some("write") && !writes => {
                Err("not_granted")
            }
            _ => Ok(account),
        }
    }

    /// What goes with a key.
    fn forget(&mut self, of: impl Fn(u64) -> bool) {
        self.tokens.retain(|scope, _| !of(scope.place.0));
        self.moved.retain(|app| !of(*app));
    }

    fn install(&mut self, place: Place) {
        let number = self.numbers.len() as u64 + 1;
        self.numbers.insert(number, place);
        self.installed.insert(place, Installed::new(number));
        self.moves(place.0);
    }

    fn uninstall(&mut self, place: Place) {
        self.installed.remove(&place);
        self.moves(place.0);
    }

    fn moves(&mut self, app: u64) {
        self.moved.insert(app);
        // Another way to ask the same may lead to another number now, and cost another token.
        self.tokens.iter_mut().filter(|(scope, _)| scope.place.0 == app).for_each(|(_, kept)| kept.certain = false);
    }

    fn change(&mut self, place: &Place, change: impl FnOnce(&mut Installed)) {
        self.installed.get_mut(place).map(change);
    }
}

impl Event {
    /// Whether the network has its turn before the next event.
    pub(super) fn is_waited_for(&self) -> bool {
        matches!(
            self,
            Self::Add { .. }
                | Self::Lock
                | Self::Unlock
                | Self::UnlockWrongly
                | Self::Pass(_)
                | Self::Ask(_)
                | Self::AskAgain
                | Self::AskDespite(..)
        )
    }
}

impl Question {
    /// As a request.
    pub(super) fn request(&self) -> Value {
        let mut request = json!({"action": "getToken"});
        let mut say = |field: &str, value: Option<Value>| {
            if let Some(value) = value {
                request[field] = value;
            }
        };
        say("app", self.app.map(|app| app.to_string().into()));
        say("minTtl", self.min_ttl.map(Value::from));
        say("permissions", self.contents.map(|level| json!({"contents": level})));
        say("repositories", (!self.repositories.is_empty()).then(|| json!(self.repositories)));
        match self.target {
            Target::Sole => {}
            Target::Owner(owner) => say("owner", Some(owner.into())),
            Target::Repo(owner, name) => say("repo", Some(format!("{owner}/{name}").into())),
        }
        request
    }

    /// The seconds that a token must live at least.
    pub(super) fn least(&self) -> u64 {
        self.min_ttl.unwrap_or(300)
    }

    /// All repositories that the token is for; none: all there are.
    pub(super) fn names(&self) -> BTreeSet<&'static str> {
        let one = match self.target {
            Target::Repo(_, name) => Some(name),
            Target::Sole | Target::Owner(_) => None,
        };
        self.repositories.iter().copied().chain(one).collect()
    }

    fn scope(&self, place: Place) -> Scope {
        Scope { place, repositories: self.names(), contents: self.contents }
    }

    /// What a token for it may be for.
    fn scopes(&self, app: u64) -> impl Iterator<Item = Scope> {
        let accounts = match self.target {
            Target::Sole => ACCOUNTS.to_vec(),
            Target::Owner(owner) | Target::Repo(owner, _) => vec![owner],
        };
        accounts.into_iter().map(move |account| self.scope((app, account)))
    }
}

impl Trouble {
    /// Seconds for which the agent may say no because of it.
    fn lasts(&self) -> u64 {
        match self {
            Self::Fault(Fault::RetryAfter { seconds, .. }) => *seconds,
            _ => REMEMBERED,
        }
    }
}

impl Kept {
    fn lives(self, seconds: u64, now: u64) -> bool {
        self.expires >= now + seconds
    }
}

impl Installed {
    pub(super) fn new(number: u64) -> Self {
        Self { number, suspended: false, writes: true }
    }

    pub(super) fn permissions(&self) -> [(&'static str, &'static str); 2] {
        [("contents", if self.writes { "write" } else { "read" }), ("metadata", "read")]
    }
}

const ACCOUNTS: [&str; 2] = ["octo", "acme"];
/// What is counted on of a token's hour: clocks are read in whole seconds.
const LIFE: u64 = 60 * 60 - 1;
/// Tries that one call makes at the most.
const TRIES: usize = 4;
/// Seconds for which a failure is remembered, and one.
const REMEMBERED: u64 = 3;
