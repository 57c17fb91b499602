//! Every command and every input in every state.

use sparkway_protocol::{AckId, CloseReason, Code, Refused};

use super::*;
use crate::AuthFailure;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Nothing was said yet, or the store could not answer a resume.
    Waiting,
    Retrying,
    /// A resume failed for good: only a connect helps.
    OnlyConnect,
    Authenticating,
    Opening,
    Claiming,
    Resuming,
    Live,
    Closed,
}

const STATES: [At; 9] = [
    At::Waiting,
    At::Retrying,
    At::OnlyConnect,
    At::Authenticating,
    At::Opening,
    At::Claiming,
    At::Resuming,
    At::Live,
    At::Closed,
];

impl At {
    fn bench(self) -> Bench {
        let mut bench = Bench::new();
        match self {
            Self::Waiting => {}
            Self::Retrying => {
                bench.command(resume("r", LastSeen::Unknown));
                bench.step(Input::Claimed(Err(StoreFailure::Unavailable)));
            }
            Self::OnlyConnect => {
                bench.command(resume("r", LastSeen::Unknown));
                bench.step(Input::Claimed(Ok(None)));
            }
            Self::Authenticating => drop(bench.command(connect("c"))),
            Self::Opening => {
                bench.command(connect("c"));
                bench.step(Input::Authenticated(Ok(identity())));
            }
            Self::Claiming => drop(bench.command(resume("r", LastSeen::Unknown))),
            Self::Resuming => bench = Bench::resuming(LastSeen::Unknown, stored()),
            Self::Live => bench = Bench::live(),
            Self::Closed => drop(bench.step(Input::Disconnect(CloseReason::Internal))),
        }
        bench
    }
}

/// Every command with the words of its effects on a session in use.
fn commands() -> Vec<(Command, &'static str)> {
    let x = || frame("x");
    let ack = |ack| Command::Ack { id: x(), ack };
    vec![
        (connect("x"), "already_connected"),
        (resume("x", LastSeen::Unknown), "already_connected"),
        (
            Command::Heartbeat {
                id: x(),
                heartbeat_token: "forged".into(),
            },
            "count bad_heartbeat_token",
        ),
        (
            Command::Heartbeat {
                id: x(),
                heartbeat_token: Bench::live().token(1),
            },
            "heartbeat_ack",
        ),
        (Command::Ping { id: x() }, "acked"),
        (ack(AckId::Message(id_at(0))), "acked"),
        (ack(AckId::Message(id_at(3_600_001))), "unknown acked"),
        (ack(AckId::Control("c1".into())), "unknown acked"),
        (ack(AckId::Unknown), "unknown acked"),
        (refresh("x"), "reauthenticate"),
        (
            Command::Close {
                id: x(),
                resume: true,
            },
            "acked",
        ),
        (subscribe("x", &["t"]), "subscribe"),
        (unsubscribe("x", &["t"]), "unsubscribe"),
        (publish("x", false), "append"),
        (publish("x", true), "announce"),
        (
            Command::History {
                id: x(),
                topic: topic("t"),
                after: None,
                before: None,
                limit: 0,
                reverse: false,
            },
            "query",
        ),
        (
            Command::Presence {
                id: x(),
                topic: topic("t"),
            },
            "query",
        ),
        (
            Command::Call {
                id: x(),
                method: "m".into(),
                params: Payload::json("1".into()),
            },
            "query",
        ),
    ]
}

#[test]
fn every_command_is_taken_or_refused_as_its_state_says() {
    for at in STATES {
        for (command, when_live) in commands() {
            let is_connect = matches!(command, Command::Connect { .. });
            let is_resume = matches!(command, Command::Resume { .. });
            let expected = match at {
                At::Waiting | At::Retrying | At::OnlyConnect if is_connect => "authenticate",
                At::Waiting | At::Retrying if is_resume => "claim",
                At::Waiting | At::Retrying | At::OnlyConnect => "not_connected close:NotConnected",
                At::Authenticating | At::Opening | At::Claiming | At::Resuming => "not_connected",
                At::Live => when_live,
                At::Closed => "",
            };
            let effects = at.bench().command(command.clone());
            assert_eq!(words(&effects), expected, "{command:?} in {at:?}");
        }
    }
}

