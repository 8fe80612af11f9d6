//! A server in the test's own process, for what is no GitHub: it accepts, and each connection is served as the test says.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime;
use tokio::sync::oneshot;

/// A listening server; stopped when dropped, with all its connections.
pub(crate) struct Listener {
    address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    stop: Option<oneshot::Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    /// Listens on a free port of the loopback interface, and serves each connection in a task of its own.
    pub(crate) fn start<S>(serve: impl Fn(TcpStream) -> S + Send + 'static) -> Self
    where
        S: Future<Output = ()> + Send + 'static,
    {
        let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime needs only memory");
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let accepted = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&accepted);
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn(move || {
            runtime.spawn(async move {
                loop {
                    if let Ok((stream, _)) = listener.accept().await {
                        // Small answers must not wait for an acknowledgement; if it fails they are only late.
                        let _ = stream.set_nodelay(true);
                        counter.fetch_add(1, Ordering::Relaxed);
                        tokio::spawn(serve(stream));
                    }
                }
            });
            // Nothing is ever sent: the channel closing is the signal, and the runtime ends with this thread.
            runtime.block_on(stopped).expect_err("an Infallible cannot be sent");
        });
        Self { address, accepted, stop: Some(stop), thread: Some(thread) }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections there have been.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }
}

/// A connection onwards, to a server that is there as long as the test.
pub(super) async fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).await.expect("it listens");
    let _ = stream.set_nodelay(true);
    stream
}

impl Drop for Listener {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic over there has been printed there; here it may meet another one.
            let _ = thread.join();
        }
    }
}
