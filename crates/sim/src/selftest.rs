//! Shows that the schedules find what they are for: each defect in a process of its own.

use std::process::{Command, ExitCode};
use std::time::Instant;

use sparkway_store::planted::Defect;

use crate::report::{Arguments, say};

/// The defects that whole nodes over the embedded store can show.
const FOUND_HERE: [Defect; 12] = [
    Defect::JoinAfterRead,
    Defect::ReadWithoutBound,
    Defect::NoBarrier,
    Defect::NewTopicUnawaited,
    Defect::NoResumeFilter,
    Defect::RepairGoesOn,
    Defect::NoRepair,
    Defect::NoFence,
    Defect::NoGate,
    Defect::NoBackLink,
    Defect::NoIdempotency,
    Defect::EarlyAck,
];

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    if !cfg!(feature = "planted") {
        say("build it with the feature `planted`");
        return ExitCode::from(2);
    }
    let mut missed = 0;
    for defect in FOUND_HERE {
        let began = Instant::now();
        let outcome = find(defect, arguments);
        let long = began.elapsed().as_secs_f64();
        let name = defect.name();
        if let Some(text) = outcome {
            say(&format!("{name}: found within {long:.1} s: {text}"));
        } else {
            missed += 1;
            let count = arguments.count;
            say(&format!("{name}: NOT FOUND in {count} schedules"));
        }
    }
    ExitCode::from(u8::from(missed > 0))
}

/// What the first schedule says that finds it.
fn find(defect: Defect, arguments: &Arguments) -> Option<String> {
    let program = std::env::current_exe().ok()?;
    let output = Command::new(program)
        .env("SPARKWAY_PLANTED", defect.name())
        .args(["--brief", "--seed", &arguments.seed.to_string()])
        .args(["--count", &arguments.count.to_string()])
        .output()
        .ok()?;
    if output.status.success() {
        return None;
    }
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().last().map(str::to_owned)
}