/// Carries out every effect, with every failure that can happen, until nothing is left.
#[test]
fn every_frame_with_an_id_is_answered_exactly_once() {
    let failures = [
        None,
        Some(StoreFailure::Unavailable),
        Some(StoreFailure::NotReplicated),
        Some(StoreFailure::Fenced),
        Some(StoreFailure::Gone),
    ];
    for at in STATES {
        for (command, _) in commands() {
            for failure in failures {
                let mut bench = at.bench();
                let mut effects = bench.command(command.clone());
                let mut answered = 0;
                while !effects.is_empty() {
                    let wanted = frame("x");
                    answered += effects
                        .iter()
                        .filter(|&effect| answers(effect) == wanted.as_ref())
                        .count();
                    let inputs: Vec<Input> = effects
                        .iter()
                        .filter_map(|effect| answer_to(effect, failure))
                        .collect();
                    effects = inputs
                        .into_iter()
                        .flat_map(|input| bench.step(input))
                        .collect();
                }
                let expected = usize::from(at != At::Closed);
                assert_eq!(answered, expected, "{command:?} in {at:?}, {failure:?}");
            }
        }
    }
}

#[test]
fn a_frame_without_an_id_is_carried_out_and_not_answered() {
    let mut bench = Bench::live();
    assert_eq!(words(&bench.command(Command::Ping { id: None })), "");
    let silent = Command::Unsubscribe {
        id: None,
        topics: vec!["t".into()],
    };
    let effects = bench.command(silent);
    assert_eq!(words(&effects), "unsubscribe");
    let done = answer_to(&effects[0], None).unwrap();
    assert_eq!(words(&bench.step(done)), "");
}

/// Every input besides commands, with its effects where it means something.
fn inputs() -> Vec<(Input, &'static [(At, &'static str)])> {
    let mut all = answers_of_gateway();
    all.extend(stray_answers());
    all.extend(news());
    all
}

fn answers_of_gateway() -> Vec<(Input, &'static [(At, &'static str)])> {
    vec![
        (
            Input::Authenticated(Ok(identity())),
            &[(At::Authenticating, "open")],
        ),
        (
            Input::Authenticated(Err(AuthFailure::Missing)),
            &[(At::Authenticating, "unauthorized close:Unauthorized")],
        ),
        (
            Input::Authenticated(Err(AuthFailure::Expired)),
            &[(At::Authenticating, "unauthorized close:Unauthorized")],
        ),
        (
            Input::Authenticated(Err(AuthFailure::Denied)),
            &[(At::Authenticating, "unauthorized close:Unauthorized")],
        ),
        (
            Input::Authenticated(Err(AuthFailure::Unavailable)),
            &[(At::Authenticating, "unavailable close:TryAgain")],
        ),
        (Input::Opened(Ok(opened())), &[(At::Opening, "connected")]),
        (
            Input::Opened(Err(StoreFailure::Unavailable)),
            &[(At::Opening, "unavailable close:TryAgain")],
        ),
        (
            Input::Claimed(Ok(Some(Box::new(claimed(stored()))))),
            &[(At::Opening, "attach"), (At::Claiming, "attach")],
        ),
        (
            Input::Claimed(Ok(None)),
            &[
                (At::Opening, "unavailable close:TryAgain"),
                (At::Claiming, "not_resumable"),
            ],
        ),
        (
            Input::Claimed(Err(StoreFailure::Unavailable)),
            &[
                (At::Opening, "unavailable close:TryAgain"),
                (At::Claiming, "unavailable"),
            ],
        ),
        (
            Input::Attached(Ok(Box::default())),
            &[(At::Resuming, "resumed replay")],
        ),
        (
            Input::Attached(Err(StoreFailure::Unavailable)),
            &[(At::Resuming, "unavailable detach close:TryAgain")],
        ),
        (
            Input::ReplayDone { replayed: 1 },
            &[(At::Live, "replay_done")],
        ),
    ]
}

/// Answers to operations that nobody has asked for.
fn stray_answers() -> Vec<(Input, &'static [(At, &'static str)])> {
    let id = || frame("x");
    vec![
        (
            Input::Stored {
                id: id(),
                result: Err(StoreFailure::Fenced),
            },
            &[],
        ),
        (
            Input::Subscribed {
                id: id(),
                result: Ok(Box::new(granted(&["t"]))),
            },
            &[],
        ),
        (
            Input::Unsubscribed {
                id: id(),
                topics: Vec::new(),
                result: Ok(()),
            },
            &[],
        ),
        (
            Input::Answered {
                id: id(),
                result: Err(Code::Timeout),
            },
            &[],
        ),
        (
            Input::Refreshed {
                id: id(),
                result: Ok(identity()),
                dropped_topics: Vec::new(),
            },
            &[],
        ),
    ]
}

