//! The question whether a key may be used, put to the person by the askpass program. The default is no.
//!
//! After a "no", the next prompt for that key has to wait, longer each time. Otherwise a program that asks again and again
//! would get its "yes" from a person who is tired of it. Requests in that time are refused at once and say so: a request that
//! waited would only open the next prompt.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::process::Stdio;
use std::sync::{Arc, Mutex as SyncMutex};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::guard::guard;
use super::keyring::HeldKey;
use super::peer::Peer;
use super::worker::Worker;
use crate::env;

/// Asks one question at a time.
pub struct Confirm {
    program: Option<OsString>,
    starter: Worker,
    turn: Mutex<()>,
    /// By fingerprint: a key that is added again, or locked and unlocked, is still the same key.
    refused: SyncMutex<HashMap<Arc<str>, BackOff>>,
}

/// How often in a row the prompts of a key ended without a "yes", and when the last one did.
#[derive(Clone, Copy)]
struct BackOff {
    times: u32,
    last: Instant,
}

/// What came of a question.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Yes.
    Allowed,
    /// No, nothing, or an error.
    Refused,
    /// Nobody answered in [`PATIENCE`].
    Unanswered,
    /// It was not asked, since the last answer for this key was no "yes"; how long until it can be asked.
    TooSoon(Duration),
    /// There is no program to ask with.
    CannotAsk,
}

impl Confirm {
    /// Asks with the program that the environment names.
    pub fn from_env() -> Self {
        let starter = Worker::new("askpass");
        Self { program: env::askpass(), starter, turn: Mutex::new(()), refused: SyncMutex::default() }
    }

    /// Asks whether `key` may be used for `scope` by `peer`. Dropping the future takes the question from the screen.
    ///
    /// One question is asked at a time; those that wait for their turn wait within [`PATIENCE`] as well, and are not asked at
    /// all if the key is not `still_wanted` by then.
    pub async fn ask(&self, key: &HeldKey, scope: &str, peer: &Peer, still_wanted: impl Fn() -> bool) -> Verdict {
        let Some(program) = &self.program else { return Verdict::CannotAsk };
        timeout(PATIENCE, self.ask_with(program, key, scope, peer, still_wanted)).await.unwrap_or(Verdict::Unanswered)
    }

    async fn ask_with(
        &self,
        program: &OsStr,
        key: &HeldKey,
        scope: &str,
        peer: &Peer,
        still_wanted: impl Fn() -> bool,
    ) -> Verdict {
        if let Some(left) = self.must_wait(key) {
            return Verdict::TooSoon(left);
        }
        let _turn = self.turn.lock().await;
        // The question before this one may have been about the same key.
        if let Some(left) = self.must_wait(key) {
            return Verdict::TooSoon(left);
        }
        if !still_wanted() {
            return Verdict::Refused;
        }
        let mut command = Command::new(program);
        command.arg(question(key, scope, peer)).env(env::SSH_ASKPASS_PROMPT, "confirm");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
        // Counted before the start: a client that leaves in the middle of it has put a question on the screen too.
        let mut open = OpenPrompt { refused: &self.refused, fingerprint: &key.fingerprint, counts: true };
        // Not on the event loop: the start returns when the program has been loaded, from a disk that may be slow.
        let runtime = Handle::current();
        let start = move || {
            let _inside = runtime.enter();
            command.spawn().map(Question)
        };
        let Ok(Ok(mut question)) = self.starter.run(start).await else {
            open.counts = false;
            return Verdict::CannotAsk;
        };
        match question.answer().await {
            // As ssh-agent has it: an askpass for passphrases says "yes", one with buttons only its status.
            Some(answer) if answer.is_empty() || answer.eq_ignore_ascii_case(b"yes") => {
                open.allowed();
                Verdict::Allowed
            }
            _ => Verdict::Refused,
        }
    }

    /// How long until a question about this key may be asked.
    fn must_wait(&self, key: &HeldKey) -> Option<Duration> {
        let back_off = guard(&self.refused).get(&key.fingerprint).copied()?;
        delay(back_off.times).checked_sub(back_off.last.elapsed()).filter(|left| !left.is_zero())
    }
}

/// A question on the screen. Dropped, it goes, with all that the program started to ask it.
struct Question(Child);

