//! Events: kept once by whoever made them true, handed out to one node at a time.

use futures_util::future::join_all;
use sparkway_protocol::{CloseReason, Epoch, NodeId, SessionId, TopicName, UserId};

use super::fixture::{Fixture, until};
use super::sample::{Bench, LEASE_MS, detach, node, unique};
use crate::presence::{Move, Step};
use crate::{Happened, KeptEvent, Matters, OnlyOne, Open, SessionRecord};

/// Who delivers for as long as a check runs.
const HOLD_MS: u64 = 3_600_000;

/// A bench whose store keeps events.
fn keeping(fixture: &dyn Fixture) -> Bench {
    let bench = Bench::new(fixture);
    bench.store.keep_events(Matters::ALL);
    bench
}

async fn waiting(bench: &Bench, by: &NodeId) -> Vec<KeptEvent> {
    let taken = bench
        .store
        .take_events(bench.partition, by.clone(), HOLD_MS, 1000);
    taken.await.unwrap().events
}

fn told(events: &[KeptEvent], record: &SessionRecord) -> Vec<Happened> {
    let session = record.session.to_string();
    let is_of_it = |event: &&KeptEvent| event.session.as_deref() == Some(&session);
    let of_it = events.iter().filter(is_of_it);
    of_it.map(|event| event.kind).collect()
}

pub(super) async fn life_of_a_session_is_told_in_order(fixture: &dyn Fixture) {
    let bench = keeping(fixture);
    let (owner, reader) = (bench.node().await, node());
    let ended = bench.open(&owner).await;
    let removed = bench.open(&owner).await;
    let expired = bench.open(&owner).await;
    let before_ms = fixture.now_ms();
    for _ in 0..2 {
        let end = bench.store.end(ended.session, ended.epoch);
        end.await.unwrap();
        let remove = bench
            .store
            .remove(removed.session, CloseReason::Disconnected);
        remove.await.unwrap();
    }
    let late = detach(expired.session, expired.epoch, 10);
    bench.detach(late).await.unwrap();
    fixture.advance(20).await;
    until("it has expired", async || {
        bench
            .store
            .sweep(bench.partition, 60_000, 100)
            .await
            .unwrap();
        let events = waiting(&bench, &reader).await;
        told(&events, &expired)
            .contains(&Happened::SessionExpired)
            .then_some(())
    })
    .await;
    let events = waiting(&bench, &reader).await;
    let closed = [Happened::SessionOpened, Happened::SessionClosed];
    assert_eq!(told(&events, &ended), closed);
    assert_eq!(told(&events, &removed), closed);
    assert_eq!(
        told(&events, &expired),
        [Happened::SessionOpened, Happened::SessionExpired]
    );
    assert_eq!(events.len(), 6, "each once: {events:?}");
    let user = ended.user.as_ref().map(UserId::as_str);
    for event in &events {
        assert!(event.at_ms.abs_diff(before_ms) < 60_000, "{event:?}");
    }
    let of_ended = events
        .iter()
        .find(|event| event.session.as_deref() == Some(&ended.session.to_string()));
    assert_eq!(of_ended.unwrap().user.as_deref(), user);
}

pub(super) async fn one_event_of_many_who_try(fixture: &dyn Fixture) {
    let bench = keeping(fixture);
    let others: Vec<Bench> = (0..4).map(|_| keeping(fixture)).collect();
    let (owner, reader) = (bench.node().await, node());
    let expired = bench.open(&owner).await;
    let late = detach(expired.session, expired.epoch, 10);
    bench.detach(late).await.unwrap();
    fixture.advance(20).await;
    let ended = bench.open(&owner).await;
    until("it has expired", async || {
        let sweeps = others
            .iter()
            .map(|other| other.store.sweep(other.partition, 60_000, 100));
        let swept: usize = join_all(sweeps)
            .await
            .into_iter()
            .map(|swept| swept.unwrap().len())
            .sum();
        (swept > 0).then_some(())
    })
    .await;
    let ends = others
        .iter()
        .map(|other| other.store.end(ended.session, ended.epoch));
    join_all(ends).await;
    let opens = others.iter().map(|other| {
        let open = Open {
            record: SessionRecord {
                session: SessionId::from_random([7; 16], bench.partition),
                ..ended.clone()
            },
            only_one: OnlyOne::No,
        };
        other.store.open(open)
    });
    join_all(opens).await;
    let events = waiting(&bench, &reader).await;
    let count = |kind| events.iter().filter(|event| event.kind == kind).count();
    assert_eq!(count(Happened::SessionExpired), 1, "{events:?}");
    assert_eq!(count(Happened::SessionClosed), 1, "{events:?}");
    assert_eq!(count(Happened::SessionOpened), 3, "{events:?}");
}

