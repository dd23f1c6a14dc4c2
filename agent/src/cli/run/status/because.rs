//! Why a process that is watched has no spans, as far as what was counted tells.

use lightfoot_probes_abi::{Counter, Counters};

use crate::attach::count;
use crate::status::Operation;

/// The reason; `None` if there are spans.
pub(super) fn because(
    counters: &Counters,
    lost: u64,
    operations: &[Operation],
    since: &str,
) -> Option<String> {
    let of = |counter| count(counters, counter);
    if of(Counter::Ended) != 0 {
        return None;
    }
    let left = operations.iter().filter(|operation| operation.state == "left");
    let left: Vec<_> = left.map(|operation| operation.title.as_str()).collect();
    Some(if lost != 0 {
        "all were lost; the counts say why".to_owned()
    } else if of(Counter::Unsampled) != 0 {
        format!("the sampler has decided against all {}", of(Counter::Unsampled))
    } else if of(Counter::Started) != 0 {
        "none has ended yet".to_owned()
    } else if of(Counter::UnknownProtocol) != 0 {
        "its requests are of a protocol that is not watched".to_owned()
    } else if left.is_empty() {
        format!("no request was seen since {since}")
    } else {
        format!(
            "{} is left to its own instrumentation, and nothing else was seen since {since}",
            left.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_zero_has_its_reason() {
        let with = |counts: &[(Counter, u64)], lost, operations: &[Operation]| {
            let mut counters = Counters([0; Counters::CAPACITY]);
            for (counter, value) in counts {
                counters.0[*counter as usize] = *value;
            }
            because(&counters, lost, operations, "noon")
        };
        let left = Operation { title: "call".to_owned(), state: "left".to_owned(), ..Operation::default() };
        let own = "call is left to its own instrumentation, and nothing else was seen since noon";
        let started = (Counter::Started, 3);
        assert_eq!(with(&[started, (Counter::Ended, 1)], 2, &[]), None);
        assert_eq!(with(&[started], 3, &[]).unwrap(), "all were lost; the counts say why");
        let unsampled = with(&[started, (Counter::Unsampled, 3)], 0, &[]).unwrap();
        assert_eq!(unsampled, "the sampler has decided against all 3");
        assert_eq!(with(&[started], 0, &[]).unwrap(), "none has ended yet");
        let unknown = with(&[(Counter::UnknownProtocol, 1)], 0, &[]).unwrap();
        assert_eq!(unknown, "its requests are of a protocol that is not watched");
        assert_eq!(with(&[], 0, &[]).unwrap(), "no request was seen since noon");
        assert_eq!(with(&[], 0, &[left]).unwrap(), own);
    }
}
