//! The question whether a key may be used, put to the person by the askpass program. The default is no.

use std::ffi::{OsStr, OsString};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::keyring::HeldKey;
use super::peer::Peer;
use crate::env;

/// Asks one question at a time.
pub struct Confirm {
    program: Option<OsString>,
    turn: Mutex<()>,
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
    /// There is no program to ask with.
    CannotAsk,
}

impl Confirm {
    /// Asks with the program that the environment names.
    pub fn from_env() -> Self {
        Self { program: env::askpass(), turn: Mutex::new(()) }
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
        let _turn = self.turn.lock().await;
        if !still_wanted() {
            return Verdict::Refused;
        }
        let mut command = Command::new(program);
        command.arg(question(key, scope, peer)).env(env::SSH_ASKPASS_PROMPT, "confirm");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
        let Ok(child) = command.spawn() else { return Verdict::CannotAsk };
        let mut question = Question(child);
        match question.answer().await {
            // As ssh-agent has it: an askpass for passphrases says "yes", one with buttons only its status.
            Some(answer) if answer.is_empty() || answer.eq_ignore_ascii_case(b"yes") => Verdict::Allowed,
            _ => Verdict::Refused,
        }
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