pub(super) async fn a_session_that_gives_way_is_closed(fixture: &dyn Fixture) {
    let bench = keeping(fixture);
    let (owner, reader) = (bench.node().await, node());
    let old = bench.open(&owner).await;
    let new = SessionRecord {
        session: SessionId::from_random([9; 16], bench.partition),
        ..old.clone()
    };
    let open = Open {
        record: new.clone(),
        only_one: OnlyOne::OfUser,
    };
    for _ in 0..2 {
        bench.store.open(open.clone()).await.unwrap();
    }
    let events = waiting(&bench, &reader).await;
    assert_eq!(
        told(&events, &old),
        [Happened::SessionOpened, Happened::SessionClosed]
    );
    assert_eq!(told(&events, &new), [Happened::SessionOpened]);
}

pub(super) async fn events_are_handed_to_one_node_until_they_are_settled(fixture: &dyn Fixture) {
    let bench = keeping(fixture);
    let (owner, first, second) = (bench.node().await, node(), node());
    for _ in 0..5 {
        bench.open(&owner).await;
    }
    let take = async |by: &NodeId, hold_ms| {
        let taken = bench
            .store
            .take_events(bench.partition, by.clone(), hold_ms, 3);
        taken.await.unwrap()
    };
    let taken = take(&first, 1000).await;
    assert_eq!((taken.events.len(), taken.waiting), (3, 5));
    assert_eq!(take(&second, 1000).await.events, [], "not to another node");
    assert_eq!(take(&first, 1000).await, taken, "the same again");
    let ids = |events: &[KeptEvent]| events.iter().map(|event| event.id.clone()).collect();
    let settle = bench
        .store
        .settle_events(bench.partition, ids(&taken.events), false);
    settle.await.unwrap();
    let rest = take(&first, 1000).await;
    assert_eq!((rest.events.len(), rest.waiting), (2, 2));
    // The node is gone: after its turn another one goes on.
    fixture.advance(1100).await;
    until("another node goes on", async || {
        (take(&second, 1000).await.events == rest.events).then_some(())
    })
    .await;
    for _ in 0..2 {
        let dead = bench
            .store
            .settle_events(bench.partition, ids(&rest.events), true);
        dead.await.unwrap();
    }
    assert_eq!(take(&second, 1000).await.waiting, 0);
    let dead = bench.store.dead_events(bench.partition).await.unwrap();
    assert_eq!(dead, 2, "moved once");
}

pub(super) async fn nothing_is_kept_where_nobody_is_told(fixture: &dyn Fixture) {
    let bench = Bench::new(fixture);
    let (owner, reader) = (bench.node().await, node());
    let session = bench.open(&owner).await;
    let end = bench.store.end(session.session, session.epoch);
    end.await.unwrap();
    assert_eq!(waiting(&bench, &reader).await, []);
}

/// A user with some sessions.
struct Guest {
    user: UserId,
    sessions: Vec<SessionId>,
}

impl Guest {
    fn new(bench: &Bench, sessions: usize) -> Self {
        let session = |_| SessionId::from_random(rand::random(), bench.partition);
        Self {
            user: UserId::parse(&format!("guest {}", unique())).unwrap(),
            sessions: (0..sessions).map(session).collect(),
        }
    }

    /// All his sessions do this, each of them twice: a repeat adds nothing.
    async fn all(&self, bench: &Bench, topic: &TopicName, step: &Step) {
        for &session in &self.sessions {
            for _ in 0..2 {
                let step = Move {
                    topic: topic.clone(),
                    session,
                    epoch: Epoch(1),
                    user: self.user.clone(),
                    step: step.clone(),
                };
                let moved = bench.store.move_members(bench.partition, vec![step]);
                moved.await.unwrap();
            }
        }
    }
}

/// Kinds and users, in order; all of them of one topic.
fn of_topic<'a>(events: &'a [KeptEvent], topic: &TopicName) -> Vec<(Happened, Option<&'a str>)> {
    events
        .iter()
        .map(|event| {
            let about = (event.session.as_deref(), event.topic.as_deref());
            assert_eq!(about, (None, Some(topic.as_str())), "{event:?}");
            (event.kind, event.user.as_deref())
        })
        .collect()
}

