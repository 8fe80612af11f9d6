//! Keys that come in: opened if a passphrase encrypts them, and judged; checked for whoever asks, sealed for whoever keeps
//! them.
//!
//! Opening one may take some seconds and 256 MiB, for its file says what it takes. Hence one at a time, in turns between the
//! processes that ask, beside everything else.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::time::timeout;

use super::derive::{OutOfMemory, Params};
use super::encrypted::{NotOpened, Packed};
use super::fair::{FairQueue, Limits, Overloaded, ShareKey, Standing};
use super::github::Caller;
use super::handler::Agent;
use super::key::AppKey;
use super::key_file;
use super::keys::{Api, held_key};
use super::refuse::{Asked, refuse};
use super::sealed::seal;
use super::shield::Shielded;
use super::signing::Signing;
use super::worker::{NotDone, Worker};
use crate::pem::KeyError;
use crate::protocol::{CheckKey, Checked, Code, KeySource, Refusal, SealKey, SealedKey};
use crate::secret::{Secret, on_wiped_stack};

/// A key that was judged, and is not in the clear any more.
pub(super) struct Opened {
    pub(super) fingerprint: String,
    pub(super) bits: u32,
    pub(super) pkcs1: Arc<Shielded>,
}

impl Agent {
    /// Opens a key that was sent, or whose file was, and judges it. A passphrase that it does not need is not looked at.
    pub(super) async fn open(
        &self,
        key: KeySource,
        passphrase: Option<Secret<str>>,
        share: ShareKey,
    ) -> Result<Opened, Refusal> {
        let packed = match key {
            KeySource::Inline(key) => on_wiped_stack(|| Packed::from_wire(&key)),
            KeySource::File(file) => {
                let content = key_file::read(file).await?;
                on_wiped_stack(|| Packed::from_file(content))
            }
        };
        let opened = match packed.map_err(not_opened)? {
            Packed::Plain(der) => on_wiped_stack(|| judge(&der)),
            Packed::Encrypted(key) => {
                let passphrase = passphrase.ok_or_else(passphrase_needed)?;
                self.one_at_a_time(share, move || key.open(&passphrase).and_then(|der| judge(&der))).await?
            }
        };
        opened.map_err(not_opened)
    }

    /// Tells whether a key would do, and keeps nothing of it. What GitHub cannot say is not known here: an error, no warning.
    pub(super) async fn check_key(&self, asked: CheckKey, share: ShareKey) -> Result<Checked, Refusal> {
        self.held(|_, _| ())?;
        let api = Api::new(asked.host.as_ref(), asked.api_url.as_deref())?;
        let opened = self.open(KeySource::one_of(asked.key, asked.key_file)?, asked.passphrase, share).await?;
        self.signs(&opened.pkcs1).await?;
        let (fingerprint, bits) = (opened.fingerprint.clone(), opened.bits);
        let mut checked = Checked { fingerprint, bits, slug: None, installations: None };
        if let Some(app_id) = asked.app_id {
            let key = held_key(opened, app_id, api);
            let refused = |error| refuse(&error, &key, Asked::App);
            checked.slug = self.names_of(&key, share).await.map_err(refused)?.slug;
            let app = Signing::of(&key, share);
            checked.installations = Some(self.github.installations(&app).await.map_err(refused)?);
        }
        Ok(checked)
    }

    /// Seals a key under a new passphrase. It is judged first: whoever finds the file has to be able to rely on it.
    pub(super) async fn seal_key(&self, asked: SealKey, share: ShareKey) -> Result<SealedKey, Refusal> {
        self.held(|_, _| ())?;
        if asked.new_passphrase.expose().is_empty() {
            return Err(Refusal::new(Code::BadRequest, "an empty passphrase seals nothing").hint("choose another"));
        }
        let key = KeySource::one_of(asked.key, asked.key_file)?;
        let Opened { fingerprint, pkcs1, .. } = self.open(key, asked.passphrase, share).await?;
        self.signs(&pkcs1).await?;
        let seal = move || {
            let key = pkcs1.open().expect("nobody else has it, who could have wiped it");
            seal(&key, &asked.new_passphrase, Params::USUAL).map(|file| STANDARD.encode(file))
        };
        let sealed = self.one_at_a_time(share, seal).await?.map_err(|OutOfMemory| no_memory())?;
        Ok(SealedKey { sealed, fingerprint })
    }

