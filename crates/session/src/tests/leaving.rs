//! How a session is left: ended, or kept for a resume.

use super::*;

fn left_with(settings: SessionSettings, goodbye: Option<bool>, code: Option<u16>) -> String {
    let mut bench = Bench::with(settings);
    bench.begin(identity());
    if let Some(resume) = goodbye {
        let close = Command::Close {
            id: frame("bye"),
            resume,
        };
        assert_eq!(words(&bench.command(close)), "acked");
    }
    let effects = bench.step(Input::Ended { client_code: code });
    assert!(bench.session.is_closed());
    words(&effects)
}

#[test]
fn only_a_close_with_1000_ends_the_session() {
    let ended = |code| left_with(SessionSettings::default(), None, code);
    assert_eq!(ended(Some(1000)), "end");
    for code in [None, Some(1001), Some(1005), Some(1006), Some(4000)] {
        assert_eq!(ended(code), "detach", "{code:?}");
    }
}

#[test]
fn ws_close_says_whether_the_client_means_to_resume() {
    let ended = |goodbye, code| left_with(SessionSettings::default(), Some(goodbye), code);
    assert_eq!(ended(true, Some(1000)), "detach");
    assert_eq!(ended(false, Some(1000)), "end");
    assert_eq!(ended(true, None), "detach");
    // A goodbye whose close frame was lost is no close with 1000: the client may think again.
    assert_eq!(ended(false, None), "detach");
}

#[test]
fn keep_on_close_keeps_a_session_unless_the_client_gives_it_up() {
    let keeping = || SessionSettings {
        keep_on_close: true,
        ..SessionSettings::default()
    };
    assert_eq!(left_with(keeping(), None, Some(1000)), "detach");
    assert_eq!(left_with(keeping(), Some(false), Some(1000)), "end");
}

#[test]
fn a_goodbye_can_be_taken_back() {
    let mut bench = Bench::live();
    for resume in [false, true] {
        bench.command(Command::Close { id: None, resume });
    }
    let effects = bench.step(Input::Ended {
        client_code: Some(1000),
    });
    assert_eq!(words(&effects), "detach");
}

#[test]
fn an_end_before_the_session_is_in_use_writes_nothing() {
    let mut bench = Bench::new();
    bench.command(connect("c"));
    bench.step(Input::Authenticated(Ok(identity())));
    let ended = Input::Ended {
        client_code: Some(1000),
    };
    assert_eq!(words(&bench.step(ended)), "");
    assert_eq!(words(&bench.step(Input::Opened(Ok(opened())))), "");
}

#[test]
fn a_drain_lets_the_client_go_on_until_it_is_disconnected() {
    let mut bench = Bench::live();
    let drain = Input::Drain {
        reconnect_after_ms: 70,
    };
    assert_eq!(words(&bench.step(drain)), "drain:70");
    assert_eq!(words(&bench.command(publish("p", false))), "append");
    let effects = bench.step(Input::Disconnect(sparkway_protocol::CloseReason::Drain));
    assert_eq!(words(&effects), "detach close:Drain");
    let [_, Effect::Close(request)] = effects.as_slice() else {
        panic!("{effects:?}");
    };
    assert!(request.resume);
}
