//! What the hot paths cost, counted and not timed: instructions and allocations of one publish,
//! one fan-out to a hundred, one heartbeat, one connect and one resume must stay within five per
//! cent of `bounds.json`. After an intended change: `UPDATE=1 make gate`,
//! which builds like `make test`: features of other packages count.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a gate that cannot measure must fail"
)]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

/// Few and many: the difference leaves the node's start out of account.
const FEW: u64 = 10;
const MANY: u64 = 60;
/// Per cent by which a count may differ.
const TOLERANCE: u64 = 5;
/// Allocations by which a count may differ: a growing table is met or not.
const TABLES: u64 = 1;
const PATHS: [&str; 5] = ["connect", "publish", "deliver", "heartbeat", "resume"];

/// Runs the program under a tool of valgrind; what it says.
fn valgrind(tool: &str, path: &str, count: u64) -> String {
    let run = Command::new("valgrind")
        .arg(format!("--tool={tool}"))
        .arg(format!("--{tool}-out-file=/dev/null"))
        .args([env!("CARGO_BIN_EXE_bench-gate"), path, &count.to_string()])
        .output()
        .unwrap_or_else(|error| panic!("valgrind is needed (make setup): {error}"));
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(run.status.success(), "{path} under {tool}: {said}");
    said
}

/// The number behind a word.
fn number(said: &str, word: &str) -> u64 {
    let rest = said
        .split(word)
        .nth(1)
        .unwrap_or_else(|| panic!("no {word}: {said}"));
    let digits: String = rest
        .chars()
        .skip_while(|symbol| !symbol.is_ascii_digit())
        .take_while(|symbol| symbol.is_ascii_digit() || *symbol == ',')
        .filter(|symbol| *symbol != ',')
        .collect();
    digits.parse().unwrap()
}

fn instructions(path: &str, count: u64) -> u64 {
    number(&valgrind("callgrind", path, count), "Collected :")
}

fn allocations(path: &str, count: u64) -> u64 {
    let said = valgrind("dhat", path, count);
    let total = said.split("Total:").nth(1).unwrap_or_default();
    number(total, " bytes in ")
}

fn each(count: fn(&str, u64) -> u64, path: &str) -> u64 {
    let few = count(path, FEW);
    count(path, MANY).saturating_sub(few) / (MANY - FEW)
}

#[test]
fn hot_paths_cost_what_they_did() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("bounds.json");
    let found: BTreeMap<&str, [u64; 2]> = PATHS
        .into_iter()
        .map(|path| (path, [each(instructions, path), each(allocations, path)]))
        .collect();
    println!("{found:?}");
    if std::env::var_os("UPDATE").is_some() {
        let bounds: BTreeMap<&str, Value> = found
            .iter()
            .map(|(path, [work, blocks])| {
                (*path, json!({"instructions": work, "allocations": blocks}))
            })
            .collect();
        std::fs::write(file, serde_json::to_string_pretty(&bounds).unwrap() + "\n").unwrap();
        return;
    }
    let bounds: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let mut wrong = Vec::new();
    for (path, counts) in &found {
        for (name, count, slack) in [
            ("instructions", counts[0], 0),
            ("allocations", counts[1], TABLES),
        ] {
            let bound = bounds[*path][name].as_u64().unwrap();
            if count.abs_diff(bound) > bound * TOLERANCE / 100 + slack {
                wrong.push(format!("{path}: {count} {name}, bound {bound}"));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{wrong:#?}\nIf that is intended: UPDATE=1 make gate"
    );
}
