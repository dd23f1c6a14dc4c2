//! What a trap costs on this host: of a probe on an emulated and on a stepped instruction.

use std::hint::black_box;
use std::time::{Duration, Instant};

use clap::ValueEnum as _;
use serde::Serialize;

use super::Check;
use super::code::{OwnCode, OwnSite, probed};
use super::methods::{self, MethodError};
use crate::attach::{Kernel, Method};

/// Calls are timed together, and the median of such batches counts: others want the processor too.
const BATCH: u32 = 100;
/// A batch without a probe has so many, for the clock to notice.
const BARE_BATCH: u32 = 10_000;
/// At most so many batches, and no more after that time.
const BATCHES: usize = 200;
const TIME: Duration = Duration::from_millis(250);

/// What traps cost here, without the work of our programs: they return after one look-up, as those of a probe that is
/// switched off.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Price {
    /// How the probes were placed, as `--attach-method` has it.
    pub method: String,
    /// Of a call of the probed function without a probe, in nanoseconds; subtracted below.
    pub bare_nanoseconds: f64,
    /// Of a probe on an instruction that the kernel emulates.
    pub emulated: Measured,
    /// Of one that it executes elsewhere, with a second exception.
    pub stepped: Measured,
    /// How many times as much the stepped one costs.
    pub ratio: f64,
}

/// What one trap costs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measured {
    /// The instruction under the probe.
    pub instruction: String,
    /// Nanoseconds for each hit: the median over batches.
    pub nanoseconds: f64,
    /// How many hits were timed.
    pub hits: u64,
}

/// Proves that each probe is hit once a call, then switches the programs off and times the calls.
pub(super) fn measure(kernel: &mut Kernel, method: Method, code: &OwnCode) -> Result<Price, MethodError> {
    for site in [&code.emulated, &code.stepped] {
        methods::prove(kernel, code, site)?;
    }
    kernel.disable().map_err(MethodError::Place)?;
    let (bare, _) = time(BARE_BATCH);
    let mut of = |site: &OwnSite| {
        let attachment = methods::place(kernel, code, site)?;
        let (with, hits) = time(BATCH);
        kernel.detach(vec![attachment]);
        kernel.settle();
        let nanoseconds = (with - bare).max(0.0);
        Ok(Measured { instruction: site.text.clone(), nanoseconds, hits })
    };
    let (emulated, stepped) = (of(&code.emulated)?, of(&code.stepped)?);
    let ratio = stepped.nanoseconds / emulated.nanoseconds.max(1.0);
    let method = method.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
    Ok(Price { method, bare_nanoseconds: bare, emulated, stepped, ratio })
}

pub(super) fn check(measured: &Result<Price, MethodError>) -> Check {
    let id = "price";
    match measured {
        Ok(price) => Check::good(
            id,
            format!(
                "a trap costs {:.0} ns where the kernel emulates the instruction, {:.0} ns where it steps ({:.1} times as \
                 much)",
                price.emulated.nanoseconds, price.stepped.nanoseconds, price.ratio
            ),
        ),
        Err(error) => {
            let error = methods::chain(error);
            Check::note(id, format!("what a trap costs was not measured: {error}"))
        }
    }
}

/// Nanoseconds for a call, and how many calls there were.
fn time(batch: u32) -> (f64, u64) {
    let until = Instant::now() + TIME;
    let mut batches = Vec::with_capacity(BATCHES);
    while batches.len() < BATCHES && (batches.is_empty() || Instant::now() < until) {
        let began = Instant::now();
        for number in 1..=batch {
            black_box(probed(u64::from(number)));
        }
        batches.push(began.elapsed());
    }
    batches.sort_unstable();
    let median = batches.get(batches.len() / 2).copied().unwrap_or_default();
    (median.as_secs_f64() * 1e9 / f64::from(batch), batches.len() as u64 * u64::from(batch))
}
