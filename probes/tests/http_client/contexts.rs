//! Whose a context is, and how far chains are followed.

use lightfoot_probes_abi::{ContextKey, ContextSet, Counter, ParentRule, SpanContext};
use lightfoot_tests::probes::HttpSpan;

use crate::watch::Options;
use crate::{INSTANCE, Watched, alone};

const TRACE: [u64; 2] = [0x1111, 0x2222];
const SPAN: u64 = 0x3333;

/// What a span would have noted that owns the target's long-lived context.
fn long_lived(watched: &mut Watched) -> SpanContext {
    let words = watched.target.ask("long-lived");
    let words: Vec<u64> = words.split(' ').map(|word| word.parse().unwrap()).collect();
    let [itab, data, parent_itab, parent_data, grandparent_itab, grandparent_data] = words[..] else {
        panic!()
    };
    let key = ContextKey { instance: INSTANCE, reserved: 0, address: data };
    let parent = [parent_itab, parent_data];
    // The grandparent is the empty context.
    let ancestors = [grandparent_itab, grandparent_data, 0, 0];
    let noted = SpanContext {
        key,
        itab,
        parent,
        ancestors,
        trace_id: TRACE,
        span_id: SPAN,
        trace_flags: 1,
        ..SpanContext::default()
    };
    noted.summed()
}

/// Notes that a span owns a context.
fn note(watched: &mut Watched, element: SpanContext) {
    let set = element.key.set(ContextSet::number_for(Options::default().contexts) - 1);
    let mut map = watched.watch.array::<ContextSet>("CONTEXTS");
    let mut noted = map.get(&set, 0).unwrap();
    let same = noted.0.iter().position(|other| other.key == element.key);
    noted.0[same.unwrap_or(0)] = element;
    map.set(set, &noted, 0).unwrap();
}

fn has_noted_parent(span: &HttpSpan) -> bool {
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
    let noted = long_lived(&mut watched);
    let [parent_itab, parent_data] = noted.parent;
    let table = [
        (noted, true),
        (SpanContext { itab: noted.itab + 8, ..noted }, false),
        (SpanContext { itab: parent_itab, ..noted }, false),
        (SpanContext { parent: [parent_itab, parent_data + 8], ..noted }, false),
        (SpanContext { parent: [noted.itab, parent_data], ..noted }, false),
        (SpanContext { ancestors: [0; 4], ..noted }, true),
        (SpanContext { ended: 1, ..noted }, true),
        (SpanContext { ended: 1, ancestors: [0; 4], ..noted }, false),
        (SpanContext { ended: 1, ancestors: noted.ancestors.map(|word| word + 8), ..noted }, false),
        // Of another process, or of an earlier one under the same id.
        (SpanContext { key: ContextKey { instance: INSTANCE + 1, ..noted.key }, ..noted }, false),
    ];
    let command = format!("send-with-long-lived {}/x", watched.origin);
    for (noted, is_found) in table {
        note(&mut watched, noted.summed());
        let span = watched.span(&command);
        assert_eq!(has_noted_parent(&span), is_found, "{noted:?}");
        note(&mut watched, SpanContext { key: noted.key, ..SpanContext::default() });
    }
}

/// Two processors may write one element at the same time, or one while the other reads. It then has pieces of two.
#[test]
fn elements_of_two_contexts() {
    let _alone = alone();
    let Some(mut watched) = Watched::clients(Options::default()) else { return };
    let noted = long_lived(&mut watched);
    let command = format!("send-with-long-lived {}/x", watched.origin);
    let torn = [
        SpanContext { span_id: SPAN + 1, ..noted },
        SpanContext { trace_id: [TRACE[0], TRACE[1] + 1], ..noted },
        SpanContext { trace_flags: 0, ..noted },
        SpanContext { sum: noted.sum + 1, ..noted },
        SpanContext { start: 1, ..noted },
    ];
    for element in torn {
        note(&mut watched, element);
        assert_eq!(watched.span(&command).rule(), ParentRule::Root, "{element:?}");
    }
    note(&mut watched, noted);
    assert!(has_noted_parent(&watched.span(&command)));
}

/// A context that has come to lie where an owned one was can descend from one that is owned now.
#[test]
fn an_owner_behind_an_address_that_is_used_again() {
    let _alone = alone();
    let Some(mut watched) = Watched::clients(Options::default()) else { return };
    let noted = long_lived(&mut watched);
    let stale = SpanContext { ended: 1, ancestors: [0; 4], trace_id: [1, 2], span_id: 3, ..noted };
    note(&mut watched, stale.summed());
    let command = format!("send-with-long-lived {}/x", watched.origin);
    assert!(!has_noted_parent(&watched.span(&command)));
    let [itab, data] = noted.parent;
    let [parent_itab, parent_data, ..] = noted.ancestors;
    let owner = SpanContext {
        key: ContextKey { address: data, ..noted.key },
        itab,
        parent: [parent_itab, parent_data],
        ancestors: [0; 4],
        ..noted
    };
    note(&mut watched, owner.summed());
    assert!(has_noted_parent(&watched.span(&command)));
}

/// A parent that is not recorded has children that are not.
#[test]
fn the_flags_of_the_owner() {
    let _alone = alone();
    let Some(mut watched) = Watched::clients(Options::default()) else { return };
    let noted = long_lived(&mut watched);
    note(&mut watched, SpanContext { trace_flags: 0, ..noted }.summed());
    let command = format!("send-with-long-lived {}/x", watched.origin);
    watched.spans(0, &[&command]);
    watched.assert_counts(&[(Counter::Started, 1), (Counter::Unsampled, 1)]);
    note(&mut watched, SpanContext { trace_flags: 3, ..noted }.summed());
    assert_eq!(watched.span(&command).fixed.header.trace_flags, 3);
}

/// The long-lived one counts as one of the 64, as does the one that it holds, which holds one that holds none.
#[test]
fn chains_are_followed_up_to_a_bound() {
    let _alone = alone();
    let Some(mut watched) = Watched::clients(Options::default()) else { return };
    let noted = long_lived(&mut watched);
    let origin = watched.origin.clone();
    let deep = |levels: usize| format!("send-with-deep {levels} {origin}/x");
    for (levels, bounds) in [(62, 0), (63, 1), (100, 2)] {
        assert!(!has_noted_parent(&watched.span(&deep(levels))));
        assert_eq!(watched.watch.counter(Counter::ContextBound), bounds, "{levels}");
    }
    note(&mut watched, noted);
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
