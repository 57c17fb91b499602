//! A TCP line that can be broken in every way a network breaks.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};

/// Forwards bytes between clients and one node until it is told not to.
pub(crate) struct Proxy {
    address: SocketAddr,
    line: Arc<Line>,
    accepting: tokio::task::JoinHandle<()>,
}

struct Line {
    to: Mutex<String>,
    /// Whether bytes from the client go through.
    up: watch::Sender<bool>,
    /// Whether bytes from the node go through.
    down: watch::Sender<bool>,
    /// Told when all connections are to be reset.
    cut: Notify,
    closed: AtomicBool,
}

impl Proxy {
    /// A proxy to the node at this port.
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let line = Arc::new(Line {
            to: Mutex::new(format!("127.0.0.1:{port}")),
            up: watch::channel(true).0,
            down: watch::channel(true).0,
            cut: Notify::new(),
            closed: AtomicBool::new(false),
        });
        let accepting = tokio::spawn(Arc::clone(&line).accept(listener));
        Self {
            address,
            line,
            accepting,
        }
    }

    /// Where clients connect.
    pub(crate) fn url(&self) -> String {
        format!("ws://{}/ws", self.address)
    }

    /// Where anything else connects.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Resets all connections; new ones lead to this port.
    pub(crate) fn lead_to(&self, port: u16) {
        self.lead_new_to(port);
        self.line.cut.notify_waiters();
    }

    /// New connections lead to this port, and those there are stay.
    pub(crate) fn lead_new_to(&self, port: u16) {
        *self.line.to.lock().unwrap() = format!("127.0.0.1:{port}");
    }

    /// What the node says does not arrive any more; what the client says does.
    pub(crate) fn silence_the_node(&self) {
        self.line.down.send_replace(false);
    }

    /// Nothing arrives any more on either side, and nobody is told: half-open.
    pub(crate) fn pause(&self) {
        self.line.up.send_replace(false);
        self.line.down.send_replace(false);
    }

    /// Everything that was held back arrives.
    pub(crate) fn go_on(&self) {
        self.line.up.send_replace(true);
        self.line.down.send_replace(true);
    }

    /// Resets all connections, and refuses new ones.
    pub(crate) fn cut(&self) {
        self.line.closed.store(true, Ordering::SeqCst);
        self.line.cut.notify_waiters();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut();
        self.accepting.abort();
    }
}

impl Line {
    async fn accept(self: Arc<Self>, listener: TcpListener) {
        while let Ok((client, _)) = listener.accept().await {
            if self.closed.load(Ordering::SeqCst) {
                continue;
            }
            tokio::spawn(Arc::clone(&self).carry(client));
        }
    }

    async fn carry(self: Arc<Self>, client: TcpStream) {
        let to = self.to.lock().unwrap().clone();
        let Ok(node) = TcpStream::connect(&to).await else {
            return;
        };
        let _ = (client.set_nodelay(true), node.set_nodelay(true));
        // A reset on both sides, however the halves end.
        let _ = (client.set_zero_linger(), node.set_zero_linger());
        let (from_client, to_client) = client.into_split();
        let (from_node, to_node) = node.into_split();
        let cut = self.cut.notified();
        let up = pump(from_client, to_node, self.up.subscribe());
        let down = pump(from_node, to_client, self.down.subscribe());
        tokio::select! {
            () = cut => {}
            () = async { tokio::join!(up, down); } => {}
        }
    }
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut open: watch::Receiver<bool>) {
    let mut piece = vec![0; 16 * 1024];
    loop {
        if open.wait_for(|open| *open).await.is_err() {
            return;
        }
        let Ok(read @ 1..) = from.read(&mut piece).await else {
            break;
        };
        if open.wait_for(|open| *open).await.is_err() || to.write_all(&piece[..read]).await.is_err()
        {
            return;
        }
    }
    let _ = to.shutdown().await;
}
