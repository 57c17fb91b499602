//! Connections break, scripts are forgotten, the server stalls or is full: nothing is lost, and
//! nothing is stored twice.

use std::sync::Arc;
use std::time::Duration;

use sparkway_protocol::{Durability, Epoch, MessageId, NodeId, Partition, SessionId, UserId};
use sparkway_store::redis::RedisStore;
use sparkway_store::{
    Append, Claim, Control, Detach, NodeLease, Open, SessionRecord, Store, StoreError, WriteError,
};

use crate::redis_support::fixture::settings;
use crate::redis_support::reader::{
    PATIENCE, Publisher, Reader, append, ids, log, message, publish, topic,
};
use crate::redis_support::server::Server;

async fn store(server: &Server) -> Arc<RedisStore> {
    Arc::new(RedisStore::connect(settings(&server.url())).await.unwrap())
}

fn record(user: &str, node: &NodeId) -> SessionRecord {
    SessionRecord {
        session: SessionId::from_random(rand::random(), Partition::default()),
        user: Some(UserId::parse(user).unwrap()),
        grants: "".into(),
        expires_at_ms: None,
        generation: 1,
        confirmed: 1,
        epoch: Epoch(0),
        owner: node.clone(),
        attached: true,
        format: sparkway_protocol::Format::SparkJson,
        cursors: Vec::new(),
        subscriptions: Vec::new(),
    }
}

