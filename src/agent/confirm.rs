//! The question whether a key may be used, put to the person by the askpass program. The default is no.

use std::ffi::OsString;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::process::Command;
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
        let named = [env::ASKPASS, env::SSH_ASKPASS].into_iter().filter_map(std::env::var_os);
        Self { program: named.into_iter().find(|program| !program.is_empty()), turn: Mutex::new(()) }
    }

    /// Asks whether `key` may be used for `scope` by `peer`. Dropping the future takes the question from the screen.
    pub async fn ask(&self, key: &HeldKey, scope: &str, peer: Peer) -> Verdict {
        let Some(program) = &self.program else { return Verdict::CannotAsk };
        let _turn = self.turn.lock().await;
        let mut command = Command::new(program);
        command.arg(question(key, scope, peer)).env(env::SSH_ASKPASS_PROMPT, "confirm");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let Ok(mut child) = command.spawn() else { return Verdict::CannotAsk };
        let mut answer = Vec::new();
        let said = async {
            let mut stdout = child.stdout.take().expect("it was asked for").take(MAX_ANSWER);
            stdout.read_to_end(&mut answer).await.ok()?;
            child.wait().await.ok().filter(std::process::ExitStatus::success)
        };
        match timeout(PATIENCE, said).await {
            Err(_) => Verdict::Unanswered,
            Ok(None) => Verdict::Refused,
            // As ssh-agent has it: an askpass for passphrases says "yes", one with buttons only its status.
            Ok(Some(_)) => {
                let answer = answer.trim_ascii();
                if answer.is_empty() || answer.eq_ignore_ascii_case(b"yes") {
                    Verdict::Allowed
                } else {
                    Verdict::Refused
                }
            }
        }
    }
}

/// A fixed layout; nothing in it is of the asker's choosing but names that were made harmless.
fn question(key: &HeldKey, scope: &str, peer: Peer) -> String {
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
