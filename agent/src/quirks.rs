//! What some kernels do otherwise than others, and what is done about it. Whoever behaves differently by the kernel's version asks
//! here; `doctor` shows what holds on this one, and docs/kernels.md has the whole table.

use std::fmt;

/// Major and minor version of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Release(pub u32, pub u32);

/// On which kernels something is so, what it is, and what is done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quirk {
    /// Its name, which stays the same.
    pub id: &'static str,
    /// From this version on.
    pub since: Option<Release>,
    /// Before this version.
    pub until: Option<Release>,
    /// On this machine alone, as Rust names it.
    pub machine: Option<&'static str>,
    /// What these kernels do.
    pub symptom: &'static str,
    /// What Lightfoot does.
    pub response: &'static str,
}

/// Below it nothing is known to work.
pub const TOO_OLD: Quirk = Quirk {
    id: "quirk_too_old",
    since: None,
    until: Some(Release(5, 10)),
    machine: None,
    symptom: "ring buffers, or BTF, may be missing",
    response: "what is there is tried; nothing is known to work",
};

/// BPF maps count as locked memory.
pub const LOCKED_MEMORY: Quirk = Quirk {
    id: "quirk_locked_memory",
    since: None,
    // kernel/bpf/memalloc.c and the memory cgroup.
    until: Some(Release(5, 11)),
    machine: None,
    symptom: "memory of BPF maps counts as locked, not to the cgroup",
    response: "a limit that cannot be raised is no error by itself; `memlock` tells of it",
};

/// Large frames lie on a stack that belongs to the processor.
pub const PRIVATE_STACK: Quirk = Quirk {
    id: "quirk_private_stack",
    since: Some(Release(6, 13)),
    until: None,
    machine: None,
    symptom: "programs with frames of 64 bytes and more may run on a stack that belongs to the processor, though they can be \
              preempted: two would write to one",
    response: "no function has a frame of more than 48 bytes; an object that has is refused, by the build and at the start",
};

/// What the verifier takes counts as ours.
pub const VERIFIER_MEMORY: Quirk = Quirk {
    id: "quirk_verifier_memory",
    since: Some(Release(6, 17)),
    until: None,
    machine: None,
    symptom: "memory that the verifier takes while programs load counts to the cgroup: 72 MiB for a moment, and whoever has no room \
              for it is killed",
    response: "the cgroup's limit is compared with what loading takes, and one that is too low is refused in words",
};

/// All that is known, by what it is about.
pub const QUIRKS: &[Quirk] = &[
    TOO_OLD,
    Quirk {
        id: "quirk_no_cookies",
        since: None,
        until: Some(Release(5, 15)),
        machine: None,
        symptom: "perf events hand no cookie to programs",
        response: "sites are told by their addresses; a hit before these are known is not seen",
    },
    Quirk {
        id: "quirk_no_uprobe_multi",
        since: None,
        until: Some(Release(6, 6)),
        machine: None,
        symptom: "a probe takes a perf event, or an event of tracefs, of its own: an open file each, 0.1 s to detach",
        response: "the off switch in BPF comes first, so that what remains does nothing; programs may not wait for absent pages, and \
                   count a `read_fault`",
    },
    Quirk {
        id: "quirk_perf_event_rights",
        since: None,
        until: None,
        machine: None,
        symptom: "fixes of 2025 (5.10.262, 6.1.192, 6.12, 6.18 and later) let nobody without CAP_SYS_ADMIN open a uprobe as a perf \
                  event, and Debian's perf_event_paranoid 3 no other event either",
        response: "`uprobe_multi` takes neither and comes first; where it is missing, perf events are tried, and then tracefs",
    },
    Quirk {
        id: "quirk_lockdown",
        since: None,
        until: None,
        machine: None,
        symptom: "locked down for confidentiality, it refuses perf events and tracefs, and programs the helpers that read its own \
                  memory, without which aya has them read a process's by one that is refused, too",
        response: "`uprobe_multi` is left, and its programs read by another helper (`Copying`), but for spans of the program's own \
                   SDK; where that is missing, `run` says so and ends",
    },
    Quirk {
        id: "quirk_pid_filter",
        since: Some(Release(6, 6)),
        until: Some(Release(6, 10)),
        machine: None,
        symptom: "the process filter of `uprobe_multi` misses all threads but the first",
        response: "programs tell processes themselves; only `doctor`, which has one thread, uses the filter",
    },
    PRIVATE_STACK,
    LOCKED_MEMORY,
    VERIFIER_MEMORY,
    Quirk {
        id: "quirk_verifier",
        since: None,
        until: Some(Release(5, 12)),
        machine: None,
        symptom: "the verifier follows the same code for longer, to its limit of a million instructions, and no atomic operation returns \
              the old value",
        response: "a program for HTTP and one for gRPC, of 300,000 followed instructions each at most; atomic additions alone",
    },
    Quirk {
        id: "quirk_skipped_hits",
        // Before, whoever used a map could not be preempted: `migrate_disable` was `preempt_disable`.
        since: Some(Release(5, 11)),
        until: Some(Release(6, 0)),
        machine: None,
        symptom: "a hit is skipped while a system call uses a BPF map on the same processor and was preempted \
                  (`trace_call_bpf`), and not counted",
        response: "a missed end is found by the next start (`abandoned`); a missed start cannot be seen. Where a kernel counts \
                   skipped hits, `recursion_misses` has them",
    },
    Quirk {
        id: "quirk_global_functions",
        since: Some(Release(6, 18)),
        until: None,
        machine: None,
        symptom: "functions that the verifier follows once may not wait for memory",
        response: "those compute with numbers alone",
    },
    Quirk {
        id: "quirk_nop5",
        since: Some(Release(6, 18)),
        until: None,
        machine: Some("x86_64"),
        symptom: "a probe on a nop of 5 bytes becomes a call that overwrites the red zone",
        response: "a nop of more than one byte is never a site",
    },
    Quirk {
        id: "quirk_xchg",
        since: None,
        until: None,
        machine: Some("x86_64"),
        symptom: "some kernels take `xchg %r8,%rax` for a nop",
        response: "it is never a site",
    },
    Quirk {
        id: "quirk_nop_stepped",
        since: None,
        until: Some(Release(6, 13)),
        machine: Some("aarch64"),
        symptom: "`nop` is stepped, not emulated",
        response: "it counts as stepped on all kernels, and another site is taken if there is one",
    },
    Quirk {
        id: "quirk_killed_detaching",
        since: None,
        until: None,
        machine: None,
        symptom: "a SIGKILL while a thread closes links leaves breakpoints until the program ends (seen on 6.18)",
        response: "they cost their traps and do nothing; give it the time to end after SIGTERM",
    },
];

