//! The contract suite of the storage ports: one case for each MUST of their documentation, and for each method what it
//! does with what belongs to another tenant. A case gets a fresh, empty storage and panics on a breach.
//!
//! An adapter runs all of it with [`storage_contract!`](crate::storage_contract), which makes one test of each case.
//! The suite itself needs no runtime; the macro names `tokio`, which the calling crate must have as a dependency.
#![allow(clippy::unwrap_used, reason = "a case fails by panicking, as every test")]

pub mod access_log;
pub mod access_rules;
pub mod activity;
pub mod aggregate;
pub mod aggregate_numbers;
pub mod aggregate_rules;
pub mod broker;
pub mod broker_sessions;
pub mod dead_letters;
pub mod device_events;
pub mod device_filters;
pub mod device_logins;
pub mod devices;
pub mod ended_logins;
mod fixture;
pub mod history;
pub mod import;
pub mod latest;
pub mod presence;
mod race;
mod reading;
pub mod retained;
pub mod retention;
pub mod scan;
pub mod telemetry;
pub mod tenants;
pub mod token_key;
pub mod tokens;
pub mod topic_rules;
pub mod usage;
pub mod users;
pub mod write;

/// Expands to one `#[tokio::test]` per case of the suite.
///
/// `$make` names an `async fn()` of the calling module whose result is, or dereferences to, a
/// [`Storage`](crate::Storage) without entries. The result lives until the case is over, so it can hold a temporary
/// directory.
///
/// ```ignore
/// mod memory {
///     async fn make() -> pocket_ports::Storage {
///         pocket_storage_memory::storage()
///     }
///     pocket_ports::storage_contract!(make);
/// }
/// ```
///
/// `storage_contract!(history of make)` expands to the cases of [`TelemetryStore`](crate::TelemetryStore) only.
#[macro_export]
macro_rules! storage_contract {
    (history of $make:ident) => {
        $crate::storage_contract! { @history $make }
    };
    ($make:ident) => {
        $crate::storage_contract! { @cases $make, tenants:
            a_new_tenant_is_found_by_id_and_by_name
            an_unknown_tenant_is_absent
            a_taken_tenant_name_is_a_conflict
            tenants_are_listed_by_id_and_all_are_counted
            an_update_changes_what_it_names_and_nothing_else
            an_update_of_an_unknown_tenant_is_not_found
            a_new_name_that_another_tenant_has_is_a_conflict
            a_change_of_the_payload_policy_is_logged
            a_deleted_tenant_takes_all_it_owns_along
            a_deleted_tenant_leaves_others_as_they_are
            a_deleted_tenant_leaves_its_name_free
            a_deleted_tenant_is_logged
        }
        $crate::storage_contract! { @cases $make, users:
            a_new_user_is_found_by_id_and_by_name
            an_unknown_user_is_absent
            a_taken_username_is_a_conflict_in_its_tenant_only
            a_user_of_an_unknown_tenant_is_not_found
            users_of_another_tenant_are_out_of_reach
            users_are_listed_by_id_and_all_of_the_tenant_are_counted
            an_update_changes_what_it_names_and_nothing_else
            a_new_name_that_another_user_has_is_a_conflict
            the_last_administrator_of_a_tenant_stays_one
            the_last_platform_administrator_stays_one
            an_administrator_beside_another_may_go
            a_tenant_without_administrators_may_lose_users
            of_two_demotions_at_once_one_succeeds
            of_two_deletions_at_once_one_succeeds
            of_two_platform_administrators_in_two_tenants_one_stays
            a_new_password_replaces_the_hash_and_is_counted
            a_deleted_user_is_gone_and_the_name_is_free
            another_role_a_new_password_and_a_deletion_are_logged
            what_ends_no_access_of_a_user_is_not_logged
            any_tells_whether_there_is_a_user
        }
        $crate::storage_contract! { @cases $make, ended_logins:
            an_ended_login_is_remembered_until_its_tokens_are_over
            ended_logins_of_one_user_are_not_those_of_another
            all_logins_of_a_user_end_together
            when_too_many_logins_were_ended_one_by_one_all_end
            logins_whose_tokens_are_over_make_room
            a_deleted_user_leaves_no_ended_logins
        }
        $crate::storage_contract! { @cases $make, devices:
            a_new_device_comes_back_as_it_was
            a_new_device_is_not_online_and_never_was
            an_unknown_device_is_absent
            a_taken_device_name_is_a_conflict_in_its_tenant_only
            a_device_of_an_unknown_tenant_is_not_found
            devices_of_another_tenant_are_out_of_reach
            devices_are_listed_by_id_and_all_of_the_tenant_are_counted
            an_update_changes_what_it_names_and_nothing_else
            an_update_of_an_unknown_device_is_not_found
            a_new_name_that_another_device_has_is_a_conflict
            a_change_of_the_switch_or_the_expiry_is_logged
            a_deleted_device_is_gone_and_its_name_is_free
            a_deleted_device_is_logged
        }
        $crate::storage_contract! { @cases $make, device_logins:
            a_login_is_found_by_its_user_name_and_by_its_device
            a_new_login_replaces_the_one_before
            a_taken_user_name_is_a_conflict_in_its_tenant_only
            logins_of_another_tenant_are_out_of_reach
            a_new_login_and_a_removed_one_are_logged
            a_login_goes_with_its_device_and_its_tenant
            imported_logins_come_with_new_devices_and_to_those_that_are_there
            of_an_import_that_is_refused_nothing_stays
            a_hash_is_replaced_while_it_is_the_one_that_was_read
        }
        $crate::storage_contract! { @cases $make, topic_rules:
            topic_rules_are_read_in_the_order_in_which_they_were_set
            topic_rules_are_those_of_their_tenant_and_go_with_it
            of_topic_rules_that_are_set_at_once_one_list_stays
        }
        $crate::storage_contract! { @cases $make, token_key:
            of_a_new_storage_nothing_is_known
            the_first_key_that_claims_is_remembered
            of_two_keys_that_claim_at_once_both_hear_of_the_same
            a_replaced_key_is_the_one_that_is_remembered
            a_token_of_any_tenant_is_known_of
        }
        $crate::storage_contract! { @cases $make, device_filters:
            a_label_filter_means_the_whole_label
            a_name_filter_without_a_star_means_the_whole_name
            a_star_in_a_name_filter_stands_for_any_text
            only_the_star_is_special_in_a_name_filter
            a_name_filter_that_no_name_can_meet_finds_nothing
            an_online_filter_tells_connected_devices_from_others
            all_conditions_of_a_filter_must_hold
        }
        $crate::storage_contract! { @cases $make, activity:
            activity_is_recorded_and_changes_nothing_else
            activity_of_unknown_devices_is_passed_over
            the_latest_of_several_activities_of_a_device_holds
            the_time_of_the_last_message_does_not_go_back
            activity_of_thousands_of_devices_is_recorded
            text_that_a_database_cannot_keep_hinders_no_other
        }
        $crate::storage_contract! { @cases $make, presence:
            a_device_is_online_from_a_connection_on_until_it_goes
            a_device_shows_the_connection_it_opened_last
            a_device_is_online_as_long_as_one_node_says_so
            of_two_nodes_at_once_both_are_heard
            a_node_that_starts_has_nothing_online_and_leaves_others
            a_deleted_device_that_was_online_is_gone
        }
        $crate::storage_contract! { @cases $make, device_events:
            events_come_back_as_they_were_the_newest_first
            events_of_another_tenant_are_out_of_reach
            the_last_events_of_each_device_are_kept
            pages_give_every_event_once_while_events_are_added
            a_restart_is_an_event_of_those_that_were_online
            events_go_with_their_device_and_their_tenant
        }
        $crate::storage_contract! { @cases $make, dead_letters:
            a_dead_letter_comes_back_as_it_was_the_newest_first
            dead_letters_of_another_tenant_are_out_of_reach
            only_dead_letters_of_the_device_asked_for_are_listed
            pages_give_every_letter_once_while_letters_are_added
            a_deleted_letter_is_gone_and_others_stay
            a_message_is_stored_in_place_of_its_letter
            of_several_who_store_a_letter_one_does
            dead_letters_go_with_their_device_and_their_tenant
        }
        $crate::storage_contract! { @cases $make, tokens:
            a_token_gives_access_to_its_device
            a_credential_tells_the_policy_of_its_tenant_and_whether_rules_hold
            an_unknown_token_gives_access_to_nothing
            the_switch_of_the_device_shows_in_its_credential
            a_new_expiry_holds_for_the_present_token
            a_replaced_token_stops_at_once_without_a_grace
            a_replaced_token_works_until_the_end_of_its_grace
            a_grace_does_not_outlast_the_tokens_own_expiry
            a_new_expiry_does_not_prolong_a_grace
            a_grace_does_not_outlast_a_new_expiry_of_the_present_token
            tokens_before_the_present_one_stop_in_any_case
            replacing_the_token_of_an_unknown_device_is_not_found
            a_replaced_token_is_logged
            a_deleted_device_leaves_no_credential
        }
        $crate::storage_contract! { @history $make }
        $crate::storage_contract! { @cases $make, access_log:
            the_log_is_empty_at_first
            entries_are_ordered_and_read_from_a_place_on
            the_log_is_read_in_parts
            a_change_that_fails_is_not_logged
            a_storage_that_works_says_so
        }
        $crate::storage_contract! { @cases $make, access_rules:
            a_new_rule_comes_back_as_it_was
            an_unknown_rule_is_absent
            a_rule_of_an_unknown_tenant_or_device_is_not_found
            rules_of_another_tenant_are_out_of_reach
            rules_are_listed_by_id_apart_for_tenant_and_device
            a_tenant_and_each_device_have_a_number_of_rules
            of_two_rules_for_the_last_place_one_is_added
            a_new_rule_and_a_deleted_one_are_logged
            rules_go_with_their_device_and_their_tenant
        }
        $crate::storage_contract! { @cases $make, retained:
            a_deleted_tenant_takes_its_retained_messages_along
            a_topic_has_the_newest_retained_message
            a_retained_message_that_expired_is_not_loaded
            nodes_do_not_see_each_other
        }
        $crate::storage_contract! { @cases $make, broker_sessions:
            sessions_of_a_device_are_told_with_what_they_hold
            what_a_device_connected_with_is_told_where_no_session_is_stored
            a_session_that_people_end_is_forgotten_and_logged
            digests_of_client_ids_stay_what_they_are
        }
        $crate::storage_contract! { @cases $make, broker:
            nothing_is_stored_at_first
            a_session_comes_back_as_it_was
            a_session_is_written_in_place_of_what_was_known
            a_session_that_ended_is_gone_with_all_that_was_its_own
            very_many_sessions_may_end_at_once
            what_a_client_gave_up_does_not_come_back
            messages_wait_in_the_order_of_their_deliveries
            a_message_goes_with_its_last_delivery
            thousands_of_changes_are_committed
            messages_are_stored_with_the_changes
            a_session_of_an_unknown_device_is_passed_over
            a_deleted_device_takes_its_sessions_along
        }
    };
    (@history $make:ident) => {
        $crate::storage_contract! { @cases $make, telemetry:
            messages_come_back_as_they_were
            an_empty_batch_is_stored
            ids_grow_with_the_order_of_messages
            a_message_of_an_unknown_device_has_no_id_and_hinders_no_other
            a_message_for_the_device_of_another_tenant_has_no_id
            a_message_of_a_deleted_device_has_no_id
            a_device_that_was_unknown_once_is_known_when_it_is_there
            messages_of_a_deleted_device_are_gone
            thousands_of_topics_are_told_apart
            a_batch_of_twenty_thousand_is_stored_whole
            two_batches_at_once_are_both_stored
            a_message_is_put_aside
        }
        $crate::storage_contract! { @cases $make, write:
            batches_are_numbered_in_the_order_of_their_commits
            a_batch_without_anything_has_a_number
            the_batches_of_each_writer_are_numbered_by_themselves
            ids_grow_in_the_order_of_the_batches
            batches_that_are_handed_over_at_once_are_numbered_as_their_ids_grow
            a_batch_that_is_refused_leaves_no_hole
        }
        $crate::storage_contract! { @cases $make, history:
            history_of_another_tenant_is_out_of_reach
            a_history_is_read_both_ways
            messages_of_the_same_time_are_ordered_by_id
            late_messages_come_in_their_place
            from_is_included_and_to_is_not
            pages_give_every_row_once_both_ways
            pages_stay_right_while_rows_are_added
            the_last_page_has_no_next
            only_the_device_asked_for_is_read
            topic_filters_mean_what_mqtt_says
            a_topic_filter_holds_through_all_pages
            conditions_of_a_query_hold_together
        }
        $crate::storage_contract! { @cases $make, scan:
            a_walk_goes_from_device_to_device_and_from_old_to_new
            a_walk_meets_every_condition
            a_walk_over_many_rows_gives_each_once
            a_walk_over_many_devices_gives_each_once
            a_walk_over_long_payloads_takes_little_at_a_time
            a_walk_stays_right_while_rows_and_devices_come_and_go
            a_walk_of_another_tenant_is_out_of_reach
        }
        $crate::storage_contract! { @cases $make, import:
            messages_that_are_not_there_are_stored
            an_import_that_is_repeated_stores_nothing
            messages_that_differ_in_anything_are_stored
            a_message_that_is_twice_in_an_import_is_stored_once
            what_was_appended_is_found
            payloads_are_compared_to_the_letter
            imported_messages_are_in_their_place
            an_import_with_an_unknown_device_stores_nothing
            an_import_for_the_device_of_another_tenant_stores_nothing
            of_two_imports_at_once_each_message_is_stored_once
            thousands_of_messages_of_many_devices_are_imported_once
            an_empty_import_is_done
        }
        $crate::storage_contract! { @cases $make, aggregate:
            every_aggregate_is_of_the_points_of_its_bucket
            buckets_begin_at_multiples_of_the_interval
            only_points_of_the_range_count
            series_come_in_the_order_asked_for
            devices_and_keys_are_told_apart
            each_topic_has_a_series_where_that_is_asked_for
            truth_values_are_one_and_zero
            a_number_and_the_key_dollar_are_told_apart
            too_many_series_by_topic_are_refused
            anything_but_a_number_is_no_point
            late_messages_count_in_their_bucket
            of_points_of_one_time_the_id_tells_the_first_and_the_last
            points_of_another_tenant_are_out_of_reach
            a_topic_filter_leaves_out_other_points
            a_deleted_device_has_no_points
        }
        $crate::storage_contract! { @cases $make, aggregate_rules:
            keys_of_rules_stand_for_values_of_topics
            of_one_topic_a_key_of_rules_stands_for_one_path
        }
        $crate::storage_contract! { @cases $make, aggregate_numbers:
            numbers_of_any_size_are_points
            a_sum_beyond_the_range_of_a_double_is_not_finite
            thousands_of_points_give_what_plain_addition_gives
        }
        $crate::storage_contract! { @cases $make, latest:
            the_last_value_of_each_key_is_told
            a_late_message_replaces_no_later_value
            of_messages_of_one_time_the_id_tells_the_last
            values_come_back_as_they_were_published
            values_of_another_tenant_are_out_of_reach
            a_deleted_device_has_no_values
            keys_are_those_of_all_messages
            of_too_many_keys_the_newest_are_told
            each_topic_has_its_own_value_of_a_key
            last_values_by_topic_are_those_of_the_log_and_of_what_is_older
            a_key_without_a_letter_has_a_value
            each_of_thousands_of_shapes_has_its_value
            what_is_imported_takes_its_place_among_the_values
            what_is_removed_for_its_age_is_told_no_more
            what_is_removed_for_its_size_is_told_no_more
            a_key_whose_last_message_went_has_the_one_before
        }
        $crate::storage_contract! { @cases $make, usage:
            usage_is_of_all_messages_of_the_tenant
            the_log_takes_its_payloads_and_a_number_of_bytes_each
            nothing_is_used_where_nothing_is
        }
        $crate::storage_contract! { @cases $make, retention:
            everything_is_kept_when_nothing_is_said
            messages_that_are_too_old_go_and_younger_ones_stay
            a_message_of_exactly_the_age_stays
            late_messages_that_are_too_old_go_too
            what_was_received_lately_stays_however_old_it_says_to_be
            what_is_held_back_stays
            how_far_a_tenant_is_pruned_is_known_until_its_retention_is_changed
            the_oldest_go_until_a_history_is_within_its_bytes
            a_history_within_its_bytes_stays
            pruning_leaves_other_tenants_as_they_are
        }
    };
    (@cases $make:ident, $noun:ident: $($case:ident)+) => {
        mod $noun {
            $(
                #[tokio::test]
                async fn $case() {
                    let storage = super::$make().await;
                    $crate::contract::$noun::$case(&storage).await;
                }
            )+
        }
    };
}

