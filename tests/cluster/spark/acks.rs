//! Acknowledgements in both directions.

use serde_json::{Value, json};
use sparkway_client::Encoding;

use crate::everywhere;
use crate::harness::cluster::{Cluster, ENCODINGS};
use crate::harness::peer::{Peer, Ticket, ends_with};
use crate::harness::redis::Redis;
use crate::harness::{SOON, until_true};

everywhere! {
    async fn every_client_frame_with_an_id_is_answered_exactly_once(place: &Place<'_>) {
        let topic = place.topic("answers");
        let mut peer = Peer::connect(place.first(), place.encoding).await;
        let token = peer.ticket.token.clone();
        let frames: [(&str, Value, &str); 16] = [
            ("ws:ping", json!({}), "ws:ack"),
            ("ws:heartbeat", json!({"heartbeat_token": token}), "ws:heartbeat_ack"),
            ("ws:ack", json!({"ackId": "c1"}), "ws:ack"),
            ("ws:close", json!({"resume": true}), "ws:ack"),
            ("ws:connect", json!({}), "ws:error"),
            ("ws:resume", json!({"session_id": "x", "heartbeat_token": "x"}), "ws:error"),
            ("ws:refresh", json!({}), "ws:error"),
            ("topic:subscribe", json!({"topics": [topic]}), "ws:ack"),
            ("topic:subscribe", json!({"topics": []}), "ws:error"),
            ("topic:unsubscribe", json!({"topics": [topic]}), "ws:ack"),
            ("topic:history", json!({"topic": topic, "limit": 1}), "ws:ack"),
            ("topic:history", json!({"topic": topic, "limit": 0}), "ws:error"),
            ("topic:presence", json!({"topic": topic}), "ws:ack"),
            ("rpc:call", json!({"method": "m", "params": {}}), "ws:error"),
            ("no:such", json!({}), "ws:error"),
            ("topic:publish", json!({}), "ws:error"),
        ];
        for (kind, data, answered) in frames {
            let answer = peer.ask(kind, data).await;
            assert_eq!(answer["type"], answered, "{kind}: {answer}");
            peer.hears_nothing().await;
        }
        // Without an id: carried out, and not answered.
        let silent = [
            json!({"type": "ws:ping"}),
            json!({"type": "topic:unsubscribe", "data": {"topics": ["elsewhere"]}}),
            json!({"type": "topic:publish", "topic": topic, "data": "silent"}),
        ];
        peer.subscribe(&[&topic]).await;
        for frame in silent {
            peer.wire.send(&frame).await.unwrap();
        }
        assert_eq!(peer.message().await["data"], "silent");
        peer.hears_nothing().await;
    }

    async fn a_refusal_names_the_frame_and_says_whether_to_try_again(place: &Place<'_>) {
        let mut peer = Peer::connect(place.first(), place.encoding).await;
        let unsupported = "this gateway does not offer it";
        let table = [
            ("topic:presence", json!({"topic": "$user:x"}), "forbidden",
                "the grants do not cover this"),
            ("rpc:call", json!({"method": "m"}), "unsupported", unsupported),
            ("no:such", json!({}), "unknown_type",
                "type: no frame that a client may send in Spark v1"),
            ("topic:message", json!({}), "unknown_type",
                "type: no frame that a client may send in Spark v1"),
        ];
        for (kind, data, code, message) in table {
            let answer = peer.ask(kind, data).await;
            assert_eq!(answer, json!({"type": "ws:error",
                "data": {"code": code, "message": message, "retryable": false}}));
        }
    }

    /// TCP resends; the gateway does not. What was not acked is the replay of the next resume.
    async fn unacked_messages_are_not_resent_and_never_acking_is_fine(place: &Place<'_>) {
        let topic = place.topic("unacked");
        let mut peer = Peer::connect(place.first(), place.encoding).await;
        peer.subscribe(&[&topic]).await;
        let start = peer.ticket.clone();
        let mut ids = Vec::new();
        for number in 0..40 {
            let id = peer.publish(&topic, json!(number)).await;
            assert_eq!(peer.message().await["id"], json!(id));
            ids.push(id);
        }
        peer.hears_nothing().await;
        let ticket = Ticket { last: start.last, ..peer.cut() };
        let mut again = Peer::resume(place.second(), place.encoding, &ticket).await;
        let came: Vec<String> = again.messages(40).await.into_iter().map(|(id, _)| id).collect();
        assert_eq!(came, ids);
    }

    async fn unknown_and_repeated_acks_are_ignored(place: &Place<'_>) {
        let topic = place.topic("acks");
        let mut peer = Peer::connect(place.first(), place.encoding).await;
        peer.subscribe(&[&topic]).await;
        let id = peer.publish(&topic, json!(1)).await;
        peer.message().await;
        let ahead = crate::harness::tokens::id_ahead(std::time::Duration::from_hours(2));
        for ack in [
            json!(id), json!(id), json!("0"), json!("1"), json!("c1"), json!("c77"),
            json!("nonsense"), json!("x".repeat(1000)), json!(ahead), json!(7), json!(null),
            json!({"id": id}), json!([id]),
        ] {
            let frame = json!({"type": "ws:ack", "data": {"ackId": ack}});
            peer.wire.send(&frame).await.unwrap();
        }
        peer.wire.send(&json!({"type": "ws:ack"})).await.unwrap();
        peer.hears_nothing().await;
        let id = peer.publish(&topic, json!(2)).await;
        assert_eq!(peer.message().await["id"], json!(id));
    }

    async fn an_ack_comes_after_the_message_is_stored(place: &Place<'_>) {
        let topic = place.topic("stored");
        let mut peer = Peer::connect(place.first(), place.encoding).await;
        let mut reader = Peer::connect(place.second(), place.encoding).await;
        for number in 0..10 {
            let id = peer.publish(&topic, json!(number)).await;
            let data = json!({"topic": topic, "limit": 1, "reverse": true});
            let page = reader.done("topic:history", data).await;
            assert_eq!(page["messages"][0]["id"], json!(id));
        }
    }

    async fn a_close_frame_of_the_client_needs_no_answer_but_the_close(place: &Place<'_>) {
        let mut peer = Peer::connect(place.first(), place.encoding).await;
        peer.wire.send(&json!({"type": "ws:close", "data": {"code": 1000}})).await.unwrap();
        peer.wire.close(1000, "done").await.unwrap();
        ends_with(&mut peer.wire, &[], 1000, "").await;
    }
}