impl Release {
    /// That of the running kernel, unless it is no number.
    pub fn running() -> Option<Self> {
        Self::parse(&rustix::system::uname().release().to_string_lossy())
    }

    /// Of a text such as `6.18.5-cloud`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(|c: char| !c.is_ascii_digit());
        Some(Self(parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    }
}

impl Quirk {
    /// Whether it holds on a kernel, on the machine that this is built for. One of unknown version has them all.
    pub fn holds_on(&self, release: Option<Release>) -> bool {
        self.machine.is_none_or(|machine| machine == std::env::consts::ARCH)
            && release.is_none_or(|release| {
                self.since.is_none_or(|since| release >= since)
                    && self.until.is_none_or(|until| release < until)
            })
    }

    /// The kernels that have it, in words.
    pub fn kernels(&self) -> String {
        let versions = match (self.since, self.until) {
            (None, None) => "all".to_owned(),
            (Some(since), None) => format!("from {since} on"),
            (None, Some(until)) => format!("before {until}"),
            (Some(since), Some(until)) => format!("from {since} on, before {until}"),
        };
        self.machine.map_or(versions.clone(), |machine| format!("{versions}, {machine}"))
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_compared_by_number() {
        assert_eq!(Release::parse("6.18.5-cloud"), Some(Release(6, 18)));
        assert_eq!(Release::parse("5.4"), Some(Release(5, 4)));
        assert_eq!((Release::parse("new"), Release::parse("6")), (None, None));
        assert!(Release(6, 9) < Release(6, 10) && Release(5, 99) < Release(6, 0));
    }

    #[test]
    fn a_quirk_holds_from_its_first_version_to_the_one_before_its_last() {
        let holds = |quirk: &Quirk, release| quirk.holds_on(Some(release));
        assert!(holds(&LOCKED_MEMORY, Release(5, 10)) && !holds(&LOCKED_MEMORY, Release(5, 11)));
        assert!(!holds(&PRIVATE_STACK, Release(6, 12)) && holds(&PRIVATE_STACK, Release(6, 13)));
        let elsewhere = Quirk { machine: Some("s390x"), ..TOO_OLD };
        assert!(TOO_OLD.holds_on(None) && !elsewhere.holds_on(None));
    }

    #[test]
    fn the_documented_table_is_this_one() {
        let rows: Vec<_> = QUIRKS
            .iter()
            .map(|quirk| {
                format!("| `{}` | {} | {} | {} |", quirk.id, quirk.kernels(), quirk.symptom, quirk.response)
            })
            .collect();
        let documented = include_str!("../../docs/kernels.md");
        let found: Vec<_> = documented.lines().filter(|line| line.starts_with("| `quirk_")).collect();
        assert_eq!(found, rows, "docs/kernels.md should have\n{}", rows.join("\n"));
    }
}
