//! The socket: who may connect, where a message ends, how long it may take, and how many there may be at once.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Uid;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};
use zeroize::Zeroize;

use super::guard::guard;
use super::handler::Agent;
use super::peer::Peer;
use crate::frame::{FrameError, Scanner};
use crate::output::say;
use crate::protocol::{Answer, Code, Refusal, Request, written};
use crate::secret::{on_wiped_stack, on_wiped_stack_if};

/// The signals that the agent minds.
pub struct Signals {
    term: Signal,
    hangup: Signal,
    interrupt: Signal,
    forget: Signal,
}

impl Signals {
    /// Minds TERM, HUP and INT, which end the agent, and USR1, which has it forget everything.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            forget: signal(SignalKind::user_defined1())?,
        })
    }
}

/// Serves until a signal ends it; then answers what is under way, for a second at most, forgets everything, and revokes the
/// tokens that arrive all the same.
pub async fn serve(listener: UnixListener, agent: Arc<Agent>, mut signals: Signals, max_connections: usize) {
    let lobby = Arc::new(Lobby::default());
    let accepting = tokio::spawn(accept(listener, Arc::clone(&agent), Arc::clone(&lobby), max_connections));
    loop {
        // Time spent asleep does not count for the timer, but does for lifetimes: hence look every second.
        let pause = agent.expire().map_or(Duration::MAX, |left| left.min(EXPIRY_CHECK));
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = agent.key_added.notified() => {}
            _ = signals.forget.recv() => {
                agent.forget_all();
                // A signal saves the registers on the stack, and a token may have been in them. A task of its own begins as
                // high up as the wait that was interrupted, so what it wipes includes that.
                tokio::spawn(async { on_wiped_stack(|| ()) });
            }
            _ = signals.term.recv() => break,
            _ = signals.hangup.recv() => break,
            _ = signals.interrupt.recv() => break,
        }
    }
    accepting.abort();
    let _ = accepting.await;
    lobby.close();
    let _ = timeout(LAST_WORDS, lobby.emptied()).await;
    agent.forget_all();
    agent.end_mints().await;
}

/// Starts to serve each connection whose peer is ours, making room if there are too many.
async fn accept(listener: UnixListener, agent: Arc<Agent>, lobby: Arc<Lobby>, max_connections: usize) {
    let us = Uid::effective().as_raw();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors or memory: the peer stays in the backlog, and others may end meanwhile.
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let peer = stream.peer_cred().map(Peer::from).ok().filter(|peer| peer.uid == us || peer.uid == 0);
        let Some(peer) = peer else { continue };
        if lobby.guests() >= max_connections && !lobby.send_one_home() {
            let busy = Refusal::new(Code::Busy, "the agent has too many connections").hint("try again in a moment");
            // Whoever does not take it at once does not get it.
            let _ = stream.try_write(&written(&Err(busy)));
            continue;
        }
        let (agent, guest) = (Arc::clone(&agent), Guest::enter(&lobby));
        // A panic ends this connection and no other.
        tokio::spawn(async move { Connection::new(stream, peer).converse(&agent, &guest).await });
    }
}

/// One client: its stream, and what it has sent and was not answered yet.
struct Connection {
    stream: UnixStream,
    peer: Peer,
    inbox: Vec<u8>,
    scanner: Scanner,
}

/// Why a conversation is over.
enum End {
    /// The client left, stalled or was sent home; there is nobody to tell.
    Silent,
    /// What it sent is no message; this is the last word.
    Unframed(FrameError),
}

impl Connection {
    fn new(stream: UnixStream, peer: Peer) -> Self {
        Self { stream, peer, inbox: Vec::new(), scanner: Scanner::default() }
    }

    async fn converse(mut self, agent: &Arc<Agent>, guest: &Guest) {
        loop {
            match self.next_request(guest).await {
                Ok(request) => {
                    let response = tokio::select! {
                        biased;
                        response = self.respond(agent, request) => response,
                        // Nobody is left to answer: a question on the screen would only puzzle.
                        () = self.peer_gone() => return,
                    };
                    if self.send(&response).await.is_err() {
                        return;
                    }
                }
                Err(End::Unframed(error)) => {
                    self.inbox.zeroize();
                    let _ = self.send(&Err(unframed(error))).await;
                    self.hear_out().await;
                    return;
                }
                Err(End::Silent) => return,
            }
        }
    }

