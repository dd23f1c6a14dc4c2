//! What is kept of an inspected binary: where its probes go and what they read.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;
use std::sync::Arc;

use lightfoot_probes_abi::context::HolderKind;
use lightfoot_probes_abi::layout::{Http2, NONE, Propagation, Router};
use lightfoot_probes_abi::{Cookie, Holder, Layout, SiteKind};
use lightfoot_symbolizer::VirtualAddress;
use lightfoot_symbolizer::build_info::BuildInfo;
use lightfoot_symbolizer::go_abi::Place;
use lightfoot_symbolizer::site::Reason;
use tracing::debug;

use super::contents::{Contents, Looks, Origin};
use super::report::{Modules, Outlook, modules, outlooks};
use super::{Coexistence, WatchError};
use crate::attach::Probe;
use crate::catalog::own_instrumentation::Subject;
use crate::catalog::{Role, grpc, http2, net_http, routers};
use crate::inspect::{self, InspectError, Program};
use crate::plan::{OperationPlan, Plan, PlannedSite, holders, layouts};

mod grpc_calls;

/// A binary that can be watched.
pub(super) struct Analysis {
    /// What it was built from.
    pub(super) build_info: Arc<BuildInfo>,
    /// Whether it is loaded at an address of the kernel's choice.
    pub(super) position_independent: bool,
    /// Where its memory holds what the probes read.
    pub(super) layout: Layout,
    /// The types that hold contexts, by the virtual addresses of their descriptors; none if no span can have children.
    pub(super) holders: Vec<(u64, Holder)>,
    /// Types that hold contexts in a way that the programs do not follow.
    pub(super) holders_left_out: usize,
    /// Whether it serves HTTP or gRPC.
    pub(super) is_server: bool,
    /// The probes that stand while it is watched.
    pub(super) probes: Probes,
    /// Those that find the routes of copied requests, if it has any.
    pub(super) route: Probes,
    /// Those that find what routers have matched, if it has any.
    pub(super) routers: Probes,
    /// Those that count the messages of streams, if it has any, and the bits of `process_flags` that say of whose.
    pub(super) messages: Probes,
    pub(super) counted: u64,
    /// Those at which trace contexts are added to what clients send, and why none are added to what some send.
    pub(super) propagation: Probes,
    pub(super) not_propagated: Vec<String>,
    /// Those that tell by which connections calls go, and why there are none of some.
    pub(super) join: Probes,
    pub(super) not_joined: Vec<String>,
    /// How the calls of its clients end, if it has any.
    pub(super) clients: Option<Clients>,
    /// What is left to the program's own instrumentation, and to which.
    pub(super) covered: Vec<String>,
    /// What becomes of each operation.
    pub(super) outlooks: Arc<[Outlook]>,
    /// The modules that its libraries are of.
    pub(super) modules: Modules,
}

/// Where calls of clients end, besides [`Analysis::probes`].
#[derive(Default)]
pub(super) struct Clients {
    /// The returns of the functions called, by the kind of their ends. None where these are emulated: then they are among those
    /// that always stand.
    pub(super) returns: BTreeMap<SiteKind, Probes>,
    /// Places behind calls that may well be the ones, by their offset in the file, with the function that makes the call.
    pub(super) call_sites: BTreeMap<u64, (&'static str, Probes)>,
}

/// Some probes of a binary.
#[derive(Clone, Debug, Default)]
pub(super) struct Probes {
    /// Where they go and what they mark.
    pub(super) places: Vec<Probe>,
    /// What must be loaded at each place.
    pub(super) expected: Vec<Expected>,
}

/// Code as the file has it.
#[derive(Clone, Debug)]
pub(super) struct Expected {
    pub(super) address: VirtualAddress,
    pub(super) bytes: Vec<u8>,
}

impl Probes {
    /// Adds a site, unless it is among them: operations share some.
    pub(super) fn add(&mut self, planned: &PlannedSite, cookie: Cookie) {
        let offset = planned.offset.0;
        if self.places.iter().all(|place| place.offset != offset) {
            self.places.push(Probe { offset, cookie });
            self.expected.push(Expected { address: planned.site.address, bytes: planned.site.bytes.clone() });
        }
    }
}

impl Analysis {
    pub(super) fn of(file: &File, coexistence: Coexistence) -> Result<Self, WatchError> {
        let path = path_of(file);
        let program = Program::inspect(&path).map_err(refused)?;
        Self::of_program(&program, coexistence)
    }

