use sparkway_protocol::{Command, Format};

use crate::{Talk, tests};

#[test]
fn every_frame_reads_and_writes_as_its_transcript_says() {
    tests::check("topics", Format::Topics, || Talk::Plain);
}

#[test]
fn auth_in_use_is_a_refresh_and_everything_else_stays_what_it_is() {
    let auth = super::decode(r#"{"type":"auth","token":"t"}"#).unwrap();
    assert!(matches!(super::in_use(auth), Command::Refresh { .. }));
    let ping = super::decode(r#"{"type":"ping"}"#).unwrap();
    assert_eq!(super::in_use(ping.clone()), ping);
    assert_eq!(super::in_use(super::connect()), super::connect());
}

#[test]
fn no_prefix_of_a_frame_is_taken_for_one() {
    let frame = r#"{"type":"subscribe","topics":["a","b"],"since":{"a":"1"},"messageId":"x"}"#;
    for end in 0..frame.len() {
        let prefix = frame.get(..end).unwrap();
        assert!(super::decode(prefix).is_err());
    }
}
