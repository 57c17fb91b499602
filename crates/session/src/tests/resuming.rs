//! Resumes: what is claimed, from where, and what happens when it fails.

use sparkway_protocol::event::ResumeFailure;

use super::*;

fn claim_of(effects: &[Effect]) -> Option<SessionId> {
    match effects {
        [Effect::Claim { session, .. }] => *session,
        other => panic!("{other:?}"),
    }
}

fn positions_of(effects: &[Effect]) -> Option<Cursors> {
    match effects {
        [Effect::Attach(request)] => request.positions.clone(),
        other => panic!("{other:?}"),
    }
}

fn id_of(partition: u8, after_ms: u64) -> MessageId {
    MessageId::at(UNIX_MS + after_ms, Partition::new(partition).unwrap())
}

fn cursors(ids: &[MessageId]) -> Cursors {
    Cursors::from_ids(ids)
}

/// Claims with these, and answers what the gateway is asked to attach.
fn attach_positions(last: LastSeen, stored_ids: &[MessageId]) -> Option<Cursors> {
    let mut bench = Bench::new();
    bench.command(resume("r", last));
    let record = StoredSession {
        cursors: cursors(stored_ids),
        ..stored()
    };
    let effects = bench.step(Input::Claimed(Ok(Some(Box::new(claimed(record))))));
    positions_of(&effects)
}

