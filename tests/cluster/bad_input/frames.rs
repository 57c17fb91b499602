//! Bytes that break RFC 6455, or a limit.

use std::time::Duration;

use serde_json::json;
use sparkway_client::{Encoding, Incoming, RawMessage};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::harness::bystander::Bystander;
use crate::harness::cluster::{Cluster, ENCODINGS};
use crate::harness::peer::{Peer, close_frame, ends_with, last_words, next, open};
use crate::harness::{SOON, time_passes};

const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;

/// A masked frame with this first byte.
pub(super) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    masked(first, payload, [0x11, 0x22, 0x33, 0x44])
}

/// A masked ping.
pub(crate) fn ping_frame(payload: &[u8]) -> Vec<u8> {
    frame(FIN | PING, payload)
}

pub(super) fn text_frame(payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    masked(FIN | TEXT, payload, mask)
}

fn masked(first: u8, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        short @ 0..126 => bytes.push(MASKED | u8::try_from(short).unwrap()),
        medium @ 126..65_536 => {
            bytes.push(MASKED | 0x7e);
            bytes.extend(u16::try_from(medium).unwrap().to_be_bytes());
        }
        long => {
            bytes.push(MASKED | 0x7f);
            bytes.extend((long as u64).to_be_bytes());
        }
    }
    bytes.extend(mask);
    bytes.extend(
        payload
            .iter()
            .zip(mask.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    bytes
}

fn close(body: &[u8]) -> Vec<u8> {
    frame(FIN | CLOSE, body)
}

/// A header that announces so many bytes and is followed by none.
fn announced(length: u64) -> Vec<u8> {
    let mut bytes = vec![FIN | TEXT, MASKED | 0x7f];
    bytes.extend(length.to_be_bytes());
    bytes.extend([0; 4]);
    bytes
}

/// Sends each to a session of its own: the close code, and that the session can be resumed, since
/// its client may be as innocent as the proxy between.
async fn check(cases: &[(&str, Vec<u8>, u16)]) {
    let cluster = Cluster::memory(&[]).await;
    let bystander = Bystander::at(cluster.first()).await;
    for (what, bytes, code) in cases {
        let breaks = !bytes.starts_with(&[FIN | CLOSE])
            || *what == "one byte"
            || *what == "in the text of a close";
        let mut peer = Peer::connect(cluster.first(), Encoding::Json).await;
        // The node may have closed before everything was sent.
        let _ = peer.wire.send_bytes(bytes).await;
        let (last_words, closed) = last_words(&mut peer.wire).await;
        assert_eq!(closed.code, Some(*code), "{what}: {closed}");
        // Whoever broke a rule is told in the dialect's own form first; who closed, is not.
        let told = last_words.iter().find(|frame| frame["type"] == "ws:close");
        if let Some(told) = told {
            assert_eq!(told["data"]["code"], *code, "{what}: {told}");
            assert_eq!(told["data"]["resume"], true, "{what}: {told}");
        }
        assert_eq!(told.is_some(), breaks, "{what}: {last_words:?}");
        let again = Peer::resume(cluster.first(), Encoding::Json, &peer.ticket).await;
        assert_eq!(again.ticket.session, peer.ticket.session, "{what}");
    }
    bystander.noticed_nothing().await;
}

#[tokio::test]
async fn what_breaks_the_framing_closes_1002() {
    let mut cases = vec![
        ("unmasked", vec![FIN | TEXT, 2, b'{', b'}'], 1002),
        ("unmasked ping", vec![FIN | PING, 0], 1002),
        ("reserved bit 1", frame(FIN | 0x40 | TEXT, b"{}"), 1002),
        ("reserved bit 2", frame(FIN | 0x20 | TEXT, b"{}"), 1002),
        ("reserved bit 3", frame(FIN | 0x10 | TEXT, b"{}"), 1002),
        ("fragmented ping", frame(PING, b""), 1002),
        ("fragmented pong", frame(0x0a, b""), 1002),
        (
            "fragmented close",
            frame(CLOSE, &1000_u16.to_be_bytes()),
            1002,
        ),
        ("ping of 126 bytes", frame(FIN | PING, &[0; 126]), 1002),
        ("continuation of nothing", frame(FIN, b"{}"), 1002),
        (
            "text inside a message",
            [frame(TEXT, b"{"), frame(FIN | TEXT, b"{}")].concat(),
            1002,
        ),
        (
            "binary inside a message",
            [frame(TEXT, b"{"), frame(BINARY, b"")].concat(),
            1002,
        ),
    ];
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        cases.push(("reserved opcode", frame(FIN | opcode, b""), 1002));
    }
    check(&cases).await;
}

