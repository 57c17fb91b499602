//! Layouts, prefixes, passwords, names.

use std::sync::Arc;
use std::time::Duration;

use sparkway_protocol::{Ephemeral, MessageId, Partitions};
use sparkway_store::redis::{RedisSettings, RedisStore, Servers};
use sparkway_store::{Store, StoreError};

use crate::redis_support::fixture::settings;
use crate::redis_support::reader::{PATIENCE, Reader, ids, log, message, publish, topic};
use crate::redis_support::rights;
use crate::redis_support::server::Server;

fn with_partitions(server: &Server, count: u8) -> RedisSettings {
    RedisSettings {
        partitions: Partitions::new(count),
        ..settings(&server.url())
    }
}

fn with_prefix(server: &Server, prefix: &str) -> RedisSettings {
    RedisSettings {
        key_prefix: prefix.into(),
        ..settings(&server.url())
    }
}

async fn refusal(settings: RedisSettings) -> String {
    match RedisStore::connect(settings).await {
        Err(StoreError::Layout(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_of_another_layout_is_refused() {
    let server = Server::start(&[]);
    let four = RedisStore::connect(with_partitions(&server, 4)).await;
    assert_eq!(four.unwrap().partitions().count(), 4);
    let why = refusal(with_partitions(&server, 8)).await;
    assert!(why.contains("partitions"), "{why}");
    // Who does not say how many takes them as they are.
    let found = RedisStore::connect(settings(&server.url())).await.unwrap();
    assert_eq!(found.partitions().count(), 4);
    for field in ["layout", "hash", "id_epoch_ms"] {
        let before = server.cli(&["HGET", "sw:cfg", field]);
        server.cli(&["HSET", "sw:cfg", field, "999"]);
        let why = refusal(settings(&server.url())).await;
        assert!(why.contains(field) && why.contains("999"), "{why}");
        server.cli(&["HSET", "sw:cfg", field, before.trim()]);
    }
    assert!(RedisStore::connect(settings(&server.url())).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_prefixes_on_one_server_do_not_hear_each_other() {
    let server = Server::start(&[]);
    let one = RedisStore::connect(with_prefix(&server, "one")).await;
    let two = RedisStore::connect(with_prefix(&server, "two")).await;
    let (one, two) = (Arc::new(one.unwrap()), Arc::new(two.unwrap()));
    assert_ne!(
        one.cluster_key().await.unwrap(),
        two.cluster_key().await.unwrap()
    );
    let room = topic("room:1");
    let mut reader = Reader::of(one.clone(), std::slice::from_ref(&room)).await;
    publish(&*two, message(&room, "elsewhere")).await;
    let here = publish(&*one, message(&room, "here")).await;
    reader.reach(here).await;
    assert_eq!(ids(&reader.entries), [here]);
    assert_eq!(ids(&log(&*one, &room).await), [here]);
}

/// The whole conformance suite runs as this user, on one server and on a cluster. What it is denied
/// is shown here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn user_with_few_rights_reaches_nothing_else_and_is_enough() {
    let options = rights::options();
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let server = Server::start(&options);
    let url = rights::as_user(&server.url());
    let store = Arc::new(RedisStore::connect(settings(&url)).await.unwrap());
    let room = topic("room:1");
    let mut reader = Reader::of(store.clone(), std::slice::from_ref(&room)).await;
    let id = publish(&*store, message(&room, "x")).await;
    reader.reach(id).await;
    for words in [
        &["GET", "others"][..],
        &["SET", "others", "1"],
        &["EVAL", "return redis.call('GET', 'others')", "0"],
        &["PUBLISH", "others", "1"],
        &["CONFIG", "SET", "maxmemory", "1"],
        &["KEYS", "*"],
        &["FLUSHALL"],
        &["ACL", "LIST"],
        &["CLIENT", "KILL", "TYPE", "pubsub"],
        &["SHUTDOWN"],
    ] {
        let login = ["--user", "sparkway", "--pass", "WORD"];
        let answer = server.cli(&[&login, words].concat());
        assert!(
            ["NOPERM", "ACL failure", "can't access"]
                .iter()
                .any(|denial| answer.contains(denial)),
            "{words:?}: {answer}"
        );
    }
    // The wrong one is refused with its reason, and is shown nowhere.
    let mut wrong = settings(&url.replace("WORD", "falsch"));
    wrong.command_deadline = Duration::from_millis(300);
    let refused = RedisStore::connect(wrong).await.unwrap_err();
    let said = format!("{refused:?} {refused}");
    assert!(!said.contains("falsch"), "{said}");
}

/// The user that the page made before it named SETRANGE.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn user_of_an_earlier_version_keeps_whole_logs() {
    let options = rights::options();
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let server = Server::start(&options);
    let denied = server.cli(&["ACL", "SETUSER", "sparkway", "-setrange"]);
    assert_eq!(denied.trim(), "OK");
    let url = rights::as_user(&server.url());
    let store = RedisStore::connect(settings(&url)).await.unwrap();
    let room = topic("room:1");
    let mut prev = MessageId::ZERO;
    for text in ["a", "b", "c"] {
        let id = publish(&store, message(&room, text)).await;
        assert_eq!(log(&store, &room).await.last().unwrap().prev, prev);
        prev = id;
    }
    let left = server.cli(&["PTTL", "sw:{ms3}:tip:room:1"]);
    assert!(left.trim().parse::<u64>().is_ok(), "{left}");
}

/// A block of a log holds one such message, so that nothing hides how often it is trimmed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn few_and_large_messages_are_trimmed_with_each_one() {
    let server = Server::start(&[]);
    let store = RedisStore::connect(settings(&server.url())).await.unwrap();
    for (name, entries, length) in [("few", 1, 5000), ("large", 100, 5000)] {
        let (room, text) = (topic(name), "x".repeat(length));
        let key = format!("sw:{{ms3}}:log:{name}");
        for _ in 0..entries + 20 {
            let mut message = message(&room, &text);
            message.retention.entries = entries;
            publish(&store, message).await;
        }
        let kept: u32 = server.cli(&["XLEN", &key]).trim().parse().unwrap();
        assert_eq!(kept, entries, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn password_is_used_and_shown_nowhere() {
    let server = Server::start(&["--requirepass", "geheim/@:"]);
    let url = format!("redis://:geheim%2F%40%3A@127.0.0.1:{}", server.port);
    let right = settings(&url);
    let shown = format!("{right:?}");
    let store = Arc::new(RedisStore::connect(right).await.unwrap());
    let room = topic("room:1");
    let mut reader = Reader::of(store.clone(), std::slice::from_ref(&room)).await;
    let id = publish(&*store, message(&room, "x")).await;
    reader.reach(id).await;
    let mut wrong = settings(&format!("redis://:falsch@127.0.0.1:{}", server.port));
    wrong.command_deadline = Duration::from_millis(300);
    let refused = RedisStore::connect(wrong).await.unwrap_err();
    assert!(matches!(refused, StoreError::Unavailable(_)), "{refused:?}");
    for text in [
        shown,
        format!("{store:?}"),
        format!("{refused:?} {refused}"),
    ] {
        assert!(
            !text.contains("geheim") && !text.contains("falsch"),
            "{text}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_that_is_away_is_unavailable_within_the_deadline() {
    let mut away = RedisSettings::new("redis://127.0.0.1:1").unwrap();
    assert!(matches!(away.url.servers, Servers::One(_)));
    away.command_deadline = Duration::from_millis(300);
    let began = std::time::Instant::now();
    let refused = RedisStore::connect(away).await.unwrap_err();
    assert!(matches!(refused, StoreError::Unavailable(_)), "{refused:?}");
    assert!(began.elapsed() < Duration::from_secs(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_reach_no_key_but_their_own() {
    let server = Server::start(&[]);
    let connected = RedisStore::connect(with_partitions(&server, 4)).await;
    let store = connected.unwrap();
    let names = ["}{x}", "a*b", "{ms3}", "clock", "log:a", "?", "[a-z]", "\\"];
    for name in names {
        publish(&store, message(&topic(name), name)).await;
        let ephemeral = Ephemeral {
            topic: topic(name),
            from: None,
            origin: None,
            exclude_origin: false,
            payload: message(&topic(name), "x").payload,
        };
        store.announce(ephemeral).await.unwrap();
    }
    let keys = server.cli(&["--raw", "KEYS", "*"]);
    let mut kinds: Vec<(String, String)> = Vec::new();
    for key in keys.lines().filter(|key| *key != "sw:cfg") {
        let rest = key.strip_prefix("sw:{").unwrap();
        let (_tag, rest) = rest.split_once("}:").unwrap();
        let (kind, name) = rest.split_once(':').unwrap_or((rest, ""));
        kinds.push((kind.to_owned(), name.to_owned()));
    }
    let of = |wanted: &str| {
        let mut found: Vec<_> = kinds
            .iter()
            .filter(|(kind, _)| kind == wanted)
            .map(|(_, name)| name.as_str())
            .collect();
        found.sort_unstable();
        found
    };
    let mut sorted = names.to_vec();
    sorted.sort_unstable();
    assert_eq!(of("log"), sorted);
    assert_eq!(of("tip"), sorted);
    assert!(
        kinds
            .iter()
            .all(|(kind, _)| ["log", "tip", "clock", "gen", "holes", "idem"].contains(&&**kind)),
        "{kinds:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_key_but_the_documented_ones_expires() {
    let server = Server::start(&[]);
    let store = RedisStore::connect(settings(&server.url())).await.unwrap();
    // Twice: expiries are not set anew with each message.
    for number in [0, 1, 2, 0, 1, 2] {
        publish(&store, message(&topic(&format!("room:{number}")), "x")).await;
    }
    let keys = server.cli(&["--raw", "KEYS", "*"]);
    let lasting: Vec<_> = keys
        .lines()
        .filter(|key| server.cli(&["PTTL", key]).trim() == "-1")
        .collect();
    let expected = ["sw:cfg", "sw:{ms3}:clock", "sw:{ms3}:gen", "sw:{ms3}:holes"];
    let mut lasting = lasting;
    lasting.sort_unstable();
    assert_eq!(lasting, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expiries_are_set_anew_while_a_topic_is_written_to() {
    let server = Server::start(&[]);
    let store = RedisStore::connect(settings(&server.url())).await.unwrap();
    let room = topic("room:1");
    // Eight times while a message is kept.
    let short = || {
        let mut message = message(&room, "x");
        message.retention.age_ms = 4000;
        message
    };
    publish(&store, short()).await;
    for (kind, until_ms) in [("tip", 68_000), ("log", 4501)] {
        let key = format!("sw:{{ms3}}:{kind}:room:1");
        server.cli(&["PEXPIRE", &key, "600000"]);
        let began = tokio::time::Instant::now();
        let left = loop {
            publish(&store, short()).await;
            let left: u64 = server.cli(&["PTTL", &key]).trim().parse().unwrap();
            if left < 500_000 || began.elapsed() > PATIENCE {
                break left;
            }
        };
        assert!(left <= until_ms, "{kind} is kept for {left} ms");
    }
}
