//! The stream of a connection: its bytes, and the file descriptors that may come with them.

use std::future::poll_fn;
use std::io::{self, IoSliceMut};
use std::mem::{self, MaybeUninit};
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, OnceLock};
use std::task::{Poll, ready};
use std::thread;

use nix::sys::socket::{Shutdown, shutdown};
use rustix::cmsg_space;
use rustix::io::retry_on_intr;
use rustix::net::sockopt::set_socket_linger;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, recvmsg};
use tokio::io::Interest;
use tokio::net::UnixStream;
use zeroize::Zeroize;

use super::inbox::Inbox;
use crate::protocol::{Code, Refusal, Request};

/// The stream of one connection.
///
/// The system closes the descriptors that nobody has received when it closes the stream, and that can block. Hence they are
/// received first, for the thread that closes descriptors.
pub(super) struct Stream {
    socket: UnixStream,
    /// The client has said that nothing follows, and all that came before was read.
    is_at_end: bool,
}

impl Stream {
    fn receive_the_rest(&self) -> io::Result<()> {
        // Otherwise a client that goes on sending would keep the event loop here.
        shutdown(self.socket.as_fd().as_raw_fd(), Shutdown::Read)?;
        let mut bytes = [0; DISCARDED_AT_ONCE];
        let mut received = Ok(1);
        while received? > 0 {
            let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
            received = recvmsg(&self.socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, flags)
                .map(|received| received.bytes);
            descriptors(&mut control).for_each(drop);
        }
        bytes.zeroize();
        Ok(())
    }
}

impl From<UnixStream> for Stream {
    fn from(socket: UnixStream) -> Self {
        Self { socket, is_at_end: false }
    }
}

impl Deref for Stream {
    type Target = UnixStream;

    fn deref(&self) -> &UnixStream {
        &self.socket
    }
}

impl DerefMut for Stream {
    fn deref_mut(&mut self) -> &mut UnixStream {
        &mut self.socket
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if !self.is_at_end {
            // It ends with an error where the client has closed the connection meanwhile, or nothing is left.
            let _ = self.receive_the_rest();
        }
    }
}

