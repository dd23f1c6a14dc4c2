//! Hits that the kernel skipped instead of running a program.

use std::fs;
use std::os::fd::{AsFd as _, AsRawFd as _};

use aya::programs::ProgramFd;
use lightfoot_probes_abi::{Counter, Counters};

use super::Kernel;

impl Kernel {
    /// Adds the hits at which the kernel did not run our programs to a count, as far as it tells (Linux 5.12).
    pub(super) fn add_misses(&self, counters: &mut Counters) {
        for (_, program) in self.object.programs() {
            if let Ok(loaded) = program.fd() {
                add(&told_of(loaded), counters);
            }
        }
    }
}

/// What the kernel tells of a program (`bpf_prog_show_fdinfo`, kernel/bpf/syscall.c).
fn told_of(program: &ProgramFd) -> String {
    let path = format!("/proc/self/fdinfo/{}", program.as_fd().as_raw_fd());
    fs::read_to_string(path).unwrap_or_default()
}

fn add(told: &str, counters: &mut Counters) {
    let line = told.lines().find_map(|line| line.strip_prefix("recursion_misses:"));
    let misses: u64 = line.and_then(|count| count.trim().parse().ok()).unwrap_or(0);
    if let Some(count) = counters.0.get_mut(Counter::RecursionMisses as usize) {
        *count = count.saturating_add(misses);
    }
}

#[cfg(test)]
mod tests;
