//! What every test stands on: processes, a line that can be broken, clients, a judge.

pub(crate) mod bystander;
pub(crate) mod cluster;
pub(crate) mod crowd;
pub(crate) mod history;
pub(crate) mod http;
pub(crate) mod node;
pub(crate) mod peer;
pub(crate) mod proxy;
pub(crate) mod redis;
pub(crate) mod tokens;

use std::future::Future;
use std::net::TcpListener;
use std::time::Duration;

use tokio::time::Instant;

/// Longest wait for anything that should come at once. Generous: the machine may be busy.
pub(crate) const SOON: Duration = Duration::from_secs(10);
/// Pause between two looks at something that cannot be waited for.
const LOOK: Duration = Duration::from_millis(10);

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    free_ports::<1>()[0]
}

/// Different ports that were free a moment ago.
pub(crate) fn free_ports<const COUNT: usize>() -> [u16; COUNT] {
    let listeners: [TcpListener; COUNT] =
        std::array::from_fn(|_| TcpListener::bind(("127.0.0.1", 0)).expect("a port is free"));
    listeners.map(|listener| listener.local_addr().expect("it has an address").port())
}

/// Looks again and again until `look` finds something, at most `within`.
pub(crate) async fn until<T, F>(what: &str, within: Duration, mut look: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let end = Instant::now() + within;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < end, "not within {within:?}: {what}");
        time_passes(LOOK).await;
    }
}

/// As [`until`], for something that is looked at without waiting.
pub(crate) async fn until_true(what: &str, within: Duration, mut look: impl FnMut() -> bool) {
    until(what, within, || std::future::ready(look().then_some(()))).await;
}

/// Lets time pass, for tests that are about time and nothing else.
pub(crate) async fn time_passes(long: Duration) {
    tokio::time::sleep(long).await;
}