async fn open(store: &dyn Store, user: &str, node: &NodeId) -> SessionId {
    let record = record(user, node);
    let session = record.session;
    let only_one = sparkway_store::OnlyOne::No;
    store.open(Open { record, only_one }).await.unwrap();
    session
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forgotten_scripts_are_loaded_again() {
    let server = Server::start(&[]);
    let store = store(&server).await;
    let room = topic("room:1");
    let node = NodeId::parse("node-1").unwrap();
    for _ in 0..3 {
        server.cli(&["SCRIPT", "FLUSH"]);
        append(&*store, message(&room, "x")).await.unwrap();
        server.cli(&["SCRIPT", "FLUSH"]);
        let session = open(&*store, "ada", &node).await;
        server.cli(&["SCRIPT", "FLUSH"]);
        let claim = Claim {
            session,
            generation: 1,
            node: node.clone(),
            nonce: 1,
        };
        let claimed = store.claim(claim).await.unwrap();
        server.cli(&["SCRIPT", "FLUSH"]);
        let detach = Detach {
            session,
            epoch: claimed.record.epoch,
            cursors: Vec::new(),
            window_ms: 1000,
        };
        let detached = store.detach(session.partition(), vec![detach]).await;
        assert_eq!(detached, Ok(vec![Ok(())]));
    }
    assert_eq!(log(&*store, &room).await.len(), 3);
}

/// Kills every connection of a kind again and again while messages are published and read.
async fn kill_under_traffic(kind: &'static str) {
    let server = Server::start(&[]);
    let (writer, reading) = (store(&server).await, store(&server).await);
    let rooms = ["room:1", "room:2", "room:3"].map(topic);
    let mut reader = Reader::of(reading, &rooms).await;
    let publisher = Publisher::start(writer, &rooms, Durability::Stored);
    for _ in 0..15 {
        let killed = server.cli(&["CLIENT", "KILL", "TYPE", kind]);
        assert!(killed.trim().parse::<u32>().is_ok(), "{killed}");
        let seen = reader.entries.len();
        while reader.entries.len() < seen + 20 {
            reader.step().await;
        }
    }
    let given = publisher.stop().await;
    reader.reach(*given.last().unwrap()).await;
    assert_eq!(ids(&reader.entries), given, "every one, once, in order");
    if kind == "pubsub" {
        assert!(reader.repairs > 0, "the feed told of its reconnects");
    }
    assert!(reader.holes.is_empty(), "the store lost nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_feeds_miss_nothing() {
    kill_under_traffic("pubsub").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_command_connections_store_everything_once() {
    kill_under_traffic("normal").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn feed_that_redis_cuts_for_its_output_buffer_misses_nothing() {
    let server = Server::start(&["--client-output-buffer-limit", "pubsub 256kb 0 0"]);
    let (writer, reading) = (store(&server).await, store(&server).await);
    let room = topic("room:1");
    let mut reader = Reader::of(reading, std::slice::from_ref(&room)).await;
    let mut given = Vec::new();
    let text = "x".repeat(4000);
    // Far more than the feed's queue, the sockets and the limit hold together.
    for _ in 0..200 {
        let batch = (0..60).map(|_| message(&room, &text)).collect();
        let answers = writer.append(Partition::default(), batch).await.unwrap();
        given.extend(answers.into_iter().map(|answer| answer.unwrap().id));
    }
    reader.reach(*given.last().unwrap()).await;
    assert_eq!(ids(&reader.entries), given);
    assert!(reader.repairs > 0, "redis has cut the feed");
}

/// Stops the server, lets a call run into its deadline, and lets the server go on.
async fn stall<T>(server: &Server, call: impl Future<Output = T>) -> T {
    server.signal("STOP");
    let answer = tokio::time::timeout(Duration::from_secs(4), call).await;
    server.signal("CONT");
    answer.expect("the deadline holds while the server is stopped")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publish_whose_answer_was_late_is_stored_once() {
    let server = Server::start(&[]);
    let store = store(&server).await;
    let room = topic("room:1");
    let same = message(&room, "x");
    let late = stall(&server, append(&*store, same.clone())).await;
    assert!(
        matches!(late, Err(WriteError::Store(StoreError::Unavailable(_)))),
        "{late:?}"
    );
    let id = publish(&*store, same.clone()).await;
    let again = append(&*store, same).await.unwrap();
    assert_eq!((again.id, again.duplicate), (id, true));
    assert_eq!(ids(&log(&*store, &room).await), [id]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn feed_of_a_stalled_server_goes_on() {
    let server = Server::start(&[]);
    let store = store(&server).await;
    let room = topic("room:1");
    let mut reader = Reader::of(store.clone(), std::slice::from_ref(&room)).await;
    server.signal("STOP");
    // Longer than the feed waits for an answer to its PING.
    while reader.repairs == 0 {
        let waiting = tokio::time::timeout(Duration::from_secs(6), reader.step()).await;
        server.signal("CONT");
        if waiting.is_err() {
            break;
        }
    }
    let id = publish(&*store, message(&room, "x")).await;
    reader.reach(id).await;
    assert_eq!(ids(&reader.entries), [id]);
    assert!(reader.repairs > 0, "the silent connection was given up");
}

/// Takes a session over and publishes, as another node.
fn elsewhere(url: &str, claim: Claim, message: Append) -> MessageId {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build().unwrap();
    runtime.block_on(async {
        let store = RedisStore::connect(settings(url)).await.unwrap();
        store.claim(claim).await.unwrap();
        publish(&store, message).await
    })
}

/// In one thread: while it is held, everything of the node stands still, as in a process that is
/// frozen. What is read first afterwards is left to chance, hence three times.
#[tokio::test]
#[expect(
    clippy::disallowed_methods,
    reason = "a thread that sleeps stands still, as a frozen process does"
)]
async fn what_was_said_while_a_node_stood_still_is_heard() {
    let server = Server::start(&[]);
    let store = store(&server).await;
    let [node, other] = ["node-1", "node-2"].map(|name| NodeId::parse(name).unwrap());
    let room = topic("room:1");
    let mut control = store.control(&node);
    assert_eq!(control.recv().await, Some(Control::Restored));
    let mut reader = Reader::of(store.clone(), std::slice::from_ref(&room)).await;
    for nonce in 0..3 {
        let session = open(&*store, "ada", &node).await;
        let claim = Claim {
            session,
            generation: 1,
            node: other.clone(),
            nonce,
        };
        let (url, said) = (server.url(), message(&room, "x"));
        let speaker = std::thread::spawn(move || elsewhere(&url, claim, said));
        // Longer than a server that is there may be silent.
        std::thread::sleep(Duration::from_millis(3500));
        let id = speaker.join().unwrap();
        let told = tokio::time::timeout(PATIENCE, control.recv()).await;
        let is_told = matches!(told, Ok(Some(Control::Superseded { session: named, .. })) if named == session);
        assert!(is_told, "{told:?}");
        reader.reach(id).await;
    }
    assert_eq!(reader.repairs, 0, "nothing had to be read again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expired_sessions_are_told_even_when_the_answer_was_late() {
    let server = Server::start(&[]);
    let store = store(&server).await;
    let node = NodeId::parse("node-1").unwrap();
    let lease = NodeLease {
        node: node.clone(),
        connections: 0,
        spare_accepts_per_second: 0,
        draining: false,
    };
    store.lease(lease, 600_000).await.unwrap();
    let session = open(&*store, "ada", &node).await;
    let detach = Detach {
        session,
        epoch: Epoch(1),
        cursors: Vec::new(),
        window_ms: 1,
    };
    let detached = store.detach(session.partition(), vec![detach]).await;
    assert_eq!(detached, Ok(vec![Ok(())]));
    // Only the last of a sweep's three calls matters: hold the server while that one waits.
    let fault = server.cli(&["CLIENT", "PAUSE", "3000", "WRITE"]);
    assert_eq!(fault.trim(), "OK");
    let late = store.sweep(session.partition(), 1000, 10).await;
    assert!(matches!(late, Err(StoreError::Unavailable(_))), "{late:?}");
    server.cli(&["CLIENT", "UNPAUSE"]);
    let mut told = Vec::new();
    let sweeping = async {
        while told.is_empty() {
            if let Ok(swept) = store.sweep(session.partition(), 1000, 10).await {
                told = swept;
            }
        }
    };
    let swept = tokio::time::timeout(PATIENCE, sweeping).await;
    swept.expect("the sweep tells it");
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].session, told[0].last_of_user), (session, true));
    let again = store.sweep(session.partition(), 1000, 10).await;
    assert_eq!(again, Ok(Vec::new()), "and only once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_server_refuses_and_holds_nothing_half() {
    let server = Server::start(&["--maxmemory-policy", "noeviction"]);
    let store = store(&server).await;
    let room = topic("room:1");
    let first = publish(&*store, message(&room, "before")).await;
    let before = server.cli(&["DBSIZE"]);
    server.cli(&["CONFIG", "SET", "maxmemory", "1mb"]);
    let new = topic("room:2");
    let refused: Vec<Append> = vec![message(&room, "x"), message(&new, "y")];
    let answers = store.append(Partition::default(), refused.clone()).await;
    for answer in answers.unwrap() {
        let full = matches!(
            answer,
            Err(WriteError::Store(StoreError::Unavailable(why))) if why.contains("memory")
        );
        assert!(full, "{answer:?}");
    }
    assert_eq!(server.cli(&["DBSIZE"]), before, "no key was made");
    assert_eq!(store.clock(Partition::default()).await, Ok(first));
    assert_eq!(ids(&log(&*store, &room).await), [first], "reads go on");
    server.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    let answers = store.append(Partition::default(), refused).await.unwrap();
    assert!(answers.into_iter().all(|answer| !answer.unwrap().duplicate));
    assert_eq!(
        store.tip(new).await.map(|tip| tip > MessageId::ZERO),
        Ok(true)
    );
}

/// What a server does whose clock was set back, and what a node does whose clock is wrong: the
/// partition's clock lies an hour ahead of both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clock_set_back_neither_repeats_ids_nor_forgets_digests() {
    let server = Server::start(&[]);
    let store = store(&server).await;
    let room = topic("room:1");
    let first = publish(&*store, message(&room, "x")).await;
    let ahead = MessageId::at(first.unix_ms() + 3_600_000, Partition::default());
    server.cli(&["SET", "sw:{ms3}:clock", &ahead.to_string()]);
    let same = message(&room, "y");
    let id = publish(&*store, same.clone()).await;
    assert!(id > ahead);
    let again = append(&*store, same).await.unwrap();
    assert_eq!((again.id, again.duplicate), (id, true));
    let next = publish(&*store, message(&room, "z")).await;
    assert_eq!(next.get(), id.get() + MessageId::STEP, "it does not wait");
    // Ids that stand still do not say when the expiry was set.
    for kind in ["log", "tip"] {
        let key = format!("sw:{{ms3}}:{kind}:room:1");
        server.cli(&["PEXPIRE", &key, "20000"]);
        publish(&*store, message(&room, "z")).await;
        let left: u64 = server.cli(&["PTTL", &key]).trim().parse().unwrap();
        assert!(left > 20_000, "{kind} is kept for {left} ms");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn message_that_cannot_be_stored_leaves_the_others_whole() {
    let server = Server::start(&[]);
    let store = store(&server).await;
    let (good, bad) = (topic("good"), topic("bad"));
    server.cli(&["SET", "sw:{ms3}:log:bad", "no stream"]);
    for batch in [[&good, &bad, &good], [&bad, &good, &good]] {
        let batch = batch.map(|topic| message(topic, "x")).to_vec();
        let of_bad = batch.iter().position(|message| message.topic == bad);
        let answers = store.append(Partition::default(), batch).await.unwrap();
        for (at, answer) in answers.into_iter().enumerate() {
            if Some(at) == of_bad {
                let corrupt = matches!(answer, Err(WriteError::Store(StoreError::Corrupt(_))));
                assert!(corrupt, "{answer:?}");
            } else {
                assert!(answer.is_ok(), "{answer:?}");
            }
        }
    }
    let stored = log(&*store, &good).await;
    assert_eq!(stored.len(), 4);
    assert!(stored.is_sorted_by(|older, newer| newer.prev == older.id));
    assert_eq!(store.tip(good).await, Ok(stored[3].id));
    assert_eq!(store.tip(bad).await, Ok(MessageId::ZERO));
}
