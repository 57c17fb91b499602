//! Sessions over many connections.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::{
    Client, Cut, Error, LossReason, MessageId, Observer, Options, Start, Step, TokenSource,
};

#[tokio::test]
async fn cut_session_resumes_on_the_next_node_with_the_newest_id() {
    let (first, second) = (Fake::bind().await, Fake::bind().await);
    let client = Client::start([first.url(), second.url()], quick()).unwrap();
    let mut peer = first.begin().await;
    let mut topic = follow(&client, &mut peer, &["t"], Subscribe::default(), "16").await;
    for id in [32, 48] {
        peer.message("t", id).await;
    }
    assert_eq!(ids(&mut topic, 2).await, [32, 48]);
    client.cut(Cut::Reset, Duration::ZERO).await;
    assert_eq!(peer.ended().await, None);

    let (mut peer, asked) = second.resume().await;
    assert_eq!(
        asked,
        json!({"session_id": "s-1", "heartbeat_token": "hb-1", "last_message_id": "48"})
    );
    assert_eq!(peer.expect("ws:ack").await["data"]["ackId"], "c1");
    peer.message("t", 64).await;
    peer.say(&json!({"type": "ws:replay_done", "data": {"replayed": 1}}))
        .await;
    peer.message("t", 80).await;
    assert!(message(&mut topic).await.replayed);
    assert!(!message(&mut topic).await.replayed);
    assert!(online(&client, 2).await);
    let counts = client.counts();
    assert_eq!(
        (counts.resumes, counts.replayed, counts.duplicates),
        (1, 1, 0)
    );
}

#[tokio::test]
async fn several_partitions_are_named_in_an_array() {
    let node = Fake::bind().await;
    let client = Client::start([node.url()], quick()).unwrap();
    let mut peer = node.begin().await;
    let mut topics = follow(&client, &mut peer, &["a", "b"], Subscribe::default(), "0").await;
    peer.message("a", 160).await;
    peer.message("b", 165).await;
    ids(&mut topics, 2).await;
    peer.cut();
    let (_, asked) = node.resume().await;
    assert_eq!(asked["last_message_id"], json!(["160", "165"]));
}

#[tokio::test]
async fn start_position_stands_in_until_a_message_comes() {
    let node = Fake::bind().await;
    let _client = Client::start([node.url()], quick()).unwrap();
    let mut peer = node.accept().await;
    peer.expect("ws:connect").await;
    peer.connect_ack("320").await;
    peer.close(1001, "Heartbeat timeout").await;
    let (_, asked) = node.resume().await;
    assert_eq!(asked["last_message_id"], "320");
}

#[tokio::test]
async fn rotated_token_is_acknowledged_and_used_from_then_on() {
    let node = Fake::bind().await;
    let _client = Client::start([node.url()], quick()).unwrap();
    let mut peer = node.accept().await;
    peer.expect("ws:connect").await;
    let began = Instant::now();
    peer.say(
        &json!({"type": "ws:connect_ack", "data": {"session_id": "s-1",
        "heartbeat_token": "hb-1", "heartbeat_interval": 100, "last_message_id": "0",
        "gateway": {"node": "a"}}}),
    )
    .await;
    let beat = peer.expect("ws:heartbeat").await;
    assert!(
        began.elapsed() < Duration::from_millis(1500),
        "the first beat comes within an interval"
    );
    assert_eq!(beat["data"]["heartbeat_token"], "hb-1");
    peer.say(
        &json!({"type": "ws:heartbeat_ack", "id": "c7", "data": {"updated_token": "hb-7",
        "updated_heartbeat_interval": 50}}),
    )
    .await;
    assert_eq!(peer.expect("ws:ack").await["data"]["ackId"], "c7");
    assert_eq!(
        peer.expect("ws:heartbeat").await["data"]["heartbeat_token"],
        "hb-7"
    );
    peer.say(&json!({"type": "ws:heartbeat_ack", "data": {}}))
        .await;
    peer.cut();
    let (_, asked) = node.resume().await;
    assert_eq!(asked["heartbeat_token"], "hb-7");
}

