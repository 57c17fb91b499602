use sparkway_protocol::{
    Code, Command, Encoding, Event, Format, FrameId, Outcome, Payload, Refused,
};

use super::{Conversation, Party};
use crate::spark::tests::events;
use crate::{Talk, tests};

fn state() -> Conversation {
    Conversation {
        versions: vec![1],
        party: Some(Party {
            client_id: "web-1".into(),
            resume: true,
        }),
        topic: super::topic("c-9"),
    }
}

fn fresh() -> Conversation {
    Conversation {
        versions: vec![1, 2],
        ..Conversation::default()
    }
}

#[test]
fn every_frame_reads_and_writes_as_its_transcript_says() {
    tests::check("conversation", Format::Conversation, || {
        Talk::Conversation(state())
    });
}

fn connect(state: &mut Conversation, fields: &str) -> Result<Command, Code> {
    let frame = format!(r#"{{"type":"connect","timestamp":"2024-01-01T00:00:00.000Z"{fields}}}"#);
    super::decode(state, &frame).map_err(|refused| refused.code)
}

#[test]
fn the_first_connect_says_who_it_is_and_a_second_one_changes_nothing() {
    let mut state = fresh();
    let ping = r#"{"type":"ping","timestamp":"2024-01-01T00:00:00.000Z"}"#;
    let early = super::decode(&mut state, ping).unwrap_err();
    assert_eq!(early.code, Code::NotConnected);
    let fields = r#","clientId":"a.b:c_d-1","version":"2.7.1","resume":false"#;
    assert!(connect(&mut state, fields).is_ok());
    let party = state.party.clone().unwrap();
    assert_eq!((&*party.client_id, party.resume), ("a.b:c_d-1", false));
    assert!(connect(&mut state, r#","clientId":"other","version":"1""#).is_ok());
    assert_eq!(state.party, Some(party));
    assert!(super::decode(&mut state, ping).is_ok());
}

#[test]
fn bad_client_ids_and_versions_are_refused_by_name() {
    let long = "x".repeat(129);
    for id in ["", "a b", "ä", "a/b", &long] {
        let fields = format!(r#","clientId":"{id}","version":"1""#);
        assert_eq!(connect(&mut fresh(), &fields), Err(Code::Invalid), "{id}");
    }
    let fields = format!(r#","clientId":"{}","version":"1""#, "x".repeat(128));
    assert!(connect(&mut fresh(), &fields).is_ok());
    assert_eq!(
        connect(&mut fresh(), r#","version":"1""#),
        Err(Code::Invalid)
    );
    assert_eq!(
        connect(&mut fresh(), r#","clientId":"a""#),
        Err(Code::Invalid)
    );
    for version in ["3", "0.9", "v1", "", "1x", "-1"] {
        let fields = format!(r#","clientId":"a","version":"{version}""#);
        let refused = connect(&mut fresh(), &fields);
        assert_eq!(refused, Err(Code::Unsupported), "{version}");
    }
    assert!(fresh().party.is_none());
}

#[test]
fn timestamps_are_iso_8601() {
    let mut state = state();
    let mut ping = |text: &str| {
        let frame = format!(r#"{{"type":"ping","timestamp":"{text}"}}"#);
        super::decode(&mut state, &frame).is_ok()
    };
    for good in [
        "2024-01-01T00:00:00.000Z",
        "2024-01-01T00:00:00Z",
        "2024-01-01T00:00:00.123456",
        "2024-01-01T01:00:00+01:00",
    ] {
        assert!(ping(good), "{good}");
    }
    for bad in [
        "now",
        "",
        "1704067200000",
        "2024-01-01",
        "2024-01-01T00:00:00 UTC",
    ] {
        assert!(!ping(bad), "{bad}");
    }
    assert!(!ping(&format!("2024-01-01T00:00:00.{}Z", "0".repeat(40))));
}

#[test]
fn content_loses_control_characters_but_newline_and_tab() {
    let frame = r#"{"type":"message","clientId":"web-1","timestamp":"2024-01-01T00:00:00Z","messageId":"m","content":"a\u0000b\tc\r\nd\u001b[31m\u007f\u0085<b>\u202e"}"#;
    let command = super::decode(&mut state(), frame).unwrap();
    let Command::Publish { payload, .. } = command else {
        panic!("{command:?}");
    };
    let said = super::said(&payload).unwrap();
    assert_eq!(said, "ab\tc\nd[31m<b>\u{202e}");
}

#[test]
fn a_response_is_found_by_the_message_it_answers() {
    let payload = super::response("m-\"1\"", "hi\n", "2024-01-01T00:00:00.000Z");
    assert_eq!(super::answered(&payload).as_deref(), Some("m-\"1\""));
    assert_eq!(super::said(&payload), None);
    let other = Payload::json(bytes::Bytes::from_static(b"{\"type\":\"response\"}"));
    assert_eq!(super::answered(&other), None);
}

#[test]
fn no_prefix_of_a_frame_is_taken_for_one() {
    let frame = r#"{"type":"message","clientId":"web-1","content":"x","timestamp":"2024-01-01T00:00:00Z","messageId":"m"}"#;
    assert!(super::decode(&mut state(), frame).is_ok());
    for end in 0..frame.len() {
        assert!(super::decode(&mut state(), frame.get(..end).unwrap()).is_err());
    }
}

fn told(event: &Event) -> Option<String> {
    let framed = crate::encode_at(Format::Conversation, event, 1_704_067_200_000)?;
    let (_, payload) = framed.frames().next().unwrap();
    Some(str::from_utf8(payload).unwrap().to_owned())
}

#[test]
fn a_pong_tells_the_nodes_time_and_what_the_ping_said() {
    let frame = r#"{"type":"ping","timestamp":"2023-12-31T23:59:59.000Z"}"#;
    let Ok(Command::Ping { id: Some(id) }) = super::decode(&mut state(), frame) else {
        panic!("no ping");
    };
    let outcome = Outcome::Done;
    let answer = told(&Event::Acked { id, outcome });
    let text = r#"{"type":"pong","timestamp":"2024-01-01T00:00:00.000Z","echo":"2023-12-31T23:59:59.000Z"}"#;
    assert_eq!(answer.as_deref(), Some(text));
}

#[test]
fn too_fast_is_told_in_the_words_of_the_contract() {
    let id = FrameId::parse("m-1").ok();
    let refused = Refused::new(Code::RateLimited, "more than 20 frames per second").answering(id);
    let text = r#"{"type":"error","error":"Rate limit exceeded","timestamp":"2024-01-01T00:00:00.000Z","messageId":"m-1"}"#;
    assert_eq!(told(&Event::Refused(refused)).as_deref(), Some(text));
}

#[test]
fn of_the_log_a_client_is_told_responses_and_not_its_own_messages() {
    let answer = super::response("m-1", "hi \"you\"", "2024-01-01T00:00:01.000Z");
    let text = r#"{"type":"response","messageId":"m-1","content":"hi \"you\"","timestamp":"2024-01-01T00:00:01.000Z"}"#;
    let event = events::message(answer);
    assert_eq!(told(&event).as_deref(), Some(text));
    // The log's entries are framed once for all readers, who have no common time.
    assert!(crate::encode(Format::Conversation, &event).is_some());
    let frame = r#"{"type":"message","clientId":"web-1","content":"x","timestamp":"2024-01-01T00:00:00Z","messageId":"m"}"#;
    let own = events::payload(Encoding::Json, frame.as_bytes());
    assert_eq!(told(&events::message(own)), None);
}
