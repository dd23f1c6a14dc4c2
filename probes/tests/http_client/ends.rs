//! Where a client's span ends.

use lightfoot_probes_abi::record::http_flags::ENDED_BY_OUTER;
use lightfoot_probes_abi::{Counter, ParentRule, Text};
use lightfoot_tests::probes::PlacedSite;

use crate::watch::Options;
use crate::{Watched, alone, usual_go};

/// The address that each caller's calls return to, as the programs tell it.
fn return_addresses() -> Option<Vec<u64>> {
    let mut watched = Watched::clients(Options::default())?;
    let origin = watched.origin.clone();
    let commands = ["send GET", "called", "wrapped"].map(|command| format!("{command} {origin}/x"));
    watched.spans(3, &commands.each_ref().map(String::as_str));
    Some(watched.callers())
}

/// A target whose clients end behind the calls in these functions alone.
fn ending_in(callers: &[&str]) -> Option<Watched> {
    let return_addresses = return_addresses()?;
    let mut watched = Watched::new(Options::default(), usual_go(), false)?;
    let ends = callers.iter().map(|caller| watched.facts.call(caller, &return_addresses));
    let sites: Vec<PlacedSite> = [watched.facts.start].into_iter().chain(ends).collect();
    watched.attach(&sites);
    Some(watched)
}

#[test]
fn behind_the_call_in_each_caller() {
    let _alone = alone();
    let callers = ["net/http.send", "main.called", "main.wrapper.RoundTrip"];
    let Some(mut watched) = ending_in(&callers) else { return };
    let origin = watched.origin.clone();
    for command in ["send GET", "called", "wrapped"] {
        let span = watched.span(&format!("{command} {origin}/x?status=418"));
        assert_eq!((span.fixed.status, span.has(ENDED_BY_OUTER)), (418, false), "{command}");
    }
    let seen = watched.callers();
    assert_eq!(seen.len(), 3);
    for caller in callers {
        let _ = watched.facts.call(caller, &seen);
    }
    watched.assert_counts(&[(Counter::Started, 3), (Counter::Ended, 3)]);
}

#[test]
fn where_the_method_is_inlined() {
    let _alone = alone();
    let Some(mut watched) = Watched::new(Options::default(), usual_go(), false) else { return };
    let sites = watched.facts.direct;
    watched.attach(&sites);
    let origin = watched.origin.clone();
    let span = watched.span(&format!("direct {origin}/x?status=418"));
    assert_eq!((span.fixed.status, span.path()), (418, "/x"));
    let span = watched.span("direct test://text.3/x");
    assert_eq!(span.text(Text::Error), "eee");
    assert!(watched.callers().is_empty());
    watched.assert_counts(&[(Counter::Started, 2), (Counter::Ended, 2)]);
}

/// As long as nobody has learned who calls the transport, what is known around that ends the span.
#[test]
fn by_the_return_of_a_call_around() {
    let _alone = alone();
    let Some(mut watched) = ending_in(&["net/http.send"]) else { return };
    let origin = watched.origin.clone();
    let span = watched.span(&format!("wrapped {origin}/x?status=418"));
    assert_eq!((span.fixed.status, span.has(ENDED_BY_OUTER)), (418, true));
    let span = watched.span("wrapped test://text.3/x");
    assert_eq!(span.fixed.error_type_or_stream, watched.facts.descriptor("*fmt.wrapError"));
    assert!(span.has(ENDED_BY_OUTER));
    watched.assert_counts(&[(Counter::Started, 2), (Counter::Ended, 2), (Counter::EndedByOuter, 2)]);
}

/// A span whose end was missed is no parent: its frame is gone.
#[test]
fn a_missed_end() {
    let _alone = alone();
    let Some(mut watched) = ending_in(&["net/http.send"]) else { return };
    let origin = watched.origin.clone();
    let span = watched.span(&format!("called-then-send {origin}/missed {origin}/x"));
    assert_eq!((span.path(), span.rule()), ("/x", ParentRule::Root));
    watched.assert_counts(&[(Counter::Started, 2), (Counter::Ended, 1), (Counter::Abandoned, 1)]);
}

#[test]
fn a_transport_that_panics() {
    let _alone = alone();
    let Some(mut watched) = Watched::clients(Options::default()) else { return };
    let command = format!("panic-then-send {}/x", watched.origin);
    let span = watched.span(&command);
    assert_eq!((span.path(), span.rule()), ("/x", ParentRule::Root));
    watched.assert_counts(&[(Counter::Started, 2), (Counter::Ended, 1), (Counter::Abandoned, 1)]);
}

/// A call from within a transport is a call of its own, and both go on.
#[test]
fn one_within_the_other() {
    let _alone = alone();
    let Some(mut watched) = Watched::clients(Options::default()) else { return };
    let command = format!("proxied {0}/outer {0}/inner", watched.origin);
    let spans = watched.spans(2, &[&command]);
    let [inner, outer] = &spans[..] else { panic!() };
    assert_eq!((inner.path(), outer.path()), ("/inner", "/outer"));
    assert_eq!((inner.rule(), outer.rule()), (ParentRule::Goroutine, ParentRule::Root));
    assert!(inner.is_child_of(outer));
    assert!(outer.fixed.header.start < inner.fixed.header.start);
    assert!(inner.fixed.header.end < outer.fixed.header.end);
    watched.assert_counts(&[(Counter::Started, 2), (Counter::Ended, 2)]);
}

#[test]
fn as_many_levels_as_are_followed() {
    let _alone = alone();
    let Some(mut watched) = Watched::clients(Options::default()) else { return };
    let spans = watched.spans(8, &["send GET test://nest.10/x"]);
    for (number, pair) in spans.windows(2).enumerate() {
        // The two innermost are lost.
        assert_eq!(pair[0].text(Text::Host), format!("nest.{}", number + 3));
        assert!(pair[0].is_child_of(&pair[1]));
    }
    watched.assert_counts(&[(Counter::Started, 8), (Counter::Ended, 8), (Counter::TooDeep, 2)]);
}

/// A transport that has another do its work makes one span.
#[test]
fn a_transport_within_a_transport() {
    let _alone = alone();
    let Some(mut watched) = Watched::clients(Options::default()) else { return };
    let inner = watched.facts.inner.clone();
    watched.attach(&inner);
    let span = watched.span("send GET test://inner/x");
    assert_eq!((span.fixed.status, span.text(Text::Host)), (298, "inner"));
    watched.assert_counts(&[(Counter::Started, 1), (Counter::Ended, 1), (Counter::NestedClient, 1)]);
    let span = watched.span("inner test://alone/x");
    assert_eq!((span.fixed.status, span.text(Text::Host)), (298, "alone"));
    watched.assert_counts(&[(Counter::Started, 2), (Counter::Ended, 2), (Counter::NestedClient, 1)]);
}

#[test]
fn more_callers_than_can_be_noted() {
    let _alone = alone();
    let Some(mut watched) = Watched::clients(Options { callers: 1, ..Options::default() }) else { return };
    let origin = watched.origin.clone();
    let commands = ["send GET", "called", "wrapped"].map(|command| format!("{command} {origin}/x"));
    watched.spans(3, &commands.each_ref().map(String::as_str));
    assert_eq!(watched.callers().len(), 1);
    watched.assert_counts(&[(Counter::Started, 3), (Counter::Ended, 3), (Counter::CallersFull, 2)]);
}
