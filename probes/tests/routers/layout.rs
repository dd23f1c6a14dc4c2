//! From a binary to what the programs must know of it: what the agent plans.

use std::path::Path;

use lightfoot::catalog::routers::ROUTERS;
use lightfoot::catalog::{Role, net_http};
use lightfoot::inspect::Program;
use lightfoot::plan::{OperationPlan, Plan, PlannedSite, layouts};
use lightfoot_probes_abi::{Cookie, Layout, SiteKind};
use lightfoot_symbolizer::go_abi::Place;
use lightfoot_tests::probes::PlacedSite;

/// What is probed and read of a binary.
pub(crate) struct Facts {
    pub(crate) layout: Layout,
    /// The sites of every HTTP/1 request (start, end) and connection.
    pub(crate) sites: Vec<PlacedSite>,
    /// The one of its router.
    pub(crate) router: PlacedSite,
}

/// Finds out about a binary; `id` goes into the cookies.
pub(crate) fn inspect(path: &Path, id: u32) -> Facts {
    let program = Program::inspect(path).unwrap();
    let plan = Plan::new(&program);
    let operations: Vec<_> =
        plan.libraries.iter().flat_map(|library| library.operations.iter().flatten()).collect();
    let operation =
        |title| operations.iter().find(|plan: &&&OperationPlan| plan.operation.title == title).copied();
    let site = |plan: &OperationPlan, role, cookie: fn(Cookie, &PlannedSite) -> Cookie, kind| {
        let point = plan.points.iter().find(|point| point.role == role).unwrap();
        let [site] = &point.chosen.as_ref().unwrap().1[..] else { panic!("one site") };
        let plain = Cookie::new(id, kind);
        let plain = if site.site.condition.is_some() { plain.if_not_taken() } else { plain };
        PlacedSite { offset: site.offset.0, address: site.site.address.0, cookie: cookie(plain, site) }
    };
    let server = operation(net_http::SERVER_1.title).unwrap();
    let of_server = |role, kind| site(server, role, |cookie, _| cookie, kind);
    let routers = ROUTERS.iter().enumerate();
    let mut routers =
        routers.filter_map(|(number, router)| Some((number, operation(router.operation.title)?)));
    let (number, router) = routers.next().unwrap();
    let mut router = site(
        router,
        Role::Router,
        |cookie, site| {
            let Some(Place::IntegerRegister(register)) = site.kept.last() else { panic!("a register") };
            cookie.with_registers(*register, 0)
        },
        SiteKind::HttpServerRouter,
    );
    router.cookie = router.cookie.with_router(u8::try_from(number).unwrap());
    Facts {
        layout: layouts::layout(&program),
        sites: vec![
            of_server(Role::Start, SiteKind::HttpServerStart),
            of_server(Role::End, SiteKind::HttpServerEnd),
            of_server(Role::ConnectionEnd, SiteKind::HttpConnectionEnd),
        ],
        router,
    }
}
