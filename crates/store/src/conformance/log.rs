//! What is read back: pages, trimming, tips, fidelity.

use bytes::Bytes;
use sparkway_protocol::{
    Encoding, MessageId, Payload, SessionId, TopicName, TraceContext, UserId, limits,
};

use super::fixture::{Fixture, until};
use super::sample::{Bench, ids, message, unique};
use crate::record::Range;
use crate::{Append, Retention, Want};

pub(super) async fn pages_come_in_the_order_of_the_wants(fixture: &dyn Fixture) {
    let bench = Bench::new(fixture);
    let (a, b, silent) = (bench.topic("a"), bench.topic("b"), bench.topic("silent"));
    let first = bench.publish(&a, "1").await;
    let second = bench.publish(&b, "2").await;
    let third = bench.publish(&a, "3").await;
    let want = |topic: &TopicName, after| Want {
        topic: topic.clone(),
        after,
    };
    let wants = vec![
        want(&b, MessageId::ZERO),
        want(&silent, MessageId::ZERO),
        want(&a, first),
        want(&a, MessageId::ZERO),
        want(&a, MessageId::MAX),
    ];
    let asked: Vec<_> = wants.iter().map(|want| want.topic.clone()).collect();
    let pages = bench.store.read(bench.partition, wants, 10).await.unwrap();
    let told: Vec<_> = pages.iter().map(|page| page.topic.clone()).collect();
    assert_eq!(told, asked);
    let read: Vec<_> = pages.iter().map(|page| ids(&page.entries)).collect();
    let expected = [
        vec![second],
        vec![],
        vec![third],
        vec![first, third],
        vec![],
    ];
    assert_eq!(read, expected);
    assert!(pages.iter().all(|page| !page.more));
}

pub(super) async fn page_that_holds_limit_entries_has_more(fixture: &dyn Fixture) {
    let bench = Bench::new(fixture);
    let topic = bench.topic("a");
    let mut all = Vec::new();
    for _ in 0..7 {
        all.push(bench.publish(&topic, "x").await);
    }
    let mut read = Vec::new();
    let mut after = MessageId::ZERO;
    loop {
        let page = bench.page(&topic, after, 3).await;
        assert_eq!(page.more, page.entries.len() == 3);
        read.extend(ids(&page.entries));
        assert!(read.len() <= all.len(), "each entry is in one page");
        match page.entries.last() {
            Some(newest) if page.more => after = newest.id,
            _ => break,
        }
    }
    assert_eq!(read, all);
}

pub(super) async fn history_pages_both_directions(fixture: &dyn Fixture) {
    let bench = Bench::new(fixture);
    let topic = bench.topic("a");
    let mut all = Vec::new();
    for _ in 0..10 {
        all.push(bench.publish(&topic, "x").await);
    }
    let page = async |after, before, limit, reverse| {
        let range = Range {
            topic: topic.clone(),
            after,
            before,
            limit,
            reverse,
        };
        let page = bench.store.history(range).await.unwrap();
        assert_eq!(page.topic, topic);
        (ids(&page.entries), page.more)
    };
    let newest_first = |range: &[MessageId]| range.iter().rev().copied().collect::<Vec<_>>();
    let zero = MessageId::ZERO;
    assert_eq!(page(zero, None, 10, false).await, (all.clone(), false));
    assert_eq!(page(zero, None, 9, false).await, (all[..9].to_vec(), true));
    assert_eq!(page(all[8], None, 9, false).await, (vec![all[9]], false));
    let newest = page(zero, None, 4, true).await;
    assert_eq!(newest, (newest_first(&all[6..]), true));
    let older = page(zero, Some(all[6]), 6, true).await;
    assert_eq!(older, (newest_first(&all[..6]), false));
    // Both bounds are exclusive, and `more` looks at the range only.
    let inner = page(all[2], Some(all[5]), 2, false).await;
    assert_eq!(inner, (all[3..5].to_vec(), false));
    let inner = page(all[2], Some(all[6]), 2, true).await;
    assert_eq!(inner, (vec![all[5], all[4]], true));
    assert_eq!(page(all[5], Some(all[5]), 5, false).await, (vec![], false));
    assert_eq!(page(all[7], Some(all[2]), 5, true).await, (vec![], false));
    assert_eq!(page(all[9], None, 5, true).await, (vec![], false));
    let none = Range {
        topic: bench.topic("silent"),
        after: zero,
        before: None,
        limit: 5,
        reverse: true,
    };
    let none = bench.store.history(none).await.unwrap();
    assert!(none.entries.is_empty() && !none.more);
}

pub(super) async fn trimmed_log_shows_in_prev_of_first_survivor(fixture: &dyn Fixture) {
    let bench = Bench::new(fixture);
    let topic = bench.topic("a");
    let retention = Retention {
        entries: 10,
        age_ms: 600_000,
    };
    let short = || Append {
        retention,
        ..message(&topic, "x")
    };
    let mut all = Vec::new();
    // Backends may trim in blocks: write enough for several of them.
    for _ in 0..20 {
        let batch = (0..50).map(|_| short()).collect();
        let answers = bench.append_all(batch).await;
        all.extend(answers.into_iter().map(|answer| answer.unwrap().id));
    }
    let kept = bench.log(&topic).await;
    assert!(kept.len() >= 10, "at least the bound is kept");
    assert!(kept.len() < all.len(), "something was trimmed");
    assert_eq!(ids(&kept), all[all.len() - kept.len()..]);
    assert_eq!(kept[0].prev, all[all.len() - kept.len() - 1]);
    assert!(kept.is_sorted_by(|older, newer| newer.prev == older.id));
}

