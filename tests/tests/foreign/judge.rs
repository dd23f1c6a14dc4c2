//! Whether the spans are what the observers saw: each request once, and nothing else.

use lightfoot_tests::live::{Observation, Span};
use serde_json::Value as Json;

use crate::run::Watch;
use crate::service::{Behind, Place, Service};

/// By how much a span's time of day may be off, in nanoseconds, besides the uncertainty of the clocks' comparison; see
/// `http_server/load.rs`.
const CLOCK: u64 = 10_000;
/// OTLP's numbers of the kinds.
const SERVER: u64 = 2;
const CLIENT: u64 = 3;

/// The counts that say nothing of a loss.
const HARMLESS: &[&str] = &[
    "started",
    "ended",
    "page_waits",
    "stack_checks_failed",
    "wakeups",
    "user_reads",
    "spans_pushed",
    "spans_printed",
    "route_site",
    "router_site",
    "route_of_copy",
    "without_route",
    // Before it was told which process is meant.
    "unselected_process",
];

/// Fails unless the spans are the truth: `front` is what passed in front of the service, `behind` what it asked.
pub(crate) fn judge(
    service: &Service,
    place: &Place,
    watch: &Watch,
    front: &[Observation],
    behind: &[Observation],
) {
    let of_kind = |kind| {
        let is_it =
            move |span: &&Span| span.kind == kind && span.attributes.contains_key("http.request.method");
        watch.outcome.spans.iter().filter(is_it).collect::<Vec<_>>()
    };
    let (mut servers, mut clients) = (of_kind(SERVER), of_kind(CLIENT));
    let upstream = place.behind.map(|address| format!("http://{address}"));
    let called = |span: &Span| {
        let path = upstream.as_deref().and_then(|upstream| span.text("url.full").strip_prefix(upstream));
        path.unwrap_or_default().to_owned()
    };
    if service.behind == Behind::Forwarded {
        assert_forwarded(&servers, &clients, called);
    }
    let (served, called_count) = (servers.len(), clients.len());
    let certain = [
        claim(SERVER, watch, front, &mut servers, |span| span.path().to_owned()),
        claim(CLIENT, watch, behind, &mut clients, called),
    ];
    let is_unobserved = |span: &&Span| service.unobserved.iter().any(|(is_it, _)| is_it(asked_path(span)));
    servers.retain(|span| !is_unobserved(span));
    clients.retain(|span| !is_unobserved(span));
    for (what, spans) in [("served, and nobody asked", servers), ("called, and nobody was asked", clients)] {
        let spans: Vec<_> = spans.iter().map(|span| brief(span, watch.clocks.0)).collect();
        assert!(spans.is_empty(), "{what}: {spans:#?}");
    }
    println!(
        "{}: {served} spans of requests served, {called_count} of calls; {certain:?} of them are certain; {:?}",
        service.name, watch.outcome.counts
    );
    for (name, count) in &watch.outcome.counts {
        let is_known = service.counted.iter().any(|(counted, _)| counted == name);
        let is_under_way =
            name == "spans_open_at_end" && *count <= under_way(watch, front) + under_way(watch, behind);
        let is_fine = HARMLESS.contains(&name.as_str()) || is_known || is_under_way;
        assert!(is_fine, "{name} {count}\n{}", watch.outcome.messages);
    }
}

/// Takes the span of each observation away: how many must have one, as those do that lie within the watch. A request that is served begins while it
/// is observed; one that is called is first observed before its span ends.
fn claim(
    kind: u64,
    watch: &Watch,
    seen: &[Observation],
    spans: &mut Vec<&Span>,
    path: impl Fn(&Span) -> String,
) -> usize {
    let (offset, uncertainty) = watch.clocks;
    let slack = CLOCK + uncertainty;
    let mut seen: Vec<_> = seen.iter().collect();
    let is_certain = |seen: &Observation| seen.start > watch.start && seen.end < watch.end;
    // Of several that fit, the one that is over first is to be used up first: then as many fit as can.
    seen.sort_by_key(|seen| if kind == SERVER { seen.end } else { seen.start });
    for observation in &seen {
        let fits = |span: &&Span| {
            let (start, end) = (span.start - offset, span.end - offset);
            let status = span.attributes.get("http.response.status_code").and_then(Json::as_u64);
            let is_within = |time, start, end| start <= time + slack && time <= end + slack;
            span.text("http.request.method") == observation.method
                && path(span) == observation.path()
                && status == Some(observation.status.into())
                // A server of files has nobody whose version it could know.
                && (observation.protocol == 0 || version(span) == Some(observation.protocol))
                && match kind {
                    SERVER => is_within(start, observation.start, observation.end),
                    _ => is_within(observation.start, start, end),
                }
        };
        let first = |span: &Span| if kind == SERVER { span.start } else { span.end };
        let found =
            spans.iter().enumerate().filter(|(_, span)| fits(span)).min_by_key(|(_, span)| first(span));
        if let Some(index) = found.map(|(index, _)| index) {
            spans.remove(index);
        } else if is_certain(observation) {
            let left: Vec<_> = spans.iter().map(|span| brief(span, offset)).collect();
            panic!(
                "kind {kind}, without a span: {observation:?}; left: {left:#?}\n{}",
                watch.outcome.messages
            );
        }
        assert!(observation.complete, "broken: {observation:?}");
    }
    seen.iter().filter(|seen| is_certain(seen)).count()
}

/// Each call is on behalf of a request with the same path, and within it.
fn assert_forwarded(servers: &[&Span], clients: &[&Span], called: impl Fn(&Span) -> String) {
    for client in clients {
        let parent = servers.iter().find(|server| server.span_id == client.parent_span_id);
        let parent = parent.unwrap_or_else(|| panic!("a call without a request: {client:?}"));
        assert_eq!(parent.trace_id, client.trace_id);
        assert!(
            parent.start <= client.start && client.end <= parent.end,
            "{client:?} is not within {parent:?}"
        );
        assert!(parent.path().ends_with(&called(client)), "{client:?} is not on behalf of {parent:?}");
    }
}

/// What there is to see of a span at one glance, its times as those of an observation.
fn brief(span: &Span, offset: u64) -> String {
    let (start, end) = (span.start - offset, span.end - offset);
    let status = span.attributes.get("http.response.status_code").map(Json::to_string).unwrap_or_default();
    let [path, url, version, error] =
        ["url.path", "url.full", "network.protocol.version", "error.type"].map(|key| span.text(key));
    format!("{} {path}{url} HTTP/{version} {status} {error} {start}-{end}", span.name)
}

/// HTTP's major version.
fn version(span: &Span) -> Option<u64> {
    span.text("network.protocol.version").split('.').next()?.parse().ok()
}

/// The path of a request served, or called.
fn asked_path(span: &Span) -> &str {
    let url = span.text("url.full").split_once("://").map_or("", |(_, rest)| rest);
    url.find('/').map_or(span.path(), |at| &url[at..])
}

/// How many there were when the watch ended.
fn under_way(watch: &Watch, seen: &[Observation]) -> u64 {
    seen.iter()
        .filter(|seen| seen.start < watch.end + 1_000_000_000 && seen.end + 1_000_000 > watch.end)
        .count() as u64
}
