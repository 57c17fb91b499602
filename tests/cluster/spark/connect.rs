//! A session begins.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;
use sparkway_client::{Encoding, Incoming};

use crate::everywhere;
use crate::harness::cluster::{Cluster, Layout};
use crate::harness::peer::{Peer, SHORT, Ticket, close_frame, ends_with, next, open, whole};

everywhere! {
    /// After a standard handshake the node says nothing: the client begins.
    async fn the_handshake_needs_nothing_and_the_client_speaks_first(place: &Place<'_>) {
        let mut wire = open(place.first(), place.encoding).await;
        assert!(wire.wait("anything", SHORT, |_| true).await.is_err());
        wire.send(&json!({"type": "ws:connect"})).await.unwrap();
        assert_eq!(next(&mut wire).await["type"], "ws:connect_ack");
    }

    async fn a_bare_connect_succeeds_and_is_answered_in_full(place: &Place<'_>) {
        let mut wire = open(place.first(), place.encoding).await;
        wire.send(&json!({"type": "ws:connect"})).await.unwrap();
        let ack = next(&mut wire).await;
        let data = &ack["data"];
        let node = &data["gateway"]["node"];
        assert_eq!(
            ack,
            json!({"type": "ws:connect_ack", "data": {
                "session_id": data["session_id"],
                "heartbeat_token": data["heartbeat_token"],
                "heartbeat_interval": 25_000,
                "last_message_id": data["last_message_id"],
                "gateway": {
                    "node": node,
                    "version": env!("CARGO_PKG_VERSION"),
                    "resume_window": 120_000,
                    "max_message_bytes": 65_536,
                },
            }})
        );
        let position = data["last_message_id"].as_str().expect("a string");
        assert!(position.parse::<u64>().is_ok_and(|id| id < 1 << 53), "{position}");
        assert!(!node.as_str().unwrap().is_empty());
        if place.layout != Layout::Dev {
            assert_eq!(node, "node-a");
        }
    }

    async fn a_connect_with_an_id_is_answered_under_it(place: &Place<'_>) {
        let mut wire = open(place.first(), place.encoding).await;
        let connect = json!({"type": "ws:connect", "id": "hello", "data": {}});
        wire.send(&connect).await.unwrap();
        assert_eq!(next(&mut wire).await["data"]["ackId"], "hello");
    }

    async fn a_client_that_drops_before_its_first_message_can_resume(place: &Place<'_>) {
        let topic = place.topic("early");
        let mut peer = Peer::connect(place.first(), place.encoding).await;
        peer.subscribe(&[&topic]).await;
        let ticket = peer.cut();
        let mut publisher = Peer::connect(place.second(), place.encoding).await;
        let id = publisher.publish(&topic, json!("first")).await;
        let mut again = Peer::resume(place.second(), place.encoding, &ticket).await;
        assert_eq!(again.message().await["id"], json!(id));
    }

    async fn session_ids_are_uuids_and_no_token_comes_twice(place: &Place<'_>) {
        let mut seen = BTreeSet::new();
        for _ in 0..20 {
            let Ticket { session, token, .. } =
                Peer::connect(place.first(), place.encoding).await.ticket;
            let groups: Vec<usize> = session.split('-').map(str::len).collect();
            assert_eq!(groups, [8, 4, 4, 4, 12], "{session}");
            assert!(session.chars().all(|symbol| symbol == '-' || symbol.is_ascii_hexdigit()));
            assert_eq!(session.as_bytes()[14], b'8', "UUID version 8: {session}");
            assert!(b"89ab".contains(&session.as_bytes()[19]), "UUID variant: {session}");
            // 128 bits in base64 are 22 characters.
            assert!(token.len() >= 22, "{token}");
            assert!(seen.insert(session) && seen.insert(token));
        }
    }

    async fn a_second_connect_is_refused_and_the_connection_stays(place: &Place<'_>) {
        let topic = place.topic("twice");
        let mut peer = Peer::connect(place.first(), place.encoding).await;
        peer.subscribe(&[&topic]).await;
        for (kind, data) in [("ws:connect", json!({})), ("ws:resume", peer.ticket.data())] {
            let answer = peer.ask(kind, data).await;
            assert_eq!(
                answer,
                json!({"type": "ws:error", "data": {
                    "code": "already_connected",
                    "message": "the session is in use already",
                    "retryable": false,
                }})
            );
        }
        let id = peer.publish(&topic, json!(1)).await;
        assert_eq!(peer.message().await["id"], json!(id));
    }

    async fn any_other_first_frame_is_not_connected_and_closes_1008(place: &Place<'_>) {
        let frames = [
            json!({"type": "ws:heartbeat", "id": "x", "data": {"heartbeat_token": "t"}}),
            json!({"type": "ws:ping", "id": "x"}),
            json!({"type": "ws:ack", "id": "x", "data": {"ackId": "c1"}}),
            json!({"type": "ws:refresh", "id": "x", "data": {"token": "t"}}),
            json!({"type": "ws:close", "id": "x", "data": {"resume": true}}),
            json!({"type": "topic:subscribe", "id": "x", "data": {"topics": ["a"]}}),
            json!({"type": "topic:unsubscribe", "id": "x", "data": {"topics": ["a"]}}),
            json!({"type": "topic:publish", "id": "x", "topic": "a", "data": 1}),
            json!({"type": "topic:history", "id": "x", "data": {"topic": "a", "limit": 1}}),
            json!({"type": "topic:presence", "id": "x", "data": {"topic": "a"}}),
            json!({"type": "rpc:call", "id": "x", "data": {"method": "m", "params": {}}}),
        ];
        for frame in frames {
            let mut wire = open(place.first(), place.encoding).await;
            wire.send(&frame).await.unwrap();
            let refusal = json!({"type": "ws:error", "data": {
                "ackId": "x",
                "code": "not_connected",
                "message": "the first frame must be ws:connect or ws:resume",
                "retryable": false,
            }});
            let farewell = close_frame(1008, "not_connected", false);
            ends_with(&mut wire, &[refusal, farewell], 1008, "not_connected").await;
        }
    }

    async fn what_is_no_frame_ends_a_connection_that_has_no_session(place: &Place<'_>) {
        let mut wire = open(place.first(), place.encoding).await;
        wire.send(&json!("no frame")).await.unwrap();
        let refusal = next(&mut wire).await;
        assert_eq!(refusal["data"]["code"], "malformed");
        let farewell = close_frame(1008, "not_connected", false);
        ends_with(&mut wire, &[farewell], 1008, "not_connected").await;
    }
}

