//! What the agent does about each request: the one match, and the gate before it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};

use super::audit::Audit;
use super::clock::{Clock, Now};
use super::confirm::{Confirm, PATIENCE, Verdict};
use super::debug_log::DebugLog;
use super::derive::OutOfMemory;
use super::fair::{FairQueue, Limits, Overloaded, Permit, ShareKey, Standing};
use super::flight::Flights;
use super::github::GitHub;
use super::guard::guard;
use super::guesses::Guesses;
use super::http::Http;
use super::keyring::HeldKey;
use super::lock::{LockKey, Salt, new_salt};
use super::opening::{Importing, no_memory};
use super::peer::Peer;
use super::question::WaitingMemory;
use super::state::{Found, Held, NotUnlocked, Place, State};
use super::tokens::{ScopeId, Token};
use super::unclaimed::Unclaimed;
use super::worker::{NotDone, Worker};
use crate::lifetime;
use crate::protocol::{
    Answer, Code, Done, Installations, KeyChoice, Keys, PROTOCOL, Pong, Refusal, Request, Status, TokenInfo,
};
use crate::secret::{Secret, on_wiped_stack};

/// The agent behind the socket.
pub struct Agent {
    state: Mutex<State>,
    /// When something was last asked for, in time since boot.
    asked: Mutex<Duration>,
    guesses: Mutex<Guesses>,
    /// Deriving a lock's key takes 64 MiB; one at a time.
    deriving: Arc<FairQueue>,
    deriver: Worker,
    pub(super) importing: Importing,
    started: Now,
    pub(super) rules: Rules,
    pub(super) debug_log: DebugLog,
    pub(super) clock: Clock,
    pub(super) github: GitHub,
    pub(super) finding: Flights<Place, Found>,
    pub(super) minting: Flights<ScopeId, Token>,
    pub(super) unclaimed: Unclaimed,
    pub(super) waiting: WaitingMemory,
    /// Rung when a key or a token was added, which may be the next to expire.
    pub(super) key_added: Notify,
}

/// What the agent was told when it was started.
pub struct Rules {
    /// What keys get that are added without a lifetime, and the most that they may get.
    pub max_lifetime: Option<Duration>,
    /// Forget every key when nothing was asked for that long.
    pub idle: Option<Duration>,
    /// Who is asked about keys that want it.
    pub confirm: Confirm,
    /// Where hand-outs are written down.
    pub audit: Option<Audit>,
    /// Tell on standard error what is done.
    pub debug: bool,
}

impl Agent {
    /// An agent without keys, which asks GitHub by `http`.
    pub fn new(rules: Rules, clock: Clock, http: Http) -> Arc<Self> {
        let now = clock();
        Arc::new(Self {
            state: Mutex::default(),
            asked: Mutex::new(now.boot),
            guesses: Mutex::default(),
            deriving: FairQueue::new(DERIVATIONS),
            deriver: Worker::new("derive"),
            importing: Importing::new(),
            started: now,
            rules,
            debug_log: DebugLog::default(),
            clock,
            github: GitHub::new(clock, http),
            finding: Flights::new(clock),
            minting: Flights::new(clock),
            unclaimed: Unclaimed::default(),
            waiting: WaitingMemory::new(),
            key_added: Notify::new(),
        })
    }

