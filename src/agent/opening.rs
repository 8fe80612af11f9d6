//! Keys that come in: opened if a passphrase encrypts them, and judged; checked for whoever asks, sealed for whoever keeps
//! them.
//!
//! Opening one may take some seconds and 256 MiB, for its file says what it takes. Hence one at a time, beside everything
//! else.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::derive::Params;
use super::encrypted::{NotOpened, Packed};
use super::github::Caller;
use super::handler::Agent;
use super::key::AppKey;
use super::keys::{Api, held_key};
use super::refuse::{Asked, refuse};
use super::sealed::seal;
use super::shield::Shielded;
use super::signing::Signing;
use crate::pem::KeyError;
use crate::protocol::{CheckKey, Checked, Code, Refusal, SealKey, SealedKey};
use crate::secret::{Secret, on_wiped_stack};

/// A key that was judged, and is not in the clear any more.
pub(super) struct Opened {
    pub(super) fingerprint: String,
    pub(super) bits: u32,
    pub(super) pkcs1: Arc<Shielded>,
}

impl Agent {
    /// Opens a key that was sent, and judges it. A passphrase that it does not need is not looked at.
    pub(super) async fn open(&self, key: Secret<str>, passphrase: Option<Secret<str>>) -> Result<Opened, Refusal> {
        let opened = match on_wiped_stack(|| Packed::from_wire(&key)).map_err(not_opened)? {
            Packed::Plain(der) => on_wiped_stack(|| judge(&der)),
            Packed::Encrypted(key) => {
                let passphrase = passphrase.ok_or_else(|| bad_key(KeyError::Encrypted))?;
                self.one_at_a_time(move || key.open(&passphrase).and_then(|der| judge(&der))).await?
            }
        };
        opened.map_err(not_opened)
    }

    /// Tells whether a key would do, and keeps nothing of it. What GitHub cannot say is not known here: an error, no warning.
    pub(super) async fn check_key(&self, asked: CheckKey) -> Result<Checked, Refusal> {
        self.held(|_, _| ())?;
        let api = Api::new(asked.host.as_ref(), asked.api_url.as_deref())?;
        let opened = self.open(asked.key, asked.passphrase).await?;
        self.signs(&opened.pkcs1).await?;
        let (fingerprint, bits) = (opened.fingerprint.clone(), opened.bits);
        let mut checked = Checked { fingerprint, bits, slug: None, installations: None };
        if let Some(app_id) = asked.app_id {
            let key = held_key(opened, app_id, api);
            let refused = |error| refuse(&error, &key, Asked::App);
            checked.slug = self.names_of(&key).await.map_err(refused)?.slug;
            checked.installations = Some(self.github.installations(&Signing::of(&key)).await.map_err(refused)?);
        }
        Ok(checked)
    }

    /// Seals a key under a new passphrase. It is judged first: whoever finds the file has to be able to rely on it.
    pub(super) async fn seal_key(&self, asked: SealKey) -> Result<SealedKey, Refusal> {
        self.held(|_, _| ())?;
        if asked.new_passphrase.expose().is_empty() {
            return Err(Refusal::new(Code::BadRequest, "an empty passphrase seals nothing").hint("choose another"));
        }
        let Opened { fingerprint, pkcs1, .. } = self.open(asked.key, asked.passphrase).await?;
        self.signs(&pkcs1).await?;
        let seal = move || {
            let key = pkcs1.open().expect("nobody else has it, who could have wiped it");
            STANDARD.encode(seal(&key, &asked.new_passphrase, Params::USUAL))
        };
        Ok(SealedKey { sealed: self.one_at_a_time(seal).await?, fingerprint })
    }

    /// Checks that a key signs: its parts may not belong together.
    pub(super) async fn signs(&self, pkcs1: &Arc<Shielded>) -> Result<(), Refusal> {
        let signed = Signing::trial(pkcs1).credential((self.clock)().unix).await;
        signed.map(drop).map_err(|_| bad_key(KeyError::Damaged))
    }

    /// Derives, on a thread of its own. An agent that is locked meanwhile begins none any more, and tells nothing of it.
    async fn one_at_a_time<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Refusal> {
        let _place = PLACES.try_acquire().map_err(|_| {
            Refusal::new(Code::Busy, "too many encrypted keys wait to be opened").hint("try again in a moment")
        })?;
        let turn = TURN.acquire().await.expect("the semaphore is never closed");
        self.held(|_, _| ())?;
        let work = move || {
            // With the work, not with who waits for it: those may leave.
            let _turn = turn;
            on_wiped_stack(work)
        };
        // What may fail is to have the memory, and the libraries panic for want of it.
        let done = spawn_blocking(work).await.map_err(|_| {
            Refusal::new(Code::Internal, "there was not enough memory to work on the encrypted key")
                .hint("see what limits the agent's memory")
        })?;
        self.held(|_, _| done)
    }
}

fn judge(der: &Secret<[u8]>) -> Result<Opened, NotOpened> {
    let AppKey { pkcs1, bits, fingerprint } = AppKey::from_der(der.expose())?;
    Ok(Opened { fingerprint, bits, pkcs1: Arc::new(Shielded::new(pkcs1.expose())) })
}

fn bad_key(why: KeyError) -> Refusal {
    let what = match why {
        KeyError::Encrypted => format!("this key cannot be used yet: {why}"),
        _ => format!("this is no key: {why}"),
    };
    Refusal::new(Code::BadKey, what).hint(why.hint())
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
        NotOpened::Newer => {
            Refusal::new(Code::BadKey, "the key was sealed by a newer apptoken").hint("look for a newer apptoken")
        }
    }
}

/// Not the turn of those who lock and unlock: they never wait for a key.
static TURN: Semaphore = Semaphore::const_new(1);
/// How many may wait for it: they keep what they were sent, and each may take a second.
static PLACES: Semaphore = Semaphore::const_new(32);
