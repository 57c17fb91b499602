//! One check per guarantee of [`Store`](crate::Store), for every backend.
//!
//! A test target makes the suite its own with `sparkway_store::conformance_suite!(fixture)`, where
//! `fixture` is an expression (it may await) that makes a [`Fixture`] of a new, empty store. The
//! macro and the checks come from one list below; a check that is not in the list is dead code,
//! which does not compile.

#![deny(dead_code, reason = "a check that is not registered would never run")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "this is test code: a failed check panics"
)]

mod append;
mod claim;
mod directory;
mod events;
mod feed;
mod fence;
mod fixture;
mod follower;
mod lease;
mod log;
mod loss;
mod presence;
mod records;
mod revoke;
mod sample;
mod sessions;

pub use fixture::Fixture;

/// Declares the public checks and the macro that registers them, from one list.
macro_rules! suite {
    ($d:tt $($area:ident { $($name:ident,)* })*) => {
        $($(
            #[doc = concat!("Checks that `", stringify!($name), "`.")]
            pub async fn $name(fixture: &dyn Fixture) {
                Box::pin($area::$name(fixture)).await;
            }
        )*)*

        /// Makes a test of every check of the suite. The argument is an expression that makes a
        /// [`Fixture`](crate::conformance::Fixture) of a new, empty store; it may await.
        #[macro_export]
        macro_rules! conformance_suite {
            ($d fixture:expr) => {
                $($(
                    #[::tokio::test(flavor = "multi_thread", worker_threads = 2)]
                    async fn $name() {
                        let fixture = $d fixture;
                        ::sparkway_store::conformance::$name(&fixture).await;
                    }
                )*)*
            };
        }
    };
}

suite! { $
    append {
        ids_rise_over_all_topics_of_a_partition,
        back_link_names_the_entry_before,
        back_links_of_one_batch_form_a_chain,
        repeat_is_stored_once_and_answers_the_first_id,
        repeat_on_another_node_is_stored_once,
        repeats_at_once_are_stored_once,
        repeat_within_one_batch_is_stored_once,
        digest_is_remembered_for_the_whole_window,
        batch_answers_in_order_with_a_failing_one_in_the_middle,
        cluster_key_is_the_same_on_every_node,
    }
    fence {
        fenced_publish_is_not_stored,
        publish_of_a_missing_session_is_not_stored,
        fence_holds_for_topics_of_every_partition,
        repeat_of_a_former_owner_answers_the_first_id,
        nothing_of_the_former_owner_is_stored_after_the_claim,
        old_epoch_writes_nothing,
        writes_to_a_missing_session_say_so,
        detach_answers_in_order_with_a_failing_one_in_the_middle,
    }
    log {
        pages_come_in_the_order_of_the_wants,
        page_that_holds_limit_entries_has_more,
        history_pages_both_directions,
        trimmed_log_shows_in_prev_of_first_survivor,
        idle_log_goes_and_its_tip_stays,
        tip_and_clock,
        payloads_of_every_encoding_round_trip,
        every_field_of_an_entry_round_trips,
        odd_topic_names_are_topics_of_their_own,
    }
    feed {
        live_topic_tells_its_tip,
        live_topic_misses_nothing_published_while_it_was_being_followed,
        feed_keeps_id_order_over_topics,
        every_node_hears_what_any_node_appends,
        announced_entry_is_in_the_log,
        following_again_answers_again,
        forget_stops_delivery,
        ephemeral_reaches_followers_and_is_not_in_the_log,
        odd_topic_names_are_heard_each_for_itself,
        reader_that_falls_behind_still_gets_everything,
        topics_can_be_followed_while_the_reader_is_behind,
        dropped_feed_holds_nobody_up,
    }
    sessions {
        session_round_trips,
        session_without_user_round_trips,
        odd_user_and_node_names_round_trip,
        repeated_open_is_one_session,
        late_repeat_of_an_open_takes_nothing_back,
        cursors_and_subscriptions_round_trip,
        remember_changes_only_what_it_names,
        ended_session_is_gone,
        session_ids_are_not_guessed_from_others,
    }
    claim {
        claim_moves_the_session_to_the_node,
        claim_of_a_detached_session_names_no_former_owner,
        claim_of_an_unknown_session_is_refused,
        generation_rules_of_claim,
        token_that_was_voided_stays_void_when_an_older_rotation_is_repeated,
        repeated_claim_with_one_nonce_is_one_claim,
        claims_of_two_nodes_with_one_nonce_are_two,
        two_claims_at_once_leave_one_owner,
        former_owner_is_told,
        former_owner_without_a_lease_is_told,
        only_one_survives_of_many_opens,
        only_one_of_a_dialect_ends_no_other_dialects_sessions,
        owner_of_a_removed_session_is_told,
        removed_session_is_not_written_again,
        one_user_may_have_many_sessions,
        restore_after_loss_raises_epoch,
        claim_after_a_lost_one_is_fenced_from_it,
        restore_replaces_only_an_older_record,
        restore_tells_the_owner_of_an_older_record,
    }
    directory {
        every_session_is_listed_whatever_the_page,
        sessions_of_a_user_are_listed_with_their_records,
        session_removed_by_an_operator_is_over,
        detached_session_can_be_removed,
        topics_are_listed_by_prefix,
        trimmed_log_keeps_its_tip_and_its_followers,
    }
    lease {
        leases_show_what_nodes_say_of_themselves,
        lapsed_lease_detaches_sessions,
        node_that_comes_back_keeps_its_sessions,
        released_lease_detaches_sessions,
        sessions_of_a_claimed_node_are_not_detached,
        expired_session_is_told_to_exactly_one_sweeper,
        session_expires_at_its_deadline_and_not_before,
        claimed_session_does_not_expire,
        last_session_of_a_user_is_named,
    }
    presence {
        a_user_comes_with_his_first_session_and_leaves_with_his_last,
        followers_of_a_topic_hear_who_comes_and_leaves,
        who_comes_back_within_the_grace_was_never_gone,
        who_stays_away_leaves_once_for_all_sweepers,
        members_of_a_dead_node_leave_once_after_the_grace,
        members_of_a_node_that_comes_back_stay,
        topics_of_the_gateway_remember_when_somebody_was_there_last,
        members_are_listed_whatever_the_page,
    }
    records {
        a_record_is_written_by_who_saw_it_last,
        of_many_writers_at_once_one_writes,
        records_are_listed_whatever_the_page,
    }
    revoke {
        a_revocation_is_told_to_all_nodes_and_kept_for_those_that_come_later,
        a_revocation_is_kept_once_until_the_later_end,
        a_revocation_ends_with_its_time,
        hundreds_of_revocations_are_all_read,
    }
    events {
        life_of_a_session_is_told_in_order,
        one_event_of_many_who_try,
        a_session_that_gives_way_is_closed,
        events_are_handed_to_one_node_until_they_are_settled,
        nothing_is_kept_where_nobody_is_told,
        who_comes_and_leaves_is_told_once_and_in_order,
        members_of_a_dead_node_are_told_once,
        events_of_topics_alone_are_kept_where_only_they_are_asked_for,
        events_of_presence_alone_are_kept_where_only_they_are_asked_for,
        events_of_sessions_alone_are_kept_where_only_they_are_asked_for,
    }
    loss {
        loss_is_reported_as_a_hole_and_ids_rise_over_it,
        every_loss_is_reported_in_order,
        lost_publish_is_stored_when_it_is_repeated,
        live_feed_is_told_of_a_loss_and_goes_on,
    }
}
