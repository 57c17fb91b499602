//! Topics are followed and left.

use serde_json::{Value, json};

use crate::everywhere;
use crate::harness::cluster::Cluster;
use crate::harness::peer::Peer;

everywhere! {
    async fn a_subscribe_is_answered_with_a_position_per_topic(place: &Place<'_>) {
        let (new, used) = (place.topic("new"), place.topic("used"));
        let mut peer = Peer::connect(place.first(), place.encoding).await;
        let newest = peer.publish(&used, json!(1)).await;
        let result = peer.done("topic:subscribe", json!({"topics": [new, used]})).await;
        let position = &result["topics"][0]["position"];
        assert_eq!(
            result,
            json!({
                "topics": [
                    {"topic": new, "position": position, "recovered": true},
                    {"topic": used, "position": newest, "recovered": true},
                ],
                "rejected": [],
            })
        );
        assert!(position.is_string(), "{position}");
        // Live delivery follows the position: nothing before it, everything behind it.
        let id = peer.publish(&used, json!(2)).await;
        assert_eq!(peer.message().await["id"], json!(id));
    }

    async fn names_that_are_none_are_rejected_one_by_one(place: &Place<'_>) {
        let longest = "n".repeat(255);
        let good = ["a", "gift-list:123", "üñí:çödé", "*", "}{x}", "?[a-z]", "::::", &longest];
        let bad = ["", " ", "a b", "a\tb", "a\nb", "a\u{0}b", "a\u{7f}", "a\u{a0}b", "a\u{2028}b"];
        let long = ["n".repeat(256), "n".repeat(20_000), "ü".repeat(128)];
        let bad: Vec<&str> = bad.into_iter().chain(long.iter().map(String::as_str)).collect();
        let mut peer = Peer::connect(place.first(), place.encoding).await;
        let asked: Vec<&str> = good.iter().copied().chain(bad.iter().copied()).collect();
        let result = peer.done("topic:subscribe", json!({"topics": asked})).await;
        let granted = result["topics"].as_array().unwrap();
        let granted: Vec<&str> =
            granted.iter().map(|topic| topic["topic"].as_str().unwrap()).collect();
        assert_eq!(granted, good);
        let rejected = result["rejected"].as_array().unwrap();
        assert_eq!(rejected.len(), bad.len());
        for (rejected, asked) in rejected.iter().zip(bad) {
            assert_eq!(rejected["code"], "invalid");
            let named = rejected["topic"].as_str().unwrap();
            assert!(asked.starts_with(named), "{named:?} of {asked:?}");
        }
        // A name is data: it works like any other, and reaches no other key.
        for topic in good {
            let id = peer.publish(topic, json!(topic)).await;
            let message = peer.message().await;
            assert_eq!((&message["id"], &message["topic"]), (&json!(id), &json!(topic)));
        }
        for topic in ["", "a b", "a\nb", &long[0]] {
            let answer = peer.publish_as("bad", topic, json!(1)).await;
            assert_eq!(answer["data"]["code"], "invalid", "{topic:?}");
        }
    }

    async fn a_wildcard_is_a_name_like_any_other(place: &Place<'_>) {
        let mut peer = Peer::connect(place.first(), place.encoding).await;
        let star = place.topic("*");
        peer.subscribe(&[&star, "room:*"]).await;
        peer.publish("room:1", json!("not for it")).await;
        let id = peer.publish("room:*", json!("for it")).await;
        assert_eq!(peer.message().await["id"], json!(id));
    }

    async fn subscribing_twice_is_once_and_leaving_the_unknown_is_fine(place: &Place<'_>) {
        let topic = place.topic("twice");
        let mut peer = Peer::connect(place.first(), place.encoding).await;
        peer.subscribe(&[&topic, &topic]).await;
        peer.subscribe(&[&topic]).await;
        let id = peer.publish(&topic, json!(1)).await;
        assert_eq!(peer.message().await["id"], json!(id));
        peer.hears_nothing().await;
        let left = json!([topic, "never:followed", "no name"]);
        let result = peer.done("topic:unsubscribe", json!({"topics": left})).await;
        assert_eq!(result, json!({"unsubscribed": left}));
        peer.publish(&topic, json!(2)).await;
        peer.hears_nothing().await;
        // And back again, from the position that is told.
        let result = peer.done("topic:subscribe", json!({"topics": [topic]})).await;
        let number = |id: &Value| id.as_str().unwrap().parse::<u64>().unwrap();
        let position = number(&result["topics"][0]["position"]);
        let id = json!(peer.publish(&topic, json!(3)).await);
        loop {
            let message = peer.message().await;
            assert!(number(&message["id"]) > position, "{message}");
            if message["id"] == id {
                break;
            }
        }
    }

    async fn since_brings_everything_behind_an_id_and_then_goes_on_live(place: &Place<'_>) {
        let topic = place.topic("since");
        let mut publisher = Peer::connect(place.first(), place.encoding).await;
        let mut ids = Vec::new();
        for number in 0..6 {
            ids.push(publisher.publish(&topic, json!(number)).await);
        }
        for since in [ids[2].clone(), "0".to_owned(), ids[5].clone()] {
            let mut peer = Peer::connect(place.second(), place.encoding).await;
            let data = json!({"topics": [topic], "since": since});
            let id = peer.send("topic:subscribe", data).await;
            let behind = since.parse::<u64>().unwrap();
            let expected: Vec<String> =
                ids.iter().filter(|id| id.parse::<u64>().unwrap() > behind).cloned().collect();
            let came = peer.messages(expected.len()).await;
            assert_eq!(came.into_iter().map(|(id, _)| id).collect::<Vec<_>>(), expected);
            let answer = peer.answer(&id).await;
            let granted = json!([{"topic": topic, "position": ids.last(), "recovered": true}]);
            assert_eq!(answer["data"]["result"]["topics"], granted);
            ids.push(publisher.publish(&topic, json!("live")).await);
            assert_eq!(peer.message().await["id"], json!(ids.last()));
        }
    }

    async fn rewind_brings_the_newest_few(place: &Place<'_>) {
        let topic = place.topic("rewind");
        let mut publisher = Peer::connect(place.first(), place.encoding).await;
        let mut ids = Vec::new();
        for number in 0..5 {
            ids.push(publisher.publish(&topic, json!(number)).await);
        }
        for count in [0, 2, 5, 100] {
            let mut peer = Peer::connect(place.second(), place.encoding).await;
            let data = json!({"topics": [topic], "rewind": count});
            let id = peer.send("topic:subscribe", data).await;
            let expected = ids[ids.len().saturating_sub(count)..].to_vec();
            let came = peer.messages(expected.len()).await;
            assert_eq!(came.into_iter().map(|(id, _)| id).collect::<Vec<_>>(), expected);
            let answer = peer.answer(&id).await;
            let granted = &answer["data"]["result"]["topics"][0];
            assert_eq!(granted["recovered"], true, "{count}");
            peer.hears_nothing().await;
        }
    }

    async fn echo_off_spares_a_session_its_own_messages(place: &Place<'_>) {
        let topic = place.topic("echo");
        let mut peer = Peer::connect(place.first(), place.encoding).await;
        let mut other = Peer::connect(place.second(), place.encoding).await;
        peer.done("topic:subscribe", json!({"topics": [topic], "echo": false})).await;
        other.subscribe(&[&topic]).await;
        let own = peer.publish(&topic, json!("own")).await;
        assert_eq!(other.message().await["id"], json!(own));
        let foreign = other.publish(&topic, json!("foreign")).await;
        assert_eq!(peer.message().await["id"], json!(foreign));
        // A later subscribe changes the way of it.
        peer.done("topic:subscribe", json!({"topics": [topic], "echo": true})).await;
        let own = peer.publish(&topic, json!("own")).await;
        assert_eq!(peer.message().await["id"], json!(own));
    }

    async fn calls_are_not_offered_without_a_backend(place: &Place<'_>) {
        let mut peer = Peer::connect(place.first(), place.encoding).await;
        let call = json!({"method": "sum", "params": [1, 2]});
        assert_eq!(peer.refused("rpc:call", call).await, "unsupported");
    }

    async fn requests_that_break_a_rule_are_refused_as_a_whole(place: &Place<'_>) {
        let mut peer = Peer::connect(place.first(), place.encoding).await;
        let many: Vec<String> = (0..101).map(|at| format!("t{at}")).collect();
        let cases: [(Value, &str); 13] = [
            (json!({}), "invalid"),
            (json!({"topics": []}), "invalid"),
            (json!({"topics": "a"}), "invalid"),
            (json!({"topics": {"a": 1}}), "invalid"),
            (json!({"topics": [1]}), "invalid"),
            (json!({"topics": many}), "limit_exceeded"),
            (json!({"topics": ["a"], "since": "garbage"}), "invalid"),
            (json!({"topics": ["a"], "since": 16}), "invalid"),
            (json!({"topics": ["a"], "rewind": -1}), "invalid"),
            (json!({"topics": ["a"], "rewind": 1001}), "invalid"),
            (json!({"topics": ["a"], "since": "16", "rewind": 1}), "invalid"),
            (json!({"topics": ["a"], "echo": "yes"}), "invalid"),
            (json!({"topics": ["a"], "presence": 1}), "invalid"),
        ];
        for (data, code) in cases {
            assert_eq!(peer.refused("topic:subscribe", data.clone()).await, code, "{data}");
        }
        for data in [json!({}), json!({"topics": []}), json!({"topics": [null]})] {
            assert_eq!(peer.refused("topic:unsubscribe", data).await, "invalid");
        }
        // Nothing of it was carried out.
        peer.publish("a", json!(1)).await;
        peer.hears_nothing().await;
    }
}

