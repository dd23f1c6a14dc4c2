//! What is kept of an inspected binary: where its probes go and what they read.

use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;
use std::sync::Arc;

use lightfoot_probes_abi::{Layout, SiteKind};
use lightfoot_symbolizer::build_info::BuildInfo;

use super::WatchError;
use crate::attach::Probe;
use crate::catalog::{Role, net_http};
use crate::inspect::{InspectError, Program};
use crate::plan::{OperationPlan, Plan, PlannedSite, layouts};

/// A binary that can be watched.
pub(super) struct Analysis {
    /// What it was built from.
    pub(super) build_info: Arc<BuildInfo>,
    /// Where its memory holds what the probes read.
    pub(super) layout: Layout,
    /// Its probes.
    pub(super) probes: Vec<Probe>,
    /// The bytes that must be loaded at each probe's place.
    pub(super) expected: Vec<Vec<u8>>,
}

impl Analysis {
    pub(super) fn of(file: &File) -> Result<Self, WatchError> {
        // By its descriptor: it is this file whose identity was checked, whatever the process executes meanwhile.
        let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        let program = Program::inspect(&path).map_err(|error| match error {
            // The path means nothing to anybody.
            InspectError::Refused { path: _, source } => WatchError::Refused(Arc::new(source)),
            error => WatchError::Inspect(Arc::new(error)),
        })?;
        let plan = Plan::new(&program);
        let operations = plan.libraries.iter().flat_map(|library| library.operations.iter().flatten());
        let server = operations
            .into_iter()
            .find(|operation| operation.operation.title == net_http::SERVER_1.title)
            .ok_or_else(|| WatchError::Nothing("it has no HTTP server".to_owned()))?;
        if !server.can_be_watched() {
            return Err(WatchError::Nothing(server.refusals.join("; ")));
        }
        let sites: Vec<_> = sites(server).collect();
        Ok(Self {
            build_info: Arc::new(program.build_info.clone()),
            layout: layouts::layout(&program),
            probes: sites
                .iter()
                .map(|(kind, planned)| Probe {
                    offset: planned.offset.0,
                    kind: *kind,
                    if_not_taken: planned.site.condition.is_some(),
                })
                .collect(),
            expected: sites.iter().map(|(_, planned)| planned.site.bytes.clone()).collect(),
        })
    }
}

/// The sites of an HTTP/1 server, and what each tells the programs.
fn sites(server: &OperationPlan) -> impl Iterator<Item = (SiteKind, &PlannedSite)> {
    server.points.iter().flat_map(|point| {
        let (function, sites) =
            point.chosen.as_ref().map_or(("", [].as_slice()), |(name, sites)| (name, sites));
        let kind = match point.role {
            Role::Start => SiteKind::HttpServerStart,
            Role::End if function == net_http::FINISH_REQUEST => SiteKind::HttpServerEnd,
            Role::End => SiteKind::HttpServerEndByDepth,
            Role::ConnectionEnd | Role::Rare | Role::StandIn => SiteKind::HttpConnectionEnd,
        };
        sites.iter().map(move |site| (kind, site))
    })
}
