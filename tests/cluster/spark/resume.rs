//! A session goes on on another connection.

use std::time::Duration;

use serde_json::{Value, json};
use sparkway_client::Encoding;

use crate::everywhere;
use crate::harness::cluster::{Cluster, Place};
use crate::harness::peer::{Peer, SHORT, Ticket, close_frame, ends_with, next, open};
use crate::harness::tokens::id_ahead;
use crate::harness::{SOON, time_passes};

/// Asks to resume with these fields; the answer.
async fn try_resume(place: &Place<'_>, data: Value) -> Value {
    let mut wire = open(place.second(), place.encoding).await;
    wire.send(&json!({"type": "ws:resume", "data": data}))
        .await
        .unwrap();
    next(&mut wire).await
}

/// Closes a new session with this code, after this last word; whether it can be resumed a moment
/// later.
async fn outlives(place: &Place<'_>, code: u16, keeps: Option<bool>) -> bool {
    let mut peer = Peer::connect(place.first(), place.encoding).await;
    if let Some(keeps) = keeps {
        let data = json!({"code": code, "reason": "bye", "resume": keeps});
        peer.wire
            .send(&json!({"type": "ws:close", "data": data}))
            .await
            .unwrap();
    }
    peer.wire.close(code, "bye").await.unwrap();
    let closed = peer.wire.wait_closed(SOON).await.unwrap();
    assert_eq!(closed.code, Some(code));
    // The end of a session is written beside its close, and nobody is told of it.
    time_passes(SHORT).await;
    try_resume(place, peer.ticket.data()).await["type"] == "ws:resume_ack"
}

fn failed(reason: &str) -> Value {
    json!({"type": "ws:resume_failed", "data": {"reason": reason}})
}

