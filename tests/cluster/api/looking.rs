//! Listings and reads: topics, logs, sessions, nodes.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sparkway_client::Encoding;

use super::{one_node, two_nodes};
use crate::harness::cluster::Cluster;
use crate::harness::operations::{Backend, KEY};
use crate::harness::peer::Peer;
use crate::harness::tokens::{SECRET, named};
use crate::harness::{SOON, until};

/// All items of a listing, page by page.
async fn walk(backend: &Backend, path: &str, limit: usize) -> Vec<Value> {
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = backend
            .get(&format!("{path}&limit={limit}{cursor}"))
            .await
            .ok();
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= limit);
        found.extend(items.clone());
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return found,
        }
    }
}

#[tokio::test]
async fn topics_are_listed_page_by_page_and_shown_with_what_they_hold() {
    for (_cluster, backend) in [one_node().await, {
        let (cluster, backend, _) = two_nodes().await;
        (cluster, backend)
    }] {
        let topics: Vec<String> = (0..25).map(|at| format!("list:{at}")).collect();
        let body = json!({"topics": topics, "data": "x"});
        backend.post("/v1/broadcast", &body).await.ok();
        backend
            .post("/v1/publish", &json!({"topic": "else:/ä", "data": 1}))
            .await
            .ok();
        let found = walk(&backend, "/v1/topics?prefix=list:", 7).await;
        let names: BTreeSet<&str> = found
            .iter()
            .filter_map(|one| one["topic"].as_str())
            .collect();
        assert_eq!(names, topics.iter().map(String::as_str).collect());
        let shown = backend.get("/v1/topics/else:%2F%C3%A4").await.ok();
        assert_eq!(
            (&shown["topic"], &shown["entries"]),
            (&json!("else:/ä"), &json!(1))
        );
        assert_eq!(shown["first_id"], shown["last_id"]);
        assert_eq!(backend.get("/v1/topics/nobody").await.code(), "not_found");
    }
}

#[tokio::test]
async fn a_log_is_read_in_both_directions() {
    let (_cluster, backend) = one_node().await;
    let messages: Vec<Value> = (0..10)
        .map(|data| json!({"topic": "log:1", "data": data}))
        .collect();
    backend
        .post("/v1/publish/batch", &json!({"messages": messages}))
        .await
        .ok();
    let data = |page: &Value| -> Vec<u64> {
        let messages = page["messages"].as_array().unwrap().iter();
        messages.filter_map(|one| one["data"].as_u64()).collect()
    };
    let page = backend.get("/v1/topics/log:1/history?limit=4").await.ok();
    assert_eq!(
        (data(&page), &page["complete"]),
        (vec![0, 1, 2, 3], &json!(false))
    );
    let last = page["messages"][3]["id"].as_str().unwrap();
    let page = backend
        .get(&format!("/v1/topics/log:1/history?after={last}"))
        .await
        .ok();
    assert_eq!(
        (data(&page), &page["complete"]),
        (vec![4, 5, 6, 7, 8, 9], &json!(true))
    );
    let page = backend
        .get(&format!(
            "/v1/topics/log:1/history?order=desc&limit=2&before={last}"
        ))
        .await
        .ok();
    assert_eq!(data(&page), [2, 1]);
}

#[tokio::test]
async fn sessions_of_all_nodes_are_listed_from_any_node() {
    let (cluster, first, second) = two_nodes().await;
    let mut here = Peer::connect(cluster.first(), Encoding::Json).await;
    let mut there = Peer::connect(cluster.second(), Encoding::MsgPack).await;
    here.subscribe(&["seen:1", "seen:2"]).await;
    there.subscribe(&["seen:2"]).await;
    let away = Peer::connect(cluster.second(), Encoding::Json).await;
    let gone = away.ticket.session.clone();
    drop(away.cut());
    until("the session is detached", SOON, || async {
        let shown = second.get(&format!("/v1/sessions/{gone}")).await.ok();
        (shown["state"] == "detached").then_some(())
    })
    .await;
    let ids = |found: &[Value]| -> BTreeSet<String> {
        found
            .iter()
            .filter_map(|one| Some(one["session"].as_str()?.to_owned()))
            .collect()
    };
    let set =
        |all: &[&String]| -> BTreeSet<String> { all.iter().map(|id| (*id).clone()).collect() };
    let (here, there) = (&here.ticket.session, &there.ticket.session);
    for backend in [&first, &second] {
        for limit in [1, 100] {
            let find = |query: &'static str| async move { ids(&walk(backend, query, limit).await) };
            assert_eq!(find("/v1/sessions?").await, set(&[here, there, &gone]));
            assert_eq!(find("/v1/sessions?node=node-a").await, set(&[here]));
            assert_eq!(
                find("/v1/sessions?state=attached").await,
                set(&[here, there])
            );
            assert_eq!(find("/v1/sessions?state=detached").await, set(&[&gone]));
            assert_eq!(find("/v1/sessions?topic=seen:2").await, set(&[here, there]));
            assert_eq!(
                find("/v1/sessions?topic=seen:1&node=node-b").await,
                set(&[])
            );
        }
        let shown = backend.get(&format!("/v1/sessions/{here}")).await.ok();
        assert_eq!(
            (&shown["node"], &shown["state"]),
            (&json!("node-a"), &json!("attached"))
        );
        assert_eq!(shown["subscriptions"].as_array().unwrap().len(), 2);
        assert!(shown["positions"][0]["head"].is_string());
    }
    assert_eq!(first.get("/v1/sessions/none").await.code(), "not_found");
}

