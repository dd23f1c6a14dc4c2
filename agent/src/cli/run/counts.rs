//! What became of everything: the counts of the BPF programs and of delivery, as text.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use lightfoot_probes_abi::{Counter, Counters};

use crate::counters;
use crate::session::Report;

/// The counts of a session.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) delivery: Arc<counters::Counters>,
    kernel: Mutex<Kernel>,
}

/// What happened before delivery.
#[derive(Clone, Copy)]
struct Kernel {
    counters: [u64; Counters::CAPACITY],
    open: u64,
    unidentified: u64,
    without_process: u64,
    malformed: u64,
    contexts_left_out: u64,
}

impl Default for Kernel {
    fn default() -> Self {
        Self {
            counters: [0; Counters::CAPACITY],
            open: 0,
            unidentified: 0,
            without_process: 0,
            malformed: 0,
            contexts_left_out: 0,
        }
    }
}

impl Kernel {
    fn add(&mut self, counters: &Counters) {
        for (total, count) in self.counters.iter_mut().zip(counters.0) {
            *total = total.saturating_add(count);
        }
    }
}

impl Counts {
    pub(super) fn ended(&self, counters: &Counters, open: u64) {
        self.change(|kernel| {
            kernel.add(counters);
            kernel.open += open;
        });
    }

    pub(super) fn unwatched(&self, counters: &Counters) {
        self.change(|kernel| kernel.add(counters));
    }

    pub(super) fn unidentified(&self) {
        self.change(|kernel| kernel.unidentified += 1);
    }

    pub(super) fn without_process(&self) {
        self.change(|kernel| kernel.without_process += 1);
    }

    pub(super) fn malformed(&self) {
        self.change(|kernel| kernel.malformed += 1);
    }

    pub(super) fn contexts_left_out(&self, types: usize) {
        let types = u64::try_from(types).unwrap_or(u64::MAX);
        self.change(|kernel| kernel.contexts_left_out = kernel.contexts_left_out.saturating_add(types));
    }

    /// The counts with those of processes that are still watched.
    pub(super) fn with(&self, report: &Report) -> String {
        let mut kernel = self.kernel();
        for (_, counters) in report {
            kernel.add(counters);
        }
        format!("{kernel}{}", self.delivery.snapshot())
    }

    fn change(&self, change: impl FnOnce(&mut Kernel)) {
        change(&mut self.kernel.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn kernel(&self) -> Kernel {
        *self.kernel.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.kernel(), self.delivery.snapshot())
    }
}

/// A line for each count that is not 0.
impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |name: &str, count: u64, help: &str| match count {
            0 => Ok(()),
            _ => writeln!(f, "{name:<28} {count:>12}  {help}"),
        };
        for (counter, count) in Counter::ALL.iter().zip(self.counters) {
            line(&snake_case(counter.name()), count, counter.help().trim())?;
        }
        line(
            "spans_open_at_end",
            self.open,
            "Lost: open when their process ended or we stopped watching it.",
        )?;
        line(
            "processes_unidentified",
            self.unidentified,
            "Processes that ended before anything was known of them.",
        )?;
        line(
            "records_without_process",
            self.without_process,
            "Lost: records of processes that nothing is known of.",
        )?;
        line("records_malformed", self.malformed, "Lost: records that could not be read.")?;
        line(
            "context_types_left_out",
            self.contexts_left_out,
            "Types that hold a context and are not followed: parents may have been overlooked.",
        )
    }
}

/// `RingFull` as `ring_full`.
fn snake_case(name: &str) -> String {
    let separated = name.char_indices().flat_map(|(index, letter)| {
        let separator = (index > 0 && letter.is_ascii_uppercase()).then_some('_');
        separator.into_iter().chain([letter.to_ascii_lowercase()])
    });
    separated.collect()
}
