//! Topics of a session: their limit, and the order of a client's wishes.

use sparkway_protocol::Code;

use super::*;

fn asked(effect: &Effect) -> (Vec<&str>, Vec<(&str, Code)>) {
    let Effect::Subscribe(request) = effect else {
        panic!("{effect:?}");
    };
    let topics = request.topics.iter().map(TopicName::as_str).collect();
    let rejected = request
        .rejected
        .iter()
        .map(|rejected| (&*rejected.topic, rejected.code))
        .collect();
    (topics, rejected)
}

fn done(id: &str, names: &[&str]) -> Input {
    Input::Subscribed {
        id: frame(id),
        result: Ok(Box::new(granted(names))),
    }
}

fn bench_for(topics: usize) -> Bench {
    let mut bench = Bench::with(SessionSettings {
        topics_per_session: topics,
        ..SessionSettings::default()
    });
    bench.begin(identity());
    bench
}

#[test]
fn bad_names_are_refused_by_themselves_and_repeated_ones_count_once() {
    let mut bench = bench_for(2);
    let effects = bench.command(subscribe("s", &["a", "b b", "a", "b", "c"]));
    assert_eq!(
        asked(&effects[0]),
        (
            vec!["a", "b"],
            vec![("b b", Code::Invalid), ("c", Code::LimitExceeded)]
        )
    );
}

#[test]
fn topics_that_are_held_already_do_not_count_again() {
    let mut bench = bench_for(2);
    bench.command(subscribe("s1", &["a", "b"]));
    bench.step(done("s1", &["a", "b"]));
    let effects = bench.command(subscribe("s2", &["b", "a"]));
    assert_eq!(asked(&effects[0]), (vec!["b", "a"], vec![]));
}

#[test]
fn requests_under_way_at_once_do_not_pass_the_limit_together() {
    let mut bench = bench_for(2);
    bench.command(subscribe("s1", &["a", "b"]));
    let effects = bench.command(subscribe("s2", &["c"]));
    assert_eq!(
        asked(&effects[0]),
        (vec![], vec![("c", Code::LimitExceeded)])
    );
    bench.step(done("s1", &["a"]));
    bench.step(done("s2", &[]));
    // What was asked for and not granted is free again.
    let effects = bench.command(subscribe("s3", &["c", "d"]));
    assert_eq!(
        asked(&effects[0]),
        (vec!["c"], vec![("d", Code::LimitExceeded)])
    );
}

#[test]
fn a_failed_request_gives_its_room_back() {
    let mut bench = bench_for(1);
    bench.command(subscribe("s1", &["a"]));
    let failed = bench.step(Input::Subscribed {
        id: frame("s1"),
        result: Err(StoreFailure::Unavailable),
    });
    assert_eq!(words(&failed), "unavailable");
    let effects = bench.command(subscribe("s2", &["b"]));
    assert_eq!(asked(&effects[0]), (vec!["b"], vec![]));
}

#[test]
fn leaving_waits_for_the_join_before_it_and_the_next_join_for_the_leaving() {
    let mut bench = Bench::live();
    assert_eq!(words(&bench.command(subscribe("1", &["t"]))), "subscribe");
    assert_eq!(words(&bench.command(subscribe("2", &["u"]))), "subscribe");
    assert_eq!(words(&bench.command(unsubscribe("3", &["t"]))), "");
    assert_eq!(words(&bench.command(subscribe("4", &["t"]))), "");
    assert_eq!(words(&bench.step(done("1", &["t"]))), "acked");
    assert_eq!(words(&bench.step(done("2", &["u"]))), "acked unsubscribe");
    let left = Input::Unsubscribed {
        id: frame("3"),
        topics: vec!["t".into()],
        result: Ok(()),
    };
    assert_eq!(words(&bench.step(left)), "acked subscribe");
    assert_eq!(words(&bench.step(done("4", &["t"]))), "acked");
}

#[test]
fn a_wish_that_waits_counts_as_in_flight() {
    let mut bench = Bench::with(SessionSettings {
        publishes_in_flight: 2,
        ..SessionSettings::default()
    });
    bench.begin(identity());
    bench.command(subscribe("1", &["t"]));
    let wants = |bench: &Bench| bench.session.wants_frames(bench.place.around().settings);
    assert!(wants(&bench));
    bench.command(unsubscribe("2", &["t"]));
    assert!(!wants(&bench));
    bench.step(done("1", &["t"]));
    assert!(wants(&bench));
}

#[test]
fn a_history_request_is_cut_to_the_bounds_of_a_page() {
    for (asked, expected) in [(0, 1), (5, 5), (9999, 1000)] {
        let mut bench = Bench::live();
        let effects = bench.command(Command::History {
            id: None,
            topic: topic("t"),
            after: None,
            before: None,
            limit: asked,
            reverse: true,
        });
        let [Effect::Query { request, .. }] = effects.as_slice() else {
            panic!("{effects:?}");
        };
        let crate::HistoryRequest::History { limit, .. } = &**request else {
            panic!("{request:?}");
        };
        assert_eq!(*limit, expected);
    }
}

#[test]
fn a_publish_is_named_by_its_frame_id_and_only_by_that() {
    let mut bench = Bench::live();
    let digest = |effects: Vec<Effect>| match effects.as_slice() {
        [Effect::Append(request) | Effect::Announce(request)] => request.digest,
        other => panic!("{other:?}"),
    };
    let first = digest(bench.command(publish("p", false)));
    assert!(first.is_some());
    assert_eq!(digest(bench.command(publish("p", false))), first);
    assert_ne!(digest(bench.command(publish("q", false))), first);
    let Command::Publish {
        topic,
        payload,
        ephemeral,
        durability,
        exclude_self,
        ..
    } = publish("x", false)
    else {
        panic!("no publish");
    };
    let nameless = Command::Publish {
        id: None,
        topic,
        payload,
        ephemeral,
        durability,
        exclude_self,
        trace: None,
    };
    assert_eq!(digest(bench.command(nameless)), None);
}

#[test]
fn a_backend_subscribes_in_turn_and_the_client_is_not_answered() {
    let mut bench = bench_for(2);
    let topic = |name| TopicName::parse(name).unwrap();
    let after = MessageId::new(99).unwrap();
    bench.command(unsubscribe("u", &["a"]));
    let waits = bench.step(Input::Enlist(vec![
        (topic("a"), after),
        (topic("b"), after),
    ]));
    assert!(waits.is_empty(), "{waits:?}");
    let effects = bench.step(Input::Unsubscribed {
        id: frame("u"),
        topics: vec!["a".into()],
        result: Ok(()),
    });
    let subscribes = effects.iter().find_map(|effect| match effect {
        Effect::Subscribe(request) => Some(request),
        _ => None,
    });
    let request = subscribes.unwrap();
    assert!(request.by_backend && request.id.is_none());
    assert_eq!(
        request.since_each,
        [("a".into(), after), ("b".into(), after)]
    );
    let effects = bench.step(Input::Subscribed {
        id: None,
        result: Ok(Box::new(granted(&["a", "b"]))),
    });
    assert!(effects.is_empty(), "{effects:?}");
    // They count like those of the client.
    let effects = bench.command(subscribe("s", &["c"]));
    assert_eq!(
        asked(&effects[0]),
        (vec![], vec![("c", Code::LimitExceeded)])
    );
    // Leaving waits for the join before it, also when a backend wants it.
    bench.step(done("s", &[]));
    let effects = bench.step(Input::Delist(vec![topic("a")]));
    assert!(matches!(&effects[0], Effect::Unsubscribe { id: None, topics } if topics.len() == 1));
}