#[tokio::test]
async fn a_session_follows_as_many_topics_as_configured_and_no_more() {
    let cluster = Cluster::redis(&[("limits.topics_per_session", "100")]).await;
    let encoding = sparkway_client::Encoding::MsgPack;
    let mut peer = Peer::connect(cluster.first(), encoding).await;
    let many: Vec<String> = (0..98).map(|at| format!("t{at}")).collect();
    peer.done("topic:subscribe", json!({"topics": many})).await;
    let over = ["u0", "t0", "u1", "u2", "u3"];
    let result = peer.done("topic:subscribe", json!({"topics": over})).await;
    let rejected = json!([
        {"topic": "u2", "code": "limit_exceeded"},
        {"topic": "u3", "code": "limit_exceeded"},
    ]);
    assert_eq!(result["rejected"], rejected);
    peer.done("topic:unsubscribe", json!({"topics": ["t5"]}))
        .await;
    peer.subscribe(&["u2"]).await;
    // The limit goes with the session.
    let ticket = peer.cut();
    let mut again = Peer::resume(cluster.second(), encoding, &ticket).await;
    let result = again
        .done("topic:subscribe", json!({"topics": ["u4"]}))
        .await;
    assert_eq!(result["rejected"][0]["code"], "limit_exceeded");
}

