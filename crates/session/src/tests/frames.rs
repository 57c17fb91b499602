//! Dialects without heartbeats: every frame is a sign of life, and the node may ask for one.

use sparkway_protocol::{Code, Refused, limits};

use super::{Bench, identity, subscribe, words};
use crate::effect::Effect;
use crate::{Input, SessionSettings};

fn bench(settings: SessionSettings) -> Bench {
    let mut bench = Bench::with(settings);
    bench.begin(identity());
    bench
}

fn malformed() -> Input {
    Input::Malformed(Refused::new(Code::Malformed, "no frame"))
}

#[test]
fn the_node_pings_at_its_interval_and_closes_when_nothing_comes() {
    let mut bench = bench(SessionSettings {
        heartbeat_interval_ms: 5000,
        heartbeat_grace_ms: 0,
        ping_interval_ms: Some(5000),
        ..SessionSettings::default()
    });
    assert_eq!(words(&bench.tick_after(4999)), "");
    assert_eq!(words(&bench.tick_after(1)), "ping");
    assert_eq!(words(&bench.step(Input::Alive)), "");
    assert_eq!(words(&bench.tick_after(5000)), "ping");
    assert_eq!(words(&bench.tick_after(4999)), "");
    let closed = words(&bench.tick_after(1));
    assert_eq!(closed, "count detach close:HeartbeatTimeout");
}

#[test]
fn malformed_frames_in_a_row_close_only_where_a_dialect_says_so() {
    let mut strict = bench(SessionSettings {
        malformed_in_a_row: 3,
        ..SessionSettings::default()
    });
    for _ in 0..2 {
        strict.step(malformed());
        assert_eq!(words(&strict.step(malformed())), "malformed");
        strict.command(subscribe("s", &["a"]));
    }
    strict.step(malformed());
    strict.step(malformed());
    assert_eq!(
        words(&strict.step(malformed())),
        "malformed detach close:Policy"
    );

    let mut lenient = bench(SessionSettings::default());
    for _ in 0..50 {
        assert_eq!(words(&lenient.step(malformed())), "malformed");
    }
}

#[test]
fn topics_beyond_the_limit_of_a_request_are_rejected_by_name() {
    let mut bench = bench(SessionSettings::default());
    let names: Vec<String> = (0..=limits::TOPICS_PER_REQUEST)
        .map(|n| format!("t:{n}"))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let effects = bench.command(subscribe("s", &names));
    let [Effect::Subscribe(request)] = &effects[..] else {
        panic!("{effects:?}");
    };
    assert_eq!(request.topics.len(), limits::TOPICS_PER_REQUEST);
    assert_eq!(request.rejected.len(), 1);
    assert_eq!(request.rejected[0].code, Code::LimitExceeded);
}