#[tokio::test]
async fn nodes_are_listed_and_one_says_what_it_is() {
    let (_cluster, first, second) = two_nodes().await;
    for (backend, own) in [(&first, "node-a"), (&second, "node-b")] {
        let nodes = backend.get("/v1/nodes").await.ok();
        let names: Vec<&str> = nodes["items"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|one| one["node"].as_str())
            .collect();
        assert_eq!(names, ["node-a", "node-b"]);
        let info = backend.get("/v1/info").await.ok();
        assert_eq!(
            (&info["node"], &info["state"]),
            (&json!(own), &json!("ready"))
        );
    }
}

#[tokio::test]
async fn every_operation_answers_as_the_document_says() {
    let (cluster, first, second) = two_nodes().await;
    let mut called = 0;
    for backend in [&first, &second] {
        let peer = Peer::connect(cluster.second(), Encoding::Json).await;
        let paths = backend.document()["paths"].as_object().unwrap();
        // Looking and changing first, ending last: an ended session has nothing to show.
        for last in [false, true] {
            // Inner ones before what they are part of.
            for (path, item) in paths.iter().rev() {
                for (method, operation) in item.as_object().unwrap() {
                    let ends = method == "delete" || path.ends_with("/disconnect");
                    if ends != last || path == "/v1/events" {
                        continue;
                    }
                    let path = path
                        .replace("{topic}", "doc:1")
                        .replace("{session}", &peer.ticket.session)
                        .replace("{user}", "ada")
                        .replace("{node}", "nobody");
                    let example =
                        &operation["requestBody"]["content"]["application/json"]["example"];
                    let body = if example.is_null() {
                        String::new()
                    } else {
                        example.to_string()
                    };
                    let answer = backend.call(&method.to_uppercase(), &path, &body).await;
                    let is_there = !path.contains("/nodes/") && path != "/v1/topics/doc:1";
                    assert!(
                        !is_there || answer.status < 300,
                        "{method} {path}: {answer:?}"
                    );
                    called += 1;
                }
            }
        }
    }
    assert!(called > 40, "{called}");
}

#[tokio::test]
async fn who_is_in_a_topic_is_listed_over_all_nodes() {
    let settings = [
        super::KEYED,
        &[("auth.mode", "required"), ("auth.hs256_secret", SECRET)],
    ]
    .concat();
    let cluster = Cluster::redis(&settings).await;
    let backend = Backend::new(cluster.processes[1].internal[0], Some(KEY)).await;
    let mut ada = Peer::connect_as(cluster.first(), &named("ada", "1", 10)).await;
    let mut eve = Peer::connect_as(cluster.second(), &named("eve", "2", 10)).await;
    ada.subscribe(&["here:1"]).await;
    eve.subscribe(&["here:1"]).await;
    until("both are there", SOON, || async {
        let found = backend.get("/v1/topics/here:1/presence").await.ok();
        let mut users: Vec<&str> = found["users"]
            .as_array()?
            .iter()
            .filter_map(Value::as_str)
            .collect();
        users.sort_unstable();
        (users == ["ada", "eve"] && found["count"] == 2).then_some(())
    })
    .await;
    let page = backend.get("/v1/topics/here:1/presence?limit=1").await.ok();
    let next = page["next"].as_str().unwrap();
    let rest = backend
        .get(&format!("/v1/topics/here:1/presence?cursor={next}"))
        .await
        .ok();
    assert_ne!(page["users"][0], rest["users"][0]);
    assert_eq!(
        (page["count"].clone(), rest["next"].clone()),
        (json!(2), Value::Null)
    );
    let count = backend.get("/v1/topics/here:1/presence/stats").await.ok();
    assert_eq!(count, json!({"topic": "here:1", "count": 2}));
    let wrong = backend.get("/v1/topics/here:1/presence?cursor=x").await;
    assert_eq!(wrong.status, 400);
}

#[tokio::test]
async fn presence_that_is_not_kept_is_refused_by_name_not_shown_as_nobody() {
    let settings = [super::KEYED, &[("topics.presence", "false")]].concat();
    let cluster = Cluster::memory(&settings).await;
    let backend = Backend::new(cluster.processes[0].internal[0], Some(KEY)).await;
    for path in ["presence", "presence/stats"] {
        let answer = backend.get(&format!("/v1/topics/here:1/{path}")).await;
        assert_eq!(answer.status, 501);
        assert_eq!(answer.body["code"], "unsupported");
        let detail = answer.body["detail"].to_string();
        assert!(detail.contains("topics.presence"), "{detail}");
    }
    let mut peer = Peer::connect(cluster.first(), Encoding::Json).await;
    let refused = peer
        .refused("topic:presence", json!({"topic": "here:1"}))
        .await;
    assert_eq!(refused, "unsupported");
}