    /// Carries out one request. Dropping the future is safe: what others wait for as well goes on.
    pub async fn handle(self: &Arc<Self>, request: Request, peer: Peer) -> Result<Answer, Refusal> {
        if !matches!(request, Request::Ping | Request::Status) {
            // What had its time before this request came is not brought back by it.
            let now = self.state(|_, now| now);
            *guard(&self.asked) = now.boot;
        }
        let share = ShareKey::of_process(peer.pid);
        match request {
            Request::Ping => Ok(Answer::Pong(self.pong())),
            Request::Status => Ok(Answer::Status(self.status())),
            Request::GetToken(asked) => self.token(asked, peer).await,
            Request::AddKey(key) => self.add(*key, share).await.map(Answer::Added),
            Request::CheckKey(key) => self.check_key(*key, share).await.map(Answer::Checked),
            Request::SealKey(key) => self.seal_key(*key, share).await.map(Answer::Sealed),
            Request::ListKeys => Ok(Answer::Keys(Keys {
                keys: self.held(|held, now| held.keyring.iter().map(|key| key.info(now)).collect())?,
            })),
            // Who asks for one of these and leaves has asked for it all the same.
            Request::RemoveKey(which) => {
                self.to_the_end(|agent| async move { agent.remove(which, share).await.map(Answer::Removed) }).await
            }
            Request::RemoveAllKeys(how) => {
                self.to_the_end(|agent| async move { agent.remove_all(how, share).await.map(Answer::Removed) }).await
            }
            Request::Revoke(which) => {
                self.to_the_end(|agent| async move { agent.revoke(which, share).await.map(Answer::Revoked) }).await
            }
            Request::Lock(with) => {
                self.to_the_end(|agent| async move { agent.lock(with.passphrase, share).await.map(Answer::Done) }).await
            }
            Request::Unlock(with) => self.unlock(with.passphrase, share).await.map(Answer::Done),
            Request::Installations(choice) => self.where_installed(&choice, peer).await.map(Answer::Installations),
            Request::Whoami(choice) => self.whoami(choice, peer).await.map(Answer::Whoami),
            Request::Diagnose(asked) => self.diagnose(asked, peer).await.map(Answer::Diagnosis),
            Request::DropToken(which) => self.drop_token(&which.token).map(Answer::Dropped),
        }
    }

    async fn to_the_end<F>(self: &Arc<Self>, work: impl FnOnce(Arc<Self>) -> F) -> Result<Answer, Refusal>
    where
        F: Future<Output = Result<Answer, Refusal>> + Send + 'static,
    {
        tokio::spawn(work(Arc::clone(self))).await.expect("it does not panic")
    }

    /// Forgets every key and token; returns the names of the keys.
    pub fn forget_all(&self) -> Vec<String> {
        self.state(|state, _| state.clear())
    }

    /// Forgets what is over; returns how long until there is more to forget.
    pub fn expire(&self) -> Option<Duration> {
        // Nothing is left to forget once that time is over.
        let idle_left = |now: Now| {
            let over = self.rules.idle? + *guard(&self.asked);
            over.checked_sub(now.boot).filter(|left| !left.is_zero())
        };
        self.state(|state, now| [state.next_expiry(now), idle_left(now)].into_iter().flatten().min())
    }

    /// Lends the state as of now, for a look or a change, never across a wait.
    fn state<T>(&self, f: impl FnOnce(&mut State, Now) -> T) -> T {
        let mut state = guard(&self.state);
        let now = (self.clock)();
        if self.rules.idle.is_some_and(|idle| *guard(&self.asked) + idle <= now.boot) {
            state.clear();
        }
        state.expire(now);
        f(&mut state, now)
    }

    /// Lends the keys and tokens, if the agent is not locked: the gate that everything passes which uses them.
    pub(super) fn held<T>(&self, f: impl FnOnce(&mut Held, Now) -> T) -> Result<T, Refusal> {
        self.state(|state, now| match state {
            State::Unlocked(held) => Ok(f(held, now)),
            State::Locked(_) => Err(locked()),
        })
    }

