//! The accept loop itself: limits, shutdown, exhaustion.

use std::{fs::File, process::Command};

use super::*;

const GET: &[u8] = b"GET /hello?who=me HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[tokio::test]
async fn shutdown_refuses_new_connections_and_lets_requests_finish() {
    let server = Server::start();
    let mut idle = server.connect().await;
    idle.write_all(GET).await.unwrap();
    assert_eq!(status(&read_head(&mut idle).await), 200);
    let mut waiting = server.connect().await;
    waiting
        .write_all(b"GET /wait HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    let mut upgraded = server.connect().await;
    upgraded.write_all(upgrade("").as_bytes()).await.unwrap();
    assert_eq!(status(&read_head(&mut upgraded).await), 101);
    server
        .seen(|events| {
            events
                .iter()
                .filter(|e| **e == AcceptEvent::Accepted)
                .count()
                == 3
        })
        .await;
    server.shutdown.cancel();
    timeout(HANG, server.running)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert!(TcpStream::connect(server.addr).await.is_err());
    assert_eq!(
        read_all(&mut idle).await,
        "me",
        "the rest of the answer, then the end"
    );
    server.node.release.notify_one();
    assert!(read_all(&mut waiting).await.ends_with("waited"));
    // Sessions are the node's to end.
    upgraded.write_all(&text_frame("still here")).await.unwrap();
    expect_text(&mut upgraded, "still here").await;
}

#[tokio::test]
async fn request_that_never_ends_is_cut_after_the_shutdown() {
    let server = Server::quick();
    let mut waiting = server.connect().await;
    waiting
        .write_all(b"GET /wait HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    server.seen(|events| events.len() == 1).await;
    server.shutdown.cancel();
    assert_eq!(read_all(&mut waiting).await, "");
}

#[tokio::test]
async fn beyond_the_limit_the_oldest_handshake_gives_way() {
    let settings = AcceptSettings {
        handshakes: 1,
        ..AcceptSettings::default()
    };
    let server = Server::with(settings, Node::default(), None);
    let mut slow = server.connect().await;
    server.seen(|events| events.len() == 1).await;
    let mut second = server.connect().await;
    second.write_all(upgrade("").as_bytes()).await.unwrap();
    assert_eq!(status(&read_head(&mut second).await), 101);
    server
        .seen(|events| events.contains(&AcceptEvent::GaveWay))
        .await;
    assert_eq!(read_all(&mut slow).await, "");
}

#[tokio::test]
async fn connection_that_is_not_admitted_is_closed_without_an_answer() {
    let node = Node {
        refuse_all: true,
        ..Node::default()
    };
    let server = Server::with(AcceptSettings::default(), node, None);
    assert_eq!(server.ask(b"").await, "");
    server
        .seen(|events| events.contains(&AcceptEvent::NotAdmitted))
        .await;
}

#[tokio::test]
async fn clones_of_a_listener_accept_from_one_queue() {
    let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let addr = listener.local_addr().unwrap();
    let (shutdown, both) = (CancellationToken::new(), listener.try_clone().unwrap());
    let node = Arc::new(Node::default());
    let acceptor = || Acceptor::new(AcceptSettings::default(), Arc::clone(&node), Spawner);
    let first = tokio::spawn(acceptor().run(listener, shutdown.child_token()));
    let second_shutdown = shutdown.child_token();
    let second = tokio::spawn(acceptor().run(both, second_shutdown.clone()));
    second_shutdown.cancel();
    second.await.unwrap().unwrap();
    let mut tcp = TcpStream::connect(addr).await.unwrap();
    tcp.write_all(GET).await.unwrap();
    assert_eq!(status(&read_head(&mut tcp).await), 200);
    shutdown.cancel();
    first.await.unwrap().unwrap();
}

/// Set in the process that has few descriptors.
const CHILD: &str = "SPARKWAY_TEST_FEW_DESCRIPTORS";

#[test]
fn no_free_descriptor_makes_the_loop_pause_and_go_on() {
    if std::env::var_os(CHILD).is_some() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        return runtime.block_on(pause_and_go_on());
    }
    // The limit holds for a whole process, so this one starts itself again.
    let output = Command::new("sh")
        .args(["-c", "ulimit -n 40 && exec \"$0\" --exact \"$1\""])
        .arg(std::env::current_exe().unwrap())
        .arg("accept::tests::lifecycle::no_free_descriptor_makes_the_loop_pause_and_go_on")
        .env(CHILD, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}"
    );
}

async fn pause_and_go_on() {
    let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let mut tcp = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let mut hoard = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        hoard.push(file);
    }
    let node = Arc::new(Node::default());
    let acceptor = Acceptor::new(AcceptSettings::default(), Arc::clone(&node), Spawner);
    let running = tokio::spawn(acceptor.run(listener, CancellationToken::new()));
    let mut events = node.events.subscribe();
    let failures = |events: &[AcceptEvent]| {
        let failed = |event: &&AcceptEvent| matches!(event, AcceptEvent::NoDescriptor);
        events.iter().filter(failed).count()
    };
    let began = std::time::Instant::now();
    events
        .wait_for(|events| failures(events) == 4)
        .await
        .unwrap();
    assert!(
        began.elapsed() >= Duration::from_millis(150),
        "three pauses lie between"
    );
    drop(hoard);
    tcp.write_all(GET).await.unwrap();
    assert_eq!(status(&read_head(&mut tcp).await), 200);
    running.abort();
}
