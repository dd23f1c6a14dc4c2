//! What became of everything: the counts of the BPF programs and of delivery, as text.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Map, Value, json};

use lightfoot_probes_abi::{Counter, Counters};

use crate::counters::{self, Parents, SessionCounter, kernel_name};
use crate::logs;
use crate::watch::Report;

/// The counts of a session.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) delivery: Arc<counters::Counters>,
    /// How spans were linked to their parents, of all processes.
    pub(super) parents: Parents,
    early: Mutex<Early>,
}

/// What happened before delivery.
#[derive(Clone, Copy)]
struct Early {
    kernel: [u64; Counters::CAPACITY],
    session: [u64; SessionCounter::ALL.len()],
}

impl Default for Early {
    fn default() -> Self {
        Self { kernel: [0; Counters::CAPACITY], session: [0; SessionCounter::ALL.len()] }
    }
}

impl Early {
    fn add_kernel(&mut self, counters: &Counters) {
        for (total, count) in self.kernel.iter_mut().zip(counters.0) {
            *total = total.saturating_add(count);
        }
    }

    fn by_name(&self) -> BTreeMap<String, u64> {
        let kernel = Counter::ALL.iter().map(|counter| kernel_name(*counter)).zip(self.kernel);
        let session = SessionCounter::ALL.map(|counter| counter.name().to_owned());
        kernel.chain(session.into_iter().zip(self.session)).filter(|(_, count)| *count != 0).collect()
    }
}

impl Counts {
    /// Adds what the kernel's programs counted of a process that is no longer watched, or of no process.
    pub(super) fn add_kernel(&self, counters: &Counters) {
        self.early().add_kernel(counters);
    }

    /// Adds `count`.
    pub(super) fn add(&self, counter: SessionCounter, count: u64) {
        if let Some(total) = self.early().session.get_mut(counter as usize) {
            *total = total.saturating_add(count);
        }
    }

    /// Prints the counts on standard error, in the form of what is said there.
    pub(super) fn print(&self) {
        match logs::format() {
            Some(logs::Format::Json) => self.print_object(&self.now(), Map::new()),
            _ => logs::print(self.to_string()),
        }
    }

    /// The same with those of processes that are still watched.
    pub(super) fn print_with(&self, report: &Report) {
        let early = self.with(report.counters());
        // With nothing counted there is this line at least.
        let (own, watched) = (std::process::id(), report.processes.len());
        if logs::format() == Some(logs::Format::Json) {
            let process = [("pid".to_owned(), own.into()), ("watched".to_owned(), watched.into())];
            return self.print_object(&early, process.into_iter().collect());
        }
        let end = format!("counts of process {own}, which watches {watched} processes now\n");
        logs::print(format!("{early}{}{end}", self.delivery.snapshot()));
    }

    /// All that was counted, with what the programs have counted besides, without what is 0, by the names that are printed.
    pub(super) fn all_by_name<'a>(
        &self,
        kernel: impl IntoIterator<Item = &'a Counters>,
        delivery: &counters::Snapshot,
    ) -> BTreeMap<String, u64> {
        let of = |counter: counters::Counter| (counter.name().to_owned(), delivery.total(counter));
        let mut all = self.with(kernel).by_name();
        all.extend(counters::Counter::ALL.map(of).into_iter().filter(|(_, count)| *count != 0));
        all
    }

    /// What happened before delivery, without what is 0, by the names that are printed.
    pub(super) fn early_by_name(&self) -> BTreeMap<String, u64> {
        self.now().by_name()
    }

    /// Adds such counts; returns the names that nobody knows.
    pub(super) fn add_by_name(&self, counts: &BTreeMap<String, u64>) -> Vec<String> {
        let mut early = self.early();
        let Early { kernel, session } = &mut *early;
        let kernel = Counter::ALL.iter().map(|counter| kernel_name(*counter)).zip(kernel);
        let names = SessionCounter::ALL.map(|counter| counter.name().to_owned());
        let mut totals: BTreeMap<_, _> = kernel.chain(names.into_iter().zip(session)).collect();
        let mut unknown = Vec::new();
        for (name, count) in counts {
            match totals.get_mut(name) {
                Some(total) => **total = total.saturating_add(*count),
                None => unknown.push(name.clone()),
            }
        }
        unknown
    }

    fn print_object(&self, early: &Early, mut fields: Map<String, Value>) {
        let (mut all, mut lost) = (early.by_name(), Map::new());
        let snapshot = self.delivery.snapshot();
        for counter in counters::Counter::ALL {
            let total = snapshot.total(counter);
            if total != 0 {
                all.insert(counter.name().to_owned(), total);
            }
            if total != 0 && counter.is_loss() {
                let of_services: Map<_, _> =
                    snapshot.of(counter).map(|(service, count)| (service.to_owned(), count.into())).collect();
                lost.insert(counter.name().to_owned(), of_services.into());
            }
        }
        fields.insert("counts".to_owned(), json!(all));
        fields.insert("by_service".to_owned(), lost.into());
        logs::print_object(module_path!(), "counts", &fields);
    }

    /// What happened before delivery, with what the programs have counted besides.
    fn with<'a>(&self, kernel: impl IntoIterator<Item = &'a Counters>) -> Early {
        let mut early = self.now();
        kernel.into_iter().for_each(|counters| early.add_kernel(counters));
        early
    }

    /// What happened before delivery, and what could not be said of it.
    fn now(&self) -> Early {
        let mut early = *self.early();
        if let Some(total) = early.session.get_mut(SessionCounter::LogLinesDropped as usize) {
            *total = total.saturating_add(logs::dropped());
        }
        early
    }

    fn early(&self) -> MutexGuard<'_, Early> {
        self.early.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.now(), self.delivery.snapshot())
    }
}

/// A line for each count that is not 0.
impl fmt::Display for Early {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |name: &str, count: u64, help: &str| match count {
            0 => Ok(()),
            _ => writeln!(f, "{name:<28} {count:>12}  {help}"),
        };
        for (counter, count) in Counter::ALL.iter().zip(self.kernel) {
            line(&kernel_name(*counter), count, counter.help().trim())?;
        }
        for (counter, count) in SessionCounter::ALL.into_iter().zip(self.session) {
            line(counter.name(), count, counter.help())?;
        }
        Ok(())
    }
}