    /// The same of a file that stands at `place`, and whose content may be known.
    pub(super) fn known(
        file: &File,
        place: PathBuf,
        coexistence: Coexistence,
        contents: &mut Contents<Self>,
    ) -> Result<Arc<Self>, WatchError> {
        let path = path_of(file);
        let origin = Origin::of(place, file);
        // Most files are no Go programs.
        let binary = inspect::open(&path).map_err(refused)?;
        // Whatever cannot be read shows when it is analysed.
        let looks = Looks::of(file, &binary.build_id).ok();
        let (known, digest) = looks.as_ref().map(|looks| contents.find(looks, file)).unwrap_or_default();
        if let Some(known) = known {
            debug!("a file has the content of another one, whose analysis serves both");
            return Ok(known);
        }
        let program = Program::of(binary, &path).map_err(refused)?;
        let analysis = Arc::new(Self::of_program(&program, coexistence)?);
        if let (Some(looks), Ok(origin)) = (looks, origin) {
            contents.insert(looks, origin, digest, &analysis);
        }
        Ok(analysis)
    }

    fn of_program(program: &Program, coexistence: Coexistence) -> Result<Self, WatchError> {
        let plan = Plan::new(program);
        let mut analysis = Self {
            build_info: Arc::new(program.build_info.clone()),
            position_independent: program.position_independent,
            layout: layouts::layout(program),
            holders: Vec::new(),
            holders_left_out: 0,
            is_server: false,
            probes: Probes::default(),
            route: Probes::default(),
            routers: Probes::default(),
            messages: Probes::default(),
            counted: 0,
            propagation: Probes::default(),
            not_propagated: Vec::new(),
            join: Probes::default(),
            not_joined: Vec::new(),
            clients: None,
            covered: Vec::new(),
            outlooks: Arc::new([]),
            modules: modules(&plan),
        };
        let mut refusals = Vec::new();
        for operation in plan.libraries.iter().flat_map(|library| library.operations.iter().flatten()) {
            if [net_http::PROPAGATION_1, http2::PROPAGATION, http2::X_PROPAGATION, grpc::PROPAGATION]
                .iter()
                .any(|of| of.title == operation.operation.title)
            {
                analysis.add_propagation(operation);
            }
            if operation.points.iter().any(|point| point.role == Role::Connected) {
                analysis.add_connection(operation);
            }
            let Some(add) = Self::adder(operation) else { continue };
            if let Some(by) = operation.covered_by.as_ref().filter(|_| coexistence != Coexistence::Both)
                && operation.can_be_watched()
            {
                analysis.covered.push(format!("{} by {by}", operation.operation.title));
                analysis.is_server |= Subject::of(operation.operation).is_some_and(Subject::is_served);
            } else if operation.can_be_watched() {
                add(&mut analysis, operation);
            } else {
                refusals
                    .extend(operation.refusals.iter().map(|why| (operation.operation.title, why.clone())));
            }
        }
        // A span whose end is not seen would stay open for good.
        let ends_http2 = |probe: &Probe| {
            probe.cookie.kind() == Some(SiteKind::Http2ServerEnd) && probe.cookie.0 & Cookie::X_NET == 0
        };
        if !analysis.probes.places.iter().any(ends_http2) {
            analysis.layout.http2 = Http2::UNKNOWN;
        }
        let is_left = coexistence == Coexistence::Off || analysis.probes.places.is_empty();
        if is_left && !analysis.covered.is_empty() {
            let Self { covered, build_info, is_server, .. } = analysis;
            return Err(WatchError::Covered { covered: covered.join(", "), build_info, is_server });
        }
        if analysis.probes.places.is_empty() {
            return Err(WatchError::Nothing(summary(&refusals)));
        }
        if analysis.propagation.places.is_empty() && analysis.not_propagated.is_empty() {
            analysis.not_propagated.push("it has no client whose requests could carry one".to_owned());
        }
        if analysis.clients.is_some() {
            let all = holders::holders(program);
            let (request, total) = (analysis.layout.request.ctx, all.len());
            analysis.holders = all.into_iter().filter_map(|holder| known_holder(&holder, request)).collect();
            analysis.holders_left_out = total.saturating_sub(analysis.holders.len());
            analysis.add_own_spans(&holders::own_spans(program));
        }
        analysis.outlooks = outlooks(&plan, coexistence, &analysis).into();
        Ok(analysis)
    }

