//! Which test shows which row of the contract.

const TOPICS: &str = include_str!("topics.rs");
const ROOM: &str = include_str!("room.rs");
const CROSSING: &str = include_str!("crossing.rs");

/// Rows of the sources that are about the server, and their test.
const ROWS: &[(&[&str], &str)] = &[
    (&["X-05"], "a_message_reaches_every_dialect_in_its_own_form"),
    (
        &["X-07"],
        "a_wrong_kind_of_frame_and_a_long_one_close_with_their_codes",
    ),
    (
        &["X-08"],
        "a_client_that_says_nothing_is_closed_where_it_must_say_who_it_is",
    ),
    (
        &["X-09", "S1-49"],
        "a_draining_node_says_when_to_come_back_and_closes_with_1001",
    ),
    (
        &["S1-01", "S1-02", "S1-03", "S1-09"],
        "a_token_in_the_url_counts_before_others_and_a_bad_one_closes_with_1008",
    ),
    (
        &["S1-04", "S1-05", "S1-06"],
        "a_first_message_authenticates_and_nothing_else_may_come_first",
    ),
    (
        &["S1-07", "S1-08"],
        "the_session_cookie_authenticates_from_allowed_origins_only",
    ),
    (
        &["S1-10"],
        "a_token_that_runs_out_is_announced_and_can_be_replaced",
    ),
    (
        &["S1-20", "S1-21", "S1-22", "S1-23", "S1-24"],
        "topics_are_subscribed_and_left_with_the_answers_of_the_source",
    ),
    (
        &["S1-25", "S1-61"],
        "subscriptions_belong_to_the_connection_and_end_with_it",
    ),
    (
        &["S1-26", "S1-29"],
        "refused_topics_are_named_with_the_rule_and_the_others_hold",
    ),
    (
        &["S1-27"],
        "a_publish_is_answered_and_its_message_id_is_stored_once",
    ),
    (
        &["S1-28"],
        "since_replays_what_was_missed_and_says_whether_all_of_it",
    ),
    (
        &["S1-30", "S1-32", "S1-33"],
        "silence_for_a_minute_closes_and_any_frame_breaks_it",
    ),
    (
        &["S1-62", "S1-63", "S1-64"],
        "what_is_no_frame_is_answered_and_ten_in_a_row_close",
    ),
    (
        &["S3-01", "S3-03", "S3-04", "S3-05", "S3-07"],
        "a_text_reaches_everybody_in_the_room_once_and_unchanged",
    ),
    (&["S3-06"], "all_sessions_hear_the_texts_in_one_order"),
    (
        &["S3-02", "S3-14", "S3-16"],
        "a_session_that_left_hears_nothing_and_the_others_go_on",
    ),
    (
        &["S3-08", "S3-09", "S3-10"],
        "pings_are_answered_and_binary_is_ignored",
    ),
    (
        &["S3-11", "S3-12", "S3-13"],
        "the_node_pings_and_ends_sessions_that_do_not_answer",
    ),
    (
        &["S3-15"],
        "a_room_that_ends_with_its_node_closes_with_1001",
    ),
    (
        &["S3-17"],
        "the_path_names_the_room_and_no_name_is_the_default_one",
    ),
    (
        &["S3-18"],
        "two_nodes_over_redis_are_one_room_and_one_topic",
    ),
    (&["S3-19"], "a_slow_session_does_not_delay_the_others"),
    (&["S3-20"], "since_replays_the_rooms_log_as_plain_texts"),
];

/// The server's rows of source 1, by number.
const SERVER_TOPICS: &[u8] = &[
    1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 32, 33, 61, 62, 63,
    64,
];

#[test]
fn every_server_row_has_a_test_that_exists() {
    for (rows, test) in ROWS {
        let declared = format!("async fn {test}()");
        assert!(
            [TOPICS, ROOM, CROSSING]
                .iter()
                .any(|file| file.contains(&declared)),
            "{rows:?}: no test {test}"
        );
    }
    let wanted = SERVER_TOPICS
        .iter()
        .map(|row| format!("S1-{row:02}"))
        .chain((1..=20).map(|row| format!("S3-{row:02}")));
    for row in wanted {
        let shown = ROWS.iter().any(|(rows, _)| rows.contains(&row.as_str()));
        assert!(shown, "{row} has no test");
    }
}