pub(super) async fn who_comes_and_leaves_is_told_once_and_in_order(fixture: &dyn Fixture) {
    let bench = keeping(fixture);
    let (host, reader) = (bench.node().await, node());
    let topic = bench.topic("here");
    let own = TopicName::parse("$lobby").unwrap();
    let (ada, bob) = (Guest::new(&bench, 2), Guest::new(&bench, 1));
    let join = Step::Join(host);
    for guest in [&ada, &bob] {
        guest.all(&bench, &topic, &join).await;
    }
    // A cut that is mended in time is nothing.
    ada.all(&bench, &topic, &Step::Away { grace_ms: 60_000 })
        .await;
    ada.all(&bench, &topic, &join).await;
    for guest in [&ada, &bob] {
        guest.all(&bench, &topic, &Step::Leave).await;
    }
    if bench.store.partitions().of(own.as_str()) == bench.partition {
        ada.all(&bench, &own, &join).await;
        ada.all(&bench, &own, &Step::Leave).await;
    }
    let events = waiting(&bench, &reader).await;
    let (ada, bob) = (Some(ada.user.as_str()), Some(bob.user.as_str()));
    assert_eq!(
        of_topic(&events, &topic),
        [
            (Happened::TopicOccupied, None),
            (Happened::PresenceJoined, ada),
            (Happened::PresenceJoined, bob),
            (Happened::PresenceLeft, ada),
            (Happened::PresenceLeft, bob),
            (Happened::TopicVacated, None),
        ]
    );
}

pub(super) async fn members_of_a_dead_node_are_told_once(fixture: &dyn Fixture) {
    let bench = keeping(fixture);
    let others: Vec<Bench> = (0..4).map(|_| keeping(fixture)).collect();
    let (dead, reader) = (node(), node());
    bench.lease(&dead, LEASE_MS).await;
    let topic = bench.topic("lost");
    let guests = [Guest::new(&bench, 2), Guest::new(&bench, 1)];
    for guest in &guests {
        guest.all(&bench, &topic, &Step::Join(dead.clone())).await;
    }
    bench.store.release(dead).await.unwrap();
    until("they have left", async || {
        let sweeps = others
            .iter()
            .map(|other| other.store.sweep_members(other.partition, 0, 100));
        for swept in join_all(sweeps).await {
            swept.unwrap();
        }
        let events = waiting(&bench, &reader).await;
        let is_last = |event: &KeptEvent| event.kind == Happened::TopicVacated;
        events.last().is_some_and(is_last).then_some(())
    })
    .await;
    let events = waiting(&bench, &reader).await;
    let told = of_topic(&events, &topic);
    let count = |kind| told.iter().filter(|(of, _)| *of == kind).count();
    assert_eq!(told.len(), 6, "{told:?}");
    assert_eq!(count(Happened::PresenceLeft), 2, "{told:?}");
    assert_eq!(told[5], (Happened::TopicVacated, None));
}

/// What is kept of a session and of a user in a topic when these kinds are asked for.
async fn kept_of(fixture: &dyn Fixture, kinds: &[Happened]) -> Vec<Happened> {
    let bench = Bench::new(fixture);
    bench.store.keep_events(Matters::of(kinds.iter().copied()));
    let (host, reader) = (bench.node().await, node());
    let (topic, ada) = (bench.topic("here"), Guest::new(&bench, 1));
    let session = bench.open(&host).await;
    ada.all(&bench, &topic, &Step::Join(host)).await;
    ada.all(&bench, &topic, &Step::Leave).await;
    let end = bench.store.end(session.session, session.epoch);
    end.await.unwrap();
    let events = waiting(&bench, &reader).await;
    events.iter().map(|event| event.kind).collect()
}

pub(super) async fn events_of_topics_alone_are_kept_where_only_they_are_asked_for(
    fixture: &dyn Fixture,
) {
    assert_eq!(
        kept_of(fixture, &[Happened::TopicVacated]).await,
        [Happened::TopicOccupied, Happened::TopicVacated]
    );
}

pub(super) async fn events_of_presence_alone_are_kept_where_only_they_are_asked_for(
    fixture: &dyn Fixture,
) {
    assert_eq!(
        kept_of(fixture, &[Happened::PresenceJoined]).await,
        [Happened::PresenceJoined, Happened::PresenceLeft]
    );
}

pub(super) async fn events_of_sessions_alone_are_kept_where_only_they_are_asked_for(
    fixture: &dyn Fixture,
) {
    assert_eq!(
        kept_of(fixture, &[Happened::SessionExpired]).await,
        [Happened::SessionOpened, Happened::SessionClosed]
    );
}
