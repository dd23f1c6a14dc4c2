//! Samplers decide as those of the OpenTelemetry Go SDK do: `sampler/decisions.txt` is what that decided for the same
//! trace ids (`sampler/main.go`, which also says how to make the file again).
#![forbid(unsafe_code)]

use std::ffi::OsString;

use lightfoot::sampler;
use lightfoot::variables::{SettingsError, Variables};
use lightfoot_probes_abi::Sampler;

const TRACES: usize = 10_000;

/// The last 8 bytes of trace ids, as in `main.go`: next to the bounds of ratios, then random (SplitMix64).
fn tails() -> Vec<u64> {
    let mut tails = vec![0, u64::MAX];
    let bounds: [u64; 8] = [
        1,
        9,
        922_337_203_685_477,
        922_337_203_685_477_632,
        1 << 61,
        3_074_457_345_618_257_920,
        1 << 62,
        (1 << 63) - 1_024,
    ];
    for bound in bounds {
        tails.extend((0..5_u64).map(|offset| (bound << 1_u64).wrapping_add(offset).wrapping_sub(2)));
    }
    let mut state = 1_u64;
    while tails.len() < TRACES {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        tails.push(z ^ z >> 31);
    }
    tails
}

fn read(name: &str, argument: &str) -> Result<Sampler, SettingsError> {
    let variable = |wanted: &str| {
        let value = if wanted == sampler::NAME { name } else { argument };
        Some(OsString::from(value)).filter(|value| value != "-")
    };
    let mut variables = Variables::new(variable);
    let sampler = sampler::read(&mut variables);
    variables.finish(sampler)
}

#[test]
fn decisions_are_those_of_the_go_sdk() {
    let tails = tails();
    let mut lines = 0;
    for line in include_str!("sampler/decisions.txt").lines() {
        let words: Vec<_> = line.split(' ').collect();
        let [name, argument, parent, recorded, hash] = words[..] else { panic!("{line}") };
        let sampler = read(name, argument).unwrap();
        let parent = (parent != "none").then_some(parent == "sampled");
        let decisions: Vec<_> = tails.iter().map(|tail| u8::from(sampler.samples(*tail, parent))).collect();
        let count: usize = decisions.iter().map(|decision| usize::from(*decision)).sum();
        assert_eq!(count, recorded.parse::<usize>().unwrap(), "{line}");
        let fnv = decisions.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, decision| {
            (hash ^ u64::from(*decision)).wrapping_mul(0x100_0000_01b3)
        });
        assert_eq!(format!("{fnv:016x}"), hash, "{line}");
        lines += 1;
    }
    assert_eq!(lines, 81);
}

#[test]
fn what_is_not_understood_is_refused_and_not_replaced() {
    let refused = |name, argument| {
        let error = read(name, argument).unwrap_err();
        assert_eq!(error.0.len(), 1, "{error}");
        error.to_string()
    };
    for name in ["jaeger_remote", "parentbased_jaeger_remote", "xray", "parentbased_", "always", "ratio"] {
        let error = refused(name, "-");
        assert!(
            error.contains("OTEL_TRACES_SAMPLER:") && error.contains("parentbased_traceidratio"),
            "{error}"
        );
    }
    for ratio in ["-0.1", "1.1", "NaN", "inf", "half"] {
        let error = refused("traceidratio", ratio);
        assert!(error.contains("OTEL_TRACES_SAMPLER_ARG:") && error.contains("from 0 to 1"), "{error}");
    }
    // Samplers without an argument do not look at it.
    assert!(read("always_on", "nonsense").is_ok());
}
