//! Requests that are no handshake.

use std::time::Duration;

use serde_json::json;
use sparkway_client::Encoding;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::frames::text_frame;
use crate::harness::bystander::Bystander;
use crate::harness::cluster::Cluster;
use crate::harness::http::{UPGRADE, ask, upgrade};
use crate::harness::peer::Peer;
use crate::harness::time_passes;

/// Asserts the status of each request (any of them), and that others never notice.
async fn refused(requests: &[(&str, String, &[u16])]) {
    let cluster = Cluster::memory(&[]).await;
    let bystander = Bystander::at(cluster.first()).await;
    for (what, request, expected) in requests {
        let answer = ask(cluster.port(), request).await;
        let status = answer.map(|answer| answer.status);
        assert!(
            status.is_some_and(|status| expected.contains(&status)),
            "{what}: {status:?}"
        );
    }
    bystander.noticed_nothing().await;
}

#[tokio::test]
async fn heads_beyond_8_kib_are_answered_431_or_414() {
    let long = |bytes: usize| upgrade(&format!("X: {}\r\n", "y".repeat(bytes)));
    let url = UPGRADE.replace("/ws ", &format!("/{} ", "u".repeat(100 * 1024)));
    let offer = format!("Sec-WebSocket-Protocol: {}\r\n", "p".repeat(10_000));
    refused(&[
        ("130 headers", upgrade(&"X: y\r\n".repeat(130)), &[431]),
        ("2000 headers", upgrade(&"X: y\r\n".repeat(2000)), &[431]),
        ("9 KiB in one header", long(9 * 1024), &[431]),
        ("64 KiB in one header", long(64 * 1024), &[431]),
        ("1 MiB in one header", long(1024 * 1024), &[431]),
        ("100 KiB of URL", url, &[414, 431]),
        ("10 kB of subprotocols", upgrade(&offer), &[431]),
    ])
    .await;
}

#[tokio::test]
async fn malformed_and_ambiguous_heads_are_answered_400() {
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    refused(&[
        ("NUL", upgrade("X: a\0b\r\n"), &[400]),
        ("folded line", upgrade("X: a\r\n folded\r\n"), &[400]),
        ("space before the colon", upgrade("X : a\r\n"), &[400]),
        ("no colon", upgrade("no colon\r\n"), &[400]),
        ("second Host", upgrade("Host: other\r\n"), &[400]),
        (
            "no Host",
            UPGRADE.replace("Host: localhost\r\n", ""),
            &[400],
        ),
        ("second key", upgrade(key), &[400]),
        (
            "second version",
            upgrade("Sec-WebSocket-Version: 13\r\n"),
            &[400],
        ),
        (
            "second origin",
            upgrade("Origin: http://a\r\nOrigin: http://b\r\n"),
            &[400],
        ),
    ])
    .await;
}