pub(super) async fn idle_log_goes_and_its_tip_stays(fixture: &dyn Fixture) {
    let bench = Bench::new(fixture);
    let topic = bench.topic("a");
    let brief = Append {
        retention: Retention {
            entries: 100,
            age_ms: 400,
        },
        ..message(&topic, "brief")
    };
    let id = bench.append(brief.clone()).await.unwrap().id;
    assert_eq!(ids(&bench.log(&topic).await), [id]);
    fixture.advance(400).await;
    let is_gone = async || bench.log(&topic).await.is_empty().then_some(());
    until("the aged entry is gone", is_gone).await;
    assert_eq!(bench.store.tip(topic.clone()).await.unwrap(), id);
    // Whoever comes back with an older position sees that there was something.
    bench.publish(&topic, "later").await;
    assert_eq!(bench.log(&topic).await[0].prev, id);
}

pub(super) async fn tip_and_clock(fixture: &dyn Fixture) {
    let (bench, other) = (Bench::new(fixture), Bench::new(fixture));
    let (a, b) = (bench.topic("a"), bench.topic("b"));
    assert_eq!(bench.store.tip(a.clone()).await.unwrap(), MessageId::ZERO);
    let in_a = bench.publish(&a, "1").await;
    let in_b = bench.publish(&b, "2").await;
    assert_eq!(other.store.tip(a.clone()).await.unwrap(), in_a);
    assert_eq!(other.store.tip(b.clone()).await.unwrap(), in_b);
    let clock = other.store.clock(bench.partition).await.unwrap();
    assert!(clock >= in_b);
    assert!(bench.publish(&a, "3").await > clock);
    assert!(bench.store.holes(bench.partition).await.unwrap().is_empty());
}

pub(super) async fn payloads_of_every_encoding_round_trip(fixture: &dyn Fixture) {
    let bench = Bench::new(fixture);
    let topic = bench.topic("a");
    let all_bytes: Vec<u8> = (0..=255).collect();
    let payloads = [
        (
            Encoding::Json,
            Bytes::from_static(b"{\"a\":[1,\"\\u0000\"]}"),
        ),
        (Encoding::Json, Bytes::from_static(b"null")),
        (Encoding::MsgPack, Bytes::from_static(b"\x81\xa1a\xc0")),
        (Encoding::Binary, Bytes::from(all_bytes)),
        (Encoding::Binary, Bytes::new()),
        (Encoding::Text, Bytes::from("zażółć \0 \r\n \u{1f600}")),
        (Encoding::Text, Bytes::new()),
        (Encoding::Binary, vec![0xff; limits::MESSAGE_BYTES].into()),
    ];
    let payloads = payloads.map(|(encoding, bytes)| Payload { encoding, bytes });
    for payload in &payloads {
        let append = Append {
            payload: payload.clone(),
            ..message(&topic, "")
        };
        bench.append(append).await.unwrap();
    }
    let read = bench.log(&topic).await;
    assert_eq!(read.len(), payloads.len());
    for (entry, payload) in read.iter().zip(&payloads) {
        assert_eq!(&entry.payload, payload);
    }
}

pub(super) async fn every_field_of_an_entry_round_trips(fixture: &dyn Fixture) {
    let bench = Bench::new(fixture);
    let topic = bench.topic("a");
    let users = [None, Some("ann"), Some("{odd} ü|,:\"'\\ 1")];
    let origin = SessionId::from_random(rand::random(), bench.partition);
    let trace = TraceContext::new([7; 16], [8; 8], true);
    for from in users.map(|name| name.map(|name| UserId::parse(name).unwrap())) {
        for origin in [None, Some(origin)] {
            for (exclude_origin, trace) in [(false, None), (true, trace)] {
                let append = Append {
                    from: from.clone(),
                    origin,
                    exclude_origin,
                    trace,
                    ..message(&topic, "x")
                };
                let id = bench.append(append).await.unwrap().id;
                let entry = bench.log(&topic).await.pop().unwrap();
                assert_eq!(entry.id, id);
                assert_eq!(entry.topic, topic);
                let told = (entry.from.clone(), entry.origin, entry.exclude_origin);
                assert_eq!(told, (from.clone(), origin, exclude_origin));
                assert_eq!(entry.trace.as_deref().copied(), trace);
            }
        }
    }
}

/// Names that could be taken for keys, patterns, tags or arguments.
pub(super) fn odd_names() -> Vec<TopicName> {
    let mark = unique();
    let stems = [
        "$user:1",
        "$session:x",
        "}{x}",
        "{p0}",
        "{}",
        "*",
        "?[a-z]",
        "a:b::c:",
        ":",
        "%s",
        "\\",
        "\"'`",
        "ünïcode-\u{1f600}",
        "log:x",
        "tip:x",
        "clock",
        "-1",
        "0",
        "null",
        "a/../b",
    ];
    let mut names: Vec<_> = stems.iter().map(|stem| format!("{stem}{mark}")).collect();
    names.push(format!("{mark:x>255}"));
    names
        .iter()
        .map(|name| TopicName::parse(name).unwrap())
        .collect()
}

pub(super) async fn odd_topic_names_are_topics_of_their_own(fixture: &dyn Fixture) {
    let bench = Bench::new(fixture);
    let names = odd_names();
    let mut given = Vec::new();
    for name in &names {
        let there = Bench {
            partition: bench.layout.of(name.as_str()),
            ..bench.clone()
        };
        given.push(there.publish(name, "x").await);
    }
    for (name, id) in names.iter().zip(given) {
        let there = Bench {
            partition: bench.layout.of(name.as_str()),
            ..bench.clone()
        };
        let log = there.log(name).await;
        assert_eq!(ids(&log), [id], "{name}");
        assert_eq!(&log[0].topic, name);
        assert_eq!(there.store.tip(name.clone()).await.unwrap(), id);
    }
}
