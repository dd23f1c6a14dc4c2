//! `traceparent` and `tracestate` from requests to spans. The parser itself is tested where it is, `probes/abi`; here the
//! target's own parser, a regular expression, is the judge.

use std::collections::HashMap;

use lightfoot_tests::go::Mode;
use lightfoot_tests::live::{Scene, Span};

/// What becomes of the incoming context.
enum Gives {
    /// The span is its child, with these trace flags and this state.
    Child(u64, &'static str),
    /// There is no span: the parent was not sampled.
    Unsampled,
    /// The span is a root, and the header was counted as bad.
    Ignored,
    /// The span is a root: there was nothing to parse.
    Root,
}

use Gives::{Child, Ignored, Root, Unsampled};

/// Headers with LF for CR LF, `T` for a trace id and `S` for a span id, and what they give.
const CASES: &[(&str, Gives)] = &[
    ("", Root),
    ("traceparent: 00-T-S-01\n", Child(1, "")),
    ("TraceParent: 00-T-S-01\n", Child(1, "")),
    ("TRACEPARENT:00-T-S-01  \n", Child(1, "")),
    ("traceparent: 00-T-S-00\n", Unsampled),
    ("traceparent: 00-T-S-02\n", Unsampled),
    ("traceparent: 00-T-S-03\n", Child(3, "")),
    // Bits that are not defined must not be passed on.
    ("traceparent: 00-T-S-ff\n", Child(3, "")),
    // A version may say more than this one knows.
    ("traceparent: 01-T-S-01\n", Child(1, "")),
    ("traceparent: cc-T-S-01-what-the-future-brings\n", Child(1, "")),
    ("traceparent: cc-T-S-01.what\n", Ignored),
    ("traceparent: 00-T-S-01-more\n", Ignored),
    ("traceparent: ff-T-S-01\n", Ignored),
    ("traceparent: 0-T-S-01\n", Ignored),
    ("traceparent: 00-T-S\n", Ignored),
    ("traceparent: 00-T-S-0\n", Ignored),
    ("traceparent: 00-T-S-0x\n", Ignored),
    ("traceparent: 00_T_S_01\n", Ignored),
    ("traceparent: 00-00000000000000000000000000000000-S-01\n", Ignored),
    ("traceparent: 00-T-0000000000000000-01\n", Ignored),
    ("traceparent: 00-0AF7651916CD43DD8448EB211C80319C-S-01\n", Ignored),
    ("traceparent: 00-Z-S-01\n", Ignored),
    ("traceparent:\n", Ignored),
    ("traceparent: 00-T-S-01\ntraceparent: 00-T-S-01\n", Ignored),
    ("traceparent: 00-T-S-01\ntracestate: a=1,b@c=2\n", Child(1, "a=1,b@c=2")),
    ("traceparent: 00-T-S-01\ntracestate: a=1\nTraceState: b=2\n", Child(1, "a=1,b=2")),
    ("traceparent: 00-T-S-01\ntracestate:\n", Child(1, "")),
    // A state that cannot be parsed is dropped, the rest of the context holds.
    ("traceparent: 00-T-S-01\ntracestate: A=1\n", Child(1, "")),
    ("traceparent: 00-T-S-01\ntracestate: a\n", Child(1, "")),
    ("traceparent: 00-T-S-01\ntracestate: a=~512\n", Child(1, "")),
    (
        "traceparent: 00-T-S-01\ntracestate: a=1\ntracestate: b=1\ntracestate: c=1\ntracestate: d=1\ntracestate: e=1\n",
        Child(1, ""),
    ),
    ("tracestate: a=1\n", Root),
    ("traceparent: 00-T-S-0x\ntracestate: a=1\n", Ignored),
];

/// The states in the table that are too long or have too many lines.
const DROPPED: u64 = 2;

#[test]
fn of_classic_header_maps() {
    contexts_are_taken_as_the_standard_says(21);
}

#[test]
fn of_swiss_header_maps() {
    contexts_are_taken_as_the_standard_says(26);
}

fn contexts_are_taken_as_the_standard_says(minor: u32) {
    let Some(scene) = Scene::set(minor, Mode::Plain).unwrap() else { return };
    let ids = |number: usize| {
        (format!("{:032x}", 0x0af7_6519_0000_u64 + number as u64), format!("{:016x}", number + 1))
    };
    let mut client = scene.client();
    for (number, (headers, _)) in CASES.iter().enumerate() {
        let (trace_id, span_id) = ids(number);
        let headers = headers
            .replace("-T-", &format!("-{trace_id}-"))
            .replace("_T_", &format!("_{trace_id}_"))
            .replace("-Z-", &format!("-{}-", trace_id.replacen('0', "g", 1)))
            .replace("-S", &format!("-{span_id}"))
            .replace("_S", &format!("_{span_id}"))
            .replace("~512", &"x".repeat(512))
            .replace('\n', "\r\n");
        client.get("/plain/1", &format!("User-Agent: case/{number}\r\n{headers}")).unwrap().unwrap();
    }
    let recorded = CASES.iter().filter(|(_, gives)| !matches!(gives, Unsampled)).count();
    scene
        .agent
        .wait_for_spans(recorded, |span| span.text("user_agent.original").starts_with("case/"))
        .unwrap();
    let (truth, outcome) = scene.end().unwrap();
    assert_eq!(outcome.spans.len(), recorded);
    let spans: HashMap<&str, &Span> =
        outcome.spans.iter().map(|span| (span.text("user_agent.original"), span)).collect();
    for (number, (headers, gives)) in CASES.iter().enumerate() {
        let agent = format!("case/{number}");
        let span = spans.get(agent.as_str()).copied();
        let parent = truth.iter().find(|truth| truth.user_agent == agent).unwrap().parent.as_ref();
        assert_eq!(parent.is_some(), matches!(gives, Child(..) | Unsampled), "the judge on {headers}");
        let Some(span) = span else {
            assert!(matches!(gives, Unsampled), "no span for {headers}");
            continue;
        };
        match gives {
            Child(flags, state) => {
                let (trace_id, span_id) = ids(number);
                assert_eq!((&span.trace_id, &span.parent_span_id), (&trace_id, &span_id), "{headers}");
                // OTLP adds two bits of its own: the parent is remote, and that is known.
                assert_eq!((span.flags & 0xff, span.flags >> 8), (*flags, 3), "{headers}");
                assert_eq!(span.trace_state, *state, "{headers}");
                assert_eq!(span.text("lightfoot.parent.rule"), "incoming");
            }
            Ignored | Root => {
                assert_eq!((span.parent_span_id.as_str(), span.trace_state.as_str()), ("", ""), "{headers}");
                assert_ne!(span.trace_id, ids(number).0, "{headers}");
                assert_eq!(span.flags & 1, 1, "{headers}");
                assert!(!span.attributes.contains_key("lightfoot.parent.rule"), "{headers}");
            }
            Unsampled => panic!("a span for {headers}"),
        }
    }
    let ignored = CASES.iter().filter(|(_, gives)| matches!(gives, Ignored)).count() as u64;
    let unsampled = CASES.iter().filter(|(_, gives)| matches!(gives, Unsampled)).count() as u64;
    assert_eq!(outcome.count("bad_traceparent"), ignored, "{}", outcome.messages);
    assert_eq!(outcome.count("unsampled"), unsampled, "{}", outcome.messages);
    assert_eq!(outcome.count("tracestate_dropped"), DROPPED, "{}", outcome.messages);
    assert_eq!((outcome.count("read_fault"), outcome.count("unexpected")), (0, 0), "{}", outcome.messages);
}
