//! Who is in a topic, and who is told.

use std::collections::BTreeSet;

use sparkway_protocol::{Epoch, NodeId, PresenceChange, SessionId, TopicName, UserId};

use super::fixture::{Fixture, until};
use super::follower::Follower;
use super::sample::{Bench, LEASE_MS, node, unique};
use crate::StoreError;
use crate::presence::{Move, Standing, Step};

/// One session that may be in topics.
struct Guest {
    session: SessionId,
    user: UserId,
}

impl Guest {
    fn new(bench: &Bench) -> Self {
        Self::of(bench, &user())
    }

    fn of(bench: &Bench, user: &UserId) -> Self {
        Self {
            session: SessionId::from_random(rand::random(), bench.partition),
            user: user.clone(),
        }
    }

    fn moves(&self, topic: &TopicName, epoch: u64, step: Step) -> Move {
        Move {
            topic: topic.clone(),
            session: self.session,
            epoch: Epoch(epoch),
            user: self.user.clone(),
            step,
        }
    }
}

fn user() -> UserId {
    UserId::parse(&format!("guest {}", unique())).unwrap()
}

fn change(topic: &TopicName, user: &UserId, present: bool) -> PresenceChange {
    PresenceChange {
        topic: topic.clone(),
        user: user.clone(),
        present,
    }
}

async fn make(bench: &Bench, moves: Vec<Move>) -> Vec<PresenceChange> {
    let answer = bench.store.move_members(bench.partition, moves).await;
    answer.unwrap()
}

async fn join(bench: &Bench, topic: &TopicName, guest: &Guest, node: &NodeId) {
    let step = Step::Join(node.clone());
    make(bench, vec![guest.moves(topic, 1, step)]).await;
}

async fn users(bench: &Bench, topic: &TopicName) -> BTreeSet<UserId> {
    let members = bench.store.members(topic.clone(), None, 1000).await;
    let members = members.unwrap();
    let users: BTreeSet<UserId> = members.users.iter().cloned().collect();
    assert_eq!((users.len(), members.next), (members.users.len(), None));
    assert_eq!(members.count, users.len() as u64);
    users
}

async fn sweep(bench: &Bench, grace_ms: u64) -> Vec<PresenceChange> {
    let swept = bench.store.sweep_members(bench.partition, grace_ms, 100);
    swept.await.unwrap().changes
}

async fn standing(bench: &Bench, topic: &TopicName, user: &UserId) -> Standing {
    let asked = bench.store.standings(topic.clone(), vec![user.clone()]);
    asked.await.unwrap().pop().unwrap()
}

pub(super) async fn a_user_comes_with_his_first_session_and_leaves_with_his_last(
    fixture: &dyn Fixture,
) {
    let (bench, node) = (Bench::new(fixture), node());
    bench.lease(&node, LEASE_MS).await;
    let topic = bench.topic("here");
    let ada = user();
    let (one, two) = (Guest::of(&bench, &ada), Guest::of(&bench, &ada));
    let enter = |guest: &Guest| vec![guest.moves(&topic, 1, Step::Join(node.clone()))];
    assert!(users(&bench, &topic).await.is_empty());
    assert_eq!(
        make(&bench, enter(&one)).await,
        [change(&topic, &ada, true)]
    );
    assert_eq!(make(&bench, enter(&one)).await, [], "a repeat is nothing");
    assert_eq!(make(&bench, enter(&two)).await, []);
    assert_eq!(users(&bench, &topic).await, BTreeSet::from([ada.clone()]));
    let leave = |guest: &Guest| vec![guest.moves(&topic, 1, Step::Leave)];
    assert_eq!(make(&bench, leave(&one)).await, []);
    assert_eq!(make(&bench, leave(&one)).await, [], "a repeat is nothing");
    assert_eq!(users(&bench, &topic).await.len(), 1);
    assert_eq!(
        make(&bench, leave(&two)).await,
        [change(&topic, &ada, false)]
    );
    assert!(users(&bench, &topic).await.is_empty());
    let absent = Standing {
        present: false,
        last_seen_ms: None,
    };
    assert_eq!(
        standing(&bench, &topic, &ada).await,
        absent,
        "nothing is kept"
    );
}

pub(super) async fn followers_of_a_topic_hear_who_comes_and_leaves(fixture: &dyn Fixture) {
    let (bench, other, node) = (Bench::new(fixture), Bench::new(fixture), node());
    bench.lease(&node, LEASE_MS).await;
    let (topic, silent) = (bench.topic("heard"), bench.topic("silent"));
    let mut follower = Follower::of(&bench, &[&topic]).await;
    let guests: Vec<_> = (0..3).map(|_| Guest::new(&bench)).collect();
    let mut wanted = Vec::new();
    for guest in &guests {
        join(&other, &silent, guest, &node).await;
        let moves = vec![
            guest.moves(&topic, 1, Step::Join(node.clone())),
            guest.moves(&topic, 1, Step::Leave),
        ];
        make(&other, moves).await;
        wanted.push(change(&topic, &guest.user, true));
        wanted.push(change(&topic, &guest.user, false));
    }
    while follower.presence.len() < wanted.len() {
        follower.step().await;
    }
    assert_eq!(
        follower.presence, wanted,
        "in the order in which they happened"
    );
}

