//! Golden conversations. A line in column 0 is the question, the indented lines are the answer:
//!
//! - `> TEXT`: a client's JSON frame; `= ` the command or refusal; `x ` the same frame in
//!   `MessagePack`, with `=x ` where its command differs (payloads keep their encoding);
//! - `>x HEX`: a client's `MessagePack` frame that JSON cannot say;
//! - `< NAME`: an event of `events.rs`; `= ` the event, `j ` its JSON, `x ` its `MessagePack`.
//!
//! `UPDATE_TRANSCRIPTS=1 cargo test -p sparkway-dialect` writes the answers anew: read the diff.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;

use sparkway_protocol::Format;

use super::{events, json, msgpack, payload_of};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn unhex(text: &str) -> Vec<u8> {
    let pairs = text.as_bytes().chunks(2);
    let byte = |pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    pairs.map(byte).collect()
}

fn client_frame(text: &str) -> String {
    let command = json(text);
    let mut answer = format!("  = {}\n", shown(&command));
    let Ok(value) = serde_json::from_str::<serde_json::Value>(text) else {
        return answer;
    };
    let packed = rmp_serde::to_vec_named(&value).unwrap();
    writeln!(answer, "  x {}", hex(&packed)).unwrap();
    let other = msgpack(&packed);
    if other != command {
        writeln!(answer, "  =x {}", shown(&other)).unwrap();
    }
    answer
}

fn shown<T: std::fmt::Debug, E: std::fmt::Debug>(answer: &Result<T, E>) -> String {
    match answer {
        Ok(command) => format!("{command:?}"),
        Err(refused) => format!("{refused:?}"),
    }
}

fn server_frame(name: &str, used: &mut BTreeSet<String>) -> String {
    let events = events::all();
    let Some((_, event)) = events.iter().find(|(known, _)| *known == name) else {
        panic!("no event is called {name:?}");
    };
    used.insert(name.to_owned());
    let text = String::from_utf8(payload_of(Format::SparkJson, event)).unwrap();
    let packed = hex(&payload_of(Format::SparkMsgPack, event));
    format!("  = {event:?}\n  j {text}\n  x {packed}\n")
}

fn answered(transcript: &str, used: &mut BTreeSet<String>) -> String {
    let mut answered = String::new();
    for line in transcript.lines().filter(|line| !line.starts_with("  ")) {
        writeln!(answered, "{line}").unwrap();
        if let Some(text) = line.strip_prefix("> ") {
            answered += &client_frame(text);
        } else if let Some(text) = line.strip_prefix(">x ") {
            writeln!(answered, "  = {}", shown(&msgpack(&unhex(text)))).unwrap();
        } else if let Some(name) = line.strip_prefix("< ") {
            answered += &server_frame(name, used);
        } else {
            assert!(line.is_empty() || line.starts_with('#'), "{line:?}");
        }
    }
    answered
}

#[test]
fn every_frame_reads_and_writes_as_its_transcript_says() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/spark");
    let mut used = BTreeSet::new();
    let mut files = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let golden = std::fs::read_to_string(&path).unwrap();
        let now = answered(&golden, &mut used);
        files += 1;
        if std::env::var_os("UPDATE_TRANSCRIPTS").is_some() {
            std::fs::write(&path, now).unwrap();
            continue;
        }
        for (at, (golden, now)) in golden.lines().zip(now.lines()).enumerate() {
            assert_eq!(golden, now, "{}:{}", path.display(), at + 1);
        }
        assert_eq!(golden, now, "{}", path.display());
    }
    assert_eq!(files, 6, "transcripts found");
    let known: BTreeSet<String> = events::all()
        .iter()
        .map(|(name, _)| (*name).into())
        .collect();
    assert_eq!(used, known, "every event stands in a transcript");
}
