use sparkway_protocol::Format;

use super::topic;
use crate::{Talk, tests};

#[test]
fn every_text_reads_and_writes_as_its_transcript_says() {
    tests::check("room", Format::Room, || Talk::Room(topic("lobby").unwrap()));
}

#[test]
fn a_room_name_that_is_no_topic_name_has_no_topic() {
    assert_eq!(topic("lobby").unwrap().as_str(), "room:lobby");
    assert!(topic(&"x".repeat(251)).is_none());
}
