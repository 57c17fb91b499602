//! Golden conversations of the JSON and text dialects. A line in column 0 is the question, the
//! indented line is the answer: `> TEXT` a client's frame and `= ` its command or refusal;
//! `< NAME` an event of `spark/tests/events.rs` and `t ` its text frame, `b ` the bytes of its binary frame, `p ` its ping, or `-`
//! where the dialect says nothing.
//!
//! `UPDATE_TRANSCRIPTS=1 cargo test -p sparkway-dialect` writes the answers anew: read the diff.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;

use sparkway_frame::Opcode;
use sparkway_protocol::Format;

use crate::spark::tests::events;
use crate::{Talk, Wire};

/// The time of all answers: 2024-01-01T00:00:00.000Z.
const NOW_MS: u64 = 1_704_067_200_000;

fn told(talk: &Talk, format: Format, name: &str) -> String {
    let events = events::everything();
    let Some((_, event)) = events.iter().find(|(known, _)| *known == name) else {
        panic!("no event is called {name:?}");
    };
    let Some(framed) = talk.encode(format, event, NOW_MS) else {
        return "  -\n".to_owned();
    };
    let (opcode, payload) = framed.frames().next().unwrap();
    let kind = match opcode {
        Opcode::Text => "t",
        Opcode::Binary => "b",
        Opcode::Ping => "p",
        other => panic!("{name}: {other:?}"),
    };
    let text = match opcode {
        Opcode::Binary => format!("{payload:?}"),
        _ => str::from_utf8(payload).unwrap().replace('\n', "\\n"),
    };
    let line = format!("  {kind} {text}");
    format!("{}\n", line.trim_end())
}

/// Checks `testdata/FOLDER`; every event must stand in one of its transcripts.
pub(crate) fn check(folder: &str, format: Format, talk: impl Fn() -> Talk) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("testdata")
        .join(folder);
    let mut used = BTreeSet::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let golden = std::fs::read_to_string(&path).unwrap();
        let mut now = String::new();
        let mut talk = talk();
        for line in golden.lines().filter(|line| !line.starts_with("  ")) {
            writeln!(now, "{line}").unwrap();
            if let Some(text) = line.strip_prefix("> ") {
                let answer = match talk.decode(format, Wire::Text(text)) {
                    Ok(command) => format!("{command:?}"),
                    Err(refused) => format!("{refused:?}"),
                };
                writeln!(now, "  = {answer}").unwrap();
            } else if let Some(name) = line.strip_prefix("< ") {
                used.insert(name.to_owned());
                now += &told(&talk, format, name);
            } else {
                assert!(line.is_empty() || line.starts_with('#'), "{line:?}");
            }
        }
        if std::env::var_os("UPDATE_TRANSCRIPTS").is_some() {
            std::fs::write(&path, now).unwrap();
            continue;
        }
        assert_eq!(golden, now, "{}", path.display());
    }
    let known: BTreeSet<String> = events::everything()
        .iter()
        .map(|(name, _)| (*name).into())
        .collect();
    assert_eq!(used, known, "every event stands in a transcript");
}