#[tokio::test]
async fn text_that_is_not_utf_8_closes_1007() {
    let split = [frame(TEXT, b"\"\xe2\x82"), frame(FIN, b"\x41\"")].concat();
    check(&[
        ("stray byte", frame(FIN | TEXT, b"\"\xff\""), 1007),
        ("overlong", frame(FIN | TEXT, b"\"\xc0\xaf\""), 1007),
        ("surrogate", frame(FIN | TEXT, b"\"\xed\xa0\x80\""), 1007),
        ("cut short", frame(FIN | TEXT, b"\"\xe2\x82"), 1007),
        ("split over fragments", split, 1007),
        ("in the text of a close", close(b"\x03\xe8\xff"), 1007),
    ])
    .await;
}

#[tokio::test]
async fn what_is_too_large_closes_1009_before_it_arrives() {
    let halves = [
        frame(TEXT, &vec![b' '; 40_000]),
        frame(FIN, &vec![b' '; 40_000]),
    ]
    .concat();
    check(&[
        ("one byte over the limit", announced(65_537), 1009),
        ("2 GiB", announced(1 << 31), 1009),
        ("2^63 - 1", announced((1 << 63) - 1), 1009),
        ("2^63", announced(1 << 63), 1009),
        ("2^64 - 1", announced(u64::MAX), 1009),
        ("over the limit in fragments", halves, 1009),
    ])
    .await;
}

#[tokio::test]
async fn more_fragments_than_any_message_needs_close_1008() {
    let empty = [frame(TEXT, b""), frame(0, b"").repeat(1100)].concat();
    let single = [frame(TEXT, b"{"), frame(0, b" ").repeat(1100)].concat();
    check(&[
        ("empty fragments", empty, 1008),
        ("fragments of one byte", single, 1008),
    ])
    .await;
}

#[tokio::test]
async fn close_codes_that_may_not_be_sent_close_1002_and_others_are_echoed() {
    let forbidden = [
        0_u16, 1, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535,
    ];
    let mut cases = vec![("one byte", close(&[3]), 1002)];
    for code in forbidden {
        cases.push((
            "code that may not be sent",
            close(&code.to_be_bytes()),
            1002,
        ));
    }
    for code in [
        1001_u16, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 4000, 4999,
    ] {
        cases.push(("code that may be sent", close(&code.to_be_bytes()), code));
    }
    check(&cases).await;
    // No code at all is answered with none.
    let cluster = Cluster::memory(&[]).await;
    let mut peer = Peer::connect(cluster.first(), Encoding::Json).await;
    peer.wire.send_bytes(&close(b"")).await.unwrap();
    assert_eq!(peer.wire.wait_closed(SOON).await.unwrap().code, Some(1005));
}