    async fn respond(&self, agent: &Arc<Agent>, request: Result<Request, Refusal>) -> Result<Answer, Refusal> {
        let (action, began) = (request.as_ref().map_or("malformed", Request::action), Instant::now());
        let response = match request {
            Ok(request) => agent.handle(request, self.peer).await,
            Err(refusal) => Err(refusal),
        };
        if agent.rules.debug {
            let outcome = response.as_ref().map_or_else(|refusal| format!("{:?}", refusal.code), |_| "ok".to_owned());
            let (uid, pid, took) = (self.peer.uid, self.peer.pid.unwrap_or(0), began.elapsed().as_millis());
            say(format_args!("debug: {action} uid={uid} pid={pid} outcome={outcome} ms={took}"));
        }
        response
    }

    /// Returns when the client has closed the connection; one that has only finished writing still wants its answer.
    async fn peer_gone(&self) {
        loop {
            tokio::time::sleep(GONE_CHECK).await;
            let mut polled = [PollFd::new(self.stream.as_fd(), PollFlags::empty())];
            if poll(&mut polled, PollTimeout::ZERO).is_ok_and(|ready| ready > 0) {
                return;
            }
        }
    }

    /// Waits for a whole message, however long it takes to begin and [`MESSAGE_DEADLINE`] once it has, and reads it. Its
    /// bytes are wiped before it is carried out.
    async fn next_request(&mut self, guest: &Guest) -> Result<Result<Request, Refusal>, End> {
        let mut deadline = None;
        loop {
            if let Some(message) = self.scanner.next(&self.inbox).map_err(End::Unframed)? {
                let parse = || Request::parse(&self.inbox[message.clone()]);
                // What was refused may have been a key as well.
                let request = on_wiped_stack_if(parse, |request| request.as_ref().map_or(true, Request::has_secret));
                let size = message.len();
                self.inbox[message].zeroize();
                // It may wait for long, and its bytes need not.
                if size > LARGE_INBOX {
                    self.tidy();
                }
                return Ok(request);
            }
            self.tidy();
            let begun = self.scanner.is_inside();
            let deadline = begun.then(|| *deadline.get_or_insert_with(|| Instant::now() + MESSAGE_DEADLINE));
            let seat = guest.sit(if begun { Patience::Speaking } else { Patience::Waiting });
            tokio::select! {
                received = self.receive() => received?,
                () = seat.sent_home() => return Err(End::Silent),
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if begun => return Err(End::Silent),
            }
        }
    }

    async fn receive(&mut self) -> Result<(), End> {
        self.inbox.reserve(RECEIVE_ROOM);
        match self.stream.read_buf(&mut self.inbox).await {
            Ok(0) | Err(_) => Err(End::Silent),
            Ok(_) => Ok(()),
        }
    }

    /// Drops what was taken, and the room that only a large message needed.
    fn tidy(&mut self) {
        let gone = self.scanner.restart();
        if gone == 0 {
            return;
        }
        let kept = self.inbox.len() - gone;
        self.inbox.copy_within(gone.., 0);
        // What moved to the front was left behind at the back.
        self.inbox[kept..].zeroize();
        self.inbox.truncate(kept);
        if self.inbox.capacity() > LARGE_INBOX && self.inbox.len() <= LARGE_INBOX {
            // The allocator wipes the old place.
            self.inbox.shrink_to_fit();
        }
    }