    /// Has contexts looked into for spans of the program's own SDK.
    fn add_own_spans(&mut self, own: &holders::OwnSpans) {
        if own.spans.is_empty() {
            return;
        }
        for (descriptor, holder) in &mut self.holders {
            if own.contexts.contains(&VirtualAddress(*descriptor)) {
                holder.kind = HolderKind::Value as u32;
            }
        }
        let spans = own.spans.iter().filter_map(|(descriptor, offset)| {
            let offset = u32::try_from(*offset).ok()?;
            Some((descriptor.0, Holder { offset, kind: HolderKind::OwnSpan as u32 }))
        });
        self.holders.extend(spans);
    }

    /// Whether it shows when an HTTP/1 connection ends.
    pub(super) fn has_connection_ends(&self) -> bool {
        self.probes.places.iter().any(|place| place.cookie.kind() == Some(SiteKind::HttpConnectionEnd))
    }

    /// How many sites the binary may have, before callers are learned.
    pub(super) fn site_count(&self) -> usize {
        let clients = self.clients.as_ref();
        let of_clients = clients.map_or(0, |clients| {
            let returns = clients.returns.values().map(|probes| probes.places.len());
            returns.sum::<usize>() + clients.call_sites.len()
        });
        self.probes.places.len()
            + self.route.places.len()
            + self.routers.places.len()
            + self.messages.places.len()
            + self.propagation.places.len()
            + self.join.places.len()
            + of_clients
    }

    /// Adds those at which a header is written to what clients send of whom there are spans.
    fn add_propagation(&mut self, plan: &OperationPlan) {
        let is_linked = plan.points.iter().any(|point| !point.absent);
        if !is_linked || plan.operation.title == grpc::PROPAGATION.title && !self.has_grpc_clients() {
            return;
        }
        match propagation(plan, &self.layout) {
            Ok(found) => found.iter().for_each(|(planned, cookie)| self.propagation.add(planned, *cookie)),
            Err(why) => self.not_propagated.push(format!("{}: {why}", plan.operation.title)),
        }
    }

    /// Adds that at which the connection of a client's request or call is known.
    fn add_connection(&mut self, plan: &OperationPlan) {
        let title = plan.operation.title;
        let is_linked = plan.points.iter().any(|point| !point.absent);
        if !is_linked || title == grpc::CONNECTION.title && !self.has_grpc_clients() {
            return;
        }
        let (layout, is_x) = (&self.layout, title == http2::X_CONNECTION.title);
        let (kind, is_known) = if title == net_http::CONNECTION_1.title {
            (SiteKind::HttpClientConnection, layout.client_connection.is_known())
        } else if title == grpc::CONNECTION.title {
            (SiteKind::GrpcClientConnection, layout.grpc.knows_connections())
        } else {
            let of = if is_x { &layout.x_http2_connection } else { &layout.http2_connection };
            let is_known = layout.client_connection.knows_addresses() && of.is_known();
            (SiteKind::Http2ClientConnection, is_known && layout.g.parent_goid != NONE)
        };
        let refusal = plan.refusals.first().cloned().or_else(|| {
            (!is_known).then(|| "the layout of its clients' connections is not known".to_owned())
        });
        if let Some(why) = refusal {
            self.not_joined.push(format!("{title}: {why}"));
            return;
        }
        for planned in plan.points.iter().flat_map(|point| &point.chosen).flat_map(|(_, sites)| sites) {
            let cookie = with_condition(kind, planned);
            self.join.add(planned, if is_x { cookie.of_x_net() } else { cookie });
        }
    }