#[tokio::test]
async fn a_silent_connection_is_closed_after_the_connect_timeout() {
    let cluster = Cluster::memory(&[("session.connect_timeout", "300ms")]).await;
    for begin in [None, Some(&[0x81, 0xfe, 0x01][..])] {
        let mut wire = open(cluster.first(), Encoding::Json).await;
        let began = tokio::time::Instant::now();
        if let Some(half_a_header) = begin {
            wire.send_bytes(half_a_header).await.unwrap();
        }
        let farewell = close_frame(1008, "Connect timeout", false);
        ends_with(&mut wire, &[farewell], 1008, "Connect timeout").await;
        assert!(
            began.elapsed() >= Duration::from_millis(250),
            "too early: {:?}",
            began.elapsed()
        );
    }
}

#[tokio::test]
async fn the_store_never_holds_a_token_nor_what_yields_it() {
    use base64::Engine as _;
    let cluster = Cluster::redis(&[]).await;
    let mut peer = Peer::connect(cluster.first(), Encoding::Json).await;
    peer.subscribe(&["secret"]).await;
    let Ticket { session, token, .. } = &peer.ticket;
    let dump = cluster.redis.as_ref().unwrap().dump();
    let holds = |needle: &[u8]| dump.windows(needle.len()).any(|window| window == needle);
    assert!(
        holds(session.as_bytes()),
        "the dump is the one of this session"
    );
    assert!(!holds(token.as_bytes()));
    // Key id and generation are no secret; the 16 bytes behind them are.
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(token)
        .unwrap();
    assert!(!holds(&bytes[bytes.len() - 16..]));
}

#[tokio::test]
async fn both_spark_paths_lead_to_the_protocol() {
    let cluster = Cluster::memory(&[]).await;
    for path in ["/ws", "/ws/spark"] {
        let url = format!("ws://127.0.0.1:{}{path}", cluster.port());
        let peer = Peer::connect(&url, Encoding::MsgPack).await;
        assert_eq!(peer.welcome["type"], "ws:connect_ack");
    }
}

#[tokio::test]
async fn json_is_text_and_messagepack_is_binary_with_the_same_fields() {
    let cluster = Cluster::memory(&[]).await;
    let mut fields = Vec::new();
    for encoding in [Encoding::Json, Encoding::MsgPack] {
        let mut wire = open(cluster.first(), encoding).await;
        wire.send(&json!({"type": "ws:connect"})).await.unwrap();
        let Incoming::Frame(frame) = wire.next().await else {
            panic!("no frame")
        };
        assert_eq!(frame.raw.is_text(), encoding == Encoding::Json);
        let ack = whole(&frame);
        let names: Vec<String> = ack["data"].as_object().unwrap().keys().cloned().collect();
        fields.push(names);
    }
    assert_eq!(fields[0], fields[1]);
}
