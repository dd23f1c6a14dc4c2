//! What became of spans: the counters of everything after the ring buffer, and the names of all there are.
//!
//! A span that is pushed into delivery ends in exactly one of them for each place that it goes to, so for each place
//! pushed = delivered + the losses + what still waits.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use lightfoot_probes_abi::Counter as KernelCounter;

mod parents;
mod session;

pub use parents::Parents;
pub use session::SessionCounter;

/// At most so many services have counters of their own; what the others lose is counted under [`OTHER_SERVICES`].
pub const MAX_SERVICES: usize = 1_024;
/// The name that the losses of services beyond [`MAX_SERVICES`] are counted under.
pub const OTHER_SERVICES: &str = "(other services)";

/// What is counted, in spans unless the help says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Counter {
    /// Handed to delivery.
    Pushed,
    /// Acknowledged by the OTLP endpoint.
    Exported,
    /// Printed.
    Printed,
    /// Thrown away as asked, for there is nowhere to send to.
    Discarded,
    /// Lost: the service had its number of spans in the queue.
    QueueFull,
    /// Lost: the service had its share of the queue's bytes.
    QueueBytes,
    /// Lost: the endpoint refused their batch for good.
    Refused,
    /// Lost: the endpoint took their batch without them (partial success).
    Rejected,
    /// Lost: given up after `OTEL_BSP_EXPORT_TIMEOUT`, retries included.
    ExportTimedOut,
    /// Lost: still waiting, or under way without an acknowledgement, when the time to stop was up.
    Unfinished,
    /// Lost: the reader of standard output was too slow.
    PrinterBehind,
    /// Lost: standard output could not be written.
    PrintFailed,
    /// Lost: not printed yet when the time to stop was up.
    Unprinted,
    /// Tries to export a batch that failed and were followed by another.
    Retries,
}

impl Counter {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 14] = [
        Self::Pushed,
        Self::Exported,
        Self::Printed,
        Self::Discarded,
        Self::QueueFull,
        Self::QueueBytes,
        Self::Refused,
        Self::Rejected,
        Self::ExportTimedOut,
        Self::Unfinished,
        Self::PrinterBehind,
        Self::PrintFailed,
        Self::Unprinted,
        Self::Retries,
    ];

    /// The name, as `status` and metrics have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pushed => "spans_pushed",
            Self::Exported => "spans_exported",
            Self::Printed => "spans_printed",
            Self::Discarded => "spans_discarded",
            Self::QueueFull => "spans_lost_queue_full",
            Self::QueueBytes => "spans_lost_queue_bytes",
            Self::Refused => "spans_lost_refused",
            Self::Rejected => "spans_lost_rejected",
            Self::ExportTimedOut => "spans_lost_export_timeout",
            Self::Unfinished => "spans_lost_unfinished",
            Self::PrinterBehind => "spans_lost_printer_behind",
            Self::PrintFailed => "spans_lost_print_failed",
            Self::Unprinted => "spans_lost_unprinted",
            Self::Retries => "export_retries",
        }
    }

    /// One sentence for people.
    pub const fn help(self) -> &'static str {
        match self {
            Self::Pushed => "spans handed to delivery",
            Self::Exported => "spans that the OTLP endpoint acknowledged",
            Self::Printed => "spans printed on standard output",
            Self::Discarded => "spans thrown away as asked, for lack of anywhere to send them",
            Self::QueueFull => "spans lost because their service had its number of spans in the export queue",
            Self::QueueBytes => "spans lost because their service had its share of the export queue's bytes",
            Self::Refused => "spans lost because the OTLP endpoint refused their batch for good",
            Self::Rejected => "spans lost because the OTLP endpoint took their batch without them",
            Self::ExportTimedOut => "spans lost because OTEL_BSP_EXPORT_TIMEOUT was over, retries included",
            Self::Unfinished => "spans lost because they were not acknowledged when the time to stop was up",
            Self::PrinterBehind => "spans lost because the reader of standard output was too slow",
            Self::PrintFailed => "spans lost because standard output could not be written",
            Self::Unprinted => "spans lost because they were not printed when the time to stop was up",
            Self::Retries => "tries to send a batch that failed and were followed by another",
        }
    }

    /// Whether it counts spans that nobody will see.
    pub const fn is_loss(self) -> bool {
        matches!(
            self,
            Self::QueueFull
                | Self::QueueBytes
                | Self::Refused
                | Self::Rejected
                | Self::ExportTimedOut
                | Self::Unfinished
                | Self::PrinterBehind
                | Self::PrintFailed
                | Self::Unprinted
        )
    }
}

/// The counters of one service.
#[derive(Debug, Default)]
pub struct ServiceCounters {
    values: [AtomicU64; Counter::ALL.len()],
}

