//! Compares all spans of a program with its truth.

use std::collections::{BTreeMap, HashMap};

use lightfoot_tests::live::{Call, Facts, Outcome, Served, Span};

const SERVER: u64 = 2;
const CLIENT: u64 = 3;

/// What became of calls whose parent can only be inferred.
#[derive(Debug, Default)]
pub(crate) struct Inferred {
    /// Linked to the parent that they have.
    pub(crate) right: u64,
    /// Linked in the one documented way to be wrong.
    pub(crate) wrong: u64,
    /// Not linked.
    pub(crate) missed: u64,
}

/// All that a judgement needs, by numbers.
struct Case<'a> {
    served: HashMap<u64, &'a Served>,
    calls: HashMap<u64, &'a Call>,
    /// Spans of servers and of clients.
    spans: [HashMap<u64, &'a Span>; 2],
}

/// Fails unless each span is there and linked as it must be; what became of inferences, by case.
pub(crate) fn judge(facts: &Facts, outcome: &Outcome) -> BTreeMap<String, Inferred> {
    let of_kind = |kind: u64, key: &'static str| {
        let mut spans: HashMap<u64, &Span> = HashMap::new();
        for span in outcome.spans.iter().filter(|span| span.kind == kind) {
            let number = span.text(key).rsplit('/').next().unwrap().parse().unwrap();
            let twice = spans.insert(number, span);
            assert!(twice.is_none(), "two spans of {number}: {twice:?}");
        }
        spans
    };
    let case = Case {
        served: facts.served.iter().map(|served| (served.number, served)).collect(),
        calls: facts.calls.iter().map(|call| (call.number, call)).collect(),
        spans: [of_kind(SERVER, "url.path"), of_kind(CLIENT, "url.full")],
    };
    for served in &facts.served {
        case.judge_request(served, outcome);
    }
    let mut inferred: BTreeMap<String, Inferred> = BTreeMap::new();
    for call in &facts.calls {
        case.judge_call(call, inferred.entry(call.case.clone()).or_default());
    }
    let [served, called] = &case.spans;
    assert!(served.keys().all(|number| case.served.contains_key(number)), "spans of no request");
    let unknown: Vec<_> = called.iter().filter(|(number, _)| !case.calls.contains_key(number)).collect();
    assert!(unknown.is_empty(), "spans of no call: {unknown:?}");
    inferred
}

/// All cases together.
pub(crate) fn total(inferred: &BTreeMap<String, Inferred>) -> Inferred {
    let mut total = Inferred::default();
    for case in inferred.values() {
        total.right += case.right;
        total.wrong += case.wrong;
        total.missed += case.missed;
    }
    total
}

impl<'a> Case<'a> {
    fn judge_request(&self, served: &Served, outcome: &Outcome) {
        let span = self.spans[0].get(&served.number);
        if !self.is_sampled(served.number) {
            assert!(span.is_none(), "a span of {served:?}");
            return;
        }
        if served.case == "mid-life" {
            // It began before anybody watched.
            assert!(span.is_none(), "a span of {served:?}");
            return;
        }
        let span = span.unwrap_or_else(|| panic!("no span of {served:?}; {}", outcome.messages));
        let (trace, parent, rule) = match &served.remote {
            Some(remote) => (remote.trace_id.as_str(), remote.span_id.as_str(), "incoming"),
            None => (span.trace_id.as_str(), "", ""),
        };
        let said = (span.trace_id.as_str(), span.parent_span_id.as_str(), span.text("lightfoot.parent.rule"));
        assert_eq!(said, (trace, parent, rule), "{served:?}");
    }

    fn judge_call(&self, call: &Call, inferred: &mut Inferred) {
        let span = self.spans[1].get(&call.number).copied();
        let is_inferred = call.rule == "parent_goroutine";
        if !call.rule.is_empty() && !self.is_sampled(call.parent) {
            // An inference may be missed, and then it is a root like any other.
            let is_root = span.is_some_and(|span| span.parent_span_id.is_empty());
            assert!(span.is_none() || is_inferred && is_root, "{call:?} was not to be sampled: {span:?}");
            return;
        }
        let span = span.unwrap_or_else(|| panic!("no span of {call:?}"));
        let said = span.text("lightfoot.parent.rule");
        let is_marked = span.attributes.contains_key("lightfoot.parent.inferred");
        if call.rule.is_empty() || is_inferred && span.parent_span_id.is_empty() {
            assert_eq!((span.parent_span_id.as_str(), said, is_marked), ("", "", false), "{call:?}");
            inferred.missed += u64::from(is_inferred);
            return;
        }
        let parent = self.parent(call);
        if span.parent_span_id != parent.span_id {
            let mut all = self.spans.iter().flat_map(HashMap::values);
            let other = all.find(|other| other.span_id == span.parent_span_id);
            panic!("{call:?} {span:#?} is not linked to {parent:#?} but to {other:#?}");
        }
        assert_eq!((said, &span.trace_id), (call.rule.as_str(), &parent.trace_id), "{call:?}");
        assert_eq!(is_marked, is_inferred, "{call:?}");
        if is_inferred && call.parent == call.cause {
            inferred.right += 1;
        } else if is_inferred {
            assert_eq!(call.case, "lazy-pool", "a wrong link that is not documented: {call:?}");
            inferred.wrong += 1;
        }
    }

    fn parent(&self, call: &Call) -> &'a Span {
        let [served, called] = &self.spans;
        let among = if self.served.contains_key(&call.parent) { served } else { called };
        among.get(&call.parent).copied().unwrap_or_else(|| panic!("no span of the parent of {call:?}"))
    }

    /// Whether there is to be a span of a request or call: its remote parent decides.
    fn is_sampled(&self, number: u64) -> bool {
        if let Some(served) = self.served.get(&number) {
            let flags = served.remote.as_ref().map(|remote| u8::from_str_radix(&remote.flags, 16).unwrap());
            return flags.is_none_or(|flags| flags & 1 == 1);
        }
        let parent = self.calls.get(&number).map_or(0, |call| call.parent);
        parent == 0 || self.is_sampled(parent)
    }
}