#[tokio::test]
async fn silent_node_is_left_for_another() {
    let (first, second) = (Fake::bind().await, Fake::bind().await);
    let options = Options {
        silence_within: Duration::from_millis(100),
        ..quick()
    };
    let _client = Client::start([first.url(), second.url()], options).unwrap();
    let mut peer = first.accept().await;
    peer.expect("ws:connect").await;
    peer.say(
        &json!({"type": "ws:connect_ack", "data": {"session_id": "s-1",
        "heartbeat_token": "hb-1", "heartbeat_interval": 20, "last_message_id": "0"}}),
    )
    .await;
    peer.expect("ws:heartbeat").await;
    second.resume().await;
}

#[tokio::test]
async fn drain_is_obeyed_after_its_delay_on_another_node_and_without_ending_the_session() {
    let (first, second) = (Fake::bind().await, Fake::bind().await);
    let client = Client::start([first.url(), second.url()], quick()).unwrap();
    let mut peer = first.begin().await;
    let mut topic = follow(&client, &mut peer, &["t"], Subscribe::default(), "0").await;
    let told = Instant::now();
    peer.say(&json!({"type": "ws:drain", "data": {"reconnect_after": 200, "resume": true}}))
        .await;
    peer.message("t", 16).await;
    assert_eq!(
        ids(&mut topic, 1).await,
        [16],
        "messages still come meanwhile"
    );
    assert_ne!(peer.ended().await, Some(1000), "1000 would end the session");
    assert!(told.elapsed() >= Duration::from_millis(195));
    let (_, asked) = second.resume().await;
    assert_eq!(asked["last_message_id"], "16");
    assert_eq!(client.counts().drains, 1);
}

#[tokio::test]
async fn terminal_close_stops_the_client_and_tells_everybody() {
    let node = Fake::bind().await;
    let client = Client::start([node.url()], quick()).unwrap();
    let mut peer = node.begin().await;
    let mut topic = follow(&client, &mut peer, &["t"], Subscribe::default(), "0").await;
    let under_way = client.publish("t", &1).start().await.unwrap();
    peer.expect("topic:publish").await;
    peer.close(4009, "superseded").await;
    let why = client.closed().await;
    assert!(
        matches!(
            why,
            Error::Closed {
                code: Some(4009),
                ..
            }
        ),
        "{why}"
    );
    assert!(matches!(
        under_way.done().await,
        Err(Error::Closed {
            code: Some(4009),
            ..
        })
    ));
    assert!(client.publish("t", &1).await.is_err());
    assert!(topic.next().await.is_none());
    assert!(node.is_left_alone().await);
}

#[tokio::test]
async fn last_words_decide_before_the_close_code() {
    let node = Fake::bind().await;
    let client = Client::start([node.url()], quick()).unwrap();
    let mut peer = node.begin().await;
    peer.say(
        &json!({"type": "ws:close", "data": {"code": 1012, "reason": "Service restart",
        "resume": true, "retry_after": 150}}),
    )
    .await;
    let told = Instant::now();
    peer.close(1012, "Service restart").await;
    let _peer = node.resume().await;
    assert!(
        told.elapsed() >= Duration::from_millis(145),
        "retry_after is kept"
    );
    assert!(online(&client, 2).await);
}

#[tokio::test]
async fn code_of_41xx_backs_off_and_resumes() {
    let node = Fake::bind().await;
    let client = Client::start([node.url()], quick()).unwrap();
    node.begin().await.close(4100, "rate_limited").await;
    let _peer = node.resume().await;
    assert!(online(&client, 2).await);
}