fn detached_cursors(bench: &mut Bench) -> Cursors {
    let effects = bench.step(Input::Ended { client_code: None });
    match effects.as_slice() {
        [Effect::Detach { cursors, .. }] => cursors.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn resume_ack_carries_the_rotated_token_the_gaps_and_what_the_grants_dropped() {
    let mut bench = Bench::resuming(LastSeen::Unknown, stored());
    let effects = bench.step(restored(vec![id_at(7)]));
    let [
        Effect::Send(Event::Resumed {
            id,
            control,
            welcome,
            dropped_topics,
            ..
        }),
        Effect::Replay,
    ] = effects.as_slice()
    else {
        panic!("{effects:?}");
    };
    assert_eq!(*id, frame("resume"));
    assert_eq!(&**control, "c1");
    assert_eq!(welcome.heartbeat_token, bench.token(6));
    assert_eq!(welcome.positions, [id_at(7)]);
    assert_eq!(welcome.session, session_id());
    assert_eq!(*dropped_topics, [topic("dropped")]);
}

#[test]
fn what_is_no_id_of_this_layout_is_claimed_like_an_unknown_session() {
    let elsewhere = SessionId::from_random([1; 16], Partition::new(4).unwrap());
    for (session, expected) in [
        (None, None),
        (Some(elsewhere), None),
        (Some(session_id()), Some(session_id())),
    ] {
        let mut bench = Bench::new();
        let effects = bench.command(Command::Resume {
            id: None,
            session,
            heartbeat_token: "t".into(),
            last: LastSeen::Unknown,
        });
        assert_eq!(claim_of(&effects), expected);
    }
}

#[test]
fn an_implausible_last_id_is_told_before_any_store_is_asked() {
    let future = id_at(3_600_001);
    for last in [
        LastSeen::Invalid,
        LastSeen::One(future),
        LastSeen::One(MessageId::MAX),
        LastSeen::Many(vec![id_at(0), future]),
    ] {
        let mut bench = Bench::new();
        let effects = bench.command(resume("r", last.clone()));
        let [Effect::Send(Event::ResumeFailed { id, reason })] = effects.as_slice() else {
            panic!("{last:?}: {effects:?}");
        };
        assert_eq!(
            (id, *reason),
            (&frame("r"), ResumeFailure::BadMessageId),
            "{last:?}"
        );
        assert_eq!(words(&bench.command(connect("c"))), "authenticate");
    }
    let mut bench = Bench::new();
    let within_the_hour = LastSeen::One(id_at(3_600_000));
    assert_eq!(words(&bench.command(resume("r", within_the_hour))), "claim");
}

#[test]
fn after_a_failed_resume_exactly_one_connect_helps() {
    let failed = || {
        let mut bench = Bench::new();
        bench.command(resume("r", LastSeen::Unknown));
        assert_eq!(
            words(&bench.step(Input::Claimed(Ok(None)))),
            "not_resumable"
        );
        bench
    };
    let mut bench = failed();
    let again = bench.command(resume("r2", LastSeen::Unknown));
    assert_eq!(words(&again), "not_connected close:NotConnected");

    let mut bench = failed();
    bench.begin(identity());

    let mut bench = failed();
    bench.command(connect("c"));
    let refused = bench.step(Input::Authenticated(Err(crate::AuthFailure::Invalid)));
    assert_eq!(words(&refused), "unauthorized close:Unauthorized");
    assert_eq!(words(&bench.command(connect("c2"))), "");
}

#[test]
fn a_resume_that_the_store_could_not_answer_can_be_tried_again() {
    let mut bench = Bench::new();
    for _ in 0..3 {
        bench.pass(1000);
        assert_eq!(
            words(&bench.command(resume("r", LastSeen::Unknown))),
            "claim"
        );
        let failed = bench.step(Input::Claimed(Err(StoreFailure::Unavailable)));
        assert_eq!(words(&failed), "unavailable");
    }
    // Not for ever: the time for the first frames is bounded.
    assert_eq!(words(&bench.tick_after(7_000)), "close:ConnectTimeout");
}

#[test]
fn the_replay_begins_at_what_the_client_names_else_at_what_it_acknowledged() {
    let (p0, p1) = (id_of(0, 10), id_of(1, 20));
    assert_eq!(attach_positions(LastSeen::Unknown, &[p0]), None);
    assert_eq!(
        attach_positions(LastSeen::One(id_of(0, 5)), &[p0, p1]),
        Some(cursors(&[id_of(0, 5), p1])),
        "named earlier than acknowledged"
    );
    assert_eq!(
        attach_positions(LastSeen::Many(vec![id_of(1, 30), id_of(2, 1)]), &[p0, p1]),
        Some(cursors(&[p0, id_of(1, 30), id_of(2, 1)]))
    );
    assert_eq!(
        attach_positions(LastSeen::One(MessageId::ZERO), &[p0]),
        Some(cursors(&[p0])),
        "zero stands before every message"
    );
    assert_eq!(
        attach_positions(LastSeen::Many(Vec::new()), &[p0, p1]),
        Some(cursors(&[p0, p1]))
    );
}

#[test]
fn what_the_client_named_is_its_cursor_and_never_goes_back() {
    let named = id_at(100);
    let mut bench = Bench::resuming(LastSeen::One(named), stored());
    bench.step(restored(vec![named]));
    assert_eq!(detached_cursors(&mut bench), cursors(&[named]));

    let acknowledged = StoredSession {
        cursors: cursors(&[id_at(200)]),
        ..stored()
    };
    let mut bench = Bench::resuming(LastSeen::One(named), acknowledged);
    bench.step(restored(vec![named]));
    assert_eq!(detached_cursors(&mut bench), cursors(&[id_at(200)]));
}

#[test]
fn an_id_that_was_never_given_does_not_become_a_cursor() {
    let mut bench = Bench::resuming(LastSeen::One(id_at(9_000)), stored());
    // The store's clock stands at 50: the gateway begins there and tells a gap.
    bench.step(restored(vec![id_at(50)]));
    bench.command(Command::Ack {
        id: None,
        ack: sparkway_protocol::AckId::Message(id_at(60)),
    });
    assert_eq!(detached_cursors(&mut bench), cursors(&[id_at(60)]));
}

#[test]
fn a_resume_that_cannot_be_read_leaves_the_session_as_it_was() {
    let record = StoredSession {
        cursors: cursors(&[id_at(3)]),
        ..stored()
    };
    let mut bench = Bench::resuming(LastSeen::One(id_at(9)), record);
    let effects = bench.step(Input::Attached(Err(StoreFailure::Unavailable)));
    let [
        Effect::Send(_),
        Effect::Detach { epoch, cursors: at },
        Effect::Close(request),
    ] = effects.as_slice()
    else {
        panic!("{effects:?}");
    };
    assert_eq!((*epoch, at), (Epoch(4), &cursors(&[id_at(3)])));
    assert!(request.resume);
}

#[test]
fn a_drain_during_a_resume_is_told_after_resume_ack() {
    let mut bench = Bench::resuming(LastSeen::Unknown, stored());
    let drain = Input::Drain {
        reconnect_after_ms: 5,
    };
    assert_eq!(words(&bench.step(drain)), "");
    let effects = bench.step(restored(Vec::new()));
    assert_eq!(words(&effects), "resumed replay drain:5");
}

#[test]
fn a_drain_during_a_connect_is_told_after_connect_ack() {
    let mut bench = Bench::new();
    bench.command(connect("c"));
    bench.step(Input::Drain {
        reconnect_after_ms: 5,
    });
    bench.step(Input::Authenticated(Ok(identity())));
    let effects = bench.step(Input::Opened(Ok(opened())));
    assert_eq!(words(&effects), "connected drain:5");
}

#[test]
fn nothing_of_a_dead_epoch_is_written() {
    for end in [
        Input::Superseded { epoch: Epoch(2) },
        Input::Disconnect(sparkway_protocol::CloseReason::Superseded),
    ] {
        let mut bench = Bench::live();
        bench.command(publish("p", false));
        assert_eq!(words(&bench.step(end)), "close:Superseded");
        let late = Input::Stored {
            id: frame("p"),
            result: Ok(Some((id_at(1), false))),
        };
        assert_eq!(words(&bench.step(late)), "");
        let ended = Input::Ended { client_code: None };
        assert_eq!(words(&bench.step(ended)), "");
    }
}

#[test]
fn a_fenced_publish_is_answered_and_ends_the_connection() {
    let mut bench = Bench::live();
    bench.command(publish("p", false));
    let effects = bench.step(Input::Stored {
        id: frame("p"),
        result: Err(StoreFailure::Fenced),
    });
    assert_eq!(words(&effects), "superseded close:Superseded");
    assert_eq!(answers(&effects[0]), frame("p").as_ref());
}

#[test]
fn an_owner_that_wrote_its_record_again_is_superseded_only_by_a_later_epoch() {
    let mut bench = Bench::live();
    bench.step(Input::Reowned { epoch: Epoch(5) });
    bench.step(Input::Reowned { epoch: Epoch(3) });
    assert_eq!(bench.session.epoch(), Some(Epoch(5)));
    let former = Input::Superseded { epoch: Epoch(5) };
    assert_eq!(words(&bench.step(former)), "");
    let later = Input::Superseded { epoch: Epoch(6) };
    assert_eq!(words(&bench.step(later)), "close:Superseded");
}

#[test]
fn a_connect_that_finds_its_session_goes_on_where_the_record_stands() {
    let mut bench = Bench::new();
    bench.command(connect("c"));
    bench.step(Input::Authenticated(Ok(identity())));
    let record = StoredSession {
        cursors: cursors(&[id_of(1, 7)]),
        ..stored()
    };
    let effects = bench.step(Input::Claimed(Ok(Some(Box::new(claimed(record))))));
    assert_eq!(positions_of(&effects), Some(cursors(&[id_of(1, 7)])));
    assert_eq!(bench.session.epoch(), Some(Epoch(4)));
    let effects = bench.step(restored(vec![id_of(1, 7)]));
    assert!(matches!(
        effects.as_slice(),
        [Effect::Send(Event::Resumed { .. }), Effect::Replay]
    ));
}
