//! `/metrics` of two nodes over one Redis, before and after something happened.

use std::collections::HashMap;

use serde_json::json;
use sparkway_client::Encoding;

use crate::harness::cluster::Cluster;
use crate::harness::http;
use crate::harness::peer::Peer;
use crate::harness::{SOON, until};

/// Series to value.
async fn scrape(port: u16) -> HashMap<String, f64> {
    let text = http::body(port, "/metrics").await;
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.rsplit_once(' '))
        .filter_map(|(series, value)| Some((series.to_owned(), value.parse().ok()?)))
        .collect()
}

/// Waits until a series of the node is above a value.
async fn above(port: u16, series: &str, least: f64) {
    until(series, SOON, || async {
        let found = scrape(port).await.get(series).copied();
        let found = found.unwrap_or_else(|| panic!("no series {series}"));
        (found > least).then_some(())
    })
    .await;
}

#[tokio::test]
async fn everything_that_happens_to_a_session_is_counted() {
    let cluster = Cluster::redis(&[("namespaces.orders.presence", "false")]).await;
    let ports: Vec<u16> = cluster
        .processes
        .iter()
        .map(|node| node.internal[0])
        .collect();
    let (first, second) = (ports[0], ports[1]);
    let mut peer = Peer::connect(cluster.first(), Encoding::Json).await;
    let mut publisher = Peer::connect(cluster.second(), Encoding::MsgPack).await;
    peer.subscribe(&["orders:1", "other"]).await;
    publisher.publish("orders:1", json!("live")).await;
    peer.message().await;
    for series in [
        "sparkway_handshake_duration_seconds_count",
        r#"sparkway_deliveries_total{result="queued",topic_ns="orders"}"#,
        r#"sparkway_delivery_latency_seconds_count{source="live"}"#,
        r#"sparkway_encodes_total{dialect="spark",encoding="json",result="fresh"}"#,
        r#"sparkway_bus_lag_seconds_count{shard="0"}"#,
        r#"sparkway_bus_messages_total{result="delivered",shard="0"}"#,
        r#"sparkway_subscriptions{topic_ns="orders"}"#,
        r#"sparkway_topics{topic_ns="default"}"#,
        "sparkway_ring_entries",
        r#"sparkway_redis_commands_total{op="open",result="ok"}"#,
        r#"sparkway_redis_command_duration_seconds_count{op="lease"}"#,
        r#"sparkway_redis_connections{role="command",state="up"}"#,
        r#"sparkway_redis_connections{role="pubsub",state="up"}"#,
        "sparkway_tokio_workers",
        r#"sparkway_tokio_alive_tasks{worker="0"}"#,
        r#"sparkway_tokio_worker_busy_seconds_total{worker="0"}"#,
        r#"sparkway_tokio_worker_busy_seconds_total{worker="internal"}"#,
        r#"sparkway_cluster_nodes{state="ready"}"#,
    ] {
        above(first, series, 0.0).await;
    }
    let stored = r#"sparkway_publishes_total{origin="client",result="ok",topic_ns="orders"}"#;
    above(second, stored, 0.0).await;
    // One clock: what differs is the way to Redis and back.
    let offset = scrape(first).await[r#"sparkway_clock_offset_seconds{shard="0"}"#];
    assert!(offset.abs() < 0.5, "{offset}");

    let ticket = peer.cut();
    publisher.publish("orders:1", json!("missed")).await;
    let mut again = Peer::resume(cluster.second(), Encoding::Json, &ticket).await;
    again.replayed().await;
    let resumed: f64 = scrape(second)
        .await
        .iter()
        .filter(|(series, _)| series.starts_with(r#"sparkway_resumes_total{result="ok""#))
        .map(|(_, value)| value)
        .sum();
    assert!(resumed > 0.0);
    above(second, "sparkway_resume_replayed_messages_sum", 0.0).await;
    let opened =
        r#"sparkway_connections_opened_total{dialect="spark",encoding="json",result="resumed"}"#;
    above(second, opened, 0.0).await;
}

#[tokio::test]
async fn a_redis_that_is_away_shows_as_errors_and_as_connections_that_are_down() {
    let mut cluster = Cluster::redis(&[]).await;
    let port = cluster.processes[0].internal[0];
    let errors = || async move {
        let all = scrape(port).await;
        let failed = |series: &str| {
            series.starts_with("sparkway_redis_commands_total") && !series.contains(r#""ok""#)
        };
        all.iter()
            .filter(|(series, _)| failed(series))
            .map(|(_, value)| value)
            .sum::<f64>()
    };
    cluster.redis.as_mut().unwrap().signal("KILL");
    let down = r#"sparkway_redis_connections{role="pubsub",state="down"}"#;
    above(port, down, 0.0).await;
    until("calls fail", SOON, || async {
        (errors().await > 0.0).then_some(())
    })
    .await;
    assert_eq!(
        http::status(port, "/readyz").await,
        Some(200),
        "clients stay"
    );
    cluster.redis.as_mut().unwrap().restart().await;
    above(
        port,
        r#"sparkway_redis_reconnects_total{role="command"}"#,
        0.0,
    )
    .await;
}
