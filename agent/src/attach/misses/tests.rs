//! What kernels tell, and what comes of it.

use lightfoot_probes_abi::{Counter, Counters};

use super::add;
use crate::attach::{Kernel, count};
use crate::doctor::SIZES;

/// No kernel that runs this can make a program of ours miss a hit: Linux skips none at uprobes since 6.0, and before 6.7 does
/// not count those that it skips there.
#[test]
fn what_the_kernel_skipped_is_added_up() {
    let mut counters = Counters([0; Counters::CAPACITY]);
    add(
        "prog_type:\t2\nprog_jited:\t1\nrun_cnt:\t9\nrecursion_misses:\t3\nverified_insns:\t7\n",
        &mut counters,
    );
    add("prog_type:\t2\nrecursion_misses:\t4\n", &mut counters);
    add("prog_type:\t2\n", &mut counters);
    assert_eq!(count(&counters, Counter::RecursionMisses), 7);
    let others = Counter::ALL.iter().filter(|counter| **counter != Counter::RecursionMisses);
    assert_eq!(others.map(|counter| count(&counters, *counter)).sum::<u64>(), 0);
}

#[test]
fn the_running_kernel_tells_of_it_in_that_form() {
    let Ok(object) = lightfoot_probes::OBJECT else { return println!("skipped: no BPF programs") };
    let (kernel, _ring) = match Kernel::load(object, &[], SIZES) {
        Ok(loaded) => loaded,
        Err(error) => {
            assert!(!rustix::process::geteuid().is_root(), "{error}");
            return println!("skipped: {error}");
        }
    };
    let descriptors = kernel.object.programs().filter_map(|(_, program)| program.fd().ok());
    let told: Vec<_> = descriptors.map(super::told_of).collect();
    assert_eq!(told.len(), 1, "that of gRPC is loaded when it is needed");
    assert!(told[0].contains("\nrecursion_misses:\t0\n"), "{told:?}");
    assert_eq!(count(&kernel.counts(None).unwrap(), Counter::RecursionMisses), 0);
}
