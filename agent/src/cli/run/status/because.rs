//! Why there is nothing where somebody expects something, as far as what was counted tells.

use lightfoot_probes_abi::{Counter, Counters};

use crate::attach::count;
use crate::discover::Paused;
use crate::status::{Delivery, Operation};
use crate::watch::Report;

/// Why no process is watched; there is no report of an agent that is busy from its start on.
pub(super) fn nobody(report: Option<&Report>, refused: usize) -> String {
    match report {
        None => "it is busy, and has not said anything of processes yet".to_owned(),
        Some(Report { paused: Paused::Everything, .. }) => "everything is paused".to_owned(),
        Some(Report { has_looked: false, .. }) => {
            "the processes that were there at its start are still looked at".to_owned()
        }
        Some(_) if refused != 0 => format!("what was to be watched cannot be ({refused} processes)"),
        Some(_) => "none that runs is to be watched; `lightfoot targets` shows why".to_owned(),
    }
}

/// Why no span was sent or printed; `None` if some were. `of` has what was counted.
pub(super) fn undelivered(delivery: &Delivery, of: impl Fn(&str) -> u64) -> Option<String> {
    let Delivery { endpoint, down, refuses, printed, waiting_spans, .. } = delivery;
    if of("spans_exported") != 0 || of("spans_printed") != 0 {
        return None;
    }
    let (pushed, left_out) = (of("spans_pushed"), of("spans_left_out"));
    let because = if endpoint.is_none() && !printed {
        "spans are thrown away, as was asked for"
    } else if pushed == 0 && left_out != 0 {
        return Some(format!("rules leave out all {left_out} that came"));
    } else if pushed == 0 {
        "no span has come yet; of each process it is said why"
    } else if *refuses {
        "the endpoint refuses what it is sent"
    } else if *waiting_spans != 0 && *down {
        "the endpoint is down, and they wait for it"
    } else if *waiting_spans != 0 {
        "the first ones wait to be sent, or for the answer"
    } else if endpoint.is_none() {
        "they wait to be printed, or were lost; the counts say which"
    } else {
        "all were lost; the counts say why"
    };
    Some(because.to_owned())
}