everywhere! {
    async fn a_resume_is_answered_in_full_and_brings_everything_missed_in_order(
        place: &Place<'_>
    ) {
        let (one, two) = (place.topic("one"), place.topic("two"));
        let mut peer = Peer::connect(place.first(), place.encoding).await;
        peer.subscribe(&[&one, &two]).await;
        let mut publisher = Peer::connect(place.second(), place.encoding).await;
        publisher.subscribe(&[&one, &two]).await;
        publisher.publish(&one, json!("seen")).await;
        peer.message().await;
        let ticket = peer.cut();
        let mut missed = Vec::new();
        for number in 0..10 {
            let topic = if number % 3 == 0 { &two } else { &one };
            let id = publisher.publish(topic, json!(number)).await;
            missed.push(json!({"type": "topic:message", "id": id, "topic": topic,
                "data": number}));
        }
        publisher.saw(missed[9]["id"].as_str().unwrap()).await;
        let mut wire = open(place.second(), place.encoding).await;
        let resume = json!({"type": "ws:resume", "id": "back", "data": ticket.data()});
        wire.send(&resume).await.unwrap();
        let ack = next(&mut wire).await;
        let data = &ack["data"];
        assert_eq!(
            ack,
            json!({"type": "ws:resume_ack", "id": ack["id"], "data": {
                "ackId": "back",
                "session_id": ticket.session,
                "heartbeat_token": data["heartbeat_token"],
                "heartbeat_interval": 25_000,
                "last_message_id": ticket.last,
                "gateway": {
                    "node": data["gateway"]["node"],
                    "version": env!("CARGO_PKG_VERSION"),
                    "resume_window": 120_000,
                    "max_message_bytes": 65_536,
                },
                "replay_count": 10,
                "gaps": [],
                "dropped_topics": [],
            }})
        );
        assert!(ack["id"].as_str().unwrap().starts_with('c'));
        assert_ne!(data["heartbeat_token"], json!(ticket.token));
        for expected in missed {
            let mut message = next(&mut wire).await;
            assert!(message["ts"].is_u64(), "{message}");
            message.as_object_mut().unwrap().remove("ts");
            assert_eq!(message, expected);
        }
        let done = json!({"type": "ws:replay_done", "data": {"replayed": 10}});
        assert_eq!(next(&mut wire).await, done);
    }

    async fn a_resume_that_missed_nothing_replays_nothing(place: &Place<'_>) {
        let topic = place.topic("calm");
        let mut peer = Peer::connect(place.first(), place.encoding).await;
        peer.subscribe(&[&topic]).await;
        peer.publish(&topic, json!(1)).await;
        peer.message().await;
        let ticket = peer.cut();
        let mut again = Peer::resume(place.second(), place.encoding, &ticket).await;
        assert_eq!(again.welcome["data"]["replay_count"], 0);
        let done = json!({"type": "ws:replay_done", "data": {"replayed": 0}});
        assert_eq!(again.next().await, done);
        // Live delivery goes on behind it.
        let id = again.publish(&topic, json!(2)).await;
        assert_eq!(again.message().await["id"], json!(id));
    }

    async fn a_resume_that_names_no_message_replays_nothing_and_goes_on_live(place: &Place<'_>) {
        let topic = place.topic("forgetful");
        let mut peer = Peer::connect(place.first(), place.encoding).await;
        peer.subscribe(&[&topic]).await;
        let ticket = peer.cut();
        let mut publisher = Peer::connect(place.first(), place.encoding).await;
        publisher.publish(&topic, json!("missed")).await;
        for absent in [true, false] {
            let mut wire = open(place.second(), place.encoding).await;
            let mut data = ticket.data();
            data["last_message_id"] = Value::Null;
            if absent {
                data.as_object_mut().unwrap().remove("last_message_id");
            }
            wire.send(&json!({"type": "ws:resume", "data": data})).await.unwrap();
            let ack = next(&mut wire).await;
            assert_eq!(ack["data"]["replay_count"], 0);
            assert_eq!(next(&mut wire).await["data"], json!({"replayed": 0}));
            let id = publisher.publish(&topic, json!("live")).await;
            assert_eq!(next(&mut wire).await["id"], json!(id));
        }
    }

    async fn subscriptions_and_their_options_are_restored(place: &Place<'_>) {
        let (quiet, left) = (place.topic("quiet"), place.topic("left"));
        let mut peer = Peer::connect(place.first(), place.encoding).await;
        peer.done("topic:subscribe", json!({"topics": [quiet], "echo": false})).await;
        peer.subscribe(&[&left]).await;
        peer.done("topic:unsubscribe", json!({"topics": [left]})).await;
        let ticket = peer.cut();
        let mut again = Peer::resume(place.second(), place.encoding, &ticket).await;
        assert_eq!(again.next().await["type"], "ws:replay_done");
        let mut publisher = Peer::connect(place.first(), place.encoding).await;
        publisher.publish(&left, json!("not for it")).await;
        again.publish(&quiet, json!("its own")).await;
        let id = publisher.publish(&quiet, json!("for it")).await;
        assert_eq!(again.message().await["id"], json!(id));
    }

    async fn positions_may_come_as_an_array(place: &Place<'_>) {
        let topic = place.topic("array");
        let mut peer = Peer::connect(place.first(), place.encoding).await;
        peer.subscribe(&[&topic]).await;
        let ticket = peer.cut();
        let mut publisher = Peer::connect(place.first(), place.encoding).await;
        let id = publisher.publish(&topic, json!(1)).await;
        let array = Ticket { last: json!([ticket.last]), ..ticket };
        let mut again = Peer::resume(place.second(), place.encoding, &array).await;
        assert_eq!(again.message().await["id"], json!(id));
    }

    /// Whatever is wrong, the answer is the same, and the same socket serves one connect.
    async fn unknown_foreign_and_ended_sessions_cannot_be_told_apart(place: &Place<'_>) {
        let victim = Peer::connect(place.first(), place.encoding).await;
        let other = Peer::connect(place.first(), place.encoding).await;
        let mut ended = Peer::connect(place.first(), place.encoding).await;
        ended.wire.close(1000, "").await.unwrap();
        ended.wire.wait_closed(SOON).await.unwrap();
        // Its end is written beside the close, and nobody is told of it.
        time_passes(SHORT).await;
        let (session, token) = (&victim.ticket.session, &victim.ticket.token);
        let mut tampered = token.clone();
        let last = if tampered.pop() == Some('A') { 'E' } else { 'A' };
        tampered.push(last);
        let unknown = "6f1f2d9c-0000-8000-8000-000000000000";
        let pairs = [
            (unknown, token.as_str()),
            (session, other.ticket.token.as_str()),
            (session, "guessed"),
            (session, ""),
            (session, &tampered),
            (&ended.ticket.session, &ended.ticket.token),
            ("no uuid", token),
            ("", token),
        ];
        for (session, token) in pairs {
            let mut wire = open(place.second(), place.encoding).await;
            let data = json!({"session_id": session, "heartbeat_token": token,
                "last_message_id": victim.ticket.last});
            let answer = try_resume(place, data.clone()).await;
            assert_eq!(answer, failed("not_resumable"), "{session} {token}");
            wire.send(&json!({"type": "ws:resume", "data": data})).await.unwrap();
            assert_eq!(next(&mut wire).await, failed("not_resumable"));
            wire.send(&json!({"type": "ws:connect"})).await.unwrap();
            assert_eq!(next(&mut wire).await["type"], "ws:connect_ack");
        }
        // The victim never noticed.
        let mut victim = victim;
        victim.hears_nothing().await;
    }

    async fn after_a_failed_resume_only_a_connect_helps(place: &Place<'_>) {
        let data = json!({"session_id": "unknown", "heartbeat_token": "unknown"});
        let resume = json!({"type": "ws:resume", "id": "r", "data": data});
        let ping = json!({"type": "ws:ping", "id": "r"});
        for second in [resume.clone(), ping] {
            let mut wire = open(place.first(), place.encoding).await;
            wire.send(&resume).await.unwrap();
            let failure = json!({"type": "ws:resume_failed",
                "data": {"ackId": "r", "reason": "not_resumable"}});
            assert_eq!(next(&mut wire).await, failure);
            wire.send(&second).await.unwrap();
            let refusal = json!({"type": "ws:error", "data": {
                "ackId": "r",
                "code": "not_connected",
                "message": "after a failed resume the next frame must be ws:connect",
                "retryable": false,
            }});
            let farewell = close_frame(1008, "not_connected", false);
            ends_with(&mut wire, &[refusal, farewell], 1008, "not_connected").await;
        }
    }

    async fn what_is_no_position_is_a_bad_message_id(place: &Place<'_>) {
        let ticket = Peer::connect(place.first(), place.encoding).await.cut();
        let far = id_ahead(Duration::from_hours(2));
        let bad = [
            json!("c1"), json!("garbage"), json!(""), json!("-1"), json!("1.5"), json!(" 16"),
            json!("+16"), json!("0x10"), json!("9007199254740992"), json!("18446744073709551616"),
            json!(16), json!(-1), json!(1.5), json!(true), json!({"id": "16"}), json!([16]),
            json!(["16", "c1"]), json!(vec!["16"; 17]), json!(far), json!([far]),
        ];
        for last in bad {
            let data = Ticket { last: last.clone(), ..ticket.clone() }.data();
            assert_eq!(try_resume(place, data).await, failed("bad_message_id"), "{last}");
        }
        // None of it did any harm.
        let again = Peer::resume(place.second(), place.encoding, &ticket).await;
        assert_eq!(again.ticket.session, ticket.session);
    }

    async fn a_position_from_the_future_is_a_rewound_gap_and_mutes_nothing(place: &Place<'_>) {
        let topic = place.topic("future");
        let mut peer = Peer::connect(place.first(), place.encoding).await;
        peer.subscribe(&[&topic]).await;
        let newest = peer.publish(&topic, json!("known")).await;
        let ticket = peer.cut();
        let ahead = id_ahead(Duration::from_mins(30));
        let ticket = Ticket { last: json!(ahead), ..ticket };
        let mut again = Peer::resume(place.second(), place.encoding, &ticket).await;
        let gap = json!({"topic": topic, "reason": "rewound", "after": newest, "before": ahead});
        assert_eq!(again.welcome["data"]["gaps"], json!([gap]));
        assert_eq!(again.welcome["data"]["last_message_id"], json!(newest));
        assert_eq!(again.next().await["type"], "ws:replay_done");
        let id = again.publish(&topic, json!("new")).await;
        assert_eq!(again.message().await["id"], json!(id));
    }

    async fn a_close_with_1000_ends_the_session_unless_it_says_otherwise(place: &Place<'_>) {
        for (code, keeps, expected) in [
            (1000, None, false),
            (1000, Some(false), false),
            (1000, Some(true), true),
            (1001, None, true),
            (4000, None, true),
        ] {
            let outlived = outlives(place, code, keeps).await;
            assert_eq!(outlived, expected, "{code} {keeps:?}");
        }
    }
}

