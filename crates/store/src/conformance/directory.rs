//! What operators are shown, and what they may end.

use std::collections::BTreeSet;

use sparkway_protocol::{CloseReason, MessageId, SessionId, TopicName};
use tokio::sync::mpsc;

use super::fixture::{Fixture, until};
use super::log::odd_names;
use super::sample::{Bench, detach, unique};
use crate::directory::{SessionQuery, SessionsOf, TopicQuery};
use crate::{Control, Remember, SessionRecord, StoreError, WriteError};

/// All pages of a listing, each of which keeps to the limit.
async fn walk(bench: &Bench, of: &SessionsOf, limit: usize) -> Vec<SessionRecord> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let query = SessionQuery {
            of: of.clone(),
            after: after.take(),
            limit,
        };
        let page = bench.store.sessions(bench.partition, query).await.unwrap();
        assert!(page.items.len() <= limit, "{} of {limit}", page.items.len());
        found.extend(page.items);
        match page.next {
            Some(next) => after = Some(next),
            None => return found,
        }
    }
}

async fn ids_of(bench: &Bench, of: &SessionsOf, limit: usize) -> BTreeSet<SessionId> {
    let found = walk(bench, of, limit).await;
    found.iter().map(|record| record.session).collect()
}

pub(super) async fn every_session_is_listed_whatever_the_page(fixture: &dyn Fixture) {
    let bench = Bench::new(fixture);
    // More than a small set holds, so that the walk takes many steps; and a small one.
    let (many, few) = (bench.node().await, bench.node().await);
    let mut of_many = BTreeSet::new();
    for _ in 0..300 {
        of_many.insert(bench.open(&many).await.session);
    }
    let of_few: BTreeSet<_> = [
        bench.open(&few).await.session,
        bench.open(&few).await.session,
    ]
    .into();
    let gone = bench.open(&few).await;
    let away = detach(gone.session, gone.epoch, 600_000);
    bench.detach(away).await.unwrap();
    let detached = BTreeSet::from([gone.session]);
    let all = of_many
        .iter()
        .chain(&of_few)
        .chain(&detached)
        .copied()
        .collect();
    for limit in [1, 7, 100, 1000] {
        assert_eq!(ids_of(&bench, &SessionsOf::All, limit).await, all);
        assert_eq!(
            ids_of(&bench, &SessionsOf::Node(few.clone()), limit).await,
            of_few
        );
        assert_eq!(
            ids_of(&bench, &SessionsOf::Node(many.clone()), limit).await,
            of_many
        );
        assert_eq!(ids_of(&bench, &SessionsOf::Detached, limit).await, detached);
    }
    let query = SessionQuery {
        of: SessionsOf::All,
        after: Some("nonsense".to_owned()),
        limit: 1,
    };
    let refused = bench.store.sessions(bench.partition, query).await;
    assert!(matches!(refused, Err(StoreError::Layout(_))));
}

pub(super) async fn sessions_of_a_user_are_listed_with_their_records(fixture: &dyn Fixture) {
    let bench = Bench::new(fixture);
    let node = bench.node().await;
    let user = bench.user();
    let mut own = Vec::new();
    for _ in 0..5 {
        own.push(
            bench
                .open_record(bench.record_of(user.clone(), &node))
                .await,
        );
    }
    bench.open(&node).await;
    for limit in [2, 5, 10] {
        let mut found = walk(&bench, &SessionsOf::User(user.clone()), limit).await;
        found.sort_by_key(|record| record.session);
        own.sort_by_key(|record| record.session);
        assert_eq!(found, own);
    }
    let nobody = SessionsOf::User(bench.user());
    assert!(walk(&bench, &nobody, 10).await.is_empty());
}

async fn listening(bench: &Bench, control: &mut mpsc::Receiver<Control>, node: &crate::NodeLease) {
    let close = Control::Close {
        session: SessionId::from_random([1; 16], bench.partition),
        reason: CloseReason::Drain,
    };
    until("the node is told", async || {
        let told = bench.store.tell(node.node.clone(), close.clone()).await;
        told.unwrap();
        let wait = std::time::Duration::from_millis(50);
        let heard = tokio::time::timeout(wait, control.recv()).await.ok()?;
        // The first connection is told of, too.
        if heard == Some(Control::Restored) {
            return None;
        }
        assert_eq!(heard, Some(close.clone()));
        Some(())
    })
    .await;
    while control.try_recv().is_ok() {}
}