#[cfg(test)]
mod tests {
    /// A case that nobody lists would never run.
    #[test]
    fn every_case_is_listed() {
        let list = include_str!("mod.rs");
        let files = [
            include_str!("access_log.rs"),
            include_str!("access_rules.rs"),
            include_str!("activity.rs"),
            include_str!("aggregate.rs"),
            include_str!("aggregate_numbers.rs"),
            include_str!("aggregate_rules.rs"),
            include_str!("dead_letters.rs"),
            include_str!("device_events.rs"),
            include_str!("device_filters.rs"),
            include_str!("broker.rs"),
            include_str!("broker_sessions.rs"),
            include_str!("device_logins.rs"),
            include_str!("devices.rs"),
            include_str!("history.rs"),
            include_str!("import.rs"),
            include_str!("latest.rs"),
            include_str!("presence.rs"),
            include_str!("retained.rs"),
            include_str!("retention.rs"),
            include_str!("scan.rs"),
            include_str!("telemetry.rs"),
            include_str!("tenants.rs"),
            include_str!("tokens.rs"),
            include_str!("topic_rules.rs"),
            include_str!("usage.rs"),
            include_str!("users.rs"),
            include_str!("write.rs"),
        ];
        for line in files.iter().flat_map(|file| file.lines()) {
            if let Some(case) = line.strip_prefix("pub async fn ") {
                let name = case.split('(').next().unwrap();
                assert!(list.lines().any(|line| line.trim() == name), "{name} is not listed in storage_contract!");
            }
        }
    }
}
