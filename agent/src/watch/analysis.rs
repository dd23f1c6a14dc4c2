//! What is kept of an inspected binary: where its probes go and what they read.

use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;
use std::sync::Arc;

use lightfoot_probes_abi::{Cookie, Layout, SiteKind};
use lightfoot_symbolizer::build_info::BuildInfo;
use lightfoot_symbolizer::go_abi::Place;
use lightfoot_symbolizer::site::Reason;

use super::WatchError;
use crate::attach::Probe;
use crate::catalog::{Role, net_http};
use crate::inspect::{InspectError, Program};
use crate::plan::{Plan, PlannedSite, layouts};

/// A binary that can be watched.
pub(super) struct Analysis {
    /// What it was built from.
    pub(super) build_info: Arc<BuildInfo>,
    /// Where its memory holds what the probes read.
    pub(super) layout: Layout,
    /// The probes that stand while it is watched.
    pub(super) probes: Probes,
    /// Those that find the routes of copied requests, if it has any.
    pub(super) route: Probes,
}

/// Some probes of a binary.
#[derive(Default)]
pub(super) struct Probes {
    /// Where they go and what they mark.
    pub(super) places: Vec<Probe>,
    /// The bytes that must be loaded at each place.
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
        let (mut probes, mut route) = (Probes::default(), Probes::default());
        for point in &server.points {
            let Some((function, sites)) = &point.chosen else { continue };
            let chosen = if point.role == Role::Route { &mut route } else { &mut probes };
            for planned in sites {
                let Some(cookie) = cookie(point.role, function, planned) else { continue };
                chosen.places.push(Probe { offset: planned.offset.0, cookie });
                chosen.expected.push(planned.site.bytes.clone());
            }
        }
        Ok(Self {
            build_info: Arc::new(program.build_info.clone()),
            layout: layouts::layout(&program),
            probes,
            route,
        })
    }
}

/// What a site of an HTTP/1 server tells the programs; `None` if they could not make anything of it.
fn cookie(role: Role, function: &str, planned: &PlannedSite) -> Option<Cookie> {
    let of = |kind| Cookie::new(0, kind);
    let cookie = match role {
        Role::Start => of(SiteKind::HttpServerStart),
        Role::End if function == net_http::FINISH_REQUEST => of(SiteKind::HttpServerEnd),
        // A call has not pushed its return address yet.
        Role::End if planned.site.reason == Reason::Call && cfg!(target_arch = "x86_64") => {
            of(SiteKind::HttpServerEndByDepth).with_stack_words(1)
        }
        Role::End => of(SiteKind::HttpServerEndByDepth),
        Role::ConnectionEnd | Role::Rare | Role::StandIn => of(SiteKind::HttpConnectionEnd),
        Role::Route => {
            let [Place::IntegerRegister(pointer), Place::IntegerRegister(length)] = planned.kept[..] else {
                return None;
            };
            let is_readable = pointer.max(length) < Cookie::REGISTERS;
            is_readable.then(|| of(SiteKind::HttpServerRoute).with_registers(pointer, length))?
        }
    };
    Some(if planned.site.condition.is_some() { cookie.if_not_taken() } else { cookie })
}
