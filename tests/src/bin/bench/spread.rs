//! Medians, with how far they can be trusted.

use std::fmt;

use crate::results::{Results, Sample};
use crate::scenario::{Pace, Way};

/// The median of several rounds, the lowest and the highest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) lowest: f64,
    pub(crate) highest: f64,
}

impl Spread {
    /// Of any values; not a number where there is none.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        Self { median: at(values.len() / 2), lowest: at(0), highest: at(values.len().saturating_sub(1)) }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(1);
        write!(f, "{:.digits$} ({:.digits$} to {:.digits$})", self.median, self.lowest, self.highest)
    }
}

impl Results {
    /// The samples of one way.
    pub(crate) fn of(&self, scenario: &str, pace: Pace, way: Way) -> impl Iterator<Item = &Sample> {
        self.samples
            .iter()
            .filter(move |sample| sample.scenario == scenario && sample.pace == pace && sample.way == way)
    }

    /// A value of them.
    pub(crate) fn spread(&self, scenario: &str, pace: Pace, way: Way, value: fn(&Sample) -> f64) -> Spread {
        Spread::of(self.of(scenario, pace, way).map(value))
    }

    /// Processor time that a way adds to a request, each round's to that of the same round without it.
    pub(crate) fn added(&self, scenario: &str, pace: Pace, way: Way) -> Spread {
        let without = self.of(scenario, pace, Way::Nothing);
        let pairs = without.zip(self.of(scenario, pace, way));
        Spread::of(pairs.map(|(without, with)| with.service_each() - without.service_each()))
    }

    /// What a way adds, in parts of what otelhttp adds.
    pub(crate) fn share(&self, scenario: &str, pace: Pace, way: Way) -> f64 {
        self.added(scenario, pace, way).median / self.added(scenario, pace, Way::Otelhttp).median
    }

    /// Nanoseconds that BPF programs ran for a request.
    pub(crate) fn run_time(&self, scenario: &str, way: Way) -> Spread {
        let samples = self.programs.iter().filter(|one| one.scenario == scenario && one.way == way);
        Spread::of(samples.map(|one| one.nanoseconds as f64 / one.requests as f64))
    }

    /// Traps of a request.
    pub(crate) fn traps(&self, scenario: &str, way: Way) -> Spread {
        let samples = self.programs.iter().filter(|one| one.scenario == scenario && one.way == way);
        Spread::of(samples.map(|one| one.runs as f64 / one.requests as f64))
    }
}

impl Sample {
    /// Requests a second.
    pub(crate) fn throughput(&self) -> f64 {
        self.requests as f64 / self.seconds
    }

    /// Processor time of the service, a request.
    pub(crate) fn service_each(&self) -> f64 {
        self.service / self.requests as f64
    }
}
