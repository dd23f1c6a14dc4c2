//! What a trap costs on this host: of a probe on an emulated and on a stepped instruction.

use std::time::Duration;

use clap::ValueEnum as _;
use serde::Serialize;

use super::Check;
use super::methods::{self, MethodError};
use crate::attach::{Kernel, Method};
use crate::price::{Effort, Measured, OwnCode, OwnSite};

/// Enough for a median that says something on a busy host.
const EFFORT: Effort = Effort { batches: 200, time: Duration::from_millis(250) };

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

/// Proves that each probe is hit once a call, then switches the programs off and times the calls.
pub(super) fn measure(kernel: &mut Kernel, method: Method, code: &OwnCode) -> Result<Price, MethodError> {
    for site in [&code.emulated, &code.stepped] {
        methods::prove(kernel, code, site)?;
    }
    kernel.disable().map_err(MethodError::Place)?;
    let bare = EFFORT.bare();
    let mut of = |site: &OwnSite| {
        let measured = EFFORT.trap(kernel, code, site, bare).map_err(MethodError::Place);
        kernel.settle();
        measured
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
