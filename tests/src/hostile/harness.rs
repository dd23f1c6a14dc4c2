//! Hands inputs to a parser and enforces its promises: no panic, no loop without end, no allocation without bound, and
//! the right outcome where it is known.

use super::{Input, Outcome};
use std::any::Any;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process;
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// What one input may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Wall-clock time. Generous: the machine may be busy.
    pub time: Duration,
    /// Bytes allocated at one time beyond what was allocated before.
    pub memory: usize,
}

/// The allocator's counters. The integration test that owns the process's allocator provides them; it must be the only
/// test of its process, or others' allocations are counted too.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Forgets the peak.
    pub reset: fn(),
    /// Bytes allocated now.
    pub now: fn() -> usize,
    /// The most bytes allocated at one time since the last reset.
    pub peak: fn() -> usize,
}

/// Examines inputs one after another.
#[derive(Clone, Debug)]
pub struct Harness {
    /// What each input may cost.
    pub limits: Limits,
    /// Who counts memory; without it memory is not bounded.
    pub memory: Option<Memory>,
    /// Where the input being examined is named, for the case that the process dies of it, and where failing inputs are
    /// kept.
    pub folder: PathBuf,
}

/// What the inputs came to.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// How many inputs had each outcome.
    pub outcomes: BTreeMap<Outcome, usize>,
    /// The longest time and its input.
    pub slowest: (Duration, String),
    /// The largest memory peak in bytes and its input.
    pub largest: (usize, String),
    /// One line for each broken promise.
    pub failures: Vec<String>,
}

impl Harness {
    /// Calls `check` with every input. An input that takes longer than the limit ends the process, for nothing else can
    /// end it; all other failures are collected.
    pub fn examine<'a>(
        &self,
        inputs: impl IntoIterator<Item = Input<'a>>,
        check: impl Fn(&str, &[u8]) -> Outcome,
    ) -> io::Result<Summary> {
        fs::create_dir_all(&self.folder)?;
        let running = &Mutex::new(None::<(Instant, String)>);
        let (done, finished) = mpsc::channel::<()>();
        thread::scope(|scope| {
            scope.spawn(move || self.watch(running, &finished));
            let summary = self.examine_each(inputs, check, running);
            drop(done);
            summary
        })
    }

    fn examine_each<'a>(
        &self,
        inputs: impl IntoIterator<Item = Input<'a>>,
        check: impl Fn(&str, &[u8]) -> Outcome,
        running: &Mutex<Option<(Instant, String)>>,
    ) -> io::Result<Summary> {
        let mut summary = Summary::default();
        let journal = self.folder.join("running");
        for Input { name, bytes, expected } in inputs {
            fs::write(&journal, &name)?;
            let started = Instant::now();
            *running.lock().unwrap_or_else(PoisonError::into_inner) = Some((started, name.clone()));
            let before = self.memory.map_or(0, |memory| {
                (memory.reset)();
                (memory.now)()
            });
            let outcome = catch_unwind(AssertUnwindSafe(|| check(&name, &bytes)));
            // What a panic allocates for its backtrace is not the parser's.
            let peak = match (&outcome, self.memory) {
                (Ok(_), Some(memory)) => (memory.peak)().saturating_sub(before),
                _ => 0,
            };
            *running.lock().unwrap_or_else(PoisonError::into_inner) = None;
            let elapsed = started.elapsed();

            let failure = match outcome {
                Err(payload) => Some(format!("panicked: {}", message(&*payload))),
                Ok(outcome) => {
                    *summary.outcomes.entry(outcome).or_default() += 1;
                    if elapsed > self.limits.time {
                        Some(format!("took {elapsed:?}"))
                    } else if peak > self.limits.memory {
                        Some(format!("allocated {peak} bytes"))
                    } else {
                        expected
                            .filter(|expected| *expected != outcome)
                            .map(|expected| format!("taken for {outcome:?}, is {expected:?}"))
                    }
                }
            };
            if let Some(failure) = failure {
                let kept = self.folder.join(format!("failure-{}", summary.failures.len()));
                fs::write(&kept, &bytes)?;
                summary.failures.push(format!("{name}: {failure} (kept in {})", kept.display()));
            }
            if elapsed > summary.slowest.0 {
                summary.slowest = (elapsed, name.clone());
            }
            if peak > summary.largest.0 {
                summary.largest = (peak, name);
            }
        }
        fs::remove_file(&journal)?;
        Ok(summary)
    }

    /// Ends the process when an input is over its time, until all inputs are `finished`.
    fn watch(&self, running: &Mutex<Option<(Instant, String)>>, finished: &mpsc::Receiver<()>) {
        while finished.recv_timeout(Duration::from_millis(100)) == Err(mpsc::RecvTimeoutError::Timeout) {
            let running = running.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((started, name)) = &*running
                // What ends a little late is reported with the others.
                && started.elapsed() > self.limits.time * 2
            {
                eprintln!("{name}: no end after {:?}", started.elapsed());
                process::abort();
            }
        }
    }
}

fn message(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("no message")
}