#[tokio::test]
async fn session_that_cannot_be_resumed_is_begun_anew_from_the_last_id_of_each_topic() {
    let node = Fake::bind().await;
    let client = Client::start([node.url()], quick()).unwrap();
    let mut peer = node.begin().await;
    let mut topics = follow(&client, &mut peer, &["a", "b"], Subscribe::default(), "16").await;
    peer.message("a", 32).await;
    ids(&mut topics, 1).await;
    peer.cut();

    let mut peer = node.accept().await;
    peer.expect("ws:resume").await;
    peer.say(&json!({"type": "ws:resume_failed", "data": {"reason": "not_resumable"}}))
        .await;
    peer.expect("ws:connect").await;
    peer.connect_ack("160").await;
    let mut since = Vec::new();
    for _ in 0..2 {
        let asked = peer.expect("topic:subscribe").await;
        let topic = asked["data"]["topics"][0].clone();
        since.push((topic.clone(), asked["data"]["since"].clone()));
        let is_recovered = topic == "a";
        peer.ack(
            &asked,
            json!({"topics": [
            {"topic": topic, "position": "160", "recovered": is_recovered}]}),
        )
        .await;
    }
    since.sort_by_key(|(topic, _)| topic.to_string());
    assert_eq!(
        since,
        [(json!("a"), json!("32")), (json!("b"), json!("16"))]
    );
    match event(&mut topics).await {
        Event::Loss(loss) => {
            assert_eq!((&*loss.topic, loss.reason), ("b", LossReason::NotRecovered));
            assert_eq!(loss.after, MessageId::new(16));
        }
        other => panic!("{other:?}"),
    }
    peer.message("a", 48).await;
    assert_eq!(ids(&mut topics, 1).await, [48]);
    assert_eq!(
        (client.counts().sessions_lost, client.counts().losses),
        (1, 1)
    );
}

#[tokio::test]
async fn unavailable_store_keeps_the_session_for_the_next_try() {
    let node = Fake::bind().await;
    let client = Client::start([node.url()], quick()).unwrap();
    node.begin().await.cut();
    let mut peer = node.accept().await;
    peer.expect("ws:resume").await;
    peer.say(&json!({"type": "ws:resume_failed", "data": {"reason": "unavailable"}}))
        .await;
    let (_peer, asked) = node.resume().await;
    assert_eq!(asked["session_id"], "s-1");
    until(|| client.counts().resumes == 1).await;
    assert_eq!(client.counts().sessions_lost, 0);
}

#[tokio::test]
async fn half_open_connection_is_kept_silent_while_the_session_resumes_elsewhere() {
    let (first, second) = (Fake::bind().await, Fake::bind().await);
    let client = Client::start([first.url(), second.url()], quick()).unwrap();
    let mut peer = first.begin().await;
    online(&client, 1).await;
    client.cut(Cut::HalfOpen, Duration::ZERO).await;
    let (_other, _) = second.resume().await;
    online(&client, 2).await;
    let silence = timeout(Duration::from_millis(100), peer.ended()).await;
    assert!(silence.is_err(), "the old socket stays open");
    client.close().await;
}

#[tokio::test]
async fn close_ends_the_session_and_abandon_does_not() {
    let node = Fake::bind().await;
    for is_closed in [true, false] {
        let client = Client::start([node.url()], quick()).unwrap();
        let mut peer = node.begin().await;
        let (ended, ()) = tokio::join!(peer.ended(), async {
            if is_closed {
                client.close().await;
            } else {
                client.abandon().await;
            }
        });
        assert_eq!(ended, is_closed.then_some(1000));
        assert!(matches!(client.closed().await, Error::Closed { .. }));
    }
    assert!(node.is_left_alone().await);
}

#[tokio::test]
async fn session_ends_with_the_last_handle() {
    let node = Fake::bind().await;
    let client = Client::start([node.url()], quick()).unwrap();
    let mut peer = node.begin().await;
    let topic = follow(&client, &mut peer, &["t"], Subscribe::default(), "0").await;
    drop(client);
    peer.say(&json!({"type": "ws:ping", "id": "c1"})).await;
    assert_eq!(
        peer.expect("ws:ack").await["data"]["ackId"],
        "c1",
        "a subscription is a handle"
    );
    drop(topic);
    assert_eq!(peer.ended().await, Some(1000));
}