    /// Asks the user, if the key wants that. A yes is good for a key that is still there.
    pub(super) async fn confirm(
        &self,
        key: &HeldKey,
        scope: impl FnOnce() -> String,
        peer: &Peer,
    ) -> Result<(), Refusal> {
        if !key.confirm {
            return Ok(());
        }
        let no =
            |why: String| Refusal::new(Code::Denied, format!("the use of key {} was not confirmed: {why}", key.name));
        let still_wanted = || self.still_held(key).is_ok();
        match self.rules.confirm.ask(key, &scope(), peer, still_wanted).await {
            Verdict::Allowed => self.still_held(key),
            Verdict::Refused => Err(no("the user said no".to_owned())),
            Verdict::Unanswered => Err(no(format!("nobody answered in {}", lifetime::show(PATIENCE)))),
            Verdict::TooSoon(left) => {
                let left = lifetime::show(Duration::from_secs(left.as_secs() + 1));
                Err(no("the last prompt for this key was not answered with yes".to_owned())
                    .hint(format!("it can be asked again in {left}; each refusal makes that longer")))
            }
            Verdict::CannotAsk => Err(no("there is no askpass program that runs".to_owned())
                .hint("start the agent with APPTOKEN_ASKPASS or SSH_ASKPASS set")),
        }
    }

    /// Returns true if the program of a peer that connects now may have to be shown or logged later.
    pub(super) fn records_peers(&self) -> bool {
        self.rules.audit.is_some()
            || match &*guard(&self.state) {
                State::Unlocked(held) => held.keyring.iter().any(|key| key.confirm),
                // Its keys cannot be looked at.
                State::Locked(_) => true,
            }
    }

    async fn where_installed(&self, choice: &KeyChoice, peer: Peer) -> Result<Installations, Refusal> {
        let key = self.choose(choice.app.as_deref(), choice.host.as_ref())?;
        self.confirm(&key, || "a list of its installations".to_owned(), &peer).await?;
        self.installations(&key, ShareKey::of_process(peer.pid))
            .await
            .map(|installations| Installations { installations })
    }

    async fn lock(&self, passphrase: Secret<str>, share: ShareKey) -> Result<Done, Refusal> {
        if passphrase.expose().is_empty() {
            return Err(Refusal::new(Code::BadRequest, "an empty passphrase locks nothing").hint("choose another"));
        }
        self.held(|_, _| ())?;
        let turn = self.turn_to_derive(share, Standing::New).await?;
        // Another may have locked it meanwhile, here and below.
        self.held(|_, _| ())?;
        let salt = new_salt();
        let key = self.derive(passphrase, salt, turn).await?;
        self.held(|_, _| ())?;
        on_wiped_stack(|| self.state(|state, _| state.lock(&key, salt)));
        Ok(Done {})
    }

    async fn unlock(&self, passphrase: Secret<str>, share: ShareKey) -> Result<Done, Refusal> {
        let salt = || self.state(|state, _| state.salt()).ok_or_else(not_locked);
        salt()?;
        let turn = self.turn_to_unlock(share).await?;
        // Another may have unlocked it meanwhile.
        let key = self.derive(passphrase, salt()?, turn).await?;
        match on_wiped_stack(|| self.state(|state, _| state.unlock(&key))) {
            Ok(()) => {
                guard(&self.guesses).clear();
                self.key_added.notify_one();
                Ok(Done {})
            }
            Err(NotUnlocked::NotLocked) => Err(not_locked()),
            Err(NotUnlocked::WrongPassphrase) => {
                let until = guard(&self.guesses).failed(share, Instant::now());
                sleep_until(until).await;
                let refusal = Refusal::new(Code::Denied, "that is not the passphrase");
                Err(refusal.hint("try again; each wrong one takes longer"))
            }
        }
    }

    /// Waits until this process may try a passphrase. One that gave wrong ones waits for its own delay first, and then behind
    /// those that gave none.
    async fn turn_to_unlock(&self, share: ShareKey) -> Result<Permit, Refusal> {
        loop {
            let blocked_until = || guard(&self.guesses).blocked_until(share, Instant::now());
            let before = blocked_until();
            if let Some(until) = before {
                sleep_until(until).await;
            }
            let standing = if before.is_some() { Standing::Known } else { Standing::New };
            let turn = self.turn_to_derive(share, standing).await?;
            // Another guess of the same process may have failed while this one waited.
            if blocked_until().is_none_or(|until| until <= Instant::now()) {
                return Ok(turn);
            }
        }
    }

