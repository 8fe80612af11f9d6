//! `apptoken`: an ssh-agent for GitHub App keys.
//!
//! `apptoken-agent` holds App private keys in memory and never gives one out; `apptoken` and any other client that finds
//! its socket get short-lived installation tokens. Both programs are this library behind a one-line `main`.
//!
//! # The map
//!
//! Words, pure data without I/O or clock:
//!
//! - [`ids`]: what GitHub calls things: Apps, installations, accounts, repositories, permissions, hosts
//! - [`lifetime`]: spans of time as people write them
//! - [`secret`]: bytes that must not be printed, copied or left behind
//! - [`pem`]: private keys as people paste them
//! - [`protocol`]: all that may cross the socket: requests, answers, refusals
//!
//! Plumbing that both programs share:
//!
//! - [`env`](mod@env): every environment variable read or set
//! - [`files`]: files of ours, written at once or not at all
//! - [`frame`]: where one JSON object ends in a stream of them
//! - [`paths`]: where the agent that is reused is written down, and where configuration is
//! - [`config`]: what is remembered of keys, read and edited as the user's own text
//! - [`shell`]: what a shell will eval, and the quoting of it
//! - [`output`] and [`usage`]: writing where nobody may read; what a wrong command line gets
//! - [`user`]: whether our user can be told from others
//!
//! The client, standard library only, is [`client`] (connect, ask, read the answer) and [`cli`] (a file for each verb).
//! Of these `cli::git` and `cli::setup_git` tell git whom to ask, in the words of `cli::gitconfig`; `cli::credential` is whom git
//! then asks, and `cli::remotes` knows which repository a directory is a clone of. What is rarely wanted and needs much is in
//! `cli::setup`, which runs in the agent's program (`cli::elsewhere` hands over to it): `init`, `daemon`, `add` of stored keys,
//! which lie in `cli::setup::store`, and `doctor`, which looks at all of it, from the socket to GitHub and git.
//! What is printed as completions and manuals is made from the command lines' definitions by `tests/support/generated/`.
//!
//! The agent, behind the feature `agent`, is `agent`:
//!
//! - `agent` itself with `agent::args`: the command line, and the end of an agent
//! - `agent::start`, made of the steps in `agent::daemon`: the start, in the order that keeps other processes out
//! - `agent::socket`, `agent::record`: where the agent listens, and how later shells find it
//! - `agent::server` with `agent::peer`: who may connect, where a message ends, how long it may take
//! - `agent::connections`: how many connections there may be, and how much they may hold
//! - `agent::fair`, `agent::guesses`, `agent::worker`: turns between the processes that ask, delays for those that guess a
//!   passphrase, and threads for work that takes long
//! - `agent::receive` reads a connection's bytes into its `agent::inbox`, and the descriptor that may come with them;
//!   `agent::key_file` reads the file behind it
//! - `agent::handler`: what is done about each request: the one match, and the gate that a lock closes
//! - `agent::state` with `agent::keyring`, `agent::tokens` (on the `agent::shelf`) and `agent::lock`: what is held, what time
//!   takes from it, what a lock makes of it; synchronous, and handed the time by `agent::clock`
//! - `agent::keys` and `agent::opening`: keys opened, judged, checked, held, sealed, removed
//! - `agent::encrypted`, `agent::sealed`, `agent::derive`: keys that a passphrase opens, however they were encrypted; the file
//!   in which this program keeps one; what a passphrase becomes
//! - `agent::question` with `agent::permissions`: what is asked for, understood
//! - `agent::mint` with `agent::flight`: from a question to a token, each step asked once however many ask
//! - `agent::revoke`, `agent::whoami`, `agent::diagnose`: tokens ended before their time; who the App is when it commits; what
//!   is in the way to GitHub
//! - `agent::github`, `agent::api`, `agent::reply`, `agent::refuse`: GitHub's REST API, when it may be asked and how often,
//!   its answers judged, its refusals in our words, and in `agent::network` those of the network
//! - `agent::http`: the threads on which HTTP is spoken, one for each API
//! - `agent::unclaimed`: tokens that were asked for and that nobody has yet
//! - `agent::key`, `agent::shield`, `agent::jwt`, `agent::signing`: a key as it is judged, as it waits encrypted, what it
//!   signs, and the thread on which it does
//! - `agent::guard`: a mutex that a panic does not close
//! - `agent::confirm`, `agent::audit`: asking the user, and writing down who got what
//! - `agent::debug_log`, `agent::writer`: debug output, and the threads that write so that the event loop does not
//!
//! # The path of a request
//!
//! `apptoken token` → [`cli`] reads the command line into types → [`client`] → the socket → `server` checks the peer's uid,
//! bounds size and time → [`protocol::Request::parse`], strictly → `handler` → `mint`: which key (`keyring`), what
//! is meant (`question`), which installation (`state`), is one at hand (`tokens`), else `jwt` signs and `github` mints, once
//! for all who ask (`flight`) → back the same way.
//!
//! # What points where
//!
//! `use` lines point down these lists. [`cli`] and `agent` never name each other, but that `agent` ends an agent (`-k`) as a
//! [`client`]. Inside the agent `github`, `jwt`, `keyring`, `lock` and `tokens` do not know each other; `state` owns what is
//! held; only `handler`, `diagnose`, `keys`, `opening`, `mint`, `revoke` and `whoami`, which are one type in seven files, see it
//! all. A test reads the `use` lines.

#![forbid(unsafe_code)]

#[cfg(feature = "agent")]
pub mod agent;
pub mod cli;
pub mod client;
#[cfg(feature = "agent")]
pub mod config;
pub mod env;
pub mod files;
pub mod frame;
pub mod ids;
pub mod lifetime;
pub mod output;
pub mod paths;
pub mod pem;
pub mod protocol;
pub mod secret;
pub mod shell;
pub mod usage;
pub mod user;

use std::alloc::System;
#[cfg(feature = "agent")]
use std::process::ExitCode;

use zeroizing_alloc::ZeroAlloc;

/// Wipes whatever is freed: what libraries copied of a secret on its way as well.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

/// Runs `apptoken-agent`, which is the agent, and carries out those of the client's commands that need more than the client
/// has.
#[cfg(feature = "agent")]
pub fn agent_program() -> ExitCode {
    let mut line = std::env::args_os().skip(1);
    match line.next() {
        Some(first) if first == cli::CLIENT => cli::setup(line, false),
        Some(first) if first == cli::CLIENT_WITH_AGENT => cli::setup(line, true),
        _ => agent::main(),
    }
}