#[tokio::test]
async fn the_wrong_kind_of_message_closes_1003() {
    let cluster = Cluster::memory(&[]).await;
    let bystander = Bystander::at(cluster.first()).await;
    for encoding in ENCODINGS {
        let wrong = match encoding {
            Encoding::Json => RawMessage::binary(b"\x80".to_vec()),
            Encoding::MsgPack => RawMessage::text("{}"),
        };
        let mut peer = Peer::connect(cluster.first(), encoding).await;
        peer.wire.send_raw(wrong.clone()).await.unwrap();
        let farewell = close_frame(1003, "Unsupported data", true);
        ends_with(&mut peer.wire, &[farewell], 1003, "Unsupported data").await;
        // As the first message, too.
        let mut wire = open(cluster.first(), encoding).await;
        wire.send_raw(wrong).await.unwrap();
        let farewell = close_frame(1003, "Unsupported data", false);
        ends_with(&mut wire, &[farewell], 1003, "Unsupported data").await;
    }
    bystander.noticed_nothing().await;
}

#[tokio::test]
async fn a_message_of_exactly_the_limit_is_served() {
    let cluster = Cluster::memory(&[]).await;
    let mut peer = Peer::connect(cluster.first(), Encoding::Json).await;
    peer.subscribe(&["large"]).await;
    let head = r#"{"type":"topic:publish","topic":"large","data":""#;
    let text = format!("{head}{}\"}}", "x".repeat(65_536 - head.len() - 2));
    assert_eq!(text.len(), 65_536);
    peer.wire.send_text(text.clone()).await.unwrap();
    let message = peer.message().await;
    assert_eq!(
        message["data"].as_str().unwrap().len(),
        65_536 - head.len() - 2
    );
    let _ = peer.wire.send_text(text + " ").await;
    assert_eq!(peer.wire.wait_closed(SOON).await.unwrap().code, Some(1009));
}

#[tokio::test]
async fn the_limit_is_the_configured_one() {
    let cluster = Cluster::memory(&[("limits.message_bytes", "2KiB")]).await;
    let mut peer = Peer::connect(cluster.first(), Encoding::Json).await;
    assert_eq!(peer.welcome["data"]["gateway"]["max_message_bytes"], 2048);
    peer.publish("t", json!("x".repeat(1900))).await;
    peer.wire.send_bytes(&announced(2049)).await.unwrap();
    assert_eq!(peer.wire.wait_closed(SOON).await.unwrap().code, Some(1009));
}

#[tokio::test]
async fn fragments_are_joined_and_control_frames_between_them_are_served() {
    let cluster = Cluster::memory(&[]).await;
    let mut wire = open(cluster.first(), Encoding::Json).await;
    let text = br#"{"type":"ws:connect","id":"\u00e9"}"#;
    let (first, rest) = text.split_at(9);
    let (second, third) = rest.split_at(1);
    let mut bytes = [
        frame(TEXT, first),
        frame(FIN | PING, b"still there?"),
        frame(0, second),
        frame(0, b""),
        frame(FIN | 0x0a, b"unasked pong"),
        frame(FIN, third),
    ]
    .concat();
    // Byte by byte, as the worst network would.
    let last = bytes.split_off(bytes.len() - 5);
    for byte in bytes {
        wire.send_bytes(&[byte]).await.unwrap();
    }
    wire.send_bytes(&last).await.unwrap();
    let ack = next(&mut wire).await;
    assert_eq!(
        (ack["type"].as_str(), ack["data"]["ackId"].as_str()),
        (Some("ws:connect_ack"), Some("é"))
    );
}

#[tokio::test]
async fn a_flood_of_pings_closes_1008_and_costs_no_memory() {
    let cluster = Cluster::memory(&[]).await;
    let bystander = Bystander::at(cluster.first()).await;
    let before = cluster.processes[0].memory();
    for kind in [PING, 0x0a] {
        let mut peer = Peer::connect(cluster.first(), Encoding::Json).await;
        // Pongs are not read meanwhile.
        let flood = frame(FIN | kind, &[b'x'; 100]).repeat(1000);
        for _ in 0..100 {
            if peer.wire.send_bytes(&flood).await.is_err() {
                break;
            }
        }
        let closed = peer.wire.wait_closed(SOON).await.unwrap();
        assert!(closed.code.is_none_or(|code| code == 1008), "{closed}");
    }
    let grown = cluster.processes[0].memory().saturating_sub(before);
    assert!(grown < 4 * 1024 * 1024, "{grown} bytes more");
    bystander.noticed_nothing().await;
}