    /// Whether it has gRPC clients that are watched.
    fn has_grpc_clients(&self) -> bool {
        let is_grpc = |kind| matches!(kind, Some(SiteKind::GrpcClientStart | SiteKind::GrpcStreamStart));
        self.probes.places.iter().any(|place| is_grpc(place.cookie.kind()))
    }

    /// How to add the probes of an operation, if its spans can be had.
    pub(super) fn adder(operation: &OperationPlan) -> Option<fn(&mut Self, &OperationPlan)> {
        let title = operation.operation.title;
        if title == net_http::SERVER_1.title {
            Some(Self::add_server)
        } else if [http2::SERVER, http2::X_SERVER, http2::X_SERVER_BY_NET_HTTP]
            .iter()
            .any(|of| of.title == title)
        {
            Some(Self::add_http2_server)
        } else if title == net_http::CLIENT.title || title == http2::X_CLIENT.title {
            Some(Self::add_client)
        } else if [grpc::SERVER, grpc::HANDLER_SERVER].iter().any(|of| of.title == title) {
            Some(Self::add_grpc_server)
        } else if [grpc::UNARY_CLIENT, grpc::STREAM_CLIENT].iter().any(|of| of.title == title) {
            Some(Self::add_grpc_client)
        } else if [grpc::SERVER_MESSAGES, grpc::CLIENT_MESSAGES].iter().any(|of| of.title == title) {
            Some(Self::add_grpc_messages)
        } else if operation.points.iter().any(|point| point.role == Role::Router) {
            Some(Self::add_router)
        } else {
            None
        }
    }

    fn add_server(&mut self, server: &OperationPlan) {
        self.is_server = true;
        for point in &server.points {
            let Some((function, sites)) = &point.chosen else { continue };
            let chosen = if point.role == Role::Route { &mut self.route } else { &mut self.probes };
            for planned in sites {
                if let Some(cookie) = server_cookie(point.role, function, planned) {
                    chosen.add(planned, cookie);
                }
            }
        }
    }

    fn add_http2_server(&mut self, server: &OperationPlan) {
        let title = server.operation.title;
        let shares_its_start = title == http2::SERVER.title;
        if shares_its_start && !self.is_server {
            return; // with HTTP/1, which cannot be watched
        }
        self.is_server = true;
        for point in &server.points {
            let kind = match point.role {
                Role::Start if !shares_its_start => SiteKind::Http2ServerStart,
                Role::End => SiteKind::Http2ServerEnd,
                _ => continue,
            };
            for planned in point.chosen.iter().flat_map(|(_, sites)| sites) {
                let cookie = with_condition(kind, planned);
                let is_x = title == http2::X_SERVER.title;
                self.probes.add(planned, if is_x { cookie.of_x_net() } else { cookie });
            }
        }
    }

    /// What it matches adds to the spans of servers.
    fn add_router(&mut self, plan: &OperationPlan) {
        let is_its = |router: &routers::Router| router.operation.title == plan.operation.title;
        let Some(number) = routers::ROUTERS.iter().position(is_its) else { return };
        let is_known = self.layout.routers.get(number).is_some_and(|router| *router != Router::UNKNOWN);
        if !self.is_server || !is_known {
            return;
        }
        let sites = plan.points.iter().flat_map(|point| &point.chosen).flat_map(|(_, sites)| sites);
        for planned in sites {
            // The last word: an interface has the address of what it holds there.
            let Some(Place::IntegerRegister(register)) = planned.kept.last() else { continue };
            if *register < Cookie::REGISTERS {
                let cookie = with_condition(SiteKind::HttpServerRouter, planned).with_registers(*register, 0);
                self.routers.add(planned, cookie.with_router(u8::try_from(number).unwrap_or(0)));
            }
        }
    }

