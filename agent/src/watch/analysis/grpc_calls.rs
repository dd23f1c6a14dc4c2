//! The probes of gRPC's operations.

use lightfoot_probes_abi::SiteKind;
use lightfoot_probes_abi::process::process_flags;

use super::{Analysis, receiver, with_condition};
use crate::catalog::{Role, grpc};
use crate::plan::OperationPlan;

impl Analysis {
    pub(super) fn add_grpc_server(&mut self, server: &OperationPlan) {
        // Within a program that net/http's server cannot be watched in, nothing is open that a status could be added to.
        self.is_server |= server.operation.title == grpc::SERVER.title;
        for point in &server.points {
            let kind = match point.role {
                Role::Start => SiteKind::GrpcServerStart,
                Role::End => SiteKind::GrpcServerEnd,
                Role::ErrorEnd => SiteKind::GrpcServerGone,
                Role::Status => SiteKind::GrpcHandlerStatus,
                _ => continue,
            };
            for planned in point.chosen.iter().flat_map(|(_, sites)| sites) {
                self.probes.add(planned, with_condition(kind, planned));
            }
        }
    }

    /// They are counted for spans of the same side, if all of a side can be.
    pub(super) fn add_grpc_messages(&mut self, plan: &OperationPlan) {
        let is_server = plan.operation.title == grpc::SERVER_MESSAGES.title;
        let mut found = Vec::new();
        for point in &plan.points {
            let kind = match (point.role, is_server) {
                (Role::Sent, true) => SiteKind::GrpcServerSent,
                (Role::Received, true) => SiteKind::GrpcServerReceived,
                (Role::Sent, false) => SiteKind::GrpcClientSent,
                (Role::Received, false) => SiteKind::GrpcClientReceived,
                _ => continue,
            };
            for planned in point.chosen.iter().flat_map(|(_, sites)| sites) {
                let Some(words) = receiver(planned) else { return };
                found.push((planned, with_condition(kind, planned).with_receiver(words)));
            }
        }
        for (planned, cookie) in found {
            self.messages.add(planned, cookie);
        }
        self.counted |=
            if is_server { process_flags::SERVER_MESSAGES } else { process_flags::CLIENT_MESSAGES };
    }

    pub(super) fn add_grpc_client(&mut self, client: &OperationPlan) {
        let is_stream = client.operation.title == grpc::STREAM_CLIENT.title;
        let clients = self.clients.get_or_insert_default();
        for point in &client.points {
            let (kind, is_return) = match (point.role, is_stream) {
                (Role::Start, false) => (SiteKind::GrpcClientStart, false),
                (Role::End, false) => (SiteKind::GrpcClientEnd, true),
                (Role::Start, true) => (SiteKind::GrpcStreamStart, false),
                (Role::Opened, true) => (SiteKind::GrpcStreamOpened, true),
                (Role::End, true) => (SiteKind::GrpcStreamEnd, false),
                _ => continue,
            };
            // Emulated, returns are the place where all calls end.
            let stands_in = is_return && cfg!(target_arch = "x86_64");
            if point.chosen.is_none() {
                continue;
            }
            let chosen = if stands_in { clients.returns.entry(kind).or_default() } else { &mut self.probes };
            for planned in point.chosen.iter().flat_map(|(_, sites)| sites) {
                chosen.add(planned, with_condition(kind, planned));
            }
        }
    }
}
