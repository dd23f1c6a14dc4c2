//! `OTEL_TRACES_SAMPLER` and `OTEL_TRACES_SAMPLER_ARG`, as the Go SDK 1.44 reads them (`sdk/trace/sampler_env.go`,
//! `sdk/trace/sampling.go`), save that what it does not understand it replaces by a default, and we refuse.
//!
//! The decision itself is made in BPF when a span starts ([`Sampler::samples`]): for a trace id it is the same as that
//! of the Go SDK, so a trace that crosses programs with and without an SDK is kept or left out as a whole.

use lightfoot_probes_abi::{Sampler, SamplerKind};

use crate::variables::Variables;

/// The variable that names the sampler.
pub const NAME: &str = "OTEL_TRACES_SAMPLER";
/// The variable with the ratio of the samplers that take one.
pub const ARGUMENT: &str = "OTEL_TRACES_SAMPLER_ARG";

/// 2^63: the bound for all trace ids, which are compared by 63 bits.
const ALL: u64 = 1 << 63;

/// The sampler that is asked for; `parentbased_always_on` if none is.
pub fn read(variables: &mut Variables<'_>) -> Sampler {
    let sampler = |kind: SamplerKind, threshold| Sampler { kind: kind as u32, parent_based: 0, threshold };
    let Some((_, name)) = variables.word(&[NAME]) else {
        return Sampler { parent_based: 1, ..sampler(SamplerKind::AlwaysOn, 0) };
    };
    let (root, parent_based) = match name.strip_prefix("parentbased_") {
        Some(root) => (root, 1),
        None => (name.as_str(), 0),
    };
    let root = match root {
        "always_on" => sampler(SamplerKind::AlwaysOn, 0),
        "always_off" => sampler(SamplerKind::AlwaysOff, 0),
        "traceidratio" => sampler(SamplerKind::TraceIdRatio, threshold(variables)),
        _ => {
            let reason = format!(
                "{name:?} is none of always_on, always_off, traceidratio, parentbased_always_on, \
                 parentbased_always_off, parentbased_traceidratio"
            );
            variables.refuse(NAME, reason);
            return Sampler::default();
        }
    };
    Sampler { parent_based, ..root }
}

/// Without a ratio, all.
fn threshold(variables: &mut Variables<'_>) -> u64 {
    let Some((name, argument)) = variables.first(&[ARGUMENT]) else { return ALL };
    match argument.parse::<f64>() {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            clippy::cast_sign_loss,
            reason = "2^63 is a float, the product is from 0 to 2^63, and the cast rounds towards 0 as Go's does"
        )]
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => (ratio * ALL as f64) as u64,
        _ => {
            variables.refuse(name, format!("{argument:?} is no number from 0 to 1"));
            0
        }
    }
}
