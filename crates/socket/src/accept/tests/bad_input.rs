//! Rows B20-B24, B26 and B27 of the bad-input matrix.

use super::*;

/// Each request is answered with one of `statuses` and the connection ends.
async fn refused(server: &Server, requests: &[String], statuses: &[u16]) {
    for request in requests {
        let answer = server.ask(request).await;
        let code = status(&answer);
        assert!(statuses.contains(&code), "{request:.200}: {answer:.200}");
        assert_eq!(
            answer.matches("HTTP/1.1 4").count() + answer.matches("HTTP/1.0 4").count(),
            1
        );
    }
    assert!(server.node.closed.lock().unwrap().is_empty());
}

#[tokio::test]
async fn silent_and_slow_requests_are_closed_at_the_deadline() {
    let server = Server::quick();
    let mut silent = server.connect().await;
    let mut half = server.connect().await;
    half.write_all(&upgrade("").as_bytes()[..60]).await.unwrap();
    let (mut slow, mut writer) = server.connect().await.into_split();
    let drip = tokio::spawn(async move {
        for byte in upgrade("").as_bytes() {
            sleep(Duration::from_millis(20)).await;
            if writer.write_all(&[*byte]).await.is_err() {
                return;
            }
        }
    });
    for stream in [&mut silent, &mut half] {
        assert!(!read_all(stream).await.contains("101"));
    }
    assert!(!read_all(&mut slow).await.contains("101"));
    drip.abort();
    server
        .seen(|events| {
            events
                .iter()
                .filter(|e| **e == AcceptEvent::TooLate)
                .count()
                == 3
        })
        .await;
}

#[tokio::test]
async fn idle_connection_after_an_answer_is_closed_at_the_deadline() {
    let server = Server::quick();
    let mut tcp = server.connect().await;
    tcp.write_all(b"GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    assert!(read_all(&mut tcp).await.starts_with("HTTP/1.1 200"));
    // It was answered, so it was not late.
    let events = server.node.events.borrow();
    assert!(!events.contains(&AcceptEvent::TooLate), "{events:?}");
}

#[tokio::test]
async fn too_large_heads_are_answered_with_431_or_414() {
    let server = Server::start();
    let many = |count: usize| upgrade(&"X: y\r\n".repeat(count));
    let long = |bytes: usize| upgrade(&format!("X: {}\r\n", "y".repeat(bytes)));
    let url = upgrade("").replace("/ws", &format!("/{}", "u".repeat(100 * 1024)));
    let protocol = upgrade(&format!(
        "Sec-WebSocket-Protocol: {}\r\n",
        "p".repeat(10_000)
    ));
    let requests = [
        many(130),
        many(2000),
        long(64 * 1024),
        long(1024 * 1024),
        url,
        protocol,
    ];
    refused(&server, &requests, &[431, 414]).await;
}

#[tokio::test]
async fn malformed_and_ambiguous_heads_are_refused_with_400() {
    let server = Server::start();
    let requests = [
        upgrade("X: a\0b\r\n"),
        upgrade("X: a\r\n folded\r\n"),
        upgrade("X : a\r\n"),
        upgrade("no colon\r\n"),
        upgrade("Host: other\r\n"),
        upgrade(&format!("Sec-WebSocket-Key: {KEY}\r\n")),
        upgrade("Sec-WebSocket-Version: 13\r\n"),
        upgrade("Origin: http://a\r\nOrigin: http://b\r\n"),
        upgrade("").replace("Host: localhost\r\n", ""),
        upgrade("X: a\n"),
        upgrade("X: a\nHost: other\r\n"),
        upgrade("").replace("\r\n", "\n") + "\r\n\r\n",
        upgrade("").replace(" HTTP/1.1\r\n", " HTTP/1.1\n"),
        "POST /echo HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".into(),
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde"
            .into(),
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"
            .into(),
        "GET /hello HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n".into(),
    ];
    refused(&server, &requests, &[400]).await;
}

#[tokio::test]
async fn body_of_an_upgrade_is_refused_and_never_parsed_as_frames() {
    let server = Server::start();
    let frame = String::from_utf8_lossy(&text_frame("smuggled")).into_owned();
    let requests = [
        upgrade("Content-Length: 14\r\n") + &frame,
        upgrade("Transfer-Encoding: chunked\r\n") + "e\r\n" + &frame + "\r\n0\r\n\r\n",
        upgrade("Content-Length: 3\r\nContent-Length: 14\r\n") + &frame,
        upgrade("Content-Length: 14\r\nTransfer-Encoding: chunked\r\n") + &frame,
    ];
    refused(&server, &requests, &[400]).await;
}

#[tokio::test]
async fn wrong_upgrade_headers_are_refused() {
    let server = Server::start();
    let valid = upgrade("");
    refused(&server, &[valid.replace("GET", "POST")], &[405]).await;
    let requests = [
        valid.replace("HTTP/1.1", "HTTP/1.0"),
        valid.replace("keep-alive, Upgrade", "keep-alive"),
        valid.replace(KEY, "short"),
        valid.replace(KEY, "dGhlIHNhbXBsZSBub25jZQ=!"),
        valid.replace(KEY, "dGhlIHNhbXBsZSBub25jZQAA"),
        valid.replace(&format!("Sec-WebSocket-Key: {KEY}\r\n"), ""),
        valid.replace("Sec-WebSocket-Version: 13\r\n", ""),
    ];
    refused(&server, &requests, &[400]).await;
    for version in ["8", "99", "13, 8", ""] {
        let request = valid.replace("Version: 13", &format!("Version: {version}"));
        let answer = server.ask(request).await;
        assert_eq!(status(&answer), 426, "{version}");
        assert_eq!(header(&answer, "sec-websocket-version"), Some("13"));
        assert_eq!(header(&answer, "upgrade"), Some("websocket"));
    }
    for other in [
        valid.replace("Upgrade: websocket", "Upgrade: h2c"),
        valid.replace("Upgrade: websocket\r\n", ""),
    ] {
        let closing = other.replace("keep-alive, Upgrade", "Upgrade, close");
        assert_eq!(status(&server.ask(closing).await), 426);
    }
}

#[tokio::test]
async fn request_that_names_another_host_is_refused() {
    let server = Server::start();
    let absolute = |url: &str| upgrade("").replace("GET /ws", &format!("GET {url}"));
    let requests = [
        absolute("http://elsewhere/ws"),
        absolute("http://localhost:81/ws"),
    ];
    refused(&server, &requests, &[421]).await;
    refused(
        &server,
        &[
            absolute("/../../ws"),
            absolute("/ws/../ws"),
            absolute("/%77s"),
        ],
        &[404],
    )
    .await;
    let mut tcp = server.connect().await;
    tcp.write_all(absolute("http://localhost/ws").as_bytes())
        .await
        .unwrap();
    assert_eq!(status(&read_head(&mut tcp).await), 101);
}

#[tokio::test]
async fn garbage_and_tls_on_the_plain_port_are_closed() {
    let server = Server::start();
    let hello = [&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01][..], &[7; 500]].concat();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    for garbage in [
        &preface[..],
        &hello[..],
        &[0; 100],
        b"SSH-2.0-x\r\n\r\n",
        b"\r\n\r\n\x80\xff",
    ] {
        let answer = server.ask(garbage).await;
        assert!(answer.is_empty() || status(&answer) == 400, "{answer:?}");
    }
}