#[tokio::test]
async fn wrong_upgrade_headers_are_answered_400_405_or_426() {
    let replace = |from: &str, to: &str| {
        assert!(UPGRADE.contains(from), "{from}");
        UPGRADE.replace(from, to)
    };
    let without = replace("Upgrade: websocket\r\n", "").replace("keep-alive, Upgrade", "close");
    refused(&[
        ("POST", replace("GET", "POST"), &[405]),
        ("HTTP/1.0", replace("HTTP/1.1", "HTTP/1.0"), &[400]),
        (
            "no Connection: Upgrade",
            replace("keep-alive, Upgrade", "close"),
            &[400, 426],
        ),
        ("no Upgrade", without, &[426]),
        (
            "Upgrade to something else",
            replace("websocket", "h2c"),
            &[426],
        ),
        (
            "short key",
            replace("dGhlIHNhbXBsZSBub25jZQ==", "short"),
            &[400],
        ),
        ("key of 18 bytes", replace("ZQ==", "ZQAA"), &[400]),
        ("key that is no base64", replace("ZQ==", "ZQ=!"), &[400]),
        (
            "no key",
            replace("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""),
            &[400],
        ),
        (
            "no version",
            replace("Sec-WebSocket-Version: 13\r\n", ""),
            &[400],
        ),
        ("version 8", replace("Version: 13", "Version: 8"), &[426]),
        ("version 99", replace("Version: 13", "Version: 99"), &[426]),
    ])
    .await;
    let cluster = Cluster::memory(&[]).await;
    let answer = ask(cluster.port(), replace("Version: 13", "Version: 8"))
        .await
        .unwrap();
    assert_eq!(answer.header("sec-websocket-version"), Some("13"));
}

/// Otherwise a proxy and the node would disagree on where the frames begin.
#[tokio::test]
async fn a_body_behind_an_upgrade_is_never_parsed_as_frames() {
    let frame = String::from_utf8(text_frame(b"{}", [0; 4])).unwrap_or_default();
    let with = |more: &str| upgrade(more) + &frame;
    refused(&[
        ("length", with("Content-Length: 8\r\n"), &[400]),
        (
            "chunks",
            upgrade("Transfer-Encoding: chunked\r\n") + "8\r\n" + &frame + "\r\n",
            &[400],
        ),
        (
            "two lengths",
            with("Content-Length: 3\r\nContent-Length: 8\r\n"),
            &[400],
        ),
        (
            "both",
            with("Content-Length: 8\r\nTransfer-Encoding: chunked\r\n"),
            &[400],
        ),
    ])
    .await;
}

#[tokio::test]
async fn a_request_for_another_host_or_path_leads_nowhere() {
    let target = |target: &str| UPGRADE.replace("GET /ws ", &format!("GET {target} "));
    refused(&[
        (
            "another host",
            target("http://elsewhere.example/ws"),
            &[421],
        ),
        ("another port", target("http://localhost:81/ws"), &[421]),
        ("traversal", target("/../../ws"), &[404]),
        ("traversal behind", target("/ws/../ws"), &[404]),
        ("escaped", target("/%77s"), &[404]),
        ("slash behind", target("/ws/"), &[404]),
        ("slashes before", target("//ws"), &[404]),
        ("metrics are internal", target("/metrics"), &[404]),
        ("readiness is internal", target("/readyz"), &[404]),
        ("the API is internal", target("/v1/sessions"), &[404]),
    ])
    .await;
}

#[tokio::test]
async fn what_is_no_http_is_closed() {
    let cluster = Cluster::memory(&[]).await;
    let bystander = Bystander::at(cluster.first()).await;
    let hello = [&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01][..], &[7; 500]].concat();
    let garbage: [&[u8]; 5] = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        &hello,
        &[0; 100],
        b"SSH-2.0-x\r\n\r\n",
        b"\r\n\r\n\x80\xff",
    ];
    for garbage in garbage {
        let answer = ask(cluster.port(), garbage).await;
        assert!(
            answer.as_ref().is_none_or(|answer| answer.status == 400),
            "{answer:?}"
        );
    }
    bystander.noticed_nothing().await;
}

/// Answers nothing until the node has closed the connection; how long that took.
async fn lasts(port: u16, first: &[u8], drip: Option<&[u8]>) -> Duration {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let began = tokio::time::Instant::now();
    let (mut from, mut to) = stream.into_split();
    to.write_all(first).await.unwrap();
    let dripping = async {
        for byte in drip.unwrap_or_default() {
            time_passes(Duration::from_millis(100)).await;
            if to.write_all(&[*byte]).await.is_err() {
                break;
            }
        }
        std::future::pending::<()>().await;
    };
    let reading = async {
        let mut answer = Vec::new();
        let _ = from.read_to_end(&mut answer).await;
        assert!(!answer.starts_with(b"HTTP/1.1 101"), "upgraded");
    };
    tokio::select! {
        () = dripping => {}
        () = reading => {}
    }
    began.elapsed()
}

#[tokio::test]
async fn half_a_request_and_a_slow_one_are_closed_after_the_handshake_deadline() {
    let cluster = Cluster::memory(&[]).await;
    let port = cluster.port();
    let bystander = Bystander::at(cluster.first()).await;
    let request = UPGRADE.as_bytes();
    let (silent, half, slow) = tokio::join!(
        lasts(port, b"", None),
        lasts(port, &request[..60], None),
        lasts(port, b"", Some(request)),
    );
    for (what, lasted) in [("silent", silent), ("half", half), ("slow", slow)] {
        let seconds = lasted.as_secs_f64();
        assert!((4.0..9.0).contains(&seconds), "{what}: {seconds} s");
    }
    bystander.noticed_nothing().await;
}

