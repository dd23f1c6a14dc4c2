//! Whose a context is, and how far chains are followed.

use lightfoot_probes_abi::{ContextKey, Counter, ParentRule, SpanContext};

use crate::spans::Span;
use crate::watch::Options;
use crate::{INSTANCE, Watched, alone};

const TRACE: [u64; 2] = [0x1111, 0x2222];
const SPAN: u64 = 0x3333;

/// What a span would have noted that owns the target's long-lived context.
fn long_lived(watched: &mut Watched) -> (ContextKey, SpanContext) {
    let words = watched.target.ask("long-lived");
    let words: Vec<u64> = words.split(' ').map(|word| word.parse().unwrap()).collect();
    let [itab, data, parent_itab, parent_data, grandparent_itab, grandparent_data] = words[..] else {
        panic!()
    };
    let key = ContextKey { instance: INSTANCE, reserved: 0, address: data };
    let parent = [parent_itab, parent_data];
    // The grandparent is the empty context.
    let ancestors = [grandparent_itab, grandparent_data, 0, 0];
    let noted =
        SpanContext { itab, parent, ancestors, trace_id: TRACE, span_id: SPAN, trace_flags: 1, ended: 0 };
    (key, noted)
}

fn has_noted_parent(span: &Span) -> bool {
    let header = &span.fixed.header;
    let is_child = header.trace_id == TRACE && header.parent_span_id == SPAN;
    assert_eq!(span.rule(), if is_child { ParentRule::Context } else { ParentRule::Root });
    is_child
}

/// Other contexts can come to lie where one was. They differ in type or in what they hold, and those that are there when
/// the span has ended at least in what lies behind that.
#[test]
fn an_address_that_is_used_again() {
    let _alone = alone();
    let Some(mut watched) = Watched::clients(Options::default()) else { return };
    let (key, noted) = long_lived(&mut watched);
    let [parent_itab, parent_data] = noted.parent;
    let table = [
        (key, noted, true),
        (key, SpanContext { itab: noted.itab + 8, ..noted }, false),
        (key, SpanContext { itab: parent_itab, ..noted }, false),
        (key, SpanContext { parent: [parent_itab, parent_data + 8], ..noted }, false),
        (key, SpanContext { parent: [noted.itab, parent_data], ..noted }, false),
        (key, SpanContext { ancestors: [0; 4], ..noted }, true),
        (key, SpanContext { ended: 1, ..noted }, true),
        (key, SpanContext { ended: 1, ancestors: [0; 4], ..noted }, false),
        (key, SpanContext { ended: 1, ancestors: noted.ancestors.map(|word| word + 8), ..noted }, false),
        // Of another process, or of an earlier one under the same id.
        (ContextKey { instance: INSTANCE + 1, ..key }, noted, false),
    ];
    let command = format!("send-with-long-lived {}/x", watched.origin);
    for (key, noted, is_found) in table {
        watched.watch.hash("CONTEXTS").insert(&key, &noted, 0).unwrap();
        let span = watched.span(&command);
        assert_eq!(has_noted_parent(&span), is_found, "{key:?} {noted:?}");
        watched.watch.hash::<ContextKey, SpanContext>("CONTEXTS").remove(&key).unwrap();
    }
}

/// A context that has come to lie where an owned one was can descend from one that is owned now.
#[test]
fn an_owner_behind_an_address_that_is_used_again() {
    let _alone = alone();
    let Some(mut watched) = Watched::clients(Options::default()) else { return };
    let (key, noted) = long_lived(&mut watched);
    let stale = SpanContext { ended: 1, ancestors: [0; 4], trace_id: [1, 2], span_id: 3, ..noted };
    watched.watch.hash("CONTEXTS").insert(&key, &stale, 0).unwrap();
    let command = format!("send-with-long-lived {}/x", watched.origin);
    assert!(!has_noted_parent(&watched.span(&command)));
    let [itab, data] = noted.parent;
    let [parent_itab, parent_data, ..] = noted.ancestors;
    let owner = SpanContext { itab, parent: [parent_itab, parent_data], ancestors: [0; 4], ..noted };
    watched.watch.hash("CONTEXTS").insert(&ContextKey { address: data, ..key }, &owner, 0).unwrap();
    assert!(has_noted_parent(&watched.span(&command)));
}

/// A parent that is not recorded has children that are not.
#[test]
fn the_flags_of_the_owner() {
    let _alone = alone();
    let Some(mut watched) = Watched::clients(Options::default()) else { return };
    let (key, noted) = long_lived(&mut watched);
    watched.watch.hash("CONTEXTS").insert(&key, &SpanContext { trace_flags: 0, ..noted }, 0).unwrap();
    let command = format!("send-with-long-lived {}/x", watched.origin);
    watched.spans(0, &[&command]);
    watched.assert_counts(&[(Counter::Started, 1), (Counter::Unsampled, 1)]);
    watched.watch.hash("CONTEXTS").insert(&key, &SpanContext { trace_flags: 3, ..noted }, 0).unwrap();
    assert_eq!(watched.span(&command).fixed.header.trace_flags, 3);
}

/// The long-lived one counts as one of the 64, as does the one that it holds, which holds one that holds none.
#[test]
fn chains_are_followed_up_to_a_bound() {
    let _alone = alone();
    let Some(mut watched) = Watched::clients(Options::default()) else { return };
    let (key, noted) = long_lived(&mut watched);
    let origin = watched.origin.clone();
    let deep = |levels: usize| format!("send-with-deep {levels} {origin}/x");
    for (levels, bounds) in [(62, 0), (63, 1), (100, 2)] {
        assert!(!has_noted_parent(&watched.span(&deep(levels))));
        assert_eq!(watched.watch.counter(Counter::ContextBound), bounds, "{levels}");
    }
    watched.watch.hash("CONTEXTS").insert(&key, &noted, 0).unwrap();
    for (levels, is_found, bounds) in [(1, true, 2), (63, true, 2), (64, false, 3)] {
        assert_eq!(has_noted_parent(&watched.span(&deep(levels))), is_found, "{levels}");
        assert_eq!(watched.watch.counter(Counter::ContextBound), bounds, "{levels}");
    }
    watched.assert_counts(&[(Counter::Started, 6), (Counter::Ended, 6), (Counter::ContextBound, 3)]);
}

#[test]
fn pointers_that_are_nil() {
    let _alone = alone();
    let Some(mut watched) = Watched::clients(Options::default()) else { return };
    let command = format!("send-with-nil-pointer {}/x", watched.origin);
    assert!(!has_noted_parent(&watched.span(&command)));
    watched.assert_counts(&[(Counter::Started, 1), (Counter::Ended, 1)]);
}