pub(super) async fn who_comes_back_within_the_grace_was_never_gone(fixture: &dyn Fixture) {
    let bench = Bench::new(fixture);
    let (first, second) = (bench.node().await, bench.node().await);
    let topic = bench.topic("grace");
    let guest = Guest::new(&bench);
    join(&bench, &topic, &guest, &first).await;
    let away = |grace_ms| vec![guest.moves(&topic, 1, Step::Away { grace_ms })];
    assert_eq!(make(&bench, away(300)).await, []);
    let back = vec![guest.moves(&topic, 2, Step::Join(second.clone()))];
    assert_eq!(make(&bench, back).await, []);
    // What the former owner writes late is nothing any more.
    assert_eq!(make(&bench, away(1)).await, []);
    let late = vec![guest.moves(&topic, 1, Step::Leave)];
    assert_eq!(make(&bench, late).await, []);
    fixture.advance(600).await;
    assert_eq!(sweep(&bench, 300).await, []);
    assert_eq!(users(&bench, &topic).await.len(), 1);
    // The former node's end does not touch it.
    bench.store.release(first).await.unwrap();
    assert_eq!(sweep(&bench, 1).await, []);
    fixture.advance(300).await;
    assert_eq!(sweep(&bench, 1).await, []);
    let gone = vec![guest.moves(&topic, 2, Step::Away { grace_ms: 0 })];
    let left = change(&topic, &guest.user, false);
    assert_eq!(make(&bench, gone).await, [left], "no grace, no delay");
}

pub(super) async fn who_stays_away_leaves_once_for_all_sweepers(fixture: &dyn Fixture) {
    let (bench, other) = (Bench::new(fixture), Bench::new(fixture));
    let node = bench.node().await;
    let topic = bench.topic("away");
    let guests: Vec<_> = (0..20).map(|_| Guest::new(&bench)).collect();
    for guest in &guests {
        join(&bench, &topic, guest, &node).await;
        let away = Step::Away { grace_ms: 300 };
        make(&bench, vec![guest.moves(&topic, 1, away)]).await;
    }
    assert_eq!(sweep(&other, 300).await, [], "their time is not over");
    fixture.advance(300).await;
    let mut left = Vec::new();
    until("all have left", async || {
        let (one, two) = tokio::join!(sweep(&bench, 300), sweep(&other, 300));
        left.extend(one.into_iter().chain(two));
        (left.len() >= guests.len()).then_some(())
    })
    .await;
    let whom: BTreeSet<_> = left.iter().map(|change| change.user.clone()).collect();
    assert_eq!((left.len(), whom.len()), (20, 20));
    assert!(left.iter().all(|change| !change.present));
    assert!(users(&bench, &topic).await.is_empty());
    assert_eq!(sweep(&bench, 0).await, []);
}

pub(super) async fn members_of_a_dead_node_leave_once_after_the_grace(fixture: &dyn Fixture) {
    let (bench, other) = (Bench::new(fixture), Bench::new(fixture));
    let (dead, alive) = (node(), bench.node().await);
    let topic = bench.topic("killed");
    let (lost, kept) = (Guest::new(&bench), Guest::new(&bench));
    bench.lease(&dead, 400).await;
    join(&bench, &topic, &lost, &dead).await;
    join(&bench, &topic, &kept, &alive).await;
    let mut follower = Follower::of(&other, &[&topic]).await;
    fixture.advance(400).await;
    // The sweep that finds the node dead begins the grace.
    until("the lease has lapsed", async || {
        let leases = bench.store.nodes().await.unwrap();
        let lives = leases.iter().any(|lease| lease.node == dead);
        (!lives).then_some(())
    })
    .await;
    assert_eq!(sweep(&other, 400).await, []);
    assert_eq!(users(&bench, &topic).await.len(), 2);
    fixture.advance(400).await;
    let left = until("the member has left", async || {
        let (one, two) = tokio::join!(sweep(&bench, 400), sweep(&other, 400));
        let left = [one, two].concat();
        (!left.is_empty()).then_some(left)
    })
    .await;
    assert_eq!(left, [change(&topic, &lost.user, false)]);
    assert_eq!(users(&bench, &topic).await, BTreeSet::from([kept.user]));
    while follower.presence.is_empty() {
        follower.step().await;
    }
    assert_eq!(follower.presence, left);
}

