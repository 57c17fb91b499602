//! What a node does when the operating system gives it no more file descriptors.

use std::time::Duration;

use sparkway_client::Encoding;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::limited;
use crate::harness::http::{self, Answer, UPGRADE};
use crate::harness::node::Process;
use crate::harness::peer::Peer;
use crate::harness::{SOON, time_passes, until};

const DESCRIPTORS: u32 = 256;
const OFF: (&str, &str) = ("auth.mode", "off");

/// Asks for an upgrade: the answer's head, and the connection.
async fn ask(port: u16) -> Option<(Answer, TcpStream)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(UPGRADE.as_bytes()).await.ok()?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let read = tokio::time::timeout(SOON, stream.read_buf(&mut head))
            .await
            .ok()?;
        if read.ok()? == 0 {
            break;
        }
    }
    Some((Answer::parse(&String::from_utf8_lossy(&head))?, stream))
}

/// Fills the node until it refuses: those that came in.
async fn fill(port: u16) -> Vec<TcpStream> {
    let mut inside = Vec::new();
    for _ in 0..DESCRIPTORS {
        let (answer, stream) = ask(port).await.expect("an answer");
        if answer.status == 101 {
            inside.push(stream);
            continue;
        }
        assert_eq!(answer.status, 503, "{}", answer.head);
        assert!(answer.header("retry-after").is_some(), "{}", answer.head);
        return inside;
    }
    panic!("never refused");
}

#[tokio::test]
async fn by_default_a_node_takes_fewer_connections_than_it_has_descriptors() {
    let node = Process::serve_with_descriptors("small", &[OFF], DESCRIPTORS).await;
    let port = node.public[0];
    let inside = fill(port).await;
    assert!(inside.len() > 100, "{} came in", inside.len());
    // Nothing ran out: operators are answered, and so is who asks for no connection.
    assert_eq!(http::status(node.internal[0], "/readyz").await, Some(200));
    assert_eq!(http::status(port, "/healthz").await, Some(200));
    assert_eq!(limited(&node, "descriptors").await, 0);
    assert!(limited(&node, "connections").await >= 1);
}

#[tokio::test]
async fn without_a_descriptor_a_client_is_told_503_and_the_accept_loop_does_not_spin() {
    let settings = [OFF, ("limits.connections", "100000")];
    let node = Process::serve_with_descriptors("careless", &settings, DESCRIPTORS).await;
    let port = node.public[0];
    let inside = fill(port).await;
    // Clients stand in the queue and nothing can be accepted: the node rests nevertheless.
    let mut queue = Vec::new();
    for _ in 0..20 {
        queue.push(TcpStream::connect(("127.0.0.1", port)).await.unwrap());
    }
    let before = node.cpu();
    time_passes(Duration::from_secs(2)).await;
    let used = node.cpu().saturating_sub(before);
    assert!(used < Duration::from_millis(500), "{used:?} in two seconds");
    drop(queue);
    // As soon as somebody leaves there is room again.
    drop(inside);
    until("there is room again", SOON, async || {
        let (answer, stream) = ask(port).await?;
        (answer.status == 101).then_some(stream)
    })
    .await;
    assert!(limited(&node, "descriptors").await >= 1);
    let mut peer = Peer::connect(&node.url(0), Encoding::Json).await;
    peer.is_alive().await;
}
