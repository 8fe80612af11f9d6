//! The socket: who may connect, where a message ends, how long it may take, and how many there may be at once.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Uid;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep_until, timeout};
use zeroize::Zeroize;

use super::connections::{Connections, Phase, Slot};
use super::fair::ShareKey;
use super::handler::Agent;
use super::inbox::Inbox;
use super::peer::Peer;
use super::receive::{Attached, Stream, receive};
use crate::frame::{FrameError, Scanner};
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
    let connections = Connections::new(max_connections);
    let accepting = tokio::spawn(accept(listener, Arc::clone(&agent), Arc::clone(&connections)));
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
    connections.end();
    let _ = timeout(LAST_WORDS, async {
        connections.all_closed().await;
        agent.debug_log.flush().await;
    })
    .await;
    agent.forget_all();
    agent.end_mints().await;
}

/// Starts to serve each connection whose peer is ours, making room if there are too many.
async fn accept(listener: UnixListener, agent: Arc<Agent>, connections: Arc<Connections>) {
    let us = Uid::effective().as_raw();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors or memory: the peer stays in the backlog, and others may end meanwhile.
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let stream = Stream::from(stream);
        let peer = stream.peer_cred().map(Peer::from).ok().filter(|peer| peer.uid == us || peer.uid == 0);
        let Some(mut peer) = peer else { continue };
        let owner = ShareKey::of_process(peer.pid);
        let mut slot = connections.admit(owner);
        if slot.is_none() {
            // Those that were accepted a moment ago have not run yet. Now they do, and one of them may make room.
            tokio::task::yield_now().await;
            slot = connections.admit(owner).or_else(|| connections.admit_reserved(owner));
        }
        let Some(slot) = slot else {
            // Whoever does not take it at once does not get it.
            let _ = stream.try_write(&written(&Err(busy(TOO_MANY))));
            continue;
        };
        if agent.records_peers() {
            peer.record(&stream);
        }
        let (agent, connection) = (Arc::clone(&agent), Connection::new(stream, peer));
        // A panic ends this connection and no other.
        if slot.is_reserved() {
            tokio::spawn(async move { connection.carry_out_one(&agent, &slot).await });
        } else {
            tokio::spawn(async move { connection.converse(&agent, &slot).await });
        }
    }
}

/// One client: its stream, and what it has sent and was not answered yet.
struct Connection {
    stream: Stream,
    peer: Peer,
    inbox: Inbox,
    attached: Attached,
    scanner: Scanner,
}

/// Why a conversation is over.
enum End {
    /// The client left or stalled, or has asked for nothing yet; there is nobody to tell.
    Silent,
    /// What it sent is no message; this is the last word.
    Unframed(FrameError),
    /// The room that it takes is needed; this is the last word.
    Refused(Refusal),
}

impl Connection {
    fn new(stream: Stream, peer: Peer) -> Self {
        Self { stream, peer, inbox: Inbox::default(), attached: Attached::default(), scanner: Scanner::default() }
    }

    async fn converse(mut self, agent: &Arc<Agent>, slot: &Slot) {
        loop {
            let answered = match self.next_request(slot).await {
                Ok(request) => self.carry_out(agent, request, slot).await,
                Err(end) => Err(end),
            };
            if let Err(end) = answered {
                return self.end(end, slot).await;
            }
        }
    }

    /// Carries out one request, if it is one of those for which a connection is reserved where there are too many.
    async fn carry_out_one(mut self, agent: &Arc<Agent>, slot: &Slot) {
        let request = timeout(RESERVED_DEADLINE, self.next_request(slot)).await;
        let end = match request {
            Ok(Ok(Ok(request))) if must_always_work(&request) => match self.carry_out(agent, Ok(request), slot).await {
                Ok(()) => End::Silent,
                Err(end) => end,
            },
            Ok(Err(end)) => end,
            Ok(Ok(_)) | Err(_) => End::Refused(busy(TOO_MANY)),
        };
        self.end(end, slot).await;
    }

    /// Carries out a request and sends the answer.
    async fn carry_out(
        &mut self,
        agent: &Arc<Agent>,
        request: Result<Request, Refusal>,
        slot: &Slot,
    ) -> Result<(), End> {
        let held = if self.inbox.is_large() { self.inbox.held() } else { 0 };
        let response = tokio::select! {
            biased;
            response = self.respond(agent, request) => response,
            // Nobody is left to answer: a question on the screen would only puzzle.
            () = self.peer_gone() => return Err(End::Silent),
            // A request that is answered at once never comes to this.
            _ = async { slot.wait(Phase::CarryingOut, held).evicted().await } => {
                return Err(End::Refused(busy("the agent carries out too many requests")));
            }
        };
        self.send(&response, slot).await.map_err(|_| End::Silent)
    }

