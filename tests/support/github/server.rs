//! The wire: a thread that accepts connections and carries answers, whole or not.

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::future::{pending, poll_fn};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use http_body_util::{Either, Full};
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::{runtime, task, time};

use super::answer::{Answer, Content};
use super::mischief::Delivery;
use super::pipeline::{self, Reply};
use super::request::Request;
use super::world::World;

/// The world, shared between the tests that change it and the server that answers from it.
pub(super) struct Shared {
    world: Mutex<World>,
    /// Told of every request that arrives and every answer that leaves.
    stirred: Condvar,
}

impl Shared {
    pub(super) fn new(world: World) -> Arc<Self> {
        Arc::new(Self { world: Mutex::new(world), stirred: Condvar::new() })
    }

    /// Locks the world.
    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("no endpoint has panicked")
    }

    /// Waits until the world is as wanted; gives it back either way, after `patience` at the latest.
    pub(super) fn wait(&self, patience: Duration, wanted: impl Fn(&World) -> bool) -> (MutexGuard<'_, World>, bool) {
        let (world, timeout) = self
            .stirred
            .wait_timeout_while(self.world(), patience, |world| !wanted(world))
            .expect("no endpoint has panicked");
        (world, !timeout.timed_out())
    }

    fn change<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        let result = change(&mut self.world());
        self.stirred.notify_all();
        result
    }
}

/// A running server; stopped when dropped, with all its connections.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    stop: Option<oneshot::Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts serving on a free port of the loopback interface.
    pub(super) fn start(shared: Arc<Shared>) -> Self {
        let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime needs only memory");
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new()
            .name("github".to_owned())
            .spawn(move || {
                runtime.spawn(accept(listener, shared));
                // Nothing is ever sent: the channel closing is the signal, and the runtime ends with this thread.
                runtime.block_on(stopped).expect_err("an Infallible cannot be sent");
            })
            .expect("a thread can be started");
        Self { address, stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic over there has been printed there; here it may meet another one.
            let _ = thread.join();
        }
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            task::spawn(converse(stream, Arc::clone(&shared)));
        }
    }
}

/// Serves one connection until either side has enough.
async fn converse(stream: TcpStream, shared: Arc<Shared>) {
    // Small answers must not wait for an acknowledgement; if it fails they are only late.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| Box::pin(answer(Arc::clone(&shared), request)));
    let mut connection = http1::Builder::new().auto_date_header(false).serve_connection(TokioIo::new(stream), service);
    // Without hyper's shutdown, because a reset must be the first that the client hears.
    let end = poll_fn(|context| connection.poll_without_shutdown(context)).await;
    let stream = connection.into_parts().io.into_inner();
    if end.is_err_and(|error| matches!(severance(&error), Some(Severance::Reset))) {
        stream.set_zero_linger().expect("a TCP socket can linger");
    }
}

async fn answer(shared: Arc<Shared>, request: hyper::Request<Incoming>) -> Result<hyper::Response<Carrier>, Severance> {
    let request = Request::read(request).await.map_err(|_| Severance::Close)?;
    let admission = shared.change(|world| pipeline::admit(world, &request));
    if !admission.delay.is_zero() {
        time::sleep(admission.delay).await;
    }
    let Reply { answer, delivery } = shared.change(|world| pipeline::respond(world, &request, &admission));
    match delivery {
        Delivery::Never => pending().await,
        Delivery::Close => Err(Severance::Close),
        Delivery::Reset => Err(Severance::Reset),
        Delivery::Whole | Delivery::Cut | Delivery::Drip(_) | Delivery::Flood(_) => Ok(load(answer, delivery)),
    }
}

/// Why a connection ends without an answer.
#[derive(Clone, Copy, Debug)]
enum Severance {
    Close,
    Reset,
}

impl fmt::Display for Severance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection ends here by request")
    }
}

impl Error for Severance {}

/// Finds our own reason in hyper's error.
fn severance(error: &hyper::Error) -> Option<Severance> {
    error.source()?.downcast_ref().copied()
}

/// A body at once, or one that is fed chunk by chunk.
type Carrier = Either<Full<Bytes>, Fed>;

/// Turns an answer into hyper's response.
fn load(answer: Answer, delivery: Delivery) -> hyper::Response<Carrier> {
    let mut response = hyper::Response::builder().status(answer.status);
    for (name, value) in &answer.headers {
        response = response.header(name, value);
    }
    let body = match answer.content {
        Content::Empty => Bytes::new(),
        Content::Json(value) => Bytes::from(value.to_string()),
        Content::Raw(_, body) => Bytes::from(body),
    };
    let body = match delivery {
        Delivery::Cut | Delivery::Drip(_) => {
            response = response.header("Content-Length", body.len());
            Either::Right(feed(body, delivery))
        }
        Delivery::Flood(_) => Either::Right(feed(body, delivery)),
        _ => Either::Left(Full::new(body)),
    };
    response.body(body).expect("tests name valid statuses and headers")
}

/// Feeds a body in the background; the feeder ends when the client does.
fn feed(body: Bytes, delivery: Delivery) -> Fed {
    let (feeder, fed) = mpsc::channel(1);
    task::spawn(async move {
        match delivery {
            Delivery::Cut => {
                let half = body.slice(..body.len() / 2);
                if feeder.send(Ok(half)).await.is_ok() {
                    // The channel has room for one: this waits until hyper has taken the half, and hyper flushes
                    // what it has before it lets another task run.
                    let _ = feeder.send(Err(io::ErrorKind::ConnectionAborted.into())).await;
                }
            }
            Delivery::Drip(pause) => {
                for index in 0..body.len() {
                    time::sleep(pause).await;
                    if feeder.send(Ok(body.slice(index..=index))).await.is_err() {
                        break;
                    }
                }
            }
            Delivery::Flood(bytes) => {
                let blank = Bytes::from(vec![b' '; FLOOD_CHUNK]);
                let mut left = bytes;
                while left > 0 && feeder.send(Ok(blank.slice(..left.min(FLOOD_CHUNK)))).await.is_ok() {
                    left = left.saturating_sub(FLOOD_CHUNK);
                }
            }
            _ => {}
        }
    });
    Fed(fed)
}

/// The receiving end of [`feed`], as hyper wants it.
#[derive(Debug)]
struct Fed(mpsc::Receiver<io::Result<Bytes>>);

impl Body for Fed {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0.poll_recv(context).map(|chunk| chunk.map(|chunk| chunk.map(Frame::data)))
    }
}

const FLOOD_CHUNK: usize = 64 * 1024;
