use std::sync::Arc;

use super::*;
use crate::deliver::testing::{process, span};

fn item(service: &str, span: Span<'static>) -> Item {
    Item { came: Instant::now(), identity: process(service), counters: Arc::default(), span: Box::new(span) }
}

/// The tree without its colours.
fn plain(trace: &[Item]) -> String {
    let mut text = Vec::new();
    render(trace, &mut text);
    anstream::adapter::strip_str(std::str::from_utf8(&text).unwrap()).to_string()
}

#[test]
fn a_trace_is_a_tree_in_the_order_of_time() {
    let mut root = span(0xab, 90, 0, 0);
    root.attributes.push(("url.path", "/cart/7").into());
    let mut failed = span(0xab, 2, 90, 20);
    failed.attributes = [("error.type", "panic").into()].into_iter().collect();
    failed.status = Status::Error("the handler panicked".into());
    let trace = [
        item("stock", span(0xab, 4, 3, 15)),
        item("stock", failed),
        item("stock", span(0xab, 3, 90, 10)),
        item("shop", root),
    ];
    let expected = "\
22:13:20.000 shop  GET /90  200  90.0ms  url.path=/cart/7 trace=abababababababababababababababab
             ├─ stock  GET /3  200  3.0ms
             │  └─ stock  GET /4  200  4.0ms
             └─ stock  GET /2  panic  2.0ms
";
    assert_eq!(plain(&trace), expected);
}

#[test]
fn a_span_whose_parent_is_not_there_says_where_it_belongs() {
    let text = plain(&[item("shop", span(1, 5, 9, 0)), item("shop", span(1, 6, 9, 1))]);
    assert_eq!(text.lines().count(), 2);
    for line in text.lines() {
        assert!(line.ends_with("trace=01010101010101010101010101010101 parent=0000000000000009"), "{line}");
    }
}

#[test]
fn every_span_is_shown_once_even_if_parents_run_in_a_circle() {
    let own_parent = item("a", span(1, 1, 1, 0));
    let circle = [item("b", span(1, 2, 3, 1)), item("c", span(1, 3, 2, 2)), item("d", span(1, 4, 3, 3))];
    let trace: Vec<_> = std::iter::once(own_parent).chain(circle).collect();
    let text = plain(&trace);
    for id in 1..=4 {
        assert_eq!(text.matches(&format!("GET /{id} ")).count(), 1, "{text}");
    }
    // Two spans with one id: the children hang from one of them.
    let twins = [item("a", span(1, 1, 0, 0)), item("a", span(1, 1, 0, 1)), item("a", span(1, 2, 1, 2))];
    assert_eq!(plain(&twins).lines().count(), 3);
}

#[test]
fn a_deep_chain_stays_within_the_page() {
    let trace: Vec<_> = (1..=200).map(|id| item("a", span(1, id, id - 1, u64::from(id)))).collect();
    let text = plain(&trace);
    assert_eq!(text.lines().count(), 200);
    assert!(text.lines().all(|line| line.chars().count() < 140));
}

#[test]
fn what_could_steer_a_terminal_is_shown_escaped() {
    let mut hostile = span(1, 1, 0, 0);
    hostile.name = "GET \u{1b}[2J\r\n\u{9b}1m\u{202e}".into();
    hostile.attributes.push(("url.path", Value::Text(format!("/\u{7}{}", "x".repeat(300)).into())).into());
    let mut text = Vec::new();
    render(&[item("a\u{1b}]0;b", hostile)], &mut text);
    let text = String::from_utf8(text).unwrap();
    assert_eq!(text.lines().count(), 1);
    assert!(text.contains("GET \\u{1b}[2J\\u{d}\\u{a}\\u{9b}1m\\u{202e}"), "{text}");
    assert!(text.contains("a\\u{1b}]0;b") && text.contains("/\\u{7}xxx") && text.contains("xx… "), "{text}");
    let plain = anstream::adapter::strip_str(&text).to_string();
    assert!(plain.chars().all(|character| character == '\n' || !character.is_control()), "{plain:?}");
}

#[test]
fn a_trace_waits_for_its_root_and_for_stragglers_but_not_for_ever() {
    let mut traces = Traces::default();
    let start = Instant::now();
    let at = |milliseconds| start + Duration::from_millis(milliseconds);
    traces.add(item("a", span(1, 2, 1, 0)), at(0));
    traces.add(item("a", span(2, 2, 1, 0)), at(0));
    assert_eq!(traces.take(at(300), false).len(), 0);
    traces.add(item("a", span(1, 1, 0, 0)), at(300));
    assert_eq!(traces.take(at(340), false).len(), 0);
    assert_eq!(traces.take(at(350), false).iter().map(Vec::len).collect::<Vec<_>>(), [2]);
    assert_eq!(traces.take(at(399), false).len(), 0);
    assert_eq!(traces.take(at(400), false).iter().map(Vec::len).collect::<Vec<_>>(), [1]);
    assert!(traces.is_empty());
}

#[test]
fn held_spans_are_bounded() {
    let mut traces = Traces::default();
    let now = Instant::now();
    for number in 0..=MAX_HELD {
        traces.add(item("a", span(u8::try_from(number % 7).unwrap(), 1, 9, 0)), now);
    }
    let taken: usize = traces.take(now, false).iter().map(Vec::len).sum();
    assert_eq!((taken, traces.is_empty()), (MAX_HELD + 1, true));
}
