//! Heartbeats, rotation, credentials that run out, and rates.

use sparkway_protocol::{AckId, Code, Refused};

use super::*;
use crate::AuthFailure;

fn ack(control: &str) -> Command {
    Command::Ack {
        id: None,
        ack: AckId::Control(control.into()),
    }
}

fn identity_until(expires_at_ms: u64) -> Identity {
    Identity {
        expires_at_ms: Some(expires_at_ms),
        ..identity()
    }
}

/// A beat of the client that finds nothing new.
fn beat(bench: &mut Bench, generation: u32) {
    bench.pass(25_000);
    assert_eq!(words(&bench.heartbeat(generation)), "heartbeat_ack");
}

#[test]
fn second_wrong_token_in_a_row_closes_4007() {
    let mut bench = Bench::live();
    assert_eq!(words(&bench.heartbeat(2)), "count bad_heartbeat_token");
    assert_eq!(words(&bench.heartbeat(1)), "heartbeat_ack");
    assert_eq!(words(&bench.heartbeat(0)), "count bad_heartbeat_token");
    let effects = bench.heartbeat(0);
    assert_eq!(
        words(&effects),
        "count bad_heartbeat_token detach close:BadHeartbeatToken"
    );
}

#[test]
fn a_wrong_token_is_no_sign_of_life() {
    let mut bench = Bench::live();
    bench.pass(40_000);
    bench.heartbeat(9);
    assert_eq!(
        words(&bench.tick_after(15_000)),
        "count detach close:HeartbeatTimeout"
    );
}

#[test]
fn fifth_heartbeat_of_an_interval_is_refused_until_the_next_interval() {
    let mut bench = Bench::live();
    bench.pass(1000);
    for _ in 0..4 {
        assert_eq!(words(&bench.heartbeat(1)), "heartbeat_ack");
    }
    let effects = bench.heartbeat(1);
    assert_eq!(words(&effects), "rate_limited");
    let Effect::Send(Event::Refused(refused)) = &effects[0] else {
        panic!("{effects:?}");
    };
    assert_eq!(refused.retry_after_ms, Some(24_000));
    bench.pass(23_999);
    assert_eq!(words(&bench.heartbeat(1)), "rate_limited");
    bench.pass(1);
    assert_eq!(words(&bench.heartbeat(1)), "heartbeat_ack");
}

#[test]
fn two_intervals_and_the_grace_without_a_heartbeat_are_the_end() {
    let mut bench = Bench::live();
    beat(&mut bench, 1);
    assert_eq!(words(&bench.tick_after(54_999)), "");
    assert_eq!(
        words(&bench.tick_after(1)),
        "count detach close:HeartbeatTimeout"
    );
}

