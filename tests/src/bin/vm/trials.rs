//! Which kernels there are, and what runs on them.

use std::env::consts::ARCH;
use std::fmt;
use std::str::FromStr;

use lightfoot_symbolizer::Architecture;

/// A machine that QEMU emulates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Machine {
    X86_64,
    Aarch64,
}

/// A kernel, how it is started, and what runs on it.
#[derive(Clone, Debug)]
pub(crate) struct Boot {
    pub machine: Machine,
    /// What the kernel's version begins with.
    pub version: String,
    /// Further words on its command line.
    pub parameters: String,
    /// The ways to place probes that must work, in the words of `lightfoot doctor`, and in its order: the agent takes the first.
    /// None if it must say that it cannot.
    pub methods: &'static [&'static str],
    pub trials: Vec<Trial>,
}

/// Something that runs in a virtual machine, and must succeed.
#[derive(Clone, Debug)]
pub(crate) enum Trial {
    /// Tests of a test program, by parts of their names, as in `cargo test --test PROGRAM FILTER…`.
    Tests { program: String, filters: Vec<String> },
    /// `lightfoot doctor`: every way to place probes that the kernel has loads its programs and has a hit told.
    Doctor,
}

/// The agent's own tests, among the test programs.
pub(crate) const AGENT: &str = "lightfoot";

/// The end-to-end core of HTTP and gRPC: spans beside the truth, and traps by the kernel's own count.
const CORE: [(&str, &[&str]); 6] = [
    ("http_server", &["rows"]),
    ("http_server_traps", &["a_request_takes_two_traps", "takes_one_trap_more"]),
    ("http_client", &["rows"]),
    ("http_client_traps", &["over_http2", "reverse_proxy"]),
    ("grpc", &["rows", "messages"]),
    ("grpc_traps", &[]),
];

/// What each run of the tests has time for of it: some three minutes on the oldest kernel.
const USUAL: [(&str, &[&str]); 5] = [
    ("http_server", &["rows"]),
    ("http_server_traps", &["a_request_takes_two_traps"]),
    ("http_client", &["rows"]),
    ("grpc", &["rows"]),
    ("grpc_traps", &["a_served_call_takes_two_traps"]),
];

/// Rights and limits, where `uprobe_multi` takes no more than is documented, and cgroups are of version 2.
const RIGHTS: [(&str, &[&str]); 2] = [
    ("privileges", &[]),
    // This kernel has kprobes, and counts what it skips there.
    (AGENT, &["misses"]),
];

/// Where perf events take CAP_SYS_ADMIN, and there is no `uprobe_multi`: what stands in without.
const TRACEFS: [(&str, &[&str]); 1] = [("attach_methods", &["tracefs_takes_no_sys_admin"])];

/// Hundreds of requests and calls at once, each with its span and no other: programs are preempted, where the kernel preempts.
const LOAD: [(&str, &[&str]); 2] =
    [("matrix", &["by_uprobe_multi", "a_thousand_calls"]), ("grpc", &["load::"])];

/// Trace contexts on the wire, and the demo's one trace. Machines that are not emulated are often in lockdown, where no program may
/// write.
const PROPAGATION: [(&str, &[&str]); 2] = [("propagate", &[]), ("demo", &[])];

/// That of HTTP/1 alone, where nothing else has it: docs/propagation.md.
const PROPAGATION_1: [(&str, &[&str]); 1] = [(
    "propagate",
    &[
        "cases::",
        "rules::",
        "no_request_fails_while",
        "cost::a_request_takes_one_trap_more",
        "unsampled_requests_carry_the_flag",
        "whether_an_id_is_random",
        "what_a_request_came_with_goes_out_with_those",
        "what_was_dropped_for_newer_ones",
    ],
)];

/// What each run of the tests has time for of it: each row of the document of one build, thousands of requests of each kind, flags,
/// what goes out with `tracestate`, the standard's own suite, and the demo.
const USUAL_PROPAGATION: [(&str, &[&str]); 2] = [
    (
        "propagate",
        &["cases::", "http2::", "grpc::", "load::", "flags::", "refusal::", "rules::", "states::", "suite::"],
    ),
    ("demo", &[]),
];

/// What its rows have time for.
const ONE_BUILD: &str = "LIGHTFOOT_TEST_BUILDS=one";

/// A time of day that is set, for which a machine must be the test's own.
const FAULTS: [(&str, &[&str]); 1] = [("equation", &["clock::"])];

const VERSIONS: [&str; 8] = ["5.10", "6.1", "6.12", "6.16", "6.18", "6.19", "7.0", "7.3"];

/// Other ways to start Linux 6.12: kinds of preemption, one processor, and what a distribution may have switched off. Debian's
/// `perf_event_paranoid` is 3 by itself.
const PARAMETERS: [&str; 7] = [
    PREEMPTED,
    "preempt=voluntary",
    "nosmp",
    "lockdown=integrity",
    CONFIDENTIALITY,
    PARANOID,
    "sysctl.kernel.perf_event_paranoid=4 sysctl.kernel.unprivileged_bpf_disabled=1",
];

/// The level that Linux itself has.
const PARANOID: &str = "sysctl.kernel.perf_event_paranoid=2";

/// Whatever runs in the kernel gives way to what is more urgent, BPF programs too.
const PREEMPTED: &str = "preempt=full";

/// Takes perf events and tracefs away.
pub(crate) const CONFIDENTIALITY: &str = "lockdown=confidentiality";

/// What is said there where nothing else is left.
const REFUSED: [(&str, &[&str]); 1] = [("privileges", &["lockdown_for_confidentiality"])];