#[tokio::test]
async fn token_is_asked_for_at_every_connect_and_a_refused_one_ends_the_client() {
    let node = Fake::bind().await;
    let asked = Arc::new(Mutex::new(0));
    let counter = Arc::clone(&asked);
    let token = TokenSource::Ask(Arc::new(move || {
        let number = {
            let mut number = counter.lock().unwrap();
            *number += 1;
            *number
        };
        Box::pin(async move { Ok(format!("token-{number}")) })
    }));
    let client = Client::start([node.url()], Options { token, ..quick() }).unwrap();
    let mut peer = node.accept().await;
    assert_eq!(peer.expect("ws:connect").await["data"]["token"], "token-1");
    peer.connect_ack("0").await;
    online(&client, 1).await;
    peer.cut();
    let mut peer = node.accept().await;
    peer.expect("ws:resume").await;
    peer.say(&json!({"type": "ws:resume_failed", "data": {"reason": "not_resumable"}}))
        .await;
    assert_eq!(peer.expect("ws:connect").await["data"]["token"], "token-2");
    peer.say(
        &json!({"type": "ws:error", "data": {"code": "unauthorized", "message": "no",
        "retryable": false}}),
    )
    .await;
    let why = client.closed().await;
    assert!(matches!(why, Error::Auth(_)) && why.is_auth(), "{why:?}");
}

#[tokio::test]
async fn refused_upgrade_waits_as_told_or_ends_the_client() {
    let node = Fake::bind().await;
    for (answer, ends) in [
        (
            "HTTP/1.1 503 Service Unavailable\r\nretry-after: 0\r\ncontent-length: 0\r\n\r\n",
            false,
        ),
        (
            "HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n",
            true,
        ),
    ] {
        let client = Client::start([node.url()], quick()).unwrap();
        let mut tcp = node.tcp().await;
        let mut head = [0; 2048];
        assert!(tcp.read(&mut head).await.unwrap() > 0);
        tcp.write_all(answer.as_bytes()).await.unwrap();
        if ends {
            assert!(client.closed().await.is_auth());
        } else {
            let _peer = node.begin().await;
            online(&client, 1).await;
        }
    }
}

#[tokio::test]
async fn connect_gives_up_in_time_when_nobody_answers() {
    let node = Fake::bind().await;
    let options = Options {
        connect_within: Duration::from_millis(100),
        ..quick()
    };
    let refused = Client::connect([node.url()], options).await;
    assert!(matches!(refused, Err(Error::Unreachable(_))), "{refused:?}");
}

#[tokio::test]
async fn observer_sees_every_frame_of_both_directions() {
    let node = Fake::bind().await;
    let history = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&history);
    let observer = Observer::new(move |seen| {
        let line = match &seen.step {
            Step::Opened { .. } => "opened".to_owned(),
            Step::Sent(raw) => format!("> {raw}"),
            Step::Received(crate::Incoming::Frame(frame)) => format!("< {}", frame.raw),
            other => format!("{other:?}"),
        };
        log.lock().unwrap().push((seen.connection, line));
    });
    let client = Client::start(
        [node.url()],
        Options {
            observer: Some(observer),
            ..quick()
        },
    )
    .unwrap();
    let peer = node.begin().await;
    online(&client, 1).await;
    client.cut(Cut::Fin, Duration::ZERO).await;
    drop(peer);
    let _peer = node.resume().await;
    online(&client, 2).await;
    let history = history.lock().unwrap().clone();
    let kinds: Vec<_> = history
        .iter()
        .map(|(number, line)| (*number, line.get(..3).unwrap_or(line)))
        .collect();
    assert_eq!(
        kinds[..5],
        [(1, "ope"), (1, "> {"), (1, "< {"), (1, "Cut"), (2, "ope")]
    );
}

#[tokio::test]
async fn since_and_other_wishes_are_written_as_the_protocol_says() {
    let node = Fake::bind().await;
    let client = Client::start([node.url()], quick()).unwrap();
    let mut peer = node.begin().await;
    let how = Subscribe {
        start: Start::Rewind(5),
        presence: true,
        echo: false,
    };
    let (_, asked) = tokio::join!(client.subscribe(["t"], how), peer.grant("0"));
    assert_eq!(
        asked["data"],
        json!({"topics": ["t"], "rewind": 5, "presence": true, "echo": false})
    );
}