/// Why a process that is watched has no spans, of which so many were lost and so many are open; `None` if there are some.
pub(super) fn because(
    counters: &Counters,
    (lost, open): (u64, u64),
    operations: &[Operation],
    since: &str,
) -> Option<String> {
    let of = |counter| count(counters, counter);
    if of(Counter::Ended) != 0 {
        return None;
    }
    let left = operations.iter().filter(|operation| operation.state == "left");
    let left: Vec<_> = left.map(|operation| operation.title.as_str()).collect();
    let unsampled = of(Counter::Unsampled);
    Some(if lost != 0 || unsampled != 0 {
        unrecorded(lost, unsampled, open)
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

/// What became of spans of which none is recorded.
fn unrecorded(lost: u64, unsampled: u64, open: u64) -> String {
    match (lost, unsampled, open) {
        (_, 0, 0) => "all were lost; the counts say why".to_owned(),
        (0, _, 0) => format!("the sampler has decided against all {unsampled}"),
        // Nothing of these is true of all.
        _ => {
            let parts = [
                (open, format!("{open} are open")),
                (unsampled, format!("the sampler has decided against {unsampled}")),
                (lost, format!("{lost} were lost (the counts say why)")),
            ];
            let parts = parts.into_iter().filter(|(count, _)| *count != 0).map(|(_, part)| part);
            parts.collect::<Vec<_>>().join(", and ")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_why_nobody_is_watched() {
        let looked = |has_looked, paused| Report { has_looked, paused, ..Report::default() };
        assert_eq!(nobody(None, 0), "it is busy, and has not said anything of processes yet");
        assert_eq!(nobody(Some(&looked(true, Paused::Everything)), 1), "everything is paused");
        let still = "the processes that were there at its start are still looked at";
        assert_eq!(nobody(Some(&looked(false, Paused::Nothing)), 1), still);
        let cannot = "what was to be watched cannot be (2 processes)";
        assert_eq!(nobody(Some(&looked(true, Paused::Nothing)), 2), cannot);
        let none = "none that runs is to be watched; `lightfoot targets` shows why";
        assert_eq!(nobody(Some(&looked(true, Paused::Nothing)), 0), none);
    }

    #[test]
    fn it_is_said_why_nothing_is_delivered() {
        let with = |endpoint: bool, printed, down, waiting_spans, counts: &[(&str, u64)]| {
            let endpoint = endpoint.then(|| "http://host".to_owned());
            let delivery = Delivery { endpoint, down, printed, waiting_spans, ..Delivery::default() };
            let of = |name: &str| counts.iter().find(|(one, _)| *one == name).map_or(0, |(_, count)| *count);
            undelivered(&delivery, of)
        };
        let pushed = ("spans_pushed", 3);
        assert_eq!(with(true, false, true, 2, &[pushed, ("spans_exported", 1)]), None);
        assert_eq!(with(false, true, false, 0, &[pushed, ("spans_printed", 3)]), None);
        let thrown = "spans are thrown away, as was asked for";
        assert_eq!(with(false, false, false, 0, &[pushed]).unwrap(), thrown);
        let none = "no span has come yet; of each process it is said why";
        assert_eq!(with(true, false, true, 0, &[]).unwrap(), none);
        let left_out = ("spans_left_out", 7);
        for (endpoint, printed) in [(true, false), (false, true)] {
            let rules = "rules leave out all 7 that came";
            assert_eq!(with(endpoint, printed, false, 0, &[left_out]).unwrap(), rules);
        }
        let down = "the endpoint is down, and they wait for it";
        assert_eq!(with(true, false, true, 3, &[pushed]).unwrap(), down);
        let wait = "the first ones wait to be sent, or for the answer";
        assert_eq!(with(true, false, false, 3, &[pushed]).unwrap(), wait);
        let printing = "they wait to be printed, or were lost; the counts say which";
        assert_eq!(with(false, true, false, 0, &[pushed]).unwrap(), printing);
        let lost = "all were lost; the counts say why";
        assert_eq!(with(true, false, false, 0, &[left_out, pushed]).unwrap(), lost);
        for waiting_spans in [0, 3] {
            let endpoint = Some("http://host".to_owned());
            let refusing =
                Delivery { endpoint, down: true, refuses: true, waiting_spans, ..Delivery::default() };
            let because = undelivered(&refusing, |name| u64::from(name == "spans_pushed"));
            assert_eq!(because.as_deref(), Some("the endpoint refuses what it is sent"));
            assert_eq!(undelivered(&refusing, |_| 1), None);
        }
    }

    #[test]
    fn each_zero_has_its_reason() {
        let with = |counts: &[(Counter, u64)], lost_and_open, operations: &[Operation]| {
            let mut counters = Counters([0; Counters::CAPACITY]);
            for (counter, value) in counts {
                counters.0[*counter as usize] = *value;
            }
            because(&counters, lost_and_open, operations, "noon")
        };
        let left = Operation { title: "call".to_owned(), state: "left".to_owned(), ..Operation::default() };
        let own = "call is left to its own instrumentation, and nothing else was seen since noon";
        let started = (Counter::Started, 3);
        assert_eq!(with(&[started, (Counter::Ended, 1)], (2, 0), &[]), None);
        assert_eq!(with(&[started], (3, 0), &[]).unwrap(), "all were lost; the counts say why");
        let unsampled = with(&[started, (Counter::Unsampled, 3)], (0, 0), &[]).unwrap();
        assert_eq!(unsampled, "the sampler has decided against all 3");
        assert_eq!(with(&[started], (0, 3), &[]).unwrap(), "none has ended yet");
        let unknown = with(&[(Counter::UnknownProtocol, 1)], (0, 0), &[]).unwrap();
        assert_eq!(unknown, "its requests are of a protocol that is not watched");
        assert_eq!(with(&[], (0, 0), &[]).unwrap(), "no request was seen since noon");
        assert_eq!(with(&[], (0, 0), &[left]).unwrap(), own);
    }

    #[test]
    fn what_is_true_of_some_alone_is_not_said_of_all() {
        let with = |unsampled: u64, lost: u64, open: u64| {
            let mut counters = Counters([0; Counters::CAPACITY]);
            counters.0[Counter::Started as usize] = unsampled + open;
            counters.0[Counter::Unsampled as usize] = unsampled;
            because(&counters, (lost, open), &[], "noon").unwrap()
        };
        assert_eq!(with(0, 44, 16), "16 are open, and 44 were lost (the counts say why)");
        assert_eq!(with(3, 0, 2), "2 are open, and the sampler has decided against 3");
        assert_eq!(with(3, 1, 0), "the sampler has decided against 3, and 1 were lost (the counts say why)");
        let all = "2 are open, and the sampler has decided against 3, and 1 were lost (the counts say why)";
        assert_eq!(with(3, 1, 2), all);
    }
}
