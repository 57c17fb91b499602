//! Which test shows which row of the contract.

use std::collections::BTreeSet;
use std::process::Command;

/// Rows of the sources that are about the server, and their test.
const ROWS: &[(&[&str], &str)] = &[
    (&["X-05"], "a_message_reaches_every_dialect_in_its_own_form"),
    (
        &["X-02"],
        "the_chat_and_its_rest_paths_share_a_port_at_the_path_of_the_source",
    ),
    (
        &["X-11"],
        "a_token_in_the_url_counts_before_others_and_a_bad_one_closes_with_1008",
    ),
    (
        &["X-07"],
        "a_wrong_kind_of_frame_and_a_long_one_close_with_their_codes",
    ),
    (&["X-07"], "a_conversation_keeps_the_rules_of_frames"),
    (&["X-07"], "a_chat_keeps_the_rules_of_frames"),
    (
        &["X-08"],
        "a_client_that_says_nothing_is_closed_where_it_must_say_who_it_is",
    ),
    (
        &["X-09", "S1-49"],
        "a_draining_node_says_when_to_come_back_and_closes_with_1001",
    ),
    (
        &["X-09"],
        "a_draining_node_tells_conversations_when_to_come_back",
    ),
    (&["X-09"], "a_draining_node_closes_its_chats_with_1001"),
    (
        &["S1-01", "S1-02", "S1-03", "S1-09"],
        "a_token_in_the_url_counts_before_others_and_a_bad_one_closes_with_1008",
    ),
    (
        &["S1-03"],
        "a_route_may_answer_a_bad_token_with_a_status_instead",
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
        &["S1-62", "S1-64"],
        "what_is_no_frame_is_answered_and_ten_in_a_row_close",
    ),
    (
        &["S1-63"],
        "what_breaks_a_connection_closes_it_with_1011_and_a_failed_request_does_not",
    ),
    (
        &["S2-01", "S2-02", "S2-20", "S2-22"],
        "a_connect_is_confirmed_and_pings_are_answered",
    ),
    (
        &["S2-03", "S2-04"],
        "versions_and_client_ids_that_are_not_served_close_with_their_codes",
    ),
    (&["S2-06"], "who_does_not_say_who_it_is_in_time_is_closed"),
    (
        &["S2-05", "S2-30", "S2-31", "S2-33", "S2-37"],
        "a_client_comes_back_to_its_conversation_and_what_it_missed",
    ),
    (
        &["S2-21"],
        "a_conversation_that_is_silent_for_a_minute_is_closed",
    ),
    (
        &["S2-32", "S2-34", "S2-40", "S2-47"],
        "messages_are_validated_and_malformed_ones_keep_the_connection",
    ),
    (
        &["S2-35"],
        "a_repeated_message_is_stored_once_and_its_response_sent_again",
    ),
    (&["S2-36"], "a_message_without_a_response_in_time_is_named"),
    (
        &["S2-48"],
        "too_many_messages_are_refused_in_the_words_of_the_contract_and_a_flood_is_closed",
    ),
    (
        &["S2-49"],
        "a_conversation_from_another_machine_needs_tls_where_that_is_asked_for",
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
    (
        &["S4-01", "S4-60"],
        "the_chat_and_its_rest_paths_share_a_port_at_the_path_of_the_source",
    ),
    (
        &[
            "S4-02", "S4-03", "S4-04", "S4-05", "S4-08", "S4-12", "S4-63",
        ],
        "bad_credentials_close_with_the_codes_of_the_source",
    ),
    (
        &["S4-06", "S4-07", "S4-11"],
        "a_second_connection_replaces_the_first_on_any_node_and_nobody_hears_of_it",
    ),
    (
        &["S4-07"],
        "of_many_connections_at_once_exactly_one_survives",
    ),
    (
        &["S4-06", "S4-63"],
        "a_limit_of_one_connection_per_user_does_not_keep_the_newest_out",
    ),
    (
        &["S4-11"],
        "who_comes_back_within_the_grace_was_never_offline",
    ),
    (
        &["S4-10", "S4-20", "S4-43", "S4-44", "S4-51", "S4-52"],
        "the_first_frames_come_in_the_order_of_the_source_and_others_hear_of_it",
    ),
    (
        &["S4-09", "S4-60", "S4-61"],
        "users_register_log_in_and_are_shown",
    ),
    (
        &["S4-60", "S4-61"],
        "of_many_who_register_a_name_at_once_one_has_it",
    ),
    (
        &["S4-23", "S4-60"],
        "who_registers_or_guesses_too_often_is_told_when_to_come_again",
    ),
    (
        &["S4-61"],
        "nobody_registers_or_logs_in_where_users_come_from_their_tokens",
    ),
    (
        &["S4-09"],
        "who_is_online_is_so_again_after_the_store_lost_everything",
    ),
    (
        &["S4-20", "S4-21", "S4-22", "S4-23", "S4-63", "X-10"],
        "errors_have_the_texts_of_the_source_and_the_connection_stays",
    ),
    (
        &["S4-23"],
        "who_sends_too_fast_is_told_so_in_the_words_of_the_contract",
    ),
    (
        &[
            "S4-30", "S4-31", "S4-32", "S4-33", "S4-36", "S4-41", "S4-42", "S4-62", "S4-64", "X-12",
        ],
        "a_message_is_stored_sent_delivered_and_read_in_this_order_on_two_nodes",
    ),
    (
        &["S4-36", "X-05"],
        "a_spark_client_is_told_the_same_and_its_ack_may_be_what_counts",
    ),
    (&["S4-37"], "both_sides_of_a_conversation_see_one_order"),
    (
        &["S4-34", "S4-35"],
        "who_is_offline_is_sent_what_waits_when_he_comes",
    ),
    (
        &["S4-31", "S4-35"],
        "a_message_whose_node_was_killed_before_it_was_in_the_inbox_comes_from_the_log",
    ),
    (&["S4-35"], "a_switch_leaves_what_waited_to_the_history"),
    (
        &["S4-38"],
        "a_retry_under_the_clients_own_name_is_the_same_message",
    ),
    (&["S4-39", "S4-40"], "typing_is_told_and_ends_by_itself"),
    (
        &["S4-45"],
        "of_very_many_online_the_first_by_name_are_listed_and_all_are_counted",
    ),
    (
        &["S4-53"],
        "above_the_limit_the_list_is_not_sent_to_everybody",
    ),
    (
        &["S4-51", "S4-52"],
        "of_several_who_leave_at_once_all_contacts_are_sent_the_list",
    ),
    (
        &["S4-60"],
        "messages_over_http_have_the_rate_of_a_users_frames",
    ),
    (&["S4-52"], "presence_may_be_told_to_contacts_only"),
    (&["S4-50"], "the_node_pings_and_drops_who_does_not_answer"),
    (
        &["S4-54"],
        "users_of_a_killed_node_go_offline_once_and_were_last_seen_then",
    ),
];

/// Tests that run in one layout: what they show is one connection's and asks no store, or they lay
/// out their nodes themselves.
const ALONE: &[&str] = &[
    // Time that passes on one connection; a node that goes away, or does not answer.
    "a_client_that_says_nothing_is_closed_where_it_must_say_who_it_is",
    "silence_for_a_minute_closes_and_any_frame_breaks_it",
    "who_does_not_say_who_it_is_in_time_is_closed",
    "a_conversation_that_is_silent_for_a_minute_is_closed",
    "the_node_pings_and_ends_sessions_that_do_not_answer",
    "the_node_pings_and_drops_who_does_not_answer",
    "a_draining_node_says_when_to_come_back_and_closes_with_1001",
    "a_room_that_ends_with_its_node_closes_with_1001",
    "a_draining_node_tells_conversations_when_to_come_back",
    "a_draining_node_closes_its_chats_with_1001",
    // Frames, handshakes and rates that are judged before anything is asked.
    "a_token_in_the_url_counts_before_others_and_a_bad_one_closes_with_1008",
    "the_session_cookie_authenticates_from_allowed_origins_only",
    "a_wrong_kind_of_frame_and_a_long_one_close_with_their_codes",
    "a_route_may_answer_a_bad_token_with_a_status_instead",
    "a_conversation_from_another_machine_needs_tls_where_that_is_asked_for",
    "who_sends_too_fast_is_told_so_in_the_words_of_the_contract",
    "a_conversation_keeps_the_rules_of_frames",
    "a_chat_keeps_the_rules_of_frames",
    "who_registers_or_guesses_too_often_is_told_when_to_come_again",
    "messages_over_http_have_the_rate_of_a_users_frames",
    "nobody_registers_or_logs_in_where_users_come_from_their_tokens",
    // Their own nodes.
    "a_message_whose_node_was_killed_before_it_was_in_the_inbox_comes_from_the_log",
    "what_breaks_a_connection_closes_it_with_1011_and_a_failed_request_does_not",
    "of_several_who_leave_at_once_all_contacts_are_sent_the_list",
    "two_nodes_over_redis_are_one_room_and_one_topic",
    "bad_credentials_close_with_the_codes_of_the_source",
    "users_of_a_killed_node_go_offline_once_and_were_last_seen_then",
    "who_is_online_is_so_again_after_the_store_lost_everything",
];

/// The server's rows of source 1, by number.
const SERVER_TOPICS: &[u8] = &[
    1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 32, 33, 61, 62, 63,
    64,
];

/// The server's rows of source 2, by number.
const SERVER_CONVERSATION: &[u8] = &[
    1, 2, 3, 4, 5, 6, 20, 21, 22, 30, 31, 32, 33, 34, 35, 36, 37, 40, 47, 48, 49,
];

/// The rows of source 4, all of which are about the server.
const SERVER_CHAT: &[u8] = &[
    1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 20, 21, 22, 23, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39,
    40, 41, 42, 43, 44, 45, 50, 51, 52, 53, 54, 60, 61, 62, 63, 64,
];

/// The common rows that are not shown by the tests of Spark (`tests/cluster/rows.rs`): those of
/// all dialects, or of others.
const COMMON: &[u8] = &[2, 5, 7, 8, 9, 10, 11, 12];

/// Rows that are about client libraries: the JavaScript client shows them, and
/// `clients/js/test/rows.test.ts` fails when one has no test.
const CLIENT_TOPICS: &[u8] = &[
    31, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 60,
];
const CLIENT_CONVERSATION: &[u8] = &[
    10, 11, 12, 13, 14, 15, 16, 38, 41, 42, 43, 44, 45, 46, 50, 51,
];

/// The numbers that rows of a source have in the contract.
fn numbered(ranges: &[std::ops::RangeInclusive<u8>]) -> Vec<u8> {
    ranges.iter().cloned().flatten().collect()
}

#[test]
fn every_row_is_the_servers_or_a_client_librarys() {
    let topics = numbered(&[1..=10, 20..=33, 40..=55, 60..=64]);
    let conversation = numbered(&[1..=6, 10..=16, 20..=22, 30..=38, 40..=51]);
    for (all, server, client) in [
        (topics, SERVER_TOPICS, CLIENT_TOPICS),
        (conversation, SERVER_CONVERSATION, CLIENT_CONVERSATION),
    ] {
        let mut known = [server, client].concat();
        known.sort_unstable();
        known.dedup();
        assert_eq!(known, all);
    }
}

#[test]
fn every_server_row_has_a_test_that_exists() {
    let tests = tests();
    for (rows, test) in ROWS {
        let module = tests.iter().find_map(|known| {
            let module = known.strip_suffix(test)?.strip_suffix("::")?;
            (!module.contains("::")).then_some(module)
        });
        let module = module.unwrap_or_else(|| panic!("{rows:?}: no test {test}"));
        if ALONE.contains(test) {
            continue;
        }
        // As it stands, and in the two other layouts.
        let others = ["embedded", "one_redis", "two_nodes"];
        let others = others.map(|layout| tests.contains(&format!("{module}::{layout}::{test}")));
        let count = others.into_iter().filter(|&there| there).count();
        assert_eq!(count, 2, "{rows:?}: {test} does not run in all layouts");
    }
    let wanted = SERVER_TOPICS
        .iter()
        .map(|row| format!("S1-{row:02}"))
        .chain(SERVER_CONVERSATION.iter().map(|row| format!("S2-{row:02}")))
        .chain((1..=20).map(|row| format!("S3-{row:02}")))
        .chain(SERVER_CHAT.iter().map(|row| format!("S4-{row:02}")))
        .chain(COMMON.iter().map(|row| format!("X-{row:02}")));
    for row in wanted {
        let shown = ROWS.iter().any(|(rows, _)| rows.contains(&row.as_str()));
        assert!(shown, "{row} has no test");
    }
}

/// Names of all tests in this binary.
fn tests() -> BTreeSet<String> {
    let this = std::env::current_exe().expect("this binary");
    let output = Command::new(this)
        .args(["--list", "--format", "terse"])
        .output()
        .expect("it runs");
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| line.strip_suffix(": test"))
        .map(str::to_owned)
        .collect()
}