#[tokio::test]
async fn a_flood_of_handshakes_is_borne() {
    let cluster = Cluster::memory(&[]).await;
    let bystander = Bystander::at(cluster.first()).await;
    let port = cluster.port();
    for round in 0..10 {
        let flood = (0..50).map(async |at| {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            // A third leaves at once, a third half-way, a third after the upgrade.
            let bytes = &UPGRADE.as_bytes()[..UPGRADE.len() * (at % 3) / 2];
            let _ = stream.write_all(bytes).await;
            if (at + round) % 2 == 0 {
                let _ = stream.set_zero_linger();
            }
        });
        futures_util::future::join_all(flood).await;
    }
    bystander.noticed_nothing().await;
}

#[tokio::test]
async fn odd_and_many_subprotocols_are_passed_over() {
    let many = vec!["x"; 1000].join(",");
    refused(&[
        (
            "not ASCII",
            upgrade("Sec-WebSocket-Protocol: sp\u{e4}rk\r\n"),
            &[101, 400],
        ),
        (
            "a thousand offers",
            upgrade(&format!("Sec-WebSocket-Protocol: {many}\r\n")),
            &[101],
        ),
        (
            "nothing but commas",
            upgrade("Sec-WebSocket-Protocol: ,,, ,\r\n"),
            &[101],
        ),
    ])
    .await;
}

/// A page of somebody else may ask, but its browser gives it no answer to read.
#[tokio::test]
async fn no_answer_lets_another_origin_read_it() {
    let cluster = Cluster::memory(&[]).await;
    let internal = cluster.processes[0].internal[0];
    for (port, path) in [
        (cluster.port(), "/healthz"),
        (cluster.port(), "/ws"),
        (internal, "/readyz"),
        (internal, "/metrics"),
        (internal, "/v1/sessions"),
    ] {
        for method in ["GET", "OPTIONS"] {
            let request = format!(
                "{method} {path} HTTP/1.1\r\nHost: localhost\r\nOrigin: https://evil.example\r\n\
                 Access-Control-Request-Method: POST\r\nConnection: close\r\n\r\n"
            );
            let answer = ask(port, request).await.expect("an answer");
            let allowed = answer.header("access-control-allow-origin");
            assert_eq!(allowed, None, "{method} {path}: {}", answer.head);
        }
    }
}

#[tokio::test]
async fn what_users_write_forges_no_line_of_the_log_and_no_metric() {
    let cluster = Cluster::memory(&[("log.level", "debug"), ("log.format", "json")]).await;
    let mut peer = Peer::connect(cluster.first(), Encoding::Json).await;
    let forged = "\n{\"level\":\"ERROR\",\"message\":\"forged\"}\n";
    for name in [forged, "{result=\"ok\"}", "a\"b\\c", "\u{1b}[31mred"] {
        let data = json!({"topics": [name]});
        peer.ask("topic:subscribe", data).await;
        peer.ask(name, json!({})).await;
    }
    for number in 0..50 {
        let names: Vec<String> = (0..100).map(|at| format!("many:{number}:{at}")).collect();
        peer.ask("topic:subscribe", json!({"topics": names})).await;
        peer.ask("topic:unsubscribe", json!({"topics": names}))
            .await;
    }
    let request = upgrade("X-Forwarded-For: \"}\r\nUser-Agent: {evil=\"1\"}\r\n");
    ask(cluster.port(), request).await;
    let node = &cluster.processes[0];
    for line in node.log().lines() {
        let line: serde_json::Value = serde_json::from_str(line).expect("every line is JSON");
        assert_ne!(line["message"], "forged");
        assert_ne!(line["fields"]["message"], "forged");
    }
    let page = crate::harness::http::body(node.internal[0], "/metrics").await;
    assert!(!page.contains("many:") && !page.contains("evil") && !page.contains("forged"));
}
