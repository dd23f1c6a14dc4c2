//! What kernels tell, and what comes of it.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use lightfoot_probes_abi::{Counter, Counters, Site};

use super::add;
use crate::attach::{Kernel, Method, count};
use crate::doctor::SIZES;
use crate::quirks::Release;
use crate::sys::perf_event;

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

/// No kernel counts hits of uprobes that it skips: Linux skips none there since 6.0, and does not count before 6.7. So a program of
/// ours is placed by a kprobe where the kernel has to skip it: within its own work on a map for a system call. `make vm-all` runs
/// this on a kernel that has kprobes.
#[test]
fn hits_that_the_kernel_skips_are_counted() {
    let Ok(object) = lightfoot_probes::OBJECT else { return println!("skipped: no BPF programs") };
    let tracefs = Path::new("/sys/kernel/tracing");
    let list = tracefs.join("kprobe_events");
    if !list.exists() || Release::running() < Some(Release(6, 7)) {
        return println!("skipped: tracefs is not mounted, or this kernel has no kprobes or does not count");
    }
    let (mut kernel, _ring) = Kernel::load(object, &[Method::PerfEvent], SIZES).unwrap();
    let name = format!("lightfoot/skipped_{}", std::process::id());
    let tell = |line: String| OpenOptions::new().append(true).open(&list).unwrap().write_all(line.as_bytes());
    tell(format!("p:{name} htab_map_update_elem\n")).unwrap();
    let id = fs::read_to_string(tracefs.join("events").join(&name).join("id")).unwrap();
    let event = perf_event::open_tracepoint(id.trim().parse().unwrap(), true).unwrap();
    let program = kernel.object.programs().find_map(|(_, program)| program.fd().ok()).unwrap();
    perf_event::set_program(&event, program).unwrap();
    let updates = 100;
    for value in 0..updates {
        kernel.callers.insert(&Site::default(), &value, 0).unwrap();
    }
    drop(event);
    tell(format!("-:{name}\n")).unwrap();
    let counted = count(&kernel.counts(None).unwrap(), Counter::RecursionMisses);
    println!("{counted} hits were skipped");
    assert!(counted >= updates, "{counted} hits were skipped");
}
