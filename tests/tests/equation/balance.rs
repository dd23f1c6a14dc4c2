//! The equation: what really happened, less what was delivered, is what was counted as lost.

use std::collections::BTreeSet;

use lightfoot::counters::Counter as DeliveryCounter;
use lightfoot_tests::live::{Outcome, loss_counters};

/// Counters that name no span that nobody will see.
const NO_LOSSES: &[&str] = &[
    // Where spans are on their way.
    "started",
    "ended",
    "unsampled",
    "spans_pushed",
    "spans_exported",
    "spans_printed",
    "spans_discarded",
    // More spans than operations.
    "segments",
    // Not wanted.
    "spans_left_out",
    "paused_seconds",
    "programs_suspended",
    // Names, not spans.
    "processes_without_pod",
    "pods_left_out",
    "pod_attributes_left_out",
    "kubernetes_failures",
    // Requests that are not watched, or not told from what is.
    "unknown_protocol",
    "foreign_binary",
    "unknown_site",
    "unselected_process",
    "processes_unidentified",
    // Before the time that is watched.
    "unclean_stops",
    // Words, not spans.
    "log_lines_dropped",
    // The other half of a loss that is counted at the start, or of none.
    "end_without_start",
    // Of a start or of an end; no kernel that this runs on tells of any.
    "recursion_misses",
    // One span stands for both.
    "ended_by_outer",
    "nested_client",
    // Lost spans, which `abandoned` counts.
    "hidden_stream",
    // The span is there, and says less: of its route, its attributes, its parent.
    "route_site",
    "router_site",
    "route_of_copy",
    "without_route",
    "request_gone",
    "read_fault",
    "unexpected",
    "header_bound",
    "bad_traceparent",
    "tracestate_dropped",
    "cut_string",
    "context_bound",
    "context_evicted",
    "context_types_left_out",
    "callers_full",
    // What became of what is sent, not of its span.
    "propagated",
    "propagation_own",
    "propagation_no_room",
    "propagation_shared",
    "propagation_unknown",
    "propagation_unproven",
    "propagated_states",
    "propagation_state_dropped",
    "propagation_state_evicted",
    // Whether two spans that are both there are linked.
    "join_site",
    "join_unproven",
    "joined",
    "join_ambiguous",
    "join_unmatched",
    "join_full",
    // What things cost.
    "page_waits",
    "stack_checks_failed",
    "wakeups",
    "user_reads",
    "export_retries",
    "process_events_full",
];

/// The requests of the time that was watched, by number.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    pub(crate) certain: BTreeSet<u64>,
    /// Under way when that time was over: nobody but the agent knows whether they had begun.
    pub(crate) possible: BTreeSet<u64>,
}

impl Truth {
    /// Fails unless each of them was delivered once, or counted as lost, and nothing else was; and unless `causes` are
    /// the counters that counted them.
    pub(crate) fn assert_balanced(&self, cause: &str, delivered: &[u64], outcome: &Outcome, causes: &[&str]) {
        let messages = &outcome.messages;
        let once: BTreeSet<u64> = delivered.iter().copied().collect();
        assert_eq!(once.len(), delivered.len(), "{cause}: something was delivered twice");
        let invented: Vec<_> = once
            .iter()
            .filter(|number| !self.certain.contains(number) && !self.possible.contains(number))
            .collect();
        assert!(invented.is_empty(), "{cause}: delivered, and never asked: {invented:?}");
        let least = self.certain.difference(&once).count() as u64;
        let most = least + self.possible.difference(&once).count() as u64;
        let losses = outcome.losses();
        let lost: u64 = losses.iter().map(|(_, count)| count).sum();
        println!(
            "{cause}: {} requests, {} delivered, {least} to {most} missing; {losses:?}",
            self.certain.len(),
            once.len()
        );
        assert!(
            (least..=most).contains(&lost),
            "{cause}: {lost} lost, {least} to {most} missing: {messages}"
        );
        let named: Vec<_> = losses.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(named, causes, "{cause}: {messages}");
        assert_stages_balanced(cause, outcome);
    }
}

/// No span goes astray between one part of the path and the next.
fn assert_stages_balanced(cause: &str, outcome: &Outcome) {
    let sum = |names: &[&str]| names.iter().map(|name| outcome.count(name)).sum::<u64>();
    let settled = sum(&["ended", "unsampled", "ring_full", "abandoned", "spans_open_at_end"]);
    assert_eq!(outcome.count("started"), settled, "{cause}: in the kernel: {}", outcome.messages);
    let received = sum(&["spans_pushed", "spans_left_out", "records_malformed", "records_without_process"]);
    let sent = sum(&["ended", "segments"]);
    assert_eq!(sent, received, "{cause}: in the ring: {}", outcome.messages);
    let lost =
        DeliveryCounter::ALL.into_iter().filter(|counter| counter.is_loss()).map(DeliveryCounter::name);
    let settled: Vec<_> = lost.chain(["spans_exported", "spans_printed"]).collect();
    assert_eq!(outcome.count("spans_pushed"), sum(&settled), "{cause}: in delivery: {}", outcome.messages);
}

#[test]
fn every_counter_either_names_lost_spans_or_is_known_not_to() {
    let all = loss_counters();
    for (name, is_loss) in &all {
        let is_known = NO_LOSSES.contains(&name.as_str());
        assert_ne!(
            *is_loss, is_known,
            "{name}: does it count lost spans (\"Lost: \"), or belong into NO_LOSSES?"
        );
    }
    for name in NO_LOSSES {
        assert!(all.iter().any(|(known, _)| known == name), "there is no counter {name}");
    }
    // Spans wait for one place only in these tests.
    assert!(all.iter().filter(|(_, is_loss)| *is_loss).count() > 10);
}