    /// Checks that a key signs: its parts may not belong together.
    pub(super) async fn signs(&self, pkcs1: &Arc<Shielded>) -> Result<(), Refusal> {
        let signed = Signing::trial(pkcs1).credential((self.clock)().unix).await;
        signed.map(drop).map_err(|_| bad_key(KeyError::Damaged))
    }

    /// Works on an encrypted key, on a thread of its own, when it is this process's turn. An agent that is locked meanwhile
    /// begins none any more, and tells nothing of it.
    async fn one_at_a_time<T: Send + 'static>(
        &self,
        share: ShareKey,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let waiters = share.into();
        let turn = timeout(MAX_WAIT, self.importing.turns.acquire(&waiters, Standing::New)).await;
        let turn = turn.unwrap_or(Err(Overloaded)).map_err(|Overloaded| {
            Refusal::new(Code::Busy, "too many encrypted keys wait to be opened").hint("try again in a moment")
        })?;
        self.held(|_, _| ())?;
        let work = move || {
            // With the work, not with who waits for it: those may leave.
            let _turn = turn;
            on_wiped_stack(work)
        };
        let done = self.importing.worker.run(work).await.map_err(|NotDone| no_memory())?;
        self.held(|_, _| done)
    }
}

/// The thread that works on encrypted keys, and whose turn it is. Those who lock and unlock never wait for it.
pub(super) struct Importing {
    turns: Arc<FairQueue>,
    worker: Worker,
}

impl Importing {
    pub(super) fn new() -> Self {
        let limits = Limits { at_once: 1, waiting: MAX_WAITING, waiting_of_one: MAX_WAITING };
        Self { turns: FairQueue::new(limits), worker: Worker::new("import") }
    }
}

fn judge(der: &Secret<[u8]>) -> Result<Opened, NotOpened> {
    let AppKey { pkcs1, bits, fingerprint } = AppKey::from_der(der.expose())?;
    Ok(Opened { fingerprint, bits, pkcs1: Arc::new(Shielded::new(pkcs1.expose())) })
}

fn bad_key(why: KeyError) -> Refusal {
    let what = match why {
        KeyError::Encrypted => format!("this key cannot be used yet: {why}"),
        _ => format!("this is no App's key: {why}"),
    };
    Refusal::new(Code::BadKey, what).hint(why.hint())
}

/// The client asks its user for a passphrase, and sends the key again.
fn passphrase_needed() -> Refusal {
    Refusal { code: Code::WrongPassphrase, ..bad_key(KeyError::Encrypted) }
}

fn not_opened(why: NotOpened) -> Refusal {
    match why {
        NotOpened::NoKey(why) => bad_key(why),
        NotOpened::WrongPassphrase => {
            Refusal::new(Code::WrongPassphrase, "that is not the key's passphrase, or the key is damaged")
                .hint("try again, or use another copy of the key")
        }
        NotOpened::Unknown => Refusal::new(Code::BadKey, "the key is encrypted in a way that is not known here")
            .hint("encrypt it in another way: openssl pkcs8 -topk8 -in KEY.pem -out OTHER.pem"),
        NotOpened::OutOfBounds => {
            Refusal::new(Code::BadKey, "opening the key would take more memory or time than is spent on any").hint(
                "the file may be damaged: use another copy, or encrypt it anew with fewer iterations or less memory",
            )
        }
        NotOpened::OutOfMemory => no_memory(),
        NotOpened::Newer => {
            Refusal::new(Code::BadKey, "the key was sealed by a newer apptoken").hint("look for a newer apptoken")
        }
    }
}

/// Work on a key or a passphrase was not done because the system gave no memory, or no thread to do it on.
pub(super) fn no_memory() -> Refusal {
    Refusal::new(Code::Internal, "the agent does not get the memory to derive a key from the passphrase")
        .hint("raise the memory limit of the agent's process, or end other programs, and try again")
}

/// Encrypted keys that wait to be opened: the agent keeps what was sent for each, and opening one may take seconds.
const MAX_WAITING: usize = 32;
/// How long a key may wait for its turn.
const MAX_WAIT: Duration = Duration::from_mins(1);
