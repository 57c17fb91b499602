//! A line between two processes that can be broken in every way a network breaks.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How the line is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct State {
    /// Whether bytes towards the server go through.
    pub(crate) up: bool,
    /// Whether bytes from the server go through.
    pub(crate) down: bool,
    /// How long each piece takes.
    pub(crate) delay: Duration,
    /// Connections that began before this number of resets are no more.
    pub(crate) resets: u32,
}

const WHOLE: State = State {
    up: true,
    down: true,
    delay: Duration::ZERO,
    resets: 0,
};

/// Forwards bytes between clients and one server.
pub(crate) struct Proxy {
    /// Where clients connect.
    pub(crate) port: u16,
    state: Arc<watch::Sender<State>>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn to(port: u16) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("a port")?;
        let own = listener.local_addr()?.port();
        let state = Arc::new(watch::channel(WHOLE).0);
        let accepting = tokio::spawn(accept(listener, port, Arc::clone(&state)));
        Ok(Self {
            port: own,
            state,
            accepting,
        })
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut State)) {
        self.state.send_modify(change);
    }

    /// Resets all connections; new ones are made.
    pub(crate) fn reset(&self) {
        self.change(|state| state.resets += 1);
    }

    /// Nothing arrives any more on either side, and nobody is told.
    pub(crate) fn go_dark(&self) {
        self.change(|state| (state.up, state.down) = (false, false));
    }

    /// As good as new. What was held back arrives.
    pub(crate) fn heal(&self) {
        self.change(|state| {
            *state = State {
                resets: state.resets,
                ..WHOLE
            };
        });
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.reset();
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, to: u16, state: Arc<watch::Sender<State>>) {
    while let Ok((client, _)) = listener.accept().await {
        tokio::spawn(carry(client, to, state.subscribe()));
    }
}

async fn carry(client: TcpStream, to: u16, mut state: watch::Receiver<State>) {
    let resets = state.borrow_and_update().resets;
    // A line that is dark does not even connect.
    if state
        .wait_for(|state| state.up || state.resets != resets)
        .await
        .is_err()
    {
        return;
    }
    let Ok(server) = TcpStream::connect(("127.0.0.1", to)).await else {
        drop(client.set_zero_linger());
        return;
    };
    for end in [&client, &server] {
        drop(end.set_nodelay(true));
        // A reset on both sides, however the halves end.
        drop(end.set_zero_linger());
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let up = pump(from_client, to_server, state.clone(), |state| state.up);
    let down = pump(from_server, to_client, state.clone(), |state| state.down);
    tokio::select! {
        _ = state.wait_for(|state| state.resets != resets) => {}
        () = async { tokio::join!(up, down); } => {}
    }
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut state: watch::Receiver<State>,
    is_open: fn(&State) -> bool,
) {
    let mut piece = vec![0; 16 * 1024];
    loop {
        if state.wait_for(is_open).await.is_err() {
            return;
        }
        let Ok(read @ 1..) = from.read(&mut piece).await else {
            break;
        };
        let delay = match state.wait_for(is_open).await {
            Ok(state) => state.delay,
            Err(_) => return,
        };
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let whole = piece.get(..read).unwrap_or_default();
        if to.write_all(whole).await.is_err() {
            return;
        }
    }
    drop(to.shutdown().await);
}
