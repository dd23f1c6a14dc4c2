//! Every counter has a test that has seen it move.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Each counter with a test that names it: the test's file from the root of the repository, and its function.
const SEEN: &[(&str, &str, &str)] = &[
    // The kernel's programs.
    ("started", LOSSES, "a_full_ring_loses_exactly_what_it_counts"),
    ("ended", LOSSES, "a_full_ring_loses_exactly_what_it_counts"),
    ("unsampled", TRACE_CONTEXT, "contexts_are_taken_as_the_standard_says"),
    ("ring_full", LOSSES, "a_full_ring_loses_exactly_what_it_counts"),
    ("in_flight_full", LOSSES, "too_many_open_spans_are_counted_at_their_start_and_at_their_end"),
    ("no_goroutine", PROBES_LOSSES, "what_is_not_where_it_should_be_is_counted"),
    ("no_request", PROBES_LOSSES, "what_is_not_where_it_should_be_is_counted"),
    ("abandoned", PROBES_LOSSES, "ends_that_were_missed_and_starts_that_were_missed"),
    ("end_without_start", LOSSES, "an_end_without_a_start_is_counted"),
    ("unknown_protocol", "probes/tests/http_server/requests.rs", "encrypted_connections_and_http2"),
    ("foreign_binary", PROBES_LOSSES, "processes_that_are_not_selected_and_files_attached_twice"),
    ("unknown_site", PROBES_LOSSES, "a_site_of_a_kind_that_nobody_knows_is_counted"),
    ("unselected_process", LIFE, "of_two_processes_of_one_file_only_the_selected_one_is_watched"),
    ("route_site", TRAPS, "a_third_trap_that_brings_no_route_goes_again_and_does_not_come_back_soon"),
    ("route_of_copy", TRAPS, "a_program_that_copies_requests_takes_one_trap_more_for_each_mux_passed"),
    ("router_site", "tests/tests/routers_traps.rs", "what_gin_matches_takes_a_third_trap"),
    ("request_gone", "probes/tests/http2_server/requests.rs", "a_request_whose_memory_is_used_again"),
    ("without_route", TRAPS, "the_third_trap_can_be_switched_off"),
    ("read_fault", PROBES_LOSSES, "what_is_not_where_it_should_be_is_counted"),
    ("page_waits", PROBES_LOSSES, "what_is_not_where_it_should_be_is_counted"),
    ("unexpected", PROBES_LOSSES, "what_is_not_where_it_should_be_is_counted"),
    ("header_bound", PROBES_LIMITS, "many_headers_are_searched_up_to_a_bound"),
    ("bad_traceparent", TRACE_CONTEXT, "contexts_are_taken_as_the_standard_says"),
    ("tracestate_dropped", TRACE_CONTEXT, "contexts_are_taken_as_the_standard_says"),
    ("cut_string", "tests/tests/http_server/rows.rs", "check"),
    ("too_deep", PROBES_ENDS, "as_many_levels_as_are_followed"),
    ("context_bound", "probes/tests/http_client/contexts.rs", "chains_are_followed_up_to_a_bound"),
    ("context_evicted", "probes/tests/http_client/parents.rs", "nothing_is_linked_wrongly"),
    ("callers_full", PROBES_ENDS, "more_callers_than_can_be_noted"),
    ("ended_by_outer", PROBES_ENDS, "by_the_return_of_a_call_around"),
    ("nested_client", PROBES_ENDS, "a_transport_within_a_transport"),
    ("hidden_stream", "tests/tests/grpc/load.rs", "a_stream_that_an_interceptor_hides_is_counted"),
    ("propagated", PROPAGATE, "a_message_differs_from_the_one_without_us_in_the_header_alone"),
    ("propagation_own", PROPAGATE, "a_message_differs_from_the_one_without_us_in_the_header_alone"),
    ("propagation_no_room", PROPAGATE, "a_message_differs_from_the_one_without_us_in_the_header_alone"),
    ("propagation_shared", PROPAGATE, "a_message_differs_from_the_one_without_us_in_the_header_alone"),
    ("propagation_unknown", PROPAGATE, "a_message_differs_from_the_one_without_us_in_the_header_alone"),
    ("propagation_unproven", PROPAGATE, "a_message_differs_from_the_one_without_us_in_the_header_alone"),
    ("join_site", JOIN, "each_request_is_linked_with_its_call_and_nothing_else"),
    ("join_unproven", JOIN, "connections_of_another_kind_are_counted"),
    ("propagated_states", STATES, "what_a_request_came_with_goes_out_with_those_on_its_behalf"),
    ("propagation_state_dropped", STATES, "what_a_request_came_with_goes_out_with_those_on_its_behalf"),
    ("propagation_state_evicted", STATES, "what_was_dropped_for_newer_ones_is_counted"),
    ("recursion_misses", "agent/src/attach/misses/tests.rs", "hits_that_the_kernel_skips_are_counted"),
    ("stack_checks_failed", PROBES_LOSSES, "a_stack_check_that_fails_is_counted_beside_the_calls"),
    ("wakeups", PROBES_LOSSES, "a_full_ring_buffer"),
    ("user_reads", "probes/tests/http_server/cost.rs", "reads_of_user_memory"),
    (
        "process_events_full",
        "tests/tests/discovery.rs",
        "what_is_not_told_in_time_is_counted_and_found_by_a_sweep_at_once",
    ),
    // Between them and delivery.
    (
        "spans_open_at_end",
        LOSSES,
        "spans_that_are_open_when_their_process_dies_or_the_agent_ends_are_counted",
    ),
    ("processes_unidentified", OUTPUT, "a_process_that_ends_before_it_is_known_is_counted"),
    ("records_without_process", OUTPUT, "a_record_of_a_process_that_was_never_announced_is_counted"),
    ("records_malformed", OUTPUT, "bytes_that_are_no_record_are_counted"),
    ("context_types_left_out", OUTPUT, "types_of_contexts_that_are_not_followed_are_counted"),
    ("records_left_out", "agent/src/cli/record/tests.rs", "records_for_which_there_is_no_room_are_counted"),
    ("unclean_stops", "tests/tests/state.rs", "a_killed_agent_is_told_of_by_the_next_one"),
    (
        "log_lines_dropped",
        "tests/tests/logs.rs",
        "a_standard_error_that_nobody_reads_holds_up_nothing_and_is_counted",
    ),
    ("segments", "tests/tests/grpc/segments.rs", "a_call_that_is_open_for_long_is_told_of_in_pieces"),
    ("spans_left_out", "tests/tests/rules.rs", "a_rule_chooses_names_and_leaves_out_paths"),
    ("programs_suspended", "tests/tests/watchdog.rs", "a_program_that_crashes_soon_after_is_left_alone"),
    ("paused_seconds", "tests/tests/pause.rs", "what_is_paused_has_no_probe_and_goes_on_afterwards"),
    ("processes_without_pod", KUBERNETES, "without_an_api_server_it_goes_on_with_what_cgroups_say"),
    ("kubernetes_failures", KUBERNETES, "without_an_api_server_it_goes_on_with_what_cgroups_say"),
    ("joined", JOIN, "each_request_is_linked_with_its_call_and_nothing_else"),
    ("join_ambiguous", JOINER, "what_is_ambiguous_or_in_vain_is_counted"),
    ("join_unmatched", JOINER, "what_is_ambiguous_or_in_vain_is_counted"),
    ("join_full", JOINER, "what_is_ambiguous_or_in_vain_is_counted"),
    ("pods_left_out", FOLLOWING, "what_there_is_no_room_for_is_counted"),
    ("pod_attributes_left_out", FOLLOWING, "what_there_is_no_room_for_is_counted"),
    // Delivery.
    ("spans_pushed", LOSSES, "a_queue_that_is_full_is_counted_and_the_rest_is_given_up_in_time"),
    (
        "spans_exported",
        "tests/tests/life_default.rs",
        "go_servers_are_found_and_neither_other_programs_nor_backends_nor_whoever_gets_the_spans",
    ),
    ("spans_printed", LOSSES, "a_full_ring_loses_exactly_what_it_counts"),
    ("spans_discarded", "agent/src/deliver/tests.rs", "with_nowhere_to_go_spans_are_counted"),
    ("spans_lost_queue_full", LOSSES, "a_queue_that_is_full_is_counted_and_the_rest_is_given_up_in_time"),
    ("spans_lost_queue_bytes", LOSSES, "a_queue_of_large_spans_is_full_before_it_has_its_number"),
    ("spans_lost_refused", REFUSALS, "refused_batches_are_counted_by_service_and_said_once"),
    ("spans_lost_rejected", REFUSALS, "spans_rejected_out_of_a_batch_are_counted_and_said_once"),
    ("spans_lost_export_timeout", LOSSES, "spans_that_no_endpoint_takes_are_counted_with_the_reason"),
    ("spans_lost_unfinished", LOSSES, "a_queue_that_is_full_is_counted_and_the_rest_is_given_up_in_time"),
    ("spans_lost_printer_behind", LOSSES, "an_output_that_nobody_reads_holds_up_nothing_and_is_counted"),
    ("spans_lost_print_failed", LOSSES, "an_output_that_cannot_be_written_is_counted"),
    ("spans_lost_unprinted", LOSSES, "an_output_that_nobody_reads_holds_up_nothing_and_is_counted"),
    ("export_retries", "agent/src/deliver/tests.rs", "a_batch_is_given_up_after_the_time_that_was_set"),
];

