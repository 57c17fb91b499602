//! The low layer.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::{Dial, FrameType, Incoming, OpenError, TokenPlace, Wire};

#[tokio::test]
async fn frames_skipped_by_a_wait_are_not_lost() {
    let node = Fake::bind().await;
    let dial = Dial::default();
    let url = node.url();
    let (wire, accepted) = tokio::join!(Wire::open(&url, &dial), node.accept());
    let mut wire = wire.unwrap();
    let mut node = accepted;
    wire.send(&json!({"type": "ws:connect"})).await.unwrap();
    node.expect("ws:connect").await;
    node.message("t", 16).await;
    node.say(&json!({"type": "ws:ack", "data": {"ackId": "f-1"}}))
        .await;
    node.message("t", 32).await;
    let answer = wire.answer("f-1", SOON).await.unwrap();
    assert_eq!(answer.kind, FrameType::Ack);
    for id in ["16", "32"] {
        let frame = wire.wait_for(FrameType::Message, SOON).await.unwrap();
        assert_eq!(frame.id.as_deref(), Some(id));
    }
    let missed = wire
        .wait_for(FrameType::Drain, Duration::from_millis(20))
        .await
        .unwrap_err();
    assert!(missed.closed.is_none() && missed.seen.is_empty());
    node.say(&json!({"type": "ws:error", "data": {"code": "malformed"}}))
        .await;
    node.close(1008, "Policy violation").await;
    let closed = wire.wait_closed(SOON).await.unwrap();
    assert_eq!(
        (closed.code, closed.reason.as_str()),
        (Some(1008), "Policy violation")
    );
    match wire.next().await {
        Incoming::Frame(frame) => assert_eq!(frame.field("code"), "malformed"),
        other => panic!("{other:?}"),
    }
    assert!(matches!(wire.next().await, Incoming::Closed(_)));
}

#[tokio::test]
async fn anything_may_be_sent() {
    let node = Fake::bind().await;
    let (url, dial) = (node.url(), Dial::default());
    let (wire, peer) = tokio::join!(Wire::open(&url, &dial), node.accept());
    let (mut wire, mut peer) = (wire.unwrap(), peer);
    wire.send_text("{\"type\":\"garbage\"}").await.unwrap();
    assert_eq!(peer.frame().await["type"], "garbage");
    // A text frame that is not masked: tungstenite's server refuses it.
    wire.send_bytes(&[0x81, 0x01, b'x']).await.unwrap();
    assert_eq!(peer.ended().await, None);
}

#[tokio::test]
async fn token_travels_where_it_is_put() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let node = Fake::bind().await;
    for (place, want) in [
        (TokenPlace::Header, "authorization: bearer jwt\r\n"),
        (TokenPlace::Query, "get /ws?token=jwt http/1.1\r\n"),
        (
            TokenPlace::Subprotocol,
            "sec-websocket-protocol: spark.v1.json, bearer.jwt\r\n",
        ),
        (TokenPlace::Cookie("session"), "cookie: session=jwt\r\n"),
    ] {
        let dial = Dial {
            token: Some((place, "jwt".to_owned())),
            ..Dial::default()
        };
        let url = node.url();
        let (opened, head) = tokio::join!(Wire::open(&url, &dial), async {
            let mut tcp = node.tcp().await;
            let mut head = vec![0; 2048];
            let length = tcp.read(&mut head).await.unwrap();
            tcp.write_all(b"HTTP/1.1 503 Busy\r\nretry-after: 7\r\ncontent-length: 2\r\n\r\nno")
                .await
                .unwrap();
            String::from_utf8_lossy(&head[..length]).to_lowercase()
        });
        assert!(head.contains(want), "{place:?}: {head}");
        match opened {
            Err(OpenError::Http {
                status: 503,
                retry_after,
                body,
            }) => {
                assert_eq!(retry_after, Some(Duration::from_secs(7)));
                assert_eq!(&*body, "no");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn address_that_is_no_websocket_is_refused_with_the_reason() {
    for bad in ["", "http://localhost/ws", "ws:///ws", "localhost:8000/ws"] {
        let refused = Wire::open(bad, &Dial::default()).await;
        assert!(
            matches!(refused, Err(OpenError::Url(_))),
            "{bad}: {refused:?}"
        );
    }
}
