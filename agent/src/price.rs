//! What a trap costs on this host: probes are placed in a function of our own, and calls of it are timed.

use std::hint::black_box;
use std::time::{Duration, Instant};

use lightfoot_probes_abi::Layout;
use serde::Serialize;
use thiserror::Error;

use crate::attach::{AttachError, Attachment, Kernel};

mod code;

pub(crate) use code::{CodeError, OwnCode, OwnSite, probed};

/// Calls are timed together, and the median of such batches counts: others want the processor too.
const BATCH: u32 = 100;
/// A batch without a probe has so many, for the clock to notice.
const BARE_BATCH: u32 = 10_000;

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

/// Why nothing was measured.
#[derive(Debug, Error)]
pub(crate) enum PriceError {
    /// There is no place to probe.
    #[error("finding a place to probe")]
    Code(#[from] CodeError),
    /// The kernel refuses it.
    #[error("placing a probe in Lightfoot itself")]
    Place(#[source] AttachError),
}

/// How long something is timed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// At most so many batches,
    pub(crate) batches: usize,
    /// and no more after that time.
    pub(crate) time: Duration,
}

impl Effort {
    /// That of an agent which starts: some 3 ms, and a tenth of a second where others take the processor.
    pub(crate) const AT_START: Self = Self { batches: 20, time: Duration::from_millis(100) };

    /// Nanoseconds of a call that runs into no probe.
    pub(crate) fn bare(self) -> f64 {
        self.calls(BARE_BATCH).0
    }

    /// Of a call that runs into this one, above one that runs into none. The programs must be switched off.
    pub(crate) fn trap(
        self,
        kernel: &mut Kernel,
        code: &OwnCode,
        site: &OwnSite,
        bare: f64,
    ) -> Result<Measured, AttachError> {
        let attachment = place(kernel, code, site)?;
        let (with, hits) = self.calls(BATCH);
        kernel.detach(vec![attachment]);
        Ok(Measured { instruction: site.text.clone(), nanoseconds: (with - bare).max(0.0), hits })
    }

    /// Nanoseconds for a call, and how many calls there were.
    fn calls(self, batch: u32) -> (f64, u64) {
        let until = Instant::now() + self.time;
        let mut batches = Vec::with_capacity(self.batches);
        while batches.len() < self.batches && (batches.is_empty() || Instant::now() < until) {
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
}

/// Nanoseconds of a trap on an instruction that the kernel emulates, as nearly all probes are. Nothing may be watched yet: the
/// programs are switched off meanwhile.
pub(crate) fn at_start(kernel: &mut Kernel) -> Result<f64, PriceError> {
    let code = OwnCode::find()?;
    let effort = Effort::AT_START;
    let bare = effort.bare();
    let measured = kernel.aside(|kernel| effort.trap(kernel, &code, &code.emulated, bare));
    Ok(measured.map_err(PriceError::Place)?.nanoseconds)
}

/// Places a probe in our own code.
pub(crate) fn place(kernel: &mut Kernel, code: &OwnCode, site: &OwnSite) -> Result<Attachment, AttachError> {
    kernel.attach(&code.file, &Layout::UNKNOWN, &[], &[site.probe])
}