impl Question {
    /// What the program says, if it ends well and says little.
    async fn answer(&mut self) -> Option<Vec<u8>> {
        let mut said = Vec::new();
        let stdout = self.0.stdout.take().expect("it was asked for");
        stdout.take(MAX_ANSWER + 1).read_to_end(&mut said).await.ok()?;
        let whole = said.len() as u64 <= MAX_ANSWER;
        let status = if whole { self.0.wait().await.ok()? } else { return None };
        status.success().then(|| said.trim_ascii().to_vec())
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        // Its own group, which is its number; it cannot be another's before the child was waited for.
        if let Some(pid) = self.0.id().and_then(|pid| i32::try_from(pid).ok()) {
            let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

/// A prompt on the screen. When it is dropped without a "yes", because of the answer, the time, or a client that left, the next
/// prompt for the key has to wait.
struct OpenPrompt<'a> {
    refused: &'a SyncMutex<HashMap<Arc<str>, BackOff>>,
    fingerprint: &'a Arc<str>,
    counts: bool,
}

impl OpenPrompt<'_> {
    fn allowed(&mut self) {
        self.counts = false;
        guard(self.refused).remove(self.fingerprint);
    }
}

impl Drop for OpenPrompt<'_> {
    fn drop(&mut self) {
        if !self.counts {
            return;
        }
        let mut refused = guard(self.refused);
        if refused.len() >= MAX_REFUSED_KEYS
            && let Some(oldest) =
                refused.iter().min_by_key(|(_, back_off)| back_off.last).map(|(key, _)| Arc::clone(key))
        {
            refused.remove(&oldest);
        }
        let next = BackOff::after(refused.get(self.fingerprint), Instant::now());
        refused.insert(Arc::clone(self.fingerprint), next);
    }
}

impl BackOff {
    /// A refusal at `now`, after those before it.
    fn after(before: Option<&Self>, now: Instant) -> Self {
        let in_a_row = before.filter(|before| now.duration_since(before.last) < FORGIVEN);
        Self { times: in_a_row.map_or(0, |before| before.times).saturating_add(1), last: now }
    }
}

/// How long after so many refusals in a row the next prompt can be shown.
fn delay(times: u32) -> Duration {
    FIRST_DELAY.saturating_mul(1_u32.checked_shl(times.saturating_sub(1)).unwrap_or(u32::MAX)).min(MAX_DELAY)
}

/// A fixed layout; nothing in it is of the asker's choosing but names that were made harmless.
fn question(key: &HeldKey, scope: &str, peer: &Peer) -> String {
    format!(
        "Allow use of key {}?\nKey fingerprint {}\nApp {} on {}, for {scope}\nAsked by {}",
        key.name,
        key.fingerprint,
        key.app_id,
        key.host,
        peer.chain()
    )
}

/// How long a question stays on the screen.
pub const PATIENCE: Duration = Duration::from_mins(1);
/// Bytes read of an answer.
const MAX_ANSWER: u64 = 1024;
/// The delay after the first "no". Each further one doubles it: short enough for a "no" by mistake.
const FIRST_DELAY: Duration = Duration::from_secs(2);
/// The longest delay: about ten prompts in the first quarter of an hour, and one in five minutes from then on.
const MAX_DELAY: Duration = Duration::from_mins(5);
/// How long after the last "no" the next one counts as the first again.
const FORGIVEN: Duration = Duration::from_hours(1);
/// Keys whose refusals are remembered, as many as an agent holds at once.
const MAX_REFUSED_KEYS: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_no_doubles_the_delay_up_to_a_limit() {
        let seconds: Vec<_> = (1..=10).map(|times| delay(times).as_secs()).collect();
        assert_eq!(seconds, [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(delay(u32::MAX), MAX_DELAY);
    }

    #[test]
    fn a_yes_ends_the_delay_and_old_refusals_are_forgiven() {
        let (refused, key) = (SyncMutex::default(), Arc::<str>::from("SHA256:key"));
        let open = || OpenPrompt { refused: &refused, fingerprint: &key, counts: true };
        let times = || guard(&refused).get(&key).map(|back_off: &BackOff| back_off.times);
        drop(open());
        drop(open());
        assert_eq!(times(), Some(2));
        let second = guard(&refused)[&key];
        assert_eq!(BackOff::after(Some(&second), second.last + FIRST_DELAY).times, 3);
        assert_eq!(BackOff::after(Some(&second), second.last + FORGIVEN).times, 1);
        open().allowed();
        assert_eq!(times(), None);
    }
}