const JOIN: &str = "tests/tests/join.rs";
const JOINER: &str = "agent/src/join/tests.rs";
const KUBERNETES: &str = "tests/tests/kubernetes.rs";
const FOLLOWING: &str = "agent/src/kubernetes/following/tests.rs";
const PROPAGATE: &str = "tests/tests/propagate/cases.rs";
const STATES: &str = "tests/tests/propagate/states.rs";
const TRAPS: &str = "tests/tests/http_server_traps.rs";
const LOSSES: &str = "tests/tests/losses.rs";
const LIFE: &str = "tests/tests/life.rs";
const TRACE_CONTEXT: &str = "tests/tests/http_server/trace_context.rs";
const REFUSALS: &str = "agent/src/deliver/tests/refusals.rs";
const OUTPUT: &str = "agent/src/cli/run/output/tests.rs";
const PROBES_ENDS: &str = "probes/tests/http_client/ends.rs";
const PROBES_LOSSES: &str = "probes/tests/http_server/losses.rs";
const PROBES_LIMITS: &str = "probes/tests/http_server/limits.rs";

#[test]
fn every_counter_has_a_test_that_names_it() {
    let names: BTreeMap<String, String> = lightfoot::counters::names().into_iter().collect();
    for (name, variant) in &names {
        let seen: Vec<_> = SEEN.iter().filter(|(seen, ..)| seen == name).collect();
        let [(_, file, function)] = seen[..] else {
            panic!("{name} has {} tests here: write one that sees it move", seen.len())
        };
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
        let text = fs::read_to_string(&path).unwrap();
        let body = body(&text, function).unwrap_or_else(|| panic!("{file} has no function {function}"));
        assert!(names_counter(body, name, variant), "{function} in {file} does not name {name}");
    }
    for name in SEEN.iter().map(|(name, ..)| name) {
        assert!(names.contains_key(*name), "there is no counter {name}");
    }
}

fn names_counter(text: &str, name: &str, variant: &str) -> bool {
    text.contains(&format!("{name:?}")) || text.contains(&format!("Counter::{variant}"))
}

/// A function of a formatted file. The table that a test goes through, right before it, is taken for a part of it.
fn body<'a>(text: &'a str, function: &str) -> Option<&'a str> {
    let start = text.find(&format!("\nfn {function}("))?;
    let end = start + text.get(start..)?.find("\n}\n")?;
    let before = text.get(..start)?;
    let table = before.rfind("\n}\n").unwrap_or(0);
    text.get(table..end)
}