impl ServiceCounters {
    /// Adds `count`.
    pub fn add(&self, counter: Counter, count: u64) {
        if let Some(value) = self.values.get(counter as usize) {
            value.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// The value now.
    pub fn get(&self, counter: Counter) -> u64 {
        self.values.get(counter as usize).map_or(0, |value| value.load(Ordering::Relaxed))
    }
}

/// The counters of all services.
#[derive(Debug, Default)]
pub struct Counters {
    services: Mutex<BTreeMap<Arc<str>, Arc<ServiceCounters>>>,
}

impl Counters {
    /// The counters of the service of that name, to be kept by whoever counts often.
    pub fn service(&self, name: &str) -> Arc<ServiceCounters> {
        let mut services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = services.get(name) {
            return Arc::clone(found);
        }
        let name = if services.len() < MAX_SERVICES { name } else { OTHER_SERVICES };
        Arc::clone(services.entry(name.into()).or_default())
    }

    /// Counts as [`Counter::Unprinted`] whatever was handed over and is in none of the counters of printing. To be
    /// called once, when nothing is printed any more.
    pub fn count_unprinted(&self) {
        let services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        for own in services.values() {
            let settled = [Counter::Printed, Counter::PrinterBehind, Counter::PrintFailed];
            let settled = settled.map(|counter| own.get(counter)).into_iter().fold(0, u64::saturating_add);
            own.add(Counter::Unprinted, own.get(Counter::Pushed).saturating_sub(settled));
        }
    }

    /// The values now.
    pub fn snapshot(&self) -> Snapshot {
        let services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        let values = |counters: &Arc<ServiceCounters>| Counter::ALL.map(|counter| counters.get(counter));
        Snapshot { services: services.iter().map(|(name, own)| (name.to_string(), values(own))).collect() }
    }
}

/// Values at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    services: Vec<(String, [u64; Counter::ALL.len()])>,
}

impl Snapshot {
    /// The sum over all services.
    pub fn total(&self, counter: Counter) -> u64 {
        self.of(counter).map(|(_, value)| value).fold(0, u64::saturating_add)
    }

    /// The value of each service that has one, by the service's name.
    pub fn of(&self, counter: Counter) -> impl Iterator<Item = (&str, u64)> {
        self.services.iter().filter_map(move |(name, values)| {
            let value = values.get(counter as usize).copied().unwrap_or(0);
            (value > 0).then_some((name.as_str(), value))
        })
    }
}

/// A line for each counter that is not 0, and one for each service that lost something.
impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for counter in Counter::ALL {
            let total = self.total(counter);
            if total == 0 {
                continue;
            }
            writeln!(f, "{:<28} {total:>12}  {}", counter.name(), counter.help())?;
            if counter.is_loss() {
                for (service, value) in self.of(counter) {
                    writeln!(f, "  {:<26} {value:>12}", service.escape_debug().to_string())?;
                }
            }
        }
        Ok(())
    }
}

/// What a counter is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Its name as it is printed.
    pub name: String,
    /// One sentence for people.
    pub help: &'static str,
    /// Whether it counts spans that nobody will see.
    pub is_loss: bool,
}

/// All that is ever counted.
pub fn all() -> Vec<Counted> {
    let told =
        |name, help: &'static str| Counted { name, help, is_loss: help.trim_start().starts_with("Lost:") };
    let kernel = KernelCounter::ALL.iter().map(|counter| told(kernel_name(*counter), counter.help()));
    let session = SessionCounter::ALL.map(|counter| told(counter.name().to_owned(), counter.help()));
    let delivery = Counter::ALL.map(|counter| Counted {
        name: counter.name().to_owned(),
        help: counter.help(),
        is_loss: counter.is_loss(),
    });
    kernel.chain(session).chain(delivery).collect()
}

/// The name of each counter as it is printed, and that of its variant here or in
/// [`lightfoot_probes_abi::Counter`].
pub fn names() -> Vec<(String, String)> {
    let kernel = KernelCounter::ALL.iter().map(|counter| (kernel_name(*counter), format!("{counter:?}")));
    let session = SessionCounter::ALL.map(|counter| (counter.name().to_owned(), format!("{counter:?}")));
    let delivery = Counter::ALL.map(|counter| (counter.name().to_owned(), format!("{counter:?}")));
    kernel.chain(session).chain(delivery).collect()
}

/// The name of a counter of the kernel's programs as it is printed: `RingFull` is `ring_full`.
pub(crate) fn kernel_name(counter: KernelCounter) -> String {
    let separated = counter.name().char_indices().flat_map(|(index, letter)| {
        let separator = (index > 0 && letter.is_ascii_uppercase()).then_some('_');
        separator.into_iter().chain([letter.to_ascii_lowercase()])
    });
    separated.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_listed_in_the_order_of_their_numbers() {
        for (position, counter) in Counter::ALL.into_iter().enumerate() {
            assert_eq!(counter as usize, position, "{counter:?}");
            assert_eq!(counter.is_loss(), counter.name().starts_with("spans_lost_"), "{counter:?}");
        }
    }

    #[test]
    fn no_two_counters_have_one_name() {
        let mut names: Vec<_> = names().into_iter().map(|(name, _)| name).collect();
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all);
    }

    #[test]
    fn losses_are_shown_by_service_and_cause() {
        let counters = Counters::default();
        counters.service("shop").add(Counter::QueueFull, 3);
        counters.service("stock").add(Counter::QueueFull, 4);
        counters.service("stock").add(Counter::Exported, 1);
        let snapshot = counters.snapshot();
        assert_eq!(snapshot.total(Counter::QueueFull), 7);
        assert_eq!(snapshot.of(Counter::QueueFull).collect::<Vec<_>>(), [("shop", 3), ("stock", 4)]);
        let text = snapshot.to_string();
        assert!(text.contains("spans_lost_queue_full") && text.contains("shop"), "{text}");
        assert!(!text.contains("spans_printed"), "{text}");
    }

    #[test]
    fn the_number_of_services_is_bounded_and_nothing_goes_uncounted() {
        let counters = Counters::default();
        for number in 0..MAX_SERVICES + 10 {
            counters.service(&format!("service-{number}")).add(Counter::Pushed, 1);
        }
        let snapshot = counters.snapshot();
        assert_eq!(snapshot.total(Counter::Pushed), MAX_SERVICES as u64 + 10);
        assert_eq!(snapshot.of(Counter::Pushed).find(|(name, _)| *name == OTHER_SERVICES).unwrap().1, 10);
    }
}
