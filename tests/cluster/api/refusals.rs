//! What is refused, and in which words.

use serde_json::{Value, json};

use super::one_node;
use crate::harness::cluster::Cluster;
use crate::harness::http;
use crate::harness::operations::Backend;

#[tokio::test]
async fn every_fault_has_its_problem() {
    let (_cluster, backend) = one_node().await;
    let publish = |body: Value| {
        let backend = backend.clone();
        async move { backend.post("/v1/publish", &body).await }
    };
    let mut deep = json!(1);
    for _ in 0..100 {
        deep = json!([deep]);
    }
    for (body, code, pointer) in [
        (json!({"topic": "a b", "data": 1}), "invalid", "/topic"),
        (json!({"topic": "", "data": 1}), "invalid", "/topic"),
        (
            json!({"topic": "$user:1", "data": 1}),
            "forbidden",
            "/topic",
        ),
        (json!({"topic": "a"}), "invalid", "/data"),
        (
            json!({"topic": "a", "data": 1, "data_b64": "AA=="}),
            "invalid",
            "/data",
        ),
        (
            json!({"topic": "a", "data_b64": "?"}),
            "invalid",
            "/data_b64",
        ),
        (
            json!({"topic": "a", "data": 1, "id": "x".repeat(65)}),
            "invalid",
            "/id",
        ),
        (
            json!({"topic": "a", "data": 1, "exclude_session": "x"}),
            "invalid",
            "/exclude_session",
        ),
        (
            json!({"topic": "a", "data": "x".repeat(70_000)}),
            "too_large",
            "/data",
        ),
        (json!({"topic": "a", "data": deep}), "invalid", ""),
        (json!({"topic": "a", "data": 1, "tpoic": 1}), "invalid", ""),
        (json!({"data": 1}), "invalid", ""),
        (json!([]), "invalid", ""),
    ] {
        let answer = publish(body.clone()).await;
        assert_eq!(answer.code(), code, "{body}: {answer:?}");
        let found = answer.body["errors"][0]["pointer"].as_str();
        assert_eq!(found.unwrap_or_default(), pointer, "{body}");
    }
    for broken in ["", "{", "nonsense", "{\"topic\":\"a\",\"data\":1}x"] {
        let answer = backend.call("POST", "/v1/publish", broken).await;
        assert_eq!(answer.code(), "invalid", "{broken}");
    }
    let answer = backend
        .call("POST", "/v1/publish", &" ".repeat(2_000_000))
        .await;
    assert_eq!((answer.status, answer.code()), (413, "too_large"));
    let answer = backend
        .post("/v1/publish/batch", &json!({"messages": []}))
        .await;
    assert_eq!(answer.body["errors"][0]["pointer"], "/messages");
    let answer = backend
        .with("Idempotency-Key: ")
        .post("/v1/publish", &json!({"topic": "a", "data": 1}))
        .await;
    assert_eq!(answer.code(), "invalid");
}

#[tokio::test]
async fn paths_methods_and_queries_are_those_of_the_document() {
    let (_cluster, backend) = one_node().await;
    assert_eq!(backend.get("/v1/nothing").await.code(), "not_found");
    assert_eq!(backend.get("/v1/topics/").await.code(), "not_found");
    let answer = backend.send("PUT", "/v1/publish", "").await;
    assert_eq!((answer.status, answer.code()), (405, "method_not_allowed"));
    assert_eq!(answer.header("allow"), Some("POST"));
    let answer = backend.send("PATCH", "/v1/sessions/x", "").await;
    assert_eq!(answer.header("allow"), Some("GET, DELETE"));
    for query in [
        "limit=0",
        "limit=1001",
        "limit=x",
        "cursor=x",
        "unknown=1",
        "limit=1&limit=2",
    ] {
        let answer = backend.get(&format!("/v1/topics?{query}")).await;
        assert_eq!(answer.code(), "invalid", "{query}");
    }
}

