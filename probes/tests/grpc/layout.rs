//! From a binary to what the programs must know of it: what the agent plans.

use std::path::Path;

use lightfoot::catalog::{Role, grpc};
use lightfoot::inspect::Program;
use lightfoot::plan::{Plan, holders, layouts};
use lightfoot_probes_abi::context::HolderKind;
use lightfoot_probes_abi::{Cookie, Holder, Layout, SiteKind};
use lightfoot_tests::probes::PlacedSite;

/// What is probed and read of a binary.
pub(crate) struct Facts {
    pub(crate) layout: Layout,
    pub(crate) server: Vec<PlacedSite>,
    /// Calls end at the returns of the functions that make them.
    pub(crate) client: Vec<PlacedSite>,
    /// The types that hold contexts, by the address of their descriptor.
    pub(crate) holders: Vec<(u64, Holder)>,
}

/// Finds out about a binary; `id` goes into the cookies.
pub(crate) fn inspect(path: &Path, id: u32) -> Facts {
    let program = Program::inspect(path).unwrap();
    let plan = Plan::new(&program);
    let sites = |title: &str, role: Role, kind: SiteKind| -> Vec<PlacedSite> {
        let mut operations = plan.libraries.iter().flat_map(|library| library.operations.iter().flatten());
        let operation = operations.find(|plan| plan.operation.title == title).unwrap();
        let point = operation.points.iter().find(|point| point.role == role).unwrap();
        let chosen = point.chosen.iter().flat_map(|(_, sites)| sites);
        let place = |site: &lightfoot::plan::PlannedSite| {
            let cookie = Cookie::new(id, kind);
            PlacedSite {
                offset: site.offset.0,
                address: site.site.address.0,
                cookie: if site.site.condition.is_some() { cookie.if_not_taken() } else { cookie },
            }
        };
        chosen.map(place).collect()
    };
    let (server, unary, stream) = (grpc::SERVER.title, grpc::UNARY_CLIENT.title, grpc::STREAM_CLIENT.title);
    let holders = holders::holders(&program).into_iter().filter(|holder| holder.through.is_none());
    let known = |holder: holders::Holder| {
        let offset = u32::try_from(holder.context).unwrap();
        (holder.descriptor.0, Holder { offset, kind: HolderKind::Field as u32 })
    };
    Facts {
        layout: layouts::layout(&program),
        server: [
            sites(server, Role::Start, SiteKind::GrpcServerStart),
            sites(server, Role::End, SiteKind::GrpcServerEnd),
            sites(server, Role::ErrorEnd, SiteKind::GrpcServerGone),
        ]
        .concat(),
        client: [
            sites(unary, Role::Start, SiteKind::GrpcClientStart),
            sites(unary, Role::End, SiteKind::GrpcClientEnd),
            sites(stream, Role::Start, SiteKind::GrpcStreamStart),
            sites(stream, Role::Opened, SiteKind::GrpcStreamOpened),
            sites(stream, Role::End, SiteKind::GrpcStreamEnd),
        ]
        .concat(),
        holders: holders.map(known).collect(),
    }
}
