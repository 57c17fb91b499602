//! The parts of the suite in which a cluster differs from one server: routing, sharded channels,
//! fences in other partitions, losses.

use crate::redis_support::fixture::{OnCluster, OwnCluster};

macro_rules! checks {
    ($fixture:expr => $($name:ident,)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let fixture = $fixture;
                sparkway_store::conformance::$name(&fixture).await;
            }
        )*
    };
}

checks! { OnCluster::start() =>
    ids_rise_over_all_topics_of_a_partition,
    back_links_of_one_batch_form_a_chain,
    repeat_on_another_node_is_stored_once,
    digest_is_remembered_for_the_whole_window,
    batch_answers_in_order_with_a_failing_one_in_the_middle,
    cluster_key_is_the_same_on_every_node,
    fenced_publish_is_not_stored,
    publish_of_a_missing_session_is_not_stored,
    fence_holds_for_topics_of_every_partition,
    nothing_of_the_former_owner_is_stored_after_the_claim,
    detach_answers_in_order_with_a_failing_one_in_the_middle,
    pages_come_in_the_order_of_the_wants,
    idle_log_goes_and_its_tip_stays,
    tip_and_clock,
    every_field_of_an_entry_round_trips,
    odd_topic_names_are_topics_of_their_own,
    live_topic_tells_its_tip,
    live_topic_misses_nothing_published_while_it_was_being_followed,
    feed_keeps_id_order_over_topics,
    every_node_hears_what_any_node_appends,
    following_again_answers_again,
    forget_stops_delivery,
    ephemeral_reaches_followers_and_is_not_in_the_log,
    odd_topic_names_are_heard_each_for_itself,
    reader_that_falls_behind_still_gets_everything,
    odd_user_and_node_names_round_trip,
    repeated_open_is_one_session,
    session_ids_are_not_guessed_from_others,
    claim_moves_the_session_to_the_node,
    repeated_claim_with_one_nonce_is_one_claim,
    former_owner_is_told,
    only_one_survives_of_many_opens,
    owner_of_a_removed_session_is_told,
    leases_show_what_nodes_say_of_themselves,
    lapsed_lease_detaches_sessions,
    released_lease_detaches_sessions,
    expired_session_is_told_to_exactly_one_sweeper,
    last_session_of_a_user_is_named,
    a_user_comes_with_his_first_session_and_leaves_with_his_last,
    followers_of_a_topic_hear_who_comes_and_leaves,
    who_comes_back_within_the_grace_was_never_gone,
    who_stays_away_leaves_once_for_all_sweepers,
    members_of_a_dead_node_leave_once_after_the_grace,
    members_of_a_node_that_comes_back_stay,
    topics_of_the_gateway_remember_when_somebody_was_there_last,
    members_are_listed_whatever_the_page,
    a_record_is_written_by_who_saw_it_last,
    of_many_writers_at_once_one_writes,
    records_are_listed_whatever_the_page,
    life_of_a_session_is_told_in_order,
    one_event_of_many_who_try,
    events_are_handed_to_one_node_until_they_are_settled,
    who_comes_and_leaves_is_told_once_and_in_order,
    members_of_a_dead_node_are_told_once,
}

checks! { OwnCluster::start() =>
    restore_after_loss_raises_epoch,
    loss_is_reported_as_a_hole_and_ids_rise_over_it,
    live_feed_is_told_of_a_loss_and_goes_on,
}