#[tokio::test]
async fn a_few_pings_are_answered_with_their_payload() {
    let cluster = Cluster::memory(&[]).await;
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", cluster.port()))
        .await
        .unwrap();
    let request = crate::harness::http::UPGRADE.as_bytes();
    stream
        .write_all(&[request, &frame(FIN | PING, b"abc")].concat())
        .await
        .unwrap();
    let mut answer = Vec::new();
    let pong = b"\x8a\x03abc";
    while !answer.ends_with(pong) {
        let mut piece = vec![0; 1024];
        let read = tokio::time::timeout(SOON, stream.read(&mut piece))
            .await
            .unwrap()
            .unwrap();
        assert!(read > 0, "closed: {answer:?}");
        answer.extend_from_slice(&piece[..read]);
    }
}

#[tokio::test]
async fn what_follows_a_close_is_ignored() {
    let cluster = Cluster::redis(&[]).await;
    let mut peer = Peer::connect(cluster.first(), Encoding::Json).await;
    let publish = br#"{"type":"topic:publish","id":"late","topic":"late","data":1}"#;
    let bytes = [close(&1001_u16.to_be_bytes()), frame(FIN | TEXT, publish)].concat();
    peer.wire.send_bytes(&bytes).await.unwrap();
    assert_eq!(peer.wire.wait_closed(SOON).await.unwrap().code, Some(1001));
    let mut reader = Peer::connect(cluster.second(), Encoding::Json).await;
    assert_eq!(reader.log("late").await, []);
}

/// Two peers that hold a connection open without using it: one never ends its message, one never
/// answers a close.
#[tokio::test]
async fn a_message_that_never_ends_and_a_close_that_is_never_answered_are_cut_off() {
    let cluster = Cluster::memory(&[]).await;
    let bystander = Bystander::at(cluster.first()).await;
    let endless = async {
        let mut peer = Peer::connect(cluster.first(), Encoding::Json).await;
        let began = tokio::time::Instant::now();
        peer.wire.send_bytes(&announced(60_000)).await.unwrap();
        peer.wire.send_bytes(b"just the beginning").await.unwrap();
        let farewell = close_frame(1008, "Policy violation", true);
        let patience = Duration::from_secs(25);
        let closed = peer.wire.wait_closed(patience).await.unwrap();
        assert_eq!(
            (closed.code, closed.reason.as_str()),
            (Some(1008), "Policy violation")
        );
        let Incoming::Frame(last) = peer.wire.next().await else {
            panic!("no last words")
        };
        assert_eq!(crate::harness::peer::whole(&last), farewell);
        assert!(began.elapsed() > Duration::from_secs(5));
    };
    let stubborn = async {
        let address = ("127.0.0.1", cluster.port());
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let ping = text_frame(br#"{"type":"ws:ping"}"#, [1, 2, 3, 4]);
        let request = crate::harness::http::UPGRADE.as_bytes();
        stream.write_all(&[request, &ping].concat()).await.unwrap();
        let began = tokio::time::Instant::now();
        let mut seen = Vec::new();
        let ended = stream.read_to_end(&mut seen);
        let ended = tokio::time::timeout(Duration::from_secs(15), ended).await;
        ended.expect("the node gives up").unwrap();
        let needle = b"\x03\xf0not_connected";
        assert!(
            seen.windows(needle.len()).any(|window| window == needle),
            "{seen:?}"
        );
        // The node has shut its side; it also gives up ours.
        let gone = async {
            while stream.write_all(b"\0").await.is_ok() {
                time_passes(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(15), gone)
            .await
            .expect("the node lets go");
        assert!(began.elapsed() < Duration::from_secs(15));
    };
    tokio::join!(endless, stubborn);
    bystander.noticed_nothing().await;
}