#[tokio::test]
async fn a_session_survives_kill_9_of_its_node() {
    let mut cluster = Cluster::redis(&[]).await;
    let mut peer = Peer::connect(cluster.first(), Encoding::Json).await;
    peer.subscribe(&["orphan"]).await;
    let mut publisher = Peer::connect(cluster.second(), Encoding::Json).await;
    publisher.subscribe(&["orphan"]).await;
    publisher.publish("orphan", json!("seen")).await;
    peer.message().await;
    cluster.processes[0].kill();
    let id = publisher.publish("orphan", json!("missed")).await;
    publisher.saw(&id).await;
    let mut again = Peer::resume(cluster.second(), Encoding::Json, &peer.ticket).await;
    assert_eq!(again.message().await["id"], json!(id));
    assert_eq!(again.next().await["data"], json!({"replayed": 1}));
}

#[tokio::test]
async fn a_session_is_gone_after_its_window_and_not_before() {
    let cluster = Cluster::redis(&[("session.resume_window", "2s")]).await;
    let early = Peer::connect(cluster.first(), Encoding::Json).await;
    assert_eq!(early.welcome["data"]["gateway"]["resume_window"], 2000);
    let late = Peer::connect(cluster.first(), Encoding::Json).await;
    let (early, late) = (early.cut(), late.cut());
    time_passes(Duration::from_secs(1)).await;
    let mut alive = Peer::resume(cluster.second(), Encoding::Json, &early).await;
    // The sweeper looks every second; a session that was resumed is not swept.
    time_passes(Duration::from_millis(2500)).await;
    let mut wire = open(cluster.second(), Encoding::Json).await;
    wire.send(&json!({"type": "ws:resume", "data": late.data()}))
        .await
        .unwrap();
    assert_eq!(next(&mut wire).await, failed("not_resumable"));
    assert_eq!(alive.next().await["type"], "ws:replay_done");
    alive.hears_nothing().await;
}

