//! The client against a scripted node.

mod fake;
mod lifecycle;
mod messages;
mod publishing;
mod tls;
mod wire;

use std::time::Duration;

use tokio::time::timeout;

use crate::{Event, Message, Status, Subscribe, Subscription};
pub(crate) use fake::{Fake, Peer, SOON, quick};

/// Subscribes while the node grants.
pub(crate) async fn follow(
    client: &crate::Client,
    peer: &mut Peer,
    topics: &[&str],
    how: Subscribe,
    position: &str,
) -> Subscription {
    let (subscription, _) = tokio::join!(client.subscribe(topics, how), peer.grant(position));
    subscription.unwrap()
}

/// The next event, soon.
pub(crate) async fn event(subscription: &mut Subscription) -> Event {
    timeout(SOON, subscription.next())
        .await
        .expect("no event comes")
        .expect("it ended")
}

/// The next message, soon.
pub(crate) async fn message(subscription: &mut Subscription) -> Message {
    match event(subscription).await {
        Event::Message(message) => message,
        other => panic!("{other:?} instead of a message"),
    }
}

/// The ids of the next messages.
pub(crate) async fn ids(subscription: &mut Subscription, many: usize) -> Vec<u64> {
    let mut ids = Vec::new();
    for _ in 0..many {
        ids.push(message(subscription).await.id.unwrap().get());
    }
    ids
}

/// Waits until the client is online over its connection number `connection`.
pub(crate) async fn online(client: &crate::Client, number: u64) -> bool {
    let mut status = client.status();
    let seen = timeout(
        SOON,
        status.wait_for(
            |status| matches!(status, Status::Online { connection, .. } if *connection == number),
        ),
    )
    .await;
    matches!(
        seen.expect("not online").as_deref(),
        Ok(Status::Online { resumed: true, .. })
    )
}

/// Waits until `holds`.
pub(crate) async fn until(holds: impl Fn() -> bool) {
    timeout(SOON, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await
    .expect("never came true");
}
