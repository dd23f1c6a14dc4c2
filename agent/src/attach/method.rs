//! The ways to place probes.

/// How probes are placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Method {
    /// One `uprobe_multi` link for each binary (Linux 6.6): fast, and without CAP_SYS_ADMIN.
    UprobeMulti,
    /// One perf event for each site (Linux 5.15).
    PerfEvent,
    /// The same where perf events carry no cookie (Linux 5.10): sites are told by their addresses in each process, and a
    /// hit before these are known is not seen.
    PerfEventByAddress,
}

impl Method {
    pub(super) fn program(self) -> &'static str {
        match self {
            Self::UprobeMulti => "on_site_multi",
            Self::PerfEvent => "on_site",
            Self::PerfEventByAddress => "on_site_by_address",
        }
    }
}