    async fn send(&mut self, response: &Result<Answer, Refusal>) -> io::Result<()> {
        // The allocator wipes the line as it is freed; one that is kept is its keeper's to wipe.
        let line = written(response);
        let sent = timeout(SEND_DEADLINE, self.stream.write_all(&line)).await;
        sent.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Reads on for a moment after a last word: closing with unread bytes would make the peer's system drop that word.
    async fn hear_out(&mut self) {
        let _ = self.stream.shutdown().await;
        let _ = timeout(LAST_WORDS, async {
            let mut heard = 0;
            while heard < MAX_HEARD_OUT && self.receive().await.is_ok() {
                heard += self.inbox.len();
                self.inbox.clear();
            }
        })
        .await;
    }
}

/// Everybody who is connected, and among them those for whom the agent does nothing. When there is no more room, one of these
/// is sent home: first who has waited longest with nothing begun, then who has been longest at a message.
#[derive(Default)]
struct Lobby {
    inside: Mutex<Inside>,
    emptied: Notify,
}

#[derive(Default)]
struct Inside {
    closed: bool,
    guests: usize,
    next: u64,
    seats: BTreeMap<(Patience, u64), Arc<Notify>>,
}

/// What a connection in the lobby is at; the first is sent home first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Patience {
    Waiting,
    Speaking,
}

impl Lobby {
    fn guests(&self) -> usize {
        self.inside().guests
    }

    /// Sends one home; false when all have requests under way.
    fn send_one_home(&self) -> bool {
        let longest = self.inside().seats.pop_first();
        longest.map(|(_, bell)| bell.notify_one()).is_some()
    }

    /// Sends everybody home who waits, and whoever comes to wait from now on.
    fn close(&self) {
        let mut inside = self.inside();
        inside.closed = true;
        inside.seats.values().for_each(|bell| bell.notify_one());
    }

    /// Waits until everybody has left.
    async fn emptied(&self) {
        while self.guests() > 0 {
            self.emptied.notified().await;
        }
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        guard(&self.inside)
    }
}

/// A connection, as the lobby knows it.
struct Guest {
    lobby: Arc<Lobby>,
    bell: Arc<Notify>,
}

impl Guest {
    fn enter(lobby: &Arc<Lobby>) -> Self {
        lobby.inside().guests += 1;
        Self { lobby: Arc::clone(lobby), bell: Arc::default() }
    }

    fn sit(&self, patience: Patience) -> Seat<'_> {
        let mut inside = self.lobby.inside();
        if inside.closed {
            self.bell.notify_one();
        }
        let number = (patience, inside.next);
        inside.next += 1;
        inside.seats.insert(number, Arc::clone(&self.bell));
        Seat { guest: self, number }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.lobby.inside().guests -= 1;
        self.lobby.emptied.notify_one();
    }
}

struct Seat<'a> {
    guest: &'a Guest,
    number: (Patience, u64),
}

impl Seat<'_> {
    async fn sent_home(&self) {
        self.guest.bell.notified().await;
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.guest.lobby.inside().seats.remove(&self.number);
    }
}

fn unframed(error: FrameError) -> Refusal {
    match error {
        FrameError::NotAnObject => Refusal::new(Code::BadRequest, "malformed request at column 1")
            .hint("a request is one JSON object, such as {\"action\":\"ping\"}"),
        FrameError::TooLarge => Refusal::new(Code::TooLarge, "the request is larger than 256 KiB")
            .hint("a request of any use is far smaller"),
    }
}

/// How long a message may take from its first byte to its last.
const MESSAGE_DEADLINE: Duration = Duration::from_secs(10);
/// How long a client may take to accept an answer.
const SEND_DEADLINE: Duration = Duration::from_secs(10);
/// How long requests under way may take when the agent ends, and a refused client to hear why.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How often to look whether a client that waits is still there.
const GONE_CHECK: Duration = Duration::from_millis(200);
/// How late a key may be forgotten.
const EXPIRY_CHECK: Duration = Duration::from_secs(1);
/// How long to wait when a connection cannot be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Room for one read, in bytes: nearly every request is smaller.
const RECEIVE_ROOM: usize = 512;
/// An empty inbox larger than this, in bytes, is given back.
const LARGE_INBOX: usize = 4 * 1024;
/// Bytes read from a client that was told to go, at the most.
const MAX_HEARD_OUT: usize = 1024 * 1024;
