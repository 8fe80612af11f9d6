//! A proxy for https, as companies have it: it is told where to connect, and passes on what it cannot read.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::listener::{Listener, connect};

/// A running proxy, and all that it has heard.
pub(crate) struct Proxy {
    listener: Listener,
    heard: Arc<Mutex<Vec<Heard>>>,
}

/// What one client said.
#[derive(Clone, Default)]
pub(crate) struct Heard {
    /// The request, and its headers.
    pub(crate) head: String,
    /// What went through the tunnel towards the server.
    pub(crate) tunnelled: Vec<u8>,
}

impl Proxy {
    /// Whatever it is asked to connect to, it knows that as the server at `address`.
    pub(crate) fn to(address: SocketAddr) -> Self {
        Self::start(move |client, hearing| tunnel(client, address, hearing))
    }

    /// It answers every request so, and hangs up.
    pub(crate) fn answering(answer: &'static str) -> Self {
        Self::start(move |mut client, hearing| async move {
            read_head(&mut client, &hearing).await;
            let _ = client.write_all(answer.as_bytes()).await;
        })
    }

    fn start<S>(serve: impl Fn(TcpStream, Hearing) -> S + Send + 'static) -> Self
    where
        S: Future<Output = ()> + Send + 'static,
    {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&heard);
        Self { listener: Listener::start(move |client| serve(client, Hearing::of(&all))), heard }
    }

    /// `http://127.0.0.1:PORT`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.authority())
    }

    /// `127.0.0.1:PORT`.
    pub(crate) fn authority(&self) -> String {
        self.listener.address().to_string()
    }

    /// How many connections there have been.
    pub(crate) fn accepted(&self) -> usize {
        self.listener.accepted()
    }

    /// What each client has said, in the order in which they came.
    pub(crate) fn heard(&self) -> Vec<Heard> {
        self.heard.lock().expect("no holder panics").clone()
    }

    /// Where the clients wanted to be connected to, without repetitions.
    #[track_caller]
    pub(crate) fn targets(&self) -> Vec<String> {
        let target = |heard: Heard| {
            let line = heard.head.lines().next().unwrap_or_default();
            let target = line.strip_prefix("CONNECT ").and_then(|rest| rest.strip_suffix(" HTTP/1.1"));
            target.unwrap_or_else(|| panic!("only tunnels are asked for, not `{line}`")).to_owned()
        };
        let mut targets: Vec<_> = self.heard().into_iter().map(target).collect();
        targets.dedup();
        targets
    }
}

/// Where one client's words are written down.
struct Hearing {
    all: Arc<Mutex<Vec<Heard>>>,
    index: usize,
}

impl Hearing {
    fn of(all: &Arc<Mutex<Vec<Heard>>>) -> Self {
        let mut heard = all.lock().expect("no holder panics");
        heard.push(Heard::default());
        Self { all: Arc::clone(all), index: heard.len() - 1 }
    }

    fn note(&self, what: impl FnOnce(&mut Heard)) {
        what(&mut self.all.lock().expect("no holder panics")[self.index]);
    }
}

async fn tunnel(mut client: TcpStream, to: SocketAddr, hearing: Hearing) {
    read_head(&mut client, &hearing).await;
    let server = connect(to).await;
    if client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.is_err() {
        return;
    }
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
    let mut piece = [0; 4096];
    while let Ok(count @ 1..) = from_client.read(&mut piece).await {
        hearing.note(|heard| heard.tunnelled.extend_from_slice(&piece[..count]));
        if to_server.write_all(&piece[..count]).await.is_err() {
            return;
        }
    }
}

/// Reads up to the empty line, and nothing of what follows it.
async fn read_head(client: &mut (impl AsyncRead + Unpin), hearing: &Hearing) {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        let Ok(byte) = client.read_u8().await else { break };
        bytes.push(byte);
    }
    hearing.note(|heard| heard.head = String::from_utf8_lossy(&bytes).into_owned());
}
