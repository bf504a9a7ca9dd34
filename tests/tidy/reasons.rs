//! Every reason and every limit is hit by a test. The tables say by which; a name that is gone is
//! found, and so is a reason or a key without a row. Most tests of limits set them where they are
//! kept; that each key leads there is what `src/server/tests.rs` tests.

use warren::config::KEYS;
use warren_core::reason::Reason;

use crate::assert_none;
use crate::source::{Source, sources};

/// What is hit, in which file, by which test.
type Row = (&'static str, &'static str, &'static str);

#[rustfmt::skip]
const REASONS: &[Row] = &[
    ("malformed", "net/src/reactor/tests/closing.rs", "refused_frames_are_answered_and_fatal_ones_close"),
    ("method-missing", "net/src/reactor/tests/closing.rs", "refused_frames_are_answered_and_fatal_ones_close"),
    ("bad-name", "core/src/shard/tests.rs", "a_direct_message_finds_its_user_by_name"),
    ("reserved-field", "core/src/shard/tests.rs", "objects_are_made_read_changed_found_and_deleted"),
    ("duplicate-field", "core/src/message/tests.rs", "faulty_bytes_are_refused_by_name"),
    ("nested-field", "net/src/gateway/tests/vectors.rs", "frames_that_are_no_message_have_the_outcome_of_the_vector"),
    ("field-missing", "core/src/shard/tests.rs", "objects_are_made_read_changed_found_and_deleted"),
    ("tick-rate-too-high", "core/src/shard/tests/worlds.rs", "a_world_ticks_as_often_as_worlds_may"),
    ("field-invalid", "core/src/shard/tests.rs", "objects_are_made_read_changed_found_and_deleted"),
    ("control-character", "core/src/message/tests.rs", "faulty_bytes_are_refused_by_name"),
    ("not-utf8", "net/src/gateway/tests/vectors.rs", "frames_that_are_no_message_have_the_outcome_of_the_vector"),
    ("doctype", "net/src/gateway/tests/vectors.rs", "frames_that_are_no_message_have_the_outcome_of_the_vector"),
    ("unknown-entity", "net/src/gateway/tests/vectors.rs", "frames_that_are_no_message_have_the_outcome_of_the_vector"),
    ("namespace", "net/src/gateway/tests/vectors.rs", "frames_that_are_no_message_have_the_outcome_of_the_vector"),
    ("processing-instruction", "net/src/gateway/tests/vectors.rs", "frames_that_are_no_message_have_the_outcome_of_the_vector"),
    ("too-many-fields", "core/src/message/tests.rs", "faulty_bytes_are_refused_by_name"),
    ("unknown-protocol", "tests/integration/bad_input.rs", "first_bytes_of_no_protocol_are_told_so"),
    ("proxy-invalid", "net/src/reactor/tests/proxied.rs", "a_proxy_that_names_no_client_is_closed"),
    ("upgrade-invalid", "net/src/reactor/tests/websocket.rs", "a_refused_upgrade_is_answered_in_http_and_counted"),
    ("header-too-large", "tests/integration/websocket.rs", "bombs_of_headers_and_fragments_are_refused_beside_a_user"),
    ("origin-refused", "tests/integration/websocket.rs", "pages_of_elsewhere_are_refused"),
    ("websocket-invalid", "net/src/reactor/tests/websocket.rs", "a_faulty_frame_ends_the_connection_behind_the_answers_to_those_before_it"),
    ("tls-failed", "net/src/reactor/tests/tls/handshakes.rs", "garbage_in_place_of_a_handshake_is_told_as_an_alert"),
    ("tls-required", "net/src/reactor/tests/tls.rs", "plaintext_is_refused_where_tls_is_required"),
    ("version-unsupported", "core/src/shard/tests.rs", "before_login_only_a_few_methods_are_answered"),
    ("not-logged-in", "core/src/shard/tests.rs", "before_login_only_a_few_methods_are_answered"),
    ("ticket-missing", "tests/integration/auth.rs", "whoever_has_no_ticket_that_holds_is_told_why_and_counted"),
    ("ticket-invalid", "tests/integration/auth.rs", "in_the_open_a_ticket_is_refused"),
    ("ticket-expired", "tests/integration/auth.rs", "whoever_has_no_ticket_that_holds_is_told_why_and_counted"),
    ("ticket-early", "core/src/authentication/tests.rs", "without_a_ticket_that_holds_nobody_logs_in"),
    ("ticket-audience", "tests/integration/auth.rs", "whoever_has_no_ticket_that_holds_is_told_why_and_counted"),
    ("forbidden", "tests/integration/auth.rs", "roles_say_who_may_use_a_method"),
    ("session-unknown", "core/src/shard/tests/sessions.rs", "nobody_resumes_after_logout_displacement_or_the_grace_time"),
    ("lobby", "core/src/shard/tests.rs", "a_direct_message_finds_its_user_by_name"),
    ("not-a-member", "core/src/shard/tests.rs", "members_of_a_room_hear_each_other_in_its_order"),
    ("not-owner", "core/src/shard/tests.rs", "objects_are_made_read_changed_found_and_deleted"),
    ("room-creation-disabled", "core/src/shard/tests/refusals.rs", "where_joining_makes_no_rooms_they_are_created"),
    ("banned", "tests/integration/admin.rs", "a_banned_user_is_out_also_after_a_restart_until_the_ban_ends"),
    ("other-partition", "core/src/shard/tests/tasks/effects.rs", "effects_are_carried_out_whole_or_not_at_all"),
    ("unknown-method", "tests/integration/connserver.rs", "strict_closes_on_an_unknown_method"),
    ("unknown-room", "core/src/shard/tests.rs", "a_room_that_was_created_stays_and_keeps_its_settings"),
    ("unknown-recipient", "core/src/shard/tests.rs", "a_direct_message_finds_its_user_by_name"),
    ("unknown-object", "core/src/shard/tests.rs", "objects_are_made_read_changed_found_and_deleted"),
    ("unknown-behaviour", "core/src/shard/tests/npcs.rs", "worlds_name_behaviours_that_somebody_has"),
    ("timeout", "net/src/reactor/tests/time.rs", "a_binary_client_is_closed_after_two_silent_heartbeats"),
    ("login-timeout", "net/src/reactor/tests/admission.rs", "whoever_does_not_log_in_in_time_is_closed_with_the_reason_in_its_protocol"),
    ("frame-timeout", "net/src/reactor/tests/admission.rs", "a_frame_that_has_begun_has_to_be_whole_in_time"),
    ("version-conflict", "core/src/shard/tests.rs", "objects_are_made_read_changed_found_and_deleted"),
    ("lease-lost", "core/src/shard/tests/tasks/leases.rs", "whoever_shows_an_old_token_changes_nothing"),
    ("effects-missing", "core/src/shard/tests/tasks/effects.rs", "effects_are_carried_out_whole_or_not_at_all"),
    ("task-pending", "core/src/shard/tests/tasks.rs", "a_task_with_a_key_is_done_once"),
    ("already-logged-in", "core/src/shard/tests.rs", "what_is_sent_behind_a_login_waits_for_it"),
    ("already-member", "core/src/shard/tests.rs", "members_of_a_room_hear_each_other_in_its_order"),
    ("already-watching", "core/src/shard/tests/objects.rs", "watchers_hear_every_version_until_they_no_longer_watch"),
    ("not-watching", "core/src/shard/tests/objects.rs", "watchers_hear_every_version_until_they_no_longer_watch"),
    ("name-taken", "core/src/shard/tests.rs", "a_room_that_was_created_stays_and_keeps_its_settings"),
    ("room-occupied", "core/src/shard/tests.rs", "a_room_that_was_created_stays_and_keeps_its_settings"),
    ("displaced", "tests/integration/rooms.rs", "a_direct_message_crosses_shards_and_a_second_login_displaces"),
    ("kicked", "tests/integration/admin.rs", "a_kicked_user_is_out_and_the_neighbours_stay"),
    ("taken-over", "core/src/shard/tests/sessions.rs", "of_two_resumes_with_one_token_the_later_takes_over"),
    ("resume-too-old", "core/src/shard/tests/sessions.rs", "who_missed_more_than_is_kept_is_told_so_and_may_log_in_anew"),
    ("frame-too-large", "tests/integration/bad_input.rs", "a_frame_over_the_limit_closes_its_connection_by_name"),
    ("object-too-large", "core/src/shard/tests.rs", "limits_are_answered_by_name"),
    ("effects-too-large", "core/src/shard/tests/refusals.rs", "an_event_with_too_large_effects_fails_whole"),
    ("message-rate", "net/src/reactor/tests/rates.rs", "a_message_over_the_rate_is_refused_and_the_next_in_time_is_run"),
    ("byte-rate", "net/src/reactor/tests/rates.rs", "garbage_over_the_byte_rate_closes"),
    ("fan-out-rate", "core/src/shard/tests/fan_out.rs", "who_makes_a_room_send_too_much_is_refused_before_a_number_is_taken"),
    ("too-many-connections", "tests/integration/addresses.rs", "an_address_is_counted_over_all_shards"),
    ("login-rate", "tests/integration/addresses.rs", "an_address_logs_in_so_often_over_all_shards"),
    ("account-login-rate", "core/src/shard/tests/admission.rs", "only_logins_that_are_granted_count_for_the_account"),
    ("room-full", "core/src/shard/tests.rs", "a_room_that_was_created_stays_and_keeps_its_settings"),
    ("world-full", "core/src/shard/tests/worlds.rs", "a_world_has_a_greatest_number_of_entities"),
    ("too-many-worlds", "core/src/shard/tests/worlds.rs", "a_shard_has_a_greatest_number_of_worlds_with_members"),
    ("too-many-npcs", "core/src/shard/tests/npcs.rs", "npcs_are_bounded_in_a_world_and_on_a_shard"),
    ("npcs-full", "core/src/shard/tests/npcs.rs", "npcs_are_bounded_in_a_world_and_on_a_shard"),
    ("too-fast", "core/src/shard/tests/worlds.rs", "moves_that_cannot_be_are_refused"),
    ("too-many-rooms", "core/src/shard/tests.rs", "limits_are_answered_by_name"),
    ("too-many-watches", "core/src/shard/tests/objects.rs", "a_session_watches_a_bounded_number_of_objects"),
    ("partition-full", "core/src/shard/tests.rs", "limits_are_answered_by_name"),
    ("partition-memory-full", "core/src/shard/tests/objects.rs", "state_is_bounded_in_bytes"),
    ("server-full", "core/src/shard/tests/objects.rs", "state_is_bounded_in_bytes"),
    ("too-many-unauthenticated", "net/src/reactor/tests/admission.rs", "the_newest_of_too_many_strangers_is_turned_away"),
    ("queue-full", "core/src/shard/tests/tasks.rs", "what_nobody_takes_in_time_is_given_up"),
    ("task-expired", "core/src/shard/tests/tasks.rs", "what_nobody_takes_in_time_is_given_up"),
    ("task-failed", "core/src/shard/tests/tasks/leases.rs", "an_attempt_that_was_begun_counts_and_the_last_one_is_the_end"),
    ("plugin-failed", "core/src/shard/tests/inline.rs", "whatever_cannot_be_fails_the_whole_call"),
    ("plugin-disabled", "plugins/src/tests/bad.rs", "a_plugin_that_is_too_slow_too_often_is_called_no_more_until_it_is_loaded_again"),
    ("busy", "net/src/reactor/tests/limits.rs", "a_full_table_accepts_again_when_a_slot_is_free"),
    ("log-behind", "core/src/shard/tests/durability.rs", "what_waits_is_bounded_and_refused_before_it_changes_anything"),
    ("not-durable", "core/src/shard/tests/durability.rs", "when_the_log_fails_nothing_is_promised_until_it_works"),
    ("level-unavailable", "core/src/shard/tests.rs", "objects_are_made_read_changed_found_and_deleted"),
    ("slow-consumer", "net/src/reactor/tests/closing.rs", "a_slow_consumer_gets_whole_messages_and_the_reason"),
    ("draining", "tests/integration/life.rs", "sigterm_tells_the_clients_and_ends_with_status_0"),
    ("quit", "net/src/reactor/tests/closing.rs", "quit_closes_without_a_word_more"),
    ("policy-request", "tests/integration/xml.rs", "a_flash_player_is_told_the_closed_policy"),
    ("peer-closed", "tests/integration/life.rs", "metrics_tell_what_happened"),
    ("socket-error", "net/src/reactor/tests/closing.rs", "a_reset_is_the_end"),
];

#[rustfmt::skip]
const KEYS_HIT: &[Row] = &[
    ("protocol.fixed", "net/src/reactor/tests/limits.rs", "a_fixed_port_speaks_one_protocol"),
    ("protocol.proxies", "tests/integration/addresses.rs", "clients_behind_a_proxy_are_counted_and_banned_where_they_are"),
    ("protocol.frame_bytes_max", "tests/integration/bad_input.rs", "a_frame_over_the_limit_closes_its_connection_by_name"),
    ("protocol.heartbeat_ms", "net/src/reactor/tests/time.rs", "heartbeats_are_as_far_apart_as_the_settings_say"),
    ("protocol.flash_policy", "tests/integration/xml.rs", "a_flash_player_is_told_the_configured_policy_and_may_then_play"),
    ("protocol.connserver.percent", "tests/integration/connserver.rs", "without_percent_encoding_text_is_as_raw_as_the_original_s"),
    ("protocol.connserver.legacy", "tests/integration/connserver.rs", "legacy_leaves_out_what_the_original_did_not_send"),
    ("protocol.connserver.strict", "tests/integration/connserver.rs", "strict_closes_on_an_unknown_method"),
    ("websocket.origins", "net/src/gateway/tests/websocket_handshake.rs", "listed_origins_are_welcome_and_no_others"),
    ("websocket.header_bytes_max", "tests/integration/websocket.rs", "bombs_of_headers_and_fragments_are_refused_beside_a_user"),
    ("tls.certificate", "tests/integration/tls.rs", "a_bad_certificate_is_a_bad_configuration"),
    ("tls.key", "tests/integration/tls.rs", "a_bad_certificate_is_a_bad_configuration"),
    ("tls.required", "net/src/reactor/tests/tls.rs", "plaintext_is_refused_where_tls_is_required"),
    ("tls.handshakes_per_turn_max", "net/src/reactor/tests/tls/handshakes.rs", "a_turn_makes_few_handshakes_and_the_others_wait_in_order"),
    ("limits.connections_max", "net/src/reactor/tests/limits.rs", "a_full_table_accepts_again_when_a_slot_is_free"),
    ("limits.unauthenticated_max", "net/src/reactor/tests/admission.rs", "the_newest_of_too_many_strangers_is_turned_away"),
    ("limits.connections_per_address_max", "tests/integration/addresses.rs", "an_address_is_counted_over_all_shards"),
    ("limits.logins_per_minute_per_address", "tests/integration/addresses.rs", "an_address_logs_in_so_often_over_all_shards"),
    ("limits.logins_per_minute_per_account", "core/src/shard/tests/admission.rs", "only_logins_that_are_granted_count_for_the_account"),
    ("limits.addresses_max", "core/src/admission/tests.rs", "of_too_many_that_logged_in_the_oldest_is_forgotten"),
    ("limits.login_ms", "net/src/reactor/tests/admission.rs", "whoever_does_not_log_in_in_time_is_closed_with_the_reason_in_its_protocol"),
    ("limits.tickets_per_turn_max", "core/src/shard/tests/logins.rs", "a_turn_checks_few_tickets_and_the_other_logins_wait_in_order"),
    ("limits.unauthenticated_frame_bytes_max", "net/src/reactor/tests/admission.rs", "a_stranger_sends_short_frames_only"),
    ("limits.frame_ms", "net/src/reactor/tests/admission.rs", "a_frame_that_has_begun_has_to_be_whole_in_time"),
    ("limits.messages_per_s", "net/src/reactor/tests/rates.rs", "a_message_over_the_rate_is_refused_and_the_next_in_time_is_run"),
    ("limits.messages_burst", "net/src/reactor/tests/rates.rs", "a_message_over_the_rate_is_refused_and_the_next_in_time_is_run"),
    ("limits.refusals_before_close", "net/src/reactor/tests/rates.rs", "whoever_goes_on_over_the_rate_is_closed_and_the_neighbour_notices_nothing"),
    ("limits.bytes_per_s", "net/src/reactor/tests/rates.rs", "too_many_bytes_wait_with_their_sender_and_none_is_lost"),
    ("limits.bytes_burst", "net/src/reactor/tests/rates.rs", "garbage_over_the_byte_rate_closes"),
    ("limits.worker_messages_per_s", "net/src/reactor/tests/rates.rs", "a_worker_has_rates_of_its_own_from_its_login_on"),
    ("limits.worker_bytes_per_s", "net/src/reactor/tests/rates.rs", "a_worker_has_rates_of_its_own_from_its_login_on"),
    ("limits.send_queue_bytes_max", "net/src/reactor/tests/closing.rs", "a_slow_consumer_gets_whole_messages_and_the_reason"),
    ("limits.send_queues_bytes_max", "net/src/reactor/tests/closing.rs", "what_waits_for_all_is_bounded_and_whoever_would_add_to_it_is_closed"),
    ("limits.partition_events_max", "core/src/shard/tests.rs", "a_full_queue_answers_busy_and_lets_the_session_try_again"),
    ("limits.rooms_per_session_max", "core/src/shard/tests.rs", "limits_are_answered_by_name"),
    ("limits.presence_members_max", "core/src/shard/tests/crowd.rs", "a_large_room_is_told_its_count_once_a_second"),
    ("limits.gather_members_min", "tests/integration/crowd.rs", "what_was_gathered_is_heard_before_a_server_ends"),
    ("limits.gather_ms", "core/src/shard/tests/crowd.rs", "a_crowd_hears_the_first_message_at_once_and_the_next_ones_together"),
    ("limits.fan_out_bytes_per_s", "core/src/shard/tests/fan_out.rs", "who_makes_a_room_send_too_much_is_refused_before_a_number_is_taken"),
    ("limits.fan_out_burst_bytes", "core/src/shard/tests/fan_out.rs", "what_was_sent_counts_once_for_each_member"),
    ("limits.worlds_max", "core/src/shard/tests/worlds.rs", "a_shard_has_a_greatest_number_of_worlds_with_members"),
    ("limits.world_tick_hz_max", "core/src/shard/tests/worlds.rs", "a_world_ticks_as_often_as_worlds_may"),
    ("limits.world_entities_max", "core/src/shard/tests/worlds.rs", "a_world_has_a_greatest_number_of_entities"),
    ("limits.world_npcs_max", "core/src/shard/tests/npcs.rs", "npcs_are_bounded_in_a_world_and_on_a_shard"),
    ("limits.npcs_max", "core/src/shard/tests/npcs.rs", "npcs_are_bounded_in_a_world_and_on_a_shard"),
    ("limits.world_bytes_per_s", "core/src/world/tests.rs", "a_budget_slows_the_far_cells_first_and_starves_none"),
    ("limits.frame_stall_ms", "core/src/shard/tests/worlds.rs", "who_takes_no_frames_is_told_all_when_it_can_and_closed_when_it_takes_too_long"),
    ("limits.object_bytes_max", "core/src/shard/tests.rs", "limits_are_answered_by_name"),
    ("limits.objects_per_partition_max", "core/src/shard/tests.rs", "limits_are_answered_by_name"),
    ("limits.partition_bytes_max", "core/src/shard/tests/objects.rs", "state_is_bounded_in_bytes"),
    ("limits.state_bytes_max", "core/src/shard/tests/objects.rs", "state_is_bounded_in_bytes"),
    ("limits.watches_per_session_max", "core/src/shard/tests/objects.rs", "a_session_watches_a_bounded_number_of_objects"),
    ("limits.mesh_staging_bytes_max", "core/src/shard/tests/objects.rs", "notices_are_dropped_when_the_way_to_their_room_is_full"),
    ("limits.bans_max", "src/admin/tests/bans.rs", "bans_hold_are_told_and_end"),
    ("limits.room_grace_ms", "core/src/shard/tests/objects.rs", "a_room_outlives_its_time_while_a_way_to_its_watchers_is_full"),
    ("limits.detached_sessions_max", "core/src/shard/tests/sessions.rs", "one_detached_session_too_many_ends_the_oldest"),
    ("limits.replay_messages_max", "core/src/shard/tests/sessions.rs", "who_missed_more_than_is_kept_is_told_so_and_may_log_in_anew"),
    ("limits.replay_bytes_max", "core/src/shard/tests/sessions.rs", "who_missed_more_than_is_kept_is_told_so_and_may_log_in_anew"),
    ("limits.replay_links_max", "core/src/shard/tests/sessions.rs", "who_missed_more_than_is_kept_is_told_so_and_may_log_in_anew"),
    ("limits.tasks_per_partition_max", "core/src/shard/tests/tasks.rs", "what_nobody_takes_in_time_is_given_up"),
    ("limits.log_wait_bytes_max", "core/src/shard/tests/durability.rs", "what_waits_is_bounded_and_refused_before_it_changes_anything"),
    ("limits.replay_bytes_per_s", "core/src/shard/tests/sessions.rs", "who_asks_for_much_takes_no_resume_from_the_others"),
    ("limits.join_creates_rooms", "core/src/shard/tests/refusals.rs", "where_joining_makes_no_rooms_they_are_created"),
    ("worlds.npc_turn_us", "core/src/shard/tests/npcs.rs", "npcs_that_do_not_fit_wait_and_nobody_waits_for_them"),
    ("plugins.files", "tests/integration/plugins.rs", "bad_plugins_end_a_start_and_disturb_no_server"),
    ("plugins.call_us_max", "tests/integration/plugins.rs", "a_slow_plugin_is_called_no_more_and_nothing_else_is_disturbed"),
    ("plugins.strikes_max", "tests/integration/plugins.rs", "a_slow_plugin_is_called_no_more_and_nothing_else_is_disturbed"),
    ("session.grace_ms", "core/src/shard/tests/sessions.rs", "without_a_grace_time_sessions_end_with_their_connections"),
];

/// Sections of the configuration that hold limits, or what a client notices.
const SECTIONS: &[&str] =
    &["limits.", "protocol.", "session.", "websocket.", "tls.", "worlds.", "plugins."];

fn findings(wanted: &[&str], rows: &[Row], sources: &[Source]) -> Vec<String> {
    let rowless = |word: &&&str| !rows.iter().any(|(hit, ..)| hit == *word);
    let rowless = wanted.iter().filter(rowless).map(|word| format!("no test hits `{word}`"));
    let superfluous = rows.iter().filter(|(hit, ..)| !wanted.contains(hit));
    let superfluous = superfluous.map(|(hit, ..)| format!("there is no `{hit}` any more"));
    let is_there = |(_, path, test): &Row| {
        let source = sources.iter().find(|source| source.path == *path);
        source.is_some_and(|source| has_test(&source.code, test))
    };
    let missing = rows.iter().filter(|row| !is_there(row));
    let missing = missing.map(|(hit, path, test)| format!("`{hit}`: {path} has no test `{test}`"));
    rowless.chain(superfluous).chain(missing).collect()
}

/// Whether the code has a test of that name.
fn has_test(code: &str, name: &str) -> bool {
    let Some(at) = code.find(&format!("fn {name}()")) else { return false };
    let before = &code[..at];
    before.rfind("#[test]").is_some_and(|mark| !before[mark..].contains('}'))
}

#[test]
fn every_reason_is_hit_by_a_test() {
    let words: Vec<&str> = Reason::ALL.iter().map(|reason| reason.word()).collect();
    assert_none(&findings(&words, REASONS, &sources()));
}

#[test]
fn every_limit_is_hit_by_a_test() {
    let keys = KEYS.iter().map(|key| key.path);
    let is_wanted = |path: &&str| SECTIONS.iter().any(|section| path.starts_with(section));
    let keys: Vec<&str> = keys.filter(is_wanted).collect();
    assert_none(&findings(&keys, KEYS_HIT, &sources()));
}

#[test]
fn what_no_test_hits_is_found() {
    let text =
        "#[test]\nfn one() {}\nfn helper() {}\n// fn gone()\n#[test]\n#[expect(x)]\nfn two() {}";
    let sources = [Source::new("a/tests.rs", text)];
    for (wanted, row, count) in [
        ("a", ("a", "a/tests.rs", "one"), 0),
        ("a", ("a", "a/tests.rs", "two"), 0),
        ("a", ("a", "a/tests.rs", "helper"), 1),
        ("a", ("a", "a/tests.rs", "gone"), 1),
        ("a", ("a", "b/tests.rs", "one"), 1),
        ("a", ("b", "a/tests.rs", "one"), 2),
    ] {
        let findings = findings(&[wanted], &[row], &sources);
        assert_eq!(findings.len(), count, "{wanted} {row:?}: {findings:?}");
    }
}
