//! What being watched costs, by estimate: the traps that counts tell of, and what one costs.

use lightfoot_probes_abi::Counter;

use crate::status::TrapPrice;

/// What counts exactly one trap each: the starts of spans and what comes of those that cannot be opened, their ends, and the optional sites.
const TRAPS: [Counter; 23] = [
    Counter::Started,
    Counter::InFlightFull,
    Counter::NoGoroutine,
    Counter::NoRequest,
    Counter::TooDeep,
    Counter::NestedClient,
    Counter::UnknownProtocol,
    Counter::Ended,
    Counter::Unsampled,
    Counter::RingFull,
    Counter::EndWithoutStart,
    Counter::RouteSite,
    Counter::RouterSite,
    Counter::ForeignBinary,
    Counter::UnknownSite,
    Counter::StackChecksFailed,
    Counter::Propagated,
    Counter::PropagationOwn,
    Counter::PropagationNoRoom,
    Counter::PropagationShared,
    Counter::PropagationUnknown,
    Counter::PropagationUnproven,
    Counter::JoinSite,
];
/// Half of what two traps were measured to add to a request (docs/bench/README.md, "a bare request", traps alone, at saturation).
const ASSUMED_NANOSECONDS: f64 = 1300.0;

/// How many traps counts tell of.
pub(super) fn traps(of: impl Fn(Counter) -> u64) -> u64 {
    TRAPS.into_iter().map(of).fold(0, u64::saturating_add)
}

/// What one costs, as it was measured here if it was.
pub(super) fn price(measured: Option<f64>) -> TrapPrice {
    let (nanoseconds, source) =
        measured.map_or((ASSUMED_NANOSECONDS, "assumed"), |price| (price, "measured"));
    TrapPrice { nanoseconds, source: source.to_owned() }
}

/// Of so many traps, in seconds.
#[expect(clippy::cast_precision_loss, reason = "it is an estimate")]
pub(super) fn seconds(traps: u64, price: &TrapPrice) -> f64 {
    traps as f64 * price.nanoseconds / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_counter_of_traps_is_one_trap() {
        for (position, counter) in TRAPS.iter().enumerate() {
            assert_eq!(traps(|one| u64::from(one == *counter)), 1, "{counter:?}");
            assert!(!TRAPS[..position].contains(counter), "{counter:?}");
        }
        // What is counted within a trap that another one counts is none.
        assert_eq!(traps(|one| u64::from([Counter::ReadFault, Counter::Abandoned].contains(&one))), 0);
    }

    #[test]
    fn a_price_is_assumed_where_none_was_measured() {
        let (assumed, measured) = (price(None), price(Some(500.0)));
        assert_eq!((assumed.source.as_str(), measured.source.as_str()), ("assumed", "measured"));
        let cost = |price| seconds(2_000_000, price);
        assert!(
            (cost(&assumed) - 2.6).abs() < 1e-9 && (cost(&measured) - 1.0).abs() < 1e-9,
            "{}",
            cost(&measured)
        );
    }

    #[test]
    fn the_price_is_that_of_the_benchmark() {
        let page = include_str!("../../../../../docs/bench/README.md");
        let row = page.lines().find(|line| line.starts_with("| a bare request | traps alone |")).unwrap();
        // Microseconds: the median, then the lowest and the highest.
        let added = row.split('|').nth(5).unwrap();
        let (_, range) = added.split_once('(').unwrap();
        let (low, high) = range.trim().trim_end_matches(')').split_once(" to ").unwrap();
        let range = low.parse::<f64>().unwrap()..high.parse::<f64>().unwrap();
        assert!(range.contains(&(2.0 * ASSUMED_NANOSECONDS / 1e3)), "{added}");
    }
}
