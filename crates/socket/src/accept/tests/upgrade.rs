//! The way to an upgraded connection.

use super::*;

#[tokio::test]
async fn valid_upgrade_is_answered_with_101_and_speaks_websocket() {
    let server = Server::start();
    let mut tcp = server.connect().await;
    tcp.write_all(upgrade("").as_bytes()).await.unwrap();
    let head = read_head(&mut tcp).await;
    assert_eq!(status(&head), 101);
    assert_eq!(header(&head, "sec-websocket-accept"), Some(ACCEPT));
    assert_eq!(header(&head, "sec-websocket-protocol"), None);
    tcp.write_all(&text_frame("hello")).await.unwrap();
    expect_text(&mut tcp, "hello").await;
    let events = server.node.events.borrow().clone();
    assert_eq!(
        events,
        [
            AcceptEvent::Accepted,
            AcceptEvent::Answered(StatusCode::SWITCHING_PROTOCOLS)
        ]
    );
}

#[tokio::test]
async fn first_frames_behind_the_request_survive_the_upgrade() {
    let server = Server::start();
    let mut tcp = server.connect().await;
    let mut bytes = b"GET /hello?who=you HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec();
    bytes.extend(upgrade("").as_bytes());
    bytes.extend(text_frame("one"));
    bytes.extend(text_frame("two"));
    bytes.extend(&text_frame("three")[..7]);
    tcp.write_all(&bytes).await.unwrap();
    assert_eq!(status(&read_head(&mut tcp).await), 200);
    let mut body = [0; 3];
    tcp.read_exact(&mut body).await.unwrap();
    assert_eq!(&body, b"you");
    assert_eq!(status(&read_head(&mut tcp).await), 101);
    expect_text(&mut tcp, "one").await;
    expect_text(&mut tcp, "two").await;
    tcp.write_all(&text_frame("three")[7..]).await.unwrap();
    expect_text(&mut tcp, "three").await;
}

#[tokio::test]
async fn subprotocol_is_found_in_any_header_and_named_once() {
    let server = Server::start();
    for offers in [
        "Sec-WebSocket-Protocol: other, spark.v1.json\r\n",
        "Sec-WebSocket-Protocol: other\r\nSec-WebSocket-Protocol:spark.v1.json ,x\r\n",
    ] {
        let mut tcp = server.connect().await;
        tcp.write_all(upgrade(offers).as_bytes()).await.unwrap();
        let head = read_head(&mut tcp).await;
        assert_eq!(status(&head), 101);
        assert_eq!(
            header(&head, "sec-websocket-protocol"),
            Some("spark.v1.json")
        );
        assert_eq!(head.matches("spark").count(), 1);
    }
}

#[tokio::test]
async fn unknown_subprotocol_is_ignored() {
    let server = Server::start();
    let many = format!("Sec-WebSocket-Protocol: {}\r\n", "p,".repeat(1000));
    for offers in [
        "Sec-WebSocket-Protocol: graphql-ws\r\n",
        "Sec-WebSocket-Protocol: \u{fc}n\u{ef}\r\n",
        "Sec-WebSocket-Protocol:\r\n",
        "Sec-WebSocket-Protocol: ,,,\r\n",
        &many,
    ] {
        let mut tcp = server.connect().await;
        tcp.write_all(upgrade(offers).as_bytes()).await.unwrap();
        let head = read_head(&mut tcp).await;
        assert_eq!(status(&head), 101, "{offers:.40}");
        assert_eq!(header(&head, "sec-websocket-protocol"), None);
    }
}

#[tokio::test]
async fn path_for_websocket_only_asks_for_the_upgrade() {
    let server = Server::start();
    let answer = server
        .ask("GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .await;
    assert_eq!(status(&answer), 426);
    assert_eq!(header(&answer, "upgrade"), Some("websocket"));
    assert!(server.node.closed.lock().unwrap().is_empty());
}

#[tokio::test]
async fn decision_of_the_node_is_answered_instead_of_the_upgrade() {
    let server = Server::start();
    let answer = server.ask(upgrade("").replace("/ws", "/nowhere")).await;
    assert_eq!(status(&answer), 404);
    let answer = server.ask(upgrade("").replace("/ws", "/busy")).await;
    assert_eq!(status(&answer), 503);
    assert_eq!(header(&answer, "retry-after"), Some("3"));
}

#[tokio::test]
async fn frames_behind_a_refused_upgrade_are_no_request() {
    let server = Server::start();
    let mut bytes = upgrade("").replace("/ws", "/nowhere").into_bytes();
    bytes.extend(b"GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let answer = server.ask(bytes).await;
    assert_eq!(status(&answer), 404);
    assert_eq!(answer.matches("HTTP/1.1").count(), 1);
}
