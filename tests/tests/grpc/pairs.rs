//! Which span is of which call.

use std::collections::HashMap;

use lightfoot_tests::live::{Called, Facts, Handled, Span};

pub(crate) const SERVER: u64 = 2;
pub(crate) const CLIENT: u64 = 3;

/// How little of a long method a span may say.
const CUT: usize = 64;

/// A call with all that is known of it.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(crate) called: &'a Called,
    pub(crate) client: Option<&'a Span>,
    /// Those of each attempt that reached a server, in their order.
    pub(crate) servers: Vec<&'a Span>,
    pub(crate) handled: Vec<&'a Handled>,
}

/// The calls, their spans being those of the same method: most methods are those of one call.
pub(crate) struct Calls<'a> {
    /// In their order.
    pub(crate) all: Vec<Call<'a>>,
    /// Spans of no call.
    pub(crate) rest: Vec<&'a Span>,
}

impl<'a> Calls<'a> {
    /// `offset` is what to add to times of the truth for those of spans, which may be off by `slack`.
    pub(crate) fn of(facts: &'a Facts, spans: &'a [Span], [offset, slack]: [u64; 2]) -> Self {
        let empty = |called| Call { called, client: None, servers: Vec::new(), handled: Vec::new() };
        let mut all: Vec<_> = facts.called.iter().map(empty).collect();
        all.sort_by_key(|call| call.called.start);
        let mut methods: HashMap<&str, Vec<(u64, usize)>> = HashMap::new();
        for (index, Call { called, .. }) in all.iter().enumerate() {
            let of_method = methods.entry(called.method.trim_start_matches('/')).or_default();
            of_method.push((called.start, index));
        }
        // The last one that had begun.
        let find = |method: &str, start: u64| {
            let is_whole = |whole: &&&str| method.len() >= CUT && whole.starts_with(method);
            let of_method =
                methods.get(method).or_else(|| methods.get(methods.keys().find(is_whole).copied()?))?;
            of_method.iter().rfind(|call| call.0 <= start).map(|call| call.1)
        };
        let mut handled: Vec<_> = facts.handled.iter().collect();
        handled.sort_by_key(|handled| handled.start);
        for handled in handled {
            let index = find(handled.method.trim_start_matches('/'), handled.start).unwrap();
            all[index].handled.push(handled);
        }
        let mut sorted: Vec<_> =
            spans.iter().filter(|span| !span.text("rpc.system.name").is_empty()).collect();
        sorted.sort_by_key(|span| span.start);
        let mut rest = Vec::new();
        for span in sorted {
            let call = find(method(span), span.start + slack - offset).map(|index| &mut all[index]);
            match call {
                Some(Call { client: client @ None, .. }) if span.kind == CLIENT => *client = Some(span),
                Some(Call { servers, .. }) if span.kind == SERVER => servers.push(span),
                _ => rest.push(span),
            }
        }
        Self { all, rest }
    }
}

/// The method that a span is of, as it was called.
pub(crate) fn method(span: &Span) -> &str {
    match span.text("rpc.method_original") {
        "" => span.text("rpc.method"),
        original => original,
    }
}