/// With several partitions and one id, the others begin at what was acked: that is what an ack is
/// for. It counts for everything before it in its own partition, and for nothing in the others.
#[tokio::test]
async fn an_ack_is_cumulative_within_its_partition() {
    let cluster = Cluster::redis(&[("store.partitions", "4")]).await;
    for encoding in ENCODINGS {
        let topics: Vec<String> = (0..16)
            .map(|at| format!("spread:{at}:{encoding:?}"))
            .collect();
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        let mut peer = Peer::connect(cluster.first(), encoding).await;
        peer.subscribe(&names).await;
        let mut publisher = Peer::connect(cluster.second(), encoding).await;
        let mut received: Vec<u64> = Vec::new();
        for round in 0..3 {
            for name in &names {
                publisher.publish(name, json!(round)).await;
                let message = peer.message().await;
                received.push(message["id"].as_str().unwrap().parse().unwrap());
            }
        }
        let of = |wanted: u64| in_partition(&received, wanted);
        assert!(
            (0..4).all(|wanted| of(wanted).len() >= 6),
            "topics are spread: {received:?}"
        );
        // Partition 1 is acked up to its fourth message, partition 2 is named at resume.
        let (acked, known) = (of(1)[3], of(2)[1]);
        let ack = json!({"type": "ws:ack", "data": {"ackId": acked.to_string()}});
        peer.wire.send(&ack).await.unwrap();
        peer.is_alive().await;
        peer.wire.close(1001, "").await.unwrap();
        peer.wire.wait_closed(SOON).await.unwrap();
        // The cursors are written when the session is detached.
        let redis = cluster.redis.as_ref().unwrap();
        until_true("the session is detached", SOON, || {
            redis.is_detached(&peer.ticket.session)
        })
        .await;
        let ticket = Ticket {
            last: json!(known.to_string()),
            ..peer.ticket.clone()
        };
        let mut again = Peer::resume(cluster.second(), encoding, &ticket).await;
        let replayed: Vec<u64> = again
            .replay()
            .await
            .iter()
            .map(|message| message["id"].as_str().unwrap().parse().unwrap())
            .collect();
        let came = |wanted: u64| in_partition(&replayed, wanted);
        assert_eq!(came(1), of(1)[4..]);
        assert_eq!(came(2), of(2)[2..]);
        // Nothing was acked there: everything comes again, recognisable by its id.
        for unacked in [0, 3] {
            assert_eq!(came(unacked), of(unacked), "{unacked}");
        }
    }
}

fn in_partition(ids: &[u64], partition: u64) -> Vec<u64> {
    ids.iter()
        .copied()
        .filter(|id| id & 0xf == partition)
        .collect()
}

#[tokio::test]
async fn a_replicated_publish_is_acked_only_when_replicas_have_it() {
    let cluster = Cluster::redis(&[]).await;
    let mut peer = Peer::connect(cluster.first(), Encoding::Json).await;
    let frame = json!({"type": "topic:publish", "id": "p", "topic": "safe", "data": 1,
        "durability": "replicated"});
    peer.wire.send(&frame).await.unwrap();
    let refused = peer.answer("p").await;
    assert_eq!(
        refused,
        json!({"type": "ws:error", "data": {
            "code": "not_replicated",
            "message": "stored, but not on enough replicas; safe to repeat",
            "retryable": true,
        }})
    );
    let master = cluster.redis.as_ref().unwrap().port.to_string();
    let _replica = Redis::with(&["--replicaof", "127.0.0.1", &master]).await;
    let answer = loop {
        peer.wire.send(&frame).await.unwrap();
        let answer = peer.answer("p").await;
        if answer["type"] == "ws:ack" {
            break answer;
        }
        assert_eq!(answer["data"]["code"], "not_replicated");
    };
    // It was stored the first time already.
    assert_eq!(answer["data"]["result"]["duplicate"], true);
    assert_eq!(peer.log("safe").await.len(), 1);
}