    fn add_client(&mut self, client: &OperationPlan) {
        let start = match client.operation.title {
            title if title == http2::X_CLIENT.title => SiteKind::HttpClientStartInner,
            _ => SiteKind::HttpClientStart,
        };
        let clients = self.clients.get_or_insert_default();
        for point in &client.points {
            let Some((function, sites)) = &point.chosen else { continue };
            for planned in sites {
                match (point.role, planned.site.reason) {
                    (Role::Start, _) => self.probes.add(planned, with_condition(start, planned)),
                    (Role::InlinedStart, _) => self.probes.add(planned, at_call(start, planned)),
                    (Role::InlinedEnd, _) => {
                        self.probes.add(planned, after_call(SiteKind::HttpClientEnd, planned));
                    }
                    (Role::End, Reason::AfterCall { .. }) => {
                        let (_, probes) = clients
                            .call_sites
                            .entry(planned.offset.0)
                            .or_insert((*function, Probes::default()));
                        probes.add(planned, after_call(SiteKind::HttpClientEnd, planned));
                    }
                    // Emulated, they are the place where all calls end.
                    (Role::End, _) if !cfg!(target_arch = "x86_64") => {
                        self.probes.add(planned, with_condition(SiteKind::HttpClientEnd, planned));
                    }
                    (Role::End | Role::StandIn, _) => {
                        let returns = clients.returns.entry(SiteKind::HttpClientEnd).or_default();
                        returns.add(planned, with_condition(SiteKind::HttpClientEnd, planned));
                    }
                    _ => {}
                }
            }
        }
    }
}

/// By its descriptor: it is this file whose identity was checked, whatever the process executes meanwhile.
fn path_of(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

fn refused(error: InspectError) -> WatchError {
    match error {
        // The path means nothing to anybody.
        InspectError::Refused { path: _, source } => WatchError::Refused(Arc::new(source)),
        error => WatchError::Inspect(Arc::new(error)),
    }
}

/// The probes at which a header is written, or why there are none: all of it is proven, or nothing is written.
fn propagation<'a>(
    plan: &'a OperationPlan,
    layout: &Layout,
) -> Result<Vec<(&'a PlannedSite, Cookie)>, String> {
    if let Some(refusal) = plan.refusals.first() {
        return Err(refusal.clone());
    }
    let (kind, is_known) = written(plan.operation.title, &layout.propagation);
    if !is_known {
        return Err("the layout of its buffers or maps is not known, or where its request stands".to_owned());
    }
    let mut found = Vec::new();
    for point in &plan.points {
        let kind = if point.role == Role::Listed { SiteKind::GrpcClientListed } else { kind };
        for planned in point.chosen.iter().flat_map(|(_, sites)| sites) {
            let words = receiver(planned).ok_or("where the request stands is not known")?;
            let cookie = with_condition(kind, planned).with_receiver(words);
            let is_x_net = plan.operation.title == http2::X_PROPAGATION.title;
            found.push((planned, if is_x_net { cookie.of_x_net() } else { cookie }));
        }
    }
    Ok(found)
}

/// The kind of the sites at which headers are written, and whether all is known that they need.
fn written(title: &str, layout: &Propagation) -> (SiteKind, bool) {
    if title == grpc::PROPAGATION.title {
        (SiteKind::GrpcClientHead, layout.knows_encoded() && layout.grpc.is_known())
    } else if title == net_http::PROPAGATION_1.title {
        (SiteKind::HttpClientHead, layout.is_known())
    } else {
        let sender = if title == http2::PROPAGATION.title { &layout.http2 } else { &layout.x_http2 };
        (SiteKind::Http2ClientHead, layout.is_known() && layout.knows_encoded() && sender.is_known())
    }
}

/// How many words above the stack pointer at a site the function's receiver stands: beside the return address.
fn receiver(planned: &PlannedSite) -> Option<u16> {
    let bytes = u16::try_from(planned.site.stack_delta?.checked_neg()?.checked_add(8)?).ok()?;
    (bytes.is_multiple_of(8) && bytes / 8 <= Cookie::RECEIVER).then_some(bytes / 8)
}

/// What a call of a client tells the programs.
fn at_call(kind: SiteKind, planned: &PlannedSite) -> Cookie {
    let cookie = with_condition(kind, planned);
    // On x86-64 the call has not pushed its return address yet.
    if cfg!(target_arch = "x86_64") { cookie.with_stack_words(1) } else { cookie }
}

/// What a site behind a call of a client tells the programs.
pub(super) fn after_call(end: SiteKind, planned: &PlannedSite) -> Cookie {
    let cookie = with_condition(end, planned);
    // On x86-64 the return has popped its address, but not the one of a caller that only hands on.
    let has_popped = cfg!(target_arch = "x86_64") && planned.site.reason != Reason::Return;
    if has_popped { cookie.with_stack_words(1) } else { cookie }
}

/// What a site of an HTTP/1 server tells the programs; `None` if they could not make anything of it.
fn server_cookie(role: Role, function: &str, planned: &PlannedSite) -> Option<Cookie> {
    let of = |kind| with_condition(kind, planned);
    match role {
        Role::Start => Some(of(SiteKind::HttpServerStart)),
        Role::End if function == net_http::FINISH_REQUEST => Some(of(SiteKind::HttpServerEnd)),
        // A call has not pushed its return address yet.
        Role::End if planned.site.reason == Reason::Call && cfg!(target_arch = "x86_64") => {
            Some(of(SiteKind::HttpServerEndByDepth).with_stack_words(1))
        }
        Role::End => Some(of(SiteKind::HttpServerEndByDepth)),
        Role::ConnectionEnd => Some(of(SiteKind::HttpConnectionEnd)),
        Role::Route => {
            let [Place::IntegerRegister(pointer), Place::IntegerRegister(length)] = planned.kept[..] else {
                return None;
            };
            let is_readable = pointer.max(length) < Cookie::REGISTERS;
            is_readable.then(|| of(SiteKind::HttpServerRoute).with_registers(pointer, length))
        }
        Role::Opened
        | Role::ErrorEnd
        | Role::Status
        | Role::InlinedStart
        | Role::InlinedEnd
        | Role::StandIn
        | Role::Sent
        | Role::Received
        | Role::Router
        | Role::Connected
        | Role::Written
        | Role::Listed
        | Role::Told => None,
    }
}

fn with_condition(kind: SiteKind, planned: &PlannedSite) -> Cookie {
    let cookie = Cookie::new(0, kind);
    if planned.site.condition.is_some() { cookie.if_not_taken() } else { cookie }
}

/// A holder as the programs know it; `None` if they do not follow its kind. `request` is where an `http.Request` has its
/// context.
fn known_holder(holder: &holders::Holder, request: u64) -> Option<(u64, Holder)> {
    let (offset, kind) = match holder.through {
        None => (holder.context, HolderKind::Field),
        Some(through) if holder.context == request => (through, HolderKind::Request),
        Some(_) => return None,
    };
    Some((holder.descriptor.0, Holder { offset: u32::try_from(offset).ok()?, kind: kind as u32 }))
}

/// Why none of the operations can be watched.
fn summary(refusals: &[(&str, String)]) -> String {
    if refusals.is_empty() {
        return "it has no server and no client of HTTP or gRPC".to_owned();
    }
    let each: Vec<_> = refusals.iter().map(|(title, why)| format!("{title}: {why}")).collect();
    each.join("; ")
}