#[tokio::test]
async fn request_body_has_a_limit_and_a_deadline() {
    let server = Server::quick();
    let post = |length: usize| {
        format!(
            "POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
        )
    };
    let answer = server.ask(post(5) + "hello").await;
    assert!(answer.ends_with("\r\n\r\nhello"), "{answer}");
    let answer = server
        .ask(post(64 * 1024 + 1) + &"x".repeat(64 * 1024 + 1))
        .await;
    assert_eq!(status(&answer), 413);
    let answer = server.ask(post(5) + "hel").await;
    assert_eq!(status(&answer), 408);
}

#[tokio::test]
async fn upgrade_is_refused_behind_a_body_and_accepted_behind_a_request_without() {
    let server = Server::start();
    let get = "GET /hello?who=me HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut tcp = server.connect().await;
    // Several heads in one packet, and the first frame behind them.
    let bytes = [
        format!("{get}{get}{}", upgrade("")).as_bytes(),
        &text_frame("early"),
    ]
    .concat();
    tcp.write_all(&bytes).await.unwrap();
    for expected in [200, 200, 101] {
        assert_eq!(status(&read_head(&mut tcp).await), expected);
        if expected == 200 {
            let mut body = [0; 2];
            tcp.read_exact(&mut body).await.unwrap();
        }
    }
    expect_text(&mut tcp, "early").await;
    // Behind a body the line ends of a head are not judged any more.
    let post = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n\n\n";
    let answer = server.ask(format!("{post}{}", upgrade(""))).await;
    assert_eq!(status(&answer), 200);
    assert!(answer.contains("\n\nHTTP/1.1 400"), "{answer}");
    // A spoiled head behind a good one.
    let answer = server.ask(format!("{get}{}", upgrade("X: a\n"))).await;
    assert!(answer.contains("meHTTP/1.1 400"), "{answer}");
}

/// The library drops the length of a body that has chunks, too; a proxy in front may have believed
/// the length.
#[tokio::test]
async fn nothing_behind_a_body_in_chunks_is_taken_for_a_request() {
    let server = Server::start();
    let get = "GET /hello?who=me HTTP/1.1\r\nHost: a\r\n\r\n";
    for length in ["", "Content-Length: 4\r\n"] {
        let post = format!(
            "POST /echo HTTP/1.1\r\nHost: a\r\n{length}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        );
        let answer = server.ask(post + get).await;
        assert_eq!(status(&answer), 200);
        assert_eq!(header(&answer, "connection"), Some("close"));
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    }
}
