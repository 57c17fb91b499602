//! Messages go from one client to another.

use serde_json::{Value, json};
use sparkway_client::{Encoding, Incoming, RawMessage};

use crate::everywhere;
use crate::harness::SOON;
use crate::harness::cluster::Cluster;
use crate::harness::peer::Peer;

/// The text of the next frame, exactly as it came.
async fn text(peer: &mut Peer) -> String {
    match tokio::time::timeout(SOON, peer.wire.next())
        .await
        .expect("a frame")
    {
        Incoming::Frame(frame) => match frame.raw {
            RawMessage::Text(text) => text.to_string(),
            other => panic!("no text: {other:?}"),
        },
        other => panic!("no frame: {other:?}"),
    }
}

everywhere! {
    async fn a_publish_is_stored_acked_and_delivered_in_full(place: &Place<'_>) {
        let topic = place.topic("full");
        let mut receiver = Peer::connect(place.second(), place.encoding).await;
        receiver.subscribe(&[&topic]).await;
        let mut peer = Peer::connect(place.first(), place.encoding).await;
        let data = json!({"text": "hi", "n": [1, -2, 2.5, null, true], "deep": {"a": {"b": []}}});
        let answer = peer.publish_as("p1", &topic, data.clone()).await;
        let id = answer["data"]["result"]["id"].clone();
        assert_eq!(answer, json!({"type": "ws:ack", "data": {"result": {"id": id}}}));
        let number: u64 = id.as_str().unwrap().parse().unwrap();
        assert!(number < 1 << 53);
        let message = receiver.message().await;
        let ts = number / 4096 + 1_735_689_600_000;
        let expected = json!({"type": "topic:message", "id": id, "topic": topic, "data": data,
            "ts": ts});
        assert_eq!(message, expected);
    }

    async fn an_absent_payload_is_null(place: &Place<'_>) {
        let topic = place.topic("null");
        let mut peer = Peer::connect(place.first(), place.encoding).await;
        peer.subscribe(&[&topic]).await;
        peer.wire.send(&json!({"type": "topic:publish", "topic": topic})).await.unwrap();
        assert_eq!(peer.message().await["data"], Value::Null);
    }

    async fn an_ephemeral_message_has_no_id_and_is_not_kept(place: &Place<'_>) {
        let topic = place.topic("typing");
        let mut receiver = Peer::connect(place.second(), place.encoding).await;
        receiver.subscribe(&[&topic]).await;
        let mut peer = Peer::connect(place.first(), place.encoding).await;
        let frame = json!({"type": "topic:publish", "id": "e", "topic": topic, "data": "typing",
            "ephemeral": true});
        peer.wire.send(&frame).await.unwrap();
        let answer = peer.answer("e").await;
        assert_eq!(answer, json!({"type": "ws:ack", "data": {"result": {}}}));
        let message = receiver.message().await;
        assert_eq!(message, json!({"type": "topic:message", "topic": topic, "data": "typing"}));
        assert_eq!(peer.log(&topic).await, []);
    }

    async fn exclude_self_spares_the_publisher_only(place: &Place<'_>) {
        let topic = place.topic("exclude");
        let mut peer = Peer::connect(place.first(), place.encoding).await;
        let mut other = Peer::connect(place.second(), place.encoding).await;
        peer.subscribe(&[&topic]).await;
        other.subscribe(&[&topic]).await;
        for ephemeral in [false, true] {
            let frame = json!({"type": "topic:publish", "id": format!("x{ephemeral}"),
                "topic": topic, "data": 1, "exclude_self": true, "ephemeral": ephemeral});
            peer.wire.send(&frame).await.unwrap();
            peer.answer(&format!("x{ephemeral}")).await;
            assert_eq!(other.message().await["data"], 1);
        }
        let id = other.publish(&topic, json!(2)).await;
        assert_eq!(peer.message().await["id"], json!(id));
        // Also not in a replay.
        let ticket = peer.cut();
        let mut again = Peer::resume(place.second(), place.encoding, &ticket).await;
        assert_eq!(again.next().await["type"], "ws:replay_done");
    }

    async fn history_pages_through_a_log_in_both_directions(place: &Place<'_>) {
        let topic = place.topic("history");
        let mut peer = Peer::connect(place.first(), place.encoding).await;
        let mut ids = Vec::new();
        for number in 0..10 {
            ids.push(peer.publish(&topic, json!(number)).await);
        }
        let mut reader = Peer::connect(place.second(), place.encoding).await;
        let mut page = async |more: Value| {
            let mut data = json!({"topic": topic, "limit": 100});
            data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let page = reader.done("topic:history", data).await;
            let messages = page["messages"].as_array().unwrap();
            let ids: Vec<String> =
                messages.iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect();
            (ids, page["complete"].as_bool().unwrap())
        };
        let reversed: Vec<String> = ids.iter().rev().cloned().collect();
        assert_eq!(page(json!({})).await, (ids.clone(), true));
        assert_eq!(page(json!({"reverse": true})).await, (reversed, true));
        assert_eq!(page(json!({"limit": 3})).await, (ids[..3].to_vec(), false));
        assert_eq!(page(json!({"after": ids[3]})).await, (ids[4..].to_vec(), true));
        let between = json!({"after": ids[1], "before": ids[5]});
        assert_eq!(page(between).await, (ids[2..5].to_vec(), true));
        let newest = json!({"limit": 2, "reverse": true});
        assert_eq!(page(newest).await, (vec![ids[9].clone(), ids[8].clone()], false));
        let older = json!({"limit": 2, "reverse": true, "before": ids[8]});
        assert_eq!(page(older).await, (vec![ids[7].clone(), ids[6].clone()], false));
        assert_eq!(page(json!({"after": ids[9]})).await, (vec![], true));
        // A message stands there as it was delivered.
        let data = json!({"topic": topic, "limit": 1});
        let page = reader.done("topic:history", data).await;
        let ts = &page["messages"][0]["ts"];
        let first = json!({"type": "topic:message", "id": ids[0], "topic": topic, "data": 0,
            "ts": ts});
        assert_eq!(page, json!({"messages": [first], "complete": false}));
        for (data, code) in [
            (json!({"limit": 1}), "invalid"),
            (json!({"topic": topic, "limit": 1001}), "invalid"),
            (json!({"topic": topic, "limit": 0}), "invalid"),
            (json!({"topic": topic, "limit": "1"}), "invalid"),
            (json!({"topic": topic, "after": "garbage"}), "invalid"),
            (json!({"topic": "no name"}), "invalid"),
        ] {
            assert_eq!(reader.refused("topic:history", data.clone()).await, code, "{data}");
        }
    }

    async fn publishes_of_one_connection_keep_their_order(place: &Place<'_>) {
        let topic = place.topic("order");
        let mut receiver = Peer::connect(place.second(), place.encoding).await;
        receiver.subscribe(&[&topic]).await;
        let mut peer = Peer::connect(place.first(), place.encoding).await;
        for number in 0..80 {
            peer.send_publish(&format!("o{number}"), &topic, json!(number)).await;
        }
        let came = receiver.messages(80).await;
        let numbers: Vec<Value> = came.iter().map(|(_, data)| data.clone()).collect();
        assert_eq!(numbers, (0..80).map(|number| json!(number)).collect::<Vec<_>>());
        assert!(came.windows(2).all(|pair| {
            pair[0].0.parse::<u64>().unwrap() < pair[1].0.parse::<u64>().unwrap()
        }));
    }

    async fn unknown_fields_are_ignored(place: &Place<'_>) {
        let topic = place.topic("unknown");
        let mut peer = Peer::connect(place.first(), place.encoding).await;
        let subscribe = json!({"type": "topic:subscribe", "id": "s", "future": {"a": [1]},
            "data": {"topics": [topic], "future": true}});
        peer.wire.send(&subscribe).await.unwrap();
        assert_eq!(peer.answer("s").await["type"], "ws:ack");
        let publish = json!({"type": "topic:publish", "id": "p", "topic": topic, "data": 1,
            "priority": "high", "headers": {}});
        peer.wire.send(&publish).await.unwrap();
        assert_eq!(peer.answer("p").await["type"], "ws:ack");
        assert_eq!(peer.message().await["data"], 1);
    }
}