#[test]
fn a_new_token_is_offered_again_until_the_client_uses_it() {
    let mut bench = Bench::live();
    for _ in 0..23 {
        beat(&mut bench, 1);
    }
    bench.pass(25_000);
    let effects = bench.heartbeat(1);
    assert_eq!(words(&effects), "remember:1..2 heartbeat_ack:c1+token");
    bench.pass(25_000);
    let again = bench.heartbeat(1);
    assert_eq!(words(&again), "heartbeat_ack:c2+token");
    let token = |effects: &[Effect]| match effects.last() {
        Some(Effect::Send(Event::HeartbeatAck { updated_token, .. })) => updated_token.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(token(&effects), token(&again));
    assert_eq!(token(&again), Some(bench.token(2)));
    bench.pass(25_000);
    assert_eq!(words(&bench.heartbeat(2)), "remember:2..2 heartbeat_ack");
    assert_eq!(words(&bench.heartbeat(1)), "count bad_heartbeat_token");
}

#[test]
fn the_ack_of_any_frame_with_the_token_voids_the_old_one() {
    for control in ["c1", "c2", "c3"] {
        let mut bench = Bench::resumed();
        assert_eq!(words(&bench.heartbeat(4)), "count bad_heartbeat_token");
        assert_eq!(words(&bench.heartbeat(5)), "heartbeat_ack:c2+token");
        assert_eq!(words(&bench.heartbeat(5)), "heartbeat_ack:c3+token");
        assert_eq!(words(&bench.command(ack(control))), "remember:6..6");
        assert_eq!(words(&bench.heartbeat(5)), "count bad_heartbeat_token");
        assert_eq!(words(&bench.heartbeat(6)), "heartbeat_ack");
    }
}

#[test]
fn the_ack_of_a_frame_before_the_token_voids_nothing() {
    let mut bench = Bench::live();
    bench.step(Input::Interval {
        heartbeat_interval_ms: 600_000,
    });
    assert_eq!(words(&bench.heartbeat(1)), "heartbeat_ack:c1+600000");
    bench.pass(600_000);
    assert_eq!(
        words(&bench.heartbeat(1)),
        "remember:1..2 heartbeat_ack:c2+token"
    );
    assert_eq!(words(&bench.command(ack("c1"))), "");
    assert_eq!(words(&bench.heartbeat(1)), "heartbeat_ack:c3+token");
}

#[test]
fn a_repeated_or_foreign_control_ack_is_counted_and_changes_nothing() {
    let mut bench = Bench::resumed();
    for wrong in ["c0", "c2", "c", "c+1", "1", "c99999999999"] {
        assert_eq!(words(&bench.command(ack(wrong))), "unknown", "{wrong}");
    }
    assert_eq!(words(&bench.command(ack("c1"))), "remember:6..6");
    assert_eq!(words(&bench.command(ack("c1"))), "unknown");
}

#[test]
fn a_repeated_message_ack_is_counted() {
    let mut bench = Bench::live();
    let ack = || Command::Ack {
        id: None,
        ack: AckId::Message(id_at(5)),
    };
    assert_eq!(words(&bench.command(ack())), "");
    assert_eq!(words(&bench.command(ack())), "unknown");
}

#[test]
fn another_interval_is_told_once_and_a_longer_one_holds_at_once() {
    let mut bench = Bench::live();
    bench.step(Input::Interval {
        heartbeat_interval_ms: 60_000,
    });
    assert_eq!(bench.deadline(), bench.place.now.mono_ms + 125_000);
    assert_eq!(words(&bench.heartbeat(1)), "heartbeat_ack:c1+60000");
    assert_eq!(words(&bench.heartbeat(1)), "heartbeat_ack");
    bench.step(Input::Interval {
        heartbeat_interval_ms: 10_000,
    });
    // The client has not heard of the shorter one: it may still take its time.
    assert_eq!(bench.deadline(), bench.place.now.mono_ms + 125_000);
    assert_eq!(words(&bench.heartbeat(1)), "heartbeat_ack:c2+10000");
    assert_eq!(bench.deadline(), bench.place.now.mono_ms + 25_000);
}

#[test]
fn an_expired_credential_is_told_once_and_closes_after_the_grace() {
    let mut bench = Bench::new();
    bench.begin(identity_until(UNIX_MS + 20_000));
    assert_eq!(words(&bench.tick_after(19_999)), "");
    assert_eq!(words(&bench.tick_after(1)), "token_expired");
    assert_eq!(words(&bench.tick_after(0)), "");
    assert_eq!(words(&bench.tick_after(9_999)), "");
    assert_eq!(words(&bench.tick_after(1)), "detach close:TokenExpired");
}

#[test]
fn a_refresh_in_time_saves_the_session() {
    let mut bench = Bench::new();
    bench.begin(identity_until(UNIX_MS + 20_000));
    assert_eq!(words(&bench.tick_after(20_000)), "token_expired");
    assert_eq!(words(&bench.command(refresh("r"))), "reauthenticate");
    bench.pass(5_000);
    let expires_at_ms = UNIX_MS + 40_000;
    let effects = bench.step(Input::Refreshed {
        id: frame("r"),
        result: Ok(identity_until(expires_at_ms)),
        dropped_topics: vec![topic("t")],
    });
    let Effect::Send(Event::Acked { outcome, .. }) = &effects[0] else {
        panic!("{effects:?}");
    };
    assert_eq!(
        *outcome,
        Outcome::Refreshed {
            expires_at_ms: Some(expires_at_ms),
            dropped_topics: vec![topic("t")],
        }
    );
    assert_eq!(words(&bench.tick_after(10_000)), "");
    assert_eq!(words(&bench.heartbeat(1)), "heartbeat_ack");
    assert_eq!(words(&bench.tick_after(5_000)), "token_expired");
}

#[test]
fn a_refresh_that_is_refused_or_of_another_user_changes_nothing() {
    let mut bench = Bench::new();
    bench.begin(identity_until(UNIX_MS + 20_000));
    let refused = [
        (Err(AuthFailure::Expired), "token_expired"),
        (Err(AuthFailure::Invalid), "unauthorized"),
        (
            Ok(Identity {
                user: None,
                ..identity_until(UNIX_MS + 90_000)
            }),
            "forbidden",
        ),
    ];
    for (result, expected) in refused {
        bench.command(refresh("r"));
        let effects = bench.step(Input::Refreshed {
            id: frame("r"),
            result,
            dropped_topics: Vec::new(),
        });
        assert_eq!(words(&effects), expected);
    }
    assert_eq!(words(&bench.tick_after(20_000)), "token_expired");
}

#[test]
fn a_session_that_is_resumed_after_its_credential_ran_out_has_the_whole_grace() {
    let long_ago = StoredSession {
        expires_at_ms: Some(UNIX_MS - 60_000),
        ..stored()
    };
    let mut bench = Bench::resuming(LastSeen::Unknown, long_ago);
    bench.step(Input::Attached(Ok(Box::default())));
    assert_eq!(words(&bench.tick_after(0)), "token_expired");
    assert_eq!(bench.deadline(), bench.place.now.mono_ms + 10_000);
    assert_eq!(words(&bench.tick_after(9_999)), "");
    assert_eq!(words(&bench.tick_after(1)), "detach close:TokenExpired");
}

#[test]
fn a_leap_of_the_wall_clock_does_not_cut_the_grace_short() {
    let mut bench = Bench::new();
    bench.begin(identity_until(UNIX_MS + 20_000));
    bench.place.now.unix_ms += 3_600_000;
    assert_eq!(words(&bench.tick_after(0)), "token_expired");
    assert_eq!(words(&bench.tick_after(9_999)), "");
    assert_eq!(words(&bench.tick_after(1)), "detach close:TokenExpired");
}

#[test]
fn frames_over_the_rate_are_refused_with_the_exact_wait_and_then_end_the_connection() {
    let mut bench = Bench::new();
    bench.place.settings.frames_burst = 10;
    bench.begin(identity());
    // The burst of the default settings was in the bucket; it is cut to 10 at the first frame.
    for _ in 0..9 {
        assert_eq!(words(&bench.command(Command::Ping { id: None })), "");
    }
    for _ in 1..200 {
        let effects = bench.command(Command::Ping { id: frame("p") });
        assert_eq!(words(&effects), "count rate_limited");
        assert_eq!(answers(&effects[1]), frame("p").as_ref());
        let Effect::Send(Event::Refused(refused)) = &effects[1] else {
            panic!("{effects:?}");
        };
        assert_eq!(refused.retry_after_ms, Some(20));
    }
    let effects = bench.command(Command::Ping { id: frame("p") });
    assert_eq!(
        words(&effects),
        "count rate_limited detach close:RateLimited"
    );
}

#[test]
fn frames_of_which_no_notice_is_taken_count_like_any_other() {
    let mut bench = Bench::new();
    bench.place.settings.frames_burst = 10;
    bench.begin(identity());
    for _ in 0..9 {
        assert_eq!(words(&bench.step(Input::Ignored)), "");
    }
    for _ in 1..200 {
        assert_eq!(words(&bench.step(Input::Ignored)), "count rate_limited");
    }
    assert_eq!(
        words(&bench.step(Input::Ignored)),
        "count rate_limited detach close:RateLimited"
    );
}

#[test]
fn a_flood_of_frames_that_are_none_is_limited_like_any_other() {
    let mut bench = Bench::live();
    let mut limited = 0;
    for _ in 0..1000 {
        let refused = Refused::new(Code::Malformed, "no frame").answering(frame("m"));
        let effects = bench.step(Input::Malformed(refused));
        match words(&effects).as_str() {
            "malformed" | "" => {}
            "count rate_limited" => limited += 1,
            other => {
                assert_eq!(other, "count rate_limited detach close:RateLimited");
                assert_eq!(limited, 199);
            }
        }
    }
    assert!(bench.session.is_closed());
}

#[test]
fn a_frame_in_time_forgives_the_refused_ones_before_it() {
    let mut bench = Bench::live();
    for _ in 0..10 {
        while words(&bench.command(Command::Ping { id: None })).is_empty() {}
        for _ in 0..150 {
            bench.command(Command::Ping { id: None });
        }
        bench.pass(20);
        assert_eq!(words(&bench.command(Command::Ping { id: None })), "");
    }
    assert!(bench.session.is_live());
}