#[tokio::test]
async fn keep_on_close_keeps_a_session_that_closes_with_1000() {
    let cluster = Cluster::memory(&[("session.keep_on_close", "true")]).await;
    let mut peer = Peer::connect(cluster.first(), Encoding::Json).await;
    peer.wire.close(1000, "").await.unwrap();
    peer.wire.wait_closed(SOON).await.unwrap();
    let again = Peer::resume(cluster.first(), Encoding::Json, &peer.ticket).await;
    assert_eq!(again.ticket.session, peer.ticket.session);
}

/// How long a refusal takes must not say what was wrong.
#[tokio::test]
async fn refusals_take_the_same_time_whatever_is_wrong() {
    let cluster = Cluster::redis(&[]).await;
    let victim = Peer::connect(cluster.first(), Encoding::Json).await;
    let stranger = Peer::connect(cluster.first(), Encoding::Json).await;
    let kinds = [
        (
            victim.ticket.session.as_str(),
            stranger.ticket.token.as_str(),
        ),
        (
            "6f1f2d9c-0000-8000-8000-000000000000",
            victim.ticket.token.as_str(),
        ),
        ("no uuid", victim.ticket.token.as_str()),
    ];
    let mut times = vec![Vec::new(); kinds.len()];
    for _ in 0..100 {
        for (kind, (session, token)) in kinds.iter().enumerate() {
            let mut wire = open(cluster.first(), Encoding::Json).await;
            let data = json!({"session_id": session, "heartbeat_token": token});
            let began = std::time::Instant::now();
            wire.send(&json!({"type": "ws:resume", "data": data}))
                .await
                .unwrap();
            assert_eq!(next(&mut wire).await, failed("not_resumable"));
            times[kind].push(began.elapsed());
        }
    }
    let medians: Vec<Duration> = times
        .iter_mut()
        .map(|times| {
            times.sort_unstable();
            times[times.len() / 2]
        })
        .collect();
    let (least, most) = (medians.iter().min().unwrap(), medians.iter().max().unwrap());
    // A missing look into the store would be a factor, not a fraction.
    assert!(*most < *least * 2, "{medians:?}");
}