/// Waits until there is something to read, and appends it to the inbox. Returns how many bytes came: none at the end of the
/// stream. A descriptor that comes with them goes to `attached`.
pub(super) async fn receive(stream: &mut Stream, inbox: &mut Inbox, attached: &mut Attached) -> io::Result<usize> {
    // Unlike `readable`, this takes part in tokio's budget: a client that never stops sending must let others have a turn.
    poll_fn(|cx| {
        loop {
            ready!(stream.poll_read_ready(cx))?;
            let mut received = None;
            let read = stream.try_io(Interest::READABLE, || {
                let (bytes, is_drained) = receive_now(stream, inbox, attached)?;
                received = Some(bytes);
                // tokio then waits for more, rather than have the next read find out that there is none.
                if is_drained { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
            });
            match (received, read) {
                (Some(bytes), _) => {
                    stream.is_at_end = bytes == 0;
                    return Poll::Ready(Ok(bytes));
                }
                (None, Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
                (None, read) => return Poll::Ready(read.map(|()| 0)),
            }
        }
    })
    .await
}

/// Reads once, without waiting. Returns how many bytes came, and whether there are no more.
fn receive_now(stream: &UnixStream, inbox: &mut Inbox, attached: &mut Attached) -> io::Result<(usize, bool)> {
    let room = inbox.room()?;
    let size = room.len();
    // It has room for as many as one message can bring: the kernel would close those that do not fit, on this thread.
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received =
        retry_on_intr(|| recvmsg(stream, &mut [IoSliceMut::new(room)], &mut control, RecvFlags::CMSG_CLOEXEC))?;
    let bytes = received.bytes;
    inbox.add(bytes);
    let is_cut = received.flags.contains(ReturnFlags::CTRUNC);
    let mut is_alone = !is_cut;
    for descriptor in descriptors(&mut control) {
        is_alone = false;
        attached.add(descriptor, inbox.len());
    }
    if is_cut {
        attached.add_surplus(inbox.len());
    }
    // A read that leaves room has emptied the socket, but one that brings a descriptor ends there, whatever follows.
    Ok((bytes, is_alone && bytes > 0 && bytes < size))
}

/// The descriptors that came.
fn descriptors(control: &mut RecvAncillaryBuffer<'_>) -> impl Iterator<Item = Descriptor> {
    let rights = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    rights.flatten().map(|descriptor| Descriptor(Some(descriptor)))
}

/// The descriptor that came with bytes of a connection, until the request is whole that it belongs to.
#[derive(Default)]
pub(super) struct Attached {
    state: State,
    /// Where in the inbox the read ended that brought it.
    end: usize,
}

#[derive(Default)]
enum State {
    #[default]
    Nothing,
    One(Descriptor),
    TooMany,
}

impl Attached {
    /// Gives a request what came with it: one that says so gets the descriptor, any other is refused.
    ///
    /// `end` is where the request's message ends in the inbox. One that ends before the read which brought the descriptor may
    /// be an earlier message that came in the same read; it is not judged.
    pub(super) fn hand_to(&mut self, request: Result<Request, Refusal>, end: usize) -> Result<Request, Refusal> {
        if matches!(self.state, State::Nothing) {
            return request;
        }
        if end < self.end && !request.as_ref().is_ok_and(Request::has_key_file) {
            return request;
        }
        match (mem::take(self).state, request?) {
            (State::Nothing, request) => Ok(request),
            (State::One(descriptor), mut request) => request.attach(Arc::new(descriptor)).map(|()| request),
            (State::TooMany, _) => {
                Err(Refusal::new(Code::BadRequest, "more than one file descriptor came with the request")
                    .hint("send each with a request of its own, and wait for the answer"))
            }
        }
    }

    /// Takes note that so many bytes at the front of the inbox are gone.
    pub(super) fn shift(&mut self, gone: usize) {
        self.end = self.end.saturating_sub(gone);
    }

    fn add(&mut self, descriptor: Descriptor, end: usize) {
        self.end = end;
        self.state = match mem::take(&mut self.state) {
            State::Nothing => State::One(descriptor),
            State::One(_) | State::TooMany => State::TooMany,
        };
    }

    fn add_surplus(&mut self, end: usize) {
        *self = Self { state: State::TooMany, end };
    }
}

/// A descriptor that a client sent. It is closed on a thread of its own, because closing can block: a socket that lingers
/// waits for its peer, a file on FUSE or NFS for its server.
struct Descriptor(Option<OwnedFd>);

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_ref().expect("it is open until it is dropped").as_fd()
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        let Some(descriptor) = self.0.take() else { return };
        // A socket that does not linger is closed at once, so that only files of a server that hangs can fill the queue.
        let _ = set_socket_linger(&descriptor, None);
        let unclosed = match closer() {
            Some(closer) => closer.try_send(descriptor).map_err(|error| match error {
                TrySendError::Full(descriptor) | TrySendError::Disconnected(descriptor) => descriptor,
            }),
            None => Err(descriptor),
        };
        // It stays open: a client that uses up the agent's descriptors does less harm than one that stops the event loop.
        unclosed.unwrap_or_else(mem::forget);
    }
}

/// The thread that closes descriptors; `None` if it could not be started.
fn closer() -> Option<&'static SyncSender<OwnedFd>> {
    static CLOSER: OnceLock<Option<SyncSender<OwnedFd>>> = OnceLock::new();
    let start = || {
        let (closer, descriptors) = sync_channel(MAX_UNCLOSED);
        let thread = thread::Builder::new().name("close".to_owned()).stack_size(CLOSER_STACK);
        thread.spawn(move || descriptors.into_iter().for_each(drop)).is_ok().then_some(closer)
    };
    CLOSER.get_or_init(start).as_ref()
}

/// Bytes that are read at once from a connection that ends, to be thrown away.
const DISCARDED_AT_ONCE: usize = 4 * 1024;
/// Most descriptors that Linux takes in one message (`SCM_MAX_FD`).
const MAX_DESCRIPTORS: usize = 253;
/// Most descriptors that wait to be closed: those of two messages.
const MAX_UNCLOSED: usize = 2 * MAX_DESCRIPTORS;
/// The stack of the thread that closes them, in bytes; it does nothing else.
const CLOSER_STACK: usize = 64 * 1024;