pub(super) async fn members_of_a_node_that_comes_back_stay(fixture: &dyn Fixture) {
    let bench = Bench::new(fixture);
    let stalled = node();
    let topic = bench.topic("stalled");
    let guest = Guest::new(&bench);
    bench.lease(&stalled, 300).await;
    join(&bench, &topic, &guest, &stalled).await;
    fixture.advance(400).await;
    assert_eq!(sweep(&bench, 300).await, []);
    bench.lease(&stalled, LEASE_MS).await;
    fixture.advance(400).await;
    for _ in 0..3 {
        assert_eq!(sweep(&bench, 300).await, []);
    }
    assert_eq!(users(&bench, &topic).await.len(), 1);
    // It is a member of its node as before, and found dead it has a grace of its own.
    bench.store.release(stalled).await.unwrap();
    assert_eq!(sweep(&bench, 300).await, []);
    fixture.advance(300).await;
    let left = until("the member has left", async || {
        let left = sweep(&bench, 300).await;
        (!left.is_empty()).then_some(left)
    });
    assert_eq!(left.await, [change(&topic, &guest.user, false)]);
}

pub(super) async fn topics_of_the_gateway_remember_when_somebody_was_there_last(
    fixture: &dyn Fixture,
) {
    let bench = Bench::new(fixture);
    let node = node();
    bench.lease(&node, 400).await;
    let name = loop {
        let name = TopicName::parse(&format!("$t{}", unique())).unwrap();
        if bench.layout.of(name.as_str()) == bench.partition {
            break name;
        }
    };
    let (polite, killed) = (Guest::new(&bench), Guest::new(&bench));
    join(&bench, &name, &polite, &node).await;
    join(&bench, &name, &killed, &node).await;
    let leased_ms = fixture.now_ms();
    let here = Standing {
        present: true,
        last_seen_ms: None,
    };
    assert_eq!(standing(&bench, &name, &polite.user).await, here);
    let before_ms = fixture.now_ms();
    let away = Step::Away { grace_ms: 300 };
    make(&bench, vec![polite.moves(&name, 1, away)]).await;
    let after_ms = fixture.now_ms();
    fixture.advance(400).await;
    until("both have left", async || {
        sweep(&bench, 0).await;
        users(&bench, &name).await.is_empty().then_some(())
    })
    .await;
    let seen_ms = async |guest: &Guest| {
        let standing = standing(&bench, &name, &guest.user).await;
        assert!(!standing.present);
        standing.last_seen_ms.unwrap()
    };
    // When the connection went, not when the grace was over.
    let polite_ms = seen_ms(&polite).await;
    assert!((before_ms..=after_ms).contains(&polite_ms), "{polite_ms}");
    // When the node was heard of last.
    let killed_ms = seen_ms(&killed).await;
    assert!(
        killed_ms <= leased_ms && killed_ms + 2000 > leased_ms,
        "{killed_ms}"
    );
    join(
        &bench,
        &name,
        &Guest::of(&bench, &polite.user),
        &bench.node().await,
    )
    .await;
    assert!(standing(&bench, &name, &polite.user).await.present);
}

pub(super) async fn members_are_listed_whatever_the_page(fixture: &dyn Fixture) {
    let bench = Bench::new(fixture);
    let node = bench.node().await;
    let (many, odd) = (bench.topic("many"), bench.topic("odd"));
    let guests: Vec<_> = (0..600).map(|_| Guest::new(&bench)).collect();
    for chunk in guests.chunks(crate::presence::MOVES) {
        let moves = chunk.iter();
        let moves = moves.map(|guest| guest.moves(&many, 1, Step::Join(node.clone())));
        assert_eq!(make(&bench, moves.collect()).await.len(), chunk.len());
    }
    let all: BTreeSet<_> = guests.iter().map(|guest| guest.user.clone()).collect();
    for limit in [1, 7, 100, 1000] {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = bench
                .store
                .members(many.clone(), after, limit)
                .await
                .unwrap();
            assert!(page.users.len() <= limit, "{} of {limit}", page.users.len());
            assert_eq!(page.count, 600);
            found.extend(page.users);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), all);
    }
    let whom: Vec<UserId> = ["a:b", "ünï", "{x}", "a b"]
        .map(|id| UserId::parse(id).unwrap())
        .into();
    for user in &whom {
        join(&bench, &odd, &Guest::of(&bench, user), &node).await;
    }
    assert_eq!(users(&bench, &odd).await, whom.into_iter().collect());
    let refused = bench.store.members(odd, Some(String::new()), 1).await;
    assert!(matches!(refused, Err(StoreError::Layout(_))), "{refused:?}");
}
