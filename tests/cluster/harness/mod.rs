//! What every test stands on: processes, a line that can be broken, clients, a judge.

pub(crate) mod backend;
pub(crate) mod bystander;
pub(crate) mod cluster;
pub(crate) mod crowd;
pub(crate) mod history;
pub(crate) mod http;
pub(crate) mod issuer;
pub(crate) mod node;
pub(crate) mod operations;
pub(crate) mod operator;
pub(crate) mod peer;
pub(crate) mod proxy;
pub(crate) mod redis;
pub(crate) mod schema;
pub(crate) mod tokens;

use std::future::Future;
use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// Longest wait for anything that should come at once. Generous: the machine may be busy.
pub(crate) const SOON: Duration = Duration::from_secs(10);
/// Pause between two looks at something that cannot be waited for.
const LOOK: Duration = Duration::from_millis(10);

/// A port that was free a moment ago, below those that the system gives to outgoing connections:
/// thousands of clients come and go while the tests run.
pub(crate) fn free_port() -> u16 {
    const FIRST: u16 = 10_000;
    const COUNT: u16 = 18_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Processes begin in different places, so that they seldom want the same.
    let start = u16::try_from(std::process::id() % u32::from(COUNT)).expect("below the count");
    loop {
        let offset = NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
        let port = FIRST + (start + offset) % COUNT;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Different ports that were free a moment ago.
pub(crate) fn free_ports<const COUNT: usize>() -> [u16; COUNT] {
    std::array::from_fn(|_| free_port())
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