/// What shows there that all programs load on the newest kernel.
const SPANS: [(&str, &[&str]); 3] =
    [("http_server", &["rows"]), ("http_client", &["rows"]), ("grpc", &["rows"])];

/// All there is.
pub(crate) fn all() -> Vec<Boot> {
    let of = |machine| {
        VERSIONS.map(|version| {
            let rights = match (machine, version) {
                (Machine::X86_64, "6.12") => [Trial::tests(&RIGHTS), Trial::tests(&FAULTS)].concat(),
                (Machine::X86_64, "6.1") => Trial::tests(&TRACEFS),
                _ => Vec::new(),
            };
            let propagation = match machine {
                Machine::X86_64 => Trial::tests(&PROPAGATION),
                Machine::Aarch64 => Trial::tests(&PROPAGATION_1),
            };
            Boot::of(machine, version, "", [Trial::and_tests(&CORE), rights, propagation].concat())
        })
    };
    let started = |parameters: &str| Boot::of(Machine::X86_64, "6.12", parameters, Trial::and_tests(&CORE));
    let kernels = [Machine::X86_64, Machine::Aarch64].into_iter().flat_map(of);
    // The first of these kernels that could run programs on a stack of the processor's: `quirk_private_stack`.
    let loaded = Boot::of(Machine::X86_64, "6.16", PREEMPTED, Trial::and_tests(&LOAD));
    let refused = Boot::of(Machine::X86_64, "6.1", CONFIDENTIALITY, Trial::and_tests(&REFUSED));
    // Debian's level leaves it to CAP_SYS_ADMIN.
    let of_linux = Boot::of(Machine::X86_64, "6.1", PARANOID, Trial::tests(&TRACEFS));
    let newest = Boot::of(Machine::X86_64, "7.3", CONFIDENTIALITY, Trial::and_tests(&SPANS));
    kernels.chain(PARAMETERS.map(started)).chain([loaded, refused, of_linux, newest]).collect()
}

/// All, with the programs alone.
pub(crate) fn programs() -> Vec<Boot> {
    all().into_iter().map(|boot| Boot { trials: vec![Trial::Doctor], ..boot }).collect()
}

/// What each run of the tests has time for: the core but for a part on the oldest kernel, trace contexts
/// that go out where they may, a fault that takes a machine of its own, and the programs alone on arm64.
pub(crate) fn usual() -> Vec<Boot> {
    vec![
        Boot::of(Machine::X86_64, "5.10", "", Trial::and_tests(&USUAL)),
        Boot::of(
            Machine::X86_64,
            "6.12",
            ONE_BUILD,
            [Trial::tests(&USUAL_PROPAGATION), Trial::tests(&FAULTS)].concat(),
        ),
        Boot::of(Machine::Aarch64, "6.12", "", vec![Trial::Doctor]),
    ]
}

impl Boot {
    pub(crate) fn of(machine: Machine, version: &str, parameters: &str, trials: Vec<Trial>) -> Self {
        const METHODS: [&str; 5] =
            ["uprobe_multi", "perf events", "perf events by address", "tracefs", "tracefs by address"];
        let methods: &[&str] = match version {
            "5.10" | "6.1" if parameters == CONFIDENTIALITY => &[],
            _ if parameters == CONFIDENTIALITY => METHODS.get(..1).unwrap_or_default(),
            // No cookies.
            "5.10" => &["perf events by address", "tracefs by address"],
            "6.1" => METHODS.get(1..).unwrap_or_default(),
            _ => &METHODS,
        };
        Self { machine, version: version.to_owned(), parameters: parameters.to_owned(), methods, trials }
    }
}

impl Trial {
    pub(crate) fn of(program: &str, filters: &[&str]) -> Self {
        if program == "doctor" {
            return Self::Doctor;
        }
        Self::Tests {
            program: program.to_owned(),
            filters: filters.iter().map(|&filter| filter.to_owned()).collect(),
        }
    }

    /// The test program, if it is one.
    pub(crate) fn program(&self) -> Option<&str> {
        match self {
            Self::Tests { program, .. } => Some(program),
            Self::Doctor => None,
        }
    }

    /// `doctor`, and tests.
    fn and_tests(tests: &[(&str, &[&str])]) -> Vec<Self> {
        [vec![Self::Doctor], Self::tests(tests)].concat()
    }

    fn tests(tests: &[(&str, &[&str])]) -> Vec<Self> {
        tests.iter().map(|(program, filters)| Self::of(program, filters)).collect()
    }
}

impl Machine {
    /// As Rust and the kernel name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }

    /// Whether it is the machine that this runs on.
    pub(crate) fn is_here(self) -> bool {
        self.name() == ARCH
    }

    pub(crate) fn architecture(self) -> Architecture {
        match self {
            Self::X86_64 => Architecture::X86_64,
            Self::Aarch64 => Architecture::Aarch64,
        }
    }
}

impl FromStr for Machine {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = [Self::X86_64, Self::Aarch64].into_iter().find(|machine| machine.name() == name);
        found.ok_or_else(|| format!("no machine is called {name}: x86_64 and aarch64 are"))
    }
}

impl fmt::Display for Boot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Linux {} on {}", self.version, self.machine.name())?;
        if self.parameters.is_empty() { Ok(()) } else { write!(f, " with {}", self.parameters) }
    }
}

impl fmt::Display for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Doctor => write!(f, "doctor"),
            Self::Tests { program, .. } => write!(f, "{program}"),
        }
    }
}
