//! The sampler that `OTEL_TRACES_SAMPLER` names decides about real requests. `agent/tests/sampler.rs` has what it decides
//! for each trace id.
//!
//! Needs root and a kernel that attaches probes; elsewhere the test says why it does nothing, and fails where `CI` is
//! `true`.
#![expect(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use lightfoot_tests::live::{Agent, Client, Folder, Outcome, Span, Target};

/// Requests of each kind: without a parent, with one that is sampled, and with one that is not.
const EACH: u64 = 200;
/// With a ratio of 0.5, those traces are recorded whose last 63 bits are below it.
const HALF: u64 = 1 << 62;

/// The last 8 bytes of the trace id of the request with that number, all over their range.
fn tail(number: u64) -> u64 {
    (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// What an agent with these variables sees of all requests.
fn outcome(target: &Target, variables: &[(&str, &str)]) -> Outcome {
    let agent = Agent::start(["--pid", &target.pid().to_string()], variables).unwrap();
    agent.watches(target.pid()).unwrap();
    let mut client = Client::tcp(target.address().unwrap());
    for number in 0..EACH {
        assert_eq!(client.status(&format!("/none/{number}"), "").unwrap(), 200);
        for (parent, flags) in [("sampled", "01"), ("unsampled", "00")] {
            let header = format!("traceparent: 00-{:016x}{1:016x}-{1:016x}-{flags}\r\n", 7, tail(number));
            assert_eq!(client.status(&format!("/{parent}/{number}"), &header).unwrap(), 200);
        }
    }
    let outcome = agent.stop().unwrap();
    // Whatever is not recorded is counted.
    let spans = outcome.spans.len() as u64;
    let counts = ["started", "ended", "unsampled"].map(|name| outcome.count(name));
    assert_eq!(counts, [3 * EACH, spans, 3 * EACH - spans], "{variables:?}: {}", outcome.messages);
    outcome
}

/// The numbers of the requests of that kind that gave a span.
fn recorded(outcome: &Outcome, kind: &str) -> Vec<u64> {
    let number = |span: &Span| span.path().strip_prefix(&format!("/{kind}/"))?.parse().ok();
    let mut numbers: Vec<_> = outcome.spans.iter().filter_map(number).collect();
    numbers.sort_unstable();
    numbers
}

#[test]
fn the_sampler_that_is_asked_for_decides() {
    let Some(folder) = Folder::for_test("samplers") else { return };
    let target = Target::start(&folder.server().unwrap()).unwrap();
    let all: Vec<_> = (0..EACH).collect();
    let below_half: Vec<_> = (0..EACH).filter(|number| tail(*number) >> 1 < HALF).collect();
    assert!((80..120).contains(&below_half.len()));
    let (none, ratio) = (Vec::new(), ("OTEL_TRACES_SAMPLER_ARG", "0.5"));
    // With how many roots, and which requests with a sampled and an unsampled parent.
    let cases = [
        ("always_on", 200..201, &all, &all),
        ("always_off", 0..1, &none, &none),
        ("parentbased_always_off", 0..1, &all, &none),
        ("traceidratio", 60..141, &below_half, &below_half),
        ("parentbased_traceidratio", 60..141, &all, &none),
    ];
    for (name, roots, sampled, unsampled) in cases {
        let outcome = outcome(&target, &[("OTEL_TRACES_SAMPLER", name), ratio]);
        assert!(roots.contains(&recorded(&outcome, "none").len()), "{name}: {}", outcome.spans.len());
        assert_eq!(&recorded(&outcome, "sampled"), sampled, "{name}");
        assert_eq!(&recorded(&outcome, "unsampled"), unsampled, "{name}");
        for span in outcome.spans.iter().filter(|_| name.ends_with("ratio")) {
            let tail = u64::from_str_radix(span.trace_id.get(16..).unwrap(), 16).unwrap();
            let is_root = span.path().starts_with("/none/");
            assert!(!is_root || tail >> 1 < HALF, "{name}: {}", span.trace_id);
        }
    }
}
