//! The conformance suite of W3C Trace Context, run against a service that knows nothing of traces, and against the same one traced by the
//! SDK.
//!
//! The suite is not part of this repository: `scripts/trace-context.sh` gets it.

use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;

use lightfoot_tests::go::{Build, GoVersion, Mode, Program};
use lightfoot_tests::live::watched::NO_CALLER_IS_LATE;
use lightfoot_tests::live::{Driven, Watched, slowness};
use lightfoot_tests::trace_context;

use super::refusal::is_refused;

/// How many tests the suite has, with those of the second level.
const TESTS: usize = 41;

/// What the suite waits for each answer, in seconds.
const PATIENCE: u32 = 5;

/// Those that a service fails which is watched.
const FAILED: [&str; 0] = [];

/// Those that the SDK for Go fails, 1.47 with otelhttp 0.72.
const FAILED_BY_SDK: [&str; 7] = [
    "test_traceparent_duplicated",
    "test_tracestate_duplicated_keys",
    "test_tracestate_empty_header",
    "test_tracestate_key_illegal_vendor_format",
    "test_tracestate_key_length_limit",
    "test_tracestate_member_count_limit",
    "test_tracestate_multiple_headers_different_keys",
];

/// What is counted of one that is watched: all of its requests carry the header.
const COUNTED: [(&str, u64); 3] =
    [("propagated", 89), ("propagated_states", 28), ("propagation_state_dropped", 8)];

#[test]
fn a_watched_service_passes_the_standards_suite() {
    if !is_there() {
        return;
    }
    let arguments = [&NO_CALLER_IS_LATE[..], &["--propagate"]].concat();
    let watched = Watched::start_with(Program::TraceContext, 26, Mode::Plain, &arguments, |_| Ok(()));
    let Some(mut watched) = watched.unwrap() else { return };
    let said = run(&mut watched.program);
    let (_, outcome) = watched.end().unwrap();
    if is_refused(&outcome) {
        println!("skipped: this kernel lets no program write");
        return;
    }
    assert_eq!(failed(&said), FAILED, "{said}");
    let counted = outcome.counts.iter().filter(|(name, _)| name.starts_with("propagat"));
    let counted: Vec<_> = counted.map(|(name, count)| (name.as_str(), *count)).collect();
    assert_eq!(counted, COUNTED);
}

#[test]
fn a_service_that_is_traced_by_the_sdk_passes_less_of_it() {
    if !is_there() {
        return;
    }
    let build = Build::here(Program::TraceContextSdk, GoVersion::of_minor(26).unwrap(), Mode::Plain);
    let said = run(&mut Driven::start(&build.path().unwrap()).unwrap());
    assert_eq!(failed(&said), FAILED_BY_SDK, "{said}");
}

fn is_there() -> bool {
    let suite = trace_context::suite();
    if let Err(reason) = &suite {
        println!("skipped: {reason}");
    }
    suite.is_ok()
}

/// What the suite says of a service.
fn run(service: &mut Driven) -> String {
    let url = service.ask("serve").unwrap().remove(0);
    let suite = trace_context::suite().unwrap();
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let mut python = Command::new("python3");
    python.arg("-B").arg(trace_context::script(&suite)).arg(url);
    python.env("PYTHONPATH", trace_context::packages(&suite)).env("SPEC_LEVEL", "2");
    python.env("HARNESS_PORT", port.to_string());
    python.env("HARNESS_TIMEOUT", (PATIENCE * slowness()).to_string());
    let output = python.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let ran = format!("\nRan {TESTS} tests in ");
    assert!(said.contains(&ran) && !said.contains("skipped"), "{}: {said}", output.status);
    // The suite's exit status is the number of those that failed.
    assert_eq!(output.status.code(), i32::try_from(failed(&said).len()).ok(), "{said}");
    said
}

/// The names of the tests that failed, in their order.
fn failed(said: &str) -> Vec<&str> {
    let heads = said.lines().filter(|line| line.starts_with("FAIL: ") || line.starts_with("ERROR: "));
    let mut names: Vec<_> = heads.filter_map(|line| line.split_whitespace().nth(1)).collect();
    names.sort_unstable();
    names
}
