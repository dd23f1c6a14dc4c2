//! The ways to place probes: each is gone through, up to a hit that was counted.

use std::hint::black_box;

use clap::ValueEnum as _;
use lightfoot_probes_abi::{Counter, Sampler, WantedHeaders};
use thiserror::Error;

use super::{Check, Price, events, price};
use crate::attach::{AttachError, Kernel, Method, Recording, Sizes, count};
use crate::price::{OwnCode, OwnSite, place, probed};
use crate::{memory_limit, propagation};

/// No record is ever made, and only we are watched.
pub(crate) const SIZES: Sizes = Sizes {
    ring_bytes: 4096,
    open_spans: 1,
    processes: 1,
    contexts: 1,
    callers: 1,
    connected: 1,
    counted_streams: 1,
    counts_reads: false,
};
/// So often the function is called to see its probe at work.
const CALLS: u64 = 16;

/// What does not work of a method.
#[derive(Debug, Error)]
pub(super) enum MethodError {
    /// The programs or their maps are refused.
    #[error("loading the programs")]
    Load(#[source] AttachError),
    /// The probe, or what the programs are told of it, is refused.
    #[error("placing a probe")]
    Place(#[source] AttachError),
    /// The probe is in place, and what it counts is not what happened.
    #[error(
        "counting: of {CALLS} hits {counted} came with cookie and process number; {unselected} in no known process"
    )]
    Hits {
        /// Those that were told right.
        counted: u64,
        /// Those whose process was not known.
        unselected: u64,
    },
}

pub(super) fn checks() -> (Vec<Check>, Option<Price>) {
    if let Err(error) = memory_limit::check(Sizes::USUAL, 0) {
        // The kernel would kill us for it.
        return (vec![Check::note("programs", format!("placing probes was not tried: {error}"))], None);
    }
    let (object, code) = match (lightfoot_probes::OBJECT, OwnCode::find()) {
        (Ok(object), Ok(code)) => (object, code),
        (Err(absent), _) => {
            let check =
                Check::lost("programs", absent.to_string(), "nothing can be watched", "use another build");
            return (vec![check.fatal()], None);
        }
        (_, Err(error)) => {
            let error = anyhow::Error::from(error);
            return (vec![Check::note("programs", format!("placing probes was not tried: {error:#}"))], None);
        }
    };
    let mut checks = Vec::new();
    // Others are let go of at once: what is loaded counts against our cgroup.
    let mut first = None;
    for method in Method::value_variants() {
        let tried = try_out(object, *method, &code).map(|kernel| {
            first.get_or_insert((*method, kernel));
        });
        checks.push(check(*method, &tried));
    }
    let Some((method, mut kernel)) = first else {
        checks.push(none_works());
        checks.push(Check::note("price", "what a trap costs was not measured: no probe can be placed"));
        return (checks, None);
    };
    checks.push(Check::good("attach", format!("probes are placed by {}", name(method))));
    checks.push(events::check(&mut kernel));
    checks.push(may_write(method));
    let measured = price::measure(&mut kernel, method, &code);
    checks.push(price::check(&measured));
    (checks, measured.ok())
}

/// Only `--propagate` takes it.
fn may_write(method: Method) -> Check {
    match propagation::load(&[method], SIZES) {
        Ok(_) => Check::good("propagation", "trace contexts can be passed on (`run --propagate`)"),
        Err(reason) => Check::note(
            "propagation",
            format!("trace contexts cannot be passed on (`run --propagate`): {reason}"),
        ),
    }
}

fn none_works() -> Check {
    let lost = "nothing can be watched";
    let advice =
        "give it CAP_BPF and CAP_PERFMON, and Linux 6.6, CAP_SYS_ADMIN or tracefs; seccomp must allow bpf(2)";
    Check::lost("attach", "probes cannot be placed in any way", lost, advice).fatal()
}

/// A method that does not work costs something only where a later one has to stand in.
fn check(method: Method, result: &Result<(), MethodError>) -> Check {
    let id = id(method);
    let error = match result {
        Ok(()) => {
            let cookie = if method.is_by_address() { "address" } else { "cookie" };
            let found = format!(
                "{}: programs and ring buffer load, a probe is placed, its hits are told by {cookie} and process",
                name(method)
            );
            return Check::good(id, found);
        }
        Err(error) => format!("{}: {}", name(method), chain(error)),
    };
    match method {
        Method::UprobeMulti => Check::lost(
            id,
            error,
            "perf events or tracefs have to stand in, if they work: slower to attach and detach, one open file a site",
            "use Linux 6.6, with CAP_BPF and CAP_PERFMON",
        ),
        Method::PerfEvent | Method::PerfEventByAddress => {
            Check::note(id, format!("{error}; needed only where uprobe_multi is missing"))
        }
        Method::Tracefs | Method::TracefsByAddress => {
            Check::note(id, format!("{error}; needed only where perf events do not work either"))
        }
    }
}

pub(super) fn chain(error: &MethodError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    // The kernel's log of a refused program has many lines.
    text.lines().next().unwrap_or_default().to_owned()
}

fn id(method: Method) -> &'static str {
    match method {
        Method::UprobeMulti => "uprobe_multi",
        Method::PerfEvent => "perf_event",
        Method::PerfEventByAddress => "perf_event_by_address",
        Method::Tracefs => "tracefs",
        Method::TracefsByAddress => "tracefs_by_address",
    }
}

fn name(method: Method) -> &'static str {
    match method {
        Method::UprobeMulti => "uprobe_multi",
        Method::PerfEvent => "perf events",
        Method::PerfEventByAddress => "perf events by address",
        Method::Tracefs => "tracefs",
        Method::TracefsByAddress => "tracefs by address",
    }
}

fn try_out(object: &[u8], method: Method, code: &OwnCode) -> Result<Kernel, MethodError> {
    let (mut kernel, _ring) = Kernel::load(object, &[method], SIZES).map_err(MethodError::Load)?;
    kernel.load_all().map_err(MethodError::Load)?;
    // Other Lightfoots run the same file. The kernel asks for the same rights either way (perf_uprobe_event_init,
    // bpf_uprobe_multi_link_attach).
    kernel.act_in_own_process_only();
    prove(&mut kernel, code, &code.emulated)?;
    Ok(kernel)
}

/// Places a probe, calls the function, and compares what was counted.
pub(super) fn prove(kernel: &mut Kernel, code: &OwnCode, site: &OwnSite) -> Result<(), MethodError> {
    let (own, probes) = (std::process::id(), [site.probe]);
    let before = kernel.counts(None).map_err(MethodError::Load)?;
    let attachment = place(kernel, code, site).map_err(MethodError::Place)?;
    let recording =
        Recording { sampler: Sampler::default(), flags: 0, bias: Some(0), headers: WantedHeaders::default() };
    let counts = kernel
        .watch(own, &attachment, recording)
        .and_then(|()| kernel.locate(own, &attachment, &probes, &[site.address]))
        .and_then(|()| {
            (1..=CALLS).for_each(|number| {
                black_box(probed(number));
            });
            kernel.leave(own)
        });
    kernel.detach(vec![attachment]);
    kernel.settle();
    let counts = counts.map_err(MethodError::Place)?;
    let counted = counts.map_or(0, |(counters, _)| count(&counters, Counter::UnknownSite));
    let after = kernel.counts(None).map_err(MethodError::Load)?;
    let unselected =
        count(&after, Counter::UnselectedProcess).saturating_sub(count(&before, Counter::UnselectedProcess));
    if counted == CALLS { Ok(()) } else { Err(MethodError::Hits { counted, unselected }) }
}