#[tokio::test]
async fn since_an_id_that_was_trimmed_is_not_recovered() {
    let cluster = Cluster::redis(&[("topics.history_entries", "5")]).await;
    let encoding = sparkway_client::Encoding::Json;
    let mut peer = Peer::connect(cluster.first(), encoding).await;
    let mut ids = Vec::new();
    for number in 0..250 {
        ids.push(peer.publish("short", json!(number)).await);
    }
    let kept = peer.log("short").await.len();
    let first = ids.len() - kept;
    assert!(first > 1, "nothing was trimmed");
    for (since, recovered) in [(first - 2, false), (first - 1, true), (first, true)] {
        let mut late = Peer::connect(cluster.second(), encoding).await;
        let data = json!({"topics": ["short"], "since": ids[since]});
        let id = late.send("topic:subscribe", data).await;
        let expected = &ids[first.max(since + 1)..];
        let came = late.messages(expected.len()).await;
        assert_eq!(
            came.into_iter().map(|(id, _)| id).collect::<Vec<_>>(),
            expected
        );
        let answer = late.answer(&id).await;
        assert_eq!(
            answer["data"]["result"]["topics"][0]["recovered"], recovered,
            "{since}"
        );
    }
}

/// A topic name that looks like a key must not be one.
#[tokio::test]
async fn no_topic_name_reaches_a_key_outside_its_own() {
    let cluster = Cluster::redis(&[("store.key_prefix", "test")]).await;
    let mut peer = Peer::connect(cluster.first(), sparkway_client::Encoding::Json).await;
    for topic in [
        "}{x}",
        "{p}:clock",
        "test:cfg",
        "../../cfg",
        "clock",
        "a*b?[c]",
        "tip:log:x",
    ] {
        peer.subscribe(&[topic]).await;
        let id = peer.publish(topic, json!(topic)).await;
        assert_eq!(peer.message().await["id"], json!(id));
        assert_eq!(peer.log(topic).await, [(id, json!(topic))]);
    }
    let keys = cluster.redis.as_ref().unwrap().cli(&["--scan"]);
    assert!(keys.lines().count() > 7, "{keys}");
    for key in keys.lines() {
        assert!(key.starts_with("test"), "{key}");
    }
}
