//! The ways to place probes.

use lightfoot_probes_abi::Cookie;

/// How probes are placed.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, clap::ValueEnum, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// One `uprobe_multi` link for each binary (Linux 6.6): fast, and without CAP_SYS_ADMIN.
    UprobeMulti,
    /// One perf event for each site (Linux 5.15).
    PerfEvent,
    /// The same where perf events carry no cookie (Linux 5.10): sites are told by their addresses in each process, and a
    /// hit before these are known is not seen.
    PerfEventByAddress,
    /// One event of tracefs for each site (Linux 5.15), where that is mounted: without CAP_SYS_ADMIN.
    Tracefs,
    /// The same where perf events carry no cookie.
    TracefsByAddress,
}

/// The programs: one for all sites would have more instructions than old kernels verify.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// For the sites of HTTP.
    Http,
    /// For those of gRPC.
    Grpc,
    /// For those that tell by which connection a call goes.
    Join,
    /// For those at which something is written; only in an object of its own.
    Propagation,
}

impl Family {
    pub(super) const ALL: [Self; 4] = [Self::Http, Self::Grpc, Self::Join, Self::Propagation];

    /// That of a site.
    pub(super) fn of(cookie: Cookie) -> Self {
        match cookie.kind() {
            Some(kind) if kind.is_grpc() => Self::Grpc,
            Some(kind) if kind.is_join() => Self::Join,
            Some(kind) if kind.is_propagation() => Self::Propagation,
            _ => Self::Http,
        }
    }
}

impl Method {
    /// Whether sites are told by their addresses, for the kernel hands over no cookies.
    pub fn is_by_address(self) -> bool {
        matches!(self, Self::PerfEventByAddress | Self::TracefsByAddress)
    }

    /// Whether to place probes takes CAP_SYS_ADMIN on some kernels.
    pub fn takes_sys_admin(self) -> bool {
        matches!(self, Self::PerfEvent | Self::PerfEventByAddress)
    }

    /// Whether probes are events of tracefs.
    pub fn is_by_tracefs(self) -> bool {
        matches!(self, Self::Tracefs | Self::TracefsByAddress)
    }

    pub(super) fn program(self, family: Family) -> &'static str {
        match (self, family) {
            (Self::UprobeMulti, Family::Http) => "on_site_multi",
            (Self::UprobeMulti, Family::Grpc) => "on_site_grpc_multi",
            (Self::UprobeMulti, Family::Join) => "on_site_join_multi",
            (Self::UprobeMulti, Family::Propagation) => "on_site_propagate_multi",
            (Self::PerfEvent | Self::Tracefs, Family::Http) => "on_site",
            (Self::PerfEvent | Self::Tracefs, Family::Grpc) => "on_site_grpc",
            (Self::PerfEvent | Self::Tracefs, Family::Join) => "on_site_join",
            (Self::PerfEvent | Self::Tracefs, Family::Propagation) => "on_site_propagate",
            (Self::PerfEventByAddress | Self::TracefsByAddress, Family::Http) => "on_site_by_address",
            (Self::PerfEventByAddress | Self::TracefsByAddress, Family::Grpc) => "on_site_grpc_by_address",
            (Self::PerfEventByAddress | Self::TracefsByAddress, Family::Join) => "on_site_join_by_address",
            (Self::PerfEventByAddress | Self::TracefsByAddress, Family::Propagation) => {
                "on_site_propagate_by_address"
            }
        }
    }
}