    async fn turn_to_derive(&self, share: ShareKey, standing: Standing) -> Result<Permit, Refusal> {
        let waiters = share.into();
        let turn = timeout(MAX_WAIT, self.deriving.acquire(&waiters, standing)).await.unwrap_or(Err(Overloaded));
        turn.map_err(|Overloaded| {
            Refusal::new(Code::Busy, "too many passphrases wait to be checked").hint("try again in a moment")
        })
    }

    async fn derive(&self, passphrase: Secret<str>, salt: Salt, turn: Permit) -> Result<LockKey, Refusal> {
        let derive = move || {
            // With the work, not with who waits for it: those may leave.
            let _turn = turn;
            LockKey::derive(&passphrase, &salt)
        };
        let derived = self.deriver.run(derive).await.map_err(|NotDone| no_memory())?;
        derived.map_err(|OutOfMemory| no_memory())
    }

    fn is_locked(&self) -> bool {
        self.state(|state, _| state.salt().is_some())
    }

    fn pong(&self) -> Pong {
        Pong {
            pong: true,
            version: VERSION.to_owned(),
            protocol: PROTOCOL,
            pid: std::process::id(),
            locked: self.is_locked(),
        }
    }

    fn status(&self) -> Status {
        let told = self.held(|held, now| {
            let name = |key: &str| held.keyring.get(key).map(|key| key.name.clone()).unwrap_or_default();
            let tokens = held.tokens.oldest(MAX_TOKENS_TOLD, MAX_BYTES_TOLD);
            let tokens = tokens.into_iter().map(|token| token_info(name(&token.key), &token, now)).collect();
            (held.keyring.iter().map(|key| key.info(now)).collect(), tokens)
        });
        let locked = told.is_err();
        let (keys, tokens) = told.unwrap_or_default();
        Status {
            version: VERSION.to_owned(),
            protocol: PROTOCOL,
            pid: std::process::id(),
            locked,
            uptime: (self.clock)().boot.saturating_sub(self.started.boot).as_secs(),
            max_lifetime: self.rules.max_lifetime.map(|span| span.as_secs()),
            idle: self.rules.idle.map(|span| span.as_secs()),
            audited: self.rules.audit.is_some(),
            keys,
            tokens,
        }
    }
}

/// What may be told of a token is read from the line that is handed out; that is all that is kept of it.
fn token_info(key: String, token: &Token, now: Now) -> TokenInfo {
    let mut told: TokenInfo = serde_json::from_slice(token.line.expose()).expect("an answer has what is told of it");
    told.key = key;
    told.age = token.life.age(now).unsigned_abs();
    told
}

fn not_locked() -> Refusal {
    Refusal::new(Code::BadRequest, "the agent is not locked").hint("lock it: apptoken lock")
}

fn locked() -> Refusal {
    Refusal::new(Code::Locked, "the agent is locked").hint("run `apptoken unlock`")
}

/// What is said when a key was removed while something was done with it.
pub(super) fn gone() -> Refusal {
    Refusal::new(Code::NoKey, "the key was removed meanwhile").hint("see `apptoken list`")
}

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// One derivation at a time, for it takes 64 MiB. Of each process one more waits, the newest; a passphrase is kept for each.
const DERIVATIONS: Limits = Limits { at_once: 1, waiting: 1024, waiting_of_one: 1 };
/// How long a passphrase may wait for its turn.
const MAX_WAIT: Duration = Duration::from_secs(30);
/// Cached tokens that a status tells of.
const MAX_TOKENS_TOLD: usize = 100;
/// Bytes that they take in the cache: a token narrowed to hundreds of repositories takes fifty thousand.
const MAX_BYTES_TOLD: usize = 128 * 1024;