#[tokio::test]
async fn get_changes_nothing() {
    let (_cluster, backend) = one_node().await;
    // B94: nothing that is done can be asked for by a link.
    for (path, item) in backend.document()["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let scope = operation["x-scope"].as_str().unwrap();
            let looks = method == "get";
            assert!(
                !looks || matches!(scope, "read" | "admin"),
                "{method} {path}"
            );
            if !looks {
                let concrete = path.replace(['{', '}'], "");
                let answer = backend.send("GET", &concrete, "").await;
                assert!(
                    matches!(answer.status, 404 | 405) || item.get("get").is_some(),
                    "{path}"
                );
            }
        }
    }
}

#[tokio::test]
async fn pages_of_other_origins_get_nothing() {
    let (_cluster, backend) = one_node().await;
    for origin in ["https://evil.example", "null", "http://localhost:1"] {
        let foreign = backend.with(&format!("Origin: {origin}"));
        let answer = foreign.get("/v1/topics").await;
        assert_eq!(
            (answer.status, answer.code()),
            (403, "forbidden"),
            "{origin}"
        );
        // B32: no origin is ever named back.
        assert!(
            !answer.head.to_lowercase().contains("access-control"),
            "{answer:?}"
        );
    }
    // Without keys a page could speak for its visitor: by another name of this machine, too.
    let cluster = Cluster::memory(&[]).await;
    let port = cluster.processes[0].internal[0];
    let open = Backend::new(port, None).await;
    open.get("/v1/nodes").await.ok();
    let answer = open
        .with("Origin: https://evil.example")
        .get("/v1/nodes")
        .await;
    assert_eq!(answer.status, 403);
    let rebound =
        format!("GET /v1/nodes HTTP/1.1\r\nHost: evil.example:{port}\r\nConnection: close\r\n\r\n");
    assert_eq!(http::ask(port, rebound).await.unwrap().status, 403);
}

#[tokio::test]
async fn a_request_has_a_name() {
    let (_cluster, backend) = one_node().await;
    let answer = backend
        .with("X-Request-Id: order-17")
        .get("/v1/nothing")
        .await;
    assert_eq!(answer.header("x-request-id"), Some("order-17"));
    assert_eq!(answer.body["request_id"], "order-17");
    let answer = backend.get("/v1/nodes").await;
    assert_eq!(answer.header("x-request-id").unwrap().len(), 16);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

#[tokio::test]
async fn a_store_that_is_away_is_said_and_may_be_asked_again() {
    let (cluster, backend, _) = super::two_nodes().await;
    cluster.redis.as_ref().unwrap().signal("KILL");
    let answer = backend
        .post("/v1/publish", &json!({"topic": "a", "data": 1}))
        .await;
    assert_eq!((answer.status, answer.code()), (503, "unavailable"));
    assert_eq!(answer.body["retryable"], true);
    assert!(answer.header("retry-after").is_some());
    assert!(
        !answer.body.to_string().contains("127.0.0.1"),
        "an address of the store"
    );
}

#[tokio::test]
async fn requests_are_counted_by_route_and_status() {
    let (cluster, backend) = one_node().await;
    backend
        .post("/v1/publish", &json!({"topic": "a", "data": 1}))
        .await
        .ok();
    backend.get("/v1/topics/nobody").await;
    backend.get("/v1/nothing").await;
    backend.as_key(None).get("/v1/nodes").await;
    let metrics = http::body(cluster.processes[0].internal[0], "/metrics").await;
    for line in [
        "sparkway_http_requests_total{route=\"/v1/publish\",status=\"2xx\"} 1",
        "sparkway_http_requests_total{route=\"/v1/topics/{topic}\",status=\"404\"} 1",
        "sparkway_http_requests_total{route=\"other\",status=\"404\"} 1",
        "sparkway_http_requests_total{route=\"other\",status=\"401\"} 1",
        "sparkway_http_inflight_requests 0",
        "sparkway_publishes_total{origin=\"http\",result=\"ok\",topic_ns=\"default\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} in\n{metrics}");
    }
}