#[tokio::test]
async fn a_json_payload_travels_verbatim() {
    let cluster = Cluster::redis(&[]).await;
    let mut receiver = Peer::connect(cluster.second(), Encoding::Json).await;
    receiver.subscribe(&["verbatim"]).await;
    let mut peer = Peer::connect(cluster.first(), Encoding::Json).await;
    for payload in [
        r#"{"b" : 1,"a":2e0,  "b":1}"#,
        "9007199254740993",
        "-9223372036854775808",
        "18446744073709551616",
        "1e400",
        "0.10000000000000000000001",
        r#""\u00e9\ud83d\ude00 é""#,
        "[ ]",
        r#"{"__proto__":{"x":1},"":0}"#,
    ] {
        let frame = format!(r#"{{"type":"topic:publish","topic":"verbatim","data":{payload}}}"#);
        peer.wire.send_text(frame).await.unwrap();
        let text = text(&mut receiver).await;
        assert!(
            text.contains(&format!(r#""data":{payload}"#)),
            "{payload}: {text}"
        );
    }
}

/// The same message in both encodings.
#[tokio::test]
async fn both_encodings_receive_what_either_published() {
    let cluster = Cluster::redis(&[]).await;
    let mut json_peer = Peer::connect(cluster.first(), Encoding::Json).await;
    let mut packed_peer = Peer::connect(cluster.second(), Encoding::MsgPack).await;
    json_peer.subscribe(&["mixed"]).await;
    packed_peer.subscribe(&["mixed"]).await;
    let payloads = [
        json!({"a": [1, -1, 1.5, null, true, "é"], "": {}}),
        json!("text"),
        json!(u64::MAX),
        json!(i64::MIN),
        json!([[[[]]]]),
    ];
    for payload in payloads {
        for turn in 0..2 {
            let publisher = if turn == 0 {
                &mut json_peer
            } else {
                &mut packed_peer
            };
            let id = publisher.publish("mixed", payload.clone()).await;
            let (one, two) = (json_peer.message().await, packed_peer.message().await);
            assert_eq!((&one["id"], &one["data"]), (&json!(id), &payload));
            assert_eq!(one, two);
        }
    }
}

#[tokio::test]
async fn bytes_reach_json_clients_as_base64_with_a_note() {
    let cluster = Cluster::redis(&[]).await;
    let mut json_peer = Peer::connect(cluster.first(), Encoding::Json).await;
    let mut packed_peer = Peer::connect(cluster.second(), Encoding::MsgPack).await;
    json_peer.subscribe(&["bytes"]).await;
    packed_peer.subscribe(&["bytes"]).await;
    // {"type": "topic:publish", "topic": "bytes", "data": bin 00 ff 01}
    let mut frame = vec![0x83, 0xa4];
    frame.extend_from_slice(b"type\xadtopic:publish\xa5topic\xa5bytes\xa4data\xc4\x03\x00\xff\x01");
    packed_peer
        .wire
        .send_raw(RawMessage::binary(frame))
        .await
        .unwrap();
    let message = json_peer.message().await;
    assert_eq!(
        (&message["data"], &message["encoding"]),
        (&json!("AP8B"), &json!("base64"))
    );
    let Ok(Incoming::Frame(frame)) = tokio::time::timeout(SOON, packed_peer.wire.next()).await
    else {
        panic!("no frame");
    };
    let RawMessage::Binary(bytes) = &frame.raw else {
        panic!("no binary frame")
    };
    let needle = b"\xa4data\xc4\x03\x00\xff\x01";
    assert!(
        bytes.windows(needle.len()).any(|window| window == needle),
        "bin stays bin"
    );
}