fn news() -> Vec<(Input, &'static [(At, &'static str)])> {
    vec![
        (
            Input::Malformed(Refused::new(Code::Malformed, "no frame")),
            &[
                (At::Waiting, "malformed close:NotConnected"),
                (At::Retrying, "malformed close:NotConnected"),
                (At::OnlyConnect, "malformed close:NotConnected"),
                (At::Authenticating, "malformed"),
                (At::Opening, "malformed"),
                (At::Claiming, "malformed"),
                (At::Resuming, "malformed"),
                (At::Live, "malformed"),
            ],
        ),
        (
            Input::Superseded { epoch: Epoch(9) },
            &[
                (At::Resuming, "close:Superseded"),
                (At::Live, "close:Superseded"),
            ],
        ),
        (Input::Superseded { epoch: Epoch(1) }, &[]),
        (
            Input::Renewed {
                identity: Box::new(identity()),
                dropped_topics: vec![topic("a")],
            },
            &[(At::Live, "forbidden")],
        ),
        (Input::Reowned { epoch: Epoch(9) }, &[]),
        (
            Input::Drain {
                reconnect_after_ms: 5,
            },
            &[(At::Live, "drain:5")],
        ),
        (
            Input::Interval {
                heartbeat_interval_ms: u64::MAX,
            },
            &[],
        ),
        (Input::Tick, &[]),
        (
            Input::Ended { client_code: None },
            &[(At::Resuming, "detach"), (At::Live, "detach")],
        ),
        (
            Input::Ended {
                client_code: Some(1000),
            },
            &[(At::Resuming, "end"), (At::Live, "end")],
        ),
    ]
}

#[test]
fn every_input_means_something_only_where_it_is_awaited() {
    for (input, meanings) in inputs() {
        for at in STATES {
            let meant = meanings.iter().find(|(state, _)| *state == at);
            let expected = meant.map_or("", |(_, words)| words);
            let effects = at.bench().step(input.clone());
            assert_eq!(words(&effects), expected, "{input:?} in {at:?}");
        }
    }
}

#[test]
fn every_disconnect_closes_and_leaves_the_session_as_its_reason_says() {
    for &reason in CloseReason::ALL {
        for at in STATES {
            let mut bench = at.bench();
            let effects = bench.step(Input::Disconnect(reason));
            let in_use = matches!(at, At::Resuming | At::Live);
            let before = match reason {
                _ if !in_use => "",
                CloseReason::Superseded => "",
                CloseReason::Disconnected | CloseReason::Unauthorized => "end ",
                _ => "detach ",
            };
            let expected = match at {
                At::Closed => String::new(),
                _ => format!("{before}close:{reason:?}"),
            };
            assert_eq!(words(&effects), expected, "{reason:?} in {at:?}");
            assert!(bench.session.is_closed());
            assert_eq!(bench.deadline(), u64::MAX);
            assert_eq!(words(&bench.tick_after(1_000_000)), "");
        }
    }
}

#[test]
fn a_deadline_that_passes_ends_what_takes_too_long() {
    for at in STATES {
        let mut bench = at.bench();
        let deadline = bench.deadline();
        if at == At::Closed {
            continue;
        }
        let left = deadline - bench.place.now.mono_ms;
        assert_eq!(words(&bench.tick_after(left - 1)), "", "{at:?} too early");
        let expected = match at {
            At::Resuming | At::Live => "count detach close:HeartbeatTimeout",
            _ => "close:ConnectTimeout",
        };
        assert_eq!(words(&bench.tick_after(1)), expected, "{at:?}");
    }
}

#[test]
fn frames_are_taken_only_when_they_can_be_answered() {
    for at in STATES {
        let bench = at.bench();
        let wants = bench.session.wants_frames(bench.place.around().settings);
        let expected = matches!(at, At::Waiting | At::Retrying | At::OnlyConnect | At::Live);
        assert_eq!(wants, expected, "{at:?}");
    }
}