    /// Says the last word, if there is one.
    async fn end(mut self, end: End, slot: &Slot) {
        let refusal = match end {
            End::Silent => return,
            End::Unframed(error) => unframed(error),
            End::Refused(refusal) => refusal,
        };
        self.inbox.clear();
        let is_sent = self.send(&Err(refusal), slot).await.is_ok();
        // A connection that is one too many must make room at once.
        if is_sent && !slot.is_reserved() {
            tokio::select! {
                biased;
                () = self.hear_out() => {}
                _ = async { slot.wait(Phase::Leaving, 0).evicted().await } => {}
            }
        }
    }

    async fn respond(&self, agent: &Arc<Agent>, request: Result<Request, Refusal>) -> Result<Answer, Refusal> {
        let (action, began) = (request.as_ref().map_or("malformed", Request::action), Instant::now());
        let response = match request {
            Ok(request) => agent.handle(request, self.peer.clone()).await,
            Err(refusal) => Err(refusal),
        };
        if agent.rules.debug {
            let outcome = response.as_ref().map_or_else(|refusal| format!("{:?}", refusal.code), |_| "ok".to_owned());
            let (uid, pid, took) = (self.peer.uid, self.peer.pid.unwrap_or(0), began.elapsed().as_millis());
            agent.debug_log.write(format!("debug: {action} uid={uid} pid={pid} outcome={outcome} ms={took}"));
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
    async fn next_request(&mut self, slot: &Slot) -> Result<Result<Request, Refusal>, End> {
        let mut deadline = None;
        loop {
            if let Some(message) = self.scanner.next(&self.inbox).map_err(End::Unframed)? {
                let parse = || Request::parse(&self.inbox[message.clone()]);
                // What was refused may have been a key as well.
                let request = on_wiped_stack_if(parse, |request| request.as_ref().map_or(true, Request::has_secret));
                let end = message.end;
                self.inbox[message].zeroize();
                let request = self.attached.hand_to(request, end);
                // It may wait for long, and its bytes need not.
                if self.inbox.is_large() {
                    self.tidy();
                }
                return Ok(request);
            }
            self.tidy();
            let begun = self.scanner.is_inside();
            let deadline = begun.then(|| *deadline.get_or_insert_with(|| Instant::now() + MESSAGE_DEADLINE));
            let (phase, held) = if begun { (Phase::Receiving, self.inbox.held()) } else { (Phase::Idle, 0) };
            let wait = slot.wait(phase, held);
            tokio::select! {
                received = self.receive() => received?,
                to_make_room = wait.evicted() => return Err(match to_make_room {
                    true if slot.is_reserved() => End::Refused(busy(TOO_MANY)),
                    true if begun => End::Refused(busy("the agent has too many unfinished requests")),
                    _ => End::Silent,
                }),
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if begun => return Err(End::Silent),
            }
        }
    }

    async fn receive(&mut self) -> Result<(), End> {
        self.inbox.room().map_err(|_| End::Refused(busy("the agent has no memory for a request")))?;
        match receive(&mut self.stream, &mut self.inbox, &mut self.attached).await {
            Ok(0) | Err(_) => Err(End::Silent),
            Ok(_) => Ok(()),
        }
    }

    /// Drops what was taken, and the room that only a large message needed.
    fn tidy(&mut self) {
        let gone = self.scanner.restart();
        if gone > 0 {
            self.attached.shift(gone);
            self.inbox.drop_front(gone);
        }
    }

    /// Sends the answer, unless the client does not take it in time or its room is needed.
    async fn send(&mut self, response: &Result<Answer, Refusal>, slot: &Slot) -> io::Result<()> {
        // The allocator wipes the line as it is freed; one that is kept is its keeper's to wipe.
        let line = written(response);
        tokio::select! {
            biased;
            sent = timeout(SEND_DEADLINE, self.stream.write_all(&line)) => {
                sent.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            }
            // An answer that is taken at once never comes to this.
            _ = async { slot.wait(Phase::Answering, line.len()).evicted().await } => {
                Err(io::ErrorKind::ConnectionAborted.into())
            }
        }
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

/// Whether a request is carried out also where there are too many connections: those that tell what the agent does, and those
/// that take something from everybody.
fn must_always_work(request: &Request) -> bool {
    matches!(
        request,
        Request::Ping | Request::Status | Request::Lock(_) | Request::RemoveKey(_) | Request::RemoveAllKeys(_)
    )
}

fn busy(error: &str) -> Refusal {
    Refusal::new(Code::Busy, error).hint("try again in a moment")
}

fn unframed(error: FrameError) -> Refusal {
    match error {
        FrameError::NotAnObject => Refusal::new(Code::BadRequest, "malformed request at column 1")
            .hint("a request is one JSON object, such as {\"action\":\"ping\"}"),
        FrameError::TooLarge => Refusal::new(Code::TooLarge, "the request is larger than 256 KiB")
            .hint("a request of any use is far smaller"),
    }
}

const TOO_MANY: &str = "the agent has too many connections";
/// How long a message may take from its first byte to its last.
const MESSAGE_DEADLINE: Duration = Duration::from_secs(10);
/// How long a client that is one too many may take to send its request.
const RESERVED_DEADLINE: Duration = Duration::from_secs(1);
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
/// Bytes read from a client that was told to go, at the most.
const MAX_HEARD_OUT: usize = 1024 * 1024;