pub(super) async fn session_removed_by_an_operator_is_over(fixture: &dyn Fixture) {
    let bench = Bench::new(fixture);
    let node = bench.node().await;
    let lease = bench.store.nodes().await.unwrap();
    let lease = lease.iter().find(|lease| lease.node == node).unwrap();
    let mut control = bench.store.control(&node);
    listening(&bench, &mut control, lease).await;
    let record = bench.open(&node).await;
    let reason = CloseReason::Disconnected;
    let removed = bench.store.remove(record.session, reason).await;
    assert_eq!(removed, Ok(true));
    let expected = Control::Close {
        session: record.session,
        reason,
    };
    loop {
        let heard = control.recv().await.unwrap();
        if heard == expected {
            break;
        }
    }
    assert_eq!(bench.load(record.session).await, None);
    let user = SessionsOf::User(record.user.clone().unwrap());
    for of in [SessionsOf::All, SessionsOf::Node(node), user] {
        assert!(!ids_of(&bench, &of, 10).await.contains(&record.session));
    }
    let change = Remember::nothing(record.session, record.epoch);
    let refused = bench.store.remember(change).await;
    assert_eq!(
        refused,
        Err(WriteError::Fenced),
        "no write of the owner counts"
    );
    let again = bench.store.restore(record.clone()).await;
    assert_eq!(again, Err(WriteError::Fenced), "it is not taken for lost");
    assert_eq!(bench.store.remove(record.session, reason).await, Ok(false));
    let unknown = SessionId::from_random([9; 16], bench.partition);
    assert_eq!(bench.store.remove(unknown, reason).await, Ok(false));
}

pub(super) async fn detached_session_can_be_removed(fixture: &dyn Fixture) {
    let bench = Bench::new(fixture);
    let record = bench.open(&bench.node().await).await;
    let away = detach(record.session, record.epoch, 600_000);
    bench.detach(away).await.unwrap();
    let reason = CloseReason::Disconnected;
    assert_eq!(bench.store.remove(record.session, reason).await, Ok(true));
    assert_eq!(bench.load(record.session).await, None);
    assert!(ids_of(&bench, &SessionsOf::Detached, 10).await.is_empty());
}

pub(super) async fn topics_are_listed_by_prefix(fixture: &dyn Fixture) {
    let bench = Bench::new(fixture);
    let prefix = format!("list{}[*]?:", unique());
    let mut expected = BTreeSet::new();
    for number in 0..150 {
        let name = TopicName::parse(&format!("{prefix}{number}")).unwrap();
        if bench.layout.of(name.as_str()) == bench.partition {
            bench.publish(&name, "x").await;
            expected.insert((name.clone(), bench.publish(&name, "y").await, 2));
        }
    }
    for name in odd_names() {
        if bench.layout.of(name.as_str()) == bench.partition {
            bench.publish(&name, "x").await;
        }
    }
    // Pages of one listing may differ in size.
    for limits in [[3, 3, 3], [1000, 1000, 1000], [2, 70, 1]] {
        let (mut found, mut after) = (Vec::new(), None);
        for limit in limits.into_iter().cycle() {
            let query = TopicQuery {
                prefix: prefix.clone(),
                after: after.take(),
                limit,
            };
            let page = bench.store.topics(bench.partition, query).await.unwrap();
            assert!(page.items.len() <= limit);
            found.extend(page.items);
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        let found: BTreeSet<_> = found
            .into_iter()
            .map(|summary| (summary.topic, summary.tip, summary.entries))
            .collect();
        assert_eq!(found, expected);
    }
    let one = expected.first().unwrap();
    assert_eq!(bench.store.log_length(one.0.clone()).await, Ok(2));
    assert_eq!(bench.store.log_length(bench.topic("silent")).await, Ok(0));
}

pub(super) async fn trimmed_log_keeps_its_tip_and_its_followers(fixture: &dyn Fixture) {
    let bench = Bench::new(fixture);
    let topic = bench.topic("a");
    let (first, second) = (
        bench.publish(&topic, "1").await,
        bench.publish(&topic, "2").await,
    );
    let third = bench.publish(&topic, "3").await;
    let kept = async || {
        let page = bench.page(&topic, MessageId::ZERO, 10).await;
        page.entries
            .iter()
            .map(|entry| entry.id)
            .collect::<Vec<_>>()
    };
    bench.store.trim(topic.clone(), first).await.unwrap();
    assert_eq!(kept().await, [second, third]);
    bench.store.trim(topic.clone(), third).await.unwrap();
    bench.store.trim(topic.clone(), third).await.unwrap();
    assert!(kept().await.is_empty());
    assert_eq!(bench.store.tip(topic.clone()).await, Ok(third));
    let fourth = bench.publish(&topic, "4").await;
    let page = bench.page(&topic, MessageId::ZERO, 10).await;
    assert_eq!(page.entries[0].id, fourth);
    assert_eq!(
        page.entries[0].prev, third,
        "the back link names what is gone"
    );
    let silent = bench.topic("silent");
    bench.store.trim(silent, third).await.unwrap();
}
