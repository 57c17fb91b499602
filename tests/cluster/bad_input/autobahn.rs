//! The Autobahn suite's conversations, recorded against this gateway and replayed byte for byte,
//! so that a machine without the suite's Python 2.7 still notices a change. `make autobahn` runs
//! the suite itself.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::SOON;
use crate::harness::bystander::Bystander;
use crate::harness::cluster::Cluster;
use crate::harness::http::UPGRADE;

/// What was said: by the client as it stands, by the node frame by frame.
#[derive(Deserialize)]
#[serde(untagged)]
enum Turn {
    Client(String),
    Node(Vec<(u8, String)>),
}

/// A file beside the suite's runner.
fn kept(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/autobahn")
        .join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn unpacked(text: &str) -> Vec<u8> {
    let short = STANDARD.decode(text).expect("base64");
    let mut bytes = Vec::new();
    let mut inflater = flate2::read::ZlibDecoder::new(&short[..]);
    inflater.read_to_end(&mut bytes).expect("zlib");
    bytes
}

/// What comes from the node.
struct Incoming {
    stream: TcpStream,
    bytes: Vec<u8>,
}

impl Incoming {
    /// The next frame; none at the end.
    async fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            if let Some((frame, taken)) = split(&self.bytes) {
                self.bytes.drain(..taken);
                return Some(frame);
            }
            let read = tokio::time::timeout(SOON, self.stream.read_buf(&mut self.bytes)).await;
            if read.expect("the node says something or closes").ok()? == 0 {
                return None;
            }
        }
    }
}

fn split(bytes: &[u8]) -> Option<((u8, Vec<u8>), usize)> {
    let (&first, rest) = bytes.split_first()?;
    let (&length, rest) = rest.split_first()?;
    let (length, rest) = match length {
        126 => {
            let (length, rest) = rest.split_first_chunk::<2>()?;
            (usize::from(u16::from_be_bytes(*length)), rest)
        }
        127 => {
            let (length, rest) = rest.split_first_chunk::<8>()?;
            (usize::try_from(u64::from_be_bytes(*length)).ok()?, rest)
        }
        short => (usize::from(short), rest),
    };
    let payload = rest.get(..length)?.to_vec();
    Some(((first, payload), bytes.len() - rest.len() + length))
}

async fn replay(port: u16, case: &str, turns: &[Turn]) {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let mut incoming = Incoming {
        stream,
        bytes: Vec::new(),
    };
    let path = format!("GET /ws/room/{case} ");
    let request = UPGRADE.replace("GET /ws ", &path);
    incoming.stream.write_all(request.as_bytes()).await.unwrap();
    while !incoming.bytes.windows(4).any(|end| end == b"\r\n\r\n") {
        let read = incoming.stream.read_buf(&mut incoming.bytes).await.unwrap();
        assert!(read > 0, "{case}: no answer");
    }
    let end = incoming
        .bytes
        .windows(4)
        .position(|end| end == b"\r\n\r\n")
        .unwrap();
    incoming.bytes.drain(..end + 4);
    for turn in turns {
        match turn {
            Turn::Client(said) => {
                // The node may have closed already, and rightly so.
                let _ = incoming.stream.write_all(&unpacked(said)).await;
            }
            Turn::Node(frames) => {
                for (at, (first, payload)) in frames.iter().enumerate() {
                    let heard = incoming.frame().await;
                    let expected = unpacked(payload);
                    let (heard_first, heard_payload) =
                        heard.unwrap_or_else(|| panic!("{case}: no frame {at}"));
                    assert_eq!(heard_first, *first, "{case}: frame {at}");
                    // The text of a close may change, its code may not.
                    let most = if *first == 0x88 { 2 } else { usize::MAX };
                    let cut = |bytes: &[u8]| bytes[..most.min(bytes.len())].to_vec();
                    assert!(
                        cut(&heard_payload) == cut(&expected),
                        "{case}: payload {at}"
                    );
                }
            }
        }
    }
}

#[tokio::test]
async fn recorded_conversations_of_the_suite_go_as_they_went() {
    let scripts: BTreeMap<String, Vec<Turn>> =
        serde_json::from_str(&kept("scripts.json")).expect("scripts");
    assert!(scripts.len() >= 200, "{} conversations", scripts.len());
    let settings = [
        ("room.relay_binary", "true"),
        ("limits.message_bytes", "16MiB"),
        ("limits.outbox_bytes", "64MiB"),
    ];
    let cluster = Cluster::memory(&settings).await;
    let bystander = Bystander::at(cluster.first()).await;
    for (case, turns) in &scripts {
        replay(cluster.port(), case, turns).await;
    }
    bystander.noticed_nothing().await;
}

/// The verdicts of the last whole run, as `make autobahn` wrote them.
#[test]
fn the_last_run_of_the_suite_failed_nothing() {
    let result: serde_json::Value = serde_json::from_str(&kept("result.json")).expect("verdicts");
    assert_eq!(result["failed"], serde_json::json!([]));
    let cases = result["behavior"].as_object().expect("verdicts");
    // All that say nothing about compression, and all of those.
    let of = |sections: &[&str]| {
        let section = |case: &str| case.split('.').next().unwrap_or_default().to_owned();
        let among = |case: &&String| sections.contains(&section(case).as_str());
        cases.keys().filter(among).count()
    };
    assert_eq!(of(&["1", "2", "3", "4", "5", "6", "7", "9", "10"]), 301);
    assert_eq!(of(&["12", "13"]), 216);
}
